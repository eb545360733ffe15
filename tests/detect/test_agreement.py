"""Ranks on one scale, and who is suspicious to which detector, against plain loops."""

import numpy as np
import pytest

from scn_fastai.detect.agreement import agreement, agreement_table, suspicion_ranks
from scn_fastai.errors import DataError, SettingsError


def test_groups_by_loop():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=50), rng.normal(size=50)
    first[3] = second[8] = np.nan
    groups = agreement(first, second, 0.25)
    known = [i for i in range(50) if i not in (3, 8)]
    for i in range(50):
        if i not in known:
            assert groups[i] == ""
            continue
        high = [sum(s[j] > s[i] for j in known) < 0.25 * len(known) for s in (first, second)]
        assert (
            groups[i] == {(1, 1): "both", (1, 0): "first", (0, 1): "second", (0, 0): "neither"}[tuple(map(int, high))]
        )
    assert agreement(second, first, 0.25).tolist() == [{"first": "second", "second": "first"}.get(g, g) for g in groups]
    np.testing.assert_array_equal(agreement(suspicion_ranks(first), 3 * second + 1, 0.25), groups)


def test_scores_alike_do_not_leave_nobody():
    forgetting = np.array([9.0] * 8 + [1.0] * 12 + [0.0] * 80)  # the share asked is within the first eight
    assert (agreement(forgetting, np.arange(100.0), 0.01) == "first").sum() == 8
    assert (agreement(forgetting, np.arange(100.0), 0.3) == "first").sum() == 20  # not all that are 0
    assert set(agreement(np.zeros(100), np.arange(100.0), 0.1)) == {"second", "neither"}


def test_the_table_counts():
    table = agreement_table(np.array(["both", "both", "second", ""]), np.array([True, False, True, True]))
    assert table.set_index("group")["n"].to_dict() == {"both": 2, "first": 0, "second": 1, "neither": 0}
    assert table["share"][0] == 0.5 and np.isnan(table["share"][1])
    assert "wrong" not in agreement_table(np.array(["both"]))


def test_bad_input_is_a_sentence():
    with pytest.raises(DataError, match="2 scores of one detector and 3 of the other"):
        agreement(np.zeros(2), np.zeros(3))
    with pytest.raises(SettingsError, match="share is 1.5"):
        agreement(np.zeros(2), np.zeros(2), 1.5)
