"""Label smoothing: the given label counts 1 - eps, the rest is shared by all classes."""

from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number


class LabelSmoothing(BatchLoss):
    """Train on L = -mean_i sum_k t_ik log p_ik with t_i = (1 - eps) onehot(y_i) + eps / C.

    Raises:
        SettingsError: eps is out of range.

    >>> import torch
    >>> z, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> round(float(LabelSmoothing(eps=0.5).batch_loss(z, y, y)), 4)  # 0.75 * 0.1269 + 0.25 * 2.1269
    0.6269
    """

    def __init__(self, eps: float = 0.1):
        check_number("eps", eps, 0, 1)
        self.eps = eps

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The loss of the batch."""
        return cross_entropy(logits, label, label_smoothing=self.eps)


def prepare(learn: Learner, faces=None, eps: float = 0.1) -> None:
    """Add `LabelSmoothing` to the Learner."""
    learn.add_cb(LabelSmoothing(eps))


METHOD = Method(
    name="smoothing",
    prepare=prepare,
    about="label smoothing: no label counts as certain",
    paper="C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
    assumes="wrong labels are spread over all classes alike",
    costs="nothing",
    options={"eps": 0.1},
    check=LabelSmoothing,
    processes=True,
)
