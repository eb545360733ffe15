"""Class-weighted cross-entropy: a rare class counts as much as a frequent one."""

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.training.processes import mean_of_all


def class_weights(label: Tensor, n_classes: int, power: float = 1.0) -> Tensor:
    """w_k = (N / (C n_k))^power, with n_k samples of class k; 0 for a class without samples.

    Args:
        label: int64 ``[N]``.
        n_classes: C.
        power: 1 levels all classes, 0 changes nothing.

    Returns:
        float ``[C]``; with power 1 its mean over the samples is 1.

    >>> class_weights(torch.tensor([0, 0, 0, 1]), 2)
    tensor([0.6667, 2.0000])
    """
    # Not bincount, for which a GPU lets the host wait.
    count = torch.zeros(n_classes, device=label.device).index_add_(0, label, torch.ones_like(label, dtype=torch.float))
    weight = (len(label) / (n_classes * count.clamp_min(1))) ** power
    return torch.where(count > 0, weight, 0.0)


class WeightedLoss(BatchLoss):
    """Train on L = sum_i w_(y_i) CE_i / sum_i w_(y_i), weights by the ledger's labels as each epoch begins.

    Raises:
        SettingsError: power is out of range.
    """

    _stateattrs = ("class_weight",)
    class_weight: Tensor | None = None

    def __init__(self, power: float = 1.0):
        check_number("power", power, 0, 2)
        self.power = power

    def before_train(self) -> None:
        """Count the labels."""
        scn = self.learn.scn
        self.class_weight = class_weights(scn.ledger.current, scn.history.n_classes, self.power)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The loss of the batch; where processes share one, it is divided by the weights of the whole batch."""
        total = mean_of_all(self.class_weight[label].sum())
        return cross_entropy(logits, label, weight=self.class_weight, reduction="sum") / total


def prepare(learn: Learner, faces=None, power: float = 1.0) -> None:
    """Add `WeightedLoss` to the Learner."""
    learn.add_cb(WeightedLoss(power))


METHOD = Method(
    name="weightedloss",
    prepare=prepare,
    about="class-weighted cross-entropy: rare classes count as much as frequent ones",
    paper="A. Mollahosseini et al., AffectNet, IEEE Trans. Affective Computing 2019 (weighted-loss); SCN, Table 7",
    assumes="every class matters alike; wrong labels in a rare class count more too",
    costs="nothing",
    options={"power": 1.0},
    check=WeightedLoss,
    processes=True,
)
