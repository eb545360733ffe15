"""What the importance head is given: the features of the last pooling layer."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import find_head


def features_of(model: nn.Module, batches: Iterable[Tensor]) -> Tensor:
    """Features ``x_i`` of Eq. 1 for every sample, float32 ``[N, D]``, computed in eval mode.

    Args:
        model: a network with an importance head.
        batches: input Tensors ``[B, 3, H, W]``.

    Raises:
        SettingsError: the network has no importance head, or there is no batch.
    """
    head = find_head(model)
    if head is None:
        raise SettingsError("This network has no importance head, so nothing says which features count: attach one.")
    kept: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, given: kept.append(given[0].detach().flatten(1).float().cpu()))
    try:
        with eval_mode(model), torch.no_grad():
            for x in batches:
                model(x.to(head.weight.device))
    finally:
        hook.remove()
        head.clear()
    if not kept:
        raise SettingsError("There is no batch to compute features of: pass at least one.")
    return torch.cat(kept)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in its own mode again, which may differ: frozen batch norms.

    >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    >>> with eval_mode(model):
    ...     model.training
    False
    >>> model.training, model[0].training, model[1].training
    (True, True, False)
    """
    trains = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in trains:
            module.training = True
