"""One large face, and beside it what a network says of it: as a plotly figure, as a PNG, as pieces for a page."""

import base64
import html
import io
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw

from scn_fastai.errors import DataError
from scn_fastai.plots.faces import png_bytes
from scn_fastai.plots.static import font_for
from scn_fastai.plots.style import BLUE, FONT, INK, SKY, markup, tidy

FACE_WIDTH = 384  # pixels on the screen, whatever the image has
BARS_WIDTH = 384
ROW = 22  # height of a bar with its gap
LABEL, NUMBER = 110, 46  # room for the class on the left of a bar and for its share on the right
TRACK = "#ECECEC"
MARGIN, HEAD = 20, 46


class Bar(NamedTuple):
    """A class and its probability; the most probable one is the best."""

    name: str
    share: float
    best: bool

    @property
    def color(self) -> str:
        """Two blues that also differ in brightness: no eye needs the hue."""
        return BLUE if self.best else SKY


def bars_of(probs: np.ndarray | None, classes: Sequence[str] | None) -> list[Bar]:
    """A bar for each class, in the model's order; none without probabilities.

    Raises:
        DataError: there are not as many probabilities as classes, or they are no shares.

    >>> bars_of([0.25, 0.75], ["sad", "glad"])[1]
    Bar(name='glad', share=0.75, best=True)
    """
    if probs is None:
        return []
    values, names = np.asarray(probs, dtype=float).ravel(), list(classes or [])
    if len(values) != len(names) or not len(values):
        raise DataError(f"There are {len(values)} probabilities but {len(names)} classes: give one for each.")
    if not ((values >= -1e-4) & (values <= 1 + 1e-4)).all():
        raise DataError("A probability lies between 0 and 1, and one of these does not: apply softmax first.")
    best = int(values.argmax())
    return [
        Bar(str(name), round(float(value), 4), i == best)
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    ]


def heading(alpha: float | None = None) -> str:
    """The words above the bars.

    >>> heading(0.8312)
    'The network says (importance alpha 0.83)'
    """
    return "The network says" + ("" if alpha is None else f" (importance alpha {alpha:.2f})")


def _checked_image(image: np.ndarray | None) -> np.ndarray | None:
    if image is None:
        return None
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"A face must be uint8 of shape [H, W, 3], got {image.dtype} {list(image.shape)}: convert it.")
    return image


# -- pieces for a page ----------------------------------------------------------------------------------------------


def face_png(image: np.ndarray | None, problem: str = "") -> bytes:
    """A face as a PNG file in its own size; where there is none, the sentence why, on a large white square."""
    image = _checked_image(image)
    if image is None:
        return png_bytes(_sentence_square(problem))
    buffer = io.BytesIO()
    # Smallest effort: it has to be there at once, and does not travel far.
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def bars_html(
    probs: np.ndarray | None,
    classes: Sequence[str] | None,
    alpha: float | None = None,
    problem: str = "",
) -> str:
    """The bars as HTML, in the colours of the page's theme; or a sentence in their place; or nothing."""
    bars = bars_of(probs, classes)
    if not bars and not problem:
        return ""
    ink, track = f"var(--jp-ui-font-color1, {INK})", f"var(--jp-layout-color2, {TRACK})"
    style = f"font: 15px/{ROW}px {FONT}; color: {ink}; max-width: {BARS_WIDTH - 8}px"
    if problem:
        return f'<div style="{style}">{html.escape(problem)}</div>'
    spoken = ", ".join(f"{bar.name} {bar.share:.2f}" for bar in bars)
    rows = "".join(_row_html(bar, track) for bar in bars)
    grid = f"display: grid; grid-template-columns: {LABEL}px 1fr {NUMBER}px; align-items: center"
    return (
        f'<div style="{style}" role="img" aria-label="{html.escape(f"{heading(alpha)}: {spoken}")}">'
        f'<b>{heading(alpha)}</b><div style="{grid}">{rows}</div></div>'
    )


