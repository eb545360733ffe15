"""What is said of a mini-batch: its loss in numbers, its rules, and every sample in a few words."""

from collections.abc import Sequence
from textwrap import wrap

import pandas as pd

from scn_fastai.core.microscope import BatchReport, digits_apart
from scn_fastai.plots.style import counted, markup
from scn_fastai.training.settings import SCNSettings

LETTERS = 24  # of a line below a face


def hinge_words(report: BatchReport) -> str:
    """The gap between the groups against the margin (SCN, Eq. 3), in numbers.

    >>> import torch
    >>> from scn_fastai.core.microscope import examine_batch
    >>> hinge_words(examine_batch(torch.zeros(2, 2), torch.tensor([0.75, 0.25]), torch.tensor([0, 1])))
    'alpha_H - alpha_L = 0.50 ≥ delta1 = 0.15: the margin is met, RR = 0'
    """
    if len(report.alpha) < 2:
        return "one sample makes no two groups: RR = 0"
    gap, margin = float(report.alpha_high - report.alpha_low), report.rules.rank_margin
    digits = digits_apart(gap, margin)
    words = f"alpha_H - alpha_L = {gap:.{digits}f}"
    if report.rank == 0:
        return f"{words} ≥ delta1 = {margin:.{digits}f}: the margin is met, RR = 0"
    return f"{words} < delta1 = {margin:.{digits}f}: RR = {float(report.rank):.{digits}f}"


def loss_words(report: BatchReport) -> str:
    """The total loss with this batch's numbers (SCN 3.3).

    >>> import torch
    >>> from scn_fastai.core.microscope import examine_batch
    >>> batch = torch.zeros(2, 2), torch.tensor([0.7, 0.65]), torch.tensor([0, 1])
    >>> loss_words(examine_batch(*batch, gamma=0.4))
    'L = gamma RR + (1 - gamma) WCE = 0.4 × 0.100 + 0.6 × 0.693 = 0.456'
    >>> loss_words(examine_batch(*batch, combine="sum"))
    'L = RR + WCE = 0.100 + 0.693 = 0.793'
    """
    rank, wce, total = (f"{float(value):.3f}" for value in (report.rank, report.mean_wce, report.total))
    if report.rules.combine == "sum":
        return f"L = RR + WCE = {rank} + {wce} = {total}"
    gamma = report.rules.gamma
    return f"L = gamma RR + (1 - gamma) WCE = {gamma:g} × {rank} + {round(1 - gamma, 9):g} × {wce} = {total}"


def wce_words(report: BatchReport) -> str:
    """The mean of the samples' losses, and what the logits were weighted by."""
    weight = "alpha / mean alpha" if report.rules.relative else "alpha"
    return f"WCE of each sample (logits × {weight}); mean WCE = {float(report.mean_wce):.3f}"


def relabel_words(report: BatchReport) -> str:
    """How many labels Eq. 5 would change.

    >>> import torch
    >>> from scn_fastai.core.microscope import examine_batch
    >>> batch = torch.tensor([[2., 0.], [3., 0.]]), torch.tensor([0.6, 0.5]), torch.tensor([0, 1])
    >>> relabel_words(examine_batch(*batch))
    '1 of 2 labels would change'
    """
    return f"{int(report.changed.sum())} of {counted(len(report.alpha), 'label')} would change"


def hover_words(report: BatchReport, names: Sequence[str] | None = None) -> list[str]:
    """The lines of `sample_lines` as plotly writes them beside the mouse."""
    return ["<br>".join(map(markup, lines)) for lines in sample_lines(report, names)]


def sample_lines(report: BatchReport, names: Sequence[str] | None = None) -> list[list[str]]:
    """For each sample of the batch, in the batch's own order, everything that is known of it, line by line."""
    size, high = len(report.alpha), int((~report.low).sum())
    rank = report.order.argsort().tolist()
    names = [f"sample {i}" for i in range(size)] if names is None else names
    columns = (report.alpha, report.weight, report.target, report.predicted, report.p_max, report.p_given, report.wce,
               report.gradient, report.gradient_wce, report.gradient_rank, report.logit_gradient)  # fmt: skip
    words = []
    for i, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        alpha, weight, target, best, p_max, p_given, wce, gradient, of_wce, of_rank, of_logits = row
        group = "high group" if rank[i] < high else "low group"
        words.append([
            names[i],
            f"label: {report.classes[target]}",
            f"alpha = {alpha:.4f}, rank {rank[i] + 1} of {size}, {group}; weight {weight:.3f}",
            f"P_max = {p_max:.2f} ({report.classes[best]}), P_given = {p_given:.2f}",
            f"WCE = {wce:.3f}",
            f"dL / d alpha = {gradient:+.5f} (WCE {of_wce:+.5f}, RR {of_rank:+.5f})",
            f"|dL / d logits| = {of_logits:.5f}",
            report.why[i],
        ])  # fmt: skip
    return words


def face_words(report: BatchReport, sample: int) -> str:
    """What is written below a face of the batch: alpha, WCE, and why its label would change or not.

    >>> import torch
    >>> from scn_fastai.core.microscope import examine_batch
    >>> batch = torch.tensor([[2., 0.], [3., 0.]]), torch.tensor([0.6, 0.5]), torch.tensor([0, 1])
    >>> print(face_words(examine_batch(*batch), 0))
    α 0.600, WCE 0.26
    not in the low group
    """
    numbers = f"α {float(report.alpha[sample]):.3f}, WCE {float(report.wce[sample]):.2f}"
    return "\n".join([numbers, *wrap(report.why[sample], LETTERS)])


def rule_words(settings: SCNSettings) -> str:
    """The choices of a recipe that have no slider, in a sentence.

    >>> from scn_fastai.training.settings import preset
    >>> print(rule_words(preset("paper")))
    Logits are weighted by alpha; labels of the low group may change, by this step's prediction against the given label.
    """
    weight = "alpha / mean alpha" if settings.relative else "alpha"
    who = "labels of the low group" if settings.scope == "low" else "all labels"
    evidence = "this step's prediction" if settings.evidence == "step" else "predictions averaged over the epochs"
    against = "given" if settings.reference == "original" else "current"
    words = f"Logits are weighted by {weight}; {who} may change, by {evidence} against the {against} label"
    whole = "; the budget and who is set aside, shares of the training set, are left out here."
    return words + ("." if settings.budget is None else whole)


def begun_words(epochs: pd.DataFrame, epoch: int) -> str:
    """That a run did not weight its logits in an epoch, or nothing.

    >>> begun_words(pd.DataFrame({"weighting": [False, True]}), 0)
    'In this epoch the run did not weight its logits yet (it began in epoch 1): this is what the rules would do.'
    """
    acted = epochs["weighting"].fillna(True).astype(bool) if "weighting" in epochs else None
    if acted is None or acted[epoch]:
        return ""
    later = acted[epoch:]
    when = f" yet (it began in epoch {later.idxmax()})" if later.any() else ""
    return f"In this epoch the run did not weight its logits{when}: this is what the rules would do."
