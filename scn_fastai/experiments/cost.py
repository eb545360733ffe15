"""What a training will take, said before it begins."""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from fastai.learner import Learner

from scn_fastai.data.samples import FaceSet
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.experiments.recipes import recipe as recipe_by_name
from scn_fastai.training.network import CPUAutocast


@dataclass(frozen=True)
class Cost:
    """What a training will take: seconds and bytes."""

    seconds: float
    memory: int

    def times(self, runs: int, at_a_time: int = 1) -> "Cost":
        """The cost of so many runs after each other, some of them at a time."""
        return Cost(self.seconds * runs, self.memory * at_a_time)

    def __str__(self) -> str:
        minutes = f"{self.seconds / 60:.0f} minutes" if self.seconds > 90 else f"{self.seconds:.0f} seconds"
        return f"about {minutes} and {self.memory / 2**30:.1f} GB of memory"


def expected_cost(faces: FaceSet, train: TrainSettings, recipe: str = "plain") -> Cost:
    """Time and memory of one training, from a few timed steps of the recipe's network, which is thrown away.

    The steps are ordinary ones: a method that goes through the network twice takes more (its card says so).
    """
    learn = face_learner(faces, "plain", replace(train, arch=_arch(recipe, train)))
    device = learn.dls.device
    learn.create_opt()
    x, y = (t.as_subclass(torch.Tensor) for t in learn.dls.one_batch())
    half = any(isinstance(cb, CPUAutocast) for cb in learn.cbs)
    steps = [_timed_step(learn, x, y, device, half) for _ in range(4)]
    step = float(np.median(steps[1:]))
    batches = len(learn.dls.train) + 0.35 * len(learn.dls.valid)  # no backward pass in validation
    n, c = len(learn.dls.train_ds), learn.dls.c
    parameters = sum(p.numel() for p in learn.model.parameters())
    history = n * (5 + 2 * c) * train.epochs + 8 * n * c
    pixels = 0 if isinstance(faces.images, np.memmap) else faces.images.nbytes  # a map stays on disk
    memory = pixels + history + 12 * parameters + 60 * x.numel() * 4 + 900 * 2**20
    return Cost(step * batches * train.epochs, int(memory))


def mean_cost(faces: FaceSet, train: TrainSettings, recipes: list[str]) -> Cost:
    """Mean time of a training over the recipes, one for each run to come, and the memory of the largest."""
    archs = [_arch(name, train) for name in recipes]
    names = dict(zip(archs, recipes, strict=True))  # one recipe for each network: it is timed once
    of_arch = {arch: expected_cost(faces, train, name) for arch, name in names.items()}
    return Cost(float(np.mean([of_arch[arch].seconds for arch in archs])), max(c.memory for c in of_arch.values()))


def _arch(recipe: str, train: TrainSettings) -> str:
    method = recipe_by_name(recipe).method
    return train.arch if method is None else method.arch(train.arch)


def _timed_step(learn: Learner, x, y, device: torch.device, half: bool) -> float:
    began = time.perf_counter()
    learn.model.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=half or device.type == "cuda"):
        logits = learn.model(x)
    torch.nn.functional.cross_entropy(logits.float(), y).backward()
    learn.opt.step()
    learn.opt.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