def caption_html(words: str, units: Sequence[tuple[str, float]]) -> str:
    """What is drawn, and the units that do most of it, in words.

    >>> "jaw open 0.85" in caption_html("surprise", [("jaw open", 0.85)])
    True
    """
    listed = ", ".join(f"{name} {weight:.2f}" for name, weight in units)
    style = f"font: 15px/{ROW}px {FONT}; color: var(--jp-ui-font-color1, {INK})"
    small = f"<br>Strongest units: {html.escape(listed)}" if listed else ""
    return f'<div style="{style}"><b>{html.escape(words)}</b>{small}</div>'


def _row_html(bar: Bar, track: str) -> str:
    weight = "bold" if bar.best else "normal"
    label = "text-align: right; padding-right: 8px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis"
    fill = f"display: block; height: 16px; width: {100 * min(max(bar.share, 0), 1):.1f}%; background: {bar.color}"
    return (
        f'<span style="{label}; font-weight: {weight}">{html.escape(bar.name)}</span>'
        f'<span style="background: {track}"><span style="{fill}"></span></span>'
        f'<span style="text-align: right; font-weight: {weight}">{bar.share:.2f}</span>'
    )


# -- the whole as a plotly figure -----------------------------------------------------------------------------------


def face_lab_figure(
    image: np.ndarray | None,
    probs: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    caption: str = "",
    alpha: float | None = None,
    problem: str = "",
) -> go.Figure:
    """A large face and, with probabilities, a bar for each class beside it.

    Args:
        image: uint8 ``[H, W, 3]``; None where there is no face to show, and ``problem`` says why.
        probs: ``[C]``.
        classes: C names.
        caption: text above.
        alpha: importance of this face, for the words above the bars.
        problem: a sentence in place of the face, or of the bars if there is a face.

    Raises:
        DataError: image, probabilities or classes do not fit.

    >>> figure = face_lab_figure(np.zeros((32, 32, 3), np.uint8), [0.25, 0.75], ["sad", "glad"], "somebody")
    >>> list(figure.data[0].y), list(figure.data[0].x)
    (['sad', '<b>glad</b>'], [0.25, 0.75])
    """
    image, bars = _checked_image(image), bars_of(probs, classes)
    beside = bool(bars or (problem and image is not None))
    figure = go.Figure()
    width = FACE_WIDTH + (2 * MARGIN + BARS_WIDTH if beside else 0)
    face = FACE_WIDTH / width
    tidy(figure, markup(caption), width=width + 2 * MARGIN, height=FACE_WIDTH + HEAD + MARGIN, plot_bgcolor="white",
         margin={"l": MARGIN, "r": MARGIN, "t": HEAD, "b": MARGIN}, dragmode=False, showlegend=False)  # fmt: skip
    hidden = {"visible": False, "fixedrange": True, "range": [0, 1]}
    figure.update_layout(xaxis=hidden | {"domain": [0, face]}, yaxis=hidden)
    if image is None:
        _write(figure, problem, 0, "top")
    else:
        source = "data:image/png;base64," + base64.b64encode(png_bytes(Image.fromarray(image))).decode()
        figure.add_layout_image(source=source, xref="paper", yref="paper", x=0, y=1, sizex=face, sizey=1,
                                sizing="stretch", layer="below")  # fmt: skip
    if bars:
        _add_bars(figure, bars, (width - BARS_WIDTH + LABEL) / width, heading(alpha))
    elif beside:
        _write(figure, problem, (width - BARS_WIDTH) / width, "middle")
    return figure


def _add_bars(figure: go.Figure, bars: list[Bar], left: float, title: str) -> None:
    names = [f"<b>{markup(bar.name)}</b>" if bar.best else markup(bar.name) for bar in bars]
    shares = [bar.share for bar in bars]
    figure.add_bar(x=shares, y=names, orientation="h", xaxis="x2", yaxis="y2", marker_color=[b.color for b in bars],
                   text=[f"{share:.2f}" for share in shares], textposition="outside", cliponaxis=False, name=title,
                   hovertemplate="%{y}: %{x:.4f}<extra></extra>")  # fmt: skip
    low = max(0.08, 0.92 - len(bars) * 1.6 * ROW / FACE_WIDTH)
    fixed = {"fixedrange": True, "tickfont": {"size": 15}, "ticklabelstandoff": 6}
    figure.update_layout(
        xaxis2=fixed | {"domain": [left, 0.97], "range": [0, 1], "anchor": "y2", "tickvals": [0, 0.5, 1]},
        yaxis2=fixed | {"domain": [low, 0.92], "anchor": "x2", "autorange": "reversed"},
        bargap=0.3,
    )
    figure.add_annotation(text=f"<b>{markup(title)}</b>", x=left, xanchor="left", xshift=-LABEL, y=1, yanchor="top",
                          xref="paper", yref="paper", showarrow=False, font={"size": 16})  # fmt: skip


