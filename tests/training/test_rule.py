"""The relabeling rule over the whole training set: budget and cap."""

import torch

from scn_fastai import LabelLedger, SCNHistory, SCNSettings
from scn_fastai.training.rule import relabel_all


def test_the_budget_is_capped_by_the_share_of_labels_that_look_wrong():
    likely = torch.arange(8.0).flip(0).softmax(0).repeat(100, 1)  # class 0 first, class 7 last
    given = torch.zeros(100, dtype=torch.long)
    given[:40], given[40:50] = 1, 7  # 40 labels are second, 10 are ruled out: 10 % * 7 / 5 look wrong
    changed = {}
    for cap in (True, False):
        ledger, history = LabelLedger(given), SCNHistory(100, 8)
        history.begin_epoch("cpu")
        history.average(torch.arange(100), likely, 0.7)
        rule = SCNSettings(budget=1.0, budget_cap=cap, budget_ramp=1, relabel_margin=0.0)
        relabel_all(rule, ledger, history)
        changed[cap] = (ledger.current != ledger.given).nonzero().squeeze(1).tolist()
    assert len(changed[True]) == 14 and set(range(40, 50)) <= set(changed[True])
    assert changed[False] == list(range(50))
