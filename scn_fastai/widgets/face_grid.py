"""Thirty thousand faces in a grid: frames, captions, selection, and a person's decisions about labels."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import numpy as np
import plotly.graph_objects as go
from traitlets import Bytes, Dict, Int, List, TraitError, Tuple, Unicode, observe, validate

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.faces import FACE_PIXELS, MOST_FACES, NO_FACE, face_grid
from scn_fastai.plots.sprites import (
    alpha_line,
    checked_faces,
    faces_at,
    label_line,
    sprite_sheet,
    text_width,
    thumbnails,
    widest_line,
)
from scn_fastai.plots.static import face_grid_png
from scn_fastai.plots.style import STATES, counted, state_codes
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images, run_images
from scn_fastai.widgets.decisions import Decisions, checked_samples, class_codes, known_classes

PAGE = 128  # faces on a sheet
FIRST_VIEW = (0, 24)  # what `figure` and `png` show before a browser said what is in view
NONE_CHOSEN = "No face is left by this choice. `grid.order = None` shows all of them."
STATE_KEYS = [*STATES, None]  # a frame is a position in it; the last one is no frame
WORDS = {"accept": "accepted", "reject": "rejected", "choose": "chosen"}


class Indices(List):
    """A trait for sample numbers: any list or array of whole numbers, kept as a list of ints."""

    def validate(self, obj, value):
        """The value as a list; the grid looks whether there are such samples."""
        return super().validate(obj, value if isinstance(value, str | list) else np.atleast_1d(value).tolist())


class FaceGrid(anywidget.AnyWidget):
    """Faces in a grid that scrolls: each with a caption, a frame for what became of its label, and a person's verdict.

    Click, shift-click and ctrl-click select; with the grid in focus the arrows move, space selects, ``a`` accepts,
    ``r`` rejects, ``u`` takes back, digits choose a class, ``?`` shows all keys. The same from Python: ``accept``,
    ``reject``, ``choose`` and ``undo`` take samples, and ``selected`` (samples), ``order`` (which samples are shown,
    in which order; None: all), ``focused`` (a sample, -1: none) and ``view`` (first position, number of positions)
    can be set and observed. ``decisions`` is the record of all that was decided, a list that only grows; a ledger
    receives it too. Pictures go to the browser a sheet at a time, when it scrolls to them.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, in memory or a memory map; or a list of arrays of one shape in
            which None stands for a missing image.
        captions: a text for each face, a line end begins a new line; or a function from a sample to its text, which is
            asked when a face is shown.
        states: for each face a key of `STATES` or None; None takes them from the ledger (and the truth).
        classes: class names; None takes the ledger's.
        ledger: whose labels are shown, and where decisions are written.
        proposals: for each face the class that is proposed, a name or a code; None, '' or -1 where there is none.
        truth: true classes, names or codes, or None.
        names: file names, shown where an image is missing.

    Raises:
        DataError: they do not fit.

    >>> ledger = LabelLedger([0, 1, 1], classes=["sad", "glad"])
    >>> grid = FaceGrid(np.zeros((3, 48, 48), np.uint8), ledger=ledger, proposals=["", "sad", ""])
    >>> grid.accept(1)
    >>> grid.selected = [0, 2]
    >>> grid, ledger.current.tolist(), grid.decisions
    (FaceGrid(3 faces, 2 selected, 1 decided), [0, 0, 1], [{'sample': 1, 'action': 'accept', 'label': 'sad'}])
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    selected = Indices().tag(sync=True)
    focused = Int(-1).tag(sync=True)
    view = Tuple(Int(), Int(), default_value=FIRST_VIEW).tag(sync=True)
    order = Indices(allow_none=True, default_value=None)
    decisions = List(read_only=True)

    _looks = Dict().tag(sync=True)  # what never changes: sizes, classes
    _order = Bytes().tag(sync=True)  # int32, a sample for each position
    _generation = Int().tag(sync=True)  # goes up with each new order: sheets of an older one are of no use
    _first = Dict().tag(sync=True)  # the first sheet, so that it is seen while the kernel still works
    _revision = Int().tag(sync=True)  # goes up when captions or frames change
    _legend = List().tag(sync=True)
    _decided = Int().tag(sync=True)
    _words = Unicode().tag(sync=True)  # in place of the faces where there are none

    def __init__(
        self,
        images: np.ndarray | Sequence[np.ndarray | None],
        captions: Sequence[str] | Callable[[int], str] | None = None,
        states: Sequence[str | None] | None = None,
        classes: Sequence[str] | None = None,
        ledger: LabelLedger | None = None,
        proposals: Sequence[int | str | None] | None = None,
        *,
        truth: Sequence[int | str] | None = None,
        names: Sequence[str] | None = None,
    ):
        self.images, self.ledger = checked_faces(images), ledger
        self.classes = known_classes(classes, ledger)
        said = None if callable(captions) else captions
        self._check_lengths(captions=said, states=states, proposals=proposals, truth=truth, names=names)
        words = [str(c) for c in said] if said is not None else None
        self._caption_of = captions if callable(captions) else words.__getitem__ if words else lambda sample: ""
        self._names, self._fixed = names, states is not None
        self._proposals = class_codes(proposals, self.classes, "proposals")
        self._truth = class_codes(truth, self.classes, "truth")
        self._states = self._checked_states(states)
        current = np.full(len(self.images), -1) if ledger is None else ledger.current.cpu().numpy()
        self._review = Decisions(current, self.classes, ledger, self._proposals)
        self._shown = np.arange(len(self.images))
        super().__init__()
        self._looks = self._measure(PAGE if callable(captions) else None)
        self.refresh()
        self.on_msg(self._answer)

    @classmethod
    def of_run(
        cls,
        run: Run,
        images: Images | None = None,
        epoch: int = -1,
        proposals: Sequence[int | str | None] | None = None,
    ) -> "FaceGrid":
        """The training faces of a run as they were after an epoch: alpha, given and current label, the truth if known.

        Args:
            run: a run with its ledger and history.
            images: the training faces in the run's order, a FaceSet, or None: what the run names (see `run_images`).
            epoch: counted from 0, or from the end.
            proposals: as for the grid.

        Raises:
            DataError: there are more or fewer images than samples.
            RunError: the run has no such epoch, no labels yet, or does not say where its faces are.
        """
        if run.ledger is None or run.history is None:
            raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
        table, epochs = run.train_samples, run.history.epoch
        if epochs and not -epochs <= epoch < epochs:
            raise RunError(f"There is no epoch {epoch} in this run, which has {epochs} (0 to {epochs - 1}).")
        alpha = run.history.epoch_arrays(epoch)["alpha"] if epochs else np.full(len(table), np.nan)
        images, truth = run_images(run, images), run.truth
        grid = cls(images, lambda sample: alpha_line(alpha[sample]), None, run.classes, run.ledger, proposals,
                   truth=None if truth is None else truth.numpy(), names=table["image"].tolist())  # fmt: skip
        if epochs and epoch % epochs != epochs - 1:
            grid.refresh(run.ledger.at(epoch % epochs).numpy())
        return grid

    # -- decisions --------------------------------------------------------------------------------------------

    def accept(self, samples: int | Sequence[int]) -> None:
        """Take the proposed label, or keep the current one where nothing is proposed."""
        self._changed(self._review.accept(samples))

    def reject(self, samples: int | Sequence[int]) -> None:
        """Keep the label that was there before the proposal; without one, go back to the given label."""
        self._changed(self._review.reject(samples))

    def choose(self, samples: int | Sequence[int], label: int | str) -> None:
        """Give a class, by its name or its position in the classes."""
        self._changed(self._review.choose(samples, label))

    def undo(self) -> int:
        """Take back the last step that still stands; how many faces it touched."""
        samples = self._review.undo()
        self._changed(samples)
        return len(samples)

    def refresh(self, labels: np.ndarray | None = None) -> None:
        """Read the labels of the ledger again, where they may have changed; or show other labels, codes ``[N]``."""
        self._take_labels(labels)
        self._renew()

    def recaption(
        self, caption_of: Callable[[int], str], labels: np.ndarray | None = None, order: Sequence[int] | None = None
    ) -> None:
        """Show other captions, labels and order at once: the faces as another epoch has them.

        Args:
            caption_of: gives the words of a sample; asked when its face is shown, for thirty thousand take too long.
            labels: codes ``[N]``, or None: those of the ledger.
            order: as the trait; None shows all.
        """
        with self.hold_sync():
            self._caption_of = caption_of
            self._looks = self._measure(PAGE)
            self._take_labels(labels)
            before = self._generation
            self.order = order
            if self._generation == before:  # the same order
                self._renew()

    # -- what is shown ------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """The faces in view, as a plotly figure that stays as it is."""
        return face_grid(*self._in_view())

    def png(self) -> bytes:
        """The same as a PNG file."""
        return face_grid_png(*self._in_view())

    def __len__(self) -> int:
        """Number of faces that are shown."""
        return len(self._shown)

    def __repr__(self) -> str:
        total = counted(len(self.images), "face")
        shown = total if len(self) == len(self.images) else f"{len(self):,} of {total}"
        return f"FaceGrid({shown}, {len(self.selected):,} selected, {len(self._review.standing):,} decided)"

    def _repr_mimebundle_(self, **how) -> tuple[dict, dict]:
        """The widget and its words, and a picture for a page where nothing runs."""
        data, about = super()._repr_mimebundle_(**how)
        return data | {"image/png": b64encode(self.png()).decode()}, about

    def caption(self, sample: int) -> str:
        """The words below a face."""
        return "\n".join(self._lines(*self._review.checked(sample)))

    def _in_view(self) -> tuple:
        first, count = self.view
        rows = self._shown[max(0, first) :][: max(0, min(count, MOST_FACES))]
        if not len(rows):
            return np.zeros((0, 1, 1), np.uint8), []
        verdicts = [self._review.standing.get(int(row)) for row in rows]
        captions = [self.caption(int(row)).replace(" → ", "\n→ ") for row in rows]
        captions = [f"{c}\n{WORDS[v.action]}" if v else c for c, v in zip(captions, verdicts, strict=True)]
        frames = None if self._states is None else [self._state(row) for row in rows]
        title = f"faces {first + 1:,} to {first + len(rows):,} of {len(self):,}"
        return thumbnails(faces_at(self.images, rows)[0]), [c.strip() for c in captions], frames, 6, None, title

    # -- inside ---------------------------------------------------------------------------------------------------

    @validate("selected")
    def _known_samples(self, proposal) -> list[int]:
        return checked_samples(proposal["value"], len(self.images))

    @validate("order")
    def _known_order(self, proposal) -> list[int] | None:
        return None if proposal["value"] is None else checked_samples(proposal["value"], len(self.images))

    @validate("focused")
    def _known_sample(self, proposal) -> int:
        return proposal["value"] if proposal["value"] == -1 else checked_samples(proposal["value"], len(self.images))[0]

    @observe("order")
    def _show_order(self, _=None) -> None:
        self._shown = np.arange(len(self.images)) if self.order is None else np.array(self.order, np.int64)
        self.view = (0, self.view[1])
        self._renew()

    def _renew(self) -> None:
        """All that is shown is to be asked for anew."""
        with self.hold_sync():
            self._generation += 1
            self._order = self._shown.astype("<i4").tobytes()
            self._words = "" if len(self) else NONE_CHOSEN if len(self.images) else NO_FACE
            self._legend = self._counted_states()
            self._first = self._page(0) if len(self) else {}

    def _answer(self, _, message: dict, buffers) -> None:
        """Do what a browser asks for."""
        try:
            match message:
                case {"kind": "page", "generation": self._generation, "page": int(page)}:
                    content = self._page(page)
                    self.send({k: v for k, v in content.items() if k != "data"}, [content["data"]])
                case {"kind": "accept" | "reject" as action, "samples": list(samples)}:
                    getattr(self, action)(samples)
                case {"kind": "choose", "samples": list(samples), "label": int(label)}:
                    self.choose(samples, label)
                case {"kind": "undo"}:
                    if not self.undo():
                        raise DataError("There is nothing to take back.")
        except (DataError, TraitError) as error:
            self.send({"kind": "sentence", "text": str(error)})

    def _page(self, page: int) -> dict:
        """A sheet of faces and what is written below them."""
        rows = self._shown[page * PAGE : (page + 1) * PAGE]
        faces, missing = faces_at(self.images, rows)
        sheet = sprite_sheet(thumbnails(faces))
        about = [self._about(int(row)) for row in rows]
        for i in np.flatnonzero(missing):
            about[i]["missing"] = str(self._names[rows[i]] if self._names is not None else f"face {rows[i]}")
        place = {"kind": "page", "page": int(page), "generation": self._generation, "revision": self._revision}
        return place | sheet._asdict() | {"faces": about}

    def _about(self, sample: int) -> dict:
        state, decision = self._state(sample), self._review.standing.get(sample)
        return {"lines": self._lines(sample), "state": state, "verdict": decision.action if decision else None}

    def _state(self, sample: int) -> str | None:
        return None if self._states is None else STATE_KEYS[self._states[sample]]

    def _lines(self, sample: int) -> list[str]:
        """What is written below a face."""
        review, lines = self._review, []
        label = review.label(sample)
        if self.ledger is not None:
            lines.append(label_line(self.classes[int(self.ledger.given[sample])], str(label)))
        elif label and sample in review.standing:
            lines.append(f"→ {label}")
        for words, codes in (("proposed", self._proposals), ("true", self._truth)):
            if codes is not None and codes[sample] >= 0:
                lines.append(f"{words}: {review.name(codes[sample])}")
        words = str(self._caption_of(sample))
        return lines + (words.split("\n") if words else [])

    def _take_labels(self, labels: np.ndarray | None) -> None:
        if self.ledger is not None:
            self._review.current[:] = self.ledger.current.cpu().numpy() if labels is None else labels
            self._follow_labels(np.arange(len(self.images)))

    def _follow_labels(self, samples: Sequence[int]) -> None:
        """Frames that say what became of the labels of some samples."""
        if not self._fixed and self.ledger is not None:
            rows, given = np.asarray(samples, np.int64), self.ledger.given.cpu().numpy()
            truth = None if self._truth is None else self._truth[rows]
            self._states[rows] = state_codes(given[rows], self._review.current[rows], truth)

    def _changed(self, samples: Sequence[int]) -> None:
        """Bring frames, captions, legend and record up to date after a decision."""
        if not len(samples):
            return
        self._follow_labels(samples)
        with self.hold_sync():
            self._revision += 1
            self._decided = len(self._review.standing)
            self._legend = self._counted_states()
            self.set_trait("decisions", list(self._review.record))
        self.send({"kind": "faces", "faces": {int(sample): self._about(int(sample)) for sample in samples}})

    def _counted_states(self) -> list:
        if self._states is None:
            return []
        found = np.bincount(self._states[self._shown], minlength=len(STATES)).tolist()
        return [[key, *state, found[i]] for i, (key, state) in enumerate(STATES.items()) if found[i]]

    def _measure(self, most: int | None = None) -> dict:
        """How much room a face needs, and what else the browser should know once; the captions of ``most`` tell it."""
        letters, lines = widest_line(map(self._caption_of, range(len(self.images))[:most]))
        longest = max((text_width(name) for name in self.classes or []), default=0)
        if self.ledger is not None:
            letters, lines = max(letters, 2 * longest + 3), lines + 1
        else:  # room for a label that is chosen
            letters, lines = max(letters, longest + 2), lines + 1
        for values, words in ((self._proposals, "proposed: "), (self._truth, "true: ")):
            if values is not None:
                letters, lines = max(letters, longest + len(words)), lines + 1
        return {"letters": letters, "lines": lines, "face": FACE_PIXELS, "page": PAGE, "classes": self.classes or [],
                "total": len(self.images), "states": {k: s[1:] for k, s in STATES.items()}}  # fmt: skip

    def _check_lengths(self, **columns) -> None:
        given = {name: values for name, values in columns.items() if values is not None}
        if self.ledger is not None:
            given["samples in the ledger"] = self.ledger.given
        for name, values in given.items():
            if isinstance(values, str) or len(values) != len(self.images):
                count = "one text" if isinstance(values, str) else f"{len(values):,}"
                raise DataError(
                    f"There are {counted(len(self.images), 'face')} but {count} for {name}: give one for each face."
                )

    def _checked_states(self, states: Sequence[str | None] | None) -> np.ndarray | None:
        if states is None:
            return None if self.ledger is None else np.zeros(len(self.images), np.int8)
        unknown = sorted({str(state) for state in states if state is not None} - set(STATES))
        if unknown:
            raise DataError(f"{unknown[0]!r} is no kind of frame; there are: {', '.join(STATES)}.")
        return np.array([STATE_KEYS.index(state if state is None else str(state)) for state in states], dtype=np.int8)
