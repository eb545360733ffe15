"""SCN in the loop: that each step happens, where, to whom, and that nothing else does."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from fastai.callback.core import CancelEpochException, CancelFitException
from fastai.callback.fp16 import MixedPrecision
from fastai.callback.mixup import CutMix, MixUp
from fastai.callback.training import GradientAccumulation
from fastai.data.core import DataLoaders
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat, FocalLossFlat, LabelSmoothingCrossEntropyFlat
from fastai.metrics import accuracy
from fastai.optimizer import SGD, OptimWrapper
from fastai.vision.data import ImageDataLoaders
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import squeezenet1_0

from scn_fastai import SCNCallback, SCNSettings, scn_loss
from scn_fastai.core import attention_weights, early_learning, early_target, rank_regularization, set_aside
from scn_fastai.errors import RunError, SCNError, SettingsError
from scn_fastai.training.head import ImportanceHead, find_head
from scn_fastai.training.measures import repair_measures
from scn_fastai.training.settings import preset

OFF = {"weight": False, "rank": False, "relabel": False}
COLUMNS = ["rank", "alpha_high", "alpha_low", "changed"]


def weights_of(learn):
    return [p.detach().clone() for p in learn.model.parameters()]


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Interrupt(Callback):
    """Stops the training in the middle of an epoch, counted over all fits."""

    order = 8

    def __init__(self, epoch, batch, error=KeyboardInterrupt):
        self.at, self.error, self.begun = (epoch, batch), error, 0

    def before_train(self):
        self.begun += 1

    def after_loss(self):
        if self.training and (self.begun - 1, self.learn.iter) == self.at:
            raise self.error("stopped here")


# ---- the loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_with_everything_off_the_weights_are_those_of_a_plain_training(
    dropout, blobs, blob_learner, tools, seed_everything
):
    found = []
    for cbs in (None, SCNCallback("paper", **OFF)):
        torch.manual_seed(3)
        learn = blob_learner(blobs, model=tools.mlp(dropout=dropout))
        learn.add_cbs(cbs)  # the new head draws from the generators, so they are seeded again after it
        seed_everything(4, learn)
        learn.fit(3)
        learn.remove_cb(SCNCallback)
        found.append(weights_of(learn))
    assert same(*found)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_one_step_is_the_step_written_by_hand(preset, blobs, blob_learner):
    scn = SCNCallback(preset, rank_margin=0.9)  # so far apart no groups are from the start
    learn = blob_learner(blobs, scn, bs=240, opt_func=SGD, wd=0, lr=0.1)
    hand, s = copy.deepcopy(learn.model), scn.settings
    features = hand[:2](blobs.x)
    head = hand[2]
    alpha = attention_weights(features, head.attention_weight, head.attention_bias)
    loss = scn_loss(nn.functional.linear(features, head.weight, head.bias), alpha, blobs.given,
                    beta=s.beta, margin=s.rank_margin, gamma=s.gamma, combine=s.combine)  # fmt: skip
    loss.total.backward()
    learn.fit(1, 0.1)
    row = scn.history.frame().iloc[0]
    assert [row["wce"], row["rank"]] == pytest.approx([loss.wce.item(), loss.rank.item()], abs=1e-5)
    assert loss.rank > 0 and learn.recorder.losses[0].item() == pytest.approx(loss.total.item(), abs=1e-5)
    for p, mine in zip(learn.model.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(p, mine - 0.1 * mine.grad, atol=1e-6, rtol=0)


def focal(z, y):
    ce = cross_entropy(z, y, reduction="none")
    return ((1 - torch.exp(-ce)) ** 2 * ce).mean()


SHARES = torch.arange(1.0, 5)
LOSSES = {
    "plain": (CrossEntropyLossFlat(), cross_entropy),
    "smooth": (LabelSmoothingCrossEntropyFlat(eps=0.1), lambda z, y: cross_entropy(z, y, label_smoothing=0.1)),
    "classes": (CrossEntropyLossFlat(weight=SHARES), lambda z, y: cross_entropy(z, y, SHARES)),
    "focal": (FocalLossFlat(gamma=2.0), focal),
    "torch's": (nn.CrossEntropyLoss(), cross_entropy),
}


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_the_learners_own_loss_computes_wce(name, relative, blobs, blob_learner):
    loss_func, by_hand = LOSSES[name]
    scn = SCNCallback("paper", relative=relative, rank=False)
    learn = blob_learner(blobs, scn, bs=240, loss_func=loss_func)
    features, head = learn.model[:2](blobs.x), learn.model[2]
    alpha = attention_weights(features, head.attention_weight, head.attention_bias)
    weight = alpha / alpha.mean() if relative else alpha
    expected = by_hand(weight[:, None] * nn.functional.linear(features, head.weight, head.bias), blobs.given).item()
    learn.fit(1)
    assert learn.recorder.losses[0].item() == pytest.approx(expected, abs=1e-5)
    assert scn.history.last("wce") == pytest.approx(expected, abs=1e-5)


def test_the_logged_loss_is_the_one_that_is_trained(blobs, blob_learner):
    class Compare(Callback):
        order = 7
        seen = 0

        def after_loss(self):
            if self.training:
                assert torch.equal(self.learn.loss, self.learn.loss_grad) and not self.learn.loss.requires_grad
                self.learn.loss_grad *= 1.0  # accumulation and scaling write in place: the log keeps its own copy
                assert self.learn.loss.data_ptr() != self.learn.loss_grad.data_ptr()
                self.seen += 1

    blob_learner(blobs, [SCNCallback("paper"), compare := Compare()]).fit(1)
    assert compare.seen == 6


def test_our_step_comes_before_accumulation_and_mixed_precision():
    assert 0 < SCNCallback.order < GradientAccumulation.order < MixedPrecision.order


# ---- on and off -------------------------------------------------------------------------------------------------


def given_to_learner(learn, scn):
    learn.add_cb(scn)
    return lambda: learn.fit(1)


def given_to_fit(learn, scn):
    return lambda: learn.fit(1, cbs=scn)


def added_for_a_while(learn, scn):
    def train():
        with learn.added_cbs(scn):
            learn.fit(1)

    return train


def after_the_optimizer(learn, scn):
    learn.create_opt()
    learn.add_cb(scn)
    return lambda: learn.fit(1)


def after_a_loaded_optimizer(learn, scn):
    learn.create_opt()
    learn.opt.load_state_dict(learn.opt.state_dict())
    learn.add_cb(scn)
    return lambda: learn.fit(1)


def after_a_training(learn, scn):
    learn.fit(1)
    learn.add_cb(scn)
    return lambda: learn.fit(1)


def behind_a_stubborn_splitter(learn, scn):
    body, last = list(learn.model[0].parameters()), list(learn.model[2].parameters())
    learn.splitter = lambda _: [body, last]
    learn.add_cb(scn)
    return lambda: learn.fit(1)


def taken_off_and_put_back(learn, scn):
    learn.add_cb(scn)
    learn.fit(1)
    with learn.removed_cbs(scn):
        learn.fit(1)
    return lambda: learn.fit(1)


WAYS = [given_to_learner, given_to_fit, added_for_a_while, after_the_optimizer, after_a_loaded_optimizer,
        after_a_training, behind_a_stubborn_splitter, taken_off_and_put_back]  # fmt: skip


def torch_sgd(params, **options):
    return OptimWrapper(params, torch.optim.SGD, **options)


@pytest.mark.parametrize("opt_func", [SGD, torch_sgd], ids=["fastai", "torch"])
@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_alpha_is_trained_however_the_callback_came(way, opt_func, blobs, blob_learner, monkeypatch):
    made = []
    start = ImportanceHead.__init__

    def note(self, *args, **kwargs):
        start(self, *args, **kwargs)
        made.append((self, self.attention_weight.detach().clone()))

    monkeypatch.setattr(ImportanceHead, "__init__", note)
    learn = blob_learner(blobs, opt_func=opt_func)
    scn = SCNCallback("paper", bias=True)
    train = way(learn, scn)
    head = find_head(learn.model)
    before = None if head is None else [p.detach().clone() for p in head.own_parameters()]
    train()
    after = scn._kept_parameters if head is None else head.own_parameters()
    before = [made[-1][1]] if before is None else before
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=False)) and len(after) == 2
    known = [id(p) for group in learn.opt.param_lists for p in group]
    assert len(known) == len(set(known))  # no parameter is stepped twice


def test_a_class_is_as_good_as_an_instance(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback)
    assert isinstance(learn.scn, SCNCallback) and learn.scn.settings == SCNSettings()
    learn.fit(1)
    assert learn.scn.history.epoch == 1


def test_records_are_there_as_soon_as_it_is_attached(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback())
    assert torch.equal(learn.scn.ledger.given, blobs.given) and torch.equal(learn.scn.ledger.current, blobs.given)
    assert learn.scn.history.epoch == 0 and len(learn.scn.ledger.frame()) == 0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("fitted", [False, True])
def test_taken_off_the_same_parameters_make_the_same_network(dropout, fitted, blobs, blob_learner, tools):
    model = tools.mlp(dropout=dropout)
    layers, parameters = str(model), [id(p) for p in model.parameters()]
    learn = blob_learner(blobs, SCNCallback(), model=model)
    if fitted:
        learn.fit(1)
    preds = learn.get_preds()[0]
    learn.remove_cb(SCNCallback)
    assert str(learn.model) == layers and [id(p) for p in learn.model.parameters()] == parameters
    assert torch.equal(learn.get_preds()[0], preds)
    known = [id(p) for group in learn.opt.param_lists for p in group] if fitted else parameters
    assert known == parameters
    learn.fit(1)  # it goes on as an ordinary Learner


def test_a_model_that_is_one_linear_layer(blobs, blob_learner):
    model = nn.Linear(8, 4)
    learn = blob_learner(blobs, SCNCallback("paper"), model=model)
    learn.fit(1)
    assert isinstance(learn.model, ImportanceHead)
    learn.remove_cb(SCNCallback)
    assert type(learn.model) is nn.Linear and learn.model.weight is model.weight


def test_ledger_and_attention_survive_a_pause(blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback())
    learn.fit(1)
    ledger, attention = scn.ledger, find_head(learn.model).attention_weight
    with learn.removed_cbs(scn):
        assert find_head(learn.model) is None and not hasattr(learn, "scn")
    assert learn.scn.ledger is ledger and find_head(learn.model).attention_weight is attention
    learn.fit(1)
    assert scn.history.frame()["epoch"].tolist() == [0, 1]


def test_a_network_put_in_later_gets_a_head_too(blobs, blob_learner, tools):
    learn = blob_learner(blobs, SCNCallback())
    learn.model = tools.mlp()
    learn.fit(1)
    assert find_head(learn.model) is learn.scn._head and learn.scn.history.epoch == 1


def test_no_warning_about_shadowed_names(blobs, blob_learner, recwarn):
    learn = blob_learner(blobs, SCNCallback())
    learn.fit(2)
    learn.remove_cb(SCNCallback)
    assert not [str(w.message) for w in recwarn if "shadowing" in str(w.message)]


def test_a_model_can_be_copied_after_a_step(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback())
    learn.fit(1)
    twin = copy.deepcopy(learn.model)
    x = blobs.x[:5]
    assert torch.equal(twin.eval()(x), learn.model.eval()(x)) and find_head(twin).ledger_state is None
    assert find_head(learn.model).alpha is None and find_head(learn.model).logits is None


# ---- outside of training ----------------------------------------------------------------------------------------


def test_outside_training_the_network_is_plain(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback())
    learn.fit(2)
    with_scn = learn.validate(), learn.get_preds()[0]
    learn.remove_cb(SCNCallback)
    without = learn.validate(), learn.get_preds()[0]
    assert list(with_scn[0]) == list(without[0]) and torch.equal(with_scn[1], without[1])


def test_weighted_inference_multiplies_by_alpha(blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback("released", relabel=False))
    learn.fit(2)
    x = torch.stack([x for x, _ in blobs.valid])
    head, logits = learn.model[2], learn.model.eval()(x)
    alpha = attention_weights(learn.model[:2](x), head.attention_weight, head.attention_bias)
    head.clear()
    torch.testing.assert_close(learn.get_preds()[0], (alpha[:, None] * logits).softmax(1).detach())
    assert head.alpha is None
    learn.remove_cb(scn)
    plain = learn.get_preds()[0]
    torch.testing.assert_close(plain, logits.softmax(1).detach())
    assert torch.equal(plain.argmax(1), (alpha[:, None] * logits).argmax(1))


def test_weighted_inference_of_one_sample_does_not_hang_on_its_neighbours(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(weighted_inference=True), bs=8)
    learn.fit(1)
    one = DataLoaders.from_dsets(blobs.valid, blobs.valid, bs=1, shuffle=False, drop_last=False, device="cpu").valid
    torch.testing.assert_close(learn.get_preds(dl=one)[0], learn.get_preds()[0])


def test_validation_before_any_training_works(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback())
    assert len(learn.validate()) == 2 and learn.scn.history.epoch == 0


# ---- the records ------------------------------------------------------------------------------------------------


def test_the_epoch_table_has_our_columns_during_fit_only(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(relabel_from=1))
    learn.fit(2)
    names = list(learn.recorder.metric_names)
    assert names == ["epoch", "train_loss", "valid_loss", "accuracy", *COLUMNS, "time"]
    table = [list(row) for row in learn.recorder.values]
    frame = learn.scn.history.frame()
    np.testing.assert_allclose([row[3:] for row in table], frame[COLUMNS])
    np.testing.assert_allclose([row[:3] for row in table], frame[["train_loss", "valid_loss", "accuracy"]])
    assert [m.name for m in learn.metrics] == ["accuracy"] and len(learn.validate()) == 2


def test_epochs_count_over_all_fits(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(relabel_from=3))
    learn.fit(2)
    learn.fit(4, start_epoch=1)
    assert learn.scn.history.frame()["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert learn.scn.ledger.frame()["epoch"].min() == 3


def test_a_validation_inside_a_fit_does_not_end_the_watch(blobs, blob_learner):
    class Check(Callback):
        def after_epoch(self):
            if not self.learn.lock.locked():
                self.learn.validate()

    learn = blob_learner(blobs, [SCNCallback(relabel_from=1), Check()])
    learn.fit(3)
    frame = learn.scn.history.frame()
    assert frame["epoch"].tolist() == [0, 1, 2] and len(learn.scn.ledger)


@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelFitException, CancelEpochException, RuntimeError])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_an_interrupted_epoch_leaves_no_trace(preset, error, blobs, blob_learner, tmp_path):
    changes = {"relabel_from": 1, "relabel_margin": 0.0, "scope": "all"}
    scn = SCNCallback(preset, run=tmp_path / "run", **changes)
    learn = blob_learner(blobs, [scn, Interrupt(2, 3, error)])
    learn.fit(2, 0.05)
    labels, rows, evidence = scn.ledger.current.clone(), scn.ledger.frame(), scn.history.evidence.clone()
    written = (tmp_path / "run" / "settings.json").stat().st_mtime_ns
    assert len(rows)
    if error in (CancelFitException, CancelEpochException):
        learn.fit(1)
    else:
        with pytest.raises(error):
            learn.fit(1)
    assert (tmp_path / "run" / "settings.json").stat().st_mtime_ns == written
    assert torch.equal(scn.ledger.state()["current"], labels)  # a checkpoint made now holds no half epoch
    copy.deepcopy(learn.model)
    assert len(learn.validate()) == 2  # no column of ours is left behind
    frame = scn.history.frame()
    learn.fit(3, 0.0, start_epoch=3)  # a fit that trains nothing, but begins
    assert scn.history.frame().equals(frame) and frame["epoch"].tolist() == [0, 1]

    class Look(Callback):
        order = 6

        def before_train(self):
            assert torch.equal(scn.ledger.current, labels) and scn.ledger.frame().equals(rows)
            assert torch.equal(scn.history.evidence, evidence)

    learn.fit(1, cbs=Look())
    assert scn.history.frame()["epoch"].tolist() == [0, 1, 2]


def test_a_sample_that_was_not_drawn_has_no_alpha(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(), bs=100)  # drop_last: 40 of 240 are left out
    learn.fit(2)
    alpha = learn.scn.history.alpha
    assert np.isnan(alpha).sum(1).tolist() == [40, 40] and learn.scn.history.frame()["seen"].tolist() == [200, 200]
    assert (learn.scn.history.logits[np.isnan(alpha)] == 0).all()


class Ops(TorchDispatchMode):
    """Notes every operation that would make a GPU's host wait."""

    WAITS = ("_local_scalar_dense", "nonzero", "equal.default", "masked_select", "is_nonzero", "unique")

    def __init__(self):
        super().__init__()
        self.count, self.waits = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.")
        self.count += 1
        indices = args[1] if name.startswith(("index.", "index_put")) else []
        by_mask = any(isinstance(i, torch.Tensor) and i.dtype == torch.bool for i in indices)
        if name.startswith(self.WAITS) or by_mask:
            self.waits.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("changes", [{"preset": "default"}, {"preset": "paper"}, {"preset": "released"},
                                     {"preset": "default", "learn_margin": True, "scope": "low"},
                                     {"preset": "paper", "relabel": "propose"},
                                     {"preset": "default", "weight_from": 1}],
                         ids=["default", "paper", "released", "margin", "propose", "aside"])  # fmt: skip
