"""RelabelReview without a browser: what its controls do to the ledger, what it shows, hides, writes and knows again."""

import base64

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback import progress  # noqa: F401  (gives Learner its no_bar)
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from torch import nn

from scn_fastai import SCNCallback
from scn_fastai.core import Relabel
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.run import Run
from scn_fastai.widgets.relabel_review import RelabelReview

CLASSES = ["sad", "glad", "mad"]
TRUTH = [2, 2, 1, 0, 0, 2]


def shades(n):
    return np.repeat(np.arange(n, dtype=np.uint8) * 4, 64).reshape(n, 8, 8)


def proposing(ledger, label=(1, 2, 1, 0, 1, 2), p_max=(0.5, 0.9, 0.4, 0.8, 0.6, 0.4), epoch=3):
    """A rule's word on six samples; in the first epoch the queue is 1, 3, 4, 0."""
    label, p_max = torch.tensor(label), torch.tensor(p_max)
    change = Relabel(label != ledger.given, label, p_max, 0 * p_max + 0.1)
    ledger.propose(torch.arange(6), change, p_max / 2, p_max < 0.7)
    ledger.flush(epoch)
    return ledger


@pytest.fixture
def ledger():
    return proposing(LabelLedger([0, 0, 1, 1, 2, 2], CLASSES))


@pytest.fixture
def review(ledger):
    return RelabelReview.of_ledger(ledger, shades(6), TRUTH)


def captions(figure):
    return next(list(trace.text) for trace in figure.data if trace.name == "captions")


def everything_shown(review):
    """All words that a browser gets."""
    boxes = [review._progress.value, review._face.value, review._words.value, str(review.grid._first["faces"])]
    return " ".join(boxes) + str(review.figure().to_dict()) + str(review.grid._legend)


# ---- the queue ----


def test_the_queue_is_shown_with_the_first_face_in_question(review):
    assert repr(review) == "RelabelReview(4 proposals of 6 faces, 0 decided)"
    assert review.grid.order == [1, 3, 4, 0] and review.grid.focused == 1
    assert "→ mad" in review._face.value and "P_max 0.90, P_given 0.10" in review._face.value
    assert review.grid.caption(1) == "sad\nproposed: mad\nα 0.4500"
    assert review._progress.value == "0 of 4 decided, 0 labels changed"


def test_decisions_reach_the_ledger_and_the_next_face_comes(review, ledger):
    review.accept()
    assert review.grid.focused == 3 and ledger.current[1] == 2
    review.reject()
    assert review.grid.focused == 4 and ledger.current[3] == 1
    review.choose("sad")
    assert review.grid.focused == 0 and ledger.current[4] == 0
    assert review._progress.value == "3 of 4 decided, 2 labels changed"
    assert ledger.frame()["by"].tolist() == ["person"] * 3 and ledger.proposals["sample"].tolist() == [0]
    assert review.decisions[["sample", "old", "proposed", "label", "action"]].values.tolist() == [
        [1, "sad", "mad", "mad", "accept"], [3, "glad", "sad", "glad", "reject"], [4, "mad", "glad", "sad", "choose"]
    ]  # fmt: skip
    review.accept()
    assert review.grid.focused == 0 and "4 of 4 decided" in review._progress.value  # the last stays in sight
    assert "✓ accepted: glad" in review._face.value


def test_undo_goes_back_to_the_face_and_skip_goes_on(review, ledger):
    review.skip()
    assert review.grid.focused == 3
    review.accept()
    review.undo()
    assert review.grid.focused == 3 and ledger.current.equal(ledger.given) and len(ledger.proposals) == 4
    with pytest.raises(DataError, match="nothing to take back"):
        review.undo()


def test_keys_of_the_grid_do_the_same_as_the_buttons(review, ledger):
    review.grid.selected = [1]
    review.grid._handle_custom_msg({"kind": "accept", "samples": [1]}, [])
    assert ledger.current[1] == 2 and review.grid.focused == 3 and review.grid.selected == []
    review.grid.selected = [3, 4]
    review.grid._handle_custom_msg({"kind": "choose", "samples": [3, 4], "label": 2}, [])
    assert ledger.current[[3, 4]].tolist() == [2, 2] and review.grid.focused == 0
    review.grid._handle_custom_msg({"kind": "undo"}, [])
    assert ledger.current[[3, 4]].tolist() == [1, 2] and review.grid.focused in (3, 4)


