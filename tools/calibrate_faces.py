"""Calibrate levels and soft labels of the rendered faces by networks that saw clean faces only.

    python tools/calibrate_faces.py                      some minutes on two cores
    python tools/calibrate_faces.py --faces 600 --people 40 --epochs 4 --seeds 1   a quick look

Prints the lines of `STRENGTHS` (scn_fastai/faces/degrade.py), the yaw and the levels of what is worn that keep
85 % (level 0) and 30 % (level 1) of the accuracy on clean faces, and the lines of `SOFT_CURVES`
(scn_fastai/faces/soft.py). Identities of training and measuring are disjoint.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each worker draws with one thread

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from fastai.callback.progress import ProgressCallback
from fastai.imports import noop
from sklearn.isotonic import IsotonicRegression
from tqdm import tqdm

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import SCNError, SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.faces.degrade import IMAGE_KINDS, STRENGTHS, degrade, degrade_by
from scn_fastai.faces.expressions import CLASSES, blend, random_expression
from scn_fastai.faces.identity import random_identity
from scn_fastai.faces.render import Pose, random_background, random_light, random_pose, render_face
from scn_fastai.faces.soft import PAIRS
from scn_fastai.training.predict import prepare

SIZE = 64
INTENSITY = (0.65, 1.0)  # as in the data set
WANTED = (0.85, 0.30)  # share of the clean accuracy at level 0 and at level 1
# From mild to the strongest at which a person still has a guess: no level goes beyond.
GRIDS = {
    "blur": np.geomspace(0.006, 0.05, 9),
    "low_resolution": np.geomspace(44, 8, 9).round(),
    "jpeg": np.array([70, 50, 35, 25, 18, 12, 8, 5, 3]),
    "low_light": np.geomspace(0.7, 0.03, 9),
    "over_exposed": np.geomspace(1.3, 12, 9),
    "noise": np.geomspace(0.015, 0.30, 9),
    "motion": np.geomspace(0.02, 0.30, 9),
    "block": np.linspace(0.1, 0.8, 8),
}
DRAWN_GRIDS = {
    "mask": np.array([0.0, 0.2, 0.4, 0.7, 1.0]),
    "glasses": np.array([0.0, 0.2, 0.4, 0.7, 1.0]),
    "profile": np.array([20.0, 32.0, 44.0, 56.0, 68.0, 80.0]),
}
MIXES = np.linspace(0, 1, 11)


# ---- faces ----


@dataclass(frozen=True)
class Scene:
    """All that a picture of a face depends on; a generator of its own for each seed."""

    seed: int
    person: int
    label: str
    second: str = ""
    mix: float = 0.0
    wear: tuple[str, float] | None = None
    yaw: float | None = None


@lru_cache(maxsize=64)
def person(number):
    """The identity of that number."""
    return random_identity(np.random.default_rng([1, number]))


def draw(scene):
    """The picture, uint8 ``[64, 64, 3]``; scenes that differ in mix, wear or yaw only are alike in all else."""
    rng = np.random.default_rng([2, scene.seed])
    pose, light, background = random_pose(rng), random_light(rng), random_background(rng)
    units = random_expression(scene.label, rng, rng.uniform(*INTENSITY))
    if scene.second:
        units = blend(units, random_expression(scene.second, rng, rng.uniform(*INTENSITY)), scene.mix)
    if scene.yaw is not None:
        pose = Pose(scene.yaw * rng.choice([-1, 1]), pose.pitch, pose.roll, pose.zoom, pose.shift_x, pose.shift_y)
    return render_face(person(scene.person), units, pose, light, SIZE, background, scene.wear)


def clean_scenes(count, people, first_person, first_seed):
    """Clean scenes, all classes alike, several of each person."""
    return [Scene(first_seed + i, first_person + i * people // count, CLASSES[i % len(CLASSES)]) for i in range(count)]


def drawn_scenes(kind, scenes):
    """The same scenes over the grid of a kind that is decided when drawing: a list for each value."""
    if kind == "profile":
        return [[replace(s, yaw=float(value)) for s in scenes] for value in DRAWN_GRIDS[kind]]
    return [[replace(s, wear=(kind, float(value))) for s in scenes] for value in DRAWN_GRIDS[kind]]


def blend_scenes(pair, count, people, first_person, first_seed):
    """For each mix the same faces between two expressions."""
    first, second = pair
    base = [Scene(first_seed + i, first_person + i * people // count, first, second) for i in range(count)]
    return [[replace(s, mix=float(mix)) for s in base] for mix in MIXES]


def draw_all(parts, workers):
    """Pictures of every part (lists of scenes, by name), uint8 ``[N, 64, 64, 3]``."""
    scenes = [scene for part in parts.values() for scene in part]
    with ProcessPoolExecutor(workers) as pool:
        drawn = tqdm(pool.map(draw, scenes, chunksize=32), "drawing", len(scenes), mininterval=5, disable=None)
        images = np.stack(list(drawn))
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    return dict(zip(parts, np.split(images, ends), strict=True))


def plan(args):
    """Every part that has to be drawn: lists of scenes by name."""
    valid_people = max(8, args.people // 4)
    first = args.people
    parts = {
        "train": clean_scenes(args.faces, args.people, 0, 0),
        "valid": clean_scenes(args.valid, valid_people, first, 10**6),
    }
    for kind in DRAWN_GRIDS:
        for value, scenes in zip(DRAWN_GRIDS[kind], drawn_scenes(kind, parts["valid"]), strict=True):
            parts[kind, value] = scenes
    for number, pair in enumerate(PAIRS):
        blends = blend_scenes(pair, args.blends, valid_people, first, 2 * 10**6 + 1000 * number)
        for mix, scenes in zip(MIXES, blends, strict=True):
            parts[pair, mix] = scenes
    return parts


# ---- networks ----


def face_set(parts, images):
    """The clean faces as the project's FaceSet."""
    rows = [(s, split) for split in ("train", "valid") for s in parts[split]]
    labels = [s.label for s, _ in rows]
    table = pd.DataFrame({"image": [str(s.seed) for s, _ in rows], "split": [x for _, x in rows], "label": labels})
    pixels = np.concatenate([images["train"], images["valid"]])
    return FaceSet(table, list(CLASSES), pixels, ReadAccount("faces to calibrate with", len(table)))


