"""A row per training face: what one epoch of a run says of it; which faces to show, and in which order."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.sprites import alpha_line
from scn_fastai.plots.style import STATES, state_codes
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.run import Run

# Columns that can be an axis, or sort the faces: in words, and the room of an axis that does not move between epochs.
SCORES = {
    "alpha": ("importance (alpha)", None),
    "rank": ("rank of alpha in its class", (0.0, 1.0)),
    "doubt": ("P_max - P_given", (0.0, 1.0)),
    "p_max": ("P_max", (0.0, 1.0)),
    "p_given": ("P_given", (0.0, 1.0)),
    "loss": ("loss of the given label", None),
    "alpha_change": ("alpha now - in epoch 0", None),
    "level": ("level of uncertainty", (0.0, 1.0)),
}
GROUP_WORDS = {"high": "high group", "low": "low group", "unseen": "not seen in this epoch"}
NOT_BEGUN = "Weighting begins in epoch {}: before that alpha is not trained, and its order means nothing."
IGNORED = "This recipe computes alpha and ignores it: alpha was never trained, and its order means nothing."


def sample_facts(run: Run, scores: Mapping[str, Sequence[float]] | None = None) -> pd.DataFrame:
    """What no epoch changes: a row per training sample with image, given (label), and what the run knows besides.

    Besides: true (label), uncertainty (its kind) and level (how much of it); and the columns of ``scores``.

    Args:
        run: a run with its ledger.
        scores: further columns, a number for each training sample: another detector's scores, say.

    Raises:
        DataError: a score has another length, or the name of a column that is there.
        RunError: the run has no labels yet.
    """
    if run.ledger is None or run.history is None:
        raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
    samples, classes = run.train_samples, run.classes
    table = pd.DataFrame({"sample": np.arange(len(samples)), "image": samples["image"].astype(object)})
    table["given"] = pd.Categorical.from_codes(run.ledger.given.cpu().numpy(), classes)
    truth = run.truth
    if truth is not None:
        table["true"] = pd.Categorical.from_codes(truth.numpy(), classes)
    if "uncertainty" in samples:
        table["uncertainty"] = pd.Categorical(samples["uncertainty"].fillna("none"))
    if "level" in samples:
        table["level"] = samples["level"].to_numpy(np.float32)
    for name, values in (scores or {}).items():
        if len(values) != len(table):
            raise DataError(
                f"There are {len(table):,} training samples but {len(values):,} values of {name}: give one for each."
            )
        if name in table or name in SCORES:
            raise DataError(f"The table has a column {name!r} of its own: call the score something else.")
        table[name] = np.asarray(values, np.float32)
    return table


def sample_table(
    run: Run, epoch: int = -1, facts: pd.DataFrame | None = None, measures: Mapping[str, np.ndarray] | None = None
) -> pd.DataFrame:
    """A row per training sample as an epoch left it: labels, alpha, group and predictions.

    To the columns of `sample_facts` come current (label after the epoch), state (a key of `STATES`), alpha, rank (of
    alpha within the given class, 0 lowest, 1 highest), low (group), seen, predicted, p_max, p_given,
    doubt = P_max - P_given (left side of SCN, Eq. 5, from this epoch's prediction and the given label; a rule that
    averages over epochs looks at another one), loss (of the given label), alpha_change (since epoch 0). NaN where the
    epoch did not draw the sample.

    Args:
        run: a run with its ledger and history.
        epoch: counted from 0, or from the end.
        facts: `sample_facts` of this run, if they are at hand.
        measures: `sample_measures` of this epoch, if they are at hand.

    Raises:
        RunError: the run has no such epoch, or none at all.
    """
    facts = sample_facts(run) if facts is None else facts
    epoch, given = _whole_epoch(run, epoch), run.ledger.given.cpu().numpy()
    last = epoch == run.history.epoch - 1  # a person may have decided since: that is in `current`
    current = (run.ledger.current.cpu() if last else run.ledger.at(epoch)).numpy()
    states = state_codes(given, current, facts["true"].cat.codes.to_numpy() if "true" in facts else None)
    labels = {"current": pd.Categorical.from_codes(current, run.classes)}
    labels["state"] = pd.Categorical.from_codes(states, list(STATES))
    measures = sample_measures(run, epoch) if measures is None else measures
    return pd.DataFrame(dict(facts.items()) | labels | dict(measures), copy=False)


def sample_measures(run: Run, epoch: int) -> dict[str, np.ndarray]:
    """The columns of `sample_table` that are what the network said in an epoch: no later decision changes them."""
    epoch, given = _whole_epoch(run, epoch), run.ledger.given.cpu().numpy()
    arrays, probs = run.history.epoch_arrays(epoch), run.history.probs(epoch)
    alpha, seen = arrays["alpha"], np.isfinite(arrays["alpha"])
    guess, rows = probs.argmax(1), np.arange(len(given))
    p_max, p_given = probs[rows, guess], probs[rows, given]
    return {
        "predicted": pd.Categorical.from_codes(np.where(seen, guess, -1), run.classes),
        "alpha": alpha,
        "rank": rank_within(alpha, given),
        "low": arrays["low"],
        "seen": seen,
        "p_max": p_max,
        "p_given": p_given,
        "doubt": p_max - p_given,
        "loss": -np.log(np.maximum(p_given, np.finfo(np.float32).tiny)),  # weighted cross-entropy (Eq. 2)
        "alpha_change": alpha - run.history.epoch_arrays(0)["alpha"],
    }


def rank_within(alpha: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Share of the other samples of its class that have a lower alpha (half of those with the same one), float ``[N]``.

    NaN where there is no alpha, or no other sample.

    >>> rank_within(np.array([0.2, 0.9, 0.5, 0.7]), np.array([0, 0, 0, 1])).tolist()
    [0.0, 1.0, 0.5, nan]
    """
    alpha, classes = np.asarray(alpha), np.asarray(classes)
    ranks, known = np.full(len(alpha), np.nan), np.isfinite(alpha)
    for label in np.unique(classes):
        members = np.flatnonzero(known & (classes == label))
        if len(members) > 1:
            _, place, count = np.unique(alpha[members], return_inverse=True, return_counts=True)
            last = np.cumsum(count) - 1  # of those with the same alpha
            ranks[members] = (last - (count - 1) / 2)[place] / (len(members) - 1)
    return ranks


