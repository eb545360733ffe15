"""The detectors by name: their cards, one table, what is missing, and scores that need more than a history."""

import numpy as np
import pytest
import torch
from made_methods import TRAIN, summary
from made_runs import make_run

from scn_fastai.detect.confident import confident_doubt, confident_issues, noise_joint
from scn_fastai.detect.detectors import DETECTORS, WHERE, Evidence, detector_scores, detector_table
from scn_fastai.detect.dynamics import aum
from scn_fastai.detect.groups import auroc
from scn_fastai.detect.neighbours import knn_disagreement
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.training.run import Run

FROM_HISTORY = [name for name, detector in DETECTORS.items() if detector.needs == "history"]


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, n=120, epochs=4)


@pytest.fixture
def known(run):
    """Given and true labels of the run, and made-up probabilities and features that know the truth roughly."""
    rng, truth = np.random.default_rng(0), run.truth.numpy()
    logits = rng.normal(size=(120, 3)) + 2 * np.eye(3)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return run.ledger.given.numpy(), truth, probs, rng.normal(size=(120, 5)) + 3 * np.eye(5)[truth]


def test_every_detector_has_a_card():
    assert len(DETECTORS) == 20 and len(FROM_HISTORY) == 13
    for name, card in DETECTORS.items():
        assert card.name == name and all((card.about, card.assumes, card.costs, card.source, card.needs))


def test_the_table_ranks_all_that_the_history_allows_and_says_what_is_missing(run):
    table = detector_table(run, n_boot=10)
    assert set(table["detector"]) == set(DETECTORS)
    good = table[table["problem"] == ""]
    assert set(good["detector"]) == set(FROM_HISTORY) and good["auroc"].is_monotonic_decreasing
    wrong = (run.ledger.given != run.truth).numpy()
    row = table.set_index("detector").loc["aum"]
    assert (
        row["auroc"] == pytest.approx(auroc(aum(run.history, run.ledger.given.numpy()), wrong)) and row["auroc"] > 0.9
    )
    assert row["wrong"] == wrong.sum() and row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    words = table.set_index("detector")["problem"]
    assert (
        words["knn"]
        == "knn needs features of every sample (`run_features`, or scn detect --features), and there is none."
    )
    assert "out-of-fold" in words["confident"] and "noted by a run of the recipe curriculumnet" in words["density"]
    assert detector_table(run, detectors=["aum", "knn"], n_boot=0)["detector"].tolist() == ["aum", "knn"]


def test_more_evidence_fills_the_other_rows(run, known):
    given, truth, probs, features = known
    measured = {"density": -np.arange(120.0), "metacleaner": (given != truth).astype(float)}
    held = {"out_of_fold": probs, "held_out_alpha": probs.max(1)}
    cyclic = {"cyclic": run.history, "cyclic_start": 2}
    evidence = Evidence.of_run(run, features=features, **held, **cyclic, measured=measured)
    table = detector_table(evidence, truth, n_boot=0).set_index("detector")
    assert (table["problem"] == "").all() and table["auroc"]["metacleaner"] == 1
    assert table["auroc"][["knn", "held_out", "confident", "o2u"]].min() > 0.8


@pytest.mark.parametrize(
    ("recipe", "detector", "callback", "name"),
    [
        ("curriculumnet", "density", "curriculum_net", "density"),
        ("metacleaner", "metacleaner", "meta_cleaner", "suspicion"),
    ],
)
def test_what_a_method_noted_is_evidence(recipe, detector, callback, name, tmp_path):
    summary(recipe, TRAIN, folder=tmp_path / "run")
    run, file = Run.load(tmp_path / "run"), tmp_path / "run" / "resume" / "state.pt"
    noted = torch.load(file, weights_only=True)["callbacks"][callback][name].numpy()
    measured = Evidence.of_run(run).measured
    assert set(measured) == {detector} and noted.std() > 0
    np.testing.assert_array_equal(measured[detector], noted)
    scores, problems = detector_scores(run, ["density", "metacleaner"])
    assert set(scores) == {detector} and len(problems) == 1
    assert set(Evidence.of_run(run, measured={"density": noted}).measured) == {"density"}  # who asks goes first
    file.write_bytes(file.read_bytes()[:1000])
    assert detector_scores(run, [detector])[1] == {detector: f"{detector} needs {WHERE[detector]}, and there is none."}
    file.unlink()
    assert Evidence.of_run(run).measured == {}


