"""A table of the paper beside ours: what we measured, what was printed, and whether the claim holds."""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.errors import DataError
from scn_fastai.plots import page as html
from scn_fastai.plots.ablation import figure5, module_dots, setting_curve
from scn_fastai.plots.comparison import paired_gap
from scn_fastai.plots.noise import noise_levels
from scn_fastai.plots.style import GREY, SERIES, counted, plain, sentence, tidy

HOLDS, UNDECIDED, FAILS, UNKNOWN = "holds", "not decided", "does not hold", "no runs"
_CURVES = "Mean over the seeds, last epoch; the bars are their standard deviation, a mark is one training."
# What draws an experiment, and how that is read.
PICTURES = {
    "table2": (noise_levels, "A mark is the mean over the seeds, last epoch, the bars are their standard deviation."),
    "table5": (module_dots, "A mark is one training, last epoch, and the bar the mean of its row."),
    "table6": (setting_curve, _CURVES),
    "fig5": (figure5, _CURVES),
}
READ = {
    "lines": "Each line was trained once for every seed; accuracy is that on the validation faces, as mean ± standard "
    "deviation. “Last epoch” is what you get without knowing the answers, “best epoch” looks at them. The paper's "
    "figures are from its own data, network and pretraining: compare the order of the lines, not the numbers.",
    "detectors": "How well each score parts wrong labels from right ones, mean over the seeds: 100 is perfect, 50 is "
    "chance, and below 50 it parts them the other way round.",
    "claims": "A claim is a sentence of the paper about two lines. Runs of the same seed are compared with each other, "
    "last epoch: the claim holds if the 95 % interval of the difference lies above 0, does not hold if it lies below, "
    "and is not decided if it holds 0, for then chance alone may explain the difference.",
}


def paper_lines(results: pd.DataFrame) -> pd.DataFrame:
    """A row of texts per line of the table, in the paper's order: ours (last and best epoch), the paper's figures.

    Args:
        results: a row per run with line, order, seed, accuracy_last, accuracy_best, the paper's figures in columns
            ``paper ...`` (percent), and ``error`` where a run failed.

    Raises:
        DataError: a column is missing.
    """
    _need(results)
    printed = [name for name in results if name.startswith("paper ")]
    rows = []
    for _, runs in sorted(results.groupby("order", sort=False), key=lambda pair: pair[0]):
        last, best = (pd.to_numeric(runs[f"accuracy_{kind}"], errors="coerce").dropna() for kind in ("last", "best"))
        row = {"line": runs["line"].iloc[0], "seeds": len(last), "ours, last epoch": _spread(last)}
        row["ours, best epoch"] = _spread(best)
        for name in printed:
            value = pd.to_numeric(runs[name], errors="coerce").iloc[0]
            row[name] = "–" if np.isnan(value) else f"{value:.2f}"
        failed = int(runs["error"].notna().sum()) if "error" in runs else 0
        rows.append(row | ({"failed": failed} if "error" in results else {}))
    return pd.DataFrame(rows)


def claims_table(results: pd.DataFrame, claims: list[dict]) -> pd.DataFrame:
    """A row per claim: text, difference of the two lines over common seeds with its 95 % interval, and the verdict.

    >>> runs = pd.DataFrame({"line": ["a"] * 2 + ["b"] * 2, "order": [0, 0, 1, 1],
    ...     "seed": [0, 1, 0, 1], "accuracy_last": [0.70, 0.71, 0.60, 0.61], "accuracy_best": [0.7, 0.71, 0.6, 0.61]})
    >>> claims_table(runs, [{"text": "a beats b", "better": "a", "than": "b"}]).verdict.tolist()
    ['holds']
    """
    _need(results)
    rows = []
    for claim in claims:
        better, than = (_by_seed(results, claim[side]) for side in ("better", "than"))
        mean, half = paired_gap(better, than)
        rows.append({"claim": claim["text"], "difference": _gap(mean, half), "verdict": verdict(mean, half),
                     "points": 100 * mean, "half": 100 * half})  # fmt: skip
    return pd.DataFrame(rows, columns=["claim", "difference", "verdict", "points", "half"])


def verdict(mean: float, half: float) -> str:
    """Whether a difference of this mean and half interval is above 0; one seed decides nothing.

    >>> verdict(0.02, 0.01), verdict(0.02, 0.03), verdict(-0.02, 0.01), verdict(0.02, float("nan"))
    ('holds', 'not decided', 'does not hold', 'not decided')
    """
    if np.isnan(mean):
        return UNKNOWN
    if np.isnan(half) or abs(mean) <= half:
        return UNDECIDED
    return HOLDS if mean > 0 else FAILS


