"""The fast loader: whole batches cut out of one uint8 array, augmented at once on the training device."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import fastai.vision.learner  # noqa: F401  registers how batches and results of images are shown
import numpy as np
import torch
import torch.nn.functional as F
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.transforms import Category, Normalize
from fastai.losses import CrossEntropyLossFlat
from fastai.torch_core import TensorCategory, TensorImage, default_device
from fasttransform import DisplayedTransform, Pipeline
from PIL import Image
from torch import Tensor

from scn_fastai.data.balance import balanced_order
from scn_fastai.data.convention import InputConvention
from scn_fastai.data.images import decode_image
from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import DataError

# A training set up to this size is kept on a GPU whole; a larger one is sent there batch by batch.
ON_DEVICE_LIMIT = 2**31


class FaceItem(NamedTuple):
    """One face of a data set: uint8 pixels and the label code (None when unknown)."""

    image: np.ndarray
    label: int | None = None


class FaceDataset:
    """Images as one uint8 array and label codes as one tensor, for `BatchDL`.

    images: uint8 [M, H, W] or [M, H, W, 3]; rows: which of them are this set's, [N]; labels: LongTensor
    [N] or None. Nothing here is ever written: labels that change live elsewhere.
    """

    n_inp = 1
    loss_func = CrossEntropyLossFlat()

    def __init__(
        self,
        images: np.ndarray,
        classes: Sequence[str],
        labels: Tensor | None = None,
        rows: np.ndarray | None = None,
        split_idx: int = 1,
    ) -> None:
        self.images, self.labels, self.split_idx = images, labels, split_idx
        self.rows = np.arange(len(images)) if rows is None else np.asarray(rows, dtype=np.int64)
        self.vocab = list(classes)
        self.shape = tuple(images.shape[1:])
        self._resident: dict[str, tuple] = {}

    @property
    def c(self) -> int:
        """Number of classes."""
        return len(self.vocab)

    @property
    def items(self) -> list[FaceItem]:
        """Every face with its label, as `test_dl` takes them."""
        return [self.item(i) for i in range(len(self))]

    def item(self, i: int) -> FaceItem:
        """Pixels and label code of face `i`."""
        return FaceItem(self.images[self.rows[i]], None if self.labels is None else int(self.labels[i]))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple:
        """(TensorImage uint8 [3, H, W], TensorCategory), the image alone without labels."""
        pixels = torch.from_numpy(np.array(self.images[self.rows[i]]))
        pixels = pixels.expand(3, *self.shape) if len(self.shape) == 2 else pixels.permute(2, 0, 1)
        image = TensorImage(pixels.contiguous())
        return (image,) if self.labels is None else (image, TensorCategory(self.labels[i]))

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_resident": {}}

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, ...]:
        """Raw uint8 images [B, H, W(, 3)] and label codes [B] at these positions, on `device`."""
        images, rows, labels = self._tensors(device, index.device)
        pixels = images.index_select(0, index if rows is None else rows.index_select(0, index))
        parts = (pixels,) if labels is None else (pixels, labels.index_select(0, index))
        return tuple(_send(part, device) for part in parts)

    def fits_on(self, device: torch.device) -> bool:
        """Whether the images are kept on this device whole."""
        return device.type == "cuda" and len(self) * int(np.prod(self.shape)) <= ON_DEVICE_LIMIT

    def _tensors(self, device: torch.device, where: torch.device) -> tuple:
        """(images, rows or None, labels) for indices that lie on `where`."""
        if where.type != "cpu":
            if str(device) not in self._resident:
                images = torch.from_numpy(self.images[self.rows]).to(device)
                labels = None if self.labels is None else self.labels.to(device)
                self._resident = {str(device): (images, labels)}
            images, labels = self._resident[str(device)]
            return images, None, labels
        if "cpu" not in self._resident:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*not writable.*")
                self._resident["cpu"] = (torch.from_numpy(self.images), self.labels)
        images, labels = self._resident["cpu"]
        return images, torch.from_numpy(self.rows), labels

    def decode(self, sample: tuple, full: bool = True) -> tuple:
        """(image, class name) of one decoded sample, as fastai shows it."""
        return (sample[0], *(Category(self.vocab[int(code)]) for code in sample[1:]))

    def new_empty(self) -> FaceDataset:
        """The same kind of data set without a face: what an exported Learner carries."""
        labels = None if self.labels is None else self.labels[:0].clone()
        images = np.empty((0, *self.shape), np.uint8)
        return FaceDataset(images, self.vocab, labels, split_idx=self.split_idx)

    def plain(self) -> FaceDataset:
        """The same faces, never augmented."""
        return FaceDataset(self.images, self.vocab, self.labels, self.rows)

    def of_items(self, items: Any) -> FaceDataset:
        """A data set of other faces: paths, PIL images, bytes, uint8 arrays or `FaceItem`s."""
        single = isinstance(items, str | Path | Image.Image | bytes | FaceItem)
        items = [items] if single else list(items)
        images = np.empty((len(items), *self.shape), np.uint8)
        labels = []
        for row, item in enumerate(items):
            image, label = item if isinstance(item, FaceItem) else (item, None)
            images[row] = _open_item(image, self.shape)
            labels.append(label)
        known = bool(items) and all(label is not None for label in labels)
        return FaceDataset(images, self.vocab, torch.tensor(labels) if known else None)


class BatchDL(TfmdDL):
    """A fastai DataLoader that reads a `FaceDataset` by whole index vectors, with no work per item.

    `batch_index` is the LongTensor [B] of data set positions in the batch that was just yielded, on the
    device where the images are kept. Order and augmentation are drawn from torch's default CPU generator
    (one permutation at the start of an epoch, one draw a batch) and from nothing else, so that restoring
    `torch.get_rng_state()` between epochs repeats them to the bit; loaders that neither shuffle nor augment
    draw nothing. num_workers: threads that cut batches ahead, useful for a memory map on a slow disk. oversample:
    when it shuffles, draw every class equally often by the given labels (see `balanced_order`), over as many samples.
    """

    batch_index: Tensor | None = None

    def __init__(self, dataset: FaceDataset, bs: int = 64, oversample: bool = False, **kwargs: Any) -> None:
        kwargs.setdefault("num_workers", 0)
        super().__init__(dataset, bs=bs, **kwargs)
        self.oversample = oversample
        self._n_inp, self._types = 1, {tuple: [TensorImage, TensorCategory]}

    def new(self, dataset: Any = None, cls: type | None = None, **kwargs: Any) -> BatchDL:
        """A loader like this one, over another data set or over loose items (see `of_items`)."""
        if dataset is not None and not isinstance(dataset, FaceDataset):
            dataset = self.dataset.of_items(dataset)
        return super().new(dataset, cls, **kwargs)

    def shuffle_fn(self, idxs: list[int]) -> list[int]:
        """A permutation by torch's default generator; with `oversample` as many samples of each class."""
        if self.oversample and self.dataset.labels is not None:
            return balanced_order(self.dataset.labels).tolist()
        return [idxs[i] for i in torch.randperm(len(idxs)).tolist()]

    def __iter__(self) -> Iterator[tuple]:
        self.before_iter()
        for batch in self.create_batches(self.get_idxs()):
            yield self.after_batch(batch)
        self.after_iter()

    def create_batches(self, samps: Iterable[int]) -> Iterator[tuple]:
        """Raw batches in the order of `samps`, already on the device."""
        device = self.device or torch.device("cpu")
        order = torch.as_tensor(list(samps), dtype=torch.long)
        if self.dataset.fits_on(device):
            order = order.to(device)
        chunks = [part for part in order.split(self.bs) if len(part) == self.bs or not self.drop_last]
        for index, batch in _ahead(chunks, lambda i: self.dataset.batch(i, device), self.fake_l.num_workers):
            self.batch_index = index
            yield _typed(batch)