def _write(figure: go.Figure, text: str, left: float, height: str) -> None:
    lines = "<br>".join(markup(line) for line in _lines(text))
    figure.add_annotation(text=lines, x=left, y=1 if height == "top" else 0.5, xanchor="left", yanchor=height,
                          xref="paper", yref="paper", showarrow=False, align="left", font={"size": 16})  # fmt: skip


# -- its twin, without a browser ------------------------------------------------------------------------------------


def face_lab_png(
    image: np.ndarray | None,
    probs: np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    caption: str = "",
    alpha: float | None = None,
    problem: str = "",
) -> bytes:
    """The picture of `face_lab_figure` as a PNG file; the same arguments."""
    image, bars = _checked_image(image), bars_of(probs, classes)
    beside = bool(bars or (problem and image is not None))
    width = FACE_WIDTH + (2 * MARGIN + BARS_WIDTH if beside else 0)
    page = Image.new("RGB", (width + 2 * MARGIN, FACE_WIDTH + HEAD + MARGIN), "white")
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, HEAD / 2), caption, fill=INK, font=font_for(caption, 16), anchor="lm")
    if image is None:
        page.paste(_sentence_square(problem), (MARGIN, HEAD))
    else:
        face = Image.fromarray(image).resize((FACE_WIDTH, FACE_WIDTH), Image.Resampling.BICUBIC)
        page.paste(face, (MARGIN, HEAD))
    left = 3 * MARGIN + FACE_WIDTH
    if bars:
        _draw_bars(pen, bars, (left, HEAD), heading(alpha))
    elif beside:
        _draw_lines(pen, problem, (left, HEAD))
    return png_bytes(page)


def _draw_bars(pen: ImageDraw.ImageDraw, bars: list[Bar], corner: tuple[int, int], title: str) -> None:
    left, top = corner
    pen.text((left, top + 8), title, fill=INK, font=font_for(title, 16), anchor="lm")
    step = min(1.6 * ROW, (FACE_WIDTH - 30) / len(bars))
    start, long = left + LABEL, BARS_WIDTH - LABEL - NUMBER
    for number, bar in enumerate(bars):
        middle, half = top + 30 + (number + 0.5) * step, 0.35 * step
        bold = 0.3 if bar.best else 0  # strokes that are drawn thicker: a bold face need not be there
        pen.text((start - 8, middle), bar.name, fill=INK, font=font_for(bar.name, 15), anchor="rm", stroke_width=bold)
        pen.rectangle((start, middle - half, start + long, middle + half), fill=TRACK)
        if bar.share > 0:
            pen.rectangle((start, middle - half, start + long * min(bar.share, 1), middle + half), fill=bar.color)
        words = f"{bar.share:.2f}"
        pen.text((left + BARS_WIDTH, middle), words, fill=INK, font=font_for(words, 15), anchor="rm", stroke_width=bold)


def _sentence_square(text: str) -> Image.Image:
    page = Image.new("RGB", (FACE_WIDTH, FACE_WIDTH), "white")
    _draw_lines(ImageDraw.Draw(page), text, (8, 8))
    return page


def _draw_lines(pen: ImageDraw.ImageDraw, text: str, corner: tuple[int, int]) -> None:
    pen.multiline_text(corner, "\n".join(_lines(text)), fill=INK, font=font_for(text, 16), spacing=6)


def _lines(text: str) -> list[str]:
    return textwrap.wrap(text, 42)
