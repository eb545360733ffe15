"""Small networks for runs that are made by hand."""

import torch

from scn_fastai.training.head import attach_head
from scn_fastai.training.network import build_network


def give_network(run, shape=(16, 16), before=True, seed=0):
    """Save a run with a network whose alphas differ, and, with `before`, with another from before it relabeled."""
    how = {"mean": [0.5] * 3, "std": [0.25] * 3, "shape": list(shape), "size": None}
    run.settings |= {"arch": "small", "input": how}
    run.settings["scn"] |= {"relative": False}
    for number in range(1 + before):  # the second save keeps the weights of the first
        run.save(_weights(len(run.classes), seed + number))
    return run


def _weights(classes, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, head = attach_head(build_network("small", classes))
        torch.nn.init.normal_(head.attention_weight, std=3.0)
        torch.nn.init.normal_(head.weight, std=3.0)
    return {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
