"""DLP-CNN: features of a class stay close to their nearest neighbours of that class (Li, Deng, Du, CVPR 2017)."""

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import MethodCallback, add_callback


def locality_loss(features: Tensor, labels: Tensor, k: int = 20) -> Tensor:
    """L_lp = 1/B sum_i 1/2 || x_i - 1/k sum_{j in N_k(i)} x_j ||^2, N_k(i): the k nearest of i's class in the batch.

    Where a class has fewer than k others in the batch, all of them count; a sample alone in its class counts 0.

    Args:
        features: x, ``[B, D]``.
        labels: ``[B]``.
        k: neighbours.

    >>> locality_loss(torch.tensor([[0.0], [2.0], [9.0]]), torch.tensor([0, 0, 1]), k=1)  # (2 + 2 + 0) / 3
    tensor(1.3333)
    """
    size = len(features)
    fixed = features.detach()
    distance = torch.cdist(fixed, fixed, compute_mode="donot_use_mm_for_euclid_dist")
    other = (labels[:, None] != labels) | torch.eye(size, dtype=torch.bool, device=labels.device)
    nearest = distance.masked_fill(other, torch.inf).topk(min(k, size), 1, largest=False)
    counts = nearest.values.isfinite().to(features.dtype)
    weight = torch.zeros_like(distance).scatter(1, nearest.indices, counts)
    number = weight.sum(1, keepdim=True)
    middle = weight @ features / number.clamp_min(1)
    return 0.5 * ((features - middle).square() * (number > 0)).sum() / size


class LocalityPreserving(MethodCallback):
    """Adds the locality-preserving loss of the features in front of the classifier."""

    wants_features = True

    def __init__(self, weight: float, k: int):
        super().__init__()
        self.weight, self.k = weight, k

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy and the locality-preserving loss."""
        features = self.tap.take().flatten(1).float()
        return cross_entropy(logits, label) + self.weight * locality_loss(features, label, self.k)


def check(weight: float = 0.003, k: int = 20) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("weight", weight, 0, float("inf"))
    check_number("k", k, 1, float("inf"), whole=True)


def prepare(learn: Learner, faces=None, weight: float = 0.003, k: int = 20) -> None:
    """Add the locality-preserving loss: L = CE + weight * L_lp (see `locality_loss`).

    Lambda = 0.003 and k = 20 are the paper's, as are neighbours from the batch. Ours: L_lp is a mean over the batch, as
    the cross-entropy is, and its gradient also reaches the neighbours.

    Raises:
        SettingsError: an option is out of its range.
    """
    check(weight, k)
    add_callback(learn, LocalityPreserving(weight, k))


METHOD = Method(
    name="dlpcnn",
    prepare=prepare,
    about="cross-entropy and a loss that keeps neighbours of a class together",
    paper="S. Li, W. Deng, J. Du, Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression "
    "Recognition in the Wild, CVPR 2017",
    assumes="labels are right: it pulls a wrongly labelled face toward its wrong class",
    costs="distances of all pairs in a batch; batches with several faces of each class",
    options={"weight": 0.003, "k": 20},
    check=check,
)
