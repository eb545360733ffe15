import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor
from scipy import stats

from scn_fastai.plots import (
    accuracy_dots,
    accuracy_dots_png,
    change_map,
    change_map_png,
    compare_curves,
    training_curves,
)
from scn_fastai.plots.changes import NO_CHANGE, change_counts
from scn_fastai.plots.comparison import NO_FIGURE, paired_gap, recipe_table
from scn_fastai.plots.curves import seeds_side_by_side
from scn_fastai.plots.static import sentence_png
from scn_fastai.plots.style import SERIES


def table(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"epoch": range(n)} | columns)


def words_of(figure):
    return [a.text for a in figure.layout.annotations]


def test_a_line_for_each_column_of_a_real_history(run):
    epochs = run.history.frame()
    before = epochs.copy()
    figure = training_curves(epochs)
    lines = {trace.name: trace for trace in figure.data}
    assert list(lines["validation"].y) == pytest.approx([0.6, 0.7, 0.8]) and list(lines["validation"].x) == [0, 1, 2]
    assert set(lines) == {
        "validation", "training, given labels", "differ from the given label", "changed in this epoch",
        "high group (alpha_H)", "low group (alpha_L)", "rank loss", "weighted cross-entropy",
    }  # fmt: skip
    gap = before["alpha_high"].iloc[-1] - before["alpha_low"].iloc[-1]
    assert f"gap {gap:.2f}" in words_of(figure)
    assert lines["low group (alpha_L)"].fill == "tonexty"
    pd.testing.assert_frame_equal(epochs, before)


def test_a_line_stands_where_relabeling_began(run):
    figure = training_curves(run.history.frame())
    assert {(line.x0, line.x1) for line in figure.layout.shapes} == {(1, 1)}
    assert "relabeling begins" in words_of(figure)
    assert not training_curves(table(accuracy=[0.1, 0.2], relabeling=[False, False])).layout.shapes


def test_figures_of_the_truth_get_a_panel():
    figure = training_curves(table(label_accuracy=[0.7, 0.8], relabel_precision=[np.nan, 0.9]))
    assert "<b>Share that is true, in training</b>" in words_of(figure)
    assert figure.data[1].y == (None, 0.9)


def test_missing_columns_leave_no_empty_panel():
    figure = training_curves(pd.DataFrame({"accuracy": [0.5, 0.6], "wce": [None, None], "odd": ["a", "b"]}))
    assert [t.name for t in figure.data] == ["validation"] and "xaxis2" not in figure.layout


def test_a_training_without_changes_has_no_panel_of_them():
    assert len(training_curves(table(changed=[0, 0], relabeled=[0, 0], wce=[1.0, 0.5])).data) == 1
    assert len(training_curves(table(changed=[0, 1], relabeled=[0, 1], wce=[1.0, 0.5])).data) == 3


def test_one_epoch_is_a_point_that_can_be_seen():
    figure = training_curves(table(accuracy=[0.5]))
    assert "markers" in figure.data[0].mode and list(figure.layout.xaxis.range) == [-0.5, 0.5]


@pytest.mark.parametrize("epochs", [pd.DataFrame(), pd.DataFrame({"epoch": [0], "accuracy": [np.nan]})])
def test_nothing_to_draw_is_said(epochs):
    figure = training_curves(epochs)
    assert not figure.data and "no finished epoch" in words_of(figure)[0]


def test_seeds_become_a_mean_and_a_band():
    seeds = [table(accuracy=[0.5, 0.6]), table(accuracy=[0.3, 0.8])]
    figure = compare_curves({"plain": seeds, "default": [table(accuracy=[0.9])]})
    band, mean, alone = figure.data
    assert mean.y == (0.4, 0.7) and mean.name == "plain (2 seeds)" and mean.line.dash != alone.line.dash
    assert band.x == (0, 1, 1, 0) and band.y == (0.5, 0.8, 0.6, 0.3)
    assert alone.name == "default (1 seed)" and mean.line.color == SERIES[0] and alone.line.color == SERIES[1]


