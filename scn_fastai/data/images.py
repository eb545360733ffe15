"""From image files to one uint8 array: decoded once, kept in memory or in a memory-mapped file."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from scn_fastai.errors import DataError

# Arrays above this many bytes go to a file on disk even when no cache folder was asked for.
MEMORY_LIMIT = 2**30
GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
TURNABLE = ("JPEG", "MPO", "TIFF", "WEBP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass
class ImageSource:
    """Named images and a way to their bytes; `stamp` changes when any of the files does."""

    names: list[str]
    read: Callable[[str], bytes]
    stamp: str


@dataclass
class Decoded:
    """uint8 `images` [K, H, W(, 3)], the positions `kept` [K] in the list, and (name, sentence) problems."""

    images: np.ndarray
    kept: np.ndarray
    problems: list[tuple[str, str]] = field(default_factory=list)


def default_cache_dir() -> Path:
    """Where large arrays go: $SCN_CACHE, or a folder in the user's cache."""
    return Path(os.environ.get("SCN_CACHE") or Path.home() / ".cache" / "scn_fastai")


def existing(path: str | Path) -> Path:
    """`path`, or one sentence when nothing is there."""
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"There is nothing at {path}: check the path.")
    return path


def from_paths(paths: Iterable[str | Path]) -> ImageSource:
    """Image files on disk."""
    names = [str(path) for path in paths]
    marks = hashlib.sha256()
    for name in names:
        try:
            stat = os.stat(name)
            marks.update(f"{name}|{stat.st_mtime_ns}|{stat.st_size}\n".encode())
        except OSError:
            marks.update(f"{name}|missing\n".encode())
    return ImageSource(names, lambda name: Path(name).read_bytes(), marks.hexdigest())


def from_zip(path: str | Path, names: Iterable[str]) -> ImageSource:
    """Members of a zip file, read where they lie: nothing is extracted."""
    names, stat = list(names), os.stat(path)
    archive = zipfile.ZipFile(path)
    mark = f"{Path(path).resolve()}|{stat.st_mtime_ns}|{stat.st_size}\n" + "\n".join(names)
    return ImageSource(names, archive.read, hashlib.sha256(mark.encode()).hexdigest())


def decode_image(data: Any, size: tuple[int, int] | None = None, grey: bool | None = None) -> np.ndarray:
    """One image as uint8 [H, W] (grey) or [H, W, 3]; `size` is (height, width), None keeps its own.

    data: bytes, a path, a PIL image or a uint8 array. grey=None keeps grey images grey.
    """
    if isinstance(data, np.ndarray):
        data = Image.fromarray(_uint8(data))
    elif isinstance(data, bytes | bytearray):
        data = Image.open(io.BytesIO(data))
    elif not isinstance(data, Image.Image):
        data = Image.open(data)
    # Phones store a photograph lying on its side together with a note of how to turn it.
    image = ImageOps.exif_transpose(data) if data.format in TURNABLE else data
    if grey is None:
        grey = image.mode in GREY_MODES
    image = image.convert("L" if grey else "RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def decode_all(
    source: ImageSource,
    size: int | tuple[int, int] | None = None,
    grey: bool | None = None,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
) -> Decoded:
    """Every image of `source` in one uint8 array; what cannot be read is left out and reported.

    size: (height, width) or one number for both; None needs images of one size. grey: None looks at all.
    cache_dir: keep the array there as a memory-mapped file for the next time. Without it, only arrays
    above `MEMORY_LIMIT` bytes go to a file (in `default_cache_dir()`).
    """
    size = (size, size) if isinstance(size, int) else size
    sizes, modes, first = _probe(source, size, grey)
    shape = size or sizes
    grey = modes if grey is None else grey
    full = (len(source.names), *shape) if grey else (len(source.names), *shape, 3)
    if cache_dir is None and np.prod(full, dtype=np.int64) > MEMORY_LIMIT:
        cache_dir = default_cache_dir()

    def fill(images: np.ndarray) -> tuple[np.ndarray, list]:
        return _fill(images, source, size, grey, first, workers)

    if cache_dir is None:
        images = np.empty(full, np.uint8)
        kept, problems = fill(images)
        return Decoded(images[: len(kept)], kept, problems)
    key = f"{source.stamp}|{full}|1"
    return cached(Path(cache_dir), key, full, fill)


