"""The pictures of a run: it stores none, but knows where they came from."""

from collections.abc import Sequence

import numpy as np

from scn_fastai.data.samples import FaceSet
from scn_fastai.data.source import Source
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.run import Run

Images = np.ndarray | Sequence[np.ndarray | None] | FaceSet


def run_images(run: Run, images: Images | None = None) -> np.ndarray | list[np.ndarray | None]:
    """The training faces of a run in the run's order: face i belongs to sample i of its ledger and history.

    Args:
        run: a run; the faces themselves are not in it.
        images: the training faces in that order, uint8 ``[N, H, W]`` or ``[N, H, W, 3]``; or a FaceSet, whose faces are
            found by their file names; or None: read from the data set that the run names in its settings.

    Returns:
        The array as it was given; or a list in which None stands for a face that is missing.

    Raises:
        DataError: there are more or fewer images than samples, or the data set is not where the run says.
        RunError: images is None and the run does not name its data set.
    """
    table = run.train_samples
    if images is None:
        images = _named_by(run)
    if isinstance(images, FaceSet):
        place = {str(name): i for i, name in enumerate(images.samples["image"])}
        rows = [place.get(str(name)) for name in table["image"]]
        images = [None if row is None else images.images[row] for row in rows]
    if len(images) != len(table):
        raise DataError(
            f"There are {len(images):,} images but {len(table):,} training samples: pass the training faces in "
            "the order of the run, or a FaceSet that has them."
        )
    return images


def _named_by(run: Run) -> FaceSet:
    """The data set that the settings name; labels and limits do not matter, for faces are found by their names."""
    known = run.settings.get("data")
    if not known or "task" in known:  # a pretraining makes its classes itself
        raise RunError(
            f"{run.folder.name} does not say where its faces are: pass them, as an array or a FaceSet "
            "(for example `read_folder(path)`)."
        )
    return Source(**{**known, "noise": 0.0, "limit": None}).load()
