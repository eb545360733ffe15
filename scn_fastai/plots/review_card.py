"""One doubted face, large, with everything that speaks for and against its label."""

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw

from scn_fastai.errors import DataError
from scn_fastai.plots.faces import png_bytes
from scn_fastai.plots.review_queue import ACTIONS, Queue, actions_of
from scn_fastai.plots.sprites import MISSING_GREY, alpha_line
from scn_fastai.plots.static import font_for, sentence_png
from scn_fastai.plots.style import BLUE, FONT, INK, VERMILION, markup, sentence, tidy
from scn_fastai.training.run import Run

FACE = 165  # pixels on the screen, whatever the image has
WIDTH = 400
LABEL, NUMBER, ROW = 178, 42, 23
QUIET, TRACK = "#9A9A9A", "#ECECEC"
MARK = "◆"  # what people voted
SIGNS = {"accept": "✓", "reject": "✗", "choose": "✎"}


class Bar(NamedTuple):
    """A class: its probability, the share of votes it got, and its part in the doubt ('given', 'proposed' or '')."""

    name: str
    share: float | None
    vote: float | None
    part: str

    @property
    def words(self) -> str:
        """The class with its part, so that colours are not needed."""
        return f"{self.name} ({self.part})" if self.part else self.name

    @property
    def color(self) -> str:
        """Of the bar."""
        return {"proposed": BLUE, "given": VERMILION}.get(self.part, QUIET)


class Card(NamedTuple):
    """What is known of a doubted face."""

    sample: int
    image: np.ndarray | None  # uint8 [H, W] or [H, W, 3]; None: missing
    head: tuple[str, str]  # the label, and what is proposed
    lines: tuple[str, ...]
    bars: tuple[Bar, ...]
    bars_are: str
    votes_are: str = ""


def card_of(
    queue: Queue,
    sample: int,
    classes: Sequence[str],
    label: int,
    decided: bool = False,
    image: np.ndarray | None = None,
    probs: np.ndarray | None = None,
    probs_are: str = "",
    votes: np.ndarray | None = None,
    votes_are: str = "votes of people",
    true: int | None = None,
    name: str = "",
) -> Card:
    """Put together what is known of a face in a queue.

    Args:
        queue: of `review_queue`.
        sample: one of its samples.
        classes: C class names.
        label: code of the label now.
        decided: whether a person decided on it.
        image: uint8 ``[H, W]`` or ``[H, W, 3]``, None if it is missing.
        probs: probabilities ``[C]``; None shows the two that the rule compared.
        probs_are: what they are, in words.
        votes: shares ``[C]`` of votes, or a soft label.
        votes_are: which of the two, in words.
        true: code of the true label, if it may be shown.
        name: file name.

    Raises:
        DataError: the sample is not in the queue.
    """
    place = np.flatnonzero(queue.samples == sample)
    if not len(place):
        raise DataError(f"Sample {sample} is not in this queue of {len(queue.table):,} faces.")
    row = queue.table.iloc[int(place[0])]
    old, proposed = int(row["old"]), int(row["proposed"])
    action = str(actions_of(Queue(queue.table.iloc[place], queue.applied), np.array([label]))[0])
    state = f"{SIGNS[action]} {ACTIONS[action]}: {classes[label]}" if decided else "not decided yet"
    did, group = "changed" if queue.applied else "proposed", "low" if row["low"] else "high"
    lines = [
        f"P_max {row['p_max']:.2f}, P_given {row['p_given']:.2f}",
        f"{alpha_line(row['alpha'])} ({group} group)" if np.isfinite(row["alpha"]) else alpha_line(row["alpha"]),
        f"{did} in epoch {int(row['epoch'])}",
        *([_short(name)] if name else []),
        state,
        *([] if true is None else [f"true label: {classes[true]}"]),
    ]
    parts = {old: "given", proposed: "proposed"}
    if probs is None:
        probs_are = "The two that the rule compared"
        probs = [{old: row["p_given"], proposed: row["p_max"]}.get(code, np.nan) for code in range(len(classes))]
    bars = tuple(
        Bar(str(words), _share(probs[code]), None if votes is None else _share(votes[code]), parts.get(code, ""))
        for code, words in enumerate(classes)
    )
    return Card(int(sample), image, (classes[old], classes[proposed]), tuple(lines), bars, probs_are,
                "" if votes is None else votes_are)  # fmt: skip