def test_no_batch_makes_the_host_wait(changes, blobs, blob_learner, monkeypatch):
    per_batch = {"before_batch", "after_pred", "after_loss", "after_batch"}
    found, call = [], SCNCallback.__call__

    def watched(self, event_name):
        if event_name not in per_batch or not self.learn.training:
            return call(self, event_name)
        with Ops() as ops:
            call(self, event_name)
        found.append((self.history.epoch, self.learn.iter, event_name, ops.count, ops.waits))

    monkeypatch.setattr(SCNCallback, "__call__", watched)
    preset, rest = changes["preset"], {k: v for k, v in changes.items() if k != "preset"}
    blob_learner(blobs, SCNCallback(preset, relabel_from=1, **rest), opt_func=SGD).fit(3)
    assert sum(count for *_, count, _ in found) > 100
    assert not [entry for entry in found if entry[4] and entry[:2] != (0, 0)]


@pytest.mark.gpu
def test_no_batch_makes_a_gpu_wait(blobs, tiny, tmp_path, tools, monkeypatch):
    dls = DataLoaders.from_dsets(blobs.train, blobs.valid, bs=40, device="cuda", num_workers=0)
    call = SCNCallback.__call__

    def watched(self, event_name):
        training = self.learn.training and "batch pred loss".find(event_name.split("_")[-1]) >= 0
        strict = training and (self.history.epoch or self.learn.iter) and event_name != "after_cancel_batch"
        torch.cuda.set_sync_debug_mode("error" if strict else "default")
        try:
            call(self, event_name)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(SCNCallback, "__call__", watched)
    learn = tools.quiet(Learner(dls, tools.mlp(), CrossEntropyLossFlat(), cbs=SCNCallback(relabel_from=1)))
    learn.to_fp16().fit(3, 0.01)
    assert learn.scn.history.epoch == 3


