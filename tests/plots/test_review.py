"""Fig. 3 of the paper: which faces, which labels and which alpha stand in which row."""

import numpy as np
import pytest

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.review import alphas_of, figure3, figure3_grid, figure3_png, samples_in, telling_changes
from scn_fastai.training.ledger import LabelLedger

NAMES = ["sad", "glad", "mad"]


def rows_of(figure, columns):
    """Captions of a figure by row."""
    text = next(trace.text for trace in figure.data if trace.name == "captions")
    return [list(text[i : i + columns]) for i in range(0, len(text), columns)]


def frames_of(figure):
    return [trace.name for trace in figure.data if trace.name not in ("faces", "captions")]


# ---- the picture ----


def test_each_row_has_its_label_and_its_alpha(faces):
    figure = figure3(faces[:3], [0, 1, 2], [1, 1, 0], [0, 1, 1], [0.25, 0.5, np.nan], [0.75, 1, 0.125], NAMES,
                     [0.9, 0.8, 0.7])  # fmt: skip
    assert rows_of(figure, 3) == [
        ["sad<br>α 0.9000", "glad<br>α 0.8000", "mad<br>α 0.7000"],
        ["glad<br>α 0.2500", "glad<br>α 0.5000", "sad<br>α: not seen"],
        ["sad<br>α 0.7500", "glad<br>α 1.0000", "glad<br>α 0.1250"],
    ]
    assert frames_of(figure) == ["label unchanged", "changed, now true", "changed, still wrong"]
    assert [a.text for a in figure.layout.annotations] == [
        "<b>true<br>label</b>", "<b>given label,<br>before</b>", "<b>label after<br>relabeling</b>"
    ]  # fmt: skip


def test_each_face_stands_in_three_rows_of_one_column_and_more_faces_go_on_below(faces):
    grid = figure3_grid(faces[:5], None, [0] * 5, [1] * 5, classes=NAMES, columns=2)
    place = np.reshape(grid.slots, (3, 5))  # row of the figure, face
    assert place.T.tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11], [12, 14, 16]]
    assert len(grid.row_titles) == 9 and grid.frames == [None] * 10 + ["changed"] * 5
    assert (grid.images.reshape(3, 5, 16, 16) == faces[:5]).all()


def test_without_a_truth_the_given_label_is_the_original_one(faces):
    figure = figure3(faces[:1], None, ["glad"], ["sad"])
    assert rows_of(figure, 1) == [["glad"], ["glad"], ["sad"]] and frames_of(figure) == ["label changed, truth unknown"]
    assert figure.layout.annotations[0].text == "<b>original<br>label</b>"


def test_a_hidden_truth_is_nowhere_in_the_figure(faces):
    figure = figure3(faces[:2], ["mad", "mad"], ["glad", "glad"], ["mad", "sad"], hidden=True)
    assert rows_of(figure, 2)[0] == ["?", "?"] and frames_of(figure) == ["label changed, truth unknown"]
    assert figure.layout.annotations[0].text == "<b>true<br>label</b>"


def test_a_missing_image_says_so(faces):
    figure = figure3([None, faces[1]], [0, 1], [0, 1], [0, 1], classes=["高兴", "悲伤"])
    assert rows_of(figure, 2)[0] == ["高兴<br>(image missing)", "悲伤"]
    assert figure3_png([None, faces[1]], [0, 1], [0, 1], [0, 1], classes=["高兴", "悲伤"])[:4] == b"\x89PNG"


def test_eight_faces_fit_on_a_page(faces):
    assert figure3(faces[:8], None, ["happiness"] * 8, ["sadness"] * 8, [0.5] * 8, [0.5] * 8).layout.width <= 830


def test_no_face_is_a_sentence():
    assert "no face" in figure3([], [], [], []).layout.annotations[0].text and figure3_png([], [], [], [])


@pytest.mark.parametrize("name", ["true", "given", "current", "alpha_before", "alpha_after", "alpha_original"])
def test_lengths_that_do_not_fit_are_named(name, faces):
    values = {"true": [0, 0], "given": [0, 0], "current": [0, 0], "classes": NAMES} | {name: [0]}
    with pytest.raises(DataError, match=f"There are 2 faces but 1 values in {name}: give one for each"):
        figure3(faces[:2], **values)


# ---- alpha of a run ----


