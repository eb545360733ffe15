"""The report of a comparison: recipes side by side, with their spread over seeds."""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import t as student_t

from scn_fastai.errors import DataError
from scn_fastai.plots import page as html
from scn_fastai.plots.curves import compare_curves
from scn_fastai.plots.style import SERIES, counted, plain, sentence, tidy

NO_FIGURE = "No run has this figure."
READ = {
    "table": "Each recipe was trained once for every seed; a seed fixes what is left to chance. Accuracy is that on "
    "the validation faces, as mean ± standard deviation over the seeds. “Last epoch” is what you get without knowing "
    "the answers; “best epoch” picks the epoch by looking at them, so it flatters. “Minus {base}” compares runs of the "
    "same seed with each other: when its 95 % interval holds 0, chance alone may explain the difference.",
    "dots": "A dot is one training; a bar is the mean of its recipe. Recipes whose dots overlap are hard to tell apart "
    "with so few seeds.",
    "curves": "The line is the mean over the seeds, the band runs from the lowest to the highest of them. A curve that "
    "rises and then sinks is the mark of a network that learns wrong labels by heart.",
}
SHARES = {
    "label_accuracy_before": "true labels before",
    "label_accuracy_after": "true labels after",
    "relabel_precision": "relabel precision",
    "relabel_recall": "relabel recall",
    "relabel_harm": "harm",
}


def paired_gap(mine: pd.Series, base: pd.Series) -> tuple[float, float]:
    """Mean difference over the seeds that both have (the index), and half its 95 % interval (NaN for one seed).

    >>> mean, half = paired_gap(pd.Series([0.6, 0.7, 0.8]), pd.Series([0.5, 0.6, 0.6]))
    >>> round(mean, 3), round(half, 3)
    (0.133, 0.143)
    """
    gap = (mine - base).dropna()
    if not len(gap):
        return float("nan"), float("nan")
    half = student_t.ppf(0.975, len(gap) - 1) * gap.std() / np.sqrt(len(gap)) if len(gap) > 1 else float("nan")
    return float(gap.mean()), float(half)


def against(
    table: pd.DataFrame, figure: str = "accuracy_last", baseline: str = "plain"
) -> dict[str, tuple[float, float]]:
    """`paired_gap` of every other recipe and the baseline, in points, by recipe.

    Args:
        table: a row per run with recipe, seed and ``figure``, a share.
        figure: the column that is compared.
        baseline: the recipe that the others are compared with.

    >>> runs = pd.DataFrame({"recipe": ["plain", "elr"] * 2, "seed": [0, 0, 1, 1]})
    >>> runs["accuracy_last"] = [0.6, 0.7, 0.5, 0.6]
    >>> {name: round(mean, 1) for name, (mean, _) in against(runs).items()}
    {'elr': 10.0}
    """
    base, names = _by_seed(table, baseline, figure), table["recipe"].drop_duplicates()
    gaps = {name: paired_gap(_by_seed(table, name, figure), base) for name in names if name != baseline}
    return {name: (100 * mean, 100 * half) for name, (mean, half) in gaps.items()}


def recipe_table(table: pd.DataFrame, baseline: str = "plain") -> pd.DataFrame:
    """A row of texts per recipe: seeds, accuracies with spread, difference to the baseline, label figures, time.

    Args:
        table: a row per run with recipe, seed, accuracy_last, accuracy_best and what else is known.
        baseline: the recipe that the others are compared with, where it is there.
    """
    rows, base = [], _by_seed(table, baseline, "accuracy_last")
    for name in table["recipe"].drop_duplicates():
        last, best = (_by_seed(table, name, f"accuracy_{kind}") for kind in ("last", "best"))
        row = {"recipe": name, "seeds": len(last), "last epoch": _spread(last), "best epoch": _spread(best)}
        if len(base):
            row[f"minus {baseline} (95 % interval)"] = "–" if name == baseline else _gap_words(*paired_gap(last, base))
        for column, words in SHARES.items():
            if column in table and pd.to_numeric(table[column], errors="coerce").notna().any():
                row[words] = html.number(float(_by_seed(table, name, column).mean()), missing="–")
        if "seconds" in table:
            row["time a run"] = html.duration(float(_by_seed(table, name, "seconds").mean()))
        rows.append(row)
    return pd.DataFrame(rows)


def waiting_words(table: pd.DataFrame) -> list[str]:
    """A sentence per recipe whose SCN waited in some runs until they ended, so that these were ordinary trainings.

    >>> waiting_words(pd.DataFrame({"recipe": ["default"], "seed": [0], "alpha_doctor": ["not begun"], "changed": [0]}))
    ['default: SCN never began in 1 of 1 run, which was an ordinary training: too few labels ... too late.']
    """
    if not {"alpha_doctor", "changed"} <= set(table):
        return []
    waited = (table["alpha_doctor"] == "not begun") & (table["changed"] == 0)
    words = []
    for name, own in waited.groupby(table["recipe"], sort=False):
        if own.any():
            was = "which was an ordinary training" if own.sum() == 1 else "which were ordinary trainings"
            words.append(
                f"{name}: SCN never began in {own.sum()} of {counted(len(own), 'run')}, {was}: too few labels looked "
                "wrong (noise_needed), ever fewer did (noise_steady), or predictions settled too late."
            )
    return words


