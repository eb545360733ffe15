"""RAN: a face and its crops, and a loss that wants one crop to count more than the face (Wang et al., TIP 2020)."""

from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.errors import SettingsError
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import MethodCallback, add_callback
from scn_fastai.training.regions import RegionAttention


def region_biased_loss(weights: Tensor, margin: float = 0.02) -> Tensor:
    """L_rb = mean max(0, margin - (mu_max - mu_0)), mu_max: the largest weight of a crop, mu_0: the whole face's.

    Args:
        weights: mu, ``[B, R]``, the whole face first.
        margin: the margin.

    >>> import torch
    >>> region_biased_loss(torch.tensor([[0.5, 0.4, 0.6], [0.5, 0.4, 0.3]]), margin=0.2)  # (0.1 + 0.3) / 2
    tensor(0.2000)
    """
    return (margin - (weights[:, 1:].amax(1) - weights[:, 0])).clamp_min(0).mean()


class RegionBias(MethodCallback):
    """Adds the region-biased loss."""

    def __init__(self, margin: float, weight: float):
        super().__init__()
        self.margin, self.weight = margin, weight

    def before_train(self) -> None:
        """The network keeps the weights of its regions."""
        super().before_train()
        if self.active:
            self.learn.model.keep_weights = True

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy and the region-biased loss."""
        weights = self.learn.model.weights.as_subclass(Tensor)
        return cross_entropy(logits, label) + self.weight * region_biased_loss(weights, self.margin)

    def after_batch(self) -> None:
        """Let go of the graph."""
        self.learn.model.weights = None

    def leave(self) -> None:
        """The network keeps nothing any more."""
        super().leave()
        model = self.learn.model
        if isinstance(model, RegionAttention):  # and none that was put in its place
            model.keep_weights, model.weights = False, None


def check(margin: float = 0.02, weight: float = 1.0) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("margin", margin, 0, 1)
    check_number("weight", weight, 0, float("inf"))


def prepare(learn: Learner, faces=None, margin: float = 0.02, weight: float = 1.0) -> None:
    """Train `RegionAttention` with L = CE + weight * L_rb (see `region_biased_loss`).

    The paper's margin is 0.02 with sigmoid weights, as here; the released code has 0.1 with softmax weights.

    Raises:
        SettingsError: an option is out of its range, or the network is another.
    """
    check(margin, weight)
    if not isinstance(learn.model, RegionAttention):
        raise SettingsError(
            f"ran trains a network that looks at a face and its crops, and {type(learn.model).__name__} does not: "
            "build one with build_network('ran:resnet18', n_classes)."
        )
    add_callback(learn, RegionBias(margin, weight))


METHOD = Method(
    name="ran",
    prepare=prepare,
    about="the face and five crops of it, weighted by attention",
    paper="K. Wang et al., Region Attention Networks for Pose and Occlusion Robust Facial Expression Recognition, "
    "TIP 2020",
    assumes="faces are aligned, and part of each shows its expression; labels are right",
    costs="six times the network's work, in training and at test; other weights than the plain network",
    options={"margin": 0.02, "weight": 1.0},
    check=check,
    network="ran",
)
