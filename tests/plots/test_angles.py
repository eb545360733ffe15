"""Directions in the plane: who wins by how much, counted one by one, and what the picture shows of it."""

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageColor

from scn_fastai.errors import DataError
from scn_fastai.plots import angles_png
from scn_fastai.plots.angles import STEPS, Directions, angles_figure, lead, winning_arcs
from scn_fastai.plots.style import SERIES

THREE = np.array([[math.cos(a), math.sin(a)] for a in np.radians([90, 210, 330])])


def test_the_lead_is_that_of_the_loops():
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(9, 4)), rng.normal(size=(3, 4)), rng.integers(0, 3, 9)
    for found, row, own in zip(lead(x, y, w), x, y, strict=True):
        cosines = [row @ v / (math.hypot(*row) * math.hypot(*v)) for v in w]
        assert found == pytest.approx(cosines[own] - max(c for j, c in enumerate(cosines) if j != own))
    with pytest.raises(DataError, match="nothing to win against"):
        lead(x, y * 0, w[:1])


def test_a_margin_leaves_gaps_between_the_arcs():
    without, some, all_of_it = (winning_arcs(THREE, margin) for margin in (0.0, 0.35, 1.6))
    assert (without == -1).sum() <= 3 and [(without == j).sum() for j in range(3)] == [STEPS // 3 - 1] * 3
    share = (some >= 0).mean()
    assert 0.5 < share < 0.9 and set(some) == {-1, 0, 1, 2} and set(all_of_it) == {-1}
    assert (without[some >= 0] == some[some >= 0]).all()  # what is won by a margin is won


def test_the_picture_has_a_panel_for_each_margin():
    panels = [Directions(3 * THREE, np.arange(3), THREE, margin, f"m = {margin}") for margin in (0.0, 0.35)]
    figure = angles_figure(panels, ["Ada", "Bo", "Cy"], "Three people")
    assert [a.text for a in figure.layout.annotations] == ["m = 0.0", "m = 0.35"]
    assert [t.name for t in figure.data if t.showlegend] == ["Ada", "Bo", "Cy"]
    dots = [t for t in figure.data if t.mode == "markers"]
    assert len(dots) == 6 and all(math.hypot(t.x[0], t.y[0]) == pytest.approx(1, abs=0.02) for t in dots)
    arcs = [t for t in figure.data if t.line.width == 9]
    assert sum(x is not None for t in arcs[:3] for x in t.x) > sum(x is not None for t in arcs[3:] for x in t.x)


def test_a_class_without_a_feature_and_one_panel():
    figure = angles_figure([Directions(THREE[:1], np.array([0]), THREE, 0.2)])
    assert [len(t.x) for t in figure.data if t.mode == "markers"] == [1, 0, 0]


def test_the_png_shows_the_same_arcs():
    drawn = []
    for margin in (0.0, 0.35):
        png = angles_png([Directions(THREE, np.arange(3), THREE, margin)], ["Ada", "Bo", "Cy"])
        picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
        drawn.append([(np.abs(picture - ImageColor.getrgb(color)).max(-1) <= 2).sum() for color in SERIES[:3]])
    assert np.ptp(drawn[0]) < 0.1 * max(drawn[0])  # as much of each class
    assert all(0 < some < 0.95 * whole for whole, some in zip(*drawn, strict=True))
