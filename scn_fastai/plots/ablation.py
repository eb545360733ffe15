"""What each part of SCN and each of its settings does, over many runs: the layouts of Table 5, Table 6 and Fig. 5."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scn_fastai.errors import DataError
from scn_fastai.plots.style import DASHES, GREY, SERIES, counted, markup, plain, sentence, tidy

MODULES = ("weight", "rank", "relabel")
TABLE5 = ("none", "relabel", "rank", "weight", "weight + rank", "weight + rank + relabel")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star")
FIGURES = {
    "accuracy_last": "accuracy, last epoch",
    "accuracy_best": "accuracy, best epoch",
    "label_accuracy_after": "true labels after training",
    "relabel_precision": "relabel precision",
    "relabel_recall": "relabel recall",
    "relabel_harm": "harm (changed, was true)",
    "auroc_alpha": "AUROC of 1 - alpha for wrong labels",
}
SETTINGS = {
    "gamma": "gamma, weight of RR against WCE (Table 6)",
    "rank_margin": "rank margin (delta1)",
    "relabel_margin": "relabel margin (delta2)",
    "beta": "beta, share of the high group",
}
FIGURE5 = ("rank_margin", "relabel_margin", "beta")
TRAINING = {
    "arch": str,
    "pretrained": lambda value: "from scratch" if pd.isna(value) else f"from {value}",
    "n_train": lambda value: f"{value:,.0f} faces",
    "epochs": lambda value: f"{value:.0f} epochs",
}
BASELINE = "plain"
NO_RUN = "No run has this figure."


class Point(NamedTuple):
    """Runs that differ by their seed alone: where they stand, their values, and the rows of the table they are."""

    x: float | str
    values: np.ndarray
    rows: np.ndarray

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """Standard deviation over the seeds, NaN for one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else float("nan")


def modules_of(table: pd.DataFrame) -> list[str]:
    """Which of the three modules each run had, in words.

    >>> modules_of(pd.DataFrame({"weight": [True, False], "rank": [True, False], "relabel": [False, False]}))
    ['weight + rank', 'none']
    """
    _need(table, MODULES)
    on = table[list(MODULES)].astype(bool).to_numpy()
    return [" + ".join(name for name, there in zip(MODULES, row, strict=True) if there) or "none" for row in on]


def points_of(table: pd.DataFrame, x: str, y: str = "accuracy_last", family: str = "recipe") -> dict[str, list[Point]]:
    """The runs by family (the recipe without the setting that is varied), and in it by the value of ``x``, ascending.

    Raises:
        DataError: a column is missing.
    """
    _need(table, (x, y, family))
    values = pd.to_numeric(table[y], errors="coerce")
    families, labels = [_family(name, x) for name in table[family]], labels_of(table)
    if labels.nunique() > 1:
        families = [f"{name}, {words}" for name, words in zip(families, labels, strict=True)]
    known = table.assign(_y=values, _row=np.arange(len(table)), _family=families)
    known = known[known["_y"].notna()]
    if "folder" in known:  # lines of an experiment may share a training: it counts once
        known = known.drop_duplicates(["folder", "_y"])
    found = {}
    for name, own in known.groupby("_family", sort=False):
        points = [Point(at, g["_y"].to_numpy(), g["_row"].to_numpy()) for at, g in own.groupby(x, sort=True)]
        found[str(name)] = points
    return found


def setting_curve(table: pd.DataFrame, x: str = "gamma", y: str = "accuracy_last", title: str = "") -> go.Figure:
    """A figure against a setting (Table 6, a panel of Fig. 5): the mean of the seeds as a line, each run as a mark.

    The marks of runs carry the row of the table in ``customdata``, so that a click can open the run. The plain network,
    where it was trained too, is a dashed level.

    Args:
        table: a row per run, as `runs_in` gives it.
        x: a setting: gamma, rank_margin, relabel_margin, beta, or any column.
        y: a figure, see FIGURES.
        title: text above.

    Raises:
        DataError: a column is missing.
    """
    figure, found = go.Figure(), varied(table, x, y)
    for number, (name, points) in enumerate((found or points_of(table, x, y)).items()):
        _add_points(figure, name, points, number)
    if not figure.data:
        return sentence(NO_RUN)
    _add_baselines(figure, baselines(table, x, y), found)
    tidy(figure, markup(title), height=460, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text=SETTINGS.get(x, x))
    return figure.update_yaxes(title_text=FIGURES.get(y, y), tickformat=".1%")


