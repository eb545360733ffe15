"""What detectors look at is gathered when it is asked for, and what is missing is said."""

import json

import numpy as np
import pytest

from scn_fastai.data.source import Source
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.compare import Cell, run_cell
from scn_fastai.experiments.evidence import More, gather, run_scores
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.training.run import Run

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
NEEDS = {"features": "knn", "out_of_fold": "confident", "held_out_alpha": "alpha_held_out", "cyclic": "o2u"}
pytestmark = pytest.mark.usefixtures("small_rendered")


@pytest.fixture
def run(tmp_path):
    cell = Cell("plain", TRAIN, Source("rendered", limit=64, noise=0.3), tmp_path / "run")
    run_cell(cell, lambda line: None)
    return Run.load(cell.folder)


def test_nothing_is_trained_that_was_not_asked_for(run):
    evidence, lacking = gather(run, More())
    assert [evidence.get(need) for need in NEEDS] == [None] * 4 and lacking == {}
    assert sorted(path.name for path in run.folder.iterdir() if "folds" in path.name) == []


def test_what_is_asked_for_gives_each_detector_its_evidence(run):
    told = []
    scores, problems = run_scores(run, More(features=True, folds=2, cyclic=1), list(NEEDS.values()), told.append)
    assert list(scores) == list(NEEDS.values()) and problems == {}
    assert all(np.isfinite(score).all() and np.ptp(score) > 0 for score in scores.values())
    assert "fold 2 of 2 is done" in told
    again, _ = run_scores(run, More(folds=2), ["confident"], told.append)
    assert told[-1] == "fold 2 of 2 was there" and (again["confident"] == scores["confident"]).all()


def test_what_cannot_be_gathered_is_said_and_the_rest_is_there(run):
    settings = json.loads((run.folder / "settings.json").read_text())
    del settings["data"]
    (run.folder / "settings.json").write_text(json.dumps(settings))
    scores, problems = run_scores(Run.load(run.folder), More(True, 2, 1))
    assert "aum" in scores and set(NEEDS.values()) <= set(problems)
    assert problems["confident"] == (
        "There are no held-out predictions: run does not say where its faces are and how it was trained."
    )
    assert problems["o2u"].startswith("There is no cyclic training: ")


def test_a_wrong_name_is_one_sentence(run):
    with pytest.raises(SettingsError, match="There is no detector 'magic'"):
        run_scores(run, More(), ["magic"])