def trained(faces, args):
    """Networks of different seeds, each with how it wants its input."""
    networks = []
    for seed in range(args.seeds):
        train = TrainSettings(arch=args.arch, epochs=args.epochs, seed=seed, lr=args.lr, device=args.device)
        learn = face_learner(faces, "plain", train)
        learn.remove_cb(ProgressCallback)
        learn.logger = noop
        began = time.perf_counter()
        learn.fit_one_cycle(train.epochs, train.lr)
        reached = learn.scn.history.last("accuracy")
        print(f"seed {seed}: accuracy {reached:.3f} after {time.perf_counter() - began:.0f} s", flush=True)
        normalise = learn.dls.train.after_batch.fs[-1]
        how = {"size": None, "mean": normalise.mean.flatten().tolist(), "std": normalise.std.flatten().tolist()}
        networks.append((learn.model.eval(), learn.dls.device, how))
    return networks


@torch.no_grad()
def probabilities(networks, images):
    """Mean probabilities of the networks, ``[N, 8]``."""
    total = 0
    for model, device, how in networks:
        parts = torch.from_numpy(images).split(256)
        total = total + torch.cat([model(prepare(x, how).to(device)).float().softmax(1).cpu() for x in parts])
    return (total / len(networks)).numpy()


# ---- levels ----


def degraded(images, kind, strength, number):
    """The same faces, each degraded by a generator of its own."""
    rngs = (np.random.default_rng([3, number, i]) for i in range(len(images)))
    return np.stack([degrade_by(image, kind, float(strength), rng) for image, rng in zip(images, rngs, strict=True)])


def crossing(grid, relative, wanted, linear=False):
    """Where a curve that falls along the grid has fallen to the wanted height; the grid's end if it never does.

    Returns the value and whether the height lies within the curve. Between points of the grid the values go in
    equal ratios, or in equal steps.
    """
    place = np.arange(len(grid), dtype=float)
    smooth = IsotonicRegression(increasing=False).fit_transform(place, relative)
    if smooth[-1] > wanted:
        return float(grid[-1]), False
    if smooth[0] <= wanted:
        return float(grid[0]), False
    after = int(np.argmax(smooth <= wanted))
    share = (smooth[after - 1] - wanted) / (smooth[after - 1] - smooth[after])
    low, high = float(grid[after - 1]), float(grid[after])
    return (low + (high - low) * share if linear else low * (high / low) ** share), True


def calibrate(kind, grid, relative):
    """A row of the table: the strengths of both levels, and what the grid said."""
    linear = kind in ("block", *DRAWN_GRIDS)
    found = [crossing(grid, relative, wanted, linear) for wanted in WANTED]
    remarks = []
    if not found[0][1]:
        end = "mildest" if relative[0] <= WANTED[0] else "strongest"
        remarks.append(f"level 0 is the {end}: .85 is not on the grid")
    if not found[1][1]:
        remarks.append(f"level 1 keeps {min(relative):.2f}: .30 is beyond the sensible maximum")
    return {
        "strengths": [value for value, _ in found],
        "grid": [float(x) for x in grid],
        "relative": [round(float(x), 3) for x in relative],
        "remark": "; ".join(remarks),
    }


def measure_levels(networks, parts, images):
    """Rows for all kinds, by name, and the accuracy on clean faces."""
    codes = np.array([CLASSES.index(s.label) for s in parts["valid"]])

    def accuracy(pixels):
        return float((probabilities(networks, pixels).argmax(1) == codes).mean())

    clean, rows = accuracy(images["valid"]), {}
    for kind, grid in GRIDS.items():
        relative = [accuracy(degraded(images["valid"], kind, x, i)) / clean for i, x in enumerate(grid)]
        rows[kind] = calibrate(kind, grid, relative)
    for kind, grid in DRAWN_GRIDS.items():
        rows[kind] = calibrate(kind, grid, [accuracy(images[kind, x]) / clean for x in grid])
    for kind in IMAGE_KINDS:  # what the new table gives, as `degrade` will
        STRENGTHS[kind] = tuple(rows[kind]["strengths"])
        rows[kind]["check"] = [
            round(accuracy(_at_level(images["valid"], kind, level)) / clean, 3) for level in (0, 0.33, 0.66, 1)
        ]
    return clean, rows


