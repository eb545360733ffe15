"""Colour of a face: every pixel knows its place on the base mesh, and skin, brows, lips or hair are functions of it.

So there are no textures and no seams, and what is painted sticks to the skin under any expression and pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scn_fastai.faces.expressions import unit_names
from scn_fastai.faces.head_model import EYE, HAIR, SKIN, TEETH, TONGUE, head
from scn_fastai.faces.identity import Identity
from scn_fastai.faces.raster import unit

VOLUME = {"bald": 0.0, "short": 0.035, "volume": 0.07, "curly": 0.11, "bob": 0.05, "long": 0.04}


@dataclass(eq=False)
class Surface:
    """What is seen, a row a pixel. x, y, z are places on the base mesh, not in space."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    lips: np.ndarray
    eyelids: np.ndarray
    mouth: np.ndarray
    ears: np.ndarray
    occlusion: np.ndarray
    part: np.ndarray
    normal: np.ndarray  # [P, 3], in the camera's frame
    inside: np.ndarray  # bool: the far side of hair, which lies in its own shadow

    @property
    def side(self) -> np.ndarray:
        """Distance from the middle of the face."""
        return np.abs(self.x)


def ramp(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` (or the other way round), smooth between.

    >>> ramp(0, 1, np.array([-1, 0.5, 2])).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(value: np.ndarray, middle: float, width: float) -> np.ndarray:
    """A bell of height 1."""
    return np.exp(-(((value - middle) / width) ** 2))


class Weights:
    """Unit weights by name; ``both`` is the mean of left and right."""

    def __init__(self, units: np.ndarray):
        self._by_name = dict(zip(unit_names(), units.tolist(), strict=True))

    def __getitem__(self, name: str) -> float:
        return self._by_name[name]

    def both(self, name: str) -> float:
        """Mean of the two sides."""
        return (self[name + "Left"] + self[name + "Right"]) / 2


def colours(s: Surface, identity: Identity, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour (sRGB, ``[P, 3]``) of every pixel under white light, and how much it shines ``[P]``; mends occlusion."""
    w = Weights(units)
    colour = np.empty((len(s.x), 3), np.float32)
    shine = np.zeros(len(s.x), np.float32)
    skin = np.flatnonzero(s.part == SKIN)
    here = _pick(s, skin)
    colour[skin] = _skin_colours(here, identity, w)
    lips = ramp(0.3, 0.8, here.lips)
    shine[skin] = 0.09 * (1 - 0.8 * _covered(here, identity)) + 0.05 * lips
    _mouth(s, colour, w)
    _hair_shell(s, colour, identity)
    _eyes(s, colour, identity)
    shine[s.part == TEETH] = 0.08
    shine[s.part == HAIR] = 0.05
    return colour, shine


def _pick(s: Surface, rows: np.ndarray) -> Surface:
    return Surface(**{name: values[rows] for name, values in vars(s).items()})


def _mix(colour: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colour + (np.asarray(other, np.float32) - colour) * share[:, None]


# -- skin ---------------------------------------------------------------------------------------------------------


def _skin_colours(s: Surface, identity: Identity, w: Weights) -> np.ndarray:
    tone = np.asarray(identity.skin, np.float32)
    a, b, c, d = identity.phase
    grain = 0.5 * np.sin(23 * s.x + a) * np.sin(19 * s.y + b) + 0.5 * np.sin(41 * s.x + c) * np.sin(37 * s.y + d)
    bright = (1 + 0.018 * grain) * (1 - 0.14 * s.eyelids) * _wrinkles(s, identity, w)
    under_eye = bump(s.side, 0.31, 0.15) * bump(s.y, 7.19, 0.05) * (s.z > 1)
    bright *= 1 - (0.08 + 0.08 * max(0.0, identity.age - 1)) * under_eye
    colour = tone * bright[:, None]
    blush = bump(s.side, 0.42, 0.2) * bump(s.y, 6.98, 0.17) + 0.6 * bump(s.x, 0, 0.12) * bump(s.y, 6.93, 0.12) * (
        s.z > 1.3
    )
    colour += identity.blush * tone.mean() * blush[:, None] * np.array([0.6, -0.5, -0.4], np.float32)
    colour = _beard(colour, s, identity)
    lip = tone * [0.88, 0.62, 0.60] * (1 - identity.lipstick) + np.array([0.62, 0.12, 0.16]) * identity.lipstick
    colour = _mix(colour, lip, 0.85 * ramp(0.3, 0.8, s.lips))
    colour = _mix(colour, np.asarray(identity.brows) * 0.75, 0.9 * _brows(s, identity, w))
    colour = _mix(colour, _strands(s, identity), _hair_cap(s, identity))
    return _mix(colour, identity.clothes, _collar(s))


def _wrinkles(s: Surface, identity: Identity, w: Weights) -> np.ndarray:
    """How much light the folds of an expression leave, ``[P]``: forehead, between the brows, nose, mouth, eyes."""
    light = np.ones(len(s.x), np.float32)
    age = 0.55 + 0.45 * min(1.0, max(0.0, identity.age - 0.3))
    front = np.flatnonzero((s.z > 0.9) & (s.y > 6.5))
    x, y, z, side = s.x[front], s.y[front], s.z[front], s.side[front]
    folds = np.ones(len(front), np.float32)
    brow = (w["browInnerUp"] + w.both("browOuterUp")) / 2
    if brow > 0.3:
        bent = y - 0.05 * np.cos(3 * x)
        lines = sum(bump(bent, at, 0.014) for at in (7.68, 7.765, 7.85)) * ramp(0.55, 0.2, side)
        folds *= 1 - 0.2 * age * min(brow, 1.2) * lines
    frown = w.both("browDown")
    if frown > 0.25:
        lines = bump(side - 0.05 * (y - 7.45), 0.055, 0.014) * ramp(0.13, 0.03, np.abs(y - 7.47))
        folds *= 1 - 0.36 * age * min(frown, 1.2) * lines
    sneer = w.both("noseSneer")
    if sneer > 0.2:
        lines = sum(bump(y + 0.35 * side, at, 0.013) for at in (7.27, 7.33, 7.39)) * ramp(0.13, 0.03, side) * (z > 1.2)
        folds *= 1 - 0.28 * age * min(sneer, 1.2) * lines
    for name, sign in (("Left", 1), ("Right", -1)):
        folds *= _side_folds(sign * x, y, w, name, identity.age, age)
    light[front] = np.maximum(folds, 0.3)
    return light


def _side_folds(x: np.ndarray, y: np.ndarray, w: Weights, side: str, years: float, age: float) -> np.ndarray:
    """Folds of one half: from nose to mouth, at the corner of the mouth, crow's feet."""
    light = np.ones(len(x), np.float32)
    nose = 0.9 * w["mouthSmile" + side] + 0.6 * w["noseSneer" + side] + 0.4 * w["mouthUpperUp" + side]
    nose += 0.5 * w["mouthDimple" + side] + 0.3 * max(0.0, years - 1)
    if nose > 0.2:
        at = 0.155 + 0.185 * np.clip((6.93 - y) / 0.36, 0, 1) ** 0.8
        lines = np.exp(-(((x - at) / 0.022) ** 2)) * ramp(6.56, 6.70, y) * ramp(6.98, 6.90, y)
        light *= 1 - 0.2 * min(nose, 1.2) * lines
    dimple = w["mouthDimple" + side] + 0.35 * w["mouthSmile" + side]
    if dimple > 0.1:
        light *= 1 - 0.3 * min(dimple, 1.2) * bump(x, 0.30, 0.022) * bump(y, 6.62, 0.05)
    crow = 0.6 * w["cheekSquint" + side] + 0.4 * w["eyeSquint" + side]
    if crow > 0.2:
        lines = sum(np.exp(-(((y - 7.27 - slope * (x - 0.45)) / 0.009) ** 2)) for slope in (-0.5, 0, 0.5))
        light *= 1 - 0.18 * age * min(crow, 1.0) * lines * ramp(0.46, 0.50, x) * ramp(0.62, 0.55, x)
    return light


def _brows(s: Surface, identity: Identity, w: Weights) -> np.ndarray:
    """Share of brow hair, ``[P]``. The drawn brow slides a little with the units that move the skin below it."""
    down, outer = w.both("browDown"), (w["browOuterUpRight"], w["browOuterUpLeft"])
    start = 0.125 + 0.022 * min(down, 1.3)
    along = (s.side - start) / (0.53 - start)
    t = np.clip(along, 0, 1)
    middle = (
        7.489 + identity.brow_height + 0.012 * (1 - t) + 0.032 * np.sin(2.3 * t) - 0.035 * np.clip(along - 0.55, 0, 1)
    )
    lift = 0.055 * w["browInnerUp"] * (0.5 if sum(outer) > 1.2 else 1.0)
    middle += lift * (1 - t) ** 1.3 - 0.022 * down * (1 - 0.7 * t) + 0.025 * np.where(s.x > 0, outer[1], outer[0]) * t
    thick = identity.brow_thickness * 1.15 * np.interp(along, [-0.1, 0, 0.2, 0.6, 1, 1.1], [0, 0.55, 1.0, 0.95, 0.4, 0])
    share = ramp(1.15, 0.6, np.abs(s.y - middle) / np.maximum(thick, 1e-3))
    return share * (along > -0.05) * (along < 1.06) * (s.z > 0.7) * (0.95 + 0.05 * np.sin(130 * s.x + 60 * s.y))


def _beard(colour: np.ndarray, s: Surface, identity: Identity) -> np.ndarray:
    if not identity.beard:
        return colour
    edge = np.interp(s.side, [0, 0.3, 0.5, 0.65], [6.55, 6.62, 6.85, 7.2])
    frayed = 0.02 * np.sin(47 * s.x + identity.phase[0]) * np.sin(53 * s.y + identity.phase[1])
    area = ramp(0.10, -0.16, s.y - edge + frayed) * ramp(5.95, 6.15, s.y)
    area += bump(s.y, 6.76, 0.035) * ramp(0.26, 0.18, s.side)
    area = np.clip(area, 0, 1) * ramp(0.0, 0.12, s.z - 0.35 - under_jaw(s.y)) * (s.lips < 0.4) * (s.mouth < 0.5)
    return _mix(colour, identity.brows, 0.85 * identity.beard * area)


def under_jaw(y: np.ndarray) -> np.ndarray:
    """How much farther forward a place must lie at this height to be the jaw and not the neck."""
    return 0.5 * ramp(6.5, 6.15, y)


# -- hair ---------------------------------------------------------------------------------------------------------


def hair_height(x: np.ndarray, y: np.ndarray, z: np.ndarray, raised: float = 0.0) -> np.ndarray:
    """How far above the hairline a place on the base mesh lies; negative on bare skin."""
    around = np.degrees(np.arctan2(np.abs(x), z - 0.35))
    line = np.interp(
        around, [0, 30, 48, 62, 78, 92, 110, 140, 180], [8.02, 8.0, 7.86, 7.62, 7.28, 7.22, 7.02, 6.72, 6.62]
    )
    return y - line - raised * np.interp(around, [0, 60, 90, 180], [1, 1, 0.3, 0])


def hair_lift(identity: Identity) -> np.ndarray:
    """How far hair lifts each vertex off the scalp, ``[V]``."""
    model = head()
    x, y, z = model.vertices.T
    scalp = (model.vertex_part == SKIN) & (model.ears < 0.3)
    thick = VOLUME[identity.hair_style] + (0.6 * identity.volume if identity.hair_style in ("volume", "curly") else 0.0)
    lift = ramp(-0.02, 0.35, hair_height(x, y, z)) * thick * scalp
    if identity.hair_style == "curly":
        a, b, c, _ = identity.phase
        lift *= 1 + 0.18 * np.sin(9 * x + a) * np.sin(8 * y + b) + 0.12 * np.sin(11 * z + c)
    return lift


def _hair_cap(s: Surface, identity: Identity) -> np.ndarray:
    a, b, _, _ = identity.phase
    frayed = 0.008 * np.sin(55 * s.x + a) + 0.01 * np.sin(37 * s.z + b) + 0.008 * np.sin(23 * s.x + 2 * a)
    share = ramp(-0.02, 0.06, hair_height(s.x, s.y, s.z, identity.hairline) + frayed) * (s.ears < 0.35)
    return share * (0.2 if identity.hair_style == "bald" else 1.0)


def _strands(s: Surface, identity: Identity) -> np.ndarray:
    """Hair colour ``[P, 3]`` with strands; curls instead where the hair is curly."""
    a, _, c, d = identity.phase
    if identity.hair_style == "curly":
        light = (
            1 + 0.16 * np.sin(47 * s.x + a) * np.sin(43 * s.y + c) + 0.1 * np.sin(61 * s.z + d) * np.sin(53 * s.y + a)
        )
    else:
        light = 1 + 0.07 * np.sin(38 * s.x + 6 * np.sin(5 * s.y + a)) + 0.05 * np.sin(71 * s.x + 13 * s.z + c)
    return np.asarray(identity.hair, np.float32) * light[:, None].astype(np.float32)


def _hair_shell(s: Surface, colour: np.ndarray, identity: Identity) -> None:
    rows = np.flatnonzero(s.part == HAIR)
    if not len(rows):
        return
    around = np.arctan2(s.x[rows], s.z[rows] - 0.45)
    a, b, c, _ = identity.phase
    light = (
        1
        + 0.09 * np.sin(31 * around + 1.5 * np.sin(2 * s.y[rows] + a))
        + 0.07 * np.sin(67 * around + b + 2 * s.y[rows])
    )
    light *= np.where(s.inside[rows], 0.62, 1.0) * (1 + 0.05 * np.sin(3 * s.y[rows] + c))
    colour[rows] = np.asarray(identity.hair, np.float32) * light[:, None]


def _collar(s: Surface) -> np.ndarray:
    return ramp(5.93, 5.90, s.y + 0.12 * np.cos(2 * s.side) - 0.06)


def _covered(s: Surface, identity: Identity) -> np.ndarray:
    """Share of hair and clothes, which do not shine like skin."""
    return np.clip(_hair_cap(s, identity) + _collar(s), 0, 1)


# -- mouth and eyes -------------------------------------------------------------------------------------------------


def _mouth(s: Surface, colour: np.ndarray, w: Weights) -> None:
    """Inner mouth, teeth and tongue. The baked occlusion is that of a closed mouth: light comes in as it opens."""
    open_ = 1.6 * w["jawOpen"] + 0.5 * w.both("mouthLowerDown") + 0.5 * w.both("mouthUpperUp")
    open_ = min(1.0, open_ + 0.3 * w.both("mouthStretch") + 0.25 * w.both("mouthSmile"))
    inner = (s.part == SKIN) & (s.mouth > 0.5)
    colour[inner] = (0.28, 0.08, 0.08)
    s.occlusion[inner] = 0.25 + 0.25 * open_
    lips = s.lips > 0.3
    s.occlusion[lips] = np.maximum(s.occlusion[lips], 0.62)
    teeth = s.part == TEETH
    colour[teeth] = (0.88, 0.85, 0.79)
    s.occlusion[teeth] = (0.30 + 0.45 * open_) * (1 - 0.85 * ramp(0.11, 0.20, s.side[teeth]))
    tongue = s.part == TONGUE
    colour[tongue] = (0.55, 0.24, 0.24)
    s.occlusion[tongue] = 0.08 + 0.24 * open_


def _eyes(s: Surface, colour: np.ndarray, identity: Identity) -> None:
    """Eyeball, iris with its dark rim, pupil: circles about the axis of each eye."""
    rows = np.flatnonzero(s.part == EYE)
    if not len(rows):
        return
    centre, radius = eye_centres()
    place = np.stack([s.x[rows], s.y[rows], s.z[rows]], 1) - np.where((s.x[rows] > 0)[:, None], centre[1], centre[0])
    towards = unit(place)
    angle = np.arccos(np.clip(towards[:, 2], -1, 1))
    white = np.array([0.82, 0.79, 0.77]) * 0.78 + 0.22 * np.asarray(identity.skin)
    lid_shadow = 1 - 0.3 * ramp(0.05, 0.14, towards[:, 1] * radius)
    eye = np.tile(white, (len(rows), 1)) * lid_shadow[:, None]
    iris = np.asarray(identity.iris) * (0.75 + 0.5 * ramp(0.15, 0.42, angle))[:, None]
    eye = eye + (iris - eye) * ramp(0.50, 0.44, angle)[:, None]
    eye *= 1 - 0.55 * (ramp(0.52, 0.47, angle) * ramp(0.38, 0.46, angle))[:, None]
    eye = eye + (0.02 - eye) * ramp(0.22, 0.17, angle)[:, None]
    colour[rows] = eye
    s.occlusion[rows] = 0.58
    s.normal[rows] = s.normal[rows] * 0.6 + np.array([0, 0, 0.4])


def eye_centres() -> tuple[np.ndarray, float]:
    """Centres of the right and the left eyeball ``[2, 3]`` on the base mesh, and their radius."""
    model = head()
    ball = model.vertices[model.vertex_part == EYE]
    left, right = ball[ball[:, 0] > 0], ball[ball[:, 0] < 0]
    return np.stack([right.mean(0), left.mean(0)]), float(np.ptp(left[:, 1]) / 2)
