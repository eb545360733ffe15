"""The table of a run's faces: its numbers against loops, filters, order, and what the doctor says of an epoch."""

import numpy as np
import pandas as pd
import pytest

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.sample_table import (
    chosen_samples,
    doctor_words,
    sample_facts,
    sample_table,
    scores_of,
    selected_first,
    state_keys,
    weighting_start,
)


def set_row(run, epoch, **figures):
    """Change what the history says of an epoch."""
    run.history._rows[epoch] |= figures


# ---- numbers ----


def test_every_number_is_that_of_a_loop(new_run):
    run = new_run(unseen=2)
    set_row(run, 1, relative=True)
    table, arrays = sample_table(run, 1), run.history.epoch_arrays(1)
    mean, first = run.history.frame()["alpha_mean"][1], run.history.epoch_arrays(0)["alpha"]
    labels = run.ledger.at(1)
    for row in table[:58].itertuples():
        i, given = row.sample, int(run.ledger.given[row.sample])
        z = arrays["logits"][i].astype(float) * arrays["alpha"][i] / mean
        probs = np.exp(z) / np.exp(z).sum()
        assert row.alpha == arrays["alpha"][i] and row.low == arrays["low"][i] and row.seen
        assert row.p_max == pytest.approx(probs.max(), abs=1e-5)
        assert row.p_given == pytest.approx(probs[given], abs=1e-5)
        assert row.doubt == pytest.approx(probs.max() - probs[given], abs=1e-5)
        assert row.loss == pytest.approx(-np.log(probs[given]), abs=1e-4)
        assert row.predicted == run.classes[probs.argmax()] and row.given == run.classes[given]
        assert row.current == run.classes[labels[i]] and row.alpha_change == pytest.approx(row.alpha - first[i])
        mates = [j for j in range(58) if run.ledger.given[j] == given and j != i]
        assert row.rank == pytest.approx(np.mean([arrays["alpha"][j] < row.alpha for j in mates]))
    assert table["loss"][:58].to_numpy() == pytest.approx(run.history.loss(run.ledger.given, 1)[:58], abs=1e-4)
    unseen = table.iloc[58:]
    assert not unseen["seen"].any() and unseen[["alpha", "rank", "p_max", "doubt", "loss"]].isna().all(axis=None)
    assert unseen["predicted"].isna().all()


def test_states_follow_the_epoch_and_a_person(new_run):
    run = new_run()
    assert (sample_table(run, 0)["state"] == "unchanged").all()
    changed = np.flatnonzero((run.ledger.given != run.ledger.current).numpy())
    table = sample_table(run)
    assert np.flatnonzero(table["state"] != "unchanged").tolist() == changed.tolist()
    right = run.ledger.current == run.truth
    for i in changed:
        was_right = run.ledger.given[i] == run.truth[i]
        assert table["state"][i] == ("cured" if right[i] else "harmed" if was_right else "missed")
    run.ledger.override(int(changed[0]), int(run.ledger.given[changed[0]]))
    assert sample_table(run)["state"][changed[0]] == "unchanged"
    assert sample_table(run, -3).equals(sample_table(run, 0))


def test_what_a_run_does_not_know_is_not_there(new_run):
    bare = sample_table(new_run(truth=False))
    assert "true" not in bare and "uncertainty" not in bare and "level" not in bare
    assert set(bare["state"]) == {"unchanged", "changed"} and state_keys(bare) == ["unchanged", "changed"]
    assert "level" not in scores_of(bare) and "sample" not in scores_of(bare)


def test_scores_of_others_become_columns(run):
    mine = np.linspace(0, 1, 60)
    table = sample_table(run, facts=sample_facts(run, {"margin": mine}))
    assert scores_of(table)["margin"] == "margin" and chosen_samples(table, sort="margin", ascending=False)[0] == 59
    for scores, words in (({"margin": mine[:3]}, "60 training samples but 3 values of margin"),
                          ({"alpha": mine}, "a column 'alpha' of its own")):  # fmt: skip
        with pytest.raises(DataError, match=words):
            sample_facts(run, scores)


def test_classes_in_chinese_and_one_face_in_a_class(new_run):
    run = new_run(n=4, classes=["高兴", "悲伤", "生气"], wrong=0.0)
    table = sample_table(run)
    assert table["given"].tolist() == ["高兴", "悲伤", "生气", "高兴"]
    assert np.isnan(table["rank"][1]) and sorted(table["rank"][[0, 3]]) == [0.0, 1.0]