def cached(
    folder: Path, key: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], tuple[np.ndarray, list]]
) -> Decoded:
    """The array kept in `folder` under `key`, made by `fill` the first time; half a file never stays."""
    name = hashlib.sha256(key.encode()).hexdigest()[:20]
    final, notes = folder / f"{name}.npy", folder / f"{name}.json"
    found = _from_cache(final, notes, shape)
    if found is not None:
        return found
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    half = temporary.with_suffix(".json.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _need_room(folder, int(np.prod(shape, dtype=np.int64)))
        images = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        kept, problems = fill(images)
        images.flush()
        del images
        half.write_text(json.dumps({"kept": kept.tolist(), "problems": problems}))
        os.replace(half, notes)
        os.replace(temporary, final)
    except OSError as error:
        raise DataError(f"Cannot keep the images in {folder} ({error.strerror}): give another cache_dir.") from error
    finally:
        temporary.unlink(missing_ok=True)
        half.unlink(missing_ok=True)
    return Decoded(_open_map(final)[: len(kept)], kept, problems)


def _from_cache(final: Path, notes: Path, shape: tuple[int, ...]) -> Decoded | None:
    """What an earlier call left, or None when that is nothing or is damaged."""
    try:
        about, images = json.loads(notes.read_text()), _open_map(final)
        kept = np.array(about["kept"], np.int64)
        problems = [(path, sentence) for path, sentence in about["problems"]]
    except (OSError, ValueError, KeyError):
        return None
    return Decoded(images[: len(kept)], kept, problems) if images.shape == shape else None


def _uint8(array: np.ndarray) -> np.ndarray:
    array = np.squeeze(array, -1) if array.ndim == 3 and array.shape[-1] == 1 else array
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits:
        got = f"{array.dtype} {list(array.shape)}"
        raise DataError(f"An image array must be uint8 of shape [H, W] or [H, W, 3], got {got}.")
    return array


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


def _header(read: Callable[[str], bytes], name: str) -> tuple[tuple[int, int], bool] | None:
    """((height, width), is grey) of an image, or None when it cannot be opened."""
    try:
        image = Image.open(io.BytesIO(read(name)))
        width, height = image.size
        lying = image.format in TURNABLE and image.getexif().get(274, 1) >= 5
    except Exception:  # the decoding pass says what is wrong with it
        return None
    return (width, height) if lying else (height, width), image.mode in GREY_MODES


def _probe(source: ImageSource, size: tuple[int, int] | None, grey: bool | None) -> tuple[tuple[int, int], bool, str]:
    """Size and greyness of the set, and the first readable name; only looks as far as it must."""
    if not source.names:
        raise DataError("There are no images to read: check the folder or the table.")
    found, all_grey, first = None, True, ""
    for name in source.names:
        header = _header(source.read, name)
        if header is None:
            continue
        if found is None:
            found, first = header[0], name
        all_grey = all_grey and header[1]
        if grey is not None or not all_grey:
            break
    if found is None:
        raise DataError(
            f"None of the {len(source.names):,} images can be read, {source.names[0]} to begin with: "
            "check that they are image files."
        )
    return size or found, all_grey, first


def _fill(
    images: np.ndarray, source: ImageSource, size: Any, grey: bool, first: str, workers: int | None
) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Decode everything into `images`, close the gaps of what failed, say what stayed."""
    wanted, wrong = images.shape[1:3], {}

    def one(row: int) -> None:
        name = source.names[row]
        try:
            pixels = decode_image(source.read(name), size, grey)
        except Exception as error:  # a damaged file can raise anything; it is reported, never a traceback
            wrong[row] = _sentence(error)
            return
        if pixels.shape[:2] != wanted:
            raise DataError(
                f"{name} is {pixels.shape[0]}x{pixels.shape[1]} but {first} is {wanted[0]}x{wanted[1]}: "
                "give `size` to bring all images to one size."
            )
        images[row] = pixels

    _run(one, len(source.names), workers)
    kept = np.setdiff1d(np.arange(len(source.names)), list(wrong))
    if wrong:
        for new, old in enumerate(kept):
            images[new] = images[old]
    return kept, [(source.names[row], wrong[row]) for row in sorted(wrong)]


def _run(one: Callable[[int], None], count: int, workers: int | None, block: int = 64) -> None:
    """`one` for every row, by threads, with a progress bar on a terminal when the wait can be felt."""

    def some(start: int) -> None:
        for row in range(start, min(start + block, count)):
            one(row)

    starts = range(0, count, block)
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        done = pool.map(some, starts)
        try:
            for _ in tqdm(done, "decoding", len(starts), leave=False, disable=None if count > 5000 else True):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _sentence(error: Exception) -> str:
    if isinstance(error, FileNotFoundError | KeyError):
        return "the file is not there"
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    return f"unreadable or truncated ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
