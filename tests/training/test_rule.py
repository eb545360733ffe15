"""The relabeling rule: when it may begin."""

import pytest
import torch

from scn_fastai import LabelLedger, SCNHistory, SCNSettings
from scn_fastai.training.rule import may_relabel, may_weight

N, C = 100, 8


def history(wrong, before=None):
    """Three epochs in which every sample is surely of class 0, and the ledger that gives a share of them class 7.

    ``before`` is the noise estimate of the first of them, if it shall be another.
    """
    likely = torch.arange(float(C)).flip(0).softmax(0).repeat(N, 1)
    given = torch.zeros(N, dtype=torch.long)
    given[: round(N * wrong)] = C - 1
    ledger, seen = LabelLedger(given), SCNHistory(N, C)
    for epoch in range(3):
        seen.begin_epoch("cpu")
        seen.see(torch.arange(N), torch.full((N,), 0.5), likely, torch.zeros(N, dtype=torch.bool))
        seen.average(torch.arange(N), likely, 0.7)
        figures = {"settled": seen.settled_share(), "noise_estimate": seen.noise_estimate(given)}
        if epoch < 2:
            seen.end_epoch(**figures | ({"noise_estimate": before} if before and not epoch else {}))
    return ledger, seen, figures


@pytest.mark.parametrize("wrong, needed, begins", [(0.3, 0.11, True), (0.05, 0.11, False), (0.05, 0.0, True)])
def test_it_waits_until_enough_labels_look_wrong(wrong, needed, begins):
    ledger, seen, figures = history(wrong)
    assert figures["noise_estimate"] == pytest.approx(wrong * 7 / 5) and figures["settled"] == 1
    s = SCNSettings(noise_needed=needed)
    assert may_relabel(s, ledger, seen, 8, 10) == begins
    assert may_relabel(s.change(relabel="propose"), ledger, seen, 8, 10)  # a person may be asked in any case
    seen.end_epoch(**figures)
    assert may_weight(s, seen, 9, 10) == begins
    assert not may_weight(s, seen, 3, 10)  # a third of the epochs first
    named = s.change(weight_from=2, relabel_from=2)  # an epoch by name waits for nothing
    assert may_weight(named, seen, 2, 10) and may_relabel(named, ledger, seen, 2, 10)


def test_it_waits_while_ever_fewer_labels_look_wrong():
    for before, steady, early, late in ((0.45, 0.9, True, True), (0.48, 0.9, False, True), (0.48, 0.87, True, True),
                                        (0.5, 0.9, False, False)):  # 0.42 now  # fmt: skip
        s = SCNSettings(noise_needed=0.11, noise_steady=steady)
        ledger, seen, figures = history(0.3, before)
        assert may_relabel(s, ledger, seen, 5, 10) == early
        assert may_relabel(s, ledger, seen, 6, 10) == late  # more than half of the epochs were done before
        seen.end_epoch(**figures)
        assert may_weight(s, seen, 6, 10) == early
        assert may_weight(s, seen, 7, 10) == late
        assert may_weight(s.change(noise_steady_late=steady), seen, 7, 10) == early
