"""Detectors of wrong labels side by side: bars with intervals, precision among the first k, ranks against ranks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.detect.agreement import suspicion_ranks
from scn_fastai.errors import DataError
from scn_fastai.plots.style import BLUE, DASHES, GREY, INK, SERIES, VERMILION, counted, markup, plain, sentence, tidy

METRICS = {
    "auroc": "AUROC",
    "ap": "average precision",
    "p_at_k": "precision at k",
    "auroc_within": "AUROC within class",
    "ap_within": "average precision within class",
    "p_at_k_within": "precision at k within class",
}
NO_TABLE = "No detector has this figure."
NO_WRONG = "No label is known to be wrong, so there is nothing to find."
NO_RANKS = "No face has a score of both detectors."
POINTS = 200  # of a curve
MANY = 3000  # points that are drawn as pictures of their own
KINDS = {"right": ("right label", GREY, "circle"), "wrong": ("wrong label", VERMILION, "diamond"),
         "unknown": ("truth unknown", BLUE, "circle")}  # fmt: skip


class Bar(NamedTuple):
    """A detector's figure, its interval (NaN: none), and whether it is better than chance beyond it."""

    name: str
    value: float
    low: float
    high: float


def bars_of(table: pd.DataFrame, metric: str = "auroc") -> tuple[list[Bar], float]:
    """The bars, best first, and what chance gives: 0.5 for AUROC, else the share of wrong labels (NaN: not known).

    Raises:
        DataError: there is no such figure.
    """
    if metric not in METRICS or metric not in table:
        raise DataError(f"There is no figure {metric!r}; there are: {', '.join(METRICS)}.")
    known = table[table[metric].notna()].sort_values(metric, ascending=False, kind="stable")
    bars = [Bar(*(row[name] for name in ("detector", metric, f"{metric}_low", f"{metric}_high")))
            for row in known.to_dict("records")]  # fmt: skip
    if not bars or metric.startswith("auroc"):
        return bars, 0.5
    within = metric.endswith("_within")  # each class has a share of its own
    return bars, float("nan") if within else float((known["wrong"] / known["n"]).iloc[0])


def detector_bars(table: pd.DataFrame, metric: str = "auroc", title: str = "") -> go.Figure:
    """A bar for each detector with its bootstrap interval, the best on top; a dashed line for chance.

    Args:
        table: as `detector_table` gives it.
        metric: one of `METRICS`.
        title: text above.
    """
    bars, chance = bars_of(table, metric)
    if not bars:
        return sentence(NO_TABLE)
    up, down = ([max(0.0, end - bar.value) if end == end else 0.0 for bar, end in zip(bars, ends, strict=True)]
                for ends in ([b.high for b in bars], [2 * b.value - b.low for b in bars]))  # fmt: skip
    figure = go.Figure()
    spread = {"type": "data", "symmetric": False, "array": plain(up), "arrayminus": plain(down), "color": INK}
    figure.add_bar(
        x=plain([bar.value for bar in bars]), y=[bar.name for bar in bars], orientation="h", error_x=spread,
        marker={"color": BLUE}, hovertext=[bar_words(bar) for bar in bars], hoverinfo="text",
    )  # fmt: skip
    if chance == chance:
        dashed = {"color": INK, "width": 1.5, "dash": "dash"}
        figure.add_vline(x=round(chance, 6), line=dashed, annotation_text="chance", annotation_position="top")
    tidy(figure, markup(title), height=120 + 28 * len(bars))
    figure.update_xaxes(title_text=METRICS[metric], range=[0, 1.02])
    return figure.update_yaxes(autorange="reversed", automargin=True, type="category")


def bar_words(bar: Bar) -> str:
    """A bar in words.

    >>> bar_words(Bar("aum", 0.937, 0.93, 0.944))
    'aum: 0.937 (0.930 to 0.944)'
    """
    interval = f" ({bar.low:.3f} to {bar.high:.3f})" if bar.low == bar.low else ""
    return f"{bar.name}: {bar.value:.3f}{interval}"


def precision_points(score: np.ndarray, wrong: np.ndarray, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """How many faces are looked at, most suspicious first, and which share of them has a wrong label.

    Of faces that tie the expected share counts. Two float64 arrays, empty without a score.

    >>> [values.tolist() for values in precision_points(np.array([3.0, 1.0, 2.0]), np.array([True, True, False]))]
    [[1.0, 2.0, 3.0], [1.0, 0.5, 0.6666666666666666]]
    """
    score, wrong = np.asarray(score, float), np.asarray(wrong, bool)
    known = np.isfinite(score)
    score, wrong = score[known], wrong[known]
    if not len(score):
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])  # the last of each run of ties
    hits = np.r_[0, wrong[order].cumsum()[ends]]
    k = np.unique(np.linspace(1, len(score), min(points, len(score))).round())
    return k, np.interp(k, np.r_[0, ends + 1], hits) / k


