"""Training epoch by epoch: one run in small panels, several recipes in one picture."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scn_fastai.plots.style import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    SERIES,
    VERMILION,
    counted,
    plain,
    sentence,
    tidy,
)

NO_FIGURES = "There is no finished epoch with a figure to draw yet."


class Series(NamedTuple):
    """A column of the epoch table and how it is drawn."""

    column: str
    words: str
    color: str
    dash: str = "solid"


class Panel(NamedTuple):
    """A small picture: its title, its series, a share of 1 (per cent) or not."""

    title: str
    series: tuple[Series, ...]
    share: bool = False
    only_if_any: bool = False  # left out when every number is 0


PANELS = (
    Panel(
        "Accuracy",
        (
            Series("accuracy", "validation", BLUE),
            Series("train_accuracy_given", "training, given labels", VERMILION, "dash"),
            Series("train_accuracy_current", "training, current labels", GREEN, "dot"),
        ),
        share=True,
    ),
    Panel(
        "Share that is true, in training",
        (
            Series("label_accuracy", "labels", BLUE),
            Series("relabel_precision", "changed labels", VERMILION, "dash"),
            Series("train_accuracy_true", "predictions", GREEN, "dot"),
        ),
        share=True,
    ),
    Panel(
        "Changed labels",
        (
            Series("changed", "differ from the given label", BLUE),
            Series("relabeled", "changed in this epoch", ORANGE, "dash"),
        ),
        only_if_any=True,
    ),
    Panel(
        "Mean alpha of the two groups",
        (
            Series("alpha_high", "high group (alpha_H)", BLUE),
            Series("alpha_low", "low group (alpha_L)", VERMILION, "dash"),
        ),
    ),
    Panel(
        "Rank loss (RR)",
        (Series("rank", "rank loss", BLUE), Series("rank_margin", "margin, learned", GREY, "dash")),
    ),
    Panel("Weighted cross-entropy (WCE)", (Series("wce", "weighted cross-entropy", BLUE),)),
)


def panels_of(epochs: pd.DataFrame) -> list[Panel]:
    """The panels of PANELS that the table has a number for, each with the series that it has."""
    found = []
    for panel in PANELS:
        series = tuple(s for s in panel.series if s.column in epochs and numbers(epochs, s.column).notna().any())
        idle = panel.only_if_any and not any(numbers(epochs, s.column).fillna(0).any() for s in series)
        if series and not idle:
            found.append(panel._replace(series=series))
    return found


def numbers(epochs: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats, NaN where there is no number.

    >>> numbers(pd.DataFrame({"rank": [1, None, "x"]}), "rank").tolist()
    [1.0, nan, nan]
    """
    return pd.to_numeric(epochs[column], errors="coerce").astype(float)


def epoch_axis(epochs: pd.DataFrame) -> list[int]:
    """The epochs of the rows, counted from 0."""
    return epochs["epoch"].astype(int).tolist() if "epoch" in epochs else list(range(len(epochs)))


def relabeling_start(epochs: pd.DataFrame) -> int | None:
    """The first epoch that relabeled, or None.

    >>> relabeling_start(pd.DataFrame({"epoch": [0, 1, 2], "relabeling": [False, True, True]}))
    1
    """
    if "relabeling" not in epochs:
        return None
    began = np.flatnonzero(epochs["relabeling"].fillna(False).astype(bool))
    return epoch_axis(epochs)[began[0]] if len(began) else None


def alpha_gap(epochs: pd.DataFrame) -> float:
    """alpha_H - alpha_L in the last epoch, NaN where the table has none."""
    if not len(epochs) or not {"alpha_high", "alpha_low"} <= set(epochs.columns):
        return float("nan")
    return float(numbers(epochs, "alpha_high").iloc[-1] - numbers(epochs, "alpha_low").iloc[-1])


def training_curves(epochs: pd.DataFrame, title: str = "") -> go.Figure:
    """A training in small panels: accuracies, labels, changes, alpha of the two groups, both losses.

    Panels and lines whose columns are missing are left out; a dotted vertical line stands where relabeling
    began.

    Args:
        epochs: a row per epoch, as ``history.frame()`` gives it.
        title: text above.

    >>> len(training_curves(pd.DataFrame({"epoch": [0, 1], "accuracy": [0.5, 0.6]})).data)
    1
    """
    panels = panels_of(epochs)
    if not panels:
        return sentence(NO_FIGURES)
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    gap = 0.12 if rows < 3 else 0.11
    figure = make_subplots(rows=rows, cols=columns, vertical_spacing=gap, horizontal_spacing=0.09)
    for number, panel in enumerate(panels):
        _draw_panel(figure, panel, epochs, number, columns)
    top = 90 if title else 60
    tidy(figure, title, height=290 * rows + top, margin={"l": 60, "r": 20, "t": top, "b": 50})
    figure.update_layout(hovermode="x unified")
    for number, panel in enumerate(panels):
        _head_of_panel(figure, panel, number, top=figure.layout[_axis("yaxis", number, columns, panels)].domain[1])
    return figure


def _axis(kind: str, number: int, columns: int, panels: list[Panel]) -> str:
    return kind if number == 0 else f"{kind}{number + 1}"