# ---- relabeling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_every_preset_trains_and_relabels(preset, blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback(preset, **({} if preset == "default" else {"relabel_from": 4})))
    learn.fit(10, 0.01)
    frame, rows = scn.history.frame(), scn.ledger.frame()
    assert frame["epoch"].tolist() == list(range(10)) and np.isfinite(frame[["wce", "rank", "accuracy"]]).all(axis=None)
    assert len(rows) and frame["relabeled"].sum() == len(rows)
    assert torch.equal(scn.ledger.at(9), scn.ledger.current) and torch.equal(scn.ledger.given, blobs.given)
    if preset != "default":
        assert rows["epoch"].min() == 4


def test_averaged_evidence_cures_more_than_it_harms(blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback(budget=0.3, budget_ramp=1))
    learn.fit(15, 0.01)
    found = repair_measures(scn.ledger.given, scn.ledger.current, blobs.truth)
    assert found["changed"] > 30 and found["relabel_precision"] > 0.7
    assert found["label_accuracy_after"] > found["label_accuracy_before"] + 0.1
    assert learn.validate()[1] > 0.9


def test_relabeling_begins_by_itself_when_predictions_have_settled(blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback(settled=0.9, noise_needed=0))
    learn.fit(8, 0.01)
    frame = scn.history.frame()
    first = int(frame["relabeling"].idxmax())
    assert 0 < first and frame["relabeling"][first:].all()  # once begun it goes on
    assert (frame["settled"][:first] < 0.9).iloc[1:].all() and frame["settled"][first] >= 0.9
    assert scn.ledger.frame()["epoch"].min() == first