def claims_figure(table: pd.DataFrame, title: str = "") -> go.Figure:
    """Each claim's difference with its interval: right of 0 the paper's order holds.

    Args:
        table: of `claims_table`.
        title: text above.
    """
    shown = table[np.isfinite(table["points"])] if len(table) else table
    if not len(shown):
        return sentence("No claim has runs on both sides.")
    colors = {HOLDS: SERIES[0], FAILS: SERIES[1], UNDECIDED: GREY}
    figure = go.Figure()
    for kind, color in colors.items():
        mine = shown[shown["verdict"] == kind]
        if len(mine):
            error = {"type": "data", "array": plain(mine["half"].fillna(0)), "thickness": 2, "width": 6}
            figure.add_scatter(x=plain(mine["points"]), y=mine["claim"].tolist(), mode="markers", name=kind,
                               error_x=error, marker={"color": color, "size": 12})  # fmt: skip
    figure.add_vline(x=0, line={"color": GREY, "dash": "dot"})
    tidy(figure, title, height=160 + 44 * len(shown))
    figure.update_xaxes(title_text="difference in accuracy, points (95 % interval over paired seeds)")
    order = shown["claim"].tolist()[::-1]
    return figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True, type="category")


def write_experiment(
    results: pd.DataFrame, about: dict, path: str | Path, detectors: pd.DataFrame | None = None
) -> Path:
    """Write one HTML file with an experiment's lines, its picture and its claims; returns its path.

    Args:
        results: see `paper_lines`; for the pictures of settings and modules also a column for each SCN setting.
        about: the experiment's description: experiment (its name), title, about (its size in words), claims.
        path: of the HTML file.
        detectors: AUROC in % of each detector (rows) and line (columns), where they were asked.

    Raises:
        DataError: a column is missing.
    """
    title, claims = about["title"], claims_table(results, about["claims"])
    lead = f"{counted(len(results), 'training')} on {about['about']}."
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        html.paragraph(lead, "lead"),
        html.section("lines", "The lines", [html.how_to_read(READ["lines"]), html.html_table(paper_lines(results))]),
    ]
    if about.get("experiment") in PICTURES:
        shown = results[results["rank"].notna()] if "rank" in results else results  # a recipe that is known here
        draw, words = PICTURES[about["experiment"]]
        drawn = html.figure_html(draw(shown), "picture")
        parts.append(html.section("picture", "The picture", [html.how_to_read(words), drawn]))
    if detectors is not None:
        words = html.html_table(detectors.round(1).astype(object).fillna("–").rename_axis("AUROC, %").reset_index())
        parts.append(html.section("detectors", "The detectors", [html.how_to_read(READ["detectors"]), words]))
    if len(claims):
        shown = html.figure_html(claims_figure(claims), "claims")
        words = html.html_table(claims[["claim", "difference", "verdict"]])
        parts.append(html.section("claims", "The paper's claims", [html.how_to_read(READ["claims"]), shown, words]))
    if "error" in results and results["error"].notna().any():
        failed = results[results["error"].notna()][["line", "seed", "error"]]
        parts.append(html.section("failed", "Runs that failed", [html.html_table(failed)]))
    return html.write_page(path, html.page(title, "\n".join(parts)))


def _need(results: pd.DataFrame) -> None:
    for name in ("line", "order", "seed", "accuracy_last", "accuracy_best"):
        if name not in results:
            raise DataError(f"The results lack the column {name!r}: pass the table that an experiment wrote.")


def _by_seed(results: pd.DataFrame, line: str) -> pd.Series:
    mine = results[results["line"] == line].set_index("seed")["accuracy_last"]
    return pd.to_numeric(mine, errors="coerce").dropna()


def _spread(values: pd.Series) -> str:
    if not len(values):
        return "–"
    return f"{100 * values.mean():.2f}" + (f" ± {100 * values.std():.2f}" if len(values) > 1 else "")


def _gap(mean: float, half: float) -> str:
    if np.isnan(mean):
        return "–"
    words = f"{100 * mean:+.2f}"
    return words if np.isnan(half) else f"{words} ({100 * (mean - half):+.2f} to {100 * (mean + half):+.2f})"
