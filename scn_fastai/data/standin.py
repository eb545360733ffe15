"""Simple drawn faces: a stand-in for real or rendered ones, so that everything runs without a download."""

from __future__ import annotations

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFilter

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError

CLASSES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
UNCERTAINTY = ("blur", "dark", "ambiguous")
# What each expression does with the face: inner and outer end of the brows (up is positive), opening of
# the eyes, corners of the mouth (up is positive), opening and width of the mouth, a one-sided corner,
# wrinkles beside the nose.
PARAMETERS = ("brow_in", "brow_out", "eyes", "corners", "open", "width", "one_side", "nose")
EXPRESSIONS = {
    "neutral": (0.0, 0.0, 0.55, 0.0, 0.0, 1.0, 0.0, 0.0),
    "happiness": (0.1, 0.1, 0.4, 1.0, 0.3, 1.25, 0.0, 0.0),
    "surprise": (0.9, 0.9, 1.0, 0.0, 1.0, 0.6, 0.0, 0.0),
    "sadness": (0.7, -0.5, 0.35, -0.8, 0.0, 0.9, 0.0, 0.0),
    "anger": (-1.0, 0.3, 0.6, -0.4, 0.1, 0.85, 0.0, 0.3),
    "disgust": (-0.5, -0.3, 0.2, -0.6, 0.35, 0.9, 0.0, 1.0),
    "fear": (1.0, 0.2, 1.0, -0.5, 0.5, 1.1, 0.0, 0.0),
    "contempt": (0.0, 0.1, 0.45, 0.1, 0.0, 1.0, 1.0, 0.0),
}
_SCALE = 2  # drawn at twice the size and reduced: smooth edges


def standin_faces(n_train: int = 2000, n_valid: int = 500, size: int = 48, seed: int = 0) -> FaceSet:
    """Drawn grey faces with eight expressions, a stand-in until the rendered faces come.

    A quarter of the training faces are made uncertain; `uncertainty` says how: blur, dark or ambiguous
    (between two expressions), none otherwise. `label` and `true_label` agree: add wrong labels with
    `flip_labels`. Same seed, same faces.
    """
    if n_train < 1 or n_valid < 1 or size < 16:
        raise DataError("Stand-in faces need n_train and n_valid of 1 or more and a size of 16 pixels or more.")
    rng = np.random.default_rng(seed)
    split = np.repeat(["train", "valid"], [n_train, n_valid])
    codes = np.concatenate([rng.permutation(np.arange(n) % len(CLASSES)) for n in (n_train, n_valid)])
    uncertainty = np.full(n_train + n_valid, "none", dtype=object)
    chosen = rng.permutation(n_train)[: round(n_train / 4)]
    uncertainty[chosen] = np.array(UNCERTAINTY, dtype=object)[np.arange(len(chosen)) % 3]
    images = np.stack([draw_face(code, size, rng, how) for code, how in zip(codes, uncertainty, strict=True)])
    labels = np.array(CLASSES)[codes]
    table = pd.DataFrame({"image": [f"standin{i:06d}" for i in range(len(codes))], "split": split,
                          "label": labels, "true_label": labels, "uncertainty": uncertainty})  # fmt: skip
    account = ReadAccount("stand-in faces", len(table))
    account.notes.append("drawn by a few lines of code: a stand-in until the rendered faces come, not data")
    account.notes.append(f"{len(chosen):,} training faces are made uncertain (blurred, dark or ambiguous)")
    return FaceSet(table, CLASSES, images, account)


def draw_face(code: int, size: int, rng: np.random.Generator, uncertainty: str = "none") -> np.ndarray:
    """One face of expression number `code`, uint8 [size, size]; identity, pose and light come from `rng`."""
    face = _expression(code, rng, uncertainty)
    tones = _tones(rng)
    side = size * _SCALE
    image = Image.new("L", (side, side), tones["ground"])
    pen = ImageDraw.Draw(image)
    at = _frame(side, rng)
    _head(pen, at, tones, rng)
    _brows_and_eyes(pen, at, face, tones, side)
    _nose_and_mouth(pen, at, face, tones, side)
    image = image.resize((size, size), Image.Resampling.BOX)
    if uncertainty == "blur":
        image = image.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.045, 0.07)))
    return _light(np.asarray(image, dtype=np.float32), rng, uncertainty == "dark")


def _expression(code: int, rng: np.random.Generator, uncertainty: str) -> dict[str, float]:
    """Parameters of one face: more or less of its expression, plus what differs between people."""
    values = np.array([EXPRESSIONS[name] for name in CLASSES])
    strength = rng.uniform(0.38, 1.1)
    if uncertainty == "ambiguous":
        other = (code + rng.integers(1, len(CLASSES))) % len(CLASSES)
        share = rng.uniform(0.35, 0.5)
        target = (1 - share) * values[code] + share * values[other]
    else:
        target = values[code]
    mixed = values[0] + strength * (target - values[0]) + rng.normal(0, 0.15, len(PARAMETERS))
    face = dict(zip(PARAMETERS, mixed.tolist(), strict=True))
    face["side"] = rng.choice([-1, 1])
    return face


