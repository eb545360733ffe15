"""Which pixels a run's network rests on, before and after training, laid over the faces."""

import html
import textwrap
from collections.abc import Sequence
from functools import partial

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from ipywidgets import Layout
from traitlets import Int, observe, validate

from scn_fastai.errors import SCNError
from scn_fastai.explain.maps import for_display
from scn_fastai.explain.runs import CHOICES, OF, Explainer, FaceMaps, chosen_faces
from scn_fastai.explain.saliency import METHODS, SIGNED
from scn_fastai.plots.saliency import FACE, bar_words, saliency_grid, saliency_grid_png, set_strength
from scn_fastai.plots.static import sentence_png
from scn_fastai.plots.style import counted, sentence
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images
from scn_fastai.widgets.decisions import checked_samples
from scn_fastai.widgets.face_grid import Indices
from scn_fastai.widgets.parts import Panel, button, dropdown, live, redraw, row, slider

METHOD_WORDS = {"saliency": "gradient (saliency)", "grad-cam": "Grad-CAM"}
OF_WORDS = {"predicted": "predicted class", "given": "given class", "difference": "given - predicted"}
PAIRS = (("untrained", "trained"), ("before relabel", "trained"), ("untrained", "before relabel"), ("trained",))
OWN = "by hand"
SLOW = ("occlusion",)
NOISE_SAMPLES = 6
STEPS = 20  # of integrated gradients: enough for the eye
NO_FACE_LEFT = "No face is left by this choice: choose others, or set `viewer.rows`."
WAITING = "This takes a while. Press ‘look’ to begin."
TILES = 6  # beside each other: as many as a notebook has room for
LINE = 72  # letters of a sentence in the place of the picture


