"""What is put on a head: long hair, glasses. Meshes of their own, so that they hold in every pose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from scn_fastai.faces.head_model import EYE, FRAME, HAIR, LASH, LENS, SKIN, head, rigid_fit
from scn_fastai.faces.identity import Identity
from scn_fastai.faces.raster import Neighbours, neighbours

SHELL_STYLES = ("bob", "long")
_AROUND, _DOWN = 37, 14  # vertices of the hair shell: about the head, from crown to tip
_CENTRE_Z = 0.45
_OUTLINE = 22  # vertices of a spectacle rim


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles and what belongs to their vertices; the points themselves move."""

    triangles: np.ndarray  # int64 [T, 3]
    triangle_part: np.ndarray  # uint8 [T]
    attributes: np.ndarray  # float32 [V, 8], as Head.attributes
    near: Neighbours
    two_sided: np.ndarray  # bool [T]


@cache
def solid_mesh(shell: bool) -> Mesh:
    """The head without lashes (they are translucent) and, with ``shell``, long hair behind it."""
    model = head()
    keep = model.triangle_part != LASH
    triangles, part, attributes = model.triangles[keep], model.triangle_part[keep], model.attributes
    if shell:
        base = _shell_points(0.5, "long")
        triangles = np.concatenate([triangles, _grid_triangles() + len(attributes)])
        part = np.concatenate([part, np.full(len(triangles) - len(part), HAIR, np.uint8)])
        occlusion = np.interp(base[:, 1], [5.0, 7.6], [0.62, 0.95])
        more = np.column_stack([base, np.zeros((len(base), 4)), occlusion]).astype(np.float32)
        attributes = np.concatenate([attributes, more])
    # Lash vertices have no triangle here; neighbours() needs one for each, so they borrow the first.
    unused = np.setdiff1d(np.arange(len(attributes)), triangles)
    borrowed = np.column_stack([unused, np.zeros((len(unused), 2), np.int64)])
    near = neighbours(np.concatenate([triangles, borrowed]), len(attributes))
    near = Neighbours(np.minimum(near.triangle, len(triangles) - 1), near.start)
    return Mesh(triangles, part, attributes, near, part == HAIR)


@cache
def lash_mesh() -> np.ndarray:
    """Triangles of the upper lashes, int64 ``[T, 3]``; lower ones read as eyeliner in small pictures."""
    model = head()
    triangles = model.triangles[model.triangle_part == LASH]
    return triangles[model.vertices[triangles, 1].mean(1) > 7.27]


def shell_points(identity: Identity) -> np.ndarray:
    """Long hair for this head, float32 ``[S, 3]``, in the order of `solid_mesh`'s last vertices."""
    model = head()
    scalp = (model.vertex_part == SKIN) & (model.vertices[:, 1] > 7.0) & (model.ears < 0.3)
    scale, shift = rigid_fit(model.vertices[scalp], identity.vertices[scalp])
    points = _shell_points(identity.hair_length, identity.hair_style, identity.volume, identity.phase)
    return (points * scale + shift).astype(np.float32)


def _shell_points(length: float, style: str, volume: float = 0.1, phase: tuple = (0, 1, 2, 3)) -> np.ndarray:
    """A curtain about the head of the base mesh: it leaves the scalp near the crown and falls open in front."""
    tip = 6.25 + 0.25 * (1 - length) if style == "bob" else 5.75 - 0.6 * length
    angle = np.linspace(-1, 1, _AROUND)[None, :]
    down = np.linspace(0, 1, _DOWN)[:, None] ** 0.9
    uneven = 0.06 * np.sin(9 * angle + phase[0]) + 0.04 * np.sin(17 * angle + phase[1])
    y = 8.22 + (tip + uneven - 8.22) * down
    opening = np.interp(y, [5.5, 6.4, 7.2, 7.7, 8.2], [62, 55, 62, 60, 52])
    turn = np.radians(180 - (180 - opening) * np.abs(angle)) * np.sign(angle + 1e-9)
    wide = np.interp(y, [5.0, 6.0, 6.9, 7.5, 7.95, 8.22], [0.88, 0.84, 0.91, 0.88, 0.74, 0.40])
    deep = np.interp(y, [5.0, 6.0, 6.9, 7.5, 7.95, 8.22], [0.70, 0.74, 0.86, 0.88, 0.74, 0.40])
    full = 1 + (0.35 * volume + 0.04) * np.interp(down, [0, 0.25, 1], [0, 1, 1])
    strands = 1 + 0.018 * np.sin(23 * angle + phase[2]) + 0.012 * np.sin(41 * angle + phase[3] + 3 * down)
    reach = full * strands
    return np.stack([np.sin(turn) * wide * reach, y + 0 * turn, _CENTRE_Z + np.cos(turn) * deep * reach], 2).reshape(
        -1, 3
    )


