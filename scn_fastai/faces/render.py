"""A face as a picture: `render_face` puts identity, expression, pose, light and what is worn together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np

from scn_fastai.errors import DataError
from scn_fastai.faces.accessories import SHELL_STYLES, Mesh, glasses, lash_mesh, shell_points, solid_mesh
from scn_fastai.faces.expressions import units_vector
from scn_fastai.faces.head_model import EYE, LENS, SKIN, head
from scn_fastai.faces.identity import Identity, landmarks
from scn_fastai.faces.raster import Hits, project, rasterize, rotation, unit, vertex_normals
from scn_fastai.faces.shading import Surface, bump, colours, eye_centres, hair_lift, ramp, under_jaw

SAMPLES = 2  # rays a pixel in each direction
WEARABLE = ("mask", "glasses")
SMALLEST, LARGEST = 16, 1024
GREY = ((0.50, 0.55, 0.60), (0.30, 0.33, 0.38))


@dataclass(frozen=True)
class Pose:
    """How the head is held, in degrees, and where in the picture it is (shift in shares of its width)."""

    yaw: float = 0.0  # positive: towards the picture's right
    pitch: float = 0.0  # positive: looks down
    roll: float = 0.0
    zoom: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Light:
    """A lamp at an angle (degrees), a fill from the other side and light from everywhere; warmth reddens the lamp."""

    azimuth: float = 25.0  # positive: from the picture's right
    elevation: float = 30.0
    key: float = 0.75
    fill: float = 0.25
    ambient: float = 0.38
    warmth: float = 0.0


def random_pose(rng: np.random.Generator) -> Pose:
    """A head held as people hold it for a portrait: turned by up to 20 degrees."""
    yaw, pitch, roll = rng.uniform(-20, 20), rng.uniform(-11, 11), rng.uniform(-7, 7)
    return Pose(yaw, pitch, roll, rng.uniform(0.95, 1.08), rng.normal(0, 0.012), rng.normal(0, 0.012))


def random_light(rng: np.random.Generator) -> Light:
    """Light in which a face can be seen well."""
    azimuth, elevation = rng.uniform(-57, 57), rng.uniform(6, 52)
    key, fill, ambient = rng.uniform(0.55, 0.85), rng.uniform(0.15, 0.35), rng.uniform(0.25, 0.42)
    return Light(azimuth, elevation, key, fill, ambient, rng.normal(0, 0.06))


def random_background(rng: np.random.Generator) -> tuple[tuple, tuple]:
    """Colours of the top and the bottom of the picture, sRGB."""
    top = rng.uniform(0.15, 0.85) + rng.normal(0, 0.05, 3)
    bottom = top * rng.uniform(0.5, 1.1) + rng.normal(0, 0.04, 3)
    return tuple(np.clip(top, 0, 1).tolist()), tuple(np.clip(bottom, 0, 1).tolist())


def render_face(
    identity: Identity,
    units: Mapping[str, float] | np.ndarray,
    pose: Pose = Pose(),  # noqa: B008  (both are immutable)
    light: Light = Light(),  # noqa: B008
    size: int = 64,
    background: tuple[tuple, tuple] | np.ndarray | None = None,
    wear: tuple[str, float] | None = None,
) -> np.ndarray:
    """A face, uint8 ``[size, size, 3]``.

    Args:
        identity: who (see `random_identity`).
        units: what the face does: weights of facial units by name, or a vector ``[52]`` (see `expression_units`).
        pose: how the head is held.
        light: from where it is lit.
        size: width and height in pixels, 16 to 1024.
        background: colours of the top and the bottom, sRGB triples of 0 to 1, or a picture, uint8 ``[size, size, 3]``.
        wear: ``('mask', level)`` or ``('glasses', level)``; at level 1 nothing can be seen through it.

    Raises:
        DataError: a unit or a thing to wear is unknown, a number is not finite or out of range.

    >>> render_face(Identity(), {"jawOpen": 0.8}, size=32).shape
    (32, 32, 3)
    """
    weights = units_vector(units)
    worn = _checked(pose, light, size, wear)
    if isinstance(background, np.ndarray):
        _check_backdrop(background, size)
    side = size * SAMPLES
    points, mesh = _posed_points(identity, weights, worn.get("mask"))
    camera = _Camera(identity, pose, side)
    hits = rasterize(camera.see(points), mesh.triangles, mesh.two_sided, side)
    surface = _surface(hits, points, mesh, camera.turn)
    colour, shine = colours(surface, identity, weights)
    if "mask" in worn:
        _paint_mask(surface, colour, shine, worn["mask"])
    picture = _backdrop(GREY if background is None else background, side)
    picture[hits.pixel] = _lit(surface, colour, shine, light)
    depth = np.full(side * side, -np.inf, np.float32)
    depth[hits.pixel] = hits.depth
    _catch_lights(picture, hits, surface, light)
    _lay_lashes(picture, depth, camera, points, identity, light)
    if "glasses" in worn:
        _lay_glasses(picture, depth, camera, identity, light, worn["glasses"])
    picture = picture.reshape(size, SAMPLES, size, SAMPLES, 3).mean((1, 3))
    return (picture * 255 + 0.5).astype(np.uint8)


def five_points(
    identity: Identity,
    units: Mapping[str, float] | np.ndarray,
    pose: Pose = Pose(),  # noqa: B008
    size: int = 64,
) -> np.ndarray:
    """Where eyes, nose and corners of the mouth lie in the picture of `render_face`, float64 ``[5, 2]`` as x and y.

    Left eye and left corner first, as the picture shows them; 0 is the middle of the first pixel. A point that is
    hidden, as an eye in profile, has its place too.

    >>> five_points(Identity(), {})[:, 0].round().tolist()
    [24.0, 40.0, 32.0, 25.0, 38.0]
    """
    _checked(pose, Light(), size, None)
    posed, _ = _posed_points(identity, units_vector(units), None)
    balls = [posed[rows] for rows in _eyeballs()]
    # The pupil lies in front of the middle of the ball by its radius.
    eyes = [ball.mean(0) + [0, 0, np.ptp(ball[:, 1]) / 2] for ball in balls]
    nose, left, right = posed[list(_nose_and_corners())]
    seen = _Camera(identity, pose, size).see(np.stack([*eyes, nose, left, right]).astype(np.float32))
    return seen[:, :2].astype(np.float64) - 0.5


@cache
def _eyeballs() -> tuple[np.ndarray, np.ndarray]:
    """The vertices of the eye that a picture shows left, and of the other."""
    model = head()
    across = model.vertices[:, 0]
    ball = model.vertex_part == EYE
    return np.flatnonzero(ball & (across < 0)), np.flatnonzero(ball & (across > 0))


@cache
def _nose_and_corners() -> tuple[int, int, int]:
    """The vertices at the tip of the nose and at the corners of the mouth."""
    model = head()
    nose = int(np.argmax(np.where(model.vertex_part == SKIN, model.vertices[:, 2], -np.inf)))
    lips = np.flatnonzero((model.lips > 0.5) & (model.vertex_part == SKIN))
    left = lips[model.vertices[lips, 0].argmin()]
    mirrored = model.vertices[left] * [-1, 1, 1]
    right = lips[np.square(model.vertices[lips] - mirrored).sum(1).argmin()]
    return nose, int(left), int(right)


def _checked(pose: Pose, light: Light, size: int, wear: tuple[str, float] | None) -> dict[str, float]:
    """What is worn, by name, when everything is in order."""
    for name, values in (("pose", pose), ("light", light)):
        if not all(math.isfinite(value) for value in astuple(values)):
            raise DataError(f"The {name} {values} holds a value that is no number: give finite ones.")
    if not SMALLEST <= size <= LARGEST:
        raise DataError(f"A face of {size} pixels cannot be drawn: choose a size from {SMALLEST} to {LARGEST}.")
    if pose.zoom <= 0:
        raise DataError(f"The zoom is {pose.zoom}, but it must be above 0.")
    if wear is None:
        return {}
    name, level = wear
    if name not in WEARABLE:
        raise DataError(f"A face cannot wear {name!r}; there are: {', '.join(WEARABLE)}.")
    if not 0 <= level <= 1:
        raise DataError(f"The level of {name} is {level}, but it must lie between 0 and 1.")
    return {name: float(level)}


def _check_backdrop(picture: np.ndarray, size: int) -> None:
    if picture.dtype != np.uint8 or picture.shape != (size, size, 3):
        raise DataError(
            f"The background must be uint8 of shape [{size}, {size}, 3], got {picture.dtype} {list(picture.shape)}."
        )


class _Camera:
    """Looks at the middle of the neutral face: framing by the expressed one would undo part of the expression."""

    def __init__(self, identity: Identity, pose: Pose, side: int):
        eyes, lips = landmarks(identity.vertices)
        self.turn = rotation(pose.yaw, pose.pitch, pose.roll)
        self.centre = ((eyes + lips) / 2 - [0, 0, 0.55]).astype(np.float32)
        self.scale = side * 0.272 / (eyes[1] - lips[1]) * pose.zoom
        self.middle = (side * (0.5 + pose.shift_x), side * (0.5 + pose.shift_y))
        self.side = side

    def see(self, points: np.ndarray) -> np.ndarray:
        return project(points, self.turn, self.centre, self.scale, self.middle)


def _posed_points(identity: Identity, units: np.ndarray, mask: float | None) -> tuple[np.ndarray, Mesh]:
    """The expressed head with its hair, float32 ``[V, 3]``, and its mesh."""
    model = head()
    index = list(model.indices("unit").values())
    move = model.moved({i: float(w) for i, w in zip(index, units, strict=True) if w > 1e-3})
    if mask is not None:  # cloth hides most of what the mouth does, and gives way to the jaw a little
        move = move * (1 - 0.85 * _mask_area(*model.vertices.T, mask))[:, None]
    points = identity.vertices + move
    shell = identity.hair_style in SHELL_STYLES
    mesh = solid_mesh(shell)
    lift = hair_lift(identity)
    if lift.any():
        bare = solid_mesh(False)
        points = points + vertex_normals(points, bare.triangles, bare.near) * lift[:, None]
    if shell:
        points = np.concatenate([points, shell_points(identity)])
    return points.astype(np.float32), mesh


def _surface(hits: Hits, points: np.ndarray, mesh: Mesh, turn: np.ndarray) -> Surface:
    normals = vertex_normals(points, mesh.triangles, mesh.near)
    corner = mesh.triangles[hits.triangle]
    values = np.concatenate([mesh.attributes, normals], 1)
    seen = sum(hits.weights[:, i, None] * values[corner[:, i]] for i in range(3))
    normal = unit(seen[:, 8:] @ turn.T)
    part = mesh.triangle_part[hits.triangle]
    inside = (normal[:, 2] < 0) & mesh.two_sided[hits.triangle]
    normal[inside] *= -1
    return Surface(*seen[:, :8].T.copy(), part, normal, inside)


def _backdrop(colours_: tuple[tuple, tuple] | np.ndarray, side: int) -> np.ndarray:
    if isinstance(colours_, np.ndarray):
        return colours_.repeat(SAMPLES, 0).repeat(SAMPLES, 1).reshape(-1, 3).astype(np.float32) / 255
    share = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    top, bottom = (np.asarray(c, np.float32) for c in colours_)
    return np.broadcast_to(top * (1 - share) + bottom * share, (side, side, 3)).reshape(-1, 3).copy()


# -- light --------------------------------------------------------------------------------------------------------


def _direction(light: Light) -> np.ndarray:
    azimuth, elevation = np.radians([light.azimuth, light.elevation])
    return np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])


def _lit(s: Surface, colour: np.ndarray, shine: np.ndarray, light: Light) -> np.ndarray:
    """Colours under the lights, sRGB ``[P, 3]``: soft lamp, fill and ambient times occlusion, in linear light."""
    lamp = _direction(light)
    other = unit(np.array([[-lamp[0], 0.1, 0.9]]))[0]
    half = unit((lamp + [0, 0, 1])[None])[0]
    open_ = 0.25 + 0.75 * s.occlusion
    key = np.clip((s.normal @ lamp + 0.25) / 1.25, 0, 1) * (0.5 + 0.5 * s.occlusion) * light.key
    rest = np.clip(s.normal @ other, 0, 1) * open_ * light.fill + open_ * light.ambient
    warm = np.array([1 + light.warmth, 1, 1 - light.warmth])
    linear = colour**2.2 * (key[:, None] * warm + rest[:, None])
    linear += (shine * np.clip(s.normal @ half, 0, 1) ** 18 * light.key)[:, None]
    return np.clip(linear, 0, 1) ** (1 / 2.2)


def _catch_lights(picture: np.ndarray, hits: Hits, s: Surface, light: Light) -> None:
    """The lamp's reflection in each eye: a small bright spot, without which eyes look dead."""
    centres, radius = eye_centres()
    for sign, centre in zip((-1, 1), centres, strict=True):
        rows = np.flatnonzero((s.part == EYE) & (np.sign(s.x) == sign))
        if len(rows) < 6:
            continue
        x = (s.x[rows] - centre[0]) / radius - 0.36 * np.sign(light.azimuth)
        y = (s.y[rows] - centre[1]) / radius - 0.38
        spot = 0.75 * np.exp(-(x * x + y * y) / 0.02)
        pixel = hits.pixel[rows]
        picture[pixel] += (1 - picture[pixel]) * spot[:, None]


