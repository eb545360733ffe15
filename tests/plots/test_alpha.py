import time

import numpy as np
import pytest

from scn_fastai.errors import DataError
from scn_fastai.plots import alpha_histogram
from scn_fastai.plots.alpha import alpha_groups, gap_words

ALPHA = np.array([0.1, 0.3, 0.8, 0.9, np.nan, 1.0])
LOW = np.array([True, True, False, False, True, False])


def test_groups_are_counted_apart_and_stacked():
    figure = alpha_histogram(ALPHA, LOW, margin=0.15)
    low, high = figure.data
    assert (sum(low.y), sum(high.y)) == (2, 3) and (low.name, high.name) == ("low group (2)", "high group (3)")
    assert figure.layout.barmode == "stack" and low.marker.color != high.marker.color


def test_means_are_marked():
    figure = alpha_histogram(ALPHA, LOW)
    assert [line.x0 for line in figure.layout.shapes] == pytest.approx([0.9, 0.2])
    texts = " ".join(a.text for a in figure.layout.annotations)
    assert "alpha_H = 0.90" in texts and "alpha_L = 0.20" in texts


@pytest.mark.parametrize(
    ("margin", "word"), [(0.15, "wider than the margin of 0.15"), (0.75, "narrower than the margin")]
)
def test_the_title_says_gap_margin_and_unseen(margin, word):
    title = alpha_histogram(ALPHA, LOW, margin, "Epoch 3").layout.title.text
    assert title.startswith("Epoch 3") and "alpha_H - alpha_L = 0.70" in title and word in title
    assert "1 sample was not seen" in title


def test_without_groups_there_is_one():
    figure = alpha_histogram(ALPHA)
    assert len(figure.data) == 1 and sum(figure.data[0].y) == 5
    assert gap_words(alpha_groups(ALPHA)) == "mean alpha 0.62; 1 sample was not seen"


def test_an_empty_group_does_no_harm():
    figure = alpha_histogram(ALPHA, np.zeros(6, bool), margin=0.1)
    assert len(figure.layout.shapes) == 1 and "mean alpha 0.62" in figure.layout.title.text


def test_nothing_seen_is_said():
    for alpha in (np.full(4, np.nan), np.array([])):
        figure = alpha_histogram(alpha)
        assert not figure.data and "No sample was seen" in figure.layout.annotations[0].text


def test_alphas_all_alike():
    groups = alpha_groups(np.full(10, 0.5))
    assert sum(groups.counts["all"]) == 10 and groups.edges[-1] > groups.edges[0]
    assert sum(alpha_groups(np.ones(3)).counts["all"]) == 3


def test_lengths_must_agree():
    with pytest.raises(DataError, match="6 values of alpha but 2 groups"):
        alpha_histogram(ALPHA, LOW[:2])


def test_thirty_thousand_samples_are_quick_and_small():
    alpha = np.random.default_rng(0).random(30_000)
    began = time.perf_counter()
    figure = alpha_histogram(alpha, alpha < 0.3, 0.15)
    assert time.perf_counter() - began < 5 and len(figure.to_json()) < 30_000


def test_the_arrays_stay_as_they_are():
    alpha, low = ALPHA.copy(), LOW.copy()
    alpha_histogram(alpha, low, 0.15)
    np.testing.assert_array_equal(alpha, ALPHA)
    np.testing.assert_array_equal(low, LOW)
