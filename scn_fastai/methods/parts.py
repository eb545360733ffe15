"""What several methods need: options that make sense, a module that trains with the head, an order of their own."""

from collections.abc import Sequence

import torch
from fastai.learner import Callback, Learner
from torch import Tensor, nn

from scn_fastai.errors import SCNError, SettingsError
from scn_fastai.training.head import ImportanceHead, find_head
from scn_fastai.training.score import training_loader


def check_number(method: str, option: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise one sentence unless ``value`` is a number from ``low`` to ``high``.

    >>> check_number("mine", "share", 0.5, 0, 1)
    >>> check_number("mine", "share", 2, 0, 1)
    Traceback (most recent call last):
    ...
    scn_fastai.errors.SettingsError: share of mine must be a number from 0 to 1, not 2.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        span = f"from {low:g} to {high:g}" if high < float("inf") else f"of {low:g} or more"
        raise SettingsError(f"{option} of {method} must be a number {span}, not {value!r}.")


def check_whole(method: str, option: str, value: object, low: int) -> None:
    """Raise one sentence unless ``value`` is a whole number of ``low`` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise SettingsError(f"{option} of {method} must be a whole number of {low} or more, not {value!r}.")


def check_choice(method: str, option: str, value: object, choices: Sequence[str]) -> None:
    """Raise one sentence unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise SettingsError(f"{option} of {method} must be one of {', '.join(choices)}, not {value!r}.")


class MethodCallback(Callback):
    """A callback that acts in training batches only, before SCNCallback (5), which notes the loss and looks for NaN.

    A subclass says its loss in ``batch_loss``, and which samples an epoch draws in ``draw``; either may be left out.
    What it remembers of each sample it returns from ``state()`` as tensors, and takes back in ``load_state``.

    Args:
        part: a module that trains with the network and is not needed afterwards: it lives in the importance head, so
            that optimizer and checkpoints know it, and goes with it.
    """

    order = 4
    wants_features = False
    part_name = "part"

    def __init__(self, part: nn.Module | None = None):
        self.part = part

    def __call__(self, event_name: str):
        """Run an event; our own errors come through as the one sentence that they are."""
        try:
            return super().__call__(event_name)
        except SCNError as error:
            raise type(error)(str(error).split(":\n\t", 1)[-1]) from None

    @property
    def head(self) -> ImportanceHead:
        """The importance head of the Learner's network."""
        return find_head(self.learn.model)

    @property
    def active(self) -> bool:
        """Whether a training runs, and neither a validation of its own nor a search for a learning rate."""
        return not self.learn.lock.locked() and not hasattr(self.learn, "lr_finder")

    def add_part(self) -> None:
        """Put the part into the head, if it is not there (a head may be taken off and put on again)."""
        if self.part is not None and not hasattr(self.head, self.part_name):
            self.head.add_module(self.part_name, self.part)

    def before_fit(self) -> None:
        """The head keeps the features, and has the part."""
        if not self.active:
            return
        self.head.keep_features = self.wants_features
        self.add_part()
        self.check()

    def check(self) -> None:
        """Look at the Learner when a training begins; raise a SettingsError if the method cannot work."""

    def before_train(self) -> None:
        """The epoch draws its samples in the order of `draw`."""
        if self.active and type(self).draw is not MethodCallback.draw:
            self.learn.dls.train.shuffle_fn = self.draw

    def draw(self, indices: list[int]) -> list[int]:
        """As many indices as are given, in the order in which they are to be drawn."""
        return indices

    def after_train(self) -> None:
        """The loader draws as before."""
        vars(self.learn.dls.train).pop("shuffle_fn", None)

    def after_cancel_train(self) -> None:
        """The loader draws as before."""
        self.after_train()

    def after_loss(self) -> None:
        """The method's loss takes the place of the Learner's, in float32."""
        index = self.learn.scn.index
        if not self.training or index is None:
            return
        logits = self.learn.pred.as_subclass(Tensor)
        with torch.autocast(logits.device.type, enabled=False):
            loss = self.batch_loss(logits.float(), self.learn.yb[0].as_subclass(Tensor), index)
        if loss is not None:
            self.learn.loss_grad, self.learn.loss = loss, loss.detach().clone()

    def batch_loss(self, logits: Tensor, target: Tensor, index: Tensor) -> Tensor | None:
        """The loss of a training batch: logits ``[B, C]``, labels ``[B]``, samples ``[B]``; None leaves it as it is."""
        return None

    def after_fit(self) -> None:
        """The head keeps no features any more."""
        if self.active:
            self.head.keep_features = False

    def state(self) -> dict[str, Tensor]:
        """What has to be known to go on with a training."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""


def add_callback(learn: Learner, callback: MethodCallback) -> None:
    """Add the callback to a Learner, its part already in the head: a resumed run loads its weights before any fit."""
    if callback.part is not None:
        callback.part.to(find_head(learn.model).weight.device)
    learn.add_cb(callback)
    callback.add_part()


def plain_logits(learn: Learner) -> Tensor:
    """Logits ``[N, C]`` of all training samples, float32 on the CPU, none augmented, in eval mode."""
    model, rows = learn.model, []
    training, device = model.training, find_head(model).weight.device
    model.eval()
    try:
        with torch.no_grad():
            for batch in training_loader(learn.dls):
                rows.append(model(batch[0].to(device)).as_subclass(Tensor).float().cpu())
    finally:
        model.train(training)
    return torch.cat(rows)
