"""MixUp: training on blends of two images, with the loss of both labels in the same shares (fastai's)."""

import torch
from fastai.callback.mixup import MixUp
from fastai.learner import Learner

from scn_fastai.methods.guest import Guest
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number


class LedgerMixUp(Guest, MixUp):
    """fastai's MixUp: x = l x_i + (1 - l) x_j, L = l CE(y_i) + (1 - l) CE(y_j), with l ~ Beta(alpha, alpha), l >= 1/2.

    It acts behind SCNCallback, so that both labels are the ledger's. History sees the logits of the blend, under
    the sample whose share is larger. fastai draws the shares on the host and sends them, so a GPU is waited for.

    Raises:
        SettingsError: alpha is out of range.
    """

    order = 6

    def __init__(self, alpha: float = 0.4):
        check_number("alpha", alpha, 0.001, float("inf"))
        super().__init__(float(alpha))

    def before_batch(self) -> None:
        """Blend; a batch of one, the last one of an epoch, has no partner, and fastai's own fails on it."""
        if len(self.learn.yb[0]) > 1:
            return super().before_batch()
        self.yb1, self.lam = self.learn.yb, torch.ones(1, device=self.learn.xb[0].device)

    def leave(self) -> None:
        """Put the loss back, which fastai swaps for one of both labels."""
        if getattr(self.learn.loss_func, "__self__", None) is self:
            self.learn.loss_func = self.old_lf


def prepare(learn: Learner, faces=None, alpha: float = 0.4) -> None:
    """Add `LedgerMixUp` to the Learner."""
    learn.add_cb(LedgerMixUp(alpha))


METHOD = Method(
    name="mixup",
    prepare=prepare,
    about="MixUp: blends of two images, with both labels",
    paper="H. Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018",
    assumes="between two faces the label changes linearly",
    costs="next to nothing; needs longer training, and history holds logits of blends",
    options={"alpha": 0.4},
    check=LedgerMixUp,
)
