"""GCE, generalized cross-entropy: between cross-entropy, which learns fast, and absolute error, which bears noise."""

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import log_softmax

from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number


def gce_loss(logits: Tensor, label: Tensor, q: float = 0.7) -> Tensor:
    """L_q = mean_i (1 - p_iy^q) / q (Z. Zhang and M. Sabuncu, NeurIPS 2018).

    Its gradient is that of cross-entropy times p_y^q: a sample that the network finds unlikely pulls less.
    q to 0 is cross-entropy, q = 1 is 1 - p_y.

    Args:
        logits: float ``[B, C]``.
        label: int64 ``[B]``.
        q: in (0, 1].

    >>> z = torch.tensor([[0.0, 0.0]])
    >>> gce_loss(z, torch.tensor([0]), q=1.0)  # 1 - 1/2
    tensor(0.5000)
    """
    log_p = log_softmax(logits, 1).gather(1, label[:, None])[:, 0]
    return -(torch.expm1(q * log_p) / q).mean()  # expm1: exact for small q too


class GeneralizedCE(BatchLoss):
    """Train with `gce_loss`.

    Raises:
        SettingsError: q is out of range.
    """

    def __init__(self, q: float = 0.7):
        check_number("q", q, 0.001, 1)
        self.q = q

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The loss of the batch."""
        return gce_loss(logits, label, self.q)


def prepare(learn: Learner, faces=None, q: float = 0.7) -> None:
    """Add `GeneralizedCE` to the Learner."""
    learn.add_cb(GeneralizedCE(q))


METHOD = Method(
    name="gce",
    prepare=prepare,
    about="generalized cross-entropy: unlikely labels pull less",
    paper="Z. Zhang and M. Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy "
    "Labels, NeurIPS 2018",
    assumes="wrong labels are spread over all classes alike; without the paper's truncation",
    costs="nothing; learns more slowly, the more so the more classes",
    options={"q": 0.7},
    check=GeneralizedCE,
    processes=True,
)
