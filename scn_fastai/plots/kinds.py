"""Importance (alpha) by kind of uncertainty: where we know which faces are uncertain, does alpha know it too?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.detect.groups import CERTAIN, auroc_by_kind
from scn_fastai.errors import DataError
from scn_fastai.plots.faces import Grid, draw_grid
from scn_fastai.plots.style import BLUE, INK, VERMILION, as_names, counted, markup, plain, sentence, tidy

NO_KINDS = "No face is known to be uncertain, so there is nothing to compare."
CERTAIN_WORDS = "certain"


def kind_table(alpha: np.ndarray, kinds: np.ndarray) -> pd.DataFrame:
    """A row a kind, the certain faces first, then from what alpha finds best to what it finds worst.

    Columns: kind, n, auroc (of 1 - alpha against the certain faces; NaN for those), and the quartiles of alpha q1,
    median, q3 and its 5th and 95th percentile low and high.

    Raises:
        DataError: the lengths differ.
    """
    alpha, kinds = np.asarray(alpha, float), np.asarray(kinds, dtype=object)
    if not (kinds == CERTAIN).any() or (kinds == CERTAIN).all():
        return pd.DataFrame()
    found = auroc_by_kind(1 - alpha, kinds)
    found = found[found["kind"] != "any"].sort_values("auroc", ascending=False, kind="stable")
    certain = {"kind": CERTAIN, "n": int((kinds == CERTAIN).sum()), "auroc": float("nan")}
    table = pd.concat([pd.DataFrame([certain]), found], ignore_index=True)
    shares = {"low": 5, "q1": 25, "median": 50, "q3": 75, "high": 95}
    for name, share in shares.items():
        table[name] = [_percentile(alpha[kinds == kind], share) for kind in table["kind"]]
    return table


def _percentile(values: np.ndarray, share: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.percentile(values, share)) if len(values) else float("nan")


def kind_words(row) -> str:
    """The label of a row: kind, number, AUROC."""
    name = CERTAIN_WORDS if row.kind == CERTAIN else row.kind.replace("_", " ")
    area = "" if np.isnan(row.auroc) else f", AUROC {row.auroc:.2f}"
    return f"{name} ({row.n:,}{area})"


def alpha_by_kind(alpha: np.ndarray, kinds: np.ndarray, title: str = "") -> go.Figure:
    """A box of alpha for each kind of uncertainty, with the AUROC of 1 - alpha against the certain faces.

    The box holds the middle half, the line in it is the median, the whiskers reach from the 5th to the 95th percentile;
    the dashed line is the median of the certain faces. AUROC 0.5: alpha tells nothing; below: it ranks them high.

    Args:
        alpha: ``[N]``, NaN where a sample was not seen.
        kinds: ``[N]``, ``'none'`` for certain faces.
        title: text above.
    """
    table = kind_table(alpha, kinds)
    if table.empty:
        return sentence(NO_KINDS)
    figure = go.Figure()
    for row in table[::-1].itertuples():
        box = {name: plain([getattr(row, name)]) for name in ("q1", "median", "q3")}
        fence = {"lowerfence": plain([row.low]), "upperfence": plain([row.high])}
        color = BLUE if row.kind == CERTAIN else VERMILION
        figure.add_box(y=[kind_words(row)], **box, **fence, orientation="h", showlegend=False, marker_color=color)
    figure.add_vline(x=round(float(table["median"][0]), 6), line={"color": INK, "width": 1, "dash": "dash"})
    tidy(figure, markup(title), height=120 + 34 * len(table))
    figure.update_layout(margin_l=10)
    figure.update_yaxes(automargin=True)
    return figure.update_xaxes(title_text="importance (alpha)")


def kind_ranking_grid(images, alpha, kinds, labels, classes=None, k: int = 4, title: str = "") -> Grid:
    """The grid that `kind_ranking` draws."""
    alpha, kinds = np.asarray(alpha, float), np.asarray(kinds, dtype=object)
    if not len(images) == len(alpha) == len(kinds) == len(labels):
        counts = f"{len(images)} faces, {len(alpha)} alphas, {len(kinds)} kinds and {len(labels)} labels"
        raise DataError(f"There are {counts}: give one of each for every face.")
    table = kind_table(alpha, kinds)
    chosen, slots, titles = [], [], []
    for row, kind in enumerate(table["kind"] if len(table) else []):
        own = np.flatnonzero((kinds == kind) & np.isfinite(alpha))
        own = own[np.argsort(alpha[own], kind="stable")]
        few = max(1, min(k, len(own) // 2)) if len(own) else 0
        picked = [*own[:few], *own[few:][-few:]] if few else []
        chosen += picked
        slots += [2 * k * row + (i if i < few else 2 * k - len(picked) + i) for i in range(len(picked))]
        titles.append(CERTAIN_WORDS if kind == CERTAIN else kind.replace("_", "\n"))
    names = as_names(np.asarray(labels)[chosen], classes) if chosen else []
    captions = [f"{name}\nα {alpha[i]:.4f}" for name, i in zip(names, chosen, strict=True)]
    shown = np.asarray(images[np.array(chosen, int)]) if chosen else np.asarray(images[:0])
    return Grid(shown, captions, None, 2 * k, slots=slots, row_titles=titles, title=title)


def kind_ranking(images, alpha, kinds, labels, classes=None, k: int = 4, title: str = "") -> go.Figure:
    """A row for each kind of uncertainty: its k faces of lowest alpha on the left, its k of highest on the right.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        alpha: ``[N]``, NaN where a sample was not seen.
        kinds: ``[N]``, ``'none'`` for certain faces.
        labels: ``[N]``, names, or codes into ``classes``.
        classes: class names.
        k: faces on each side.
        title: text above.
    """
    grid = kind_ranking_grid(images, alpha, kinds, labels, classes, k, title)
    return draw_grid(grid) if len(grid.images) else sentence(NO_KINDS)


def uncertain_words(kinds: np.ndarray) -> str:
    """How many of the faces are known to be uncertain.

    >>> uncertain_words(np.array(["none", "blur", "none"]))
    '1 face of 3 is known to be uncertain.'
    """
    n = int((np.asarray(kinds, dtype=object) != CERTAIN).sum())
    return f"{counted(n, 'face')} of {len(kinds):,} {'is' if n == 1 else 'are'} known to be uncertain."
