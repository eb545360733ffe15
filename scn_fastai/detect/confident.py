"""Confident learning on out-of-fold probabilities, through cleanlab: no network judges a label that it was shown."""

from types import ModuleType

import numpy as np

from scn_fastai.errors import DataError, SettingsError


def confident_doubt(probs: np.ndarray, given: np.ndarray, adjusted: bool = True) -> np.ndarray:
    """``1 -`` the normalised margin ``(p_y - max_{k != y} p_k + 1) / 2``, float64 ``[N]``; NaN without probabilities.

    ``adjusted`` first takes the class thresholds ``t_j = mean_{i: y_i = j} p_i(j)`` off the probabilities, so that a
    rare class is not suspicious as a whole (Northcutt et al., Confident Learning, JAIR 2021; cleanlab's
    ``get_label_quality_scores``).

    Args:
        probs: out-of-fold probabilities ``[N, C]``; a row with NaN is unknown.
        given: labels ``[N]``.
        adjusted: as above.

    Raises:
        SettingsError: cleanlab is not installed.
        DataError: the shapes do not fit.
    """
    rank, (known, p, y) = _cleanlab("rank"), _known(probs, given)
    adjusted = adjusted and set(range(p.shape[1])) <= set(y.tolist())  # no threshold for a class without samples
    quality = rank.get_label_quality_scores(y, p, method="normalized_margin", adjust_pred_probs=adjusted)
    return _spread(1 - quality, known, len(given), np.nan)


def confident_issues(probs: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Samples that confident learning takes for wrong, bool ``[N]``: prune by noise rate, off the joint's diagonal.

    The arguments are those of `confident_doubt`.
    """
    find, (known, p, y) = _cleanlab("filter"), _known(probs, given)
    return _spread(find.find_label_issues(y, p, n_jobs=1), known, len(given), False)


def noise_joint(probs: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Estimated joint distribution of given (rows) and true labels (columns), float64 ``[C, C]``, of sum 1.

    The arguments are those of `confident_doubt`.
    """
    count, (_, p, y) = _cleanlab("count"), _known(probs, given)
    return np.asarray(count.estimate_joint(y, p))


def _cleanlab(part: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(f"cleanlab.{part}")
    except ImportError:
        raise SettingsError("Confident learning needs the extra: pip install 'scn_fastai[detect]'.") from None


def _known(probs: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with probabilities, those probabilities as rows of sum 1, and their labels."""
    probs, given = np.asarray(probs, float), np.asarray(given)
    if probs.ndim != 2 or len(probs) != len(given):
        raise DataError(
            f"Probabilities are [N, C] with a label each, got {list(probs.shape)} and {len(given):,} labels."
        )
    known = np.flatnonzero(np.isfinite(probs).all(axis=1))
    if not len(known):
        raise DataError("No sample has out-of-fold probabilities: make some with `out_of_fold`.")
    p = probs[known]
    return known, p / p.sum(axis=1, keepdims=True), given[known]


def _spread(values: np.ndarray, rows: np.ndarray, n: int, empty) -> np.ndarray:
    found = np.full(n, empty)
    found[rows] = values
    return found
