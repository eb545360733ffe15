"""A drawing of boxes, words, arrows and pictures in pixels, shown alike by plotly and by Pillow."""

import base64
import math
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont

from scn_fastai.plots.faces import png_bytes
from scn_fastai.plots.static import font_for, is_wide
from scn_fastai.plots.style import INK, markup, tidy

HEAD = 11  # pixels of an arrow's head
ANCHORS = {"left": "lm", "center": "mm", "right": "rm"}


class Shape(NamedTuple):
    """A polygon, filled or not: a box has four points. Its edge may be dashed."""

    points: list[tuple[float, float]]
    fill: str | None = None
    edge: str | None = INK
    line: float = 2
    dashed: bool = False


class Words(NamedTuple):
    """A line of text, its middle at a height; anchored at its left end, its centre or its right end."""

    x: float
    y: float
    text: str
    size: int = 15
    color: str = INK
    bold: bool = False
    anchor: str = "left"


class Arrow(NamedTuple):
    """A line through points with a head at its end."""

    points: list[tuple[float, float]]
    color: str = INK
    width: float = 2.5


class Picture(NamedTuple):
    """An image, uint8 ``[H, W]`` or ``[H, W, 3]``, stretched to a box; ``smooth`` or in blocks."""

    x: float
    y: float
    width: float
    height: float
    image: np.ndarray
    smooth: bool = True


Item = Shape | Words | Arrow | Picture


class Drawing(NamedTuple):
    """Items on a white page, drawn one after the other; x to the right, y downwards."""

    width: int
    height: int
    items: list[Item]


def box(x: float, y: float, width: float, height: float, **look) -> Shape:
    """A rectangle.

    >>> box(0, 0, 2, 1).points
    [(0, 0), (2, 0), (2, 1), (0, 1)]
    """
    return Shape([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], **look)


def fitted(text: str, width: float, size: int = 15) -> str:
    """A text cut at its end so that it is at most so many pixels wide.

    >>> fitted("happiness", 200), fitted("a very long class name", 60)
    ('happiness', 'a ver…')
    """
    font = font_for(text, size)
    if font.getlength(text) <= width:
        return text
    kept = next((n for n in range(len(text), 0, -1) if font.getlength(text[:n] + "…") <= width), 0)
    return text[:kept].rstrip() + "…"


# -- plotly ---------------------------------------------------------------------------------------------------------


def drawing_figure(drawing: Drawing) -> go.Figure:
    """The drawing as a plotly figure of its size; its words are real text."""
    shapes, annotations, images = [], [], []
    for item in drawing.items:
        if isinstance(item, Shape):
            shapes.append(_shape(item))
        elif isinstance(item, Words):
            annotations.append(_annotation(item))
        elif isinstance(item, Picture):
            images.append(_image(item))
        else:
            line = {"color": item.color, "width": item.width}
            shapes.append({"type": "path", "path": _path(item.points), "line": line})
            annotations.append(_arrow_head(item))
    figure = go.Figure(layout={"shapes": shapes, "annotations": annotations, "images": images})
    hidden = {"visible": False, "fixedrange": True}
    none = {"l": 0, "r": 0, "t": 0, "b": 0}
    return tidy(figure, width=drawing.width, height=drawing.height, margin=none, dragmode=False,
                plot_bgcolor="white", xaxis=hidden | {"range": [0, drawing.width]},
                yaxis=hidden | {"range": [drawing.height, 0]})  # fmt: skip


def _path(points: list[tuple[float, float]], closed: bool = False) -> str:
    steps = [f"{'L' if number else 'M'} {x:.1f},{y:.1f}" for number, (x, y) in enumerate(points)]
    return " ".join(steps) + (" Z" if closed else "")


def _shape(item: Shape) -> dict:
    line = {"color": item.edge or "rgba(0,0,0,0)", "width": item.line if item.edge else 0}
    line["dash"] = "6px,4px" if item.dashed else "solid"
    fill = {"fillcolor": item.fill} if item.fill else {}
    return {"type": "path", "path": _path(item.points, closed=True), "line": line} | fill


