"""One batch under the lens: losses, groups, gradients and words against the equations as loops and in closed form."""

import oracle
import pytest
import torch

from scn_fastai.core.microscope import digits_apart, examine_batch, gather_evidence
from scn_fastai.errors import DataError, SettingsError

MET, UNMET = 0.0, 0.9


def closed_forms(logits, weight, target, low, margin_is_met, n):
    """dWCE/dweight_i = -(z_y - E_p[z]) / N with p = softmax(weight z); dRR/dalpha_i = -1/M or +1/(N - M), or 0."""
    of_wce, of_rank = [], []
    for row, w, y in zip(logits.tolist(), weight.tolist(), target.tolist(), strict=True):
        p = oracle.softmax([w * z for z in row])
        of_wce.append(-(row[y] - sum(share * z for share, z in zip(p, row, strict=True))) / n)
    high = n - sum(low.tolist())
    for is_low in low.tolist():
        of_rank.append(0.0 if margin_is_met or n == 1 else 1 / (n - high) if is_low else -1 / high)
    return torch.tensor(of_wce).double(), torch.tensor(of_rank).double()


# ---- losses and groups ----


@pytest.mark.parametrize("combine", ["mix", "sum"])
def test_losses_and_groups_are_the_equations(batch, n, c, beta, combine):
    logits, alpha, target = batch(n, c)
    report = examine_batch(logits, alpha, target, beta=beta, rank_margin=0.5, gamma=0.3, combine=combine)
    loops = logits.tolist(), alpha.tolist(), target.tolist()
    assert report.mean_wce.item() == pytest.approx(oracle.wce(*loops), abs=1e-10)
    assert report.rank.item() == pytest.approx(oracle.rank_loss(loops[1], beta, 0.5), abs=1e-10)
    assert report.total.item() == pytest.approx(oracle.total_loss(*loops, beta, 0.5, 0.3, combine), abs=1e-10)
    each = [oracle.wce([z], [a], [y]) for z, a, y in zip(*loops, strict=True)]
    assert report.wce.tolist() == pytest.approx(each, abs=1e-10)
    high, low = oracle.split(loops[1], beta)
    assert report.order.tolist() == high + low and report.low.nonzero().squeeze(1).tolist() == sorted(low)
    assert report.alpha_high.item() == pytest.approx(sum(loops[1][i] for i in high) / len(high))


def test_equal_alphas_keep_their_order():
    report = examine_batch(torch.zeros(4, 2), torch.full((4,), 0.5), torch.tensor([0, 1, 0, 1]), beta=0.5)
    assert report.order.tolist() == [0, 1, 2, 3] and report.low.tolist() == [False, False, True, True]


# ---- gradients ----


@pytest.mark.parametrize("margin", [MET, UNMET])
def test_gradients_are_the_closed_forms(batch, n, c, margin):
    logits, alpha, target = batch(n, c)
    report = examine_batch(logits, alpha, target, rank_margin=margin, gamma=0.3)
    of_wce, of_rank = closed_forms(logits, alpha, target, report.low, margin == MET, n)
    torch.testing.assert_close(report.gradient_wce, 0.7 * of_wce)
    torch.testing.assert_close(report.gradient_rank, 0.3 * of_rank)
    torch.testing.assert_close(report.gradient, 0.7 * of_wce + 0.3 * of_rank)
    summed = examine_batch(logits, alpha, target, rank_margin=margin, combine="sum")
    torch.testing.assert_close(summed.gradient, of_wce + of_rank)


def test_gradient_with_relative_importance_has_a_part_for_everybody(batch, c):
    """weight_i = alpha_i / m with m the mean: dL/dalpha_i = g_i / m - sum_j g_j alpha_j / (N m^2)."""
    n = 7
    logits, alpha, target = batch(n, c)
    report = examine_batch(logits, alpha, target, combine="sum", rank_margin=UNMET, relative=True)
    mean = alpha.mean()
    torch.testing.assert_close(report.weight, alpha / mean)
    of_weight, of_rank = closed_forms(logits, alpha / mean, target, report.low, False, n)
    expected = of_weight / mean - (of_weight * alpha).sum() / (n * mean**2)
    torch.testing.assert_close(report.gradient_wce, expected)
    torch.testing.assert_close(report.gradient_rank, of_rank)
    assert (report.gradient_wce * alpha).sum().abs() < 1e-12  # turning all alphas up together changes nothing


def test_gradient_of_the_logits(batch, c):
    logits, alpha, target = batch(7, c)
    report = examine_batch(logits, alpha, target, gamma=0.25)
    p = (alpha[:, None] * logits).softmax(1)
    p[torch.arange(7), target] -= 1
    torch.testing.assert_close(report.logit_gradient, 0.75 / 7 * alpha * p.norm(dim=1))


def test_nothing_of_the_caller_is_changed(batch):
    logits, alpha, target = batch(7)
    alpha.requires_grad_()
    before = logits.clone()
    examine_batch(logits, alpha, target)
    assert alpha.grad is None and torch.equal(logits, before)


def test_half_precision_and_a_model_elsewhere(batch, device):
    logits, alpha, target = batch(7, device=device)
    report = examine_batch(logits.half(), alpha.float(), target)
    assert report.gradient.dtype == torch.float64 and report.gradient.device.type == "cpu"


