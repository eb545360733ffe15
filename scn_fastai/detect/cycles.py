"""O2U-Net: a cyclic learning rate moves a network between over- and underfitting; wrong labels keep a high loss."""

import numpy as np

from scn_fastai.detect.dynamics import loss
from scn_fastai.errors import RunError
from scn_fastai.training.history import SCNHistory


def o2u(history: SCNHistory, given: np.ndarray, start: int = 0) -> np.ndarray:
    """Mean over the cyclic epochs of the loss less its mean over all samples, float64 ``[N]``.

    ``1/T sum_e (l_i(e) - mean_j l_j(e))`` (Huang et al., O2U-Net: A Simple Noisy Label Detection Approach, ICCV 2019).

    Args:
        history: of a training that ended in a stage of cyclic learning rates.
        given: given labels ``[N]``.
        start: first epoch of the cyclic stage.

    Raises:
        RunError: there is no epoch from ``start`` on.
    """
    if not 0 <= start < history.epoch:
        raise RunError(f"There is no cyclic epoch: the history has {history.epoch} and the stage begins in {start}.")
    total, count = np.zeros(len(given)), np.zeros(len(given))
    for epoch in range(start, history.epoch):
        value = loss(history, given, epoch)
        seen = np.isfinite(value)
        total[seen] += value[seen] - value[seen].mean()
        count += seen
    return np.divide(total, count, out=np.full(len(given), np.nan), where=count > 0)
