"""The only place where labels live and change: given, current, and a row for every change."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scn_fastai.core.relabeling import Relabel
from scn_fastai.errors import DataError
from scn_fastai.files import replace_file
from scn_fastai.training.proposals import Proposals

COLUMNS = {
    "epoch": "int64",
    "sample": "int64",
    "old": "int64",
    "new": "int64",
    "p_max": "float32",
    "p_given": "float32",
    "alpha": "float32",
    "low": "bool",
    "by": "object",
}


class LabelLedger:
    """Labels of a training set, by sample index, with every change on record.

    ``given`` (int64 Tensor ``[N]``) never changes; ``current`` (the same shape) does, and each change
    is a row: epoch, sample, old and new label, p_max, p_given, alpha, low group, and by whom
    (``rule``, ``person`` or ``undo``). The data set itself is never written.

    Changes made by a rule are collected on the device during an epoch and become rows in `flush`, so
    that no batch waits for the host. What a person decided is not overruled by a rule afterwards.
    What a rule only proposes (`propose`) changes no label; ``proposals`` shows what waits for a person's decision.

    Args:
        given: int64 labels ``[N]``, in the order of the training set.
        classes: class names; labels are positions in this list.

    Raises:
        DataError: a label lies outside the classes.

    >>> ledger = LabelLedger([0, 1, 1], classes=["sad", "glad"])
    >>> ledger.override(2, "sad")
    >>> ledger.current.tolist(), ledger.given.tolist(), len(ledger)
    ([0, 1, 0], [0, 1, 1], 1)
    >>> ledger.undo([2])
    1
    >>> ledger.current.tolist()
    [0, 1, 1]
    """

    def __init__(self, given: Tensor | list[int] | np.ndarray, classes: list[str] | None = None):
        self.given = torch.as_tensor(given).detach().to("cpu", torch.int64).clone()
        top = int(self.given.max()) + 1 if len(self.given) else 0
        self.classes = [str(c) for c in (classes if classes is not None else range(top))]
        if len(self.given) and (int(self.given.min()) < 0 or top > len(self.classes)):
            bad = int(((self.given < 0) | (self.given >= len(self.classes))).nonzero()[0])
            raise DataError(
                f"Sample {bad} has label {int(self.given[bad])}, but there are {len(self.classes)} classes "
                f"(0 to {len(self.classes) - 1}): correct the label or pass all classes."
            )
        self.current = self.given.clone()
        self._rows = _empty()
        self._proposals = Proposals(len(self.given))
        self._epoch = 0  # the last one that was flushed: a person's decision after it belongs to it
        self._start_buffers()

    def __len__(self) -> int:
        """Number of changes on record."""
        return len(self._rows)

    def __repr__(self) -> str:
        changed = int((self.current != self.given).sum())
        return f"<LabelLedger {len(self.given)} samples, {changed} differ from the given label, {len(self)} changes>"

    # -- during training, on the device -------------------------------------------------------------

    def to(self, device: torch.device | str) -> "LabelLedger":
        """Move the label tensors to the device that trains."""
        if self.current.device != torch.device(device):
            for name in ("given", "current", "_held", "_p_max", "_p_given", "_alpha", "_low", "_before"):
                setattr(self, name, getattr(self, name).to(device))
            self._proposals.to(device)
        return self

    def labels(self, index: Tensor, drawn: Tensor) -> Tensor:
        """Current labels ``[B]`` of the samples ``index``; the drawn label where nothing was changed.

        Keeping the drawn one means that a wrong index can do no harm before the first change.
        """
        current = self.current[index]
        return torch.where(current == self.given[index], drawn, current)

    def record(self, index: Tensor, change: Relabel, alpha: Tensor, low: Tensor) -> None:
        """Take over the labels that a rule proposes for the samples ``index``; no host synchronisation.

        ``change.label`` is the label after the rule for every sample, changed or not, so a rule that no
        longer holds gives back the label it was compared with. Samples decided by a person keep theirs.
        """
        label = torch.where(self._held[index], self.current[index], change.label)
        self.current[index] = label
        self._p_max[index] = change.p_max.float()
        self._p_given[index] = change.p_given.float()
        self._alpha[index] = alpha.float()
        self._low[index] = low

    def propose(self, index: Tensor, change: Relabel, alpha: Tensor, low: Tensor) -> None:
        """Keep what a rule proposes for the samples ``index``, for a person to decide; no host synchronisation.

        The arguments are those of `record`, but no label changes. A rule that no longer holds takes its proposal back.
        """
        no_word = ~change.mask & (change.label == self.current[index])  # it leaves the label as it is
        self._proposals.add(index, change._replace(label=change.label.masked_fill(no_word, -1)), alpha, low)

    def proposed(self, index: Tensor) -> Tensor:
        """Label that is proposed for each of the samples ``index`` so far; -1 where none is."""
        return self._proposals.label(index)

    def rollback(self) -> None:
        """Take back what the running epoch changed or proposed and did not finish."""
        self._proposals.rollback()
        self.current = self._before.clone()
        self._start_buffers(keep_held=True)

    def keeps_given(self) -> Tensor:
        """Who has its given label and no decision of a person, bool Tensor ``[N]``."""
        return (self.current == self.given) & ~self._held

    def decided(self, index: Tensor) -> Tensor:
        """Whether a person decided on each of the samples ``index [B]``, bool Tensor ``[B]``."""
        return self._held[index]

    def before_epoch(self) -> Tensor:
        """Labels ``[N]`` that the running epoch trained on, before any change that it makes."""
        return self._before

    def flush(self, epoch: int) -> int:
        """Write this epoch's changes as rows, and return how many: the one transfer to the host an epoch.

        What the epoch proposed can be read from now on.
        """
        self._proposals.flush(epoch, self.current, self._held)
        changed = (self.current != self._before).nonzero().squeeze(1)
        picked = [t[changed].cpu().numpy() for t in (self._before, self.current, self._p_max, self._p_given)]
        rows = dict(zip(("old", "new", "p_max", "p_given"), picked, strict=True))
        rows |= {"alpha": self._alpha[changed].cpu().numpy(), "low": self._low[changed].cpu().numpy()}
        self._append(epoch=epoch, sample=changed.cpu().numpy(), by="rule", **rows)
        self._epoch = epoch
        self._start_buffers(keep_held=True)
        return len(changed)

    # -- decisions of a person ------------------------------------------------------------------------

    def override(self, index: int | list[int], label: int | str, by: str = "person", epoch: int | None = None) -> None:
        """Give the samples ``index`` a label chosen by a person; no rule changes it afterwards."""
        index = np.atleast_1d(np.asarray(index, dtype=np.int64))
        self._check_index(index)
        self._set(index, np.full(len(index), self._code(label)), by, epoch)
        self._held[_tensor(index).to(self._held.device)] = True

    def undo(self, index: list[int] | None = None, epoch: int | None = None) -> int:
        """Take back the last change of each sample in ``index``, or every change made in ``epoch``.

        The record only grows: what was taken back stays there, followed by a row ``by='undo'``. A rule's
        change that was undone is not made again; a person's, once undone, is open to the rule.
        Returns how many labels changed.
        """
        rows = self._rows[self._rows["by"] != "undo"]
        rows = rows if index is None else rows[rows["sample"].isin(np.atleast_1d(index))]
        if epoch is not None:
            rows = rows[rows["epoch"] == epoch]
            last = rows.drop_duplicates("sample", keep="first")
        else:
            last = rows.drop_duplicates("sample", keep="last")
        samples, old = last["sample"].to_numpy(), last["old"].to_numpy()
        differs = self.current.cpu().numpy()[samples] != old
        by_rule = samples[_decided_by_rule(self._rows, samples)]
        noted = differs | (self._held.cpu().numpy()[samples] != np.isin(samples, by_rule))
        self._set(samples[noted], old[noted], "undo", None)
        self._held[_tensor(samples).to(self._held.device)] = False
        self._held[_tensor(by_rule).to(self._held.device)] = True
        return int(differs.sum())

    # -- reading ---------------------------------------------------------------------------------------

    def at(self, epoch: int) -> Tensor:
        """Labels ``[N]`` as they were at the end of an epoch, rebuilt from the record."""
        labels = self.given.cpu().clone()
        rows = self._rows[self._rows["epoch"] <= epoch].drop_duplicates("sample", keep="last")
        labels[_tensor(rows["sample"])] = _tensor(rows["new"])
        return labels

    def frame(self) -> pd.DataFrame:
        """Every change in the order it was made, with class names beside the codes."""
        rows = self._rows.copy()
        names = np.array(self.classes, dtype=object)
        rows.insert(4, "old_label", names[rows["old"].to_numpy()])
        rows.insert(5, "new_label", names[rows["new"].to_numpy()])
        return rows

    @property
    def held(self) -> np.ndarray:
        """Whether a person decided on each sample, so that no rule changes it, bool ``[N]``."""
        return self._held.cpu().numpy().copy()

    @property
    def proposals(self) -> pd.DataFrame:
        """What waits for a person: sample, epoch, label, label_name, p_max, p_given, alpha, low.

        A row for each sample for which the rule's newest word is not its current label, unless a person decided.
        """
        rows = self.proposal_rows()
        sample = rows["sample"].to_numpy()
        open_ = (rows["label"].to_numpy() != self.current.cpu().numpy()[sample]) & ~self.held[sample]
        rows = rows[open_].reset_index(drop=True)
        rows.insert(3, "label_name", np.array(self.classes, dtype=object)[rows["label"].to_numpy()])
        return rows

    def export(self, path: str | Path, samples: pd.DataFrame | None = None) -> Path:
        """Write the cured labels as a CSV with the columns path, label, given: the form the CSV reader takes.

        ``samples`` is the training part of the samples table; without it the sample number is the path.
        """
        names = np.array(self.classes, dtype=object)
        image = np.arange(len(self.given)) if samples is None else samples["image"].to_numpy()
        if len(image) != len(self.given):
            raise DataError(
                f"The ledger has {len(self.given)} samples but the table {len(image)}: pass its train part."
            )
        table = pd.DataFrame({"path": image, "label": names[self.current.cpu()], "given": names[self.given.cpu()]})
        path = Path(path)
        replace_file(path, lambda to: table.to_csv(to, index=False))
        return path

    # -- saving ------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """The whole ledger as tensors, so that it travels in a checkpoint and loads with weights_only=True.

        In the middle of an epoch it is the ledger of the last whole one, as a resume needs it.
        """
        rows = self._rows
        numbers = rows[["epoch", "sample", "old", "new"]].to_numpy(dtype=np.int64)
        evidence = rows[["p_max", "p_given", "alpha", "low"]].to_numpy(dtype=np.float32)
        by = rows["by"].map({"rule": 0, "person": 1, "undo": 2}).fillna(1).to_numpy(dtype=np.int64)
        tensors = {"numbers": numbers, "evidence": evidence, "by": by}
        return {
            "given": self.given.cpu().clone(),
            "current": self._before.cpu().clone(),
            "held": self._held.cpu().clone(),
            "epoch": torch.tensor(self._epoch),
            **{name: _tensor(value) for name, value in tensors.items()},
            **self._proposals.state(),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state in place.

        Raises:
            DataError: it belongs to another training set.
        """
        state = {name: value.cpu() for name, value in state.items()}  # fastai loads a checkpoint onto the GPU
        device, given = self.current.device, state["given"]
        if not torch.equal(given, self.given.cpu()):
            raise DataError(
                f"This label ledger was made for another training set ({len(given)} samples there, "
                f"{len(self.given)} here, or other given labels): load the run with its own data, or make the "
                "callback with restore_ledger=False to take the weights alone."
            )
        rows = pd.DataFrame(state["numbers"].numpy(), columns=["epoch", "sample", "old", "new"])
        rows[["p_max", "p_given", "alpha", "low"]] = state["evidence"].numpy()
        rows["by"] = np.array(["rule", "person", "undo"], dtype=object)[state["by"].numpy()]
        self._rows = rows[list(COLUMNS)].astype(COLUMNS)
        self._epoch = int(state["epoch"]) if "epoch" in state else self._last_row()
        self.current = state["current"].to(device).clone()
        self._start_buffers()
        self._held = state["held"].to(device).clone()
        self._proposals.load_state(state)

    def rows(self) -> pd.DataFrame:
        """The record as it is stored: COLUMNS, label codes, nothing added."""
        return self._rows.copy()

    def proposal_rows(self) -> pd.DataFrame:
        """All proposals as they are stored, those that a person decided among them: sample, epoch, label, evidence."""
        return self._proposals.table()

    def replay(self, rows: pd.DataFrame, epoch: int | None = None, proposals: pd.DataFrame | None = None) -> None:
        """Rebuild labels, held samples and proposals from stored records; ``epoch`` is the last whole one."""
        self._proposals.take_over(_empty() if proposals is None else proposals)
        self._rows = rows[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
        self._epoch = self._last_row() if epoch is None else epoch
        last = self._rows.drop_duplicates("sample", keep="last")
        samples = _tensor(last["sample"])
        self.current = self.given.clone()
        self.current[samples] = _tensor(last["new"])
        self._start_buffers()
        undone, by_rule = last["by"] == "undo", _decided_by_rule(self._rows, last["sample"].to_numpy())
        self._held[samples] = _tensor(np.where(undone, by_rule, last["by"] != "rule"))

    def take_over(self, rows: pd.DataFrame) -> None:
        """Add what persons decided elsewhere since this record was stored: ``rows`` is what is stored now."""
        mine, theirs = self._rows, rows[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)
        n = min(len(mine), len(theirs))
        a, b = mine.head(n), theirs.head(n)
        same = ((a == b) | (a.isna() & b.isna())).all(axis=1).to_numpy()
        new = theirs.iloc[n if same.all() else int(same.argmin()) :]
        new = new[new["by"] != "rule"]
        if len(new):
            device = self.current.device
            self.to("cpu").replay(pd.concat([mine, new] if len(mine) else [new]), self._epoch, self.proposal_rows())
            self.to(device)

    # -- inside ------------------------------------------------------------------------------------------

    def _start_buffers(self, keep_held: bool = False) -> None:
        n, device = len(self.given), self.current.device
        self._before = self.current.clone()
        self._p_max, self._p_given, self._alpha = (torch.full((n,), torch.nan, device=device) for _ in range(3))
        self._low = torch.zeros(n, dtype=torch.bool, device=device)
        if not keep_held:
            self._held = torch.zeros(n, dtype=torch.bool, device=device)

    def _last_row(self) -> int:
        return int(self._rows["epoch"].max()) if len(self._rows) else 0

    def _append(self, **columns) -> None:
        rows = pd.DataFrame(columns)[list(COLUMNS)].astype(COLUMNS)
        if len(rows):
            self._rows = pd.concat([self._rows, rows], ignore_index=True) if len(self._rows) else rows

    def _set(self, index: np.ndarray, new: np.ndarray, by: str, epoch: int | None) -> None:
        old = self.current.cpu().numpy()[index]
        where = _tensor(index).to(self.current.device)
        labels = _tensor(new).to(self.current.device)
        self.current[where] = labels
        self._before[where] = labels
        blank = np.full(len(index), np.nan)
        evidence = {"p_max": blank, "p_given": blank, "alpha": blank, "low": np.zeros(len(index), dtype=bool)}
        self._append(epoch=self._epoch if epoch is None else epoch, sample=index, old=old, new=new, by=by, **evidence)

    def _code(self, label: int | str) -> int:
        if isinstance(label, str) and label in self.classes:
            return self.classes.index(label)
        if isinstance(label, (int, np.integer)) and 0 <= label < len(self.classes):
            return int(label)
        raise DataError(f"{label!r} is not one of the classes: {', '.join(self.classes)}.")

    def _check_index(self, index: np.ndarray) -> None:
        if len(index) and (index.min() < 0 or index.max() >= len(self.given)):
            bad = index[(index < 0) | (index >= len(self.given))][0]
            raise DataError(f"Sample {bad} does not exist: this ledger has samples 0 to {len(self.given) - 1}.")


def _tensor(values) -> Tensor:
    """A tensor with its own memory: pandas hands out arrays that must not be written."""
    return torch.from_numpy(np.array(values))


def _decided_by_rule(rows: pd.DataFrame, samples: np.ndarray) -> np.ndarray:
    """Whether the last change of each sample, apart from undoing, was a rule's."""
    last = rows[rows["by"] != "undo"].drop_duplicates("sample", keep="last").set_index("sample")["by"]
    return (last.reindex(samples) == "rule").to_numpy()


def _empty() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
