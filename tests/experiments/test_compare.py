"""Comparisons: the grid, what counts as done, and what becomes of the others when one stops."""

import os
import time

import pandas as pd
import pytest

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.compare import cells, compare
from scn_fastai.experiments.fit import TrainSettings

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
