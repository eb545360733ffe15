"""Comparisons: the grid, and what counts as done."""

import pandas as pd
import pytest

from scn_fastai.data.source import Source
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
