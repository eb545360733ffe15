"""Figures 1 and 4: which faces stand where."""

import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.paper import (
    certain_to_uncertain,
    certain_to_uncertain_grid,
    certain_to_uncertain_png,
    guess_the_label,
    guess_the_label_grid,
    guess_the_label_png,
    least_important,
)


def shades(n):
    """Faces of one shade each: its first pixel tells which it is."""
    return np.repeat(np.arange(n, dtype=np.uint8), 64).reshape(n, 8, 8)


def test_a_row_of_figure_1_runs_from_the_least_doubt_of_a_class_to_the_most():
    doubt = np.array([0.9, 0.1, 0.5, 0.3, np.nan, 0.2])
    labels = ["sad", "sad", "sad", "glad", "glad", "glad"]
    grid = certain_to_uncertain_grid(shades(6), labels, doubt, ["glad", "sad"], columns=3)
    assert grid.images[:, 0, 0].tolist() == [5, 3, 1, 2, 0]  # glad: .2, .3 (one unknown); sad: .1, .5, .9
    assert grid.slots == [0, 1, 3, 4, 5] and grid.row_titles == ["glad", "sad"]
    assert grid.captions == ["0.20", "0.30", "0.10", "0.50", "0.90"]


def test_figure_4_takes_the_classes_in_turn_and_the_lowest_first():
    alpha = np.array([0.10, 0.11, 0.12, 0.50, np.nan, 0.40])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert least_important(alpha, labels, ["sad", "glad"], 4) == [0, 5, 1, 3]
    grid = guess_the_label_grid(shades(6), alpha, labels, ["sad", "glad"], k=3)
    assert grid.images[:, 0, 0].tolist() == [0, 5, 1] and grid.captions == ["1\nsad", "2\nglad", "3\nsad"]
    assert guess_the_label_grid(shades(6), alpha, labels, k=3, answers=False).captions == ["1", "2", "3"]


def test_faces_may_be_a_list():
    grid = certain_to_uncertain_grid([*shades(2), None], ["a"] * 3, [1, 2, 3])
    assert grid.images[:, 0, 0].tolist() == [0, 1, 190]  # a missing face is a grey tile


@pytest.mark.parametrize("make", [certain_to_uncertain_png, guess_the_label_png])
def test_twins_are_pictures(make):
    arguments = [np.arange(4) / 4, ["a", "b", "a", "b"]]
    arguments = arguments if make is guess_the_label_png else arguments[::-1]
    assert Image.open(io.BytesIO(make(shades(4), *arguments))).size[0] > 200


def words(figure):
    return figure.layout.annotations[0].text


def test_nothing_to_show_is_said():
    nothing = np.full(2, np.nan)
    assert "No face has a score" in words(certain_to_uncertain(shades(2), ["a", "b"], nothing))
    assert "No face has a score" in words(guess_the_label(shades(2), nothing, ["a", "b"]))
    with pytest.raises(DataError, match="2 faces but 3 values of doubt"):
        certain_to_uncertain(shades(2), ["a", "b"], [1, 2, 3])
    with pytest.raises(DataError, match="2 faces but 3 values of labels"):
        guess_the_label(shades(2), [0.1, 0.2], ["a", "b", "c"])
