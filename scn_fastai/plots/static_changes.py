"""PNG twin of the map of changed labels."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from scn_fastai.plots.changes import NO_CHANGE, change_counts
from scn_fastai.plots.static import DPI, figure_bytes, matplotlib_style, sentence_png
from scn_fastai.plots.style import INK


def change_map_png(given: np.ndarray, current: np.ndarray, classes: list[str], title: str = "") -> bytes:
    """The picture of `change_map` as a PNG file; the same arguments."""
    counts = change_counts(given, current, len(classes))
    if not counts.any():
        return sentence_png(NO_CHANGE)
    with matplotlib.rc_context(matplotlib_style(title + "".join(classes))):
        side = 1.5 + 0.55 * len(classes)
        figure = Figure(figsize=(side + 1.2, side), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.set_facecolor("#EEEEEE")
        shown = np.where(np.eye(len(classes), dtype=bool), np.nan, counts)
        drawn = axes.imshow(shown, cmap="Blues", vmin=0)
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if counts[row, column] > counts.max() / 2 else INK
            axes.text(column, row, counts[row, column], ha="center", va="center", color=color)
        axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.set(xlabel="label now", ylabel="given label")
        axes.set_title(title, loc="left")
        figure.colorbar(drawn, ax=axes, label="samples", shrink=0.8)
        return figure_bytes(figure)