def _draw_panel(figure: go.Figure, panel: Panel, epochs: pd.DataFrame, number: int, columns: int) -> None:
    row, col = divmod(number, columns)
    at = {"row": row + 1, "col": col + 1}
    x = epoch_axis(epochs)
    legend = f"legend{number + 1 if number else ''}"
    pair = {s.column for s in panel.series} >= {"alpha_high", "alpha_low"}
    for series in panel.series:
        y, form = plain(numbers(epochs, series.column)), ".1%" if panel.share else ",.4~g"
        common = {"x": x, "y": y, "name": series.words, "legend": legend, "yhoverformat": form}
        fill = {"fill": "tonexty", "fillcolor": "rgba(86,180,233,0.2)"} if pair and series.column == "alpha_low" else {}
        line = {"color": series.color, "dash": series.dash, "width": 2.5}
        figure.add_scatter(**common, **fill, mode="lines+markers", line=line, marker={"size": 5}, **at)
    start = relabeling_start(epochs)
    if start is not None:
        side = "right" if 2 * start <= min(x) + max(x) else "left"
        words = {"annotation_text": "relabeling begins", "annotation_position": f"bottom {side}"} if not number else {}
        figure.add_vline(x=start, line={"color": INK, "dash": "dot", "width": 1.5}, **words, **at)
    figure.update_xaxes(range=[min(x) - 0.5, max(x) + 0.5], tickformat="d", zeroline=False, **at)
    if max(x) - min(x) <= 10:
        figure.update_xaxes(dtick=1, **at)
    figure.update_xaxes(title_text="epoch (from 0)" if number >= _last_row(figure, columns) else None, **at)
    tick, least = (".0%", "normal") if panel.share else (None, "tozero")
    figure.update_yaxes(tickformat=tick, rangemode=least, **at)
    if pair and np.isfinite(alpha_gap(epochs)):
        figure.add_annotation(text=f"gap {alpha_gap(epochs):.2f}", x=x[-1], y=_middle(epochs), showarrow=False,
                              xanchor="right", xshift=-6, **at)  # fmt: skip


def _last_row(figure: go.Figure, columns: int) -> int:
    return len(list(figure.select_xaxes())) - columns


def _middle(epochs: pd.DataFrame) -> float:
    return float(numbers(epochs, "alpha_high").iloc[-1] + numbers(epochs, "alpha_low").iloc[-1]) / 2


def _head_of_panel(figure: go.Figure, panel: Panel, number: int, top: float) -> None:
    """Title and legend of a panel, above it."""
    suffix = number + 1 if number else ""
    left = figure.layout[f"xaxis{suffix}"].domain[0]
    figure.add_annotation(text=f"<b>{panel.title}</b>", x=left, y=top, xref="paper", yref="paper", showarrow=False,
                          xanchor="left", yanchor="bottom", yshift=26, font={"size": 15})  # fmt: skip
    place = {"traceorder": "normal", "x": left, "y": top, "xanchor": "left", "yanchor": "bottom", "orientation": "h"}
    figure.update_layout({f"legend{suffix}": place | {"font": {"size": 13}, "bgcolor": "rgba(255,255,255,0)"}})


def compare_curves(runs: dict[str, list[pd.DataFrame]], column: str = "accuracy", title: str = "") -> go.Figure:
    """Validation accuracy of several recipes: the mean over seeds as a line, lowest to highest as a band.

    Args:
        runs: per recipe a list with the epoch table of each seed.
        column: which figure.
        title: text above.
    """
    figure = go.Figure()
    for number, (name, frames) in enumerate(runs.items()):
        table = seeds_side_by_side(frames, column)
        if not len(table):
            continue
        color, dash = SERIES[number % len(SERIES)], DASHES[number % len(DASHES)]
        x = table.index.tolist()
        if table.shape[1] > 1:
            edge = plain(table.max(axis=1)) + plain(table.min(axis=1))[::-1]
            figure.add_scatter(x=x + x[::-1], y=edge, fill="toself", fillcolor=color, opacity=0.18, line={"width": 0},
                               mode="lines", legendgroup=name, showlegend=False, hoverinfo="skip",
                               name=f"{name}, lowest to highest")  # fmt: skip
        seeds = counted(table.shape[1], "seed")
        figure.add_scatter(x=x, y=plain(table.mean(axis=1)), name=f"{name} ({seeds})", legendgroup=name,
                           mode="lines+markers" if len(x) < 3 else "lines", yhoverformat=".1%",
                           line={"color": color, "dash": dash, "width": 3})  # fmt: skip
    if not figure.data:
        return sentence(NO_FIGURES)
    words = "validation accuracy" if column == "accuracy" else column
    tidy(figure, title, height=440, hovermode="x unified", legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text="epoch (from 0)", tickformat="d")
    return figure.update_yaxes(title_text=words, tickformat=".0%")


def seeds_side_by_side(frames: list[pd.DataFrame], column: str = "accuracy") -> pd.DataFrame:
    """One column of several epoch tables, a row per epoch and a column per seed that has it.

    >>> seeds_side_by_side([pd.DataFrame({"accuracy": [0.5, 0.6]}), pd.DataFrame({"accuracy": [0.7]})]).shape
    (2, 2)
    """
    columns = [pd.Series(numbers(f, column).to_numpy(), epoch_axis(f)) for f in frames if column in f and len(f)]
    return pd.concat(columns, axis=1).dropna(how="all").sort_index() if columns else pd.DataFrame()
