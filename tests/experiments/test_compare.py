"""Comparisons: the grid, what counts as done, and what becomes of the others when one stops."""

import json
import os
import time
from dataclasses import replace

import pandas as pd
import pytest

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.compare import cells, compare, made_by, made_of
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.training.checkpoint_file import sha256

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
SOURCE = Source("rendered", limit=48, noise=0.3)
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_the_grid_holds_every_recipe_with_every_seed(tmp_path):
    grid = cells(["plain", "paper"], [3, 5], TRAIN, SOURCE, tmp_path)
    assert [(c.recipe, c.train.seed, c.folder.name) for c in grid] == [
        ("plain", 3, "plain-seed3"),
        ("paper", 3, "paper-seed3"),
        ("plain", 5, "plain-seed5"),
        ("paper", 5, "paper-seed5"),
    ]
    assert cells(["plain", "paper", "plain"], [3, 5, 3], TRAIN, SOURCE, tmp_path) == grid


def test_a_changed_setting_names_a_folder_that_every_system_allows(tmp_path):
    (cell,) = cells(["paper:gamma=0.2"], [1], TRAIN, SOURCE, tmp_path)
    assert cell.folder.name == "paper_gamma=0.2-seed1" and cell.about()["recipe"] == "paper:gamma=0.2"


def test_progress_counts_every_epoch_and_an_interrupted_run_goes_on(tmp_path):
    grid = cells(["plain"], [0, 1], TRAIN, SOURCE, tmp_path)
    told = []
    runs = compare(grid, 1, lambda done, total, line: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    (tmp_path / "plain-seed1" / "summary.json").unlink()  # killed between its last epoch and its summary
    again = compare(grid, 1)
    pd.testing.assert_series_equal(runs["accuracy_last"], again["accuracy_last"])


def changed(cell, **values):
    """The run of a cell as another version left it."""
    path = cell.folder / "settings.json"
    settings = json.loads(path.read_text())
    settings["scn"] |= {name: v for name, v in values.items() if v is not None}
    settings["scn"] = {name: v for name, v in settings["scn"].items() if values.get(name, 0) is not None}
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("recipe", "values", "words"),
    [
        ("default", {"noise_needed": 0.11}, "noise_needed 0.11, now 0.08"),
        ("default", {"noise_steady": None}, "noise_steady None, now 0.9"),
        ("plain", {"noise_needed": 0.11, "noise_steady": None}, None),  # nothing waits there
        ("plain", {"aside": None}, None),  # it came later, and is off
        ("plain", {"rank_margin": 0.3}, "rank_margin 0.3, now 0.15"),
    ],
)
def test_a_run_of_a_recipe_that_meant_something_else_is_not_done(tmp_path, recipe, values, words):
    (cell,) = cells([recipe], [0], TRAIN, SOURCE, tmp_path)
    first = compare([cell])
    changed(cell, **values)
    if words is None:
        pd.testing.assert_frame_equal(compare([cell]), first)
        return
    with pytest.raises(RunError, match=words):
        compare([cell])
    (cell.folder / "summary.json").unlink()
    with pytest.raises(RunError, match=words):  # nor does it go on
        compare([cell])


def test_a_run_from_another_backbone_is_not_done(tmp_path):
    (cell,) = cells(["plain"], [0], TRAIN, SOURCE, tmp_path / "out")
    compare([cell])
    file = tmp_path / "backbone.pt"
    file.write_bytes(b"one")
    cell = replace(cell, train=replace(TRAIN, pretrained=str(file)))
    path = cell.folder / "settings.json"
    settings = json.loads(path.read_text())
    settings["train"]["pretrained"] = str(file)
    path.write_text(json.dumps(settings | {"pretrained": {"sha256": sha256(file)}}))
    compare([cell])
    file.write_bytes(b"two")
    with pytest.raises(RunError, match="holds a run from another backbone than .*backbone.pt is now"):
        compare([cell])


def test_a_method_with_other_options_is_not_done(tmp_path):
    (cell,) = cells(["smoothing"], [0], TRAIN, SOURCE, tmp_path)
    compare([cell])
    path = cell.folder / "settings.json"
    settings = json.loads(path.read_text())
    assert settings["options"] == {"eps": 0.1}
    path.write_text(json.dumps(settings | {"options": {"eps": 0.2}}))
    with pytest.raises(RunError, match="eps 0.2, now 0.1"):
        compare([cell])


def test_a_run_says_which_code_began_it(tmp_path):
    (cell,) = cells(["plain"], [0], TRAIN, SOURCE, tmp_path)
    compare([cell])
    assert made_of(cell.folder) == made_by() and made_by()["fastai"]
    path = cell.folder / "settings.json"
    settings = json.loads(path.read_text())
    del settings["made_by"]
    path.write_text(json.dumps(settings))
    assert made_of(cell.folder) == {"scn_fastai": "", "torch": "", "fastai": "", "commit": ""}


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_runs_at_a_time_get_a_sentence(tmp_path, jobs):
    with pytest.raises(SettingsError, match="--jobs is 1 or more"):
        compare(cells(["plain"], [0], TRAIN, SOURCE, tmp_path), jobs)


def interrupted_at_seed_0(cell, tell, threads):
    """A training that leaves its mark, and ends at once for seed 0 and never for the others."""
    cell.folder.with_suffix(".began").touch()
    if cell.train.seed == 0:
        raise KeyboardInterrupt
    time.sleep(600)


def killed(cell, tell, threads):
    """A training whose process the system ends."""
    os._exit(9)


def test_an_interrupt_ends_what_runs_and_begins_nothing_more(tmp_path):
    grid = cells(["plain"], list(range(8)), TRAIN, SOURCE, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compare(grid, 2, run=interrupted_at_seed_0)
    assert len(list(tmp_path.glob("*.began"))) <= 4  # the two that ran, and two that were handed out


def test_a_process_that_the_system_ends_gets_a_sentence(tmp_path):
    with pytest.raises(RunError, match="fewer --jobs goes on"):
        compare(cells(["plain"], [0, 1], TRAIN, SOURCE, tmp_path), 2, run=killed)
