"""ELR, early-learning regularization: what the network believed early on holds it back from memorising labels."""

from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.core.losses import LEAST, average_target, early_learning
from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number


def elr_loss(logits: Tensor, label: Tensor, target: Tensor, strength: float) -> Tensor:
    """L = CE + strength * mean_i log(1 - <t_i, p_i>) (S. Liu et al., NeurIPS 2020).

    The second term is `early_learning`.

    >>> import torch
    >>> z = torch.tensor([[0.0, 0.0]])
    >>> loss = elr_loss(z, torch.tensor([0]), torch.tensor([[1.0, 0.0]]), strength=1.0)
    >>> round(abs(float(loss)), 4)  # log 2 + log(1 - 1/2)
    0.0
    """
    return cross_entropy(logits, label) + early_learning(logits, target, strength)


class EarlyLearning(BatchLoss):
    """Train with `elr_loss`; ``target`` ``[N, C]`` holds every sample's averaged prediction.

    Raises:
        SettingsError: an option is out of range.
    """

    _stateattrs = ("target",)
    target: Tensor | None = None

    def __init__(self, beta: float = 0.7, strength: float = 3.0):
        check_number("beta", beta, 0, 1)
        check_number("strength", strength, 0, float("inf"))
        self.beta, self.strength = beta, strength

    def before_train(self) -> None:
        """Have the targets on the device."""
        self.target = self.per_sample(self.target, self.learn.scn.history.n_classes)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Update the batch's targets, then the loss against them."""
        probs = logits.detach().softmax(1).clamp(LEAST, 1 - LEAST)
        target = average_target(self.target[index], probs, self.beta)
        self.target[index] = target
        return elr_loss(logits, label, target, self.strength)

    def state(self) -> dict[str, Tensor]:
        """The targets."""
        return {"target": self.target}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take the targets back."""
        self.target = state["target"]


def prepare(learn: Learner, faces=None, beta: float = 0.7, strength: float = 3.0) -> None:
    """Add `EarlyLearning` to the Learner."""
    learn.add_cb(EarlyLearning(beta, strength))


METHOD = Method(
    name="elr",
    prepare=prepare,
    about="early-learning regularization: averaged early predictions hold memorising back",
    paper="S. Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020",
    assumes="right labels are learned before wrong ones; strength and beta fit the data (defaults: the CIFAR-10 ones)",
    costs="a float per sample and class",
    options={"beta": 0.7, "strength": 3.0},
    check=EarlyLearning,
)
