"""One mini-batch under the lens, with the settings of SCN on sliders."""

import html
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from traitlets import observe, validate

from scn_fastai.core.microscope import BatchReport, examine_batch
from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.batch import batch_figure, batch_parts
from scn_fastai.plots.batch_words import begun_words, face_words, loss_words, relabel_words, rule_words, sample_lines
from scn_fastai.plots.sprites import faces_at
from scn_fastai.plots.static import sentence_png
from scn_fastai.plots.static_batch import batch_png
from scn_fastai.plots.style import counted, sentence, unseen_words
from scn_fastai.training.run import Run
from scn_fastai.training.run_batch import RunBatch, draw_batch, run_batch
from scn_fastai.training.run_images import Images, run_images
from scn_fastai.training.settings import PRESETS
from scn_fastai.widgets.decisions import checked_samples
from scn_fastai.widgets.face_grid import FaceGrid, Indices
from scn_fastai.widgets.parts import Panel, button, dropdown, live, redraw, row, slider

SLIDERS = ("beta", "rank_margin", "relabel_margin", "gamma")
MOST_TOLD = 3  # selected samples whose numbers are told
CLICK = "Click a bar or a face: all of its numbers stand here. Click it again: let go."
NOTHING = "None of these samples was seen in this epoch: take another batch or another epoch."


