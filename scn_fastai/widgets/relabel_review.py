"""Relabeling before and after, and a queue in which a person accepts or rejects what a rule proposes."""

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import pandas as pd
import plotly.graph_objects as go
from ipywidgets import Layout
from traitlets import TraitError

from scn_fastai.errors import DataError, RunError, SCNError
from scn_fastai.plots import review, review_card, review_queue
from scn_fastai.plots.review import Alphas, alphas_of, figure3, figure3_png, samples_in, telling_changes
from scn_fastai.plots.review_card import Card, beside, card_figure, card_html, card_of, card_png
from scn_fastai.plots.review_queue import EMPTY
from scn_fastai.plots.sprites import alpha_line
from scn_fastai.plots.style import counted, sentence
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images, run_images
from scn_fastai.widgets.decisions import class_codes
from scn_fastai.widgets.parts import Panel, button, dropdown, live, redraw, row
from scn_fastai.widgets.queue_grid import QueueGrid

ANY = "any"
FIRST_VIEW = (0, 12)  # faces in `png` before a browser said what is in view
NO_CHANGES = "No label differs from the given one. Write sample numbers above to see faces all the same."
HIDDEN = "The true labels are known; they are hidden until you switch on 'show truth'."


class Material(NamedTuple):
    """What a review shows and asks; ``[N]`` in the order of the ledger."""

    ledger: LabelLedger
    images: np.ndarray | Sequence[np.ndarray | None]
    run: Run | None = None
    original: Run | None = None
    truth: np.ndarray | None = None
    names: Sequence[str] | None = None


