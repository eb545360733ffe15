"""How importance (alpha) is spread over the samples, and whether the two groups keep their distance."""

from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from scn_fastai.core.microscope import digits_apart
from scn_fastai.errors import DataError
from scn_fastai.plots.style import BLUE, INK, VERMILION, markup, plain, sentence, tidy, unseen_words

NOTHING_SEEN = "No sample was seen in this epoch, so there is no alpha to show."


class AlphaGroups(NamedTuple):
    """A histogram of alpha by group: edges ``[bins + 1]``, counts ``[bins]`` and mean of each group."""

    edges: np.ndarray
    counts: dict[str, np.ndarray]
    means: dict[str, float]
    unseen: int


def alpha_groups(alpha: np.ndarray, low: np.ndarray | None = None, bins: int = 40) -> AlphaGroups:
    """Count alpha ``[N]`` in bins for the high and the low group (``low``: bool ``[N]``), or for all samples.

    NaN means that a sample was not seen; such samples are counted apart.

    >>> groups = alpha_groups([0.2, 0.9, float("nan")], [True, False, False])
    >>> groups.means, groups.unseen
    ({'high': 0.9, 'low': 0.2}, 1)
    """
    alpha = np.asarray(alpha, dtype=float).ravel()
    low = None if low is None else np.asarray(low, dtype=bool).ravel()
    if low is not None and len(low) != len(alpha):
        raise DataError(f"There are {len(alpha):,} values of alpha but {len(low):,} groups: give one for each.")
    seen = np.isfinite(alpha)
    members = {"all": alpha[seen]} if low is None else {"high": alpha[seen & ~low], "low": alpha[seen & low]}
    # The axis fits the data in steps of 0.05: alphas that hardly differ would be one bar on an axis from 0 to 1.
    known = [values for values in members.values() if len(values)]
    first, last = (min(v.min() for v in known), max(v.max() for v in known)) if known else (0.0, 1.0)
    first, last = np.floor(first * 20) / 20, np.ceil(last * 20) / 20
    room = first, max(last, first + 0.05)
    edges = np.linspace(*room, bins + 1)
    counts = {name: np.histogram(values, bins, room)[0] for name, values in members.items()}  # quicker than by edges
    means = {name: float(values.mean()) for name, values in members.items() if len(values)}
    return AlphaGroups(edges, counts, means, int((~seen).sum()))


def gap_words(groups: AlphaGroups, margin: float | None = None) -> str:
    """The gap between the groups against the margin (SCN, Eq. 3), in words.

    >>> gap_words(alpha_groups([0.2, 0.9], [True, False]), margin=0.15)
    'alpha_H - alpha_L = 0.70, wider than the margin of 0.15: the rank loss is content'
    """
    if not {"high", "low"} <= set(groups.means):
        words = ", ".join(f"mean alpha {mean:.2f}" for mean in groups.means.values())
    else:
        gap = groups.means["high"] - groups.means["low"]
        digits = 2 if margin is None else digits_apart(gap, margin)
        words = f"alpha_H - alpha_L = {gap:.{digits}f}"
        if margin is not None and gap >= margin:
            words += f", wider than the margin of {margin:g}: the rank loss is content"
        elif margin is not None:
            words += f", narrower than the margin of {margin:g}: the rank loss pulls the groups apart"
    return "; ".join(part for part in (words, unseen_words(groups.unseen)) if part)


GROUPS = {
    "high": ("high group", BLUE, "alpha_H"),
    "low": ("low group", VERMILION, "alpha_L"),
    "all": ("all samples", BLUE, "mean"),
}


def alpha_histogram(
    alpha: np.ndarray, low: np.ndarray | None = None, margin: float | None = None, title: str = ""
) -> go.Figure:
    """Histogram of alpha: the two groups in colours, their means marked, the gap against the margin in the title.

    Args:
        alpha: ``[N]``, NaN where a sample was not seen.
        low: bool ``[N]``, who stands in the low-importance group; None draws one group.
        margin: rank margin (delta1), to compare the gap with.
        title: words before those on the gap.
    """
    groups = alpha_groups(alpha, low)
    if not groups.means:
        return sentence(NOTHING_SEEN)
    figure = go.Figure()
    middle, width = (groups.edges[:-1] + groups.edges[1:]) / 2, groups.edges[1] - groups.edges[0]
    for name in reversed(groups.counts):  # the low group at the bottom of the stack
        words, color, _ = GROUPS[name]
        counts = groups.counts[name]
        figure.add_bar(x=plain(middle), y=counts.tolist(), width=round(float(width), 6), marker_color=color,
                       name=f"{words} ({counts.sum():,})",
                       hovertemplate="alpha %{x:.3f}: %{y}<extra></extra>")  # fmt: skip
    for name, mean in groups.means.items():
        _mark_mean(figure, name, mean, groups)
    words = gap_words(groups, margin)
    head = f"{markup(title)}<br><span style='font-size:14px'>{words}</span>" if title else words
    legend = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right", "traceorder": "normal"}
    tidy(figure, head, barmode="stack", bargap=0.0, height=420, legend=legend)
    place = {"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 8}, "font": {"size": 18 if title else 15}}
    figure.update_layout(margin_t=100 if title else 75, title=place)
    figure.update_xaxes(title_text="importance (alpha)", range=plain(groups.edges[[0, -1]]))
    return figure.update_yaxes(title_text="samples")


def _mark_mean(figure: go.Figure, name: str, mean: float, groups: AlphaGroups) -> None:
    """A line at a group's mean, its word on the side that has room; alpha_L stands lower, so that they never meet."""
    _, color, symbol = GROUPS[name]
    place = (mean - groups.edges[0]) / (groups.edges[-1] - groups.edges[0])
    left = place > 0.2 if name == "low" else place > 0.8
    words = {"text": f"<b>{symbol} = {mean:.2f}</b>", "font": {"size": 15, "color": color}, "bgcolor": "white"}
    words |= {"yshift": -26 if name == "low" else 0, "opacity": 0.9}
    figure.add_vline(x=round(mean, 6), line={"color": INK, "width": 2, "dash": "dot" if name == "low" else "dash"},
                     annotation=words, annotation_position="top left" if left else "top right")  # fmt: skip
