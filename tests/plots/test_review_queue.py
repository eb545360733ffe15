"""The queue: who is in it, in which order, and what is counted of a person's decisions."""

import numpy as np
import pandas as pd
import pytest
import torch

from scn_fastai.core import Relabel
from scn_fastai.plots.review_queue import (
    actions_of,
    decided_before,
    decisions_table,
    next_undecided,
    progress_words,
    queue_samples,
    review_queue,
    score_words,
)
from scn_fastai.training.ledger import LabelLedger

CLASSES = ["sad", "glad", "mad"]
NOBODY = ()


def word(ledger, label, doubt, how="propose", epoch=3):
    """What the rule says of samples 0, 1, ...: their labels, and how far P_max and P_given lie apart."""
    label, doubt = torch.tensor(label), torch.tensor(doubt, dtype=torch.float32)
    index, low = torch.arange(len(label)), doubt < 0.5
    mask = label != ledger.given[index]
    getattr(ledger, how)(index, Relabel(mask, label, doubt + 0.1, 0 * doubt + 0.1), doubt / 2, low)
    ledger.flush(epoch)


@pytest.fixture
def proposed():
    ledger = LabelLedger([0, 0, 1, 1, 2, 2], CLASSES)
    word(ledger, [1, 2, 1, 0, 2], [0.25, 0.75, 0, 0.5, 0])
    return ledger


@pytest.fixture
def changed():
    ledger = LabelLedger([0, 0, 1, 1, 2, 2], CLASSES)
    word(ledger, [1, 2, 1, 0, 2], [0.25, 0.75, 0, 0.5, 0], "record")
    return ledger


def pairs(queue):
    return list(zip(queue.samples.tolist(), queue.table["old"], queue.table["proposed"], strict=True))


def test_proposals_come_first_the_clearest_doubt_at_the_top(proposed):
    queue = review_queue(proposed)
    assert not queue.applied and pairs(queue) == [(1, 0, 2), (3, 1, 0), (0, 0, 1)]
    np.testing.assert_allclose(queue.table["doubt"], [0.75, 0.5, 0.25], atol=1e-6)
    assert queue.table["epoch"].tolist() == [3] * 3 and queue.table["low"].tolist() == [False, False, True]
    assert queue.undecided.tolist() == [0, 1, 0]


def test_without_proposals_the_labels_that_the_rule_changed(changed):
    queue = review_queue(changed)
    assert queue.applied and pairs(queue) == [(1, 0, 2), (3, 1, 0), (0, 0, 1)]
    assert queue.undecided.tolist() == [2, 0, 1]
    word(changed, [0, 2, 1, 0, 2], [0, 0.8, 0, 0.3, 0], "record", epoch=4)  # 0 was given its label back
    assert pairs(review_queue(changed)) == [(1, 0, 2), (3, 1, 0)]


@pytest.mark.parametrize("kind", ["proposed", "changed"])
def test_decided_faces_stay_in_the_queue(kind, request):
    ledger = request.getfixturevalue(kind)
    before = pairs(review_queue(ledger))
    ledger.override(1, "mad")
    ledger.override(3, "glad")
    ledger.override(0, "mad")
    ledger.override(5, "sad")  # a decision about a face that was never doubted
    queue = review_queue(ledger)
    assert pairs(queue) == before
    earlier = decided_before(queue, ledger)
    base = dict(zip(queue.samples.tolist(), queue.undecided.tolist(), strict=True))
    assert list(earlier.items()) == [(1, ("accept", base[1])), (3, ("reject", base[3])), (0, ("choose", base[0]))]
    ledger.undo([3])
    assert pairs(review_queue(ledger)) == before and list(decided_before(queue, ledger)) == [1, 0]


def test_a_change_of_the_rule_that_was_taken_back_counts_as_rejected(changed):
    changed.undo([1])
    queue = review_queue(changed)
    assert (1, 0, 2) in pairs(queue) and decided_before(queue, changed) == {1: ("reject", 2)}


def test_doubt_that_is_not_known_comes_last(proposed):
    rows = proposed.proposal_rows()
    rows.loc[rows["sample"] == 1, ["p_max", "p_given"]] = np.nan
    proposed.replay(proposed.rows(), proposals=rows)
    assert review_queue(proposed).samples.tolist() == [3, 0, 1]


