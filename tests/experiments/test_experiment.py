"""An experiment: each training once, failures that cost only themselves, the layout and the verdicts."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scn_fastai.cli import main
from scn_fastai.data.source import Source
from scn_fastai.errors import RunError
from scn_fastai.experiments import experiment as room
from scn_fastai.experiments.experiment import claims, detector_results, layout, run_table, write_results
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.tables import TABLES, Claim, Row, Size, Table

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
TINY = Size(Source("rendered", limit=48), TRAIN, "tiny")
ROWS = (Row("plain", "plain", 0.3, 70.0), Row("paper", "paper", 0.3), Row("gone", "gone"))
SMALL = Table("small", "Small", "none", ROWS, (Claim("paper is better", "paper", "plain"),))
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_a_table_is_trained_once_and_read_by_row(tmp_path, monkeypatch):
    results = run_table(SMALL, TINY, [0, 1], tmp_path)
    assert results["words"].tolist() == ["plain", "plain", "paper", "paper", "gone"]
    assert results["error"][:4].isna().all() and "no recipe 'gone'" in results["error"][4]
    assert results["accuracy_last"][:4].between(0, 1).all() and set(results["about"]) == {"tiny"}
    assert {"commit", "torch", "noise", "epochs", "folder"} <= set(results)
    monkeypatch.setattr(room, "run_cell", None)  # it would fail if anything were trained again
    again = run_table(SMALL, TINY, [0, 1], tmp_path)
    pd.testing.assert_series_equal(again["accuracy_last"], results["accuracy_last"])
    files = write_results(results, tmp_path / "small.csv")
    assert [pd.read_csv(files[0]).shape, pd.read_parquet(files[1]).shape] == [results.shape] * 2
    found = detector_results(results, tmp_path)
    assert len(found) == 4 * 20 and set(found["words"]) == {"plain", "paper"}


def test_a_failing_training_costs_only_itself(tmp_path, monkeypatch):
    def fails(cell, tell, threads=None):
        if cell.recipe == "paper" and cell.train.seed == 1:
            raise ZeroDivisionError("a fault\nof ours")
        if cell.recipe == "paper":
            raise RunError("the disk is full.")
        return {"recipe": cell.recipe, "seed": cell.train.seed, "accuracy_last": 0.5}

    monkeypatch.setattr(room, "run_cell", fails)
    results = run_table(SMALL, TINY, [0, 1], tmp_path)
    assert results["error"][:2].isna().all() and results["error"].tolist()[2:4] == ["the disk is full.", "a fault"]
    logs = [path.name for path in tmp_path.rglob("*.error.txt")]
    assert logs == ["paper-seed1.error.txt"]  # a traceback where the fault is ours, none where the sentence says all
    lines = layout(SMALL, results).set_index("row")
    assert lines["failed"].to_dict() == {"plain": 0, "paper": 2, "gone": 1} and lines["mean"]["plain"] == 50
    assert claims(SMALL, results)["holds"].tolist() == ["not run"]


def test_a_folder_of_another_training_is_said_and_the_rest_comes(tmp_path):
    one = replace(SMALL, rows=SMALL.rows[:2])
    run_table(replace(one, rows=one.rows[:1]), replace(TINY, train=replace(TINY.train, epochs=2)), [0], tmp_path)
    results = run_table(one, TINY, [0], tmp_path)
    assert "holds a run with other settings (train)" in results["error"][0]
    assert results["error"].isna().tolist() == [False, True] and results["accuracy_last"].notna().tolist() == [
        False,
        True,
    ]
    (tmp_path / "symmetric30" / "paper-seed0" / "settings.json").write_text("{")
    assert "is damaged" in run_table(one, TINY, [0], tmp_path)["error"][1]


def test_layout_and_verdicts_by_hand():
    figures = {"plain": [0.60, 0.62, 0.61], "paper": [0.64, 0.65, 0.66]}
    rows = [
        {"words": w, "seed": s, "accuracy_last": v, "error": None}
        for w, vs in figures.items()
        for s, v in enumerate(vs)
    ]
    results = pd.DataFrame(rows)
    line = layout(SMALL, results).iloc[0]
    assert (line["seeds"], line["mean"], line["sd"], line["paper"]) == (3, pytest.approx(61), pytest.approx(1), 70.0)
    claim = claims(SMALL, results).iloc[0]
    interval = stats.ttest_rel(figures["paper"], figures["plain"]).confidence_interval(0.95)
    assert claim["points"] == pytest.approx(4) and claim["holds"] == "yes"
    assert [claim["low"], claim["high"]] == pytest.approx([100 * interval.low, 100 * interval.high])
    turned = results.assign(words=results["words"].map({"plain": "paper", "paper": "plain"}))
    assert claims(SMALL, turned)["holds"][0] == "no"
    assert claims(SMALL, results[results["seed"] == 0])["holds"][0] == "yes (one seed)"
    noise = results.assign(accuracy_last=np.array([0.6, 0.7, 0.6, 0.7, 0.6, 0.65]))
    assert claims(SMALL, noise)["holds"][0] == "open"


def test_the_command_prints_the_table_and_what_failed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(TABLES, "table5", SMALL)
    call = [
        "experiment",
        "table5",
        "--limit",
        "48",
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--seeds",
        "0",
        "--jobs",
        "1",
    ]
    assert main([*call, "--device", "cpu", "--out", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "paper is better" in shown.out and "(one seed)" in shown.out and "changed: 48 faces, 1 epochs" in shown.out
    assert "no recipe 'gone'" in shown.err and (tmp_path / "small.csv").exists()


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["table9"], "There is no table 'table9'"),
        (["table5", "--size", "huge"], "There is no size 'huge'; there are: quick, full"),
        (["table5", "--size", "full"], "needs FERPlus: name its file or folder with --path"),
        (["table5", "--seeds", "a"], "'a' are no seeds"),
        (["table5", "--seeds", ","], "Without a seed"),
    ],
)
def test_bad_input_ends_in_one_sentence(more, sentence, capsys):
    assert main(["experiment", *more]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]
