"""The trivial solution of section 3.2, seen: alpha falls to 0; and that alternation keeps it alive."""

from dataclasses import replace

import pytest
import torch
from small_faces import small_faces

from scn_fastai.data.noise import flip_labels
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.alphaloss import alpha_weighted_loss, alternating_loss

TRAIN = TrainSettings(arch="small", epochs=8, batch_size=32, device="cpu", half=False)


def test_the_loss_is_that_of_the_loops_and_pushes_every_alpha_down():
    each, alpha = torch.tensor([0.5, 2.0, 0.0]), torch.tensor([0.9, 0.4, 0.5], requires_grad=True)
    loss = alpha_weighted_loss(each, alpha)
    assert loss.item() == pytest.approx((0.9 * 0.5 + 0.4 * 2.0) / 3)
    loss.backward()
    assert alpha.grad.tolist() == pytest.approx([0.5 / 3, 2 / 3, 0])


def test_alternation_holds_one_fixed_while_the_other_moves():
    z = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    alpha = torch.tensor([0.9, 0.4, 0.5], requires_grad=True)
    alternating_loss(z, alpha, keep=0.5).backward()
    assert z.grad.tolist() == pytest.approx([0.3, 0.4 / 3, 0.5 / 3])  # alpha / B: nothing of the second term
    assert alpha.grad.tolist() == pytest.approx([-1 / 3, 0, 2 / 3])  # CE - lambda: nothing of the first


def alphas(name):
    faces = small_faces(256, 64, size=24)
    labels = flip_labels(faces.part("train").samples["label"], 0.3, seed=1, classes=faces.classes).labels
    learn = face_learner(faces.with_labels(labels), name, replace(TRAIN, seed=1))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(TRAIN.epochs, 0.05)
    rows = learn.scn.history.frame()
    return rows["alpha_mean"].tolist(), rows["accuracy"].iloc[-1]


def test_alpha_collapses_without_the_cure_and_not_with_it():
    fallen, _ = alphas("alphaloss")
    cured, accuracy = alphas("alphaloss:alternate=true")
    assert fallen[-1] < 0.05 and fallen[-1] < 0.2 * fallen[0]
    assert cured[-1] > 0.4 and accuracy > 0.5
