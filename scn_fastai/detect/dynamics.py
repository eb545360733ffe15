"""Suspicion from what a training noted of each sample: loss, margins, data maps, forgetting. Higher: more suspicious.

Every function takes the history and the given labels (int64 ``[N]``) and returns float64 ``[N]``, NaN for a sample that
was never drawn (or not in the epoch that is asked for). They read one epoch after the other, so that memory does not
grow with the number of epochs. Labels are the given ones, also where relabeling trained on others.
"""

from collections.abc import Callable, Iterator

import numpy as np

from scn_fastai.errors import DataError, RunError
from scn_fastai.training.history import SCNHistory

Labels = np.ndarray


def alpha_doubt(history: SCNHistory, epoch: int | None = -1) -> np.ndarray:
    """``1 - alpha`` of an epoch (SCN, Eq. 1), or of the mean over all epochs (None).

    Eq. 1 has no label in it: two copies of a face with a right and a wrong label get the same alpha from one network.
    """
    if epoch is None:
        return 1 - _mean(history, lambda e: history.epoch_arrays(e)["alpha"])
    _check(history, None, epoch)
    return 1 - history.epoch_arrays(epoch)["alpha"].astype(float)


def within_class(score: np.ndarray, given: Labels) -> np.ndarray:
    """Rank of a score among the n samples of its given class, ``(rank - 1/2) / n``, in (0, 1); ties share a mean rank.

    It takes away that a score is higher in some classes than in others, and how large they are: the mean of every class
    is 1/2.

    >>> within_class(np.array([5.0, 7.0, 1.0, np.nan]), np.array([0, 0, 1, 1])).tolist()
    [0.25, 0.75, 0.5, nan]
    """
    from scipy.stats import rankdata

    score, given = np.asarray(score, float), np.asarray(given)
    found = np.full(len(score), np.nan)
    for code in np.unique(given):
        own = np.flatnonzero((given == code) & np.isfinite(score))
        if len(own):
            found[own] = (rankdata(score[own]) - 0.5) / len(own)
    return found


def loss(history: SCNHistory, given: Labels, epoch: int | None = -1) -> np.ndarray:
    """Cross-entropy ``-log p_y`` of the plain logits in an epoch, or its mean over all epochs (None)."""
    return _over(history, given, epoch, lambda z, y: -_own(_log_softmax(z), y))


def self_confidence(history: SCNHistory, given: Labels, epoch: int | None = -1) -> np.ndarray:
    """``1 - p_y`` in an epoch, or its mean over all epochs (None): one minus the confidence of data maps.

    mu_i = mean_e p_e(y_i | x_i) (Swayamdipta et al., Dataset Cartography, EMNLP 2020).
    """
    return _over(history, given, epoch, lambda z, y: 1 - _own(np.exp(_log_softmax(z)), y))


def prediction_gap(history: SCNHistory, given: Labels, epoch: int = -1, logits: str = "raw") -> np.ndarray:
    """``P_max - P_given`` (SCN, Eq. 5's left side) in an epoch, of the ``'raw'`` or the ``'weighted'`` logits."""
    given = _check(history, given, epoch)
    return _gap(history.probs(epoch, logits).astype(float), given)


def averaged_gap(history: SCNHistory, given: Labels, decay: float = 0.7, logits: str = "weighted") -> np.ndarray:
    """``P_max - P_given`` (SCN, Eq. 5's left side) of the probabilities averaged over epochs.

    The default recipe averages in this way too, but it ranks doubtful labels by ``P_max / P_given``, and changes no
    more of them than its budget allows.

    Args:
        history: what was measured.
        given: given labels ``[N]``.
        decay: weight of an epoch against the one after it; 1: the plain mean.
        logits: as for `prediction_gap`.
    """
    given, n = _check(history, given), history.n_samples
    mean, count = np.zeros((n, history.n_classes)), np.zeros(n)
    for epoch in range(history.epoch):
        probs = history.probs(epoch, logits)
        seen = np.isfinite(probs[:, 0])
        count[seen] = count[seen] * decay + 1
        mean[seen] += (probs[seen] - mean[seen]) / count[seen, None]
    mean[count == 0] = np.nan
    return _gap(mean, given)


def aum(history: SCNHistory, given: Labels, until: int | None = None) -> np.ndarray:
    """Minus the area under the margin: ``-1/T sum_t (z_y - max_{k != y} z_k)``, logits before softmax.

    Pleiss et al., Identifying Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020. The authors stop
    at the first drop of the learning rate: ``until`` is the number of epochs that count, None for all.
    """
    given = _check(history, given)
    if until is not None and not 1 <= until <= history.epoch:
        raise RunError(f"AUM over {until} epochs does not fit a history of {history.epoch}: give 1 to {history.epoch}.")
    return _mean(history, lambda e: -_margin(*_seen_logits(history, e), given), until)


