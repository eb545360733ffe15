"""Many runs side by side: what each module and each setting of SCN does, with the spread over seeds."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.errors import RunError
from scn_fastai.plots.ablation import (
    FIGURE5,
    FIGURES,
    SETTINGS,
    about_runs,
    figure5,
    label_choices,
    labels_of,
    module_dots,
    module_table,
    setting_curve,
    setting_table,
)
from scn_fastai.plots.curves import training_curves
from scn_fastai.plots.static_ablation import figure5_png, module_dots_png, setting_curve_png
from scn_fastai.plots.style import counted
from scn_fastai.training.runs_in import epochs_of, runs_in
from scn_fastai.widgets.parts import Panel, dropdown, live, redraw, row

MODULES, THREE = "modules", "figure5"
VIEWS = [("the three modules (Table 5)", MODULES), ("both margins and beta (Fig. 5)", THREE)]
VIEWS += [(words, name) for name, words in SETTINGS.items()]
HINT = "Click a mark to open its run."


class AblationBoard(Panel):
    """Tables and curves of many runs, mean and spread over seeds beside every single run; a click opens a run.

    Args:
        runs: a folder that `scn compare --out` wrote, or a table as `runs_in` gives it.
        view: ``modules`` (Table 5), ``figure5``, or a setting: gamma (Table 6), rank_margin, relabel_margin, beta.
        y: which figure, see `FIGURES`.

    ``view``, ``y`` and ``labels`` (what is wrong with them) are controls with a ``value``; ``shown`` are the runs that
    the choice of labels leaves, and ``open_run`` opens one by its row there.

    Raises:
        RunError: the folder holds no finished run.
    """

    def __init__(self, runs: str | Path | pd.DataFrame, view: str = MODULES, y: str = "accuracy_last"):
        self.table = runs if isinstance(runs, pd.DataFrame) else runs_in(runs)
        self.chosen: int | None = None
        there = [(words, name) for name, words in FIGURES.items() if name in self.table]
        self.view = dropdown("show", VIEWS, view, "420px")
        self.y = dropdown("figure", there, y, "420px")
        self.labels = dropdown("labels", label_choices(self.table), None, "420px")
        self.plot, self.numbers = live(self.figure()), widgets.HTML()
        self.words, self.run_plot = widgets.HTML(HINT), live(go.Figure())
        self.run_plot.layout.height = 10
        self.plot.on_pick(self._clicked)
        for control in (self.view, self.y, self.labels):
            control.observe(self._show, "value")
        super().__init__([row(self.view, self.y, self.labels), self.plot, self.numbers, self.words, self.run_plot])
        self._show()

    @property
    def shown(self) -> pd.DataFrame:
        """The runs on the chosen labels: what trained on other labels is not averaged with them."""
        return self.table[labels_of(self.table) == self.labels.value].reset_index(drop=True)

    def open_run(self, number: int) -> None:
        """Show the curves and the settings of a run, by its row in the table.

        Raises:
            RunError: there is no such row.
        """
        if not 0 <= number < len(self.shown):
            raise RunError(f"There is no run {number}: the board shows {counted(len(self.shown), 'run')}, from 0.")
        self.chosen = int(number)
        run = self.shown.iloc[number]
        self.words.value = run_words(run)
        try:
            redraw(self.run_plot, training_curves(epochs_of(run["folder"])))
        except (RunError, KeyError):
            redraw(self.run_plot, go.Figure())  # not the curves of the run before
            self.words.value += "<br>Only its figures are here, not its epochs."

    def frame(self) -> pd.DataFrame:
        """The figures below the picture."""
        match self.view.value:
            case view if view == MODULES:
                return module_table(self.shown, self.y.value)
            case view if view == THREE:
                own = [setting_table(self.shown, x, self.y.value).rename(columns={x: "value"}) for x in FIGURE5]
                return pd.concat([t.assign(setting=x) for t, x in zip(own, FIGURE5, strict=True)], ignore_index=True)
            case view:
                return setting_table(self.shown, view, self.y.value)

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        return self._picture(module_dots, figure5, setting_curve)

    def png(self) -> bytes:
        """The same as a PNG file."""
        return self._picture(module_dots_png, figure5_png, setting_curve_png)

    def __repr__(self) -> str:
        return f"AblationBoard({about_runs(self.shown)}; {self.view.value} by {self.y.value})"

    def _picture(self, of_modules, of_three, of_setting):
        if self.view.value == MODULES:
            return of_modules(self.shown, self.y.value)
        if self.view.value == THREE:
            return of_three(self.shown, self.y.value)
        return of_setting(self.shown, self.view.value, self.y.value)

    def _show(self, change=None) -> None:
        if change and change["owner"] is self.labels:  # other runs: the one that is open may not be among them
            self.chosen, self.words.value = None, HINT
            redraw(self.run_plot, go.Figure())
        redraw(self.plot, self.figure())
        self.numbers.value = self.frame().to_html(index=False, border=0)

    def _clicked(self, picked: Mapping[int, Sequence[int]]) -> None:
        """Open the run behind the first mark that was picked: marks carry the row of their run."""
        for number, points in picked.items():
            rows = self.plot.data[number].customdata
            if rows is not None and points:
                self.open_run(int(rows[points[0]]))
                return


def run_words(run: pd.Series) -> str:
    """A run in a sentence of HTML: its name and the settings that the paper names."""
    shown = ("weight", "rank", "relabel", "gamma", "beta", "rank_margin", "relabel_margin", "noise")
    settings = ", ".join(f"{name} {run[name]}" for name in shown if name in run and pd.notna(run[name]))
    return f"<b>{html.escape(str(run['run']))}</b>: {html.escape(settings)}"
