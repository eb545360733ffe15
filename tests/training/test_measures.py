"""Figures about labels, against counting by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from scn_fastai.training.measures import MeanClassAccuracy, label_accuracy, repair_measures


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


def test_mean_class_accuracy_against_loops_and_sklearn():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(90, 4, generator=generator), torch.randint(0, 3, (90,), generator=generator)
    metric = MeanClassAccuracy()
    metric.reset()
    assert metric.value is None
    for part in torch.arange(90).split(32):
        metric.accumulate(SimpleNamespace(pred=logits[part], y=labels[part]))
    predicted = logits.argmax(1)
    by_hand = sum((predicted[labels == c] == c).float().mean().item() for c in range(3)) / 3
    assert metric.value == pytest.approx(by_hand, abs=1e-6), "a class that does not occur does not count"
    with pytest.warns(UserWarning, match="y_pred contains classes"):
        assert metric.value == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-6)
    metric.reset()
    assert metric.value is None
