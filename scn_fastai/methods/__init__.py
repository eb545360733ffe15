"""Methods that SCN is compared with: a module each, with the paper it comes from; by name in `METHODS`."""

from scn_fastai.methods import (
    curriculumnet,
    dlpcnn,
    gacnn,
    ltnet,
    metacleaner,
    pld,
    ran,
    smoothing,
)
from scn_fastai.methods.method import Method

_MODULES = (
    smoothing,
    curriculumnet,
    metacleaner,
    ltnet,
    pld,
    dlpcnn,
    ran,
    gacnn,
)
METHODS = {module.METHOD.name: module.METHOD for module in _MODULES}
__all__ = ["METHODS", "Method"]
