"""A face as one description: who, which expression, how seen, how poor. What a widget and its twins draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from scn_fastai.errors import DataError, SCNError, SettingsError
from scn_fastai.faces.degrade import IMAGE_KINDS, degrade
from scn_fastai.faces.expressions import CLASSES, MOST, blend, check_class, expression_units, unit_names
from scn_fastai.faces.identity import Identity
from scn_fastai.faces.plan import person, strength
from scn_fastai.faces.render import WEARABLE, Light, Pose, render_face

KINDS = ("none", *IMAGE_KINDS, *WEARABLE)
MOST_INTENSITY = 1.5  # 1 is the prototype, more is a caricature
LAST_PERSON = 9999
# The units that are worth a slider, by what they do; AU is their number in Ekman's Facial Action Coding System.
# `*` moves both sides. The correspondence is a rough one: our units are a designer's, not an anatomist's.
UPPER_FACE = {
    "browInnerUp": "inner brows up (AU 1)",
    "browOuterUp*": "outer brows up (AU 2)",
    "browDown*": "brows down (AU 4)",
    "eyeWide*": "eyes wide (AU 5)",
    "cheekSquint*": "cheeks up (AU 6)",
    "eyeSquint*": "lids tight (AU 7)",
    "eyeBlink*": "eyes closed (AU 45)",
    "noseSneer*": "nose wrinkled (AU 9)",
}
LOWER_FACE = {
    "mouthSmile*": "smile (AU 12)",
    "mouthDimple*": "dimples (AU 14)",
    "mouthFrown*": "corners down (AU 15)",
    "mouthUpperUp*": "upper lip up (AU 10)",
    "mouthLowerDown*": "lower lip down (AU 16)",
    "mouthStretch*": "mouth wide (AU 20)",
    "mouthPress*": "lips pressed (AU 24)",
    "jawOpen": "jaw open (AU 26)",
}
UNIT_GROUPS = {"Upper face": UPPER_FACE, "Lower face": LOWER_FACE}


@dataclass(frozen=True)
class FaceState:
    """Everything about one picture of a face. Nothing is checked before it is drawn (`draw`).

    Args:
        person: number of the person, as in the column ``identity`` of the rendered faces.
        first: an expression.
        second: another one.
        mix: share of the second in the blend, 0 to 1.
        intensity: strength of both, 0 (relaxed) to 1.5; 1 is the prototype.
        changes: what is added to the weights of single units, a mapping such as ``{"jawOpen": 0.3}``; a name that
            ends in ``*`` means both sides. Kept as sorted pairs, without zeros.
        pose: how the head is held.
        light: from where it is lit.
        kind: what makes the picture poor, one of ``KINDS``.
        level: how poor, 0 to 1.

    >>> print(FaceState(mix=0.4, kind="blur", level=0.3))
    happiness 0.60 + surprise 0.40, blur 0.30
    """

    person: int = 0
    first: str = "happiness"
    second: str = "surprise"
    mix: float = 0.0
    intensity: float = 1.0
    changes: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    pose: Pose = Pose()
    light: Light = Light()
    kind: str = "none"
    level: float = 0.5

    def __post_init__(self) -> None:
        pairs = sorted((name, amount) for name, amount in dict(self.changes).items() if amount != 0)
        object.__setattr__(self, "changes", tuple(pairs))

    def __str__(self) -> str:
        """What differs from a plain picture, in a line of at most about a hundred letters."""
        parts = [_expression_words(self)]
        parts += [f"strength {_digits(self.intensity)}"] if self.intensity != 1 else []
        few = [f"{name} {_digits(amount, '+.2f')}" for name, amount in self.changes]
        parts += few if len(few) < 2 else [f"{len(few)} units changed"]
        parts += [f"person {self.person}"] if self.person else []
        angles = {name: getattr(self.pose, name) for name in ("yaw", "pitch", "roll")}
        turned = [f"{name} {_digits(angle, '.0f')}" for name, angle in angles.items() if angle != 0]
        only_turned = replace(self.pose, **dict.fromkeys(angles, 0.0)) == Pose()
        parts += turned if len(turned) < 2 and only_turned else ["other pose"]
        parts += ["other light"] if self.light != Light() else []
        parts += [f"{str(self.kind).replace('_', ' ')} {_digits(self.level)}"] if self.kind != "none" else []
        return ", ".join(parts)


def _expression_words(state: FaceState) -> str:
    if state.mix == 0 or state.first == state.second:
        return str(state.first)
    if state.mix == 1:
        return str(state.second)
    rest = 1 - state.mix if isinstance(state.mix, Real) else "?"
    return f"{state.first} {_digits(rest)} + {state.second} {_digits(state.mix)}"


def _digits(value: object, form: str = ".2f") -> str:
    """A number in few digits; a state may hold anything until it is drawn."""
    return format(value, form) if isinstance(value, Real) else str(value)


# -- from one state to the next -------------------------------------------------------------------------------------

_OWN = {field.name for field in fields(FaceState)} - {"changes", "pose", "light"}
_POSE, _LIGHT = ({field.name for field in fields(part)} for part in (Pose, Light))


def value_of(state: FaceState, name: str):
    """A value of a state by the name of a field, of a part of pose or light, or of a unit.

    >>> value_of(FaceState(changes={"jawOpen": 0.3}), "jawOpen"), value_of(FaceState(), "yaw")
    (0.3, 0.0)
    """
    if name in _OWN:
        return getattr(state, name)
    if name in _POSE | _LIGHT:
        return getattr(state.pose if name in _POSE else state.light, name)
    return dict(state.changes).get(name, 0.0)


def with_value(state: FaceState, name: str, value) -> FaceState:
    """The state with one value changed; names as in `value_of`. A float loses what is beyond six digits.

    >>> print(with_value(with_value(FaceState(), "yaw", 20.0), "mouthSmile*", -0.5))
    happiness, mouthSmile* -0.50, yaw 20
    """
    value = round(value, 6) if isinstance(value, float) else value  # sliders say 0.05000000000000004
    if name in _OWN:
        return replace(state, **{name: value})
    if name in _POSE:
        return replace(state, pose=replace(state.pose, **{name: value}))
    if name in _LIGHT:
        return replace(state, light=replace(state.light, **{name: value}))
    return replace(state, changes=dict(state.changes) | {name: value})


def on_step(value: float, least: float, most: float, step: float) -> float:
    """The nearest value that a slider can have; what is no number stays as it is.

    >>> on_step(0.383, 0.0, 1.0, 0.05), on_step(7.0, 0.0, 1.0, 0.05)
    (0.4, 1.0)
    """
    if not (isinstance(value, Real) and math.isfinite(value)):
        return value
    return round(least + round((min(max(value, least), most) - least) / step) * step, 6)


def alike(one, other) -> bool:
    """Whether two values are the same but for the rounding of a slider in a browser.

    >>> alike(0.35, 0.34999999999999987), alike("fear", "anger")
    (True, False)
    """
    if isinstance(one, Real) and isinstance(other, Real):
        return abs(one - other) < 1e-6
    return one == other


def preset(state: FaceState, name: str) -> FaceState:
    """One expression, pure and in full strength, all units as they belong to it; the rest as it was.

    Raises:
        DataError: there is no such expression.

    >>> print(preset(FaceState(mix=0.4, person=3, changes={"jawOpen": 1.0}), "fear"))
    fear, person 3
    """
    check_class(name)
    return replace(state, first=name, mix=0.0, intensity=1.0, changes=())


def somebody_else(state: FaceState) -> FaceState:
    """The next person, doing the same.

    >>> somebody_else(FaceState(person=7)).person
    8
    """
    return replace(state, person=(state.person + 1) % (LAST_PERSON + 1))


# -- from a state to a picture --------------------------------------------------------------------------------------


def draw(state: FaceState, size: int = 128) -> np.ndarray:
    """The picture that a state describes, uint8 ``[size, size, 3]``; the same on every call.

    Raises:
        DataError: an expression or a unit is unknown, or the size is out of range.
        SettingsError: a number is out of range, or there is no such kind of poor picture.

    >>> draw(FaceState(kind="blur"), 32).shape
    (32, 32, 3)
    """
    units = units_of(state)
    if state.kind not in KINDS:
        raise SettingsError(f"There is no kind of poor picture {state.kind!r}; there are: {', '.join(KINDS)}.")
    _check_number("level", state.level, 0, 1)
    for name, value in (vars(state.pose) | vars(state.light)).items():
        _check_number(name, value, -math.inf, math.inf)
    worn = (state.kind, strength(state.kind, state.level)) if state.kind in WEARABLE else None
    image = render_face(_person(_checked_person(state)), units, state.pose, state.light, size, wear=worn)
    if state.kind not in IMAGE_KINDS:
        return image
    # The same grain and the same place whatever else changes: a slider must not make the picture flicker.
    return degrade(image, state.kind, state.level, np.random.default_rng(state.person))


def units_of(state: FaceState) -> np.ndarray:
    """What the face does: the weights of the 52 units, float32 ``[52]``, each from 0 to 1.8.

    Raises:
        DataError: an expression or a unit is unknown.
        SettingsError: a number is out of range.

    >>> bool(units_of(FaceState(first="neutral", changes={"jawOpen": 9.0})).max() == np.float32(1.8))
    True
    """
    _check_number("mix", state.mix, 0, 1)
    _check_number("intensity", state.intensity, 0, MOST_INTENSITY)
    pair = (expression_units(name, intensity=state.intensity) for name in (state.first, state.second))
    units = blend(*pair, state.mix)
    for name, amount in state.changes:
        _check_number(f"change of {name}", amount, -math.inf, math.inf)
        units[_places(name)] += amount
    return np.clip(units, 0, MOST)


def strongest_units(units: np.ndarray, k: int = 3) -> list[tuple[str, float]]:
    """The k units of largest weight, both sides as one, with their weights, rounded.

    >>> weights = np.linspace(0, 0.5, 52) * [name in ("jawOpen", "eyeWideLeft") for name in unit_names()]
    >>> [name for name, weight in strongest_units(weights, 2)]
    ['jawOpen', 'eyeWide*']
    """
    both: dict[str, float] = {}
    for name, weight in zip(unit_names(), np.asarray(units).tolist(), strict=True):
        common = name.removesuffix("Left").removesuffix("Right")
        common = name if common in (name, "jaw", "mouth") else f"{common}*"  # jawLeft is a direction, not a side
        both[common] = max(both.get(common, 0.0), round(weight, 2))
    active = [(name, weight) for name, weight in both.items() if weight > 0]
    return sorted(active, key=lambda item: (-item[1], item[0]))[:k]


def unit_words(name: str) -> str:
    """A unit in words, as far as there are any.

    >>> unit_words("jawOpen"), unit_words("tongueOut")
    ('jaw open', 'tongueOut')
    """
    return (UPPER_FACE | LOWER_FACE).get(name, name).partition(" (")[0]


@lru_cache(maxsize=16)
def _person(number: int) -> Identity:
    """Shaping a head takes as long as a quarter of its picture, so the last few are kept."""
    return person(number)


def _checked_person(state: FaceState) -> int:
    if not (isinstance(state.person, Integral) and 0 <= state.person <= LAST_PERSON):
        raise SettingsError(f"There is no person {state.person!r}: give a whole number from 0 to {LAST_PERSON}.")
    return int(state.person)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if not (isinstance(value, Real) and math.isfinite(value)):
        raise SettingsError(f"The {name} is {value!r}, and that is no number: give a finite one.")
    if not least <= value <= most:
        raise SettingsError(f"The {name} is {value:g}, but it must lie between {least:g} and {most:g}.")


def _places(name: str) -> list[int]:
    """Where a unit stands in the vector, or both sides of it."""
    names = unit_names()
    wanted = [name[:-1] + side for side in ("Left", "Right")] if name.endswith("*") else [name]
    if not set(wanted) <= set(names):
        raise DataError(f"There is no facial unit {name!r}; there are: {', '.join(names)}.")
    return [names.index(unit) for unit in wanted]


# -- what a model says of it ----------------------------------------------------------------------------------------

Predict = Callable[[np.ndarray], "np.ndarray | tuple[np.ndarray, np.ndarray]"]


class View(NamedTuple):
    """A picture and what a model says of it, or the sentences why there is none."""

    image: np.ndarray | None = None  # uint8 [S, S, 3]
    units: tuple[tuple[str, float], ...] = ()  # the strongest, in words
    problem: str = ""  # why there is no picture
    probs: np.ndarray | None = None  # float [C]
    classes: tuple[str, ...] = ()
    alpha: float | None = None
    silence: str = ""  # why the model says nothing


def look(
    state: FaceState, size: int = 128, predict: Predict | None = None, classes: Sequence[str] | None = None
) -> View:
    """Draw a state and ask a model about it. What cannot be done is said in a sentence, not raised.

    >>> look(FaceState(first="joy")).problem[:36]
    "There is no expression 'joy'; there "
    """
    try:
        image, units = draw(state, size), strongest_units(units_of(state))
    except SCNError as error:
        return View(problem=str(error))
    view = View(image, tuple((unit_words(name), weight) for name, weight in units))
    if predict is None:
        return view
    try:
        probs, classes, alpha = ask(predict, image, classes)
    except SCNError as error:
        return view._replace(silence=str(error))
    return view._replace(probs=probs, classes=classes, alpha=alpha)


def ask(
    predict: Predict, image: np.ndarray, classes: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...], float | None]:
    """What a model says of one picture: probabilities ``[C]``, their classes, and alpha if it tells.

    Args:
        predict: takes uint8 ``[k, S, S, 3]``; returns probabilities ``[k, C]``, or a pair of those and alpha ``[k]``.
        image: uint8 ``[S, S, 3]``.
        classes: names of the C classes; None takes ``predict.classes``.

    Raises:
        DataError: the model fails, does not name its classes, knows none of our expressions, or returns no
            probabilities of its classes.

    >>> ask(lambda images: [[0.25, 0.75]], np.zeros((32, 32, 3), np.uint8), ["anger", "fear"])
    (array([0.25, 0.75]), ('anger', 'fear'), None)
    """
    classes = _checked_classes(getattr(predict, "classes", None) if classes is None else classes)
    try:
        said = predict(image[None])
        probs, alpha = said if isinstance(said, tuple) else (said, None)
        probs = np.asarray(probs, dtype=float)
        alpha = None if alpha is None else float(np.asarray(alpha, dtype=float).ravel()[0])
    except Exception as error:  # a model is foreign code: whatever it raises, the picture stays
        reason = (str(error).splitlines() or [""])[0].rstrip(". ")
        said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise DataError(f"The model could not look at this face ({said}): call it yourself to see more.") from error
    if probs.shape != (1, len(classes)):
        raise DataError(
            f"The model returned shape {list(probs.shape)} for one face, but it names {len(classes)} classes: it "
            f"must return probabilities [k, {len(classes)}]."
        )
    if not (np.isfinite(probs).all() and (probs >= -1e-4).all() and abs(probs.sum() - 1) < 1e-2):
        raise DataError("The model returned numbers that are no probabilities (0 to 1, sum 1): apply softmax to them.")
    return probs[0], classes, alpha


def _checked_classes(classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is None:
        raise DataError("The model does not name its classes: give them as classes=[...].")
    names = tuple(str(name) for name in classes)
    if not set(names) & set(CLASSES):
        raise DataError(
            f"The model tells {', '.join(names[:4])}{', ...' if len(names) > 4 else ''} apart, and none of these is "
            f"an expression: give one that knows some of {', '.join(CLASSES)}."
        )
    return names
