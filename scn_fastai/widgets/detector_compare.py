"""Two detectors on the same faces: ranks against ranks, and the faces on which they disagree."""

import html
from collections.abc import Mapping, Sequence

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go

from scn_fastai.detect.agreement import agreement, agreement_table, suspicion_ranks
from scn_fastai.detect.detectors import DETECTORS, Evidence, detector_scores
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.plots.detect import groups_words, rank_scatter
from scn_fastai.plots.review_card import beside
from scn_fastai.plots.static_detect import rank_scatter_png
from scn_fastai.plots.style import counted
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images, run_images
from scn_fastai.widgets.decisions import checked_samples
from scn_fastai.widgets.face_grid import FaceGrid
from scn_fastai.widgets.parts import Panel, dropdown, live, redraw, row, slider

SHOW = {
    "disagree": "where they disagree most",
    "first": "suspicious to the first alone",
    "second": "suspicious to the second alone",
    "both": "suspicious to both",
    "neither": "suspicious to neither",
}
HINT = "A click, a box or a lasso in the picture shows its faces below; a double click lets go."


class DetectorCompare(Panel):
    """The same faces ranked by any two detectors, and the faces on which the two disagree.

    A point is a face; far right it is suspicious to the first detector, far up to the second. The dashed lines cut off
    the ``share`` that is suspicious to each. Below are the faces of the group that ``show`` names, the clearest first.
    Lasso faces to see just those. With true labels known, wrong ones are marked.

    Controls: ``first``, ``second`` (detectors), ``share`` (of the faces, in %), ``show``. ``grid`` is the `FaceGrid`;
    ``pick(samples)`` shows some faces, ``pick()`` lets go; ``scores`` holds ``[N]`` by detector, ``problems`` a
    sentence for each detector that could not be computed.

    Args:
        run: a run with at least one epoch.
        images: the training faces as `run_images` takes them; None: what the run names.
        evidence: what else is known of the samples; None: what the run holds.
        first: name of a detector; None: aum where it is there.
        second: name of another; None: alpha where it is there.
        scores: further scores ``[N]`` by name.

    Raises:
        RunError: nothing is there to rank by.
        SettingsError: there is no such detector, or no score of it.
        DataError: images or scores do not fit.
    """

    def __init__(
        self,
        run: Run,
        images: Images | None = None,
        evidence: Evidence | None = None,
        first: str | None = None,
        second: str | None = None,
        scores: Mapping[str, Sequence[float]] | None = None,
    ):
        self.run, self._picked = run, None
        found, self.problems = detector_scores(evidence or Evidence.of_run(run))
        n = len(run.train_samples)
        self.scores = found | {name: _fitting(name, score, n) for name, score in (scores or {}).items()}
        if len(self.scores) < 2:
            raise RunError(
                f"{run.folder.name} has no epoch to rank faces by: train it, or load a run that was trained."
            )
        self.wrong = None if run.truth is None else (run.ledger.given.cpu() != run.truth).numpy()
        self._make_controls(self._name(first, "aum", 0), self._name(second, "alpha", 1))
        names, truth = run.train_samples["image"].tolist(), None if run.truth is None else run.truth.numpy()
        self.grid = FaceGrid(run_images(run, images), ledger=run.ledger, truth=truth, names=names)
        self.words = widgets.HTML()
        self.plot = live(self.figure())
        self.plot.on_pick(self._clicked)
        super().__init__([row(self.first, self.second, self.share, self.show), self.words, self.plot, self.grid])
        self._look()

    def pick(self, samples: Sequence[int] | None = None) -> None:
        """Show these faces below, the most suspicious to the first detector first; None: those of the group again."""
        self._picked = None if samples is None else checked_samples(samples, len(self.run.train_samples))
        self._look()

    @property
    def chosen(self) -> list[int]:
        """Samples of the faces below, in their order."""
        return list(self.grid.order or [])

    # -- what is shown ------------------------------------------------------------------------------------------

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        return rank_scatter(*self._pair(), self.wrong, self._names(), self._share())

    def png(self) -> bytes:
        """The same as a PNG file, with the faces in view beside it."""
        return beside(rank_scatter_png(*self._pair(), self.wrong, self._names(), self._share()), self.grid.png())

    def __repr__(self) -> str:
        faces = counted(len(self.run.train_samples), "face")
        first, second = self._names()
        return f"DetectorCompare({faces}, {first} against {second}, {len(self.chosen):,} shown)"

    # -- inside ---------------------------------------------------------------------------------------------------

    def _make_controls(self, first: str, second: str) -> None:
        options = [(f"{n}: {DETECTORS[n].about}" if n in DETECTORS else n, n) for n in self.scores]
        self.first, self.second = (
            dropdown("first", options, first, "480px"),
            dropdown("second", options, second, "480px"),
        )
        self.share = slider("suspicious, %", 1, 50, 10, 1)
        self.show = dropdown("show", [(words, name) for name, words in SHOW.items()], "disagree", "420px")
        for control in (self.first, self.second, self.share):
            control.observe(self._changed, "value")
        self.show.observe(lambda _: self.pick(), "value")

    def _name(self, asked: str | None, usual: str, place: int) -> str:
        if asked is None:
            return usual if usual in self.scores else list(self.scores)[place]
        if asked not in self.scores:
            why = self.problems.get(asked) or f"There is no detector {asked!r}; there are: {', '.join(self.scores)}."
            raise SettingsError(why)
        return asked

    def _names(self) -> tuple[str, str]:
        return self.first.value, self.second.value

    def _share(self) -> float:
        return self.share.value / 100

    def _pair(self) -> tuple[np.ndarray, np.ndarray]:
        return self.scores[self.first.value], self.scores[self.second.value]

    def _changed(self, _=None) -> None:
        self._picked = None
        redraw(self.plot, self.figure())
        self._look()

    def _look(self) -> None:
        """Words and faces for what the controls say."""
        first, second = self._pair()
        groups = agreement(first, second, self._share())
        ranks = suspicion_ranks(first), suspicion_ranks(second)
        table = agreement_table(groups, self.wrong)
        self.words.value = f"<b>{html.escape(groups_words(table, self._names(), self._share()))}</b><br>{HINT}"
        names = self._names()

        def caption(sample: int) -> str:
            return "\n".join(f"{n} {_percent(r[sample])}" for n, r in zip(names, ranks, strict=True))

        self.grid.recaption(caption, order=self._order(groups, *ranks).tolist())

    def _order(self, groups: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Samples of the chosen group, the clearest first."""
        if self._picked is not None:
            rows, key = np.array(self._picked, np.int64), -np.nan_to_num(first)
        elif self.show.value == "disagree":
            rows, key = np.flatnonzero(groups != ""), -np.abs(first - second)
        else:
            rows = np.flatnonzero(groups == self.show.value)
            sign = {"first": second - first, "second": first - second}.get(self.show.value, -(first + second))
            key = sign if self.show.value != "neither" else -sign
        return rows[np.argsort(key[rows], kind="stable")]

    def _clicked(self, picked: Mapping[int, Sequence[int]]) -> None:
        """Show the faces of the points that were picked; none: the group again."""
        samples = [int(self.plot.data[t].customdata[p]) for t, points in picked.items() for p in points]
        self.pick(samples or None)


def _percent(rank: float) -> str:
    """A rank in words.

    >>> _percent(0.984), _percent(float("nan"))
    ('98 %', 'no score')
    """
    return f"{100 * rank:.0f} %" if rank == rank else "no score"


def _fitting(name: str, score: Sequence[float], n: int) -> np.ndarray:
    score = np.asarray(score, float)
    if score.shape != (n,):
        raise DataError(f"{name} has {len(score):,} scores, but there are {n:,} training samples: give one for each.")
    return score
