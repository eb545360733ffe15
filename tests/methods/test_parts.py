"""What the methods share, and what holds for each of them: it trains, saves, predicts, leaves an ordinary network."""

import json
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from fastai.callback.data import WeightedDL
from fastai.data.load import DataLoader
from fastai.learner import Callback
from fastai.optimizer import SGD
from made_methods import TRAIN, fitted, summary
from small_faces import CLASSES, small_faces
from torch import nn

from scn_fastai.cli import main
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods import METHODS
from scn_fastai.methods.parts import MethodCallback, add_callback, check_order, plain_logits
from scn_fastai.training.network import build_network
from scn_fastai.training.predict import predictor
from scn_fastai.training.run import Run
from scn_fastai.training.score import score_samples

OURS = ("curriculumnet", "metacleaner", "ltnet", "pld", "dlpcnn", "ran", "gacnn")


def voted(n_train=96, n_valid=32):
    """Small faces on which nine of ten people agree with the label."""
    faces = small_faces(n_train, n_valid, size=24)
    for code, name in enumerate(CLASSES):
        nearby = CLASSES[code - 1]
        faces.samples[f"vote_{name}"] = 0.9 * (faces.samples["label"] == name) + 0.1 * (
            faces.samples["label"] == nearby
        )
    return faces


@pytest.mark.parametrize("name", OURS)
def test_the_run_predicts_as_the_learner_did(name, tmp_path):
    """Validation is plain cross-entropy; the network from disk says the same; without the callbacks it is as built."""
    faces = voted()
    learn = face_learner(faces, name, TRAIN, tmp_path / "run")
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 0.05)
        loss, accuracy, _ = learn.validate()
        logits, labels = learn.get_preds(act=nn.Identity())
    assert loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-4)
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    probs = predictor(Run.load(tmp_path / "run"))(faces.images[96:, :, :, None].repeat(3, -1))
    np.testing.assert_allclose(probs, logits.softmax(1), atol=1e-4)
    learn.remove_cb(learn.scn)
    bare = build_network(METHODS[name].arch("small"), 8)
    bare.load_state_dict(learn.model.state_dict())
    x = torch.randn(4, 3, 24, 24)
    assert torch.equal(pickle.loads(pickle.dumps(learn.model)).eval()(x), bare.eval()(x))


@pytest.mark.parametrize("name", ["curriculumnet", "metacleaner", "ltnet", "pld"])
def test_an_interrupted_training_resumes_to_the_same_weights(name, tmp_path):
    faces = voted()
    whole = summary(name, TRAIN, faces, folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        summary(name, TRAIN, faces, folder=tmp_path / "broken", callbacks=[Interrupt()])
    resumed = summary(name, TRAIN, faces, folder=tmp_path / "broken", resume=True)
    weights = [(tmp_path / part / "model.safetensors").read_bytes() for part in ("whole", "broken")]
    assert weights[0] == weights[1] and resumed["accuracy_last"] == whole["accuracy_last"]


class Interrupt(Callback):
    """Ctrl-C in the third epoch."""

    order = 80

    def after_batch(self):
        if self.training and self.epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["curriculumnet", "metacleaner", "upsample"])
def test_the_loader_gets_its_order_back_after_an_interrupt(name):
    learn = face_learner(voted(), name, TRAIN)
    learn.add_cb(Interrupt())
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt):
            learn.fit_one_cycle(4, 0.05)
        assert "shuffle_fn" in vars(learn.dls.train)
        learn.validate()
    assert "shuffle_fn" not in vars(learn.dls.train) and sorted(learn.dls.train.get_idxs()) == list(range(96))


@pytest.mark.parametrize("name", ["elr", "metacleaner", "upsample"])
def test_an_order_of_ones_own_is_there_again_after_the_fit(name):
    learn = face_learner(voted(), name, TRAIN)
    own = learn.dls.train.shuffle_fn = lambda indices: indices[::-1]
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
    assert vars(learn.dls.train)["shuffle_fn"] is own


@pytest.mark.parametrize("name", ["curriculumnet", "metacleaner", "upsample"])
def test_a_loader_that_would_not_ask_for_the_order_is_one_sentence(name):
    learn = face_learner(voted(), name, TRAIN)
    learn.dls.train.shuffle = False
    with learn.no_bar(), learn.no_logging(), pytest.raises(SettingsError, match="chooses the order of the training"):
        learn.fit(1, 0.01)


