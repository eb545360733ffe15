"""The label ledger: every state can be rebuilt, every change undone, and a person's word holds."""

import numpy as np
import pandas as pd
import pytest
import torch

from scn_fastai.core import Relabel
from scn_fastai.data.readers.folder import read_csv
from scn_fastai.errors import DataError
from scn_fastai.training.ledger import COLUMNS, LabelLedger

CLASSES = ["sad", "glad", "mad"]


@pytest.fixture
def ledger():
    return LabelLedger(torch.arange(12) % 3, CLASSES)


def propose(ledger, index, label, alpha=0.25, low=True):
    """Record a rule's proposal ``label`` for the samples ``index``."""
    device = ledger.current.device
    index, label = torch.as_tensor(index, device=device), torch.as_tensor(label, device=device)
    label, ones = label.expand(len(index)).to(torch.int64), torch.ones(len(index), device=device)
    change = Relabel(label != ledger.current[index], label, ones * 0.75, ones * 0.125)
    ledger.record(index, change, ones * alpha, ones.bool() if low else ~ones.bool())


def epoch(ledger, number, index, label, **values):
    propose(ledger, index, label, **values)
    return ledger.flush(number)


def rebuilt(ledger):
    copy = LabelLedger(ledger.given, ledger.classes)
    copy.replay(ledger.rows())
    return copy


def same(one, other):
    tensors = all(getattr(one, name).equal(getattr(other, name)) for name in ("given", "current", "_held"))
    return tensors and one.rows().equals(other.rows())


def lived(seed, epochs=8, n=12):
    """A ledger after random epochs of a rule, decisions and undoing, and its labels at the end of each epoch."""
    rng = np.random.default_rng(seed)
    ledger, ends = LabelLedger(rng.integers(3, size=n), CLASSES), []
    for number in range(epochs):
        if rng.random() < 0.7:
            propose(ledger, rng.permutation(n)[:4], rng.integers(3, size=4))
        ledger.flush(number)
        for _ in range(rng.integers(3)):
            act = rng.integers(3)
            if act == 0:
                ledger.override(rng.permutation(n)[:2].tolist(), int(rng.integers(3)))
            elif act == 1:
                ledger.undo(rng.permutation(n)[:3].tolist())
            else:
                ledger.undo(epoch=int(rng.integers(number + 1)))
        ends.append(ledger.current.clone())
    return ledger, ends


# ---- rebuilding ----


@pytest.mark.parametrize("seed", range(20))
def test_replaying_the_record_rebuilds_labels_and_who_is_held(seed):
    ledger, _ = lived(seed)
    assert same(rebuilt(ledger), ledger)
    labels = ledger.given.clone()
    for row in ledger.frame().itertuples():
        assert labels[row.sample] == row.old, "each row starts where the one before ended"
        labels[row.sample] = row.new
    assert labels.equal(ledger.current)


@pytest.mark.parametrize("seed", range(20))
def test_every_epoch_can_be_reconstructed(seed):
    ledger, ends = lived(seed)
    assert all(ledger.at(number).equal(labels) for number, labels in enumerate(ends))
    assert ledger.at(len(ends) - 1).equal(ledger.current) and ledger.at(-1).equal(ledger.given)


@pytest.mark.parametrize("seed", range(5))
def test_the_state_goes_through_a_file_that_holds_tensors_only(seed, tmp_path):
    ledger, _ = lived(seed)
    torch.save(ledger.state(), tmp_path / "ledger.pt")
    copy = LabelLedger(ledger.given, CLASSES)
    copy.load_state(torch.load(tmp_path / "ledger.pt", weights_only=True))
    assert same(copy, ledger)
    for one in (ledger, copy):
        epoch(one, 8, range(12), 1)
        one.override(3, "mad")
    assert same(copy, ledger), "both go on alike"


def test_a_decision_after_epochs_without_a_change_belongs_to_the_last_of_them(ledger):
    epoch(ledger, 0, [0], 1)
    for number in (1, 2):
        ledger.flush(number)
    copy = LabelLedger(ledger.given, CLASSES)
    copy.load_state(ledger.state())
    replayed = LabelLedger(ledger.given, CLASSES)
    replayed.replay(ledger.rows(), epoch=2)
    for one in (ledger, copy, replayed):
        one.override(5, "sad")
        assert one.frame()["epoch"].tolist() == [0, 2] and one.at(1)[5] == one.given[5]