def _add_points(figure: go.Figure, name: str, points: list[Point], number: int, **place) -> None:
    color, symbol = SERIES[number % len(SERIES)], SYMBOLS[number % len(SYMBOLS)]
    spread = [p.sd if np.isfinite(p.sd) else 0.0 for p in points]
    figure.add_scatter(x=[p.x for p in points], y=plain([p.mean for p in points]), name=markup(name), legendgroup=name,
                       mode="lines", line={"color": color, "width": 3}, hoverinfo="skip", **place,
                       error_y={"type": "data", "array": plain(spread), "thickness": 2, "width": 6})  # fmt: skip
    x, y = [p.x for p in points for _ in p.values], np.concatenate([p.values for p in points])
    rows = np.concatenate([p.rows for p in points]).tolist()
    figure.add_scatter(x=x, y=plain(y), mode="markers", legendgroup=name, showlegend=False, customdata=rows,
                       name=markup(name), marker={"color": color, "symbol": symbol, "size": 11, "opacity": 0.75},
                       hovertemplate="%{x}: %{y:.1%}<extra>" + markup(name) + "</extra>", **place)  # fmt: skip


def _add_baselines(figure: go.Figure, means: dict[str, float], found: dict[str, list[Point]], **place) -> None:
    """A level for each plain family, as wide as the curves beside it."""
    if not found:
        return
    ends = span_of(found)
    for number, (name, mean) in enumerate(means.items()):
        figure.add_scatter(x=ends, y=plain([mean] * 2), name=markup(name), legendgroup=name, mode="lines",
                           line={"color": GREY, "width": 2, "dash": DASHES[(number + 1) % len(DASHES)]},
                           hovertemplate="%{y:.1%}<extra>" + markup(name) + "</extra>", **place)  # fmt: skip


def module_dots(table: pd.DataFrame, y: str = "accuracy_last", title: str = "") -> go.Figure:
    """The rows of Table 5 as a picture: a row for each set of modules, a mark for each run, the mean in figures.

    Args:
        table: a row per run with weight, rank, relabel and ``y``.
        y: a figure, see FIGURES.
        title: text above.

    Raises:
        DataError: a column is missing.
    """
    figure, groups = go.Figure(), module_points(table, y)
    for number, point in enumerate(groups):
        color, symbol = SERIES[number % len(SERIES)], SYMBOLS[number % len(SYMBOLS)]
        figure.add_scatter(x=plain(point.values), y=[point.x] * len(point.values), mode="markers",
                           customdata=point.rows.tolist(), marker={"color": color, "symbol": symbol, "size": 13},
                           name=point.x, hovertemplate="%{y}: %{x:.1%}<extra></extra>")  # fmt: skip
        figure.add_scatter(x=plain([point.mean]), y=[point.x], mode="markers+text", hoverinfo="skip",
                           marker={"symbol": "line-ns-open", "size": 34, "color": color, "line": {"width": 4}},
                           text=[spread_words(point)], textposition="top center", textfont={"size": 15})  # fmt: skip
    if not figure.data:
        return sentence(NO_RUN)
    tidy(figure, markup(title), height=140 + 70 * len(groups), showlegend=False)
    figure.update_xaxes(title_text=FIGURES.get(y, y), tickformat=".3~p")
    order = [point.x for point in groups][::-1]
    return figure.update_yaxes(automargin=True, categoryorder="array", categoryarray=order)