def test_a_score_that_fails_leaves_the_rest_of_the_table(run, known):
    given, truth, probs, _ = known
    evidence = Evidence.of_run(run, features=np.zeros((3, 2)), out_of_fold=probs, cyclic=run.history, cyclic_start=99)
    table = detector_table(evidence, truth, n_boot=0).set_index("detector")
    assert "120 labels" in table["problem"]["knn"] and "stage begins in 99" in table["problem"]["o2u"]
    assert table["problem"]["confident"] == "" and len(table) == len(DETECTORS)
    for others in (probs[:50], np.concatenate([probs, probs])):  # of fewer and of more samples
        problem = detector_scores(Evidence.of_run(run, out_of_fold=others), ["held_out"])[1]["held_out"]
        assert f"probabilities [{len(others)}, " in problem and "120 samples" in problem
    with pytest.raises(DataError, match="votes on 3 samples but 120 labels"):
        detector_table(evidence, truth, votes=np.ones((3, 8)), n_boot=0)


def test_votes_are_a_target_too(run, known):
    given, truth, *_ = known
    votes = np.eye(3)[truth] * 5 + np.random.default_rng(1).integers(0, 4, (120, 3))
    table = detector_table(Evidence.of_run(run), truth, ["alpha", "loss"], votes=votes, n_boot=0)
    assert table["spearman"].between(-1, 1).all()
    for code, name in enumerate(run.classes):
        run.samples[f"vote_{name}"] = votes[:, code]
    np.testing.assert_allclose(detector_table(run, None, ["alpha", "loss"], n_boot=0)["spearman"], table["spearman"])


def test_without_truth_or_name_there_is_a_sentence(run, tmp_path):
    blind = make_run(tmp_path / "b", truth=False)
    with pytest.raises(RunError, match="does not know the true labels, so no detector can be judged"):
        detector_table(blind)
    assert set(detector_scores(blind)[0]) == set(FROM_HISTORY)  # scores come all the same
    with pytest.raises(SettingsError, match="no detector 'magic'; there are: alpha"):
        detector_scores(run, ["magic"])
    with pytest.raises(RunError, match="Without true labels"):
        detector_table(Evidence.of_run(run))
    with pytest.raises(DataError, match="120 given labels but 3 true ones"):
        detector_table(Evidence.of_run(run), np.zeros(3, int))
    _, problems = detector_scores(make_run(tmp_path / "c", epochs=0), ["loss"])
    assert "no epoch in this history yet" in problems["loss"]


# ---- neighbours ----


def test_neighbours_by_loop(known):
    given, truth, _, features = known
    features[7] = np.nan
    score = knn_disagreement(features, given, k=5)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    for i in (0, 3, 50, 119):
        others = sorted((j for j in range(120) if j not in (i, 7)), key=lambda j: -unit[i] @ unit[j])
        assert score[i] == pytest.approx(sum(given[j] != given[i] for j in others[:5]) / 5)
    assert np.isnan(score[7]) and auroc(score, given != truth) > 0.8
    assert np.isnan(knn_disagreement(features[:1], given[:1])).all()
    with pytest.raises(SettingsError, match="k is 0"):
        knn_disagreement(features, given, 0)


# ---- confident learning ----


def test_confident_learning_by_loop(known):
    given, truth, probs, _ = known
    probs[5] = np.nan
    rows = [i for i in range(120) if i != 5]
    limits = [np.mean([probs[i, c] for i in rows if given[i] == c]) for c in range(3)]
    plain, adjusted = confident_doubt(probs, given, adjusted=False), confident_doubt(probs, given)
    for i in rows:
        y = given[i]
        assert plain[i] == pytest.approx(1 - (probs[i, y] - max(probs[i, k] for k in range(3) if k != y) + 1) / 2)
        moved = probs[i] - limits + max(limits)
        moved = moved / moved.sum()
        assert adjusted[i] == pytest.approx(1 - (moved[y] - max(moved[k] for k in range(3) if k != y) + 1) / 2)
    assert np.isnan(plain[5]) and auroc(plain, given != truth) > 0.9
    flags = confident_issues(probs, given)
    assert flags.dtype == bool and not flags[5] and (given != truth)[flags].mean() > 0.7
    joint = noise_joint(probs, given)
    assert joint.sum() == pytest.approx(1) and joint.shape == (3, 3)


def test_confident_learning_says_what_is_missing(known, monkeypatch):
    given, _, probs, _ = known
    with pytest.raises(DataError, match="No sample has out-of-fold probabilities"):
        confident_doubt(np.full((120, 3), np.nan), given)
    with pytest.raises(DataError, match="3 labels"):
        confident_doubt(probs, given[:3])
    lacking = confident_doubt(np.c_[probs, np.zeros(120)], given)  # a class that no label names
    assert np.isfinite(lacking).all()
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.rank", None)
    with pytest.raises(SettingsError, match=r"pip install 'scn_fastai\[detect\]'"):
        confident_doubt(probs, given)
