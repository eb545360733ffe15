"""Propose mode: the rule suggests, a person decides, and the next epoch of the same training reads what was decided."""

import copy
import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import CancelFitException
from fastai.learner import Callback

from scn_fastai import Run, SCNCallback, SCNSettings
from scn_fastai.core import Relabel
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.training.ledger import LabelLedger

BUSY = {"relabel_from": 1, "relabel_margin": 0.0}  # there is something to propose after the second epoch
COLUMNS = ["sample", "epoch", "label", "label_name", "p_max", "p_given", "alpha", "low"]


def say(ledger, index, label, mask=None, p_max=0.75, alpha=0.25):
    """A rule's word on some samples: proposals where ``mask`` is true, else what `record` would be told."""
    index, label = torch.as_tensor(index), torch.as_tensor(label)
    ones = torch.ones(len(index))
    mask = torch.as_tensor(mask) if mask is not None else label != ledger.given[index]
    ledger.propose(index, Relabel(mask, label, ones * p_max, ones * 0.125), ones * alpha, ones.bool())


def open_ones(ledger):
    """Proposals as {sample: (label, epoch)}."""
    return {row.sample: (row.label, row.epoch) for row in ledger.proposals.itertuples()}


def again(ledger):
    """The same ledger after a checkpoint, and after its tables."""
    loaded, replayed = (LabelLedger(ledger.given, ledger.classes) for _ in range(2))
    loaded.load_state(ledger.state())
    replayed.replay(ledger.rows(), ledger._epoch, ledger.proposal_rows())
    return loaded, replayed


@pytest.fixture
def ledger():
    return LabelLedger([0, 0, 1, 1, 2, 2], ["sad", "glad", "mad"])


# ---- the ledger ---------------------------------------------------------------------------------------------


def test_a_proposal_changes_no_label_and_shows_its_evidence(ledger):
    say(ledger, [0, 2, 4], [1, 1, 0], alpha=0.5)
    assert ledger.proposals.empty, "the epoch has not ended"
    assert ledger.flush(3) == 0 and ledger.current.equal(ledger.given) and len(ledger) == 0
    table = ledger.proposals
    assert list(table.columns) == COLUMNS
    assert table.to_dict("list") == {"sample": [0, 4], "epoch": [3, 3], "label": [1, 0], "label_name": ["glad", "sad"],
                                     "p_max": [0.75] * 2, "p_given": [0.125] * 2, "alpha": [0.5] * 2,
                                     "low": [True] * 2}  # fmt: skip


def test_the_newest_word_counts_and_a_rule_takes_back_what_it_no_longer_doubts(ledger):
    say(ledger, [0, 1, 2], [1, 1, 0], p_max=0.5)
    ledger.flush(0)
    say(ledger, [0, 1], [2, 0])  # another label for 0, no doubt about 1 any more, nothing said of 2
    ledger.flush(1)
    assert open_ones(ledger) == {0: (2, 1), 2: (0, 0)}
    assert ledger.proposals["p_max"].tolist() == [0.75, 0.5]


def test_who_may_not_be_relabeled_now_keeps_its_proposal_as_it_was(ledger):
    say(ledger, [0], [1], p_max=0.5)
    ledger.flush(0)
    index = torch.tensor([0, 1])
    assert ledger.proposed(index).tolist() == [1, -1]
    say(ledger, index, ledger.proposed(index), mask=[False, False])  # as `spare_ineligible` leaves it
    ledger.flush(1)
    assert open_ones(ledger) == {0: (1, 0)} and ledger.proposals["p_max"].tolist() == [0.5]


def test_what_a_person_decided_is_no_proposal_until_it_is_undone(ledger):
    say(ledger, [0, 1, 2], [1, 1, 0])
    ledger.flush(0)
    ledger.override(0, "glad")
    ledger.override(1, "sad")
    assert open_ones(ledger) == {2: (0, 0)}
    say(ledger, [0, 1, 2], [1, 1, 0])
    ledger.flush(1)
    for one in (ledger, *again(ledger)):
        assert open_ones(one) == {2: (0, 1)}
        assert one.undo([0]) == 1 and one.undo([1]) == 0
        assert open_ones(one) == {0: (1, 1), 1: (1, 1), 2: (0, 1)}
        assert one.current.equal(one.given)


def test_a_proposal_can_be_to_go_back_to_the_given_label(ledger):
    ledger.record(torch.tensor([0]), Relabel(*map(torch.tensor, ([True], [2], [0.9], [0.1]))),
                  torch.ones(1), torch.ones(1, dtype=torch.bool))  # fmt: skip
    ledger.flush(0)
    say(ledger, range(6), ledger.given)
    ledger.flush(1)
    assert ledger.current[0] == 2 and open_ones(ledger) == {0: (0, 1)}