def test_filters_hide_faces_and_lose_no_decision(review, ledger):
    review.accept()
    review.undecided.value = True
    assert review.grid.order == [3, 4, 0]
    review.accept()
    assert review.grid.order == [4, 0] and review.grid.focused == 4
    review.label.value = "mad"
    assert review.grid.order == [4]
    review.reject()
    assert review.grid.order == [] and "No face is left here" in review._face.value
    with pytest.raises(DataError, match="no face to decide on"):
        review.accept()
    review.undecided.value, review.label.value = False, "any"
    assert review.grid.order == [1, 3, 4, 0] and repr(review).endswith("3 decided)")
    assert review.decisions["action"].tolist() == ["accept", "accept", "reject"] and len(ledger) == 3
    review.undo()
    assert len(review.decisions) == 2


def test_without_proposals_the_rules_changes_are_confirmed_or_rejected(new_run, faces):
    run = new_run()
    given, changed = run.ledger.given.clone(), run.ledger.current.clone()
    review = RelabelReview(run, faces)
    first, second, third = review.grid.order[:3]
    assert set(review.grid.order) == set((given != changed).nonzero()[:, 0].tolist())
    review.accept(), review.reject(), review.choose(0)
    assert run.ledger.current[[first, second, third]].tolist() == [int(changed[first]), int(given[second]), 0]
    review.undo(), review.undo(), review.undo()
    assert run.ledger.current.equal(changed) and not run.ledger.held.any()
    rows = run.ledger.frame()
    doubt = rows[rows["by"] == "rule"].groupby("sample").last().eval("p_max - p_given")
    assert doubt[review.grid.order].is_monotonic_decreasing


# ---- the truth ----


def test_the_truth_is_hidden_until_it_is_asked_for(ledger):
    review = RelabelReview.of_ledger(ledger, shades(6), np.array(CLASSES)[TRUTH])
    review.accept()
    for tab in (0, 1):
        review.tab.selected_index = tab
        words = everything_shown(review)
        assert "true" not in words.replace("true<br>label", "").replace("true labels are", "").replace(": True", "")
        assert "now true" not in words and "you:" not in words and "true" not in review.decisions
    review.truth.value = True
    assert "you: 1 of 1 right; the rule: 1 of 1" in review._progress.value
    assert "true label: sad" in review._face.value and "true: mad" in review.grid.caption(1)
    assert [key for key, *_ in review.grid._legend] == ["unchanged", "cured"]
    assert review.decisions[["true", "right"]].values.tolist() == [["mad", True]]
    review.truth.value = False
    assert "true" not in review._face.value and "true" not in review.grid.caption(1)


def test_votes_that_would_tell_the_truth_wait_for_it(new_run, faces):
    for truth in (True, False):
        run = new_run(truth=truth)
        for code, name in enumerate(run.classes):
            run.samples[f"vote_{name}"] = [0.1, 0.2, 0.7][code]
        review = RelabelReview(run, faces)
        assert ("votes of people" in review._face.value) == (not truth)
        assert review.truth.disabled == (not truth)
        if truth:
            review.truth.value = True
            assert "votes of people" in review._face.value


# ---- Fig. 3 ----


def test_fig_3_shows_the_chosen_faces_of_a_run(new_run, faces):
    run = new_run()
    review = RelabelReview(run, faces)
    review.truth.value = True
    review.faces = [4, 9]
    names, alpha = run.classes, run.history.alpha
    true, given, now = (labels[[4, 9]].tolist() for labels in (run.truth, run.ledger.given, run.ledger.current))
    expected = [names[true[0]], names[true[1]], f"{names[given[0]]}<br>α {alpha[0, 4]:.4f}",
                f"{names[given[1]]}<br>α {alpha[0, 9]:.4f}", f"{names[now[0]]}<br>α {alpha[2, 4]:.4f}",
                f"{names[now[1]]}<br>α {alpha[2, 9]:.4f}"]  # fmt: skip
    assert captions(review.figure()) == expected == captions(review._plot)
    assert "epoch 0, after it that of epoch 2" in review._words.value
    review.numbers.value = "4, 999"
    assert "'999' is no sample" in review._message.value and review.faces == [4, 9] and review.png()
    review.grid.selected = [7, 2]
    review._choose_selected()
    assert review.faces == [7, 2] and review.numbers.value == "7, 2" and review._message.value == ""
    review.numbers.value = ""
    assert "No label differs" in review.figure().layout.annotations[0].text and review.png()[:4] == b"\x89PNG"