def module_points(table: pd.DataFrame, y: str = "accuracy_last") -> list[Point]:
    """The runs by the modules that they had, in the order of Table 5; recipes with the same modules stay apart.

    Raises:
        DataError: a column is missing.
    """
    _need(table, (*MODULES, y))
    values = pd.to_numeric(table[y], errors="coerce").to_numpy(float)
    modules = modules_of(table)
    names = np.array(_told_apart(table, modules), dtype=object)
    order = {name: number for number, name in enumerate(TABLE5)}
    known = sorted(set(zip(modules, names, strict=True)), key=lambda pair: (order.get(pair[0], len(order)), pair[1]))
    chosen = [(name, np.flatnonzero((names == name) & np.isfinite(values))) for _, name in known]
    return [Point(name, values[rows], rows) for name, rows in chosen if len(rows)]


def _told_apart(table: pd.DataFrame, modules: list[str]) -> list[str]:
    """The modules of each run, with the recipe where several have the same ones, and the labels where they differ."""
    recipes, labels = _recipes(table), labels_of(table)
    several = pd.Series(recipes).groupby(modules).nunique()
    names = [f"{m} ({r})" if several[m] > 1 else m for m, r in zip(modules, recipes, strict=True)]
    return [f"{n}, {words}" for n, words in zip(names, labels, strict=True)] if labels.nunique() > 1 else names


def _recipes(table: pd.DataFrame) -> list[str]:
    return table["recipe"].astype(str).tolist() if "recipe" in table else [""] * len(table)


def spread_words(point: Point) -> str:
    """Mean and standard deviation in per cent.

    >>> spread_words(Point("none", np.array([0.5, 0.7]), np.array([0, 1])))
    '60.0 ± 14.1 %'
    """
    return f"{100 * point.mean:.1f}" + (f" ± {100 * point.sd:.1f}" if np.isfinite(point.sd) else "") + " %"


def module_table(table: pd.DataFrame, y: str = "accuracy_last") -> pd.DataFrame:
    """Table 5: a row for each set of modules that was trained, with mean and spread over its seeds.

    Recipe and labels stand beside the modules where runs with the same ones differ in them.

    Raises:
        DataError: a column is missing.
    """
    points, recipes, labels = module_points(table, y), _recipes(table), labels_of(table)
    several = pd.Series(recipes).groupby(modules_of(table)).nunique().max() > 1
    rows = []
    for point in points:
        first = point.rows[0]
        row = {name: "✓" if table[name].iloc[first] else "×" for name in MODULES}
        row |= {"recipe": recipes[first]} if several else {}
        row |= {"labels": labels.iloc[first]} if labels.nunique() > 1 else {}
        rows.append(row | {"seeds": len(point.values), FIGURES.get(y, y): spread_words(point)})
    return pd.DataFrame(rows)


def setting_table(table: pd.DataFrame, x: str = "gamma", y: str = "accuracy_last") -> pd.DataFrame:
    """Table 6 and Fig. 5 as figures: a row for each value of a setting, a column for each family that varies it.

    Raises:
        DataError: a column is missing.
    """
    families = varied(table, x, y) or points_of(table, x, y)
    columns = {name: {point.x: spread_words(point) for point in points} for name, points in families.items()}
    made = pd.DataFrame(columns).sort_index()
    made.index.name = x
    return made.fillna("–").reset_index()


def figure5(table: pd.DataFrame, y: str = "accuracy_last", title: str = "") -> go.Figure:
    """The paper's Fig. 5: accuracy against rank margin (delta1), relabel margin (delta2) and beta.

    A panel shows the families of runs in which its setting was varied.

    Raises:
        DataError: a column is missing.
    """
    families = {x: varied(table, x, y) for x in FIGURE5}
    if not any(families.values()):
        return sentence("Fig. 5 needs runs in which delta1, delta2 or beta takes more than one value.")
    figure = make_subplots(1, 3, shared_yaxes=True, horizontal_spacing=0.04)
    for column, (x, found) in enumerate(families.items(), 1):
        for number, (name, points) in enumerate(found.items()):
            _add_points(figure, f"{name}", points, number, row=1, col=column)
        _add_baselines(figure, baselines(table, x, y), found, row=1, col=column)
        figure.update_xaxes(title_text=SETTINGS[x], row=1, col=column)
        if not found:
            figure.add_annotation(text="not varied", xref=f"x{column if column > 1 else ''} domain", x=0.5, y=0.5,
                                  yref="paper", showarrow=False, font={"color": GREY, "size": 15})  # fmt: skip
    seen: set[str] = set()
    for trace in figure.data:
        trace.showlegend = trace.mode == "lines" and trace.name not in seen
        seen.add(trace.name)
    tidy(figure, markup(title), height=420, legend={"orientation": "h", "y": 1.04, "yanchor": "bottom"})
    return figure.update_yaxes(tickformat=".1%").update_yaxes(title_text=FIGURES.get(y, y), row=1, col=1)


