"""What the benchmarks share: their arguments, faces, paired timing, and one line for each ratio."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from fastai.callback.progress import ProgressCallback
from fastai.imports import noop
from fastai.learner import Callback, CancelValidException, Learner

from scn_fastai.data.noise import flip_labels
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet
from scn_fastai.experiments.fit import TrainSettings, face_learner


def arguments(about: str, argv: list[str] | None = None) -> argparse.Namespace:
    """The options that every benchmark has, read."""
    return options_parser(about).parse_args(argv)


def options_parser(about: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--faces", type=int, default=2048, help="training faces in an epoch")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=48, help="pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5, help="pairs of epochs to time")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a line")
    return parser


def noisy_faces(options: argparse.Namespace) -> FaceSet:
    """Grey rendered faces with 30 % wrong labels; without the truth, so that nothing but SCN is measured."""
    faces = rendered_faces(splits=("train", "valid"), size=options.size, grey=True).limit(options.faces)
    labels = flip_labels(faces.part("train").samples["label"], 0.3, classes=faces.classes).labels
    faces = faces.with_labels(labels)
    return replace(faces, samples=faces.samples.drop(columns="true_label"))


def learner(faces: FaceSet, options: argparse.Namespace, recipe: str) -> Learner:
    """A Learner of the fast path whose training epochs are timed; SCN is at work from the first of them on.

    Whatever the network knows: by its own rule the default recipe would wait, and cost nothing.
    """
    names = ("arch", "batch_size", "device")
    learn = face_learner(faces, recipe, TrainSettings(**{name: getattr(options, name) for name in names}))
    learn.scn.settings = learn.scn.settings.change(weight_from=0, relabel_from=0, relabel_margin=0.0)
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    learn.add_cbs([Start(), Clock()])
    return learn


def epoch_seconds(learn: Learner) -> float:
    """Train one epoch and say how long its training part took, with all that callbacks do in it."""
    learn.fit(1, 1e-4)  # whatever the network learns: some method may diverge when it starts again at every epoch
    return learn.clock.seconds


class Start(Callback):
    """Start the clock before any other callback hears that training begins."""

    order = -1000

    def before_train(self) -> None:
        wait(self.learn.dls.device)
        self.began = time.perf_counter()


class Clock(Callback):
    """Stop it after the last one has heard that training has ended; leave validation out."""

    order = 1000

    def after_train(self) -> None:
        wait(self.learn.dls.device)
        self.seconds = time.perf_counter() - self.learn.start.began

    def before_validate(self) -> None:
        raise CancelValidException


def wait(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass
class Ratio:
    """Seconds of A over seconds of B, pair by pair."""

    pairs: list[tuple[float, float]]

    @property
    def ratios(self) -> list[float]:
        """One for each pair."""
        return [a / b for a, b in self.pairs]

    @property
    def median(self) -> float:
        """The figure to report."""
        return statistics.median(self.ratios)


def time_pairs(a: Callable[[], float], b: Callable[[], float], repeats: int) -> Ratio:
    """Run A and B in turns (a machine's speed drifts) after one round of each that does not count."""
    a(), b()
    return Ratio([(a(), b()) for _ in range(repeats)])


def seconds_of(function: Callable[[], None], device: torch.device) -> float:
    """Time a function, work that is still on the GPU included."""
    wait(device)
    began = time.perf_counter()
    function()
    wait(device)
    return time.perf_counter() - began


def hardware(device: torch.device) -> str:
    """The card's or the processor's name, and how many threads torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def report(name: str, ratio: Ratio, aim: str, options: argparse.Namespace, device: torch.device) -> None:
    """Print one line, or one JSON object, for a ratio."""
    low, high = min(ratio.ratios), max(ratio.ratios)
    if options.json:
        keys = ("faces", "arch", "size", "batch_size", "repeats")
        values = {"name": name, "ratio": ratio.median, "low": low, "high": high, "aim": aim}
        print(json.dumps(values | {key: getattr(options, key) for key in keys} | {"hardware": hardware(device)}))
        return
    how = f"{options.faces} faces, {options.arch}, {options.size} px, batch {options.batch_size}"
    spread = f"{low:.3f} to {high:.3f} in {options.repeats} pairs"
    print(f"{name}: {ratio.median:.3f} (aim {aim}; {spread}; {how}; {hardware(device)})")
