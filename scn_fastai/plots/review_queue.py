"""Doubted labels in a queue for a person: which faces, the clearest doubt first, and how the person compares."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from scn_fastai.plots.style import as_names, counted
from scn_fastai.training.ledger import LabelLedger

EMPTY = "There is nothing to review: no label was changed, and no change is proposed."
EVIDENCE = ["sample", "old", "proposed", "epoch", "p_max", "p_given", "alpha", "low"]
ACTIONS = {"accept": "accepted", "reject": "rejected", "choose": "other label"}


class Queue(NamedTuple):
    """Faces whose label a rule doubts, a row for each.

    ``table`` has the columns sample, old and proposed (codes), epoch, p_max, p_given, alpha, low, and
    doubt = p_max - p_given (left side of SCN, Eq. 5), by which it is sorted. ``applied`` says whether the rule has
    changed the labels already, so that a person confirms or rejects; else a person decides before anything changes.
    """

    table: pd.DataFrame
    applied: bool

    @property
    def samples(self) -> np.ndarray:
        """Sample numbers, the clearest doubt first, int64 ``[k]``."""
        return self.table["sample"].to_numpy()

    @property
    def undecided(self) -> np.ndarray:
        """Label of each face as long as no person decides, codes ``[k]``."""
        return self.table["proposed" if self.applied else "old"].to_numpy()


def review_queue(ledger: LabelLedger) -> Queue:
    """The open and the decided proposals of a ledger; if there are none, all labels that its rule changed.

    >>> ledger = LabelLedger([0, 1, 1], ["sad", "glad"])
    >>> len(review_queue(ledger).table)
    0
    """
    rows, given = ledger.rows(), ledger.given.cpu().numpy()
    ruled = rows[rows["by"] == "rule"].drop_duplicates("sample", keep="last").rename(columns={"new": "proposed"})
    by_rule = given.copy()  # labels as they are where no person decided
    by_rule[ruled["sample"]] = ruled["proposed"]
    table = ledger.proposal_rows().rename(columns={"label": "proposed"})
    table["old"] = by_rule[table["sample"]]
    table = table[table["old"] != table["proposed"]]
    applied = not len(table)
    if applied:
        table = ruled.assign(old=given[ruled["sample"]])
        table = table[table["old"] != table["proposed"]]
    table = table[EVIDENCE].assign(doubt=table["p_max"].to_numpy(float) - table["p_given"].to_numpy(float))
    table = table.sort_values(["doubt", "sample"], ascending=[False, True], na_position="last")
    return Queue(table.reset_index(drop=True), applied)


def queue_samples(queue: Queue, label: int | None = None, without: Collection[int] = ()) -> np.ndarray:
    """Samples of a queue whose old or proposed label is a class (None: any), those in ``without`` left out."""
    keep = ~np.isin(queue.samples, list(without))
    if label is not None:
        keep &= ((queue.table["old"] == label) | (queue.table["proposed"] == label)).to_numpy()
    return queue.samples[keep]


def next_undecided(order: Sequence[int], decided: Collection[int], after: int) -> int:
    """The next sample in an order that is not decided, from the beginning again after the last; -1 if all are.

    >>> next_undecided([5, 3, 8], decided={3}, after=5), next_undecided([5, 3, 8], {3, 5, 8}, 5)
    (8, -1)
    """
    order = np.asarray(order, dtype=np.int64)
    place = np.flatnonzero(order == after)
    turned = np.roll(order, -int(place[0]) - 1) if len(place) else order
    left = turned[~np.isin(turned, list(decided))]
    return int(left[0]) if len(left) else -1


def actions_of(queue: Queue, labels: np.ndarray) -> np.ndarray:
    """What a person did who gave the queue's faces these labels ``[k]``: accept, reject or choose, ``[k]``.

    >>> table = pd.DataFrame({"sample": [0, 1, 2], "old": 0, "proposed": 1})
    >>> actions_of(Queue(table, False), np.array([1, 0, 2])).tolist()
    ['accept', 'reject', 'choose']
    """
    table = queue.table
    other = np.where(labels == table["old"], "reject", "choose")
    return np.where(labels == table["proposed"], "accept", other)


def decided_before(queue: Queue, ledger: LabelLedger) -> dict[int, tuple[str, int]]:
    """What persons have decided on the faces of a queue: sample -> (action, class before it), the latest last."""
    rows, held = ledger.rows(), ledger.held
    latest = (
        rows[rows["by"] != "rule"].reset_index().drop_duplicates("sample", keep="last").set_index("sample")["index"]
    )
    actions = actions_of(queue, ledger.current.cpu().numpy()[queue.samples])
    found = [
        (latest.get(sample, -1), sample, (str(action), int(before)))
        for sample, action, before in zip(queue.samples.tolist(), actions, queue.undecided, strict=True)
        if held[sample]
    ]
    return {sample: decision for _, sample, decision in sorted(found)}


# -- what has been decided ----------------------------------------------------------------------------------------


def progress_words(queue: Queue, labels: np.ndarray, decided: Collection[int]) -> str:
    """How many faces of a queue are decided, and how many of these labels are no longer the given ones.

    Args:
        queue: of `review_queue`.
        labels: codes of all samples now ``[N]``.
        decided: samples that a person decided.
    """
    done = queue.table[np.isin(queue.samples, list(decided))]
    changed = int((labels[done["sample"]] != done["old"]).sum())
    return f"{len(done):,} of {len(queue.table):,} decided, {counted(changed, 'label')} changed"


def score_words(queue: Queue, labels: np.ndarray, decided: Collection[int], truth: np.ndarray) -> str:
    """How often person and rule were right among the faces that the person decided.

    Args:
        queue: of `review_queue`.
        labels: codes of all samples now ``[N]``.
        decided: samples that a person decided.
        truth: codes of the true labels ``[N]``.
    """
    done = queue.table[np.isin(queue.samples, list(decided))]
    if done.empty:
        return "Nothing is decided yet, so there is no score."
    true = truth[done["sample"]]
    person, rule = int((labels[done["sample"]] == true).sum()), int((done["proposed"] == true).sum())
    return f"you: {person:,} of {len(done):,} right; the rule: {rule:,} of {len(done):,}"


def decisions_table(
    queue: Queue,
    labels: np.ndarray,
    decided: Collection[int],
    classes: Sequence[str],
    names: Sequence[str] | None = None,
    truth: np.ndarray | None = None,
) -> pd.DataFrame:
    """A row for each decided face of a queue: sample, image, old, proposed, label, action, evidence; true if known.

    Args:
        queue: of `review_queue`.
        labels: codes of all samples now ``[N]``.
        decided: samples that a person decided.
        classes: class names.
        names: file names ``[N]``.
        truth: codes of the true labels ``[N]``; adds the columns true and right.
    """
    now = labels[queue.samples]
    table = queue.table.assign(label=now, action=actions_of(queue, now))
    table = table[np.isin(queue.samples, list(decided))].reset_index(drop=True)
    sample = table["sample"].to_numpy()
    if truth is not None:
        table["true"], table["right"] = truth[sample], truth[sample] == table["label"]
    for column in ("old", "proposed", "label", "true"):
        if column in table:
            table[column] = as_names(table[column], list(classes))
    if names is not None:
        table.insert(1, "image", [str(names[i]) for i in sample])
    first = [
        name for name in ("sample", "image", "old", "proposed", "label", "action", "true", "right") if name in table
    ]
    return table[first + ["epoch", "p_max", "p_given", "alpha", "low"]]
