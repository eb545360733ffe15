"""Wrong labels made on purpose, together with the truth about which ones are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scn_fastai.errors import DataError

# Where a wrong label goes when a person makes it: a row per true expression, shares of the flips.
# The first of each row is its usual partner; shares of expressions that a data set lacks are spread
# over the others. An assumption for experiments, not a measurement.
CONFUSIONS: dict[str, dict[str, float]] = {
    "neutral": {"sadness": 0.7, "contempt": 0.15, "happiness": 0.15},
    "happiness": {"contempt": 0.7, "neutral": 0.2, "surprise": 0.1},
    "surprise": {"fear": 0.7, "happiness": 0.2, "neutral": 0.1},
    "sadness": {"neutral": 0.7, "fear": 0.2, "disgust": 0.1},
    "anger": {"disgust": 0.7, "neutral": 0.2, "sadness": 0.1},
    "disgust": {"anger": 0.7, "sadness": 0.2, "contempt": 0.1},
    "fear": {"surprise": 0.7, "sadness": 0.2, "anger": 0.1},
    "contempt": {"happiness": 0.7, "neutral": 0.2, "disgust": 0.1},
}
# Human-like noise: a face of doubt d is mislabelled 1 + d times as likely as a clear one, and an ambiguous face
# is taken for its second class with the probability SECOND_SHARE. Assumptions for experiments, too.
SECOND_SHARE = 0.8
POOR_DOUBT = (1.0, 4.0)  # of a poor image at level 0 and at level 1
AMBIGUOUS_DOUBT = 8.0  # times the share of its soft label that is not the true class's
DOUBT_COLUMNS = ("uncertainty", "level")  # what `face_doubt` needs, beside soft_<class>
_ALIASES = {
    "happy": "happiness", "sad": "sadness", "angry": "anger", "surprised": "surprise",
    "disgusted": "disgust", "fearful": "fear", "afraid": "fear", "scared": "fear",
}  # fmt: skip


class Flipped(NamedTuple):
    """Labels of the type that was given, and a bool mask [N]: True where the label was changed."""

    labels: Any
    flipped: np.ndarray


def flip_labels(
    labels: Any,
    rate: float | None,
    kind: str | Sequence | np.ndarray = "symmetric",
    per_class: bool = True,
    seed: int = 0,
    classes: Sequence[str] | int | None = None,
    doubt: Any = None,
    second: Any = None,
) -> Flipped:
    """Change a share of the labels to another class, and say which.

    labels: N ints or strings (list, Series, array or tensor); classes: the class names, or their number,
    when not all occur. kind: 'symmetric' (any other class alike), 'confusion' (along `CONFUSIONS`; needs
    class names), 'human' (the same, but doubtful faces first), or a row-stochastic matrix [C, C] whose
    off-diagonal shares say where a flip goes.
    per_class: exactly round(rate * n_c) flips in every class (SCN, section 4.2), otherwise each label
    flips by its own coin, as in the authors' code. With a matrix, rate=None takes 1 - diagonal.

    For 'human' only: doubt [N] >= 0 says how hard each face is, a face of doubt d is 1 + d times as likely
    to be drawn as one of doubt 0 (see `face_doubt`); second [N] names the other class of an ambiguous face
    ('' or NA, or -1 among ints: none), where its flips go with the probability SECOND_SHARE.

    Raises:
        DataError: a label, rate, matrix, doubt or second class makes no sense.

    >>> flip_labels([0, 0, 0, 0, 1, 1, 1, 1], 0.5, seed=1).flipped.reshape(2, 4).sum(1)
    array([2, 2])
    >>> flip_labels(["a", "b"], 1.0).labels
    ['b', 'a']
    """
    codes, names = _encode(labels, classes)
    matrix = _matrix(kind, names)
    rates = _rates(rate, kind, matrix)
    weight = _weight(kind, doubt, second, per_class, len(codes))
    rng = np.random.default_rng(seed)
    flipped = _choose(codes, rates, per_class, rng, weight)
    changed = codes.copy()
    for code in np.unique(codes[flipped]):
        members = np.flatnonzero(flipped & (codes == code))
        changed[members] = rng.choice(len(names), size=len(members), p=_targets(matrix, code, names))
    if second is not None:
        other = _second(second, names, len(codes))
        taken = flipped & (other >= 0) & (other != codes) & (rng.random(len(codes)) < SECOND_SHARE)
        changed[taken] = other[taken]
    return Flipped(_restore(labels, changed, names), flipped)


def face_doubt(samples: pd.DataFrame) -> np.ndarray:
    """How hard each face is to label by what its row says, float [N] >= 0; 0 for a clear face.

    An ambiguous face has AMBIGUOUS_DOUBT * (1 - soft_<true class>), a poor image (any other `uncertainty` but
    none) grows with its `level` from POOR_DOUBT[0] to POOR_DOUBT[1]. An assumption for experiments, made so
    that wrong labels and uncertain faces go together as they do among real ones; not a measurement of people.

    Raises:
        DataError: a column is missing, or a value is missing or outside 0 to 1.

    >>> rows = {"image": list("abc"), "label": "fear", "uncertainty": ["none", "blur", "ambiguous"]}
    >>> face_doubt(pd.DataFrame(rows | {"level": [np.nan, 1, 1], "soft_fear": [1, 1, 0.5]}))
    array([0., 4., 4.])
    """
    truth = samples["true_label" if "true_label" in samples else "label"]
    needed = [*DOUBT_COLUMNS, *(f"soft_{name}" for name in truth.dropna().unique())]
    missing = [name for name in needed if name not in samples]
    if missing:
        raise DataError(
            f"The table has no column {missing[0]!r}: human-like noise needs uncertainty, level and soft_<class>."
        )
    own = np.full(len(samples), np.nan)
    for name in truth.dropna().unique():
        here = (truth == name).to_numpy()
        own[here] = samples.loc[here, f"soft_{name}"]
    poor = ~samples["uncertainty"].isin(["none", "ambiguous"]).to_numpy()
    level = np.where(poor, samples["level"], 0.0).astype(float)
    for what, values in (("level", level), ("soft label of its own class", own)):
        wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(wrong):
            row, value = samples.iloc[wrong[0]], values[wrong[0]]
            raise DataError(f"Face {row['image']} has a {what} of {value:g}: it has to lie between 0 and 1.")
    least, most = POOR_DOUBT
    return AMBIGUOUS_DOUBT * (1 - own) + np.where(poor, least + (most - least) * level, 0)


def transition_matrix(true: Any, given: Any, n_classes: int) -> np.ndarray:
    """Share of each true class (row) that was given each label (column), float [C, C]; rows sum to 1.

    A class without a face keeps a 1 on the diagonal.

    >>> transition_matrix([0, 0, 1, 1], [0, 1, 1, 1], 2)
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    true, given = _numpy(true).astype(np.int64), _numpy(given).astype(np.int64)
    if len(true) != len(given):
        raise DataError(f"{len(true):,} true labels do not fit {len(given):,} given ones: give one each.")
    for labels in (true, given):
        if len(labels) and (labels.min() < 0 or labels.max() >= n_classes):
            raise DataError(f"A label code is outside 0 to {n_classes - 1}: raise n_classes or mend it.")
    counts = np.bincount(true * n_classes + given, minlength=n_classes**2).astype(float)
    counts = counts.reshape(n_classes, n_classes)
    empty = counts.sum(1) == 0
    counts[empty, empty] = 1
    return counts / counts.sum(1, keepdims=True)


