"""All training faces of an epoch as points: the histogram of alpha with its two groups above any two columns."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.core.importance import high_group_size
from scn_fastai.errors import DataError
from scn_fastai.plots.alpha import GROUPS, NOTHING_SEEN, AlphaGroups, alpha_groups, gap_words
from scn_fastai.plots.sample_table import SCORES, doctor_words, score_words, state_keys
from scn_fastai.plots.style import INK, STATES, counted, look, markup
from scn_fastai.training.run import Run

FEW = 2000  # points that a browser draws one by one; more are drawn by its graphics card
SYMBOLS = {"unchanged": "circle", "changed": "diamond", "cured": "square", "missed": "triangle-up", "harmed": "x"}
TOOLS = ["toimage", "pan2d", "zoomin2d", "zoomout2d", "autoscale2d"]  # that nobody needs here, and that hide words
NO_SAMPLE = "No face is left by this choice."
ROOM = 2.05  # of the histogram above its highest bar, for words


class Marks(NamedTuple):
    """Lines that belong to a run and an epoch, and where alpha lies in all epochs; None where it is not known."""

    split: float | None = None  # the share 1 - beta of the faces lies below
    rank_margin: float | None = None  # delta1
    relabel_margin: float | None = None  # delta2
    room: tuple[float, float] | None = None  # lowest and highest alpha of all epochs, for an axis that does not move


def run_marks(run: Run, table: pd.DataFrame) -> Marks:
    """The marks of a run, for the table of one of its epochs (all samples, see `sample_table`)."""
    scn = run.settings.get("scn", {})
    alpha = table["alpha"].to_numpy()
    alpha, split = alpha[np.isfinite(alpha)], None
    if len(alpha) > 1 and scn.get("beta") is not None:
        low = len(alpha) - high_group_size(len(alpha), scn["beta"])
        ends = [low - 1, low]  # the last of the low group and the first of the high one
        split = float(np.partition(alpha, ends)[ends].mean())
    all_alphas = [run.history.epoch_arrays(e)["alpha"] for e in range(run.history.epoch)]
    first, last = (end.reduce([end.reduce(alphas) for alphas in all_alphas]) for end in (np.fmin, np.fmax))  # skip NaN
    room = (np.floor(first * 20) / 20, np.ceil(last * 20) / 20) if np.isfinite(first) else (0.0, 1.0)
    # What is averaged over epochs is compared with the margin there, not the doubt of this epoch that is shown.
    relabel_margin = None if scn.get("evidence") == "averaged" else scn.get("relabel_margin")
    return Marks(split, scn.get("rank_margin"), relabel_margin, tuple(map(float, room)))


def epoch_words(run: Run, table: pd.DataFrame, epoch: int = -1) -> list[str]:
    """What is to be said of an epoch: the gap of the groups against the margin, and the alpha doctor's sentence.

    Args:
        run: a run with its history.
        table: all samples of the epoch, of `sample_table`.
        epoch: counted from 0, or from the end.
    """
    groups = alpha_groups(table["alpha"].to_numpy(), table["low"].to_numpy(bool))
    words = gap_words(groups, _margin_of(run, epoch)) if groups.means else NOTHING_SEEN
    doctor = doctor_words(run, epoch)
    return [f"{words.rstrip('.')}."] + ([f"Alpha doctor: {doctor}"] if doctor else [])


def _margin_of(run: Run, epoch: int) -> float | None:
    """The rank margin of an epoch, None where no rank loss pulled."""
    scn, epochs = run.settings.get("scn", {}), run.history.frame()
    row = epochs.iloc[epoch] if len(epochs) else {}
    pulled = scn.get("rank", True) and bool(row.get("weighting", True))
    return row.get("rank_margin", scn.get("rank_margin")) if pulled else None


def point_rows(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows of the table by what became of the label: a trace each, empty ones too, so that an epoch adds none."""
    states = table["state"].cat.codes.to_numpy()
    keys = list(table["state"].cat.categories)
    return {key: np.flatnonzero(states == keys.index(key)) for key in state_keys(table)}


