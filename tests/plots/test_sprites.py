"""Sheets of thumbnails: every face where it should be, nothing read that was not asked for, words below the faces."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.sprites import (
    MISSING_GREY,
    alpha_line,
    checked_faces,
    faces_at,
    sprite_sheet,
    thumbnails,
    widest_line,
)


def opened(sheet):
    return np.asarray(Image.open(io.BytesIO(sheet.data)))


# ---- sheets ----


@pytest.mark.parametrize(("count", "columns", "shape"), [(1, 16, (5, 4)), (7, 3, (5, 4, 3)), (32, 8, (4, 4, 3))])
def test_every_face_lies_in_its_cell(count, columns, shape):
    faces = np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)
    sheet = sprite_sheet(faces, columns, "PNG")
    picture = opened(sheet)
    for i, face in enumerate(faces):
        top, left = i // sheet.columns * sheet.height, i % sheet.columns * sheet.width
        assert np.array_equal(picture[top : top + sheet.height, left : left + sheet.width], face)


def test_a_jpeg_keeps_neighbours_apart():
    faces = np.stack([np.full((32, 32, 3), shade, np.uint8) for shade in (0, 255, 90, 160)])
    picture = opened(sprite_sheet(faces, 2)).astype(int)
    for i, (row, column) in enumerate(itertools.product((0, 32), (0, 32))):
        assert abs(picture[row : row + 32, column : column + 32] - int(faces[i, 0, 0, 0])).max() <= 4


def test_a_full_sheet_and_what_does_not_fit():
    assert opened(sprite_sheet(np.zeros((1024, 4, 4), np.uint8), 32)).shape == (128, 128)
    with pytest.raises(DataError, match="holds 1 to 1,024 faces, got 1,025"):
        sprite_sheet(np.zeros((1025, 4, 4), np.uint8))
    with pytest.raises(DataError, match="got 0"):
        sprite_sheet(np.zeros((0, 4, 4), np.uint8))
    with pytest.raises(DataError, match="JPEG or PNG, got 'GIF'"):
        sprite_sheet(np.zeros((1, 4, 4), np.uint8), kind="GIF")


# ---- thumbnails ----


@pytest.mark.parametrize("shape", [(3, 200, 100), (3, 200, 100, 3)])
def test_thumbnails_are_the_means_of_what_they_cover(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    small = thumbnails(images, 50)
    assert small.shape == (3, 50, 25, *shape[3:]) and small.dtype == np.uint8
    for image, found in zip(images, small, strict=True):  # Pillow, one by one
        wanted = np.asarray(Image.fromarray(image).resize((25, 50), Image.Resampling.BILINEAR)).astype(int)
        assert abs(found.astype(int) - wanted).max() <= 2


def test_small_faces_stay_as_they_are():
    images = np.ones((2, 48, 48), np.uint8)
    assert thumbnails(images) is images and len(thumbnails(np.zeros((0, 300, 300), np.uint8))) == 0


# ---- reading ----


def test_only_what_is_asked_for_is_read(tmp_path):
    np.save(tmp_path / "faces.npy", np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8))
    images = checked_faces(np.load(tmp_path / "faces.npy", mmap_mode="r"))
    faces, missing = faces_at(images, [7, 2])
    assert isinstance(images, np.memmap) and not missing.any()
    assert faces[:, 0, 0].tolist() == [7, 2]


def test_a_missing_face_is_a_grey_tile():
    faces, missing = faces_at(checked_faces([None, np.zeros((4, 6, 3), np.uint8), None]), [0, 1, 2])
    assert missing.tolist() == [True, False, True]
    assert faces.shape == (3, 4, 6, 3) and (faces[0] == MISSING_GREY).all() and not faces[1].any()
    assert faces_at([None], [0])[0].shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((3, 4, 4)), "must be uint8"),
        (np.zeros((3, 4, 4, 2), np.uint8), "got uint8"),
        (np.uint8(3), "got uint8"),
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], "Face 1 has shape"),
        ([None, np.zeros((4, 4))], "Face 1 must be a uint8 array"),
        (["a.png"], "or None if it is missing, got str"),
    ],
)
def test_a_wrong_face_is_a_sentence(images, sentence):
    with pytest.raises(DataError, match=sentence):
        checked_faces(images)


def test_no_faces_at_all():
    assert len(checked_faces([])) == len(checked_faces(np.zeros((0, 4, 4), np.uint8))) == len(checked_faces(())) == 0


# ---- words ----


def test_words_below_a_face():
    assert [alpha_line(a) for a in (0.5, 1, np.float32("nan"))] == ["α 0.5000", "α 1.0000", "α: not seen"]
    assert widest_line([]) == widest_line([""]) == (0, 0)
    assert widest_line(["高兴 → 悲伤\nα", "ab"]) == (11, 2)
