"""An experiment at work: a row per run with what made it, runs that are shared, failures that cost nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments import compare, grid
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.grid import SIZES, Size, experiment_cells, lines_at, run_experiment
from scn_fastai.experiments.judge import detector_results
from scn_fastai.experiments.paper_tables import Claim, Experiment, Line, experiment
from scn_fastai.experiments.results import detectors_file, experiments_in, read_results

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
TINY = Size("tiny", Source("rendered", limit=48), TRAIN, "few faces")
LINES = (Line("baseline", "plain", 0.0, {"RAF-DB": 72.0}), Line("SCN", "paper", 0.3, {"RAF-DB": 60.61}))
ASKED = Experiment("table2", "two lines", LINES, (Claim("SCN beats it", "SCN", "baseline"),))
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_each_run_is_a_row_with_its_settings_and_what_made_it(tmp_path):
    told = []
    table = run_experiment(ASKED, TINY, [0, 1], tmp_path / "out", progress=lambda *now: told.append(now))
    assert table[["line", "seed"]].values.tolist() == [["baseline", 0], ["SCN", 0], ["baseline", 1], ["SCN", 1]]
    assert table["noise"].tolist() == [0, 0.3, 0, 0.3]
    assert (table["label_accuracy_before"] < 1).tolist() == [False, True] * 2
    assert table["paper RAF-DB"].tolist() == [72.0, 60.61] * 2 and (table["torch"] != "").all()
    assert table["order"].tolist() == [0, 1, 0, 1] and told[-1][:2] == (4, 4)
    stored, about = read_results(tmp_path / "out", "table2")
    assert stored["accuracy_last"].tolist() == pytest.approx(table["accuracy_last"].tolist())
    assert len(pd.read_parquet(tmp_path / "out" / "table2.parquet")) == 4
    assert about["claims"] == [{"text": "SCN beats it", "better": "SCN", "than": "baseline"}]
    assert experiments_in(tmp_path / "out") == ["table2"]


def test_labels_of_another_data_set_are_its_noise_and_rendered_faces_have_none(tmp_path):
    cells = experiment_cells(experiment("human"), SIZES["real"], [0], tmp_path)
    assert {cell.source.name for _, cell in cells} == {"fer2013"} and not any(cell.source.noise for _, cell in cells)
    assert cells[0][1].folder == tmp_path / "fer2013" / "plain-seed0"
    with pytest.raises(SettingsError, match="The faces of the size tiny have no labels of fer2013: use --size real"):
        run_experiment(experiment("human"), TINY, [0], tmp_path)


def test_photographs_do_not_say_which_faces_are_uncertain_so_human_like_noise_is_left_out_there():
    kinds = {name: {line.noise_kind for line in lines_at(experiment("detect"), SIZES[name]).lines} for name in SIZES}
    assert kinds["quick"] == {"symmetric", "confusion", "human"} and kinds["real"] == {"symmetric", "confusion"}
    cells = experiment_cells(lines_at(experiment("detect"), SIZES["real"]), SIZES["real"], [0], Path("out"))
    assert len(cells) == 10
    printed = lines_at(experiment("table2"), SIZES["real"]).lines
    assert len(experiment("table2").lines) - len(printed) == 9 and all(
        line.noise_kind == "symmetric" for line in printed
    )


def test_a_finished_run_is_never_run_again_and_a_failed_one_costs_no_other(tmp_path, monkeypatch):
    real, ran = grid.run_cell, []

    def broken(cell, tell, threads=None):
        ran.append(cell.recipe)
        if cell.recipe == "paper":
            raise ValueError("no luck")
        return real(cell, tell, threads)

    monkeypatch.setattr(grid, "run_cell", broken)
    table = run_experiment(ASKED, TINY, [0], tmp_path)
    assert table["error"].tolist()[1] == "no luck" and pd.notna(table["accuracy_last"][0])
    assert "ValueError" in (tmp_path / "symmetric30" / "paper-seed0.error.txt").read_text(encoding="utf-8")
    monkeypatch.setattr(grid, "run_cell", lambda *how: ran.append(how[0].recipe) or real(*how))
    table = run_experiment(ASKED, TINY, [0], tmp_path)
    other = Experiment("table4", "one line", LINES[:1], ())
    assert run_experiment(other, TINY, [0], tmp_path)["accuracy_last"].notna().all()  # the training of table 2
    assert ran == ["plain", "paper", "paper"] and table["accuracy_last"].notna().all() and "error" not in table
    monkeypatch.setattr(compare, "made_by", lambda: {"commit": "a later one"})
    again = run_experiment(ASKED, TINY, [0], tmp_path)  # the code that trained them, not the one that reads them
    assert again["commit"].tolist() == table["commit"].tolist() and (again["torch"] != "").all()


def test_a_training_whose_result_is_known_is_taken_over(tmp_path, monkeypatch):
    asked = replace(ASKED, name="detect", detectors=True)
    first = run_experiment(asked, TINY, [0], tmp_path / "a")
    judged = detector_results(first, tmp_path / "a")
    judged.to_csv(detectors_file(tmp_path / "a", "detect"), index=False)
    (tmp_path / "a" / "detect.csv").write_text(first.assign(commit="earlier").to_csv(index=False), encoding="utf-8")
    real, ran = grid.run_cell, []
    monkeypatch.setattr(grid, "run_cell", lambda *how: ran.append((how[0].recipe, how[0].train.seed)) or real(*how))
    table = run_experiment(asked, TINY, [0, 1], tmp_path / "b", known=tmp_path / "a")
    assert ran == [("plain", 1), ("paper", 1)] and (table["commit"] == "earlier").tolist() == [True, True, False, False]
    assert table["accuracy_last"].tolist()[:2] == first["accuracy_last"].tolist() and "error" not in table
    assert set(table) == set(first) and table["paper RAF-DB"].tolist() == [72.0, 60.61] * 2
    (tmp_path / "b" / "clean" / "plain-seed0").mkdir()  # begun here once, and left: what is known counts
    both = detector_results(table, tmp_path / "b", known=judged)
    assert both["seed"].value_counts().to_dict() == {0: len(judged), 1: len(judged)}
    pd.testing.assert_frame_equal(both[both["seed"] == 0], judged)

    read = pd.read_csv(tmp_path / "b" / f"{asked.name}.csv")
    read.drop(columns="limit").to_csv(tmp_path / "b" / "table4.csv")  # of a version with other columns
    (tmp_path / "b" / "table4.json").write_text((tmp_path / "b" / f"{asked.name}.json").read_text())
    run_experiment(ASKED, TINY, [0, 1], tmp_path / "c", known=tmp_path / "b")
    assert len(ran) == 2  # another experiment, the same trainings
    run_experiment(replace(asked, name="human"), TINY, [0], tmp_path / "d", known=tmp_path / "b")
    assert len(ran) == 4  # no detectors stand there for it
    longer = replace(TINY, train=replace(TRAIN, epochs=2))
    run_experiment(ASKED, longer, [0], tmp_path / "e", known=tmp_path / "b")
    assert len(ran) == 6  # other trainings
    with pytest.raises(RunError, match="holds no results of an experiment"):
        run_experiment(ASKED, TINY, [0], tmp_path / "f", known=tmp_path / "empty")


def remake(folder, **settings):
    """The run in a folder as if another version's recipe had made it; its experiment's table is gone."""
    stored = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    stored["scn"] |= settings
    (folder / "settings.json").write_text(json.dumps(stored), encoding="utf-8")


def forget(out):
    for file in out.glob("table2.*"):
        file.unlink()


def test_a_folder_with_another_run_costs_its_line_only(tmp_path):
    run_experiment(ASKED, TINY, [0], tmp_path)
    forget(tmp_path)
    (tmp_path / "clean" / "plain-seed0" / "settings.json").write_text("{", encoding="utf-8")
    told = run_experiment(ASKED, TINY, [0], tmp_path)["error"]
    assert "is damaged" in told[0] and pd.isna(told[1])


def test_a_result_stays_where_its_training_now_fails(tmp_path):
    first, told = run_experiment(ASKED, TINY, [0], tmp_path), []
    (tmp_path / "clean" / "plain-seed0" / "settings.json").write_text("{", encoding="utf-8")
    again = run_experiment(ASKED, TINY, [0], tmp_path, tell=told.append)
    assert again["accuracy_last"].tolist() == pytest.approx(first["accuracy_last"].tolist()) and "error" not in again
    assert len(told) == 1 and "baseline, seed 0: the result that was there stays" in told[0]


def test_a_result_is_not_replaced_by_an_error(tmp_path, monkeypatch):
    run_experiment(ASKED, TINY, [0], tmp_path)
    before = (tmp_path / "table2.csv").read_bytes()
    monkeypatch.setattr(grid, "run_cell", lambda *how: pytest.fail("trained"))
    longer = replace(TINY, train=replace(TRAIN, epochs=2))
    with pytest.raises(RunError, match="a result of 'baseline' with seed 0 that would be lost.*epochs 1, now 2"):
        run_experiment(ASKED, longer, [0], tmp_path)
    about = json.loads((tmp_path / "table2.json").read_text(encoding="utf-8"))
    for stored in about["settings"].values():
        stored["scn"]["gamma"] = 0.9  # the recipes of another version
    (tmp_path / "table2.json").write_text(json.dumps(about), encoding="utf-8")
    remake(tmp_path / "symmetric30" / "paper-seed0", gamma=0.9)
    with pytest.raises(RunError, match="a result of 'SCN' with seed 0 that would be lost.*gamma 0.9, now 0.5"):
        run_experiment(ASKED, TINY, [0], tmp_path)
    (tmp_path / "table2.json").write_text("{", encoding="utf-8")  # without it nobody knows the settings
    with pytest.raises(RunError, match="would be lost"):
        run_experiment(ASKED, TINY, [0], tmp_path)
    assert (tmp_path / "table2.csv").read_bytes() == before


def test_a_damaged_description_or_table_is_mended_by_the_same_command(tmp_path):
    first = run_experiment(ASKED, TINY, [0], tmp_path)
    for name, text in (("table2.json", "{"), ("table2.csv", "")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(RunError, match="is damaged: run the experiment again"):
            read_results(tmp_path, "table2")
        again = run_experiment(ASKED, TINY, [0], tmp_path)
        assert again["accuracy_last"].tolist() == first["accuracy_last"].tolist()
        assert read_results(tmp_path, "table2")[0]["settings"].tolist() == first["settings"].tolist()


def test_what_another_versions_recipe_made_is_not_taken_over(tmp_path, monkeypatch):
    run_experiment(ASKED, TINY, [0], tmp_path / "a")
    forget(tmp_path / "a")
    remake(tmp_path / "a" / "symmetric30" / "paper-seed0", gamma=0.9)
    monkeypatch.setattr(compare, "changed_since", lambda stored, name: {})  # as that version would have
    run_experiment(ASKED, TINY, [0], tmp_path / "a")
    real, ran, told = grid.run_cell, [], []
    monkeypatch.setattr(grid, "run_cell", lambda *how: ran.append(how[0].recipe) or real(*how))
    table = run_experiment(ASKED, TINY, [0], tmp_path / "b", known=tmp_path / "a", tell=told.append)
    assert ran == ["paper"] and table["accuracy_last"].notna().all()
    assert told == ["1 known trainings (paper) were not made with today's settings, or do not tell: made anew."]
    stored, about = read_results(tmp_path / "b", "table2")
    assert about["settings"][stored["settings"][1]]["scn"]["gamma"] == 0.5
    read = pd.read_csv(tmp_path / "a" / "table2.csv")
    read.drop(columns="settings").to_csv(tmp_path / "a" / "table2.csv", index=False)  # of a version without them
    run_experiment(ASKED, TINY, [0], tmp_path / "c", known=tmp_path / "a", tell=told.append)
    assert ran == ["paper", "plain", "paper"] and told[-1].startswith("2 known trainings (paper, plain)")


def test_a_training_that_is_finished_here_is_not_taken_from_elsewhere(tmp_path):
    run_experiment(ASKED, TINY, [0], tmp_path / "a")
    there = pd.read_csv(tmp_path / "a" / "table2.csv").assign(commit="elsewhere")
    there.to_csv(tmp_path / "a" / "table2.csv", index=False)
    run_experiment(ASKED, TINY, [0], tmp_path / "b")
    table = run_experiment(ASKED, TINY, [0], tmp_path / "b", known=tmp_path / "a")
    assert "elsewhere" not in table["commit"].tolist()


def test_without_detectors_beside_it_a_training_is_not_taken_over_where_they_are_wanted(tmp_path, monkeypatch):
    asked = replace(ASKED, name="detect", detectors=True)
    first = run_experiment(asked, TINY, [0, 1], tmp_path / "a")
    judged = detector_results(first[first["seed"] == 0], tmp_path / "a")  # stopped before it came to seed 1
    judged.to_csv(detectors_file(tmp_path / "a", "detect"), index=False)
    real, ran = grid.run_cell, []
    monkeypatch.setattr(grid, "run_cell", lambda *how: ran.append(how[0].train.seed) or real(*how))
    table = run_experiment(asked, TINY, [0, 1], tmp_path / "b", known=tmp_path / "a")
    assert ran == [1, 1]
    both = detector_results(table, tmp_path / "b", known=judged)
    assert both["seed"].value_counts().to_dict() == {0: len(judged), 1: len(judged)}


def test_a_table_of_errors_is_not_written(tmp_path):
    run_experiment(ASKED, TINY, [0], tmp_path)
    forget(tmp_path)
    longer = replace(TINY, train=replace(TRAIN, epochs=2))
    with pytest.raises(RunError, match=r"No training of table2 went well.*train: epochs 1, now 2"):
        run_experiment(ASKED, longer, [0], tmp_path)
    assert not (tmp_path / "table2.csv").exists()


def test_a_smaller_table_is_not_written_over_a_larger_one(tmp_path):
    run_experiment(ASKED, TINY, [0], tmp_path)
    plain = replace(ASKED, lines=LINES[:1], claims=())
    with pytest.raises(RunError, match="leaves out and would lose, such as 'SCN' with seed 0: ask for them too"):
        run_experiment(plain, TINY, [0], tmp_path)
    with pytest.raises(RunError, match="with seed 0"):
        run_experiment(ASKED, TINY, [1], tmp_path)
    assert len(run_experiment(ASKED, TINY, [0, 1], tmp_path)) == 4


def test_a_folder_that_cannot_be_written_is_noticed_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "run_cell", lambda *how: pytest.fail("trained"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="cannot be written"):
        run_experiment(ASKED, TINY, [0], tmp_path / "file" / "runs")


def test_no_seed_gets_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match="needs a seed"):
        run_experiment(ASKED, TINY, [], tmp_path)
    assert set(SIZES) == {"quick", "real", "full"}
