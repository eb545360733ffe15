"""Poor pictures of a face: eight ways to degrade one, each from just noticeable to misleading.

Light is added up where a camera adds it up: blur, motion and exposure work on linear light, noise and JPEG
on the stored values. Lengths are shares of the picture's width and grain has a fixed number of pixels across,
so that a face of 64 and one of 128 pixels look alike.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache
from numbers import Real

import numpy as np
from PIL import Image, ImageDraw

from scn_fastai.errors import DataError, SettingsError

# Strength at level 0 and at level 1: small networks trained on clean faces of 64 pixels keep 85 % and 30 % of their
# accuracy. Measured by `python tools/calibrate_faces.py` (two networks, 400 faces: give or take 2 %).
STRENGTHS: dict[str, tuple[float, float]] = {
    "blur": (0.0101, 0.0214),  # sigma of the Gaussian, share of the width
    "low_resolution": (36.3, 18.4),  # pixels across
    "jpeg": (50, 4),  # quality as Pillow counts it, of a picture 64 pixels across
    "low_light": (0.272, 0.0395),  # exposure: linear light times this
    "over_exposed": (2.09, 7.22),  # exposure: linear light times this
    "noise": (0.0324, 0.113),  # standard deviation of the values 0..1, grain 1/64 of the width
    "motion": (0.031, 0.138),  # length of the streak, share of the width
    "block": (0.109, 0.80),  # covered share of the inner face
}
IMAGE_KINDS = tuple(STRENGTHS)
SMALLEST = 16  # pixels
GRAIN = 64  # pixels across that noise and JPEG know, whatever the size
FULL_WELL = 4000  # electrons that white light sets free in one grain
READ_NOISE = 6  # electrons
BLOOM, BLOOM_WIDTH = 0.06, 0.025  # share of the light above white that spills, and how far (share of the width)
# The inner face in shares of the picture (left, top, right, bottom), from the brows to the lower lip, and
# what a block may hide of it first: the centre and the ratio of width to height.
INNER_FACE = (0.30, 0.28, 0.70, 0.72)
HIDDEN = {"eyes": (0.50, 0.37, 2.2), "mouth": (0.50, 0.64, 1.6), "left": (0.40, 0.5, 0.6), "right": (0.60, 0.5, 0.6)}
HANDS, HAND_SCALE = 0.4, 0.17  # share of blocks that are hands; half the width of a palm, share of the width


def degrade(image: np.ndarray, kind: str, level: float, rng: np.random.Generator) -> np.ndarray:
    """The picture in worse quality, uint8 ``[S, S, 3]``; the same generator state gives the same picture.

    Args:
        image: uint8 ``[S, S, 3]``, S of 16 or more; left as it is.
        kind: one of ``IMAGE_KINDS``.
        level: 0 (mild) to 1 (a network that knows clean faces only keeps 30 % of its accuracy); see ``STRENGTHS``.
        rng: where direction, grain and place come from.

    Raises:
        SettingsError: the kind is unknown, the level is outside 0 to 1, or there is no generator.
        DataError: the image has another type or shape.

    >>> grey = np.full((64, 64, 3), 128, np.uint8)
    >>> int(degrade(grey, "blur", 1.0, np.random.default_rng(0)).max())
    128
    """
    return degrade_by(image, kind, strength_at(kind, level), rng)


def degrade_by(image: np.ndarray, kind: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The same with the strength in the kind's own unit, uint8 ``[S, S, 3]``: what calibrating needs.

    >>> white = np.full((64, 64, 3), 255, np.uint8)
    >>> int(degrade_by(white, "over_exposed", 2.0, np.random.default_rng(0)).min())
    255
    """
    _check_kind(kind)
    _check_image(image)
    if not isinstance(rng, np.random.Generator):
        raise SettingsError(f"degrade needs a generator, not {type(rng).__name__}: give np.random.default_rng(seed).")
    if not (_is_number(strength) and strength > 0):
        raise SettingsError(f"A strength of {strength} makes no sense for {kind}: give a number above 0.")
    values = DEGRADATIONS[kind](image.astype(np.float64) / 255, float(strength), rng)
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def strength_at(kind: str, level: float) -> float:
    """The strength of a level in the kind's own unit: in equal ratios, for the covered share in equal steps.

    Raises:
        SettingsError: the kind is unknown or the level is outside 0 to 1.

    >>> strength_at("block", 1.0) == STRENGTHS["block"][1]
    True
    """
    _check_kind(kind)
    if not (_is_number(level) and 0 <= level <= 1):
        raise SettingsError(f"A level of {level} makes no sense: give a number from 0 (mild) to 1 (strong).")
    mild, strong = STRENGTHS[kind]
    if kind == "block":
        return mild + (strong - mild) * float(level)
    return mild * (strong / mild) ** float(level)


