"""Maps over faces: colours against a calculation by hand, the figure and its PNG twin alike, what does not fit."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.saliency import (
    FACE_PIXELS,
    bar_words,
    blended,
    overlay,
    pale,
    saliency_grid,
    saliency_grid_png,
    set_strength,
)
from scn_fastai.plots.style import BLUE, VERMILION


def rgb(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def pixels(data):
    data = base64.b64decode(data.split(",")[1]) if isinstance(data, str) else data
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


@pytest.fixture
def faces():
    return np.full((3, 26, 26), 100, np.uint8)


def left_right(n=3):
    """Maps that raise the score on the left and lower it on the right."""
    values = np.zeros((n, 13, 13), np.float32)
    values[:, :, :5], values[:, :, 8:] = 1.0, -1.0
    return values


def captions_of(figure):
    return next(trace for trace in figure.data if trace.name == "captions")


# ---- colours ----


def test_sign_is_a_colour_and_stripes_size_is_opacity():
    values = np.linspace(-1, 1, 21)[None].repeat(40, 0)
    layer = overlay(values).astype(int)
    assert (layer[:, 15, :3] == rgb(BLUE)).all() and (layer[:, 5, :3] == rgb(VERMILION)).all()
    assert not layer[:, 10, 3].any() and len(set(layer[:, 20, 3])) == 1
    assert np.all(np.diff(layer[0, 10:, 3]) > 0)
    striped = sorted(set(layer[:, 0, 3]))
    assert len(striped) == 2 and striped[1] == 255 and striped[0] < 0.4 * striped[1]
    assert 0.15 < (layer[:, 0, 3] == striped[0]).mean() < 0.4


def test_without_sign_there_is_one_colour_and_no_stripe():
    layer = overlay(np.array([[-1.0, 1.0, 0.0]] * 20), signed=False)
    assert (layer[..., :3] == rgb(BLUE)).all() and layer[..., 3].tolist() == [[255, 255, 0]] * 20


def test_blending_by_hand():
    face, layer = np.array([[[200, 100, 0]]], np.uint8), np.array([[[0, 100, 255, 51]]], np.uint8)
    share = 0.5 * 51 / 255
    expected = [round(200 * (1 - share)), 100, round(255 * share)]
    assert blended(face, layer, 0.5).tolist() == [[expected]] and np.array_equal(blended(face, layer, 0), face)


def test_pale_faces_are_grey_and_keep_their_order():
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], np.uint8)
    found = pale(colours)
    assert found.shape == colours.shape and (found == found[..., :1]).all()
    assert found[0, 0, :, 0].argsort().tolist() == [2, 0, 1, 3]


@pytest.mark.parametrize("of", ["alpha", "predicted", "given", "difference", "高兴"])
def test_words_of_the_bar(of):
    low, high = bar_words(of)
    assert low != high and bar_words(of, signed=False)[1] == "matters much"
    if of == "difference":
        assert (low, high) == ("for the predicted class", "for the given class")


# ---- the picture ----


@pytest.mark.parametrize("layout", ["columns", "rows"])
def test_every_map_lies_on_its_face(faces, layout):
    maps = {"untrained": np.zeros((3, 13, 13)), "trained": left_right()}
    maps["trained"][1] = 0
    figure = saliency_grid(faces, maps, layout=layout, strength=1.0)
    layer, words = pixels(figure.layout.images[1].source), captions_of(figure)
    wide, high = figure.layout.xaxis.range[1], figure.layout.yaxis.range[0]
    tile = 26 * layer.shape[1] / wide  # of a face, in the pixels of the layer
    assert abs(tile - FACE_PIXELS) < 1
    names, coloured = ["face", "untrained", "trained"], []
    for number in range(9):
        x, y = words.x[number] * layer.shape[1] / wide, words.y[number] * layer.shape[0] / high
        left, right = (layer[int(y - 60), int(x + shift)] for shift in (-40, 40))
        coloured.append(left[3] > 200 and left[:3].tolist() == rgb(BLUE) and right[:3].tolist() == rgb(VERMILION))
    assert coloured == [False] * 6 + [True, False, True]
    if layout == "rows":
        titles = [a.text for a in figure.layout.annotations if a.xanchor == "right"]
        assert titles == [f"<b>{name}</b>" for name in names] and len(set(words.y[6:])) == 1
    else:
        assert [words.text[i].split("<br>")[0] for i in (0, 3, 6)] == names and len(set(words.x[6:])) == 1


def test_more_faces_than_fit_go_on_below(faces):
    figure = saliency_grid(faces, {"trained": left_right()}, layout="rows", across=2)
    rows = sorted(set(captions_of(figure).y))
    assert len(rows) == 4 and [captions_of(figure).y[i] for i in (0, 2, 3, 5)] == [rows[i] for i in (0, 2, 1, 3)]


def test_two_faces_with_their_maps_side_by_side(faces):
    words = captions_of(saliency_grid(faces, {"a": left_right(), "b": left_right()}, across=2))
    columns, rows = (np.unique(values, return_inverse=True)[1].tolist() for values in (words.x, words.y))
    assert columns == [0, 3, 0, 1, 4, 1, 2, 5, 2] and rows == [0, 0, 1] * 3


def test_captions_and_title(faces):
    maps, said = {"trained": left_right()}, {"face": ["a", "b", "高兴<"], "trained": ["α 0.1", "α 0.2", ""]}
    figure = saliency_grid(faces, maps, said, title="of alpha", words=("lowers alpha", "raises alpha"))
    assert captions_of(figure).text[2] == "face<br>高兴&lt;" and captions_of(figure).text[3] == "trained<br>α 0.1"
    assert figure.layout.title.text == "of alpha" and captions_of(figure).textfont.size >= 14
    bar = [a for a in figure.layout.annotations if a.yref == "paper"]
    assert [a.text for a in bar] == ["lowers alpha", "raises alpha"] and all(a.font.size >= 14 for a in bar)
    assert saliency_grid(faces, maps).layout.annotations[0].text == "lowers the score"


def test_strength_changes_opacity_alone(faces):
    maps = {"trained": left_right()}
    figure, other = saliency_grid(faces, maps, strength=0.3), saliency_grid(faces, maps, strength=0.9)
    assert [image.opacity for image in figure.layout.images] == [None, 0.3, None, 0.3]
    set_strength(figure, 0.9)
    assert figure.to_json() == other.to_json()


def test_the_png_shows_the_same(faces):
    maps, title = {"trained": left_right()}, "of alpha"
    figure = saliency_grid(faces, maps, {"trained": ["α 0.1\nsays joy"] * 3}, 0.5, layout="rows", title=title)
    page = pixels(saliency_grid_png(faces, maps, {"trained": ["α 0.1\nsays joy"] * 3}, 0.5, layout="rows", title=title))
    assert abs(page.shape[1] - figure.layout.width) <= 12 and abs(page.shape[0] - figure.layout.height) <= 24
    grey = int(pale(np.full((1, 1, 1, 3), 100, np.uint8))[0, 0, 0, 0])
    expected = [round((grey + channel) / 2) for channel in rgb(BLUE)]
    found = (np.abs(page[..., :3] - expected).max(-1) <= 1).sum()
    assert 3 * 25 * 80 < found < 3 * 60 * 110
    plain = pixels(saliency_grid_png(faces, maps, strength=0))[..., :3]
    assert (
        len(np.unique(plain[60:90, 20:100].reshape(-1, 3), axis=0)) <= 3 and (plain.max(-1) - plain.min(-1)).max() == 0
    )


def test_unsigned_maps_are_blue_only(faces):
    page = pixels(saliency_grid_png(faces, {"trained": left_right()}, signed=False, strength=1.0))[..., :3]
    assert (np.abs(page - rgb(VERMILION)).max(-1) < 20).sum() == 0
    assert (np.abs(page - rgb(BLUE)).max(-1) < 2).sum() > 3 * 2 * 25 * 80


def test_one_face_has_room_for_the_bar():
    figure = saliency_grid(
        np.zeros((1, 26, 26), np.uint8), {}, words=("lowers this very much", "raises this very much")
    )
    assert figure.layout.width > 480
    wide = figure.layout.width - figure.layout.margin.l - figure.layout.margin.r
    assert abs(figure.layout.images[-1].sizex * wide - 220) < 1
    assert pixels(saliency_grid_png(np.zeros((1, 26, 26, 3), np.uint8), {})).shape[1] > 400


def test_large_oblong_and_coloured_faces():
    images = np.zeros((2, 300, 200, 3), np.uint8)
    figure = saliency_grid(images, {"a": np.zeros((2, 30, 20))})
    assert (
        figure.layout.images[1].opacity == 0.6
        and saliency_grid_png(images, {"a": np.zeros((2, 30, 20))})[:4] == b"\x89PNG"
    )


def test_no_faces_are_a_sentence():
    for empty in (np.zeros((0, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)):
        assert saliency_grid(empty, {}).layout.annotations[0].text == "There is no face to show."
        assert saliency_grid_png(empty, {"a": np.zeros((0, 4, 4))})[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"images": np.zeros((3, 8, 8))}, "must be uint8"),
        ({"maps": {"a": np.zeros((2, 8, 8))}}, r"3 faces, but the maps 'a' have the shape \[2, 8, 8\]"),
        ({"maps": {"a": np.full((3, 8, 8), 2.0)}}, "do not lie between -1 and 1: bring them there with `normalised`"),
        ({"maps": {"a": np.full((3, 8, 8), np.nan)}}, "do not lie between"),
        ({"strength": 1.5}, "strength is 1.5"),
        ({"layout": "heap"}, "layout is 'heap'"),
        ({"captions": {"face": ["a"]}}, "3 faces but 1 captions for 'face'"),
    ],
)
@pytest.mark.parametrize("draw", [saliency_grid, saliency_grid_png])
def test_bad_input_is_a_sentence(faces, options, sentence, draw):
    with pytest.raises(DataError, match=sentence):
        draw(**{"images": faces, "maps": {"a": left_right()}, **options})