@pytest.mark.parametrize("evidence", ["step", "averaged"])
@pytest.mark.parametrize("start", [2, 3])
def test_relabel_from_names_the_first_epoch_that_relabels(evidence, start, blobs, blob_learner):
    scn = SCNCallback(evidence=evidence, relabel_from=start, weight_from=0, budget=None, aside=0, relabel_margin=0.0)
    blob_learner(blobs, scn).fit(5, 0.01)
    assert scn.ledger.frame()["epoch"].min() == start
    assert scn.history.frame()["relabeling"].tolist() == [epoch >= start for epoch in range(5)]


@pytest.mark.parametrize("evidence", ["step", "averaged"])
def test_scope_low_changes_only_the_low_group_of_the_epoch(evidence, blobs, blob_learner):
    changed = {}
    for scope in ("low", "all"):
        scn = SCNCallback(
            evidence=evidence, scope=scope, relabel_from=2, weight_from=0, budget=None, aside=0, relabel_margin=0.2
        )
        blob_learner(blobs, scn).fit(6, 0.01)
        rows = changed[scope] = scn.ledger.frame()
        in_low = scn.history.low[rows["epoch"], rows["sample"]]
        assert in_low.all() if scope == "low" else not in_low.all()
        assert (rows["low"] == in_low).all()
    assert 0 < len(changed["low"]) < len(changed["all"])


