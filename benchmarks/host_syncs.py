"""How often a batch makes the host wait for the GPU: SCN must add nothing (0) to what fastai does."""

import json
from collections import Counter

import torch
from _common import arguments, epoch_seconds, hardware, learner, noisy_faces
from fastai.learner import Callback, Learner
from torch.profiler import ProfilerActivity, profile

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


class Watch(Callback):
    """Profile the batches of an epoch from the third on: what comes once an epoch is not theirs."""

    order = -999
    skip = 2

    def before_batch(self) -> None:
        if self.training and self.learn.iter == self.skip:
            self.profile = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
            self.profile.__enter__()
            self.batches = self.learn.n_iter - 1 - self.skip
        elif self.training and self.learn.iter == self.learn.n_iter - 1:
            self.profile.__exit__(None, None, None)


def waits_per_batch(learn: Learner) -> dict[str, float]:
    """Calls that make the host wait, by name, divided by the number of batches watched."""
    epoch_seconds(learn)  # once unwatched: a first epoch allocates and compiles
    watch = Watch()
    learn.add_cb(watch)
    epoch_seconds(learn)
    learn.remove_cb(watch)
    return waits_of(watch.profile.events(), watch.batches)


def waits_of(events, batches: int) -> dict[str, float]:
    """How often each of WAITS occurs among a profile's events, per batch."""
    found = Counter(event.name for event in events)
    return {name: found[name] / batches for name in WAITS if found[name]}


def main(argv: list[str] | None = None) -> None:
    """Print how many waits SCN adds to a batch, or that there is no GPU."""
    options = arguments(__doc__, argv)
    if not torch.cuda.is_available() or options.device == "cpu":
        sentence = "host synchronisations per batch: skipped, for there is no CUDA device to ask."
        print(json.dumps({"name": "host syncs", "skipped": sentence}) if options.json else sentence)
        return
    if options.faces < 5 * options.batch_size:
        options.faces = 5 * options.batch_size
    learn = learner(noisy_faces(options), options, "default")
    scn = learn.scn
    with_scn = waits_per_batch(learn)
    learn.remove_cb(scn)
    without = waits_per_batch(learn)
    added = sum(with_scn.values()) - sum(without.values())
    card = hardware(learn.dls.device)
    if options.json:
        values = {"name": "host syncs", "added": added, "with": with_scn, "without": without, "aim": "0"}
        print(json.dumps(values | {"hardware": card}))
        return
    counts = f"{sum(with_scn.values()):.2f} with SCN, {sum(without.values()):.2f} without"
    print(f"host synchronisations that SCN adds to a batch: {added:.2f} (aim 0; {counts}; {card})")


if __name__ == "__main__":
    main()