class BatchMicroscope(Panel):
    """A mini-batch of a run under the lens: ranked by alpha, split at beta; RR, WCE, gradients, whom Eq. 5 relabels.

    Alpha and logits are those that the run noted in the chosen epoch, the labels those that the epoch trained on. The
    sliders change what the equations make of them, not the network: gradients say where its next step would go.
    ``switch`` sets the sliders to a recipe and takes over what has no slider: how the losses are joined, who may be
    relabelled, which label is compared with, and whether one step's prediction decides or the average of the epochs.
    (The default recipe's budget, and who is set aside, are a matter of the whole training set: a batch knows neither.)

    Controls: ``switch``, ``epoch``, ``beta``, ``rank_margin`` (delta1), ``relabel_margin`` (delta2), ``gamma``;
    ``another()`` draws a batch, ``batch`` holds its samples and can be set. ``report`` has all numbers that are shown,
    ``grid`` is the `FaceGrid` below; accept takes the label that it shows. A click on a bar selects its face in the
    grid, a click on a face marks its bars; ``select`` does the same, ``selected`` tells which.

    Args:
        run: a run with at least one epoch.
        images: the training faces as `run_images` takes them; None: what the run names.
        epoch: counted from 0, or from the end.
        batch: samples to look at, positions in the training set; None draws some.
        size: how many to draw.
        seed: of the draw; each other batch counts it up.

    Raises:
        RunError: the run has no epoch, or no such epoch.
        DataError: a sample does not exist, or the images do not fit.
    """

    batch = Indices()

    def __init__(
        self,
        run: Run,
        images: Images | None = None,
        epoch: int = -1,
        batch: Sequence[int] | None = None,
        size: int = 32,
        seed: int = 0,
    ):
        self.run, self._size, self._seed = run, size, seed
        drawn = draw_batch(run, epoch, size, seed)  # looks whether there is such an epoch, too
        drawn = checked_samples(drawn if batch is None else batch, run.history.n_samples)
        self.images = run_images(run, images)
        names = run.train_samples["image"].tolist()
        self.grid = FaceGrid(self.images, ledger=run.ledger, truth=run.truth, names=names)
        self._held = True  # nothing is drawn until all of it is there
        self._make_controls(epoch % run.history.epoch)
        self.words, self.chosen = widgets.HTML(), widgets.HTML()
        self._take(drawn)
        self.plot = live(self.figure())
        self.plot.on_pick(self._pick)
        self.grid.observe(self._follow_grid, "selected")
        sliders = row(*(getattr(self, name) for name in SLIDERS))
        plot = widgets.Box([self.plot], layout=widgets.Layout(overflow="auto"))  # for a narrow page
        super().__init__([row(self.switch, self.epoch, self.again), sliders, self.words, plot, self.chosen, self.grid])
        self.batch = drawn
        self._held = False

    def another(self) -> None:
        """Draw another batch of the epoch."""
        self._seed += 1
        self.batch = draw_batch(self.run, self.epoch.value, self._size, self._seed)

    @property
    def selected(self) -> list[int]:
        """Samples that are selected."""
        return list(self.grid.selected)

    def select(self, samples: int | Sequence[int]) -> None:
        """Select samples of the batch: a band marks their bars, the grid shows their faces, their numbers are told.

        Raises:
            DataError: a sample is not among those that are shown.
        """
        samples = checked_samples(samples, self.run.history.n_samples)
        strangers = sorted(set(samples) - set(self._batch.samples.tolist()))
        if strangers:
            raise DataError(f"Sample {strangers[0]} is not among those that are shown: see `batch`.")
        self.grid.focused = samples[0] if samples else -1
        self.grid.selected = samples

    # -- what is shown ------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        return batch_figure(*self._shown()) if self.report else sentence(NOTHING)

    def png(self) -> bytes:
        """The same as a PNG file."""
        return batch_png(*self._shown()) if self.report else sentence_png(NOTHING)

    def __repr__(self) -> str:
        report, head = self.report, f"BatchMicroscope({counted(len(self.batch), 'sample')}, epoch {self.epoch.value}"
        if report is None:
            return f"{head}, none seen)"
        return f"{head}, {self.switch.value}, L {float(report.total):.2f}, {int(report.changed.sum())} would change)"

    # -- inside ---------------------------------------------------------------------------------------------------

    def _make_controls(self, epoch: int) -> None:
        recipe = self.run.settings.get("recipe")
        self.switch = dropdown("recipe", list(PRESETS), recipe if recipe in PRESETS else "default", "260px")
        self.epoch = slider("epoch", 0, max(1, self.run.history.epoch - 1), epoch, 1)
        self.epoch.disabled = self.run.history.epoch == 1
        self.again = button("another batch", self.another, "draw other samples of this epoch")
        self.beta = slider("beta", 0.05, 0.95, 0.7)
        self.rank_margin = slider("rank margin (delta1)", 0, 1, 0.15)
        self.relabel_margin = slider("relabel margin (delta2)", 0, 1, 0.2)
        self.gamma = slider("gamma", 0, 1, 0.5)
        self._follow_switch()
        self.switch.observe(self._take_switch, "value")
        self.epoch.observe(self._read, "value")
        for name in SLIDERS:
            control = getattr(self, name)
            control.layout.flex, control.style.description_width = "1 1 400px", "170px"  # two in a row, words whole
            control.observe(self._show, "value")

    def _take_switch(self, _=None) -> None:
        self._held = True  # four sliders move, and one picture is drawn
        self._follow_switch()
        self._held = False
        self._show()

    def _follow_switch(self) -> None:
        recipe = PRESETS[self.switch.value]
        for name in SLIDERS:
            getattr(self, name).value = getattr(recipe, name)
        self.gamma.disabled = recipe.combine == "sum"

    @validate("batch")
    def _known_samples(self, proposal) -> list[int]:
        return checked_samples(proposal["value"], self.run.history.n_samples)

    @observe("batch")
    def _read(self, _=None) -> None:
        if not self._held:
            self._take(self.batch)
            redraw(self.plot, self._parts())

    def _show(self, _=None) -> None:
        if not self._held:
            self._look()
            redraw(self.plot, self._parts())

    def _take(self, samples: Sequence[int]) -> None:
        """Read a batch in the chosen epoch, and look at it."""
        if self.epoch.value >= self.run.history.epoch:  # the slider of a run of one epoch
            raise RunError(f"There is no epoch {self.epoch.value} in this run, which has {self.run.history.epoch}.")
        self._batch = run_batch(self.run, samples, self.epoch.value)
        self._faces = faces_at(self.images, self._batch.samples)[0]
        self._labels = self.run.ledger.at(self.epoch.value - 1).numpy()
        self._look()
        if self.grid.focused not in self._batch.samples:
            self.grid.focused = -1
        self.grid.selected = [sample for sample in self.grid.selected if sample in self._batch.samples]

    def _look(self) -> None:
        """Numbers, words and faces; the picture follows from them."""
        batch = self._batch
        self.report = self._examine(batch) if len(batch.samples) else None
        self.words.value, self.chosen.value = self._say(batch), self._tell()
        self._show_faces(batch.samples.tolist())

    def _examine(self, batch: RunBatch) -> BatchReport:
        recipe = PRESETS[self.switch.value]
        own = {name: getattr(recipe, name) for name in ("combine", "scope", "relative")}
        own |= {name: getattr(self, name).value for name in SLIDERS}
        return examine_batch(
            batch.logits, batch.alpha, batch.target, **own, classes=self.run.classes,
            reference=batch.given if recipe.reference == "original" else batch.target,
            evidence=batch.evidence if recipe.evidence == "averaged" else None,
        )  # fmt: skip

    def _say(self, batch: RunBatch) -> str:
        report, recipe = self.report, PRESETS[self.switch.value]
        if report is None:
            return NOTHING
        head = f"<b>{html.escape(loss_words(report))}</b> &nbsp; {relabel_words(report)}"
        more = [rule_words(recipe), begun_words(self.run.history.frame(), self.epoch.value)]
        more.append(unseen_words(len(batch.unseen)))
        return "<br>".join([head, *(html.escape(words) for words in more if words)])

    def _show_faces(self, samples: list[int]) -> None:
        """The faces ranked by alpha; a frame says what the rule would make of the label."""
        report, place = self.report, {sample: i for i, sample in enumerate(samples)}
        labels = self._labels.copy()
        if report is not None:
            labels[samples] = report.label.numpy()
        for word in {word["sample"]: word for word in self.grid.decisions}.values():  # a person's word goes before
            if word["action"] != "undo":
                labels[word["sample"]] = self.run.classes.index(word["label"])

        words = [] if report is None else [face_words(report, i) for i in range(len(samples))]
        longest = max(words, key=lambda text: text.count("\n"), default="")

        def caption(sample: int) -> str:  # the grid also measures captions of faces that it does not show
            return words[place[sample]] if sample in place else longest

        ranked = [] if report is None else np.array(samples)[report.order.numpy()].tolist()
        self.grid.recaption(caption, labels, ranked)

    def _pick(self, picked: Mapping[int, Sequence[int]]) -> None:
        """A click on a bar or on a mark; on what is selected alone: let go."""
        rows = [self.plot.data[trace].customdata[point] for trace, points in picked.items() for point in points]
        samples = self._batch.samples[np.array(rows, np.int64)].tolist()
        self.select([] if samples == self.selected else samples)

    def _follow_grid(self, _=None) -> None:
        self.chosen.value = self._tell()
        if not self._held:
            redraw(self.plot, self._parts())

    def _rows(self) -> list[int]:
        """Where in the batch the selected samples are."""
        place = {sample: i for i, sample in enumerate(self._batch.samples.tolist())}
        return [place[sample] for sample in self.grid.selected if sample in place]

    def _tell(self) -> str:
        """All numbers of the selected samples."""
        rows = self._rows()
        if not rows or self.report is None:
            return CLICK
        lines = sample_lines(self.report, self._names())
        told = [" · ".join([f"<b>{lines[row][0]}</b>", *map(html.escape, lines[row][1:])]) for row in rows[:MOST_TOLD]]
        more = len(rows) - len(told)
        return "<br>".join(told + ([f"and {counted(more, 'other')}"] if more else []))

    def _names(self) -> list[str]:
        return [f"sample {sample}" for sample in self._batch.samples]

    def _parts(self) -> dict | go.Figure:
        return batch_parts(*self._shown()) if self.report else sentence(NOTHING)

    def _shown(self) -> tuple:
        return self.report, self._faces, self._names(), f"epoch {self.epoch.value}", self._rows()
