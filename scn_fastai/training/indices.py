"""Which sample is this? The order in which a fastai DataLoader draws, and the given labels of its data set."""

import numpy as np
import torch
from fastai.data.load import DataLoader
from torch import Tensor

from scn_fastai.errors import DataError, SettingsError


def record_order(dl: DataLoader) -> None:
    """Make this DataLoader remember the sample indices it draws, in ``dl.drawn_order``, from its next pass on.

    fastai gives no index with a batch. It does draw the whole order in the main process before the first
    batch, whatever the number of workers, so that is the place to listen. A bound method (not a closure) is
    put in place of ``get_idxs``: it does not travel into ``dl.new``, ``get_preds`` or an export; and it is one of a
    class, so that the loader can be pickled, as for workers that are started anew.
    """
    if "original_get_idxs" not in vars(dl):
        dl.original_get_idxs = dl.get_idxs
        dl.get_idxs = _Order(dl).draw_and_remember


def check_loader(dl: DataLoader) -> None:
    """Raise one sentence if this DataLoader does not tell its samples apart or has no batches to rank."""
    if not isinstance(dl, DataLoader):
        raise SettingsError(
            f"SCN must know which sample is which, and a {type(dl).__module__}.{type(dl).__name__} does not tell: "
            "make the loaders with fastai (ImageDataLoaders, DataBlock, DataLoaders.from_dsets) or with face_loaders."
        )
    if dl.bs is None:
        raise SettingsError("SCN ranks the samples of a batch, but this DataLoader has no batch size: pass bs=...")
    if dl.bs == 1:
        raise SettingsError("SCN ranks the samples of a batch, and a batch of 1 leaves nothing to rank: use 2 or more.")


def forget_order(dl: DataLoader) -> None:
    """Undo `record_order`."""
    original = vars(dl).pop("original_get_idxs", None)
    vars(dl).pop("drawn_order", None)
    if original is not None:
        vars(dl).pop("get_idxs", None)
        if original != dl.get_idxs:  # a function that was passed to the DataLoader lives on the instance
            dl.get_idxs = original


class _Order:
    """Draws for a DataLoader, and leaves the order with it."""

    def __init__(self, dl: DataLoader):
        self.dl = dl

    def draw_and_remember(self) -> list[int]:
        drawn = list(self.dl.original_get_idxs())
        self.dl.drawn_order = torch.as_tensor(drawn)
        return drawn


def batch_index(dl: DataLoader, start: int, size: int, device: torch.device) -> Tensor:
    """Indices ``[B]`` of the batch that begins at position ``start`` of the pass.

    The project's own loader hands its indices over in ``dl.batch_index``; for any other they are cut from
    the recorded order, which is moved to the device once per epoch.
    """
    handed = getattr(dl, "batch_index", None)
    if handed is not None:
        return handed.to(device)
    if dl.drawn_order.device != device:
        dl.drawn_order = dl.drawn_order.to(device)
    return dl.drawn_order[start : start + size]


def given_labels(dataset) -> np.ndarray:
    """Class index of every sample of a training set, int64 ``[N]``, without opening an image where possible.

    Raises:
        DataError: the labels are not one class per sample.
    """
    if hasattr(dataset, "labels"):
        labels = dataset.labels
    elif hasattr(dataset, "tls"):
        labels = [int(label) if np.ndim(label) == 0 else label for label in dataset.tls[-1]]
    elif hasattr(dataset, "targets"):
        labels = dataset.targets
    else:
        labels = [dataset[i][-1] for i in range(len(dataset))]
    try:
        labels = np.asarray(labels)
    except ValueError:
        labels = np.empty((0, 0))
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise DataError(
            "SCN needs one class per sample, but this training set's labels are not single class indices "
            "(several labels per image, or numbers to regress on): use CategoryBlock for the label."
        )
    return labels.astype(np.int64)
