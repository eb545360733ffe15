"""Maps for the faces of a run: which network is asked, what is kept, who is chosen, what goes wrong."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from made_networks import give_network
from made_runs import make_run

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.explain import runs
from scn_fastai.explain.runs import Explainer, chosen_faces
from scn_fastai.explain.saliency import saliency, scores
from scn_fastai.training.network import network_of
from scn_fastai.training.predict import predictor, prepare


@pytest.fixture
def new_run(tmp_path):
    return partial(make_run, tmp_path)


@pytest.fixture
def run(new_run):
    return give_network(new_run())


@pytest.fixture
def faces():
    return np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)


def prepared(run, faces, rows):
    return prepare(torch.from_numpy(faces[rows]), run.settings["input"])


# ---- which network, which class ----


def test_maps_are_those_of_the_run_s_networks(run, faces):
    rows = [7, 3, 7]
    explainer = Explainer(run, faces)
    for when, network in (("trained", network_of(run)), ("before relabel", network_of(run, before=True))):
        found = explainer.look(rows, "saliency", when=when)
        x = prepared(run, faces, rows)
        assert torch.allclose(torch.from_numpy(found.maps), saliency(network, x, "saliency"), rtol=1e-3, atol=1e-7)
        logits, alpha = scores(network, x)
        assert np.allclose(found.alpha, alpha) and found.predicted.tolist() == logits.argmax(1).tolist()
    assert not np.allclose(explainer.look(rows, "saliency").maps, found.maps)
    assert np.allclose(predictor(run, with_alpha=True)(faces[rows])[1], explainer.look(rows).alpha, atol=1e-6)


def test_of_which_class(run, faces):
    rows, network = np.arange(12), network_of(run)
    x, given = prepared(run, faces, rows), run.ledger.given[:12]
    given[:5] = scores(network, x)[0].argmax(1)[:5]
    explainer = Explainer(run, faces)
    for of, expected in {
        "predicted": saliency(network, x, of="class"),
        "given": saliency(network, x, of="class", target=given),
        "fear": saliency(network, x, of="class", target=2),
        "difference": saliency(network, x, of="difference", target=given),
    }.items():
        assert np.allclose(explainer.look(rows, of=of).maps, expected, atol=1e-6), of
    same = (explainer.look(rows).predicted == given.numpy()).tolist()
    empty = [not one.any() for one in explainer.look(rows, of="difference").maps]
    assert empty == same and 0 < sum(same) < 12


def test_an_untrained_network_is_seeded_and_of_the_same_make(run, faces):
    state = torch.get_rng_state()
    one, two, other = (Explainer(run, faces, seed).network("untrained") for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one[0].weight, two[0].weight) and not torch.equal(one[0].weight, other[0].weight)
    assert one.state_dict().keys() == network_of(run).state_dict().keys() and not one.training
    run.settings["scn"]["alpha_start"] = 0.9
    assert np.allclose(Explainer(run, faces).look(range(9), when="untrained").alpha, 0.9, atol=0.05)


def test_the_short_way(run, faces):
    found = Explainer(run, faces).look([5], "occlusion", "predicted", when="before relabel", window=4)
    x = prepared(run, faces, [5])
    assert np.allclose(found.maps, saliency(network_of(run, before=True), x, "occlusion", "class", window=4))


# ---- what is kept ----


def test_what_was_computed_is_not_computed_again(run, faces, monkeypatch):
    asked = []
    monkeypatch.setattr(
        runs, "saliency", lambda model, x, *a, **o: (asked.append(len(x)), saliency(model, x, *a, **o))[1]
    )
    explainer = Explainer(run, faces)
    first = explainer.look([1, 2, 3], "saliency")
    again = explainer.look([3, 4, 1], "saliency")
    assert asked == [3, 1] and np.array_equal(first.maps[[2, 0]], again.maps[[0, 2]])
    assert explainer.known([1, 2, 3, 4], "saliency", "alpha", "trained")
    for other in (("saliency", "given"), ("grad-cam", "alpha")):
        assert not explainer.known([1], *other, "trained")
    assert not explainer.known([1], "saliency", "alpha", "untrained") and not explainer.known(
        [5], "saliency", "alpha", "trained"
    )
    assert not explainer.known([1], "saliency", "alpha", "trained", 2)
    explainer.look([1], "occlusion", window=4)
    explainer.look([1], "occlusion", window=5)
    assert asked == [3, 1, 1, 1]


def test_only_so_many_are_kept(run, faces, monkeypatch):
    monkeypatch.setattr(runs, "MOST_MAPS", 10)
    explainer = Explainer(run, faces)
    assert explainer.look(range(30), "saliency").maps.shape == (30, 16, 16) and len(explainer._maps) == 10
    assert explainer.known([29], "saliency", "alpha", "trained") and not explainer.known(
        [0], "saliency", "alpha", "trained"
    )


def test_nothing_asked_nothing_found(run, faces):
    found = Explainer(run, faces).look([])
    assert len(found.maps) == len(found.alpha) == len(found.predicted) == 0


# ---- pictures ----


def test_colour_and_size_are_those_of_the_run(run, faces):
    large = np.repeat(faces, 2, 1).repeat(2, 2)
    colour = np.repeat(large[..., None], 3, -1)
    plain = Explainer(run, faces).look([1, 2])
    assert Explainer(run, large).look([1, 2]).maps.shape == (2, 16, 16)
    assert np.allclose(Explainer(run, large).look([1]).maps, Explainer(run, colour).look([1]).maps, atol=1e-5)
    in_colour = give_network(run, (16, 16, 3))
    assert np.allclose(Explainer(in_colour, faces).look([1, 2]).maps, plain.maps, atol=1e-5)


def test_missing_images_are_a_sentence(run, faces):
    some = [None, *faces[1:]]
    assert len(Explainer(run, some).look([1, 2]).maps) == 2
    with pytest.raises(DataError, match="The image of face 0 is missing: leave it out"):
        Explainer(run, some).look([1, 0])
    table = pd.DataFrame({"image": ["3.png"], "split": "train", "label": "joy"})
    one = FaceSet(table, run.classes, faces[3:4], ReadAccount("here", 1))
    assert np.array_equal(Explainer(run, one).look([3]).maps, Explainer(run, faces).look([3]).maps)


# ---- who is chosen ----


def test_faces_by_alpha_by_change_at_random(new_run):
    run = new_run(unseen=2)
    alpha = run.history.epoch_arrays(-1)["alpha"]
    low, high = chosen_faces(run, "lowest alpha"), chosen_faces(run, "highest alpha")
    assert len(low) == 58 and low[0] == np.nanargmin(alpha) and high[0] == np.nanargmax(alpha)
    assert np.all(np.diff(alpha[low]) >= 0) and np.all(np.diff(alpha[high]) <= 0)
    changed = chosen_faces(run, "changed labels")
    assert changed.tolist() == (run.ledger.current != run.ledger.given).nonzero()[:, 0].tolist() and len(changed)
    assert sorted(chosen_faces(run, "random")) == list(range(60))
    assert chosen_faces(run, "random").tolist() != chosen_faces(run, "random", 1).tolist()


def test_choices_that_leave_nobody(new_run):
    run = new_run(epochs=0)
    assert not len(chosen_faces(run, "lowest alpha")) and not len(chosen_faces(run, "changed labels"))
    with pytest.raises(SettingsError, match="not by 'beauty': lowest alpha"):
        chosen_faces(run, "beauty")


# ---- bad input ----


def test_a_run_that_cannot_be_asked(new_run, faces):
    with pytest.raises(RunError, match="how its images were prepared"):
        Explainer(new_run(), faces)
    run = give_network(new_run(), before=False)
    with pytest.raises(RunError, match="this run did not relabel"):
        Explainer(run, faces).look([1], when="before relabel")
    with pytest.raises(DataError, match="There are 59 images but 60"):
        Explainer(run, faces[:59])
    del run.settings["arch"]
    with pytest.raises(SettingsError, match="does not name its architecture"):
        Explainer(run, faces)
    run.ledger = None
    with pytest.raises(RunError, match="no labels yet"):
        Explainer(run, faces)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"rows": [60]}, DataError, r"There is no face 60: there are 60 \(0 to 59\)"),
        ({"rows": [-1]}, DataError, "no face -1"),
        ({"rows": [0.5]}, DataError, "whole numbers"),
        ({"of": "beauty"}, SettingsError, "not of 'beauty': alpha, predicted, given, difference, anger"),
        ({"when": "tomorrow"}, SettingsError, "when is 'tomorrow', and there are: untrained"),
        ({"method": "guess"}, SettingsError, "method is 'guess'"),
    ],
)
def test_bad_questions_are_a_sentence(run, faces, options, error, sentence):
    with pytest.raises(error, match=sentence):
        Explainer(run, faces).look(**{"rows": [1], **options})
