"""Scores of any samples: the training set in its order without augmentation, and new files."""

import numpy as np
import pytest
import torch
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.augment import aug_transforms
from fastai.vision.data import ImageDataLoaders
from torch import nn

from scn_fastai import SCNCallback, score_samples
from scn_fastai.core import attention_weights
from scn_fastai.errors import SettingsError
from scn_fastai.training.head import attach_head, find_head
from scn_fastai.training.score import score_batches


@pytest.fixture
def learn(pictures, tools, tiny, tmp_path):
    """A Learner on the pictures, with random augmentation, trained for an epoch."""
    options = {"train": "train", "valid": "valid", "bs": 8, "num_workers": 0, "device": "cpu"}
    dls = ImageDataLoaders.from_folder(pictures.path, batch_tfms=aug_transforms(), **options)
    found = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=SCNCallback(), path=tmp_path))
    found.fit(1)
    return found


def test_the_training_set_is_scored_in_its_order_and_always_alike(learn, pictures):
    table = score_samples(learn)
    assert table.equals(score_samples(learn)) and len(table) == len(learn.dls.train_ds)
    for row, path in list(enumerate(learn.dls.train_ds.items))[::10]:
        assert table["predicted"][row] == str(learn.predict(path)[0])
        one = score_samples(learn, [path])
        assert one["alpha"][0] == pytest.approx(table["alpha"][row], abs=1e-6)


def test_the_figures_are_those_of_the_equations(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback("paper"))
    learn.fit(1)
    head = find_head(learn.model)
    table = score_batches(learn.model, [blobs.x[:100], blobs.x[100:]], list("abcd"), blobs.given)
    with torch.no_grad():
        alpha = attention_weights(learn.model[:2](blobs.x), head.attention_weight, head.attention_bias)
        probs = (alpha[:, None] * learn.model.eval()(blobs.x)).softmax(1).numpy()
    np.testing.assert_allclose(table["alpha"], alpha.numpy(), atol=1e-6)
    np.testing.assert_allclose(table[["p_a", "p_b", "p_c", "p_d"]], probs, atol=1e-6)
    given = probs[np.arange(240), blobs.given]
    np.testing.assert_allclose(table["suspicion"], probs.max(1) - given, atol=1e-6)
    assert table["predicted"].tolist() == [list("abcd")[k] for k in probs.argmax(1)]


LOSSES = [({}, False), ({"relative": False}, True), ({"weight": False}, False)]


@pytest.mark.parametrize(("changes", "weighted"), LOSSES)
def test_probabilities_are_weighted_only_where_alpha_itself_is_in_the_loss(changes, weighted, pictures, learn):
    learn.remove_cb(SCNCallback)
    learn.add_cb(SCNCallback(**changes))
    path = pictures.path / pictures.table["name"][0]
    table, plain = score_samples(learn, [path]), learn.predict(path)[2].numpy()
    alpha = table["alpha"][0] if weighted else 1.0
    expected = torch.from_numpy(np.log(plain) * alpha).softmax(0).numpy()
    names = [f"p_{name}" for name in learn.dls.vocab]
    np.testing.assert_allclose(table[names].iloc[0], expected, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_scoring_leaves_no_trace(training, learn):
    learn.model.train(training)
    head, norm = find_head(learn.model), learn.model[1].eval()  # as BnFreeze leaves a batch norm
    before = {k: v.clone() for k, v in learn.model.state_dict().items() if isinstance(v, torch.Tensor)}
    score_samples(learn)
    after = learn.model.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert learn.model.training is head.training is training and not norm.training
    assert head.alpha is None and not head.keep_alpha


def test_scoring_between_validations_of_weighted_inference(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback("released"))
    learn.fit(1)
    preds = learn.get_preds()[0]
    score_batches(learn.model, [blobs.x], list("abcd"))
    assert torch.equal(learn.get_preds()[0], preds)


def test_labels_give_suspicion_and_no_labels_none(learn, pictures):
    path = pictures.path / pictures.table["name"][0]
    assert "suspicion" in score_samples(learn) and "suspicion" not in score_samples(learn, [path])
    table = score_samples(learn, [path], labels=[1])
    assert table["p_given"][0] == table[f"p_{learn.dls.vocab[1]}"][0]


def test_a_network_without_alpha_is_refused(learn):
    learn.remove_cb(SCNCallback)
    with pytest.raises(SettingsError, match="no importance head and so no alpha: add SCNCallback"):
        score_samples(learn)


def test_a_bare_network_can_be_scored(tools):
    model, _ = attach_head(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))
    table = score_batches(model, [torch.rand(4, 3, 2, 2)], ["a", "b", "c"], weighted=False)
    assert len(table) == 4 and table["alpha"].between(0, 1).all()
    np.testing.assert_allclose(table[["p_a", "p_b", "p_c"]].sum(axis=1), 1, atol=1e-6)
