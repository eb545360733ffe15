"""Out-of-fold predictions: K networks, each says something of the faces that it did not train on."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import safetensors.numpy
from sklearn.model_selection import StratifiedKFold

from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.experiments.recipes import changed_since
from scn_fastai.experiments.recipes import recipe as recipe_by_name
from scn_fastai.files import replace_file, write_whole
from scn_fastai.training.score import score_samples


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What networks that did not train on a sample say of it: ``probs [N, C]`` and ``alpha [N]``, float32."""

    probs: np.ndarray
    alpha: np.ndarray


def fold_numbers(labels: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """The fold of each sample, int64 ``[N]``; every fold has its share of each class, as far as that can be.

    Raises:
        SettingsError: k does not fit.
        DataError: a class has one sample only: a network that does not see it does not know the class.
    """
    labels = np.asarray(labels)
    if not 2 <= k <= len(labels):
        raise SettingsError(f"{k} folds do not fit {len(labels):,} samples: give 2 or more, and no more than those.")
    counts = np.bincount(labels)
    if (counts == 1).any():
        raise DataError(f"Class {int(np.flatnonzero(counts == 1)[0])} has one sample only: leave it out of the folds.")
    folds = np.full(len(labels), -1)
    # With more folds than samples of a class scikit-learn warns, and does what we want.
    for code in np.flatnonzero(counts < k):
        rows = np.flatnonzero(labels == code)
        folds[rows] = np.random.default_rng((seed, code)).permutation(k)[: len(rows)]
    rest = np.flatnonzero(folds < 0)
    if len(rest):
        split = StratifiedKFold(k, shuffle=True, random_state=seed).split(rest, labels[rest])
        for number, (_, held) in enumerate(split):
            folds[rest[held]] = number
    return folds


def out_of_fold(
    faces: FaceSet,
    recipe: str = "plain",
    train: TrainSettings | None = None,
    k: int = 5,
    seed: int = 0,
    folder: str | Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> OutOfFold:
    """Probabilities and alpha of every training face by a network that did not train on it: K trainings.

    A finished fold is kept in ``folder`` and not trained again.

    Args:
        faces: with the splits train and valid; the folds are of the training faces, by their given labels.
        recipe: how each network is trained.
        train: how to train.
        k: folds.
        seed: of the folds.
        folder: where finished folds are kept; None keeps nothing.
        tell: called with a line for each fold.

    Raises:
        SettingsError: k does not fit.
        DataError: a class has one face only, or the folds are too small for a batch.
        RunError: the folder holds the folds of another training, or one that is damaged.
    """
    train, rows = train or TrainSettings(), faces.rows("train")
    labels = faces.label_codes()[rows]
    folds = fold_numbers(labels, k, seed)
    if len(rows) - np.bincount(folds).max() < train.batch_size:
        raise DataError(
            f"{k} folds leave fewer faces than a batch of {train.batch_size}: choose fewer folds or smaller batches."
        )
    about = {"recipe": recipe, "train": asdict(train), "k": k, "seed": seed, "labels": labels.tolist()}
    chosen = recipe_by_name(recipe)
    about |= {"scn": chosen.settings.as_dict(), "options": dict(chosen.options)}
    folder = None if folder is None else _own_folder(Path(folder), about)
    probs, alpha = np.full((len(rows), len(faces.classes)), np.nan, np.float32), np.full(len(rows), np.nan, np.float32)
    for number in range(k):
        held = folds == number
        file = None if folder is None else folder / f"fold_{number:02d}.safetensors"
        done = file is not None and file.exists()
        found = _read_fold(file) if done else _train_fold(faces, rows, held, recipe, train)
        if file is not None and not done:
            replace_file(file, lambda path, found=found: safetensors.numpy.save_file(found, path))
        probs[held], alpha[held] = found["probs"], found["alpha"]
        if tell is not None:
            tell(f"fold {number + 1} of {k} {'was there' if done else 'is done'}")
    return OutOfFold(probs, alpha)


def _read_fold(file: Path) -> dict:
    try:
        return safetensors.numpy.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(f"{file} is damaged: remove it, and this fold is trained again.") from error


def _train_fold(faces: FaceSet, rows: np.ndarray, held: np.ndarray, recipe: str, train: TrainSettings) -> dict:
    """Train without the held-out faces, then ask the network for them."""
    keep = np.ones(len(faces), bool)
    keep[rows[held]] = False
    learn = face_learner(faces.take(keep), recipe, train)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(train.epochs, train.lr)
    images = faces.images[rows[held]]
    table = score_samples(learn, list(images))
    # safetensors writes the memory as it lies, and pandas hands out columns that lie the other way round.
    probs = np.ascontiguousarray(table[[f"p_{name}" for name in faces.classes]].to_numpy(np.float32))
    return {"probs": probs, "alpha": np.ascontiguousarray(table["alpha"].to_numpy(np.float32))}


def _completed(known: dict, about: dict) -> dict:
    """What an earlier version wrote, in today's words where these mean the same."""
    train = {f.name: f.default for f in fields(TrainSettings)} | known.get("train", {})
    same = {} if changed_since(known, about["recipe"]) else {name: about[name] for name in ("scn", "options")}
    return known | {"train": train} | same


def _own_folder(folder: Path, about: dict) -> Path:
    """The folder of exactly these folds."""
    file = folder / "folds.json"
    if file.exists():
        try:
            known = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            known = {}
        known = known if isinstance(known, dict) else {}
        if _completed(known, about) != json.loads(json.dumps(about)):
            raise RunError(f"{folder} holds the folds of another training: choose another folder, or remove that one.")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(about))
    return folder
