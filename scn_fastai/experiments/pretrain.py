"""Pretraining stand-ins on rendered faces: backbones with their cards (`table3` fine-tunes from them).

The paper pretrains on MS-Celeb-1M (faces of people) and on WebEmotion (search words as labels); neither can be passed
on. Here the people of the rendered faces stand in for the one, their expressions under heavy human-like label noise
for the other. The people are divided once: some are for pretraining, the others for fine-tuning, so that no face and
no person is in both. What is learned from this is how the parts work together, not what real faces would give.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data.convention import InputConvention
from scn_fastai.data.noise import face_doubt, flip_labels
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet
from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.compare import Cell, finished
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.verify import held_out_auroc
from scn_fastai.training.network import network_of
from scn_fastai.training.pretrained import save_backbone
from scn_fastai.training.run import Run

FILE = "backbone.safetensors"
SHARE = 0.7  # of the people in the training split that pretraining gets
WEB_NOISE = 0.5  # share of wrong labels; the paper does not count them
# The default waits until 85 % of the averaged predictions stand still; with half of the labels wrong that was at epoch
# 24 of 30 (`scn pretrain --what web --scn --limit 2000`), too late to do anything, and 77 % at epoch 16.
SCN = "default:settled=0.75:noise_needed=0:aside=0"  # works early, also where labels are right; as Table 3 was measured
METRIC = "cosface"  # the recipe of metric learning
SPLIT_SEED = 2020  # who is for pretraining is the same in every run


@dataclass(frozen=True)
class Task:
    """A FaceSet made of the rendered faces, in the place of a `Source`: plain values, and ``load(seed)``.

    what: ``identity`` (which person; a face of each is held out), ``web`` (expressions of the pretraining people,
    many labels wrong), or ``target`` (expressions of the others, few labels wrong; the valid split as it is).
    limit: number of training faces (of ``identity``: people are left out, not faces). noise: share of wrong labels.
    """

    what: str
    limit: int | None = None
    noise: float = 0.0
    path: str | None = None

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return {"task": self.what, "limit": self.limit, "noise": self.noise, "path": self.path}

    def load(self, seed: int = 0) -> FaceSet:
        """The faces; with every seed other labels are wrong, and another face of each person is held out.

        Raises:
            DataError: the rendered faces cannot be read, or the limit does not fit.
            SettingsError: there is no such task.
        """
        if self.what not in ("identity", "web", "target"):
            raise SettingsError(f"There is no task {self.what!r}: it is identity, web or target.")
        faces = rendered_faces(self.path, ("train", "valid"))
        if self.what == "identity":
            return people(only_people(faces, for_pretraining(faces)), self.limit, seed)
        chosen = for_pretraining(faces)
        faces = only_people(faces, chosen if self.what == "web" else ~chosen)
        if self.limit is not None:
            faces = faces.limit(self.limit, seed=0)
        return wrong_by_people(faces, self.noise, seed) if self.noise else faces


def source_of(data: dict) -> Source | Task:
    """Where a run's faces came from, as its settings say.

    Raises:
        RunError: another version wrote them.
    """
    try:
        if "task" in data:
            return Task(data["task"], *(data[name] for name in ("limit", "noise", "path")))
        return Source(**data)
    except (TypeError, KeyError) as error:
        raise RunError(
            f"The run was made by another version of scn_fastai, which named its data otherwise: {data}."
        ) from error


def for_pretraining(faces: FaceSet, share: float = SHARE) -> np.ndarray:
    """Mask over the rows: training faces of people who are for pretraining, the same people in every call."""
    train = (faces.samples["split"] == "train").to_numpy()
    persons = np.unique(faces.samples.loc[train, "identity"])
    chosen = np.random.default_rng(SPLIT_SEED).permutation(persons)[: round(share * len(persons))]
    return train & faces.samples["identity"].isin(chosen).to_numpy()


def only_people(faces: FaceSet, mask: np.ndarray) -> FaceSet:
    """The training faces under a mask, and the whole of the other splits."""
    return faces.take(mask | (faces.samples["split"] != "train").to_numpy())


def people(faces: FaceSet, limit: int | None = None, seed: int = 0) -> FaceSet:
    """Which person is it? The training faces with the person as class; one face of each is held out for validation.

    limit: at most so many faces in all, by leaving people out.
    """
    train = faces.part("train")
    persons = train.samples["identity"].to_numpy()
    known, counts = np.unique(persons, return_counts=True)
    known = known[counts >= 2]  # one to learn from, one to be known by
    if limit is not None:
        many = np.cumsum(pd.Series(persons).value_counts().reindex(known).to_numpy())
        known = known[: max(2, int((many <= limit).sum()))]
    train = train.take(np.isin(persons, known))
    names = [f"person {number:04d}" for number in known]
    samples = train.samples.copy()
    samples["label"] = [f"person {number:04d}" for number in samples["identity"]]
    samples["true_label"] = samples["label"]
    order = pd.Series(np.random.default_rng(seed).random(len(samples)))
    held_out = order.groupby(samples["identity"].to_numpy()).rank(method="first") == 1
    samples["split"] = np.where(held_out, "valid", "train")
    return replace(train, samples=samples, classes=names)


def wrong_by_people(faces: FaceSet, noise: float, seed: int) -> FaceSet:
    """A share of the training labels made wrong as people would: uncertain faces first, along usual confusions."""
    train = faces.part("train")
    how = {"doubt": face_doubt(train.samples), "second": train.samples["second"]}
    flipped = flip_labels(train.label_codes(), noise, kind="human", seed=seed, classes=faces.classes, **how)
    return faces.with_labels(flipped.labels)


# ---- pretraining ----


@dataclass(frozen=True)
class Pretraining:
    """A way to pretrain that has a name: a task, and a recipe to train it by."""

    name: str
    what: str
    recipe: str
    noise: float
    about: str


def how_of(recipe: str) -> str:
    """How a recipe learns: ``classification`` or ``metric``.

    >>> how_of("plain"), how_of("cosface:margin=0.3")
    ('classification', 'metric')
    """
    return "metric" if recipe.partition(":")[0] == METRIC else "classification"


PRETRAININGS = {
    entry.name: entry
    for entry in (
        Pretraining(
            "identity", "identity", "plain", 0.0, "people of the rendered faces, without SCN (for MS-Celeb-1M)"
        ),
        Pretraining("identity-scn", "identity", SCN, 0.0, "people of the rendered faces, with SCN"),
        Pretraining("identity-metric", "identity", METRIC, 0.0, "people of the rendered faces, by CosFace"),
        Pretraining("web", "web", "plain", WEB_NOISE, "half of the labels wrong, without SCN (for WebEmotion)"),
        Pretraining("web-scn", "web", SCN, WEB_NOISE, "half of the labels wrong, with SCN"),
    )
}


def pretraining_name(what: str, how: str = "classification", scn: bool = False) -> str:
    """The name of a pretraining in `PRETRAININGS`.

    Raises:
        SettingsError: there is none, or these two do not go together.

    >>> pretraining_name("identity", "metric"), pretraining_name("web", scn=True)
    ('identity-metric', 'web-scn')
    """
    if what not in ("identity", "web"):
        raise SettingsError(f"There is nothing called {what!r} to pretrain on: --what is identity or web.")
    if how not in ("classification", "metric"):
        raise SettingsError(f"There is no way {how!r} to pretrain: --how is classification or metric.")
    if how == "metric" and what == "web":
        raise SettingsError(
            "Metric learning needs to know who is on a picture, and the web's labels are expressions: leave "
            "--how metric out, or take --what identity."
        )
    if how == "metric" and scn:
        raise SettingsError("SCN cures the labels of a classification: leave out either --scn or --how metric.")
    return what + ("-metric" if how == "metric" else "-scn" if scn else "")


def pretrain_cell(name: str, train: TrainSettings, out: Path, limit: int | None = None, path: str | None = None,
                  noise: float | None = None) -> Cell:  # fmt: skip
    """The training of a pretraining by name, in the folder ``out``; noise: another share of wrong labels.

    Raises:
        SettingsError: there is no such pretraining, or noise for a task that has none.
    """
    if name not in PRETRAININGS:
        raise SettingsError(f"There is no pretraining {name!r}; there are: {', '.join(PRETRAININGS)}.")
    entry = PRETRAININGS[name]
    if noise and entry.what == "identity":
        raise SettingsError("Who a person is has no label noise here: leave --noise out, or pretrain on web.")
    task = Task(entry.what, limit, entry.noise if noise is None else noise, path)
    return Cell(entry.recipe, train, task, Path(out))


def save_pretrained(cell: Cell, command: str = "") -> Path:
    """The backbone of a finished pretraining, with its card, in the folder of its run; written once.

    Of people the card also has ``verification_auroc``: pairs of faces of people whom no pretraining sees.

    Raises:
        RunError: it cannot be read or written.
    """
    file = cell.folder / FILE
    if file.exists() and file.with_suffix(".json").exists():
        return file
    run, summary = Run.load(cell.folder), finished(cell)
    how = {name: run.settings["input"].get(name) for name in ("mean", "std", "size")}
    convention = InputConvention(how["size"], how["mean"], how["std"], framing="rendered faces, 64 px, whole heads")
    names = ("accuracy_last", "accuracy_best", "epochs", "n_train", "seed", "label_accuracy_before", "seconds")
    figures = {name: summary[name] for name in names} | {"classes": len(run.classes), "scn_began": scn_began(run)}
    task = cell.source
    if task.what == "identity":
        figures["verification_auroc"] = held_out_auroc(run, task.path)
    trained_on = {
        "identity": f"{len(run.classes)} people of the rendered faces, {summary['n_train']:,} faces",
        "web": f"{summary['n_train']:,} rendered faces, {task.noise:.0%} of their labels wrong as people would err",
        "target": f"{summary['n_train']:,} rendered faces",
    }[task.what]
    trained_on += f"; recipe {cell.recipe}"
    rest = (convention, trained_on, command, figures, how_of(cell.recipe))
    return save_backbone(network_of(run), file, cell.train.arch, *rest)


def scn_began(run: Run) -> int | None:
    """The first epoch in which SCN weighted or relabeled; None: it never did, and the training was a plain one."""
    frame, scn = run.history.frame(), run.settings["scn"]
    at_work = frame["weighting"].astype(bool) & bool(scn["weight"] or scn["rank"])
    at_work |= frame["relabeling"].astype(bool) & bool(scn["relabel"])
    return int(at_work.idxmax()) if at_work.any() else None
