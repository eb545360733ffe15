"""What a rule suggests and a person decides: one proposal for each sample, on the device that trains."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scn_fastai.core.relabeling import Relabel

PROPOSAL_COLUMNS = {
    "sample": "int64",
    "epoch": "int64",
    "label": "int64",
    "p_max": "float32",
    "p_given": "float32",
    "alpha": "float32",
    "low": "bool",
}
NUMBERS, EVIDENCE = ["sample", "epoch", "label"], ["p_max", "p_given", "alpha", "low"]
NOTHING = {"label": -1, "epoch": -1, "p_max": torch.nan, "p_given": torch.nan, "alpha": torch.nan, "low": False}


class Proposals:
    """The newest word of a rule about each of N samples: a label, when it was said, and the evidence.

    Everything is a tensor ``[N]`` on one device. What the running epoch adds takes effect in `flush`; `rollback` drops
    it. They are made when the first is added, so a training without proposals holds none.

    >>> proposals = Proposals(2)
    >>> change = Relabel(*map(torch.tensor, ([True, False], [1, 0], [0.9, 0.6], [0.1, 0.6])))
    >>> proposals.add(torch.arange(2), change, torch.tensor([0.5, 0.5]), torch.tensor([True, False]))
    >>> proposals.flush(3, current=torch.tensor([0, 0]), held=torch.tensor([False, False]))
    >>> proposals.table()[["sample", "epoch", "label"]].to_dict("records")
    [{'sample': 0, 'epoch': 3, 'label': 1}]
    """

    def __init__(self, n: int, device: torch.device | str = "cpu"):
        self.n, self.device = n, torch.device(device)
        self._kept: dict[str, Tensor] = {}  # as at the end of the last whole epoch
        self._now: dict[str, Tensor] = {}  # what the running epoch makes of it

    def to(self, device: torch.device | str) -> None:
        """Move everything to a device."""
        self.device = torch.device(device)
        self._kept, self._now = ({k: v.to(device) for k, v in part.items()} for part in (self._kept, self._now))

    # -- during an epoch ------------------------------------------------------------------------------------

    def add(self, index: Tensor, change: Relabel, alpha: Tensor, low: Tensor) -> None:
        """Take over the rule's word on the samples ``index``: a label, or -1 where it proposes none (any more).

        Where it only repeats a label that it does not doubt itself, date and evidence stay.
        """
        now = self._running()
        news = change.mask | (change.label != now["label"][index]) & (change.label >= 0)
        now["label"][index] = change.label
        now["said"][index] |= news
        said = {"p_max": change.p_max.float(), "p_given": change.p_given.float(), "alpha": alpha.float(), "low": low}
        for name, value in said.items():
            now[name][index] = torch.where(news, value, now[name][index])

    def label(self, index: Tensor) -> Tensor:
        """Label that is proposed for each of the samples ``index``, the running epoch included; -1 where none is."""
        kept = self._now or self._kept
        return kept["label"][index] if kept else torch.full_like(index, -1)

    def rollback(self) -> None:
        """Drop what the running epoch said and did not finish."""
        self._now = {}

    def flush(self, epoch: int, current: Tensor, held: Tensor) -> None:
        """End the epoch: date what it said, forget where a proposal is the current label already.

        For a sample that a person decided (``held``) it is kept: if the decision is undone, it stands again.
        """
        if not self._now:
            return
        said = self._now.pop("said")
        self._now["epoch"][said] = epoch
        self._now["label"][(self._now["label"] == current) & ~held] = -1
        self._kept, self._now = self._now, {}

    # -- reading and saving ---------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """A row for each sample about which the rule said something, decided or not: PROPOSAL_COLUMNS."""
        if not self._kept:
            return _table({name: [] for name in PROPOSAL_COLUMNS})
        sample = (self._kept["label"] >= 0).nonzero().squeeze(1)
        picked = {name: self._kept[name][sample].cpu().numpy() for name in NOTHING}
        return _table({"sample": sample.cpu().numpy()} | picked)

    def take_over(self, table: pd.DataFrame) -> None:
        """Put the rows of a table in the place of what was here."""
        self._kept, self._now = {}, {}
        if not len(table):
            return
        self._kept = self._blank()
        rows = _tensor(table["sample"]).to(self.device)
        for name, tensor in self._kept.items():
            tensor[rows] = _tensor(table[name].astype(PROPOSAL_COLUMNS[name])).to(self.device)

    def state(self) -> dict[str, Tensor]:
        """The table as two tensors, for a checkpoint."""
        table = self.table()
        numbers, evidence = table[NUMBERS].to_numpy(np.int64), table[EVIDENCE].to_numpy(np.float32)
        return {"proposals": _tensor(numbers), "proposals_evidence": _tensor(evidence)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state; one from before there were proposals has none."""
        numbers = state.get("proposals", torch.zeros(0, len(NUMBERS), dtype=torch.int64))
        evidence = state.get("proposals_evidence", torch.zeros(0, len(EVIDENCE)))
        table = pd.DataFrame(numbers.cpu().numpy(), columns=NUMBERS)
        table[EVIDENCE] = evidence.cpu().numpy()
        self.take_over(table)

    # -- inside ---------------------------------------------------------------------------------------------

    def _running(self) -> dict[str, Tensor]:
        if not self._now:
            kept = self._kept or self._blank()
            self._now = {name: tensor.clone() for name, tensor in kept.items()}
            self._now["said"] = torch.zeros(self.n, dtype=torch.bool, device=self.device)
        return self._now

    def _blank(self) -> dict[str, Tensor]:
        return {name: torch.full((self.n,), value, device=self.device) for name, value in NOTHING.items()}


def _table(columns: dict) -> pd.DataFrame:
    return pd.DataFrame(columns)[list(PROPOSAL_COLUMNS)].astype(PROPOSAL_COLUMNS)


def _tensor(values) -> Tensor:
    """A tensor with its own memory: pandas hands out arrays that must not be written."""
    return torch.from_numpy(np.array(values))
