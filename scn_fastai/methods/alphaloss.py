"""Weighting the loss itself by alpha: the choice that SCN rules out, for alpha = 0 is then the best there is."""

from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.errors import SettingsError
from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.training.head import find_head


def alpha_weighted_loss(each: Tensor, alpha: Tensor) -> Tensor:
    """L = mean_i alpha_i CE_i: the first choice of SCN, section 3.2, with its trivial solution alpha = 0.

    dL / dalpha_i = CE_i / B is never negative: every step pushes every alpha down, the more so the larger the loss.

    Args:
        each: cross-entropy of each sample, ``[B]``.
        alpha: ``[B]``.

    >>> import torch
    >>> alpha_weighted_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 1.0]))
    tensor(1.2500)
    """
    return (alpha * each).mean()


def alternating_loss(each: Tensor, alpha: Tensor, keep: float) -> Tensor:
    """The cure: one is optimised while the other is held fixed, and a weight costs something to give up.

    L = mean_i [alpha_i] CE_i + mean_i alpha_i ([CE_i] - lambda), with [.] held fixed (no gradient), as in self-paced
    learning: alpha rises where CE_i < lambda and falls where it is larger. lambda is the loss below which the share
    ``keep`` of the batch lies. Ours: SCN names alternating minimization and gives no formula.

    >>> import torch
    >>> alpha = torch.tensor([0.5, 0.5], requires_grad=True)
    >>> alternating_loss(torch.tensor([1.0, 3.0]), alpha, keep=0.5).backward()
    >>> alpha.grad.tolist()  # (1 - 2) / 2, (3 - 2) / 2: lambda is the median
    [-0.5, 0.5]
    """
    fixed = each.detach()
    limit = fixed.quantile(keep)
    return (alpha.detach() * each).mean() + (alpha * (fixed - limit)).mean()


class AlphaLoss(BatchLoss):
    """Train network and alpha on `alpha_weighted_loss`, or on `alternating_loss`.

    Raises:
        SettingsError: an option is out of range.
    """

    def __init__(self, alternate: bool = False, keep: float = 0.7):
        if not isinstance(alternate, bool):
            raise SettingsError(f"alternate is {alternate!r}, but it must be true or false.")
        check_number("keep", keep, 0.01, 0.99)
        self.alternate, self.keep = alternate, keep

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The loss by the alpha of this forward pass."""
        alpha = find_head(self.learn.model).alpha.as_subclass(Tensor)
        each = cross_entropy(logits, label, reduction="none")
        return alternating_loss(each, alpha, self.keep) if self.alternate else alpha_weighted_loss(each, alpha)


def prepare(learn: Learner, faces=None, **options) -> None:
    """Add `AlphaLoss` to the Learner."""
    learn.add_cb(AlphaLoss(**options))


METHOD = Method(
    name="alphaloss",
    prepare=prepare,
    about="the loss weighted by alpha: alpha falls to 0 (alternate=true: the cure)",
    paper="K. Wang et al., Suppressing Uncertainties for Large-Scale Facial Expression Recognition, CVPR 2020, "
    "section 3.2, after W. Hu et al., Noise-Tolerant Paradigm for Training Face Recognition CNNs, CVPR 2019",
    assumes="nothing that holds, it is here to be seen failing; alternate=true: small loss means a right label",
    costs="nothing",
    options={"alternate": False, "keep": 0.7},
    check=AlphaLoss,
)
