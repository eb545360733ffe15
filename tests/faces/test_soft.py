import itertools

import numpy as np
import pytest

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.faces.expressions import CLASSES
from scn_fastai.faces.soft import DEFAULT_CURVE, SOFT_CURVES, curve, mix_of_share, second_share, soft_label

PAIRS = list(itertools.permutations(CLASSES, 2))


@pytest.mark.parametrize("first, second", PAIRS)
def test_a_distribution_over_the_two(first, second):
    for mix in np.linspace(0, 1, 11):
        label = soft_label(first, second, mix)
        assert label.shape == (8,) and label.dtype == np.float32
        assert label.min() >= 0 and abs(label.sum() - 1) < 1e-6
        assert label[CLASSES.index(first)] + label[CLASSES.index(second)] == pytest.approx(1)


@pytest.mark.parametrize("first, second", PAIRS)
def test_the_ends_are_one_hot_and_the_way_between_goes_up(first, second):
    shares = [second_share(first, second, mix) for mix in np.linspace(0, 1, 21)]
    assert shares[0] == 0 and shares[-1] == 1
    assert (np.diff(shares) > 0).all()


@pytest.mark.parametrize("first, second", PAIRS)
def test_the_order_of_the_two_does_not_matter(first, second):
    for mix in (0.0, 0.2, 0.5, 0.9, 1.0):
        np.testing.assert_allclose(soft_label(first, second, mix), soft_label(second, first, 1 - mix), atol=1e-6)


@pytest.mark.parametrize("first, second", PAIRS)
def test_the_mix_of_a_share_and_back(first, second):
    for share in np.linspace(0, 1, 11):
        mix = mix_of_share(first, second, share)
        assert 0 <= mix <= 1
        assert second_share(first, second, mix) == pytest.approx(share, abs=1e-9)
        assert soft_label(first, second, mix)[CLASSES.index(second)] == pytest.approx(share, abs=1e-6)


def test_it_is_the_stretched_logistic_curve():
    centre, slope = SOFT_CURVES["fear", "surprise"]
    grid = np.linspace(0, 1, 7)
    raw = 1 / (1 + np.exp(-slope * (grid - centre)))
    wanted = (raw - raw[0]) / (raw[-1] - raw[0])
    np.testing.assert_allclose([second_share("fear", "surprise", mix) for mix in grid], wanted, atol=1e-12)


def test_curves_are_sensible_and_each_pair_has_one():
    for (first, second), (centre, slope) in SOFT_CURVES.items():
        assert first in CLASSES and second in CLASSES and first != second
        assert (second, first) not in SOFT_CURVES
        assert 0.1 < centre < 0.9 and 2 < slope < 40
    assert curve("neutral", "disgust") == curve("disgust", "neutral") == DEFAULT_CURVE


def test_one_expression_alone_is_one_hot():
    for i, name in enumerate(CLASSES):
        np.testing.assert_array_equal(soft_label(name), np.eye(8, dtype=np.float32)[i])
        np.testing.assert_allclose(soft_label(name, name, 0.4), np.eye(8)[i], atol=1e-6)


@pytest.mark.parametrize(
    "call, error, sentence",
    [
        (lambda: soft_label("joy"), DataError, "no expression 'joy'"),
        (lambda: soft_label("fear", "joy", 0.5), DataError, "no expression 'joy'"),
        (lambda: soft_label("fear", "anger", 1.5), SettingsError, "mix of 1.5 makes no sense: give a number from 0"),
        (lambda: soft_label("fear", "anger", float("nan")), SettingsError, "mix of nan makes no sense"),
        (lambda: soft_label("fear", "anger", "half"), SettingsError, "mix of half makes no sense"),
        (
            lambda: mix_of_share("fear", "anger", 1.1),
            SettingsError,
            "share of 1.1 makes no sense: give a number from 0",
        ),
        (lambda: mix_of_share("fear", "anger", float("nan")), SettingsError, "share of nan makes no sense"),
        (lambda: soft_label("fear", mix=0.5), SettingsError, "mix of 0.5 needs a second expression"),
    ],
)
def test_bad_input_is_one_sentence(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()
