"""ELR against loops: the averaged targets, the loss, its gradient, and the targets of a whole epoch by sample."""

import math

import pytest
import torch
from oracle import softmax
from small_faces import small_faces

from scn_fastai.core import average_evidence, early_target
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.elr import average_target, elr_loss

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


def by_loops(z, y, target, strength):
    """CE + strength * mean log(1 - <t, p>)."""
    total = 0.0
    for row, label, t in zip(z.tolist(), y.tolist(), target.tolist(), strict=True):
        p = softmax(row)
        total += -math.log(p[label]) + strength * math.log(1 - sum(a * b for a, b in zip(t, p, strict=True)))
    return total / len(z)


def batch(seed=0):
    g = torch.Generator().manual_seed(seed)
    z, y = torch.randn(6, 4, generator=g), torch.randint(4, (6,), generator=g)
    return z, y, torch.rand(6, 4, generator=g) / 4


def test_the_loss_is_that_of_the_loops():
    z, y, target = batch()
    assert float(elr_loss(z, y, target, 3.0)) == pytest.approx(by_loops(z, y, target, 3.0), rel=1e-5)
    assert float(elr_loss(z, y, torch.zeros(6, 4), 3.0)) == pytest.approx(by_loops(z, y, torch.zeros(6, 4), 0.0))


def test_targets_are_a_decayed_mean():
    _, _, target = batch()
    probs = torch.rand(6, 4)
    found = average_target(target, probs, 0.7).tolist()
    for t, p, row in zip(target.tolist(), probs.tolist(), found, strict=True):
        assert row == pytest.approx([0.7 * a + 0.3 * b / sum(p) for a, b in zip(t, p, strict=True)])


def test_an_early_target_is_the_running_mean_from_zero_that_elr_keeps():
    n, c = 5, 4
    torch.manual_seed(0)
    scores = torch.randn(4, n, c, dtype=torch.float64)
    mean, count, elr = torch.zeros(n, c).double(), torch.zeros(n).double(), torch.zeros(n, c).double()
    for logits in scores:
        found, elr = early_target(mean, count, logits, 0.7), average_target(elr, logits.softmax(1), 0.7)
        torch.testing.assert_close(found, elr, atol=1e-3, rtol=0)
        average_evidence(mean, count, torch.arange(n), logits.softmax(1), 0.7)


def test_the_target_weakens_a_label_that_contradicts_it():
    """The gradient on the given class's logit is smaller in size where the target says another class."""
    z = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    wrong = torch.tensor([1])

    def pull(strength):
        (grad,) = torch.autograd.grad(elr_loss(z, wrong, torch.tensor([[0.9, 0.05, 0.05]]), strength), z)
        return -float(grad[0, 1])

    assert 0 < pull(3.0) < 0.2 * pull(0.0)


def test_an_epoch_writes_every_drawn_samples_own_target():
    learn = face_learner(small_faces(40, 16, size=16), "elr:beta=0.5", TRAIN)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.0)
    target, history = learn.early_learning.target, learn.scn.history
    assert target.shape == (40, 8) and history.seen[0].sum() == 32
    expected = 0.5 * torch.from_numpy(history.logits[0]).float().softmax(1)
    expected[~torch.from_numpy(history.seen[0])] = 0
    assert torch.allclose(target, expected, atol=1e-3)  # history keeps half precision