# -- what is worn -------------------------------------------------------------------------------------------------


def _mask_area(x: np.ndarray, y: np.ndarray, z: np.ndarray, level: float) -> np.ndarray:
    """Share of a cloth mask, ``[N]``: at level 0 below the lips, at 0.35 over the mouth, at 1 over the nose."""
    side = np.abs(x)
    upper = np.interp(level, [0, 0.35, 1], [6.52, 6.80, 7.14])
    edge = upper - 0.10 * ramp(0.1, 0.5, side)
    return ramp(0.02, -0.02, y - edge) * ramp(6.0, 6.05, y) * ramp(0.0, 0.1, z - 0.42 - under_jaw(y)) * (side < 0.74)


def _paint_mask(s: Surface, colour: np.ndarray, shine: np.ndarray, level: float) -> None:
    cloth = _mask_area(s.x, s.y, s.z, level) * (s.part == SKIN) * (s.ears < 0.5)
    strap = bump(s.y - 0.25 * (s.side - 0.5), 6.86, 0.018) * (
        (s.side > 0.5) & (s.z > 0.45) & (s.ears < 0.5) & (s.part == SKIN)
    )
    share = np.maximum(cloth, 0.9 * strap * (s.side < 0.78) * ramp(0.35, 0.45, level))
    hidden = (s.part != SKIN) & (s.part != EYE) & (_mask_area(s.x, s.y, s.z, level) > 0.5)
    share[hidden & (s.side < 0.35)] = 1.0  # teeth and tongue lie behind the cloth
    folds = 1 - 0.06 * (np.sin(60 * s.y) > 0.3)
    colour += (np.array([0.72, 0.80, 0.86]) * folds[:, None] - colour) * share[:, None]
    shine *= 1 - share
    s.occlusion[:] = np.maximum(s.occlusion, 0.75 * share)


