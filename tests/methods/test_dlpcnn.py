"""DLP-CNN: the locality-preserving loss in plain loops, and that training uses it."""

import math
from dataclasses import replace

import pytest
import torch
from made_methods import TRAIN, Batches, fitted
from small_faces import small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods.dlpcnn import locality_loss


def loss_by_loops(x, labels, k):
    """1/B sum_i 1/2 || x_i - mean of the k nearest of i's class in the batch ||^2."""
    total = 0.0
    for i, (row, label) in enumerate(zip(x, labels, strict=True)):
        others = [j for j in range(len(x)) if j != i and labels[j] == label]
        near = sorted(others, key=lambda j: math.dist(row, x[j]))[:k]
        if near:
            middle = [sum(x[j][d] for j in near) / len(near) for d in range(len(row))]
            total += 0.5 * math.dist(row, middle) ** 2
    return total / len(x)


@pytest.mark.parametrize("k", [1, 3, 20, 1000])
def test_the_loss_is_that_of_the_definition(tiny, k):
    x, labels = torch.randn(30, 4), torch.cat([torch.randint(0, 3, (29,)), torch.tensor([7])])  # 7 is alone
    assert float(locality_loss(x, labels, k)) == pytest.approx(loss_by_loops(x.tolist(), labels.tolist(), k), rel=1e-5)


def test_classes_alone_and_equal_points_cost_nothing():
    x = torch.randn(4, 3, requires_grad=True)
    loss = locality_loss(x, torch.arange(4))
    loss.backward()
    assert loss == 0 and (x.grad == 0).all()
    assert locality_loss(torch.ones(5, 2), torch.zeros(5)) == 0


def test_a_step_brings_a_class_together(tiny):
    x, labels = torch.randn(20, 3, requires_grad=True), torch.arange(20) % 2
    before = locality_loss(x, labels, 5)
    before.backward()
    with torch.no_grad():
        assert locality_loss(x - 0.5 * x.grad, labels, 5) < before


def test_training_adds_it():
    """With weight 0 it is plain cross-entropy; with a large one features of a class are closer."""
    plain, none = Batches(), Batches()
    train = replace(TRAIN, epochs=2)
    fitted("plain", train, callbacks=[plain])
    fitted("dlpcnn:weight=0", train, callbacks=[none])
    assert [loss for *_, loss in none.seen] == pytest.approx([loss for *_, loss in plain.seen], rel=1e-4)
    some = Batches()
    fitted("dlpcnn:weight=0.1:k=4", train, callbacks=[some])
    assert some.seen[0][3] > plain.seen[0][3] and some.seen[0][1] == plain.seen[0][1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("weight=-1", "^weight is -1, but it must be a number of 0 or more.$"),
        ("k=0", "^k is 0, but it must be a whole number of 1 or more.$"),
    ],
)
def test_an_option_out_of_range(options, words):
    with pytest.raises(SettingsError, match=words):
        face_learner(small_faces(64, 32, size=24), f"dlpcnn:{options}", TRAIN)
