"""Figures about labels: how accurate, how many were cured, how many harmed; and accuracy as a mean over classes."""

import torch
from fastai.learner import Metric
from torch import Tensor


def label_accuracy(logits: Tensor, seen: Tensor, labels: Tensor) -> float:
    """Share of the seen samples whose prediction is their label.

    >>> label_accuracy(torch.tensor([[1., 0.], [1., 0.]]), torch.tensor([True, True]), torch.tensor([0, 1]))
    0.5
    """
    right = (logits.argmax(1) == labels) & seen
    return right.sum().item() / max(1, seen.sum().item())


def mean_class_accuracy(right: Tensor, total: Tensor) -> Tensor:
    """Accuracy of each class, averaged over the classes that occur: AffectNet's measure in the SCN paper, Table 2.

    mean_c right_c / total_c, over the classes with total_c > 0; NaN without any.

    Args:
        right: Tensor ``[C]``, samples of each class that were predicted rightly.
        total: Tensor ``[C]``, samples of each class.

    >>> mean_class_accuracy(torch.tensor([90, 1, 0]), torch.tensor([100, 2, 0]))
    tensor(0.7000)
    """
    there = total > 0
    return (right[there] / total[there]).mean()


class MeanClassAccuracy(Metric):
    """`mean_class_accuracy` of a validation, for a Learner's epoch table; the host waits for it once an epoch."""

    name = "mean_class_accuracy"

    def reset(self) -> None:
        """Begin anew."""
        self.right = self.total = None

    def accumulate(self, learn) -> None:
        """Count a batch."""
        labels = learn.y.as_subclass(Tensor).flatten()
        logits = learn.pred.as_subclass(Tensor)
        if self.total is None:
            self.right, self.total = (logits.new_zeros(logits.shape[-1], dtype=torch.long) for _ in range(2))
        hits = (logits.argmax(-1).flatten() == labels).long()
        self.total.index_add_(0, labels, torch.ones_like(hits))
        self.right.index_add_(0, labels, hits)

    @property
    def value(self) -> float | None:
        """The figure, None before a batch was seen."""
        return None if self.total is None else mean_class_accuracy(self.right, self.total).item()


class HistoryColumn(Metric):
    """A figure of the last epoch in an SCNCallback's history, for the Learner's epoch table."""

    def __init__(self, scn, column: str):
        self.scn, self.column = scn, column

    @property
    def value(self) -> float:
        """The figure."""
        return self.scn.history.last(self.column)

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column


def repair_measures(given: Tensor, current: Tensor, truth: Tensor) -> dict[str, float]:
    """What relabeling did, judged by the true labels of the final state.

    precision = changed and now true / changed; recall = changed and now true / wrong at the start;
    harm = changed and was true / changed. A share of nothing is NaN.

    Args:
        given: int64 Tensor ``[N]``, the labels at the start.
        current: int64 Tensor ``[N]``, the labels now.
        truth: int64 Tensor ``[N]``.

    >>> m = repair_measures(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 1, 0]), torch.tensor([1, 0, 1, 0]))
    >>> m["changed"], round(m["relabel_precision"], 2), m["relabel_recall"], round(m["relabel_harm"], 2)
    (3, 0.67, 1.0, 0.33)
    """
    given, current, truth = (torch.as_tensor(labels).cpu() for labels in (given, current, truth))
    changed, wrong = current != given, given != truth
    cured = changed & (current == truth)
    return {
        "changed": int(changed.sum()),
        "relabel_precision": _share(cured, changed),
        "relabel_recall": _share(cured, wrong),
        "relabel_harm": _share(changed & ~wrong, changed),
        "label_accuracy_before": _share(~wrong, torch.ones_like(wrong)),
        "label_accuracy_after": _share(current == truth, torch.ones_like(wrong)),
    }


def _share(part: Tensor, whole: Tensor) -> float:
    return part.sum().item() / whole.sum().item() if whole.any() else float("nan")
