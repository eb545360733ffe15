"""A score against known groups: does it find the faces that are known to be uncertain?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from scn_fastai.errors import DataError

CERTAIN = "none"


def auroc(suspicion: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of a score ``[N]`` for a mask ``[N]``; NaN where one side is empty.

    0.5: no better than chance; below: the wrong way round. Samples without a score (NaN) do not count.

    >>> auroc(np.array([0.9, 0.2, 0.8, np.nan]), np.array([True, False, False, True]))
    1.0
    """
    suspicion, positive = np.asarray(suspicion, float), np.asarray(positive, bool)
    seen = np.isfinite(suspicion)
    if positive[seen].all() or not positive[seen].any():
        return float("nan")
    return float(roc_auc_score(positive[seen], suspicion[seen]))


def auroc_by_kind(suspicion: np.ndarray, kinds: np.ndarray) -> pd.DataFrame:
    """How well a score finds each kind of uncertain sample among the certain ones.

    Args:
        suspicion: ``[N]``, higher is more suspicious (1 - alpha, say); NaN where there is none.
        kinds: ``[N]``, the kind of each sample; ``'none'`` for the certain ones.

    Returns:
        DataFrame with a row a kind (kind, n, auroc), a last row ``'any'`` for all of them together.

    Raises:
        DataError: the lengths differ, or no sample is certain.

    >>> auroc_by_kind(np.array([0.1, 0.9, 0.3]), np.array(["none", "blur", "none"])).to_dict("records")[0]
    {'kind': 'blur', 'n': 1, 'auroc': 1.0}
    """
    suspicion, kinds = np.asarray(suspicion, float), np.asarray(kinds, dtype=object)
    if len(suspicion) != len(kinds):
        raise DataError(f"There are {len(suspicion):,} scores but {len(kinds):,} kinds: give one for each.")
    certain = kinds == CERTAIN
    if not certain.any():
        raise DataError(f"No sample is of the kind {CERTAIN!r}, so there is nothing to compare the others with.")
    rows = []
    for kind in [*dict.fromkeys(kinds[~certain]), "any"]:
        own = ~certain if kind == "any" else kinds == kind
        among = own | certain
        rows.append({"kind": kind, "n": int(own.sum()), "auroc": auroc(suspicion[among], own[among])})
    return pd.DataFrame(rows, columns=["kind", "n", "auroc"])
