import numpy as np
import pytest
from made_pictures import made_picture

from scn_fastai.align.aligner import FaceAligner, choose_face, usable_points
from scn_fastai.align.mtcnn import Found
from scn_fastai.align.similarity import template
from scn_fastai.errors import SettingsError


def dots(points, height=200, width=260):
    """A black picture with a white spot at every point."""
    y, x = np.mgrid[:height, :width]
    spots = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points)
    return np.repeat((255 * np.clip(spots, 0, 1)).astype(np.uint8)[..., None], 3, 2)


def as_found(points, score=0.99):
    return Found(np.array([[40.0, 40, 160, 160]]), np.array([score]), np.asarray(points, float)[None])


@pytest.mark.parametrize(("angle", "scale"), [(0, 1), (25, 1.3), (-50, 0.7)])
def test_the_points_come_to_the_template(angle, scale):
    turn = np.array([[np.cos(np.radians(angle)), -np.sin(np.radians(angle))],
                     [np.sin(np.radians(angle)), np.cos(np.radians(angle))]])  # fmt: skip
    points = scale * (template(112).numpy() - 56) @ turn.T + np.array([130, 95])
    aligned = FaceAligner(112, detector=lambda images: [as_found(points)])([dots(points)])
    (image,), (record,) = aligned
    assert record.found and record.fallback == "" and image.shape == (112, 112, 3)
    light = image[..., 0].astype(float)
    y, x = np.mgrid[:112, :112]
    for px, py in template(112).numpy():
        near = light * (np.hypot(x - px, y - py) < 8)
        assert abs((near * x).sum() / near.sum() - px) < 0.5 and abs((near * y).sum() / near.sum() - py) < 0.5


def test_rendered_faces_come_upright(finder):
    aligner = FaceAligner(64, detector=finder)
    image, record = aligner([made_picture("three")])[0][0], aligner([made_picture("three")])[1][0]
    assert record.faces == 3 and image.std() > 20
    again = finder([image])[0]  # in the aligned face eyes and mouth lie at the template
    assert len(again.scores) == 1 and np.abs(again.points[0] - template(64).numpy()).max() < 6


def test_a_weak_candidate_gives_its_box_and_nobody_the_middle(red_picture, red_detector):
    aligner = FaceAligner(20, detector=red_detector)
    pictures = [red_picture(red=255), red_picture(red=100), red_picture(side=0)]
    images, (sure, weak, nobody) = aligner(pictures)
    assert (sure.found, sure.faces, sure.fallback) == (True, 1, "")
    assert (weak.found, weak.faces, weak.fallback) == (False, 0, "box") and weak.score == pytest.approx(100 / 255)
    assert (images[1][3:-3, 3:-3] == (100, 0, 0)).all() and (images[1][0, 0] == 100).all()  # the box and a little more
    assert (nobody.found, nobody.score, nobody.box, nobody.fallback) == (False, None, None, "centre")
    assert (images[2] == 100).all()


def test_points_on_a_line_are_no_face():
    line = np.linspace([50, 50], [90, 52], 5)
    (image,), (record,) = FaceAligner(32, detector=lambda images: [as_found(line)])([dots(line)])
    assert record.found and record.fallback == "box" and np.isfinite(image).all()
    assert not usable_points(np.full((5, 2), np.nan)) and not usable_points(np.ones((5, 2)))
    assert usable_points(template(20).numpy())


def test_the_rule_chooses_among_faces():
    boxes = np.array([[0.0, 0, 30, 30], [80, 80, 120, 120], [0, 100, 90, 190]])
    found = Found(boxes, np.array([0.9, 0.8, 0.85]), np.zeros((3, 5, 2)))
    assert [choose_face(found, 200, 200, rule) for rule in ("largest", "central", "surest")] == [2, 1, 0]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"rule": "nicest"}, "no rule 'nicest' to choose a face: use largest, central, surest"),
        ({"threshold": 2}, "threshold of 2"),
        ({"size": 2}, "size of 8"),
        ({"margin": 0.9}, "margin of 0.9"),
    ],
)
def test_settings_that_make_no_sense_are_said(setting, words, red_detector):
    with pytest.raises(SettingsError, match=words):
        FaceAligner(**{"detector": red_detector} | setting)
