"""Many runs as a table."""

import json

import pytest
from made_runs import make_run

from scn_fastai.errors import RunError
from scn_fastai.training.runs_in import epochs_of, runs_in


def add_run(folder, name, recipe, seed, accuracy, **scn):
    path = folder / name
    path.mkdir(parents=True)
    settings = {"recipe": recipe, "train": {"seed": seed}, "scn": scn, "data": {"name": "rendered", "noise": 0.3}}
    (path / "settings.json").write_text(json.dumps(settings))
    (path / "summary.json").write_text(json.dumps({"accuracy_last": accuracy, "recipe": recipe, "seed": seed}))
    return path


def test_a_row_has_what_was_set_and_what_came_out(tmp_path):
    add_run(tmp_path, "b", "paper:gamma=0.2", 1, 0.7, gamma=0.2, weight=True)
    path = add_run(tmp_path / "deep", "a", "plain", 0, 0.6, gamma=0.5, weight=False)
    settings = json.loads((path / "settings.json").read_text())
    (path / "settings.json").write_text(json.dumps(settings | {"train": {"seed": 0, "arch": "small"}}))
    table = runs_in(tmp_path)
    assert table["run"].tolist() == ["b", "a"] and table["seed"].tolist() == [1, 0]
    assert table["gamma"].tolist() == [0.2, 0.5] and table["weight"].tolist() == [True, False]
    assert table["accuracy_last"].tolist() == [0.7, 0.6] and set(table["noise"]) == {0.3}
    assert table["folder"][0] == str(tmp_path / "b") and table["arch"].fillna("").tolist() == ["", "small"]


def test_what_is_no_run_is_passed_over(tmp_path):
    add_run(tmp_path, "good", "plain", 0, 0.6)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "summary.json").write_text("{")
    add_run(tmp_path, ".good.writing", "plain", 0, 0.6)
    assert runs_in(tmp_path)["run"].tolist() == ["good"]


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(RunError, match="no folder"):
        runs_in(tmp_path / "nowhere")
    with pytest.raises(RunError, match="no finished run"):
        runs_in(tmp_path)
    with pytest.raises(RunError, match="no whole run"):
        epochs_of(tmp_path)


def test_epochs_come_without_the_samples(tmp_path):
    run = make_run(tmp_path)
    run.save({})
    assert epochs_of(run.folder)["accuracy"].tolist() == run.history.frame()["accuracy"].tolist()
