"""What a training will take: plausible, in one sentence, and said of the recipe's own network."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_faces import small_faces

from scn_fastai.experiments.cost import Cost, expected_cost, mean_cost
from scn_fastai.experiments.fit import TrainSettings

TRAIN = TrainSettings(arch="small", epochs=3, batch_size=32, device="cpu", half=False)


@pytest.fixture(scope="module")
def clean():
    return small_faces(120, 40, size=24)


def test_the_expected_cost_is_plausible(clean):
    train = replace(TRAIN, epochs=10)
    cost = expected_cost(clean, train)
    assert 0.01 < cost.seconds < 120 and 2**28 < cost.memory < 2**33
    longer = expected_cost(clean, replace(train, epochs=100))
    assert longer.memory > cost.memory
    assert cost.times(3).seconds == pytest.approx(3 * cost.seconds) and cost.times(3).memory == cost.memory
    assert cost.times(4, at_a_time=2).memory == 2 * cost.memory


def test_the_cost_says_itself_in_one_sentence():
    assert str(Cost(45, 2**30)) == "about 45 seconds and 1.0 GB of memory"
    assert str(Cost(600, 3 * 2**29)) == "about 10 minutes and 1.5 GB of memory"


def test_the_cost_leaves_no_mark_on_the_faces(clean):
    before = clean.images.copy(), clean.samples.copy()
    expected_cost(clean, TRAIN)
    np.testing.assert_array_equal(clean.images, before[0])
    pd.testing.assert_frame_equal(clean.samples, before[1])


def test_the_cost_is_that_of_the_recipes_network(clean):
    """RAN looks at a face and five crops of it."""
    assert expected_cost(clean, TRAIN, "ran").seconds > 2 * expected_cost(clean, TRAIN).seconds


def test_the_mean_cost_times_each_network_once(clean, monkeypatch):
    timed = []

    def cost(faces, train, recipe):
        timed.append(recipe)
        return Cost(60.0, 3) if recipe == "ran" else Cost(10.0, 2)

    monkeypatch.setattr("scn_fastai.experiments.cost.expected_cost", cost)
    assert mean_cost(clean, TRAIN, ["plain", "plain", "elr", "gce", "ran"]) == Cost(20.0, 3)
    assert sorted(timed) == ["gce", "ran"]
