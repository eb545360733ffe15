"""What a person decides about labels: accept, reject, choose, undo; on record, and in the ledger if there is one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scn_fastai.errors import DataError
from scn_fastai.plots.style import as_names, counted
from scn_fastai.training.ledger import LabelLedger

ACTIONS = ("accept", "reject", "choose")


class Standing(NamedTuple):
    """A decision that was not taken back: what it was, and how to go back behind it."""

    action: str
    code: int  # class that it gave the sample; -1 where it is no class
    before: int  # class that was shown before any decision taken here
    was: int  # the same in the ledger, which may be an epoch further
    held: bool  # whether that was a person's word
    word: str | None = None  # a label that is no class


class Decisions:
    """Decisions about samples, as an append-only list of ``{sample, action, label}``, with undo.

    ``accept`` takes the proposed label (without a proposal it keeps the current one), ``reject`` keeps the label that
    was there (without a proposal it goes back to the given one), ``choose`` gives any other. Each is a person's word,
    which a ledger keeps against every rule afterwards; ``undo`` takes back the last step, be it one sample or many.

    Args:
        current: classes of the samples now, int ``[N]``, -1 where none is known; a copy is kept up to date.
        classes: class names, or None: then a chosen label is any text.
        ledger: where the decisions are written, or None.
        proposals: proposed classes, int ``[N]``, -1 where there is none; or None.

    >>> decisions = Decisions(np.array([0, 1]), ["sad", "glad"], proposals=np.array([1, -1]))
    >>> decisions.accept([0]), decisions.undo()
    ([0], [0])
    >>> decisions.record
    [{'sample': 0, 'action': 'accept', 'label': 'glad'}, {'sample': 0, 'action': 'undo', 'label': 'sad'}]
    """

    def __init__(
        self,
        current: np.ndarray,
        classes: Sequence[str] | None = None,
        ledger: LabelLedger | None = None,
        proposals: np.ndarray | None = None,
    ):
        self.current, self.ledger = np.array(current, dtype=np.int64), ledger
        self.classes = None if classes is None else list(classes)
        self.proposals = np.full(len(self.current), -1) if proposals is None else proposals
        self.record: list[dict] = []
        self.standing: dict[int, Standing] = {}
        self._steps: list[dict[int, Standing | None]] = []  # of each step, what stood before it

    # -- what a person does ---------------------------------------------------------------------------------

    def accept(self, samples: Sequence[int]) -> list[int]:
        """Take the proposed label of each sample, or keep the current one."""
        return self._decide("accept", samples, self._accepted)

    def reject(self, samples: Sequence[int]) -> list[int]:
        """Keep the label that was there before the proposal; without one, go back to the given label."""
        return self._decide("reject", samples, self._rejected)

    def choose(self, samples: Sequence[int], label: int | str) -> list[int]:
        """Give each sample a label: a class name, or its position in the classes."""
        code = self.code(label)
        return self._decide("choose", samples, lambda sample: code, str(label) if code < 0 else None)

    def undo(self) -> list[int]:
        """Take back the last step that stands; the samples that it touched, none when there is nothing left."""
        if not self._steps:
            return []
        step = self._steps.pop()
        self._take_back({sample: self.standing.pop(sample) for sample in step})
        self._stand({sample: earlier for sample, earlier in step.items() if earlier is not None})
        self._note(step, "undo")
        return list(step)

    def recall(self, decided: Mapping[int, tuple[str, int]]) -> list[int]:
        """Take up what a person decided earlier and the ledger holds: sample -> (action, class before it).

        From now on it stands here, so that it can be changed and taken back; nothing is written.
        """
        for sample, (action, before) in decided.items():
            self.standing[sample] = Standing(action, int(self.current[sample]), before, before, False)
            self._steps.append({sample: None})
        return list(decided)

    # -- reading --------------------------------------------------------------------------------------------

    def label(self, sample: int) -> str | None:
        """Name of a sample's label now, None where none is known."""
        decision = self.standing.get(sample)
        return self.name(int(self.current[sample])) if decision is None or decision.word is None else decision.word

    def name(self, code: int) -> str | None:
        """Name of a class."""
        return self.classes[code] if self.classes is not None and code >= 0 else None

    def code(self, label: int | str) -> int:
        """Position of a class that is named or counted; -1 for any text where there are no classes.

        Raises:
            DataError: it is not one of the classes.
        """
        if self.classes is None:
            if isinstance(label, str) and label.strip():
                return -1
            raise DataError(f"{label!r} names no class: give a text, or make the grid with `classes`.")
        if isinstance(label, str) and label in self.classes:
            return self.classes.index(label)
        if isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= label < len(self.classes):
            return int(label)
        raise DataError(f"{label!r} is not one of the classes: {', '.join(self.classes)}.")

    def checked(self, samples: int | Sequence[int]) -> list[int]:
        """Sample numbers as a list without repeats.

        Raises:
            DataError: one is no whole number, or there is no such sample.
        """
        return checked_samples(samples, len(self.current))

    # -- inside ---------------------------------------------------------------------------------------------

    def _accepted(self, sample: int) -> int:
        return int(self.proposals[sample]) if self.proposals[sample] >= 0 else int(self.current[sample])

    def _rejected(self, sample: int) -> int:
        if self.ledger is None or self.proposals[sample] >= 0:
            return int(self.current[sample])
        return int(self.ledger.given[sample])

    def _decide(
        self, action: str, samples: Sequence[int], code_of: Callable[[int], int], word: str | None = None
    ) -> list[int]:
        samples = self.checked(samples)
        if not samples:
            return []
        step = {sample: self.standing.pop(sample, None) for sample in samples}
        # A ledger undoes one change of a sample, so it holds one of ours at a time.
        self._take_back({sample: earlier for sample, earlier in step.items() if earlier is not None})
        held, before = self._held(samples), self.current.copy()
        was = before if self.ledger is None else self.ledger.current.cpu().numpy().copy()
        self._stand({s: Standing(action, code_of(s), int(before[s]), int(was[s]), s in held, word) for s in samples})
        self._note(step, action)
        self._steps.append(step)
        return samples

    def _stand(self, decisions: Mapping[int, Standing]) -> None:
        self.standing.update(decisions)
        for code in sorted({decision.code for decision in decisions.values()}):
            samples = [sample for sample, decision in decisions.items() if decision.code == code]
            self.current[samples] = code
            if self.ledger is not None and code >= 0:
                self.ledger.override(samples, code)

    def _take_back(self, decisions: Mapping[int, Standing]) -> None:
        for sample, decision in decisions.items():
            self.current[sample] = decision.before
        if self.ledger is None or not decisions:
            return
        self.ledger.undo(list(decisions))
        now = self.ledger.current.cpu().numpy()
        for sample, decision in decisions.items():  # what a person decided before, or changed in between, stands again
            if decision.held or now[sample] != decision.was:
                self.ledger.override(sample, decision.was)

    def _held(self, samples: Sequence[int]) -> set[int]:
        """Of some samples those whose last change in the ledger was a person's."""
        if self.ledger is None:
            return set()
        rows = self.ledger.rows()
        last = rows[rows["sample"].isin(samples)].drop_duplicates("sample", keep="last")
        return set(last["sample"][last["by"] == "person"].tolist())

    def _note(self, samples: Iterable[int], action: str) -> None:
        self.record += [{"sample": sample, "action": action, "label": self.label(sample)} for sample in samples]


