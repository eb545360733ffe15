"""Table 3: its rows and claims, each training once, and what is written of them."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from scn_fastai import Run
from scn_fastai.cli import main
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments import pretrain
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.results import experiments_in, read_results
from scn_fastai.experiments.table3 import SIZES, TABLE3, Size, table3
from scn_fastai.plots.paper_table import claims_table
from scn_fastai.training.pretrained import backbone_card

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)
SIZE = Size(64, 32, TRAIN, replace(TRAIN, lr=0.01))
SCN = "default:settled=0.75:noise_needed=0:aside=0"
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_the_rows_and_claims_are_those_of_the_paper():
    assert [(row.pretraining, row.recipe, row.paper["RAF-DB"]) for row in TABLE3.lines] == [
        (None, "plain", 72.00),
        ("web", "plain", 78.97),
        ("web", SCN, 80.42),
        ("web-scn", SCN, 82.45),
    ]
    printed = {row.label: row.paper for row in TABLE3.lines}
    for claim in TABLE3.claims:
        assert all(printed[claim.better][data] > printed[claim.than][data] for data in printed[claim.than])


def test_a_size_says_in_words_what_it_is():
    words = str(SIZES["quick"])
    assert "2,000 with 50% wrong labels to pretrain on (30 epochs)" in words and "1,000 of other people" in words
    with pytest.raises(SettingsError, match="There is no size 'huge' of Table 3; there are: tiny, quick, full"):
        table3("x", [0], "huge")
    with pytest.raises(SettingsError, match="Table 3 needs a seed"):
        table3("x", [], "tiny")


@pytest.mark.slow
def test_each_row_is_trained_once_and_never_again(tmp_path, monkeypatch):
    told = []
    runs = table3(tmp_path, [3], SIZE, progress=lambda done, total, line: told.append((done, total)))
    assert told == [(1, 2), (2, 2), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert runs["line"].tolist() == [row.label for row in TABLE3.lines] and (runs["seed"] == 3).all()
    names = [f"{start}-{recipe}" for start, recipe in zip(runs["pretraining"], runs["recipe"], strict=True)]
    folders = [tmp_path / f"{name.replace(':', '_')}-seed3" for name in names]
    starts = [Run.load(folder).settings.get("pretrained") for folder in folders]
    assert runs["scn_began"].isna().tolist()[:2] == [True, True]
    hashes = [None if start is None else start["sha256"] for start in starts]
    own = {name: backbone_card(tmp_path / f"pretrain-{name}-seed3" / pretrain.FILE) for name in ("web", "web-scn")}
    first, second = own["web"]["sha256"], own["web-scn"]["sha256"]
    assert hashes == [None, first, first, second]
    assert runs["pretraining_accuracy_last"].tolist()[1:3] == [own["web"]["figures"]["accuracy_last"]] * 2

    def never(*_):
        raise AssertionError("a finished run was run again")

    monkeypatch.setattr("scn_fastai.experiments.compare.run_cell", never)
    pd.testing.assert_frame_equal(table3(tmp_path, [3], SIZE), runs)
    with pytest.raises(RunError, match=r"holds a run with other settings \(train: "):
        table3(tmp_path, [3], replace(SIZE, pretrain=replace(TRAIN, epochs=2)))


@pytest.mark.slow
def test_the_command_writes_a_table_shows_lines_and_claims_and_report_shows_it_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SIZES, "tiny", SIZE)
    call = ["table3", "--size", "tiny", "--seeds", "0,1", "--out", str(tmp_path)]
    assert main([*call, "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert [row["line"] for row in told["lines"]] == [row.label for row in TABLE3.lines]
    assert [row["claim"] for row in told["claims"]] == [claim.text for claim in TABLE3.claims]
    assert "web, SCN: SCN never began in 2 of 2 runs" in said.err and "table3.csv" in said.err
    assert (tmp_path / "table3.html").exists() and experiments_in(tmp_path) == ["table3"]
    stored, about = read_results(tmp_path, "table3")
    assert len(stored) == 8 and stored["paper FERPlus"].tolist()[:4] == [82.4, 84.2, 85.13, 85.97]
    assert len(claims_table(stored, about["claims"])) == 3
    assert main(call) == 0 and "pretraining with SCN helps" in capsys.readouterr().out
    assert main(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lines"] == told["lines"]


def test_seeds_that_are_none(tmp_path, capsys):
    assert main(["table3", "--seeds", "a", "--out", str(tmp_path)]) == 2
    assert "'a' are no seeds" in capsys.readouterr().err