def test_the_budget_is_never_exceeded_and_grows(blobs, blob_learner):
    scn = SCNCallback(budget=0.1, budget_ramp=4, relabel_from=1, relabel_margin=0.0)
    blob_learner(blobs, scn).fit(8, 0.01)
    changed = scn.history.frame()["changed"].tolist()
    assert changed == [0, 6, 12, 18, 24, 24, 24, 24]  # 30 % are wrong, so there is always enough to doubt


def test_without_averaged_predictions_no_noise_is_estimated(blobs, blob_learner):
    scn = SCNCallback("paper")
    blob_learner(blobs, scn).fit(1, 0.01)
    assert "noise_estimate" not in scn.history.frame()


def returns(rows, given):
    """Rows that give a sample its given label back."""
    return rows[rows["new"].to_numpy() == given.numpy()[rows["sample"]]]


def test_compared_with_the_original_label_a_change_can_be_taken_back(blobs, blob_learner):
    """With step evidence: taken back as soon as the rule no longer holds. With 'current' it needs a new doubt."""
    found = {}
    for reference in ("original", "current"):
        scn = SCNCallback("paper", reference=reference, scope="all", relabel_from=1, relabel_margin=0.2)
        blob_learner(blobs, scn).fit(8, 0.01)
        back = returns(scn.ledger.frame(), scn.ledger.given)
        found[reference] = back["p_max"] - back["p_given"]
    assert len(found["original"]) and (found["original"] <= 0.2).any()  # no doubt any more: the given label returns
    assert (found["current"] > 0.2).all()


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("logits", ["weighted", "raw"])
def test_evidence_is_taken_from_the_logits_that_are_named(logits, weight, blobs, blob_learner):
    scn = SCNCallback(logits=logits, weight=weight, weight_from=0, relative=False)
    learn = blob_learner(blobs, scn, bs=240)
    learn.fit(1)
    z = torch.from_numpy(scn.history.logits[0]).float()
    alpha = torch.from_numpy(scn.history.alpha[0])[:, None] if logits == "weighted" and weight else 1.0
    torch.testing.assert_close(scn.history.evidence, (alpha * z).softmax(1), atol=1e-3, rtol=0)


def test_evidence_of_the_step_keeps_no_average(blobs, blob_learner):
    scn = SCNCallback("paper", relabel_from=1)
    blob_learner(blobs, scn).fit(2)
    assert scn.history.evidence_count.sum() == 0


@pytest.mark.parametrize(("combine", "gamma"), [("mix", 0.2), ("mix", 0.8), ("sum", 0.5)])
def test_combine_joins_the_two_losses(combine, gamma, blobs, blob_learner):
    scn = SCNCallback("paper", combine=combine, gamma=gamma, rank_margin=0.9)
    learn = blob_learner(blobs, scn, bs=240)
    learn.fit(1)
    rank, wce = scn.history.last("rank"), scn.history.last("wce")
    assert rank > 0.01
    expected = rank + wce if combine == "sum" else gamma * rank + (1 - gamma) * wce
    assert learn.recorder.losses[0].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("switch", ["weight", "rank", "relabel"])
def test_each_switch_turns_its_part_off(switch, blobs, blob_learner):
    scn = SCNCallback(relabel_from=1, weight_from=0, rank_margin=0.9, **{switch: False})
    learn = blob_learner(blobs, scn, bs=240)
    features, head = learn.model[:2](blobs.x), learn.model[2]
    plain = cross_entropy(nn.functional.linear(features, head.weight, head.bias), blobs.given).item()
    learn.fit(3, 0.05)
    row = scn.history.frame().iloc[0]
    assert (row["wce"] == pytest.approx(plain, abs=1e-5)) == (switch == "weight")
    assert (learn.recorder.losses[0].item() == pytest.approx(row["wce"], abs=1e-5)) == (switch == "rank")
    assert (len(scn.ledger) == 0) == (switch == "relabel")


def test_weighting_begins_at_its_epoch_and_leaves_an_ordinary_network_before(blobs, blob_learner, seed_everything):
    """Until then the weights go exactly where those of the plain recipe go, and alpha is not trained."""
    found, alphas = [], []
    for settings in (
        preset("paper").change(weight=False, rank=False, relabel=False),
        SCNCallback(weight_from=2).settings,
    ):
        torch.manual_seed(1)
        scn = SCNCallback(settings.change(relabel=False, bias=True, alpha_start=0.9))
        learn = blob_learner(blobs, scn, bs=60)
        seed_everything(2, learn)
        learn.fit(2, 0.05)
        found.append(learn.model[2].weight.detach().clone())
        learn.fit(1, 0.05)
        alphas.append(scn.history.alpha)
    assert torch.equal(*found)
    assert np.array_equal(*(alpha[1] for alpha in alphas)) and not np.array_equal(*(alpha[2] for alpha in alphas))
    assert scn.history.frame()["weighting"].tolist() == [False, False, True]


