import numpy as np
import pandas as pd
import pytest
import torch
from small_faces import pack_table

from scn_fastai.data.noise import CONFUSIONS, confusion_matrix, face_doubt, flip_labels, transition_matrix
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


def test_a_longer_name_is_not_cut_off():
    new = flip_labels(np.array(["fear"] * 10), 1.0, "confusion", classes=["fear", "surprise"]).labels
    assert set(new) == {"surprise"}


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


# ---- human-like noise ----

NAMES = list(CONFUSIONS)
EIGHT = np.repeat(NAMES, [1000, 500, 101, 7, 300, 300, 300, 300])
DOUBT = np.where(np.arange(len(EIGHT)) % 10 < 3, 4.0, 0.0)  # three of ten are five times as likely


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 1.0])
def test_human_noise_flips_an_exact_share_of_every_class(rate):
    new, flipped = flip_labels(EIGHT, rate, "human", doubt=DOUBT, seed=5)
    for name in NAMES:
        assert flipped[EIGHT == name].sum() == round(rate * (EIGHT == name).sum())
    assert ((new != EIGHT) == flipped).all() and new.dtype == EIGHT.dtype


def test_human_noise_prefers_doubtful_faces():
    labels = np.repeat(["fear", "surprise"], 5000)
    doubt = np.tile([0.0, 1.0, 4.0, 4.0, 0.0], 2000)
    flipped = flip_labels(labels, 0.1, "human", classes=NAMES, doubt=doubt).flipped
    shares = [flipped[doubt == d].mean() for d in (0, 1, 4)]
    # Few are drawn, so the shares are nearly in the ratio of 1 + doubt, and they add up to the rate.
    assert shares[1] / shares[0] == pytest.approx(2, rel=0.3) and shares[2] / shares[0] == pytest.approx(5, rel=0.25)
    assert shares[0] == pytest.approx(0.1 / 2.8, rel=0.2)
    alike = flip_labels(labels, 0.1, "human", classes=NAMES, doubt=np.zeros(10_000)).flipped
    assert abs(alike[doubt == 4].mean() - 0.1) < 0.015


def test_human_noise_follows_the_confusions():
    new, flipped = flip_labels(EIGHT, 0.5, "human", doubt=DOUBT)
    for name, row in CONFUSIONS.items():
        went = pd.Series(new[flipped & (EIGHT == name)])
        assert set(went) <= set(row)
        if len(went) > 100:
            assert went.mode()[0] == max(row, key=row.get)


def test_ambiguous_faces_are_taken_for_their_second_class():
    labels = np.repeat(["fear", "anger"], 1000)
    second = np.where(np.arange(2000) % 2 == 0, "contempt", "")  # where neither usually goes
    second[1] = "fear"  # its own class is no second one
    new, flipped = flip_labels(labels, 0.5, "human", classes=NAMES, doubt=np.zeros(2000), second=second, seed=3)
    known = flipped & (second == "contempt")
    assert abs((new[known] == "contempt").mean() - 0.8) < 0.06
    assert not (new[flipped & (second == "")] == "contempt").any() and ((new != labels) == flipped).all()


@pytest.mark.parametrize("none", ["", None, np.nan, pd.NA], ids=str)
@pytest.mark.parametrize("kind", [list, np.array, pd.Series], ids=["list", "array", "series"])
def test_second_classes_in_every_form(none, kind):
    codes, second = np.repeat([0, 4], 50), np.tile([3, -1], 50)
    names = [NAMES[3] if i == 3 else none for i in second]
    names = np.array(names, dtype=object) if kind is np.array else kind(names)
    how = dict(rate=0.5, kind="human", classes=NAMES, doubt=torch.ones(100), seed=2)
    expected = flip_labels(codes, second=second, **how).labels
    assert (flip_labels(codes, second=torch.from_numpy(second), **how).labels == expected).all()
    assert (flip_labels(codes, second=names, **how).labels == expected).all()
    assert flip_labels([NAMES[i] for i in codes], second=names, **how).labels == [NAMES[i] for i in expected]


def test_the_seed_decides_human_noise_too():
    one, two, other = (flip_labels(EIGHT, 0.3, "human", doubt=DOUBT, seed=s) for s in (0, 0, 1))
    assert (one.labels == two.labels).all() and (one.flipped != other.flipped).any()


def test_doubt_grows_with_level_and_with_what_else_a_face_shows():
    table = pack_table().drop(columns="jpeg")
    doubt, kind = face_doubt(table), table["uncertainty"]
    assert doubt.shape == (240,) and (doubt[kind == "none"] == 0).all()
    np.testing.assert_allclose(doubt[kind == "ambiguous"], 8 * 0.4, rtol=1e-6)
    np.testing.assert_allclose(doubt[kind == "blur"], 1 + 3 * table["level"][kind == "blur"])
    flipped = table.assign(label="neutral")
    np.testing.assert_array_equal(face_doubt(flipped), doubt, "the truth counts, not the given label")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        (dict(uncertainty=None), "no column 'uncertainty': human-like noise needs uncertainty, level and soft_<class>"),
        (dict(soft_fear=None), "no column 'soft_fear'"),
        (dict(level=np.nan), "Face r000002 has a level of nan: it has to lie between 0 and 1"),
        (dict(level=1.5), "Face r000002 has a level of 1.5"),
        (dict(soft_neutral=-0.5), "Face r000000 has a soft label of its own class of -0.5"),
        (dict(true_label=np.nan), "Face r000000 has a soft label of its own class of nan"),
    ],
)
def test_a_table_that_does_not_tell_doubt(changes, sentence):
    table = pack_table().assign(**{k: v for k, v in changes.items() if v is not None})
    with pytest.raises(DataError, match=sentence):
        face_doubt(table.drop(columns=[name for name, value in changes.items() if value is None]))


def human(labels=("fear", "anger"), rate=0.5, doubt=(0, 1), **how):
    return flip_labels(list(labels), rate, "human", classes=NAMES, doubt=doubt, **how)


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: human(doubt=None), r"'human' needs doubt: give `face_doubt\(samples\)`, or use kind 'confusion'"),
        (lambda: human(rate=None), "kind 'human' needs a rate"),
        (lambda: human(per_class=False), "flips an exact share of every class: leave per_class true"),
        (lambda: human(doubt=[1]), r"doubt is \[1\], but there are 2 labels: give one number for each"),
        (lambda: human(doubt=[0, -1]), r"A doubt of -1 \(row 1\) makes no sense: give numbers of 0 or more"),
        (lambda: human(doubt=[np.nan, 0]), r"A doubt of nan \(row 0\)"),
        (lambda: human(second=["fear"]), "There are 1 second classes for 2 labels: give one for each"),
        (lambda: human(second=["", "joy"]), "Second class joy is outside the classes: they are neutral, "),
        (lambda: human(second=[-1, 8]), "Second class 8 is outside the classes"),
        (lambda: flip_labels([0, 1], 0.5, "human", doubt=[0, 0]), "Confusion noise knows no expression 0"),
        (lambda: flip_labels([0, 1], 0.5, doubt=[0, 0]), "Only noise of kind 'human' looks at doubt and second"),
        (lambda: flip_labels([0, 1], 0.5, 1 - np.eye(2), second=[0, 0]), "Only noise of kind 'human' looks at"),
    ],
)
def test_bad_input_to_human_noise_is_one_sentence(call, sentence):
    with pytest.raises(DataError, match=sentence):
        call()


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
        (lambda: flip_labels([0, 1], 0.1, "pairs"), "no noise kind 'pairs': use symmetric, confusion, human or a m"),
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