def test_a_state_is_the_last_whole_epoch_and_no_view_of_the_ledger(ledger):
    epoch(ledger, 0, [0], 1)
    propose(ledger, [1], 2)
    state = ledger.state()
    ledger.flush(1)
    copy = LabelLedger(ledger.given, CLASSES)
    copy.load_state(state)
    assert copy.current.equal(ledger.at(0)) and len(copy) == 1


@pytest.mark.parametrize("given", [[0, 1, 1], [0, 1], []])
def test_the_ledger_of_another_training_set_is_refused_and_nothing_is_lost(given):
    ledger = LabelLedger([0, 1, 2], CLASSES)
    ledger.override(0, "mad")
    sentence = rf"made for another training set \({len(given)} samples there, 3 here, .*restore_ledger=False"
    with pytest.raises(DataError, match=sentence):
        ledger.load_state(LabelLedger(given, CLASSES).state())
    assert ledger.current.tolist() == [2, 1, 2] and len(ledger) == 1


# ---- a rule's changes ----


def test_flush_writes_a_row_for_each_change_with_its_evidence(ledger):
    propose(ledger, [0, 1], [1, 1], alpha=0.5)
    propose(ledger, [2, 4], [0, 1], low=False)
    assert len(ledger) == 0, "nothing is on record within an epoch"
    assert ledger.flush(3) == 2, "sample 1 and 4 were proposed the label they had"
    frame = ledger.frame()
    expected = {"epoch": [3, 3], "sample": [0, 2], "old_label": ["sad", "mad"], "new_label": ["glad", "sad"]}
    expected |= {"alpha": [0.5, 0.25], "low": [True, False], "by": ["rule"] * 2}
    expected |= {"p_max": [0.75] * 2, "p_given": [0.125] * 2}
    assert frame[list(expected)].to_dict("list") == expected
    assert ledger.flush(4) == 0 and len(ledger) == 2
    assert ledger.rows().dtypes.astype(str).to_dict() == COLUMNS


def test_a_change_that_is_taken_back_within_an_epoch_leaves_no_row(ledger):
    propose(ledger, [0], 1)
    propose(ledger, [0], 0)
    assert ledger.flush(0) == 0 and ledger.current.equal(ledger.given)


def test_a_rule_that_no_longer_holds_gives_the_label_back(ledger):
    assert [epoch(ledger, 0, [0], 1), epoch(ledger, 1, [0], 0)] == [1, 1]
    assert ledger.frame()["new_label"].tolist() == ["glad", "sad"] and ledger.current.equal(ledger.given)


def test_rollback_drops_an_unfinished_epoch_and_keeps_what_was_decided(ledger):
    epoch(ledger, 0, [0], 1)
    ledger.override(7, "mad")
    before = ledger.current.clone()
    propose(ledger, range(6), 2)
    assert not ledger.current.equal(before) and ledger.before_epoch().equal(before)
    ledger.rollback()
    assert ledger.current.equal(before) and len(ledger) == 2
    assert epoch(ledger, 1, [7], 0) == 0 and ledger.current[7] == 2


def test_an_epoch_trains_on_the_labels_from_before_its_changes(ledger):
    propose(ledger, [0], 1)
    assert ledger.before_epoch().equal(ledger.given) and ledger.current[0] == 1
    ledger.flush(0)
    assert ledger.before_epoch().equal(ledger.current)


def test_labels_are_the_drawn_ones_until_a_sample_is_changed(ledger):
    epoch(ledger, 0, [3], 2)
    assert ledger.labels(torch.tensor([3, 4]), torch.tensor([0, 0])).tolist() == [2, 0]


def test_given_is_a_copy_and_never_changes():
    source = torch.tensor([0, 1, 2])
    ledger = LabelLedger(source, CLASSES)
    epoch(ledger, 0, [0, 1], 2)
    ledger.override(1, "sad")
    source[2] = 0
    assert ledger.given.tolist() == [0, 1, 2]


