"""Features and classes as directions in the plane, and what a margin between them leaves free (CosFace)."""

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scn_fastai.errors import DataError
from scn_fastai.plots.style import GREY, SERIES, plain, tidy

STEPS = 720  # points of a circle
INNER, OUTER = 1.0, 1.16  # where features lie, and the arcs in which a class wins


class Directions(NamedTuple):
    """Features ``[N, 2]``, their classes ``target`` ``[N]``, a direction per class ``weight`` ``[C, 2]``, a margin."""

    features: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    margin: float
    title: str = ""


def lead(features: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By how much the own class wins, ``[N]``: cos(x, W_y) - max_{j != y} cos(x, W_j); below 0 another class does.

    Args:
        features: x, ``[N, D]``.
        target: y, ``[N]``.
        weight: W, ``[C, D]``.

    >>> lead(np.array([[2.0, 0.0], [0.6, 0.8]]), np.array([0, 0]), np.array([[1.0, 0.0], [0.0, 3.0]])).round(1).tolist()
    [1.0, -0.2]
    """
    target = np.asarray(target)
    if len(weight) < 2:
        raise DataError("There is one class, so nothing to win against: give two rows of weight or more.")
    cosine = unit(features) @ unit(weight).T
    rows = np.arange(len(target))
    own = cosine[rows, target]
    cosine[rows, target] = -np.inf
    return own - cosine.max(axis=1)


def winning_arcs(weight: np.ndarray, margin: float) -> np.ndarray:
    """Which class wins by more than the margin at each of `STEPS` angles from 0 on: its number, or -1 for none.

    >>> arcs = winning_arcs(np.array([[1.0, 0.0], [-1.0, 0.0]]), margin=0.0)
    >>> arcs[[0, STEPS // 2]].tolist(), int((arcs == -1).sum())  # ahead, behind; straight up and down neither wins
    ([0, 1], 2)
    """
    angle = angles_of()
    places = np.stack([np.cos(angle), np.sin(angle)], 1)
    winner = (places @ unit(weight).T).argmax(1)
    return np.where(lead(places, winner, weight) > margin + 1e-9, winner, -1)


def angles_figure(panels: list[Directions], names: list[str] | None = None, title: str = "") -> go.Figure:
    """Panels side by side: each class a ray, each feature a dot on the circle, and outside of it the arc of each class.

    In the gaps between the arcs no class wins by the margin: training pushes features out of them.

    Args:
        panels: what to draw.
        names: of the classes.
        title: text above.
    """
    figure = make_subplots(1, len(panels), subplot_titles=[panel.title for panel in panels])
    for column, panel in enumerate(panels, start=1):
        circle = _on_circle(angles_of(), INNER)
        figure.add_scatter(**circle, mode="lines", line={"color": GREY, "width": 1}, hoverinfo="skip",
                           showlegend=False, row=1, col=column)  # fmt: skip
        arcs = winning_arcs(panel.weight, panel.margin)
        for number, ray in enumerate(unit(panel.weight)):
            look = {"color": SERIES[number % len(SERIES)], "legendgroup": str(number)}
            name = f"class {number}" if names is None else names[number]
            for trace in _class_traces(panel, number, ray, arcs == number, name, look):
                figure.add_trace(trace.update(showlegend=bool(trace.showlegend) and column == 1), row=1, col=column)
    figure.update_xaxes(visible=False, range=[-1.3, 1.3])
    figure.update_yaxes(visible=False, range=[-1.3, 1.3])
    for column in range(1, len(panels) + 1):
        figure.update_yaxes(scaleanchor="x" if column == 1 else f"x{column}", row=1, col=column)
    return tidy(figure, title, height=420, legend={"orientation": "h", "y": -0.02}, margin_t=90 if title else 50)


def _class_traces(panel: Directions, number: int, ray: np.ndarray, wins: np.ndarray, name: str, look: dict) -> list:
    """The ray, the arc and the dots of one class."""
    color, group = look["color"], look["legendgroup"]
    lines = {"mode": "lines", "legendgroup": group, "hoverinfo": "skip", "showlegend": False}
    x, y = zip((0, 0), ray, strict=True)
    arc = _on_circle(np.where(wins, angles_of(), np.nan), OUTER)
    dots = unit(panel.features)[np.asarray(panel.target) == number]
    return [
        go.Scatter(x=plain(x, 2), y=plain(y, 2), line={"color": color, "width": 2}, **lines),
        go.Scatter(**arc, line={"color": color, "width": 9}, connectgaps=False, **lines),
        go.Scatter(x=plain(dots[:, 0], 2), y=plain(dots[:, 1], 2), mode="markers", name=name, legendgroup=group,
                   marker={"color": color, "size": 9, "opacity": 0.6}, showlegend=True, hoverinfo="name"),
    ]  # fmt: skip


def angles_of() -> np.ndarray:
    """The `STEPS` angles of a circle, from 0 on."""
    return np.arange(STEPS) / STEPS * 2 * np.pi


def _on_circle(angle: np.ndarray, radius: float) -> dict:
    angle = np.r_[angle, angle[:1]]  # once around
    return {"x": plain(radius * np.cos(angle), 3), "y": plain(radius * np.sin(angle), 3)}


def unit(rows: np.ndarray) -> np.ndarray:
    """Each row with length 1; a row of zeros stays."""
    rows = np.asarray(rows, float)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