@cache
def _grid_triangles() -> np.ndarray:
    corner = (np.arange(_DOWN - 1)[:, None] * _AROUND + np.arange(_AROUND - 1)).ravel()
    one = np.stack([corner, corner + 1, corner + _AROUND], 1)
    two = np.stack([corner + 1, corner + _AROUND + 1, corner + _AROUND], 1)
    return np.concatenate([one, two])


def glasses(identity: Identity, level: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectacles that stand before this face: points ``[G, 3]``, triangles ``[T, 3]``, part of each (FRAME or LENS).

    From thin ones that leave the brows free (level 0) to large ones that cover them (level 1).
    """
    model, points = head(), identity.vertices
    strips: list[tuple[np.ndarray, np.ndarray, int]] = []
    eye = points[model.vertex_part == EYE]
    across = float(eye[eye[:, 0] > 0][:, 0].mean())
    height = float(eye[:, 1].mean()) - 0.02 + 0.03 * level
    near = (
        (np.abs(np.abs(points[:, 0]) - across) < 0.24)
        & (np.abs(points[:, 1] - height) < 0.17)
        & (model.vertex_part == SKIN)
    )
    front = float(points[near, 2].max()) + 0.035
    ear = points[(model.ears > 0.5) & (points[:, 0] > 0)]
    angle = np.linspace(0, 2 * np.pi, _OUTLINE, endpoint=False)
    square = lambda a: np.sign(a) * np.abs(a) ** 0.72  # noqa: E731  (between an ellipse and a rectangle)
    for sign in (-1, 1):
        wide, high = 0.235 + 0.05 * level, 0.155 + 0.08 * level
        outline = np.stack([wide * square(np.cos(angle)), high * square(np.sin(angle))], 1)
        rims = [_bent(outline * grow, sign * across, height, front) for grow in (1.0, 1.07 + 0.06 * level)]
        strips.append((*_ring(rims[0], rims[1]), FRAME))
        back = rims[1] - [0, 0, 0.06]
        strips.append((*_ring(rims[1], back), FRAME))
        strips.append((*_fan(rims[0]), LENS))
        hinge = rims[1][np.argmax(sign * rims[1][:, 0])] + [0, 0.04, 0]
        behind = np.array([sign * (ear[:, 0].mean() + 0.02), ear[:, 1].max() - 0.08, ear[:, 2].mean()])
        strips.append((*_bar(hinge, behind, 0.03), FRAME))
    bridge = [np.array([s * (across - 0.24), height + 0.05, front + 0.01]) for s in (-1, 1)]
    strips.append((*_bar(bridge[0], bridge[1], 0.026), FRAME))
    return _joined(strips)


def _bent(outline: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    """A flat outline set before an eye and bent back towards the temple."""
    place = np.column_stack([outline[:, 0] + x, outline[:, 1] + y, np.zeros(len(outline))])
    place[:, 2] = z - 0.16 * np.clip(np.abs(place[:, 0]) - 0.12, 0, None) ** 2 / 0.25
    return place


def _ring(inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(inner)
    here, there = np.arange(n), (np.arange(n) + 1) % n
    one, two = np.stack([here, here + n, there], 1), np.stack([there, here + n, there + n], 1)
    return np.concatenate([inner, outer]), np.concatenate([one, two])


def _fan(rim: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(rim)
    here = np.arange(n)
    return np.concatenate([rim, rim.mean(0, keepdims=True)]), np.stack([here, (here + 1) % n, np.full(n, n)], 1)


def _bar(start: np.ndarray, end: np.ndarray, half: float) -> tuple[np.ndarray, np.ndarray]:
    up = np.array([0, half, 0])
    return np.stack([start - up, start + up, end - up, end + up]), np.array([[0, 1, 2], [1, 3, 2]])


def _joined(strips: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    points, triangles, part, offset = [], [], [], 0
    for where, corners, kind in strips:
        points.append(where)
        triangles.append(corners + offset)
        part.append(np.full(len(corners), kind, np.uint8))
        offset += len(where)
    return np.concatenate(points).astype(np.float32), np.concatenate(triangles), np.concatenate(part)