# ---- a person's decisions and undoing ----


def test_who_keeps_the_given_label_by_nobodys_decision(ledger):
    before = ledger.keeps_given()
    ledger.override(0, int(ledger.given[0]))
    after = ledger.keeps_given()
    assert before.tolist() == (ledger.given == ledger.current).tolist() and before[0] and not after[0]
    assert after[1:].equal(before[1:])


@pytest.mark.parametrize("label", ["mad", 2, np.int64(2)])
def test_an_override_is_not_overruled(ledger, label):
    epoch(ledger, 0, [0, 1], 1)
    ledger.override([0, 1], label)
    assert epoch(ledger, 1, [0, 1], 0) == 0
    assert ledger.current[:2].tolist() == [2, 2] and ledger.frame()["by"].tolist() == ["rule", "person", "person"]


def test_a_decision_between_record_and_flush_holds(ledger):
    propose(ledger, [0], 1)
    ledger.override(0, "mad")
    assert ledger.flush(0) == 0 and ledger.current[0] == 2 and same(rebuilt(ledger), ledger)


def test_whoever_decides_is_on_record_and_held_after_a_replay(ledger):
    ledger.override(0, "mad", by="anna")
    copy = rebuilt(ledger)
    assert copy.frame()["by"].tolist() == ["anna"]
    epoch(copy, 1, [0], 1)
    assert copy.current[0] == 2


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("how", [{"index": [0]}, {"epoch": 0}])
def test_undoing_a_rule_holds_the_sample(ledger, how, copied):
    epoch(ledger, 0, [0], 1)
    assert ledger.undo(**how) == 1 and ledger.current.equal(ledger.given)
    ledger = rebuilt(ledger) if copied else ledger
    assert epoch(ledger, 1, [0, 3], 1) == 1 and ledger.current[[0, 3]].tolist() == [0, 1]
    assert ledger.frame()["by"].tolist() == ["rule", "undo", "rule"]


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("label", ["mad", "sad"])
def test_undoing_a_person_releases_the_sample(ledger, label, copied):
    ledger.override(0, label)
    assert ledger.undo([0]) == (label != "sad")
    ledger = rebuilt(ledger) if copied else ledger
    assert epoch(ledger, 1, [0], 1) == 1 and ledger.current[0] == 1


def test_undoing_an_epoch_takes_back_all_of_it_and_nothing_else(ledger):
    epoch(ledger, 0, [0, 1], 2)
    epoch(ledger, 1, [2, 3], 1)
    assert ledger.undo(epoch=0) == 2
    assert ledger.at(1).equal(ledger.current) and ledger.current[:4].tolist() == [0, 1, 1, 1]


def test_undo_can_be_limited_to_samples_of_an_epoch_and_repeated_in_vain(ledger):
    epoch(ledger, 0, [0, 1], 2)
    assert [ledger.undo([0, 5], epoch=0), ledger.undo([0, 5], epoch=0), ledger.undo([5])] == [1, 0, 0]
    assert ledger.current[:2].tolist() == [0, 2] and len(ledger) == 3


@pytest.mark.parametrize("index", [[12], [0, -1]])
def test_a_sample_that_does_not_exist_is_refused(ledger, index):
    with pytest.raises(DataError, match=rf"^Sample {index[-1]} does not exist: this ledger has samples 0 to 11\.$"):
        ledger.override(index, "mad")
    assert len(ledger) == 0


@pytest.mark.parametrize("label", ["angry", 3, -1, 1.0])
def test_a_label_that_is_no_class_is_refused(ledger, label):
    with pytest.raises(DataError, match=f"^{label!r} is not one of the classes: sad, glad, mad"):
        ledger.override(0, label)
    assert ledger.current.equal(ledger.given) and len(ledger) == 0


@pytest.mark.parametrize("given, bad", [([0, 3], 3), ([0, -1], -1)])
def test_a_given_label_outside_the_classes_is_named(given, bad):
    sentence = rf"^Sample 1 has label {bad}, but there are 3 classes \(0 to 2\): correct the label or pass all"
    with pytest.raises(DataError, match=sentence):
        LabelLedger(given, CLASSES)


