"""From triangles to pixels: rotation, perspective, normals and a z-buffer, all in numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DISTANCE = 9.0  # of the camera from the face, in decimetres times ten: a portrait lens


class Hits(NamedTuple):
    """The nearest triangle of each covered pixel; P pixels."""

    pixel: np.ndarray  # int64 [P], row * width + column, ascending
    triangle: np.ndarray  # int64 [P]
    weights: np.ndarray  # float32 [P, 3], barycentric
    depth: np.ndarray  # float32 [P], larger is nearer


class Neighbours(NamedTuple):
    """Which triangles meet at each vertex, flat: faces[start[v] : start[v + 1]]."""

    triangle: np.ndarray
    start: np.ndarray


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix ``[3, 3]`` of a head pose in degrees: yaw about y, then pitch about x, then roll about z.

    >>> rotation(90, 0, 0).round(3).tolist()
    [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]
    """
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def project(points: np.ndarray, turn: np.ndarray, centre: np.ndarray, scale: float, middle: tuple) -> np.ndarray:
    """Perspective view of points ``[N, 3]``: columns, rows and depth ``[N, 3]``, in pixels (depth in lengths)."""
    seen = (points - centre) @ turn.T
    near = DISTANCE / (DISTANCE - seen[:, 2]) * scale
    return np.stack([middle[0] + seen[:, 0] * near, middle[1] - seen[:, 1] * near, seen[:, 2]], 1)


def neighbours(triangles: np.ndarray, n_vertices: int) -> Neighbours:
    """The triangles at every vertex; every vertex must belong to one."""
    corner = triangles.ravel()
    order = np.argsort(corner, kind="stable")
    return Neighbours(order // 3, np.searchsorted(corner[order], np.arange(n_vertices)))


def vertex_normals(points: np.ndarray, triangles: np.ndarray, near: Neighbours) -> np.ndarray:
    """Unit normals ``[V, 3]``: the mean over the triangles at a vertex, large ones counting more."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    u, v = b - a, c - a
    cross = np.empty_like(u)  # np.cross is three times slower
    cross[:, 0] = u[:, 1] * v[:, 2] - u[:, 2] * v[:, 1]
    cross[:, 1] = u[:, 2] * v[:, 0] - u[:, 0] * v[:, 2]
    cross[:, 2] = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return unit(np.add.reduceat(cross[near.triangle], near.start, axis=0))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors ``[N, 3]`` of length 1 (or 0)."""
    return vectors / (np.sqrt((vectors * vectors).sum(1, keepdims=True)) + 1e-9)


def rasterize(view: np.ndarray, triangles: np.ndarray, two_sided: np.ndarray, side: int) -> Hits:
    """Which triangle each pixel of a square picture sees.

    All candidate pixels of all triangles lie in one flat array; the nearest wins by a maximum over keys that hold
    depth above position, so there is no loop over triangles.

    Args:
        view: float ``[V, 3]``, columns, rows, depth (see `project`).
        triangles: int ``[T, 3]``.
        two_sided: bool ``[T]``; other triangles are seen from the front only.
        side: width and height in pixels.
    """
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (view[triangles[:, i]].T for i in range(3))
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    left = np.maximum(np.ceil(np.minimum(np.minimum(ax, bx), cx) - 0.5), 0).astype(np.int64)
    right = np.minimum(np.floor(np.maximum(np.maximum(ax, bx), cx) - 0.5), side - 1).astype(np.int64)
    top = np.maximum(np.ceil(np.minimum(np.minimum(ay, by), cy) - 0.5), 0).astype(np.int64)
    bottom = np.minimum(np.floor(np.maximum(np.maximum(ay, by), cy) - 0.5), side - 1).astype(np.int64)
    wide, high = right - left + 1, bottom - top + 1
    facing = (area < -1e-9) | (two_sided & (area > 1e-9))
    drawn = np.flatnonzero(facing & (wide > 0) & (high > 0))

    count = (wide * high)[drawn]
    which = np.repeat(drawn, count)
    place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    row, column = np.divmod(place, wide[which])
    column, row = column + left[which], row + top[which]
    px, py = (column + 0.5).astype(np.float32), (row + 0.5).astype(np.float32)
    dax, day = ax[which] - px, ay[which] - py
    dbx, dby = bx[which] - px, by[which] - py
    dcx, dcy = cx[which] - px, cy[which] - py
    whole = 1 / area[which]
    wa, wb = (dbx * dcy - dby * dcx) * whole, (dcx * day - dcy * dax) * whole
    wc = 1 - wa - wb
    inside = np.flatnonzero((wa >= -1e-6) & (wb >= -1e-6) & (wc >= -1e-6))
    which, wa, wb, wc = which[inside], wa[inside], wb[inside], wc[inside]
    depth = wa * az[which] + wb * bz[which] + wc * cz[which]
    pixel = row[inside] * side + column[inside]
    return _nearest(pixel, which, np.stack([wa, wb, wc], 1), depth, side)


def _nearest(pixel: np.ndarray, which: np.ndarray, weights: np.ndarray, depth: np.ndarray, side: int) -> Hits:
    if not len(pixel):
        return Hits(pixel, which, weights, depth)
    fine = ((depth - depth.min()) / (np.ptp(depth) + 1e-9) * (1 << 24)).astype(np.int64)
    best = np.full(side * side, -1, np.int64)
    np.maximum.at(best, pixel, (fine << 32) | np.arange(len(pixel)))
    hit = np.flatnonzero(best >= 0)
    won = best[hit] & 0xFFFFFFFF
    return Hits(hit, which[won], weights[won], depth[won])
