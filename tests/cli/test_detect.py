"""`scn detect`: its table, its CSV, and what it says where something is missing."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from scn_fastai.cli import main
from scn_fastai.detect.detectors import DETECTORS
from scn_fastai.training.run import Run

TINY = "--data rendered --limit 80 --arch small --device cpu --size 16 --batch-size 16 --noise 0.3 --epochs 2".split()
pytestmark = pytest.mark.usefixtures("small_rendered")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_rendered):
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("detect") / "run"
    assert main(["train", *TINY, "--out", str(folder), "--json"]) == 0
    return folder


def test_json_holds_the_table_and_the_scores_lie_beside(folder, capsys):
    assert main(["detect", str(folder), "--json", "--boot", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["detector"]: row for row in found["table"]}
    assert set(rows) == set(DETECTORS) and rows["aum"]["n"] == 80 and rows["knn"]["auroc"] is None
    assert "knn needs features" in found["problems"]["knn"]
    scores, run = pd.read_csv(found["scores"]), Run.load(folder)
    assert scores["wrong"].sum() == rows["aum"]["wrong"]
    assert scores["image"].astype(str).tolist() == run.train_samples["image"].astype(str).tolist()
    assert rows["aum"]["auroc"] == pytest.approx(roc_auc_score(scores["wrong"], scores["aum"]), abs=1e-4)


def test_everything_can_be_asked_for(folder, tmp_path, capsys):
    names = "knn,confident,held_out,alpha_held_out,o2u"
    call = ["detect", str(folder), "--detectors", names, "--features", "--folds", "2", "--cyclic", "1", "--boot", "5"]
    assert main([*call, "--out", str(tmp_path / "deep" / "s.csv")]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.out for name in names.split(",")) and "AUROC" in shown.out and "fold 2 of 2" in shown.err
    assert np.isfinite(pd.read_csv(tmp_path / "deep" / "s.csv")["confident"]).all()
    assert main([*call, "--json"]) == 0
    assert "fold 1 of 2 was there" in capsys.readouterr().err


def test_faces_that_are_gone_leave_the_rest_of_the_table(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SCN_DATA", str(tmp_path))
    assert main(["detect", str(folder), "--features", "--folds", "2", "--boot", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"]["knn"].startswith("knn has no features: ")
    assert found["problems"]["confident"].startswith("There are no held-out predictions: ")
    assert sum(row["auroc"] is not None for row in found["table"]) == 13


def test_a_run_without_truth_still_gets_scores(folder, tmp_path, capsys):
    run = Run.load(folder)
    weights = run.weights()
    run.samples = run.samples.drop(columns="true_label")
    run.folder, run._on_disk = tmp_path / "blind", False
    run.save(weights)
    assert main(["detect", str(tmp_path / "blind"), "--boot", "0"]) == 0
    assert "does not know the true labels" in capsys.readouterr().out
    assert "aum" in pd.read_csv(tmp_path / "blind" / "detectors.csv")


def test_without_what_a_detector_needs_that_is_said(folder, capsys):
    assert main(["detect", str(folder), "--detectors", "knn"]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == "No detector could be asked." and "knn needs features" in shown.err


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"data": {"planet": "mars"}}, "which named its data otherwise"),
        ({"train": {"seed": 0, "speed": 9}}, "train it"),
    ],
)
def test_a_run_of_another_version_leaves_the_rest_of_the_table(folder, tmp_path, capsys, part, words):
    shutil.copytree(folder, tmp_path / "run")
    settings = tmp_path / "run" / "settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | part))
    assert main(["detect", str(tmp_path / "run"), "--folds", "2", "--boot", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert words in found["problems"]["confident"] and sum(row["auroc"] is not None for row in found["table"]) == 13


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--detectors", "magic"], "There is no detector 'magic'; there are: alpha"),
        (["--boot", "-1"], "--boot is -1"),
        (["--out", "/dev/null/x.csv"], "cannot be written"),
    ],
)
def test_bad_input_ends_in_one_sentence(folder, more, sentence, capsys):
    assert main(["detect", str(folder), *more]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
