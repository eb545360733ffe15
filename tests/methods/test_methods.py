"""Every method: its card, one training from faces to a summary, and the ordinary network that it leaves."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.learner import load_learner
from fastai.optimizer import Adam
from small_faces import small_faces

from scn_fastai import Run
from scn_fastai.data.noise import flip_labels
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces
from scn_fastai.experiments.recipes import all_recipes, recipe
from scn_fastai.methods import METHODS
from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.training.callback_state import callback_states
from scn_fastai.training.network import build_network
from scn_fastai.training.predict import predictor

QUICK = ("coteaching", "rul")  # they hang most on the Learner; all together take ten seconds and more
QUICK_AND_SLOW = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in METHODS]
TRAIN = TrainSettings(arch="small", epochs=1, batch_size=32, device="cpu", half=True)


# An epoch is enough to see that a method trains; two of them say that it is too few to be of use.
pytestmark = pytest.mark.filterwarnings("ignore:.*train (2|4) or more")


@pytest.fixture(scope="module")
def noisy():
    faces = small_faces(96, 32, size=24)
    labels = flip_labels(faces.part("train").samples["label"], 0.3, seed=1, classes=faces.classes).labels
    faces = faces.with_labels(labels)
    for name in faces.classes:  # pld draws from votes
        faces.samples[f"vote_{name}"] = (faces.samples["true_label"] == name).astype(float)
    return faces


@pytest.mark.parametrize("name", METHODS)
def test_it_trains_and_leaves_an_ordinary_network(noisy, name, tmp_path):
    """Under bfloat16 autocast, as the fast path trains where the processor has it."""
    summary = train_faces(noisy, name, TRAIN, tmp_path / "run", bar=False)
    assert summary["recipe"] == name and summary["epochs"] == 1 and summary["changed"] == 0
    assert all(math.isfinite(v) for v in summary.values() if isinstance(v, float))
    assert 0 <= summary["accuracy_last"] <= 1
    run = Run.load(tmp_path / "run")
    assert math.isfinite(run.history.last("wce")) and math.isfinite(run.history.last("valid_loss"))
    arch = METHODS[name].arch("small")
    plain = set(face_learner(noisy, "plain", replace(TRAIN, arch=arch)).model.state_dict())
    assert set(run.weights()) == {key for key in plain if not key.endswith("_extra_state")}
    probs = predictor(run)(np.repeat(noisy.images[:3, :, :, None], 3, axis=3))
    assert probs.shape == (3, 8) and np.allclose(probs.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", QUICK_AND_SLOW)
def test_the_learner_is_usable_afterwards(noisy, name, tmp_path):
    learn = face_learner(noisy, name, replace(TRAIN, half=False))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
        loss, *_ = learn.validate()
        probs, _ = learn.get_preds()
        learn.fit(1, 0.01)  # and trained on
    assert math.isfinite(loss) and torch.allclose(probs.sum(1), torch.ones(len(probs)), atol=1e-5)
    learn.path = tmp_path
    learn.export("model.pkl")
    learn.remove_cb(learn.scn)
    assert set(learn.model.state_dict()) == set(build_network(METHODS[name].arch("small"), 8).state_dict())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in learn.model.modules())


@pytest.mark.parametrize("name", METHODS)
def test_without_scn_the_ordinary_network_is_evaluated_as_before(noisy, name):
    learn = face_learner(noisy, name, replace(TRAIN, half=False))
    with learn.no_bar(), learn.no_logging():
        before, _ = learn.get_preds()
        learn.remove_cb(learn.scn)
        loss, *_ = learn.validate()
        after, _ = learn.get_preds()
        _, _, one = learn.predict(noisy.images[96])
    assert math.isfinite(loss) and torch.equal(after, before) and torch.allclose(one, before[0], atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_an_export_predicts_without_the_training_set(noisy, name, tmp_path):
    learn = face_learner(noisy, name, replace(TRAIN, half=False))
    learn.path = tmp_path
    with learn.no_bar(), learn.no_logging():
        _, _, known = learn.predict(noisy.images[96])
    learn.export("model.pkl")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fastai says that a pickle may run code
        loaded = load_learner(tmp_path / "model.pkl")
    with loaded.no_bar(), loaded.no_logging():
        _, _, found = loaded.predict(noisy.images[96])
    assert torch.allclose(found, known, atol=1e-6)


@pytest.mark.parametrize("name", ["elr", "coteaching", "rul", "eac"])
def test_lr_find_leaves_the_records_alone(noisy, name):
    learn = face_learner(noisy, name, TRAIN)
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=3, show_plot=False)
    kept = [callback_states(learn)] if name in ("elr", "rul") else []
    for state in (state for states in kept for state in states.values()):
        for key in state.keys() & {"target", "log_uncertainty"}:
            assert (state[key].nan_to_num(0) == 0).all()
    assert learn.scn.history.epoch == 0


@pytest.mark.parametrize("name", ["coteaching", "rul", "metacleaner", "ltnet"])
def test_lr_find_after_a_training_leaves_what_trains_beside_the_network(noisy, name, tmp_path):
    """With fastai's own optimizers, which keep a gradient of zero where torch's have none."""
    learn = face_learner(noisy, name, replace(TRAIN, half=False))
    learn.opt_func, learn.path = Adam, tmp_path
    callback = next(cb for cb in learn.cbs if isinstance(cb, BatchLoss))
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 0.003)
        before = [p.detach().clone() for p in callback.extra_parameters()]
        learn.lr_find(num_it=30, show_plot=False)
        after = [p.detach().clone() for p in callback.extra_parameters()]
        learn.fit(2, 0.003)
    assert before and all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(after, callback.extra_parameters(), strict=True))  # it goes on


@pytest.mark.parametrize("name", METHODS)
def test_the_card_is_whole(name):
    card = METHODS[name]
    assert name in all_recipes() and card.about and card.paper and card.assumes and card.costs
    assert all(len(line) < 200 for line in (card.about, card.assumes, card.costs))
    if card.check is not None:
        card.check(**card.options)


# ---- what a method cannot be asked for ----


def those_that(may):
    """Names of the methods of which this is true."""
    return {name for name, method in METHODS.items() if may(method)}


def test_many_processes_train_only_what_is_a_mean_over_samples(noisy, monkeypatch):
    share = those_that(lambda method: method.processes)
    assert share == {"gce", "smoothing", "weightedloss"}
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert face_learner(noisy, "gce", TRAIN).dls.train.bs == face_learner(noisy, "default", TRAIN).dls.train.bs == 16
    for name in sorted(set(METHODS) - share):
        words = f"^The recipe {name} trains in one process, but torchrun started 2: start it without torchrun, or "
        with pytest.raises(SettingsError, match=words):
            face_learner(noisy, name, TRAIN)


def test_one_process_of_torchrun_is_as_good_as_none(noisy, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert face_learner(noisy, "elr", TRAIN).dls.train.bs == 32


def test_a_method_that_draws_its_own_batches_is_not_oversampled(noisy):
    draw = those_that(lambda method: method.draws)
    assert draw == {"upsample", "metacleaner", "curriculumnet"}
    for name in draw:
        words = f"^The recipe {name} draws batches of its own, so nothing would be oversampled: leave oversample out"
        with pytest.raises(SettingsError, match=words):
            face_learner(noisy, name, replace(TRAIN, oversample=True))
    assert face_learner(noisy, "gce", replace(TRAIN, oversample=True)).dls.train.oversample


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("elr:beta=1.5", "beta is 1.5, but it must be a number from 0 to 1"),
        ("elr:strength=strong", "strength is 'strong'"),
        ("elr:strength=Infinity", "^strength is inf, but it must be a finite number of 0 or more.$"),
        ("elr:beta=-Infinity", "^beta is -inf, but it must be a finite number from 0 to 1.$"),
        ("elr:strength=NaN", "strength is nan, but"),
        ("metacleaner:group=Infinity", "group is inf, but it must be a whole number of 1 or more"),
        ("gce:q=0", "q is 0, but"),
        ("smoothing:eps=1.5", "eps is 1.5, but it must be a number from 0 to 1"),
        ("smoothing:eps=little", "eps is 'little'"),
        ("coteaching:tau=1", "tau is 1, but"),
        ("coteaching:epochs_k=2.5", "epochs_k is 2.5, but it must be a whole number of 1 or more"),
        ("eac:chance=-1", "chance is -1, but"),
        ("eac:largest=0.01", "largest is 0.01, but it must be a number from 0.02 to 0.9"),
        ("eac:clip=0", "clip is 0, but"),
        ("mixup:alpha=0", "alpha is 0, but"),
        ("selfpaced:start=0", "start is 0, but"),
        ("selfpaced:grow=true", "grow is True, but it must be a whole number"),
        ("selfpaced:curriculum=mentor", "curriculum is 'mentor', but it must be 'selfpaced' or 'mentornet'"),
        ("alphaloss:alternate=1", "alternate is 1, but it must be true or false"),
        ("upsample:power=3", "power is 3, but"),
        ("weightedloss:power=None", "power is None, but"),
        ("rul:gamma=0.1", "setting of SCN"),
        ("rul:share=0.1", "there are: none"),
    ],
)
def test_a_bad_option_is_one_sentence_before_anything_trains(name, words):
    with pytest.raises(SettingsError, match=words):
        recipe(name)
