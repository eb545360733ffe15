"""CosFace: which person it is, by angles alone, with a margin that the right one must win by (CVPR 2018)."""

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import MethodCallback, add_callback


def cosface_logits(features: Tensor, weight: Tensor, target: Tensor, scale: float, margin: float) -> Tensor:
    """z_ij = s (cos(x_i, W_j) - m [j = y_i]), with cos(x, W) = x . W / (||x|| ||W||) (CosFace, L_lmc).

    Their cross-entropy is the CosFace loss. How long x and W are is taken out, so only the angles can be learned; and
    the own class must win by m, so that faces of one person come closer than it takes to tell them from the others.

    Args:
        features: x, ``[B, D]``.
        weight: W, a row for each class, ``[C, D]``.
        target: y, int64 ``[B]``.
        scale: s, above 0: the logits lie between -s - s m and s.
        margin: m, taken from the cosine of the target alone.

    Returns:
        Logits ``[B, C]``.

    >>> x, w = torch.tensor([[3.0, 0.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0], [3.0, 4.0]])
    >>> cosface_logits(x, w, torch.tensor([0, 1]), scale=10, margin=0.2)  # cosines 1, 0.6 and 0, 0.8
    tensor([[8., 6.],
            [0., 6.]])
    """
    cosine = normalize(features, dim=1) @ normalize(weight, dim=1).T
    taken = cosine.new_full((len(target), 1), -margin)
    return scale * cosine.scatter_add(1, target[:, None], taken)


class CosFace(MethodCallback):
    """Train the network's classifier as directions: the loss is the cross-entropy of `cosface_logits`.

    Without its bias and with rows of length 1 a Linear layer's largest logit is the largest cosine, so that after
    every epoch the network is an ordinary one that decides by angle.
    """

    wants_features = True

    def __init__(self, scale: float, margin: float):
        super().__init__()
        self.scale, self.margin = scale, margin

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of the angles with the margin; a Dropout before the classifier stays where it is."""
        features, head = self.tap.take().flatten(1).float(), self.head
        features = features if head.dropout is None else head.dropout(features)
        return cross_entropy(cosface_logits(features, head.weight.float(), label, self.scale, self.margin), label)

    def after_train(self) -> None:
        """Make the rows 1 long and the bias 0: the loss does not depend on either, what the network answers does."""
        super().after_train()
        if self.active:
            head = self.head
            with torch.no_grad():
                head.weight.copy_(normalize(head.weight, dim=1))
                if head.bias is not None:
                    head.bias.zero_()


def check(scale: float = 16.0, margin: float = 0.2) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("scale", scale, 1, float("inf"))
    check_number("margin", margin, 0, 1)


def prepare(learn: Learner, faces=None, scale: float = 16.0, margin: float = 0.2) -> None:
    """Train with the CosFace loss (see `cosface_logits`).

    The paper has s = 64 and m = 0.35, for millions of photographs. Its lower bound for C people who shall be known with
    a probability P, s >= (C - 1) / C ln((C - 1) P / (1 - P)), asks for 15.5 where C = 560 and P = 0.9999; hence 16.

    Raises:
        SettingsError: an option is out of its range.
    """
    check(scale, margin)
    add_callback(learn, CosFace(scale, margin))


METHOD = Method(
    name="cosface",
    prepare=prepare,
    about="metric learning: cross-entropy of scaled cosines, less a margin on the right one",
    paper="H. Wang et al., CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018",
    assumes="labels are right, and classes lie in directions: how long a feature is says nothing",
    costs="two normalisations: next to nothing",
    options={"scale": 16.0, "margin": 0.2},
    check=check,
)
