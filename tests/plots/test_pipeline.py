"""The pipeline drawn from a batch: every number of these faces, frames for what is known, figure and PNG alike."""

import io
import re

import numpy as np
import oracle
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.drawing import Arrow, Drawing, Picture, Shape, Words, box, drawing_figure, drawing_png, fitted
from scn_fastai.plots.pipeline import STAGES, feature_strips, pipeline, pipeline_figure, pipeline_png

CLASSES = ["sad", "glad", "angry"]
ALPHA = np.array([0.9, 0.3, 0.8, 0.7, 0.5])
LOGITS = np.array([[2.0, 0, 0], [9, 0, 0], [0, 3, 0], [0, 0, 1], [1, 1, 0]])
TARGET = np.array([0, 1, 1, 2, 1])
SHADES = (10, 60, 110, 160, 210)


def faces(color=False):
    grey = np.stack([np.full((24, 24), shade, np.uint8) for shade in SHADES])
    return np.stack([grey] * 3, axis=-1) if color else grey


def batch(**options):
    return dict(images=faces(), features=None, alpha=ALPHA, logits=LOGITS, target=TARGET, classes=CLASSES) | options


def said(drawing):
    return [item.text for item in drawing.items if isinstance(item, Words)]


def stage_of(item):
    return next(name for name, (left, right) in STAGES.items() if left - 4 <= item.x <= right)


# ---- what is in the picture ----


def test_every_number_is_of_this_batch():
    words = said(pipeline(**batch()))
    wce = [oracle.wce([z], [a], [y]) for z, a, y in zip(LOGITS.tolist(), ALPHA.tolist(), TARGET.tolist(), strict=True)]
    assert [w for w in words if w.startswith("WCE ")] == [f"WCE {value:.2f}" for value in wce]
    assert [w for w in words if re.fullmatch(r"0\.\d\d", w)] == [f"{a:.2f}" for a in ALPHA]
    high, low = (0.9 + 0.8 + 0.7 + 0.5) / 4, 0.3
    assert f"alpha_H = {high:.2f}" in words and f"alpha_L = {low:.2f}" in words
    assert "alpha_H - alpha_L" in words and any("≥ delta1 = 0.15" in w for w in words)
    mean = sum(wce) / 5
    loss = f"L = gamma RR + (1 - gamma) WCE = 0.5 × 0.000 + 0.5 × {mean:.3f} = {mean / 2:.3f}"
    assert loss in words


def test_the_rules_can_be_others():
    words = said(pipeline(**batch(beta=0.4, rank_margin=0.5, combine="sum")))
    gap = (0.9 + 0.8) / 2 - (0.3 + 0.7 + 0.5) / 3
    assert f"RR = {0.5 - gap:.2f}" in words and any(w.startswith("L = RR + WCE") for w in words)
    assert "softmax(alpha / mean · W x)" in said(pipeline(**batch(relative=True)))


def test_who_is_relabelled_and_who_stays():
    words = said(pipeline(**batch(beta=0.6)))
    p = oracle.softmax([0.3 * z for z in LOGITS[1].tolist()])
    assert "glad → sad" in words and "glad: stays" in words  # the low group: samples 1 and 4
    assert f"P_max {p[0]:.2f}, P_given {p[1]:.2f}" in words and f"{p[0] - p[1]:.2f} > delta2 = 0.20" in words
    assert "asked: the low group" in words
    everyone = said(pipeline(**batch(scope="all")))
    assert sum("delta2 = 0.20" in w for w in everyone) == 5 and "asked: the low group" not in everyone


def test_faces_stand_in_their_groups_by_alpha():
    drawing = pipeline(**batch(beta=0.6))
    placed = {name: [] for name in STAGES}
    for item in drawing.items:
        if isinstance(item, Picture):
            placed[stage_of(item)].append((item.y, item.x, int(item.image[0, 0])))
    assert [shade for *_, shade in placed["faces"]] == list(SHADES)
    assert [shade for *_, shade in sorted(placed["rank"])] == [10, 110, 160, 210, 60]  # 0 2 3 | 4 1
    assert [shade for *_, shade in sorted(placed["relabel"])] == [60, 210]  # the changed one first


def test_frames_say_what_is_known():
    def frames(drawing):
        return [item for item in drawing.items if isinstance(item, Shape) and item.line == 4]

    assert not frames(pipeline(**batch()))
    known = pipeline(
        **batch(truth=["sad", "sad", "glad", "angry", "glad"], ambiguous=[True, True, False, False, False])
    )
    first = [item for item in frames(known) if item.points[0][0] < STAGES["faces"][1]]
    assert [item.dashed for item in first] == [True, False]  # a wrong label says more than an ambiguous face
    assert "(sad)" in said(known) and any("dashed frame" in w for w in said(known))
    right = pipeline(**batch(truth=TARGET))
    assert not frames(right) and not any("frame" in w for w in said(right))


