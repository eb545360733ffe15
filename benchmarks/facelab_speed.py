"""How long FaceLab takes from a moved slider to a new picture: 60 ms and less feel like one movement.

Drawing, the PNG and the words are in it, the way to the browser is not. A second line has a network that looks at
every face.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from _common import hardware
from torch.nn.functional import interpolate

from scn_fastai.faces.expressions import CLASSES
from scn_fastai.training.network import build_network
from scn_fastai.training.predict import one_thread
from scn_fastai.widgets.face_lab import FaceLab

AIM = 60  # ms


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Options of this benchmark; those of the others, which `make bench` hands to all, are passed over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--repeats", type=int, default=30, help="updates to time")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead of a line")
    return parser.parse_known_args(argv)[0]


def small_network() -> Callable[[np.ndarray], np.ndarray]:
    """An untrained network as FaceLab wants it: how long it takes does not depend on what it knows.

    Like `predictor` it computes on one thread.
    """
    model = build_network("small", len(CLASSES)).eval()

    def predict(images: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad(), one_thread():
            return model(interpolate(x, 64, mode="bilinear", antialias=True)).softmax(1).numpy()

    return predict


def update_times(lab: FaceLab, repeats: int) -> list[float]:
    """Milliseconds of each of so many steps of the blend slider, after one that does not count."""
    times = []
    for step in range(repeats + 1):
        began = time.perf_counter()
        lab.mix.value = (step + 1) / (repeats + 1)
        times.append(1000 * (time.perf_counter() - began))
    return times[1:]


def report(name: str, times: list[float], options: argparse.Namespace) -> None:
    """Print one line, or one JSON object, for the times."""
    median, low, high = statistics.median(times), min(times), max(times)
    machine = hardware(torch.device("cpu"))
    if options.json:
        values = {"name": name, "ms": median, "low": low, "high": high, "aim": f"<= {AIM}"}
        print(json.dumps(values | {"size": options.size, "repeats": options.repeats, "hardware": machine}))
        return
    spread = f"{low:.1f} to {high:.1f} in {options.repeats} updates"
    print(f"{name}: {median:.1f} ms (aim <= {AIM}; {spread}; {options.size} px; {machine})")


def main(argv: list[str] | None = None) -> None:
    """Print the medians."""
    options = arguments(argv)
    report("FaceLab update", update_times(FaceLab(size=options.size), options.repeats), options)
    looked_at = FaceLab(small_network(), CLASSES, size=options.size)
    report("the same with a network", update_times(looked_at, options.repeats), options)


if __name__ == "__main__":
    main()