class RelabelReview(Panel):
    """Fig. 3 of the paper for any faces, and a review queue: a person accepts, rejects or gives another label.

    The queue holds the proposals of the ledger (a training with ``relabel='propose'``); without any, all labels that
    the rule changed. Keys, with the grid in focus: arrows move, ``a`` accepts, ``r`` rejects, digits give a class,
    ``u`` takes back. Every decision goes into the ledger at once, and the next epoch of a training that uses this
    ledger trains on it; the file of the run is written by `save` alone. The truth, where it is known, is hidden
    until ``review.truth.value = True``. A new review of the same ledger knows what was decided before.

    Controls: ``truth``, ``label`` and ``undecided`` (filters), ``numbers`` (the faces of Fig. 3), ``other`` (a class
    to give), ``path``, ``tab``. The grid of faces is ``grid``: ``review.grid.focused`` is the face that is asked about.

    Args:
        run: a run with its labels.
        images: its training faces in the run's order, a FaceSet, or None: what the run names (see `run_images`).
        original: a run on the same faces with their original labels, for the first row of Fig. 3.

    Raises:
        DataError: there are more or fewer images than samples.
        RunError: the run has no labels, or does not say where its faces are.
    """

    def __init__(self, run: Run, images: Images | None = None, original: Run | None = None):
        if run.ledger is None or run.history is None:
            raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
        truth = None if run.truth is None else run.truth.numpy()
        names = run.train_samples["image"].tolist()
        self._begin(Material(run.ledger, run_images(run, images), run, original, truth, names))

    @classmethod
    def of_ledger(
        cls,
        ledger: LabelLedger,
        images: np.ndarray | Sequence[np.ndarray | None],
        truth: Sequence[int | str] | None = None,
        names: Sequence[str] | None = None,
    ) -> "RelabelReview":
        """A review of a ledger without a run: ``RelabelReview.of_ledger(learn.scn.ledger, images)``.

        Args:
            ledger: labels, changes and proposals.
            images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, or a list in which None is a missing image.
            truth: true classes, names or codes, or None.
            names: file names.

        Raises:
            DataError: they do not fit.

        >>> ledger = LabelLedger([0, 1, 1], ["sad", "glad"])
        >>> RelabelReview.of_ledger(ledger, np.zeros((3, 48, 48), np.uint8))
        RelabelReview(0 changes of 3 faces, 0 decided)
        """
        if len(images) != len(ledger.given):
            raise DataError(
                f"There are {len(images):,} images but {len(ledger.given):,} samples in the ledger: give one for each."
            )
        codes = class_codes(truth, ledger.classes, "truth")
        if codes is not None and (codes < 0).any():
            raise DataError(f"The truth names no class for face {int(codes.argmin())}: give one for each, or None.")
        made = cls.__new__(cls)
        made._begin(Material(ledger, images, truth=codes, names=names))
        return made

    # -- decisions --------------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Take what is proposed for the face in question."""
        self.grid.accept(self._asked())

    def reject(self) -> None:
        """Keep, or give back, the label from before the rule's doubt."""
        self.grid.reject(self._asked())

    def choose(self, label: int | str | None = None) -> None:
        """Give the face in question another class; None: the one that the control ``other`` shows."""
        self.grid.choose(self._asked(), self.other.value if label is None else label)

    def undo(self) -> None:
        """Take back the last decision, also one of an earlier review."""
        if not self.grid.undo():
            raise DataError("There is nothing to take back.")

    def skip(self) -> None:
        """Go on to the next undecided face."""
        self._go_to(review_queue.next_undecided(self._order(), self.grid.standing, self._asked()))

    @property
    def decisions(self) -> pd.DataFrame:
        """A row for each decided face: sample, old, proposed, label, action, evidence; the truth if it is shown."""
        known = self._material.truth if self.truth.value else None
        return review_queue.decisions_table(
            self.queue, self._labels(), self.grid.standing, self._classes, self._material.names, known
        )

    def export(self, path: str | Path | None = None) -> Path:
        """Write all labels as they are now to a CSV (path, label, given); None: to where the control ``path`` says."""
        path, names = str(path or self.path.value).strip(), self._material.names
        if not path:
            raise DataError("Name the file that the labels are to be written to, such as labels.csv.")
        try:
            return self._material.ledger.export(path, None if names is None else pd.DataFrame({"image": list(names)}))
        except OSError as error:
            raise DataError(f"{path} cannot be written ({error.strerror or error}): choose another place.") from error

    def save(self) -> Path:
        """Write the ledger to the run's folder; a training that is resumed from there trains on what was decided."""
        if self._material.run is None:
            raise RunError("This review has no run to save to: the decisions are in the ledger; `export` writes a CSV.")
        return self._material.run.save_labels()

    def refresh(self) -> None:
        """Read the ledger again: after another epoch, or after decisions made elsewhere."""
        self._make_queue()
        self.grid.show_truth(self.truth.value)
        self._place_grid()
        self._filter()
        self._draw_faces()

    # -- what is shown ------------------------------------------------------------------------------------------

    @property
    def faces(self) -> list[int]:
        """Samples in Fig. 3; can be set."""
        return list(self._chosen)

    @faces.setter
    def faces(self, samples: Sequence[int]) -> None:
        text = ", ".join(str(sample) for sample in samples)
        self._chosen = samples_in(text, len(self._material.images))
        self.numbers.value = text

    def figure(self) -> go.Figure:
        """What the open tab shows: Fig. 3, or the face in question, as a plotly figure that stays as it is."""
        if self.tab.selected_index == 1:
            return card_figure(self._card(), EMPTY)
        return figure3(**self._fig3()) if self.faces else sentence(NO_CHANGES)

    def png(self) -> bytes:
        """The same as a PNG file, the face in question beside those in view."""
        if self.tab.selected_index == 1:
            return beside(card_png(self._card(), EMPTY), self.grid.png())
        return figure3_png(**self._fig3()) if self.faces else card_png(None, NO_CHANGES)

    def __repr__(self) -> str:
        what = counted(len(self.queue.table), "change" if self.queue.applied else "proposal")
        faces, decided = counted(len(self._material.images), "face"), len(self.grid.standing)
        return f"RelabelReview({what} of {faces}, {decided:,} decided)"

    # -- building -----------------------------------------------------------------------------------------------

    def _begin(self, material: Material) -> None:
        self._material, self._classes = material, material.ledger.classes
        self._make_queue()
        self._make_controls()
        self._choose_telling()
        self.tab.selected_index = 0 if material.run else 1  # without a run there is little to compare
        super().__init__([row(self.truth, self._progress), self.tab, self._message])
        self._place_grid()
        self._place_faces()
        self._filter()
        self._draw_faces()
        self._listen()

    def _make_queue(self) -> None:
        material, ledger = self._material, self._material.ledger
        self.queue = queue = review_queue.review_queue(ledger)
        run, known = material.run, material.truth is not None
        self._alphas = alphas_of(run, material.original) if run else Alphas(None, None, None, "")
        self._votes, self._votes_are = review_card.votes_of(run) if run else (None, "")
        self._votes_tell = known  # where the truth is known, votes and soft labels give it away
        captions = np.full(len(ledger.given), "", dtype=object)
        captions[queue.samples] = [alpha_line(alpha) for alpha in queue.table["alpha"]]
        proposals = None
        if not queue.applied:
            proposals = np.full(len(ledger.given), -1)
            proposals[queue.samples] = queue.table["proposed"]
        self.grid = QueueGrid(material.images, captions, ledger, proposals, material.truth, material.names,
                              review_queue.decided_before(queue, ledger))  # fmt: skip
        self.grid.view = FIRST_VIEW
        self.grid.observe(self._take_decision, "decisions")
        self.grid.observe(self._show_card, "focused")

    def _make_controls(self) -> None:
        known, run = self._material.truth is not None, self._material.run
        self.truth = widgets.Checkbox(False, description="show truth" if known else "truth not known",
                                      disabled=not known, indent=False, layout=Layout(width="150px"))  # fmt: skip
        self.label = dropdown("class", [ANY, *self._classes], ANY, "260px")
        self.undecided = widgets.Checkbox(False, description="only undecided", indent=False,
                                          layout=Layout(width="150px"))  # fmt: skip
        self.other = dropdown("other label", self._classes, None, "270px")
        self.numbers = widgets.Text("", description="samples", continuous_update=False, layout=Layout(width="430px"))
        self.path = widgets.Text("labels.csv", description="CSV file", layout=Layout(width="320px"))
        self._progress, self._message, self._face, self._words = (widgets.HTML() for _ in range(4))
        self._plot = None
        store = button("save to the run", self._press(self.save, "Saved: {}. A training resumed there reads it."),
                       "write ledger.parquet")  # fmt: skip
        store.disabled = run is None
        self._pages = widgets.VBox(), widgets.VBox()
        self._saving = row(self.path, button("export CSV", self._press(self.export, "Written: {}.")), store)
        self.tab = widgets.Tab(list(self._pages), titles=("before and after", "review"))

    def _place_grid(self) -> None:
        press = self._press
        acts = row(button("✓ accept (a)", press(self.accept)), button("✗ reject (r)", press(self.reject)),
                   button("skip", press(self.skip)), button("undo (u)", press(self.undo)))  # fmt: skip
        give = row(self.other, button("give it", press(self.choose)))
        left = widgets.VBox([self._face, acts, give], layout=Layout(flex=f"0 0 {review_card.WIDTH + 4}px"))
        self.grid.layout = Layout(flex="1 1 385px", min_width="385px")
        both = widgets.HBox([left, self.grid], layout=Layout(flex_flow="row wrap", grid_gap="8px"))
        self._pages[1].children = [row(self.label, self.undecided), both, self._saving]

    def _place_faces(self) -> None:
        press = self._press
        telling = button("telling ones", press(self._choose_telling), "a mix of cured, missed and harmed labels")
        chosen = button("selected in the review", press(self._choose_selected))
        self._pages[0].children = [row(self.numbers, telling, chosen), self._words]

    def _listen(self) -> None:
        for control in (self.label, self.undecided):
            control.observe(self._filter, "value")
        self.truth.observe(self._show_truth, "value")
        self.numbers.observe(lambda _: self._press(self._take_numbers)(), "value")
        self.tab.observe(lambda _: self._press(self._draw_faces)(), "selected_index")

    # -- handlers -----------------------------------------------------------------------------------------------

    def _take_decision(self, change: Mapping) -> None:
        """Go on to the next face after a decision; back to one whose decision was taken back."""
        last, order, standing = change["new"][-1], self._order(), self.grid.standing
        ahead = review_queue.next_undecided(order, standing, last["sample"])
        self._filter()
        if self.grid.selected == [last["sample"]]:
            self.grid.selected = []
        self._go_to(last["sample"] if last["action"] == "undo" else ahead)

    def _filter(self, _=None) -> None:
        """Show what the filters leave of the queue, with the face in question among it."""
        code = None if self.label.value == ANY else self._classes.index(self.label.value)
        without = self.grid.standing if self.undecided.value else ()
        order = review_queue.queue_samples(self.queue, code, without).tolist()
        if order != self.grid.order:
            self.grid.order = order
        if self.grid.focused not in order:
            first = review_queue.next_undecided(order, self.grid.standing, -1)
            self.grid.focused = first if first >= 0 or not order else order[0]
        self._show_progress()
        self._show_card()

    def _go_to(self, sample: int) -> None:
        if sample >= 0 and sample in self._order():
            self.grid.focused = sample
        self._show_card()

    def _show_truth(self, _=None) -> None:
        self.grid.show_truth(self.truth.value)
        self._show_progress()
        self._show_card()
        self._draw_faces()

    def _show_progress(self) -> None:
        about = self.queue, self._labels(), self.grid.standing
        words = review_queue.progress_words(*about) if len(self.queue.table) else EMPTY
        if self.truth.value:
            words += f" &nbsp; <b>{review_queue.score_words(*about, self._material.truth)}</b>"
        self._progress.value = words

    def _show_card(self, _=None) -> None:
        self._face.value = card_html(self._card(), EMPTY if not len(self.queue.table) else "No face is left here.")

    def _draw_faces(self) -> None:
        hint = HIDDEN if self._material.truth is not None and not self.truth.value else ""
        self._words.value = f"{self._alphas.words} {hint}"
        if self.tab.selected_index == 1:
            return  # drawn when it is looked at
        if self._plot is None:
            self._plot = live(self.figure())
            self._pages[0].children += (self._plot,)
        else:
            redraw(self._plot, self.figure())

    def _take_numbers(self) -> None:
        self._chosen = samples_in(self.numbers.value, len(self._material.images))
        self._draw_faces()

    def _choose_telling(self) -> None:
        run = self._material.run
        self.faces = (telling_changes(run) if run else []) or self.queue.samples[: review.COLUMNS].tolist()

    def _choose_selected(self) -> None:
        if not self.grid.selected:
            raise DataError("Select faces in the review first: click, and ctrl-click or shift-click for more.")
        self.faces = self.grid.selected

    def _press(self, what: Callable, done: str = "") -> Callable[[], None]:
        """A handler that says in a sentence what could not be done, or where something was written."""

        def pressed() -> None:
            try:
                found = what()
                self._message.value = done.format(found) if done else ""
            except (SCNError, TraitError) as error:
                self._message.value = f"<b>{html.escape(str(error), quote=False)}</b>"

        return pressed

    # -- reading ------------------------------------------------------------------------------------------------

    def _labels(self) -> np.ndarray:
        return self._material.ledger.current.cpu().numpy()

    def _order(self) -> list[int]:
        return self.grid.order or []

    def _asked(self) -> int:
        if self.grid.focused < 0:
            raise DataError("There is no face to decide on.")
        return self.grid.focused

    def _card(self) -> Card | None:
        sample, material = self.grid.focused, self._material
        if sample not in self._order():
            return None
        probs, words = review_card.probs_of(material.run, sample) if material.run else (None, "")
        shown = self.truth.value
        votes = self._votes[sample] if self._votes is not None and (shown or not self._votes_tell) else None
        true = int(material.truth[sample]) if shown else None
        name = "" if material.names is None else str(material.names[sample])
        return card_of(self.queue, sample, self._classes, int(self._labels()[sample]), sample in self.grid.standing,
                       self.grid.images[sample], probs, words, votes, self._votes_are, true, name)  # fmt: skip

    def _fig3(self) -> dict:
        """What Fig. 3 is drawn of."""
        rows, material, alphas = self.faces, self._material, self._alphas._asdict()
        of_rows = {f"alpha_{name}": alphas[name] for name in ("before", "after", "original")}
        of_rows |= {"true": material.truth, "given": material.ledger.given.cpu().numpy()}
        of_rows |= {"current": self._labels()}
        hidden = material.truth is not None and not self.truth.value
        picked = {name: None if values is None else values[rows] for name, values in of_rows.items()}
        return {"images": [self.grid.images[i] for i in rows], "classes": self._classes, "hidden": hidden, **picked}
