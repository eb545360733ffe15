"""GCE against loops, at its two ends, and its gradient."""

import pytest
import torch
from oracle import softmax
from torch.nn.functional import cross_entropy

from scn_fastai.methods.gce import gce_loss


def data():
    g = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=g), torch.randint(4, (6,), generator=g)


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_the_loss_is_that_of_the_loops(q):
    z, y = data()
    each = [(1 - softmax(row)[label] ** q) / q for row, label in zip(z.tolist(), y.tolist(), strict=True)]
    assert float(gce_loss(z, y, q)) == pytest.approx(sum(each) / len(each), rel=1e-5)


def test_a_small_q_is_cross_entropy():
    z, y = data()
    assert float(gce_loss(z, y, 0.001)) == pytest.approx(float(cross_entropy(z, y)), rel=2e-3)


def test_the_gradient_is_that_of_cross_entropy_times_a_power_of_p():
    z, y = data()
    z.requires_grad_()
    (ours,) = torch.autograd.grad(gce_loss(z, y, 0.7), z)
    (ce,) = torch.autograd.grad(cross_entropy(z, y), z)
    p = z.detach().softmax(1).gather(1, y[:, None])
    assert torch.allclose(ours, ce * p**0.7, atol=1e-6)


def test_a_hopeless_label_gives_no_nan():
    z = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = gce_loss(z, torch.tensor([1]))
    loss.backward()
    assert float(loss) == pytest.approx(1 / 0.7) and z.grad.isfinite().all()
