"""The alpha doctor: is alpha doing anything, and if not, what to change."""

from typing import NamedTuple

SATURATED, COLLAPSED, FLAT = 0.99, 0.05, 0.01


class Diagnosis(NamedTuple):
    """What is the matter with alpha: a short kind and one sentence for the user."""

    kind: str  # 'healthy', 'saturated', 'collapsed', 'flat', 'idle margin' or 'not begun'
    sentence: str


def diagnose_alpha(mean: float, sd: float, first_gap: float, first_rank: float, margin: float) -> Diagnosis:
    """Say in a sentence how alpha fares, and what to change.

    Users of the released code met all of these: every alpha above 0.99, all alphas alike, and a rank loss
    that is 0 from the start because the gap at initialisation is wider than the margin.

    Args:
        mean: mean alpha of the last epoch.
        sd: standard deviation of alpha over the samples of the last epoch.
        first_gap: alpha_H - alpha_L in the first epoch.
        first_rank: mean rank loss (Eq. 3) in the first epoch.
        margin: rank margin (delta1).

    >>> diagnose_alpha(mean=0.995, sd=0.002, first_gap=0.1, first_rank=0.05, margin=0.15).kind
    'saturated'
    >>> diagnose_alpha(mean=0.6, sd=0.2, first_gap=0.3, first_rank=0.0, margin=0.15).kind
    'idle margin'
    """
    if mean > SATURATED:
        return Diagnosis(
            "saturated",
            f"Alpha is saturated (mean {mean:.3f}): every sample counts fully and weighting does nothing; raise the "
            "rank margin (delta1) or train shorter, since alpha goes to 1 on samples that are learned by heart.",
        )
    if mean < COLLAPSED:
        return Diagnosis(
            "collapsed",
            f"Alpha has collapsed (mean {mean:.3f}): logits are nearly erased and the network learns slowly; start "
            "alpha higher (alpha_start=0.9) or lower gamma.",
        )
    if sd < FLAT:
        return Diagnosis(
            "flat",
            f"Alpha hardly differs between samples (standard deviation {sd:.4f}), so its ranking means nothing; raise "
            "the rank margin (delta1).",
        )
    if first_rank < 0.01 * margin:
        return Diagnosis(
            "idle margin",
            f"The margin of {margin:g} was met from the start (alpha_H - alpha_L was {first_gap:.2f} in the first "
            "epoch), so the rank loss did nothing; raise the rank margin (delta1) above that gap.",
        )
    return Diagnosis("healthy", f"Alpha is in working order: mean {mean:.2f}, standard deviation {sd:.2f}.")


def not_begun(settled: float, noise: float) -> Diagnosis:
    """The word on a training in which weighting waited for its rule until the end, and why it may have.

    Args:
        settled: share of the averaged predictions that were what they were an epoch before, in the last epoch.
        noise: share of labels that look wrong in the last epoch (`noise_estimate`).

    >>> not_begun(settled=0.97, noise=0.02).sentence
    'Weighting has not begun, ... (97 % have), or the share of labels that look wrong (2 %) is small ...'
    """
    return Diagnosis(
        "not begun",
        "Weighting has not begun, so alpha was not trained: the averaged predictions did not settle in time "
        f"({100 * settled:.0f} % have), or the share of labels that look wrong ({100 * noise:.0f} %) is small or still "
        "falls; train longer, name the epoch (weight_from), or lower noise_needed.",
    )
