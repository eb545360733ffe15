"""Expressions as weights of 52 facial units: prototypes, the variety of real ones, and blends of two."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from scn_fastai.errors import DataError
from scn_fastai.faces.head_model import head

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
MOST = 1.8  # units are small movements: an expression exaggerates them, up to here

# Prototypes after EMFACS, in the units' names: a simplification that shows posed, not felt, emotion.
# `*` stands for Left and Right, `1` for one side of the face. Each expression has variants.
PROTOTYPES: dict[str, tuple[dict[str, float], ...]] = {
    "neutral": ({},),
    "happiness": (
        {"mouthSmile*": 1.25, "cheekSquint*": 0.7, "eyeSquint*": 0.35, "mouthUpperUp*": 0.45, "jawOpen": 0.1},
        {"mouthSmile*": 1.2, "cheekSquint*": 0.6, "eyeSquint*": 0.3, "mouthDimple*": 0.3},
        {"mouthSmile*": 1.3, "cheekSquint*": 0.8, "eyeSquint*": 0.4, "jawOpen": 0.35, "mouthUpperUp*": 0.5,
         "mouthLowerDown*": 0.3},
    ),
    "surprise": (
        {"browInnerUp": 1.1, "browOuterUp*": 1.2, "eyeWide*": 1.2, "jawOpen": 0.85, "mouthFunnel": 0.25},
        {"browInnerUp": 1.2, "browOuterUp*": 1.2, "eyeWide*": 1.0, "jawOpen": 0.6, "mouthFunnel": 0.6},
    ),
    "sadness": (
        {"browInnerUp": 1.7, "mouthFrown*": 1.4, "mouthShrugLower": 0.9, "eyeSquint*": 0.3, "eyeBlink*": 0.15,
         "eyeLookDown*": 0.3},
        {"browInnerUp": 1.7, "browDown*": 0.15, "mouthFrown*": 1.5, "mouthRollLower": 0.25, "eyeBlink*": 0.22,
         "eyeLookDown*": 0.4},
    ),
    "anger": (
        {"browDown*": 1.5, "eyeWide*": 0.5, "eyeSquint*": 0.5, "mouthPress*": 1.1, "noseSneer*": 0.5,
         "mouthRollLower": 0.3, "mouthRollUpper": 0.3, "mouthFrown*": 0.4},
        {"browDown*": 1.5, "eyeSquint*": 0.7, "noseSneer*": 0.8, "mouthUpperUp*": 0.5, "mouthLowerDown*": 1.1,
         "mouthStretch*": 0.4, "jawOpen": 0.22, "jawForward": 0.4},
    ),
    "disgust": (
        {"noseSneer*": 1.7, "mouthUpperUp*": 1.1, "browDown*": 0.8, "cheekSquint*": 0.9, "eyeSquint*": 0.8,
         "mouthShrugLower": 0.6, "mouthFrown*": 0.4},
        {"noseSneer*": 1.7, "mouthUpperUp*": 1.2, "browDown*": 0.7, "cheekSquint*": 0.9, "eyeSquint*": 0.9,
         "jawOpen": 0.3, "mouthLowerDown*": 0.5, "tongueOut": 0.25},
    ),
    "fear": (
        {"browInnerUp": 1.4, "browOuterUp*": 0.45, "browDown*": 0.35, "eyeWide*": 1.6, "mouthStretch*": 1.3,
         "jawOpen": 0.28, "mouthLowerDown*": 0.7},
        {"browInnerUp": 1.4, "browOuterUp*": 0.6, "browDown*": 0.3, "eyeWide*": 1.6, "mouthStretch*": 1.2,
         "jawOpen": 0.45, "mouthFrown*": 0.5},
    ),
    "contempt": (
        {"mouthSmile1": 1.05, "mouthDimple1": 1.1, "mouthPress1": 0.6, "eyeSquint1": 0.3, "cheekSquint1": 0.3,
         "browOuterUp1": 0.25},
        {"mouthSmile1": 0.95, "mouthDimple1": 1.2, "mouthUpperUp1": 0.6, "noseSneer1": 0.4, "eyeBlink*": 0.12},
    ),
}  # fmt: skip
# A relaxed face: without it the mesh's own brows and lids look stern.
RELAXED = {"browInnerUp": 0.18, "browOuterUp*": 0.12, "mouthSmile*": 0.06, "eyeWide*": 0.12}
# What a face does besides its expression: half-normal, one draw for both sides (standard deviations).
STRAY = {
    "browInnerUp": 0.13, "browDown*": 0.08, "browOuterUp*": 0.1, "eyeSquint*": 0.1, "eyeWide*": 0.1, "eyeBlink*": 0.06,
    "jawOpen": 0.04, "mouthFrown*": 0.08, "mouthSmile*": 0.08, "mouthPress*": 0.1,
}  # fmt: skip


@cache
def unit_names() -> tuple[str, ...]:
    """The 52 units in their order (``UNITS``)."""
    return tuple(head().indices("unit"))


def __getattr__(name: str):
    if name == "UNITS":
        return unit_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def units_vector(units: Mapping[str, float] | np.ndarray) -> np.ndarray:
    """Unit weights as a float32 vector ``[52]``, from a mapping of names or a vector; checked.

    Raises:
        DataError: a unit is unknown, a weight is no number or lies outside 0 to 1.8.

    >>> units_vector({"jawOpen": 0.5}).sum()
    np.float32(0.5)
    """
    names = unit_names()
    if isinstance(units, Mapping):
        unknown = [name for name in units if name not in names]
        if unknown:
            raise DataError(f"There is no facial unit {unknown[0]!r}; there are: {', '.join(names)}.")
        vector = np.array([units.get(name, 0.0) for name in names], dtype=np.float32)
    else:
        vector = np.asarray(units, dtype=np.float32)
        if vector.shape != (len(names),):
            raise DataError(f"Unit weights must be a vector of {len(names)} numbers, got shape {list(vector.shape)}.")
    wrong = np.flatnonzero(~((vector >= 0) & (vector <= MOST + 1e-4)))
    if len(wrong):
        raise DataError(
            f"The weight of {names[wrong[0]]} is {vector[wrong[0]]:.3g}, but unit weights lie between 0 and {MOST}."
        )
    return np.minimum(vector, MOST)


def check_class(name: str) -> None:
    """Raise one sentence unless there is an expression of that name."""
    if name not in PROTOTYPES:
        raise DataError(f"There is no expression {name!r}; there are: {', '.join(CLASSES)}.")


def expression_units(name: str, variant: int = 0, side: str = "Left", intensity: float = 1.0) -> np.ndarray:
    """The prototype of an expression, float32 ``[52]``, on a relaxed face.

    variant counts round the variants there are; side is that of one-sided units.

    >>> expression_units("surprise")[unit_names().index("jawOpen")]
    np.float32(0.85)
    """
    check_class(name)
    if side not in ("Left", "Right"):
        raise DataError(f"The side of an expression is Left or Right, not {side!r}.")
    variants = PROTOTYPES[name]
    units = {k: v * intensity for k, v in variants[variant % len(variants)].items()}
    return _clip(_spread(units, side) + _spread(RELAXED))


def random_expression(name: str, rng: np.random.Generator, intensity: float = 1.0) -> np.ndarray:
    """An expression as somebody may show it, float32 ``[52]``: a variant, uneven, with stray units besides.

    Each unit varies by 13 % of its weight and by 7 % from side to side; gaze and lids wander.
    """
    check_class(name)
    variants = PROTOTYPES[name]
    chosen = variants[rng.integers(len(variants))]
    side = ("Left", "Right")[rng.integers(2)]
    units = {k: v * intensity * np.clip(rng.normal(1, 0.13), 0.6, 1.4) for k, v in chosen.items()}
    uneven = {k: rng.normal(0, 0.07) for k in units}
    return _clip(_spread(units, side, uneven) + _spread(RELAXED) + _stray(rng))


def blend(a: np.ndarray, b: np.ndarray, mix: float) -> np.ndarray:
    """The units between two expressions, float32 ``[52]``: ``(1 - mix) a + mix b``.

    Raises:
        DataError: mix lies outside 0 to 1, or units are wrong.

    >>> blend(expression_units("neutral"), expression_units("surprise"), 0.5).max() < 1
    np.True_
    """
    if not 0 <= mix <= 1:
        raise DataError(f"The mix of two expressions is {mix}, but it must lie between 0 (the first) and 1.")
    return (1 - np.float32(mix)) * units_vector(a) + np.float32(mix) * units_vector(b)


def _clip(units: np.ndarray) -> np.ndarray:
    return np.clip(units, 0, MOST).astype(np.float32)


def _spread(units: Mapping[str, float], side: str = "Left", uneven: Mapping[str, float] | None = None) -> np.ndarray:
    """Weights of names with `*` or `1` as a vector over all units."""
    vector, index = np.zeros(len(unit_names())), {name: i for i, name in enumerate(unit_names())}
    for name, weight in units.items():
        lean = 0.0 if uneven is None else uneven[name]
        if name.endswith("*"):
            vector[index[name[:-1] + "Left"]] += weight * (1 + lean)
            vector[index[name[:-1] + "Right"]] += weight * (1 - lean)
        else:
            vector[index[name[:-1] + side if name.endswith("1") else name]] += weight
    return vector


def _stray(rng: np.random.Generator) -> np.ndarray:
    units = {name: abs(rng.normal(0, spread)) for name, spread in STRAY.items()}
    across, up = rng.normal(0, 0.2), rng.normal(0, 0.15)
    gaze = ("eyeLookInLeft", "eyeLookOutRight") if across > 0 else ("eyeLookOutLeft", "eyeLookInRight")
    return _spread(units | dict.fromkeys(gaze, abs(across)) | {"eyeLookUp*" if up > 0 else "eyeLookDown*": abs(up)})
