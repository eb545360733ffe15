"""PNG twins of the figures, made without a browser: for pages where nothing runs."""

import io
import warnings
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from scn_fastai.plots.alpha import GROUPS, NOTHING_SEEN, alpha_groups, gap_words
from scn_fastai.plots.curves import NO_FIGURES, Panel, epoch_axis, numbers, panels_of, relabeling_start
from scn_fastai.plots.faces import NO_FACE, Cells, Grid, before_after_grid, lay_out, png_bytes, ranking_grid, sprite
from scn_fastai.plots.kinds import CERTAIN, NO_KINDS, kind_ranking_grid, kind_table, kind_words
from scn_fastai.plots.style import BLUE, INK, STATES, VERMILION

DPI = 100
MPL_DASH = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
# Files of fonts with Chinese, Japanese and Korean letters, as common systems have them.
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf", "wqy-zenhei.ttc",
              "wqy-microhei.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "simhei.ttf",
              "Arial Unicode.ttf")  # fmt: skip


def is_wide(text: str) -> bool:
    """Whether a text has letters that DejaVu Sans, which comes with matplotlib, does not have.

    >>> is_wide("glad"), is_wide("高兴")
    (False, True)
    """
    return any(ord(letter) >= 0x2E80 for letter in text)


@cache
def wide_font() -> str | None:
    """The system's font file for Chinese letters, or None: they are then drawn as boxes."""
    found = {Path(path).name: path for path in font_manager.findSystemFonts()}
    return next((found[name] for name in WIDE_FONTS if name in found), None)


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that has the letters of a text, as far as this machine has one."""
    plain = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    return ImageFont.truetype(wide_font() or plain if is_wide(text) else plain, size)


# -- faces -------------------------------------------------------------------------------------------------------


def face_grid_png(
    images: np.ndarray,
    captions: list[str],
    frames: list[str] | None = None,
    columns: int = 8,
    scale: float | None = None,
    title: str = "",
) -> bytes:
    """The picture of `face_grid` as a PNG file; the same arguments."""
    framed = None if frames is None else list(frames)
    return draw_grid_png(Grid(images, list(captions), framed, columns, scale, title=title))


def alpha_ranking_png(images, alpha, labels, k: int = 8, classes=None, frames=None, title: str = "") -> bytes:
    """The picture of `alpha_ranking` as a PNG file; the same arguments."""
    return draw_grid_png(ranking_grid(images, alpha, labels, k, classes, frames, title))


def before_after_png(images, given, current, **options) -> bytes:
    """The picture of `before_after` as a PNG file; the same arguments."""
    return draw_grid_png(before_after_grid(images, given, current, **options))


def draw_grid_png(grid: Grid) -> bytes:
    """A grid as a PNG file."""
    return png_bytes(grid_picture(grid)) if len(grid.images) else sentence_png(NO_FACE)


def grid_picture(grid: Grid) -> Image.Image:
    """A grid of at least one face as a picture."""
    images, slots, cells = lay_out(grid)
    left = 110 if grid.row_titles else 10
    top = 10 + (34 if grid.title else 0) + (28 if grid.frames else 0)
    width, height = (round(side * cells.scale) for side in cells.size)
    sheet = sprite(images, slots, cells).convert("RGBA").resize((width, height), Image.Resampling.BICUBIC)
    needed = _legend_width(grid.frames)
    page = Image.new("RGB", (max(width + left, needed) + 10, height + top + 10), "white")
    page.paste(sheet, (left, top), sheet)
    pen = ImageDraw.Draw(page)
    if grid.title:
        pen.text((left, 8), grid.title, fill=INK, font=font_for(grid.title, 18))
    _draw_legend(pen, grid.frames, 10, top - 26)
    for number, slot in enumerate(slots):
        _draw_cell(pen, grid, number, slot, cells, (left, top))
    for row, title in enumerate(grid.row_titles or []):
        y = top + (row * cells.cell[1] + cells.gap // 2 + cells.face[1] / 2) * cells.scale
        pen.multiline_text((left - 8, y), title, fill=INK, font=font_for(title, 14), anchor="rm", align="right")
    return page


def _draw_cell(pen: ImageDraw.ImageDraw, grid: Grid, number: int, slot: int, cells: Cells, origin: tuple) -> None:
    """Frame and caption of a face."""
    x, y = (origin[axis] + round(cells.corner(slot)[axis] * cells.scale) for axis in (0, 1))
    wide, high = (round(side * cells.scale) for side in cells.face)
    state = grid.frames[number] if grid.frames else None
    if state is not None:
        _frame(pen, (x - 4, y - 4, x + wide + 3, y + high + 3), state, 2 if state == "unchanged" else 4)
    for line, text in enumerate(grid.captions[number].split("\n")):
        font = font_for(text, 13)
        pen.text((x + wide / 2, y + high + 7 + line * 18), text, fill=INK, font=font, anchor="ma")


def _frame(pen: ImageDraw.ImageDraw, box: tuple[int, int, int, int], state: str, width: int) -> None:
    """A rectangle in the colour and line style of a state."""
    _, color, dash = STATES[state]
    if dash == "solid":
        pen.rectangle(box, outline=color, width=width)
        return
    left, top, right, bottom = box
    long, step = (12, 18) if dash == "dash" else (4, 9)
    for x in range(left, right + 1, step):
        end = min(x + long - 1, right)
        pen.rectangle((x, top, end, top + width - 1), fill=color)
        pen.rectangle((x, bottom - width + 1, end, bottom), fill=color)
    for y in range(top, bottom + 1, step):
        end = min(y + long - 1, bottom)
        pen.rectangle((left, y, left + width - 1, end), fill=color)
        pen.rectangle((right - width + 1, y, right, end), fill=color)


def _legend_width(frames: list[str] | None) -> int:
    words = [STATES[state].words for state in STATES if state in (frames or [])]
    return 10 + sum(30 + round(font_for(word, 13).getlength(word)) + 22 for word in words)


def _draw_legend(pen: ImageDraw.ImageDraw, frames: list[str] | None, x: int, y: int) -> None:
    for state in (s for s in STATES if s in (frames or [])):
        words, font = STATES[state].words, font_for(STATES[state].words, 13)
        _frame(pen, (x, y + 1, x + 23, y + 17), state, 3)
        pen.text((x + 30, y + 9), words, fill=INK, font=font, anchor="lm")
        x += 30 + round(font.getlength(words)) + 22


def sentence_png(text: str) -> bytes:
    """A picture that says why there is none."""
    page = Image.new("RGB", (640, 120), "white")
    ImageDraw.Draw(page).text((320, 60), text, fill=INK, font=font_for(text, 16), anchor="mm")
    return png_bytes(page)


# -- curves and histogram ------------------------------------------------------------------------------------------


def curves_png(epochs: pd.DataFrame, title: str = "") -> bytes:
    """The picture of `training_curves` as a PNG file; the same arguments."""
    panels = panels_of(epochs)
    if not panels:
        return sentence_png(NO_FIGURES)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(5.6 * columns, 2.9 * rows), dpi=DPI, layout="constrained")
        for number, panel in enumerate(panels):
            _draw_panel(figure.add_subplot(rows, columns, number + 1), panel, epochs, number == 0)
        if title:
            figure.suptitle(title)
        return figure_bytes(figure)


def _draw_panel(axes, panel: Panel, epochs: pd.DataFrame, first: bool) -> None:
    x = epoch_axis(epochs)
    for series in panel.series:
        y = numbers(epochs, series.column)
        axes.plot(x, y, MPL_DASH[series.dash], color=series.color, marker=".", label=series.words)
    start = relabeling_start(epochs)
    if start is not None:
        axes.axvline(start, color=INK, linestyle=":", label="relabeling begins" if first else None)
    axes.set_title(panel.title, loc="left", fontweight="bold")
    axes.set_xlabel("epoch (from 0)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if panel.share:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
    axes.legend(frameon=False)


def histogram_png(
    alpha: np.ndarray, low: np.ndarray | None = None, margin: float | None = None, title: str = ""
) -> bytes:
    """The picture of `alpha_histogram` as a PNG file; the same arguments."""
    groups = alpha_groups(alpha, low)
    if not groups.means:
        return sentence_png(NOTHING_SEEN)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(9, 4.2), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        bottom = np.zeros(len(groups.edges) - 1)
        for name in reversed(groups.counts):
            words, color, _ = GROUPS[name]
            counts = groups.counts[name]
            axes.bar(groups.edges[:-1], counts, np.diff(groups.edges), bottom, align="edge", color=color,
                     label=f"{words} ({counts.sum():,})")  # fmt: skip
            bottom = bottom + counts
        for name, mean in groups.means.items():
            style = MPL_DASH["dot" if name == "low" else "dash"]
            axes.axvline(mean, color=INK, linestyle=style, label=f"{GROUPS[name][2]} = {mean:.2f}")
        words = gap_words(groups, margin)
        axes.set_title(f"{title}\n{words}" if title else words, loc="left", fontsize=11)
        axes.set_xlabel("importance (alpha)")
        axes.set_ylabel("samples")
        axes.legend(frameon=False)
        return figure_bytes(figure)


def alpha_by_kind_png(alpha: np.ndarray, kinds: np.ndarray, title: str = "") -> bytes:
    """The picture of `alpha_by_kind` as a PNG file; the same arguments."""
    table = kind_table(alpha, kinds)
    if table.empty:
        return sentence_png(NO_KINDS)
    ends = {"low": "whislo", "q1": "q1", "median": "med", "q3": "q3", "high": "whishi"}
    boxes = [
        {ends[name]: getattr(row, name) for name in ends} | {"label": kind_words(row)}
        for row in table[::-1].itertuples()
    ]
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(9, 1.2 + 0.34 * len(table)), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.bxp(
            boxes, orientation="horizontal", showfliers=False, patch_artist=True, medianprops={"color": INK}
        )
        for box, row in zip(drawn["boxes"], table[::-1].itertuples(), strict=True):
            box.set_facecolor(BLUE if row.kind == CERTAIN else VERMILION)
        axes.axvline(table["median"][0], color=INK, linestyle="--", linewidth=1)
        axes.set_xlabel("importance (alpha)")
        axes.set_title(title, loc="left")
        return figure_bytes(figure)


def kind_ranking_png(images, alpha, kinds, labels, classes=None, k: int = 4, title: str = "") -> bytes:
    """The picture of `kind_ranking` as a PNG file; the same arguments."""
    return draw_grid_png(kind_ranking_grid(images, alpha, kinds, labels, classes, k, title))


def matplotlib_style(text: str) -> dict:
    """Settings of matplotlib for a picture with this text in it."""
    families = ["DejaVu Sans"]
    if is_wide(text) and wide_font():
        font_manager.fontManager.addfont(wide_font())
        families.append(font_manager.FontProperties(fname=wide_font()).get_name())
    return {"font.family": families, "font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
            "axes.grid": True, "grid.color": "#E5E5E5", "axes.axisbelow": True}  # fmt: skip


def figure_bytes(figure: Figure) -> bytes:
    """A matplotlib figure as a PNG file that is the same on every run."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