def test_weighting_waits_until_the_network_knows_enough(blobs, blob_learner):
    scn = SCNCallback(settled=0.5)
    blob_learner(blobs, scn).fit(9, 0.05)
    frame = scn.history.frame()
    first = frame["weighting"].tolist().index(True)
    assert first > 2 and frame["settled"][first - 1] >= 0.5 and frame["weighting"][first:].all()
    waiting = SCNCallback(settled=1.0)
    blob_learner(blobs, waiting).fit(2, 0.0)
    assert "Weighting has not begun" in waiting.doctor()


def test_where_few_labels_look_wrong_the_default_recipe_stays_an_ordinary_network(tools, blob_learner, seed_everything):
    found = {}
    for name, settings in {
        "plain": {"weight": False, "rank": False, "relabel": False},
        "waits": {"settled": 0.5, "noise_needed": 0.11},
        "begins": {"settled": 0.5, "noise_needed": 0.0},
    }.items():
        scn = SCNCallback(**settings)
        seed_everything(0)
        learn = blob_learner(tools.make_blobs(noise=0), scn)
        seed_everything(1, learn)
        learn.fit(9, 0.05)
        found[name] = scn, learn.model[2].weight.detach()
    frame, sentence = found["waits"][0].history.frame(), found["waits"][0].doctor()
    assert frame["noise_estimate"][3:].max() < 0.11 and frame["settled"].iloc[-1] > 0.5
    assert not frame["weighting"].any() and not frame["relabeling"].any()
    assert f"the share of labels that look wrong ({100 * frame['noise_estimate'].iloc[-1]:.0f} %) is small" in sentence
    assert torch.equal(found["waits"][1], found["plain"][1])
    assert found["begins"][0].history.frame()["weighting"].any()


def after_some_epochs(blobs, blob_learner, **changes):
    """A Learner in one batch an epoch, whose next epoch weights and sets aside."""
    scn = SCNCallback(relabel_from=2, weight_from=2, relabel_margin=1.0, **changes)
    learn = blob_learner(blobs, scn, bs=240, opt_func=SGD, wd=0, lr=0.1)
    learn.fit(2, 0.1)
    return learn, scn


@pytest.mark.parametrize("weight", [True, False])
def test_a_step_with_samples_set_aside_is_the_step_written_by_hand(weight, blobs, blob_learner):
    learn, scn = after_some_epochs(blobs, blob_learner, aside=0.2, weight=weight)
    hand, evidence = copy.deepcopy(learn.model), scn.history.evidence.clone()
    aside = set_aside(evidence, blobs.given, torch.ones(len(blobs.given), dtype=torch.bool), 0.2)
    features, head = hand[:2](blobs.x), hand[2]
    alpha = attention_weights(features, head.attention_weight, head.attention_bias)
    logits = nn.functional.linear(features, head.weight, head.bias)
    logits = (alpha / alpha.mean())[:, None] * logits if weight else logits
    target = nn.functional.one_hot(blobs.given, 4).float()
    target[aside] = evidence[aside]
    loss = cross_entropy(logits, target) + rank_regularization(alpha)
    loss.backward()
    learn.fit(1, 0.1, reset_opt=True)
    assert 0 < aside.sum() <= 0.2 * 240 and len(scn.ledger) == 0
    for p, mine in zip(learn.model.parameters(), hand.parameters(), strict=True):
        torch.testing.assert_close(p, mine - 0.1 * mine.grad, atol=1e-6, rtol=0)


def test_a_step_of_early_learning_is_the_step_written_by_hand_and_spares_what_a_person_decided(blobs, blob_learner):
    scn = SCNCallback(early_learning=3.0, relabel_from=9, weight_from=9)
    learn = blob_learner(blobs, scn, bs=240, opt_func=SGD, wd=0, lr=0.1)
    learn.fit(2, 0.1)
    scn.ledger.override(7, int(blobs.given[7]))
    hand = copy.deepcopy(learn.model)
    features, head = hand[:2](blobs.x), hand[2]
    logits = nn.functional.linear(features, head.weight, head.bias)
    target = early_target(scn.history.evidence, scn.history.evidence_count, logits, 0.7)
    target[7] = 0
    (cross_entropy(logits, blobs.given) + early_learning(logits, target, 3.0)).backward()
    learn.fit(1, 0.1, reset_opt=True)
    assert not scn.history.frame()["weighting"].any()
    for p, mine in zip(learn.model.parameters(), hand.parameters(), strict=True):
        moved = mine if mine.grad is None else mine - 0.1 * mine.grad
        torch.testing.assert_close(p, moved, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("changes", "acts"),
    [
        ({"relabel_from": 2, "weight_from": 4}, 2),
        ({"relabel": False, "weight_from": 4}, 4),
        ({"noise_needed": 0.9}, 3),  # a third of nine epochs, although nothing begins after it
        ({"noise_needed": 0.0, "settled": 0.01, "relabel": "propose"}, 3),
    ],
)
def test_early_learning_acts_until_relabeling_or_weighting_may_begin(changes, acts, blobs, blob_learner):
    class Look(Callback):
        order, found = 60, ()

        def after_train(self):
            self.found += (scn._early,)

    scn, look = SCNCallback(early_learning=3.0, **changes), Look()
    learn = blob_learner(blobs, [scn, look])
    learn.fit(9, 0.01)
    assert look.found == (True,) * acts + (False,) * (9 - acts)
    begun = scn.history.frame()[["relabeling", "weighting"]].any(axis=None)
    learn.fit(3, 0.01)  # of a second fit the first third, too, unless the recipe is at work by then
    assert look.found[9:] == ((False, False, False) if begun else (True, False, False))


