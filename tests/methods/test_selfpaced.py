"""Self-paced learning: weights are the best ones for fixed losses, are solved for between epochs, and do weigh."""

import numpy as np
import pytest
import torch
from small_faces import small_faces
from torch.nn.functional import cross_entropy

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.selfpaced import best_weights, mentornet_weights, share_at

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)
GRID = np.linspace(0, 1, 2001)


@pytest.mark.parametrize("loss", [0.1, 0.99, 1.2, 1.9, 2.6])
@pytest.mark.parametrize("slope", [0.0, 0.5, 1.5])
def test_the_weights_minimise_the_objective(loss, slope):
    """By trying every weight: v l - lambda1 v, or v l + lambda2 / 2 v^2 - (lambda1 + lambda2) v."""
    objective = GRID * loss + slope / 2 * GRID**2 - (1.0 + slope) * GRID
    best = GRID[objective.argmin()]
    assert float(best_weights(torch.tensor([loss]), 1.0, slope)) == pytest.approx(best, abs=1e-3)


def test_mentornets_three_phases():
    loss = torch.tensor([0.2, 1.4, 5.0])
    phases = [mentornet_weights(loss, 1.0, p).tolist() for p in (0.18, 0.19, 0.89, 0.9)]
    assert phases[0] == [1, 1, 1] and phases[1] == phases[2] == [1, 0, 0]
    assert phases[3] == pytest.approx([1, 0.6, 0])


def test_the_share_grows():
    assert [share_at(e, 0.5, 0.9, 4) for e in range(6)] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 0.9])


def test_weights_come_from_the_last_epochs_losses():
    learn = face_learner(small_faces(40, 16, size=16), "selfpaced:start=0.25:end=0.25", TRAIN)
    callback, ledger = learn.self_paced, learn.scn.ledger
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
        assert (callback.weight == 1).all()
        seen, losses = torch.from_numpy(learn.scn.history.seen[0]), callback.seen_loss.clone()
        assert torch.equal(losses.isfinite(), seen)
        ours = cross_entropy(torch.from_numpy(learn.scn.history.logits[0]).float(), ledger.given, reduction="none")
        assert torch.allclose(losses[seen], ours[seen], atol=5e-3)  # history keeps half precision
        learn.fit(1, 0.01)
    easy = sorted(losses[seen].tolist())[:8]  # a quarter of 32
    assert torch.equal(callback.weight == 1, (losses <= easy[-1]) | ~seen)


def test_a_weight_of_zero_has_no_gradient():
    learn = face_learner(small_faces(40, 16, size=16), "selfpaced", TRAIN)
    callback = learn.self_paced
    callback.weight, callback.seen_loss = torch.tensor([1.0, 0.0, 0.5]), torch.zeros(3)
    z, y = torch.randn(3, 4, requires_grad=True), torch.tensor([0, 1, 2])
    loss = callback.batch_loss(z, y, torch.arange(3))
    each = cross_entropy(z, y, reduction="none")
    assert loss.item() == pytest.approx((each[0] + 0.5 * each[2]).item() / 3, rel=1e-5)
    loss.backward()
    assert (z.grad[1] == 0).all() and (z.grad[2] != 0).any()
