"""What the detectors look at, gathered for a run: what it holds, and what takes another pass or other trainings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from scn_fastai.data.samples import FaceSet
from scn_fastai.detect.detectors import DETECTORS, Evidence, detector_scores
from scn_fastai.detect.neighbours import run_features
from scn_fastai.errors import RunError, SCNError
from scn_fastai.experiments.cyclic import train_cyclic
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.folds import OutOfFold, out_of_fold
from scn_fastai.experiments.pretrain import source_of
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.run import Run


@dataclass(frozen=True)
class More:
    """What a run does not hold and what is wanted: each costs time, none is there unless it is asked for.

    features: one pass of the network over the training faces. folds: so many trainings, each without its share of the
    faces; 0 is none. cyclic: epochs of an O2U training, after a plain one; 0 is none. seed: of the folds.
    """

    features: bool = False
    folds: int = 0
    cyclic: int = 0
    seed: int = 0


def run_scores(
    run: Run, more: More, names: Iterable[str] | None = None, tell: Callable[[str], None] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Scores ``[N]`` of a run's faces by detector, and a sentence for each detector that could not be asked.

    Args:
        run: a finished run; its folder keeps the networks of the folds.
        more: what is gathered beside what the run holds.
        names: of detectors; None: all.
        tell: called with a line for each training.

    Raises:
        RunError: the run has no labels yet.
        SettingsError: there is no such detector.
    """
    evidence, lacking = gather(run, more, tell)
    scores, problems = detector_scores(evidence, names)
    return scores, {name: lacking.get(DETECTORS[name].needs, words) for name, words in problems.items()}


def gather(run: Run, more: More, tell: Callable[[str], None] | None = None) -> tuple[Evidence, dict[str, str]]:
    """What is known of a run's faces, and a sentence for each need that was asked for and could not be met."""
    tell = tell or (lambda line: None)
    found, lacking = {}, {}
    if more.features:
        try:
            found["features"] = run_features(run)
        except SCNError as error:
            lacking["features"] = f"knn has no features: {error}"
    if more.folds:
        try:
            held = _held_out(run, more, tell)
            found |= {"out_of_fold": held.probs, "held_out_alpha": held.alpha}
        except SCNError as error:
            words = f"There are no held-out predictions: {error}"
            lacking |= {"out_of_fold": words, "held_out_alpha": words}
    if more.cyclic:
        try:
            found["cyclic"], found["cyclic_start"] = _cyclic(run, more.cyclic, tell)
        except SCNError as error:
            lacking["cyclic"] = f"There is no cyclic training: {error}"
    return Evidence.of_run(run, **found), lacking


def _held_out(run: Run, more: More, tell: Callable[[str], None]) -> OutOfFold:
    faces, train = _faces(run), _train(run)
    folder = run.folder / f"folds_{more.folds}_seed{more.seed}"
    tell(f"{more.folds} networks are trained, each without its share of the faces; they are kept in {folder}.")
    return out_of_fold(faces, run.settings["recipe"], train, more.folds, more.seed, folder, tell)


def _cyclic(run: Run, epochs: int, tell: Callable[[str], None]) -> tuple[SCNHistory, int]:
    faces = _faces(run)
    tell(f"A plain network is trained as usual, then for {epochs} epochs with a cyclic learning rate.")
    return train_cyclic(faces, _train(run), epochs)


def _train(run: Run) -> TrainSettings:
    try:
        return TrainSettings(**run.settings["train"])
    except TypeError as error:
        raise RunError(f"{run.folder.name} was made by another version of scn_fastai: train it again.") from error


def _faces(run: Run) -> FaceSet:
    """The faces of a run with exactly its given labels."""
    data = run.settings.get("data")
    if not data or "train" not in run.settings:
        raise RunError(f"{run.folder.name} does not say where its faces are and how it was trained.")
    faces = source_of(data).load(run.settings["train"]["seed"])
    there, known = (table[["image", "split"]].astype(str).to_numpy() for table in (faces.samples, run.samples))
    if there.shape != known.shape or (there != known).any():
        raise RunError(f"the data set that {run.folder.name} names holds other faces now than it was trained on.")
    return FaceSet(run.samples, run.classes, faces.images, faces.account)