def _by_seed(table: pd.DataFrame, recipe: str, column: str) -> pd.Series:
    mine = table[table["recipe"] == recipe].set_index("seed")
    return pd.to_numeric(mine[column], errors="coerce") if column in mine else pd.Series(dtype=float)


def _spread(values: pd.Series) -> str:
    mean, sd = html.number(float(values.mean()), missing="–"), float(values.std())
    return f"{mean} ± {100 * sd:.1f}" if sd == sd else mean


def _gap_words(mean: float, half: float) -> str:
    if mean != mean:
        return "no common seed"
    points = f"{100 * mean:+.1f} points"
    return points if half != half else f"{points} ({100 * (mean - half):+.1f} to {100 * (mean + half):+.1f})"


def accuracy_dots(table: pd.DataFrame, column: str = "accuracy_last", title: str = "") -> go.Figure:
    """A dot per run and a bar at each recipe's mean.

    Args:
        table: a row per run with recipe, seed and ``column``.
        column: which figure, a share of 1.
        title: text above.
    """
    figure = go.Figure()
    for number, name in enumerate(table["recipe"].drop_duplicates()):
        values, color = _by_seed(table, name, column).dropna(), SERIES[number % len(SERIES)]
        if not len(values):
            continue
        words = [f"seed {seed}: {value:.1%}" for seed, value in values.items()]
        figure.add_scatter(x=plain(values), y=[name] * len(values), mode="markers", name=name, hovertext=words,
                           hoverinfo="text+y", marker={"color": color, "size": 13, "opacity": 0.75})  # fmt: skip
        mark = {"symbol": "line-ns-open", "size": 34, "color": color, "line": {"width": 4}}
        figure.add_scatter(x=plain([values.mean()]), y=[name], mode="markers+text", name=f"{name}, mean", marker=mark,
                           text=[f"{values.mean():.1%}"], textposition="top center", textfont={"size": 15},
                           hoverinfo="skip")  # fmt: skip
    if not figure.data:
        return sentence(NO_FIGURE)
    recipes = table["recipe"].nunique()
    tidy(figure, title, height=110 + 80 * recipes, showlegend=False)
    figure.update_xaxes(title_text="validation accuracy", tickformat=".3~p")
    return figure.update_yaxes(range=[recipes - 0.4, -0.75], automargin=True, type="category")


def write_comparison(
    table: pd.DataFrame, curves: dict[str, list[pd.DataFrame]], path: str | Path, baseline: str = "plain"
) -> Path:
    """Write one HTML file about several recipes and seeds that opens anywhere; returns its path.

    Args:
        table: a row per run with recipe, seed, accuracy_last, accuracy_best and what else is known
            (relabel_precision, label_accuracy_after, seconds, ...).
        curves: per recipe a list with the epoch table of each seed.
        path: of the HTML file; what stands there is replaced when the new one is whole.
        baseline: the recipe that the others are compared with.

    Raises:
        DataError: a column is missing or there is no run.
        RunError: the file cannot be written.
    """
    missing = [name for name in ("recipe", "seed", "accuracy_last", "accuracy_best") if name not in table]
    if missing or not len(table):
        lack = f"the column {missing[0]!r}" if missing else "a run"
        raise DataError(f"The comparison lacks {lack}: pass a row per run with its recipe, seed and accuracies.")
    recipes, seeds = (counted(table[name].nunique(), name) for name in ("recipe", "seed"))
    lead = f"{counted(len(table), 'training')}: {recipes}, {seeds}."
    figures = [html.how_to_read(READ["table"].format(base=baseline)), html.html_table(recipe_table(table, baseline))]
    figures += [html.paragraph(words) for words in waiting_words(table)]
    parts = [
        "<h1>SCN: recipes side by side</h1>",
        html.paragraph(lead, "lead"),
        html.section("table", "The figures", figures),
        html.section("dots", "Every run, last epoch",
                     [html.how_to_read(READ["dots"]), html.figure_html(accuracy_dots(table), "dots")]),
        html.section("curves", "Accuracy, epoch by epoch",
                     [html.how_to_read(READ["curves"]), html.figure_html(compare_curves(curves), "curves")]),
        html.section("runs", "All runs", [html.html_table(_run_table(table))]),
    ]  # fmt: skip
    return html.write_page(path, html.page("SCN: recipes side by side", "\n".join(parts)))


def _run_table(table: pd.DataFrame) -> pd.DataFrame:
    """Every run as a row of texts."""
    rows = []
    for run in table.to_dict("records"):
        row = {"recipe": run["recipe"], "seed": run["seed"]}
        row |= {kind: html.number(run[f"accuracy_{kind}"], missing="–") for kind in ("last", "best")}
        row |= {words: html.number(run[column], missing="–") for column, words in SHARES.items() if column in table}
        if "changed" in table:
            row["labels changed"] = html.number(run["changed"], ",.0f", "–")
        rows.append(row | ({"time": html.duration(run["seconds"])} if "seconds" in table else {}))
    return pd.DataFrame(rows)
