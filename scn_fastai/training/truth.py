"""Figures that need the truth, for the epoch table alone: the truth never reaches SCN itself."""

import numpy as np
import torch
from fastai.learner import Callback, Metric

from scn_fastai.training.measures import label_accuracy, repair_measures


class TruthColumns(Callback):
    """Show, beside fastai's own figures, what relabeling did, judged by the true labels of the training set.

    It reads the ledger and the history of ``learn.scn`` and writes to neither labels nor loss; SCNCallback
    does not know it. The figures also go into the history's epoch row: relabel_precision, relabel_recall,
    relabel_harm, label_accuracy (current labels) and train_accuracy_true.

    Args:
        truth: true class indices ``[N]``, in the order of the training set.
    """

    order = 7  # after SCNCallback has ended its epoch, before Recorder (50) reads the columns
    _stateattrs = ("truth",)
    truth = None

    def __init__(self, truth: np.ndarray | torch.Tensor):
        self.truth = torch.as_tensor(truth).long()

    def before_fit(self) -> None:
        """Add the columns."""
        self.after_fit()
        fits = not hasattr(self.learn, "lr_finder") and not self.learn.lock.locked()  # a validation holds the lock
        if fits and self._judges():
            for name in ("label_accuracy", "relabel_precision"):
                self.learn.metrics.append(_TruthColumn(self, name))

    def after_train(self) -> None:
        """Judge the epoch that SCNCallback has just ended."""
        if not self._judges() or not self.learn.scn.history.epoch or hasattr(self.learn, "lr_finder"):
            return
        scn = self.learn.scn
        found = repair_measures(scn.ledger.given, scn.ledger.current, self.truth)
        names = ("relabel_precision", "relabel_recall", "relabel_harm")
        figures = {name: found[name] for name in names} | {"label_accuracy": found["label_accuracy_after"]}
        epoch = scn.history.epoch_arrays(scn.history.epoch - 1)
        logits, seen = torch.from_numpy(epoch["logits"].copy()), torch.from_numpy(~np.isnan(epoch["alpha"]))
        figures["train_accuracy_true"] = label_accuracy(logits, seen, self.truth)
        scn.history.note(**figures)

    def after_fit(self) -> None:
        """Take the columns off."""
        self.learn.metrics = [m for m in self.learn.metrics if not isinstance(m, _TruthColumn)]

    def _judges(self) -> bool:
        """Whether there is something to judge, and a truth to judge by (an export leaves it behind)."""
        return self.truth is not None and hasattr(self.learn, "scn") and self.learn.scn.history is not None


class _TruthColumn(Metric):
    """A figure of the history's last epoch."""

    def __init__(self, callback: TruthColumns, column: str):
        self.callback, self.column = callback, column

    @property
    def value(self) -> float:
        """The figure."""
        scn = getattr(self.callback.learn, "scn", None)
        return float("nan") if scn is None else scn.history.last(self.column)

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column
