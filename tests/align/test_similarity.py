import math

import numpy as np
import pytest
import torch

from scn_fastai.align import similarity as S
from scn_fastai.errors import SettingsError


def umeyama(points, target):
    """Eq. 34 and 40 to 43 of the paper with a singular value decomposition; in the plane, numpy."""
    middle, goal = points.mean(0), target.mean(0)
    p, q = points - middle, target - goal
    u, d, v = np.linalg.svd(q.T @ p / len(p))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    turn = u @ sign @ v
    scale = np.trace(np.diag(d) @ sign) / p.var(0).sum()
    return np.c_[scale * turn, goal - scale * turn @ middle]


def test_it_is_umeyamas_similarity(tiny):
    points = torch.randn(50, 5, 2, generator=tiny, dtype=torch.float64) * 30
    target = S.template(224)
    found = S.similarity(points, target)
    for own, matrix in zip(points, found, strict=True):  # random points: half of them would rather be mirrored
        np.testing.assert_allclose(matrix.numpy(), umeyama(own.numpy(), target.numpy()), atol=1e-9)


def test_a_turned_template_is_brought_back():
    angle, target = math.radians(40), S.template(112)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    points = 3 * target @ turn.T + torch.tensor([500.0, 20])
    matrix = S.similarity(points[None], target)[0]
    torch.testing.assert_close(points @ matrix[:, :2].T + matrix[:, 2], target)


def test_a_margin_shrinks_the_template_around_the_middle():
    whole, inner = S.template(100), S.template(100, margin=0.2)
    torch.testing.assert_close(inner - 50, (whole - 50) * 0.6)


@pytest.mark.parametrize(
    ("size", "margin", "words"), [(4, 0, "size of 8 or more"), (64, 0.5, "share from 0"), (64, -1, "share from 0")]
)
def test_what_makes_no_sense_is_said(size, margin, words):
    with pytest.raises(SettingsError, match=words):
        S.template(size, margin)


def identity():
    return torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=torch.float64)


def test_the_identity_changes_nothing(tiny):
    images = torch.randint(0, 256, (2, 3, 20, 20), generator=tiny, dtype=torch.uint8)
    assert torch.equal(S.warp(images, identity().expand(2, 2, 3), 20), images)


def test_a_warp_is_bilinear_at_the_place_that_its_matrix_says(tiny):
    image = torch.randint(0, 256, (1, 1, 30, 30), generator=tiny, dtype=torch.uint8)
    matrix = torch.tensor([[1.8, 0.4, -12.0], [-0.4, 1.8, -9.0]], dtype=torch.float64)
    result = S.warp(image, matrix[None], 16)[0, 0]
    back = torch.linalg.inv(matrix[:, :2])
    for y, x in [(0, 0), (3, 9), (15, 7)]:
        u, v = (back @ (torch.tensor([x, y], dtype=torch.float64) - matrix[:, 2])).tolist()
        i, j = math.floor(v), math.floor(u)
        a, b, px = v - i, u - j, image[0, 0].double()
        mean = (1 - a) * ((1 - b) * px[i, j] + b * px[i, j + 1]) + a * ((1 - b) * px[i + 1, j] + b * px[i + 1, j + 1])
        assert abs(float(result[y, x]) - float(mean)) <= 1


def test_a_strongly_reduced_picture_is_averaged_not_picked():
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::2] = 200
    box = torch.tensor([[0.0, 0, 64, 64]])
    small = S.warp(stripes, S.box_similarity(box, 8), 8)
    assert (small.float() - 100).abs().max() <= 1


def test_a_box_fills_the_result():
    picture = torch.zeros(1, 1, 40, 60, dtype=torch.uint8)
    picture[..., 10:20, 30:40] = 250
    result = S.warp(picture, S.box_similarity(torch.tensor([[30.0, 10, 40, 20]]), 20), 20)
    assert (result[..., 1:-1, 1:-1] == 250).all()


@pytest.mark.parametrize("shift", [0.0, -300.0, 500.0])
def test_the_part_that_is_needed_gives_the_same(tiny, shift):
    image = torch.randint(0, 256, (1, 3, 90, 120), generator=tiny, dtype=torch.uint8)
    matrix = torch.tensor([[0.8, 0.3, -20.0 + shift], [-0.3, 0.8, 10.0]], dtype=torch.float64)
    moved, (top, bottom, left, right) = S.needed_part(matrix, 24, 90, 120)
    part = image[:, :, top:bottom, left:right]
    assert (part.shape[2] * part.shape[3]) < 90 * 120 / 2
    difference = S.warp(image, matrix[None], 24).int() - S.warp(part, moved[None], 24).int()
    assert difference.abs().max() <= 1
