"""Pictures of detectors: what they show, their twins, and what they say where there is nothing to show."""

import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.detect.detectors import detector_scores, detector_table
from scn_fastai.errors import DataError
from scn_fastai.plots import (
    detector_bars,
    detector_bars_png,
    precision_curves,
    precision_curves_png,
    rank_scatter,
    rank_scatter_png,
)
from scn_fastai.plots.detect import bars_of, precision_points


@pytest.fixture
def table(run):
    return detector_table(run, n_boot=20)


@pytest.fixture
def scores(run):
    return detector_scores(run)[0]


@pytest.fixture
def wrong(run):
    return (run.ledger.given != run.truth).numpy()


def size(png):
    return Image.open(io.BytesIO(png)).size


def texts(figure):
    return " ".join(a.text for a in figure.layout.annotations)


def test_bars_are_the_figures_with_their_intervals(table):
    figure = detector_bars(table, "p_at_k", "by hand")
    (bar,) = figure.data
    rows = table.set_index("detector").loc[list(bar.y)]
    np.testing.assert_allclose(bar.x, rows["p_at_k"], atol=1e-6)
    assert list(bar.x) == sorted(bar.x, reverse=True) and len(bar.x) == 13  # those without a figure are left out
    np.testing.assert_allclose(
        np.array(bar.x) + bar.error_x.array, np.maximum(rows["p_at_k_high"], rows["p_at_k"]), atol=1e-5
    )
    np.testing.assert_allclose(np.array(bar.x) - bar.error_x.arrayminus, rows["p_at_k_low"], atol=1e-5)
    assert figure.layout.shapes[0].x0 == pytest.approx(table["wrong"][0] / table["n"][0], abs=1e-5)
    assert bars_of(table, "auroc")[1] == 0.5 and np.isnan(bars_of(table, "ap_within")[1])
    assert size(detector_bars_png(table, "p_at_k", "中文"))[0] == 900
    assert detector_bars_png(table) == detector_bars_png(table)


def test_bars_without_intervals_and_without_figures(run, table):
    assert detector_bars(detector_table(run, n_boot=0)).data[0].error_x.array[0] == 0
    empty = table[table["problem"] != ""]
    assert "No detector has this figure" in texts(detector_bars(empty)) and size(detector_bars_png(empty))
    with pytest.raises(DataError, match="no figure 'magic'; there are: auroc"):
        detector_bars(table, "magic")


def test_precision_by_loop(scores, wrong):
    score = scores["aum"]
    k, precision = precision_points(score, wrong)
    order = sorted(range(60), key=lambda i: -score[i])
    for count, value in zip(k, precision, strict=True):
        assert value == pytest.approx(sum(wrong[i] for i in order[: int(count)]) / count)
    tied = precision_points(np.zeros(60), wrong)[1]
    np.testing.assert_allclose(tied, wrong.mean())
    assert len(precision_points(np.full(60, np.nan), wrong)[0]) == 0


def test_a_curve_for_each_detector(scores, wrong):
    figure = precision_curves(scores, wrong)
    assert [trace.name for trace in figure.data] == list(scores)
    looks = {(trace.line.color, trace.line.dash) for trace in figure.data}
    assert len(looks) == len(scores)
    assert f"k = {wrong.sum()}" in texts(figure) and size(precision_curves_png(scores, wrong)) == (900, 480)
    assert "nothing to find" in texts(precision_curves(scores, wrong & False))
    assert size(precision_curves_png(scores, wrong & False))


def test_points_are_ranks_and_say_who_they_are(scores, wrong):
    first = scores["aum"].copy()
    first[4] = np.nan
    figure = rank_scatter(first, scores["alpha"], wrong, ("aum", "alpha"), 0.2)
    assert [t.name for t in figure.data] == [f"right label ({(~wrong).sum() - (not wrong[4])})",
                                             f"wrong label ({wrong.sum() - wrong[4]})"]  # fmt: skip
    points = {s: x for t in figure.data for s, x in zip(t.customdata, t.x, strict=True)}
    assert 4 not in points and len(points) == 59 and points[int(np.nanargmax(first))] == 1
    assert {shape.x0 for shape in figure.layout.shapes} >= {0.8}
    assert figure.layout.xaxis.title.text == "rank by aum (right: more suspicious)"
    assert rank_scatter(first, scores["alpha"]).data[0].name == "truth unknown (59)"
    assert size(rank_scatter_png(first, scores["alpha"], wrong, ("aum", "alpha"))) == (640, 620)


def test_without_points_there_is_a_sentence(wrong):
    nothing = np.full(60, np.nan)
    assert "No face has a score" in texts(rank_scatter(nothing, nothing, wrong)) and rank_scatter_png(nothing, nothing)
    with pytest.raises(DataError, match="60 and 60 scores and 3 marks"):
        rank_scatter(nothing, nothing, wrong[:3])
