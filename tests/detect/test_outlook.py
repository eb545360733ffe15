"""What relabeling would do in each epoch, counted face by face."""

import math

import numpy as np
import pytest
import torch

from scn_fastai.detect.outlook import relabel_outlook
from scn_fastai.errors import DataError
from scn_fastai.training.history import SCNHistory

N, C, EPOCHS = 40, 4, 3


@pytest.fixture
def history():
    rng, made = np.random.default_rng(0), SCNHistory(N, C)
    for epoch in range(EPOCHS):
        made.begin_epoch("cpu")
        seen = torch.arange(0, N, 2) if epoch == 1 else torch.arange(N)  # half of them in the second
        logits = torch.from_numpy(rng.normal(0, 2, (len(seen), C)).astype(np.float32))
        made.see(seen, torch.full((len(seen),), 0.5), logits, torch.zeros(len(seen)) > 1)
        made.end_epoch()
    return made


@pytest.fixture
def labels():
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.integers(0, C, N)), torch.from_numpy(rng.integers(0, C, N))


def changes(probs, given, margin):
    """New label of each face that Eq. 5 changes."""
    moves = {}
    for i, p in probs.items():
        if max(p) - p[given[i]] > margin:
            moves[i] = p.index(max(p))
    return moves


def test_the_table_is_that_of_the_loops(history, labels):
    given, truth = (tensor.tolist() for tensor in labels)
    table = relabel_outlook(history, *labels, margin=0.2, decay=0.7)
    mean, weight = {}, {}
    for epoch in range(EPOCHS):
        now = {i: p.tolist() for i, p in enumerate(history.probs(epoch)) if np.isfinite(p).all()}
        for i, p in now.items():
            weight[i] = weight.get(i, 0) * 0.7 + 1
            old = mean.get(i, [0] * C)
            mean[i] = [m + (q - m) / weight[i] for m, q in zip(old, p, strict=True)]
        row = table.iloc[epoch]
        assert row["accuracy"] == pytest.approx(sum(p.index(max(p)) == truth[i] for i, p in now.items()) / len(now))
        for name, probs in (("step", now), ("averaged", mean)):
            moves = changes(probs, given, 0.2)
            assert row[f"{name}_changed"] == pytest.approx(len(moves) / N)
            assert row[f"{name}_right"] == pytest.approx(sum(truth[i] == to for i, to in moves.items()) / len(moves))


def test_where_nothing_would_change_nothing_is_right(history, labels):
    table = relabel_outlook(history, *labels, margin=1.0)
    assert (table["step_changed"] == 0).all() and all(math.isnan(x) for x in table["step_right"])


def test_other_samples_and_no_epoch_are_told(history, labels):
    with pytest.raises(DataError, match="3 epochs of 40 samples, but there are 39 given and 40 true"):
        relabel_outlook(history, labels[0][:-1], labels[1])
    with pytest.raises(DataError, match="0 epochs"):
        relabel_outlook(SCNHistory(N, C), *labels)