class BatchAugment(DisplayedTransform):
    """Mirror half of the training images and shift each by up to `pad` pixels, edges repeated.

    Works on raw batches, uint8 [B, H, W] or [B, H, W, 3], whole.
    """

    split_idx, order = 0, 0

    def __init__(self, flip: float = 0.5, pad: int = 4) -> None:
        self.flip, self.pad = flip, pad

    def encodes(self, x: TensorImage) -> TensorImage:
        """The same batch, each image moved on its own."""
        x = x.as_subclass(Tensor)
        mirror = torch.rand(len(x)) < self.flip
        shift = torch.randint(-self.pad, self.pad + 1, (2, len(x)))
        return TensorImage(shift_and_flip(x, *_send(torch.cat([shift, mirror[None]]), x.device)))


class ToRGBFloat(DisplayedTransform):
    """uint8 [B, H, W(, 3)] to float [B, 3, size, size] in 0..1, in channels_last memory format.

    crop: the middle share of height and width that is kept first; channels: RGB, or BGR to turn their order round.
    """

    order = 10
    crop, channels = 1.0, "RGB"  # of exported Learners that are older than these two

    def __init__(self, size: int | tuple[int, int] | None = None, crop: float = 1.0, channels: str = "RGB") -> None:
        self.size = (size, size) if isinstance(size, int) else size
        self.crop, self.channels = crop, channels

    def encodes(self, x: TensorImage) -> TensorImage:
        """Grey images get three equal channels."""
        x = x.as_subclass(Tensor)
        x = x[:, None] if x.ndim == 3 else x.permute(0, 3, 1, 2)
        x = x if self.crop == 1 else _middle(x, self.crop)
        x = x.float().div_(255)
        if self.size is not None and tuple(x.shape[-2:]) != self.size:
            smaller = min(self.size) < min(x.shape[-2:])
            x = F.interpolate(x, self.size, mode="bilinear", antialias=smaller)
        x = x.flip(1) if self.channels == "BGR" else x
        return TensorImage(x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))

    def decodes(self, x: TensorImage) -> TensorImage:
        """Back into RGB and into 0..1 after rounding, ready to show."""
        return (x.flip(-3) if self.channels == "BGR" else x).clamp(0, 1)