def _at_level(images, kind, level):
    return np.stack([degrade(image, kind, level, np.random.default_rng([4, i])) for i, image in enumerate(images)])


# ---- soft labels ----


def stretched(mix, centre, slope):
    """The curve of `second_share` for arrays."""
    start, here, end = (1 / (1 + np.exp(-slope * (x - centre))) for x in (0.0, mix, 1.0))
    return (here - start) / (end - start)


def fit_curve(shares):
    """Centre and slope that come closest to the shares at MIXES, by trying them all; and the largest gap."""
    goal = (shares - shares[0]) / (shares[-1] - shares[0])  # what is wrong at the ends is the network's fault
    centres, slopes = np.arange(0.15, 0.851, 0.01), np.arange(3, 30.1, 0.5)
    tries = [(np.abs(stretched(MIXES, c, k) - goal), c, k) for c in centres for k in slopes]
    gap, centre, slope = min(tries, key=lambda t: float((t[0] ** 2).sum()))
    return float(centre), float(slope), float(gap.max())


def measure_blends(networks, images):
    """For each pair the mean share of the second expression at every mix, and its curve.

    Only faces count whose ends the networks tell apart: of the others a blend says nothing. ``kept`` is their
    share, ``both`` how much of the probability the two expressions have together half-way.
    """
    found = {}
    for first, second in PAIRS:
        p = np.stack([probabilities(networks, images[(first, second), mix]) for mix in MIXES])
        a, b = p[..., CLASSES.index(first)], p[..., CLASSES.index(second)]
        share = b / (a + b)
        clear = (share[0] < 0.5) & (share[-1] > 0.5)
        if not clear.any():
            raise SettingsError(f"The networks cannot tell {first} from {second}: train longer or on more faces.")
        shares = share[:, clear].mean(1)
        centre, slope, gap = fit_curve(shares)
        found[first, second] = {
            "centre": centre, "slope": slope, "gap": gap, "shares": shares.tolist(),
            "kept": float(clear.mean()), "both": float((a + b)[len(MIXES) // 2].mean()),
        }  # fmt: skip
    return found


# ---- report ----


def tell(clean, rows, curves):
    """Print the figures, then the lines to paste."""
    print(f"\naccuracy on clean faces {clean:.3f}; relative accuracy over the grid, and at levels 0, .33, .66, 1")
    for kind, row in rows.items():
        points = " ".join(f"{x:.3g}:{y:.2f}" for x, y in zip(row["grid"], row["relative"], strict=True))
        print(f"{kind:15} {points}  levels {row.get('check', '')} {row['remark']}")
    print("\nSTRENGTHS (and yaw or level for what is decided when drawing)")
    for kind, row in rows.items():
        print(f'    "{kind}": ({row["strengths"][0]:.3g}, {row["strengths"][1]:.3g}),')
    print(
        "\nshare of the second expression over the mixes; what both have together half-way, and the share of faces told"
    )
    print("apart at the ends; largest gap of the curve")
    for (first, second), c in curves.items():
        shares = " ".join(f"{x:.2f}" for x in c["shares"])
        print(f"{first}-{second}: {shares}  both {c['both']:.2f} kept {c['kept']:.2f} gap {c['gap']:.2f}")
    print("\nSOFT_CURVES")
    for (first, second), c in curves.items():
        print(f'    ("{first}", "{second}"): ({c["centre"]:.2f}, {c["slope"]:.1f}),')


def arguments(argv=None):
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=3000, help="clean training faces")
    parser.add_argument(
        "--people", type=int, default=300, help="identities among them; a quarter as many more to measure"
    )
    parser.add_argument("--valid", type=int, default=400, help="faces to measure on")
    parser.add_argument("--blends", type=int, default=80, help="faces for each pair and mix")
    parser.add_argument("--arch", default="small", help="network: small, resnet18, ...")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=2, help="networks whose probabilities are averaged")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--json", help="file to write all figures to")
    return parser.parse_args(argv)


def main(argv=None):
    """Draw, train, measure, print."""
    args = arguments(argv)
    began = time.perf_counter()
    parts = plan(args)
    try:
        images = draw_all(parts, args.workers)  # before torch starts threads, which a forked worker would miss
        print(f"{sum(map(len, parts.values())):,} faces after {time.perf_counter() - began:.0f} s", flush=True)
        networks = trained(face_set(parts, images), args)
        clean, rows = measure_levels(networks, parts, images)
        curves = measure_blends(networks, images)
    except SCNError as error:
        print(error, file=sys.stderr)
        return 1
    tell(clean, rows, curves)
    print(f"\nall of it took {time.perf_counter() - began:.0f} s")
    if args.json:
        named = {f"{first}-{second}": c for (first, second), c in curves.items()}
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"clean": clean, "kinds": rows, "pairs": named}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
