"""SaliencyViewer driven from Python: what is asked, what is computed again and what not, what goes wrong."""

import base64

import numpy as np
import pytest
from made_networks import give_network

from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.explain import runs
from scn_fastai.explain.runs import Explainer
from scn_fastai.training.network import network_of
from scn_fastai.widgets.saliency_viewer import SaliencyViewer


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)


@pytest.fixture
def run(new_run):
    return give_network(new_run())


@pytest.fixture
def viewer(run, faces):
    return SaliencyViewer(run, faces, size=4)


@pytest.fixture
def asked(monkeypatch):
    """How many faces were asked about, each time that maps were computed."""
    counts, real = [], runs.saliency
    monkeypatch.setattr(
        runs, "saliency", lambda model, x, *rest, **more: (counts.append(len(x)), real(model, x, *rest, **more))[1]
    )
    return counts


def captions(figure):
    return next(trace for trace in figure.data if trace.name == "captions").text


# ---- what is shown ----


def test_it_begins_with_the_lowest_alpha(viewer, run, faces):
    alpha = run.history.epoch_arrays(-1)["alpha"]
    assert viewer.batch == np.argsort(alpha, kind="stable")[:4].tolist()
    assert repr(viewer) == "SaliencyViewer(4 faces, integrated gradients of alpha)"
    assert list(viewer.found) == ["untrained", "trained"]
    expected = Explainer(run, faces).look(viewer.batch, steps=20)
    assert np.allclose(viewer.found["trained"].maps, expected.maps, atol=1e-6)
    words, names = captions(viewer.figure()), run.classes
    first = viewer.batch[0]
    assert words[0] == f"face<br>given {names[run.ledger.given[first]]}<br>true {names[run.truth[first]]}"
    assert words[8] == f"trained<br>α {expected.alpha[0]:.4f}<br>says {names[expected.predicted[0]]}"
    assert viewer.words.value.startswith("faces 1 to 4 of 60; each map")


def test_every_control_is_in_the_picture(viewer):
    seen = {viewer.png()}
    for control, value in (
        (viewer.method, "grad-cam"), (viewer.of, "given"), (viewer.of, "fear"), (viewer.method, "saliency"),
        (viewer.smooth, False), (viewer.pair, ("before relabel", "trained")), (viewer.strength, 0.9),
        (viewer.faces, "changed labels"), (viewer.faces, "random"), (viewer.faces, "highest alpha"),
    ):  # fmt: skip
        control.value = value
        seen.add(viewer.png())
    assert len(seen) == 11
    assert repr(viewer) == "SaliencyViewer(4 faces, gradient (saliency) of fear)"
    assert [a.text for a in viewer.figure().layout.annotations if a.yref == "paper"] == [
        "matters little for fear",
        "matters much",
    ]


def test_the_plot_follows(viewer):
    viewer.method.value = "grad-cam"
    viewer.next()
    viewer.strength.value = 0.25
    shown, fresh = viewer.plot, viewer.figure()
    assert [image.source for image in shown.layout.images] == [image.source for image in fresh.layout.images]
    assert [image.opacity for image in shown.layout.images] == [None, 0.25, None, 0.25]
    assert [t.text for t in shown.data] == [t.text for t in fresh.data]
    viewer.faces.value = "by hand"
    viewer.rows = []
    assert viewer.place.children == (viewer.note,) and "No face is left" in viewer.note.value
    viewer.rows = [3]
    assert viewer.place.children == (shown,) and len(shown.layout.images) == 4 and len(shown.data) == 2


def test_batches(viewer):
    order = viewer.rows
    viewer.next()
    viewer.next()
    viewer.previous()
    assert (
        viewer.batch == order[4:8]
        and viewer.words.value.startswith("faces 5 to 8 of 60; each map")
        and not viewer.back.disabled
    )
    viewer.previous()
    viewer.previous()
    assert viewer.first == 0 and viewer.back.disabled
    viewer.first = 1000
    assert viewer.batch == order[56:60] and viewer.forth.disabled
    viewer.rows = np.array([5, 9, 5])
    assert viewer.batch == [5, 9] and viewer.first == 0 and viewer.faces.value == "by hand"
    viewer.faces.value = "random"
    assert len(viewer.rows) == 60 and viewer.first == 0


def test_rows_can_be_given_from_the_start(run, faces):
    viewer = SaliencyViewer(run, faces, rows=[7, 2], size=1)
    assert viewer.batch == [7] and viewer.faces.value == "by hand" and repr(viewer).startswith("SaliencyViewer(1 face,")


# ---- what is computed ----


def test_nothing_is_computed_twice(run, faces, asked):
    viewer = SaliencyViewer(run, faces, size=4)
    assert asked == [4, 4]
    viewer.strength.value = 0.1
    viewer.smooth.value = False
    viewer.figure(), viewer.png(), viewer._repr_mimebundle_()
    viewer.pair.value = ("trained",)
    assert asked == [4, 4]
    viewer.pair.value = ("before relabel", "trained")
    assert asked == [4, 4, 4]
    viewer.next()
    viewer.previous()
    assert asked == [4, 4, 4, 4, 4]