@pytest.mark.parametrize(
    ("changes", "first"), [({}, 3), ({"early_learning": 3.0}, 5), ({"early_learning": 3.0, "noise_needed": 0.0}, 3)]
)
def test_after_early_learning_doubts_are_compared_with_those_of_an_epoch_without_it(
    changes, first, blobs, blob_learner
):
    scn = SCNCallback(
        **{"noise_needed": 1e-6, "noise_steady": 1e-6, "noise_steady_late": 1e-6, "settled": 0.01} | changes
    )
    blob_learner(blobs, scn).fit(9, 0.01)
    assert scn.history.frame()["relabeling"].tolist() == [False] * first + [True] * (9 - first)


def test_a_relabeled_sample_is_not_set_aside_and_nobody_is_before_weighting_begins(blobs, blob_learner):
    class Look(Callback):
        order, found = 60, ()

        def before_train(self):
            aside, ledger = scn._aside, scn.ledger
            changed = ledger.current != ledger.given
            self.found += (
                (aside is not None, aside is not None and bool((aside & changed).any()), int(changed.sum())),
            )

    scn, look = SCNCallback(relabel_from=1, weight_from=3, aside=0.3), Look()
    blob_learner(blobs, [scn, look]).fit(6, 0.01)
    assert [begun for begun, *_ in look.found] == [False] * 3 + [True] * 3
    assert not any(both for _, both, _ in look.found) and look.found[-1][2] > 0


@pytest.mark.parametrize("relabel", [False, "propose"])
def test_nobody_is_set_aside_where_labels_may_not_be_changed(relabel, blobs, blob_learner):
    learn, scn = after_some_epochs(blobs, blob_learner, relabel=relabel, aside=0.3)
    learn.fit(2, 0.01)
    assert scn.history.frame()["weighting"].any() and not scn.history.frame()["aside"].any()


def test_what_a_person_decided_is_not_set_aside(blobs, blob_learner):
    learn, scn = after_some_epochs(blobs, blob_learner, aside=0.2)
    doubted = set_aside(scn.history.evidence, blobs.given, scn.ledger.keeps_given(), 0.2).nonzero().squeeze(1)
    for sample in doubted.tolist():
        scn.ledger.override(sample, int(blobs.given[sample]))
    assert len(doubted) and not scn.ledger.keeps_given()[doubted].any()
    learn.fit(1, 0.1)
    assert 0 < scn.history.frame()["aside"].iloc[-1] <= 0.2 * 240


def test_new_labels_are_trained_on(blobs, blob_learner):
    class Look(Callback):
        order = 6

        def before_batch(self):
            if self.training:
                assert torch.equal(self.learn.yb[0], scn.ledger.current[scn._index])

    scn = SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0)
    learn = blob_learner(blobs, [scn, Look()])
    learn.fit(3, 0.01)
    scn.ledger.override(7, int(3 - blobs.given[7]))
    learn.fit(2, 0.01)
    assert scn.ledger.current[7] == 3 - blobs.given[7]  # no rule overrules a person
    assert [int(y) for _, y in blobs.train] == blobs.given.tolist()  # the data set was never written


# ---- a margin that learns ----------------------------------------------------------------------------------------


def test_a_learnable_margin_only_shrinks_and_does_not_decay(blobs, blob_learner):
    scn = SCNCallback("paper", learn_margin=True, rank_margin=0.3)
    learn = blob_learner(blobs, scn, opt_func=SGD)
    learn.fit(3, 0.1, wd=0)
    margins = [0.3, *scn.history.frame()["rank_margin"]]
    assert all(b <= a for a, b in zip(margins, margins[1:], strict=False)) and margins[-1] < margins[0]
    learn.fit(20, 0.5)
    assert 0 <= scn.history.frame()["rank_margin"].min() and find_head(learn.model).margin.grad is not None
    margin = find_head(learn.model).margin
    with torch.no_grad():
        margin.fill_(1e-9)  # the hinge is met at once, so only decay could change it
    learn.fit(1, 0.1, wd=0.5, reset_opt=True)
    assert margin.item() == pytest.approx(1e-9, rel=1e-6) or margin.item() == 0
    assert learn.opt.state[margin]["do_wd"] is False


def test_a_torch_optimizer_that_would_decay_the_margin_is_refused(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(learn_margin=True), opt_func=partial(torch_sgd, weight_decay=0.1))
    with pytest.raises(SettingsError, match="^A learnable rank margin must not decay.*weight decay 0"):
        learn.fit(1)
    learn.fit(1, wd=0)
    assert learn.scn.history.epoch == 1


# ---- refused, each in one sentence --------------------------------------------------------------------------------


def one_sentence(caught):
    text = str(caught.value)
    return "Exception occured" not in text and "\n" not in text and text.endswith(".")


@pytest.mark.parametrize("mix", [MixUp, CutMix])
def test_mixup_is_refused(mix, pictures, tools, tiny):
    dls = ImageDataLoaders.from_folder(pictures.path, train="train", valid="valid", bs=8, num_workers=0, device="cpu")
    learn = tools.quiet(Learner(dls, tools.small_cnn(), cbs=SCNCallback()))
    with pytest.raises(SettingsError, match="^SCN cannot be combined with MixUp or CutMix") as caught:
        learn.fit(1, cbs=mix())
    assert one_sentence(caught)


