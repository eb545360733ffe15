"""PNG twins of the pictures of wrong labels."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scn_fastai.plots.noise import ESTIMATES, LEFT_RANGE, LEVELS, NO_ESTIMATES, NO_RUNS, estimates_of, levels_of
from scn_fastai.plots.static import DPI, MPL_DASH, figure_bytes, matplotlib_style, sentence_png
from scn_fastai.plots.style import GREY


def noise_levels_png(results: pd.DataFrame, printed: str = "paper FERPlus", title: str = "") -> bytes:
    """The picture of `noise_levels` as a PNG file; the same arguments."""
    levels = levels_of(results, printed)
    if not levels:
        return sentence_png(NO_RUNS)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(10, 4.1), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        for level in levels:
            look = {"color": level.color, "label": level.name}
            mark = f"o{MPL_DASH[level.dash]}"
            left.plot(level.share, level.printed, mark, color=level.color)
            right.errorbar(level.share, level.mean, np.nan_to_num(level.sd), fmt=mark, capsize=4, **look)
        for axes, words in ((left, LEVELS["printed"]), (right, LEVELS["ours"])):
            axes.set(xlabel=LEVELS["x"], xticks=levels[0].share)
            axes.set_title(words)
        left.set_ylabel(LEVELS["y"])
        figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        figure.suptitle(title or None)
        return figure_bytes(figure)


def noise_estimates_png(
    epochs: pd.DataFrame, needed: float = 0.08, steady: tuple[float, float] = (0.9, 0.85), title: str = ""
) -> bytes:
    """The picture of `noise_estimates` as a PNG file; the same arguments."""
    runs = estimates_of(epochs)
    if not runs:
        return sentence_png(NO_ESTIMATES)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(10, 4.8), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        for run in runs:
            at = run.epoch == run.begin
            for axes, percent in ((left, run.percent), (right, run.left)):
                name = run.name if run.first else None
                axes.plot(run.epoch, percent, MPL_DASH[run.dash], color=run.color, linewidth=1.6, label=name)
                axes.plot(run.epoch[at], percent[at], "o", color=run.color, markersize=8)
        for axes, share, words in ((left, needed, "needed"), (right, steady[0], "early"), (right, steady[1], "late")):
            axes.axhline(100 * share, color=GREY, linestyle=":")
            axes.annotate(ESTIMATES[words], (1, 100 * share), (-4, 3), xycoords=("axes fraction", "data"),
                          textcoords="offset points", ha="right")  # fmt: skip
        left.set(xlabel=ESTIMATES["x"], ylabel=ESTIMATES["y"], ylim=(0, None))
        right.set(xlabel=ESTIMATES["x"], ylabel=ESTIMATES["left"], ylim=LEFT_RANGE)
        figure.suptitle(title or None)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        return figure_bytes(figure)
