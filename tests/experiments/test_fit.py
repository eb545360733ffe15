"""One training from faces to a summary: its figures, its seeds, its refusals, and that plain means plain."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from small_faces import CLASSES, small_faces

from scn_fastai import Run, flip_labels
from scn_fastai.data.loaders import face_loaders
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.experiments import recipes
from scn_fastai.experiments.fit import TrainSettings, _torch_sgd, face_learner, train_faces
from scn_fastai.training.network import build_network

TRAIN = TrainSettings(arch="small", epochs=3, batch_size=32, device="cpu", half=False)
KEYS = {
    "accuracy_last", "accuracy_best", "epoch_best", "relabel_precision", "relabel_recall", "relabel_harm",
    "label_accuracy_before", "label_accuracy_after", "auroc_alpha", "auroc_loss", "seconds", "images_per_second",
    "recipe", "seed", "n_train", "epochs", "noise_estimate",
}  # fmt: skip
TIMES = ("seconds", "images_per_second")


@pytest.fixture(scope="module")
def clean():
    return small_faces(120, 40, size=24)


@pytest.fixture(scope="module")
def noisy(clean):
    labels = clean.part("train").samples["label"]
    return clean.with_labels(flip_labels(labels, 0.3, seed=1, classes=CLASSES).labels)


@pytest.fixture
def busy(monkeypatch):
    """The default recipe, relabeling for certain after the first epoch."""
    settings = recipes.recipe("default").settings.change(relabel_from=1, relabel_margin=0.0)
    monkeypatch.setitem(recipes.RECIPES, "default", replace(recipes.recipe("default"), settings=settings))


def quiet(faces, recipe="default", train=TRAIN, **how):
    return train_faces(faces, recipe, train, bar=False, **how)


def without_times(summary):
    return {name: value for name, value in summary.items() if name not in TIMES}


# ---- the summary ----


def test_the_summary_has_every_figure(noisy, busy, tmp_path):
    summary = quiet(noisy, folder=tmp_path / "run")
    assert summary.keys() >= KEYS
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary  # plain numbers, no NaN
    assert (summary["recipe"], summary["seed"], summary["n_train"], summary["epochs"]) == ("default", 0, 120, 3)
    figures = KEYS - {"seconds", "images_per_second", "recipe", "seed", "n_train", "epochs", "epoch_best"}
    assert all(0 <= summary[name] <= 1 for name in figures)
    assert summary["accuracy_best"] >= summary["accuracy_last"] and 0 <= summary["epoch_best"] < 3
    assert summary["seconds"] > 0 and summary["images_per_second"] > 0


def test_the_figures_are_those_of_the_run(noisy, busy, tmp_path):
    summary = quiet(noisy, folder=tmp_path / "run")
    run = Run.load(tmp_path / "run")
    given, current, truth = run.ledger.given, run.ledger.current, run.truth
    changed, wrong = current != given, given != truth
    assert int(changed.sum()) == summary["changed"] > 0
    assert summary["relabel_precision"] == pytest.approx(float((changed & (current == truth)).sum() / changed.sum()))
    assert summary["relabel_recall"] == pytest.approx(float((changed & (current == truth)).sum() / wrong.sum()))
    assert summary["relabel_harm"] == pytest.approx(float((changed & ~wrong).sum() / changed.sum()))
    assert summary["label_accuracy_before"] == pytest.approx(1 - float(wrong.float().mean()))
    assert summary["label_accuracy_after"] == pytest.approx(float((current == truth).float().mean()))
    reached = run.history.frame()["accuracy"]
    assert summary["accuracy_last"] == reached.iloc[-1] and summary["accuracy_best"] == reached.max()
    alpha, wrong = run.history.alpha[-1], wrong.numpy()
    pairs = (alpha[wrong][:, None] < alpha[~wrong]) + 0.5 * (alpha[wrong][:, None] == alpha[~wrong])
    seen = np.isfinite(alpha[wrong])[:, None] & np.isfinite(alpha[~wrong])
    assert summary["auroc_alpha"] == pytest.approx(pairs[seen].mean())


def test_what_cannot_be_known_is_null(clean):
    unknown = replace(clean, samples=clean.samples.drop(columns="true_label"))
    summary = quiet(unknown, "plain", replace(TRAIN, epochs=1))
    no_truth = KEYS & {name for name in summary if name.startswith(("relabel_", "label_accuracy_", "auroc_"))}
    assert len(no_truth) == 7 and all(summary[name] is None for name in no_truth)
    assert summary["accuracy_last"] is not None
    json.dumps(summary, allow_nan=False)


def test_without_wrong_labels_or_changes_there_is_no_precision(clean):
    summary = quiet(clean, "plain", replace(TRAIN, epochs=1))
    assert summary["label_accuracy_before"] == summary["label_accuracy_after"] == 1
    nothing = ("relabel_precision", "relabel_recall", "relabel_harm", "auroc_alpha", "auroc_loss")
    assert [summary[name] for name in nothing] == [None] * 5


# ---- seeds and going on ----


def test_the_same_seed_gives_the_same_figures(noisy, busy):
    first, again = quiet(noisy), quiet(noisy)
    other = quiet(noisy, train=replace(TRAIN, seed=1))
    assert without_times(first) == without_times(again)
    assert first["auroc_loss"] != other["auroc_loss"]


@pytest.mark.parametrize("half", [False, True])
def test_an_interrupted_training_resumes_to_the_same_figures(noisy, busy, tmp_path, half):
    train = replace(TRAIN, half=half)
    whole = quiet(noisy, train=train, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        quiet(noisy, train=train, folder=tmp_path / "broken", callbacks=[Interrupt()])
    resumed = quiet(noisy, train=train, folder=tmp_path / "broken", resume=True)
    assert without_times(resumed) == without_times(whole)
    assert [resumed[name] for name in TIMES] == [None, None]  # what went before the interrupt was not timed
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]
    done = quiet(noisy, train=train, folder=tmp_path / "broken", resume=True)  # nothing is left to train
    assert without_times(done) == without_times(whole) and [done[name] for name in TIMES] == [None, None]


def test_a_whole_run_that_is_resumed_keeps_its_time(clean, tmp_path):
    train = replace(TRAIN, epochs=2)
    whole = quiet(clean, "plain", train, folder=tmp_path / "run")
    for epochs in (2, 1):
        again = quiet(clean, "plain", replace(train, epochs=epochs), folder=tmp_path / "run", resume=True)
        assert again == whole and whole["seconds"] > 0
    more = quiet(clean, "plain", replace(train, epochs=3), folder=tmp_path / "run", resume=True)
    assert more["epochs"] == 3 and [more[name] for name in TIMES] == [None, None]


def test_a_whole_run_without_its_summary_has_no_time(clean, tmp_path):
    train = replace(TRAIN, epochs=1)
    whole = quiet(clean, "plain", train, folder=tmp_path / "run")
    (tmp_path / "run" / "summary.json").write_text("{", encoding="utf-8")
    again = quiet(clean, "plain", train, folder=tmp_path / "run", resume=True)
    assert without_times(again) == without_times(whole) and [again[name] for name in TIMES] == [None, None]


class Interrupt(Callback):
    """Ctrl-C in the second epoch."""

    order = 80

    def after_batch(self):
        if self.training and self.epoch == 1 and self.learn.iter == 1:
            raise KeyboardInterrupt


class Listen(Callback):
    """The weights when training begins, and which samples each batch had."""

    order = 80

    def __init__(self):
        self.batches = []

    def before_fit(self):
        state = self.learn.model.state_dict().items()
        self.start = {name: value.clone() for name, value in state if isinstance(value, torch.Tensor)}

    def after_batch(self):
        if self.training:
            self.batches.append(self.learn.dls.train.batch_index.tolist())


def test_recipes_of_one_seed_share_weights_and_batches(noisy, busy):
    heard = {}
    for recipe in ("plain", "default", "paper", "released"):
        listen = Listen()
        quiet(noisy, recipe, callbacks=[listen])
        heard[recipe] = listen
    plain = heard["plain"]
    assert len(plain.batches) == 3 * (120 // 32) and plain.batches[0] != plain.batches[3]
    for listen in heard.values():
        assert listen.batches == plain.batches
        assert all(
            torch.equal(listen.start[name], plain.start[name]) for name in plain.start if "attention" not in name
        )


@pytest.mark.parametrize("recipe", recipes.RECIPES)
def test_every_recipe_trains(noisy, recipe):
    summary = quiet(noisy, recipe, replace(TRAIN, epochs=1))
    assert summary["recipe"] == recipe and 0 <= summary["accuracy_last"] <= 1


def test_plain_is_a_training_without_scn(noisy):
    """Given the same random state, its weights are equal to the bit, apart from the head's own, which stand still."""
    learn = face_learner(noisy, "plain", TRAIN)
    start = {name: value.clone() for name, value in learn.model.state_dict().items() if isinstance(value, torch.Tensor)}
    bare = Learner(face_loaders(noisy, 32, device="cpu"), build_network("small", 8), CrossEntropyLossFlat(),
                   lambda params, lr, **_: _torch_sgd(params, lr, TRAIN.wd), metrics=accuracy, wd=TRAIN.wd)  # fmt: skip
    own = {name: value for name, value in start.items() if "attention" in name}
    names = {name: value for name, value in start.items() if name not in own}
    bare.model.load_state_dict(names)
    for each in (learn, bare):
        torch.manual_seed(5)
        with each.no_bar(), each.no_logging():
            each.fit_one_cycle(2, 0.05)
    trained = learn.model.state_dict()
    assert bare.model.state_dict().keys() == names.keys()
    assert [n for n, value in bare.model.state_dict().items() if not torch.equal(value, trained[n])] == []
    assert all(torch.equal(trained[name], value) for name, value in own.items())
    assert not torch.equal(trained["0.weight"], start["0.weight"])


