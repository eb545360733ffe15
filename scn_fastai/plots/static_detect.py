"""PNG twins of the pictures of detectors."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scn_fastai.plots.detect import (
    KINDS,
    METRICS,
    NO_RANKS,
    NO_TABLE,
    NO_WRONG,
    axis_words,
    bars_of,
    line_of,
    precision_points,
    ranks_of,
)
from scn_fastai.plots.static import DPI, MPL_DASH, figure_bytes, matplotlib_style, sentence_png
from scn_fastai.plots.style import BLUE, INK

MARKERS = {"circle": "o", "diamond": "D"}


def detector_bars_png(table: pd.DataFrame, metric: str = "auroc", title: str = "") -> bytes:
    """The picture of `detector_bars` as a PNG file; the same arguments."""
    bars, chance = bars_of(table, metric)
    if not bars:
        return sentence_png(NO_TABLE)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(9, 1.2 + 0.28 * len(bars)), dpi=DPI, layout="constrained")
        axes, value = figure.add_subplot(), np.array([bar.value for bar in bars])
        ends = np.array([[bar.value - bar.low, bar.high - bar.value] for bar in bars]).T
        axes.barh(
            [bar.name for bar in bars], value, xerr=np.nan_to_num(ends).clip(0), color=BLUE, ecolor=INK, capsize=3
        )
        axes.invert_yaxis()
        if chance == chance:
            axes.axvline(chance, color=INK, linestyle="--", linewidth=1.2)
            axes.annotate("chance", (chance, 1), (4, 2), xycoords=("data", "axes fraction"), textcoords="offset points")
        axes.set_xlim(0, 1.02)
        axes.set_xlabel(METRICS[metric])
        axes.set_title(title, loc="left")
        return figure_bytes(figure)


def precision_curves_png(scores: Mapping[str, np.ndarray], wrong: np.ndarray, title: str = "") -> bytes:
    """The picture of `precision_curves` as a PNG file; the same arguments."""
    wrong = np.asarray(wrong, bool)
    if not wrong.any():
        return sentence_png(NO_WRONG)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(9, 4.8), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for number, (name, score) in enumerate(scores.items()):
            line = line_of(number)
            axes.plot(*precision_points(score, wrong), MPL_DASH[line["dash"]], color=line["color"], label=name)
        axes.axhline(wrong.mean(), color=INK, linestyle="--", linewidth=1)
        axes.axvline(wrong.sum(), color=INK, linestyle=":", label=f"k = {int(wrong.sum()):,}")
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("faces looked at, most suspicious first")
        axes.set_ylabel("share with a wrong label")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title(title, loc="left")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False)
        return figure_bytes(figure)


def rank_scatter_png(
    first: np.ndarray,
    second: np.ndarray,
    wrong: np.ndarray | None = None,
    names: Sequence[str] = ("first", "second"),
    share: float | None = 0.1,
    title: str = "",
) -> bytes:
    """The picture of `rank_scatter` as a PNG file; the same arguments."""
    ranks = ranks_of(first, second, wrong)
    if not len(ranks.samples):
        return sentence_png(NO_RANKS)
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(6.4, 6.2), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for kind, (words, color, symbol) in KINDS.items():
            own = ranks.kinds == kind
            if own.any():
                axes.plot(ranks.across[own], ranks.up[own], MARKERS[symbol], color=color, alpha=0.5, markersize=3,
                          markeredgewidth=0, label=f"{words} ({own.sum():,})")  # fmt: skip
        if share is not None:
            axes.axvline(1 - share, color=INK, linestyle="--", linewidth=1)
            axes.axhline(1 - share, color=INK, linestyle="--", linewidth=1)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.set_xlabel(axis_words(names[0], "right"))
        axes.set_ylabel(axis_words(names[1], "above"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_title(title, loc="left")
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, markerscale=2)
        return figure_bytes(figure)
