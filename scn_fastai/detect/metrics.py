"""How well a score finds the wrong samples: AUROC, average precision, precision at k, with bootstrap intervals.

A bootstrap resample is a weight for each sample (how often it was drawn), and the curves of all resamples are sums
along the one order of the score, so that nothing is sorted twice.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from scn_fastai.errors import DataError, SettingsError

METRICS = ("auroc", "ap", "p_at_k")
AT_A_TIME = 4_000_000  # weights that lie in memory together


class Curves(NamedTuple):
    """The three figures for each of B sets of weights, float64 ``[B]``; NaN where a set has one kind of sample only."""

    auroc: np.ndarray
    ap: np.ndarray
    p_at_k: np.ndarray


def curves(score: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> Curves:
    """AUROC, average precision and precision at k, k the weight of the wrong samples, for each set of weights.

    AUROC counts pairs in the right order, ties half; average precision is ``sum_n (R_n - R_{n-1}) P_n`` over the
    distinct scores; of samples that tie at the k-th place the expected share counts.

    Args:
        score: ``[N]``, higher is more suspicious, without NaN.
        wrong: bool ``[N]``.
        weights: ``[B, N]``, or None for one set of ones.

    >>> [round(float(f[0]), 3) for f in curves(np.array([0.9, 0.8, 0.1]), np.array([True, False, True]))]
    [0.5, 0.833, 0.5]
    """
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    weights = np.ones((1, len(score))) if weights is None else np.asarray(weights, float)
    if not len(score):
        return Curves(*(np.full(len(weights), np.nan) for _ in METRICS))
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])  # the first of each run of ties
    positive = np.add.reduceat(weights[:, order] * wrong[order], starts, axis=1)
    every = np.add.reduceat(weights[:, order], starts, axis=1)
    negative, hits, drawn = every - positive, positive.cumsum(axis=1), every.cumsum(axis=1)
    n_wrong, n_right = hits[:, -1:], drawn[:, -1:] - hits[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (negative * (hits - positive / 2)).sum(axis=1, keepdims=True) / (n_wrong * n_right)
        precision = np.where(drawn > 0, hits / drawn, 0.0)
        ap = (positive * precision).sum(axis=1, keepdims=True) / n_wrong
        share = np.where(every > 0, np.clip(n_wrong - (drawn - every), 0, every) / every, 0.0)
        p_at_k = (positive * share).sum(axis=1, keepdims=True) / n_wrong
    both = (n_wrong > 0) & (n_right > 0)
    return Curves(*(np.where(both, value, np.nan)[:, 0] for value in (auroc, ap, p_at_k)))


def detection_figures(
    score: np.ndarray,
    wrong: np.ndarray,
    given: np.ndarray | None = None,
    classes: list[str] | None = None,
    n_boot: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> dict:
    """Figures of one score: overall, and as the mean over given classes, each with its bootstrap interval.

    Samples without a score (NaN) do not count. The interval holds the middle ``level`` of the figures of ``n_boot``
    resamples of the samples (percentile bootstrap); it speaks of these samples, not of another training.

    Args:
        score: ``[N]``, higher is more suspicious.
        wrong: bool ``[N]``.
        given: given labels ``[N]``: with them come the figures within class (``auroc_within`` ...), the mean over the
            classes in which they are defined; the others are named in ``undefined``.
        classes: class names.
        n_boot: resamples; 0 gives NaN for the intervals.
        seed: of the resamples.
        level: of the interval.

    Returns:
        n, wrong (how many), and for each of auroc, ap, p_at_k: the figure, ``NAME_low`` and ``NAME_high``.

    Raises:
        DataError: the lengths differ.

    >>> found = detection_figures(np.array([0.9, 0.2, 0.8, np.nan]), np.array([True, False, True, False]), n_boot=0)
    >>> found["n"], found["wrong"], found["auroc"]
    (3, 2, 1.0)
    """
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    given = None if given is None else np.asarray(given)
    for name, values in (("marks of wrong samples", wrong), ("given labels", given)):
        if values is not None and len(values) != len(score):
            raise DataError(f"There are {len(score):,} scores but {len(values):,} {name}: give one for each.")
    if n_boot < 0 or not 0 < level < 1:
        raise SettingsError(f"n_boot is {n_boot} and level {level}: give 0 or more resamples, and a level below 1.")
    known = np.isfinite(score)
    score, wrong, given = score[known], wrong[known], None if given is None else given[known]
    figures = {"n": len(score), "wrong": int(wrong.sum())}
    codes = () if given is None else range(len(classes)) if classes is not None else np.unique(given)
    parts = [np.flatnonzero(given == code) for code in codes]
    drawn = [_figures(score, wrong, parts, w) for w in _resamples(len(score), n_boot, seed)]
    figures |= _with_intervals(_figures(score, wrong, parts, None), drawn, level)
    lacking = [code for code, rows in zip(codes, parts, strict=True) if not 0 < wrong[rows].sum() < len(rows)]
    figures["undefined"] = ", ".join(str(code if classes is None else classes[code]) for code in lacking)
    return figures


def _figures(score, wrong, parts: list[np.ndarray], weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """All figures ``[B]`` for the sets of weights; within class as the mean of what is defined."""
    found = curves(score, wrong, weights)._asdict()
    if parts:
        of_class = [curves(score[rows], wrong[rows], None if weights is None else weights[:, rows]) for rows in parts]
        for number, name in enumerate(METRICS):
            found[f"{name}_within"] = _nanmean(np.stack([figures[number] for figures in of_class]))
    return found


def _nanmean(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is no NaN; NaN where nothing is left, without numpy's warning."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)


def _resamples(n: int, n_boot: int, seed: int):
    """How often each sample was drawn, ``[B, N]``, a few resamples at a time."""
    rng, chunk = np.random.default_rng(seed), max(1, AT_A_TIME // max(1, n))
    for begin in range(0, n_boot if n else 0, chunk):
        rows = range(begin, min(begin + chunk, n_boot))
        yield np.stack([np.bincount(rng.integers(n, size=n), minlength=n) for _ in rows])


def _with_intervals(point: dict[str, np.ndarray], drawn: list[dict], level: float) -> dict[str, float]:
    figures = {}
    for name, value in point.items():
        spread = np.concatenate([part[name] for part in drawn]) if drawn else np.zeros(0)
        spread = spread[np.isfinite(spread)]
        ends = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2]) if len(spread) else (np.nan, np.nan)
        figures |= {name: float(value[0]), f"{name}_low": float(ends[0]), f"{name}_high": float(ends[1])}
    return figures


def vote_entropy(votes: np.ndarray) -> np.ndarray:
    """Entropy of the shares of votes, ``-sum_k q_k log q_k / log C``, from 0 (all agree) to 1; NaN without a vote.

    The crowd's uncertainty about a face, as a target for scores.

    Args:
        votes: ``[N, C]``, how many chose each class.

    >>> vote_entropy(np.array([[10, 0], [5, 5], [0, 0]])).round(3).tolist()
    [0.0, 1.0, nan]
    """
    votes = np.asarray(votes, float)
    if votes.ndim != 2 or votes.shape[1] < 2 or (votes < 0).any():
        raise DataError(f"Votes are counts [N, C] of two classes or more, got {list(votes.shape)}.")
    total = votes.sum(axis=1, keepdims=True)
    share = np.divide(votes, total, out=np.full(votes.shape, np.nan), where=total > 0)
    parts = np.where(share == 0, 0.0, -share * np.log(np.where(share == 0, 1.0, share)))
    return parts.sum(axis=1) / np.log(votes.shape[1]) + 0.0


def rank_correlation(score: np.ndarray, target: np.ndarray) -> float:
    """Spearman's correlation of a score and a target such as `vote_entropy`; NaN where one of them does not vary.

    >>> round(rank_correlation(np.array([1.0, 2.0, 5.0, np.nan]), np.array([0.1, 0.4, 0.9, 0.0])), 6)
    1.0
    """
    score, target = np.asarray(score, float), np.asarray(target, float)
    known = np.isfinite(score) & np.isfinite(target)
    if known.sum() < 2:
        return float("nan")
    a, b = rankdata(score[known]), rankdata(target[known])
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def figures_frame(rows: list[dict]) -> pd.DataFrame:
    """Rows of `detection_figures` as a table whose columns are the same whatever could be computed."""
    names = [f"{m}{kind}{end}" for kind in ("", "_within") for m in METRICS for end in ("", "_low", "_high")]
    columns = ["detector", "n", "wrong", *names, "spearman", "undefined", "problem"]
    rows = [{"undefined": "", "problem": ""} | row for row in rows]
    return pd.DataFrame(rows, columns=columns).astype({"n": "Int64", "wrong": "Int64"})
