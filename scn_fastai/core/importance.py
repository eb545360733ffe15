"""How much a sample counts: the self-attention importance weight and the split into two groups."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from scn_fastai.errors import SettingsError


def attention_weights(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Importance weight of each sample, between 0 and 1.

    ``alpha_i = sigmoid(W_a^T x_i)`` (SCN, Eq. 1). It reads the features alone: the label is not
    in the equation. The paper has no bias; the released code has one, so it is an argument.

    Computed in float32 with autocast off: in bfloat16 or float16 the values near 1 tie, and a
    ranking of ties means nothing.

    Args:
        features: float Tensor ``[B, D]``, the last pooling layer's output.
        weight: float Tensor ``[D]``.
        bias: float Tensor ``[]`` or ``[1]``, or None for the paper's form.

    Returns:
        float32 Tensor ``[B]`` (float64 when the features are).

    Raises:
        SettingsError: the shapes do not fit each other.

    >>> attention_weights(torch.tensor([[0., 0.], [2., 1.]]), torch.tensor([1., -2.]))
    tensor([0.5000, 0.5000])
    """
    if features.ndim != 2 or weight.shape != features.shape[1:]:
        raise SettingsError(
            f"attention_weights needs features [B, D] and weight [D], but got {list(features.shape)} "
            f"and {list(weight.shape)}: flatten the pooled features first."
        )
    dtype = torch.promote_types(features.dtype, torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        row = weight.to(dtype).unsqueeze(0)
        score = linear(features.to(dtype), row, None if bias is None else bias.to(dtype).reshape(1))
        return torch.sigmoid(score).squeeze(1)


def high_group_size(n: int, beta: float) -> int:
    """Number of samples ``M = beta * N`` in the high-importance group (SCN, below Eq. 4).

    Rounded, and kept between 1 and n - 1 so that both groups have a member whenever n >= 2.
    (The released code takes the floor, which is 0 for a last batch of one.)

    >>> [high_group_size(n, 0.7) for n in (1, 2, 3, 10, 128)]
    [1, 1, 2, 7, 90]
    """
    check_beta(beta)
    return max(1, min(round(beta * n), n - 1))


def low_importance(alpha: Tensor, beta: float = 0.7) -> Tensor:
    """Mark the low-importance group: all but the ``beta`` share with the highest alpha.

    The samples are ranked once (SCN, 3.3), earlier samples first among equals, so every sample is
    in exactly one group. Both groups have a member for B >= 2; a single sample is in none.

    Args:
        alpha: float Tensor ``[B]``.
        beta: share of the high-importance group, in (0, 1).

    Returns:
        bool Tensor ``[B]``.

    Raises:
        SettingsError: beta is not between 0 and 1.

    >>> low_importance(torch.tensor([0.9, 0.2, 0.8, 0.5]), beta=0.5)
    tensor([False,  True, False,  True])
    """
    size = high_group_size(alpha.shape[0], beta)
    order = alpha.detach().argsort(descending=True, stable=True)
    low = torch.zeros_like(alpha, dtype=torch.bool)
    low[order[size:]] = True
    return low


def check_beta(beta: float) -> None:
    """Raise one sentence unless ``0 < beta < 1``."""
    if not 0 < beta < 1:
        raise SettingsError(
            f"beta is {beta}, but it is the share of high-importance samples and must lie between 0 and 1 "
            "(the paper uses 0.7)."
        )
