"""Figures of a score against scikit-learn and plain loops, and what happens where they are not defined."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scn_fastai.detect.metrics import (
    METRICS,
    curves,
    detection_figures,
    figures_frame,
    rank_correlation,
    vote_entropy,
)
from scn_fastai.errors import DataError, SettingsError


@pytest.fixture
def made():
    """A score with ties, and which samples are wrong."""
    rng = np.random.default_rng(1)
    wrong = rng.random(200) < 0.3
    return np.round(rng.normal(size=200) + wrong, 1), wrong, np.arange(200) % 4


def precision_by_draws(score, wrong, draws=4000):
    """Mean share of wrong samples among the first k, ties broken at random."""
    rng, k = np.random.default_rng(0), int(wrong.sum())
    return np.mean([wrong[np.lexsort((rng.random(len(score)), -score))[:k]].mean() for _ in range(draws)])


def test_they_are_scikit_learns(made):
    score, wrong, _ = made
    found = curves(score, wrong)
    assert found.auroc[0] == pytest.approx(roc_auc_score(wrong, score), abs=1e-12)
    assert found.ap[0] == pytest.approx(average_precision_score(wrong, score), abs=1e-12)
    assert found.p_at_k[0] == pytest.approx(precision_by_draws(score, wrong), abs=0.003)


def test_weights_are_samples_drawn_so_often(made):
    score, wrong, _ = made
    weights = np.random.default_rng(2).integers(0, 4, (5, len(score)))
    found = curves(score, wrong, weights)
    for row, counts in enumerate(weights):
        s, w = np.repeat(score, counts), np.repeat(wrong, counts)
        assert found.auroc[row] == pytest.approx(roc_auc_score(w, s), abs=1e-12)
        assert found.ap[row] == pytest.approx(average_precision_score(w, s), abs=1e-12)


def test_any_rising_function_of_a_score_is_as_good(made):
    score, wrong, given = made
    first, second = (detection_figures(s, wrong, given, n_boot=20) for s in (score, np.exp(score) - 4))
    assert first == second
    order = np.random.default_rng(0).permutation(len(score))
    moved = detection_figures(score[order], wrong[order], given[order], n_boot=0)
    assert all(moved[name] == pytest.approx(first[name]) for name in METRICS)
    perfect = detection_figures(wrong.astype(float), wrong, n_boot=0)
    assert [perfect[name] for name in METRICS] == [1, 1, 1]


def test_within_class_is_the_mean_over_classes(made):
    score, wrong, given = made
    found = detection_figures(score, wrong, given, n_boot=0)
    own = [roc_auc_score(wrong[given == c], score[given == c]) for c in range(4)]
    assert found["auroc_within"] == pytest.approx(np.mean(own))
    shifted = detection_figures(score + 10 * given, wrong, given, n_boot=0)
    assert shifted["auroc_within"] == pytest.approx(found["auroc_within"]) and shifted["auroc"] != found["auroc"]


def test_a_class_without_wrong_samples_is_named(made):
    score, wrong, given = made
    wrong = wrong & (given != 2)
    found = detection_figures(score, wrong, given, ["joy", "anger", "fear", "disgust", "contempt"], n_boot=10)
    assert found["undefined"] == "fear, contempt"  # contempt has no sample at all
    own = [roc_auc_score(wrong[given == c], score[given == c]) for c in (0, 1, 3)]
    assert found["auroc_within"] == pytest.approx(np.mean(own))
    nothing = detection_figures(score, np.zeros(200, bool), given, n_boot=10)
    assert all(math.isnan(nothing[f"{name}{end}"]) for name in METRICS for end in ("", "_within", "_low", "_high"))
    none_seen = detection_figures(np.full(200, np.nan), wrong, given, n_boot=10)
    assert none_seen["n"] == 0 and math.isnan(none_seen["auroc"])


def test_intervals_are_those_of_resampling(made):
    score, wrong, _ = made
    found = detection_figures(score, wrong, n_boot=400, seed=5)
    assert found == detection_figures(score, wrong, n_boot=400, seed=5)
    assert found["auroc_low"] != detection_figures(score, wrong, n_boot=400, seed=6)["auroc_low"]
    rng = np.random.default_rng(9)
    drawn = [rng.integers(200, size=200) for _ in range(400)]
    areas = [roc_auc_score(wrong[rows], score[rows]) for rows in drawn]
    low, high = np.quantile(areas, [0.025, 0.975])
    assert found["auroc_low"] == pytest.approx(low, abs=0.015) and found["auroc_high"] == pytest.approx(high, abs=0.015)
    wide = detection_figures(score, wrong, n_boot=400, seed=5, level=0.99)
    assert wide["auroc_low"] < found["auroc_low"] < found["auroc"] < found["auroc_high"] < wide["auroc_high"]


def test_samples_without_a_score_do_not_count(made):
    score, wrong, given = made
    some = np.r_[score, np.nan, np.nan]
    found = detection_figures(some, np.r_[wrong, True, False], np.r_[given, 0, 1], n_boot=0)
    same = detection_figures(score, wrong, given, n_boot=0)
    assert found["n"] == 200 and all(found[name] == same[name] for name in METRICS)


def test_votes_that_agree_have_no_entropy():
    votes = np.array([[9, 0, 0], [3, 3, 3], [6, 3, 0], [0, 0, 0]])
    shares = [2 / 3, 1 / 3]
    mixed = -sum(q * math.log(q) for q in shares) / math.log(3)
    np.testing.assert_allclose(vote_entropy(votes), [0, 1, mixed, np.nan])
    target = vote_entropy(votes)
    assert rank_correlation(-target, target) == pytest.approx(-1)
    assert math.isnan(rank_correlation(np.ones(4), target))


def test_the_table_has_its_columns_whatever_is_there():
    table = figures_frame([{"detector": "knn", "problem": "no features"}])
    assert table["problem"].tolist() == ["no features"] and {"auroc_within_high", "n", "spearman"} <= set(table)


def test_bad_input_is_a_sentence(made):
    score, wrong, given = made
    with pytest.raises(DataError, match="200 scores but 3 marks of wrong samples"):
        detection_figures(score, wrong[:3])
    with pytest.raises(DataError, match="200 scores but 3 given labels"):
        detection_figures(score, wrong, given[:3])
    with pytest.raises(SettingsError, match="n_boot is -1"):
        detection_figures(score, wrong, n_boot=-1)
    with pytest.raises(DataError, match="Votes are counts"):
        vote_entropy(np.array([[1, -1]]))
