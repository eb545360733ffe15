"""Figures about labels: how accurate, how many were cured, how many harmed."""

import torch
from torch import Tensor


def label_accuracy(logits: Tensor, seen: Tensor, labels: Tensor) -> float:
    """Share of the seen samples whose prediction is their label.

    >>> label_accuracy(torch.tensor([[1., 0.], [1., 0.]]), torch.tensor([True, True]), torch.tensor([0, 1]))
    0.5
    """
    right = (logits.argmax(1) == labels) & seen
    return right.sum().item() / max(1, seen.sum().item())


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