# ---- which faces ----


def made_table():
    return pd.DataFrame({
        "sample": range(6), "given": list("aababb"), "uncertainty": ["none", "blur", "dark", "none", "blur", "none"],
        "seen": [True] * 5 + [False], "low": [True, False, True, False, False, False],
        "state": ["unchanged", "cured", "harmed", "unchanged", "missed", "unchanged"],
        "alpha": [0.5, 0.2, 0.9, 0.2, 0.4, np.nan],
    })  # fmt: skip


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ({}, [1, 3, 4, 0, 2, 5]),
        ({"ascending": False}, [2, 0, 4, 1, 3, 5]),
        ({"given": "b"}, [4, 2, 5]),
        ({"kind": "blur"}, [1, 4]),
        ({"kind": "any"}, [1, 4, 2]),
        ({"kind": "none"}, [3, 0, 5]),
        ({"group": "low"}, [0, 2]),
        ({"group": "high"}, [1, 3, 4]),
        ({"group": "unseen"}, [5]),
        ({"label": "changed"}, [1, 4, 2]),
        ({"label": "harmed"}, [2]),
        ({"given": "a", "label": "unchanged", "group": "high"}, [3]),
        ({"given": "a", "kind": "dark"}, []),
        ({"sort": "sample", "ascending": False}, [5, 4, 3, 2, 1, 0]),
    ],
)
def test_filters_and_order(options, samples):
    table = made_table()
    table.loc[2, "given"] = "b"
    table.loc[3, "given"] = "a"
    assert chosen_samples(table, **options).tolist() == samples


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"given": "c"}, "'c' is no given of this run; there are: a, b"),
        ({"kind": "fog"}, "'fog' is no uncertainty"),
        ({"group": "middle"}, "'middle' is no group; there are: high, low, unseen"),
        ({"label": "odd"}, "'odd' says nothing of a label"),
        ({"sort": "given"}, "'given' is no column to sort by; there are: alpha"),
        ({"sort": "loss"}, "'loss' is no column to sort by"),
    ],
)
def test_a_choice_that_cannot_be_made_is_a_sentence(options, sentence):
    with pytest.raises(DataError, match=sentence):
        chosen_samples(made_table(), **options)


def test_a_kind_that_is_not_known_is_a_sentence(run):
    with pytest.raises(DataError, match="does not know the uncertainty"):
        chosen_samples(sample_table(run), kind="blur")


def test_selected_faces_come_first_and_nothing_else_moves():
    assert selected_first(np.array([4, 2, 7, 1, 0]), [0, 7, 99]).tolist() == [7, 0, 4, 2, 1]
    assert selected_first(np.array([4, 2]), []).tolist() == [4, 2]


# ---- epochs ----


def test_an_epoch_that_is_not_there(new_run):
    with pytest.raises(RunError, match="no epoch 3 in this run, which has 3"):
        sample_table(new_run(), 3)
    with pytest.raises(RunError, match="has no epoch yet"):
        sample_table(new_run(epochs=0))
    untrained = new_run()
    untrained.ledger = None
    with pytest.raises(RunError, match="has no labels yet"):
        sample_facts(untrained)
    assert len(sample_table(new_run(epochs=1))) == 60


def test_the_doctor_speaks_of_the_epoch_that_is_shown(new_run):
    run = new_run(epochs=4)
    for epoch in range(4):
        set_row(run, epoch, weighting=epoch >= 2, alpha_mean=0.995 if epoch == 3 else 0.7)
    assert weighting_start(run) == 2
    assert doctor_words(run, 1).startswith("Weighting begins in epoch 2")
    assert doctor_words(run, 2).startswith("Alpha is in working order: mean 0.70")
    assert doctor_words(run, -1).startswith("Alpha is saturated") == run.history.doctor(0.15).sentence.startswith(
        "Alpha is saturated"
    )
    assert doctor_words(run, 3) == run.history.doctor(0.15).sentence


def test_the_doctor_where_alpha_was_never_trained(new_run):
    run = new_run()
    for epoch in range(3):
        set_row(run, epoch, weighting=False)
    assert doctor_words(run) == run.history.doctor(0.15).sentence and "has not begun" in doctor_words(run)
    run.settings["scn"] |= {"rank": False, "weight": False}
    assert "ignores it" in doctor_words(run)
    run.settings = {}
    set_row(run, 2, weighting=True)
    assert doctor_words(run) == ""
