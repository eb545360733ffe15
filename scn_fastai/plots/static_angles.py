"""PNG twin of the directions in the plane."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from scn_fastai.plots.angles import INNER, OUTER, Directions, angles_of, unit, winning_arcs
from scn_fastai.plots.static import DPI, figure_bytes, matplotlib_style
from scn_fastai.plots.style import GREY, SERIES


def angles_png(panels: list[Directions], names: list[str] | None = None, title: str = "") -> bytes:
    """The picture of `angles_figure` as a PNG file; the same arguments."""
    with matplotlib.rc_context(matplotlib_style(title + "".join(names or []))):
        figure = Figure(figsize=(4.2 * len(panels), 4.8), dpi=DPI, layout="constrained")
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(every, panels, strict=True):
            _draw(axes, panel, names)
        figure.legend(*every[0].get_legend_handles_labels(), loc="outside lower center", ncols=8, frameon=False)
        if title:
            figure.suptitle(title)
        return figure_bytes(figure)


def _draw(axes, panel: Directions, names: list[str] | None) -> None:
    """The circle, and of each class the ray, the arc and the dots."""
    angle = np.r_[angles_of(), 0.0]
    axes.plot(INNER * np.cos(angle), INNER * np.sin(angle), color=GREY, linewidth=1)
    arcs = winning_arcs(panel.weight, panel.margin)
    for number, ray in enumerate(unit(panel.weight)):
        color = SERIES[number % len(SERIES)]
        wins = np.where(np.r_[arcs, arcs[:1]] == number, OUTER, np.nan)
        dots = unit(panel.features)[np.asarray(panel.target) == number]
        axes.plot([0, ray[0]], [0, ray[1]], color=color, linewidth=2)
        axes.plot(wins * np.cos(angle), wins * np.sin(angle), color=color, linewidth=8, solid_capstyle="butt")
        axes.plot(*dots.T, "o", color=color, alpha=0.6, label=f"class {number}" if names is None else names[number])
    axes.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), title=panel.title)
    axes.axis("off")