def confusion_matrix(classes: Sequence[str]) -> np.ndarray:
    """`CONFUSIONS` for these class names (7 or 8, in any order), float [C, C], zero on the diagonal.

    >>> confusion_matrix(["fear", "surprise"])
    array([[0., 1.],
           [1., 0.]])
    """
    plain = [_ALIASES.get(str(name).lower(), str(name).lower()) for name in classes]
    unknown = [name for name, key in zip(classes, plain, strict=True) if key not in CONFUSIONS]
    if unknown:
        raise DataError(
            f"Confusion noise knows no expression {unknown[0]!r}: name the classes out of "
            f"{', '.join(CONFUSIONS)}, or give a matrix."
        )
    matrix = np.array([[CONFUSIONS[row].get(column, 0.0) for column in plain] for row in plain])
    total = matrix.sum(1, keepdims=True)
    return np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0)


def _numpy(labels: Any) -> np.ndarray:
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu()
    return np.asarray(labels)


def _encode(labels: Any, classes: Sequence[str] | int | None) -> tuple[np.ndarray, list]:
    """Labels as positions in a list of classes; integer labels are such positions already."""
    values = _numpy(labels)
    if values.size == 0:
        raise DataError("There are no labels to flip: give at least one.")
    if pd.isna(values).any():
        raise DataError(f"{int(pd.isna(values).sum()):,} labels are missing: drop those faces first.")
    if values.dtype.kind in "iu":
        names = list(range(int(values.max()) + 1)) if classes is None else classes
        names = list(range(names)) if isinstance(names, int) else list(names)
        codes = values.astype(np.int64)
        outside = codes[(codes < 0) | (codes >= len(names))]
    else:
        names = sorted(set(values.tolist())) if classes is None or isinstance(classes, int) else list(classes)
        codes = pd.Index(names).get_indexer(pd.Index(values.astype(object))).astype(np.int64)
        outside = values[codes < 0]
    if len(outside):
        known = ", ".join(map(str, names))
        raise DataError(f"Label {outside[0]!s} is outside the classes: they are {known}.")
    if len(names) < 2:
        raise DataError("A label can only flip when there are two classes: give `classes`.")
    return codes, names


def _restore(labels: Any, codes: np.ndarray, names: list) -> Any:
    """Codes in the type of the labels that were given."""
    if hasattr(labels, "detach"):
        return labels.new_tensor(codes)
    values = codes if _numpy(labels).dtype.kind in "iu" else np.asarray(names, dtype=object)[codes]
    if isinstance(labels, pd.Series):
        return pd.Series(values, index=labels.index, name=labels.name).astype(labels.dtype)
    if isinstance(labels, np.ndarray):
        if labels.dtype.kind == "U":  # as wide as before, wider where a longer name has come in
            return values.astype(np.promote_types(labels.dtype, values.astype(str).dtype))
        return values.astype(labels.dtype)
    return type(labels)(values.tolist()) if isinstance(labels, list | tuple) else values.tolist()


