"""Where two detectors agree: ranks on one scale, and who is suspicious to which of them."""

import numpy as np
import pandas as pd

from scn_fastai.errors import DataError, SettingsError

GROUPS = ("both", "first", "second", "neither")


def suspicion_ranks(score: np.ndarray) -> np.ndarray:
    """Rank of each score as a share, in (0, 1], 1 the most suspicious; ties share their mean rank, NaN stays.

    >>> suspicion_ranks(np.array([0.1, 7.0, np.nan, 0.3])).round(2).tolist()
    [0.33, 1.0, nan, 0.67]
    """
    score = np.asarray(score, float)
    return pd.Series(np.where(np.isfinite(score), score, np.nan)).rank(pct=True).to_numpy()


def agreement(first: np.ndarray, second: np.ndarray, share: float = 0.1) -> np.ndarray:
    """Who is among the most suspicious ``share`` by which detector: ``[N]`` of `GROUPS`, '' without both scores.

    A rank above ``1 - share`` counts, and the highest there is, so that many scores alike do not leave nobody: of them
    all or none count.

    Args:
        first: scores or ranks ``[N]``, higher is more suspicious.
        second: the same of another detector.
        share: in (0, 1).

    Raises:
        DataError: the lengths differ.
        SettingsError: the share is out of range.

    >>> agreement(np.array([4, 3, 2, 1.0]), np.array([4, 1, 3, 2.0]), 0.5).tolist()
    ['both', 'first', 'second', 'neither']
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.shape != second.shape:
        raise DataError(f"There are {len(first):,} scores of one detector and {len(second):,} of the other.")
    if not 0 < share < 1:
        raise SettingsError(f"share is {share}, but it is a share of the samples: between 0 and 1.")
    known = np.isfinite(first) & np.isfinite(second)
    high = [np.zeros(len(first), bool) for _ in GROUPS[:2]]
    for mask, score in zip(high, (first, second), strict=True):
        mask[known] = _highest(suspicion_ranks(score[known]), share)
    words = np.select([high[0] & high[1], high[0], high[1]], GROUPS[:3], GROUPS[3]).astype(object)
    words[~known] = ""
    return words


def _highest(ranks: np.ndarray, share: float) -> np.ndarray:
    if not len(ranks) or ranks.max() == ranks.min():
        return np.zeros(len(ranks), bool)  # alike to the last: nobody stands out
    return ranks > min(1 - share, ranks.max() - 1e-6) + 1e-9


def agreement_table(groups: np.ndarray, wrong: np.ndarray | None = None) -> pd.DataFrame:
    """A row for each group: how many samples, and with the truth how many of their labels are wrong (n, wrong, share).

    >>> agreement_table(np.array(["both", "first", ""]), np.array([True, False, True])).iloc[0].to_dict()
    {'group': 'both', 'n': 1, 'wrong': 1, 'share': 1.0}
    """
    rows = []
    for name in GROUPS:
        own = np.asarray(groups) == name
        row = {"group": name, "n": int(own.sum())}
        if wrong is not None:
            hits = int(np.asarray(wrong)[own].sum())
            row |= {"wrong": hits, "share": hits / row["n"] if row["n"] else float("nan")}
        rows.append(row)
    return pd.DataFrame(rows)
