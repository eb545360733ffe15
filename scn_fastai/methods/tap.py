"""Listening to what a layer of the network is given, without changing the network."""

from torch import Tensor, nn


class Tap:
    """Keeps the last input of a module while it is put on one.

    >>> import torch
    >>> tap, layer = Tap(), nn.Identity()
    >>> tap.put(layer)
    >>> _ = layer(torch.tensor([1.0, 2.0]))
    >>> tap.take().tolist(), tap.take() is None
    ([1.0, 2.0], True)
    >>> tap.remove()
    """

    def __init__(self):
        self._hook = self._kept = None

    def put(self, module: nn.Module) -> None:
        """Listen to this module, and to no other."""
        self.remove()
        self._hook = module.register_forward_pre_hook(self._keep)

    def take(self) -> Tensor | None:
        """The input of the last forward pass, once."""
        kept, self._kept = self._kept, None
        return kept

    def remove(self) -> None:
        """Stop listening."""
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._kept = None

    def _keep(self, module: nn.Module, given: tuple) -> None:
        self._kept = given[0].as_subclass(Tensor)

    def __getstate__(self) -> dict:
        """Copies and exports listen to nothing."""
        return {"_hook": None, "_kept": None}