def samples_in_bars(table: pd.DataFrame, group: str, bars: Sequence[int]) -> np.ndarray:
    """The samples of a table that some bars of its histogram hold, int64.

    Args:
        table: what `explorer_figure` shows.
        group: ``'high'`` or ``'low'``, whose bars they are.
        bars: positions, counted from the left.
    """
    alpha, low = table["alpha"].to_numpy(), table["low"].to_numpy(bool)
    edges = alpha_groups(alpha, low).edges
    place = np.minimum(np.digitize(alpha, edges) - 1, len(edges) - 2)  # the last edge belongs to the last bar
    mine = np.isfinite(alpha) & (low == (group == "low")) & np.isin(place, np.asarray(bars, np.int64))
    return table["sample"].to_numpy()[mine]


def explorer_figure(
    table: pd.DataFrame,
    x: str = "alpha",
    y: str = "doubt",
    selected: Sequence[int] = (),
    marks: Marks = Marks(),  # noqa: B008 (a tuple that nobody can change)
    words: Sequence[str] = (),
    size: tuple[int, int] = (900, 640),
    many: bool | None = None,
) -> go.Figure:
    """A point for each face, with the histogram of alpha above: two groups, their means, the split, the margin.

    Args:
        table: the samples to show, of `sample_table`.
        x: column on the horizontal axis; alpha shares it with the histogram.
        y: column on the vertical axis. With doubt a line marks the relabel margin (delta2).
        selected: samples; the others fade.
        marks: lines of the run.
        words: sentences above.
        size: width and height in pixels.
        many: whether a graphics card draws the points; None: if there are more than 2,000.

    Raises:
        DataError: a column is not there, or holds no numbers.
    """
    parts = explorer_parts(table, x, y, selected, marks, many)
    return go.Figure(parts["data"], parts["layout"] | explorer_frame(words, size))


