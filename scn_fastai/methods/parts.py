"""What methods need that change more than the loss: a module that trains too, features, an order of drawing."""

from collections.abc import Callable

import torch
from fastai.data.load import DataLoader
from fastai.learner import Learner, SkipToEpoch
from torch import Tensor, nn

from scn_fastai.errors import SettingsError
from scn_fastai.methods.batch_loss import BatchLoss, float32, train_too
from scn_fastai.methods.tap import Tap
from scn_fastai.training.features import eval_mode
from scn_fastai.training.head import ImportanceHead, find_head
from scn_fastai.training.indices import check_loader
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

    @property
    def head(self) -> ImportanceHead:
        """The importance head of the Learner's network."""
        head = find_head(self.learn.model)
        if head is None:
            raise SettingsError("The network was replaced after the method was prepared for it: make a new Learner.")
        return head

    def extra_parameters(self) -> list[nn.Parameter]:
        """Those of the part."""
        return [] if self.part is None else list(self.part.parameters())

    def before_fit(self) -> None:
        """Look whether the method can work, and forget what an earlier training found out."""
        super().before_fit()
        if not self.active:
            return
        if self.part is not None:
            self.part.to(self.head.weight.device)  # fastai moves the model when a fit begins, and nothing else
        if not any(isinstance(cb, SkipToEpoch) for cb in self.learn.cbs):  # which a resume skips its epochs with
            self.start_anew()
        self.check_loader(self.learn.dls.train)
        self.check()

    def start_anew(self) -> None:
        """Forget what an earlier fit found out; a training that is resumed keeps it."""

    def check_loader(self, dl: DataLoader) -> None:
        """Look at the training loader; raise a SettingsError if the method cannot draw from it."""
        if self._draws:
            check_order(dl, type(self).__name__)

    def check(self) -> None:
        """Look at the Learner when a training begins; raise a SettingsError if the method cannot work."""

    def before_train(self) -> None:
        """Listen to the head; the epoch draws its samples in the order of `draw`."""
        if not self.active:
            return
        if self.wants_features:
            self.tap.put(self.head)
        if self._draws:
            put_order(self.learn.dls.train, self.draw)

    def draw(self, indices: list[int]) -> list[int]:
        """As many indices as are given, in the order in which they are to be drawn."""
        return indices

    @property
    def _draws(self) -> bool:
        return type(self).draw is not MethodCallback.draw

    def leave(self) -> None:
        """Listen no more; the loader draws as before."""
        self.tap.remove()
        undo_order(self.learn.dls.train)

    def after_loss(self) -> None:
        """The method's loss takes the place of the Learner's, in float32."""
        with float32(self.learn.pred.device):
            super().after_loss()

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
        SettingsError: it does not shuffle, or draws in another way, or oversamples.
    """
    check_loader(dl)
    draws = vars(dl).get("original_get_idxs", dl.get_idxs)
    if not dl.shuffle or getattr(draws, "__func__", None) is not DataLoader.get_idxs:
        raise SettingsError(
            f"{name} chooses the order of the training faces, but this loader has its own: make one that shuffles "
            "(shuffle=True) and has no weights."
        )
    if getattr(dl, "oversample", False):
        raise SettingsError(
            f"{name} chooses the order of the training faces, so nothing would be oversampled: make the loaders "
            "without oversample."
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
    """Add the callback to a Learner, whose optimizer trains its part too.

    Raises:
        SettingsError: it cannot draw from the training loader.
    """
    callback.check_loader(learn.dls.train)
    if callback.part is not None:
        callback.part.to(find_head(learn.model).weight.device)
        train_too(learn, callback)
    learn.add_cb(callback)


def plain_logits(learn: Learner) -> Tensor:
    """Logits ``[N, C]`` of all training samples, float32 on the CPU, none augmented, in eval mode."""
    model, rows = learn.model, []
    device = find_head(model).weight.device
    with eval_mode(model), torch.no_grad():
        for batch in training_loader(learn.dls):
            rows.append(model(batch[0].to(device)).as_subclass(Tensor).float().cpu())
    return torch.cat(rows)
