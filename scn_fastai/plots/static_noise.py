"""PNG twins of the pictures of wrong labels."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scn_fastai.plots.noise import ESTIMATES, LEVELS, NO_ESTIMATES, NO_RUNS, estimates_of, levels_of
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


def noise_estimates_png(epochs: pd.DataFrame, needed: float = 0.08, title: str = "") -> bytes:
    """The picture of `noise_estimates` as a PNG file; the same arguments."""
    runs = estimates_of(epochs)
    if not runs:
        return sentence_png(NO_ESTIMATES)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(10, 4.4), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for run in runs:
            name = run.name if run.first else None
            axes.plot(run.epoch, run.percent, MPL_DASH[run.dash], color=run.color, linewidth=1.6, label=name)
            at = run.epoch == run.begin
            axes.plot(run.epoch[at], run.percent[at], "o", color=run.color, markersize=8)
        axes.axhline(100 * needed, color=GREY, linestyle=":")
        axes.annotate(ESTIMATES["needed"], (1, 100 * needed), (-4, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right")  # fmt: skip
        axes.set(xlabel=ESTIMATES["x"], ylabel=ESTIMATES["y"], ylim=(0, None))
        axes.set_title(title, loc="left")
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return figure_bytes(figure)
