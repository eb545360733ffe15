"""AlphaExplorer: all faces of a run as points and as pictures, linked, epoch by epoch."""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from ipywidgets import Layout

from scn_fastai.plots.explorer import (
    FEW,
    epoch_words,
    explorer_figure,
    explorer_parts,
    run_marks,
    samples_in_bars,
    shown_words,
)
from scn_fastai.plots.life import SampleLife, life_parts, sample_life
from scn_fastai.plots.sample_table import (
    GROUP_WORDS,
    chosen_samples,
    rank_line,
    sample_facts,
    sample_measures,
    sample_table,
    scores_of,
    selected_first,
    state_keys,
)
from scn_fastai.plots.sprites import faces_at
from scn_fastai.plots.static_explorer import explorer_png
from scn_fastai.plots.style import STATES, markup
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images
from scn_fastai.widgets.face_grid import FaceGrid
from scn_fastai.widgets.parts import Panel, button, dropdown, live, redraw, row, slider

PLOT = (500, 540)  # pixels, so that plot and faces stand beside each other on a projector
LIFE = (835, 420)
PLAY_EVERY = 700  # milliseconds
EPOCHS_KEPT = 24  # whose measures are not computed again: 30 bytes a face and epoch, 22 MB for thirty thousand faces
HOW = (
    "Draw a lasso around points or bars: their faces come first on the right (double-click: let go). "
    "Click a face: its life is told below."
)
NO_FACE_YET = "Click a face or a point: its life in this training is told here."
# plotly keeps the outline of a lasso where it was drawn; the points in it move on.
STYLE = "<style>.scn-alpha-explorer .selectionlayer { display: none }</style>"
ALL = ""  # a filter that lets everything pass


