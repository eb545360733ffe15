"""What the notebooks stand on: three speeds, the run that they study, a batch of it, checkpoints that help."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scn_fastai.data.source import Source
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.compare import Cell, finished, run_cell
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.training.features import features_of
from scn_fastai.training.head import find_head
from scn_fastai.training.network import network_of
from scn_fastai.training.predict import prepare
from scn_fastai.training.run import Run

MODES = ("class", "smoke", "full")
SHIPPED = Path(__file__).resolve().parent.parent / "data" / "runs" / "scn"
# Faces, epochs: smoke shows within a minute that everything runs, full is of real length.
LENGTHS = {"smoke": (1600, 20), "full": (6400, 40)}
EARLY = ":settled=0.75:noise_needed=0"  # so that weighting and relabeling begin in a training that short


def mode() -> str:
    """How fast the notebooks go, from the environment variable ``SCN_MODE``.

    ``class`` (when nothing is said) opens the run that comes with the project and trains nothing; ``smoke`` trains
    for less than a minute, ``full`` for real.

    Raises:
        SettingsError: it is another word.
    """
    word = os.environ.get("SCN_MODE", "class")
    if word not in MODES:
        raise SettingsError(f"SCN_MODE is {word!r}, but it must be {', '.join(MODES[:-1])} or {MODES[-1]}.")
    return word


def lesson(recipe: str = "default") -> Cell | None:
    """The training that a notebook needs in this mode, or None where the shipped run is studied."""
    if mode() == "class":
        return None
    faces, epochs = LENGTHS[mode()]
    source = Source("rendered", limit=faces, noise=0.3, noise_kind="human")
    how = TrainSettings(arch="small", epochs=epochs, batch_size=64, seed=0, half=False)
    shown = recipe + EARLY if mode() == "smoke" and recipe == "default" else recipe
    return Cell(shown, how, source, Path("runs") / f"{mode()}-{recipe}")


def study_run(recipe: str = "default") -> Run:
    """The run that a notebook studies: the shipped one, or one that is trained here, once for all notebooks.

    A training that was interrupted goes on. It lies in the folder ``runs`` beside the notebook.

    Raises:
        SettingsError: there is no such recipe; class mode has the default recipe alone.
        RunError: the run cannot be read or written.
    """
    cell = lesson(recipe)
    if cell is None:
        if recipe != "default":
            raise SettingsError(f"No run of {recipe!r} comes with the project: set SCN_MODE=full to train one.")
        return Run.load(SHIPPED)
    if finished(cell) is None:
        run_cell(cell, print)
    return Run.load(cell.folder)


class Batch(NamedTuple):
    """A mini-batch of a run and what its network makes of it; B samples, D features, C classes."""

    index: np.ndarray  # [B], which samples of the run
    faces: np.ndarray  # uint8 [B, H, W, 3]
    features: Tensor  # [B, D], x_i of Eq. 1
    attention: Tensor  # [D], W_a of Eq. 1
    attention_bias: Tensor | None  # [1]
    classifier: Tensor  # [C, D], W_j of Eq. 2
    classifier_bias: Tensor  # [C]
    target: Tensor  # int64 [B], given labels


def batch_of(run: Run, images: Sequence[np.ndarray], index: Sequence[int], before: bool = False) -> Batch:
    """Some samples of a run, their features, and the two last layers of its network.

    Args:
        run: a run that names its network.
        images: the run's faces, as `run_images` gives them.
        index: which samples.
        before: with the weights that the network had when relabeling began.
    """
    index = np.asarray(index)
    faces = np.stack([images[i] for i in index])
    model = network_of(run, before)
    head = find_head(model)
    features = features_of(model, [prepare(torch.from_numpy(faces), run.settings["input"])])
    parameters = (head.attention_weight, head.attention_bias, head.weight, head.bias)
    fixed = [None if p is None else p.detach() for p in parameters]
    return Batch(index, faces, features, *fixed, target=run.ledger.given[torch.from_numpy(index)])


def checkpoint(claim: str, holds, hint: str = "") -> None:
    """Say that a claim holds, or stop with what to look at.

    Args:
        claim: a statement in words.
        holds: whether it is true.
        hint: what to look at if it is not.

    Raises:
        AssertionError: it is not true.

    >>> checkpoint("a sigmoid lies between 0 and 1", 0 < 0.5 < 1)
    yes: a sigmoid lies between 0 and 1
    """
    if not bool(holds):
        raise AssertionError(f"Not yet: {claim}." + (f" {hint}" if hint else ""))
    print(f"yes: {claim}")