# ---- reading ----


def test_export_is_a_table_that_the_reader_takes(ledger, tmp_path, monkeypatch):
    epoch(ledger, 0, [0], 2)
    samples = pd.DataFrame({"image": [f"faces/{i}.png" for i in range(12)]})
    path = ledger.export(tmp_path / "cured.csv", samples)
    table = pd.read_csv(path)
    assert list(table.columns) == ["path", "label", "given"] and table["path"].equals(samples["image"])
    assert table["given"].tolist() == CLASSES * 4 and table["label"].tolist() == ["mad", *(CLASSES * 4)[1:]]
    assert [file.name for file in tmp_path.iterdir()] == ["cured.csv"]
    with pytest.raises(DataError, match="0.png"):  # it read the table and looks for the faces
        read_csv(path)


def test_export_without_a_table_names_samples_by_number(tmp_path):
    table = pd.read_csv(LabelLedger([1], CLASSES).export(tmp_path / "one.csv"))
    assert table.to_dict("list") == {"path": [0], "label": ["glad"], "given": ["glad"]}


def test_export_refuses_a_table_of_other_length(ledger, tmp_path):
    with pytest.raises(DataError, match="The ledger has 12 samples but the table 2: pass its train part"):
        ledger.export(tmp_path / "cured.csv", pd.DataFrame({"image": ["a", "b"]}))
    assert not list(tmp_path.iterdir())


def test_frames_are_copies_and_the_ledger_says_what_it_holds(ledger):
    epoch(ledger, 0, [0], 1)
    for table in (ledger.frame(), ledger.rows()):
        table.loc[0, "new"] = 2
    assert ledger.at(0)[0] == 1
    assert repr(ledger) == "<LabelLedger 12 samples, 1 differ from the given label, 1 changes>"


def test_an_empty_ledger_reads_like_any_other(tmp_path):
    ledger = LabelLedger([], CLASSES)
    assert ledger.flush(0) == 0 and ledger.undo() == 0 and len(ledger.at(0)) == len(ledger.frame()) == 0
    assert same(rebuilt(ledger), ledger)


@pytest.mark.gpu
def test_a_state_that_fastai_moved_to_the_gpu_loads(ledger):
    ledger.override(5, "sad")
    state = {name: value.cuda() for name, value in ledger.state().items()}
    twin = LabelLedger(ledger.given, ledger.classes)
    twin.load_state(state)
    assert same(twin, ledger)


def test_decisions_that_were_stored_elsewhere_are_taken_over():
    """A notebook reviews while a terminal trains: what it stored is newer than what the training knows."""
    mine, theirs = (LabelLedger([0] * 6, CLASSES) for _ in range(2))
    for ledger in (mine, theirs):
        propose(ledger, [0, 1], 2)
        ledger.flush(0)
    theirs.override([3, 4], "sad")
    theirs.override(1, 1)
    theirs.undo([0])
    propose(mine, [1, 2], 3)
    mine.flush(1)
    mine.take_over(theirs.rows())
    assert mine.current.tolist() == [0, 1, 3, CLASSES.index("sad"), CLASSES.index("sad"), 0]
    assert mine.held.tolist() == [True, True, False, True, True, False]
    before = mine.rows()
    mine.take_over(before)  # nothing new
    pd.testing.assert_frame_equal(mine.rows(), before)
    assert before["by"].tolist() == ["rule"] * 4 + ["person"] * 3 + ["undo"]


@pytest.mark.gpu
def test_a_ledger_on_a_gpu_records_there_and_comes_back(ledger):
    ledger.to("cuda")
    propose(ledger, [0, 1], 2)
    assert ledger.flush(0) == 2 and ledger.current.is_cuda
    ledger.override(5, "sad")
    ledger.undo([0])
    copy = LabelLedger(ledger.given, CLASSES)
    copy.load_state(ledger.state())
    assert copy.rows().equals(ledger.rows()) and copy.current.equal(ledger.current.cpu())
    assert ledger.at(0).equal(copy.current) and len(ledger.frame()) == 4
