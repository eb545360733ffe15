"""What methods need that change more than the loss: a module that trains too, features, an order of drawing."""

from collections.abc import Callable

import torch
from fastai.data.load import DataLoader
from fastai.learner import Learner, SkipToEpoch
from torch import Tensor, nn

from scn_fastai.errors import SCNError, SettingsError
from scn_fastai.methods.batch_loss import BatchLoss, float32, train_too
from scn_fastai.methods.tap import Tap
from scn_fastai.training.head import ImportanceHead, find_head
from scn_fastai.training.score import training_loader


class MethodCallback(BatchLoss):
    """A `BatchLoss`, computed in float32, that may train a part, see features, and draw its own batches.

    A subclass says which samples an epoch draws in ``draw``, or leaves it out; with ``wants_features`` it finds the
    batch's features, as the head was given them, in ``self.tap``.

    Args:
        part: a module that trains with the network and is not needed afterwards; a Run keeps it for a resume only.
    """

    wants_features = False
    part: nn.Module | None = None

    def __init__(self, part: nn.Module | None = None):
        self.part, self.tap = part, Tap()

    def __call__(self, event_name: str):
        """Run an event; our own errors come through as the one sentence that they are."""
        try:
            return super().__call__(event_name)
        except SCNError as error:
            raise type(error)(str(error).split(":\n\t", 1)[-1]) from None

    @property
    def head(self) -> ImportanceHead:
        """The importance head of the Learner's network."""
        head = find_head(self.learn.model)
        if head is None:
            raise SettingsError("The network was replaced after the method was prepared for it: make a new Learner.")
        return head

    @property
    def active(self) -> bool:
        """Whether a training runs, and neither a validation of its own nor a search for a learning rate."""
        return not self.learn.lock.locked() and not hasattr(self.learn, "lr_finder")

    def extra_parameters(self) -> list[nn.Parameter]:
        """Those of the part."""
        return [] if self.part is None else list(self.part.parameters())

    def before_fit(self) -> None:
        """Listen to the head."""
        self.undo_order()
        if self.part is not None:
            self.part.to(self.head.weight.device)  # fastai moves the model when a fit begins, and nothing else
        if not self.active:
            return
        if not any(isinstance(cb, SkipToEpoch) for cb in self.learn.cbs):  # which a resume skips its epochs with
            self.start_anew()
        if self.wants_features:
            self.tap.put(self.head)
        if self._draws:
            check_order(self.learn.dls.train, type(self).__name__)
        self.check()

    def start_anew(self) -> None:
        """Forget what an earlier fit found out; a training that is resumed keeps it."""

    def check(self) -> None:
        """Look at the Learner when a training begins; raise a SettingsError if the method cannot work."""

    def before_train(self) -> None:
        """The epoch draws its samples in the order of `draw`."""
        if self.active and self._draws:
            put_order(self.learn.dls.train, self.draw)

    def draw(self, indices: list[int]) -> list[int]:
        """As many indices as are given, in the order in which they are to be drawn."""
        return indices

    @property
    def _draws(self) -> bool:
        return type(self).draw is not MethodCallback.draw

    def undo_order(self) -> None:
        """The loader draws as before, also after an interrupt, which skips `after_train`."""
        undo_order(self.learn.dls.train)

    def after_train(self) -> None:
        """The loader draws as before."""
        self.undo_order()

    def after_cancel_train(self) -> None:
        """The loader draws as before."""
        self.after_train()

    def after_loss(self) -> None:
        """The method's loss takes the place of the Learner's, in float32."""
        with float32(self.learn.pred.device):
            super().after_loss()

    def after_fit(self) -> None:
        """Listen no more."""
        if self.active:
            self.tap.remove()

    def state(self) -> dict[str, Tensor]:
        """What has to be known to go on with a training: the part's weights, and what a subclass adds."""
        return {} if self.part is None else dict(self.part.state_dict(prefix="part."))

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        if self.part is not None:
            own = {name: tensor for name, tensor in state.items() if name.startswith("part.")}
            self.part.load_state_dict({name.removeprefix("part."): tensor for name, tensor in own.items()})


def check_order(dl: DataLoader, name: str) -> None:
    """Look whether a loader draws by its ``shuffle_fn``, as one that shuffles does.

    Raises:
        SettingsError: it does not shuffle, or draws in another way.
    """
    draws = vars(dl).get("original_get_idxs", dl.get_idxs)
    if not dl.shuffle or getattr(draws, "__func__", None) is not DataLoader.get_idxs:
        raise SettingsError(
            f"{name} chooses the order of the training faces, but this loader has its own: make one that shuffles "
            "(shuffle=True) and has no weights."
        )


def put_order(dl: DataLoader, draw: Callable[[list[int]], list[int]]) -> None:
    """Let a loader draw in another order until `undo_order`; ``draw`` is a method, so that ``dl.new`` leaves it out."""
    undo_order(dl)
    dl.order_before = vars(dl).get("shuffle_fn")
    dl.shuffle_fn = draw


def undo_order(dl: DataLoader) -> None:
    """Let a loader draw as before `put_order`."""
    if "order_before" not in vars(dl):
        return
    before = vars(dl).pop("order_before")
    vars(dl).pop("shuffle_fn", None)
    if before is not None:  # one that was passed to the DataLoader lives on the instance
        dl.shuffle_fn = before


def add_callback(learn: Learner, callback: MethodCallback) -> None:
    """Add the callback to a Learner, whose optimizer trains its part too."""
    if callback.part is not None:
        callback.part.to(find_head(learn.model).weight.device)
        train_too(learn, callback)
    learn.add_cb(callback)


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