def _lay(picture: np.ndarray, depth: np.ndarray, hits: Hits, colour: np.ndarray, opacity: np.ndarray) -> None:
    """Lay translucent pixels over the picture where they are nearer than what is there."""
    seen = hits.depth > depth[hits.pixel]
    pixel, share = hits.pixel[seen], opacity[seen, None]
    picture[pixel] = picture[pixel] * (1 - share) + colour[seen] * share


def _lay_lashes(picture, depth, camera: _Camera, points: np.ndarray, identity: Identity, light: Light) -> None:
    triangles = lash_mesh()
    hits = rasterize(camera.see(points), triangles, np.ones(len(triangles), bool), camera.side)
    opacity = np.full(len(hits.pixel), 0.55 - 0.3 * identity.gender, np.float32)
    _lay(picture, depth, hits, np.full((len(opacity), 3), 0.07 * (0.5 + light.key), np.float32), opacity)


def _lay_glasses(picture, depth, camera: _Camera, identity: Identity, light: Light, level: float) -> None:
    points, triangles, part = glasses(identity, level)
    lens = part == LENS
    for rows, opacity in ((lens, 0.06 + 0.93 * level), (~lens, 0.45 + 0.55 * level)):
        hits = rasterize(camera.see(points), triangles[rows], np.ones(int(rows.sum()), bool), camera.side)
        corner = triangles[rows][hits.triangle]
        height = (hits.weights * points[corner, 1]).sum(1) - points[triangles[lens], 1].mean()
        sheen = np.clip(0.05 + 0.35 * height, 0.03, 0.2) * (0.5 + light.key)
        colour = np.repeat(sheen[:, None], 3, 1).astype(np.float32)
        _lay(picture, depth, hits, colour, np.full(len(hits.pixel), opacity, np.float32))
