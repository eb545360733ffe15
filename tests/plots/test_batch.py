"""The figure of a batch: bars in order, lines and hinge where the equations put them, words, and the same as PNG."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
from PIL import Image

from scn_fastai.core.microscope import examine_batch
from scn_fastai.errors import DataError
from scn_fastai.plots.batch import MOST_IN_STRIP, batch_figure, batch_picture, domain, spread
from scn_fastai.plots.batch_words import face_words, hinge_words, hover_words, loss_words, rule_words
from scn_fastai.plots.static_batch import batch_png
from scn_fastai.training.settings import PRESETS

ALPHA = [0.4, 0.9, 0.2, 0.8, 0.7]  # ranked 1 3 4 0 2
LOGITS = [[2.0, 0, 0], [0, 3, 0], [9, 0, 0], [0, 0, 1], [1, 1, 0]]
TARGET = [0, 1, 1, 0, 2]


def a_report(**settings):
    settings = {"beta": 0.6, "rank_margin": 0.6, "classes": ["sad", "glad", "平静"]} | settings
    return examine_batch(torch.tensor(LOGITS), torch.tensor(ALPHA), torch.tensor(TARGET), **settings)


def shades(n, color=False):
    """Faces of one shade each."""
    faces = np.repeat(np.arange(n, dtype=np.uint8) * 40 + 20, 16 * 16).reshape(n, 16, 16)
    return np.stack([faces] * 3, axis=-1) if color else faces


def traces(figure):
    return {trace.name: trace for trace in figure.data}


# ---- the figure ----


def test_bars_stand_in_the_order_of_alpha_and_in_their_group():
    figure = traces(batch_figure(a_report()))
    high, low = figure["high group (3)"], figure["low group (2)"]
    assert list(high.x) == [0, 1, 2] and list(high.y) == pytest.approx([0.9, 0.8, 0.7])
    assert list(low.x) == [3, 4] and list(low.y) == pytest.approx([0.4, 0.2])
    assert list(low.customdata) == [0, 2] and high.marker.color != low.marker.color
    assert high.marker.pattern.shape != low.marker.pattern.shape  # a second cue beside the colour


def test_wce_and_gradients_follow_the_same_order():
    report, order = a_report(), [1, 3, 4, 0, 2]
    figure = traces(batch_figure(report))
    assert list(figure["WCE"].y) == pytest.approx(report.wce[order].tolist(), abs=1e-6)
    parts = np.array(figure["from WCE"].y) + np.array(figure["from RR"].y)
    assert parts == pytest.approx(report.gradient[order].numpy(), abs=1e-5)
    rises, falls = figure["alpha rises"], figure["alpha falls"]
    assert list(rises.x) == [i for i in range(5) if report.gradient[order[i]] < 0]
    assert sorted([*rises.x, *falls.x]) == [0, 1, 2, 3, 4]


def test_stars_stand_on_the_labels_that_would_change():
    report = a_report(relabel_margin=0.5)
    star = traces(batch_figure(report))["label would change (1)"]
    assert report.changed.tolist() == [False, False, True, False, False] and list(star.x) == [4]
    assert "relabelled: glad -&gt; sad" in star.hovertext[0]


def test_the_hinge_is_the_area_that_lacks():
    picture = batch_picture(a_report())
    assert picture.hinge == pytest.approx((0.8, 0.3 + 0.6)) and picture.split == 2.5
    assert [round(level.y, 6) for level in picture.levels] == [0.8, 0.9, 0.3]
    shapes = batch_figure(a_report()).layout.shapes
    (area,) = [shape for shape in shapes if shape.type == "rect"]
    assert (area.y0, area.y1) == pytest.approx((0.8, 0.9))
    assert sum(shape.x0 == shape.x1 == 2.5 for shape in shapes) == 3  # the split goes through all three panels
    met = batch_figure(a_report(rank_margin=0.4))
    assert not [shape for shape in met.layout.shapes if shape.type == "rect"]
    assert all(annotation.text != "RR" for annotation in met.layout.annotations)


def test_a_margin_that_cannot_be_met_stays_in_the_picture():
    assert batch_picture(a_report(rank_margin=1.0)).top > 1.3


def test_words_of_close_lines_do_not_meet():
    heights = spread([0.8, 0.81, 0.79, 0.2], 0.1)
    assert heights[3] == 0.2 and heights[1] > heights[0] > heights[2]
    assert min(np.diff(sorted(heights))) > 0.0999


def test_panels_do_not_overlap():
    for panels in (batch_picture(a_report(), True).panels, batch_picture(a_report()).panels):
        edges = [edge for name in panels for edge in domain(panels, name)[::-1]]
        assert edges == sorted(edges, reverse=True) and edges[0] == 1 and edges[-1] >= 0


def test_faces_stand_below_their_bars():
    figure = batch_figure(a_report(), shades(5, color=True))
    assert [image.x for image in figure.layout.images] == [0, 1, 2, 3, 4]
    first = Image.open(io.BytesIO(b64decode(figure.layout.images[0].source.split(",", 1)[1])))
    assert abs(np.asarray(first).mean() - 60) < 3  # face 1 has the highest alpha
    assert not batch_figure(a_report()).layout.images


def test_many_faces_have_no_strip():
    n = MOST_IN_STRIP + 1
    report = examine_batch(torch.zeros(n, 2), torch.rand(n), torch.zeros(n, dtype=torch.int64))
    assert not batch_figure(report, np.zeros((n, 8, 8), np.uint8)).layout.images


@pytest.mark.parametrize("n", [1, 2])
def test_small_batches(n):
    report = examine_batch(torch.zeros(n, 2), torch.tensor([0.5, 0.9])[:n], torch.zeros(n, dtype=torch.int64))
    figure = batch_figure(report, shades(n))
    assert len(figure.layout.images) == n and batch_png(report, shades(n))[:4] == b"\x89PNG"
    picture = batch_picture(report)
    assert (picture.split, len(picture.levels)) == ((None, 0) if n == 1 else (0.5, 3))


def test_what_does_not_fit_is_a_sentence():
    with pytest.raises(DataError, match="5 samples but 4 faces"):
        batch_figure(a_report(), shades(4))
    with pytest.raises(DataError, match="5 samples but 1 names"):
        batch_png(a_report(), names=["a"])


# ---- words ----


def test_the_hinge_in_words():
    assert hinge_words(a_report()) == "alpha_H - alpha_L = 0.50 < delta1 = 0.60: RR = 0.10"
    assert hinge_words(a_report(rank_margin=0.4)).endswith("= 0.50 ≥ delta1 = 0.40: the margin is met, RR = 0")
    assert "0.5000 < delta1 = 0.5002: RR = 0.0002" in hinge_words(a_report(rank_margin=0.5002))


def test_the_loss_in_words_adds_up():
    report = a_report(gamma=0.25)
    gamma, rank, rest, wce, total = map(float, re.findall(r"\d+\.\d+", loss_words(report)))
    assert (gamma, rest) == (0.25, 0.75) and gamma * rank + rest * wce == pytest.approx(total, abs=0.002)
    assert total == pytest.approx(report.total.item(), abs=0.0005)


def test_hover_names_everything():
    report = a_report()
    lines = hover_words(report, [f"photo{i}.png" for i in range(5)])[2].split("<br>")
    assert lines[:3] == ["photo2.png", "label: glad", "alpha = 0.2000, rank 5 of 5, low group; weight 0.200"]
    p_max = float(torch.tensor(LOGITS[2]).mul(0.2).softmax(0).max())
    assert lines[3] == f"P_max = {p_max:.2f} (sad), P_given = {(1 - p_max) / 2:.2f}"
    assert lines[5].startswith(f"dL / d alpha = {report.gradient[2]:+.5f}") and lines[-1].startswith("relabelled")


def test_words_below_a_face():
    first, *rest = face_words(a_report(), 2).split("\n")
    assert first == f"α 0.200, WCE {a_report().wce[2]:.2f}" and "relabelled" in " ".join(rest)
    assert max(map(len, rest)) <= 24


def test_recipes_say_what_they_do():
    texts = {name: rule_words(settings) for name, settings in PRESETS.items()}
    assert "alpha / mean alpha" in texts["default"] and "budget" in texts["default"]
    assert "low group" in texts["paper"] and "given label" in texts["paper"]
    assert "all labels" in texts["released"] and "current label" in texts["released"]


# ---- the PNG twin ----


def test_png_shows_the_same():
    report = a_report()
    page = np.asarray(Image.open(io.BytesIO(batch_png(report, shades(5, color=True), title="高兴"))).convert("RGB"))
    assert page.shape == (606, 1080, 3)
    middle = [int(column) for column in 74 + (1080 - 74 - 190) * (np.arange(5) + 0.6) / 5.2]
    y = 56 + 212 + 20  # in the middle of the strip
    assert [int(page[y, x, 0]) for x in middle] == pytest.approx([60, 140, 180, 20, 100], abs=3)
    foot = 56 + 210 - 4  # just above the axis of alpha: blue bars, then vermilion ones
    assert [page[foot, x, 2] > page[foot, x, 0] for x in middle] == [True, True, True, False, False]


def test_png_is_the_same_every_time():
    assert batch_png(a_report(), shades(5)) == batch_png(a_report(), shades(5))
