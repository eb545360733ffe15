"""Pictures of wrong labels: what they show, their twins, and what they say where there is nothing to show."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots import noise_estimates, noise_estimates_png, noise_levels, noise_levels_png
from scn_fastai.plots.noise import NO_ESTIMATES, NO_RUNS, estimates_of, levels_of


@pytest.fixture
def results():
    rows = [
        {"recipe": recipe, "noise": noise, "seed": seed, "accuracy_last": 0.7 - noise - 0.05 * (recipe == "paper")
         + 0.02 * seed, "paper FERPlus": 77.0 if recipe == "plain" else np.nan}
        for recipe in ("plain", "paper") for noise in (0.0, 0.1, 0.3) for seed in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def epochs():
    rows = [
        {"labels": labels, "faces": faces, "seed": seed, "epoch": e, "noise_estimate": start - 0.05 * e,
         "relabeling": labels != "right" and e >= 2}
        for labels, faces, start in (("right", 4000, 0.3), ("30 %", 4000, 0.5), ("30 %", 10_000, 0.4))
        for seed in (0, 1) for e in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def size(png):
    return Image.open(io.BytesIO(png)).size


def test_a_line_is_mean_and_spread_at_each_share(results):
    plain, paper = levels_of(results)
    assert plain.name == "plain network" and plain.share.tolist() == [10, 30]  # right labels are no level
    np.testing.assert_allclose(plain.mean, [61, 41])
    np.testing.assert_allclose(paper.mean, [56, 36])
    np.testing.assert_allclose(plain.sd, 100 * np.std([0.6, 0.62], ddof=1))
    assert plain.printed.tolist() == [77, 77] and np.isnan(paper.printed).all()


def test_runs_of_another_length_or_network_are_no_seeds_of_these(results):
    both = pd.concat([results.assign(epochs=15, arch="small"), results.assign(epochs=40, accuracy_last=0.9)])
    names = [level.name for level in levels_of(both.assign(arch="small", data="ferplus"))]
    assert names == [f"{name}, {n} epochs" for n in (15, 40) for name in ("plain network", "SCN as printed")]
    two = pd.concat([results.assign(data="ferplus"), results.assign(data="fer2013", accuracy_last=0.2)])
    assert [level.mean[0] for level in levels_of(two)] == pytest.approx([61, 56, 20, 20])


def test_levels_stand_beside_the_papers(results):
    figure = noise_levels(results, title="Table 2")
    printed = [t for t in figure.data if t.xaxis == "x"]
    ours = [t for t in figure.data if t.xaxis == "x2"]
    assert [list(t.y) for t in printed] == [[77, 77]]
    assert [t.name for t in ours] == ["plain network", "SCN as printed"] and all(t.error_y.array for t in ours)
    assert {a.text for a in figure.layout.annotations} >= {"the paper", "here"}


def test_one_seed_has_no_spread_and_a_recipe_of_ones_own_a_name(results):
    one = results[results["seed"] == 0].replace({"recipe": {"paper": "elr"}}).drop(columns="paper FERPlus")
    figure = noise_levels(one)
    assert [t.name for t in figure.data] == ["plain network", "elr"]
    assert list(figure.data[0].error_y.array) == [0, 0]


def test_a_run_is_a_line_with_a_dot_where_relabeling_began(epochs):
    runs = estimates_of(epochs)
    assert len(runs) == 6 and sum(run.first for run in runs) == 3
    assert {run.name: run.begin for run in runs if run.name.startswith("30")} == {
        "30 %, 4,000 faces": 2,
        "30 %, 10,000 faces": 2,
    }
    assert np.isnan([run.begin for run in runs if run.name.startswith("right")]).all()
    few, many = (next(run for run in runs if run.name == f"30 %, {n} faces") for n in ("4,000", "10,000"))
    assert few.color == many.color and few.dash != many.dash
    figure = noise_estimates(epochs)
    dots = [t for t in figure.data if t.mode == "markers"]
    begun, kept = ([t for t in dots if t.xaxis == axis] for axis in ("x", "x2"))
    assert {t.x[0] for t in dots} == {2} and sorted(t.y[0] for t in begun) == [30, 30, 40, 40]
    assert sorted(t.y[0] for t in kept) == pytest.approx([75, 75, 80, 80])  # 30 of 40 %, 40 of 50 %


def test_what_is_left_is_of_two_epochs_before(epochs):
    few = estimates_of(epochs.query("labels == 'right' and seed == 0"))[0]
    np.testing.assert_allclose(few.left, [np.nan, np.nan, 100 * 0.2 / 0.3, 100 * 0.15 / 0.25])
    gone = estimates_of(epochs.query("labels == 'right' and seed == 0").assign(noise_estimate=[0, 0.1, 0.2, 0.3]))[0]
    assert np.isnan(gone.left[2]) and gone.left[3] == pytest.approx(300)  # nothing cannot be divided by
    figure = noise_estimates(epochs, steady=(0.9, 0.85))
    assert {shape.y0 for shape in figure.layout.shapes} == {8, 90, 85}
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3


def test_twins_are_pictures(results, epochs):
    assert min(*size(noise_levels_png(results)), *size(noise_estimates_png(epochs, title="FERPlus"))) > 300


def test_nothing_to_show_is_said(results, epochs):
    clean, none = results[results["noise"] == 0], epochs.assign(noise_estimate=np.nan)
    assert NO_RUNS in noise_levels(clean).layout.annotations[0].text
    assert NO_ESTIMATES in noise_estimates(none).layout.annotations[0].text
    assert size(noise_levels_png(clean)) and size(noise_estimates_png(none))
    with pytest.raises(DataError, match="lacks the column 'noise': pass"):
        noise_levels(results.drop(columns="noise"))
    with pytest.raises(DataError, match="lacks the column 'relabeling'"):
        noise_estimates(epochs.drop(columns="relabeling"))


def test_kinds_of_noise_are_lines_of_their_own(results):
    both = pd.concat([results.assign(noise_kind="symmetric"), results.assign(noise_kind="human", accuracy_last=0.1)])
    levels = levels_of(both)
    names = [f"{name}, {kind}" for kind in ("symmetric", "human") for name in ("plain network", "SCN as printed")]
    assert sorted(level.name for level in levels) == sorted(names)
    human = next(level for level in levels if level.name == "plain network, human")
    assert human.mean.tolist() == pytest.approx([10, 10]) and human.dash != levels[0].dash
    assert size(noise_levels_png(both)) == size(noise_levels_png(results))


def test_estimates_of_other_data_or_of_all_faces_are_lines_of_their_own(epochs):
    whole = epochs.query("labels == 'right'").assign(faces=np.nan, data="rendered")
    runs = estimates_of(pd.concat([epochs.assign(data="ferplus"), whole]))
    assert "right (rendered), all faces" in [run.name for run in runs] and len(runs) == 8
    assert all(np.all(np.diff(run.epoch) > 0) for run in runs)
    longer = pd.concat([epochs.assign(epochs=15), epochs.assign(epochs=25)])
    assert len(estimates_of(longer)) == 12