class AlphaExplorer(Panel):
    """Who counts, and who does not: alpha of every training face, its prediction, its label, its picture.

    A lasso, a box or a click in the plot selects faces in the grid and brings them to its front; a face selected in the
    grid lights up in the plot, and the life of the one in focus is told below. The epoch slider plays the training;
    faces that are selected stay so, and can be followed. Decisions taken in the grid go to the run's ledger.

    Everything can be set from Python: ``epoch``, ``x``, ``y``, ``sort``, ``ascending`` and the filters ``given``
    (class), ``kind`` (of uncertainty), ``group`` and ``label`` (what became of it) are controls with a ``value``;
    ``select`` and ``selected`` are samples; ``table`` is what is shown, a row a face in its order.

    What the network said in an epoch is computed once for each of the last 24 epochs that were looked at (22 MB for
    30,000 faces); labels are read from the ledger each time.

    Args:
        run: a run with its ledger and history.
        images: the training faces, as for `FaceGrid.of_run`; None: what the run names.
        scores: further columns, a number for each training sample, by name.

    Raises:
        DataError: images or scores do not fit.
        RunError: the run has no labels or no epoch yet, or does not say where its faces are.

    >>> import torch
    >>> from scn_fastai import LabelLedger, SCNHistory
    >>> samples = pd.DataFrame({"image": ["a.png", "b.png"], "split": "train", "label": ["sad", "glad"]})
    >>> run = Run("faces", samples, ["sad", "glad"])
    >>> run.ledger, run.history = LabelLedger([0, 1], run.classes), SCNHistory(2, 2)
    >>> run.history.begin_epoch("cpu")
    >>> run.history.see(torch.tensor([0, 1]), torch.tensor([0.9, 0.4]), torch.zeros(2, 2), torch.tensor([False, True]))
    >>> _ = run.history.end_epoch()
    >>> explorer = AlphaExplorer(run, np.zeros((2, 8, 8), np.uint8))
    >>> explorer.select(0)
    >>> explorer, explorer.table["sample"].tolist(), explorer.grid.order
    (AlphaExplorer(2 faces, epoch 0, 1 selected), [1, 0], [0, 1])
    """

    def __init__(self, run: Run, images: Images | None = None, scores: Mapping[str, Sequence[float]] | None = None):
        self.run, self._facts = run, sample_facts(run, scores)
        self._measures = lru_cache(maxsize=EPOCHS_KEPT)(partial(sample_measures, run))
        self._table = self._of_epoch(max(0, run.history.epoch - 1))
        self._life: tuple[SampleLife, go.FigureWidget] | None = None
        self._words, self._below = widgets.HTML(), widgets.VBox([widgets.HTML(NO_FACE_YET)])
        self._make_controls()
        self._order = chosen_samples(self._table, **self._choice())
        self._many = len(self._table) > FEW
        # The plot goes first: a browser needs half a second to get plotly ready, while the grid is made here.
        self._plot = live(explorer_figure(*self._view(()), size=PLOT, many=self._many), self._parts(()))
        self.grid = FaceGrid.of_run(run, images)
        self.grid.layout = Layout(flex="1 1 330px", width="auto", min_width="330px")
        self._recaption()
        self._watch()
        super().__init__(self._rows())
        self.add_class("scn-alpha-explorer")

    # -- what is shown ------------------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """The faces that pass the filters, a row each, in the order of the sort (see `sample_table`)."""
        return self._table.iloc[self._order]

    @property
    def selected(self) -> list[int]:
        """Samples that are selected."""
        return list(self.grid.selected)

    def select(self, samples: int | Sequence[int]) -> None:
        """Select samples: they come first in the grid and light up in the plot; the life of the first is told."""
        self.grid.selected = samples
        self.grid.order = order = selected_first(self._order, self.grid.selected)
        first = [s for s in order[:1].tolist() if s in self.grid.selected] or self.grid.selected[:1] or [-1]
        self.grid.focused = first[0]

    def figure(self) -> go.Figure:
        """The plot as it is shown now, with its words, as a plotly figure that stays as it is."""
        return explorer_figure(*self._view(self.grid.selected), self._sentences())

    def png(self) -> bytes:
        """The same as a PNG file."""
        return explorer_png(*self._view(self.grid.selected), self._sentences())

    def __repr__(self) -> str:
        faces = shown_words(len(self._order), len(self._table))
        return f"AlphaExplorer({faces}, epoch {self._epoch()}, {len(self.grid.selected):,} selected)"

    def _epoch(self) -> int:
        return min(self.epoch.value, self.run.history.epoch - 1)

    def _of_epoch(self, epoch: int) -> pd.DataFrame:
        """The row of each face after an epoch."""
        return sample_table(self.run, epoch, self._facts, self._measures(epoch))

    def _plotted(self) -> pd.DataFrame:
        """What the plot shows: the same faces as `table`, in the order of the run."""
        return self._table if len(self._order) == len(self._table) else self._table.iloc[np.sort(self._order)]

    def _view(self, selected: Sequence[int]) -> tuple:
        return self._plotted(), self.x.value, self.y.value, selected, run_marks(self.run, self._table)

    def _parts(self, selected: Sequence[int]) -> dict:
        return explorer_parts(*self._view(selected), many=self._many)

    def _sentences(self) -> list[str]:
        first = f"Epoch {self._epoch()}, {shown_words(len(self._order), len(self._table))}."
        return [first, *epoch_words(self.run, self._table, self._epoch())]

    # -- controls -----------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        last, facts = self.run.history.epoch - 1, self._facts
        self.epoch = slider("epoch", 0, max(1, last), last, 1)  # a slider of one value cannot be drawn
        self.epoch.disabled = last == 0
        self.play = widgets.Play(min=0, max=last, value=last, interval=PLAY_EVERY)
        widgets.jslink((self.play, "value"), (self.epoch, "value"))
        scores = [(words, name) for name, words in scores_of(self._table).items()]
        self.x, self.y = dropdown("across", scores, "alpha"), dropdown("up", scores, "doubt")
        self.sort = dropdown("sort by", scores, "alpha")
        self.ascending = widgets.Checkbox(description="lowest first", value=True, indent=False)
        self.given = dropdown("class", [("all", ALL), *((name, name) for name in self.run.classes)])
        self.kind = dropdown("uncertainty", kind_options(facts))
        self.group = dropdown("group", [("both", ALL), *((words, name) for name, words in GROUP_WORDS.items())])
        self.label = dropdown("label", label_options(facts))
        self.kind.disabled = "uncertainty" not in facts
        for control in (self.epoch, self.x, self.y, self.sort, self.given, self.kind, self.group, self.label):
            control.style.description_width = "initial"
        self.ascending.layout = self.label.layout = Layout(width="auto", max_width="260px")
        self.epoch.layout = Layout(width="auto", flex="1 1 180px", min_width="180px")
        self.x.layout, self.y.layout = Layout(width="215px"), Layout(width="195px")

    def _rows(self) -> list[widgets.Widget]:
        let_go = button("select none", lambda: self.select([]), "let go of all selected faces")
        both = widgets.HBox([self._plot, self.grid], layout=Layout(flex_flow="row wrap", align_items="flex-start"))
        return [
            widgets.HTML(STYLE + HOW),
            row(self.sort, self.ascending, self.given, self.kind, self.group, self.label, let_go),
            self._words,
            row(self.epoch, self.play, self.x, self.y),
            both,
            self._below,
        ]

    def _choice(self) -> dict:
        filters = {name: getattr(self, name).value or None for name in ("given", "kind", "group", "label")}
        return filters | {"sort": self.sort.value, "ascending": self.ascending.value}

    def _watch(self) -> None:
        self.epoch.observe(self._turn, "value")
        for control in (self.sort, self.ascending, self.given, self.kind, self.group, self.label):
            control.observe(self._arrange, "value")
        for control in (self.x, self.y):
            control.observe(self._draw, "value")
        self.grid.observe(self._draw, "selected")
        self.grid.observe(self._tell, "focused")
        self.grid.observe(self._decided, "decisions")
        self._plot.on_pick(self._pick)

    # -- handlers -------------------------------------------------------------------------------------------------

    def _turn(self, _=None) -> None:
        """Another epoch."""
        self._table = self._of_epoch(self._epoch())
        self._arrange()
        if self._life is not None and self.grid.focused >= 0:
            self._draw_life(self._life[0])

    def _arrange(self, _=None) -> None:
        """Other faces, in another order, with their words."""
        self._order = chosen_samples(self._table, **self._choice())
        self._draw()
        self._recaption()

    def _recaption(self) -> None:
        """Words below the faces, and above the plot."""
        alpha, rank = self._table["alpha"].to_numpy(), self._table["rank"].to_numpy()
        labels, order = self._table["current"].cat.codes.to_numpy(), selected_first(self._order, self.grid.selected)
        self.grid.recaption(lambda sample: rank_line(alpha[sample], rank[sample]), labels, order)
        self._words.value = "<br>".join(map(markup, self._sentences()))

    def _draw(self, _=None) -> None:
        redraw(self._plot, self._parts(self.grid.selected))

    def _decided(self, _=None) -> None:
        """A person changed labels: the plot and the life follow, the grid stays as it lies."""
        self._table = self._of_epoch(self._epoch())
        self._draw()
        self._tell()

    def _tell(self, _=None) -> None:
        """The life of the face in focus."""
        if self.grid.focused < 0:
            self._below.children = [widgets.HTML(NO_FACE_YET)]
        else:
            self._draw_life(sample_life(self.run, self.grid.focused))

    def _draw_life(self, life: SampleLife) -> None:
        parts = life_parts(life, faces_at(self.grid.images, [life.sample])[0][0], self._epoch(), LIFE)
        if self._life is None:  # made late: a second plotly costs the browser half a second
            self._life = life, live(go.Figure(parts), parts)
        else:
            redraw(self._life[1], parts)
            self._life = life, self._life[1]
        self._below.children = [self._life[1]]

    def _pick(self, picked: Mapping[int, Sequence[int]]) -> None:
        """A lasso or a click in the plot."""
        samples = [self._samples(self._plot.data[trace], points) for trace, points in picked.items()]
        self.select(np.concatenate(samples) if samples else [])

    def _samples(self, trace, points: Sequence[int]) -> np.ndarray:
        """The samples behind points, or behind bars."""
        if trace.type == "bar":
            return samples_in_bars(self._plotted(), trace.meta, points)
        samples = [] if trace.customdata is None else trace.customdata  # the legend's have none
        return np.asarray(samples, np.int64)[np.asarray(points, np.int64)]


def kind_options(facts: pd.DataFrame) -> list[tuple[str, str]]:
    """Choices of the filter by kind of uncertainty."""
    if "uncertainty" not in facts:
        return [("not known", ALL)]
    kinds = [kind for kind in facts["uncertainty"].cat.categories if kind != "none"]
    return [("all", ALL), ("any kind", "any"), ("certain", "none"), *((kind.replace("_", " "), kind) for kind in kinds)]


def label_options(facts: pd.DataFrame) -> list[tuple[str, str]]:
    """Choices of the filter by what became of the label."""
    keys = state_keys(facts)
    return [("all", ALL), ("label changed", "changed"), *((STATES[k].words, k) for k in keys if k != "changed")]