def _matrix(kind: str | Sequence | np.ndarray, names: list) -> np.ndarray:
    if isinstance(kind, str):
        if kind == "symmetric":
            return (1 - np.eye(len(names))) / (len(names) - 1)
        if kind in ("confusion", "human"):
            return confusion_matrix(names)
        raise DataError(f"There is no noise kind {kind!r}: use symmetric, confusion, human or a matrix [C, C].")
    matrix = np.asarray(_numpy(kind), dtype=float)
    if matrix.shape != (len(names), len(names)):
        raise DataError(f"The noise matrix is {list(matrix.shape)}, but there are {len(names)} classes: give [C, C].")
    sums = matrix.sum(1)
    if not (matrix >= 0).all() or not np.allclose(sums, 1, atol=1e-6):
        row = int(np.argmax(np.where((matrix >= 0).all(1), np.abs(sums - 1), np.inf)))
        raise DataError(
            f"Row {row} of the noise matrix is not a distribution (sum {sums[row]:.3g}): "
            "rows must be >= 0 and sum to 1."
        )
    return matrix


def _rates(rate: float | None, kind: Any, matrix: np.ndarray) -> np.ndarray:
    """The share of labels to flip for every class, [C]."""
    if rate is None:
        if isinstance(kind, str):
            raise DataError(f"Noise of kind {kind!r} needs a rate: give a number from 0 to 1.")
        return 1 - np.diag(matrix)
    if not 0 <= rate <= 1:
        raise DataError(f"A flip rate of {rate} makes no sense: give a number from 0 to 1.")
    return np.full(len(matrix), float(rate))


def _weight(kind: Any, doubt: Any, second: Any, per_class: bool, size: int) -> np.ndarray | None:
    """How likely each label is drawn, relative to the others of its class, [N]; None: all alike."""
    if not isinstance(kind, str) or kind != "human":
        if doubt is not None or second is not None:
            raise DataError("Only noise of kind 'human' looks at doubt and second: choose that kind or leave them out.")
        return None
    if doubt is None:
        raise DataError("Noise of kind 'human' needs doubt: give `face_doubt(samples)`, or use kind 'confusion'.")
    if not per_class:
        raise DataError("Noise of kind 'human' flips an exact share of every class: leave per_class true.")
    doubt = _numpy(doubt).astype(float)
    if doubt.shape != (size,):
        raise DataError(f"doubt is {list(doubt.shape)}, but there are {size:,} labels: give one number for each.")
    wrong = np.flatnonzero(~((doubt >= 0) & np.isfinite(doubt)))
    if len(wrong):
        raise DataError(f"A doubt of {doubt[wrong[0]]:g} (row {wrong[0]}) makes no sense: give numbers of 0 or more.")
    return 1 + doubt


def _choose(
    codes: np.ndarray, rates: np.ndarray, per_class: bool, rng: np.random.Generator, weight: np.ndarray | None
) -> np.ndarray:
    if not per_class:
        return rng.random(len(codes)) < rates[codes]
    flipped = np.zeros(len(codes), dtype=bool)
    for code, rate in enumerate(rates):
        members = np.flatnonzero(codes == code)
        if weight is None:
            order = rng.permutation(members)
        else:  # a race of exponential clocks: draws one after the other, each in proportion to the weights left
            order = members[np.argsort(rng.exponential(size=len(members)) / weight[members])]
        flipped[order[: round(rate * len(members))]] = True
    return flipped


def _second(second: Any, names: list, size: int) -> np.ndarray:
    """Second classes as positions in the list of classes, -1 where there is none, [N]."""
    if len(second) != size:
        raise DataError(f"There are {len(second):,} second classes for {size:,} labels: give one for each.")
    # A Series, because a numpy array makes the word 'nan' of a NaN among names.
    values = pd.Series(_numpy(second) if hasattr(second, "detach") else second)
    if pd.api.types.is_integer_dtype(values):
        codes, none = values.to_numpy(np.int64), (values == -1).to_numpy()
        outside = values[(values < -1) | (values >= len(names))]
    else:
        values = values.astype(object).where(values.notna(), "")
        codes, none = pd.Index(names).get_indexer(pd.Index(values)), (values == "").to_numpy()
        outside = values[(codes < 0) & ~none]
    if len(outside):
        known = ", ".join(map(str, names))
        raise DataError(f"Second class {outside.iloc[0]!s} is outside the classes: they are {known}.")
    return np.where(none, -1, codes)


def _targets(matrix: np.ndarray, code: int, names: list) -> np.ndarray:
    row = matrix[code].copy()
    row[code] = 0
    if row.sum() == 0:
        raise DataError(f"Class {names[code]!s} has no class to flip to: give its row a share elsewhere.")
    return row / row.sum()
