"""The equations of SCN: tensors in, tensors out; no state, no fastai."""

from scn_fastai.core.doctor import Diagnosis, diagnose_alpha
from scn_fastai.core.importance import attention_weights, high_group_size, low_importance
from scn_fastai.core.losses import (
    SCNLoss,
    combine_losses,
    evidence_cross_entropy,
    group_means,
    hold_gradient,
    rank_hinge,
    rank_regularization,
    relative_importance,
    scn_loss,
    weighted_cross_entropy,
    weighted_logits,
)
from scn_fastai.core.relabeling import (
    Relabel,
    average_evidence,
    grown_budget,
    knows_enough,
    most_doubted,
    noise_estimate,
    noise_shows,
    relabel,
    set_aside,
    spare_ineligible,
)

__all__ = [
    "Diagnosis",
    "Relabel",
    "SCNLoss",
    "attention_weights",
    "average_evidence",
    "combine_losses",
    "diagnose_alpha",
    "evidence_cross_entropy",
    "group_means",
    "grown_budget",
    "high_group_size",
    "hold_gradient",
    "knows_enough",
    "low_importance",
    "most_doubted",
    "noise_estimate",
    "noise_shows",
    "rank_hinge",
    "rank_regularization",
    "relabel",
    "relative_importance",
    "scn_loss",
    "set_aside",
    "spare_ineligible",
    "weighted_cross_entropy",
    "weighted_logits",
]