def test_a_second_run_gives_the_first_row(new_run, faces):
    run, original = new_run(), new_run(epochs=2, wrong=0)
    review = RelabelReview(run, faces, original)
    review.truth.value, review.faces = True, [5]
    assert captions(review.figure())[0].endswith(f"α {original.history.alpha[1, 5]:.4f}")


def test_a_decision_is_in_fig_3(new_run, faces):
    review = RelabelReview(new_run(), faces)
    sample = review.grid.focused
    review.faces = [sample]
    before = captions(review._plot)[2]
    review.tab.selected_index = 1
    review.reject()
    review.tab.selected_index = 0
    assert captions(review._plot)[2] != before


# ---- again, and on disk ----


@pytest.mark.parametrize("proposals", [True, False])
def test_a_new_review_knows_what_was_decided_and_can_change_it(proposals, ledger, new_run, faces):
    if not proposals:
        ledger = new_run().ledger
    images = shades(len(ledger.given))
    one = RelabelReview.of_ledger(ledger, images)
    first, second, third = one.grid.order[:3]
    labels = ledger.current.clone()
    one.accept(), one.reject(), one.choose(0)
    table, decided = one.decisions, ledger.current.clone()
    two = RelabelReview.of_ledger(ledger, images)
    assert two.decisions.equals(table) and repr(two) == repr(one) and two.grid.focused == one.grid.order[3]
    two.grid.reject(first)
    two.grid.accept(second)
    old, proposed = two.queue.table.iloc[0]["old"], two.queue.table.iloc[1]["proposed"]
    assert ledger.current[[first, second]].tolist() == [old, proposed]
    two.undo(), two.undo()
    assert ledger.current.equal(decided)
    two.undo(), two.undo(), two.undo()
    assert ledger.current.equal(labels) and repr(two).endswith("0 decided)") and not ledger.held.any()


def test_refresh_reads_the_next_epoch_and_decisions_made_elsewhere(review, ledger):
    review.accept()
    ledger.override(4, "glad")
    review.truth.value = True
    proposing(ledger, (0, 2, 1, 0, 1, 1), (0.5, 0.9, 0.95, 0.8, 0.6, 0.97), epoch=4)
    review.refresh()
    assert review.grid.order == [5, 1, 3, 4] and review.decisions["sample"].tolist() == [1, 4]
    assert review.grid.focused == 5 and "epoch 4" in review._face.value and "true label" in review._face.value
    review.reject()
    assert ledger.current[5] == 2 and review.grid.focused == 3


def test_labels_are_exported(review, ledger, tmp_path, new_run, faces):
    review.accept()
    table = pd.read_csv(review.export(tmp_path / "mine.csv"))
    assert table["label"].tolist() == ["sad", "mad", "glad", "glad", "mad", "mad"] and table["path"].tolist()[2] == 2
    review.path.value = str(tmp_path / "nowhere" / "mine.csv")
    with pytest.raises(DataError, match="mine.csv cannot be written .+: choose another place"):
        review.export()
    review.path.value = " "
    with pytest.raises(DataError, match="Name the file"):
        review.export()
    named = RelabelReview(new_run(), faces)
    assert pd.read_csv(named.export(tmp_path / "named.csv"))["path"].tolist()[:2] == ["0.png", "1.png"]


def test_a_run_on_disk_gets_the_decisions_only_when_saved(new_run, faces):
    made = new_run()
    made.save({"weight": torch.zeros(1)})
    run = Run.load(made.folder)
    review = RelabelReview(run, faces)
    sample = review.grid.focused
    review.reject()
    assert not Run.load(run.folder).ledger.held.any()
    assert review.save() == run.folder / "ledger.parquet"
    again = Run.load(run.folder)
    assert np.flatnonzero(again.ledger.held).tolist() == [sample]
    assert RelabelReview(again, faces).decisions.equals(review.decisions)
    again.ledger.override(3, 1)
    again.save_labels()
    review.accept()
    with pytest.raises(RunError, match="holds changes that this ledger does not know"):
        review.save()


def test_what_cannot_be_done_is_a_sentence_beside_the_buttons(review):
    with pytest.raises(RunError, match="no run to save to"):
        review.save()
    review._press(review.undo)()
    assert review._message.value == "<b>There is nothing to take back.</b>"
    review.choose("glad")
    review._press(review.skip)()
    assert review._message.value == ""