def test_features_are_drawn_where_they_are_given():
    strips = feature_strips(np.array([[0.0, 4.0], [2.0, 1.0]]), cells=2)
    shades = np.stack([strip[..., 0].ravel() for strip in strips])
    assert shades[0].tolist() == [255, 170, 85, 0] and shades.shape == (2, 4)
    with_features = pipeline(**batch(features=np.eye(5)))
    assert sum(isinstance(item, Picture) for item in with_features.items) == 5 + sum(
        isinstance(item, Picture) for item in pipeline(**batch()).items
    )
    assert feature_strips(np.ones((2, 3)))[0].max() == 255  # features that are all alike


@pytest.mark.parametrize("count", [2, 5, 8])
def test_everything_lies_on_the_page(count):
    rows = np.arange(count) % 5
    options = batch(images=faces()[rows], alpha=ALPHA[rows], logits=LOGITS[rows], target=TARGET[rows], truth=rows % 3)
    for scope in ("low", "all"):
        drawing = pipeline(**options, scope=scope)
        for item in drawing.items:
            points = item.points if hasattr(item, "points") else [(item.x, item.y)]
            points = [*points, (item.x + item.width, item.y + item.height)] if isinstance(item, Picture) else points
            assert all(0 <= x <= drawing.width and 0 <= y <= drawing.height for x, y in points), item
        lowest = max(item.y for item in drawing.items if isinstance(item, Words) and "delta2 =" in item.text)
        assert lowest < drawing.height - 110  # above the loss


def test_letters_are_large_enough():
    assert min(item.size for item in pipeline(**batch()).items if isinstance(item, Words)) >= 14


# ---- figure and PNG ----


def test_figure_and_png_have_one_size_and_the_same_words():
    options = batch(images=faces(color=True), classes=["难过", "高兴", "<b>"])
    figure = pipeline_figure(**options)
    page = Image.open(io.BytesIO(pipeline_png(**options)))
    assert page.size == (figure.layout.width, figure.layout.height) and page.size[0] == 1280
    texts = [note.text.removeprefix("<b>").removesuffix("</b>") for note in figure.layout.annotations if note.text]
    assert len(texts) == len(said(pipeline(**options))) and "&lt;b&gt;" in texts and "高兴 → 难过" in texts


def test_png_shows_the_faces_where_they_belong():
    page = np.asarray(Image.open(io.BytesIO(pipeline_png(**batch()))))
    for item in pipeline(**batch()).items:
        if isinstance(item, Picture):
            middle = page[round(item.y + item.height / 2), round(item.x + item.width / 2)]
            assert abs(int(middle[0]) - int(item.image[0, 0])) <= 1
    assert pipeline_png(**batch()) == pipeline_png(**batch())


def test_a_drawing_in_both_ways():
    items = [
        box(10, 10, 20, 20, fill="#FF0000", edge=None),
        box(40, 10, 20, 20, edge="#0000FF", dashed=True),
        Arrow([(5, 50), (80, 50)], "#00FF00"),
        Words(50, 70, "words", anchor="center"),
    ]
    drawing = Drawing(100, 90, items)
    page = np.asarray(Image.open(io.BytesIO(drawing_png(drawing))))
    assert page[20, 20].tolist() == [255, 0, 0] and page[50, 70].tolist() == [0, 255, 0]
    edge = page[10, 41:60]
    assert {tuple(pixel) for pixel in edge.tolist()} == {(0, 0, 255), (255, 255, 255)}  # dashed: blue and white
    figure = drawing_figure(drawing)
    assert len(figure.layout.shapes) == 3 and [a.text for a in figure.layout.annotations] == ["", "words"]
    assert figure.layout.yaxis.range == (90, 0)


def test_a_text_is_cut_where_it_does_not_fit():
    assert fitted("glad", 100) == "glad" and fitted("a very long name of a class", 80).endswith("…")
    assert fitted("anything", 0) == "…"


# ---- bad input ----


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"images": faces()[:1]}, "room for 2 to 8 faces, got 1"),
        ({"images": np.zeros((9, 4, 4), np.uint8)}, "room for 2 to 8 faces, got 9"),
        ({"images": faces().astype(float)}, "must be uint8"),
        ({"alpha": ALPHA[:4]}, "5 faces but 4 for alpha"),
        ({"features": np.zeros((3, 2))}, "5 faces but 3 for features"),
        ({"truth": [0]}, "5 faces but 1 for truth"),
        ({"logits": LOGITS[:3]}, "logits"),
        ({"alpha": np.full(5, np.nan)}, "has no alpha"),
        ({"truth": [0, 0, 0, 0, 7]}, "outside the 3 classes"),
    ],
)
def test_bad_input_is_a_sentence(change, sentence):
    with pytest.raises(DataError, match=sentence):
        pipeline(**batch(**change))