def _short(name: str, most: int = 24) -> str:
    """The end of a path, which is what tells files apart."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return last if len(last) <= most else f"…{last[1 - most :]}"


def _share(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def probs_of(run: Run, sample: int) -> tuple[np.ndarray | None, str]:
    """Probabilities of a sample ``[C]`` and what they are: averaged over the epochs, else of the last epoch, else None.

    The average is what the rule of the default recipe looks at.
    """
    history = run.history
    if history is None or not history.epoch:
        return None, ""
    if history.evidence is not None and history.evidence_count[sample] > 0:
        return history.evidence[sample].cpu().numpy(), "Probabilities, averaged over the epochs"
    probs = history.probs(-1)[sample]
    return (probs, "Probabilities in the last epoch") if np.isfinite(probs).all() else (None, "")


def votes_of(run: Run) -> tuple[np.ndarray | None, str]:
    """Shares ``[N, C]`` of votes (columns ``vote_<class>``) or soft labels (``soft_<class>``), and which; or None."""
    table = run.train_samples
    for prefix, words in (("vote_", "votes of people"), ("soft_", "soft label")):
        columns = [prefix + name for name in run.classes]
        if set(columns) <= set(table.columns):
            return table[columns].to_numpy(float), words
    return None, ""


def _legend(card: Card) -> str:
    return f"   {MARK} {card.votes_are}" if card.votes_are else ""


def _picture(card: Card) -> Image.Image:
    if card.image is not None:
        return Image.fromarray(card.image)
    page = Image.new("L", (FACE, FACE), MISSING_GREY)
    ImageDraw.Draw(page).text((FACE / 2, FACE / 2), "image missing", fill=0, font=font_for("i", 16), anchor="mm")
    return page


# -- on a page ------------------------------------------------------------------------------------------------------


def card_html(card: Card | None, problem: str = "") -> str:
    """The card as HTML, or a sentence in its place."""
    style = f"font: 15px/1.45 {FONT}; color: {INK}; background: white; width: {WIDTH}px"
    if card is None:
        return f'<div style="{style}; font-size: 18px; padding: 60px 0">{html.escape(problem)}</div>'
    buffer = io.BytesIO()
    _picture(card).save(buffer, "PNG", compress_level=1)
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    words = "".join(f"<div>{html.escape(line)}</div>" for line in card.lines)
    old, proposed = (html.escape(name) for name in card.head)
    head = f'<div style="font-size: 22px; line-height: 1.3; padding-bottom: 4px">{old}<br><b>→ {proposed}</b></div>'
    face = f'<img src="{source}" width="{FACE}" height="{FACE}" alt="face of sample {card.sample}">'
    grid = f"display: grid; grid-template-columns: {LABEL}px 1fr {NUMBER}px; align-items: center"
    rows = "".join(_row_html(bar) for bar in card.bars)
    return (
        f'<div style="{style}"><div style="display: flex; gap: 14px">{face}<div>{head}{words}</div></div>'
        f'<div style="padding-top: 6px"><b>{html.escape(card.bars_are)}</b>{_legend(card)}</div>'
        f'<div style="{grid}">{rows}</div></div>'
    )


def _row_html(bar: Bar) -> str:
    name = "text-align: right; padding-right: 8px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis"
    name += "; font-weight: bold" if bar.part else ""
    width, number = (0, "") if bar.share is None else (100 * min(max(bar.share, 0), 1), f"{bar.share:.2f}")
    fill = f"display: block; height: 15px; width: {width:.1f}%; background: {bar.color}"
    place = "position: absolute; top: -4px; transform: translateX(-50%)"
    vote = "" if not bar.vote else f'<span style="{place}; left: {100 * bar.vote:.1f}%">{MARK}</span>'
    return (
        f'<span style="{name}; line-height: {ROW}px">{html.escape(bar.words)}</span>'
        f'<span style="background: {TRACK}; position: relative"><span style="{fill}"></span>{vote}</span>'
        f'<span style="text-align: right">{number}</span>'
    )


# -- as a figure ----------------------------------------------------------------------------------------------------


def card_figure(card: Card | None, problem: str = "", title: str = "") -> go.Figure:
    """The card as a plotly figure, or a sentence in its place.

    Args:
        card: of `card_of`, or None.
        problem: why there is none.
        title: text above.
    """
    if card is None:
        return sentence(problem)
    figure, head = go.Figure(), 34 if title else 0
    below = max(FACE, 70 + 21 * len(card.lines)) + 44
    height = below + ROW * len(card.bars) + 40 + head
    names = [f"<b>{markup(bar.words)}</b>" if bar.part else markup(bar.words) for bar in card.bars]
    figure.add_bar(x=[bar.share for bar in card.bars], y=names, orientation="h", name=card.bars_are,
                   marker_color=[bar.color for bar in card.bars],
                   hovertemplate="%{y}: %{x:.4f}<extra></extra>")  # fmt: skip
    numbers = ["" if bar.share is None else f"\u2003{bar.share:.2f}" for bar in card.bars]  # beside a mark at 1
    figure.add_scatter(x=[1.0] * len(names), y=names, mode="text", text=numbers, textposition="middle right",
                       textfont={"size": 15}, cliponaxis=False, hoverinfo="skip", name="numbers")  # fmt: skip
    if card.votes_are:
        figure.add_scatter(x=[bar.vote or None for bar in card.bars], y=names, mode="markers", name=card.votes_are,
                           marker={"symbol": "diamond", "size": 11, "color": INK}, cliponaxis=False,
                           hovertemplate="%{y}: %{x:.2f}<extra></extra>")  # fmt: skip
    tidy(figure, markup(title), width=WIDTH + 20, height=height, dragmode=False, showlegend=False, bargap=0.3,
         margin={"l": LABEL, "r": NUMBER + 12, "t": below + head, "b": 30})  # fmt: skip
    figure.update_xaxes(range=[0, 1], fixedrange=True, tickvals=[0, 0.5, 1])
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticklabelstandoff=6, tickfont={"size": 15})
    plot = {"wide": WIDTH + 8 - LABEL - NUMBER, "high": height - below - head - 30}
    source = f"data:image/png;base64,{base64.b64encode(png_bytes(_picture(card))).decode()}"
    figure.add_layout_image(source=source, xref="paper", yref="paper", x=(10 - LABEL) / plot["wide"],
                            y=1 + below / plot["high"], sizex=FACE / plot["wide"], sizey=FACE / plot["high"],
                            sizing="stretch")  # fmt: skip
    beside = {"x": (FACE + 24 - LABEL) / plot["wide"], "xanchor": "left", "align": "left"}
    old, proposed = (markup(name) for name in card.head)
    lines = "<br>".join(markup(line) for line in card.lines)
    words = f"<span style='font-size:22px'>{old}<br><b>→ {proposed}</b></span><br>{lines}"
    _write(figure, words, y=1 + below / plot["high"], **beside)
    under = {"x": (10 - LABEL) / plot["wide"], "xanchor": "left"}
    _write(figure, f"<b>{markup(card.bars_are)}</b>{_legend(card)}", y=1 + 34 / plot["high"], **under)
    if title:
        figure.update_layout(title={"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 8}, "x": 0.02,
                                    "xref": "container"})  # fmt: skip
    return figure


def _write(figure: go.Figure, text: str, **place) -> None:
    figure.add_annotation(
        text=text, xref="paper", yref="paper", yanchor="top", showarrow=False, font={"size": 15}, **place
    )


def card_png(card: Card | None, problem: str = "", title: str = "") -> bytes:
    """The picture of `card_figure` as a PNG file; the same arguments."""
    if card is None:
        return sentence_png(problem)
    top = 10 + (34 if title else 0)
    below = top + max(FACE, 66 + 21 * len(card.lines)) + 12
    page = Image.new("RGB", (WIDTH + 20, below + 28 + ROW * len(card.bars) + 10), "white")
    pen = ImageDraw.Draw(page)
    if title:
        pen.text((10, 8), title, fill=INK, font=font_for(title, 18))
    page.paste(_picture(card).resize((FACE, FACE), Image.Resampling.BICUBIC), (10, top))
    left = FACE + 24
    pen.text((left, top), card.head[0], fill=INK, font=font_for(card.head[0], 22))
    pen.text((left, top + 30), f"→ {card.head[1]}", fill=INK, font=font_for(card.head[1], 22), stroke_width=0.4)
    for number, line in enumerate(card.lines):
        pen.text((left, top + 66 + 21 * number), line, fill=INK, font=font_for(line, 15))
    words = card.bars_are + _legend(card)
    pen.text((10, below), words, fill=INK, font=font_for(words, 15), stroke_width=0.3)
    for number, bar in enumerate(card.bars):
        _draw_bar(pen, bar, below + 28 + ROW * (number + 0.5))
    return png_bytes(page)


def beside(*pictures: bytes) -> bytes:
    """PNG files side by side in one."""
    images = [Image.open(io.BytesIO(picture)) for picture in pictures]
    page = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    left = 0
    for image in images:
        page.paste(image, (left, 0))
        left += image.width
    return png_bytes(page)


def _draw_bar(pen: ImageDraw.ImageDraw, bar: Bar, middle: float) -> None:
    start, long = 10 + LABEL, WIDTH - LABEL - NUMBER
    bold = 0.3 if bar.part else 0  # strokes that are drawn thicker: a bold face need not be there
    font = font_for(bar.words, 15)
    pen.text((start - 8, middle), bar.words, fill=INK, font=font, anchor="rm", stroke_width=bold)
    pen.rectangle((start, middle - 8, start + long, middle + 8), fill=TRACK)
    if bar.share:
        pen.rectangle((start, middle - 8, start + long * min(bar.share, 1), middle + 8), fill=bar.color)
    if bar.share is not None:
        pen.text((WIDTH + 10, middle), f"{bar.share:.2f}", fill=INK, font=font_for("0", 15), anchor="rm")
    if bar.vote:
        x = start + long * bar.vote
        pen.polygon([(x - 6, middle), (x, middle - 6), (x + 6, middle), (x, middle + 6)], fill=INK)
