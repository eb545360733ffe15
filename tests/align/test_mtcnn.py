import json
from pathlib import Path

import numpy as np
import pytest
import torch
from made_pictures import PICTURES, made_picture

from scn_fastai.align.boxes import integral
from scn_fastai.align.mtcnn import ENLARGE, MTCNN, finish, propose, refine
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.errors import DataError, SettingsError

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))["pictures"]


@pytest.fixture(scope="module")
def faces():
    return rendered_faces(splits=["valid"]).images


@pytest.fixture(scope="module")
def pictures(faces):
    return {name: made_picture(name, faces) for name in PICTURES}


@pytest.fixture(scope="module")
def found(finder, pictures):
    return dict(zip(pictures, finder(list(pictures.values())), strict=True))


@pytest.mark.parametrize("name", PICTURES)
def test_it_finds_what_facenet_pytorch_finds(found, name):
    own, other = found[name], REFERENCE[name]
    assert len(own.scores) == len(other["scores"])
    if len(own.scores):
        assert np.abs(own.boxes - other["boxes"]).max() < 1
        assert np.abs(own.points - other["points"]).max() < 1
        assert np.abs(own.scores - other["scores"]).max() < 0.01


def test_the_faces_lie_where_they_were_put(found):
    assert sum(len(placed) for _, _, placed in PICTURES.values()) == 9
    for name, (_, _, placed) in PICTURES.items():
        for box, points in zip(found[name].boxes, found[name].points, strict=True):
            middle = (box[:2] + box[2:]) / 2
            own = [p for p in placed if all(p[2 + k] < middle[k] < p[2 + k] + p[1] for k in (0, 1))]
            assert len(own) == 1
            left_eye, right_eye, nose, left_mouth, right_mouth = points
            assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
            assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_each_network_leaves_fewer_candidates(finder, pictures, found):
    pixels = torch.from_numpy(pictures["three"].copy()).permute(2, 0, 1)[None]
    pnet, rnet, onet = finder.networks
    proposed, image = propose(pixels, pnet)
    sums = integral(pixels)
    refined, of = refine(sums, proposed, image, rnet)
    (faces,) = finish(sums, refined, of, onet)
    assert len(proposed) > len(refined) > len(faces.scores) == 3
    sides = refined[:, 2:] - refined[:, :2]
    torch.testing.assert_close(sides[:, 0], sides[:, 1])  # squares: the next network sees no other
    np.testing.assert_allclose(faces.boxes, found["three"].boxes, atol=1e-3)


def test_company_changes_nothing(finder, pictures, found):
    alone = finder([pictures["two"]])[0]
    twice = finder([pictures["two"], pictures["two"], pictures["nobody"]])
    for other in (alone, twice[0], twice[1]):
        assert np.abs(other.boxes - found["two"].boxes).max() < 0.01
    assert len(twice[2].scores) == 0 and twice[2].boxes.shape == (0, 4) and twice[2].points.shape == (0, 5, 2)


def test_small_and_large_pictures_answer_in_their_own_pixels(finder, faces, pictures):
    small = finder([np.ascontiguousarray(faces[0])])[0]  # 64 pixels: looked at four times as large
    assert ENLARGE == 4 and len(small.scores) == 1 and (small.points > 10).all() and (small.points < 54).all()
    large = finder([np.repeat(np.repeat(pictures["one"], 4, 0), 4, 1)])[0]  # 1,600 pixels wide: reduced
    expected = 4 * np.array(REFERENCE["one"]["points"]) + 1.5
    assert np.median(np.abs(large.points - expected)) < 12  # three pixels of the picture before


def test_most_rendered_faces_of_64_pixels_are_found(finder, faces):
    found = finder(list(faces[::40]))
    assert len(found) > 15 and np.mean([len(face.scores) == 1 for face in found]) > 0.8


def test_a_picture_smaller_than_a_face_has_none(finder):
    for shape in [(1, 1, 3), (4, 200, 3), (200, 3, 3)]:
        assert len(finder([np.zeros(shape, np.uint8)])[0].scores) == 0
    assert finder([]) == []


@pytest.mark.parametrize("wrong", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3)), np.zeros((0, 9, 3), np.uint8)])
def test_what_is_no_picture_is_said(finder, wrong):
    with pytest.raises(DataError, match=r"must be uint8 of shape \[H, W, 3\]"):
        finder([wrong])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"thresholds": (0.6, 0.7)}, "three thresholds"),
        ({"thresholds": (0.6, 0.7, 7)}, "from 0 to 1"),
        ({"factor": 1.0}, "between 0 and 1"),
        ({"min_face_size": 3}, "sees 12 pixels"),
    ],
)
def test_settings_that_make_no_sense_are_said(setting, words):
    with pytest.raises(SettingsError, match=words):
        MTCNN(**setting)


@pytest.mark.gpu
def test_a_gpu_finds_the_same(finder, pictures, found):
    for own, other in zip(MTCNN(device="cuda")(list(pictures.values())), found.values(), strict=True):
        assert len(own.scores) == len(other.scores) and np.allclose(own.points, other.points, atol=0.5)
        assert torch.isfinite(torch.from_numpy(own.boxes)).all()
