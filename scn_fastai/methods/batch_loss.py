"""What methods with a loss of their own share: its place in the loop, and parameters beside the network's."""

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from fastai.learner import Learner
from fastcore.foundation import L
from torch import Tensor, nn

from scn_fastai.methods.guest import Guest


class BatchLoss(Guest):
    """Train on `batch_loss` in place of the Learner's own loss, which validation and ``lr_find`` keep.

    So the validation loss is cross-entropy for every method and can be compared. The loss goes into
    ``learn.loss_grad``; ``learn.loss_func`` is not touched, so nothing has to be restored after an interrupt.
    A subclass with state that outlives an epoch offers it in ``state()`` and takes it back in ``load_state()``: a Run
    keeps it for a resume.
    """

    order = 4  # its after_loss comes before that of SCNCallback (5), which notes the loss and looks for NaN
    run_valid = False

    def before_fit(self) -> None:
        """A search for a learning rate, which takes back the network alone, leaves the other parameters where they are.

        They get no gradient in it; but fastai's optimizers keep one of zero from the training before, by which they
        would step: with old momentum, weight decay and the rates of the search.
        """
        super().before_fit()
        if hasattr(self.learn, "lr_finder"):
            for parameter in self.extra_parameters():
                parameter.grad = None

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The loss ``[]`` of a batch: logits float32 ``[B, C]``, labels of the ledger ``[B]``, samples ``[B]``."""
        raise NotImplementedError

    def after_loss(self) -> None:
        """Put the method's loss in place of the Learner's."""
        learn = self.learn
        index = learn.scn.index
        if index is None:  # lr_find trains on what is taken back
            return
        logits, label = (t.as_subclass(Tensor) for t in (learn.pred, learn.yb[0]))
        learn.loss_grad = self.batch_loss(logits.float(), label, index)
        learn.loss = learn.loss_grad.detach().clone()

    def extra_parameters(self) -> list[nn.Parameter]:
        """Parameters that are trained beside the network's (see `train_too`)."""
        return []

    def extra_groups(self, model: nn.Module, groups: Sequence[Iterable]) -> list[list[nn.Parameter]]:
        """Those that join each of the optimizer's groups of the model's parameters: all of them the last one."""
        return [*([] for _ in groups[:-1]), self.extra_parameters()]

    def per_sample(self, kept: Tensor | None, *width: int, fill: float = 0.0) -> Tensor:
        """State ``[N, *width]`` on the training device: the kept one, or a new one where there is none."""
        ledger = self.learn.scn.ledger
        if kept is None:
            kept = torch.full((len(ledger.given), *width), fill)
        return kept.to(ledger.current.device)


def float32(device: torch.device) -> torch.autocast:
    """A context without autocast: under it even a product of float32 matrices is computed in half precision."""
    return torch.autocast(device.type, enabled=False)


def train_too(learn: Learner, callback: BatchLoss) -> None:
    """Let the Learner's optimizer train ``callback.extra_parameters()`` in the groups of ``callback.extra_groups``.

    One optimizer and one schedule for all; the network itself stays as it is. An optimizer that there already is gets
    them too.
    """
    learn.splitter = partial(_split_with, learn.splitter, callback)
    if learn.opt is not None:
        groups = learn.opt.param_lists
        for group, joining in zip(groups, callback.extra_groups(learn.model, groups), strict=True):
            group.extend(joining)
            for parameter in joining:
                learn.opt.state.setdefault(parameter, {})  # a state that was loaded makes no new entries by itself


def _split_with(splitter, callback: BatchLoss, model: nn.Module) -> L:
    groups = L(splitter(model))
    if groups and isinstance(groups[0], Iterable) and not isinstance(groups[0], Tensor):
        groups = groups.map(L)
        joining = callback.extra_groups(model, groups)
        return L(group + more for group, more in zip(groups, joining, strict=True))
    return groups + L(callback.extra_parameters())