def test_the_callback_can_go_and_come_back(noisy):
    """The optimizer is the same one throughout, and meets the head's first gradient when it has stepped before."""
    learn = face_learner(noisy, "default", TRAIN)
    scn = learn.scn
    scn.settings = scn.settings.change(weight_from=0)
    learn.remove_cbs([scn, learn.truth_columns])
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        learn.add_cb(scn)
        start = scn._head.attention_weight.detach().clone()
        learn.fit(1)
    assert scn.history.epoch == 1 and not torch.equal(scn._head.attention_weight, start)


# ---- refusals: one sentence each ----


def test_a_class_without_a_face(clean):
    rows = np.flatnonzero((clean.samples["label"] != "fear") | (clean.samples["split"] == "valid"))
    with pytest.raises(DataError, match=r"^The class 'fear' has no training face: leave it out .*\.$"):
        quiet(clean.take(rows))


def test_a_batch_larger_than_the_training_set(clean):
    with pytest.raises(DataError, match="^A batch of 128 is more than the 120 training faces"):
        quiet(clean, train=replace(TRAIN, batch_size=128))


def test_no_valid_faces(clean):
    with pytest.raises(DataError, match="There are no valid faces"):
        quiet(clean.part("train"))


def test_an_unknown_recipe_or_network(clean):
    with pytest.raises(SettingsError, match="There is no recipe 'secret'; there are: plain, default"):
        quiet(clean, "secret")
    with pytest.raises(SettingsError, match="There is no architecture 'resnet19'"):
        quiet(clean, train=replace(TRAIN, arch="resnet19"))


