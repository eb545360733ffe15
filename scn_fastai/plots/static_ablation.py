"""PNG twins of the pictures of many runs."""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scn_fastai.plots.ablation import (
    FIGURE5,
    FIGURES,
    NO_RUN,
    SETTINGS,
    Point,
    baselines,
    module_points,
    points_of,
    span_of,
    spread_words,
    varied,
)
from scn_fastai.plots.comparison import NO_FIGURE
from scn_fastai.plots.static import DPI, MPL_DASH, figure_bytes, matplotlib_style, sentence_png
from scn_fastai.plots.style import DASHES, GREY, SERIES

MARKERS = "osDP^*"


def module_dots_png(table: pd.DataFrame, y: str = "accuracy_last", title: str = "") -> bytes:
    """The picture of `module_dots` as a PNG file; the same arguments."""
    groups = module_points(table, y)
    return _dots(groups, FIGURES.get(y, y), title) if groups else sentence_png(NO_RUN)


def accuracy_dots_png(table: pd.DataFrame, column: str = "accuracy_last", title: str = "") -> bytes:
    """The picture of `accuracy_dots` as a PNG file; the same arguments."""
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(float)
    names = table["recipe"].astype(str).to_numpy()
    rows = [(name, np.flatnonzero((names == name) & np.isfinite(values))) for name in dict.fromkeys(names)]
    groups = [Point(name, values[own], own) for name, own in rows if len(own)]
    return _dots(groups, "validation accuracy", title) if groups else sentence_png(NO_FIGURE)


def _dots(groups: list[Point], label: str, title: str) -> bytes:
    """A line of dots per group, with a bar and the figure at its mean."""
    with matplotlib.rc_context(matplotlib_style(title + "".join(str(point.x) for point in groups))):
        figure = Figure(figsize=(9, 1.2 + 0.6 * len(groups)), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        for number, point in enumerate(groups):
            height, color = len(groups) - 1 - number, SERIES[number % len(SERIES)]
            axes.plot(
                point.values, [height] * len(point.values), MARKERS[number % len(MARKERS)], color=color, alpha=0.75
            )
            axes.plot([point.mean], [height], "|", markersize=24, markeredgewidth=3, color=color)
            axes.annotate(spread_words(point), (point.mean, height), (0, 13), textcoords="offset points", ha="center")
        axes.set_yticks(range(len(groups)), [str(point.x) for point in groups][::-1])
        axes.set_ylim(-0.5, len(groups) - 0.3)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g}%")
        axes.set_xlabel(label)
        axes.set_title(title, loc="left")
        return figure_bytes(figure)


def setting_curve_png(table: pd.DataFrame, x: str = "gamma", y: str = "accuracy_last", title: str = "") -> bytes:
    """The picture of `setting_curve` as a PNG file; the same arguments."""
    found = varied(table, x, y)
    if not (found or points_of(table, x, y)):
        return sentence_png(NO_RUN)
    plain = {x: baselines(table, x, y)} if found else {}
    return _panels({x: found or points_of(table, x, y)}, plain, y, title)


def figure5_png(table: pd.DataFrame, y: str = "accuracy_last", title: str = "") -> bytes:
    """The picture of `figure5` as a PNG file; the same arguments."""
    panels = {x: varied(table, x, y) for x in FIGURE5}
    return _panels(panels, {x: baselines(table, x, y) for x in FIGURE5 if panels[x]}, y, title)


def _panels(panels: dict[str, dict[str, list[Point]]], plain: dict[str, dict[str, float]], y: str, title: str) -> bytes:
    """A panel for each setting, with its families as curves and the plain networks as levels."""
    with matplotlib.rc_context(matplotlib_style(title)):
        figure = Figure(figsize=(max(7, 4.2 * len(panels)), 4.2), dpi=DPI, layout="constrained")
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (x, families) in zip(every, panels.items(), strict=True):
            for number, (name, points) in enumerate(families.items()):
                _draw(axes, name, points, number)
            for number, (name, mean) in enumerate(plain.get(x, {}).items()):
                dash = MPL_DASH[DASHES[(number + 1) % len(DASHES)]]
                axes.plot(span_of(families), [mean] * 2, dash, color=GREY, linewidth=2, label=name)
            if not families:
                axes.text(0.5, 0.5, "not varied", transform=axes.transAxes, ha="center", color=GREY)
            else:
                axes.legend(frameon=False, fontsize=9)
            axes.set_xlabel(SETTINGS.get(x, x))
        every[0].set_ylabel(FIGURES.get(y, y))
        every[0].yaxis.set_major_formatter(lambda value, _: f"{value:.1%}")
        if title:
            figure.suptitle(title)
        return figure_bytes(figure)


def _draw(axes, name: str, points: list[Point], number: int) -> None:
    """Mean with its spread, and every run."""
    color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
    spread = [0.0 if point.sd != point.sd else point.sd for point in points]
    axes.errorbar([p.x for p in points], [p.mean for p in points], spread, color=color, capsize=4, label=name)
    for point in points:
        axes.plot([point.x] * len(point.values), point.values, marker, color=color, alpha=0.6, markersize=5)
