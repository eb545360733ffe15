"""Label smoothing: the given label counts 1 - eps, the rest is shared by all classes."""

from fastai.learner import Learner
from fastai.losses import LabelSmoothingCrossEntropyFlat

from scn_fastai.methods.method import Method


def prepare(learn: Learner, faces=None, eps: float = 0.1) -> None:
    """Give the Learner the smoothed loss: L = -sum_k t_k log p_k with t = (1 - eps) onehot(y) + eps / C.

    >>> import torch
    >>> from types import SimpleNamespace
    >>> learn = SimpleNamespace()
    >>> prepare(learn, eps=0.5)
    >>> z = torch.tensor([[2.0, 0.0]])
    >>> round(float(learn.loss_func(z, torch.tensor([0]))), 4)  # 0.75 * 0.1269 + 0.25 * 2.1269
    0.6269
    """
    learn.loss_func = LabelSmoothingCrossEntropyFlat(eps=eps)


METHOD = Method(
    name="smoothing",
    prepare=prepare,
    about="label smoothing: no label counts as certain",
    paper="C. Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
    assumes="wrong labels are spread over all classes alike",
    costs="nothing",
    options={"eps": 0.1},
)
