"""Results on disk: what does not fit gets a sentence, and a row knows what its recipe meant."""

import json

import numpy as np
import pandas as pd
import pytest

from scn_fastai.errors import RunError
from scn_fastai.experiments.recipes import recipe
from scn_fastai.experiments.results import Known, good_rows, read_detectors, read_results, training_of, write_results

ROW = {"line": "SCN", "recipe": "paper", "seed": 0, "noise": 0.3, "accuracy_last": 0.5, "paper RAF-DB": 60.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ({"format": 99, "claims": []}, "newer version"),
        ("{", "is damaged: run the experiment again"),
        ({"format": 1, "claims": []}, "table2.csv is missing"),
        (None, "There is no experiment table2"),
    ],
)
def test_results_that_do_not_fit_get_a_sentence(tmp_path, text, words):
    if text is not None:
        (tmp_path / "table2.json").write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    with pytest.raises(RunError, match=words):
        read_results(tmp_path, "table2")


def test_a_table_that_cannot_be_read_gets_a_sentence(tmp_path):
    (tmp_path / "table2.json").write_text(json.dumps({"format": 1, "claims": []}), encoding="utf-8")
    (tmp_path / "table2.csv").write_bytes(b"")
    with pytest.raises(RunError, match="table2.csv is damaged: run the experiment again"):
        read_results(tmp_path, "table2")
    (tmp_path / "table2_detectors.csv").write_bytes(b"")
    with pytest.raises(RunError, match="table2_detectors.csv is damaged"):
        read_detectors(tmp_path, "table2")
    assert good_rows(tmp_path, "table2") == [] and read_detectors(tmp_path, "table5") is None


def test_a_row_knows_whether_its_recipe_means_the_same(tmp_path):
    stored = {"scn": recipe("paper").settings.as_dict(), "options": {}}
    assert Known(ROW, stored).means_the_same() and not Known(ROW, None).means_the_same()
    assert not Known(ROW, {"scn": stored["scn"] | {"gamma": 0.9}}).means_the_same()
    assert Known(ROW, stored).summary() == {"recipe": "paper", "seed": 0, "noise": 0.3, "accuracy_last": 0.5}


def test_a_failed_training_is_no_good_row(tmp_path):
    table = pd.DataFrame([ROW | {"settings": "x", "error": np.nan}, ROW | {"seed": 1, "error": "no luck"}])
    write_results(tmp_path, "table2", table, {"format": 1, "claims": [], "settings": {"x": {"scn": {}}}})
    (good,) = good_rows(tmp_path, "table2")
    assert good.row["seed"] == 0 and good.settings == {"scn": {}} and "error" not in good.row
    assert training_of(good.row) == training_of(ROW) != training_of(ROW | {"lr": 0.1})
