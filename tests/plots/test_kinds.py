import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots import alpha_by_kind, alpha_by_kind_png, kind_ranking, kind_ranking_png
from scn_fastai.plots.kinds import kind_ranking_grid, kind_table

KINDS = np.array(["none"] * 6 + ["blur"] * 4 + ["low_light"] * 4, dtype=object)
ALPHA = np.array([0.9, 0.8, 0.85, 0.95, 0.7, 0.9, 0.1, 0.2, 0.3, 0.75, 0.95, 0.9, 0.99, np.nan])
FACES = np.repeat(np.arange(14, dtype=np.uint8) * 10, 64).reshape(14, 8, 8)
LABELS = np.arange(14) % 2


def test_the_table_puts_certain_faces_first_and_then_what_alpha_finds_best():
    table = kind_table(ALPHA, KINDS)
    assert table["kind"].tolist() == ["none", "blur", "low_light"] and table["n"].tolist() == [6, 4, 4]
    assert table["auroc"][1] == pytest.approx(23 / 24) and table["auroc"][2] < 0.25
    assert table["median"][0] == pytest.approx(0.875) and table["median"][2] == pytest.approx(0.95)


def test_a_box_for_each_kind_with_its_words():
    figure = alpha_by_kind(ALPHA, KINDS, "Epoch 3")
    assert [box.y[0] for box in figure.data] == ["low light (4, AUROC 0.14)", "blur (4, AUROC 0.96)", "certain (6)"]
    assert figure.data[2].median[0] == figure.layout.shapes[0].x0 and figure.layout.title.text == "Epoch 3"
    assert figure.data[2].marker.color != figure.data[0].marker.color


@pytest.mark.parametrize("kinds", [["none"] * 3, ["blur"] * 3])
def test_without_both_groups_a_sentence(kinds):
    figure = alpha_by_kind(np.ones(3), np.array(kinds))
    assert not figure.data and "No face is known to be uncertain" in figure.layout.annotations[0].text
    assert not kind_ranking(FACES[:3], np.ones(3), np.array(kinds), LABELS[:3]).data
    assert alpha_by_kind_png(np.ones(3), np.array(kinds))[1:4] == b"PNG"


def test_the_ranking_has_low_alpha_left_and_high_alpha_right():
    grid = kind_ranking_grid(FACES, ALPHA, KINDS, LABELS, ["sad", "glad"], k=2)
    assert grid.row_titles == ["certain", "blur", "low\nlight"] and grid.columns == 4
    blur = [caption for caption, slot in zip(grid.captions, grid.slots, strict=True) if slot // 4 == 1]
    assert blur == ["sad\nα 0.1000", "glad\nα 0.2000", "sad\nα 0.3000", "glad\nα 0.7500"]
    dark = [slot for slot in grid.slots if slot // 4 == 2]
    assert dark == [8, 10, 11] or dark == [8, 11]  # three faces were seen: one on the left, one or two on the right
    assert len(kind_ranking(FACES, ALPHA, KINDS, LABELS).data) + len(
        kind_ranking(FACES, ALPHA, KINDS, LABELS).layout.images
    )


def test_static_twins_are_pictures():
    for data in (alpha_by_kind_png(ALPHA, KINDS, "A title"), kind_ranking_png(FACES, ALPHA, KINDS, LABELS)):
        image = Image.open(io.BytesIO(data))
        assert image.width > 300 and np.asarray(image.convert("L")).std() > 5


def test_lengths_must_agree():
    with pytest.raises(DataError, match="13 scores but 14 kinds"):
        alpha_by_kind(ALPHA[:13], KINDS)
    with pytest.raises(DataError, match="14 faces, 14 alphas, 14 kinds and 3 labels"):
        kind_ranking(FACES, ALPHA, KINDS, LABELS[:3])