def to_linear(values: np.ndarray) -> np.ndarray:
    """Stored sRGB values 0..1 as amounts of light.

    >>> to_linear(np.array([0.0, 0.5, 1.0])).round(3)
    array([0.   , 0.214, 1.   ])
    """
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)


def to_display(light: np.ndarray) -> np.ndarray:
    """Amounts of light as sRGB values, the inverse of `to_linear`; too little and too much light are cut.

    >>> to_display(np.array([-1.0, 0.214, 7.0])).round(3)
    array([0. , 0.5, 1. ])
    """
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


# ---- the kinds: each from values 0..1 [S, S, 3] to values, which may lie outside 0..1 ----


def _blur(values: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus."""
    return to_display(_smooth(to_linear(values), sigma * len(values)))


def _low_resolution(values: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Far away: few pixels on the face, enlarged again."""
    few, size = max(1, round(pixels)), len(values)
    if few >= size:
        return values
    small = _picture(values).resize((few, few), Image.Resampling.BOX)
    return _values(small.resize((size, size), Image.Resampling.BICUBIC))


def _jpeg(values: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Stored too small: at 64 pixels across, since JPEG's blocks have 8 pixels whatever the picture's size."""
    size, stored = len(values), io.BytesIO()
    picture = _picture(values).resize((GRAIN, GRAIN), Image.Resampling.BICUBIC)
    picture.save(stored, "JPEG", quality=max(1, round(quality)))
    return _values(Image.open(stored).convert("RGB").resize((size, size), Image.Resampling.BICUBIC))


def _low_light(values: np.ndarray, exposure: float, rng: np.random.Generator) -> np.ndarray:
    """Too dark: little light, the shot noise of its few electrons, and the noise of reading them."""
    electrons = to_linear(values) * exposure * FULL_WELL
    noise = np.sqrt(electrons + READ_NOISE**2) * _grain(len(values), rng)
    return to_display((electrons + noise) / FULL_WELL)


def _over_exposed(values: np.ndarray, exposure: float, rng: np.random.Generator) -> np.ndarray:
    """Too bright: what is above white is lost, and some of it spills over its neighbours."""
    light = to_linear(values) * exposure
    spilt = _smooth(np.maximum(light - 1, 0), BLOOM_WIDTH * len(values))
    return to_display(light + BLOOM * spilt)


def _noise(values: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A sensor at high sensitivity: grain of its own in each colour."""
    return values + sigma * _grain(len(values), rng)


def _motion(values: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """The camera moved along a straight line while the shutter was open."""
    streak = _streak(length * len(values), rng.uniform(0, math.pi))
    reach, size = len(streak) // 2, len(values)
    padded = np.pad(to_linear(values), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    light = np.zeros_like(values)
    for down, right in np.argwhere(streak > 0):
        light += streak[down, right] * padded[down : down + size, right : right + size]
    return to_display(light)


def _block(values: np.ndarray, covered: float, rng: np.random.Generator) -> np.ndarray:
    """Something opaque before the eyes, the mouth or one half: a plain or patterned board, or the own hand."""
    size = len(values)
    hidden = HIDDEN[list(HIDDEN)[rng.integers(len(HIDDEN))]]
    if rng.random() < HANDS:
        shape = _hand_before(covered, hidden, size, rng)
        surface = _skin(values, shape, rng)
    else:
        shape = _board_before(covered, hidden, size, rng)
        surface = _board_colours(size, rng)
    return values * (1 - shape[..., None]) + surface * shape[..., None]


DEGRADATIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "blur": _blur,
    "low_resolution": _low_resolution,
    "jpeg": _jpeg,
    "low_light": _low_light,
    "over_exposed": _over_exposed,
    "noise": _noise,
    "motion": _motion,
    "block": _block,
}


# ---- light and grain ----


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing of ``[S, S, 3]`` with edges repeated; sigma in pixels."""
    size, reach = len(values), math.ceil(3 * sigma)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    weights /= weights.sum()
    # Sums of slices instead of a matrix product: BLAS threads cost more than they bring on small pictures.
    for _ in range(2):  # along the first axis, then swap the two
        padded = np.pad(values, ((reach, reach), (0, 0), (0, 0)), mode="edge")
        values = sum(weight * padded[k : k + size] for k, weight in enumerate(weights)).swapaxes(0, 1)
    return values


def _streak(length: float, angle: float) -> np.ndarray:
    """How much light each neighbour sends along a line of so many pixels: odd square array of sum 1."""
    reach = math.ceil(length / 2) + 1
    along = np.linspace(-length / 2, length / 2, 2 * math.ceil(length) + 1)
    down, right = reach + along * math.sin(angle), reach + along * math.cos(angle)
    top, left = np.floor(down).astype(int), np.floor(right).astype(int)
    low, far = down - top, right - left
    streak = np.zeros((2 * reach + 1, 2 * reach + 1))
    for row, column, weight in (
        (top, left, (1 - low) * (1 - far)),
        (top, left + 1, (1 - low) * far),
        (top + 1, left, low * (1 - far)),
        (top + 1, left + 1, low * far),
    ):
        np.add.at(streak, (row, column), weight)
    return streak / streak.sum()


def _grain(size: int, rng: np.random.Generator) -> np.ndarray:
    """Normal noise ``[S, S, 3]`` with 64 grains across; smaller pictures average over grains, as a sensor would."""
    grain = rng.normal(size=(GRAIN, GRAIN, 3))
    if size == GRAIN:
        return grain
    layers = [Image.fromarray(grain[..., k].astype(np.float32)) for k in range(3)]
    resized = np.stack([np.asarray(x.resize((size, size), Image.Resampling.BICUBIC)) for x in layers], axis=-1)
    return resized / resized.std() if size > GRAIN else resized


# ---- what stands before the face ----


def _board_before(
    covered: float, hidden: tuple[float, float, float], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Where a board is that hides this share of the inner face, 0..1 ``[S, S]``."""
    across, down, ratio = hidden
    centre, turn = np.array([across, down]) + rng.normal(0, 0.02, 2), rng.normal(0, 0.15)

    def board(area: float) -> np.ndarray:
        half = np.sqrt([area * ratio, area / ratio]) / 2
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        return _draw([_turned(corners, centre, turn)], size)

    return board(_solve(lambda area: _hidden_share(board(area)), covered, 0, 2))


def _hand_before(covered: float, hidden: tuple[float, float, float], size: int, rng: np.random.Generator) -> np.ndarray:
    """Where a hand is that comes from below or aside and hides this share of the inner face, 0..1 ``[S, S]``."""
    centre = np.array(hidden[:2]) + rng.normal(0, 0.02, 2)
    turn = rng.choice([0.0, 0.7, -0.7]) + rng.normal(0, 0.2)
    wrist = np.array([-math.sin(turn), math.cos(turn)])  # the direction it lies in

    def hand(scale: float, back: float = 0.0) -> np.ndarray:
        return _draw([_turned(part * scale, centre + back * wrist, turn) for part in _hand()], size)

    scale = _solve(lambda scale: _hidden_share(hand(scale)), covered, 0, 1)
    if scale >= HAND_SCALE:
        return hand(scale)
    # A hand of natural size would hide too much there: it does not reach so far.
    return hand(HAND_SCALE, -_solve(lambda far: _hidden_share(hand(HAND_SCALE, -far)), covered, -1, 0))


def _solve(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a growing function reaches a value, by halving."""
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < wanted else (low, middle)
    return (low + high) / 2


def _hidden_share(shape: np.ndarray) -> float:
    """The share of the inner face that a shape ``[S, S]`` hides."""
    return float(_inner(shape).mean())


def _inner(array: np.ndarray) -> np.ndarray:
    left, top, right, bottom = (round(edge * len(array)) for edge in INNER_FACE)
    return array[top:bottom, left:right]


@cache
def _hand() -> tuple[np.ndarray, ...]:
    """Palm, thumb, four fingers and forearm as polygons; the palm is about 2 wide, the wrist lies below."""
    parts = [_oval((0, 0.1), (0.95, 1.0)), _oval((-1.05, -0.1), (0.27, 0.8), -0.6), _oval((0, 4), (0.62, 3.6))]
    for across, length in ((-0.7, 1.0), (-0.24, 1.25), (0.24, 1.2), (0.7, 0.9)):
        parts.append(_oval((across * 1.12, -0.6 - length / 2), (0.21, 0.35 + length / 2), across * 0.15))
    return tuple(parts)


def _oval(centre: tuple[float, float], radii: tuple[float, float], turn: float = 0.0) -> np.ndarray:
    angles = np.linspace(0, 2 * math.pi, 25)[:-1]
    return _turned(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii, np.array(centre), turn)


def _turned(points: np.ndarray, centre: np.ndarray, turn: float) -> np.ndarray:
    turning = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return points @ turning + centre


def _draw(polygons: list[np.ndarray], size: int) -> np.ndarray:
    """Polygons in shares of the picture as 0..1 ``[S, S]`` with smooth edges."""
    fine = 4 * size
    picture = Image.new("L", (fine, fine))
    pen = ImageDraw.Draw(picture)
    for points in polygons:
        pen.polygon([tuple(point) for point in points * fine], fill=255)
    return np.asarray(picture.reduce(4)) / 255


def _skin(values: np.ndarray, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The colours of a hand, ``[S, S, 3]``: those of the face, darker at the edges and between the fingers."""
    colour = np.median(_inner(values).reshape(-1, 3), axis=0) * rng.uniform(0.85, 1.1)
    edge = _smooth(shape[..., None], 0.02 * len(values))
    return colour * (0.45 + 0.6 * edge)


def _board_colours(size: int, rng: np.random.Generator) -> np.ndarray:
    """The colours of a board, 0..1 ``[S, S, 3]``: one, or stripes or checks of two."""
    at = (np.arange(size) + 0.5) / size
    across, down = np.meshgrid(at, at)
    one, two = rng.uniform(0.05, 0.95, (2, 3))
    angle, period, pattern = rng.uniform(0, math.pi), rng.uniform(0.06, 0.14), rng.integers(3)
    along = np.floor((across * math.cos(angle) + down * math.sin(angle)) / period)
    beside = np.floor((down * math.cos(angle) - across * math.sin(angle)) / period)
    second = (np.zeros_like(along), along % 2, (along + beside) % 2)[pattern][..., None]
    return one * (1 - second) + two * second


# ---- pictures and checks ----


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))


def _values(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture) / 255


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _check_kind(kind: str) -> None:
    if not isinstance(kind, str) or kind not in STRENGTHS:
        raise SettingsError(f"There is no way to degrade called {kind!r}: use one of {', '.join(IMAGE_KINDS)}.")


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray):
        raise DataError(f"An image to degrade must be a NumPy array, not {type(image).__name__}: convert it first.")
    square = image.ndim == 3 and image.shape[0] == image.shape[1] and image.shape[2] == 3
    if image.dtype != np.uint8 or not square:
        raise DataError(
            f"An image to degrade must be uint8 of shape [S, S, 3], got {image.dtype} {list(image.shape)}: convert "
            "it first."
        )
    if len(image) < SMALLEST:
        raise DataError(f"An image of {len(image)} pixels is too small to degrade: give {SMALLEST} or more.")
