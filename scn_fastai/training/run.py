"""A training on disk: samples, ledger, history, settings and weights, in open formats, saved whole or not at all."""

import json
import os
import platform
import random
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from scn_fastai.errors import RunError
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.ledger import LabelLedger

FORMAT = 1
MUST_HAVE = ("settings.json", "samples.parquet", "ledger.parquet", "history/epochs.parquet", "model.safetensors")


class Run:
    """A training as a folder: everything that plots, reports and predictions need, and what a resume needs.

    ``samples.parquet`` (the samples table), ``ledger.parquet`` (given and current labels are rebuilt from the
    table and the changes), ``history/`` (a row per epoch, and per epoch a file with alpha, logits and group),
    ``settings.json`` (SCN settings, classes, library versions and what the maker adds), ``model.safetensors``
    (weights now), ``model_before.safetensors`` (weights when relabeling began) and ``resume/`` (optimizer and
    random generators: tensors only). Nothing in it is a pickle that could run code.

    It is written at the end of every epoch to a folder beside, which then takes the place of the old one: an
    interrupt or a full disk costs the running epoch, nothing more.

    Args:
        folder: where it lies, or will lie.
        samples: the samples table, train rows in the order of the training set.
        classes: class names.
        settings: plain values that describe the run (JSON).
    """

    def __init__(self, folder: str | Path, samples: pd.DataFrame, classes: list[str], settings: dict | None = None):
        self.folder, self.samples, self.classes = Path(folder), samples.reset_index(drop=True), list(classes)
        self.settings = dict(settings or {})
        self.ledger: LabelLedger | None = None
        self.history: SCNHistory | None = None
        self._random: dict | None = None

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
        return torch.tensor([codes[name] for name in table["true_label"]])

    def weights(self, before: bool = False) -> dict[str, Tensor]:
        """The network's weights now, or those it had when relabeling began."""
        path = self.folder / ("model_before.safetensors" if before else "model.safetensors")
        if not path.exists():
            raise RunError(f"{path.parent.name} has no {path.name}: this run did not relabel.")
        return safetensors.torch.load_file(path)

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Read a run from its folder.

        Raises:
            RunError: the folder does not exist, is half written, or was made by a newer version.
        """
        folder = Path(folder)
        if not folder.exists() and _old(folder).exists():
            os.rename(_old(folder), folder)  # the writer was killed between its two renames
        if not folder.is_dir():
            raise RunError(f"There is no run at {folder}: check the path, or make one with `scn train --out {folder}`.")
        missing = [name for name in MUST_HAVE if not (folder / name).exists()]
        if missing:
            raise RunError(f"{folder} is not a whole run: {missing[0]} is missing; train it again or use another copy.")
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        if settings.get("format", 0) > FORMAT:
            raise RunError(
                f"{folder} has format {settings['format']}, and this version of scn_fastai reads up to {FORMAT}: "
                "update scn_fastai."
            )
        try:
            return cls._read(folder, settings)
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            raise RunError(f"{folder} cannot be read ({error}): a file in it is damaged; use another copy.") from error

    @classmethod
    def _read(cls, folder: Path, settings: dict) -> "Run":
        run = cls(folder, pd.read_parquet(folder / "samples.parquet"), settings["classes"], settings)
        codes = {name: code for code, name in enumerate(run.classes)}
        given = [codes[name] for name in run.train_samples["label"]]
        run.ledger = LabelLedger(given, run.classes)
        run.ledger.replay(pd.read_parquet(folder / "ledger.parquet"))
        rows = pd.read_parquet(folder / "history" / "epochs.parquet").to_dict("records")
        arrays = [safetensors.numpy.load_file(_epoch_file(folder, epoch)) for epoch in range(len(rows))]
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
        """Write the whole run as it is after an epoch."""
        weights = {k: v for k, v in learn.model.state_dict().items() if isinstance(v, Tensor)}
        resume = {"opt": _plain_numbers(learn.opt.state_dict()), "random": _random_state(learn)}
        self.save(weights, resume)

    def save(self, weights: dict[str, Tensor], resume: dict | None = None) -> None:
        """Write the run to a folder beside its own, then put that in its place.

        Raises:
            RunError: it cannot be written (a full disk, a missing right); what was there before stays.
        """
        new = self.folder.with_name(f".{self.folder.name}.writing")
        try:
            shutil.rmtree(new, ignore_errors=True)
            (new / "history").mkdir(parents=True)
            self._write(new, weights, resume)
            self._keep_other_files(new)
            _swap(new, self.folder)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise RunError(
                f"The run could not be saved to {self.folder} ({error.strerror or error}): make room or choose another "
                "folder; the epochs saved before are still there."
            ) from error

    def _write(self, new: Path, weights: dict[str, Tensor], resume: dict | None) -> None:
        old, history = self.folder, self.history
        if not _link(old / "samples.parquet", new / "samples.parquet"):
            self.samples.to_parquet(new / "samples.parquet")
        self.ledger.rows().to_parquet(new / "ledger.parquet")
        history.frame().to_parquet(new / "history" / "epochs.parquet")
        for epoch in range(history.epoch):
            if epoch == history.epoch - 1 or not _link(_epoch_file(old, epoch), _epoch_file(new, epoch)):
                safetensors.numpy.save_file(history.epoch_arrays(epoch), _epoch_file(new, epoch))
        if history.evidence is not None:
            evidence = {"mean": history.evidence.cpu(), "count": history.evidence_count.cpu()}
            safetensors.torch.save_file(evidence, new / "history" / "evidence.safetensors")
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
        safetensors.torch.save_file(plain, new / "model.safetensors")
        if not _link(old / "model_before.safetensors", new / "model_before.safetensors") and history.last(
            "relabeling", 0
        ):
            _link(old / "model.safetensors", new / "model_before.safetensors")
        if resume is not None:
            (new / "resume").mkdir()
            torch.save(resume, new / "resume" / "state.pt")
        (new / "settings.json").write_text(json.dumps(self.settings, indent=1), encoding="utf-8")

    def _keep_other_files(self, new: Path) -> None:
        """Reports and whatever else the user put into the folder stay in it."""
        ours = {"history", "resume"}
        if self.folder.is_dir():
            for path in self.folder.rglob("*"):
                name = path.relative_to(self.folder)
                if path.is_file() and name.parts[0] not in ours and not (new / name).exists():
                    (new / name).parent.mkdir(parents=True, exist_ok=True)
                    _link(path, new / name)

    # -- going on -------------------------------------------------------------------------------------------------

    def resume(self, learn) -> int:
        """Put the saved state into a Learner made like the first one; returns the epoch to go on from.

        ``learn.fit_one_cycle(n, start_epoch=run.resume(learn))`` then continues to the same bits as a training
        that was never interrupted (on CPU).

        Raises:
            RunError: the Learner has no SCNCallback, or another network or optimizer than the run.
        """
        scn = getattr(learn, "scn", None)
        path = self.folder / "resume" / "state.pt"
        if scn is None or not path.exists():
            missing = "resume/state.pt" if scn is not None else "the Learner's SCNCallback"
            raise RunError(f"{self.folder.name} cannot be resumed without {missing}.")
        state = torch.load(path, weights_only=True, map_location="cpu")
        if learn.opt is None:
            learn.create_opt()
        try:
            learn.model.load_state_dict(self.weights() | _extra(learn.model))
            learn.opt.load_state_dict(state["opt"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.folder.name} was trained with another network or optimizer: make the Learner as its "
                f"settings.json says ({str(error).splitlines()[0]})."
            ) from error
        scn.ledger.load_state(self.ledger.state())
        scn.history, scn.saved = self.history, self
        self.ledger, self._random = scn.ledger, state["random"]
        return self.history.epoch

    def resume_random_state(self, learn) -> None:
        """Set the random generators as they were saved; once, when the first resumed epoch begins."""
        if self._random is not None:
            _set_random_state(learn, self._random)
            self._random = None


def _plain_numbers(state):
    """The same state with numpy's numbers (a scheduler's learning rates) as Python's, which need no pickle."""
    if isinstance(state, dict):
        return {key: _plain_numbers(value) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_plain_numbers(value) for value in state)
    return state.item() if isinstance(state, np.generic) else state


