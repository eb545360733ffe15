"""What was found in photographs, drawn on them: figure and PNG alike."""

import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.drawing import Picture, Shape, Words
from scn_fastai.plots.photograph import Marked, marked_drawing, photograph_figure, photograph_png

PHOTO = np.full((30, 40, 3), 90, np.uint8)
POINTS = np.array([[10, 8], [20, 8], [15, 12], [11, 18], [19, 18]])
VERMILION, SKY = (0xD5, 0x5E, 0x00), (0x56, 0xB4, 0xE9)


def pixels(*photographs, **options):
    return np.asarray(Image.open(io.BytesIO(photograph_png(photographs, **options))))


def test_boxes_and_points_lie_where_they_were_found():
    page = pixels(Marked(PHOTO, [[5, 4, 25, 24]], POINTS[None]))  # ten times as large, 12 pixels from the corner
    assert page.shape == (324, 424, 3) and page[200, 400].tolist() == [90, 90, 90]
    for row, column in ((12 + 40, 12 + 150), (12 + 240, 12 + 150), (12 + 140, 12 + 50), (12 + 140, 12 + 250)):
        around = {tuple(pixel) for line in page[row - 3 : row + 4, column - 3 : column + 4].tolist() for pixel in line}
        assert VERMILION in around and (255, 255, 255) in around
    assert (
        tuple(page[12 + 85, 12 + 105]) == SKY and tuple(page[12 + 85, 12 + 205]) == SKY
    )  # middles of pixels 8, 10, 20
    assert page[12 + 125, 12 + 155].tolist() == [255, 255, 255]


def test_what_reaches_beyond_the_photograph_is_drawn_at_its_edge():
    drawing = marked_drawing([Marked(PHOTO, [[-50, -50, 90, 90]])])
    corners = {corner for item in drawing.items if isinstance(item, Shape) for corner in item.points}
    assert corners == {(12, 12), (412, 12), (412, 312), (12, 312)}


def test_photographs_stand_in_rows_under_their_titles():
    high = np.zeros((80, 40, 3), np.uint8)
    photographs = [Marked(PHOTO, title="first"), Marked(high), Marked(PHOTO, title="third")]
    drawing = marked_drawing(photographs, columns=2, wide=100)
    placed = [(item.x, item.y, item.height) for item in drawing.items if isinstance(item, Picture)]
    assert placed == [(12, 40, 75), (124, 40, 200), (12, 280, 75)]
    assert [item.text for item in drawing.items if isinstance(item, Words)] == ["first", "third"]
    assert (drawing.width, drawing.height) == (236, 367)
    assert marked_drawing(photographs[1:2], columns=5).width == 424


def test_words_stand_at_their_boxes_and_on_the_page():
    drawing = marked_drawing([Marked(PHOTO, [[5, 10, 25, 24], [0, 0, 9, 9]], words=["0.99", "0.71"])])
    words = {item.text: (item.x, item.y) for item in drawing.items if isinstance(item, Words)}
    assert words == {"0.99": (12 + 50 + 4, 12 + 100 - 10), "0.71": (12 + 4, 12 + 10)}


def test_figure_and_png_have_one_size_and_the_same_words():
    photographs = [Marked(PHOTO, [[5, 10, 25, 24]], POINTS[None], "a title", ["0.99"])]
    figure = photograph_figure(photographs)
    assert Image.open(io.BytesIO(photograph_png(photographs))).size == (figure.layout.width, figure.layout.height)
    assert {note.text for note in figure.layout.annotations} == {"<b>a title</b>", "0.99"}
    assert photograph_png(photographs) == photograph_png(photographs)


@pytest.mark.parametrize(
    ("photographs", "sentence"),
    [
        ([], "no photograph to show"),
        ([Marked(PHOTO[..., 0])], r"uint8 of shape \[H, W, 3\], got uint8 \[30, 40\]"),
        ([Marked(PHOTO.astype(float))], "got float64"),
        ([Marked(PHOTO, [[0, 0, 9, 9]], words=["a", "b"])], "1 boxes but 2 words"),
    ],
)
def test_bad_input_is_a_sentence(photographs, sentence):
    with pytest.raises(DataError, match=sentence):
        photograph_png(photographs)