def test_a_loader_with_weights_draws_in_its_own_way():
    dl = WeightedDL(list(range(8)), bs=4, shuffle=True, wgts=[1] * 8)
    with pytest.raises(SettingsError, match="has no weights"):
        check_order(dl, "upsample")
    check_order(DataLoader(list(range(8)), bs=4, shuffle=True), "upsample")


def test_a_loader_of_torchs_own_is_one_sentence():
    with pytest.raises(SettingsError, match="^SCN must know which sample is which"):
        check_order(torch.utils.data.DataLoader(list(range(8)), batch_size=4, shuffle=True), "upsample")


@pytest.mark.parametrize("name", ["curriculumnet", "metacleaner", "upsample"])
def test_oversampling_is_not_lost_without_a_word(name):
    learn = face_learner(voted(), "plain", replace(TRAIN, oversample=True))
    words = "^(CurriculumNet|MetaCleaner|upsample) chooses the order of the training faces, so nothing would be overs"
    with pytest.raises(SettingsError, match=words):
        METHODS[name].prepare(learn)
    learn = face_learner(voted(), name, TRAIN)
    learn.dls.train.oversample = True
    with learn.no_bar(), learn.no_logging(), pytest.raises(SettingsError, match=words):
        learn.fit(1, 0.01)


def test_the_list_has_them_with_their_cards(capsys):
    assert main(["recipes", "--json"]) == 0
    cards = {card["name"]: card for card in json.loads(capsys.readouterr().out)}
    for name in OURS:
        assert all(len(cards[name][key]) > 3 for key in ("about", "paper", "assumes", "costs"))
    assert cards["curriculumnet"]["options"]["cluster_on"] == "density" and cards["gacnn"]["options"] == {}


# ---- the shared pieces ----


class Halved(MethodCallback):
    """A method with a part: half the loss, and the part's weight as a scale."""

    def batch_loss(self, logits, target, index):
        assert logits.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        self.indices = getattr(self, "indices", []) + [index.tolist()]
        return 0.5 * nn.functional.cross_entropy(logits * self.part.weight[0, 0], target)


def test_a_part_trains_and_resumes_with_the_network(tmp_path):
    learn = face_learner(small_faces(96, 32, size=24), "plain", replace(TRAIN, half=True), tmp_path / "run")
    part = nn.Linear(1, 1)
    start = part.weight.clone()
    add_callback(learn, Halved(part))
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 0.05)
    assert not torch.equal(part.weight, start)
    assert sorted(sum(learn.halved.indices, [])) == sorted(set(sum(learn.halved.indices, [])))
    again = face_learner(small_faces(96, 32, size=24), "plain", replace(TRAIN, half=True))
    add_callback(again, Halved(nn.Linear(1, 1)))
    assert Run.load(tmp_path / "run").resume(again) == 1
    assert torch.equal(again.halved.part.weight, part.weight)
    assert not any("part" in name for name in Run.load(tmp_path / "run").weights())


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("opt_func", [None, partial(SGD, mom=0.9)], ids=["torch", "fastai"])
def test_a_part_is_trained_by_an_optimizer_that_was_there_before(opt_func, trained):
    learn = face_learner(small_faces(96, 32, size=24), "plain", TRAIN)
    learn.opt_func = opt_func or learn.opt_func
    part = nn.Linear(1, 1)
    start = part.weight.clone()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.05) if trained else learn.create_opt()
        opt = learn.opt
        add_callback(learn, Halved(part))
        known = [id(p) for group in opt.param_lists for p in group]
        learn.fit(1, 0.05)
    assert learn.opt is opt and [known.count(id(p)) for p in part.parameters()] == [1, 1]
    assert not torch.equal(part.weight, start)


def test_plain_logits_are_in_the_order_of_the_training_set():
    learn = fitted("plain")
    learn.model.train()
    frozen = learn.model[1].eval()  # a batch norm, as BnFreeze leaves it
    logits = plain_logits(learn)
    assert learn.model.training and learn.model[-1].training and not frozen.training
    probs = score_samples(learn).filter(like="p_").drop(columns=["p_max", "p_given"]).to_numpy()
    np.testing.assert_allclose(logits.softmax(1), probs, atol=1e-5)
