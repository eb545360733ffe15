"""When a label is doubted: the relabeling rule, and evidence that is gathered over epochs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scn_fastai.core.losses import check_margin
from scn_fastai.errors import SettingsError

RULED_OUT = 1e-3  # below this probability of the given label, differences say nothing any more


class Relabel(NamedTuple):
    """What the rule says of each sample: Tensors ``[B]``."""

    mask: Tensor  # bool: a new label is given
    label: Tensor  # int64: the label after the rule, changed or not
    p_max: Tensor  # float: the highest predicted probability
    p_given: Tensor  # float: the probability of the label compared with


def relabel(probs: Tensor, target: Tensor, eligible: Tensor | None = None, margin: float = 0.2) -> Relabel:
    """New label where ``P_max - P_gtInd > delta2`` (SCN, Eq. 5), the target elsewhere.

    Args:
        probs: float Tensor ``[B, C]``, probabilities.
        target: int64 Tensor ``[B]``, the labels to compare with. Eq. 5 says the given (original) ones; the
            released code passes the current ones.
        eligible: bool Tensor ``[B]``, who may be relabeled: ``low_importance(alpha)`` in the paper,
            everyone (None) in the released code.
        margin: relabel margin (delta2).

    Returns:
        Relabel with the fields mask, label, p_max and p_given.

    Raises:
        SettingsError: the margin is out of [0, 1], or the shapes do not fit.

    >>> probs = torch.tensor([[0.7, 0.3], [0.55, 0.45]])
    >>> relabel(probs, torch.tensor([1, 1]), torch.tensor([True, True]), margin=0.2)[:2]
    (tensor([ True, False]), tensor([0, 1]))
    """
    check_margin(margin, "relabel margin (delta2)")
    if probs.ndim != 2 or target.shape != probs.shape[:1]:
        raise SettingsError(
            f"relabel needs probs [B, C] and target [B], but got {list(probs.shape)} and {list(target.shape)}."
        )
    p_max, best = probs.max(dim=1)
    p_given = probs.gather(1, target.unsqueeze(1)).squeeze(1)
    mask = p_max - p_given > margin
    if eligible is not None:
        mask = mask & eligible
    return Relabel(mask, torch.where(mask, best, target), p_max, p_given)


def first_third(epoch: int, n_epochs: int) -> bool:
    """Whether an epoch is one of the first third, in which a network knows too little to be asked about labels.

    Args:
        epoch: the epoch, from 0.
        n_epochs: how many epochs are planned.

    >>> [first_third(epoch, 15) for epoch in (4, 5)]
    [True, False]
    """
    return 3 * (epoch + 1) <= n_epochs


def knows_enough(epoch: int, n_epochs: int, settled: float, needed: float) -> bool:
    """Whether relabeling may begin: a third of the epochs are done and enough averaged predictions have settled.

    Args:
        epoch: the epoch that ends now, from 0.
        n_epochs: how many epochs are planned.
        settled: share of samples whose averaged prediction is what it was an epoch before.
        needed: the share that is asked for.

    >>> knows_enough(7, 25, settled=0.9, needed=0.85), knows_enough(8, 25, settled=0.9, needed=0.85)
    (False, True)
    """
    return not first_third(epoch, n_epochs) and settled >= needed


def grown_budget(budget: float, epoch: int, ramp: int) -> float:
    """Budget of the ``epoch``-th relabeling epoch (from 0): it grows evenly over ``ramp`` epochs to the full share.

    The network knows least when relabeling begins, so only its surest doubts count then.

    >>> [round(grown_budget(0.2, epoch, ramp=4), 2) for epoch in range(6)]
    [0.05, 0.1, 0.15, 0.2, 0.2, 0.2]
    """
    return budget * min(1.0, (epoch + 1) / max(1, ramp))


def noise_estimate(probs: Tensor, target: Tensor) -> Tensor:
    """Share of labels that look wrong: those that the network ranks low among the classes, scaled up.

    ``(C - 1) / (C - k)`` times the share of samples for which at least ``k`` classes are likelier than their label;
    ``k = (C - 1) // 2``, at least 1. Of wrong labels drawn evenly from the other classes ``(C - k) / (C - 1)`` rank as
    low as that; right labels of faces that are hard to tell seldom do. So it is near the truth for even flips, below
    it for the confusions that people make, and low where labels are right.

    Args:
        probs: float Tensor ``[B, C]``, averaged predictions.
        target: int64 Tensor ``[B]``, the given labels.

    Returns:
        float Tensor ``[]``, at most 1; 0 for no samples.

    >>> probs = torch.tensor([[0.4, 0.3, 0.2, 0.07, 0.03]]).repeat(4, 1)
    >>> noise_estimate(probs, torch.tensor([0, 0, 1, 4]))  # k = 2: one of four ranks so low, times 4 / 3
    tensor(0.3333)
    """
    classes = probs.shape[1]
    k = max(1, (classes - 1) // 2)
    likelier = (probs > probs.gather(1, target.unsqueeze(1))).sum(1)
    share = (likelier >= k).sum() / max(1, len(target))
    return (share * (classes - 1) / max(1, classes - k)).clamp(max=1.0)


def steadiness(epoch: int, n_epochs: int, early: float = 0.9, late: float = 0.85) -> float:
    """What must be left of the estimate of two epochs before (`noise_shows`): less in the second half of a training.

    By then right labels are learned, and most of the doubts that still go are wrong labels that are learned by heart.

    Args:
        epoch: the epoch that ends now, from 0.
        n_epochs: how many epochs are planned.
        early: up to the middle of them.
        late: once more than half of them were done before this one.

    >>> steadiness(12, 25), steadiness(13, 25)
    (0.9, 0.85)
    """
    return late if 2 * epoch > n_epochs else early


def noise_shows(estimates: Sequence[float], needed: float, steady: float = 0.9) -> bool:
    """Whether enough labels look wrong, and stay doubted: the estimate has all but stopped falling.

    A network that still learns doubts right labels too, but every epoch fewer of them; wrong ones stay doubted. Two
    epochs apart, because the averaged predictions behind the estimate remember about three.

    Args:
        estimates: `noise_estimate` of each epoch so far.
        needed: share of the labels that must look wrong; 0 asks for nothing.
        steady: what must be left of the estimate of two epochs before, see `steadiness`.

    >>> noise_shows([0.30, 0.29, 0.28], needed=0.11), noise_shows([0.21, 0.19, 0.17], needed=0.11)
    (True, False)
    """
    if not needed:
        return True
    return len(estimates) > 2 and estimates[-1] >= max(needed, steady * estimates[-3])


def spare_ineligible(change: Relabel, current: Tensor, eligible: Tensor) -> Relabel:
    """Leave the current label of samples that may not be relabeled now; for the others the rule's word holds.

    Compared with the original label, the rule also takes back: an eligible sample that no longer passes the
    margin returns to ``l_org`` (SCN, Eq. 5).

    >>> change = relabel(torch.tensor([[0.9, 0.1], [0.4, 0.6]]), torch.tensor([1, 1]))
    >>> spare_ineligible(change, torch.tensor([1, 0]), torch.tensor([True, False])).label
    tensor([0, 0])
    """
    return change._replace(mask=change.mask & eligible, label=torch.where(eligible, change.label, current))


def average_evidence(
    mean: Tensor, count: Tensor, index: Tensor, probs: Tensor, decay: float = 1.0, fresh: Tensor | None = None
) -> None:
    """Add a batch of predicted probabilities to each sample's running mean, in place.

    The weight of a past epoch shrinks by ``decay`` with each new one; 1 gives the plain mean. One
    prediction is noisy and, late in training, memorised; its mean over epochs is neither.

    Args:
        mean: float Tensor ``[N, C]``, the means so far.
        count: float Tensor ``[N]``, their summed weights, 0 for a sample not yet seen.
        index: int64 Tensor ``[B]``, which samples; a sample that stands twice in a batch counts once.
        probs: float Tensor ``[B, C]``.
        decay: in (0, 1].
        fresh: bool Tensor ``[B]``, whose prediction counts: one of an epoch, where some samples are drawn several times
            in it; None: everybody's.

    >>> mean, count = torch.zeros(2, 2), torch.zeros(2)
    >>> average_evidence(mean, count, torch.tensor([1]), torch.tensor([[0.2, 0.8]]))
    >>> average_evidence(mean, count, torch.tensor([1]), torch.tensor([[0.6, 0.4]]))
    >>> mean[1], count
    (tensor([0.4000, 0.6000]), tensor([0., 2.]))
    """
    if not 0 < decay <= 1:
        raise SettingsError(f"The evidence decay is {decay}, but it must lie in (0, 1]; 1 is the plain mean.")
    before, weight = mean[index], count[index] * decay + 1
    after = before + (probs - before) / weight.unsqueeze(1)
    if fresh is not None:
        after, weight = torch.where(fresh.unsqueeze(1), after, before), torch.where(fresh, weight, count[index])
    mean[index] = after
    count[index] = weight


def most_doubted(change: Relabel, target: Tensor, budget: float) -> Relabel:
    """Keep only the clearest proposed changes, a share ``budget`` of all samples; the others keep their target.

    Clearest is the largest ratio ``P_max / P_given``, which finds wrong labels better than the difference of Eq. 5: of
    two faces that the network is as sure of, it takes the one whose given label it rules out. With a margin alone ever
    more samples pass as the network fits its own labels; a budget holds their number.

    Args:
        change: what `relabel` proposed for ``[B]`` samples.
        target: int64 Tensor ``[B]``, the labels that `relabel` compared with.
        budget: share of the ``B`` samples that may change, in (0, 1].

    >>> probs, target = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), torch.tensor([1, 1, 1])
    >>> most_doubted(relabel(probs, target, margin=0.1), target, budget=0.34)[:2]
    (tensor([ True, False, False]), tensor([0, 1, 1]))
    """
    mask = _clearest(change, budget)
    return change._replace(mask=mask, label=torch.where(mask, change.label, target))


def set_aside(probs: Tensor, target: Tensor, candidates: Tensor, share: float) -> Tensor:
    """Whose label is doubted, yet not surely enough to give it another: the clearest doubts among the candidates.

    Doubted is a sample whose most probable class is not its label; clearest is the largest ``P_max / P_given``, as for
    `most_doubted`. Such a sample can still teach what the network itself thinks of it (`evidence_cross_entropy`).

    Args:
        probs: float Tensor ``[B, C]``, averaged predictions.
        target: int64 Tensor ``[B]``, the given labels.
        candidates: bool Tensor ``[B]``, those that were predicted before and keep their given label.
        share: at most this share of the ``B`` samples, in [0, 1).

    Returns:
        bool Tensor ``[B]``.

    >>> probs = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    >>> set_aside(probs, torch.tensor([1, 1, 1, 1]), torch.tensor([False, True, True, True]), share=0.25)
    tensor([False,  True, False, False])
    """
    return _clearest(relabel(probs, target, candidates, margin=0.0), share)


def _clearest(change: Relabel, share: float) -> Tensor:
    """Of the proposed changes those with the largest ``P_max / P_given``, a share of all samples at most."""
    ratio = torch.where(change.mask, change.p_max / (change.p_given + RULED_OUT), -torch.inf)
    chosen = torch.zeros_like(change.mask)
    chosen[ratio.argsort(descending=True, stable=True)[: int(share * len(ratio))]] = True
    return change.mask & chosen
