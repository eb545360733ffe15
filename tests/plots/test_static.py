import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from scn_fastai.plots import STATES, alpha_ranking_png, before_after_png, curves_png, face_grid_png, histogram_png
from scn_fastai.plots.static import font_for


def pixels(png):
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count(picture, color, slack=0):
    rgb = ImageColor.getrgb(color)
    return int((np.abs(picture - rgb).max(-1) <= slack).sum())


def test_faces_captions_and_frames_are_in_the_picture():
    images = np.zeros((3, 52, 52), np.uint8)
    images[0], images[1], images[2] = 60, 120, 180
    bare = pixels(face_grid_png(images, ["", "", ""]))
    for shade in (60, 120, 180):
        assert count(bare, f"#{shade:02x}{shade:02x}{shade:02x}") > 90**2
    framed = pixels(face_grid_png(images, ["glad\nα 0.1", "b", "c"], ["cured", "missed", None]))
    solid, dashed = (count(framed, STATES[s].color) for s in ("cured", "missed"))
    assert solid > 4 * 4 * 100 and 0.5 * solid < dashed < 0.85 * solid
    assert framed.shape[0] > bare.shape[0] + 20


def test_columns_and_large_colour_images():
    images = np.zeros((5, 300, 200, 3), np.uint8) + np.array([200, 30, 10], np.uint8)
    picture = pixels(face_grid_png(images, ["x"] * 5, columns=2))
    assert picture.shape[1] < 300 and picture.shape[0] > 3 * 150 and count(picture, "#C81E0A") > 5 * 104 * 150


def test_chinese_captions_take_room_and_do_no_harm(faces):
    picture = pixels(face_grid_png(faces[:1], ["高兴"], title="最后一轮"))
    plain = pixels(face_grid_png(faces[:1], [""]))
    assert (picture < 100).all(-1).sum() != (plain < 100).all(-1).sum()
    assert font_for("glad", 12).getname()[0] == "DejaVu Sans"


def test_twins_of_ranking_and_before_after(faces):
    ranked = pixels(alpha_ranking_png(faces, np.linspace(0, 1, 60), ["x"] * 60, k=4))
    assert ranked.shape[1] > 4 * 104 and count(ranked, "#000000") > 90**2
    both = pixels(before_after_png(faces[:2], [0, 1], [1, 1], truth=[1, 1], classes=["a", "b"]))
    assert count(both, STATES["cured"].color) > 1000 and count(both, "#040404") > 2 * 90**2


def test_no_face_is_a_sentence():
    assert (pixels(face_grid_png(np.zeros((0, 4, 4), np.uint8), [])) < 100).any()


def test_curves_are_drawn_in_their_colours(run):
    epochs = run.history.frame()
    picture = pixels(curves_png(epochs, "Training"))
    assert count(picture, "#0072B2", 8) > 500 and count(picture, "#D55E00", 8) > 200
    assert picture.shape[1] > 1000 and picture.shape[0] > 700


@pytest.mark.parametrize("epochs", [pd.DataFrame(), pd.DataFrame({"accuracy": [0.5]})])
def test_curves_of_no_epoch_and_of_one(epochs):
    assert (pixels(curves_png(epochs)) < 100).any()


def test_histogram_has_both_groups():
    alpha = np.linspace(0, 1, 200)
    alpha[:3] = np.nan
    picture = pixels(histogram_png(alpha, alpha < 0.5, 0.15, "最后一轮"))
    high, low = count(picture, "#0072B2", 4), count(picture, "#D55E00", 4)
    assert high > 10_000 and 0.9 < low / high < 1.1
    assert (pixels(histogram_png(np.full(3, np.nan))) < 100).any()


def test_the_same_data_give_the_same_bytes(run, faces):
    epochs = run.history.frame()
    assert curves_png(epochs) == curves_png(epochs)
    assert face_grid_png(faces[:4], list("abcd")) == face_grid_png(faces[:4], list("abcd"))
