"""Wrong labels, few and many: accuracy against their share, and how a training comes to see that share."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scn_fastai.errors import DataError
from scn_fastai.plots.ablation import training_words
from scn_fastai.plots.style import BLUE, DASHES, GREY, SERIES, VERMILION, plain, sentence, tidy

NO_RUNS = "No run has labels that were made wrong."
NO_ESTIMATES = "No epoch has an estimate of the share of wrong labels."
NAMES = {"plain": "plain network", "paper": "SCN as printed", "default": "our default"}
NAMES |= {"curriculumnet": "CurriculumNet", "metacleaner": "MetaCleaner"}
COLORS = {"plain": GREY, "paper": VERMILION, "default": BLUE}
LEVELS = {"x": "labels made wrong, %", "y": "validation accuracy, %", "printed": "the paper", "ours": "here"}
ESTIMATES = {"x": "epoch", "y": "labels that look wrong, %", "left": "left of two epochs before, %"}
ESTIMATES |= {"begin": "relabeling begins", "needed": "needed", "early": "needed", "late": "needed, second half"}
LEFT_RANGE = [55, 105]  # %; what falls faster is far from what is needed


class Level(NamedTuple):
    """A recipe through the shares of wrong labels: mean and spread over the seeds, and the paper's figures, in %."""

    name: str
    color: str
    dash: str  # of its kind of noise
    share: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    printed: np.ndarray


class Estimate(NamedTuple):
    """The estimates of a training, and where its relabeling began (NaN: never)."""

    name: str
    color: str
    dash: str
    first: bool  # of its name: the one that the legend shows
    epoch: np.ndarray
    percent: np.ndarray
    left: np.ndarray  # of the percentage of two epochs before, in %; NaN where there is none
    begin: float


def levels_of(results: pd.DataFrame, printed: str = "paper FERPlus") -> list[Level]:
    """A `Level` for each recipe and kind of noise; its printed figures are NaN where the paper has none.

    Raises:
        DataError: a column is missing.
    """
    _need(results, ("recipe", "noise", "accuracy_last"))
    wrong, levels = results[results["noise"] > 0], []
    kinds = wrong["noise_kind"].astype(str) if "noise_kind" in wrong else pd.Series("", wrong.index)
    if "data" in wrong and wrong["data"].nunique() > 1:
        kinds = kinds + " (" + wrong["data"].astype(str) + ")"
    kinds = kinds + training_words(wrong)  # what trained otherwise is a line of its own
    known, recipes = kinds.unique().tolist(), wrong["recipe"].unique().tolist()
    for (recipe, kind), runs in wrong.groupby([wrong["recipe"], kinds], sort=False):
        own = runs.groupby("noise")
        figures = own[printed].mean() if printed in runs else own["noise"].mean() * np.nan
        mean, sd = 100 * own["accuracy_last"].mean(), 100 * own["accuracy_last"].std()
        color = COLORS.get(recipe, SERIES[(recipes.index(recipe) + 2) % len(SERIES)])
        name = NAMES.get(recipe, recipe) + (f", {kind.removeprefix(', ')}" if len(known) > 1 else "")
        arrays = (v.to_numpy(float) for v in (mean, sd, figures))
        dash = DASHES[known.index(kind) % len(DASHES)]
        levels.append(Level(name, color, dash, 100 * mean.index.to_numpy(float), *arrays))
    return levels


def noise_levels(results: pd.DataFrame, printed: str = "paper FERPlus", title: str = "") -> go.Figure:
    """Accuracy against the share of wrong labels, a line per recipe: the paper's figures left, ours right (Table 2).

    Args:
        results: a row per run with recipe, noise (a share), accuracy_last, and the paper's figures in ``printed``;
            where ``noise_kind`` has several kinds, each is a line of its own.
        printed: column of the paper's figures, in %.
        title: text above.

    Raises:
        DataError: a column is missing.
    """
    levels = levels_of(results, printed)
    if not levels:
        return sentence(NO_RUNS)
    figure = make_subplots(1, 2, subplot_titles=(LEVELS["printed"], LEVELS["ours"]), horizontal_spacing=0.1)
    for level in levels:
        line = {"color": level.color, "dash": level.dash}
        look = {"mode": "lines+markers", "line": line, "marker": {"size": 9}, "name": level.name}
        if np.isfinite(level.printed).any():
            figure.add_scatter(
                x=plain(level.share), y=plain(level.printed), **look, showlegend=False, legendgroup=level.name,
                row=1, col=1,
            )  # fmt: skip
        error = {"type": "data", "array": plain(np.nan_to_num(level.sd))}
        figure.add_scatter(
            x=plain(level.share), y=plain(level.mean), **look, error_y=error, legendgroup=level.name, row=1, col=2
        )
    tidy(figure, title, height=380)
    return figure.update_xaxes(title_text=LEVELS["x"]).update_yaxes(title_text=LEVELS["y"], col=1)


