import base64
import io
import time

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots import STATES, alpha_ranking, before_after, face_grid, label_states
from scn_fastai.plots.faces import MOST_FACES, Grid, lay_out


def sheet(figure):
    """The picture of a grid as an array ``[H, W, 2 or 4]``."""
    source = figure.layout.images[0].source.split(",", 1)[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))


def trace(figure, name):
    return next(t for t in figure.data if t.name == name)


def shade_in_cell(figure, number):
    """Brightness of the picture at the middle of a face, where the hover point says that it is."""
    points = trace(figure, "faces")
    return sheet(figure)[int(points.y[number]), int(points.x[number]), 0]


def test_each_face_lies_above_its_caption(faces):
    figure = face_grid(faces[:11], [f"face {i}\nα 0.1" for i in range(11)], columns=4)
    words = trace(figure, "captions")
    assert words.text[10] == "face 10<br>α 0.1" and len(set(zip(words.x, words.y, strict=True))) == 11
    assert [shade_in_cell(figure, i) for i in range(11)] == faces[:11, 0, 0].tolist()
    assert trace(figure, "faces").hovertext[3] == "face 3<br>α 0.1"
    assert words.y[0] > trace(figure, "faces").y[0] and figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]


def test_between_faces_the_picture_is_transparent(faces):
    picture = sheet(face_grid(faces[:2], ["", ""]))
    assert picture[0, 0, -1] == 0 and (picture[:, :, -1] == 255).sum() == 2 * 16 * 16


def test_frames_are_one_trace_a_state_and_make_the_legend(faces):
    frames = ["cured", "unchanged", "missed", "cured", None]
    figure = face_grid(faces[:5], list("abcde"), frames)
    assert [t.name for t in figure.data if t.showlegend] == [STATES[s].words for s in ("unchanged", "cured", "missed")]
    cured = trace(figure, STATES["cured"].words)
    assert cured.x.count(None) == 2 and cured.line.color == STATES["cured"].color
    assert len({(s.color, s.dash) for s in STATES.values()}) == len(STATES)
    assert STATES["missed"].dash != "solid" and STATES["harmed"].dash not in ("solid", STATES["missed"].dash)


def test_colour_and_large_images():
    colour = np.zeros((2, 16, 16, 3), np.uint8)
    colour[1] = (200, 30, 10)
    picture = sheet(face_grid(colour, ["a", "b"]))
    assert picture.shape[2] == 4 and (picture == (200, 30, 10, 255)).all(-1).sum() == 256
    figure = face_grid(np.zeros((8, 500, 400), np.uint8), ["x"] * 8)
    assert figure.layout.width <= 1200 and sheet(figure).shape[1] <= 1200


def test_a_full_row_fits_the_page_and_scale_is_obeyed(faces):
    figure = face_grid(faces[:16], ["x"] * 16)
    assert 800 < figure.layout.width <= 1180
    doubled = lay_out(Grid(faces[:16], ["x"] * 16, scale=2.0))[2]
    assert doubled.scale == 2.0 and doubled.columns == 8 and doubled.rows == 2


def test_text_that_looks_like_a_tag_stays_text(faces):
    assert trace(face_grid(faces[:1], ["a<b> & 高兴"]), "captions").text[0] == "a&lt;b&gt; &amp; 高兴"


def test_no_face_is_said():
    figure = face_grid(np.zeros((0, 8, 8), np.uint8), [])
    assert not figure.data and "no face" in figure.layout.annotations[0].text


@pytest.mark.parametrize(
    ("images", "captions", "frames", "word"),
    [
        (np.zeros((2, 8, 8)), ["a", "b"], None, "must be uint8"),
        (np.zeros((2, 8, 8, 4), np.uint8), ["a", "b"], None, "must be uint8"),
        (np.zeros((2, 8, 8), np.uint8), ["a"], None, "2 faces but 1 captions"),
        (np.zeros((1, 8, 8), np.uint8), ["a"], ["cured", "cured"], "1 faces but 2 frames"),
        (np.zeros((1, 8, 8), np.uint8), ["a"], ["green"], "'green' is no kind of frame"),
        (np.zeros((MOST_FACES + 1, 2, 2), np.uint8), ["a"] * (MOST_FACES + 1), None, "at most 1,024"),
    ],
)
def test_what_does_not_fit_is_said(images, captions, frames, word):
    with pytest.raises(DataError, match=word):
        face_grid(images, captions, frames)