def a_learner(folder, points, given):
    """A Learner on points that SCN proposes changes for, with a run on disk; the widget never sees it."""
    pairs = list(zip(points, torch.tensor(given), strict=True))
    dls = DataLoaders.from_dsets(pairs, pairs[:20], bs=40, device="cpu", num_workers=0)
    scn = SCNCallback(run=folder, relabel="propose", relabel_from=1, relabel_margin=0.0, budget=0.2, budget_ramp=1)
    return Learner(dls, nn.Linear(3, 3), CrossEntropyLossFlat(), cbs=scn)


def test_a_training_is_reviewed_between_its_epochs_and_after_a_resume(tmp_path):
    torch.manual_seed(0)
    true = np.arange(120) % 3
    given = np.where(np.arange(120) < 30, (true + 1) % 3, true)
    points = torch.eye(3)[true] * 3 + torch.randn(120, 3) / 2
    learn = a_learner(tmp_path / "run", points, given)
    with learn.no_bar(), learn.no_logging():
        learn.fit(4, 0.1)
    review = RelabelReview(learn.scn.saved, shades(120))  # the run's ledger is the live one
    assert not review.queue.applied and len(review.grid.order) > 10
    first, second = review.grid.order[:2]
    review.accept(), review.reject()
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.1)  # saves the run, decisions and all
    review.refresh()
    assert set(review.decisions["sample"]) == {first, second} and review.grid.focused not in (first, second)
    assert learn.scn.ledger.held.nonzero()[0].tolist() == sorted((first, second))

    from_disk = RelabelReview(Run.load(tmp_path / "run"), shades(120))
    assert from_disk.decisions.equals(review.decisions)
    third = from_disk.grid.focused
    from_disk.accept()
    from_disk.save()
    resumed = a_learner(tmp_path / "run", points, given)
    start = Run.load(tmp_path / "run").resume(resumed)
    with resumed.no_bar(), resumed.no_logging():
        resumed.fit(start + 1, 0.1, start_epoch=start)
    ledger = resumed.scn.ledger
    assert resumed.scn.history.epoch == 6 and ledger.held.nonzero()[0].tolist() == sorted((first, second, third))
    wanted = from_disk.decisions.set_index("sample")["label"]
    assert all(ledger.classes[ledger.current[i]] == wanted[i] for i in (first, second, third))


# ---- odd input ----


def test_nothing_to_review(new_run, faces):
    review = RelabelReview(new_run(relabels=False), faces)
    assert repr(review) == "RelabelReview(0 changes of 60 faces, 0 decided)" and review.grid.focused == -1
    for tab in (0, 1):
        review.tab.selected_index = tab
        assert review.png()[:4] == b"\x89PNG" and review.figure().layout.annotations[0].text
    assert "nothing to review" in review._face.value and review.decisions.empty


def test_runs_of_one_epoch_none_and_faces_that_are_missing(new_run, faces):
    for run in (new_run(epochs=1), new_run(epochs=0), new_run(unseen=60)):
        assert RelabelReview(run, faces).png()[:4] == b"\x89PNG"
    review = RelabelReview(new_run(), [None] * 60)
    for tab in (0, 1):
        review.tab.selected_index = tab
        assert review.png()[:4] == b"\x89PNG" and review.figure()
    chinese = RelabelReview(new_run(classes=["生气", "高兴", "害怕"]), faces)
    chinese.tab.selected_index = 1
    assert any(name in chinese._face.value for name in ("生气", "高兴", "害怕")) and chinese.png()[:4] == b"\x89PNG"


def test_bad_input_is_a_sentence(new_run, faces, ledger):
    with pytest.raises(DataError, match="There are 59 images but 60"):
        RelabelReview(new_run(), faces[:59])
    with pytest.raises(DataError, match="There are 5 images but 6 samples in the ledger"):
        RelabelReview.of_ledger(ledger, shades(5))
    with pytest.raises(DataError, match="6 faces but 5 for truth"):
        RelabelReview.of_ledger(ledger, shades(6), TRUTH[:5])
    with pytest.raises(DataError, match="names no class for face 1"):
        RelabelReview.of_ledger(ledger, shades(6), ["sad", "", "sad", "sad", "sad", "sad"])
    bare = new_run()
    bare.ledger = None
    with pytest.raises(RunError, match="no labels yet"):
        RelabelReview(bare, faces)


def test_words_and_a_picture_stand_in_for_the_widget(review):
    data = review._repr_mimebundle_()
    assert data["text/plain"] == repr(review) and base64.b64decode(data["image/png"]) == review.png()
    review.tab.selected_index = 0
    assert base64.b64decode(review._repr_mimebundle_()["image/png"]) == review.png()
