"""An experiment at work: a row per run with what made it, failures that cost nothing else, folders that are refused."""

import json

import pandas as pd
import pytest

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments import compare as compare_module
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.grid import ABOUT, RESULTS, SIZES, Size, read_results, run_experiment
from scn_fastai.experiments.paper_tables import Claim, Experiment, Line

TINY = Size("tiny", Source("rendered", limit=48), TrainSettings(arch="small", size=16, epochs=1, batch_size=16,
                                                                device="cpu"), "tiny")  # fmt: skip
LINES = (Line("baseline", "plain", 0.0, {"RAF-DB": 72.0}), Line("SCN", "paper", 0.3, {"RAF-DB": 60.61}))
ASKED = Experiment("table2", "two lines", LINES, (Claim("SCN beats it", "paper@0.3", "plain@0"),))
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_each_run_is_a_row_with_its_settings_and_what_made_it(tmp_path):
    told = []
    table = run_experiment(ASKED, TINY, [0, 1], tmp_path / "out", progress=lambda *now: told.append(now))
    assert table[["line", "seed"]].values.tolist() == [["baseline", 0], ["SCN", 0], ["baseline", 1], ["SCN", 1]]
    assert table["noise"].tolist() == [0, 0.3, 0, 0.3]
    assert (table["label_accuracy_before"] < 1).tolist() == [False, True] * 2
    assert table["paper RAF-DB"].tolist() == [72.0, 60.61] * 2 and (table["torch"] != "").all()
    assert table["order"].tolist() == [0, 1, 0, 1] and told[-1][:2] == (4, 4)
    stored, about = read_results(tmp_path / "out")
    assert stored["accuracy_last"].tolist() == pytest.approx(table["accuracy_last"].tolist())
    assert about["claims"] == [{"text": "SCN beats it", "better": "paper@0.3", "than": "plain@0"}]


def test_a_finished_run_is_never_run_again_and_a_failed_one_costs_no_other(tmp_path, monkeypatch):
    real, ran = compare_module.run_cell, []

    def broken(cell, tell, threads=None):
        ran.append(cell.recipe)
        if cell.recipe == "paper":
            raise ValueError("no luck")
        return real(cell, tell, threads)

    monkeypatch.setattr(compare_module, "run_cell", broken)
    table = run_experiment(ASKED, TINY, [0], tmp_path / "out")
    assert table["error"].tolist()[1] == "ValueError: no luck" and pd.notna(table["accuracy_last"][0])
    monkeypatch.setattr(compare_module, "run_cell", lambda *how: ran.append(how[0].recipe) or real(*how))
    table = run_experiment(ASKED, TINY, [0], tmp_path / "out")
    assert ran == ["plain", "paper", "paper"] and table["accuracy_last"].notna().all() and "error" not in table


def damage(out, name):
    if name == "other size":
        about = json.loads((out / ABOUT).read_text()) | {"size": "huge"}
        (out / ABOUT).write_text(json.dumps(about))
    elif name == "newer":
        about = json.loads((out / ABOUT).read_text()) | {"format": 99}
        (out / ABOUT).write_text(json.dumps(about))
    elif name == "cut off":
        (out / ABOUT).write_text('{"exper')
    elif name == "no results":
        (out / RESULTS).unlink()


@pytest.mark.parametrize(
    ("fault", "read", "words"),
    [
        ("other size", False, "another experiment .size 'huge'"),
        ("newer", False, "newer version"),
        ("newer", True, "newer version"),
        ("cut off", True, "is damaged: run the experiment again"),
        ("no results", True, "has no results yet"),
    ],
)
def test_a_folder_that_does_not_fit_gets_a_sentence(tmp_path, fault, read, words):
    out = tmp_path / "out"
    run_experiment(ASKED, TINY, [0], out)
    damage(out, fault)
    with pytest.raises(RunError, match=words):
        read_results(out) if read else run_experiment(ASKED, TINY, [0], out)


def test_no_seed_and_no_folder_get_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match="needs a seed"):
        run_experiment(ASKED, TINY, [], tmp_path)
    with pytest.raises(RunError, match="There is no experiment"):
        read_results(tmp_path)
    assert set(SIZES) == {"quick", "real", "full"}
