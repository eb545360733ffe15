"""Comparisons: the grid, what counts as done, means and paired intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scn_fastai.data.source import Source
from scn_fastai.training.compare import cells, compare, paired_difference, spread
from scn_fastai.training.fit import TrainSettings

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
SOURCE = Source("standin", limit=48, noise=0.3)


def test_the_grid_holds_every_recipe_with_every_seed(tmp_path):
    grid = cells(["plain", "paper"], [3, 5], TRAIN, SOURCE, tmp_path)
    assert [(c.recipe, c.train.seed, c.folder.name) for c in grid] == [
        ("plain", 3, "plain-seed3"),
        ("paper", 3, "paper-seed3"),
        ("plain", 5, "plain-seed5"),
        ("paper", 5, "paper-seed5"),
    ]


def test_progress_counts_every_epoch_and_an_interrupted_run_goes_on(tmp_path):
    grid = cells(["plain"], [0, 1], TRAIN, SOURCE, tmp_path)
    told = []
    runs = compare(grid, 1, lambda done, total, line: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    (tmp_path / "plain-seed1" / "summary.json").unlink()  # killed between its last epoch and its summary
    again = compare(grid, 1)
    pd.testing.assert_series_equal(runs["accuracy_last"], again["accuracy_last"])


def test_the_paired_interval_is_students():
    mine, base = pd.Series([0.70, 0.72, 0.69, 0.71], [0, 1, 2, 9]), pd.Series([0.66, 0.67, 0.68, 0.6], [0, 1, 2, 8])
    found = paired_difference(mine, base)
    gaps = np.array([0.04, 0.05, 0.01])
    low, high = stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps))
    assert [found[k] for k in ("difference", "low95", "high95")] == pytest.approx([gaps.mean(), low, high])


def test_one_seed_has_no_interval():
    found = paired_difference(pd.Series([0.7], [0]), pd.Series([0.6], [0]))
    assert found["difference"] == pytest.approx(0.1) and np.isnan(found["low95"])


def test_spread_has_last_and_best_and_leaves_out_what_is_not_known():
    runs = pd.DataFrame(
        {
            "recipe": ["plain", "plain", "x", "x"],
            "seed": [0, 1, 0, 1],
            "accuracy_last": [0.5, 0.7, 0.6, 0.8],
            "accuracy_best": [0.6, 0.7, 0.6, 0.9],
            "relabel_precision": [None, None, 0.5, 0.7],
        }
    )
    table = spread(runs)
    assert table.loc["plain", "last_sd"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert np.isnan(table.loc["plain", "difference"]) and table.loc["x", "difference"] == pytest.approx(0.1)
    assert table.loc["x", "relabel_precision"] == pytest.approx(0.6)