# ---- who would be relabelled ----


def test_relabelling_is_equation_5(batch, n, c, beta):
    logits, alpha, target = batch(n, c)
    for scope in ("low", "all"):
        report = examine_batch(logits, alpha, target, beta=beta, scope=scope, relabel_margin=0.2)
        probs = [oracle.softmax([a * z for z in row]) for row, a in zip(logits.tolist(), alpha.tolist(), strict=True)]
        may = [scope == "all" or low for low in report.low.tolist()]
        expected = oracle.cure(probs, target.tolist(), may, 0.2)
        assert report.label.tolist() == [cure.label for cure in expected]
        assert report.changed.tolist() == [cure.mask for cure in expected]
        assert report.p_max.tolist() == pytest.approx([cure.p_max for cure in expected])
        assert report.p_given.tolist() == pytest.approx([cure.p_given for cure in expected])


def words(p, target, reference=0, **settings):
    """What is said of the second of two samples, the one of lower alpha, whose glad-probability is p."""
    evidence = torch.tensor([[0.5, 0.5], [1 - p, p]])
    report = examine_batch(
        torch.zeros(2, 2), torch.tensor([0.9, 0.2]), torch.tensor([0, target]), classes=["sad", "glad"],
        reference=torch.tensor([0, reference]), evidence=evidence, **settings,
    )  # fmt: skip
    return report.why[1], report.label[1].item(), report.changed[1].item()


def test_why_is_said_in_words():
    assert words(0.9, 0) == ("relabelled: sad -> glad (P_max - P_given = 0.80, above the margin of 0.20)", 1, True)
    assert words(0.56, 0) == ("P_max - P_given = 0.12, not above the margin of 0.20", 0, False)
    assert words(0.3, 0) == ("the most probable class is its label", 0, False)
    assert words(0.6001, 0)[0] == "relabelled: sad -> glad (P_max - P_given = 0.2002, above the margin of 0.2000)"


def test_a_label_that_was_changed_before_stays_or_comes_back():
    stays = "stays relabelled: sad -> glad (P_max - P_given = 0.80, above the margin of 0.20)"
    assert words(0.9, 1, reference=0) == (stays, 1, False)
    back = "taken back: glad -> sad (P_max - P_given = 0.12, not above the margin of 0.20)"
    assert words(0.56, 1, reference=0) == (back, 0, True)


def test_who_is_not_in_the_low_group_keeps_the_label():
    report = examine_batch(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([0.9, 0.2]), torch.tensor([0, 0]))
    assert report.why == ["not in the low group", "the most probable class is its label"]
    everyone = examine_batch(torch.tensor([[0.0, 9.0], [9.0, 0.0]]), torch.tensor([0.9, 0.2]), torch.tensor([0, 0]),
                             scope="all")  # fmt: skip
    assert everyone.changed.tolist() == [True, False]


def test_digits_tell_numbers_apart():
    assert [digits_apart(*pair) for pair in ((0.1, 0.9), (0.154, 0.15), (0.15, 0.15), (0.15, 0.15 + 1e-9))] == [
        2, 3, 2, 6]  # fmt: skip


# ---- evidence ----


def test_evidence_is_the_running_mean(tiny):
    logits, weight = torch.randn(5, 3, 4, generator=tiny), torch.rand(5, 3, generator=tiny)
    weight[2, 1] = weight[4, 1] = torch.nan
    weight[:, 2] = torch.nan
    found = gather_evidence(logits, weight, decay=0.7)
    for sample in (0, 1):
        rows = zip(logits[:, sample].tolist(), weight[:, sample].tolist(), strict=True)
        seen = [oracle.softmax([w * z for z in row]) for row, w in rows if w == w]
        assert found[sample].tolist() == pytest.approx(oracle.running_mean(seen, 0.7), abs=1e-6)
    assert found[2].tolist() == [0, 0, 0, 0]


# ---- bad input ----


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"alpha": [0.5, float("nan"), 0.1]}, DataError, "Sample 1 of the batch has no alpha"),
        ({"alpha": [0.5, 0.2]}, DataError, r"logits \[B, C\], and alpha"),
        ({"target": [0, 1, 2]}, DataError, "outside the 2 classes"),
        ({"target": [0, 1, -1]}, DataError, "outside the 2 classes"),
        ({"logits": torch.zeros(0, 2), "alpha": [], "target": []}, DataError, "no sample in this batch"),
        ({"classes": ["sad"]}, DataError, "1 class names but 2 classes"),
        ({"evidence": torch.zeros(3, 4)}, DataError, "evidence has shape"),
        ({"scope": "some"}, SettingsError, "'low' or 'all'"),
        ({"beta": 1.0}, SettingsError, "beta is 1.0"),
        ({"gamma": 2.0}, SettingsError, "gamma is 2.0"),
        ({"rank_margin": -0.1}, SettingsError, "delta1"),
        ({"relabel_margin": 1.1}, SettingsError, "delta2"),
        ({"combine": "both"}, SettingsError, "combine is 'both'"),
    ],
)
def test_bad_input_is_a_sentence(change, error, sentence):
    batch = {"logits": torch.zeros(3, 2), "alpha": [0.9, 0.5, 0.1], "target": [0, 1, 0]} | change
    with pytest.raises(error, match=sentence):
        examine_batch(**batch)
