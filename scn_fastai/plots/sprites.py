"""Thumbnails on paged sheets: thirty thousand faces are shown by sending only the sheets that somebody looks at."""

import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from scn_fastai.errors import DataError
from scn_fastai.plots.faces import MOST_FACES

MISSING_GREY = 190  # the tile that stands where an image is missing
KINDS = {"JPEG": {"quality": 88, "subsampling": 0}, "PNG": {"compress_level": 3}}
NOT_SEEN = "not seen"


class Sheet(NamedTuple):
    """A picture with many thumbnails: thumbnail i lies in row i // columns, column i % columns."""

    data: bytes  # a JPEG or PNG file
    columns: int
    width: int  # of one thumbnail
    height: int


def checked_faces(images) -> np.ndarray | list:
    """Faces that `faces_at` can read: an array as it is, or a list of arrays in which None is a missing image.

    Raises:
        DataError: they are not uint8, or not of one shape.

    >>> len(checked_faces([None, np.zeros((4, 4), np.uint8)]))
    2
    """
    if isinstance(images, np.ndarray) or not isinstance(images, Sequence):
        images = np.asanyarray(images)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.ndim == 4 and images.shape[3] != 3:
            if images.size or images.ndim != 1:
                raise DataError(
                    f"Faces must be uint8 of shape [N, H, W] or [N, H, W, 3], got {images.dtype} {list(images.shape)}: "
                    "convert them first."
                )
            return []
        return images
    first = next((i for i, image in enumerate(images) if image is not None), None)
    for i, image in enumerate(images):
        if image is not None:
            _check_one(i, image, first, images[first])
    return list(images)


def _check_one(i: int, image, first: int, like) -> None:
    fits = isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim in (2, 3)
    if not fits or image.ndim == 3 and image.shape[2] != 3:
        got = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"Face {i} must be a uint8 array [H, W] or [H, W, 3], or None if it is missing, got {got}.")
    if image.shape != like.shape:
        raise DataError(
            f"Face {i} has shape {list(image.shape)} but face {first} {list(like.shape)}: bring all to one size."
        )


def faces_at(images: np.ndarray | list, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The faces at some rows, uint8 ``[k, H, W]`` or ``[k, H, W, 3]``, and which of them are missing, bool ``[k]``.

    Only these are read, so that ``images`` may be a memory map. A missing face is a grey tile.

    >>> faces, missing = faces_at([None, np.zeros((4, 4), np.uint8)], np.array([1, 0]))
    >>> faces[:, 0, 0].tolist(), missing.tolist()
    ([0, 190], [False, True])
    """
    rows = np.asarray(rows, dtype=np.int64)
    if isinstance(images, np.ndarray):
        return np.asarray(images[rows]), np.zeros(len(rows), dtype=bool)
    shape = next((image.shape for image in images if image is not None), (64, 64))
    missing = np.array([images[row] is None for row in rows], dtype=bool)
    faces = np.full((len(rows), *shape), MISSING_GREY, dtype=np.uint8)
    for place in np.flatnonzero(~missing):
        faces[place] = images[rows[place]]
    return faces, missing


def thumbnails(images: np.ndarray, most: int = 128) -> np.ndarray:
    """Faces made smaller, all in one operation, until the longer side has at most ``most`` pixels; never larger.

    uint8 ``[k, H, W]`` or ``[k, H, W, 3]`` in, the same out.

    >>> thumbnails(np.zeros((5, 300, 200), np.uint8), 96).shape
    (5, 96, 64)
    """
    height, width = images.shape[1:3]
    if max(height, width) <= most or not len(images):
        return images
    size = [max(1, round(side * most / max(height, width))) for side in (height, width)]
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    pixels = pixels.unsqueeze(1) if images.ndim == 3 else pixels.permute(0, 3, 1, 2)
    small = interpolate(pixels, size, mode="bilinear", antialias=True)
    return (small.squeeze(1) if images.ndim == 3 else small.permute(0, 2, 3, 1)).numpy()


def sprite_sheet(images: np.ndarray, columns: int = 16, kind: str = "JPEG") -> Sheet:
    """Faces side by side in one picture without gaps.

    Args:
        images: uint8 ``[k, H, W]`` or ``[k, H, W, 3]``, k from 1 to 1,024.
        columns: faces in a row of the sheet.
        kind: ``'JPEG'``, or ``'PNG'``, which keeps every pixel and takes more room.

    Raises:
        DataError: there are too many faces, or none.

    >>> sheet = sprite_sheet(np.zeros((5, 8, 6), np.uint8), columns=3)
    >>> Image.open(io.BytesIO(sheet.data)).size, sheet.columns, sheet.width, sheet.height
    ((18, 16), 3, 6, 8)
    """
    count = len(images)
    if not 1 <= count <= MOST_FACES:
        raise DataError(f"A sheet holds 1 to {MOST_FACES:,} faces, got {count:,}: make several.")
    if kind not in KINDS:
        raise DataError(f"A sheet is {' or '.join(KINDS)}, got {kind!r}.")
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    height, width = images.shape[1:3]
    whole = np.full((rows * columns, *images.shape[1:]), 255, dtype=np.uint8)
    whole[:count] = images
    cells = whole.reshape(rows, columns, *images.shape[1:]).swapaxes(1, 2)
    picture = Image.fromarray(cells.reshape(rows * height, columns * width, *images.shape[3:]))
    buffer = io.BytesIO()
    picture.save(buffer, kind, **KINDS[kind])
    return Sheet(buffer.getvalue(), columns, width, height)


# -- words below a face ---------------------------------------------------------------------------------------------


def label_line(given: str, current: str) -> str:
    """A label, or what it was and what it became.

    >>> label_line("sad", "sad"), label_line("sad", "glad")
    ('sad', 'sad → glad')
    """
    return given if given == current else f"{given} → {current}"


def alpha_line(alpha: float) -> str:
    """Importance to 4 decimals, or that the sample was not drawn.

    >>> alpha_line(0.123456), alpha_line(float("nan"))
    ('α 0.1235', 'α: not seen')
    """
    return f"α {alpha:.4f}" if np.isfinite(alpha) else f"α: {NOT_SEEN}"


def text_width(text: str) -> int:
    """How wide a text is, in narrow letters: a Chinese letter counts as two.

    >>> text_width("glad"), text_width("高兴")
    (4, 4)
    """
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def widest_line(captions: Iterable[str]) -> tuple[int, int]:
    r"""Of many captions: the width of the widest line in narrow letters, and the largest number of lines.

    >>> widest_line(["sad → glad\nα 0.1", "", "sad"])
    (10, 2)
    """
    distinct = set(captions)
    lines = {line for caption in distinct for line in caption.split("\n")}
    return max(map(text_width, lines), default=0), max((c.count("\n") + 1 for c in distinct if c), default=0)