def scores_of(table: pd.DataFrame) -> dict[str, str]:
    """The columns that can be an axis or sort the faces, with their words.

    >>> scores_of(pd.DataFrame({"alpha": [0.5], "image": ["a.png"], "mine": [0.1]}))
    {'alpha': 'importance (alpha)', 'mine': 'mine'}
    """
    numbers = [name for name in table if table[name].dtype.kind == "f"]
    order = [name for name in SCORES if name in numbers] + [name for name in numbers if name not in SCORES]
    return {name: score_words(name) for name in order}


def score_words(name: str) -> str:
    """What a column is called on an axis."""
    return SCORES[name][0] if name in SCORES else name.replace("_", " ")


def rank_line(alpha: float, rank: float) -> str:
    """Importance and its rank within the class, as words below a face.

    >>> rank_line(0.81234, 0.5), rank_line(float("nan"), float("nan"))
    ('α 0.8123, rank 0.50', 'α: not seen')
    """
    return alpha_line(alpha) + (f", rank {rank:.2f}" if np.isfinite(rank) else "")


# -- which faces, in which order ----------------------------------------------------------------------------------


def chosen_samples(
    table: pd.DataFrame,
    given: str | None = None,
    kind: str | None = None,
    group: str | None = None,
    label: str | None = None,
    sort: str = "alpha",
    ascending: bool = True,
) -> np.ndarray:
    """Samples that pass all filters, int64 ``[k]``, sorted by a column; those without a number come last.

    Args:
        table: of `sample_table`.
        given: only this given label.
        kind: only this kind of uncertainty; ``'any'``: all but the certain ones.
        group: ``'high'``, ``'low'`` or ``'unseen'``.
        label: ``'changed'`` for all changes, or another key of `STATES`.
        sort: a column of numbers.
        ascending: lowest first.

    Raises:
        DataError: there is no such class, kind, group, state or column.

    >>> table = pd.DataFrame({"given": ["sad", "glad", "sad"], "alpha": [0.9, 0.1, 0.2]})
    >>> chosen_samples(table, given="sad").tolist(), chosen_samples(table, ascending=False).tolist()
    ([2, 0], [0, 2, 1])
    """
    keep = np.ones(len(table), dtype=bool)
    if given is not None:
        keep &= _is(table, "given", given)
    if kind is not None:
        keep &= ~_is(table, "uncertainty", "none") if kind == "any" else _is(table, "uncertainty", kind)
    if group is not None:
        keep &= _in_group(table, group)
    if label is not None:
        if label not in STATES:
            raise DataError(f"{label!r} says nothing of a label; there are: {', '.join(STATES)}.")
        keep &= (table["state"] != "unchanged").to_numpy() if label == "changed" else _is(table, "state", label)
    if sort not in table or table[sort].dtype.kind not in "fiu":
        raise DataError(f"{sort!r} is no column to sort by; there are: {', '.join(scores_of(table))}.")
    values, rows = table[sort].to_numpy(), np.flatnonzero(keep)
    return rows[np.argsort(values[rows] if ascending else -values[rows], kind="stable")]


