"""Many processes that train one network: what they tell each other, so that a batch means the batch of all of them.

In a training of one process every function here gives back what it gets, and nothing is sent.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from fastai.callback.progress import ProgressCallback
from fastai.distributed import DistributedDL, DistributedTrainer
from fastai.imports import noop
from fastai.learner import Learner
from torch import Tensor

from scn_fastai.errors import SettingsError


def n_processes() -> int:
    """How many processes train together; 1 outside of a distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; the first one writes the run."""
    return dist.get_rank() if n_processes() > 1 else 0


def asked_processes() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return max(1, int(os.environ.get("WORLD_SIZE", 1)))


def share_of_batch(batch_size: int) -> int:
    """Batch size of one of the processes that `torchrun` started, for a whole batch of ``batch_size``.

    Raises:
        SettingsError: the batch cannot be shared out evenly.
    """
    processes = asked_processes()
    if batch_size % processes:
        raise SettingsError(
            f"A batch of {batch_size} cannot be shared by {processes} processes: choose a multiple of {processes}."
        )
    return batch_size // processes


def gather(x: Tensor) -> Tensor:
    """Everybody's tensor ``[B, ...]``, one after the other in the order of the ranks: ``[P * B, ...]``.

    Gradients flow back: each process receives the sum of what all of them made of its part, so that a mean over
    processes of losses of the whole batch has the gradient that it has in one process.

    >>> gather(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return x if n_processes() == 1 else _Gather.apply(x.contiguous())


def own_part(x: Tensor) -> Tensor:
    """This process's part of a gathered tensor: ``[P * B, ...]`` to ``[B, ...]``."""
    size = len(x) // n_processes()
    return x[rank() * size : (rank() + 1) * size]


def not_padding(dl: Any, position: int, size: int, device: torch.device) -> Tensor | None:
    """Which samples of a gathered batch were really drawn, bool ``[P * B]``; None: all of them.

    So that every process has as many samples, the loader repeats the first ones behind the last; they are trained on
    twice, but they are to count once.

    Args:
        dl: the loader of this process.
        position: where the batch begins in this process's part of the epoch.
        size: B, samples of the batch in one process.
    """
    drawn, padded = getattr(dl, "n", None), getattr(dl, "n_padded", None)
    processes = n_processes()
    if processes == 1 or drawn is None or padded is None or drawn == padded:
        return None
    share = padded // processes
    start = torch.arange(processes)[:, None] * share + position
    keep = (start + torch.arange(size) < drawn).flatten()
    return None if keep.all() else keep.to(device)


def in_all(count: Tensor) -> Tensor:
    """Sum of a number over all processes."""
    if n_processes() > 1:
        count = count.clone()
        dist.all_reduce(count)
    return count


def mean_of_all(value: Tensor) -> Tensor:
    """Mean of a number over all processes, without its gradient."""
    return in_all(value.detach()) / n_processes()


@contextmanager
def distributed(learn: Learner, sync_bn: bool | None = None) -> Iterator[Learner]:
    """Train with the other processes that `torchrun` started: fastai's ``learn.distrib_ctx()``, but on CPUs too.

    Each process trains on its share of every batch, gradients are averaged, and the batch size of the loaders is
    that of one process. Without `torchrun` it changes nothing.

    Args:
        learn: the same in every process.
        sync_bn: whether batch norm takes its statistics from the whole batch; None: on GPUs, where torch can do it.

    Raises:
        SettingsError: accelerate is not installed.
    """
    if asked_processes() == 1:
        yield learn
        return
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingsError(
            "Several processes need accelerate, which is not installed: pip install 'scn_fastai[distributed]'."
        ) from error
    gpu = torch.cuda.is_available()
    trainer = _Trainer(sync_bn=gpu if sync_bn is None else sync_bn, cpu=not gpu)
    quiet = [cb for cb in learn.cbs if isinstance(cb, ProgressCallback)] if rank() else []
    learn.remove_cbs(quiet)
    learn.add_cb(trainer)
    try:
        yield learn
    finally:
        learn.remove_cb(trainer)
        learn.add_cbs(quiet)


class _Gather(torch.autograd.Function):
    """all_gather whose backward adds up the gradients; torch's own needs a backend that can scatter sums."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(n_processes())]
        dist.all_gather(parts, x)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return own_part(grad)


class _Loader(DistributedDL):
    """fastai's, which sends the order through a GPU even where there is none."""

    def _broadcast(self, t: list[int], rank: int) -> list[int]:
        order = torch.tensor(t, device=self.device if torch.cuda.is_available() else "cpu")
        dist.broadcast(order, rank)
        return order.tolist()


class _Trainer(DistributedTrainer):
    """fastai's, with that loader."""

    def before_fit(self) -> None:
        super().before_fit()
        if rank():
            self.learn.logger = noop

    def _wrap_dl(self, dl):
        return dl if isinstance(dl, DistributedDL) else _Loader(dl, device=self.learn.dls.device)
