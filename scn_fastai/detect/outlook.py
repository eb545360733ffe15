"""What relabeling would do in each epoch of a training, by the prediction of that epoch or by averaged ones."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from scn_fastai.core.relabeling import Relabel, average_evidence, relabel
from scn_fastai.errors import DataError
from scn_fastai.training.history import SCNHistory


def relabel_outlook(
    history: SCNHistory, given: Tensor, truth: Tensor, margin: float = 0.2, decay: float = 0.7
) -> pd.DataFrame:
    """A row per epoch: how many labels Eq. 5 would change then, and which share of these changes is right.

    Two ways to ask: ``step`` takes the prediction of the epoch, as the paper does; ``averaged`` its average over the
    epochs so far. Every sample that was drawn is asked about; the paper asks about the low-importance group alone, and
    so changes fewer. Nothing is changed; what the training itself relabeled is in its predictions, so the answer is
    cleanest for a plain network.

    Args:
        history: of a training on N samples.
        given: int64 ``[N]``, the given labels.
        truth: int64 ``[N]``, the true ones.
        margin: relabel margin (delta2).
        decay: weight of an epoch in the average against the one after it.

    Returns:
        DataFrame with epoch, accuracy (share of predictions that are true), and for each way ``<way>_changed`` (share
        of the samples) and ``<way>_right`` (NaN where nothing would change).

    Raises:
        DataError: there is no epoch, or the labels are of other samples.

    >>> history = SCNHistory(2, 2)
    >>> history.begin_epoch("cpu")
    >>> history.see(torch.arange(2), torch.full((2,), 0.5), torch.tensor([[4.0, 0.0], [0.0, 4.0]]), torch.zeros(2) > 1)
    >>> _ = history.end_epoch()
    >>> row = relabel_outlook(history, torch.tensor([1, 1]), torch.tensor([0, 1])).iloc[0]
    >>> row["accuracy"], row["step_changed"], row["step_right"]
    (np.float64(1.0), np.float64(0.5), np.float64(1.0))
    """
    given, truth = torch.as_tensor(given).cpu(), torch.as_tensor(truth).cpu()
    if not history.epoch or not len(given) == len(truth) == history.n_samples:
        raise DataError(
            f"The history has {history.epoch} epochs of {history.n_samples:,} samples, but there are {len(given):,} "
            f"given and {len(truth):,} true labels: pass those of its training, after an epoch or more."
        )
    rows = []
    for epoch, (probs, mean, count) in enumerate(evidence_by_epoch(history, decay)):
        seen = probs.isfinite().all(1)
        ways = {
            "step": relabel(probs.nan_to_num(), given, seen, margin),
            "averaged": relabel(mean, given, count > 0, margin),
        }
        row = {"epoch": epoch, "accuracy": (probs.argmax(1) == truth)[seen].float().mean().item()}
        rows.append(row | {key: value for name, way in ways.items() for key, value in _told(name, way, truth).items()})
    return pd.DataFrame(rows)


def evidence_by_epoch(history: SCNHistory, decay: float = 0.7) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Per epoch: its predictions ``[N, C]`` (NaN if unseen), their average so far ``[N, C]``, and its weights ``[N]``.

    The averages are the same tensors in every epoch: copy what is to be kept.

    >>> list(evidence_by_epoch(SCNHistory(2, 2)))
    []
    """
    mean, count = torch.zeros(history.n_samples, history.n_classes), torch.zeros(history.n_samples)
    for epoch in range(history.epoch):
        probs = torch.from_numpy(np.array(history.probs(epoch)))
        seen = probs.isfinite().all(1).nonzero().squeeze(1)
        average_evidence(mean, count, seen, probs[seen], decay)
        yield probs, mean, count


def _told(name: str, change: Relabel, truth: Tensor) -> dict[str, float]:
    right = (change.label == truth)[change.mask].float().mean().item()
    return {f"{name}_changed": change.mask.float().mean().item(), f"{name}_right": right}