def test_resume_of_nothing_or_of_another_recipe(clean, tmp_path):
    with pytest.raises(RunError, match="There is nothing to resume without a folder"):
        quiet(clean, resume=True)
    with pytest.raises(RunError, match="There is no run at"):
        quiet(clean, folder=tmp_path / "run", resume=True)
    quiet(clean, "plain", replace(TRAIN, epochs=1), folder=tmp_path / "run")
    with pytest.raises(RunError, match="holds a run of the recipe 'plain', not of 'paper'"):
        quiet(clean, "paper", folder=tmp_path / "run", resume=True)


@pytest.mark.parametrize("change", [{"lr": 0.01}, {"batch_size": 16}, {"seed": 1}, {"size": 32}, {"oversample": True}])
def test_a_run_is_resumed_as_it_began_and_as_long_as_one_asks(clean, tmp_path, change):
    quiet(clean, "plain", replace(TRAIN, epochs=1), folder=tmp_path / "run")
    with pytest.raises(RunError, match=f"trained otherwise \\({next(iter(change))} "):
        quiet(clean, "plain", replace(TRAIN, **change), folder=tmp_path / "run", resume=True)
    assert Run.load(tmp_path / "run").history.epoch == 1
    quiet(clean, "plain", replace(TRAIN, epochs=2), folder=tmp_path / "run", resume=True)
    assert Run.load(tmp_path / "run").settings["train"]["epochs"] == 2


def test_a_loss_that_is_no_number_stops_in_one_sentence(clean, tmp_path):
    with pytest.raises(RunError, match="^The loss became NaN or infinite in epoch 0: lower the learning rate"):
        train = replace(TRAIN, lr=1e30)
        quiet(clean, "plain", train, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_colour_faces_of_another_size_train_too(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": [f"{i}" for i in range(48)], "split": ["train"] * 32 + ["valid"] * 16})
    table["label"] = np.array(["a", "b"])[np.arange(48) % 2]
    faces = FaceSet(table, ["a", "b"], rng.integers(0, 256, (48, 20, 28, 3), dtype=np.uint8), ReadAccount("x", 48))
    summary = quiet(faces, train=replace(TRAIN, size=24, epochs=1, batch_size=8), folder=tmp_path / "run")
    assert summary["n_train"] == 32 and Run.load(tmp_path / "run").settings["input"]["size"] == 24


def test_a_learned_margin_changes_nothing_else_of_the_training(clean):
    """It needs fastai's optimizer, which must decay what torch's does: all weights, through the momentum."""
    weights = []
    for recipe in ("weight-rank", "weight-rank:learn_margin=true"):
        learn = face_learner(clean, recipe, replace(TRAIN, wd=0.05))
        with learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(2, TRAIN.lr)
        weights.append(learn.model[0].weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-4)
