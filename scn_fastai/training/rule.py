"""The relabeling rule at work: when it begins, and what it tells the ledger of a batch or of all samples."""

import torch
from torch import Tensor

from scn_fastai.core import (
    early_target,
    first_third,
    grown_budget,
    knows_enough,
    most_doubted,
    noise_shows,
    relabel,
    set_aside,
    spare_ineligible,
    steadiness,
)
from scn_fastai.core.relabeling import Relabel
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.settings import SCNSettings


def may_relabel(s: SCNSettings, ledger: LabelLedger, history: SCNHistory, epoch: int, n_epochs: int) -> bool:
    """Whether the running epoch (number ``epoch`` of ``n_epochs`` of its fit) relabels.

    It is switched on, an epoch of indices has agreed before, and it is time.
    """
    if not s.relabel or history.epoch == 0:
        return False
    if s.relabel_from == "settled":
        if history.last("relabeling", False):
            return True
        # Proposals harm nothing: a person decides, however few labels look wrong.
        estimates = [*history.values("noise_estimate"), history.noise_estimate(ledger.given)]
        noisy = s.relabel == "propose" or _noisy(s, estimates, epoch, n_epochs)
        return noisy and knows_enough(epoch, n_epochs, history.settled_share(), s.settled)
    return history.epoch >= s.relabel_from


def may_weight(s: SCNSettings, history: SCNHistory, epoch: int, n_epochs: int) -> bool:
    """Whether weighting and rank loss act in this epoch: by the rule, if the network knew enough after the last."""
    if s.weight_from != "settled":
        return history.epoch >= s.weight_from
    if history.last("weighting", False):
        return True
    noisy = _noisy(s, history.values("noise_estimate"), epoch - 1, n_epochs)
    return noisy and knows_enough(epoch - 1, n_epochs, history.last("settled", 0.0), s.settled)


def _noisy(s: SCNSettings, estimates: list[float], epoch: int, n_epochs: int) -> bool:
    """Whether the labels look wrong enough at the end of an epoch, and stay so.

    That they stay so can be told once the epoch compared with, two before, is one without the term of ELR.
    """
    if s.noise_needed and s.early_learning and first_third(epoch - 2, n_epochs):
        return False
    steady = steadiness(epoch, n_epochs, s.noise_steady, s.noise_steady_late)
    return noise_shows(estimates, s.noise_needed, steady)


def relabel_batch(
    s: SCNSettings, ledger: LabelLedger, index: Tensor, probs: Tensor, alpha: Tensor, low: Tensor
) -> None:
    """Tell the ledger what the rule (Eq. 5) says of a batch: samples ``index [B]``, predictions ``probs [B, C]``."""
    eligible = low if s.scope == "low" else torch.ones_like(low)
    change = relabel(probs, _reference(s, ledger)[index], eligible, s.relabel_margin)
    _tell(s, ledger, index, change, eligible, alpha, low)


def relabel_all(s: SCNSettings, ledger: LabelLedger, history: SCNHistory) -> None:
    """Tell the ledger what the rule says of all samples by their averaged predictions, within the budget."""
    reference, eligible = _reference(s, ledger), history.evidence_count > 0
    eligible = eligible & history.now_low if s.scope == "low" else eligible
    change = relabel(history.evidence, reference, eligible, s.relabel_margin)
    if s.budget is not None:
        budget = grown_budget(s.budget, history.count("relabeling"), s.budget_ramp)
        change = most_doubted(change, reference, budget)
    everyone = torch.arange(len(reference), device=reference.device)
    _tell(s, ledger, everyone, change, eligible, history.now_alpha, history.now_low)


def who_is_aside(s: SCNSettings, ledger: LabelLedger, history: SCNHistory) -> Tensor | None:
    """Bool Tensor ``[N]``: who learns from its averaged prediction in the running epoch; None: nobody.

    A label that only a person may change, or that a person decided, is taught as it stands.
    """
    if not s.aside or s.relabel is not True:
        return None
    candidates = ledger.keeps_given() & (history.evidence_count > 0)
    return set_aside(history.evidence, ledger.given, candidates, s.aside)


def learns_early(s: SCNSettings, history: SCNHistory, epoch: int, n_epochs: int) -> bool:
    """Whether the term of ELR acts in this epoch: neither relabeling nor weighting may begin in it, or has begun.

    It must not wait until they do: it keeps doubts alive, of right labels too, so that these look wrong for longer.
    """
    if not s.early_learning or history.last("relabeling", False) or history.last("weighting", False):
        return False
    begins = [when for on, when in s.begins() if on]
    return all(first_third(epoch, n_epochs) if when == "settled" else history.epoch < when for when in begins)


def early_targets(s: SCNSettings, ledger: LabelLedger, history: SCNHistory, index: Tensor, logits: Tensor) -> Tensor:
    """What the predictions of a batch are held near to ``[B, C]`` (`early_target`); zeros where a person decided."""
    target = early_target(history.evidence[index], history.evidence_count[index], logits, s.evidence_decay)
    return target * ~ledger.decided(index).unsqueeze(1)


def _reference(s: SCNSettings, ledger: LabelLedger) -> Tensor:
    return ledger.given if s.reference == "original" else ledger.current


def _tell(
    s: SCNSettings, ledger: LabelLedger, index: Tensor, change: Relabel, eligible: Tensor, alpha: Tensor, low: Tensor
) -> None:
    """Change labels, or propose the changes to a person; of who is not eligible nothing is said."""
    if s.relabel == "propose":
        ledger.propose(index, spare_ineligible(change, ledger.proposed(index), eligible), alpha, low)
    else:
        ledger.record(index, spare_ineligible(change, ledger.current[index], eligible), alpha, low)
