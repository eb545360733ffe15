"""Pretraining stand-ins on rendered faces, and the four rows of the paper's Table 3.

The paper pretrains on MS-Celeb-1M (faces of people) and on WebEmotion (search words as labels); neither can be passed
on. Here the people of the rendered faces stand in for the one, their expressions under heavy human-like label noise
for the other. The people are divided once: some are for pretraining, the others for fine-tuning, so that no face and
no person is in both. What is learned from this is how the parts work together, not what real faces would give.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data.convention import InputConvention
from scn_fastai.data.noise import face_doubt, flip_labels
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.compare import Cell, compare, finished, run_name
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.training.network import network_of
from scn_fastai.training.pretrained import save_backbone
from scn_fastai.training.run import Run

FILE = "backbone.safetensors"
SHARE = 0.7  # of the people in the training split that pretraining gets
WEB_NOISE, TARGET_NOISE = 0.5, 0.1  # shares of wrong labels; the paper counts them in neither set
# The default waits until 85 % of the averaged predictions stand still; with half of the labels wrong that was at epoch
# 24 of 30 (`scn pretrain --what web --scn --limit 2000`), too late to do anything, and 77 % at epoch 16.
SCN = "default:settled=0.75:noise_needed=0"  # sets to work early, and on faces whose labels are right too
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


PRETRAININGS = {
    entry.name: entry
    for entry in (
        Pretraining(
            "identity", "identity", "plain", 0.0, "people of the rendered faces, without SCN (for MS-Celeb-1M)"
        ),
        Pretraining("identity-scn", "identity", SCN, 0.0, "people of the rendered faces, with SCN"),
        Pretraining("web", "web", "plain", WEB_NOISE, "half of the labels wrong, without SCN (for WebEmotion)"),
        Pretraining("web-scn", "web", SCN, WEB_NOISE, "half of the labels wrong, with SCN"),
    )
}


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
    trained_on = {
        "identity": f"{len(run.classes)} people of the rendered faces, {summary['n_train']:,} faces",
        "web": f"{summary['n_train']:,} rendered faces, {task.noise:.0%} of their labels wrong as people would err",
        "target": f"{summary['n_train']:,} rendered faces",
    }[task.what]
    trained_on += f"; recipe {cell.recipe}"
    return save_backbone(network_of(run), file, cell.train.arch, convention, trained_on, command, figures)


def scn_began(run: Run) -> int | None:
    """The first epoch in which SCN weighted or relabeled; None: it never did, and the training was a plain one."""
    frame, scn = run.history.frame(), run.settings["scn"]
    at_work = frame["weighting"].astype(bool) & bool(scn["weight"] or scn["rank"])
    at_work |= frame["relabeling"].astype(bool) & bool(scn["relabel"])
    return int(at_work.idxmax()) if at_work.any() else None


# ---- Table 3 ----


@dataclass(frozen=True)
class Row:
    """A row of Table 3: what was pretrained (None: nothing), and the recipe of the fine-tuning."""

    name: str
    pretraining: str | None
    recipe: str
    paper: float  # the paper's accuracy on RAF-DB, percent


TABLE3 = (
    Row("scratch, plain", None, "plain", 72.00),
    Row("web, plain", "web", "plain", 78.97),
    Row("web, SCN", "web", SCN, 80.42),
    Row("web with SCN, SCN", "web-scn", SCN, 82.45),
)


@dataclass(frozen=True)
class Size:
    """How long a Table 3 takes: faces and settings of its two stages."""

    pretrain_faces: int
    target_faces: int
    pretrain: TrainSettings
    finetune: TrainSettings


_SMALL = TrainSettings(arch="small", batch_size=64, half=False)
SIZES = {
    "tiny": Size(600, 400, replace(_SMALL, epochs=10), replace(_SMALL, epochs=10, lr=0.02)),  # shows that it runs
    "quick": Size(2000, 1000, replace(_SMALL, epochs=30), replace(_SMALL, epochs=30, lr=0.02)),
    "full": Size(4400, 1800, TrainSettings(epochs=40), TrainSettings(epochs=40, lr=0.02)),
}


def table3(
    out: str | Path,
    seeds: list[int],
    size: str | Size = "quick",
    jobs: int = 1,
    path: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Pretrain and fine-tune the four rows with every seed; a row per run: row, pretraining, and `summary_of`.

    ``scn_began`` is the epoch in which SCN set to work; a row with SCN that has none was too short for it.
    A finished run is never run again; an interrupted one goes on from its last epoch.

    Args:
        out: folder for the runs and their backbones.
        seeds: of the weights, the batches and the wrong labels.
        size: quick, full or tiny; or a `Size`.
        jobs: how many trainings at a time.
        path: where the rendered faces lie.
        progress: called with epochs done, epochs in all (of one stage), and a line about the run that moved.

    Raises:
        SettingsError: there is no such size.
        RunError: a folder holds a run with other settings.
    """
    out, chosen = Path(out), _size(size)
    first = pretraining_cells(out, seeds, chosen, path)
    compare(list(first.values()), jobs, progress)
    backbones = {key: save_pretrained(cell, f"scn table3 --out {out.name}") for key, cell in first.items()}
    target = Task("target", chosen.target_faces, TARGET_NOISE, path)
    grid, about = [], []
    for seed in seeds:
        for row in TABLE3:
            start = None if row.pretraining is None else str(backbones[row.pretraining, seed])
            train = replace(chosen.finetune, seed=seed, pretrained=start)
            folder = out / f"{row.pretraining or 'scratch'}-{run_name(row.recipe, seed)}"
            grid.append(Cell(row.recipe, train, target, folder))
            about.append({"row": row.name, "pretraining": row.pretraining or "", "paper_rafdb": row.paper})
    runs = compare(grid, jobs, progress)
    runs["scn_began"] = [scn_began(Run.load(cell.folder)) for cell in grid]
    return pd.concat([pd.DataFrame(about), runs.reset_index(drop=True)], axis=1)


def pretraining_cells(out: Path, seeds: list[int], size: Size, path: str | None = None) -> dict[tuple[str, int], Cell]:
    """The pretrainings that the rows need, by name and seed."""
    names = dict.fromkeys(row.pretraining for row in TABLE3 if row.pretraining)
    return {
        (name, seed): pretrain_cell(
            name, replace(size.pretrain, seed=seed), out / f"pretrain-{name}-seed{seed}", size.pretrain_faces, path
        )
        for seed in seeds
        for name in names
    }


def table3_summary(runs: pd.DataFrame) -> pd.DataFrame:
    """The table as the paper has it: mean and standard deviation of the last accuracy in percent.

    ``SCN at work`` counts the fine-tunings in which SCN began at all.
    """
    grouped = runs.groupby("row", sort=False)
    percent = grouped["accuracy_last"].agg(["mean", "std"]) * 100
    return pd.DataFrame(
        {
            "row": percent.index,
            "seeds": grouped.size().to_numpy(),
            "accuracy": percent["mean"].round(2).to_numpy(),
            "std": percent["std"].round(2).to_numpy(),
            "SCN at work": grouped["scn_began"].count().to_numpy(),
            "paper (RAF-DB)": grouped["paper_rafdb"].first().to_numpy(),
        }
    )


def _size(size: str | Size) -> Size:
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise SettingsError(f"There is no size {size!r} of Table 3; there are: {', '.join(SIZES)}.")
    return SIZES[size]


def settings_of(size: str | Size) -> dict:
    """The settings of a size as plain values, for JSON."""
    return asdict(_size(size))
