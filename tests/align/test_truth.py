"""Faces that are known beforehand, and the error of those that were found."""

import numpy as np
import pytest

from scn_fastai.align.aligner import FaceAligner
from scn_fastai.align.mtcnn import Found
from scn_fastai.align.similarity import template
from scn_fastai.align.truth import GivenFaces, found_of, point_error
from scn_fastai.errors import DataError

TEMPLATE = template(112).numpy()


def turned(points, degrees, scale, shift):
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


def test_the_box_of_a_face_is_what_would_be_cut_out():
    found = found_of(np.stack([2 * TEMPLATE + 0.5 + [100, 30], turned(TEMPLATE - 55.5, 35, 0.5, [80, 90])]))
    np.testing.assert_allclose(found.boxes[0], [100, 30, 324, 254])
    np.testing.assert_allclose(found.boxes[1], np.array([80, 90, 80, 90]) + 0.5 + [-28, -28, 28, 28])
    assert found.scores.tolist() == [1, 1] and found_of(TEMPLATE, [0.3]).scores.tolist() == [0.3]
    assert [part.shape for part in found_of(np.zeros((0, 5, 2)))] == [(0, 4), (0,), (0, 5, 2)]
    with pytest.raises(DataError, match="1 faces but 2 scores"):
        found_of(TEMPLATE, [1, 1])


def test_a_picture_is_known_by_its_pixels_only():
    pictures = [np.full((20, 30, 3), shade, np.uint8) for shade in (1, 2)]
    finder = GivenFaces(pictures, [found_of(TEMPLATE), found_of(TEMPLATE + 5)])
    second, nobody, first = finder([pictures[1].copy(), pictures[0].reshape(30, 20, 3), pictures[0][:]])
    assert (first.points[0] == TEMPLATE).all() and (second.points[0] == TEMPLATE + 5).all()
    assert len(nobody.scores) == 0
    with pytest.raises(DataError, match="2 pictures but the faces of 1"):
        GivenFaces(pictures, [found_of(TEMPLATE)])


def test_it_serves_the_aligner():
    picture = np.random.default_rng(0).integers(0, 255, (150, 150, 3)).astype(np.uint8)
    aligned = FaceAligner(112, detector=GivenFaces([picture], [found_of(TEMPLATE + [20, 10])]))([picture])
    assert (aligned.images[0] == picture[10:122, 20:132]).all() and aligned.records[0].fallback == ""
    weak = FaceAligner(112, detector=GivenFaces([picture], [found_of(TEMPLATE, [0.4])]))([picture])
    assert weak.records[0].fallback == "box" and not weak.records[0].found


def test_the_error_is_counted_in_eye_distances():
    eyes = np.linalg.norm(TEMPLATE[0] - TEMPLATE[1])
    truth = np.stack([TEMPLATE, TEMPLATE + [300, 0], TEMPLATE + [600, 0]])
    found = found_of(np.stack([truth[1] + [0, 0.1 * eyes], truth[0]]))
    assert point_error(found, truth).tolist() == pytest.approx([0, 0.1, np.inf])
    nobody = Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2)))
    assert point_error(nobody, truth).tolist() == [np.inf] * 3
    assert point_error(found, np.zeros((0, 5, 2))).shape == (0,)


def test_a_face_found_upside_down_is_far_off():
    found = found_of(turned(TEMPLATE - TEMPLATE.mean(0), 180, 1, TEMPLATE.mean(0)))
    assert point_error(found, TEMPLATE[None])[0] > 1