def _extra(model) -> dict:
    """The parts of a state dict that are no tensors: they come from the ledger, not from the weights file."""
    return {name: value for name, value in model.state_dict().items() if not isinstance(value, Tensor)}


def _samples_of(learn, ledger: LabelLedger) -> pd.DataFrame:
    """A samples table for a Learner whose loaders were made by fastai: what its items are, and their labels."""
    items = getattr(learn.dls.train_ds, "items", None)
    items = items.iloc[:, 0] if hasattr(items, "iloc") else items
    names = [str(item) for item in items] if items is not None else [str(i) for i in range(len(ledger.given))]
    names = np.array(ledger.classes, dtype=object)[ledger.given.cpu().numpy()], names
    return pd.DataFrame({"image": names[1], "split": "train", "label": names[0]})


def _random_state(learn) -> dict:
    rng = getattr(learn.dls.train, "rng", None)
    numpy_state = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": torch.from_numpy(numpy_state[1].astype(np.int64)),
        "numpy_position": int(numpy_state[2]),
        "python": torch.tensor(random.getstate()[1]),
        "loader": None if rng is None else torch.tensor(rng.getstate()[1]),
    }


def _set_random_state(learn, state: dict) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(("MT19937", state["numpy"].numpy().astype(np.uint32), state["numpy_position"], 0, 0.0))
    random.setstate((3, tuple(state["python"].tolist()), None))
    if state["loader"] is not None:
        learn.dls.train.rng.setstate((3, tuple(state["loader"].tolist()), None))


def _epoch_file(folder: Path, epoch: int) -> Path:
    return folder / "history" / f"epoch_{epoch:04d}.safetensors"


def _old(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _link(source: Path, target: Path) -> bool:
    """Take over a file that does not change: a hard link where the disk has them, else a copy."""
    if not source.exists():
        return False
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return True


def _swap(new: Path, folder: Path) -> None:
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    shutil.rmtree(old, ignore_errors=True)
