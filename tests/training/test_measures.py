"""Figures about labels, against counting by hand."""

import math

import numpy as np
import pytest
import torch

from scn_fastai.training.measures import label_accuracy, repair_measures


def count(given, current, truth):
    """The definitions of `repair_measures` in plain Python."""
    rows = list(zip(given, current, truth, strict=True))
    changed = [(g, c, t) for g, c, t in rows if g != c]
    share = lambda part, whole: len(part) / len(whole) if whole else math.nan  # noqa: E731
    cured = [row for row in changed if row[1] == row[2]]
    return {
        "changed": len(changed),
        "relabel_precision": share(cured, changed),
        "relabel_recall": share(cured, [row for row in rows if row[0] != row[2]]),
        "relabel_harm": share([row for row in changed if row[0] == row[2]], changed),
        "label_accuracy_before": share([row for row in rows if row[0] == row[2]], rows),
        "label_accuracy_after": share([row for row in rows if row[1] == row[2]], rows),
    }


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("form", [torch.tensor, np.array, list])
def test_repair_is_counted_as_defined(seed, form):
    labels = np.random.default_rng(seed).integers(3, size=(3, 50)).tolist()
    assert repair_measures(*map(form, labels)) == pytest.approx(count(*labels))


@pytest.mark.parametrize("labels, nothing", [
    (([0, 1], [0, 1], [0, 1]), {"relabel_precision", "relabel_recall", "relabel_harm"}),
    (([0, 1], [0, 1], [1, 1]), {"relabel_precision", "relabel_harm"}),
    (([0, 1], [1, 1], [0, 1]), {"relabel_recall"}),
])  # fmt: skip
def test_a_share_of_nothing_is_nan(labels, nothing):
    measures = repair_measures(*map(torch.tensor, labels))
    assert {name for name, value in measures.items() if math.isnan(value)} == nothing


def test_a_wrong_label_changed_to_another_wrong_one_is_neither_cure_nor_harm():
    measures = repair_measures(*map(torch.tensor, ([0], [1], [2])))
    assert (measures["relabel_precision"], measures["relabel_recall"], measures["relabel_harm"]) == (0, 0, 0)


def test_accuracy_is_over_the_samples_that_were_seen(tiny):
    logits, labels = torch.randn(40, 3, generator=tiny), torch.randint(3, (40,), generator=tiny)
    seen = torch.rand(40, generator=tiny) < 0.5
    rows = zip(logits.tolist(), labels.tolist(), seen.tolist(), strict=True)
    right = [row.index(max(row)) == label for row, label, drawn in rows if drawn]
    assert label_accuracy(logits, seen, labels) == pytest.approx(sum(right) / len(right))
    assert label_accuracy(logits.half(), torch.zeros(40, dtype=torch.bool), labels) == 0
