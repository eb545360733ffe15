"""One training from faces to a summary: the Learner that the command line, the demo and the notebooks use."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fastai.callback import schedule  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.imports import noop
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import SGD, OptimWrapper
from fastai.torch_core import set_seed
from sklearn.metrics import roc_auc_score

from scn_fastai.data.loaders import face_loaders
from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.experiments.recipes import change_words, changed_since
from scn_fastai.experiments.recipes import recipe as recipe_by_name
from scn_fastai.files import write_whole
from scn_fastai.methods.method import Method
from scn_fastai.training.callback import SCNCallback
from scn_fastai.training.measures import MeanClassAccuracy, repair_measures
from scn_fastai.training.network import (
    CPUAutocast,
    best_device,
    build_network,
    cpu_has_bfloat16,
    fixed_size,
    keep_freed_memory,
)
from scn_fastai.training.pretrained import Loaded, load_backbone
from scn_fastai.training.processes import asked_processes, distributed, rank, share_of_batch
from scn_fastai.training.run import Run
from scn_fastai.training.truth import TruthColumns


@dataclass(frozen=True)
class TrainSettings:
    """How to train, whatever the recipe: the same for every recipe of a comparison."""

    arch: str = "resnet18"
    size: int | None = None
    epochs: int = 25
    batch_size: int = 128
    lr: float = 0.05
    wd: float = 5e-4
    seed: int = 0
    device: str = "auto"
    half: bool | None = None  # mixed precision; None: where the hardware has it
    compile: bool = False
    oversample: bool = False  # draw every class equally often
    pretrained: str | None = None  # a checkpoint for the backbone, see `load_backbone`
    pretrained_kind: str | None = None  # how its inputs were made; None: recognised


MAY_CHANGE = ("epochs", "device", "half", "compile")  # of TrainSettings, where a training is resumed


def face_learner(
    faces: FaceSet,
    recipe: str = "default",
    train: TrainSettings | None = None,
    folder: str | Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> Learner:
    """A Learner for small faces with the recipe's SCNCallback, fast on CPU and GPU.

    SGD with momentum in one fused step, channels-last, mixed precision where the hardware has it, batches cut
    and augmented on the device. ``learn.fit_one_cycle(train.epochs, train.lr)`` trains it. With a pretrained backbone
    the loaders prepare images as its checkpoint wants them (``train.size`` goes before its size), and
    ``learn.pretrained`` says what was loaded; it is None without one.

    Args:
        faces: with the splits train and valid; given labels in ``label``.
        recipe: a name, as `recipe()` understands it.
        train: how to train.
        folder: where the Run is saved after each epoch; None saves nothing.
        tell: given what became of a pretrained backbone's tensors, in a few lines.

    Raises:
        SettingsError: the recipe's method draws its own batches and ``train.oversample`` is set, or it cannot train in
            the processes that `torchrun` started.
    """
    train = train or TrainSettings()
    device = best_device() if train.device == "auto" else torch.device(train.device)
    if device.type == "cpu":
        keep_freed_memory()
    set_seed(train.seed, reproducible=False)
    chosen = recipe_by_name(recipe)
    if chosen.method is not None:
        _check_method(chosen.method, train)
    arch = train.arch if chosen.method is None else chosen.method.arch(train.arch)
    model = build_network(arch, len(faces.classes))
    loaded = load_backbone(model, train.pretrained, train.pretrained_kind, tell) if train.pretrained else None
    dls = loaders_for(faces, train, arch, share_of_batch(train.batch_size), device, loaded)
    scn = SCNCallback(chosen.settings, run=_new_run(faces, recipe, train, arch, dls, folder, loaded))
    model = model.to(device)
    # A learnable margin must not decay, which only fastai's own optimizer can tell apart; the rest does as in torch's.
    learns = chosen.settings.learn_margin
    opt_func = partial(SGD, mom=0.9, decouple_wd=False) if learns else partial(_torch_sgd, wd=train.wd)
    learn = Learner(dls, model, CrossEntropyLossFlat(), opt_func, lr=train.lr, wd=train.wd, wd_bn_bias=True,
                    metrics=[accuracy, MeanClassAccuracy()], cbs=[scn])  # fmt: skip
    learn.pretrained = loaded
    truth = _truth_codes(faces)
    if truth is not None:
        learn.add_cb(TruthColumns(truth))
    if chosen.method is not None:
        chosen.method.prepare(learn, faces, **chosen.options)
    _add_speed(learn, train, device)
    return learn


def loaders_for(
    faces: FaceSet,
    train: TrainSettings,
    arch: str,
    batch_size: int,
    device: str | torch.device,
    loaded: Loaded | None = None,
) -> DataLoaders:
    """Loaders that give faces as a network wants them: its size, and the inputs of what was loaded into it.

    Args:
        faces: with the splits train and valid.
        train: its size goes before the others; its batch size is not looked at.
        arch: the network's architecture.
        batch_size: of each process.
        device: where the batches go.
        loaded: what became of a pretrained backbone, or None.
    """
    how = loaded.convention if loaded else None
    size = train.size or (how and how.size) or fixed_size(arch)
    return face_loaders(faces, batch_size, size, device=device, oversample=train.oversample, convention=how)


def _check_method(method: Method, train: TrainSettings) -> None:
    if method.draws and train.oversample:
        raise SettingsError(
            f"The recipe {method.name} draws batches of its own, so nothing would be oversampled: leave oversample "
            "out, or choose another recipe."
        )
    processes = asked_processes()
    if processes > 1 and not method.processes:
        raise SettingsError(
            f"The recipe {method.name} trains in one process, but torchrun started {processes}: start it without "
            "torchrun, or choose another recipe."
        )


class FusedSGD(torch.optim.SGD):
    """SGD in one fused pass over the weights; fastai's own takes several.

    A parameter may get its first gradient later than the others, as that of an importance head does which is put
    on a network that was trained before; torch's own fused SGD fails there.
    """

    def step(self, closure=None):
        """Take a step; a momentum of zero has the same effect as none."""
        if self.state:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None and self.state[p].get("momentum_buffer") is None:
                        self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return super().step(closure)


def _torch_sgd(params, lr: float, wd: float = 0.0, **_) -> OptimWrapper:
    return OptimWrapper(params, partial(FusedSGD, momentum=0.9, weight_decay=wd, fused=True), lr=lr)


def _add_speed(learn: Learner, train: TrainSettings, device: torch.device) -> None:
    half = train.half if train.half is not None else device.type == "cuda" or cpu_has_bfloat16()
    if half and device.type == "cpu":
        learn.add_cb(CPUAutocast())
    elif half:
        learn.to_fp16()
    if train.compile:
        learn.model.compile()


def _new_run(
    faces: FaceSet, recipe: str, train: TrainSettings, arch: str, dls, folder, loaded: Loaded | None
) -> Run | None:
    if folder is None:
        return None
    to_float, normalise = dls.train.after_batch.fs[-2:]
    how = {"mean": normalise.mean.flatten().tolist(), "std": normalise.std.flatten().tolist()}
    how |= {"shape": list(faces.images.shape[1:]), "size": None if to_float.size is None else to_float.size[0]}
    if loaded is not None:
        how |= {"crop": to_float.crop, "channels": to_float.channels}
    settings = {"recipe": recipe, "arch": arch, "train": asdict(train), "input": how}
    settings["options"] = dict(recipe_by_name(recipe).options)
    if loaded is not None:
        settings["pretrained"] = loaded.as_dict()
    return Run(folder, faces.samples, faces.classes, settings)


def _truth_codes(faces: FaceSet) -> np.ndarray | None:
    """True label codes of the training faces, or None where they are not all known."""
    table = faces.samples.iloc[faces.rows("train")]
    if "true_label" not in table or table["true_label"].isna().any():
        return None
    return faces.label_codes("true_label", split="train")


def train_faces(
    faces: FaceSet,
    recipe: str = "default",
    train: TrainSettings | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    callbacks=(),
    bar: bool = True,
    about: dict | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict:
    """Train one recipe on faces and return its summary (see `summary_of`); the Run lies in ``folder``.

    ``about`` is added to the Run's settings: where the faces come from, say. ``tell`` is given the report of a
    pretrained backbone. In the processes that `torchrun` started, each trains on its share of every batch, and the
    first one writes the run. How long a training took that was interrupted and resumed is not known, and None.

    Raises:
        DataError: a class has no training face, or there are fewer of them than one batch holds.
        RunError: ``resume`` is asked for and the folder holds no run, or one of another recipe or trained otherwise.
    """
    train = train or TrainSettings()
    _check_faces(faces, train)
    run = _run_to_resume(folder, recipe, train) if resume else None
    learn = face_learner(faces, recipe, train, folder, tell)
    start = run.resume(learn) if run is not None else 0
    if folder is not None:  # of a resumed run too, which then is as long as it is now asked to be
        learn.scn.saved.settings |= {"train": asdict(train)} | (about or {})
    learn.add_cbs(callbacks)
    if not bar:
        learn.remove_cb(ProgressCallback)
        learn.logger = noop
    began = time.perf_counter()
    if start < train.epochs:
        with distributed(learn):
            learn.fit_one_cycle(train.epochs, train.lr, start_epoch=start)
    seconds = time.perf_counter() - began
    seen = (train.epochs - start) * len(learn.dls.train) * learn.dls.train.bs
    summary = summary_of(learn.scn, _truth_codes(faces))
    summary |= {"recipe": recipe, "seed": train.seed, "n_train": len(learn.dls.train_ds)}
    speed = {"seconds": round(seconds, 1), "images_per_second": round(seen / seconds, 1) if seen else None}
    summary |= _speed_before(folder, whole=start >= train.epochs) if start else speed
    if folder is not None and rank() == 0:
        write_whole(Path(folder) / "summary.json", json.dumps(summary, indent=1))
    return summary


def _speed_before(folder: str | Path, whole: bool) -> dict[str, float | None]:
    """How long a resumed run took, if it was whole: as its summary says; else None, its first part was not timed."""
    try:
        known = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8")) if whole else {}
    except (OSError, ValueError):  # it was interrupted before it wrote one
        known = {}
    return {name: known.get(name) for name in ("seconds", "images_per_second")}


class TellEpochs(Callback):
    """Say a line at the end of every epoch, for those who look on from elsewhere.

    Args:
        tell: called with the line.
        what: how the training is called in it.
    """

    order = 55  # after Recorder

    def __init__(self, tell: Callable[[str], None], what: str):
        self.tell, self.what = tell, what

    def after_epoch(self) -> None:
        """Tell the epoch and the accuracy that validation found."""
        self.tell(f"{self.what}: epoch {self.learn.epoch}, accuracy {self.learn.scn.history.last('accuracy'):.3f}")


def summary_of(scn: SCNCallback, truth: np.ndarray | None) -> dict:
    """The figures of a finished training; what cannot be known (no truth, no relabel) is None.

    accuracy_last, accuracy_best, epoch_best, mean_class_accuracy_last, mean_class_accuracy_best (all of validation),
    epochs, changed, noise_estimate (share of given labels that look wrong); and with the truth relabel_precision,
    relabel_recall, relabel_harm, label_accuracy_before, label_accuracy_after (see `repair_measures`), and
    alpha_doctor (see `diagnose_alpha`), and auroc_alpha, auroc_loss: how well 1 - alpha, and the loss against the
    given label, tell wrong given labels from right ones in the last epoch.
    """
    frame, ledger = scn.history.frame(), scn.ledger
    reached = frame["accuracy"].tolist() if "accuracy" in frame else []
    figures = {"epochs": len(frame), "accuracy_last": None, "accuracy_best": None, "epoch_best": None}
    if reached:
        best = int(np.nanargmax(reached))
        figures |= {"accuracy_last": reached[-1], "accuracy_best": reached[best], "epoch_best": best}
    by_class = frame["mean_class_accuracy"].tolist() if "mean_class_accuracy" in frame else []
    figures["mean_class_accuracy_last"] = _known(by_class[-1]) if by_class else None
    figures["mean_class_accuracy_best"] = _known(float(np.nanmax(by_class))) if by_class else None
    figures["changed"] = int((ledger.current != ledger.given).sum())
    figures["noise_estimate"] = _known(frame["noise_estimate"].iloc[-1]) if "noise_estimate" in frame else None
    names = ("relabel_precision", "relabel_recall", "relabel_harm", "label_accuracy_before", "label_accuracy_after")
    repair = {} if truth is None else repair_measures(ledger.given, ledger.current, torch.from_numpy(truth))
    figures |= {name: _known(repair.get(name)) for name in names}
    wrong = None if truth is None else ledger.given.cpu().numpy() != truth
    figures["auroc_alpha"] = _auroc(wrong, 1 - scn.history.alpha[-1]) if len(frame) else None
    margin = scn.settings.rank_margin
    figures["alpha_doctor"] = scn.history.doctor(margin).kind if len(frame) else None
    figures["auroc_loss"] = _auroc(wrong, scn.history.loss(ledger.given)) if len(frame) else None
    return figures


def _auroc(wrong: np.ndarray | None, suspicion: np.ndarray) -> float | None:
    """Area under the ROC curve over the samples seen, or None where one kind is missing."""
    if wrong is None:
        return None
    seen = np.isfinite(suspicion)
    if wrong[seen].all() or not wrong[seen].any():
        return None
    return float(roc_auc_score(wrong[seen], suspicion[seen]))


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _check_faces(faces: FaceSet, train: TrainSettings) -> None:
    codes = faces.label_codes(split="train")
    counts = np.bincount(codes, minlength=len(faces.classes))
    empty = [name for name, count in zip(faces.classes, counts, strict=True) if not count]
    if empty:
        raise DataError(f"The class {empty[0]!r} has no training face: leave it out of the classes or add some.")
    if len(codes) < train.batch_size:
        raise DataError(
            f"A batch of {train.batch_size} is more than the {len(codes)} training faces, so there would be nothing to "
            "train on: choose a smaller batch size."
        )


def _run_to_resume(folder: str | Path | None, recipe: str, train: TrainSettings) -> Run:
    if folder is None:
        raise RunError("There is nothing to resume without a folder: say where the run lies.")
    run = Run.load(folder)
    if run.settings.get("recipe") != recipe:
        raise RunError(
            f"{folder} holds a run of the recipe {run.settings.get('recipe')!r}, not of {recipe!r}: resume it with its "
            "own, or choose another folder."
        )
    stored, asked = run.settings.get("train", {}), asdict(train)
    other = {n: (stored[n], asked[n]) for n in asked if n not in MAY_CHANGE and n in stored and stored[n] != asked[n]}
    other |= changed_since(run.settings, recipe)
    if other:
        words = change_words(other)
        raise RunError(f"{folder} holds a run that is trained otherwise ({words}): resume it as it began.")
    return run
