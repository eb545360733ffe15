"""The samples table: which images there are, what they are called, and the pixels beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from scn_fastai.errors import DataError

SPLITS = ("train", "valid", "test")


@dataclass
class ReadAccount:
    """What a reader found: where, how many faces it kept, what it dropped and why.

    >>> print(ReadAccount("faces.csv", 8, {"image unreadable": 2}, [("a.png", "truncated")]))
    faces.csv: 8 faces read, 2 dropped
      dropped 2: image unreadable
      a.png: truncated
    """

    source: str
    read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, count: int) -> None:
        """Count `count` more faces as dropped for `reason`; nothing happens when `count` is 0."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + int(count)

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.read:,} faces read, {sum(self.dropped.values()):,} dropped"]
        lines += [f"  dropped {count:,}: {reason}" for reason, count in self.dropped.items()]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  {path}: {sentence}" for path, sentence in self.problems[:5]]
        if len(self.problems) > 5:
            lines.append(f"  ... and {len(self.problems) - 5:,} more problems in `account.problems`")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Faces as a table and an array; row i of `images` belongs to row i of `samples`.

    samples: a row per face with `image` (id or path), `split` (train, valid or test) and `label` (class
    name or NA); optional `true_label` and `vote_<class>`. classes: the class names in their order.
    images: uint8 [N, H, W] (grey) or [N, H, W, 3], in memory or a memory map.
    """

    samples: pd.DataFrame
    classes: list[str]
    images: np.ndarray
    account: ReadAccount

    def __post_init__(self) -> None:
        missing = [c for c in ("image", "split", "label") if c not in self.samples.columns]
        if missing:
            raise DataError(f"The table has no column {missing[0]!r}: it needs image, split and label.")
        if self.images.dtype != np.uint8 or self.images.ndim not in (3, 4):
            raise DataError(
                f"Images must be uint8 of shape [N, H, W] or [N, H, W, 3], got {self.images.dtype} "
                f"{list(self.images.shape)}: convert them first."
            )
        if len(self.images) != len(self.samples):
            raise DataError(
                f"The table has {len(self.samples):,} rows but there are {len(self.images):,} images: "
                "give one image for each row."
            )
        _check_splits(self.samples["split"])
        object.__setattr__(self, "classes", [str(name) for name in self.classes])
        object.__setattr__(self, "samples", self.samples.reset_index(drop=True))

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        counts = self.samples["split"].value_counts()
        splits = ", ".join(f"{counts[s]:,} {s}" for s in SPLITS if s in counts)
        height, width = self.images.shape[1:3]
        return f"FaceSet({splits or 'empty'}; {height}x{width}; classes: {', '.join(self.classes)})"

    def rows(self, split: str) -> np.ndarray:
        """Positions of the faces of one split, int64, in table order."""
        if split not in SPLITS:
            raise DataError(f"There is no split {split!r}: use train, valid or test.")
        return np.flatnonzero((self.samples["split"] == split).to_numpy())

    def part(self, split: str) -> FaceSet:
        """Only the faces of one split."""
        return self.take(self.rows(split))

    def take(self, rows: Sequence[int] | np.ndarray) -> FaceSet:
        """The faces at these positions (or where a boolean mask is true), in the order given.

        A run of neighbours shares the pixels; any other choice copies them.
        """
        rows = _positions(rows, len(self))
        samples = self.samples.iloc[rows].reset_index(drop=True)
        return replace(self, samples=samples, images=_pick(self.images, rows))

    def limit(self, n: int, seed: int = 0) -> FaceSet:
        """Exactly `n` training faces, drawn so that each class keeps its share; other splits stay whole."""
        train = self.rows("train")
        if not 1 <= n <= len(train):
            raise DataError(
                f"A limit of {n:,} training faces does not fit the {len(train):,} there are: "
                f"give a number from 1 to {len(train):,}."
            )
        codes, names = pd.factorize(self.samples["label"].iloc[train], use_na_sentinel=False, sort=False)
        chosen = _stratified(codes, len(names), n, seed)
        keep = np.ones(len(self), dtype=bool)
        keep[train] = False
        keep[train[chosen]] = True
        return self.take(keep)

    def with_labels(self, train_labels: Sequence[Any] | np.ndarray | pd.Series) -> FaceSet:
        """The same faces with other given labels in the train split: class names, or codes into `classes`.

        The labels of before become `true_label`, unless the table already knows the truth.
        """
        train = self.rows("train")
        names = self._names(train_labels)
        if len(names) != len(train):
            raise DataError(
                f"There are {len(names):,} new labels for {len(train):,} training faces: give one for each."
            )
        samples = self.samples.copy()
        if "true_label" not in samples.columns:
            samples["true_label"] = samples["label"]
        label = samples["label"].to_numpy(dtype=object, copy=True)
        label[train] = names
        samples["label"] = pd.array(label, dtype=self.samples["label"].dtype)
        changed = replace(self, samples=samples)
        changed.label_codes()
        return changed

    def label_codes(self, column: str = "label", split: str | None = None) -> np.ndarray:
        """The labels of one column as int64 positions in `classes`, shape [N]; ``split``: of its faces alone."""
        if column not in self.samples.columns:
            have = ", ".join(self.samples.columns)
            raise DataError(f"The table has no column {column!r}: it has {have}.")
        samples = self.samples if split is None else self.samples.iloc[self.rows(split)]
        labels = samples[column]
        codes = pd.Index(self.classes).get_indexer(pd.Index(labels)).astype(np.int64)
        outside = np.flatnonzero(codes < 0)
        if len(outside):
            row = int(outside[0])
            value, image = labels.iloc[row], samples["image"].iloc[row]
            what = "has no label" if pd.isna(value) else f"is labelled {value!r}, which is not a class"
            raise DataError(
                f"Row {row} ({image}) {what} in column {column!r} ({len(outside):,} such rows): "
                f"the classes are {', '.join(self.classes)}."
            )
        return codes

    def _names(self, labels: Any) -> np.ndarray:
        values = labels.numpy() if hasattr(labels, "numpy") and hasattr(labels, "dim") else np.asarray(labels)
        if values.dtype.kind not in "iu":
            return np.asarray(values, dtype=object)
        outside = (values < 0) | (values >= len(self.classes))
        if outside.any():
            raise DataError(
                f"Label code {values[outside][0]} is outside the {len(self.classes)} classes: "
                f"use 0 to {len(self.classes) - 1}."
            )
        return np.asarray(self.classes, dtype=object)[values]


def split_off(labels: Sequence[Any] | np.ndarray, share: float = 0.2, seed: int = 0) -> np.ndarray:
    """A boolean mask that takes `share` of every class (at least one face of a class that has two).

    >>> split_off(["a"] * 10 + ["b"] * 5, 0.2).sum()
    np.int64(3)
    """
    codes, names = pd.factorize(np.asarray(labels, dtype=object))
    rng, mask = np.random.default_rng(seed), np.zeros(len(codes), dtype=bool)
    for code in range(len(names)):
        members = np.flatnonzero(codes == code)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        mask[rng.permutation(members)[:count]] = True
    return mask


def _check_splits(splits: pd.Series) -> None:
    wrong = splits[~splits.isin(SPLITS)]
    if len(wrong):
        where = wrong.index[0]
        raise DataError(f"Split {wrong.iloc[0]!r} in row {where} is unknown: use train, valid or test.")


def _positions(rows: Any, size: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool:
        if len(rows) != size:
            raise DataError(f"A mask of {len(rows):,} values does not fit {size:,} faces: give one each.")
        return np.flatnonzero(rows)
    rows = rows.astype(np.int64)
    if len(rows) and (rows.min() < -size or rows.max() >= size):
        raise DataError(f"Row {int(rows.max())} is outside the {size:,} faces: use 0 to {size - 1}.")
    return rows % size if size else rows


def _pick(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of a large array; neighbours in order come as a view, which keeps a memory map on disk."""
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return images[rows[0] : rows[0] + len(rows)]
    return images[rows]


def _stratified(codes: np.ndarray, n_groups: int, n: int, seed: int) -> np.ndarray:
    """Sorted positions of exactly `n` items; shares by largest remainder, the earlier class on a tie."""
    counts = np.bincount(codes, minlength=n_groups)
    exact = counts * (n / counts.sum())
    take = np.floor(exact).astype(int)
    for group in np.argsort(take - exact, kind="stable")[: n - take.sum()]:
        take[group] += 1
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(codes == group))[: take[group]] for group in range(n_groups)]
    return np.sort(np.concatenate(chosen))
