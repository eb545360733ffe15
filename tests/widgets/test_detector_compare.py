"""DetectorCompare driven from Python: which faces its controls show, and what goes wrong."""

import base64

import numpy as np
import pytest

from scn_fastai.detect.detectors import Evidence
from scn_fastai.detect.dynamics import aum, loss
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.widgets.detector_compare import DetectorCompare


@pytest.fixture
def compare(new_run, faces):
    return DetectorCompare(new_run(), faces)


def ranks(score):
    return {i: sum(value <= score[i] for value in score) / len(score) for i in range(len(score))}


def test_it_begins_where_two_detectors_disagree_most(compare):
    assert repr(compare) == "DetectorCompare(60 faces, aum against alpha, 60 shown)"
    first, second = ranks(compare.scores["aum"]), ranks(compare.scores["alpha"])
    gaps = [abs(first[i] - second[i]) for i in compare.chosen]
    assert gaps == sorted(gaps, reverse=True)
    face = compare.chosen[0]
    assert compare.grid.caption(face).split("\n")[-2:] == [
        f"aum {100 * first[face]:.0f} %",
        f"alpha {100 * second[face]:.0f} %",
    ]


def test_each_group_shows_its_faces_the_clearest_first(compare):
    compare.share.value = 20
    aums, alphas = ranks(compare.scores["aum"]), ranks(compare.scores["alpha"])
    high = {
        name: {i for i, r in found.items() if r > 0.8 + 1e-9} for name, found in (("first", aums), ("second", alphas))
    }
    expected = {"both": high["first"] & high["second"], "first": high["first"] - high["second"],
                "second": high["second"] - high["first"]}  # fmt: skip
    expected["neither"] = set(range(60)) - high["first"] - high["second"]
    for name, samples in expected.items():
        compare.show.value = name
        assert set(compare.chosen) == samples, name
        if name == "first":
            gaps = [aums[i] - alphas[i] for i in compare.chosen]
            assert gaps == sorted(gaps, reverse=True)
    wrong = (compare.run.ledger.given != compare.run.truth).numpy()
    hits = sum(wrong[i] for i in expected["first"])
    assert f"{len(expected['first'])} faces by aum alone ({hits} wrong)" in compare.words.value


def test_detectors_change_picture_and_faces(compare):
    run = compare.run
    compare.first.value, compare.second.value = "loss", "aum"
    figure, given = compare.figure(), run.ledger.given.numpy()
    titles = [axis.title.text for axis in (compare.plot.layout.xaxis, compare.plot.layout.yaxis)]
    assert [title.split(" (")[0] for title in titles] == ["rank by loss", "rank by aum"]
    top = int(np.argmax(loss(run.history, given)))
    assert {s: x for t in figure.data for s, x in zip(t.customdata, t.x, strict=True)}[top] == 1
    compare.show.value = "both"
    assert compare.chosen[0] in (top, int(np.argmax(aum(run.history, given))))


def test_a_lasso_shows_its_faces_and_letting_go_the_group(compare):
    before = compare.chosen
    picked = [int(compare.plot.data[1].customdata[0]), int(compare.plot.data[0].customdata[3])]
    compare.plot._picked({1: [0], 0: [3]})
    assert set(compare.chosen) == set(picked)
    compare.plot._picked({})
    assert compare.chosen == before
    compare.pick([5])
    assert compare.chosen == [5]
    compare.show.value = "both"
    assert compare.chosen != [5]
    with pytest.raises(DataError, match="no sample 60"):
        compare.pick([60])


def test_more_evidence_and_own_scores_can_be_compared(new_run, faces):
    run = new_run()
    evidence = Evidence.of_run(run, measured={"metacleaner": np.arange(60.0)})
    widget = DetectorCompare(run, faces, evidence, "metacleaner", "mine", {"mine": -np.arange(60.0)})
    assert repr(widget).startswith("DetectorCompare(60 faces, metacleaner against mine")
    assert "knn needs features" in widget.problems["knn"]
    np.testing.assert_array_equal(widget.scores["mine"], -np.arange(60.0))


def test_without_truth_and_with_unseen_faces(new_run, faces):
    widget = DetectorCompare(new_run(truth=False, unseen=3), [None, *faces[1:]])
    assert len(widget.chosen) == 57 and "wrong" not in widget.words.value.split("<br>")[0]
    widget.pick([59])
    assert "no score" in widget.grid.caption(59)
    assert widget.png()[:4] == b"\x89PNG"


def test_it_changes_no_label(compare):
    before = len(compare.run.ledger.frame())
    compare.share.value, compare.show.value = 40, "both"
    assert len(compare.run.ledger.frame()) == before


def test_words_and_a_picture_stand_in_for_the_widget(compare):
    data = compare._repr_mimebundle_()
    assert data["text/plain"] == repr(compare) and base64.b64decode(data["image/png"]) == compare.png()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"first": "magic"}, SettingsError, "no detector 'magic'; there are: alpha"),
        ({"second": "knn"}, SettingsError, "knn needs features"),
        ({"scores": {"mine": [1.0]}}, DataError, "mine has 1 scores, but there are 60"),
    ],
)
def test_what_does_not_fit_is_a_sentence(new_run, faces, options, error, words):
    with pytest.raises(error, match=words):
        DetectorCompare(new_run(), faces, **options)


def test_a_run_without_epochs_is_said(new_run, faces):
    with pytest.raises(RunError, match="no epoch to rank faces by"):
        DetectorCompare(new_run(epochs=0), faces)
