"""PNG twin of the figure of a batch."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from PIL import Image

from scn_fastai.core.microscope import BatchReport
from scn_fastai.plots.batch import (
    AREA,
    AXES,
    BAND,
    FOOT,
    HEAD,
    LEFT,
    LOWERS,
    MOST_IN_STRIP,
    RAISES,
    RIGHT,
    WIDTH,
    BatchPicture,
    batch_picture,
    check_lengths,
)
from scn_fastai.plots.static import DPI, MPL_DASH, figure_bytes, matplotlib_style
from scn_fastai.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILION

SMALL = 10.5  # points; 14.6 pixels


def batch_png(
    report: BatchReport,
    images: np.ndarray | None = None,
    names: list[str] | None = None,
    title: str = "",
    selected: Sequence[int] = (),
) -> bytes:
    """The picture of `batch_figure` as a PNG file; the same arguments."""
    check_lengths(report, images, names)
    strip = images is not None and len(images) <= MOST_IN_STRIP
    picture = batch_picture(report, strip, title, selected)
    height = AREA + HEAD + FOOT
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI)
        axes = {name: figure.add_axes(_place(picture, name, height)) for name in picture.panels}
        for name, words in picture.titles.items():
            axes[name].set_title(words, loc="left", fontsize=11, fontweight="bold", pad=4)
            axes[name].set_ylabel(AXES[name])
            axes[name].yaxis.set_label_coords(-54 / (WIDTH - LEFT - RIGHT), 0.5)
            axes[name].grid(False, axis="x")
        for axis in axes.values():
            axis.set_xlim(-0.6, len(picture.order) - 0.4)
            axis.set_xticks([])
        _draw_alpha(axes["alpha"], picture)
        _bars(axes["wce"], picture.low, picture.wce)
        _draw_gradient(axes["gradient"], picture)
        axes["gradient"].set_xlabel("samples of the batch, from the highest alpha to the lowest")
        if strip:
            _draw_strip(axes["strip"], picture, images)
        for name in set(axes) - {"strip"} if picture.split is not None else ():
            axes[name].axvline(picture.split, color=INK, linestyle="--", linewidth=1.6)
        for place in picture.selected:
            _mark_selected(axes, place)
        groups, parts = _legends(picture)
        how = {"frameon": False, "fontsize": SMALL, "columnspacing": 1.2, "handletextpad": 0.4, "borderaxespad": 0}
        figure.legend(handles=groups, ncols=3, loc="upper left", bbox_to_anchor=(LEFT / WIDTH, 0.99), **how)
        axes["gradient"].legend(handles=parts, loc="upper left", bbox_to_anchor=(1.01, 1.1), **how)
        return figure_bytes(figure)


def _place(picture: BatchPicture, name: str, height: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a panel, as shares of the page."""
    start, tall = picture.panels[name]
    bottom = FOOT + AREA - start - tall
    return LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, tall / height


def _bars(axes: Axes, low: np.ndarray, values: np.ndarray) -> None:
    place = np.arange(len(low))
    for who, color, hatch in ((~low, BLUE, ""), (low, VERMILION, "//")):
        axes.bar(place[who], values[who], 0.88, color=color, hatch=hatch, edgecolor="white", linewidth=0)


def _draw_alpha(axes: Axes, picture: BatchPicture) -> None:
    _bars(axes, picture.low, picture.alpha)
    stars = np.flatnonzero(picture.changed)
    axes.plot(stars, picture.alpha[stars] + 0.035 * picture.top, "*", color=PURPLE, markersize=12, clip_on=False)
    right = len(picture.order) - 0.4
    for level in picture.levels:
        axes.axhline(level.y, color="white", linewidth=4, alpha=0.7)
        axes.axhline(level.y, color=level.color, linestyle=MPL_DASH[level.dash], linewidth=2)
        axes.annotate(level.words, (right, level.words_y), (6, 0), textcoords="offset points", va="center",
                      color=level.color, fontsize=SMALL, annotation_clip=False)  # fmt: skip
    if picture.hinge:
        axes.axhspan(*picture.hinge, color=ORANGE, alpha=0.35, linewidth=0)
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 1}
        axes.text((right - 0.6) / 2, sum(picture.hinge) / 2, "RR", ha="center", va="center", fontsize=SMALL, bbox=box)
    axes.set_ylim(0, picture.top)


def _draw_gradient(axes: Axes, picture: BatchPicture) -> None:
    place, bottom = np.arange(len(picture.order)), np.zeros((2, len(picture.order)))
    for values, color, hatch in ((picture.from_wce, GREEN, ""), (picture.from_rank, ORANGE, "xx")):
        side = (values < 0).astype(int)  # bars of one sign stand on each other
        axes.bar(place, values, 0.88, bottom[side, place], color=color, hatch=hatch, edgecolor="white", linewidth=0)
        bottom[side, place] += values
    axes.axhline(0, color=INK, linewidth=0.8)
    for who, marker, fill in ((picture.gradient < 0, "^", INK), (picture.gradient > 0, "v", "white")):
        axes.plot(
            place[who], picture.gradient[who], marker, color=INK, markerfacecolor=fill, markersize=6, clip_on=False
        )
    axes.margins(y=0.08)


def _draw_strip(axes: Axes, picture: BatchPicture, images: np.ndarray) -> None:
    """All faces as one picture: each by itself takes matplotlib longer than the rest of the figure."""
    axes.set_axis_off()
    size, box = len(images), axes.get_window_extent()
    wide = box.width / (size + 0.2)  # pixels of a place on the axis
    high, across = images.shape[1:3]
    scale = min(0.92 * wide / across, box.height / high)
    strip = Image.new("RGB", (round(box.width), round(box.height)), "white")
    for i, face in enumerate(images[picture.order]):
        small = Image.fromarray(face).resize((round(across * scale), round(high * scale)), Image.Resampling.BOX)
        strip.paste(small, (round((i + 0.6) * wide - small.width / 2), (strip.height - small.height) // 2))
    axes.imshow(np.asarray(strip), extent=(-0.6, size - 0.4, 0, 1), aspect="auto", interpolation="nearest")


def _mark_selected(axes: dict[str, Axes], place: int) -> None:
    """A band behind all panels, a frame around the face."""
    for name in set(axes) - {"strip"}:
        axes[name].axvspan(place - 0.5, place + 0.5, facecolor=BAND, edgecolor=INK, linewidth=0.8, zorder=0.5)
    if "strip" in axes:
        axes["strip"].add_patch(Rectangle((place - 0.5, 0), 1, 1, fill=False, edgecolor=INK, linewidth=2.4))


def _legends(picture: BatchPicture) -> tuple[list, list]:
    """What the colours and marks of the bars of alpha mean, and those of the gradient."""
    low, changed = picture.low, picture.changed

    def mark(words: str, marker: str, color: str, fill: str) -> Line2D:
        return Line2D([], [], marker=marker, color=color, markerfacecolor=fill, linestyle="", markersize=9, label=words)

    hatched = {"edgecolor": "white", "linewidth": 0}
    groups = [
        Patch(color=BLUE, label=f"high group ({(~low).sum()})"),
        Patch(facecolor=VERMILION, hatch="//", label=f"low group ({low.sum()})", **hatched),
        mark(f"label would change ({changed.sum()})", "*", PURPLE, PURPLE),
    ]
    return groups, [
        Patch(color=GREEN, label="from WCE"),
        Patch(facecolor=ORANGE, hatch="xx", label="from RR", **hatched),
        mark(RAISES, "^", INK, INK),
        mark(LOWERS, "v", INK, "white"),
    ]
