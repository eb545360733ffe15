"""Methods that SCN is compared with: a module each, with the paper it comes from; by name in `METHODS`."""

from scn_fastai.methods import (
    alphaloss,
    coteaching,
    eac,
    elr,
    gce,
    mixup,
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
)
METHODS = {module.METHOD.name: module.METHOD for module in MODULES}
__all__ = ["METHODS", "Method"]
