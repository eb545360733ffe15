"""A training on disk: samples, ledger, history, settings and weights, in open formats, saved whole or not at all."""

import json
import os
import platform
import random
import shutil
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy
import safetensors.torch
import torch
from fastai.optimizer import Optimizer
from fastcore.foundation import L
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from scn_fastai.errors import RunError
from scn_fastai.files import replace_file
from scn_fastai.training.callback_state import callback_states, load_callback_states
from scn_fastai.training.folders import finish_swap, old_folder, swap
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.processes import n_processes

FORMAT = 1
MUST_HAVE = ("settings.json", "samples.parquet", "ledger.parquet", "history/epochs.parquet", "model.safetensors")
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, safetensors.SafetensorError)
UNWRITABLE = (OSError, RuntimeError, safetensors.SafetensorError)  # torch and safetensors wrap a full disk


class Run:
    """A training as a folder: everything that plots, reports and predictions need, and what a resume needs.

    ``samples.parquet`` (the samples table), ``ledger.parquet`` (given and current labels are rebuilt from the
    table and the changes), ``proposals.parquet`` (if there are changes that a person is to decide), ``history/`` (a
    row per epoch, and per epoch a file with alpha, logits and group), ``settings.json`` (SCN settings, classes,
    library versions and what the maker adds), ``model.safetensors`` (weights now), ``model_before.safetensors``
    (weights when relabeling began) and ``resume/`` (optimizer, random generators, and what callbacks carry from epoch
    to epoch: tensors only). Nothing in it is a pickle that could run code.

    It is written at the end of every epoch to a folder beside, which then takes the place of the old one: an
    interrupt or a full disk costs the running epoch, nothing more.

    Args:
        folder: where it lies, or will lie.
        samples: the samples table, train rows in the order of the training set.
        classes: class names.
        settings: plain values that describe the run (JSON).
    """

    def __init__(self, folder: str | Path, samples: pd.DataFrame, classes: list[str], settings: dict | None = None):
        self.folder, self.samples, self.classes = Path(folder), _storable(samples), list(classes)
        self.settings = dict(settings or {})
        self.ledger: LabelLedger | None = None
        self.history: SCNHistory | None = None
        self._random: dict | None = None
        self._on_disk = False  # whether the folder holds an earlier state of this very run

    def __repr__(self) -> str:
        epochs = self.history.epoch if self.history else 0
        return f"<Run {self.folder.name}: {len(self.train_samples)} samples, {epochs} epochs>"

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def train_samples(self) -> pd.DataFrame:
        """The train part of the samples table: row i is sample i of ledger and history."""
        return self.samples[self.samples["split"] == "train"].reset_index(drop=True)

    @property
    def truth(self) -> Tensor | None:
        """True label of every training sample, int64 ``[N]``, or None where the table has none."""
        table = self.train_samples
        if "true_label" not in table or table["true_label"].isna().any():
            return None
        codes = {name: code for code, name in enumerate(self.classes)}
        return torch.tensor([codes[name] for name in table["true_label"].tolist()])

    def weights(self, before: bool = False) -> dict[str, Tensor]:
        """The network's weights now, or those it had when relabeling began."""
        path = self.folder / ("model_before.safetensors" if before else "model.safetensors")
        if not path.exists():
            raise RunError(f"{path.parent.name} has no {path.name}: this run did not relabel.")
        try:
            return safetensors.torch.load_file(path)
        except DAMAGED as error:
            raise _damaged(self.folder, error) from error

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Read a run from its folder.

        Raises:
            RunError: the folder does not exist, is half written, or was made by a newer version.
        """
        folder = Path(folder)
        if not folder.exists() and old_folder(folder).exists():
            time.sleep(0.2)  # a training at work is between its two renames for an instant; a killed one for good
            finish_swap(folder)
        if not folder.is_dir():
            raise RunError(f"There is no run at {folder}: check the path, or make one with `scn train --out {folder}`.")
        missing = [name for name in MUST_HAVE if not (folder / name).exists()]
        if missing:
            raise RunError(f"{folder} is not a whole run: {missing[0]} is missing; train it again or use another copy.")
        try:
            settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
            newer = settings.get("format", 0) > FORMAT
            run = None if newer else cls._read(folder, settings)
        except DAMAGED as error:
            raise _damaged(folder, error) from error
        if newer:
            raise RunError(
                f"{folder} has format {settings['format']}, and this version of scn_fastai reads up to {FORMAT}: "
                "update scn_fastai."
            )
        return run

    @classmethod
    def _read(cls, folder: Path, settings: dict) -> "Run":
        run = cls(folder, pd.read_parquet(folder / "samples.parquet"), settings["classes"], settings)
        run._on_disk = True
        codes = {name: code for code, name in enumerate(run.classes)}
        given = [codes[name] for name in run.train_samples["label"]]
        run.ledger = LabelLedger(given, run.classes)
        rows = pd.read_parquet(folder / "history" / "epochs.parquet").to_dict("records")
        proposals = folder / "proposals.parquet"
        proposed = pd.read_parquet(proposals) if proposals.exists() else None
        run.ledger.replay(pd.read_parquet(folder / "ledger.parquet"), len(rows) - 1, proposed)
        arrays = [safetensors.numpy.load_file(folder / _epoch_file(epoch)) for epoch in range(len(rows))]
        run.history = SCNHistory.restore(rows, arrays, len(given), len(run.classes))
        evidence = folder / "history" / "evidence.safetensors"
        if evidence.exists():
            tensors = safetensors.torch.load_file(evidence)
            run.history.evidence, run.history.evidence_count = tensors["mean"], tensors["count"]
        return run

    # -- writing ------------------------------------------------------------------------------------------------

    @classmethod
    def of_learner(cls, run: "Run | str | Path", learn, scn) -> "Run":
        """The run that a Learner with SCN writes: a Run as it is, or a new one for a folder."""
        if not isinstance(run, Run):
            run = cls(run, _samples_of(learn, scn.ledger), scn.ledger.classes)
        run.ledger, run.history = scn.ledger, scn.history
        versions = {name: version(name) for name in ("fastai", "torch", "torchvision")}
        versions |= {"python": platform.python_version(), "scn_fastai": version("scn_fastai")}
        run.settings |= {"format": FORMAT, "classes": run.classes, "scn": scn.settings.as_dict(), "versions": versions}
        return run

    def save_epoch(self, learn, scn) -> None:
        """Write the whole run as it is after an epoch; nothing while a resume skips the epochs that were trained."""
        if self._random is not None:
            return
        model = learn.model.module if isinstance(learn.model, DistributedDataParallel) else learn.model
        weights = {k: v for k, v in model.state_dict().items() if isinstance(v, Tensor)}
        resume = {"opt": learn.opt.state_dict(), "random": _random_state(learn), "callbacks": callback_states(learn)}
        self.save(weights, _plain(resume))

    def save(self, weights: dict[str, Tensor], resume: dict | None = None) -> None:
        """Write the run to a folder beside its own, then put that in its place.

        Raises:
            RunError: it cannot be written (a full disk, a missing right); what was there before stays.
        """
        place = self.folder.resolve()
        if place == Path.cwd():
            raise RunError(f"{place} is the working directory, and a run needs a folder of its own: name one in it.")
        new = place.with_name(f".{place.name}.writing")
        try:
            finish_swap(place)
            shutil.rmtree(new, ignore_errors=True)
            (new / "history").mkdir(parents=True)
            if self._on_disk and n_processes() == 1 and (place / "ledger.parquet").exists():
                self.ledger.take_over(pd.read_parquet(place / "ledger.parquet"))  # of `save_labels` in a notebook, say
            self._write(new, weights, resume)
            swap(new, place)
        except UNWRITABLE as error:
            shutil.rmtree(new, ignore_errors=True)
            raise RunError(
                f"The run could not be saved to {self.folder} ({_reason(error)}): make room or choose another "
                "folder; the epochs saved before are still there."
            ) from error
        self._on_disk = True

    def save_labels(self) -> Path:
        """Write ``ledger.parquet`` alone: what persons decided since the last epoch. A resumed training reads it.

        Raises:
            RunError: the folder holds no run, holds other changes than this ledger began with (its training went on
                elsewhere), or cannot be written; then it is as it was.
        """
        path = self.folder / "ledger.parquet"
        stored = Run.load(self.folder).ledger.rows()
        rows = self.ledger.rows()
        if not rows.head(len(stored)).equals(stored):
            raise RunError(
                f"{self.folder.name} holds changes that this ledger does not know, so nothing was written: its "
                "training went on, or somebody else decided; load the run anew and decide there."
            )
        try:
            replace_file(path, rows.to_parquet)
        except UNWRITABLE as error:
            raise RunError(
                f"The labels could not be saved to {path} ({_reason(error)}); the file there is as it was."
            ) from error
        return path

    def _write(self, new: Path, weights: dict[str, Tensor], resume: dict | None) -> None:
        history = self.history
        if not self._take_over("samples.parquet", new):
            self.samples.to_parquet(new / "samples.parquet")
        self.ledger.rows().to_parquet(new / "ledger.parquet")
        if len(proposals := self.ledger.proposal_rows()):
            proposals.to_parquet(new / "proposals.parquet")
        history.frame().to_parquet(new / "history" / "epochs.parquet")
        for epoch in range(history.epoch):
            if epoch == history.epoch - 1 or not self._take_over(_epoch_file(epoch), new):
                safetensors.numpy.save_file(history.epoch_arrays(epoch), new / _epoch_file(epoch))
        if history.evidence is not None:
            evidence = {"mean": history.evidence.cpu(), "count": history.evidence_count.cpu()}
            safetensors.torch.save_file(evidence, new / "history" / "evidence.safetensors")
        # Copies: safetensors refuses tensors that share their memory, as tied weights do.
        plain = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in weights.items()}
        safetensors.torch.save_file(plain, new / "model.safetensors")
        if not self._take_over("model_before.safetensors", new) and history.last("relabeling", 0):
            self._take_over("model.safetensors", new, "model_before.safetensors")
        if resume is not None:
            (new / "resume").mkdir()
            torch.save(resume, new / "resume" / "state.pt")
        (new / "settings.json").write_text(json.dumps(self.settings, indent=1, default=str), encoding="utf-8")

    def _take_over(self, name: str, new: Path, new_name: str | None = None) -> bool:
        """Link or copy a file that the last save wrote and that does not change; False where there is none."""
        source, target = self.folder / name, new / (new_name or name)
        if not self._on_disk or not source.exists():
            return False
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
        return True

    # -- going on -------------------------------------------------------------------------------------------------

    def resume(self, learn) -> int:
        """Put the saved state into a Learner made like the first one; returns the epoch to go on from.

        ``learn.fit_one_cycle(n, start_epoch=run.resume(learn))`` then continues to the same bits as a training
        that was never interrupted (on CPU).

        Raises:
            RunError: the Learner has no SCNCallback, or another network or optimizer than the run.
        """
        scn = getattr(learn, "scn", None)
        if getattr(scn, "ledger", None) is None:
            raise RunError(f"{self.folder.name} cannot be resumed by a Learner without SCNCallback: add one to it.")
        state = self._resume_state()
        scn.ledger.load_state(self.ledger.state())
        if learn.opt is None:
            learn.create_opt()
        try:
            learn.model.load_state_dict(self.weights() | _extra(learn.model))
            load_callback_states(learn, state["callbacks"])
            _load_optimizer(learn.opt, state["opt"])
        except (RuntimeError, ValueError, KeyError, AssertionError) as error:
            if isinstance(error, RunError):
                raise
            raise RunError(
                f"{self.folder.name} was trained with another network or optimizer: make the Learner as its "
                f"settings.json says ({str(error).splitlines()[0]})."
            ) from error
        scn.history, scn.saved = self.history, self
        self.ledger, self._random = scn.ledger, state["random"]
        return self.history.epoch

    def _resume_state(self) -> dict:
        path = self.folder / "resume" / "state.pt"
        if not path.exists():
            raise RunError(f"{self.folder.name} cannot be resumed, for it has no resume/state.pt: train it again.")
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            return {"opt": state["opt"], "random": state["random"], "callbacks": state.get("callbacks", {})}
        except Exception as error:  # torch.load raises many kinds; a pickle that would run code is among them
            raise RunError(
                f"{self.folder.name} cannot be resumed: resume/state.pt is damaged or holds more than tensors, and "
                "was not opened; use another copy."
            ) from error

    def resume_random_state(self, learn) -> None:
        """Set the random generators as they were saved; once, when the first resumed epoch begins."""
        if self._random is not None:
            _set_random_state(learn, self._random)
            self._random = None


def _extra(model) -> dict:
    """The parts of a state dict that are no tensors: they come from the ledger, not from the weights file."""
    return {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}


def _samples_of(learn, ledger: LabelLedger) -> pd.DataFrame:
    """A samples table for a Learner whose loaders were made by fastai: what its items are, and their labels."""
    items = getattr(learn.dls.train_ds, "items", None) if not hasattr(learn.dls.train_ds, "plain") else None
    items = items.iloc[:, 0] if hasattr(items, "iloc") else items
    named = items is not None and len(items) and all(isinstance(item, str | os.PathLike) for item in items)
    names = [str(item) for item in items] if named else [str(i) for i in range(len(ledger.given))]
    labels = np.array(ledger.classes, dtype=object)[ledger.given.cpu().numpy()]
    return pd.DataFrame({"image": names, "split": "train", "label": labels})


def _storable(samples: pd.DataFrame) -> pd.DataFrame:
    """The table with paths as text, which is what a Parquet file holds."""
    image = [str(i) if isinstance(i, os.PathLike) else i for i in samples["image"]]
    return samples.reset_index(drop=True).assign(image=image)


def _plain(state):
    """A state in the types that load without a pickle: dicts, lists, numbers, Tensors of no other class."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, tuple):
        return tuple(_plain(value) for value in state)
    if isinstance(state, list | L):
        return [_plain(value) for value in state]
    if isinstance(state, Tensor):
        return state.detach().as_subclass(Tensor)
    return state.item() if isinstance(state, np.generic) else state