def variability(history: SCNHistory, given: Labels) -> np.ndarray:
    """Spread of ``p_y`` over epochs, ``sigma_i = std_e p_e(y_i | x_i)``: ambiguous rather than wrong (data maps).

    Swayamdipta et al., Dataset Cartography, EMNLP 2020; population standard deviation.
    """
    given = _check(history, given)
    mean = 1 - self_confidence(history, given, None)
    away = lambda e: (_own(np.exp(_log_softmax(_seen_logits(history, e)[0])), given) - mean) ** 2  # noqa: E731
    return np.sqrt(_mean(history, away))


def incorrectness(history: SCNHistory, given: Labels) -> np.ndarray:
    """Share of the epochs in which the prediction is not the given label: one minus data maps' correctness."""
    given = _check(history, given)
    return _mean(history, lambda e: _marked(history, e, given, right=False))


def forgetting(history: SCNHistory, given: Labels) -> np.ndarray:
    """How often a sample was right in one presentation and wrong in the next; the number of epochs if never right.

    Toneva et al., An Empirical Study of Example Forgetting, ICLR 2019; right means: the given label is predicted.
    """
    given, n = _check(history, given), history.n_samples
    was, ever, seen = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, bool)
    events = np.zeros(n)
    for epoch in range(history.epoch):
        right = _marked(history, epoch, given)
        here = np.isfinite(right)
        events += here & was & (right == 0)
        was = np.where(here, right == 1, was)
        ever, seen = ever | was, seen | here
    return np.where(seen, np.where(ever, events, float(history.epoch)), np.nan)


# -- inside ----------------------------------------------------------------------------------------------------------


def _check(history: SCNHistory, given: Labels | None, epoch: int | None = None) -> np.ndarray:
    """The labels as an array; a sentence where there is no epoch, or not a label for each sample."""
    if not history.epoch:
        raise RunError("There is no epoch in this history yet: train before you look for wrong labels.")
    if epoch is not None and not -history.epoch <= epoch < history.epoch:
        raise RunError(
            f"There is no epoch {epoch} in this history, which has {history.epoch} (0 to {history.epoch - 1})."
        )
    if given is None:
        return np.zeros(0, np.int64)
    given = np.asarray(given)
    if given.shape != (history.n_samples,):
        raise DataError(
            f"There are {history.n_samples:,} samples in the history but {len(given):,} given labels: give one each."
        )
    if len(given) and not (given.dtype.kind in "iu" and 0 <= given.min() and given.max() < history.n_classes):
        raise DataError(f"Given labels must be whole numbers from 0 to {history.n_classes - 1}, one for each sample.")
    return given.astype(np.int64)


def _seen_logits(history: SCNHistory, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Plain logits ``[N, C]`` of an epoch, NaN where a sample was not drawn, and who was."""
    arrays = history.epoch_arrays(epoch)
    seen = np.isfinite(arrays["alpha"])
    z = arrays["logits"].astype(float)
    z[~seen] = np.nan
    return z, seen


def _over(history: SCNHistory, given: Labels, epoch: int | None, score: Callable) -> np.ndarray:
    given = _check(history, given, epoch)
    if epoch is not None:
        return score(_seen_logits(history, epoch)[0], given)
    return _mean(history, lambda e: score(_seen_logits(history, e)[0], given))


def _mean(history: SCNHistory, of_epoch: Callable[[int], np.ndarray], until: int | None = None) -> np.ndarray:
    """Mean over the epochs in which a sample was drawn; NaN if there is none."""
    if not history.epoch:
        _check(history, None)
    total, count = np.zeros(history.n_samples), np.zeros(history.n_samples)
    for value in _values(of_epoch, history.epoch if until is None else until):
        known = np.isfinite(value)
        total[known] += value[known]
        count += known
    return np.divide(total, count, out=np.full(history.n_samples, np.nan), where=count > 0)


def _values(of_epoch: Callable[[int], np.ndarray], epochs: int) -> Iterator[np.ndarray]:
    return (np.asarray(of_epoch(epoch), float) for epoch in range(epochs))


def _log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _own(values: np.ndarray, given: Labels) -> np.ndarray:
    return values[np.arange(len(given)), given]


def _gap(probs: np.ndarray, given: Labels) -> np.ndarray:
    return probs.max(axis=1) - _own(probs, given)


def _margin(z: np.ndarray, seen: np.ndarray, given: Labels) -> np.ndarray:
    others = z.copy()
    others[np.arange(len(given)), given] = -np.inf
    margin = _own(z, given) - others.max(axis=1)
    return np.where(seen, margin, np.nan)


def _marked(history: SCNHistory, epoch: int, given: Labels, right: bool = True) -> np.ndarray:
    """1 where the prediction is the given label (``right``) or is not, 0 elsewhere, NaN where unseen."""
    z, seen = _seen_logits(history, epoch)
    hit = np.nan_to_num(z).argmax(axis=1) == given
    return np.where(seen, (hit == right).astype(float), np.nan)
