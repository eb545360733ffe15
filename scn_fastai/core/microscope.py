"""One mini-batch under the lens: what the equations say of each sample, and which way training moves its alpha."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scn_fastai.core.importance import low_importance
from scn_fastai.core.losses import (
    Combine,
    combine_losses,
    group_means,
    rank_regularization,
    relative_importance,
    weighted_cross_entropy,
    weighted_logits,
)
from scn_fastai.core.relabeling import Relabel, average_evidence, relabel, spare_ineligible
from scn_fastai.errors import DataError, SettingsError

Scope = Literal["low", "all"]


class Rules(NamedTuple):
    """The settings by which a batch is examined; the defaults are the paper's."""

    beta: float = 0.7
    rank_margin: float = 0.15  # delta1
    relabel_margin: float = 0.2  # delta2
    gamma: float = 0.5  # used by combine='mix'
    combine: Combine = "mix"
    scope: Scope = "low"  # who may be relabeled
    relative: bool = False  # logits are weighted by alpha / mean alpha


class BatchReport(NamedTuple):
    """What the equations say of a batch: Tensors ``[B]`` in the batch's own order, then Tensors ``[]``."""

    order: Tensor  # int64: the samples from the highest alpha to the lowest
    alpha: Tensor
    weight: Tensor  # what the logits are multiplied by: alpha, or alpha over its mean
    low: Tensor  # bool: in the low-importance group
    target: Tensor  # int64: the label that the loss compares with
    probs: Tensor  # [B, C], what Eq. 5 looks at
    predicted: Tensor  # int64: the most probable class, l_max
    p_max: Tensor
    p_given: Tensor
    wce: Tensor
    gradient: Tensor  # of the total loss with respect to alpha: the sum of the next two
    gradient_rank: Tensor
    gradient_wce: Tensor
    logit_gradient: Tensor  # norm of the total loss's gradient with respect to the sample's logits
    label: Tensor  # int64: the label after Eq. 5
    changed: Tensor  # bool: that label is another than the target
    why: list[str]  # why it would be relabeled, or why not
    alpha_high: Tensor
    alpha_low: Tensor
    rank: Tensor  # RR, the hinge of Eq. 3
    mean_wce: Tensor
    total: Tensor
    rules: Rules
    classes: tuple[str, ...]


