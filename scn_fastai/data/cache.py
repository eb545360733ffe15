"""Arrays of pixels on disk: made once, piece by piece, by one process; an interrupt costs the running piece."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from scn_fastai.errors import DataError
from scn_fastai.files import write_whole

# Rows between two notes of how far the work is: half a minute of decoding on one core.
PIECE = 4096
# `fill(images, rows, moved)` writes these rows of the array, calls `moved(n)` as it goes on, and gives a sentence for
# each row that cannot be made.
Fill = Callable[[np.ndarray, range, Callable[[int], object]], dict[int, str]]


@dataclass
class Decoded:
    """uint8 `images` [K, H, W(, 3)], the positions `kept` [K] in the list, and (name, sentence) problems."""

    images: np.ndarray
    kept: np.ndarray
    problems: list[tuple[str, str]] = field(default_factory=list)


def default_cache_dir() -> Path:
    """Where large arrays go: $SCN_CACHE, or a folder in the user's cache."""
    return Path(os.environ.get("SCN_CACHE") or Path.home() / ".cache" / "scn_fastai")


def progress(total: int) -> tqdm:
    """A bar on a terminal, when the wait can be felt."""
    return tqdm(desc="decoding", total=total, leave=False, unit="image", disable=None if total > 5000 else True)


def filled(shape: tuple[int, ...], names: list[str], fill: Fill) -> Decoded:
    """The array in memory."""
    images = np.empty(shape, np.uint8)
    with progress(len(names)) as bar:
        wrong = fill(images, range(len(names)), bar.update)
    kept = close_gaps(images, wrong)
    return Decoded(images[: len(kept)], kept, [(names[row], wrong[row]) for row in sorted(wrong)])


def cached(folder: Path, key: str, shape: tuple[int, ...], names: list[str], fill: Fill, piece: int = 0) -> Decoded:
    """The array kept in `folder` under `key`, a memory map; made by `fill` the first time, `piece` rows at a time.

    What an interrupt leaves is used by the next call. Processes that want the same array wait for the first of them.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:20]
    paths = _Paths(folder / f"{name}.npy", folder / f"{name}.json", folder / f"{name}.part", folder / f"{name}.state")
    found = _ready(paths, shape)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):
            return _ready(paths, shape) or _make(paths, shape, names, fill, piece or PIECE)
    except OSError as error:
        raise DataError(
            f"Cannot keep the images in {folder} ({error.strerror or error}): give another cache_dir."
        ) from error


def close_gaps(images: np.ndarray, wrong: dict[int, str]) -> np.ndarray:
    """Move the rows that were made to the front, in their order; gives their old positions."""
    kept = np.setdiff1d(np.arange(len(images)), list(wrong))
    if wrong:
        for new in range(min(wrong), len(kept)):
            images[new] = images[kept[new]]
    return kept


@dataclass
class _Paths:
    final: Path
    notes: Path
    part: Path
    state: Path


def _make(paths: _Paths, shape: tuple[int, ...], names: list[str], fill: Fill, piece: int) -> Decoded:
    images, done, wrong = _begin(paths, shape)
    try:
        with progress(len(names)) as bar:
            bar.update(done)
            while done < len(names):
                rows = range(done, min(done + piece, len(names)))
                wrong |= fill(images, rows, bar.update)
                images.flush()
                done = rows.stop
                write_whole(paths.state, json.dumps({"done": done, "wrong": wrong}))
        if wrong:
            paths.state.unlink()  # rows that have moved cannot be gone on with
        kept = close_gaps(images, wrong)
        images.flush()
        del images
        problems = [(names[row], wrong[row]) for row in sorted(wrong)]
        write_whole(paths.notes, json.dumps({"kept": kept.tolist(), "problems": problems}))
        os.replace(paths.part, paths.final)
        paths.state.unlink(missing_ok=True)
    except (DataError, OSError):  # it would fail in the same way again
        for path in (paths.part, paths.state):
            path.unlink(missing_ok=True)
        raise
    return Decoded(_open_map(paths.final)[: len(kept)], kept, problems)


def _begin(paths: _Paths, shape: tuple[int, ...]) -> tuple[np.ndarray, int, dict[int, str]]:
    """The array to fill, how many of its rows an earlier try has made, and what was wrong with some of those."""
    try:
        state = json.loads(paths.state.read_text(encoding="utf-8"))
        images = np.lib.format.open_memmap(paths.part, "r+")
        if images.shape == shape and images.dtype == np.uint8:
            return images, int(state["done"]), {int(row): sentence for row, sentence in state["wrong"].items()}
    except (OSError, ValueError, KeyError):
        pass
    paths.part.unlink(missing_ok=True)
    _need_room(paths.part.parent, int(np.prod(shape, dtype=np.int64)))
    return np.lib.format.open_memmap(paths.part, "w+", np.uint8, shape), 0, {}


def _ready(paths: _Paths, shape: tuple[int, ...]) -> Decoded | None:
    """What an earlier call left, or None when that is nothing or is damaged."""
    try:
        about, images = json.loads(paths.notes.read_text(encoding="utf-8")), _open_map(paths.final)
        kept = np.array(about["kept"], np.int64)
        problems = [(path, sentence) for path, sentence in about["problems"]]
    except (OSError, ValueError, KeyError):
        return None
    return Decoded(images[: len(kept)], kept, problems) if images.shape == shape else None


def _open_map(path: Path) -> np.ndarray:
    # Copy-on-write: torch wants a writable array, the file stays as it is.
    return np.load(path, mmap_mode="c")


def _need_room(folder: Path, wanted: int) -> None:
    # A memory map on a full disk kills the process with a bus error, so look before.
    free = shutil.disk_usage(folder).free
    if free < wanted * 1.05:
        raise DataError(
            f"The images need {wanted / 2**20:,.0f} MiB in {folder}, where {free / 2**20:,.0f} MiB are free: "
            "make room or give another cache_dir."
        )
