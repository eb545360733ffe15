"""What training measured: a row per epoch, and per epoch and sample the alpha, the logits and the group."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.core.doctor import Diagnosis, diagnose_alpha, not_begun
from scn_fastai.core.losses import weighted_logits
from scn_fastai.core.relabeling import average_evidence, noise_estimate
from scn_fastai.errors import RunError

SUMS = ("wce", "rank", "alpha_high", "alpha_low")


class SCNHistory:
    """Everything that an SCN training observed, epoch by epoch, counted from 0 over all fits.

    Per epoch and sample it keeps alpha (float32, NaN where the sample was not drawn), the plain logits
    (float16) and whether the sample stood in the low-importance group: ``5 + 2 C`` bytes for a sample
    and an epoch. FERPlus (28,558 faces, 8 classes, 40 epochs) takes 24 MB. Losses, probabilities and
    every detector's score follow from these and from the ledger, so they are not stored.

    During an epoch all of it lies on the training device; `end_epoch` moves it to the host once.

    Args:
        n_samples: size of the training set.
        n_classes: number of classes.

    >>> history = SCNHistory(n_samples=3, n_classes=2)
    >>> history.begin_epoch("cpu")
    >>> history.see(torch.tensor([0, 2]), torch.tensor([0.9, 0.4]), torch.zeros(2, 2), torch.tensor([False, True]))
    >>> history.add(**{name: torch.tensor(0.5) for name in ("wce", "rank", "alpha_high", "alpha_low")})
    >>> _ = history.end_epoch(relabeled=0)
    >>> history.epoch, history.alpha.shape, history.seen[0].tolist()
    (1, (1, 3), [True, False, True])
    """

    def __init__(self, n_samples: int, n_classes: int):
        self.n_samples, self.n_classes = n_samples, n_classes
        self._alpha: list[np.ndarray] = []
        self._logits: list[np.ndarray] = []
        self._low: list[np.ndarray] = []
        self._rows: list[dict] = []
        self.evidence: Tensor | None = None  # [N, C] predicted probabilities averaged over epochs
        self.evidence_count: Tensor | None = None  # [N] summed weights of that average
        self._evidence_at_start: tuple[Tensor, Tensor] | None = None
        self._running = False

    def __repr__(self) -> str:
        return f"<SCNHistory {self.epoch} epochs of {self.n_samples} samples>"

    @property
    def epoch(self) -> int:
        """Number of finished epochs, which is the number of the epoch that runs or comes next."""
        return len(self._rows)

    # -- during training, on the device -----------------------------------------------------------------

    def begin_epoch(self, device: torch.device | str) -> None:
        """Start an epoch with nothing seen; what an interrupted epoch left is dropped."""
        n, c = self.n_samples, self.n_classes
        self.now_alpha = torch.full((n,), torch.nan, device=device)
        self.now_logits = torch.zeros((n, c), dtype=torch.float16, device=device)
        self.now_low = torch.zeros(n, dtype=torch.bool, device=device)
        self._sums = {name: torch.zeros((), device=device) for name in SUMS}
        self._batches = 0
        self._start_evidence(device)

    def see(self, index: Tensor, alpha: Tensor, logits: Tensor, low: Tensor) -> None:
        """Note a batch: samples ``index [B]``, their alpha ``[B]``, plain logits ``[B, C]`` and group ``[B]``."""
        self.now_alpha[index] = alpha.detach().float()
        self.now_logits[index] = logits.detach().half()
        self.now_low[index] = low

    def add(self, **values: Tensor) -> None:
        """Add a batch's wce, rank, alpha_high and alpha_low (Tensors ``[]``) to the epoch's means."""
        for name, value in values.items():
            self._sums[name] += value.detach()
        self._batches += 1

    def average(self, index: Tensor, probs: Tensor, decay: float) -> None:
        """Add a batch's predicted probabilities ``[B, C]`` to the samples' averages (`average_evidence`).

        A sample's first prediction of an epoch counts: else those that are drawn often would forget the epochs before.
        """
        average_evidence(self.evidence, self.evidence_count, index, probs, decay, ~self._averaged[index])
        self._averaged[index] = True

    def settled_share(self) -> float:
        """Share of the samples drawn in the running epoch whose averaged prediction is what it was before it.

        Samples that were never drawn before do not count. One host transfer.
        """
        before, count = self._evidence_at_start
        old, same = (count > 0) & ~self.now_alpha.isnan(), self.evidence.argmax(1) == before.argmax(1)
        return ((same & old).sum() / old.sum().clamp_min(1)).item()

    def noise_estimate(self, given: Tensor) -> float:
        """Share of the given labels ``[N]`` that look wrong by the averaged predictions; one host transfer."""
        averaged = self.evidence_count > 0
        return noise_estimate(self.evidence[averaged], given[averaged]).item()

    def mean(self, name: str) -> float:
        """Mean over the running epoch's batches of wce, rank, alpha_high or alpha_low."""
        return float(self._sums[name]) / max(1, self._batches)

    def end_epoch(self, **figures: float) -> dict:
        """Move the epoch to the host and add its row; returns the row."""
        alpha = self.now_alpha.cpu().numpy()
        means = {name: self.mean(name) for name in SUMS}
        seen = ~np.isnan(alpha)
        row = {"epoch": self.epoch, **means, "alpha_mean": float(alpha[seen].mean()) if seen.any() else np.nan}
        row |= {"alpha_sd": float(alpha[seen].std()) if seen.any() else np.nan, "seen": int(seen.sum()), **figures}
        self._alpha.append(alpha)
        self._logits.append(self.now_logits.cpu().numpy())
        self._low.append(self.now_low.cpu().numpy())
        self._rows.append(row)
        self._running = False
        return row

    def note(self, **figures: float) -> None:
        """Add figures to the last epoch's row, such as the accuracy found in its validation."""
        if self._rows:
            self._rows[-1] |= figures

    def last(self, name: str, default: float = float("nan")) -> float:
        """A figure of the last finished epoch."""
        return self._rows[-1].get(name, default) if self._rows else default

    def values(self, name: str) -> list[float]:
        """A figure of every finished epoch that has it."""
        return [row[name] for row in self._rows if name in row]

    def count(self, name: str) -> int:
        """In how many finished epochs a figure is true."""
        return sum(bool(row.get(name)) for row in self._rows)

    # -- reading -------------------------------------------------------------------------------------------

    @property
    def alpha(self) -> np.ndarray:
        """Importance weights, float32 ``[E, N]``; NaN where a sample was not drawn."""
        return _stack(self._alpha, (0, self.n_samples), np.float32)

    @property
    def logits(self) -> np.ndarray:
        """Plain logits, float16 ``[E, N, C]``; zeros where a sample was not drawn."""
        return _stack(self._logits, (0, self.n_samples, self.n_classes), np.float16)

    @property
    def low(self) -> np.ndarray:
        """Low-importance group, bool ``[E, N]``."""
        return _stack(self._low, (0, self.n_samples), bool)

    @property
    def seen(self) -> np.ndarray:
        """Whether a sample was drawn, bool ``[E, N]``."""
        return ~np.isnan(self.alpha)

    def frame(self) -> pd.DataFrame:
        """A row per epoch: wce, rank, alpha_high, alpha_low, alpha_mean, alpha_sd, seen, relabeled, ..."""
        return pd.DataFrame(self._rows)

    def doctor(self, margin: float) -> Diagnosis:
        """The alpha doctor's word on this training, for its rank margin (delta1) (see `diagnose_alpha`)."""
        if not self._rows:
            raise RunError("There is no epoch in this history yet: train before you ask the alpha doctor.")
        acted = [row for row in self._rows if row.get("weighting", True)]
        if not acted:
            return not_begun(self.last("settled"), self.last("noise_estimate"))
        first, last = acted[0], acted[-1]
        gap = first["alpha_high"] - first["alpha_low"]
        return diagnose_alpha(last["alpha_mean"], last["alpha_sd"], gap, first["rank"], margin)

    def weight(self, epoch: int = -1) -> np.ndarray:
        """What the logits of an epoch were multiplied by, float32 ``[N]``; NaN if unseen.

        Alpha; where alpha counts relative to its batch, alpha over the epoch's mean, for batches are not stored; and 1
        before weighting began, or where logits are never weighted.
        """
        alpha, row = self._pick(self._alpha, epoch), self._rows[epoch]
        if not row.get("weighted", row.get("weighting", True)):
            return np.where(np.isfinite(alpha), np.float32(1), alpha)
        return alpha / np.float32(row["alpha_mean"]) if row.get("relative") else alpha.copy()

    def probs(self, epoch: int = -1, logits: str = "weighted") -> np.ndarray:
        """Predicted probabilities of an epoch, float32 ``[N, C]``, of the weighted or the raw logits; NaN if unseen."""
        z, alpha, weight = self._epoch_tensors(epoch)
        z = weighted_logits(z, weight) if logits == "weighted" else z
        probs = z.softmax(1)
        probs[alpha.isnan()] = torch.nan
        return probs.numpy()

    def loss(self, labels: Tensor | np.ndarray, epoch: int = -1) -> np.ndarray:
        """Weighted cross-entropy of each sample in an epoch against any labels, float32 ``[N]``; NaN if unseen."""
        z, _, weight = self._epoch_tensors(epoch)
        return cross_entropy(weighted_logits(z, weight), torch.as_tensor(labels).cpu(), reduction="none").numpy()

    def samples(self, epoch: int = -1, labels: Tensor | np.ndarray | None = None) -> pd.DataFrame:
        """A row per sample of one epoch: alpha, low, seen, predicted, p_max, and p_given, loss if labels are given."""
        probs, alpha = self.probs(epoch), self._pick(self._alpha, epoch)
        table = pd.DataFrame({"sample": np.arange(self.n_samples), "alpha": alpha, "low": self._pick(self._low, epoch)})
        table["seen"] = ~np.isnan(alpha)
        table["predicted"], table["p_max"] = np.nan_to_num(probs).argmax(1), probs.max(1)
        if labels is not None:
            codes = torch.as_tensor(labels).cpu().numpy()
            table["p_given"] = probs[np.arange(self.n_samples), codes]
            table["loss"] = self.loss(codes, epoch)
        return table

    # -- saving ----------------------------------------------------------------------------------------------

    def epoch_arrays(self, epoch: int) -> dict[str, np.ndarray]:
        """What is stored of one epoch: alpha, logits and low."""
        return {"alpha": self._alpha[epoch], "logits": self._logits[epoch], "low": self._low[epoch]}

    @classmethod
    def restore(cls, rows: list[dict], arrays: list[dict[str, np.ndarray]], n_samples: int, n_classes: int):
        """Rebuild a history from its rows and its `epoch_arrays`."""
        history = cls(n_samples, n_classes)
        history._rows = [dict(row) for row in rows]
        for name in ("alpha", "logits", "low"):
            setattr(history, f"_{name}", [entry[name] for entry in arrays])
        return history

    # -- inside ------------------------------------------------------------------------------------------------

    def _start_evidence(self, device: torch.device | str) -> None:
        """Remember the averages as they are now; after an interrupted epoch return to those before it."""
        if self.evidence is None:
            self.evidence = torch.zeros(self.n_samples, self.n_classes, device=device)
            self.evidence_count = torch.zeros(self.n_samples, device=device)
        elif self._running:
            self.evidence, self.evidence_count = self._evidence_at_start
        self.evidence, self.evidence_count = self.evidence.to(device), self.evidence_count.to(device)
        self._evidence_at_start = self.evidence.clone(), self.evidence_count.clone()
        self._averaged = torch.zeros(self.n_samples, dtype=torch.bool, device=device)
        self._running = True

    def _pick(self, arrays: list[np.ndarray], epoch: int) -> np.ndarray:
        if not -self.epoch <= epoch < self.epoch:
            raise RunError(
                f"There is no epoch {epoch} in this history, which has {self.epoch} (0 to {self.epoch - 1})."
            )
        return arrays[epoch]

    def _epoch_tensors(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, alpha, and what the logits were weighted by (see `weight`)."""
        alpha = torch.from_numpy(self._pick(self._alpha, epoch).copy())
        logits = torch.from_numpy(self._pick(self._logits, epoch).astype(np.float32))
        return logits, alpha, torch.from_numpy(self.weight(epoch))


def _stack(arrays: list[np.ndarray], empty: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.stack(arrays) if arrays else np.zeros(empty, dtype=dtype)