def test_seeds_of_different_length_and_without_the_column():
    frames = [table(accuracy=[0.5, 0.6, 0.7]), table(accuracy=[0.3]), table(wce=[1.0]), pd.DataFrame()]
    assert seeds_side_by_side(frames).shape == (3, 2)
    assert "no finished epoch" in words_of(compare_curves({"x": [pd.DataFrame()]}))[0]


def test_dots_show_every_run():
    runs = pd.DataFrame({"recipe": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy_last": [0.5, 0.7, None]})
    figure = accuracy_dots(runs)
    assert figure.data[0].x == (0.5, 0.7) and figure.data[1].x == (0.6,) and len(figure.data) == 2


def test_the_png_of_the_dots_has_a_line_for_each_recipe():
    runs = pd.DataFrame({"recipe": ["a", "a", "b"], "seed": [0, 1, 0], "accuracy_last": [0.5, 0.7, 0.6]})
    one, two = (Image.open(io.BytesIO(accuracy_dots_png(part))) for part in (runs[:2], runs))
    assert two.height > one.height and one.width == two.width
    seen = np.asarray(two.convert("RGB")).astype(int)
    assert all((np.abs(seen - ImageColor.getrgb(color)).max(-1) <= 2).any() for color in SERIES[:2])
    assert accuracy_dots_png(runs.assign(accuracy_last=None)) == sentence_png(NO_FIGURE)


def test_the_png_of_the_map_is_dark_where_most_changed():
    given, current = [0] * 30 + [1] * 3, [1] * 30 + [2] * 2 + [1]
    seen = np.asarray(Image.open(io.BytesIO(change_map_png(given, current, ["a", "b", "c"]))).convert("RGB")).astype(
        int
    )
    rows, columns = np.nonzero((np.abs(seen - (8, 48, 107)).max(-1) <= 2)[:, : seen.shape[1] * 3 // 4])
    assert len(rows) > 1000 and rows.max() < seen.shape[0] / 2  # 0 to 1: in the first of three rows
    assert change_map_png(given, given, ["a", "b", "c"]) == sentence_png(NO_CHANGE)


def test_the_interval_is_students_over_the_common_seeds():
    mine, base = pd.Series([0.70, 0.72, 0.69, 0.71], [0, 1, 2, 9]), pd.Series([0.66, 0.67, 0.68, 0.6], [0, 1, 2, 8])
    gaps = np.array([0.04, 0.05, 0.01])
    low, high = stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps))
    mean, half = paired_gap(mine, base)
    assert [mean, mean - half, mean + half] == pytest.approx([gaps.mean(), low, high])


def test_a_row_per_recipe():
    runs = pd.DataFrame({
        "recipe": ["plain", "plain", "x", "x"], "seed": [0, 1, 1, 0], "accuracy_last": [0.5, 0.6, 0.72, 0.6],
        "accuracy_best": [0.6, 0.6, 0.8, 0.8], "relabel_precision": [None, None, 0.7, 0.9], "seconds": [60.0] * 4,
    })  # fmt: skip
    rows = recipe_table(runs).set_index("recipe")
    assert rows.loc["plain", "last epoch"] == "55.0% ± 7.1" and rows.loc["x", "best epoch"] == "80.0% ± 0.0"
    assert rows.loc["x", "minus plain (95 % interval)"].startswith("+11.0 points (")
    assert rows.loc["plain", "relabel precision"] == "–" and rows.loc["x", "relabel precision"] == "80.0%"
    assert "minus plain (95 % interval)" not in recipe_table(runs[runs["recipe"] == "x"])


def test_changes_are_counted_from_class_to_class():
    given, current = [0, 0, 1, 2, 2], [1, 1, 1, 0, 2]
    assert change_counts(given, current, 3).tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]
    heat = change_map(np.array(given), np.array(current), ["高兴", "a<b", "c"]).data[0]
    assert heat.z[0][1] == 2 and heat.z[0][0] is None and heat.text[0][1] == "2" and heat.text[0][2] == ""
    assert list(heat.y) == ["高兴", "a&lt;b", "c"]


def test_no_change_is_said():
    assert "No label differs" in words_of(change_map(np.zeros(3, int), np.zeros(3, int), ["a"]))[0]