class SaliencyViewer(Panel):
    """Faces of a run, and over them what raises or lowers alpha, a class, or one class against another.

    Two networks stand beside each other: untrained, as it was when relabeling began, or trained. Maps are computed once
    and kept; the strength of the colours changes nothing but the picture. Occlusion and noise take long: they begin
    with ``look``, everything else at once.

    Controls: ``method``, ``of``, ``pair``, ``faces`` (who is shown), ``noise`` (NoiseTunnel), ``smooth``, ``strength``;
    ``next()``, ``previous()``, ``look()``. ``rows`` are the chosen faces in their order and can be set, ``first`` is
    the position of the batch that is shown; ``batch`` are its samples, ``found`` its raw maps by network.

    Args:
        run: a run with its labels, whose network goes by its name.
        images: the training faces as `run_images` takes them; None: what the run names.
        rows: samples to look at; None: those of lowest alpha.
        size: faces in a batch.
        seed: of the untrained network, of noise and of the random choice.

    Raises:
        RunError: the run has no labels, or does not say how its images were prepared, or where they are.
        SettingsError: it does not name its architecture.
        DataError: a sample does not exist, or the images do not fit.
    """

    rows = Indices()
    first = Int(0)

    def __init__(
        self,
        run: Run,
        images: Images | None = None,
        rows: Sequence[int] | None = None,
        size: int = 8,
        seed: int = 0,
    ):
        self.run, self.size, self._seed = run, max(1, size), seed
        self.explainer = Explainer(run, images, seed)
        self.found: dict[str, FaceMaps] = {}
        self._problem, self._left_out, self._held = NO_FACE_LEFT, 0, True
        self._make_controls()
        self.words, self.note, self.plot = widgets.HTML(), widgets.HTML(), live(go.Figure())
        self.place = widgets.VBox()
        choice = row(self.method, self.of, self.pair, self.look_button)
        looks = row(self.faces, self.back, self.forth, self.smooth, self.noise), row(self.words, self.strength)
        super().__init__([choice, *looks, self.progress, self.place])
        if rows is None:
            self._choose()
        else:
            self.rows = rows
        self._held = False
        self._ask()

    # -- what is done ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Compute the maps of this batch, as far as they are not there yet, and show them."""
        self.found, self._problem = {}, "" if self.batch else NO_FACE_LEFT
        try:
            for when in self.pair.value if self.batch else ():
                self.found[when] = self.explainer.look(
                    *self._asked(), when, self._noise_samples(), partial(self._count, when), steps=STEPS
                )  # fmt: skip
        except SCNError as error:
            self._problem = str(error)
        finally:
            self.progress.layout.display = "none"
        self._show()

    def next(self) -> None:
        """Go to the next batch of the chosen faces."""
        self.first = self.first + self.size

    def previous(self) -> None:
        """Go to the batch before."""
        self.first = self.first - self.size

    @property
    def batch(self) -> list[int]:
        """The samples that are shown now."""
        return self.rows[self.first : self.first + self.size]

    # -- what is shown --------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        return sentence(self._sentence()) if self._problem else saliency_grid(**self._shown())

    def png(self) -> bytes:
        """The same as a PNG file."""
        return sentence_png(self._sentence()) if self._problem else saliency_grid_png(**self._shown())

    def __repr__(self) -> str:
        return f"SaliencyViewer({counted(len(self.batch), 'face')}, {self._question()})"

    def _shown(self) -> dict:
        """The arguments of the picture."""
        method, of = self.method.value, self.of.value
        maps = {when: for_display(found.maps, method, self.smooth.value) for when, found in self.found.items()}
        captions = {when: self._said(found) for when, found in self.found.items()} | {FACE: self._labels()}
        return {
            "images": np.stack([self.explainer.images[sample] for sample in self.batch]),
            "maps": maps, "captions": captions, "strength": self.strength.value, "signed": SIGNED[method],
            "words": bar_words(of, SIGNED[method]), "across": TILES // (1 + len(maps)), "title": self._question(),
        }  # fmt: skip

    def _question(self) -> str:
        """What the maps are of, in words."""
        method, of = self.method.value, self.of.value
        noise = ", with noise" if self.noise.value else ""
        return f"{METHOD_WORDS.get(method, method)} of {OF_WORDS.get(of, of)}{noise}"

    def _labels(self) -> list[str]:
        given, truth, names = self.run.ledger.given, self.run.truth, self.run.classes
        lines = [f"given {names[int(given[sample])]}" for sample in self.batch]
        if truth is None:
            return lines
        return [f"{line}\ntrue {names[int(truth[s])]}" for line, s in zip(lines, self.batch, strict=True)]

    def _said(self, found: FaceMaps) -> list[str]:
        names = self.run.classes
        return [f"α {a:.4f}\nsays {names[code]}" for a, code in zip(found.alpha, found.predicted, strict=True)]

    def _sentence(self) -> str:
        return "\n".join(textwrap.wrap(self._problem, LINE))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        options = [(METHOD_WORDS.get(name, name), name) for name in METHODS]
        self.method = dropdown("method", options, "integrated gradients", "255px")
        self.of = dropdown("of", [(OF_WORDS.get(name, name), name) for name in (*OF, *self.run.classes)], "alpha",
                           "190px")  # fmt: skip
        self.pair = dropdown("networks", [(" | ".join(pair), pair) for pair in PAIRS], PAIRS[0], "285px")
        self.look_button = button("look", self.look, "compute these maps")
        self.faces = dropdown("faces", [*CHOICES, OWN], CHOICES[0], "195px")
        self.back = button("◀ previous", self.previous, "the batch before")
        self.forth = button("next ▶", self.next, "the next batch")
        self.strength = slider("strength", 0, 1, 0.6, 0.05)
        self.smooth, self.noise = (
            widgets.Checkbox(value=on, description=words, indent=False, layout=Layout(width="auto"))
            for words, on in (("smooth", True), ("noise tunnel (slow)", False))
        )
        self.progress = widgets.IntProgress(layout=Layout(display="none", width="100%"))
        for control in (self.method, self.of, self.pair, self.faces, self.strength):
            control.style.description_width = "initial"  # four of them have to fit beside each other
        for control in (self.method, self.of, self.pair, self.noise):
            control.observe(self._ask, "value")
        self.faces.observe(self._choose, "value")
        self.smooth.observe(self._show, "value")
        self.strength.observe(self._set_strength, "value")

    def _asked(self) -> tuple:
        return self.batch, self.method.value, self.of.value

    def _noise_samples(self) -> int:
        return NOISE_SAMPLES if self.noise.value else 0

    @validate("rows")
    def _known_rows(self, proposal) -> list[int]:
        samples, images = checked_samples(proposal["value"], len(self.explainer.images)), self.explainer.images
        there = [sample for sample in samples if images[sample] is not None]
        self._left_out = len(samples) - len(there)
        return there

    @validate("first")
    def _known_position(self, proposal) -> int:
        last = max(0, len(self.rows) - 1) // self.size * self.size
        return min(max(0, proposal["value"]), last)

    @observe("rows")
    def _new_rows(self, _=None) -> None:
        held, self._held = self._held, True
        self.first = 0
        if not self._choosing:
            self.faces.value = OWN
        self._held = held
        self._ask()

    @observe("first")
    def _new_batch(self, _=None) -> None:
        self._ask()

    _choosing = False

    def _choose(self, _=None) -> None:
        """Take the faces that the list of choices names."""
        if self.faces.value != OWN:
            self._choosing = True
            try:
                self.rows = chosen_faces(self.run, self.faces.value, self._seed)
            finally:
                self._choosing = False

    def _ask(self, _=None) -> None:
        """Something else is asked for: answer at once where that is quick, else wait for a word."""
        if self._held:
            return
        quick, noise = self.method.value not in SLOW and not self.noise.value, self._noise_samples()
        known = (self.explainer.known(*self._asked(), when, noise, steps=STEPS) for when in self.pair.value)
        if quick or all(known):
            self.look()
        else:
            self.found, self._problem = {}, f"{self._question()}: {WAITING}"
            self._show()

    def _show(self, _=None) -> None:
        last = self.first + len(self.batch)
        place = f"faces {self.first + 1:,} to {last:,} of {len(self.rows):,}" if self.batch else ""
        scale = "each map has a scale of its own" if self.batch else ""
        gone = f"{counted(self._left_out, 'face')} left out, without an image" if self._left_out else ""
        self.words.value = html.escape("; ".join(words for words in (place, scale, gone) if words))
        self.back.disabled, self.forth.disabled = self.first == 0, last >= len(self.rows)
        if self._problem:
            self.note.value = f"<div style='padding: 24px 0'>{html.escape(self._problem)}</div>"
            self.place.children = [self.note]
        else:
            redraw(self.plot, self.figure())
            self.place.children = [self.plot]

    def _set_strength(self, _=None) -> None:
        if not self._problem:
            with self.plot.batch_update():
                set_strength(self.plot, self.strength.value)

    def _count(self, when: str, done: int, total: int) -> None:
        self.progress.layout.display, self.progress.description = "", when
        self.progress.max, self.progress.value = total, done
