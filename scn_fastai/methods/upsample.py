"""Balanced sampling: each class is drawn equally often, with faces of rare classes repeated."""

from typing import NamedTuple

import torch
from fastai.learner import Learner
from torch import Tensor

from scn_fastai.methods.guest import Guest
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import check_order, put_order, undo_order
from scn_fastai.methods.weightedloss import class_weights


def balanced_order(label: Tensor, n_classes: int, power: float = 1.0) -> Tensor:
    """N samples drawn with replacement, sample i with a chance proportional to 1 / n_(y_i)^power, int64 ``[N]``.

    Drawn from torch's default generator.

    >>> label = torch.tensor([0] * 90 + [1] * 10)
    >>> drawn = balanced_order(label.repeat(100), 2)
    >>> abs(float((drawn % 100 >= 90).float().mean()) - 0.5) < 0.02
    True
    """
    return torch.multinomial(class_weights(label, n_classes, power)[label], len(label), replacement=True)


class Upsample(Guest):
    """Let the training loader draw `balanced_order` by the ledger's labels in place of a permutation.

    An epoch is as long as before; some faces come several times, others not at all. History shows those as not seen.

    Raises:
        SettingsError: power is out of range.
    """

    order = 4

    def __init__(self, power: float = 1.0):
        check_number("power", power, 0, 2)
        self.power = power

    def before_fit(self) -> None:
        """Look whether the loader will ask for the order."""
        super().before_fit()
        if self.active:
            check_order(self.learn.dls.train, "upsample")

    def before_train(self) -> None:
        """Put the order in place of the loader's own."""
        scn = self.learn.scn
        order = _Balanced(scn.ledger.current.cpu(), scn.history.n_classes, self.power)
        put_order(self.learn.dls.train, order.draw)

    def leave(self) -> None:
        """Give the loader its own order back."""
        undo_order(self.learn.dls.train)


class _Balanced(NamedTuple):
    """The arguments of `balanced_order`, and the order as a method that a loader can be pickled with."""

    label: Tensor
    n_classes: int
    power: float

    def draw(self, indices: list[int]) -> list[int]:
        return balanced_order(*self).tolist()


def prepare(learn: Learner, faces=None, power: float = 1.0) -> None:
    """Add `Upsample` to the Learner.

    Raises:
        SettingsError: power is out of range, or the loader would not ask for the order (see `check_order`).
    """
    check_order(learn.dls.train, "upsample")
    learn.add_cb(Upsample(power))


METHOD = Method(
    name="upsample",
    prepare=prepare,
    about="balanced sampling: every class is drawn equally often",
    paper="A. Mollahosseini et al., AffectNet, IEEE Trans. Affective Computing 2019 (up-sampling); SCN, Table 7",
    assumes="every class matters alike; the few faces of a rare class are not learned by heart",
    costs="nothing; faces of frequent classes are seen in fewer epochs",
    options={"power": 1.0},
    check=Upsample,
    draws=True,
)
