"""Class weights against loops, and the loss that they make."""

import pytest
import torch
from oracle import wce
from small_faces import small_faces

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods import weightedloss
from scn_fastai.methods.weightedloss import WeightedLoss, class_weights

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_weights_are_those_of_the_loops(power):
    label = [0] * 6 + [1] * 3 + [3]
    expected = [(10 / (4 * label.count(k))) ** power if label.count(k) else 0 for k in range(4)]
    assert class_weights(torch.tensor(label), 4, power).tolist() == pytest.approx(expected)


def test_every_class_weighs_the_same_over_the_data_set():
    label = torch.randint(5, (200,))
    weight = class_weights(label, 5)[label]
    sums = [float(weight[label == k].sum()) for k in range(5)]
    assert sums == pytest.approx([40] * 5) and float(weight.mean()) == pytest.approx(1)


def test_the_loss_is_that_of_the_loops():
    learn = face_learner(small_faces(48, 16, size=16), "weightedloss", TRAIN)
    learn.scn.ledger.override(list(range(40)), "fear")
    callback = learn.weighted_loss
    callback.before_train()
    weight = callback.class_weight.tolist()
    current = learn.scn.ledger.current.tolist()
    assert weight == pytest.approx([48 / (8 * current.count(k)) if current.count(k) else 0 for k in range(8)])
    z, y = torch.randn(4, 8), torch.tensor([6, 0, 1, 6])
    pulls = [weight[k] for k in y.tolist()]
    each = [wce([row], [1.0], [k]) for row, k in zip(z.tolist(), y.tolist(), strict=True)]
    expected = sum(a * b for a, b in zip(pulls, each, strict=True)) / sum(pulls)
    assert float(callback.batch_loss(z, y, torch.arange(4))) == pytest.approx(expected, rel=1e-5)


def test_processes_that_share_a_batch_weigh_as_one_does(monkeypatch):
    """The mean of two processes' losses, each of half a batch, is the loss of the whole batch."""
    callback = WeightedLoss()
    callback.class_weight = torch.tensor([4.0, 1.0, 0.5])
    z, y = torch.randn(6, 3), torch.tensor([0, 0, 1, 2, 2, 2])
    whole = callback.batch_loss(z, y, y)
    monkeypatch.setattr(weightedloss, "mean_of_all", lambda _: callback.class_weight[y].sum() / 2)
    halves = [callback.batch_loss(z[part], y[part], y[part]) for part in (slice(3), slice(3, 6))]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), rel=1e-5)
