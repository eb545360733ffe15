"""What each recipe costs in training: seconds of an epoch and peak memory, over those of the plain network."""

import json
import multiprocessing
import resource
import sys
from argparse import Namespace
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

import torch
from _common import Ratio, epoch_seconds, hardware, learner, noisy_faces, options_parser
from fastai.learner import Callback

from scn_fastai.experiments.recipes import all_recipes


def seconds(names: list[str], options: Namespace) -> tuple[float, dict[str, Ratio], torch.device]:
    """Median seconds of a plain epoch, and per method the pairs (method, plain) that were timed in turns."""
    faces = noisy_faces(options)
    learners = {name: learner(faces, options, name) for name in ("plain", *names)}
    for learn in learners.values():
        epoch_seconds(learn)  # the first does not count
    rounds = [{name: epoch_seconds(learn) for name, learn in learners.items()} for _ in range(options.repeats)]
    ratios = {name: Ratio([(times[name], times["plain"]) for times in rounds]) for name in names}
    return median(times["plain"] for times in rounds), ratios, learners["plain"].dls.device


def memory(name: str, options: Namespace) -> int:
    """Bytes that one epoch takes at its peak: on the GPU, or of this process above what it had before."""
    faces = noisy_faces(options)
    before = _resident()
    learn = learner(faces, options, name)
    watch = Watch()
    learn.add_cb(watch)
    epoch_seconds(learn)
    if learn.dls.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return max(1, watch.most - before)


class Watch(Callback):
    """Looks at the memory of each training batch where it is largest: before and after the backward pass."""

    order, run_valid, most = 999, False, 0

    def after_loss(self) -> None:
        self.most = max(self.most, _resident())

    after_backward = after_loss


def _resident() -> int:
    """Memory of this process in bytes: now, where the system tells, else the most it has had."""
    now = Path("/proc/self/statm")
    if now.exists():
        return int(now.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def in_own_process(name: str, options: Namespace) -> int:
    """`memory` in a new process: a peak does not come down again."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(memory, name, options).result()


def main(argv: list[str] | None = None) -> None:
    """Print a line, or a JSON object, for the plain network and for each recipe."""
    parser = options_parser(__doc__)
    everything = ",".join(name for name in all_recipes() if name != "plain")
    parser.add_argument("--methods", default=everything, help="recipes, with options if wanted")
    options = parser.parse_args(argv)
    names = options.methods.split(",")
    plain, ratios, device = seconds(names, options)
    peaks = {name: in_own_process(name, options) for name in ("plain", *names)}
    how = f"{options.faces} faces, {options.arch}, {options.size} px, batch {options.batch_size}; {hardware(device)}"
    if not options.json:
        print(f"plain: {plain:.2f} s an epoch, {peaks['plain'] / 2**20:.0f} MiB ({how})")
    for name in names:
        ratio, share = ratios[name], peaks[name] / peaks["plain"]
        low, high = min(ratio.ratios), max(ratio.ratios)
        if options.json:
            values = {"name": name, "time": ratio.median, "low": low, "high": high, "memory": share}
            print(json.dumps(values | {"plain_seconds": plain, "plain_bytes": peaks["plain"], "how": how}))
        else:
            print(f"{name}: {ratio.median:.2f} of its time ({low:.2f} to {high:.2f}), {share:.2f} of its memory")


if __name__ == "__main__":
    main()
