"""What is asked of the network: logit-weighted cross-entropy and rank regularization."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.core.importance import check_beta, high_group_size
from scn_fastai.errors import SettingsError

LEAST = 1e-4  # probabilities are kept off 0 and 1 by this much, where a logarithm of what is left is taken

Combine = Literal["mix", "sum"]


class SCNLoss(NamedTuple):
    """The loss of a batch and its two parts, each a Tensor ``[]``."""

    total: Tensor
    wce: Tensor
    rank: Tensor


def weighted_logits(logits: Tensor, alpha: Tensor) -> Tensor:
    """Logits scaled by each sample's importance, ``alpha_i W_j^T x_i`` (inside SCN, Eq. 2).

    An alpha below 1 flattens the softmax: alpha is the inverse temperature of its sample.

    Args:
        logits: float Tensor ``[B, C]``.
        alpha: float Tensor ``[B]``.

    Returns:
        Tensor ``[B, C]`` in the wider of the two dtypes.

    >>> weighted_logits(torch.tensor([[2., 4.]]), torch.tensor([0.5]))
    tensor([[1., 2.]])
    """
    if logits.ndim != 2 or alpha.shape != logits.shape[:1]:
        raise SettingsError(
            f"weighted_logits needs logits [B, C] and alpha [B], but got {list(logits.shape)} and {list(alpha.shape)}."
        )
    return alpha.unsqueeze(1) * logits


def relative_importance(alpha: Tensor) -> Tensor:
    """Importance relative to the batch, ``alpha_i / mean(alpha)``: who counts more, not how much all count.

    Not in the paper. There, WCE can also turn all alphas down together: early on the network is mostly wrong,
    lower confidence pays, and alpha falls for everyone, which slows learning. Divided by its mean, alpha has
    no gradient in that direction, and the mean weight is 1, so the plain logits stay calibrated.

    >>> relative_importance(torch.tensor([0.2, 0.6]))
    tensor([0.5000, 1.5000])
    """
    return alpha / alpha.mean()


def weighted_cross_entropy(logits: Tensor, alpha: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Logit-Weighted Cross-Entropy loss, WCE (SCN, Eq. 2): cross-entropy of the weighted logits.

    Args:
        logits: float Tensor ``[B, C]``.
        alpha: float Tensor ``[B]``.
        target: int64 Tensor ``[B]``, class indices.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.

    Returns:
        float Tensor ``[]``, or ``[B]`` for ``'none'``; at least float32.

    With alpha = 0 every class is equally likely, so the loss is log C:

    >>> weighted_cross_entropy(torch.tensor([[9., 1.]]), torch.tensor([0.]), torch.tensor([1]))
    tensor(0.6931)
    """
    return cross_entropy(_wide(weighted_logits(logits, alpha)), target, reduction=reduction)


def hold_gradient(logits: Tensor, held: Tensor) -> Tensor:
    """The same logits, through which no gradient reaches the samples ``held`` (bool Tensor ``[B]``).

    >>> logits = torch.ones(2, 2, requires_grad=True)
    >>> hold_gradient(logits, torch.tensor([True, False])).sum().backward()
    >>> logits.grad
    tensor([[0., 0.],
            [1., 1.]])
    """
    return torch.where(held.unsqueeze(1), logits.detach(), logits)


def evidence_cross_entropy(logits: Tensor, evidence: Tensor, aside: Tensor) -> Tensor:
    """Cross-entropy against averaged predictions instead of labels, over the samples set aside.

    ``-(1/B) sum_{i aside} sum_j q_ij log p_ij`` with ``p`` the softmax of the logits and ``q`` the evidence: divided by
    the size of the whole batch, so that a sample set aside counts as much as any other. Not in the paper.

    Args:
        logits: float Tensor ``[B, C]``, weighted where the network trains on weighted ones.
        evidence: float Tensor ``[B, C]``, probabilities; no gradient flows into them.
        aside: bool Tensor ``[B]``, who learns from them (see `set_aside`).

    Returns:
        float Tensor ``[]``; at least float32.

    >>> logits, evidence = torch.zeros(2, 2), torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    >>> evidence_cross_entropy(logits, evidence, torch.tensor([True, False]))  # log 2, halved
    tensor(0.3466)
    """
    each = -(evidence.detach() * _wide(logits).log_softmax(1)).sum(1)
    return torch.where(aside, each, 0).sum() / len(aside)