@pytest.mark.parametrize("reference", ["given", "current"])
@pytest.mark.parametrize("eligible", [True, False])
def test_a_label_that_a_person_took_back_is_not_proposed_to_them(ledger, reference, eligible):
    """A rule that has no doubt, or nothing to say, must not keep a person's label as its own word."""
    say(ledger, [1], [1])
    ledger.override(0, "mad")
    index = torch.tensor([0])
    say(ledger, index, getattr(ledger, reference)[index] if eligible else ledger.proposed(index), mask=[False])
    ledger.flush(0)
    for one in (ledger, *again(ledger)):
        one.undo([0])
        assert open_ones(one) == {1: (1, 0)}


def test_an_unfinished_epoch_proposes_nothing(ledger):
    say(ledger, [0], [1])
    ledger.flush(0)
    say(ledger, [0, 1, 2], [2, 1, 0])
    state = ledger.state()
    ledger.rollback()
    copy_ = LabelLedger(ledger.given, ledger.classes)
    copy_.load_state(state)
    for one in (ledger, copy_):
        one.flush(1)
        assert open_ones(one) == {0: (1, 0)}


def test_proposals_travel_in_a_state_of_tensors_and_an_older_state_has_none(ledger, tmp_path):
    say(ledger, [1, 4], [2, 1])
    ledger.flush(2)
    torch.save(ledger.state(), tmp_path / "state.pt")
    loaded = LabelLedger(ledger.given, ledger.classes)
    loaded.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    pd.testing.assert_frame_equal(loaded.proposals, ledger.proposals)
    older = {name: value for name, value in ledger.state().items() if not name.startswith("proposals")}
    loaded.load_state(older)
    assert loaded.proposals.empty


def test_a_csv_holds_labels_not_proposals(ledger, tmp_path):
    say(ledger, [0, 1], [1, 1])
    ledger.flush(0)
    ledger.override(1, "glad")
    table = pd.read_csv(ledger.export(tmp_path / "labels.csv"))
    assert table["label"].tolist()[:3] == ["sad", "glad", "glad"] and open_ones(ledger) == {0: (1, 0)}


# ---- the training ---------------------------------------------------------------------------------------------


def train(blobs, blob_learner, seed_everything, epochs=5, cbs=(), scn=None, **changes):
    torch.manual_seed(1)
    scn = scn or SCNCallback(**BUSY | {"relabel": "propose"} | changes)
    learn = blob_learner(blobs, [scn, *cbs])
    seed_everything(2, learn)
    learn.fit(epochs, 0.01)
    return learn


@pytest.mark.parametrize("recipe", [
    {"budget": 0.1, "budget_ramp": 2},
    {"scope": "low", "budget": 0.5, "budget_ramp": 1},
    {"settings": "paper", "scope": "all", "relabel_margin": 0.2},
    {"settings": "paper"},
    {"settings": "released"},
], ids=["budget", "low", "step", "paper", "released"])  # fmt: skip
def test_the_first_proposals_are_what_the_rule_would_have_changed(recipe, blobs, blob_learner, seed_everything):
    """In the first epoch that relabels both modes know the same, so the rule must say the same."""
    found = []
    for relabel in (True, "propose"):
        scn = SCNCallback(**BUSY | {"relabel_from": 3, "relabel": relabel} | recipe)
        learn = train(blobs, blob_learner, seed_everything, epochs=4, scn=scn)
        found.append(learn.scn)
    ruled, proposing = found
    rows, table = ruled.ledger.frame().sort_values("sample"), proposing.ledger.proposals
    assert len(rows) > 3 and proposing.ledger.current.equal(proposing.ledger.given) and len(proposing.ledger) == 0
    for one, other in (("sample", "sample"), ("new", "label"), ("epoch", "epoch"), ("new_label", "label_name")):
        assert rows[one].tolist() == table[other].tolist()
    for name in ("p_max", "p_given", "alpha", "low"):
        np.testing.assert_array_equal(rows[name], table[name])
    last = proposing.history.frame().iloc[-1]
    assert last["proposed"] == len(table) == ruled.history.last("changed") and last["changed"] == last["relabeled"] == 0
    assert "proposed" not in ruled.history.frame()


