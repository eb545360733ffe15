"""MetaCleaner: weighting and hallucinating in plain loops, groups of one class, and what is left at test."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_methods import TRAIN, Batches, fitted
from small_faces import small_faces
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods import METHODS
from scn_fastai.methods.metacleaner import MetaCleaner, NoisyWeighting, group_order, hallucinate


def clean_by_loops(features, net):
    """s = softmax(W2 relu(W1 [f_1; ...; f_K])), each f_k of length 1 there, v = sum_k s_k f_k; one group."""
    row = [v / math.sqrt(sum(u * u for u in f)) for f in features for v in f]
    w1, b1 = net.first.weight.tolist(), net.first.bias.tolist()
    w2, b2 = net.second.weight.tolist(), net.second.bias.tolist()
    hidden = [max(0.0, sum(w * v for w, v in zip(ws, row, strict=True)) + b) for ws, b in zip(w1, b1, strict=True)]
    scores = [sum(w * h for w, h in zip(ws, hidden, strict=True)) + b for ws, b in zip(w2, b2, strict=True)]
    confidence = [math.exp(s) / sum(math.exp(t) for t in scores) for s in scores]
    width = len(features[0])
    return confidence, [sum(s * f[d] for s, f in zip(confidence, features, strict=True)) for d in range(width)]


def test_a_clean_feature_is_the_weighted_mean(tiny):
    net, features = NoisyWeighting(3, 5, width=4), torch.randn(2, 3, 5)
    torch.nn.init.normal_(net.second.weight)
    confidence = net(features)
    clean = hallucinate(features, confidence)
    for g in range(2):
        by_loops = clean_by_loops(features[g].tolist(), net)
        assert confidence[g].tolist() == pytest.approx(by_loops[0], rel=1e-5)
        assert clean[g].tolist() == pytest.approx(by_loops[1], rel=1e-4, abs=1e-6)


def test_at_first_all_count_alike_and_their_lengths_never_count(tiny):
    net, features = NoisyWeighting(3, 5, width=4), torch.randn(2, 3, 5)
    assert torch.allclose(net(features), torch.tensor(1 / 3))
    torch.nn.init.normal_(net.second.weight)
    longer = features * torch.tensor([1.0, 9.0, 0.1])[None, :, None]
    assert torch.allclose(net(features), net(longer), atol=1e-5)
    assert net(features).std() > 0.01


@pytest.mark.parametrize("group", [1, 4, 5])
def test_groups_are_of_one_class(tiny, group):
    labels = torch.tensor([0] * 37 + [1] * 2 + [2] * 21)
    order = group_order(labels, group)
    assert len(order) == 60
    whole = order[: 60 // group * group].view(-1, group)
    assert (labels[whole] == labels[whole[:, :1]]).all()
    drawn = torch.bincount(order, minlength=60)
    assert drawn[labels != 1].max() <= 2 and (drawn == 0).sum() < 3 * group  # what three classes lend twice
    assert group > 1 or (drawn == 1).all()


def test_groups_change_from_epoch_to_epoch(tiny):
    labels = torch.arange(64) % 2
    assert not torch.equal(group_order(labels, 4), group_order(labels, 4))


def test_training_learns_from_groups():
    batches = Batches()
    learn = fitted("metacleaner", callbacks=[batches])
    for _, _, labels, _ in batches.seen:
        groups = torch.tensor(labels).view(-1, 4)
        assert (groups == groups[:, :1]).all()
    weighting = learn.meta_cleaner.part
    start = face_learner(small_faces(96, 32, size=24), "metacleaner", TRAIN).meta_cleaner.part
    assert not torch.equal(weighting.first.weight, start.first.weight)
    suspicion = learn.meta_cleaner.suspicion.numpy()
    seen = np.isfinite(suspicion)
    assert seen.mean() > 0.9 and suspicion[seen].max() <= 1 and suspicion[seen].min() >= -3
    assert abs(suspicion[seen].mean()) < 0.2 and suspicion[seen].std() > 0


def test_a_group_of_one_is_plain_cross_entropy():
    """v is then the feature itself, with the same dropout; the weighting gets no gradient."""
    batches, plain = Batches(), {}
    learn = face_learner(small_faces(96, 32, size=24), "metacleaner:group=1", replace(TRAIN, epochs=1))
    learn.add_cbs([batches, Plain(plain)])
    head = learn.meta_cleaner.head
    head.dropout.p = 0.0
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert [loss for *_, loss in batches.seen] == pytest.approx(plain["losses"], rel=1e-5)
    assert (learn.meta_cleaner.suspicion[learn.meta_cleaner.suspicion.isfinite()] == 0).all()


class Plain(Batches):
    """Cross-entropy of the network's own logits."""

    def __init__(self, into):
        into["losses"] = self.losses = []

    def after_loss(self):
        if self.training:
            self.losses.append(torch.nn.functional.cross_entropy(self.learn.pred, self.learn.yb[0]).item())


def test_a_batch_smaller_than_a_group_is_plain_cross_entropy():
    learn = face_learner(small_faces(96, 32, size=24), "metacleaner", TRAIN)
    callback = next(cb for cb in learn.cbs if isinstance(cb, MetaCleaner))
    logits, label = torch.randn(2, 8), torch.tensor([1, 3])
    assert torch.equal(callback.batch_loss(logits, label, torch.arange(2)), nn.functional.cross_entropy(logits, label))


def test_single_adds_the_loss_of_each_face():
    losses, plain = Batches(), {}
    learn = face_learner(small_faces(96, 32, size=24), "metacleaner:single=2:group=1", replace(TRAIN, epochs=1))
    learn.add_cbs([losses, Plain(plain)])
    learn.meta_cleaner.head.dropout.p = 0.0
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
    assert [loss for *_, loss in losses.seen] == pytest.approx([3 * loss for loss in plain["losses"]], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("group=0", "^group is 0, but it must be a whole number of 1 or more.$"),
        ("width=x", "^width is "),
        ("single=-1", "^single is "),
        ("group=5", "^metacleaner draws groups of 5 faces, which do not fill batches of 32: choose a batch size that"),
    ],
)
def test_an_option_out_of_range(options, words):
    with pytest.raises(SettingsError, match=words):
        fitted(f"metacleaner:{options}", replace(TRAIN, epochs=1))


def test_batches_that_are_not_whole_groups_are_one_sentence_before_anything_trains():
    learn = face_learner(small_faces(96, 32, size=24), "plain", TRAIN)
    with pytest.raises(SettingsError, match="^metacleaner draws groups of 5 faces, which do not fill batches of 32"):
        METHODS["metacleaner"].prepare(learn, group=5)
    assert not any(isinstance(cb, MetaCleaner) for cb in learn.cbs)
