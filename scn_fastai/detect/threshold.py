"""AUM's threshold samples: labels that are wrong for certain show where wrong labels lie on a score."""

import numpy as np

from scn_fastai.errors import DataError

PERCENTILE = 99.0


def aum_threshold(score: np.ndarray, fake: np.ndarray, percentile: float = PERCENTILE) -> float:
    """The score above which a sample is as suspicious as the threshold samples.

    The authors flag ``AUM_i <= alpha``, alpha the 99th percentile of the threshold samples' AUM (Pleiss et al., NeurIPS
    2020). Our score is minus AUM, so it is their ``100 - percentile``-th percentile.

    Args:
        score: minus AUM of every sample, ``[N]`` (`aum`), of a network with the fake class as one more output.
        fake: whether a sample was given the fake class, bool ``[N]``.
        percentile: share of the threshold samples that the flag covers, in %.

    Raises:
        DataError: no threshold sample has a score, or the lengths differ.

    >>> aum_threshold(np.array([0.0, 1.0, 2.0, -4.0]), np.array([True, True, True, False]), 50)
    1.0
    """
    score, fake = np.asarray(score, float), np.asarray(fake, bool)
    if score.shape != fake.shape:
        raise DataError(
            f"There are {len(score):,} scores but {len(fake):,} marks of the fake class: give one for each."
        )
    known = score[fake & np.isfinite(score)]
    if not len(known):
        raise DataError("No threshold sample has a score: train with some samples in the fake class.")
    return float(np.percentile(known, 100 - percentile))


def aum_flags(score: np.ndarray, fake: np.ndarray, percentile: float = PERCENTILE) -> np.ndarray:
    """Samples flagged as wrong, bool ``[N]``; a threshold sample is never judged by its own set.

    Two trainings with disjoint threshold sets judge every sample: a sample is flagged if one of them flags it.

    >>> aum_flags(np.array([0.0, 1.0, 2.0, 1.5, -4.0]), np.array([True, True, True, False, False]), 50).tolist()
    [False, False, False, True, False]
    """
    score, fake = np.asarray(score, float), np.asarray(fake, bool)
    return (score >= aum_threshold(score, fake, percentile)) & ~fake
