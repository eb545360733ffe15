"""A mini-batch of a run, as it was in one epoch: logits, alpha, and the labels that the epoch trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scn_fastai.core.microscope import gather_evidence
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.run import Run


class RunBatch(NamedTuple):
    """Samples of a run in one epoch; Tensors ``[B]`` unless said otherwise."""

    samples: np.ndarray  # int64 [B], positions in the training set
    unseen: np.ndarray  # those that were asked for and not drawn in the epoch
    logits: Tensor  # float32 [B, C], not weighted
    alpha: Tensor
    target: Tensor  # int64: the labels that the epoch trained on
    given: Tensor  # int64: the original labels
    evidence: Tensor  # float64 [B, C]: predictions averaged over the epochs up to this one
    weighting: bool  # whether the epoch weighted the logits


def run_batch(run: Run, samples: Sequence[int], epoch: int = -1) -> RunBatch:
    """The batch of some samples in an epoch; those that the epoch did not draw are left out.

    The samples were not drawn together: a run notes alpha and logits of each sample, not its company.

    Args:
        run: a run with ledger and history.
        samples: positions in the training set, ``[B]``.
        epoch: counted from 0, or from the end.

    Raises:
        RunError: the run has no such epoch, or no labels yet.
        DataError: there is no such sample.
    """
    history, epoch = run.history, _epoch_of(run, epoch)
    samples = np.asarray(samples, dtype=np.int64).ravel()
    if len(samples) and (samples.min() < 0 or samples.max() >= history.n_samples):
        raise DataError(f"A sample of the batch is not one of the {history.n_samples:,} training samples.")
    arrays, row = history.epoch_arrays(epoch), history.frame().to_dict("records")[epoch]
    drawn = np.isfinite(arrays["alpha"][samples])
    samples, unseen = samples[drawn], samples[~drawn]
    given, target = run.ledger.given.cpu(), run.ledger.at(epoch - 1)
    return RunBatch(
        samples=samples,
        unseen=unseen,
        logits=torch.from_numpy(arrays["logits"][samples].astype(np.float32)),
        alpha=torch.from_numpy(arrays["alpha"][samples].copy()),
        target=target[samples],
        given=given[samples],
        evidence=_evidence(run, samples, epoch),
        weighting=bool(row.get("weighting", True)),
    )


def draw_batch(run: Run, epoch: int = -1, size: int = 32, seed: int = 0) -> np.ndarray:
    """Random samples that an epoch has seen, int64 ``[size]``; fewer where it saw fewer. The same for the same seed.

    Raises:
        RunError: the run has no such epoch.
        DataError: the size is less than 1.
    """
    if size < 1:
        raise DataError(f"A batch has at least 1 sample, got size {size}.")
    seen = np.flatnonzero(np.isfinite(run.history.epoch_arrays(_epoch_of(run, epoch))["alpha"]))
    return np.random.default_rng(seed).permutation(seen)[:size]


def _epoch_of(run: Run, epoch: int) -> int:
    if run.ledger is None or run.history is None:
        raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
    epochs = run.history.epoch
    if not epochs:
        raise RunError(f"{run.folder.name} has no epoch yet, so there is no batch to look at: train it first.")
    if not -epochs <= epoch < epochs:
        raise RunError(f"There is no epoch {epoch} in this run, which has {epochs} (0 to {epochs - 1}).")
    return epoch % epochs


def _evidence(run: Run, samples: np.ndarray, epoch: int) -> Tensor:
    """Averaged predictions, rebuilt from the history, which stores them for its last epoch only."""
    history, epochs = run.history, range(epoch + 1)
    logits = np.stack([history.epoch_arrays(e)["logits"][samples] for e in epochs]).astype(np.float32)
    weight = np.stack([history.weight(e)[samples] for e in epochs])
    decay = run.settings.get("scn", {}).get("evidence_decay", 1.0)
    return gather_evidence(torch.from_numpy(logits), torch.from_numpy(weight), decay)