def average_target(target: Tensor, probs: Tensor, beta: float) -> Tensor:
    """Targets after one more prediction: t_i <- beta t_i + (1 - beta) p_i / sum_k p_ik (ELR, temporal ensembling).

    Args:
        target: float ``[B, C]``; zeros before the first prediction, as in the authors' code.
        probs: predicted probabilities ``[B, C]``.
        beta: how much of the old target stays.

    >>> average_target(torch.zeros(1, 2), torch.tensor([[0.75, 0.25]]), beta=0.5)
    tensor([[0.3750, 0.1250]])
    """
    probs = probs.detach()
    return beta * target + (1 - beta) * probs / probs.sum(1, keepdim=True)


def early_target(evidence: Tensor, count: Tensor, logits: Tensor, decay: float) -> Tensor:
    """What ELR holds a prediction near to: the running mean of a sample's predictions, this one among them.

    `average_target` begins at 0, so that the first predictions bind little. What stands here as evidence is that mean
    divided by the sum of its weights (`average_evidence`), and is multiplied by it again.

    Args:
        evidence: float Tensor ``[B, C]``, averaged predictions of the epochs before.
        count: float Tensor ``[B]``, their summed weights; 0 for a sample that was not predicted yet.
        logits: float Tensor ``[B, C]``, this prediction; no gradient flows into it.
        decay: how much of the old mean stays, in (0, 1); beta of the ELR paper.

    >>> evidence, count = torch.tensor([[0.75, 0.25], [0., 0.]]), torch.tensor([1., 0.])
    >>> early_target(evidence, count, torch.zeros(2, 2), decay=0.5)
    tensor([[0.4375, 0.3125],
            [0.2500, 0.2500]])
    """
    return average_target((1 - decay) * count.unsqueeze(1) * evidence, _off_the_ends(logits), decay)


def early_learning(logits: Tensor, target: Tensor, strength: float = 1.0) -> Tensor:
    """What holds a network back from memorising labels: the second term of ELR (S. Liu et al., NeurIPS 2020).

    ``strength * (1/B) sum_i log(1 - <t_i, p_i>)`` with ``p`` the softmax of the logits. It falls as p turns to t, so
    its gradient pulls a prediction to what it was on average, and undoes that of a label which says something else.
    Not in SCN's paper.

    Args:
        logits: float Tensor ``[B, C]``.
        target: float Tensor ``[B, C]``, see `early_target`; of a row of zeros nothing is asked.
        strength: lambda of the ELR paper.

    Returns:
        float Tensor ``[]``, 0 or less; at least float32.

    >>> early_learning(torch.zeros(2, 2), torch.tensor([[0.9, 0.1], [0., 0.]]))  # log 1/2, halved
    tensor(-0.3466)
    """
    return strength * (1 - (target.detach() * _off_the_ends(logits)).sum(1)).log().mean()


def _off_the_ends(logits: Tensor) -> Tensor:
    return _wide(logits).softmax(1).clamp(LEAST, 1 - LEAST)


def group_means(alpha: Tensor, beta: float = 0.7) -> tuple[Tensor, Tensor]:
    """Mean importance of the high and of the low group, ``alpha_H`` and ``alpha_L`` (SCN, Eq. 4).

    The paper's sums run over ``i = 0..M`` and ``i = M..N``, so element M stands in both; here each
    sample is in one group: the M highest, and the N - M others. With one sample both means are that
    sample's alpha.

    >>> [round(m.item(), 2) for m in group_means(torch.tensor([0.9, 0.2, 0.7, 0.4]), beta=0.5)]
    [0.8, 0.3]
    """
    size = high_group_size(alpha.shape[0], beta)
    ranked = _wide(alpha).sort(descending=True, stable=True).values
    return ranked[:size].mean(), (ranked[size:] if alpha.shape[0] > 1 else ranked).mean()


def rank_hinge(alpha_high: Tensor, alpha_low: Tensor, margin: float | Tensor) -> Tensor:
    """``max{0, delta1 - (alpha_H - alpha_L)}`` (SCN, Eq. 3) from the two group means.

    >>> rank_hinge(torch.tensor(0.75), torch.tensor(0.5), margin=0.5)
    tensor(0.2500)
    """
    return torch.relu(margin - (alpha_high - alpha_low))


