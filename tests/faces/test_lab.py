"""A face as one description: what it draws, how it changes, and what a model may say of it."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.faces import lab
from scn_fastai.faces.degrade import IMAGE_KINDS, degrade
from scn_fastai.faces.expressions import CLASSES, blend, expression_units, unit_names
from scn_fastai.faces.lab import KINDS, FaceState, ask, draw, look, preset, units_of, value_of, with_value
from scn_fastai.faces.plan import person, strength
from scn_fastai.faces.render import Light, Pose, render_face

SIZE = 32


def uniform(images):
    return np.full((len(images), len(CLASSES)), 1 / len(CLASSES))


# ---- the picture ----


def test_a_state_is_drawn_as_render_face_would():
    state = FaceState(5, "anger", "fear", 0.4, 0.9, {"jawOpen": 0.2}, Pose(yaw=10), Light(azimuth=-30))
    units = blend(expression_units("anger", intensity=0.9), expression_units("fear", intensity=0.9), 0.4)
    units[unit_names().index("jawOpen")] += 0.2
    assert np.array_equal(draw(state, SIZE), render_face(person(5), units, state.pose, state.light, SIZE))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_and_the_same_again(kind):
    state = FaceState(kind=kind, level=0.8)
    image = draw(state, SIZE)
    assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
    assert np.array_equal(image, draw(state, SIZE))
    assert np.array_equal(image, draw(replace(state, kind="none"), SIZE)) == (kind == "none")


def test_kinds_are_those_of_the_data_set():
    plain = draw(FaceState(person=3), SIZE)
    noisy = degrade(plain, "noise", 0.6, np.random.default_rng(3))
    assert np.array_equal(draw(FaceState(person=3, kind="noise", level=0.6), SIZE), noisy)
    worn = render_face(person(3), units_of(FaceState()), size=SIZE, wear=("mask", strength("mask", 0.6)))
    assert np.array_equal(draw(FaceState(person=3, kind="mask", level=0.6), SIZE), worn)
    assert set(IMAGE_KINDS) < set(KINDS)


def test_changes_are_added_to_both_sides_and_kept_in_bounds():
    names, base = unit_names(), units_of(FaceState(first="neutral"))
    units = units_of(FaceState(first="neutral", changes={"mouthSmile*": 0.3, "jawOpen": 9.0, "eyeWide*": -9.0}))
    for side in ("Left", "Right"):
        place = names.index(f"mouthSmile{side}")
        assert units[place] == pytest.approx(base[place] + 0.3)
        assert units[names.index(f"eyeWide{side}")] == 0
    assert units[names.index("jawOpen")] == np.float32(1.8)


def test_every_slider_is_a_unit_and_moves_the_face():
    plain = draw(FaceState(first="neutral"), 64)
    for name in lab.UPPER_FACE | lab.LOWER_FACE:
        assert not np.array_equal(plain, draw(FaceState(first="neutral", changes={name: 1.0}), 64)), name
        assert lab.unit_words(name) != name


# ---- from state to state ----


def test_a_state_is_immutable_and_states_are_equal_by_value():
    state = FaceState(changes={"jawOpen": 0.3, "browInnerUp": 0.0})
    assert state == FaceState(changes=(("jawOpen", 0.3),)) and hash(state) == hash(replace(state))
    with pytest.raises(FrozenInstanceError):
        state.mix = 0.5


@pytest.mark.parametrize(
    ("name", "value"),
    [("person", 4), ("first", "fear"), ("mix", 0.25), ("kind", "blur"), ("yaw", -20.0), ("zoom", 1.2),
     ("ambient", 0.5), ("jawOpen", 0.3), ("mouthSmile*", -0.2)],
)  # fmt: skip
def test_one_value_is_changed_and_read_back(name, value):
    state = with_value(FaceState(), name, value)
    assert value_of(state, name) == value and state != FaceState()
    assert with_value(state, name, value_of(FaceState(), name)) == FaceState()


def test_the_rounding_of_a_browser_is_taken_off():
    assert value_of(with_value(FaceState(), "jawOpen", 0.34999999999999987), "jawOpen") == 0.35
    assert with_value(FaceState(changes={"jawOpen": 0.3}), "jawOpen", 1e-17).changes == ()


def test_a_preset_resets_the_units_and_leaves_the_rest():
    state = FaceState(7, "anger", "fear", 0.4, 0.5, {"jawOpen": 1.0}, Pose(yaw=20), kind="blur")
    after = preset(state, "sadness")
    assert after == FaceState(7, "sadness", "fear", pose=Pose(yaw=20), kind="blur")
    assert np.array_equal(units_of(after), expression_units("sadness"))
    with pytest.raises(DataError, match="no expression 'joy'"):
        preset(state, "joy")


def test_the_last_person_is_followed_by_the_first():
    assert lab.somebody_else(FaceState(person=lab.LAST_PERSON)).person == 0


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (FaceState(), "happiness"),
        (FaceState(mix=1.0), "surprise"),
        (FaceState(second="happiness", mix=0.5), "happiness"),
        (FaceState(first="fear", mix=0.4, kind="low_light", level=0.3), "fear 0.60 + surprise 0.40, low light 0.30"),
        (FaceState(intensity=0.5, changes={"jawOpen": -0.2}), "happiness, strength 0.50, jawOpen -0.20"),
        (FaceState(changes={"jawOpen": 1, "eyeWide*": 1}, person=2), "happiness, 2 units changed, person 2"),
        (FaceState(pose=Pose(yaw=20)), "happiness, yaw 20"),
        (FaceState(pose=Pose(zoom=1.2), light=Light(key=1.0)), "happiness, other pose, other light"),
        (FaceState(pose=Pose(shift_x=0.1)), "happiness, other pose"),
    ],
)
def test_words(state, words):
    assert str(state) == words


def test_the_longest_words_stay_short():
    state = FaceState(9999, "happiness", "surprise", 0.4, 0.5, {"jawOpen": 1, "eyeWide*": 1}, Pose(yaw=20, roll=3),
                      Light(key=1.0), "low_resolution", 0.5)  # fmt: skip
    assert len(f"FaceLab({state})") <= 140


def test_strongest_units_take_both_sides_as_one():
    strongest = lab.strongest_units(units_of(FaceState(first="contempt")), 52)
    assert dict(strongest)["mouthDimple*"] == pytest.approx(units_of(FaceState(first="contempt")).max(), abs=0.01)
    assert 4 < len(strongest) == len(dict(strongest)) and min(dict(strongest).values()) > 0
    assert [weight for _, weight in strongest] == sorted((weight for _, weight in strongest), reverse=True)
    aside = lab.strongest_units(units_of(FaceState(first="neutral", changes={"jawLeft": 1.0})))
    assert aside[0] == ("jawLeft", 1.0)


# ---- bad input ----


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (FaceState(first="joy"), "no expression 'joy'"),
        (FaceState(second="joy"), "no expression 'joy'"),
        (FaceState(kind="fog"), "no kind of poor picture 'fog'"),
        (FaceState(kind="ambiguous"), "no kind of poor picture 'ambiguous'"),
        (FaceState(mix=1.1), "mix is 1.1"),
        (FaceState(mix=float("nan")), "mix is nan"),
        (FaceState(intensity="strong"), "intensity is 'strong'"),
        (FaceState(kind="blur", level=2), "level is 2"),
        (FaceState(person=-1), "no person -1"),
        (FaceState(person=1.5), "no person 1.5"),
        (FaceState(changes={"thirdEye": 1.0}), "no facial unit 'thirdEye'"),
        (FaceState(changes={"thirdEye*": 1.0}), "no facial unit 'thirdEye*'"),
        (FaceState(changes={"jawOpen": float("nan")}), "change of jawOpen is nan"),
        (FaceState(changes={"jawOpen": "wide"}), "change of jawOpen is 'wide'"),
        (FaceState(pose=Pose(yaw=float("inf"))), "yaw is inf"),
        (FaceState(mix="half"), "mix is 'half'"),
        (FaceState(pose=Pose(zoom=0)), "zoom"),
        (FaceState(pose=Pose(yaw="left")), "yaw is 'left'"),
        (FaceState(light=Light(key=None)), "key is None"),
    ],
)
def test_bad_states_are_one_sentence(state, sentence):
    with pytest.raises((DataError, SettingsError)) as error:
        draw(state, SIZE)
    assert str(state) and sentence in str(error.value) and str(error.value).count(". ") == 0
    view = look(state, SIZE, uniform, CLASSES)
    assert view.image is None and view.problem == str(error.value) and view.probs is None


def test_a_size_that_cannot_be_drawn():
    assert "0 pixels" in look(FaceState(), 0).problem


# ---- a model ----


def test_a_model_sees_the_picture_and_its_word_is_kept():
    seen = []

    def predict(images):
        seen.append(images)
        return np.eye(len(CLASSES), dtype=np.float32)[[3]], np.array([0.25])

    view = look(FaceState(), SIZE, predict, CLASSES)
    assert seen[0].shape == (1, SIZE, SIZE, 3) and np.array_equal(seen[0][0], view.image)
    assert view.classes == CLASSES and view.probs.argmax() == 3 and view.alpha == 0.25 and view.silence == ""


def test_classes_may_come_with_the_model():
    class Model:
        classes = ["anger", "fear", "other"]

        def __call__(self, images):
            return [[0.2, 0.3, 0.5]]

    probs, classes, alpha = ask(Model(), np.zeros((SIZE, SIZE, 3), np.uint8))
    assert probs.tolist() == [0.2, 0.3, 0.5] and classes == ("anger", "fear", "other") and alpha is None


@pytest.mark.parametrize(
    ("predict", "classes", "sentence"),
    [
        (lambda images: 1 / 0, CLASSES, "could not look at this face (ZeroDivisionError: division by zero)"),
        (lambda images: [][0], CLASSES, "IndexError"),
        (lambda images: None, CLASSES, "returned shape [] for one face"),
        (lambda images: "sad", CLASSES, "could not look"),
        (lambda: None, CLASSES, "TypeError"),
        (uniform, None, "does not name its classes"),
        (uniform, CLASSES[:7], "returned shape [1, 8] for one face, but it names 7 classes"),
        (uniform, ["cat", "dog", "fish", "bird", "frog"], "cat, dog, fish, bird, ... apart, and none of these"),
        (lambda images: np.full((1, 8), 2.0), CLASSES, "no probabilities"),
        (lambda images: np.full((1, 8), np.nan), CLASSES, "no probabilities"),
    ],
)
def test_a_model_that_says_nothing_useful_leaves_the_picture(predict, classes, sentence):
    view = look(FaceState(), SIZE, predict, classes)
    assert sentence in view.silence and view.probs is None and view.problem == ""
    assert view.image.shape == (SIZE, SIZE, 3)


def test_values_on_the_steps_of_a_slider():
    assert lab.on_step(-0.333, -1.8, 1.8, 0.05) == -0.35
    assert lab.on_step("far", 0, 1, 0.1) == "far" and np.isnan(lab.on_step(float("nan"), 0, 1, 0.1))
    assert not lab.alike(0.35, 0.36) and lab.alike("blur", "blur")