def test_an_epoch_proposes_until_a_person_decides_and_the_next_one_trains_on_that(blobs, blob_learner, seed_everything):
    class Look(Callback):
        order = 6
        trained = {}

        def before_batch(self):
            if self.training:
                self.trained |= dict(zip(self.learn.scn._index.tolist(), self.learn.yb[0].tolist(), strict=True))

    learn = train(blobs, blob_learner, seed_everything, cbs=[look := Look()], budget=0.2, budget_ramp=1)
    ledger, given = learn.scn.ledger, blobs.given.tolist()
    assert [look.trained[i] for i in range(240)] == given, "nothing that is only proposed is trained on"
    table = ledger.proposals
    assert 20 < len(table) <= 48 and (table["label"].to_numpy() != blobs.given.numpy()[table["sample"]]).all()
    (a, b, c), (label, *_) = table["sample"][:3].tolist(), table["label"].tolist()
    ledger.override(a, label)
    ledger.override(b, given[b])
    ledger.override(c, (given[c] + 1) % 4)
    learn.fit(2, 0.01)
    assert [look.trained[i] for i in (a, b, c)] == [label, given[b], (given[c] + 1) % 4]
    assert ledger.current[[a, b, c]].tolist() == [label, given[b], (given[c] + 1) % 4], "no rule overrules a person"
    assert not set(ledger.proposals["sample"]) & {a, b, c}
    assert set(ledger.frame()["by"]) == {"person"} and learn.scn.history.last("changed") == 2
    assert learn.scn.history.last("proposed") == len(ledger.proposals)


def test_the_epoch_table_tells_how_many_are_proposed(blobs, blob_learner, seed_everything):
    learn = train(blobs, blob_learner, seed_everything)
    names = list(learn.recorder.metric_names)
    column = [row[names.index("proposed") - 1] for row in learn.recorder.values]
    assert column == learn.scn.history.frame()["proposed"].tolist() and column[0] == 0 < column[-1]


def test_a_proposal_that_no_longer_holds_is_withdrawn(blobs, blob_learner, seed_everything):
    """With step evidence, compared with the original label, each epoch has its own word on every sample."""

    class Say(Callback):
        order = 7
        words = []

        def after_train(self):
            table = self.learn.scn.ledger.proposals
            self.words.append(dict(zip(table["sample"], table["epoch"], strict=True)))

    scn = SCNCallback("paper", relabel="propose", scope="all", relabel_from=1, relabel_margin=0.2)
    train(blobs, blob_learner, seed_everything, cbs=[say_ := Say()], epochs=10, scn=scn)
    drawn_always = scn.history.seen.all(0)
    for epoch, words in enumerate(say_.words):
        assert all(said == epoch for sample, said in words.items() if drawn_always[sample])
    assert any(set(one) - set(next_) for one, next_ in pairwise(say_.words)), "some were withdrawn"
    probs = torch.from_numpy(scn.history.probs(9))
    doubted = (probs.max(1).values - probs.gather(1, blobs.given[:, None])[:, 0] > 0.2).numpy()
    assert set(np.flatnonzero(doubted & drawn_always)) == {s for s in say_.words[-1] if drawn_always[s]}


@pytest.mark.parametrize("error", [KeyboardInterrupt, CancelFitException])
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_an_interrupted_epoch_proposes_nothing(preset, error, blobs, blob_learner, tmp_path, seed_everything):
    class Interrupt(Callback):
        order, on = 8, False

        def after_loss(self):
            if self.on and self.training and self.learn.iter == 3:
                raise error("stopped here")

    scn = SCNCallback(preset, run=tmp_path / "run", relabel="propose", scope="all", **BUSY)
    learn = train(blobs, blob_learner, seed_everything, epochs=3, cbs=[stop := Interrupt()], scn=scn)
    before = scn.ledger.proposals
    stop.on = True
    if error is CancelFitException:
        learn.fit(1)
    else:
        with pytest.raises(error):
            learn.fit(1)
    assert len(before) and scn.ledger.proposals.equals(before)
    assert Run.load(tmp_path / "run").ledger.proposals.equals(before)
    stop.on = False
    learn.fit(1, 0.0)
    newest = scn.ledger.proposals["epoch"]
    assert scn.history.epoch == 4 and newest.max() == 3


def test_a_checkpoint_brings_its_proposals_back_and_no_copy_disturbs_them(blobs, blob_learner, seed_everything):
    learn = train(blobs, blob_learner, seed_everything)
    table = learn.scn.ledger.proposals
    learn.save("epoch")
    copy.deepcopy(learn.model)
    assert learn.scn.ledger.proposals.equals(table) and len(table)
    learn.fit(2, 0.05)
    learn.scn.ledger.override(int(table["sample"][0]), 0)
    learn.load("epoch")
    assert learn.scn.ledger.proposals.equals(table)


# ---- on disk --------------------------------------------------------------------------------------------------


