"""A training in one of many processes: `python process_worker.py OUT SETTINGS`, with torchrun's variables around it.

Every process makes the same small data, network and Learner, trains, and writes what it knows to OUT/rank<r>.pt.
"""

import json
import os
import sys
from pathlib import Path

import torch
from fastai.callback import schedule  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders, TfmdDL
from fastai.imports import noop
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import SGD
from torch import nn

from scn_fastai import Run, SCNCallback
from scn_fastai.training.processes import distributed

CLASSES, SIDE = 4, 8


class Points(list):
    """(point, label) pairs; the labels at hand."""

    @property
    def labels(self):
        return [int(label) for _, label in self]


class Shares(TfmdDL):
    """Draws what ``processes`` loaders of ``bs / processes`` would draw together, batch for batch."""

    processes = 1

    def get_idxs(self):
        order, share = torch.randperm(len(self.dataset)).tolist(), self.bs // self.processes
        size = -(-len(order) // self.processes)
        order += order[: size * self.processes - len(order)]
        parts = [order[r * size : (r + 1) * size] for r in range(self.processes)]
        return [i for at in range(0, size, share) for part in parts for i in part[at : at + share]]


class DieAt(Callback):
    """Kill this process in the middle of an epoch."""

    order = 50

    def __init__(self, epoch, batch):
        self.at = epoch, batch

    def after_batch(self):
        if self.training and (self.learn.epoch, self.learn.iter) == self.at:
            os._exit(9)


def points(n, seed=0):
    """Points around the corners of a cube, a third of the labels wrong."""
    made = torch.Generator().manual_seed(seed)
    truth = torch.arange(n) % CLASSES
    x = torch.randn(n, SIDE, generator=made) + 3 * torch.eye(SIDE)[truth]
    wrong = torch.rand(n, generator=made) < 0.33
    label = torch.where(wrong, (truth + torch.randint(1, CLASSES, (n,), generator=made)) % CLASSES, truth)
    return Points(zip(x, label, strict=True))


def learner(how):
    """The Learner of a test: no batch norm, no dropout, nothing drawn but the order."""
    torch.manual_seed(how.get("seed", 0))
    model = nn.Sequential(nn.Linear(SIDE, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    train, valid = points(how["n"]), points(40, seed=1)
    alone = how.get("alone_like", 0)
    kind = type("Of", (Shares,), {"processes": alone}) if alone else TfmdDL
    bs = how["bs"]
    dls = DataLoaders(kind(train, bs=bs, shuffle=True, num_workers=0), TfmdDL(valid, bs=bs, num_workers=0))
    if not alone:  # the same permutation as `Shares`, drawn from the same generator
        dls.train.shuffle_fn = lambda idxs: torch.randperm(len(idxs)).tolist()
    scn = SCNCallback(how.get("settings", "default"), run=how.get("run"), **how.get("changes", {}))
    learn = Learner(dls, model, CrossEntropyLossFlat(), SGD, lr=0.1, wd=0.01, metrics=accuracy, cbs=[scn])
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


def main(out, how):
    """Train, and write what this process knows."""
    torch.set_num_threads(1)
    learn = learner(how)
    start = Run.load(how["run"]).resume(learn) if how.get("resume") else 0
    torch.manual_seed(7) if not start else None
    if "die" in how and int(os.environ["RANK"]) == how["die"][0]:
        learn.add_cb(DieAt(*how["die"][1:]))
    with distributed(learn):
        learn.fit_one_cycle(how["epochs"], 0.1, start_epoch=start)
    scn = learn.scn
    weights = {name: t for name, t in learn.model.state_dict().items() if isinstance(t, torch.Tensor)}
    known = {"weights": weights, "current": scn.ledger.current, "alpha": torch.from_numpy(scn.history.alpha)}
    known |= {"logits": torch.from_numpy(scn.history.logits), "evidence": scn.history.evidence}
    known |= {"low": torch.from_numpy(scn.history.low), "rows": json.dumps(scn.history.frame().to_dict("list"))}
    known |= {"ledger": scn.ledger.rows().to_csv(index=False)}
    torch.save(known, Path(out) / f"rank{os.environ.get('RANK', 0)}.pt")


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