def _middle(x: Tensor, share: float) -> Tensor:
    """The middle of images [B, K, H, W], at least a pixel."""
    height, width = (max(1, round(side * share)) for side in x.shape[-2:])
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def shift_and_flip(x: Tensor, down: Tensor, right: Tensor, mirror: Tensor) -> Tensor:
    """Mirror images [B, H, W(, 3)] where `mirror` [B] is 1, then shift by whole pixels [B]; edges repeat.

    >>> shift_and_flip(torch.tensor([[[1, 2, 3]]]), *torch.tensor([[0], [1], [0]]))
    tensor([[[1, 1, 2]]])
    >>> shift_and_flip(torch.tensor([[[1, 2, 3]]]), *torch.tensor([[0], [0], [1]]))
    tensor([[[3, 2, 1]]])
    """
    count, height, width = x.shape[:3]
    row = (torch.arange(height, device=x.device) - down[:, None]).clamp_(0, height - 1)
    row = row + height * torch.arange(count, device=x.device)[:, None]
    column = (torch.arange(width, device=x.device) - right[:, None]).clamp_(0, width - 1)
    column = torch.where(mirror[:, None] > 0, width - 1 - column, column)
    column = column.view(count, 1, width, *[1] * (x.ndim - 3))
    # Whole rows first, then pixels within them: five times as fast as one gather by both.
    moved = x.reshape(count * height, -1).index_select(0, row.view(-1)).view(x.shape)
    return moved.gather(2, column.expand(x.shape))


