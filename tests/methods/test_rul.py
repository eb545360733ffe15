"""RUL against loops: the mixture, the loss, the sign of its gradient, and what stays after training."""

import math

import pytest
import torch
from oracle import softmax
from small_faces import small_faces

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.rul import add_up_loss, mix_by_uncertainty

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


def data(n=6):
    g = torch.Generator().manual_seed(0)
    x, u = torch.randn(n, 3, generator=g), torch.randn(n, generator=g)
    return x, u, torch.randperm(n, generator=g), torch.randint(4, (n,), generator=g)


def test_the_mixture_is_that_of_the_loops():
    x, u, partner, _ = data()
    found = mix_by_uncertainty(x, u, partner).tolist()
    for i, j in enumerate(partner.tolist()):
        a, b = math.exp(u[i]), math.exp(u[j])
        mixed = [(a * v + b * w) / (a + b) for v, w in zip(x[i].tolist(), x[j].tolist(), strict=True)]
        assert found[i] == pytest.approx(mixed, abs=1e-6)


def test_the_loss_is_that_of_the_loops():
    _, _, partner, y = data()
    z = torch.randn(6, 4)
    total = sum(
        -0.5 * math.log(softmax(row)[y[i]]) - 0.5 * math.log(softmax(row)[y[j]])
        for i, (row, j) in enumerate(zip(z.tolist(), partner.tolist(), strict=True))
    )
    assert float(add_up_loss(z, y, partner)) == pytest.approx(total / 6, rel=1e-5)


def test_a_face_that_is_hard_to_find_in_the_mixture_learns_more_uncertainty():
    """Sample 0's feature speaks weakly for its class, sample 1's strongly: 0 asks for the larger share."""
    x, u = torch.tensor([[1.0, 0.0], [0.0, 5.0]]), torch.zeros(2, requires_grad=True)
    partner = torch.tensor([1, 0])
    add_up_loss(mix_by_uncertainty(x, u, partner), torch.tensor([0, 1]), partner).backward()
    assert u.grad[0] < 0 < u.grad[1]


def test_a_huge_uncertainty_gives_no_nan():
    x, _, partner, _ = data()
    assert mix_by_uncertainty(x, torch.full((6,), 500.0), partner).isfinite().all()


def test_the_layer_is_trained_and_every_seen_sample_has_a_value():
    learn = face_learner(small_faces(40, 16, size=16), "rul", TRAIN)
    before = learn.relative_uncertainty.uncertainty.weight.detach().clone()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.05)
    callback = learn.relative_uncertainty
    assert not torch.equal(before, callback.uncertainty.weight)
    assert torch.equal(callback.log_uncertainty.isfinite(), torch.from_numpy(learn.scn.history.seen[0]))