def test_alpha_before_is_of_the_epoch_before_the_first_that_relabels(new_run):
    run = new_run(epochs=5, unseen=2)  # its last two relabel
    found = alphas_of(run)
    np.testing.assert_array_equal(found.before, run.history.alpha[2])
    np.testing.assert_array_equal(found.after, run.history.alpha[4])
    assert (
        found.original is None
        and found.words == "Alpha before relabeling is that of epoch 2, after it that of epoch 4."
    )
    run.history._rows = [row | {"weighting": row["epoch"] >= 4} for row in run.history._rows]
    assert alphas_of(run).words.endswith("not trained yet before relabeling, so the two rows cannot be compared.")


def test_a_run_that_never_relabeled_and_one_without_epochs(new_run):
    plain = alphas_of(new_run(relabels=False))
    assert plain.before is None and plain.after is not None and "No epoch of this run changed labels" in plain.words
    assert alphas_of(new_run(epochs=0))[:3] == (None, None, None)


def test_a_second_run_gives_the_first_row(new_run, tmp_path):
    run, original = new_run(), new_run(epochs=1, wrong=0)
    np.testing.assert_array_equal(alphas_of(run, original).original, original.history.alpha[0])
    with pytest.raises(RunError, match="default-seed0 was not trained on the faces of default-seed0"):
        alphas_of(run, new_run(n=59))


# ---- which faces ----


def a_run_with_changes(new_run, given, current, doubt):
    """A run whose true labels are 0, 1, 2, 0, 1, ...: given and current labels and the rule's doubt as told."""
    import torch

    from scn_fastai.core import Relabel

    run = new_run(n=len(given), relabels=False)
    run.ledger = LabelLedger(given, run.classes)
    given, current, doubt = torch.tensor(given), torch.tensor(current), torch.tensor(doubt)
    run.ledger.record(torch.arange(len(given)), Relabel(given != current, current, doubt, 0 * doubt), doubt, doubt > 2)
    run.ledger.flush(2)
    return run


def test_the_telling_ones_are_a_mix_and_the_clearest_of_each_kind(new_run):
    truth = np.arange(24) % 3
    kind = np.array(["cured"] * 9 + ["missed"] * 6 + ["harmed"] * 6 + ["unchanged"] * 3)
    given = np.where((kind == "cured") | (kind == "missed"), (truth + 1) % 3, truth)
    current = np.where(kind == "missed", (truth + 2) % 3, np.where(kind == "harmed", (truth + 1) % 3, truth))
    run = a_run_with_changes(new_run, given.tolist(), current.tolist(), np.linspace(0.1, 0.9, 24).tolist())
    chosen = telling_changes(run, 8)
    assert kind[chosen].tolist() == ["cured"] * 4 + ["missed"] * 2 + ["harmed"] * 2
    assert chosen[:4] == [8, 7, 6, 5] and chosen[4:] == [14, 13, 20, 19]
    assert telling_changes(run, 8) == chosen and telling_changes(run, 0) == []
    assert sorted(telling_changes(run, 100)) == list(range(21)), "who was not changed tells nothing"


def test_every_new_label_has_its_turn(new_run):
    run = a_run_with_changes(new_run, [1, 2, 0, 1, 2, 0], [0, 0, 0, 0, 0, 2], [0.9, 0.8, 0.5, 0.7, 0.6, 0.2])
    run.samples = run.samples.drop(columns="true_label")
    assert telling_changes(run, 2) == [0, 5], "the clearest change to each of the two labels"
    assert telling_changes(run, 5) == [0, 5, 1, 3, 4]


def test_when_there_are_too_few_of_a_kind_others_take_their_place(new_run):
    run = a_run_with_changes(new_run, [1, 2, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert telling_changes(run, 4) == [0, 1, 2, 5] and telling_changes(run, 5) == [0, 1, 2, 3, 5]  # 5 is harmed
    run.ledger.undo([5])
    assert telling_changes(run, 4) == [0, 1, 2, 3]
    assert telling_changes(new_run(relabels=False)) == []
    run.ledger = None
    with pytest.raises(RunError, match="has no labels yet"):
        telling_changes(run)


@pytest.mark.parametrize(("text", "found"), [("", []), ("3", [3]), ("3, 1  4,,3", [3, 1, 4])])
def test_sample_numbers_are_read(text, found):
    assert samples_in(text, 5) == found


@pytest.mark.parametrize(("text", "words"), [("5", "'5' is no sample: write numbers from 0 to 4"),
                                             ("1; 2", "'1;' is no"), ("-1", "'-1'"), ("1.5", "'1.5'"),
                                             ("1 " * 65, "at most 64 faces, got 65")])  # fmt: skip
def test_what_is_no_sample_is_named(text, words):
    with pytest.raises(DataError, match=words):
        samples_in(text, 5)
