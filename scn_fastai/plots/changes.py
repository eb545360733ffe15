"""Which labels became which, as a map of counts."""

import numpy as np
import plotly.graph_objects as go

from scn_fastai.errors import DataError
from scn_fastai.plots.style import INK, markup, sentence, tidy

NO_CHANGE = "No label differs from the given one."


def change_counts(given: np.ndarray, current: np.ndarray, n_classes: int) -> np.ndarray:
    """How many samples went from each class (row) to each other (column), int64 ``[C, C]``; the diagonal is 0.

    >>> change_counts([0, 0, 1], [1, 0, 0], 2).tolist()
    [[0, 1], [1, 0]]
    """
    given, current = np.asarray(given, dtype=np.int64), np.asarray(current, dtype=np.int64)
    if given.shape != current.shape:
        raise DataError(f"There are {len(given):,} given labels but {len(current):,} current ones: give one for each.")
    changed = given != current
    pairs = given[changed] * n_classes + current[changed]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def change_map(given: np.ndarray, current: np.ndarray, classes: list[str], title: str = "") -> go.Figure:
    """Changed labels as a map: rows are given labels, columns are labels now, numbers count samples.

    Args:
        given: int ``[N]``, label codes.
        current: int ``[N]``.
        classes: class names.
        title: text above.
    """
    counts = change_counts(given, current, len(classes))
    if not counts.any():
        return sentence(NO_CHANGE)
    names = [markup(name) for name in classes]
    shown = [[int(n) if row != col else None for col, n in enumerate(line)] for row, line in enumerate(counts)]
    text = [["" if not n else str(n) for n in line] for line in shown]
    figure = go.Figure(
        go.Heatmap(z=shown, x=names, y=names, text=text, texttemplate="%{text}", colorscale="Blues", zmin=0,
                   xgap=2, ygap=2, hovertemplate="%{y} to %{x}: %{z}<extra></extra>", hoverongaps=False,
                   colorbar={"title": {"text": "samples"}, "thickness": 14})
    )  # fmt: skip
    side = 46 * len(classes)
    tidy(figure, title, height=max(320, side + 150), width=max(560, side + 330), plot_bgcolor="#EEEEEE")
    figure.update_xaxes(title_text="label now", tickangle=-35, showgrid=False, automargin=True, color=INK)
    return figure.update_yaxes(title_text="given label", autorange="reversed", showgrid=False, automargin=True)
