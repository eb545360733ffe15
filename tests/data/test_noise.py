import numpy as np
import pandas as pd
import pytest
import torch

from scn_fastai.data.noise import CONFUSIONS, confusion_matrix, flip_labels, transition_matrix
from scn_fastai.errors import DataError

LABELS = np.repeat(np.arange(4), [1000, 500, 101, 7])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["symmetric", "matrix"])
def test_exact_flips_in_every_class(rate, kind):
    kind = np.full((4, 4), 0.25) if kind == "matrix" else kind
    new, flipped = flip_labels(LABELS, rate, kind, seed=5)
    for c in range(4):
        assert flipped[LABELS == c].sum() == round(rate * (LABELS == c).sum())
    assert ((new != LABELS) == flipped).all()
    assert new.dtype == LABELS.dtype and flipped.dtype == bool


def test_symmetric_flips_go_everywhere_alike():
    labels = np.zeros(9000, dtype=int)
    new, _ = flip_labels(labels, 1.0, classes=4)
    assert np.bincount(new, minlength=4)[0] == 0
    assert np.abs(np.bincount(new)[1:] - 3000).max() < 200


def test_coin_flips_are_near_the_rate_and_vary():
    labels = np.repeat([0, 1], 5000)
    counts = [flip_labels(labels, 0.3, per_class=False, seed=s).flipped.sum() for s in range(5)]
    assert len(set(counts)) > 1 and all(abs(c - 3000) < 250 for c in counts)
    new, flipped = flip_labels(labels, 0.3, per_class=False)
    assert ((new != labels) == flipped).all()


def test_seed_decides_and_the_global_one_is_left_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    one, two, other = (flip_labels(LABELS, 0.3, seed=s) for s in (0, 0, 1))
    assert (one.labels == two.labels).all() and (one.labels != other.labels).any()
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    "labels",
    [
        ["a", "b", "c", "a"] * 5,
        ("a", "b", "c", "a") * 5,
        pd.Series(["a", "b", "c", "a"] * 5, index=range(100, 120), name="label"),
        pd.Series([0, 1, 2, 0] * 5),
        np.array(["a", "b", "c", "a"] * 5),
        np.array([0, 1, 2, 0] * 5, dtype=np.int32),
        torch.tensor([0, 1, 2, 0] * 5),
        [0, 1, 2, 0] * 5,
    ],
    ids=["list", "tuple", "series", "int series", "array", "int32", "tensor", "int list"],
)
def test_same_type_back(labels):
    new, flipped = flip_labels(labels, 0.5, seed=2)
    assert type(new) is type(labels) and len(new) == 20 and flipped.sum() == 5 + round(2.5) + round(2.5)
    if hasattr(labels, "dtype"):
        assert new.dtype == labels.dtype
    if isinstance(labels, pd.Series):
        assert new.index.equals(labels.index) and new.name == labels.name
    assert [a != b for a, b in zip(list(new), list(labels), strict=True)] == flipped.tolist()


def test_confusions_are_the_pairs_that_people_mix_up():
    names = list(CONFUSIONS)
    matrix = confusion_matrix(names)
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (np.diag(matrix) == 0).all()
    partner = {names[i]: names[int(j)] for i, j in enumerate(matrix.argmax(1))}
    for one, two in (
        ("fear", "surprise"),
        ("anger", "disgust"),
        ("sadness", "neutral"),
        ("contempt", "happiness"),
    ):
        assert partner[one] == two and partner[two] == one


def test_confusion_noise_with_seven_classes_and_other_names():
    names = ["Surprise", "Fear", "Disgust", "Happy", "Sad", "Anger", "Neutral"]
    labels = np.repeat(names, 200)
    new, flipped = flip_labels(labels, 0.3, "confusion", classes=names)
    assert flipped.sum() == 7 * 60 and set(new) <= set(names)
    assert pd.Series(new[(labels == "Fear") & flipped]).mode()[0] == "Surprise"
    codes = flip_labels(np.repeat(np.arange(7), 200), 0.3, "confusion", classes=names)
    assert (np.array(names)[codes.labels] == new).all()


def test_matrix_decides_where_flips_go():
    to_next = np.roll(np.eye(4), 1, axis=1)
    new, flipped = flip_labels(LABELS, 0.4, to_next)
    assert (new[flipped] == (LABELS[flipped] + 1) % 4).all()


def test_matrix_alone_gives_its_own_rates():
    matrix = np.array([[0.9, 0.1], [0.0, 1.0]])
    labels = np.repeat([0, 1], 1000)
    new, flipped = flip_labels(labels, None, matrix)
    assert flipped[:1000].sum() == 100 and flipped[1000:].sum() == 0
    np.testing.assert_allclose(transition_matrix(labels, new, 2), matrix)


def test_transition_matrix_of_the_noise_that_was_made():
    labels = np.repeat(np.arange(4), 1000)
    measured = transition_matrix(labels, flip_labels(labels, 0.3).labels, 4)
    np.testing.assert_allclose(np.diag(measured), 0.7)
    np.testing.assert_allclose(measured, 0.1 + 0.6 * np.eye(4), atol=0.03)
    assert (transition_matrix(torch.tensor([0, 0]), [1, 0], 3)[1:] == np.eye(3)[1:]).all()


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: flip_labels([0, 1], 1.5), "flip rate of 1.5 makes no sense: give a number from 0 to 1"),
        (lambda: flip_labels([0, 1], -0.1), "flip rate of -0.1 makes no sense"),
        (lambda: flip_labels([0, 1], float("nan")), "flip rate of nan makes no sense"),
        (lambda: flip_labels([0, 1], None), "kind 'symmetric' needs a rate"),
        (lambda: flip_labels([0, 1], 0.1, [[0.5, 0.6], [0, 1]]), "Row 0 of the noise matrix is not a distri"),
        (
            lambda: flip_labels([0, 1], 0.1, [[0, 1], [-0.5, 1.5]]),
            "Row 1 of the noise matrix is not a distri",
        ),
        (lambda: flip_labels([0, 1], 0.1, np.eye(3)), r"noise matrix is \[3, 3\], but there are 2 classes"),
        (lambda: flip_labels([0, 1], 1.0, np.eye(2)), "Class 0 has no class to flip to"),
        (lambda: flip_labels([0, 1], 0.1, "pairs"), "no noise kind 'pairs': use symmetric, confusion or a m"),
        (lambda: flip_labels([0, 1], 0.1, "confusion"), "Confusion noise knows no expression 0"),
        (lambda: flip_labels(["a", None], 0.1), "1 labels are missing"),
        (
            lambda: flip_labels(["a", "z"], 0.1, classes=["a", "b"]),
            "Label z is outside the classes: they are a, b",
        ),
        (lambda: flip_labels([0, 5], 0.1, classes=3), "Label 5 is outside the classes"),
        (lambda: flip_labels([0, 0], 0.1), "when there are two classes"),
        (lambda: flip_labels([], 0.1), "There are no labels to flip"),
        (lambda: transition_matrix([0, 1], [0], 2), "2 true labels do not fit 1 given ones"),
        (lambda: transition_matrix([0, 2], [0, 1], 2), "outside 0 to 1"),
    ],
)
def test_bad_input_is_one_sentence(call, sentence):
    with pytest.raises(DataError, match=sentence):
        call()