def examine_batch(
    logits: Tensor,
    alpha: Tensor,
    target: Tensor,
    *,
    beta: float = 0.7,
    rank_margin: float = 0.15,
    relabel_margin: float = 0.2,
    gamma: float = 0.5,
    combine: Combine = "mix",
    scope: Scope = "low",
    relative: bool = False,
    reference: Tensor | None = None,
    evidence: Tensor | None = None,
    classes: Sequence[str] | None = None,
) -> BatchReport:
    """Take a batch through Eq. 2 to 5 and note what happens to each sample.

    The gradients are autograd's, in float64. Those of alpha say where training moves it: against their sign.

    Args:
        logits: float Tensor ``[B, C]``, not weighted.
        alpha: float Tensor ``[B]``.
        target: int64 Tensor ``[B]``, the labels now.
        beta: share of the high-importance group.
        rank_margin: delta1.
        relabel_margin: delta2.
        gamma: weight of RR against WCE; used by ``combine='mix'``.
        combine: ``'mix'`` as in the paper, ``'sum'`` as in the released code.
        scope: who may be relabeled, the ``'low'`` group (paper) or ``'all'``.
        relative: weight the logits by alpha over its mean in the batch.
        reference: int64 Tensor ``[B]``, the labels that Eq. 5 compares with; None: the target.
        evidence: float Tensor ``[B, C]``, the probabilities that Eq. 5 looks at; None: those of the weighted logits.
        classes: class names, for the words; None: ``class 0`` and so on.

    Raises:
        DataError: the batch is empty, the shapes do not fit, or an alpha or a logit is no number.
        SettingsError: a setting is out of range.

    >>> report = examine_batch(torch.tensor([[2., 0.], [3., 0.]]), torch.tensor([0.6, 0.5]), torch.tensor([0, 1]))
    >>> report.low, report.why[1]
    (tensor([False,  True]), 'relabelled: class 1 -> class 0 (P_max - P_given = 0.64, above the margin of 0.20)')
    >>> report.rank, report.gradient_rank
    (tensor(0.0500, dtype=torch.float64), tensor([-0.5000,  0.5000], dtype=torch.float64))
    """
    if scope not in ("low", "all"):
        raise SettingsError(f"scope is {scope!r}, but it must be 'low' or 'all'.")
    rules = Rules(beta, rank_margin, relabel_margin, gamma, combine, scope, relative)
    logits, alpha, target, reference = _checked(logits, alpha, target, reference)
    names = _names(classes, logits.shape[1])
    losses = _losses(logits, alpha, target, rules)
    weight, low = losses.pop("weight"), low_importance(alpha, beta)
    probs = weighted_logits(logits, weight).softmax(1) if evidence is None else _evidence(evidence, logits)
    eligible = low if scope == "low" else torch.ones_like(low)
    rule = relabel(probs, reference, eligible, relabel_margin)
    change = spare_ineligible(rule, target, eligible)
    high_mean, low_mean = group_means(alpha, beta)
    report = BatchReport(
        order=alpha.argsort(descending=True, stable=True), alpha=alpha, weight=weight, low=low, target=target,
        probs=probs, predicted=probs.argmax(1), p_max=change.p_max, p_given=change.p_given, label=change.label,
        changed=change.label != target, why=[], alpha_high=high_mean, alpha_low=low_mean, rules=rules, classes=names,
        **losses,
    )  # fmt: skip
    return report._replace(why=_reasons(report, change, reference, eligible))


def _losses(logits: Tensor, alpha: Tensor, target: Tensor, rules: Rules) -> dict[str, Tensor]:
    """The losses and their gradients; alpha goes in twice, so that its gradient comes apart into RR's and WCE's."""
    logits, ranked, weighing = (tensor.clone().requires_grad_() for tensor in (logits, alpha, alpha))
    weight = relative_importance(weighing) if rules.relative else weighing
    each = weighted_cross_entropy(logits, weight, target, reduction="none")
    wce = weighted_cross_entropy(logits, weight, target)
    rank = rank_regularization(ranked, rules.beta, rules.rank_margin)
    total = combine_losses(rank, wce, rules.gamma, rules.combine)
    total.backward()
    found = {"weight": weight, "wce": each, "mean_wce": wce, "rank": rank, "total": total}
    found |= {"gradient_rank": ranked.grad, "gradient_wce": weighing.grad, "gradient": ranked.grad + weighing.grad}
    found["logit_gradient"] = logits.grad.norm(dim=1)
    return {name: tensor.detach() for name, tensor in found.items()}


# -- evidence ---------------------------------------------------------------------------------------------------


