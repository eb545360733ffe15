"""A batch of a run in an epoch: what the epoch had of each sample, and the labels that it trained on."""

from functools import partial

import numpy as np
import pytest
import torch
from made_runs import make_run

from scn_fastai.errors import DataError, RunError
from scn_fastai.training.run_batch import draw_batch, run_batch


@pytest.fixture
def new_run(tmp_path):
    """`make_run` with a folder of its own."""
    return partial(make_run, tmp_path)


def test_a_batch_is_what_the_epoch_had(new_run):
    run = new_run()
    batch = run_batch(run, [7, 3, 50], epoch=1)
    assert batch.samples.tolist() == [7, 3, 50] and batch.unseen.size == 0 and batch.weighting
    assert batch.alpha.tolist() == run.history.alpha[1][[7, 3, 50]].tolist()
    assert np.array_equal(batch.logits.numpy(), run.history.logits[1][[7, 3, 50]].astype(np.float32))


def test_labels_are_those_that_the_epoch_trained_on(new_run):
    run, everyone = new_run(), np.arange(60)
    changed = (run.ledger.at(1) != run.ledger.at(0)).nonzero().squeeze(1)
    assert len(changed)  # the epoch 1 changes labels: epoch 1 did not train on them, epoch 2 did
    assert torch.equal(run_batch(run, everyone, 1).target, run.ledger.at(0))
    assert torch.equal(run_batch(run, everyone, 2).target, run.ledger.at(1))
    assert torch.equal(run_batch(run, everyone, -1).given, run.ledger.given)


def test_samples_that_were_not_seen_are_left_out(new_run):
    run = new_run(unseen=2)
    batch = run_batch(run, [59, 0, 58])
    assert batch.samples.tolist() == [0] and batch.unseen.tolist() == [59, 58] and len(batch.alpha) == 1
    assert len(run_batch(run, [59]).alpha) == 0 and not set(draw_batch(run, size=60).tolist()) & {58, 59}


def test_evidence_is_the_mean_of_the_epochs(new_run):
    run, sample = new_run(), 5
    run.settings["scn"]["evidence_decay"] = 0.5
    probs = [run.history.probs(epoch)[sample] for epoch in range(3)]
    expected = (0.25 * probs[0] + 0.5 * probs[1] + probs[2]) / 1.75
    np.testing.assert_allclose(run_batch(run, [sample]).evidence[0], expected, atol=1e-6)
    np.testing.assert_allclose(run_batch(run, [sample], epoch=0).evidence[0], probs[0], atol=1e-6)


def test_evidence_knows_when_weighting_began(new_run):
    run = new_run(epochs=2)
    run.history._rows[0] |= {"weighting": False, "relative": True}
    run.history._rows[1] |= {"weighting": True, "relative": True}
    first, second = run_batch(run, [5], 0), run_batch(run, [5], 1)
    assert not first.weighting and second.weighting
    raw, weighted = run.history.probs(0, "raw")[5], run.history.probs(1)[5]
    np.testing.assert_allclose(first.evidence[0], raw, atol=1e-6)
    np.testing.assert_allclose(second.evidence[0], (raw + weighted) / 2, atol=1e-6)


def test_drawn_batches(new_run):
    run = new_run()
    assert draw_batch(run, size=8, seed=3).tolist() == draw_batch(run, size=8, seed=3).tolist()
    assert draw_batch(run, size=8, seed=3).tolist() != draw_batch(run, size=8, seed=4).tolist()
    assert sorted(draw_batch(run, size=1000).tolist()) == list(range(60))


def test_what_does_not_exist_is_a_sentence(new_run):
    run = new_run()
    with pytest.raises(RunError, match="no epoch 3 in this run, which has 3"):
        run_batch(run, [0], 3)
    with pytest.raises(RunError, match="no epoch yet"):
        draw_batch(new_run(epochs=0))
    with pytest.raises(DataError, match="not one of the 60 training samples"):
        run_batch(run, [60])
    with pytest.raises(DataError, match="at least 1 sample"):
        draw_batch(run, size=0)
    run.history = None
    with pytest.raises(RunError, match="no labels yet"):
        run_batch(run, [0])
