"""What each face of the data set is: everything about image number i, drawn from a generator of its own.

So any image can be made alone, in any order, by any number of workers, and a larger set begins with the smaller one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from scn_fastai.faces.degrade import IMAGE_KINDS, degrade
from scn_fastai.faces.expressions import CLASSES, blend, random_expression, unit_names
from scn_fastai.faces.identity import PHENOTYPES, Identity, random_identity
from scn_fastai.faces.render import Light, Pose, random_background, random_light, random_pose, render_face
from scn_fastai.faces.soft import mix_of_share, soft_label

RENDER_KINDS = ("mask", "glasses", "profile")
KINDS = ("none", "ambiguous", *IMAGE_KINDS, *RENDER_KINDS)
UNCERTAIN_SHARE = {"train": 0.3, "valid": 0.5, "test": 0.5}
AMBIGUOUS_SHARE = 0.2  # of the uncertain faces; the other kinds share the rest evenly
# The usual partner of an ambiguous face, with the probability CONFUSED_SHARE; the other six share the rest.
CONFUSED = {
    "neutral": "sadness", "happiness": "contempt", "surprise": "fear", "sadness": "neutral", "anger": "disgust",
    "disgust": "anger", "fear": "surprise", "contempt": "happiness",
}  # fmt: skip
CONFUSED_SHARE = 0.6
# Of a mask and of glasses the level of `render_face`, of a profile the yaw in degrees, at level 0 and at level 1.
STRENGTHS = {"mask": (0.0345, 1.0), "glasses": (0.0, 1.0), "profile": (34.4, 75.1)}
# An ambiguous face shows its second class with this share of the calibrated soft label at level 0 and at level 1.
SECOND_SHARE = (0.25, 0.5)
_PERSON, _IMAGE, _DAMAGE = range(3)  # streams of random numbers


def split_of(identity: int) -> str:
    """Eight people of ten train, one validates, one tests; nobody is in two splits.

    >>> [split_of(i) for i in (7, 8, 9)]
    ['train', 'valid', 'test']
    """
    return {8: "valid", 9: "test"}.get(identity % 10, "train")


@lru_cache(maxsize=16)  # the eight faces of a person are made one after the other
def person(identity: int, seed: int = 0) -> Identity:
    """Person number ``identity`` of the set."""
    return random_identity(np.random.default_rng([seed, _PERSON, identity]))


def describe_face(number: int, seed: int = 0) -> dict:
    """The row of the table about image ``number``: eight images a person, one of each expression.

    >>> row = describe_face(11)
    >>> row["identity"], row["label"]
    (1, 'sadness')
    """
    rng = np.random.default_rng([seed, _IMAGE, number])
    identity, label = number // len(CLASSES), CLASSES[number % len(CLASSES)]
    split = split_of(identity)
    kind, level = _uncertainty(rng, split)
    intensity = rng.uniform(0.65, 1.0)
    second, share = _second(rng, label, kind, level)
    mix = mix_of_share(label, second, share) if second else 0.0
    units = _units(rng, label, second, mix, intensity)
    row = {
        "image": f"r{number:06d}", "identity": identity, "split": split, "label": label, "true_label": label,
        "intensity": intensity, "second": second, "mix": mix,
    }  # fmt: skip
    row |= {f"soft_{name}": value for name, value in zip(CLASSES, soft_label(label, second, mix), strict=True)}
    row |= {"uncertainty": kind, "level": level}
    row |= _seen(rng, kind, level)
    row |= _who(person(identity, seed))
    row |= {f"unit_{name}": value for name, value in zip(unit_names(), units.tolist(), strict=True)}
    return row | {"seed": seed}


def draw_face(row: dict, size: int = 64) -> np.ndarray:
    """The image that a row describes, uint8 ``[size, size, 3]``."""
    number, seed, kind, level = int(row["image"][1:]), int(row["seed"]), row["uncertainty"], row["level"]
    rng = np.random.default_rng([seed, _DAMAGE, number])
    pose = Pose(*(row[name] for name in ("yaw", "pitch", "roll", "zoom", "shift_x", "shift_y")))
    light = Light(*(row[f"light_{name}"] for name in ("azimuth", "elevation", "key", "fill", "ambient", "warmth")))
    units = np.array([row[f"unit_{name}"] for name in unit_names()], dtype=np.float32)
    wear = (kind, strength(kind, level)) if kind in ("mask", "glasses") else None
    image = render_face(person(row["identity"], seed), units, pose, light, size, random_background(rng), wear)
    return degrade(image, kind, level, rng) if kind in IMAGE_KINDS else image


def strength(kind: str, level: float) -> float:
    """What a level of 0 to 1 means for a mask, glasses or a profile (see STRENGTHS)."""
    least, most = STRENGTHS[kind]
    return least + (most - least) * level


def _uncertainty(rng: np.random.Generator, split: str) -> tuple[str, float]:
    draw, level = rng.random(), rng.random()
    if draw >= UNCERTAIN_SHARE[split]:
        return "none", math.nan
    if rng.random() < AMBIGUOUS_SHARE:
        return "ambiguous", level
    others = (*IMAGE_KINDS, *RENDER_KINDS)
    return others[rng.integers(len(others))], level


def _second(rng: np.random.Generator, label: str, kind: str, level: float) -> tuple[str, float]:
    """The other expression of an ambiguous face and its share of the soft label; '' and 0 for the others."""
    if kind != "ambiguous":
        return "", 0.0
    low, high = SECOND_SHARE
    if rng.random() < CONFUSED_SHARE:
        return CONFUSED[label], low + (high - low) * level
    others = [name for name in CLASSES if name not in (label, CONFUSED[label])]
    return others[rng.integers(len(others))], low + (high - low) * level


def _units(rng: np.random.Generator, label: str, second: str, mix: float, intensity: float) -> np.ndarray:
    units = random_expression(label, rng, intensity)
    return blend(units, random_expression(second, rng, intensity), mix) if second else units


def _seen(rng: np.random.Generator, kind: str, level: float) -> dict:
    """Pose and light as columns."""
    pose, light = random_pose(rng), random_light(rng)
    yaw = strength("profile", level) * (1 if pose.yaw > 0 else -1) if kind == "profile" else pose.yaw
    columns = vars(pose) | {"yaw": yaw}
    return columns | {f"light_{name}": value for name, value in vars(light).items()}


def _who(identity: Identity) -> dict:
    columns = {"gender": identity.gender, "age": identity.age}
    columns |= {f"phenotype_{name}": share for name, share in zip(PHENOTYPES, identity.phenotype, strict=True)}
    return columns | {"hair_style": identity.hair_style}