def checked_samples(samples: int | Sequence[int], count: int) -> list[int]:
    """Sample numbers as a list of ints without repeats, in their order.

    Raises:
        DataError: one is no whole number, or outside 0 to ``count - 1``.

    >>> checked_samples([3, 1, 3], 5)
    [3, 1]
    """
    values = np.atleast_1d(np.asarray(samples))
    if not values.size:
        return []
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise DataError(f"Samples are whole numbers, got {samples!r}: give positions such as [0, 17].")
    outside = values[(values < 0) | (values >= count)]
    if len(outside):
        last = f"0 to {count - 1:,}" if count else "none"
        raise DataError(f"There is no sample {outside[0]}: the grid has {counted(count, 'face')} ({last}).")
    distinct = np.bincount(values.astype(np.int64)).max() == 1  # quicker to see than to make so
    return values.tolist() if distinct else list(dict.fromkeys(values.tolist()))


def known_classes(classes: Sequence[str] | None, ledger: LabelLedger | None) -> list[str] | None:
    """The class names, or the ledger's.

    Raises:
        DataError: they are one text, or not those of the ledger.
    """
    if isinstance(classes, str):
        raise DataError(f"Classes are a list of names, got the text {classes!r}.")
    own = None if classes is None else [str(name) for name in classes]
    if ledger is not None and own not in (None, ledger.classes):
        raise DataError(f"The classes are not those of the ledger, which has: {', '.join(ledger.classes)}.")
    return own if ledger is None else ledger.classes


def class_codes(values: Sequence[int | str | None] | None, classes: list[str] | None, what: str) -> np.ndarray | None:
    """Classes by name or by code as codes ``[N]``, -1 where there is none (None, '', NaN).

    Raises:
        DataError: there is no such class.

    >>> class_codes(["glad", "", "sad"], ["sad", "glad"], "proposals").tolist()
    [1, -1, 0]
    """
    if values is None:
        return None
    if classes is None:
        raise DataError(f"Say which classes there are: {what} need `classes`, or a ledger.")
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        as_names(array[array >= 0], classes)  # looks whether there are such classes
        return np.where(array < 0, -1, array).astype(np.int64)
    codes = {name: code for code, name in enumerate(classes)} | {"": -1, None: -1}
    unknown = next((value for value in values if value == value and value not in codes), None)
    if unknown is not None:
        raise DataError(f"{unknown!r} in {what} is not one of the classes: {', '.join(classes)}.")
    return np.array([codes.get(value, -1) if value == value else -1 for value in values], dtype=np.int64)
