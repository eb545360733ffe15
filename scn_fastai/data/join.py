"""Two data sets as one: the joint training of the SCN paper's Table 7 (RAF-DB + AffectNet)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data import images as pixels
from scn_fastai.data.cache import cached, default_cache_dir, filled
from scn_fastai.data.classes import map_codes, to_classes
from scn_fastai.data.samples import SPLITS, FaceSet, ReadAccount
from scn_fastai.errors import DataError


def join(
    a: FaceSet,
    b: FaceSet,
    names: Sequence[str] = ("a", "b"),
    classes: Sequence[str] | None = None,
    size: int | None = None,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """The faces of both sets: in common classes, of one size, with a column `source` that says where each is from.

    names: what the sets are called; images are called `<name>/<image>`. classes: by default those that
    both have, in the order of `a` (7 for RAF-DB and AffectNet); faces of other classes are dropped and counted.
    size: pixels of a side, by default those of `a`. Colour stays if one set has it. Training faces come first. Votes
    are kept where both sets have them; true labels where one has, NA for the faces of the other. Large sets go to a
    file in `cache_dir`, as `decode_all` says.

    Raises:
        DataError: the sets have no class in common, or a name twice.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise DataError(f"Two sets that are joined need two names, not {list(names)!r}.")
    if classes is None:
        there = map_codes(a.classes, b.classes) >= 0
        classes = [name for name, known in zip(a.classes, there, strict=True) if known]
        if not classes:
            raise DataError(
                f"{names[0]} ({', '.join(a.classes)}) and {names[1]} ({', '.join(b.classes)}) have no class in common: "
                "name their classes alike."
            )
    parts = [to_classes(faces, classes) for faces in (a, b)]
    if parts[0].classes != parts[1].classes:
        raise DataError(f"One of {names[0]} and {names[1]} lacks some of the classes {', '.join(classes)}.")
    tables = [_named(part, name) for part, name in zip(parts, names, strict=True)]
    table = pd.concat(tables, ignore_index=True)
    order = np.argsort([SPLITS.index(split) for split in table["split"]], kind="stable")
    shape = (size, size) if size else parts[0].images.shape[1:3]
    images = _pixels([part.images for part in parts], order, shape, cache_dir)
    samples = table.iloc[order].reset_index(drop=True)
    return FaceSet(_columns(samples, tables), parts[0].classes, images, _account(parts, names, samples))


def _named(part: FaceSet, name: str) -> pd.DataFrame:
    table = part.samples.copy()
    table["image"] = [f"{name}/{image}" for image in table["image"]]
    return table.assign(source=name)


def _columns(samples: pd.DataFrame, tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Without the votes that only one set has: a method that learns from votes needs those of every face."""
    halved = [c for c in samples if c.startswith("vote_") and not all(c in table for table in tables)]
    return samples.drop(columns=halved)


def _pixels(arrays: list[np.ndarray], order: np.ndarray, shape: tuple[int, int], cache_dir) -> np.ndarray:
    """Both arrays row by row in the new order, resized where they must be; in memory or in a file."""
    grey = all(images.ndim == 3 for images in arrays)
    full = (len(order), *shape) if grey else (len(order), *shape, 3)
    first = len(arrays[0])

    def fill(images: np.ndarray, rows: range, moved) -> dict[int, str]:
        def one(row: int) -> None:
            old = order[row]
            image = arrays[0][old] if old < first else arrays[1][old - first]
            images[row] = pixels.decode_image(np.ascontiguousarray(image), shape, grey)

        pixels.in_threads(one, rows, None, moved)
        return {}

    names = [str(row) for row in order]
    if cache_dir is None and np.prod(full, dtype=np.int64) <= pixels.MEMORY_LIMIT:
        return filled(full, names, fill).images
    folder = Path(cache_dir or default_cache_dir())
    return cached(folder, _key(arrays, order, full), full, names, fill).images


def _key(arrays: list[np.ndarray], order: np.ndarray, full: tuple[int, ...]) -> str:
    """A mark of the pixels: a thousand rows of each array stand for all of it."""
    mark = hashlib.sha256(order.tobytes())
    for images in arrays:
        mark.update(str(images.shape).encode())
        for row in np.linspace(0, len(images) - 1, min(1000, len(images))).astype(int):
            mark.update(np.ascontiguousarray(images[row]).tobytes())
    return f"join|{mark.hexdigest()}|{full}"


def _account(parts: list[FaceSet], names: Sequence[str], samples: pd.DataFrame) -> ReadAccount:
    """One account of both: every reason, note and problem says which set it is of."""
    account = ReadAccount(" + ".join(part.account.source for part in parts), len(samples))
    for part, name in zip(parts, names, strict=True):
        of = part.account
        for reason, count in of.dropped.items():
            account.drop(f"{name}: {reason}", count)
        account.problems += [(f"{name}/{image}", sentence) for image, sentence in of.problems]
        account.notes += [f"{name}: {note}" for note in of.notes if not note.startswith("classes in order")]
    counts = samples.groupby(["source", "split"], sort=False).size()
    account.notes.append(", ".join(f"{count:,} {split} of {source}" for (source, split), count in counts.items()))
    account.notes.append(f"classes in order: {', '.join(parts[0].classes)}")
    return account
