"""Getting further parameters trained, the importance head's above all, whatever optimizer there already is."""

from collections.abc import Iterable

from fastai.optimizer import OptimWrapper
from fastcore.foundation import L
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import ImportanceHead


def add_parameters(opt, parameters: Iterable[nn.Parameter]) -> None:
    """Add those of the parameters to the optimizer's last group that it does not train yet."""
    known = {id(p) for group in opt.param_lists for p in group}
    missing = [p for p in parameters if id(p) not in known]
    opt.param_lists[-1].extend(missing)
    for parameter in missing:
        opt.state.setdefault(parameter, {})  # a state that was loaded makes no new entries by itself


def train_head(opt, head: ImportanceHead) -> None:
    """Add the head's parameters to the optimizer's last group if they are missing, margin without weight decay.

    They are missing when the optimizer was made before the callback was added, or when a splitter had
    closed over the old layer; alpha would then stay untrained without a word.

    Raises:
        SettingsError: the margin is learnable and the optimizer would decay it.
    """
    add_parameters(opt, head.own_parameters())
    if head.margin is None:
        return
    if isinstance(opt, OptimWrapper):
        if any(group["weight_decay"] for group in opt.opt.param_groups if "weight_decay" in group):
            raise SettingsError(
                "A learnable rank margin must not decay, but a torch optimizer decays a whole group: use a fastai "
                "optimizer (opt_func=SGD) or weight decay 0."
            )
    else:
        opt.state[head.margin]["do_wd"] = False  # create_opt resets it, so it is set before every fit


def release_head(opt, head: ImportanceHead) -> None:
    """Take the head's parameters out of the optimizer, if there is one; it is an ordinary network's again."""
    if opt is not None:
        ours = {id(p) for p in head.own_parameters()}
        opt.param_lists = L([p for p in group if id(p) not in ours] for group in opt.param_lists)
