"""FaceLab driven from Python, as a browser would: controls, presets, the model's word, and what goes wrong."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from traitlets import TraitError

from scn_fastai.faces.expressions import CLASSES
from scn_fastai.faces.lab import LOWER_FACE, UPPER_FACE, FaceState, draw
from scn_fastai.faces.render import Light, Pose, random_light, random_pose
from scn_fastai.widgets.face_lab import FaceLab

SIZE = 32


class Model:
    """Says that a face is fear to the degree that it is bright; counts how often it was asked."""

    classes = list(CLASSES)
    asked = 0

    def __call__(self, images):
        self.asked += 1
        bright = images.mean() / 255
        probs = np.full(8, (1 - bright) / 7)
        probs[CLASSES.index("fear")] = bright
        return probs[None], np.array([bright])


def a_lab(*args, **options):
    return FaceLab(*args, **{"size": SIZE} | options)


def shown(lab):
    """The picture that the browser gets."""
    return np.asarray(Image.open(io.BytesIO(lab.picture.value)).convert("RGB"))


# ---- one state ----


def test_it_shows_what_its_state_describes():
    state = FaceState(3, "anger", "fear", 0.4, kind="blur", level=0.3)
    lab = a_lab(state=state)
    assert np.array_equal(lab.image, draw(state, SIZE)) and np.array_equal(shown(lab), lab.image)
    assert lab.state == state and lab.first.value == "anger" and lab.level.value == 0.3
    assert "anger 0.60 + fear 0.40, person 3, blur 0.30" in lab.caption.value and lab.bars.value == ""


def test_setting_the_state_moves_the_controls():
    lab = a_lab()
    lab.state = FaceState(9, "fear", "neutral", 0.2, 0.5, {"jawOpen": 0.3}, Pose(yaw=20), Light(key=1.0), "mask", 0.75)
    values = {"person": 9, "first": "fear", "second": "neutral", "mix": 0.2, "intensity": 0.5, "jawOpen": 0.3,
              "yaw": 20, "key": 1.0, "kind": "mask", "level": 0.75, "eyeWide*": 0}  # fmt: skip
    assert {name: lab.controls[name].value for name in values} == values


@pytest.mark.parametrize(
    ("name", "value"),
    [("person", 4), ("first", "fear"), ("mix", 0.25), ("intensity", 0.5), ("kind", "low_resolution"), ("yaw", -20),
     ("shift_y", 0.1), ("warmth", 0.2), *((name, 0.5) for name in UPPER_FACE | LOWER_FACE)],
)  # fmt: skip
def test_a_moved_control_changes_the_state_and_the_picture(name, value):
    lab = a_lab(size=48)
    before = lab.picture.value
    lab.controls[name].value = value
    assert lab.state != FaceState() and np.array_equal(lab.image, draw(lab.state, 48))
    assert lab.picture.value != before


def test_one_move_is_drawn_once():
    model = Model()
    lab = a_lab(model)
    assert model.asked == 1
    lab.mix.value = 0.4
    assert model.asked == 2
    lab.state = FaceState(2, "fear", "anger", 0.3, 0.9, {"jawOpen": 0.5}, Pose(yaw=10), kind="blur", level=0.2)
    assert model.asked == 3
    lab.presets["sadness"].click()
    assert model.asked == 4


def test_the_state_can_be_watched():
    lab, seen = a_lab(), []
    lab.observe(lambda change: seen.append(str(change["new"])), "state")
    lab.mix.value = 0.4
    assert seen == ["happiness 0.60 + surprise 0.40"]


def test_a_state_off_the_steps_of_the_sliders_stays_as_it_is():
    rng = np.random.default_rng(0)
    state = FaceState(1, mix=1 / 3, intensity=0.777, changes={"jawOpen": 0.333, "tongueOut": 0.2, "eyeBlinkLeft": 0.1},
                      pose=random_pose(rng), light=random_light(rng), kind="blur", level=1 / 7)  # fmt: skip
    lab = a_lab(state=state)
    assert lab.state == state and lab.controls["jawOpen"].value == 0.35
    for control in lab.controls.values():  # a browser reports what its arithmetic makes of the same place
        if isinstance(control.value, float):
            control.value = control.value + 1e-13
    assert lab.state == state
    lab.controls["jawOpen"].value = 0.5
    assert dict(lab.state.changes) == {"jawOpen": 0.5, "tongueOut": 0.2, "eyeBlinkLeft": 0.1}


def test_a_state_beyond_a_slider_is_kept():
    lab = a_lab(state=FaceState(pose=Pose(yaw=100)))
    assert lab.controls["yaw"].value == 75 and lab.state.pose.yaw == 100
    lab.mix.value = 0.3
    assert lab.state.pose.yaw == 100


def test_a_slider_in_motion_is_not_thrown_back():
    lab, sent = a_lab(), []
    lab.controls["jawOpen"].observe(lambda change: sent.append(change["new"]), "value")
    lab.controls["jawOpen"].value = 0.34999999999999987
    assert sent == [0.34999999999999987] and dict(lab.state.changes) == {"jawOpen": 0.35}


# ---- buttons ----


def test_a_preset_resets_the_sliders():
    lab = a_lab(state=FaceState(3, mix=0.4, intensity=0.5, changes={"jawOpen": 0.5}, kind="blur"))
    lab.presets["sadness"].click()
    assert lab.state == FaceState(3, "sadness", kind="blur")
    assert lab.controls["jawOpen"].value == 0 and lab.mix.value == 0 and lab.first.value == "sadness"
    assert list(lab.presets) == list(CLASSES)


def test_somebody_else_and_start_again():
    start = FaceState(5, "fear", kind="noise")
    lab = a_lab(state=start)
    lab.somebody_else.click()
    assert lab.person.value == 6 and lab.state.first == "fear"
    lab.mix.value = 0.9
    lab.start_again.click()
    assert lab.state == start and lab.person.value == 5


def test_a_level_without_a_kind_cannot_be_moved():
    lab = a_lab()
    assert lab.level.disabled
    lab.kind.value = "blur"
    assert not lab.level.disabled


# ---- the model ----


def test_the_model_is_shown_with_its_alpha():
    lab = a_lab(Model())
    share = lab.image.mean() / 255
    assert lab.view.probs[CLASSES.index("fear")] == pytest.approx(share)
    assert f"importance alpha {share:.2f}" in lab.bars.value and "fear" in lab.bars.value
    bright = lab.bars.value
    lab.kind.value = "low_light"
    assert lab.bars.value != bright


@pytest.mark.parametrize(
    ("predict", "classes", "sentence"),
    [
        (lambda images: 1 / 0, CLASSES, "The model could not look at this face (ZeroDivisionError"),
        (Model(), ["cat", "dog"], "none of these is an expression"),
        (Model(), CLASSES[:5], "it names 5 classes"),
        (lambda images: None, None, "does not name its classes"),
    ],
)
def test_a_bad_model_is_a_sentence_below_the_face(predict, classes, sentence):
    lab = a_lab(predict, classes)
    assert sentence in lab.bars.value and shown(lab).shape == (SIZE, SIZE, 3)
    lab.mix.value = 0.5
    assert lab.state.mix == 0.5 and sentence in lab.bars.value
    assert any(sentence in a.text.replace("<br>", " ") for a in lab.figure().layout.annotations)


# ---- bad input ----


@pytest.mark.parametrize(
    "bad",
    [FaceState(first="joy"), FaceState(kind="fog"), FaceState(mix=3), FaceState(intensity="strong", mix="half"),
     FaceState(pose=Pose(yaw=float("nan"))), FaceState(changes={"thirdEye": 1})],
)  # fmt: skip
def test_a_bad_state_is_a_sentence_in_place_of_the_face(bad):
    lab = a_lab(Model(), state=bad)
    assert lab.image is None and lab.view.problem and lab.bars.value == ""
    assert shown(lab).shape == (384, 384, 3) and lab.png()[:4] == b"\x89PNG" and repr(lab)
    assert lab.first.value == "happiness" and lab.mix.value == 0  # no control stands where it cannot
    lab.state = FaceState(first="fear")
    assert np.array_equal(lab.image, draw(lab.state, SIZE)) and lab.bars.value


def test_a_bad_state_is_mended_by_a_control():
    lab = a_lab()
    lab.state = FaceState(first="joy", pose=Pose(yaw=float("nan")))
    lab.first.value = "fear"
    assert lab.image is None
    lab.controls["yaw"].value = 10
    assert lab.image is not None and lab.state == FaceState(first="fear", pose=Pose(yaw=10))


def test_a_control_refuses_what_it_does_not_know():
    with pytest.raises(TraitError):
        a_lab().first.value = "joy"
    with pytest.raises(TraitError):
        a_lab().state = "fear"


# ---- where nothing runs ----


def test_words_and_a_picture_stand_in_for_the_widget():
    lab = a_lab(Model(), state=FaceState(mix=0.4, kind="blur", level=0.3))
    assert repr(lab) == "FaceLab(happiness 0.60 + surprise 0.40, blur 0.30)"
    bundle = lab._repr_mimebundle_()
    assert bundle["text/plain"] == repr(lab) and "application/vnd.jupyter.widget-view+json" in bundle
    assert base64.b64decode(bundle["image/png"]) == lab.png()


def test_the_figure_is_the_twin_of_what_is_shown():
    lab = a_lab(Model())
    figure = lab.figure()
    assert figure.data[0].x == pytest.approx(lab.view.probs.round(4).tolist())
    assert figure.layout.title.text == "happiness"
    source = figure.layout.images[0].source.split(",", 1)[1]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(source)))), lab.image)
