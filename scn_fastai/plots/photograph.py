"""Photographs with what was found in them: boxes, five points, words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from scn_fastai.errors import DataError
from scn_fastai.plots.drawing import Drawing, Item, Picture, Shape, Words, box, drawing_figure, drawing_png
from scn_fastai.plots.static import font_for
from scn_fastai.plots.style import ORANGE, SKY, VERMILION

WIDE, GAP, TITLE = 400, 12, 28  # pixels: a photograph, between two, a title
WORDS, PLATE = 14, 20  # size of the words at a box, height of the plate they stand on
DOT = 4  # radius of a point
POINT_COLOURS = (SKY, SKY, "#FFFFFF", ORANGE, ORANGE)  # eyes, nose, corners of the mouth


class Marked(NamedTuple):
    """A photograph uint8 [H, W, 3], boxes [K, 4] as x1 y1 x2 y2, faces of five points [M, 5, 2], words at the boxes."""

    image: np.ndarray
    boxes: np.ndarray | Sequence = ()
    points: np.ndarray | Sequence = ()
    title: str = ""
    words: Sequence[str] = ()


def photograph_figure(photographs: Sequence[Marked], columns: int = 3, wide: int = WIDE) -> go.Figure:
    """Photographs side by side, with boxes and points: blue eyes, white nose, orange corners of the mouth.

    columns: in a row. wide: pixels of each on the screen.

    Raises:
        DataError: there is no photograph, it is no uint8 [H, W, 3], or its words are not as many as its boxes.

    >>> figure = photograph_figure([Marked(np.zeros((30, 40, 3), np.uint8), [[5, 5, 20, 25]], words=["0.99"])])
    >>> figure.layout.width, figure.layout.annotations[0].text
    (424, '0.99')
    """
    return drawing_figure(marked_drawing(photographs, columns, wide))


def photograph_png(photographs: Sequence[Marked], columns: int = 3, wide: int = WIDE) -> bytes:
    """The picture of `photograph_figure` as a PNG file; the same arguments."""
    return drawing_png(marked_drawing(photographs, columns, wide))


def marked_drawing(photographs: Sequence[Marked], columns: int = 3, wide: int = WIDE) -> Drawing:
    """The drawing that figure and PNG show; the arguments are those of `photograph_figure`."""
    photographs = [_checked(one) for one in photographs]
    if not photographs:
        raise DataError("There is no photograph to show: give at least one.")
    columns = max(1, min(columns, len(photographs)))
    items: list[Item] = []
    top = GAP
    for start in range(0, len(photographs), columns):
        row = photographs[start : start + columns]
        under = top + (TITLE if any(one.title for one in row) else 0)
        for column, one in enumerate(row):
            left = GAP + column * (wide + GAP)
            if one.title:
                items.append(Words(left, top + TITLE / 2 - 2, one.title, bold=True))
            items += _items(one, left, under, wide)
        top = under + max(_high(one, wide) for one in row) + GAP
    return Drawing(GAP + columns * (wide + GAP), top, items)


def _checked(one: Marked) -> Marked:
    image = np.asarray(one.image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"A photograph must be uint8 of shape [H, W, 3], got {image.dtype} {list(image.shape)}.")
    boxes = np.asarray(one.boxes, dtype=float).reshape(-1, 4)
    points = np.asarray(one.points, dtype=float).reshape(-1, 5, 2)
    if one.words and len(one.words) != len(boxes):
        raise DataError(f"There are {len(boxes)} boxes but {len(one.words)} words: give one for each.")
    return Marked(image, boxes, points, one.title, list(one.words))


def _high(one: Marked, wide: int) -> int:
    return round(one.image.shape[0] * wide / one.image.shape[1])


def _items(one: Marked, left: float, top: float, wide: int) -> list[Item]:
    """A photograph and what is marked in it, its upper left corner at a place."""
    scale, high = wide / one.image.shape[1], _high(one, wide)
    items: list[Item] = [Picture(left, top, wide, high, one.image)]
    # What reaches beyond the photograph is drawn at its edge.
    corner, end = np.array([left, top]), np.array([left + wide, top + high])
    boxes = [np.clip(b.reshape(2, 2) * scale + corner, corner, end).ravel().tolist() for b in one.boxes]
    for x1, y1, x2, y2 in boxes:
        items += [
            box(x1, y1, x2 - x1, y2 - y1, edge=edge, line=line) for edge, line in (("#FFFFFF", 4), (VERMILION, 2))
        ]
    for face in (one.points + 0.5) * scale + corner:
        items += [_dot(x, y, colour) for (x, y), colour in zip(face, POINT_COLOURS, strict=True)]
    for (x1, y1, *_), words in zip(boxes, one.words, strict=False):
        items += _plate(x1, max(y1 - PLATE, top), words)
    return items


def _dot(x: float, y: float, colour: str) -> Shape:
    """A point, an octagon with a dark edge, so that it is seen on any skin."""
    angle = (np.arange(8) + 0.5) * np.pi / 4
    ring = np.stack([x + DOT * np.cos(angle), y + DOT * np.sin(angle)], 1)
    return Shape([tuple(corner) for corner in ring.tolist()], fill=colour, line=1)


def _plate(x: float, y: float, words: str) -> list[Item]:
    wide = font_for(words, WORDS).getlength(words) + 8
    return [box(x, y, wide, PLATE, fill="#FFFFFF", edge=None), Words(x + 4, y + PLATE / 2, words, WORDS)]