def estimates_of(epochs: pd.DataFrame) -> list[Estimate]:
    """An `Estimate` for each run: a colour for each kind of labels, a dash for each number of faces (none: all).

    Raises:
        DataError: a column is missing.
    """
    _need(epochs, ("labels", "faces", "seed", "epoch", "noise_estimate", "relabeling"))
    known = epochs[epochs["noise_estimate"].notna()].assign(faces=epochs["faces"].fillna(np.inf))
    if "data" in known and known["data"].nunique() > 1:
        known["labels"] = known["labels"] + " (" + known["data"] + ")"
    kinds, faces = sorted(known["labels"].unique()), sorted(known["faces"].unique())
    found, seen = [], set()
    same = ["labels", "faces", "seed", *(["epochs"] if "epochs" in known else [])]
    for (labels, count, *_), run in known.groupby(same):
        name = f"{labels}, {'all' if np.isinf(count) else f'{count:,.0f}'} faces"
        begun = run.loc[run["relabeling"].astype(bool), "epoch"]
        color, dash = SERIES[kinds.index(labels) % len(SERIES)], DASHES[faces.index(count) % len(DASHES)]
        begin = float(begun.min()) if len(begun) else float("nan")
        share = run.set_index("epoch")["noise_estimate"]
        before = share.where(share > 0).reindex(share.index - 2).to_numpy(float)
        epoch, percent = share.index.to_numpy(float), 100 * share.to_numpy(float)
        found.append(Estimate(name, color, dash, name not in seen, epoch, percent, percent / before, begin))
        seen.add(name)
    return found


def noise_estimates(
    epochs: pd.DataFrame, needed: float = 0.08, steady: tuple[float, float] = (0.9, 0.85), title: str = ""
) -> go.Figure:
    """The share of labels that look wrong through trainings, and what is left of it two epochs later.

    A line per run, a dot where relabeling began; dotted lines: what both must reach for that (`noise_shows`).

    Args:
        epochs: a row per run and epoch with labels (what is wrong with them), faces, seed, epoch, noise_estimate (a
            share) and relabeling (whether it was at work).
        needed: share from which relabeling may begin.
        steady: what must be left of the share of two epochs before, and in the second half of a training.
        title: text above.

    Raises:
        DataError: a column is missing.
    """
    runs = estimates_of(epochs)
    if not runs:
        return sentence(NO_ESTIMATES)
    figure = make_subplots(1, 2, horizontal_spacing=0.1)
    for run in runs:
        _add_estimate(figure, run, run.percent, col=1)
        _add_estimate(figure, run, run.left, col=2)
    for col, share, words in ((1, needed, "needed"), (2, steady[0], "early"), (2, steady[1], "late")):
        line = {"color": GREY, "dash": "dot"}
        figure.add_hline(y=100 * share, line=line, annotation_text=ESTIMATES[words], row=1, col=col)
    tidy(figure, title, height=420).update_xaxes(title_text=ESTIMATES["x"])
    figure.update_yaxes(title_text=ESTIMATES["y"], rangemode="tozero", col=1)
    return figure.update_yaxes(title_text=ESTIMATES["left"], range=LEFT_RANGE, col=2)


def _add_estimate(figure: go.Figure, run: Estimate, percent: np.ndarray, col: int) -> None:
    look = {"name": run.name, "legendgroup": run.name, "line": {"color": run.color, "dash": run.dash}}
    look |= {"mode": "lines", "showlegend": run.first and col == 1}
    figure.add_scatter(x=plain(run.epoch), y=plain(percent), **look, row=1, col=col)
    at = run.epoch == run.begin
    if at.any():
        marker = {"color": run.color, "size": 11}
        figure.add_scatter(
            x=plain(run.epoch[at]), y=plain(percent[at]), mode="markers", marker=marker, showlegend=False,
            legendgroup=run.name, name=ESTIMATES["begin"], row=1, col=col,
        )  # fmt: skip


def _need(table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for name in columns:
        if name not in table:
            raise DataError(f"The table lacks the column {name!r}: pass the results of an experiment, or its epochs.")
