"""Decisions of a person: what each gives, that the ledger gets them, and that taking back leads to where it was."""

import numpy as np
import pytest
import torch

from scn_fastai.errors import DataError
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.widgets.decisions import Decisions

CLASSES = ["sad", "glad", "calm"]


def a_ledger():
    """Samples 0 to 5, of which 1 and 2 were changed by a rule."""
    ledger = LabelLedger([0, 0, 1, 1, 2, 2], CLASSES)
    ledger.current[:] = torch.tensor([0, 2, 0, 1, 2, 2])
    ledger.flush(3)
    return ledger


def decisions_on(ledger, proposals=None):
    return Decisions(ledger.current.numpy(), ledger.classes, ledger, proposals)


def held(ledger):
    return ledger.state()["held"].tolist()


def test_accept_and_reject_without_proposals():
    ledger = a_ledger()
    decisions = decisions_on(ledger)
    decisions.accept([1])
    decisions.reject([2, 3])
    assert ledger.current.tolist() == [0, 2, 1, 1, 2, 2] == decisions.current.tolist()
    assert held(ledger) == [False, True, True, True, False, False]


def test_accept_and_reject_proposals():
    ledger = a_ledger()
    decisions = decisions_on(ledger, np.array([1, 1, 1, -1, -1, -1]))
    decisions.accept([0, 1])
    decisions.reject([1, 2])  # 1 was accepted before: it goes back to what it was before that
    assert ledger.current.tolist() == [1, 2, 0, 1, 2, 2]
    assert [row["label"] for row in decisions.record] == ["glad", "glad", "calm", "sad"]


def test_undo_leads_back_step_by_step():
    ledger = a_ledger()
    decisions = decisions_on(ledger)
    states = [(ledger.current.tolist(), held(ledger))]
    for act in (
        lambda: decisions.choose([0, 1], "glad"),
        lambda: decisions.choose([1], 0),
        lambda: decisions.accept([1, 4]),
        lambda: decisions.reject([0]),
    ):
        act()
        states.append((ledger.current.tolist(), held(ledger)))
    for state in states[-2::-1]:
        assert decisions.undo()
        assert ledger.current.tolist() == state[0] == decisions.current.tolist() and held(ledger) == state[1]
    assert decisions.undo() == [] and not decisions.standing and len(decisions.record) == 6 + 6


def test_what_a_person_decided_earlier_stands_again():
    ledger = a_ledger()
    ledger.override(1, "glad")
    decisions = decisions_on(ledger)
    decisions.choose([1], "sad")
    decisions.undo()
    assert ledger.current[1] == 1 and held(ledger)[1]


def test_an_older_epoch_may_be_shown():
    ledger = a_ledger()
    decisions = Decisions(ledger.given.numpy(), CLASSES, ledger)  # as it was before the rule
    decisions.accept([1])
    assert ledger.current[1] == 0
    decisions.undo()
    assert ledger.current[1] == 2 and decisions.current[1] == 0


def test_the_record_only_grows_and_ledger_can_be_replayed():
    ledger = a_ledger()
    decisions = decisions_on(ledger)
    decisions.choose([5], "sad")
    first = list(decisions.record)
    decisions.undo()
    decisions.reject([1])
    assert decisions.record[: len(first)] == first and [r["action"] for r in decisions.record[1:]] == ["undo", "reject"]
    twin = LabelLedger(ledger.given, CLASSES)
    twin.replay(ledger.rows())
    assert torch.equal(twin.current, ledger.current)


def test_without_a_ledger():
    decisions = Decisions(np.full(3, -1))
    decisions.choose([0], "somebody I know")
    decisions.choose([0], "a stranger")
    decisions.reject([2])
    assert decisions.label(0) == "a stranger" and decisions.label(2) is None
    decisions.undo(), decisions.undo()
    assert decisions.label(0) == "somebody I know"
    assert decisions.accept([]) == [] and len(decisions.record) == 5


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda d: d.accept([6]), "There is no sample 6: the grid has 6 faces"),
        (lambda d: d.accept([-1]), "no sample -1"),
        (lambda d: d.accept([0.5]), "whole numbers"),
        (lambda d: d.choose([0], "angry"), "'angry' is not one of the classes: sad, glad, calm"),
        (lambda d: d.choose([0], 3), "3 is not one"),
        (lambda d: d.choose([0], True), "True is not one"),
    ],
)
def test_bad_input_is_a_sentence_and_changes_nothing(act, sentence):
    ledger = a_ledger()
    decisions = decisions_on(ledger)
    with pytest.raises(DataError, match=sentence):
        act(decisions)
    assert not decisions.record and len(ledger) == 2


def test_without_classes_a_label_is_a_text():
    with pytest.raises(DataError, match="names no class"):
        Decisions(np.full(3, -1)).choose([0], 1)