def rank_regularization(alpha: Tensor, beta: float = 0.7, margin: float | Tensor = 0.15) -> Tensor:
    """Rank Regularization loss, RR (SCN, Eq. 3 and 4).

    Zero as soon as the high group's mean alpha lies a margin above the low group's, and zero for a
    batch of one, which has no groups. It never looks at a label.

    Args:
        alpha: float Tensor ``[B]``.
        beta: share of the high-importance group, in (0, 1).
        margin: rank margin (delta1) in [0, 1], or a learnable Tensor ``[]``, whose gradient is +1
            while the hinge is active: trained by this loss alone it can only shrink.

    Returns:
        float Tensor ``[]``.

    Raises:
        SettingsError: beta or margin is out of range.

    >>> rank_regularization(torch.tensor([0.9, 0.5, 0.9, 0.5]), beta=0.5, margin=0.5)
    tensor(0.1000)
    """
    check_beta(beta)
    check_margin(margin, "rank margin (delta1)")
    if alpha.shape[0] < 2:
        return _wide(alpha).sum() * 0
    return rank_hinge(*group_means(alpha, beta), margin)


def combine_losses(rank: Tensor, wce: Tensor, gamma: float = 0.5, combine: Combine = "mix") -> Tensor:
    """The total loss of SCN 3.3: ``gamma * RR + (1 - gamma) * WCE``, or the released code's ``RR + WCE``.

    The two differ in the size of the classification gradient: mixing with gamma = 0.5 halves it.

    >>> combine_losses(torch.tensor(1.), torch.tensor(3.), gamma=0.25)
    tensor(2.5000)
    >>> combine_losses(torch.tensor(1.), torch.tensor(3.), combine='sum')
    tensor(4.)
    """
    if combine == "sum":
        return rank + wce
    if combine != "mix":
        raise SettingsError(f"combine is {combine!r}, but it must be 'mix' (the paper) or 'sum' (the released code).")
    if not 0 <= gamma <= 1:
        raise SettingsError(f"gamma is {gamma}, but it weighs RR against WCE and must lie between 0 and 1.")
    return gamma * rank + (1 - gamma) * wce


def scn_loss(
    logits: Tensor,
    alpha: Tensor,
    target: Tensor,
    *,
    beta: float = 0.7,
    margin: float | Tensor = 0.15,
    gamma: float = 0.5,
    combine: Combine = "mix",
) -> SCNLoss:
    """Loss of a batch: WCE (Eq. 2) and RR (Eq. 3) joined as in SCN 3.3.

    Args:
        logits: float Tensor ``[B, C]``.
        alpha: float Tensor ``[B]``.
        target: int64 Tensor ``[B]``.
        beta: share of the high-importance group.
        margin: rank margin (delta1), a number or a learnable Tensor ``[]``.
        gamma: weight of RR, in [0, 1]; not used by ``combine='sum'``.
        combine: ``'mix'`` as in the paper, ``'sum'`` as in the released code.

    Returns:
        SCNLoss with the fields total, wce and rank, each a Tensor ``[]``.

    >>> loss = scn_loss(torch.zeros(4, 2), torch.full((4,), 0.5), torch.tensor([0, 1, 0, 1]), margin=0.1)
    >>> [round(part.item(), 4) for part in loss]
    [0.3966, 0.6931, 0.1]
    """
    wce = weighted_cross_entropy(logits, alpha, target)
    rank = rank_regularization(alpha, beta, margin)
    return SCNLoss(combine_losses(rank, wce, gamma, combine), wce, rank)


def check_margin(margin: float | Tensor, name: str) -> None:
    """Raise one sentence unless a fixed margin lies in [0, 1]; a learnable one is clamped by its owner."""
    if not isinstance(margin, Tensor) and not 0 <= margin <= 1:
        raise SettingsError(f"The {name} is {margin}, but it separates values between 0 and 1 and must lie there too.")


def _wide(x: Tensor) -> Tensor:
    """Half precision to float32: a mean or a log-sum of halves loses the differences that matter here."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
