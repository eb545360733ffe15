"""AUM's threshold samples: some faces are given a class that does not exist, to see how a wrong label looks."""

from collections.abc import Callable

import numpy as np

from scn_fastai.data.samples import FaceSet
from scn_fastai.detect.dynamics import aum
from scn_fastai.detect.threshold import PERCENTILE, aum_flags
from scn_fastai.errors import DataError
from scn_fastai.experiments.fit import TrainSettings, face_learner

FAKE = "(fake)"


def threshold_sets(n: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint random sets of ``N / (C + 1)`` samples each, bool ``[N]``: what one does not judge the other does.

    >>> first, second = threshold_sets(90, 8)
    >>> int(first.sum()), int(second.sum()), bool((first & second).any())
    (10, 10, False)
    """
    size = n // (n_classes + 1)
    if size < 1:
        raise DataError(f"{n} samples are too few for a threshold set of N / (C + 1) with {n_classes} classes.")
    order, first, second = np.random.default_rng(seed).permutation(n), np.zeros(n, bool), np.zeros(n, bool)
    first[order[:size]], second[order[size : 2 * size]] = True, True
    return first, second


def with_fake_class(faces: FaceSet, fake: np.ndarray) -> FaceSet:
    """The faces with one class more, which the marked training faces (bool ``[N]``, train part) are given.

    True labels are left as they are; who only looks at the given ones sees ``C + 1`` classes.
    """
    rows, fake = faces.rows("train"), np.asarray(fake, bool)
    if len(fake) != len(rows):
        raise DataError(f"There are {len(rows):,} training faces but {len(fake):,} marks: give one for each.")
    samples = faces.samples.copy()
    samples["label"] = samples["label"].astype(object)
    samples.loc[rows[fake], "label"] = FAKE
    return FaceSet(samples, [*faces.classes, FAKE], faces.images, faces.account)


def flag_by_threshold(
    faces: FaceSet,
    train: TrainSettings | None = None,
    percentile: float = PERCENTILE,
    seed: int = 0,
    tell: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Training faces whose AUM is no better than that of threshold samples, bool ``[N]``: two plain trainings.

    Pleiss et al., NeurIPS 2020: each training has its own set of threshold samples, so that together they judge all.

    Args:
        faces: with the splits train and valid.
        train: how to train.
        percentile: see `aum_threshold`.
        seed: of the two sets.
        tell: called with a line for each training.
    """
    train, flagged = train or TrainSettings(), np.zeros(len(faces.rows("train")), bool)
    for number, fake in enumerate(threshold_sets(len(flagged), len(faces.classes), seed)):
        learn = face_learner(with_fake_class(faces, fake), "plain", train)
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(train.epochs, train.lr)
        flagged |= aum_flags(aum(learn.scn.history, learn.scn.ledger.given.cpu().numpy()), fake, percentile)
        if tell is not None:
            tell(f"training {number + 1} of 2 is done, {int(flagged.sum()):,} faces flagged")
    return flagged
