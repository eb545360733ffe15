"""Label smoothing: the loss in training is the smoothed one, that of validation is not, and its name is a recipe."""

import math

import pytest
import torch
from fastai.learner import Callback
from small_faces import small_faces
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces
from scn_fastai.experiments.recipes import recipe
from scn_fastai.methods.smoothing import LabelSmoothing

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=32, device="cpu", half=False)


def by_loops(z, y, eps):
    """L = -sum_k t_k log p_k, t = (1 - eps) onehot(y) + eps / C, mean over the batch; in plain loops."""
    total = 0.0
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        norm = math.log(sum(math.exp(v) for v in row))
        for k, v in enumerate(row):
            total -= ((1 - eps) * (k == label) + eps / len(row)) * (v - norm)
    return total / len(z)


@pytest.mark.parametrize("eps", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_smoothed_labels(tiny, eps):
    z, y = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    assert float(LabelSmoothing(eps).batch_loss(z, y, y)) == pytest.approx(by_loops(z, y, eps), rel=1e-5)


class Seen(Callback):
    """Logits, labels and loss of each training batch."""

    order = 9

    def __init__(self):
        self.batches = []

    def after_loss(self):
        if self.training:
            self.batches.append((self.learn.pred.detach(), self.learn.yb[0], self.learn.loss.item()))


def test_training_has_the_smoothed_loss_and_validation_cross_entropy():
    learn, seen = face_learner(small_faces(64, 32, size=24), "smoothing:eps=0.3", TRAIN), Seen()
    learn.add_cb(seen)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
        loss, *_ = learn.validate()
        logits, labels = learn.get_preds(act=nn.Identity())
    assert len(seen.batches) == 2
    assert all(loss == pytest.approx(by_loops(z, y, 0.3), rel=1e-5) for z, y, loss in seen.batches)
    assert loss == pytest.approx(by_loops(logits, labels, 0.0), rel=1e-5)
    assert learn.scn.history.last("valid_loss") == pytest.approx(loss, rel=1e-5)


def test_it_trains_like_every_recipe():
    summary = train_faces(small_faces(96, 32, size=24), "smoothing", TRAIN, bar=False)
    assert summary["recipe"] == "smoothing" and summary["changed"] == 0 and 0 <= summary["accuracy_last"] <= 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("smoothing:beta=0.5", "setting of SCN"),
        ("smoothing:epsilon=0.5", "there are: eps"),
        ("smooth", "no recipe 'smooth'"),
    ],
)
def test_an_unknown_option_gets_a_sentence(name, words):
    with pytest.raises(SettingsError, match=words):
        recipe(name)
