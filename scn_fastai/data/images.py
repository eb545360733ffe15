"""From image files to one uint8 array: decoded once, kept in memory or in a memory-mapped file."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from scn_fastai.data.cache import Decoded, Fill, cached, default_cache_dir, filled
from scn_fastai.errors import DataError

# Arrays above this many bytes go to a file on disk even when no cache folder was asked for.
MEMORY_LIMIT = 2**30
GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
TURNABLE = ("JPEG", "MPO", "TIFF", "WEBP")
# An image with more pixels is a mistake or an attack: it would take 200 MB of memory in every thread that decodes.
LARGEST = 64_000_000
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # LARGEST says it as a sentence
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass
class ImageSource:
    """Named images and a way to their bytes; `stamp` changes when any of the files (or boxes) does."""

    names: list[str]
    read: Callable[[str], bytes]
    stamp: str
    boxes: np.ndarray | None = None  # [N, 4] left, top, width, height of the part to take; NaN: the whole image


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


class UnfitImage(OSError):
    """An image that can be opened, but not used."""


def decode_image(
    data: Any, size: tuple[int, int] | None = None, grey: bool | None = None, box: Sequence[float] | None = None
) -> np.ndarray:
    """One image as uint8 [H, W] (grey) or [H, W, 3]; `size` is (height, width), None keeps its own.

    data: bytes, a path, a PIL image or a uint8 array. grey=None keeps grey images grey. box: left, top, width and
    height of the part to take, cut off at the edges of the image; NaN takes all of it.

    Raises:
        UnfitImage: it has more than `LARGEST` pixels, less than half of the box lies in it, or its pixels are numbers
            beyond 16 bits or fractions.
    """
    if isinstance(data, np.ndarray):
        data = Image.fromarray(_uint8(data))
    elif isinstance(data, bytes | bytearray):
        data = _open(io.BytesIO(data))
    elif not isinstance(data, Image.Image):
        data = _open(data)
    # Phones store a photograph lying on its side together with a note of how to turn it.
    image = ImageOps.exif_transpose(data) if data.format in TURNABLE else data
    if grey is None:
        grey = image.mode in GREY_MODES
    if box is not None and np.isfinite(box).all():
        image = image.crop(_inside(box, image.size))
    image = _eight_bits(image).convert("L" if grey else "RGB")
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits brought to 8, which PIL would cut off at 255: all white."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    low, high = np.min(image), np.max(image)
    if image.mode == "F" or low < 0 or high > 65535:
        raise UnfitImage(f"its pixels are numbers of mode {image.mode}, {low:g} to {high:g}: save it with 8 or 16 bits")
    deep = image.mode.startswith("I;16") or high > 255
    return Image.fromarray((np.asarray(image).astype(np.int64) >> (8 if deep else 0)).astype(np.uint8))


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

    fill = _filler(source, size, grey, first, workers)
    if cache_dir is None:
        return filled(full, source.names, fill)
    return cached(Path(cache_dir), f"{source.stamp}|{full}|2", full, source.names, fill)


def _open(file: Any) -> Image.Image:
    try:
        image = Image.open(file)
        width, height = image.size
        if width * height <= LARGEST:
            return image
        what = f"{width}x{height} pixels"
    except Image.DecompressionBombError:
        what = "hundreds of megapixels"
    raise UnfitImage(f"too large ({what}, more than {LARGEST // 10**6} megapixels): make it smaller")


def _inside(box: Sequence[float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box as (left, top, right, bottom), cut off at the edges of an image of this (width, height)."""
    left, top, width, height = (round(float(value)) for value in box)
    right, bottom = min(left + width, size[0]), min(top + height, size[1])
    left, top = max(left, 0), max(top, 0)
    if width <= 0 or height <= 0 or 2 * max(right - left, 0) * max(bottom - top, 0) < width * height:
        raise UnfitImage(f"its face box ({width}x{height}) lies outside of the image ({size[0]}x{size[1]})")
    return left, top, right, bottom


def _uint8(array: np.ndarray) -> np.ndarray:
    array = np.squeeze(array, -1) if array.ndim == 3 and array.shape[-1] == 1 else array
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits:
        got = f"{array.dtype} {list(array.shape)}"
        raise DataError(f"An image array must be uint8 of shape [H, W] or [H, W, 3], got {got}.")
    return array


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


def _filler(source: ImageSource, size: Any, grey: bool, first: str, workers: int | None) -> Fill:
    """What decodes rows of the source into an array, by threads."""

    def fill(images: np.ndarray, rows: range, moved: Callable[[int], object]) -> dict[int, str]:
        wanted, wrong = images.shape[1:3], {}

        def one(row: int) -> None:
            name = source.names[row]
            box = None if source.boxes is None else source.boxes[row]
            try:
                pixels = decode_image(source.read(name), size, grey, box)
            except Exception as error:  # a damaged file can raise anything; it is reported, never a traceback
                wrong[row] = sentence_of(error)
                return
            if pixels.shape[:2] != wanted:
                raise DataError(
                    f"{name} is {pixels.shape[0]}x{pixels.shape[1]} but {first} is {wanted[0]}x{wanted[1]}: "
                    "give `size` to bring all images to one size."
                )
            images[row] = pixels

        in_threads(one, rows, workers, moved)
        return wrong

    return fill


def in_threads(
    one: Callable[[int], None],
    rows: range,
    workers: int | None = None,
    moved: Callable[[int], object] = lambda n: None,
    block: int = 64,
) -> None:
    """`one` for every row, by threads; `moved` hears of every block of rows that is done."""

    def some(start: int) -> int:
        few = range(start, min(start + block, rows.stop))
        for row in few:
            one(row)
        return len(few)

    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        try:
            for count in pool.map(some, range(rows.start, rows.stop, block)):
                moved(count)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def sentence_of(error: Exception) -> str:
    """What is wrong with an image that raised this when it was read."""
    if isinstance(error, FileNotFoundError | KeyError):
        return "the file is not there"
    if isinstance(error, UnfitImage):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    return f"unreadable or truncated ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