def test_filters(proposed):
    queue = review_queue(proposed)
    assert queue_samples(queue).tolist() == [1, 3, 0] and queue_samples(queue, without={3, 5}).tolist() == [1, 0]
    assert queue_samples(queue, CLASSES.index("glad")).tolist() == [3, 0]
    assert queue_samples(queue, CLASSES.index("mad"), {1}).tolist() == []
    assert queue_samples(review_queue(LabelLedger([0], ["sad"]))).tolist() == []


@pytest.mark.parametrize(("decided", "after", "found"), [
    ((), 5, 3), ((3,), 5, 8), ((), 8, 5), ((5, 3), 8, 8), ((5, 3, 8), 5, -1), ((), 99, 5), ((5,), -1, 3),
])  # fmt: skip
def test_the_next_face_in_question(decided, after, found):
    assert next_undecided([5, 3, 8], decided, after) == found
    assert next_undecided([], decided, after) == -1


def test_progress_counts_decisions_and_labels_that_are_no_longer_the_given_ones(proposed, changed):
    for ledger, words in ((proposed, "2 of 3 decided, 1 label changed"), (changed, "2 of 3 decided, 1 label changed")):
        queue = review_queue(ledger)
        assert progress_words(queue, ledger.current.numpy(), NOBODY) == "0 of 3 decided, 0 labels changed"
        ledger.override(1, "mad")
        ledger.override(3, "glad")
        assert progress_words(queue, ledger.current.numpy(), {1, 3, 5}) == words


def test_the_score_compares_person_and_rule_on_what_the_person_decided(proposed):
    queue, truth = review_queue(proposed), np.array([0, 2, 1, 0, 2, 2])
    assert score_words(queue, proposed.current.numpy(), NOBODY, truth).startswith("Nothing is decided yet")
    proposed.override(1, "glad")  # wrong; the rule was right
    proposed.override(3, "sad")  # right, and so was the rule
    assert score_words(queue, proposed.current.numpy(), {1, 3}, truth) == "you: 1 of 2 right; the rule: 2 of 2"
    proposed.override(0, "sad")  # right; the rule was not
    assert score_words(queue, proposed.current.numpy(), {0, 1, 3}, truth) == "you: 2 of 3 right; the rule: 2 of 3"


def test_decisions_as_a_table(proposed):
    proposed.override(3, "mad")
    proposed.override(1, "mad")
    queue, labels = review_queue(proposed), proposed.current.numpy()
    table = decisions_table(queue, labels, {1, 3}, CLASSES, [f"{i}.png" for i in range(6)])
    assert table[["sample", "image", "old", "proposed", "label", "action"]].values.tolist() == [
        [1, "1.png", "sad", "mad", "mad", "accept"], [3, "3.png", "glad", "sad", "mad", "choose"]
    ]  # fmt: skip
    assert list(table.columns[6:]) == ["epoch", "p_max", "p_given", "alpha", "low"]
    known = decisions_table(queue, labels, {1}, CLASSES, truth=np.array([0, 2, 1, 1, 2, 2]))
    assert known[["sample", "true", "right"]].values.tolist() == [[1, "mad", True]] and "image" not in known
    assert decisions_table(queue, labels, NOBODY, CLASSES).empty


def test_thirty_thousand_samples_are_quick():
    import time

    rng = np.random.default_rng(0)
    ledger = LabelLedger(rng.integers(0, 3, 30_000), CLASSES)
    word(ledger, ((ledger.given + 1) % 3).tolist(), rng.random(30_000).tolist())
    ledger.override(np.arange(9000).tolist(), 1)
    start = time.perf_counter()
    queue = review_queue(ledger)
    earlier = decided_before(queue, ledger)
    assert len(queue.table) == 30_000 and len(earlier) == 9000 and time.perf_counter() - start < 2
    assert isinstance(queue.table, pd.DataFrame) and (np.diff(queue.table["doubt"]) <= 0).all()
    assert actions_of(queue, queue.undecided).tolist() == ["reject"] * 30_000
