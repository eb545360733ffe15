"""PNG twins of the explorer's figures, made without a browser."""

from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scn_fastai.plots.alpha import GROUPS, alpha_groups
from scn_fastai.plots.explorer import NO_SAMPLE, ROOM, SYMBOLS, Marks, group_notes, point_rows, wrapped
from scn_fastai.plots.life import BY, LINES, NO_LIFE, SampleLife, label_rows
from scn_fastai.plots.sample_table import SCORES, score_words
from scn_fastai.plots.static import DPI, MPL_DASH, figure_bytes, matplotlib_style, sentence_png
from scn_fastai.plots.style import GREY, INK, STATES, VERMILION

MPL_SYMBOL = {"circle": "o", "diamond": "D", "square": "s", "triangle-up": "^", "x": "X", "star": "*"}


def explorer_png(
    table: pd.DataFrame,
    x: str = "alpha",
    y: str = "doubt",
    selected: Sequence[int] = (),
    marks: Marks = Marks(),  # noqa: B008 (a tuple that nobody can change)
    words: Sequence[str] = (),
) -> bytes:
    """The picture of `explorer_figure` as a PNG file; the same arguments."""
    if not len(table):
        return sentence_png(NO_SAMPLE)
    lines = wrapped(words, 900)
    with matplotlib.rc_context(matplotlib_style("".join([*lines, x, y]))):
        figure = Figure(figsize=(9, 7), dpi=DPI)  # laid out by hand: matplotlib's own way takes twice as long
        figure.subplots_adjust(left=0.08, right=0.98, bottom=0.17, top=0.95 - 0.03 * len(lines), hspace=0.12)
        above, below = figure.subplots(2, 1, sharex=x == "alpha", height_ratios=[1, 2])
        _draw_histogram(above, table, marks)
        _draw_points(below, table, x, y, selected)
        for name, line in ((x, below.axvline), (y, below.axhline)):
            if name == "doubt" and marks.relabel_margin is not None:
                line(marks.relabel_margin, color=INK, linestyle="--", label=f"relabel margin {marks.relabel_margin:g}")
        legend = below.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, markerscale=1.5)
        for entry in legend.legend_handles:  # else it would fade with the points
            entry.set_alpha(1)
        if lines:
            figure.suptitle("\n".join(lines), x=0.08, y=0.99, ha="left", va="top", fontsize=11)
        return figure_bytes(figure)


def _draw_histogram(axes, table: pd.DataFrame, marks: Marks) -> None:
    groups = alpha_groups(table["alpha"].to_numpy(), table["low"].to_numpy(bool))
    bottom = np.zeros(len(groups.edges) - 1)
    for name in ("low", "high"):
        counts = groups.counts[name]
        axes.stairs(bottom + counts, groups.edges, baseline=bottom, fill=True, facecolor=GROUPS[name][1], linewidth=0,
                    hatch="//" if name == "low" else None, edgecolor="white",
                    label=f"{GROUPS[name][0]} ({counts.sum():,})")  # fmt: skip
        bottom = bottom + counts
    high = max(1, bottom.max())
    for text, place, height, dash in group_notes(groups, marks):
        if dash:
            axes.plot([place, place], [0, high * height], MPL_DASH[dash], color=INK, linewidth=1.2)
        else:
            axes.plot([groups.means["low"], place], [high * height] * 2, color=INK, linewidth=4)
        axes.annotate(text, (place, high * height), xytext=(-4 if text.startswith("alpha_L") else 4, 0),
                      textcoords="offset points", ha="right" if text.startswith("alpha_L") else "left", va="center",
                      fontsize=10)  # fmt: skip
    axes.set_ylim(0, high * ROOM)
    axes.set_ylabel("faces")
    axes.legend(frameon=False, loc="upper left", fontsize=10)