def selected_first(order: np.ndarray, selected: Sequence[int]) -> np.ndarray:
    """An order with the selected samples in front; nothing else moves.

    >>> selected_first(np.array([5, 3, 8, 1]), [1, 3]).tolist()
    [3, 1, 5, 8]
    """
    chosen = np.isin(order, np.asarray(selected, dtype=np.int64))
    return np.concatenate([order[chosen], order[~chosen]])


def _is(table: pd.DataFrame, column: str, value: str) -> np.ndarray:
    if column not in table:
        raise DataError(f"This run does not know the {column} of its faces, so it cannot choose by it.")
    known = _known(table[column])
    if value not in known:
        raise DataError(f"{value!r} is no {column} of this run; there are: {', '.join(map(str, known))}.")
    return (table[column] == value).to_numpy()


def _known(column: pd.Series) -> list:
    return list(column.cat.categories) if isinstance(column.dtype, pd.CategoricalDtype) else list(column.unique())


def _in_group(table: pd.DataFrame, group: str) -> np.ndarray:
    if group not in GROUP_WORDS:
        raise DataError(f"{group!r} is no group; there are: {', '.join(GROUP_WORDS)}.")
    seen, low = table["seen"].to_numpy(bool), table["low"].to_numpy(bool)
    return {"high": seen & ~low, "low": seen & low, "unseen": ~seen}[group]


def state_keys(table: pd.DataFrame) -> list[str]:
    """What can have become of a label: with the truth cured, missed or harmed, without it changed.

    >>> state_keys(pd.DataFrame({"true": ["sad"]})), state_keys(pd.DataFrame())
    (['unchanged', 'cured', 'missed', 'harmed'], ['unchanged', 'changed'])
    """
    unknown = "true" not in table
    return [key for key in STATES if key == "unchanged" or (key == "changed") == unknown]


# -- the doctor -----------------------------------------------------------------------------------------------------


def doctor_words(run: Run, epoch: int = -1) -> str:
    """The alpha doctor's sentence as it was after an epoch (see `diagnose_alpha`); '' where the margin is not known."""
    epoch, scn = _whole_epoch(run, epoch), run.settings.get("scn", {})
    if not (scn.get("weight", True) or scn.get("rank", True)):
        return IGNORED
    rows = epoch_rows(run)
    began = _first_weighted(rows)
    if began is not None and epoch < began:
        return NOT_BEGUN.format(began)
    if scn.get("rank_margin") is None:
        return ""
    past = SCNHistory.restore(rows[: epoch + 1], [], run.history.n_samples, run.history.n_classes)
    return past.doctor(scn["rank_margin"]).sentence


def weighting_start(run: Run) -> int | None:
    """The first epoch that weighted the logits, or None."""
    return _first_weighted(epoch_rows(run))


def _first_weighted(rows: Sequence[Mapping]) -> int | None:
    return next((number for number, row in enumerate(rows) if row.get("weighting", True)), None)


def epoch_rows(run: Run) -> list[dict]:
    """The rows of the history; a switch that an epoch does not know is left out, for a table would call it NaN."""
    rows = run.history.frame().to_dict("records")
    return [{k: v for k, v in row.items() if k not in ("weighting", "relative") or v == v} for row in rows]


def _whole_epoch(run: Run, epoch: int) -> int:
    """An epoch counted from 0."""
    if run.history is None or not run.history.epoch:
        raise RunError(f"{run.folder.name} has no epoch yet, so nothing was measured: train it first.")
    epochs = run.history.epoch
    if not -epochs <= epoch < epochs:
        raise RunError(f"There is no epoch {epoch} in this run, which has {epochs} (0 to {epochs - 1}).")
    return int(epoch) % epochs
