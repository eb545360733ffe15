"""What fastai and the fast loader cost: an epoch through them over a loop written by hand in torch.

Both do the same work on the same network: batches cut out of one array, the same augmentation on the device,
channels-last, mixed precision, fused SGD. A second line has SCN (recipe default) in the Learner too.
"""

from contextlib import nullcontext

import torch
from _common import arguments, epoch_seconds, learner, noisy_faces, report, seconds_of, time_pairs
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.data.loaders import shift_and_flip
from scn_fastai.training.network import CPUAutocast, build_network


class HandLoop:
    """Training on tensors in memory, as one would write it without a library."""

    def __init__(self, learn: Learner, arch: str):
        data, self.device = learn.dls.train_ds, learn.dls.device
        self.images = torch.from_numpy(data.images[data.rows]).to(self.device)
        self.labels = data.labels.to(self.device)
        self.model = build_network(arch, data.c).to(self.device).train()
        self.batch_size = learn.dls.train.bs
        augment, _, normalise = learn.dls.train.after_batch.fs
        self.pad = augment.pad
        self.mean, self.std = (t.as_subclass(Tensor).to(self.device) for t in (normalise.mean, normalise.std))
        options = {"lr": learn.lr, "momentum": 0.9, "weight_decay": learn.wd, "fused": True}
        self.optimizer = torch.optim.SGD(self.model.parameters(), **options)
        self.half = torch.bfloat16 if any(isinstance(cb, CPUAutocast) for cb in learn.cbs) else None
        self.half = torch.float16 if hasattr(learn, "mixed_precision") else self.half
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.half == torch.float16)

    def batch(self, index: Tensor) -> Tensor:
        """Augmented, normalised images."""
        n = len(index)
        shift = torch.randint(-self.pad, self.pad + 1, (2, n))
        moves = torch.cat([shift, (torch.rand(n) < 0.5)[None]]).to(self.device)
        x = shift_and_flip(self.images[index], *moves)[:, None].float().div_(255).expand(-1, 3, -1, -1)
        return (x.contiguous(memory_format=torch.channels_last) - self.mean) / self.std

    def epoch(self) -> None:
        """Once over all samples."""
        order = torch.randperm(len(self.labels)).to(self.device)
        for index in order.split(self.batch_size):
            if len(index) < self.batch_size:
                break
            x, y = self.batch(index), self.labels[index]
            with torch.autocast(self.device.type, self.half) if self.half else nullcontext():
                logits = self.model(x)
            loss = cross_entropy(logits.float(), y)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()


def main(argv: list[str] | None = None) -> None:
    """Print the ratios."""
    options = arguments(__doc__, argv)
    learn = learner(noisy_faces(options), options, "default")
    scn, loop = learn.scn, HandLoop(learn, options.arch)
    device = learn.dls.device

    def by_hand() -> float:
        return seconds_of(loop.epoch, device)

    def by_learner() -> float:
        return epoch_seconds(learn)

    learn.remove_cb(scn)
    report("fastai and loader overhead", time_pairs(by_learner, by_hand, options.repeats), "<= 1.10", options, device)
    learn.add_cb(scn)
    report("the same with SCN", time_pairs(by_learner, by_hand, options.repeats), "<= 1.13", options, device)


if __name__ == "__main__":
    main()