def explorer_frame(words: Sequence[str] = (), size: tuple[int, int] = (900, 640)) -> dict:
    """The layout of `explorer_figure` as far as no epoch and no filter changes it: its look, size and sentences."""
    lines = wrapped(words, size[0])
    frame = look("<br>".join(f"<span style='font-size:14px'>{markup(line)}</span>" for line in lines))
    if lines:
        frame["title"] |= {"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 16}}
    margin = frame["margin"] | {"t": 34 + 20 * len(lines), "b": 110}
    return frame | {"width": size[0], "height": size[1], "margin": margin}


def explorer_parts(
    table: pd.DataFrame,
    x: str = "alpha",
    y: str = "doubt",
    selected: Sequence[int] = (),
    marks: Marks = Marks(),  # noqa: B008 (a tuple that nobody can change)
    many: bool | None = None,
) -> dict:
    """Data and layout of `explorer_figure` as plain dicts: quicker than a figure where a slider asks for many.

    There are the same traces whatever the epoch and the filters, so that one picture can become another.
    """
    for name in (x, y):
        if name not in table or table[name].dtype.kind not in "fiu":
            raise DataError(f"{name!r} is no column of numbers in this table.")
    groups = alpha_groups(table["alpha"].to_numpy(), table["low"].to_numpy(bool))
    kind = "scattergl" if (len(table) > FEW if many is None else many) else "scatter"
    points = [trace | {"type": kind} for trace in _points(table, x, y, selected)]
    legend = {"orientation": "h", "x": 0, "y": -0.13, "yanchor": "top", "itemsizing": "constant", "font": {"size": 14},
              "traceorder": "normal"}  # fmt: skip
    layout = {"barmode": "stack", "bargap": 0, "dragmode": "lasso", "legend": legend, "modebar": {"remove": TOOLS}}
    if len(table):
        layout |= _axes(x, y, marks, groups)
        layout |= {"shapes": _shapes(groups, marks, x, y), "annotations": _notes(groups, marks, x, y)}
    else:
        words = {"text": NO_SAMPLE, "x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper", "font": {"size": 16}}
        layout |= {"shapes": [], "annotations": [words | {"showarrow": False}]}
        layout |= {name: {"visible": False} for name in ("xaxis", "yaxis", "xaxis2", "yaxis2")}
    return {"data": _bars(groups) + points, "layout": layout}


def wrapped(words: Sequence[str], width: int) -> list[str]:
    """Sentences as lines that fit a picture of so many pixels."""
    return [line for text in words for line in textwrap.wrap(text, max(20, width // 8))]


def _alike(opacity: float) -> dict:
    """Plotly fades what its own lasso did not catch; here only `selected` says who is lit."""
    look = {"marker": {"opacity": opacity}}
    return {"selected": look, "unselected": look}


def _bars(groups: AlphaGroups) -> list[dict]:
    middle, width = (groups.edges[:-1] + groups.edges[1:]) / 2, float(np.diff(groups.edges[:2])[0])
    bars = []
    for name in ("low", "high"):  # the low group at the bottom of the stack
        words, color, _ = GROUPS[name]
        pattern = {"shape": "/" if name == "low" else "", "fgcolor": "white", "size": 6}
        bars.append(_alike(1.0) | {
            "type": "bar", "x": np.round(middle, 6), "y": groups.counts[name], "width": round(width, 6), "meta": name,
            "marker": {"color": color, "pattern": pattern}, "name": words, "xaxis": "x2", "yaxis": "y2",
            "showlegend": False, "hovertemplate": words + ", alpha %{x:.3f}: %{y}<extra></extra>",
        })  # fmt: skip
    return bars


def _points(table: pd.DataFrame, x: str, y: str, selected: Sequence[int]) -> list[dict]:
    """For each state the points, and on top of all of them those that are selected."""
    across, up, samples = (table[name].to_numpy() for name in (x, y, "sample"))
    hover = f"sample %{{customdata}}<br>{markup(score_words(x))} %{{x:.4f}}<br>{markup(score_words(y))} %{{y:.4f}}"
    chosen, states = np.isin(samples, np.asarray(selected, np.int64)), point_rows(table)
    traces, crowded = [], len(table) > 10_000
    for key, rows in states.items():  # the legend alone: an entry of points would fade with them
        words, color, _ = STATES[key]
        traces.append(_alike(1.0) | {
            "x": [None], "y": [None], "mode": "markers", "name": f"{words} ({len(rows):,})", "legendgroup": key,
            "meta": "legend", "marker": {"color": color, "symbol": SYMBOLS[key], "size": 9},
        })  # fmt: skip
    for lit in (False, True):
        for key, rows in states.items():
            words, color, _ = STATES[key]
            plain, shown = key == "unchanged", rows[chosen[rows]] if lit else rows
            opacity = 1.0 if lit else 0.1 if len(selected) else 0.6 if plain else 0.9
            size = (11 if lit else 6 if plain else 9) - (2 if crowded else 0)
            traces.append(_alike(opacity) | {
                "x": np.round(across[shown], 5), "y": np.round(up[shown], 5), "mode": "markers",
                "customdata": samples[shown].astype(np.int32), "meta": "lit" if lit else key,
                "marker": {"color": color, "symbol": SYMBOLS[key], "size": size, "opacity": opacity},
                "showlegend": False, "legendgroup": key, "hovertemplate": f"{hover}<extra>{words}</extra>",
            })  # fmt: skip
    return traces


def _axes(x: str, y: str, marks: Marks, groups: AlphaGroups) -> dict:
    shared, top = x == "alpha", _highest(groups)
    rooms = {name: marks.room if name == "alpha" else SCORES.get(name, ("", None))[1] for name in (x, y, "alpha")}
    across, up = ({"range": _wider(rooms[name])} if rooms[name] else {"autorange": True} for name in (x, y))
    bins = {"matches": "x"} if shared else {"range": _wider(rooms["alpha"] or (groups.edges[0], groups.edges[-1]))}
    font, free = {"size": 15}, {"zeroline": False}
    return {
        "xaxis": across | free | {"title": {"text": score_words(x), "font": font}, "anchor": "y"},
        "yaxis": up | free | {"title": {"text": score_words(y), "font": font}, "domain": [0, 0.61 if shared else 0.52]},
        "xaxis2": bins | free | {"anchor": "y2", "showticklabels": not shared,
                                 "title": {"text": "" if shared else score_words("alpha"), "standoff": 4}},
        "yaxis2": free | {"domain": [0.65, 1], "anchor": "x2", "range": [0, top * ROOM], "nticks": 4,
                          "title": {"text": "faces", "font": font}},
    }  # fmt: skip


def _wider(room: tuple[float, float]) -> list[float]:
    """A little more than the room, so that points at its ends are whole."""
    edge = 0.03 * (room[1] - room[0])
    return [round(room[0] - edge, 4), round(room[1] + edge, 4)]


def _highest(groups: AlphaGroups) -> int:
    return max(1, int(sum(groups.counts.values()).max()))


def group_notes(groups: AlphaGroups, marks: Marks) -> list[tuple[str, float, float, str]]:
    """What is written into the histogram: text, alpha, height in highest bars, and the dash of a line below ('': none).

    alpha_L and alpha_H are the means of the groups (SCN, Eq. 4); the margin starts at alpha_L: where its end lies left
    of alpha_H, the rank loss (Eq. 3) is 0.
    """
    notes = []
    for name, height, dash in (("high", 1.92, "dash"), ("low", 1.66, "dot")):
        if name in groups.means:
            notes.append((f"{GROUPS[name][2]} {groups.means[name]:.2f}", groups.means[name], height, dash))
    if marks.split is not None:
        notes.append((f"split {marks.split:.2f}", marks.split, 1.4, "solid"))
    if marks.rank_margin is not None and "low" in groups.means:
        notes.append((f"margin {marks.rank_margin:g}", groups.means["low"] + marks.rank_margin, 1.14, ""))
    return notes


def _shapes(groups: AlphaGroups, marks: Marks, x: str, y: str) -> list[dict]:
    high, ink = _highest(groups), {"color": INK, "width": 2}
    base, shapes = {"type": "line", "xref": "x2", "yref": "y2"}, []
    for _, place, height, dash in group_notes(groups, marks):
        if dash:
            line = ink | {"dash": dash, "width": 1 if dash == "solid" else 2}
            shapes.append(base | {"x0": place, "x1": place, "y0": 0, "y1": high * height, "line": line})
        else:
            ends = {"x0": groups.means["low"], "x1": place, "y0": high * height, "y1": high * height}
            shapes.append(base | ends | {"line": ink | {"width": 5}})
    if marks.relabel_margin is not None:
        ends = {"line": ink | {"dash": "dash"}, "type": "line"}
        if y == "doubt":
            shapes.append(ends | {"xref": "x domain", "x0": 0, "x1": 1, "y0": marks.relabel_margin,
                                  "y1": marks.relabel_margin, "yref": "y"})  # fmt: skip
        if x == "doubt":
            shapes.append(ends | {"yref": "y domain", "y0": 0, "y1": 1, "x0": marks.relabel_margin,
                                  "x1": marks.relabel_margin, "xref": "x"})  # fmt: skip
    return shapes


def _notes(groups: AlphaGroups, marks: Marks, x: str, y: str) -> list[dict]:
    high, plain = _highest(groups), {"showarrow": False, "bgcolor": "rgba(255,255,255,0.85)", "font": {"size": 14}}
    notes = []
    for text, place, height, dash in group_notes(groups, marks):
        left = _stands_left(text, place, groups, marks)
        at = groups.means["low"] if left and not dash else place  # words beside either end of the margin
        notes.append(plain | {"text": f"<b>{text}</b>", "x": at, "y": high * height, "xref": "x2", "yref": "y2",
                              "xanchor": "right" if left else "left", "xshift": -4 if left else 4})  # fmt: skip
    for name, words in (("low", "low group"), ("high", "high group")):
        number = f"{words}: {groups.counts[name].sum():,}"
        notes.append(plain | {"text": number, "x": 0 if name == "low" else 0.33, "y": 1.0, "xref": "paper",
                              "yref": "paper", "xanchor": "left", "yanchor": "bottom",
                              "font": {"size": 14, "color": GROUPS[name][1]}})  # fmt: skip
    if marks.relabel_margin is not None and "doubt" in (x, y):
        place = {"x": 0, "xref": "x domain", "xanchor": "left", "y": marks.relabel_margin, "yref": "y",
                 "yanchor": "bottom"}  # fmt: skip
        if y != "doubt":
            place = {"x": marks.relabel_margin, "xref": "x", "xanchor": "left", "y": 1, "yref": "y domain",
                     "yanchor": "top"}  # fmt: skip
        notes.append(plain | place | {"text": f"relabel margin {marks.relabel_margin:g}"})
    return notes


def _stands_left(text: str, place: float, groups: AlphaGroups, marks: Marks) -> bool:
    """Whether words stand left of their line: alpha_L where there is room, the others where there is none."""
    low, high = marks.room or (groups.edges[0], groups.edges[-1])
    return (place - low) / max(high - low, 1e-9) > (0.25 if text.startswith("alpha_L") else 0.8)


def shown_words(shown: int, total: int) -> str:
    """How many faces are shown.

    >>> shown_words(1, 2000), shown_words(1, 1)
    ('1 of 2,000 faces', '1 face')
    """
    return counted(total, "face") if shown == total else f"{shown:,} of {counted(total, 'face')}"