def test_squeezenet_is_refused_and_left_alone(blobs, blob_learner):
    learn = blob_learner(blobs, model=squeezenet1_0(weights=None, num_classes=4))
    with pytest.raises(SettingsError, match="^SCN needs a classifier that ends in a Linear.*SqueezeNet has none"):
        learn.add_cb(SCNCallback())
    assert find_head(learn.model) is None


@pytest.mark.parametrize("when", ["before", "later"])
def test_dataparallel_is_refused(when, blobs, blob_learner, tools):
    match = "^SCN does not work inside DataParallel"
    if when == "before":
        with pytest.raises(SettingsError, match=match):
            blob_learner(blobs, SCNCallback(), model=nn.DataParallel(tools.mlp()))
        return
    learn = blob_learner(blobs, SCNCallback())
    learn.model = nn.DataParallel(learn.model)
    with pytest.raises(SettingsError, match=match) as caught:
        learn.fit(1)
    assert one_sentence(caught)


def test_batches_of_one_are_refused(blobs, blob_learner):
    with pytest.raises(SettingsError, match="^SCN ranks the samples of a batch.*use 2 or more") as caught:
        blob_learner(blobs, SCNCallback(), bs=1).fit(1)
    assert one_sentence(caught)


def test_a_last_batch_of_one_is_fine(blobs, blob_learner):
    learn = blob_learner(blobs, scn := SCNCallback("paper", relabel_from=1), train=blobs.train[:41])
    learn.dls.loaders[0] = learn.dls.train.new(drop_last=False)
    learn.fit(3)
    assert scn.history.seen.all() and np.isfinite(scn.history.frame()["rank"]).all()


def test_something_behind_the_linear_layer_is_refused(blobs, blob_learner, tools):
    learn = blob_learner(blobs, SCNCallback(), model=nn.Sequential(tools.mlp(), nn.Softmax(1)))
    with pytest.raises(SettingsError, match="Sequential something follows it .* end it in the Linear") as caught:
        learn.fit(1)
    assert one_sentence(caught)


def test_a_ledger_of_other_data_is_refused(blobs, blob_learner, tools):
    learn = blob_learner(blobs, scn := SCNCallback())
    learn.fit(1)
    learn.remove_cb(scn)
    other = blob_learner(tools.make_blobs(n=120), scn)
    with pytest.raises(SettingsError, match="holds 240 samples, but the training set now has 120") as caught:
        other.fit(1)
    assert one_sentence(caught)


def test_a_ledger_of_other_data_of_the_same_size_changes_nothing(blobs, blob_learner, tools):
    learn = blob_learner(blobs, scn := SCNCallback())
    learn.fit(2)
    rows = scn.ledger.frame()
    learn.remove_cb(scn)
    with pytest.raises(SettingsError, match=r"^\d+ labels of this epoch belong to other samples") as caught:
        blob_learner(tools.make_blobs(seed=9), scn).fit(1)
    assert one_sentence(caught) and scn.ledger.frame().equals(rows) and scn.history.epoch == 2


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_loss_that_is_nan_keeps_what_was_before(epoch, blobs, blob_learner):
    class Spoil(Callback):
        order = 4

        def before_batch(self):
            if self.training and scn.history.epoch == epoch and self.learn.iter == 2:
                self.learn.xb = (self.learn.xb[0] * math.nan,)

    scn = SCNCallback("paper", relabel_from=1, scope="all", relabel_margin=0)
    learn = blob_learner(blobs, [scn, Spoil()])
    with pytest.raises(RunError, match=f"^The loss became NaN .* epoch {epoch}.*{epoch} epochs before") as caught:
        learn.fit(6, 0.01)
    assert one_sentence(caught) and scn.history.epoch == epoch
    assert torch.equal(scn.ledger.current, scn.ledger.at(epoch)) and (len(scn.ledger) > 0) == (epoch > 0)


def test_nan_images_from_the_first_batch_on_are_named_as_such(blobs, blob_learner):
    blobs.train = [(x * math.nan, y) for x, y in blobs.train]
    with pytest.raises(RunError, match="^The loss became NaN"):
        blob_learner(blobs, SCNCallback()).fit(1)


@pytest.mark.parametrize(("changes", "word"), [
    ({"beta": 0}, "beta is 0"), ({"beta": 1.0}, "beta is 1.0"), ({"gamma": -0.1}, "gamma is -0.1"),
    ({"rank_margin": 1.5}, "rank margin .delta1. is 1.5"), ({"relabel_margin": -1}, "relabel margin .delta2. is -1"),
    ({"relabel_from": -1}, "relabel_from is -1"), ({"relabel_from": "soon"}, "relabel_from is 'soon'"),
    ({"scope": "some"}, "scope is 'some'.*'low' or 'all'"), ({"budget": 0}, "budget is 0"),
    ({"evidence": "step"}, "need evidence='averaged'"), ({"betta": 0.7}, "'betta' is not an SCN setting"),
])  # fmt: skip
def test_a_setting_out_of_range_is_refused(changes, word):
    with pytest.raises(SettingsError, match=word) as caught:
        SCNCallback(**changes)
    assert one_sentence(caught) and isinstance(caught.value, SCNError)


def test_a_preset_that_is_not_there_is_refused():
    with pytest.raises(SettingsError, match="'papre' is not a preset; there are: default, paper, released"):
        SCNCallback("papre")


def test_metrics_are_the_learners_own(blobs, blob_learner):
    learn = blob_learner(blobs, SCNCallback(), metrics=[accuracy, lambda p, y: p.mean()])
    learn.fit(1)
    assert len(learn.metrics) == 2
