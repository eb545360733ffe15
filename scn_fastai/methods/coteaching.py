"""Co-teaching: two networks, each trained on the samples that the other finds easy."""

from collections.abc import Iterable, Sequence
from copy import deepcopy

import torch
from fastai.learner import Learner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from scn_fastai.methods.batch_loss import BatchLoss, train_too
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.training.head import detach_head, find_head, last_linear


def keep_rate(epoch: int, tau: float, epochs_k: int, power: float = 1.0) -> float:
    """Share of a batch that is trained on: R(T) = 1 - tau * min((T / T_k)^c, 1) (B. Han et al., NeurIPS 2018).

    For c = 1 it is the paper's; another c bends the way to the rate tau, which all c reach at T_k (ours: the authors'
    code puts c on tau instead).

    >>> [round(keep_rate(epoch, tau=0.3, epochs_k=10), 2) for epoch in (0, 5, 10, 20)]
    [1.0, 0.85, 0.7, 0.7]
    """
    return 1 - tau * min((epoch / epochs_k) ** power, 1)


def coteaching_losses(logits: Tensor, other: Tensor, label: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Mean loss of each network over the ``keep`` samples whose loss is smallest in the *other* one.

    Args:
        logits: of the first network, float ``[B, C]``.
        other: of the second network, float ``[B, C]``.
        label: int64 ``[B]``.
        keep: how many samples, 1 to B.

    >>> sure, unsure = torch.tensor([[9.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    >>> [round(float(loss), 4) for loss in coteaching_losses(sure, unsure, torch.tensor([0, 0]), keep=1)]
    [0.6931, 0.6931]
    """
    first = cross_entropy(logits, label, reduction="none")
    second = cross_entropy(other, label, reduction="none")
    easy_for_first = first.detach().topk(keep, largest=False).indices
    easy_for_second = second.detach().topk(keep, largest=False).indices
    return first[easy_for_second].mean(), second[easy_for_first].mean()


def fresh_copy(model: nn.Module, keep_backbone: bool = False) -> nn.Module:
    """The same network, started anew: the entries of each weight are put into another order.

    So they keep their distribution, whatever the network was started with. The importance head stays behind.

    Args:
        model: the network; it is not changed.
        keep_backbone: start the classifier anew alone, as for a backbone that has learned something before.
    """
    other = deepcopy(model)
    head = find_head(other)
    other = other if head is None else detach_head(other, head)
    with torch.no_grad():
        for parameter in (last_linear(other)[1] if keep_backbone else other).parameters():
            order = torch.randperm(parameter.numel()).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view(parameter.shape))
    return other


class CoTeaching(BatchLoss):
    """Train the Learner's network and ``other`` on each other's small-loss samples.

    Their losses are added up. They share no parameter, so one backward pass and one optimizer step is a step of
    each by its own loss. The Learner's network is the one that is kept; ``other`` stays in the callback.

    Raises:
        SettingsError: an option is out of range.
    """

    _stateattrs = ("other",)
    other: nn.Module | None = None

    def __init__(self, tau: float = 0.3, epochs_k: int = 10, power: float = 1.0):
        check_number("tau", tau, 0, 0.95)
        check_number("epochs_k", epochs_k, 1, float("inf"), whole=True)
        check_number("power", power, 0.1, 10)
        self.tau, self.epochs_k, self.power = tau, epochs_k, power

    def extra_parameters(self) -> list[nn.Parameter]:
        """Those of the second network."""
        return [] if self.other is None else list(self.other.parameters())

    def extra_groups(self, model: nn.Module, groups: Sequence[Iterable]) -> list[list[nn.Parameter]]:
        """Each joins the group of the first network's parameter of its name, to have its learning rate."""
        place = {id(parameter): at for at, group in enumerate(groups) for parameter in group}
        first, joining = dict(model.named_parameters()), [[] for _ in groups]
        for name, parameter in self.other.named_parameters():
            joining[place.get(id(first.get(name)), -1)].append(parameter)
        return joining

    def before_fit(self) -> None:
        """What is frozen in the first network is so in the second; fastai lets a frozen network's batch norms train."""
        super().before_fit()
        if not self.active:
            return
        trained = {name: parameter.requires_grad for name, parameter in self.learn.model.named_parameters()}
        for name, parameter in self.other.named_parameters():
            parameter.requires_grad_(trained.get(name, parameter.requires_grad))

    def before_train(self) -> None:
        """Say how much of a batch is kept in this epoch."""
        self.other.to(self.learn.scn.ledger.current.device).train()
        self._share = keep_rate(self.learn.scn.history.epoch, self.tau, self.epochs_k, self.power)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Both losses together."""
        other = self.other(*self.learn.xb).as_subclass(Tensor).float()
        return sum(coteaching_losses(logits, other, label, max(1, int(self._share * len(label)))))

    def state(self) -> dict[str, Tensor]:
        """The second network's weights."""
        return self.other.state_dict()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take the second network's weights back."""
        self.other.load_state_dict(state)


def prepare(learn: Learner, faces=None, **options) -> None:
    """Add `CoTeaching` with a second network to the Learner.

    With a pretrained backbone (``learn.pretrained``, see `face_learner`) both networks begin with it, and differ in
    their classifiers alone; otherwise every weight of the second is started anew.
    """
    callback = CoTeaching(**options)
    callback.other = fresh_copy(learn.model, keep_backbone=getattr(learn, "pretrained", None) is not None)
    train_too(learn, callback)
    learn.add_cb(callback)


METHOD = Method(
    name="coteaching",
    prepare=prepare,
    about="two networks, each trained on what the other finds easy",
    paper="B. Han et al., Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, "
    "NeurIPS 2018",
    assumes="the share of wrong labels (tau) is known; small loss means a right label; hard right samples are lost",
    costs="a second network: about twice the time of training and up to twice its memory, nothing afterwards",
    options={"tau": 0.3, "epochs_k": 10, "power": 1.0},
    check=CoTeaching,
)
