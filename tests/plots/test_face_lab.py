"""The large face with its bars: the figure, its twin, and the pieces that a page is made of."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from scn_fastai.errors import DataError
from scn_fastai.plots.face_lab import bars_html, bars_of, caption_html, face_lab_figure, face_lab_png, face_png
from scn_fastai.plots.style import BLUE, SKY

CLASSES = ["neutral", "happiness", "fear"]
PROBS = [0.1, 0.2, 0.7]


@pytest.fixture
def face():
    """A picture of one colour that no bar has."""
    return np.full((32, 32, 3), (200, 30, 10), np.uint8)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def count(picture, color):
    rgb = ImageColor.getrgb(color) if isinstance(color, str) else color
    return int((np.abs(picture - rgb).max(-1) <= 2).sum())


def words(figure):
    return " ".join(annotation.text for annotation in figure.layout.annotations)


# ---- the figure ----


def test_the_figure_has_the_face_and_a_bar_for_each_class(face):
    figure = face_lab_figure(face, PROBS, CLASSES, "fear, blur 0.30", alpha=0.8312)
    (bars,) = figure.data
    assert list(bars.x) == PROBS and list(bars.y) == ["neutral", "happiness", "<b>fear</b>"]
    assert list(bars.marker.color) == [SKY, SKY, BLUE] and list(bars.text) == ["0.10", "0.20", "0.70"]
    assert figure.layout.title.text == "fear, blur 0.30" and "importance alpha 0.83" in words(figure)
    source = figure.layout.images[0].source.split(",", 1)[1]
    assert np.array_equal(pixels(base64.b64decode(source)), face)
    assert figure.layout.xaxis2.range == (0, 1) and figure.layout.yaxis2.autorange == "reversed"


def test_without_a_model_there_is_the_face_alone(face):
    figure = face_lab_figure(face)
    assert not figure.data and len(figure.layout.images) == 1
    assert figure.layout.width < face_lab_figure(face, PROBS, CLASSES).layout.width


def test_a_sentence_stands_where_the_face_or_the_bars_would_be(face):
    lost = face_lab_figure(None, problem="There is no face.")
    assert not lost.layout.images and not lost.data and "There is no face." in words(lost)
    silent = face_lab_figure(face, problem="The model <failed>.")
    assert len(silent.layout.images) == 1 and "The model &lt;failed&gt;." in words(silent)
    assert silent.layout.width == face_lab_figure(face, PROBS, CLASSES).layout.width


def test_letters_are_readable_on_a_projector(face):
    figure = face_lab_figure(face, PROBS, CLASSES, "fear")
    sizes = [figure.layout.font.size, figure.layout.title.font.size, figure.layout.yaxis2.tickfont.size]
    assert min(sizes + [a.font.size for a in figure.layout.annotations]) >= 14


# ---- its twin ----


def test_the_twin_has_the_face_and_bars_as_long_as_their_shares(face):
    picture = pixels(face_lab_png(face, PROBS, CLASSES, "fear, blur 0.30", alpha=0.83))
    assert count(picture, (200, 30, 10)) == 384 * 384
    best, others = count(picture, BLUE), count(picture, SKY)
    assert best > 1000 and best / others == pytest.approx(0.7 / 0.3, rel=0.05)
    assert picture.shape[1] > pixels(face_lab_png(face)).shape[1]


def test_the_twin_writes_sentences_too(face):
    lost, silent = pixels(face_lab_png(None, problem="No face.")), pixels(face_lab_png(face, problem="No word."))
    assert count(lost, (200, 30, 10)) == 0 and (lost < 100).all(-1).any()
    assert count(silent, (200, 30, 10)) == 384 * 384 and (silent[:, 410:] < 100).all(-1).any()


def test_the_same_input_gives_the_same_bytes(face):
    assert face_lab_png(face, PROBS, CLASSES, "高兴") == face_lab_png(face, PROBS, CLASSES, "高兴")


def test_many_classes_have_room(face):
    names = [f"class {i}" for i in range(30)]
    picture = pixels(face_lab_png(face, np.full(30, 1 / 30), names))
    assert picture.shape[0] == pixels(face_lab_png(face)).shape[0]
    assert len(face_lab_figure(face, np.full(30, 1 / 30), names).data[0].x) == 30


# ---- pieces for a page ----


def test_a_face_travels_in_its_own_size_and_a_sentence_fills_its_place(face):
    assert np.array_equal(pixels(face_png(face)), face)
    sentence = pixels(face_png(None, "There is no expression 'joy'; there are others."))
    assert sentence.shape == (384, 384, 3) and (sentence < 100).all(-1).any()


def test_bars_as_html():
    page = bars_html(PROBS, CLASSES, alpha=0.5)
    assert "width: 70.0%" in page and "0.70" in page and page.count("<b>") == 1
    assert 'aria-label="The network says (importance alpha 0.50): neutral 0.10, happiness 0.20, fear 0.70"' in page
    assert page.count(BLUE) == 1 and page.count(SKY) == 2
    assert bars_html(None, None) == "" and "&lt;no&gt;" in bars_html(None, None, problem="<no>")
    assert "<i>" not in bars_html([1.0], ["<i>"])


def test_the_caption_is_text():
    page = caption_html("fear <b>", [("jaw open", 0.5)])
    assert "fear &lt;b&gt;" in page and "jaw open 0.50" in page and "Strongest" not in caption_html("fear", [])


# ---- bad input ----


@pytest.mark.parametrize(
    ("probs", "classes", "sentence"),
    [
        ([0.5, 0.5], ["a"], "2 probabilities but 1 classes"),
        ([0.5, 0.5], None, "2 probabilities but 0 classes"),
        ([], [], "0 probabilities"),
        ([1.5, -0.5], ["a", "b"], "between 0 and 1"),
        ([np.nan, 1.0], ["a", "b"], "between 0 and 1"),
    ],
)
def test_bad_probabilities_are_refused(face, probs, classes, sentence):
    for draw in (face_lab_figure, face_lab_png):
        with pytest.raises(DataError, match=sentence):
            draw(face, probs, classes)
    with pytest.raises(DataError, match=sentence):
        bars_of(probs, classes)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8)])
def test_bad_images_are_refused(image):
    for draw in (face_lab_figure, face_lab_png, face_png):
        with pytest.raises(DataError, match="must be uint8 of shape"):
            draw(image)