def precision_curves(scores: Mapping[str, np.ndarray], wrong: np.ndarray, title: str = "") -> go.Figure:
    """The share of wrong labels among the first k faces, most suspicious first, for each detector.

    The dotted line stands at k = the number of wrong labels, where precision at k is read; the dashed one is chance.

    Args:
        scores: ``[N]`` by detector, as `detector_scores` gives them.
        wrong: bool ``[N]``.
        title: text above.
    """
    wrong = np.asarray(wrong, bool)
    if not wrong.any():
        return sentence(NO_WRONG)
    figure = go.Figure()
    for number, (name, score) in enumerate(scores.items()):
        k, precision = precision_points(score, wrong)
        words = f"{markup(name)}: %{{y:.1%}} of the first %{{x:,}}<extra></extra>"
        figure.add_scatter(
            x=plain(k), y=plain(precision), mode="lines", name=name, line=line_of(number), hovertemplate=words
        )
    figure.add_hline(y=round(float(wrong.mean()), 6), line={"color": INK, "width": 1, "dash": "dash"})
    figure.add_vline(x=int(wrong.sum()), line={"color": INK, "width": 1, "dash": "dot"},
                     annotation_text=f"k = {int(wrong.sum()):,}", annotation_position="top")  # fmt: skip
    tidy(figure, markup(title), height=460)
    figure.update_xaxes(title_text="faces looked at, most suspicious first")
    return figure.update_yaxes(title_text="share with a wrong label", tickformat=".0%", range=[0, 1.02])


def line_of(number: int) -> dict:
    """Colour and dash of the number-th line: no two are alike until both have gone round."""
    return {"color": SERIES[number % len(SERIES)], "dash": DASHES[number // len(SERIES) % len(DASHES)], "width": 2}


class Ranks(NamedTuple):
    """Points of a picture of two detectors: the samples that have both ranks, and of which kind each is."""

    samples: np.ndarray
    across: np.ndarray
    up: np.ndarray
    kinds: np.ndarray  # keys of KINDS


def ranks_of(first: np.ndarray, second: np.ndarray, wrong: np.ndarray | None = None) -> Ranks:
    """The points that `rank_scatter` draws.

    Raises:
        DataError: the lengths differ.
    """
    if len(first) != len(second) or wrong is not None and len(wrong) != len(first):
        counts = f"{len(first):,} and {len(second):,} scores" + ("" if wrong is None else f" and {len(wrong):,} marks")
        raise DataError(f"There are {counts}: give one of each for every face.")
    known = np.flatnonzero(np.isfinite(np.asarray(first, float)) & np.isfinite(np.asarray(second, float)))
    kinds = np.full(len(known), "unknown") if wrong is None else np.where(np.asarray(wrong)[known], "wrong", "right")
    across, up = (suspicion_ranks(np.asarray(score, float)[known]) for score in (first, second))
    return Ranks(known, across, up, kinds)


def rank_scatter(
    first: np.ndarray,
    second: np.ndarray,
    wrong: np.ndarray | None = None,
    names: Sequence[str] = ("first", "second"),
    share: float | None = 0.1,
    title: str = "",
) -> go.Figure:
    """Each face by its rank in two detectors; where the two disagree it lies far from the diagonal.

    Args:
        first: scores ``[N]``, higher is more suspicious; NaN is left out.
        second: the same of another detector.
        wrong: whether each label is wrong, bool ``[N]``, or None where that is not known.
        names: of the two.
        share: lines cut off the most suspicious share by each; None: no lines.
        title: text above.
    """
    ranks = ranks_of(first, second, wrong)
    if not len(ranks.samples):
        return sentence(NO_RANKS)
    figure = go.Figure()
    for kind, (words, color, symbol) in KINDS.items():
        own = ranks.kinds == kind
        if not own.any():
            continue
        hover = f"sample %{{customdata}}<br>{markup(names[0])} %{{x:.1%}}<br>{markup(names[1])} %{{y:.1%}}"
        figure.add_trace({
            "type": "scattergl" if len(ranks.samples) > MANY else "scatter", "mode": "markers",
            "x": np.round(ranks.across[own], 4), "y": np.round(ranks.up[own], 4),
            "customdata": ranks.samples[own].astype(np.int32), "name": f"{words} ({own.sum():,})",
            "marker": {"color": color, "symbol": symbol, "size": 6, "opacity": 0.55},
            "hovertemplate": f"{hover}<extra>{words}</extra>",
        })  # fmt: skip
    if share is not None:
        for draw in (figure.add_vline, figure.add_hline):
            draw(1 - share, line={"color": INK, "width": 1.5, "dash": "dash"})
    tidy(figure, markup(title), height=560, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    room = {"range": [-0.02, 1.02], "tickformat": ".0%", "zeroline": False}
    figure.update_xaxes(title_text=axis_words(names[0], "right"), **room)
    return figure.update_yaxes(title_text=axis_words(names[1], "above"), **room)


def axis_words(name: str, end: str) -> str:
    """The label of an axis; ``end`` says where the suspicious are.

    >>> axis_words("aum", "right")
    'rank by aum (right: more suspicious)'
    """
    return f"rank by {name} ({end}: more suspicious)"


def groups_words(table: pd.DataFrame, names: Sequence[str], share: float) -> str:
    """Who agrees, in a sentence; ``table`` as `agreement_table` gives it.

    >>> table = pd.DataFrame({"group": ["both", "first", "second", "neither"], "n": [5, 1, 1, 90]})
    >>> groups_words(table, ("aum", "alpha"), 0.06)
    'Most suspicious 6 %: 5 faces by both, 1 face by aum alone, 1 face by alpha alone.'
    """
    whom = {"both": "by both", "first": f"by {names[0]} alone", "second": f"by {names[1]} alone"}
    parts = []
    for row in table.to_dict("records"):
        if row["group"] in whom:
            judged = f" ({row['wrong']:,} wrong)" if "wrong" in row else ""
            parts.append(f"{counted(row['n'], 'face')} {whom[row['group']]}{judged}")
    return f"Most suspicious {100 * share:.0f} %: {', '.join(parts)}."
