"""The network's last Linear layer with the importance weight beside it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scn_fastai.core.importance import attention_weights
from scn_fastai.errors import SettingsError


class ImportanceHead(nn.Module):
    """A classifier's last Linear layer, and one more output beside it: alpha (SCN, Eq. 1).

    The logits are exactly those of the Linear layer, whose Parameter objects are kept, so that taking the
    head off again leaves the ordinary network. A Dropout that stands directly before the layer moves into
    the head: alpha is computed from the features in front of it (behind it alpha would mostly measure which
    features were dropped), the logits from the features behind it.

    Its entries in a state dict are the Linear layer's own ``weight`` and ``bias``, and ``attention_weight``,
    ``attention_bias``, ``margin``: an ordinary checkpoint loads, and keeps the attention as it is.

    Args:
        linear: the layer to take over.
        dropout: the Dropout module in front of it, if there is one.
        bias: give alpha a bias, as in the released code (the paper's Eq. 1 has none).
        margin: initial value of a learnable rank margin (delta1), or None when the margin is fixed.
        start: alpha of every sample before training, in (0, 1), set through the bias; None draws the
            weights as torch does, and alpha starts around 0.5.
    """

    def __init__(
        self,
        linear: nn.Linear,
        dropout: nn.Module | None = None,
        bias: bool = True,
        margin: float | None = None,
        start: float | None = None,
    ):
        super().__init__()
        self.dropout, self.training = dropout, linear.training
        self.weight, self.bias = linear.weight, linear.bias
        fresh = nn.Linear(linear.in_features, 1).to(linear.weight.device, torch.float32)
        self.attention_weight = nn.Parameter(fresh.weight.detach()[0].clone())
        self.attention_bias = nn.Parameter(fresh.bias.detach().clone()) if bias else None
        self.margin = None if margin is None else nn.Parameter(torch.tensor(float(margin), device=linear.weight.device))
        if start is not None and bias:
            nn.init.constant_(self.attention_bias, torch.logit(torch.tensor(start)).item())
        self.alpha: Tensor | None = None  # of the last forward pass; cleared after each training step
        self.logits: Tensor | None = None  # likewise
        self.keep_alpha = False
        self.ledger_state: Callable[[], dict] | None = None
        self.load_ledger: Callable[[dict], None] | None = None

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``[B, C]`` of features ``[B, D]``; alpha ``[B]`` is left in ``self.alpha`` if it is wanted."""
        if self.training or self.keep_alpha:
            self.alpha = attention_weights(features.flatten(1), self.attention_weight, self.attention_bias)
        if self.dropout is not None:
            in_place = getattr(self.dropout, "inplace", False)  # alpha's gradient needs the features as they were
            features = self.dropout(features.clone() if in_place else features)
        logits = nn.functional.linear(features, self.weight, self.bias)
        if self.training:
            self.logits = logits
        return logits

    def clear(self) -> None:
        """Let go of the last step's alpha and logits: a live graph on a module breaks deepcopy."""
        self.alpha = self.logits = None

    def own_parameters(self) -> list[nn.Parameter]:
        """The parameters that SCN adds: attention weight and bias, and a learnable margin."""
        return [p for p in (self.attention_weight, self.attention_bias, self.margin) if p is not None]

    # A checkpoint carries the ledger, so that the weights of an epoch come back with the labels of that epoch.
    def get_extra_state(self) -> dict:
        """The ledger's tensors."""
        return {} if self.ledger_state is None else self.ledger_state()

    def set_extra_state(self, state: dict) -> None:
        """Hand the ledger's tensors back to the ledger."""
        if state and self.load_ledger is not None:
            self.load_ledger(state)

    def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
        """Accept a plain Linear layer's entries: what SCN adds is then left as it is."""
        before = len(missing)
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
        ours = {prefix + name for name in ("attention_weight", "attention_bias", "margin", "_extra_state")}
        if not any(key in state_dict for key in ours):
            missing[before:] = [key for key in missing[before:] if key not in ours]

    def __getstate__(self) -> dict:
        """Copies and exports carry neither a live graph nor the training labels."""
        return {**self.__dict__, "alpha": None, "logits": None, "ledger_state": None, "load_ledger": None}


def attach_head(model: nn.Module, **options) -> tuple[nn.Module, "ImportanceHead"]:
    """Put an ImportanceHead in place of the model's last Linear layer.

    Returns the model (a new object only if the model is itself a Linear layer) and the head.

    Raises:
        SettingsError: there is no Linear layer, or the model is a DataParallel.
    """
    check_parallel(model)
    name, linear = last_linear(model)
    if not name:
        head = ImportanceHead(linear, **options)
        return head, head
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    dropout_name = _dropout_before(parent, child)
    dropout = parent._modules[dropout_name] if dropout_name else None
    head = ImportanceHead(linear, dropout, **options)
    setattr(parent, child, head)
    if dropout_name:
        parent._modules[dropout_name] = nn.Identity()
    return model, head


def check_parallel(model: nn.Module) -> None:
    """Raise one sentence if the model is a DataParallel."""
    if isinstance(model, nn.DataParallel):
        raise SettingsError(
            "SCN does not work inside DataParallel, whose replicas lose alpha: use one GPU, or learn.distrib_ctx()."
        )


def detach_head(model: nn.Module, head: ImportanceHead) -> nn.Module:
    """Put the ordinary Linear layer (the same Parameter objects) and its Dropout back; returns the model."""
    linear = nn.Linear(1, 1, bias=head.bias is not None)
    linear.in_features, linear.out_features = head.weight.shape[1], head.weight.shape[0]
    linear.weight, linear.bias = head.weight, head.bias
    linear.train(head.training)
    if model is head:
        return linear
    name = next(n for n, module in model.named_modules() if module is head)
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    setattr(parent, child, linear)
    if head.dropout is not None:
        names = list(parent._modules)
        parent._modules[names[names.index(child) - 1]] = head.dropout
    return model


def take_over(head: ImportanceHead, parameters: list[nn.Parameter]) -> None:
    """Give a head the attention parameters of one that was taken off before, if they fit."""
    own = head.own_parameters()
    if len(own) == len(parameters) and all(a.shape == b.shape for a, b in zip(own, parameters, strict=True)):
        names = [name for name in ("attention_weight", "attention_bias", "margin") if getattr(head, name) is not None]
        for name, parameter in zip(names, parameters, strict=True):
            setattr(head, name, parameter)


def find_head(model: nn.Module) -> ImportanceHead | None:
    """The model's ImportanceHead, or None."""
    return next((module for module in model.modules() if isinstance(module, ImportanceHead)), None)


def last_linear(model: nn.Module) -> tuple[str, nn.Linear]:
    """Name and module of a network's last Linear layer; a SettingsError if it has none."""
    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise SettingsError(
            f"SCN needs a classifier that ends in a Linear layer, but {type(model).__name__} has none "
            "(squeezenet ends in a convolution): choose another architecture, such as resnet18."
        )
    return linears[-1]


def _dropout_before(parent: nn.Module, child: str) -> str | None:
    """Name of a Dropout directly before ``child`` in a Sequential; only there is 'before' well defined."""
    if not isinstance(parent, nn.Sequential):
        return None
    names = list(parent._modules)
    position = names.index(child)
    if position and isinstance(parent._modules[names[position - 1]], nn.Dropout):
        return names[position - 1]
    return None