def _draw_points(axes, table: pd.DataFrame, x: str, y: str, selected: Sequence[int]) -> None:
    chosen = np.isin(table["sample"].to_numpy(), np.asarray(selected, np.int64))
    across, up = table[x].to_numpy(), table[y].to_numpy()
    for key, rows in point_rows(table).items():
        words, color, _ = STATES[key]
        look = {"marker": MPL_SYMBOL[SYMBOLS[key]], "color": color, "markeredgewidth": 0, "linestyle": "none"}
        size, faded = 3.5 if key == "unchanged" else 6, 0.12 if chosen.any() else 0.6
        axes.plot(across[rows], up[rows], markersize=size, alpha=faded, label=f"{words} ({len(rows):,})", **look)
        front = rows[chosen[rows]]
        axes.plot(across[front], up[front], markersize=8, **look)
    for name, room in ((x, axes.set_xlim), (y, axes.set_ylim)):
        if SCORES.get(name, ("", None))[1]:
            low, high = SCORES[name][1]
            room(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set_xlabel(score_words(x))
    axes.set_ylabel(score_words(y))


def life_png(life: SampleLife, image: np.ndarray | None = None, epoch: int | None = None) -> bytes:
    """The picture of `life_figure` as a PNG file; the same arguments."""
    if not len(life.alpha):
        return sentence_png(NO_LIFE)
    with matplotlib.rc_context(matplotlib_style("".join([life.title, *life.votes, *life.labels]))):
        figure = Figure(figsize=(10, 4.2), dpi=DPI, layout="constrained")
        parts = figure.subplot_mosaic([["face", "lines", "votes"], ["face", "label", "votes"]],
                                      width_ratios=[1, 3, 0.8], height_ratios=[5, len(label_rows(life))])  # fmt: skip
        parts["face"].axis("off")
        if image is not None:
            parts["face"].imshow(image, cmap="gray", vmin=0, vmax=255)
        _draw_lines(parts["lines"], life, epoch)
        _draw_label(parts["label"], life, epoch)
        _draw_votes(parts["votes"], life)
        figure.suptitle(life.title, x=0.01, ha="left")
        return figure_bytes(figure)


def _draw_lines(axes, life: SampleLife, epoch: int | None) -> None:
    for name, words, color, dash in LINES:
        axes.plot(getattr(life, name), MPL_DASH[dash], color=color, marker=".", label=words)
    _mark_epochs(axes, life, epoch)
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, fontsize=10, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))


def _draw_label(axes, life: SampleLife, epoch: int | None) -> None:
    rows = label_rows(life)
    height = {name: number for number, name in enumerate(rows)}
    axes.step(range(len(life.labels)), [height[name] for name in life.labels], where="post", color=INK, linewidth=2)
    for by, (words, color, symbol) in BY.items():
        own = [event for event in life.events if event.by == by]
        if own:
            axes.scatter([e.epoch for e in own], [height.get(e.new, 0) for e in own], 60, color=color, label=words,
                         marker=MPL_SYMBOL[symbol], zorder=3)  # fmt: skip
    _mark_epochs(axes, life, epoch)
    axes.set_yticks(range(len(rows)), list(rows.values()))
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_xlabel("epoch (from 0)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if life.events:
        axes.legend(frameon=False, fontsize=10, ncols=3, loc="upper left", bbox_to_anchor=(0, -0.4))


def _mark_epochs(axes, life: SampleLife, epoch: int | None) -> None:
    for event in life.events:
        axes.axvline(event.epoch, color=INK, linestyle=":", linewidth=1)
    if epoch is not None:
        axes.axvspan(epoch - 0.4, epoch + 0.4, color=GREY, alpha=0.3, linewidth=0)
    if life.began:
        axes.axvline(life.began - 0.5, color=GREY, linestyle="--", label="weighting begins")
    axes.set_xlim(-0.5, max(len(life.alpha) - 1, 1) + 0.5)


def _draw_votes(axes, life: SampleLife) -> None:
    if not life.votes:
        axes.axis("off")
        return
    names = list(life.votes)[::-1]
    axes.barh(names, [life.votes[name] for name in names],
              color=[VERMILION if name == life.given else GREY for name in names])  # fmt: skip
    axes.set_xlabel(life.votes_are)
