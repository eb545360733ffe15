"""Pictures and tables of many runs: which mean, which spread, which run behind a mark."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.ablation import (
    baselines,
    figure5,
    label_choices,
    module_dots,
    module_points,
    module_table,
    modules_of,
    points_of,
    setting_curve,
    setting_table,
    varied,
)
from scn_fastai.plots.static_ablation import figure5_png, module_dots_png, setting_curve_png


def table():
    """Plain, and the paper's recipe with three values of gamma and two of beta; two seeds each."""
    rows = []
    for seed in (0, 1):
        rows.append({"recipe": "plain", "weight": False, "rank": False, "relabel": False, "gamma": 0.5, "beta": 0.7,
                     "accuracy_last": 0.6 + 0.02 * seed})  # fmt: skip
        for gamma in (0.8, 0.2, 0.5):
            name = "paper" if gamma == 0.5 else f"paper:gamma={gamma}"
            rows.append({"recipe": name, "weight": True, "rank": True, "relabel": True, "gamma": gamma, "beta": 0.7,
                         "accuracy_last": gamma + 0.1 * seed})  # fmt: skip
        rows.append({"recipe": "paper:beta=0.9", "weight": True, "rank": True, "relabel": True, "gamma": 0.5,
                     "beta": 0.9, "accuracy_last": 0.9})  # fmt: skip
        for row in rows:
            row.setdefault("seed", seed)
            row.setdefault("rank_margin", 0.15)
            row.setdefault("relabel_margin", 0.2)
    return pd.DataFrame(rows)


def test_a_setting_orders_its_family():
    runs = table()
    points = points_of(runs, "gamma")["paper"]
    assert [p.x for p in points] == [0.2, 0.5, 0.8]
    assert points[0].mean == pytest.approx(0.25) and points[0].sd == pytest.approx(0.1 / np.sqrt(2))
    assert all(runs["gamma"][row] == 0.2 for row in points[0].rows)
    assert list(varied(runs, "gamma")) == ["paper"] and [p.x for p in varied(runs, "beta")["paper"]] == [0.7, 0.9]


def test_a_training_that_several_lines_share_counts_once():
    runs = table().assign(folder=[f"clean/{i}" for i in range(len(table()))])
    shared = pd.concat([runs, runs[runs["recipe"] == "paper"]], ignore_index=True)
    (alone,) = [p for p in points_of(runs, "gamma")["paper"] if p.x == 0.5]
    (point,) = [p for p in points_of(shared, "gamma")["paper"] if p.x == 0.5]
    assert point.values.tolist() == alone.values.tolist() and point.sd == alone.sd


def test_noise_levels_are_families_of_their_own():
    runs = pd.concat([table().assign(noise=0.0), table().assign(noise=0.3)], ignore_index=True)
    assert set(varied(runs, "gamma")) == {"paper, labels as they are", "paper, 30% wrong labels"}


def test_a_mark_knows_its_run():
    runs, figure = table(), setting_curve(table(), "gamma")
    marks = next(trace for trace in figure.data if trace.mode == "markers")
    rows = list(marks.customdata)
    assert list(marks.x) == runs["gamma"][rows].tolist() and np.allclose(marks.y, runs["accuracy_last"][rows])
    line = next(trace for trace in figure.data if trace.mode == "lines")
    assert list(line.x) == [0.2, 0.5, 0.8] and np.allclose(line.y, [0.25, 0.55, 0.85])
    assert np.allclose(line.error_y.array, 0.1 / np.sqrt(2), atol=1e-5)


def test_table_5_has_a_row_for_each_set_of_modules():
    assert set(modules_of(table())) == {"none", "weight + rank + relabel"}
    rows = module_table(table().query("recipe in ('plain', 'paper')")).to_dict("records")
    assert [list(row.values()) for row in rows] == [["×"] * 3 + [2, "61.0 ± 1.4 %"], ["✓"] * 3 + [2, "55.0 ± 7.1 %"]]
    figure = module_dots(table().query("recipe in ('plain', 'paper')"))
    assert "61.0 ± 1.4 %" in [text for trace in figure.data for text in trace.text or ()]


def test_table_6_has_a_row_for_each_value():
    rows = setting_table(table(), "gamma")
    assert rows["gamma"].tolist() == [0.2, 0.5, 0.8]
    assert rows["paper"].tolist()[0] == "25.0 ± 7.1 %" and "plain" not in rows
    assert setting_table(table().query("recipe == 'plain'"), "gamma")["plain"].tolist() == ["61.0 ± 1.4 %"]


