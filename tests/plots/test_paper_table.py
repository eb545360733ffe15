"""The paper's table beside ours: spread over seeds, verdicts of claims, and runs that failed."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from scn_fastai.errors import DataError
from scn_fastai.plots.paper_table import claims_figure, claims_table, paper_lines, verdict, write_experiment

CLAIMS = [{"text": "a beats b", "better": "a", "than": "b"}, {"text": "b beats c", "better": "b", "than": "c"}]


def results(**changes):
    """Three lines with three seeds: a above b in every seed, b and c mixed."""
    last = {"a": (0.70, 0.72, 0.71), "b": (0.60, 0.63, 0.60), "c": (0.64, 0.55, 0.61)} | changes
    rows = [
        {"line": key,  "order": order, "seed": seed, "accuracy_last": value,
         "accuracy_best": value, "paper RAF-DB": 70.0 + order}
        for order, (key, values) in enumerate(last.items())
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_line_has_mean_and_spread_and_the_paper_beside_it():
    table = paper_lines(results().sample(frac=1, random_state=0))
    assert table["line"].tolist() == ["a", "b", "c"] and table["seeds"].tolist() == [3, 3, 3]
    assert table["ours, last epoch"][0] == "71.00 ± 1.00" and table["paper RAF-DB"].tolist() == [
        "70.00",
        "71.00",
        "72.00",
    ]


def test_verdicts_are_those_of_a_paired_t_test():
    table = claims_table(results(), CLAIMS)
    assert table["verdict"].tolist() == ["holds", "not decided"]
    frame = results().pivot(index="seed", columns="line", values="accuracy_last")
    for row, (better, than) in zip(table.itertuples(), (("a", "b"), ("b", "c")), strict=True):
        assert (ttest_rel(frame[better], frame[than]).pvalue < 0.05) == (row.verdict != "not decided")
    assert claims_table(results(), [{"text": "b beats a", "better": "b", "than": "a"}])["verdict"][0] == "does not hold"


@pytest.mark.parametrize("mean", [np.nan, 0.0, 0.1])
def test_one_seed_decides_nothing(mean):
    assert verdict(mean, np.nan) == ("no runs" if np.isnan(mean) else "not decided")


def test_runs_that_failed_are_counted_and_named(tmp_path):
    table = results(b=(0.6, np.nan, 0.6)).assign(error=[None] * 4 + ["ValueError: no luck"] + [None] * 4)
    lines = paper_lines(table)
    assert lines["seeds"].tolist() == [3, 2, 3] and lines["failed"].tolist() == [0, 1, 0]
    page = write_experiment(table, {"title": "Table X", "about": "few faces", "claims": CLAIMS}, tmp_path / "x.html")
    text = page.read_text(encoding="utf-8")
    assert "no luck" in text and "Table X" in text and "a beats b" in text


def test_the_figure_shows_each_claim_once():
    figure = claims_figure(claims_table(results(), CLAIMS))
    assert sorted(name for trace in figure.data for name in trace.y) == ["a beats b", "b beats c"]
    empty = claims_figure(claims_table(results(), []))
    assert not len(empty.data)


def test_another_table_gets_a_sentence():
    with pytest.raises(DataError, match="lack the column 'line'"):
        paper_lines(pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize("name", ["table2", "table5", "table6", "fig5"])
def test_the_page_has_the_picture_of_its_experiment(tmp_path, name):
    from scn_fastai.experiments.paper_tables import experiment
    from scn_fastai.experiments.results import with_settings

    rows = [
        {"line": line.label, "recipe": line.recipe, "order": number, "seed": 0, "noise": line.noise,
         "accuracy_last": 0.5, "accuracy_best": 0.5}
        for number, line in enumerate(experiment(name).lines)
    ]  # fmt: skip
    runs = pd.DataFrame([*rows, rows[0] | {"recipe": "of another version", "order": 99}])
    about = {"experiment": name, "title": "T", "about": "few faces", "claims": []}
    found = pd.DataFrame({"a line": [93.71]}, index=pd.Index(["loss"], name="detector"))
    text = write_experiment(with_settings(runs), about, tmp_path / "x.html", found).read_text(encoding="utf-8")
    assert 'id="figure-picture"' in text and "93.7" in text


def test_a_table_without_a_picture_has_none(tmp_path):
    about = {"experiment": "table4", "title": "T", "about": "few faces", "claims": CLAIMS}
    text = write_experiment(results(), about, tmp_path / "x.html").read_text(encoding="utf-8")
    assert "figure-picture" not in text and "The detectors" not in text
