"""RUL, relative uncertainty learning: two faces are mixed by their uncertainties, and both labels must be found."""

import torch
from fastai.learner import Learner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from scn_fastai.methods.batch_loss import BatchLoss, float32, train_too
from scn_fastai.methods.method import Method
from scn_fastai.methods.tap import Tap
from scn_fastai.training.head import find_head


def mix_by_uncertainty(features: Tensor, log_uncertainty: Tensor, partner: Tensor) -> Tensor:
    """Features mixed with their partners': x~_i = (s_i x_i + s_j x_j) / (s_i + s_j), s = exp(log_uncertainty).

    j is the partner of i (RUL, feature mixture). The more uncertain face gets the larger share, for it takes more
    of it to find its label in the mixture; so a face that is hard to recognise learns a large s.

    Args:
        features: float ``[B, D]``.
        log_uncertainty: float ``[B]``.
        partner: positions ``[B]``.

    >>> x, u = torch.tensor([[4.0], [0.0]]), torch.tensor([3.0, 1.0]).log()
    >>> mix_by_uncertainty(x, u, torch.tensor([1, 0])).round(decimals=3).tolist()
    [[3.0], [3.0]]
    """
    share = (log_uncertainty - log_uncertainty[partner]).sigmoid()[:, None]
    return share * features + (1 - share) * features[partner]


def add_up_loss(logits: Tensor, label: Tensor, partner: Tensor) -> Tensor:
    """L = CE(z, y_i) / 2 + CE(z, y_j) / 2 on the logits of the mixture (RUL, add-up loss).

    >>> z = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    >>> add_up_loss(z, torch.tensor([0, 1]), torch.tensor([1, 0]))
    tensor(0.6931)
    """
    return (cross_entropy(logits, label) + cross_entropy(logits, label[partner])) / 2


class RelativeUncertainty(BatchLoss):
    """Train the network's classifier on mixtures of its features; ``uncertainty`` is a Linear layer beside it.

    Afterwards the network is used as it is, on unmixed features. The last ``log_uncertainty`` ``[N]`` that each
    training sample had stays here, higher for a face that was hard to recognise (NaN: never drawn).
    """

    _stateattrs = ("uncertainty", "log_uncertainty")
    uncertainty: nn.Linear | None = None
    log_uncertainty: Tensor | None = None

    def __init__(self):
        self._tap = Tap()

    def extra_parameters(self) -> list[nn.Parameter]:
        """Those of the uncertainty layer."""
        return [] if self.uncertainty is None else list(self.uncertainty.parameters())

    def before_train(self) -> None:
        """Listen to what the classifier is given."""
        self._head = find_head(self.learn.model)
        self._tap.put(self._head)
        self.log_uncertainty = self.per_sample(self.log_uncertainty, fill=torch.nan)
        self.uncertainty.to(self.log_uncertainty.device)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Mix each face with another of the batch, and look for both labels."""
        with float32(logits.device):
            features = self._tap.take().flatten(1).float()
            log_uncertainty = self.uncertainty(features)[:, 0]
            self.log_uncertainty[index] = log_uncertainty.detach()
            partner = torch.randperm(len(label), device=label.device)
            mixed = mix_by_uncertainty(features, log_uncertainty, partner)
            mixed = mixed if self._head.dropout is None else self._head.dropout(mixed)
            return add_up_loss(linear(mixed, self._head.weight, self._head.bias), label, partner)

    def leave(self) -> None:
        """Listen no more."""
        self._tap.remove()
        self._head = None

    def state(self) -> dict[str, Tensor]:
        """The uncertainty layer's weights, and each sample's last value."""
        return {"log_uncertainty": self.log_uncertainty, **self.uncertainty.state_dict()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        self.log_uncertainty = state["log_uncertainty"]
        self.uncertainty.load_state_dict({name: state[name] for name in ("weight", "bias")})


def prepare(learn: Learner, faces=None) -> None:
    """Add `RelativeUncertainty` with a layer of its own to the Learner.

    Ours: the features are the network's own and s is one number from a Linear layer, so that an ordinary network is
    left; the paper puts two branches of 64 numbers behind the backbone and averages the second's.
    """
    callback, weight = RelativeUncertainty(), find_head(learn.model).weight
    callback.uncertainty = nn.Linear(weight.shape[1], 1).to(weight.device, torch.float32)
    train_too(learn, callback)
    learn.add_cb(callback)


METHOD = Method(
    name="rul",
    prepare=prepare,
    about="relative uncertainty learning: features of two faces mixed by their uncertainty",
    paper="Y. Zhang et al., Relative Uncertainty Learning for Facial Expression Recognition, NeurIPS 2021",
    assumes="an uncertain face needs a larger share of a mixture to be recognised; its classifier is one Linear layer",
    costs="a Linear layer and a second pass of the classifier: next to nothing",
)
