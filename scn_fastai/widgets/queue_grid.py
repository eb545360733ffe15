"""The grid of faces for a review: the truth can be hidden, and what was decided earlier stands again."""

from collections.abc import Mapping, Sequence

import numpy as np

from scn_fastai.training.ledger import LabelLedger
from scn_fastai.widgets.decisions import Standing
from scn_fastai.widgets.face_grid import FaceGrid


class QueueGrid(FaceGrid):
    """A `FaceGrid` whose truth is hidden until `show_truth`, with decisions of an earlier review.

    Args:
        images: as for the grid.
        captions: a text for each face.
        ledger: whose labels are shown, and where decisions are written.
        proposals: codes ``[N]``, -1 where there is none; None: accept keeps a label, reject goes back to the given one.
        truth: codes of the true labels, or None.
        names: file names.
        decided: what a person decided earlier: sample -> (action, class before it).
    """

    def __init__(
        self,
        images: np.ndarray | Sequence[np.ndarray | None],
        captions: Sequence[str],
        ledger: LabelLedger,
        proposals: np.ndarray | None,
        truth: np.ndarray | None,
        names: Sequence[str] | None,
        decided: Mapping[int, tuple[str, int]],
    ):
        super().__init__(images, captions, None, None, ledger, proposals, truth=truth, names=names)
        self._known_truth = self._truth
        self._changed(self._review.recall(decided))
        self.show_truth(False)

    @property
    def standing(self) -> dict[int, Standing]:
        """Decisions that were not taken back, by sample."""
        return self._review.standing

    def show_truth(self, shown: bool = True) -> None:
        """Write the truth below the faces and into their frames, or hide it from who decides."""
        self._truth = self._known_truth if shown else None
        self._follow_labels(np.arange(len(self.images)))
        self._renew()