def varied(table: pd.DataFrame, x: str, y: str = "accuracy_last") -> dict[str, list[Point]]:
    """The families in which a setting takes more than one value.

    Raises:
        DataError: a column is missing.
    """
    return {name: points for name, points in points_of(table, x, y).items() if len(points) > 1}


def baselines(table: pd.DataFrame, x: str, y: str = "accuracy_last") -> dict[str, float]:
    """The plain network's mean, for each level of noise; none where it was not trained.

    Raises:
        DataError: a column is missing.
    """
    _need(table, ("recipe",))
    own = points_of(table[table["recipe"] == BASELINE], x, y)
    return {name: float(np.concatenate([p.values for p in points]).mean()) for name, points in own.items()}


def span_of(found: dict[str, list[Point]]) -> list[float]:
    """The first and the last value of a setting in any family."""
    values = [point.x for points in found.values() for point in points]
    return [min(values), max(values)]


def about_runs(table: pd.DataFrame) -> str:
    """How many runs, recipes and seeds a table has, in words."""
    recipes, seeds = (counted(table[name].nunique(), name) for name in ("recipe", "seed"))
    return f"{counted(len(table), 'run')}, {recipes}, {seeds}"


def labels_of(table: pd.DataFrame) -> pd.Series:
    """What is wrong with the labels of each run, and how else it was trained, as far as that differs in this table.

    Runs that are alike here and in their recipe differ by their seed alone.

    >>> table = pd.DataFrame({"noise": [0.3, 0.3, 0.0], "noise_kind": ["human", "symmetric", None]})
    >>> labels_of(table).tolist()
    ['30% wrong labels, human', '30% wrong labels, symmetric', 'labels as they are']
    >>> labels_of(table.head(2).assign(noise_kind="human", epochs=[15, 40])).tolist()
    ['30% wrong labels, 15 epochs', '30% wrong labels, 40 epochs']
    """
    noise = pd.to_numeric(table["noise"]).fillna(0) if "noise" in table else pd.Series(0.0, table.index)
    words = noise.map(_noise_words).astype(object)
    if "noise_kind" in table and table.loc[noise > 0, "noise_kind"].nunique() > 1:
        words = words.where(noise == 0, words + ", " + table["noise_kind"].astype(str))
    if "data" in table and table["data"].nunique() > 1:
        words = words + " (" + table["data"].astype(str) + ")"
    return words + training_words(table)


def training_words(table: pd.DataFrame) -> pd.Series:
    """How each run was trained, as far as that differs in this table; recipe, labels and seed apart.

    >>> training_words(pd.DataFrame({"arch": ["small", "resnet18"], "epochs": [16, 16]})).tolist()
    [', small', ', resnet18']
    """
    words = pd.Series("", table.index, dtype=object)
    for name, say in TRAINING.items():
        if name in table and table[name].nunique(dropna=False) > 1:
            words = words + ", " + table[name].map(say, na_action=None)
    return words


def label_choices(table: pd.DataFrame) -> list[tuple[str, str]]:
    """What `labels_of` says of the runs, most frequent first: with the number of runs, and as it is."""
    return [(f"{words} ({counted(n, 'run')})", words) for words, n in labels_of(table).value_counts().items()]


def _family(recipe: str, setting: str) -> str:
    """A recipe's name without the setting that an axis shows."""
    base, *changes = str(recipe).split(":")
    return ":".join([base, *(text for text in changes if not text.startswith(f"{setting}="))])


def _noise_words(noise: float) -> str:
    return f"{noise:.0%} wrong labels" if noise else "labels as they are"


def _need(table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise DataError(f"The runs have no column {missing[0]!r}; they have: {', '.join(map(str, table.columns))}.")