def gather_evidence(logits: Tensor, weight: Tensor, decay: float = 1.0) -> Tensor:
    """Predicted probabilities averaged over epochs (see `average_evidence`), as the default recipe looks at them.

    Args:
        logits: float Tensor ``[E, B, C]``, epoch after epoch.
        weight: float Tensor ``[E, B]``, what they were multiplied by; NaN where a sample was not drawn.
        decay: weight of an epoch against the one after it.

    Returns:
        float64 Tensor ``[B, C]``; zeros for a sample that was never drawn.

    >>> gather_evidence(torch.tensor([[[0., 0.]], [[0., 9.]]]), torch.tensor([[1.], [float("nan")]]))
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    mean, count = torch.zeros(logits.shape[1:], dtype=torch.float64), torch.zeros(logits.shape[1], dtype=torch.float64)
    for scores, weights in zip(logits.double(), weight.double(), strict=True):
        drawn = weights.isfinite().nonzero().squeeze(1)
        average_evidence(mean, count, drawn, weighted_logits(scores[drawn], weights[drawn]).softmax(1), decay)
    return mean


# -- words --------------------------------------------------------------------------------------------------------


def digits_apart(first: float, second: float, least: int = 2, most: int = 6) -> int:
    """How many decimals two numbers need to be written differently.

    >>> digits_apart(0.12, 0.2), digits_apart(0.1996, 0.2), digits_apart(0.2, 0.2)
    (2, 4, 2)
    """
    if first == second:
        return least
    unlike = (digits for digits in range(least, most) if f"{first:.{digits}f}" != f"{second:.{digits}f}")
    return next(unlike, most)


def _reasons(report: BatchReport, change: Relabel, reference: Tensor, eligible: Tensor) -> list[str]:
    columns = (change.mask, eligible, report.target, reference, report.label, report.predicted)
    gaps = (change.p_max - change.p_given).tolist()
    rows = zip(*(column.tolist() for column in columns), gaps, strict=True)
    return [_reason(*row, margin=report.rules.relabel_margin, names=report.classes) for row in rows]


def _reason(mask: bool, may: bool, target: int, reference: int, label: int, best: int, gap: float, margin: float,
            names: Sequence[str]) -> str:  # fmt: skip
    """Why one sample would get another label, or why not."""
    if not may:
        return "not in the low group"
    digits = digits_apart(gap, margin)
    gap_is = f"P_max - P_given = {gap:.{digits}f}"
    above, below = (f"{gap_is}, {what} the margin of {margin:.{digits}f}" for what in ("above", "not above"))
    if mask and label == target:
        return f"stays relabelled: {names[reference]} -> {names[label]} ({above})"
    if mask:
        return f"relabelled: {names[target]} -> {names[label]} ({above})"
    if label != target:
        return f"taken back: {names[target]} -> {names[label]} ({below})"
    return "the most probable class is its label" if best == reference else below


# -- checks ---------------------------------------------------------------------------------------------------------


def _checked(logits: Tensor, alpha: Tensor, target: Tensor, reference: Tensor | None) -> tuple[Tensor, ...]:
    """Everything on the host, floats in float64."""
    logits, alpha = (torch.as_tensor(tensor).detach().cpu().double() for tensor in (logits, alpha))
    target = torch.as_tensor(target).cpu().long()
    reference = target if reference is None else torch.as_tensor(reference).cpu().long()
    if logits.ndim != 2 or any(t.shape != logits.shape[:1] for t in (alpha, target, reference)):
        shapes = ", ".join(str(list(t.shape)) for t in (logits, alpha, target, reference))
        raise DataError(f"A batch has logits [B, C], and alpha, target and reference [B], but got {shapes}.")
    if not len(alpha):
        raise DataError("There is no sample in this batch: choose some.")
    odd = (~(alpha.isfinite() & logits.isfinite().all(1))).nonzero().squeeze(1).tolist()
    if odd:
        raise DataError(f"Sample {odd[0]} of the batch has no alpha: leave out what the epoch did not see.")
    labels = torch.cat([target, reference])
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(f"A label is outside the {logits.shape[1]} classes of the logits.")
    return logits, alpha, target, reference


def _evidence(evidence: Tensor, logits: Tensor) -> Tensor:
    evidence = torch.as_tensor(evidence).detach().cpu().double()
    if evidence.shape != logits.shape:
        raise DataError(f"The evidence has shape {list(evidence.shape)}, but the logits {list(logits.shape)}.")
    return evidence


def _names(classes: Sequence[str] | None, count: int) -> tuple[str, ...]:
    if classes is not None and len(classes) != count:
        raise DataError(f"There are {len(classes)} class names but {count} classes in the logits.")
    return tuple(f"class {i}" for i in range(count)) if classes is None else tuple(str(name) for name in classes)