def _load_optimizer(opt, state: dict) -> None:
    opt.load_state_dict(state)
    if isinstance(opt, Optimizer):  # fastai's leaves the state where it was loaded, and in types it cannot go on with
        opt.hypers = L(opt.hypers)
        known = {p: {k: _to(v, p) for k, v in of_p.items()} for p, of_p in opt.state.items()}
        opt.state = defaultdict(dict, known)


def _to(value, like: Tensor):
    return value.to(like.device) if isinstance(value, Tensor) else value


def _random_state(learn) -> dict:
    """What a training carries from epoch to epoch besides its weights: generators, and the averaged loss it shows."""
    rng, recorder = getattr(learn.dls.train, "rng", None), getattr(learn, "recorder", None)
    _, keys, *position = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [torch.from_numpy(keys.astype(np.int64)), *position],
        "python": _python_state(random),
        "loader": None if rng is None else _python_state(rng),
        "smooth_loss": None if recorder is None else [recorder.smooth_loss.count, recorder.smooth_loss.val],
    }


def _set_random_state(learn, state: dict) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, *position = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *position))
    _set_python_state(random, state["python"])
    if state["loader"] is not None:
        _set_python_state(learn.dls.train.rng, state["loader"])
    if state["smooth_loss"] is not None and hasattr(learn, "recorder"):
        learn.recorder.smooth_loss.count, learn.recorder.smooth_loss.val = state["smooth_loss"]


def _python_state(rng) -> list:
    _, keys, gauss = rng.getstate()
    return [torch.tensor(keys), gauss]


def _set_python_state(rng, state: list) -> None:
    keys, gauss = state
    rng.setstate((3, tuple(keys.tolist()), gauss))


def _epoch_file(epoch: int) -> str:
    return f"history/epoch_{epoch:04d}.safetensors"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).splitlines()[0]


def _damaged(folder: Path, error: Exception) -> RunError:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunError(f"{folder} cannot be read ({what}): a file in it is damaged; use another copy.")