def test_a_run_brings_its_proposals_back_and_one_without_any_has_no_file(
    blobs, blob_learner, tmp_path, seed_everything
):
    learn = train(blobs, blob_learner, seed_everything, run=tmp_path / "run")
    run = Run.load(tmp_path / "run")
    assert run.settings["scn"]["relabel"] == "propose" and SCNSettings(**run.settings["scn"]) == learn.scn.settings
    pd.testing.assert_frame_equal(run.ledger.proposals, learn.scn.ledger.proposals)
    assert run.history.frame()["proposed"].tolist() == learn.scn.history.frame()["proposed"].tolist()
    run.save(run.weights())
    assert Run.load(tmp_path / "run").ledger.proposals.equals(learn.scn.ledger.proposals)
    (tmp_path / "run" / "proposals.parquet").unlink()  # as a run from before there were proposals
    assert Run.load(tmp_path / "run").ledger.proposals.empty
    train(blobs, blob_learner, seed_everything, relabel=True, run=tmp_path / "ruled")
    assert not (tmp_path / "ruled" / "proposals.parquet").exists()


def test_what_is_decided_on_disk_is_read_by_the_training_that_is_resumed(
    blobs, blob_learner, tmp_path, seed_everything
):
    """Deciding between two epochs is the same to the bit, whether in the live ledger or in the folder of the run."""

    def decide(ledger):
        table = ledger.proposals
        ledger.override(table["sample"][:10].tolist(), 1)
        ledger.override(int(table["sample"][10]), int(ledger.given[table["sample"][10]]))

    found, settings = [], BUSY | {"relabel": "propose", "weight_from": 0, "budget": 0.2, "budget_ramp": 1}
    for way in ("live", "folder"):
        learn = train(blobs, blob_learner, seed_everything, 3, run=tmp_path / way, **settings)
        if way == "live":
            decide(learn.scn.ledger)
            learn.fit(2, 0.01)
        else:
            run = Run.load(tmp_path / way)
            decide(run.ledger)
            assert run.save_labels() == tmp_path / way / "ledger.parquet"
            learn = blob_learner(blobs, SCNCallback(run=tmp_path / way, **settings))
            start = Run.load(tmp_path / way).resume(learn)
            learn.fit(start + 2, 0.01, start_epoch=start)
        found.append((learn.scn.ledger, learn.scn.history))
    (one, history), (other, resumed) = found
    assert other.rows()["by"].tolist() == ["person"] * 11 and resumed.epoch == 5
    pd.testing.assert_frame_equal(one.rows(), other.rows())
    np.testing.assert_array_equal(history.alpha, resumed.alpha)
    pd.testing.assert_frame_equal(one.proposals, other.proposals)
    assert len(other.proposals) and not set(other.proposals["sample"]) & set(other.rows()["sample"])


def test_labels_are_not_saved_over_a_run_that_went_on(blobs, blob_learner, tmp_path, seed_everything, monkeypatch):
    learn = train(blobs, blob_learner, seed_everything, epochs=3, run=tmp_path / "run", relabel=True)
    run = Run.load(tmp_path / "run")
    run.ledger.override(5, 0)
    learn.fit(1, 0.01)
    stored = (tmp_path / "run" / "ledger.parquet").read_bytes()
    with pytest.raises(RunError, match=r"^run holds changes that this ledger does not know, so nothing was written"):
        run.save_labels()
    fresh = Run.load(tmp_path / "run")
    fresh.ledger.override(5, 0)
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(RunError, match=r"could not be saved to .*ledger.parquet \(No space left\); the file there is"):
        fresh.save_labels()
    assert (tmp_path / "run" / "ledger.parquet").read_bytes() == stored
    assert [path.name for path in (tmp_path / "run").iterdir() if "writing" in path.name] == []
    with pytest.raises(RunError, match="There is no run at"):
        Run(tmp_path / "nowhere", run.samples, run.classes).save_labels()


def test_decisions_that_are_saved_while_a_training_runs_are_in_its_next_epoch(
    blobs, blob_learner, tmp_path, seed_everything
):
    settings = BUSY | {"relabel": "propose", "weight_from": 0}
    learn = train(blobs, blob_learner, seed_everything, 2, run=tmp_path / "run", **settings)
    run = Run.load(tmp_path / "run")
    run.ledger.override([5, 6], 1)
    run.save_labels()
    learn.fit(1, 0.01)
    for ledger in (learn.scn.ledger, Run.load(tmp_path / "run").ledger):
        assert ledger.held[[5, 6]].all() and ledger.current[[5, 6]].tolist() == [1, 1]
        assert (ledger.rows()["by"] == "person").sum() == 2


# ---- the setting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["suggest", None, 2, "True"])
def test_a_value_that_is_none_is_refused_in_a_sentence(value):
    with pytest.raises(SettingsError, match=r"^relabel is .*, but it must be True, False or 'propose'\.$"):
        SCNCallback(relabel=value)


def test_a_rule_that_proposes_is_checked_like_one_that_acts():
    with pytest.raises(SettingsError, match="need evidence='averaged'"):
        SCNSettings(evidence="step", relabel="propose", weight_from=0)
    assert pickle.loads(pickle.dumps(SCNCallback(relabel="propose").settings)).relabel == "propose"
