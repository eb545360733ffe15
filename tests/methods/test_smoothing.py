"""Label smoothing through the recipe's name: the loss is the smoothed one, training goes through the one entry."""

import math

import pytest
import torch
from small_faces import small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces
from scn_fastai.experiments.recipes import recipe

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=32, device="cpu", half=False)


def by_loops(z, y, eps):
    """L = -sum_k t_k log p_k, t = (1 - eps) onehot(y) + eps / C, mean over the batch; in plain loops."""
    total = 0.0
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        norm = math.log(sum(math.exp(v) for v in row))
        for k, v in enumerate(row):
            total -= ((1 - eps) * (k == label) + eps / len(row)) * (v - norm)
    return total / len(z)


def test_the_loss_is_that_of_smoothed_labels():
    learn = face_learner(small_faces(64, 32, size=24), "smoothing:eps=0.3", TRAIN)
    z, y = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    assert float(learn.loss_func(z, y)) == pytest.approx(by_loops(z, y, 0.3), rel=1e-5)


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