def test_a_thousand_faces_are_quick():
    images = np.random.default_rng(0).integers(0, 255, (1024, 24, 24), dtype=np.uint8)
    began = time.perf_counter()
    figure = face_grid(images, ["x\ny"] * 1024, ["cured"] * 1024, columns=32)
    assert time.perf_counter() - began < 10 and len(figure.data) == 3


# ---- ranking ----


def test_lowest_above_highest(faces):
    alpha = np.linspace(0, 1, 60)[::-1].copy()
    alpha[59] = np.nan
    figure = alpha_ranking(faces, alpha, np.arange(60) % 3, k=4, classes=["a", "b", "高兴"])
    words = trace(figure, "captions").text
    assert words[0] == f"b<br>α {alpha[58]:.4f}" and words[4] == "a<br>α 1.0000" and len(words) == 8
    assert [shade_in_cell(figure, i) for i in range(8)] == [4 * i for i in (58, 57, 56, 55, 0, 1, 2, 3)]
    assert len({y for y in trace(figure, "faces").y}) == 2
    assert "1 sample was not seen" in figure.layout.title.text


def test_ranking_of_few_and_of_none(faces):
    assert len(trace(alpha_ranking(faces[:3], [0.1, 0.2, 0.3], ["x"] * 3), "faces").x) == 2
    assert len(trace(alpha_ranking(faces[:1], [0.1], ["x"]), "faces").x) == 1
    assert "no face" in alpha_ranking(faces[:2], [np.nan] * 2, ["x"] * 2).layout.annotations[0].text


def test_ranking_of_thirty_thousand_is_quick():
    images, alpha = np.zeros((30_000, 24, 24), np.uint8), np.random.default_rng(0).random(30_000)
    began = time.perf_counter()
    alpha_ranking(images, alpha, np.zeros(30_000, int), k=12, classes=["a"])
    assert time.perf_counter() - began < 5


def test_ranking_checks_its_lengths(faces):
    with pytest.raises(DataError, match="2 values of alpha but 60 images"):
        alpha_ranking(faces, [0.1, 0.2], ["x"] * 2)
    with pytest.raises(DataError, match="outside the 2 classes"):
        alpha_ranking(faces[:2], [0.1, 0.2], [0, 5], classes=["a", "b"])


# ---- before and after ----


def test_given_above_after_in_bands(faces):
    figure = before_after(
        faces[:3], [0, 1, 1], [1, 1, 0], [1, 1, 1], [0.5, 0.25, 0.1], [0.9, np.nan, 0.2], ["sad", "glad"], columns=2
    )
    words, points = trace(figure, "captions").text, trace(figure, "faces")
    assert words[:3] == ("sad<br>α 0.5000", "glad<br>α 0.2500", "glad<br>α 0.1000")
    assert words[3:] == ("glad<br>α 0.9000<br>true: glad", "glad<br>true: glad", "sad<br>α 0.2000<br>true: glad")
    assert points.x[:3] == points.x[3:] and len(set(points.y)) == 4
    assert points.y[0] < points.y[3] < points.y[2] < points.y[5]
    assert [shade_in_cell(figure, i) for i in range(6)] == [0, 4, 8, 0, 4, 8]
    legend = {t.name for t in figure.data if t.showlegend}
    assert legend == {STATES[s].words for s in ("cured", "unchanged", "harmed")}


def test_without_truth_a_change_is_neither_right_nor_wrong(faces):
    figure = before_after(faces[:2], ["a", "b"], ["b", "b"])
    assert {t.name for t in figure.data if t.showlegend} == {STATES[s].words for s in ("changed", "unchanged")}
    assert not any("true" in text for text in trace(figure, "captions").text)


def test_before_after_of_nothing_and_of_what_does_not_fit(faces):
    assert not before_after(faces[:0], [], []).data
    with pytest.raises(DataError, match="2 faces but 1 labels in current"):
        before_after(faces[:2], ["a", "b"], ["a"])


def test_states():
    given, current, truth = [0, 0, 0, 1], [0, 1, 2, 2], [1, 1, 1, 1]
    assert label_states(given, current, truth).tolist() == ["unchanged", "cured", "missed", "harmed"]
    assert label_states(given, current).tolist() == ["unchanged", "changed", "changed", "changed"]