def image_stats(images: np.ndarray, rows: np.ndarray, at_most: int = 20_000) -> tuple[list, list]:
    """Mean and standard deviation of three channels in 0..1, over at most `at_most` evenly spaced rows."""
    rows = rows[:: -(-len(rows) // at_most)] if len(rows) else rows
    channels = 1 if images.ndim == 3 else 3
    counts = np.zeros((channels, 256))
    for start in range(0, len(rows), 256):
        pixels = images[rows[start : start + 256]].reshape(-1, channels)
        counts += [np.bincount(pixels[:, k], minlength=256) for k in range(channels)]
    value = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ value
    std = np.sqrt(np.maximum(share @ value**2 - mean**2, 1e-6))
    return np.resize(mean, 3).tolist(), np.resize(std, 3).tolist()


def face_loaders(
    faces: FaceSet,
    batch_size: int = 128,
    size: int | None = None,
    augment: bool = True,
    device: str | torch.device | None = None,
    num_workers: int = 0,
    stats: tuple[Sequence[float], Sequence[float]] | None = None,
    oversample: bool = False,
    convention: InputConvention | None = None,
) -> DataLoaders:
    """Fastai DataLoaders (train, valid and, if there is one, test) over the faces.

    size: pixels to resize to, on the device. stats: (mean, std) of three channels to normalise with,
    by default those of the training images. oversample: draw every class equally often in training (see
    `balanced_order`); validation and test stay as they are. convention: how a pretrained network wants its inputs
    (see `load_backbone`); `size` and `stats` go before what it says. `dls.train_ds.labels` are the given label codes,
    `dls.train.batch_index` the positions in the batch just yielded; labels are read from `label`.
    """
    if batch_size < 1:
        raise DataError(f"A batch size of {batch_size} makes no sense: give 1 or more.")
    if size is not None and size < 1:
        raise DataError(f"An image size of {size} pixels makes no sense: give 1 or more.")
    rows = {split: faces.rows(split) for split in ("train", "valid", "test")}
    for split in ("train", "valid"):
        if not len(rows[split]):
            raise DataError(f"There are no {split} faces in {faces.account.source}: mark some as {split}.")
    codes = torch.from_numpy(faces.label_codes())
    if len(rows["train"]) < batch_size:
        raise DataError(
            f"A batch of {batch_size} is more than the {len(rows['train'])} training faces, so there would be nothing "
            "to train on: choose a smaller batch size."
        )
    device = torch.device(device) if device is not None else default_device()
    if convention is None:
        mean, std = stats or image_stats(faces.images, rows["train"])
        convention = InputConvention(None, tuple(mean), tuple(std))
    mean, std = stats or (list(convention.mean), list(convention.std))
    tfms = [
        ToRGBFloat(size or convention.size, convention.crop, convention.channels),
        Normalize.from_stats(mean, std, cuda=False),
    ]
    if augment:
        tfms.insert(0, BatchAugment(pad=max(1, round(min(faces.images.shape[1:3]) / 12))))
    loaders = []
    for split, chosen in rows.items():
        if len(chosen):
            train = split == "train"
            labels, kind = codes[chosen], int(not train)
            dataset = FaceDataset(faces.images, faces.classes, labels, chosen, split_idx=kind)
            dl = BatchDL(dataset, batch_size, shuffle=train, drop_last=train, num_workers=num_workers,
                         oversample=train and oversample, after_batch=Pipeline(list(tfms)), device=device)  # fmt: skip
            loaders.append(dl)
    return DataLoaders(*loaders, device=device)


def plain_loader(dls: DataLoaders, ds_idx: int = 0) -> BatchDL:
    """All faces of one data set in their own order, none augmented or left out."""
    return dls.valid.new(dls[ds_idx].dataset.plain(), shuffle=False, drop_last=False)


def _typed(batch: tuple[Tensor, ...]) -> tuple:
    return (TensorImage(batch[0]), *(TensorCategory(labels) for labels in batch[1:]))


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device without the host waiting for it."""
    if tensor.device == device or device.type == "cpu":
        return tensor
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def _ahead(chunks: list, make: Callable, workers: int) -> Iterator[tuple]:
    """(chunk, make(chunk)) in order; with workers, threads keep two batches each ready."""
    if workers < 1:
        yield from ((chunk, make(chunk)) for chunk in chunks)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for chunk in chunks:
            waiting.append((chunk, pool.submit(make, chunk)))
            if len(waiting) > 2 * workers:
                chunk, batch = waiting.popleft()
                yield chunk, batch.result()
        for chunk, batch in waiting:
            yield chunk, batch.result()


def _open_item(image: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Pixels of a loose item in the shape of the data set's images."""
    if isinstance(image, Tensor):
        image = image.detach().cpu().numpy()
        image = image.transpose(1, 2, 0) if image.ndim == 3 and image.shape[0] in (1, 3) else image
    if not isinstance(image, str | Path | bytes | Image.Image | np.ndarray):
        raise DataError(f"A face cannot be read from a {type(image).__name__}: give paths, PIL images or uint8 arrays.")
    try:
        return decode_image(image, shape[:2], grey=len(shape) == 2)
    except FileNotFoundError:
        raise DataError(f"There is no image at {image}: check the path.") from None
    except OSError as error:
        what = image if isinstance(image, str | Path) else f"this {type(image).__name__}"
        raise DataError(f"The image {what} cannot be read ({error}): give another.") from error