def _annotation(item: Words) -> dict:
    text = markup(item.text)
    return {"x": item.x, "y": item.y, "text": f"<b>{text}</b>" if item.bold else text, "showarrow": False,
            "xanchor": item.anchor, "yanchor": "middle", "font": {"size": item.size, "color": item.color},
            "borderpad": 0}  # fmt: skip


def _arrow_head(item: Arrow) -> dict:
    (x0, y0), (x, y) = item.points[-2:]
    length = math.hypot(x - x0, y - y0)
    back = min(1.0, 2 * HEAD / length)  # a head needs a piece of line to stand on
    return {"x": x, "y": y, "ax": x - (x - x0) * back, "ay": y - (y - y0) * back, "xref": "x", "yref": "y",
            "axref": "x", "ayref": "y", "text": "", "showarrow": True, "arrowhead": 2, "arrowsize": 1,
            "arrowwidth": item.width, "arrowcolor": item.color}  # fmt: skip


def _image(item: Picture) -> dict:
    pixels = base64.b64encode(png_bytes(_scaled(item))).decode()
    return {"source": f"data:image/png;base64,{pixels}", "xref": "x", "yref": "y", "x": item.x, "y": item.y,
            "sizex": item.width, "sizey": item.height, "sizing": "stretch", "layer": "above"}  # fmt: skip


def _scaled(item: Picture) -> Image.Image:
    size = round(item.width), round(item.height)
    how = Image.Resampling.BICUBIC if item.smooth else Image.Resampling.NEAREST
    return Image.fromarray(item.image).convert("RGB").resize(size, how)


# -- Pillow -----------------------------------------------------------------------------------------------------------


def drawing_png(drawing: Drawing) -> bytes:
    """The drawing as a PNG file."""
    page = Image.new("RGB", (drawing.width, drawing.height), "white")
    pen = ImageDraw.Draw(page)
    for item in drawing.items:
        if isinstance(item, Shape):
            _draw_shape(pen, item)
        elif isinstance(item, Words):
            font = _bold_font(item.size) if item.bold and not is_wide(item.text) else font_for(item.text, item.size)
            pen.text((item.x, item.y), item.text, fill=item.color, font=font, anchor=ANCHORS[item.anchor])
        elif isinstance(item, Picture):
            page.paste(_scaled(item), (round(item.x), round(item.y)))
        else:
            _draw_arrow(pen, item)
    return png_bytes(page)


def _bold_font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"), size)


def _draw_shape(pen: ImageDraw.ImageDraw, item: Shape) -> None:
    if item.fill:
        pen.polygon(item.points, fill=item.fill)
    if not item.edge:
        return
    for start, end in zip(item.points, [*item.points[1:], item.points[0]], strict=True):
        for piece in _dashes(start, end) if item.dashed else [(start, end)]:
            pen.line(piece, fill=item.edge, width=round(item.line))


def _dashes(start: tuple[float, float], end: tuple[float, float], long: float = 6, gap: float = 4) -> list:
    """The pieces of a dashed line."""
    length = math.dist(start, end)

    def at(way: float) -> tuple[float, float]:
        share = min(way, length) / length
        return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])

    return [(at(way), at(way + long)) for way in np.arange(0, length, long + gap)]


def _draw_arrow(pen: ImageDraw.ImageDraw, item: Arrow) -> None:
    points = [(round(x), round(y)) for x, y in item.points]
    (x0, y0), (x, y) = points[-2:]
    turn = math.atan2(y - y0, x - x0)
    base = x - HEAD * math.cos(turn), y - HEAD * math.sin(turn)
    pen.line([*points[:-1], base], fill=item.color, width=round(item.width), joint="curve")
    side = HEAD / 2 * math.sin(turn), HEAD / 2 * math.cos(turn)
    pen.polygon([(x, y), (base[0] - side[0], base[1] + side[1]), (base[0] + side[0], base[1] - side[1])],
                fill=item.color)  # fmt: skip
