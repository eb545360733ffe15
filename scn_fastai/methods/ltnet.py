"""LTNet: several labellers, each with a confusion matrix, around one latent truth (Zeng et al., ECCV 2018)."""

import warnings
from collections.abc import Sequence

import torch
from fastai.learner import Learner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from scn_fastai.errors import SettingsError
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import MethodCallback, add_callback, plain_logits
from scn_fastai.training.head import find_head


class Labellers(nn.Module):
    """A row-stochastic matrix for each labeller: T^j[k, y] = P(labeller j says y | the truth is k).

    The rows are a softmax of free parameters, so that a step cannot leave the simplex; the authors' code clips and
    renormalizes the rows after each step. At the start ``spread`` of each row lies evenly on all classes, the rest on
    the diagonal.

    >>> Labellers(1, 2, spread=0.2)().detach()
    tensor([[[0.9000, 0.1000],
             [0.1000, 0.9000]]])
    """

    def __init__(self, labellers: int, classes: int, spread: float = 0.1):
        super().__init__()
        start = (1 - spread) * torch.eye(classes) + spread / classes
        self.scores = nn.Parameter(start.log().repeat(labellers, 1, 1))

    def forward(self) -> Tensor:
        """The matrices ``[J, C, C]``."""
        return self.scores.softmax(2)

    @torch.no_grad()
    def start_at_counts(self, labeller: int, truth: Tensor, said: Tensor) -> None:
        """Let a labeller's matrix start at what it said of each class of ``truth``; codes ``[N]``, one more of each.

        >>> one = Labellers(1, 2)
        >>> one.start_at_counts(0, torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> one().detach().round(decimals=3)
        tensor([[[0.6000, 0.4000],
                 [0.3330, 0.6670]]])
        """
        classes = self.scores.shape[2]
        counts = 1.0 + torch.bincount(truth * classes + said, minlength=classes**2).view(classes, classes)
        self.scores[labeller] = (counts / counts.sum(1, keepdim=True)).log()


def latent_truth_loss(logits: Tensor, matrices: Tensor, labels: Tensor, weights: Sequence[float]) -> Tensor:
    """L = sum_j w_j mean_i -log q^j_i[y^j_i] / sum_j w_j with q^j = p T^j and the latent truth p = softmax(z).

    Args:
        logits: z, ``[B, C]``.
        matrices: T, ``[J, C, C]``, rows sum to 1.
        labels: of each labeller, ``[J, B]``; -1 where a labeller says nothing.
        weights: of the labellers, J numbers.

    >>> T = torch.tensor([[[0.8, 0.2], [0.2, 0.8]]])
    >>> loss = latent_truth_loss(torch.tensor([[100.0, 0.0]]), T, torch.tensor([[1]]), [1])  # -log 0.2
    >>> round(float(loss), 4)
    1.6094
    """
    said = torch.einsum("bk,jky->jby", logits.softmax(1), matrices)
    known = labels >= 0
    given = said.gather(2, labels.clamp_min(0)[:, :, None])[:, :, 0]
    loss = -torch.where(known, given, 1).log().sum(1) / known.sum(1).clamp_min(1)
    return sum(w * part for w, part in zip(weights, loss, strict=True)) / sum(weights)


class LTNet(MethodCallback):
    """Two labellers: the given labels, and the network's own predictions of an earlier epoch (``predicted``)."""

    _stateattrs = ("predicted",)
    predicted: Tensor | None = None

    def __init__(self, labellers: Labellers, start: float, weights: tuple[float, float]):
        super().__init__(labellers)
        self.start, self.weights = start, weights
        self.on = False

    def start_anew(self) -> None:
        """The network labels the training set in this training, not in the one before."""
        self.predicted = None

    def check(self) -> None:
        """There should be an epoch before the second labeller, and one with it."""
        if self.learn.n_epoch < 2:
            warnings.warn("ltnet has 1 epoch and learns from the given labels alone: train 2 or more.", stacklevel=2)

    def matrices(self) -> Tensor:
        """T of both labellers, ``[2, C, C]``, on the CPU."""
        return self.part().detach().cpu()

    def before_train(self) -> None:
        """Let the network label the training set when its time has come."""
        super().before_train()
        if not self.active:
            return
        first = max(1, min(round(self.start * self.learn.n_epoch), self.learn.n_epoch - 1))
        # Once there it stays, also where a resumed training is longer than it was and its time has not come again.
        self.on = self.predicted is not None or self.learn.epoch >= first
        if self.on and self.predicted is None:
            self.predicted = plain_logits(self.learn).argmax(1)
            device, given = self.part.scores.device, self.learn.scn.ledger.current
            self.part.start_at_counts(1, given.to(device), self.predicted.to(device))
        if self.on:
            self.predicted = self.predicted.to(self.head.weight.device)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Latent truth loss, once there are two labellers."""
        if not self.on:
            return cross_entropy(logits, label)
        return latent_truth_loss(logits, self.part(), torch.stack([label, self.predicted[index]]), self.weights)

    def state(self) -> dict[str, Tensor]:
        """The matrices, and what the second labeller said, once it did."""
        return super().state() | ({} if self.predicted is None else {"predicted": self.predicted})

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        super().load_state(state)
        self.predicted = state.get("predicted")


def check(start: float = 0.3, given: float = 1.0, predicted: float = 1.0, spread: float = 0.1) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("start", start, 0, 1)
    check_number("given", given, 0, float("inf"))
    check_number("predicted", predicted, 0, float("inf"))
    check_number("spread", spread, 1e-6, 1)
    if not given + predicted:
        raise SettingsError("given and predicted of ltnet are both 0, so there is nothing to learn from: raise one.")


def prepare(
    learn: Learner, faces=None, start: float = 0.3, given: float = 1.0, predicted: float = 1.0, spread: float = 0.1
) -> None:
    """Learn a latent truth p from two labellers that confuse it, each in a way of its own: `latent_truth_loss`.

    The paper (IPA2LT) has several data sets and lets a network trained on each label the others. Here is one data set
    and one training: after ``start`` of all epochs, trained by cross-entropy, the network labels the training set, and
    these labels stay. They are not out of sample, as the paper's are: choose ``start`` before wrong labels are learned
    by heart. The matrix of this labeller starts at what it says of the faces given each label (ours: gradients alone
    leave it near the diagonal in a short training). At test the prediction is p.

    Args:
        learn: the Learner.
        faces: not needed.
        start: share of the epochs before the second labeller, 0 to 1 (one epoch at least).
        given: weight of the given labels.
        predicted: weight of the predicted labels.
        spread: see `Labellers`.

    Raises:
        SettingsError: an option is out of its range.
    """
    check(start, given, predicted, spread)
    classes = find_head(learn.model).weight.shape[0]
    add_callback(learn, LTNet(Labellers(2, classes, spread), start, (given, predicted)))


METHOD = Method(
    name="ltnet",
    prepare=prepare,
    about="a latent truth behind two labellers, the given labels and earlier predictions",
    paper="J. Zeng, S. Shan, X. Chen, Facial Expression Recognition with Inconsistently Annotated Datasets, ECCV 2018",
    assumes="wrong labels follow the true class alone; the network's early predictions err in another way",
    costs="one pass over the training set, and a matrix of classes a labeller",
    options={"start": 0.3, "given": 1.0, "predicted": 1.0, "spread": 0.1},
    check=check,
)
