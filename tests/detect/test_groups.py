import numpy as np
import pytest

from scn_fastai.detect.groups import auroc, auroc_by_kind
from scn_fastai.errors import DataError


def pairs_auroc(score, positive):
    """The share of pairs that are in the right order, ties half: the area under the ROC curve by counting."""
    wins = [(a > b) + 0.5 * (a == b) for a in score[positive] for b in score[~positive]]
    return np.mean(wins)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_counts_pairs(seed):
    rng = np.random.default_rng(seed)
    score, positive = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    assert auroc(score, positive) == pytest.approx(pairs_auroc(score, positive))
    assert auroc(-score, positive) == pytest.approx(1 - auroc(score, positive))


def test_a_side_that_is_empty_has_no_area():
    assert np.isnan(auroc(np.ones(3), np.array([True, True, True])))
    assert np.isnan(auroc(np.array([np.nan, 1.0]), np.array([True, False])))


def test_each_kind_is_compared_with_the_certain_ones_only():
    kinds = np.array(["none", "none", "blur", "blur", "mask"], dtype=object)
    table = auroc_by_kind(np.array([0.2, 0.4, 0.9, 0.3, 0.1]), kinds)
    assert table["kind"].tolist() == ["blur", "mask", "any"] and table["n"].tolist() == [2, 1, 3]
    assert table["auroc"].tolist() == pytest.approx([0.75, 0.0, 0.5])


def test_bad_input_gets_one_sentence():
    with pytest.raises(DataError, match="2 scores but 1 kinds"):
        auroc_by_kind(np.zeros(2), np.array(["none"]))
    with pytest.raises(DataError, match="No sample is of the kind 'none'"):
        auroc_by_kind(np.zeros(2), np.array(["blur", "blur"]))
