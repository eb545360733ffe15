import numpy as np
import pytest

from scn_fastai.faces.raster import neighbours, project, rasterize, rotation, unit, vertex_normals


def loop_rasterize(view, triangles, two_sided, side):
    """The same by loops: for every pixel centre the nearest triangle that holds it, or -1."""
    seen = np.full(side * side, -1)
    for pixel in range(side * side):
        row, column = divmod(pixel, side)
        point, best = np.array([column + 0.5, row + 0.5]), -np.inf
        for number, corners in enumerate(triangles):
            (a, b, c), depth = view[corners, :2], view[corners, 2]
            area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
            if area == 0 or area > 0 and not two_sided[number]:
                continue
            weights = np.linalg.solve(np.array([[*a, 1], [*b, 1], [*c, 1]]).T, [*point, 1])
            if (weights >= 0).all() and weights @ depth > best:
                best, seen[pixel] = weights @ depth, number
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_rasterize_agrees_with_loops(seed):
    rng, side = np.random.default_rng(seed), 12
    view = rng.uniform(-3, side + 3, (30, 3)).astype(np.float32)
    triangles, two_sided = np.arange(30).reshape(10, 3), rng.random(10) < 0.5
    hits = rasterize(view, triangles, two_sided, side)
    seen = np.full(side * side, -1)
    seen[hits.pixel] = hits.triangle
    assert (seen == loop_rasterize(view.astype(float), triangles, two_sided, side)).all()
    assert np.allclose(hits.weights.sum(1), 1, atol=1e-5)
    corner_depth = view[triangles[hits.triangle], 2]
    assert np.allclose((corner_depth * hits.weights).sum(1), hits.depth, atol=1e-4)


def test_nothing_in_view_gives_no_hits():
    hits = rasterize(np.full((3, 3), -5.0, np.float32), np.array([[0, 1, 2]]), np.array([True]), 8)
    assert len(hits.pixel) == 0


def test_rotations_turn_as_they_say():
    ahead = np.array([0, 0, 1.0])
    assert (rotation(30, 0, 0) @ ahead)[0] == pytest.approx(0.5)  # to the picture's right
    assert (rotation(0, 30, 0) @ ahead)[1] == pytest.approx(-0.5)  # looks down
    assert np.allclose(rotation(20, 10, -5) @ rotation(20, 10, -5).T, np.eye(3), atol=1e-6)


def test_what_is_nearer_is_drawn_larger():
    points = np.array([[1.0, 0, 0], [1.0, 0, 2.0]])
    view = project(points, np.eye(3), np.zeros(3), 10.0, (50, 50))
    assert view[0, 0] == pytest.approx(60) and view[1, 0] > 62 and (view[:, 1] == 50).all()


def test_normals_of_a_flat_square_point_up():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    assert np.allclose(vertex_normals(square, triangles, neighbours(triangles, 4)), [0, 0, 1])
    assert np.allclose(unit(np.array([[3.0, 0, 4.0]])), [0.6, 0, 0.8])