def test_weights_are_read_once(run, faces, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        runs, "network_of", lambda run, before=False: (loaded.append(before), network_of(run, before))[1]
    )
    viewer = SaliencyViewer(run, faces, size=4)
    for pair in (("before relabel", "trained"), ("trained",), ("before relabel", "trained")):
        viewer.pair.value = pair
        viewer.method.value = "grad-cam" if viewer.method.value == "saliency" else "saliency"
    assert loaded == [False, True]


def test_slow_methods_wait_for_a_word(run, faces, asked):
    viewer = SaliencyViewer(run, faces, size=4)
    viewer.method.value = "occlusion"
    assert asked == [4, 4] and "Press ‘look’" in viewer.figure().layout.annotations[0].text
    assert viewer.png()[:4] == b"\x89PNG" and repr(viewer) == "SaliencyViewer(4 faces, occlusion of alpha)"
    seen = []
    viewer.progress.observe(lambda change: seen.append(change["new"]), "value")
    viewer.look_button.click()
    assert asked == [4] * 4 and len(seen) > 5 and viewer.progress.layout.display == "none"
    assert list(viewer.found) == ["untrained", "trained"] and viewer.place.children == (viewer.plot,)
    viewer.method.value = "saliency"
    viewer.method.value = "occlusion"  # known by now
    assert viewer.place.children == (viewer.plot,)
    viewer.noise.value = True
    assert not viewer.found and len(asked) == 6
    viewer.look()
    assert len(asked) == 8 and repr(viewer) == "SaliencyViewer(4 faces, occlusion of alpha, with noise)"


def test_noise_changes_the_maps(viewer):
    plain = viewer.found["trained"].maps
    viewer.noise.value = True
    viewer.look()
    assert not np.allclose(viewer.found["trained"].maps, plain)


# ---- where nothing runs ----


def test_words_and_a_picture_stand_in_for_the_widget(viewer):
    data = viewer._repr_mimebundle_()
    assert data["text/plain"] == repr(viewer) and base64.b64decode(data["image/png"]) == viewer.png()


# ---- bad input ----


def test_a_run_that_did_not_relabel(new_run, faces):
    viewer = SaliencyViewer(give_network(new_run(), before=False), faces, size=4)
    assert len(viewer.found) == 2
    viewer.pair.value = ("before relabel", "trained")
    words = viewer.figure().layout.annotations[0].text.replace("<br>", " ")
    assert "this run did not relabel" in words and viewer.png()[:4] == b"\x89PNG"
    viewer.pair.value = ("trained",)
    assert viewer.place.children == (viewer.plot,)


def test_a_network_without_a_convolution(viewer, monkeypatch):
    def no_convolution(*_, **__):
        raise SettingsError("Grad-CAM looks at a convolution, and this has none.")

    monkeypatch.setattr(runs, "saliency", no_convolution)
    viewer.method.value = "grad-cam"
    assert "looks at a convolution" in viewer.note.value and viewer.place.children == (viewer.note,)
    monkeypatch.undo()
    viewer.look()
    assert viewer.place.children == (viewer.plot,)


def test_missing_images_are_left_out(run, faces):
    viewer = SaliencyViewer(run, [None, None, *faces[2:]], size=4)
    assert len(viewer.rows) == 58 and "2 faces left out, without an image" in viewer.words.value
    viewer.rows = [0]
    assert viewer.batch == [] and "No face is left" in viewer.figure().layout.annotations[0].text
    assert repr(viewer) == "SaliencyViewer(0 faces, integrated gradients of alpha)" and viewer.png()[:4] == b"\x89PNG"


def test_runs_with_little_in_them(new_run, faces):
    young = SaliencyViewer(give_network(new_run(epochs=0), before=False), faces, size=4)
    assert "No face is left" in young.figure().layout.annotations[0].text
    young.faces.value = "random"
    assert len(young.found) == 2
    young.faces.value = "changed labels"
    assert not young.batch
    plain = SaliencyViewer(give_network(new_run(truth=False, unseen=3)), faces, size=4)
    assert "true" not in captions(plain.figure())[0] and len(plain.rows) == 57
    assert SaliencyViewer(give_network(new_run(epochs=1)), faces, size=4).found


def test_chinese_classes_and_colour(new_run):
    run = give_network(new_run(classes=["愤怒", "高兴", "恐惧"]), (16, 16, 3))
    viewer = SaliencyViewer(run, np.zeros((60, 16, 16, 3), np.uint8), size=2)
    viewer.of.value = "高兴"
    assert repr(viewer) == "SaliencyViewer(2 faces, integrated gradients of 高兴)" and viewer.png()[:4] == b"\x89PNG"


def test_thirty_thousand_faces_are_not_touched(new_run):
    run = give_network(new_run(n=30_000, epochs=1))
    images = np.zeros((30_000, 16, 16), np.uint8)
    viewer = SaliencyViewer(run, images, size=4)
    assert len(viewer.rows) == 30_000 and viewer.words.value.startswith("faces 1 to 4 of 30,000; each map")


def test_what_cannot_be_looked_at_is_a_sentence(new_run, run, faces):
    with pytest.raises(DataError, match="There is no sample 60"):
        SaliencyViewer(run, faces, rows=[60])
    with pytest.raises(DataError, match="59 images but 60"):
        SaliencyViewer(run, faces[:59])
    with pytest.raises(RunError, match="how its images were prepared"):
        SaliencyViewer(new_run(), faces)
    del run.settings["arch"]
    with pytest.raises(SettingsError, match="does not name its architecture"):
        SaliencyViewer(run, faces)
