"""Methods that SCN is compared with: a module each, with the paper it comes from; by name in `METHODS`."""

from scn_fastai.methods import (
    alphaloss,
    cosface,
    coteaching,
    curriculumnet,
    dlpcnn,
    eac,
    elr,
    gacnn,
    gce,
    ltnet,
    metacleaner,
    mixup,
    pld,
    ran,
    rul,
    selfpaced,
    smoothing,
    upsample,
    weightedloss,
)
from scn_fastai.methods.method import Method

MODULES = (
    smoothing,
    elr,
    gce,
    coteaching,
    rul,
    eac,
    mixup,
    selfpaced,
    alphaloss,
    upsample,
    weightedloss,
    curriculumnet,
    metacleaner,
    ltnet,
    pld,
    dlpcnn,
    ran,
    gacnn,
    cosface,
)
METHODS = {module.METHOD.name: module.METHOD for module in MODULES}
__all__ = ["METHODS", "Method"]