def test_figure_5_says_what_was_not_varied():
    words = [note.text for note in figure5(table()).layout.annotations]
    assert words.count("not varied") == 2
    still = table().query("recipe == 'plain'")
    assert "needs runs" in figure5(still).layout.annotations[0].text


@pytest.mark.parametrize("make", [module_dots_png, setting_curve_png, figure5_png])
def test_twins_are_pictures(make):
    assert Image.open(io.BytesIO(make(table()))).size[0] >= 640


def test_missing_columns_and_figures_are_said():
    with pytest.raises(DataError, match="no column 'delta'"):
        setting_curve(table(), "delta")
    nothing = table().assign(accuracy_last=None)
    assert "No run" in module_dots(nothing).layout.annotations[0].text
    assert Image.open(io.BytesIO(setting_curve_png(nothing))).size[0] >= 640


def test_runs_that_differ_in_more_than_their_seed_are_not_averaged():
    names = [point.x for point in module_points(table())]
    assert names == [
        "none",
        *(f"weight + rank + relabel ({n})" for n in ("paper", "paper:beta=0.9", "paper:gamma=0.2", "paper:gamma=0.8")),
    ]
    noisy = pd.concat([table().assign(noise=0.0), table().assign(noise=0.3)], ignore_index=True)
    first = module_points(noisy.query("recipe == 'plain'"))
    assert [(p.x, len(p.values)) for p in first] == [("none, 30% wrong labels", 2), ("none, labels as they are", 2)]


def test_the_plain_network_is_a_level_beside_every_curve():
    runs = pd.concat([table().assign(noise=0.0), table().assign(noise=0.3, accuracy_last=0.2)], ignore_index=True)
    names = ["plain, labels as they are", "plain, 30% wrong labels"]
    assert baselines(runs, "gamma") == pytest.approx(dict(zip(names, (0.61, 0.2), strict=True)))
    level = next(trace for trace in setting_curve(table(), "gamma").data if trace.name == "plain")
    assert list(level.x) == [0.2, 0.8] and list(level.y) == pytest.approx([0.61, 0.61])
    panels = [trace for trace in figure5(table()).data if trace.name == "plain"]
    assert [list(trace.x) for trace in panels] == [[0.7, 0.9]]  # beta alone is varied
    assert not baselines(table().query("recipe != 'plain'"), "gamma")
    only = setting_curve(table().query("recipe == 'plain'"), "gamma")  # one point, and no level through it
    assert sum(trace.name == "plain" and trace.mode == "lines" for trace in only.data) == 1


def test_kinds_of_wrong_labels_and_data_sets_are_not_averaged():
    one = table().query("recipe == 'plain'").assign(noise=0.3, noise_kind="human", data="rendered")
    other = one.assign(noise_kind="symmetric", accuracy_last=0.5)
    both = pd.concat([one, other, one.assign(data="ferplus", accuracy_last=0.4)], ignore_index=True)
    told = {name: points[0].mean for name, points in points_of(both, "gamma").items()}
    assert told == pytest.approx({
        "plain, 30% wrong labels, human (rendered)": 0.61, "plain, 30% wrong labels, symmetric (rendered)": 0.5,
        "plain, 30% wrong labels, human (ferplus)": 0.4,
    })  # fmt: skip
    assert label_choices(both)[0] == (
        "30% wrong labels, human (rendered) (2 runs)",
        "30% wrong labels, human (rendered)",
    )


def test_networks_and_lengths_are_not_averaged():
    one = table().query("recipe == 'plain'").assign(arch="small", epochs=16, n_train=2000, pretrained=None)
    other = one.assign(arch="resnet18", epochs=15, n_train=4000, pretrained="a.pth", accuracy_last=0.5)
    told = {name: points[0].mean for name, points in points_of(pd.concat([one, other]), "gamma").items()}
    words = ("small, from scratch, 2,000 faces, 16 epochs", "resnet18, from a.pth, 4,000 faces, 15 epochs")
    assert told == pytest.approx(
        {f"plain, labels as they are, {words[0]}": 0.61, f"plain, labels as they are, {words[1]}": 0.5}
    )
    assert list(points_of(one, "gamma")) == ["plain"]


def test_table_5_says_recipe_and_labels_where_they_differ():
    noisy = pd.concat([table().assign(noise=0.0), table().assign(noise=0.3)], ignore_index=True)
    rows = module_table(noisy)
    assert set(rows["labels"]) == {"labels as they are", "30% wrong labels"} and len(rows) == 10
    assert set(rows["recipe"]) == {"plain", "paper", "paper:gamma=0.2", "paper:gamma=0.8", "paper:beta=0.9"}
    assert not {"labels", "recipe"} & set(module_table(table().query("recipe in ('plain', 'paper')")))