def _tones(rng: np.random.Generator) -> dict[str, int]:
    skin = rng.uniform(140, 215)
    hair = rng.uniform(20, 0.75 * skin)
    return {
        "ground": int(rng.uniform(60, 200)), "skin": int(skin), "hair": int(hair),
        "line": int(skin * rng.uniform(0.15, 0.35)), "shade": int(skin * rng.uniform(0.7, 0.85)),
    }  # fmt: skip


def _frame(side: int, rng: np.random.Generator):
    """A function from face coordinates (about -1..1) to pixels: place, size, tilt and turn of the head."""
    angle, scale = rng.normal(0, 0.06), side * rng.uniform(0.4, 0.46)
    centre = side / 2 + rng.normal(0, side * 0.015, 2)
    stretch, turn = rng.uniform(0.92, 1.06), rng.normal(0, 0.05)
    cos, sin = np.cos(angle), np.sin(angle)

    def at(*points: tuple[float, float]) -> list[tuple[float, float]]:
        placed = []
        for x, y in points:
            x = (x + turn * (1 - x * x)) * stretch
            placed.append((centre[0] + scale * (cos * x - sin * y), centre[1] + scale * (sin * x + cos * y)))
        return placed

    return at


def _oval(x: float, y: float, rx: float, ry: float, n: int = 20) -> list[tuple[float, float]]:
    turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
    return list(zip((x + rx * np.cos(turn)).tolist(), (y + ry * np.sin(turn)).tolist(), strict=True))


def _head(pen: ImageDraw.ImageDraw, at, tones: dict, rng: np.random.Generator) -> None:
    jaw, hairline = rng.uniform(1.02, 1.2), rng.uniform(-0.75, -0.55)
    pen.polygon(at(*_oval(0, -0.12, 0.95, 1.1)), fill=tones["hair"])
    pen.polygon(at(*_oval(0, 0.05, 0.82, jaw)), fill=tones["skin"])
    fringe = [(-0.8, hairline), (0.8, hairline + rng.normal(0, 0.08)), (0.5, -1.15), (-0.5, -1.15)]
    pen.polygon(at(*fringe), fill=tones["hair"])


def _brows_and_eyes(pen: ImageDraw.ImageDraw, at, face: dict, tones: dict, side: int) -> None:
    width = max(1, round(side * 0.045))
    for sign in (-1, 1):
        lift_in, lift_out = 0.18 * face["brow_in"], 0.18 * face["brow_out"]
        brow = at((0.16 * sign, -0.4 - lift_in), (0.38 * sign, -0.45 - (lift_in + lift_out) / 2),
                  (0.6 * sign, -0.4 - lift_out))  # fmt: skip
        pen.line(brow, fill=tones["line"], width=width, joint="curve")
        height = max(0.025, 0.17 * face["eyes"])
        pen.polygon(at(*_oval(0.37 * sign, -0.17, 0.17, height, 12)), fill=240)
        iris = min(0.09, height)
        pen.polygon(at(*_oval(0.37 * sign, -0.17, 0.08, iris, 10)), fill=15)


def _nose_and_mouth(pen: ImageDraw.ImageDraw, at, face: dict, tones: dict, side: int) -> None:
    thin, thick = max(1, round(side * 0.02)), max(1, round(side * 0.04))
    pen.line(at((0.02, -0.05), (0.1, 0.25), (-0.06, 0.27)), fill=tones["shade"], width=thin)
    if face["nose"] > 0.15:
        for sign in (-1, 1):
            fold = at((0.13 * sign, 0.08), (0.3 * sign, 0.32))
            pen.line(fold, fill=tones["line"], width=max(1, round(thin * 1.5 * face["nose"])))
    half, gap = 0.36 * face["width"], max(0.0, 0.3 * face["open"])
    x = np.linspace(-1, 1, 9)
    bend = -0.22 * face["corners"] * x**2
    bend = bend - 0.26 * face["one_side"] * np.clip(x * face["side"], 0, 1) ** 1.5
    middle = 0.58 + 0.08 * face["corners"]
    upper = list(zip(half * x, middle + bend - gap * 0.5 * (1 - x**2), strict=True))
    lower = list(zip(half * x, middle + bend + gap * (1 - x**2), strict=True))
    if gap > 0.03:
        pen.polygon(at(*upper, *lower[::-1]), fill=25)
    pen.line(at(*upper), fill=tones["line"], width=thick, joint="curve")
    pen.line(at(*lower), fill=tones["line"], width=thick, joint="curve")


def _light(image: np.ndarray, rng: np.random.Generator, dark: bool) -> np.ndarray:
    """Light from a side, contrast and the grain of the camera; a dark face keeps little contrast."""
    side = len(image)
    ramp = np.linspace(-1, 1, side, dtype=np.float32)
    slope = rng.normal(0, 0.12, 2)
    image = image * (rng.uniform(0.8, 1.1) + slope[0] * ramp + slope[1] * ramp[:, None])
    if dark:
        image = image * rng.uniform(0.08, 0.18) + rng.uniform(0, 15)
    image = image + rng.normal(0, rng.uniform(2, 9), image.shape).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)
