"""Methods that SCN is compared with: a module each, with the paper it comes from; by name in `METHODS`."""

from scn_fastai.methods import smoothing
from scn_fastai.methods.method import Method

METHODS = {module.METHOD.name: module.METHOD for module in (smoothing,)}
__all__ = ["METHODS", "Method"]
