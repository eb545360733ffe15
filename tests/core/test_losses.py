"""WCE (Eq. 2), rank regularization (Eq. 3, 4) and their sum: values, exact gradients, limits, dtypes."""

import math

import oracle
import pytest
import torch
from torch.nn.functional import cross_entropy

from scn_fastai.core import (
    combine_losses,
    early_learning,
    evidence_cross_entropy,
    group_means,
    high_group_size,
    low_importance,
    rank_hinge,
    rank_regularization,
    relative_importance,
    scn_loss,
    weighted_cross_entropy,
    weighted_logits,
)
from scn_fastai.errors import SettingsError

HALVES = [(torch.float32, 1e-5), (torch.bfloat16, 0.05), (torch.float16, 0.01)]
MARGINS = (0.0, 0.15, 0.7, 1.0)


def gradient(loss, tensor):
    return torch.autograd.grad(loss, tensor)[0]


# ---- logit-weighted cross-entropy ----


def test_wce_is_equation_2(batch, device, n, c):
    logits, alpha, target = batch(n, c, device=device)
    expected = oracle.wce(logits.tolist(), alpha.tolist(), target.tolist())
    assert weighted_cross_entropy(logits, alpha, target).item() == pytest.approx(expected, abs=1e-10)


def test_wce_of_each_sample_is_that_of_a_batch_of_it(batch, n):
    logits, alpha, target = batch(n)
    each = weighted_cross_entropy(logits, alpha, target, reduction="none")
    alone = [oracle.wce([z], [a], [y]) for z, a, y in zip(*(t.tolist() for t in (logits, alpha, target)), strict=True)]
    assert each.tolist() == pytest.approx(alone)
    assert weighted_cross_entropy(logits, alpha, target, reduction="sum").item() == pytest.approx(sum(alone))


def test_alpha_1_is_plain_cross_entropy_and_alpha_0_is_log_c(batch, n, c):
    logits, alpha, target = batch(n, c)
    assert weighted_cross_entropy(logits, torch.ones_like(alpha), target).equal(cross_entropy(logits, target))
    assert weighted_cross_entropy(logits, alpha * 0, target).item() == pytest.approx(math.log(c))


def test_wce_gradient_of_alpha_is_the_given_logit_against_the_mean_one(batch, n, c):
    logits, alpha, target = batch(n, c)
    grad = gradient(weighted_cross_entropy(logits, alpha.requires_grad_(), target), alpha).tolist()
    for z, a, y, g in zip(logits.tolist(), alpha.tolist(), target.tolist(), grad, strict=True):
        p = oracle.softmax([a * value for value in z])
        mean = sum(p_j * z_j for p_j, z_j in zip(p, z, strict=True))
        assert g == pytest.approx(-(z[y] - mean) / n, abs=1e-12)


def test_wce_gradcheck(batch, c):
    logits, alpha, target = batch(5, c)
    loss = lambda z, a: weighted_cross_entropy(z, a, target)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(), alpha.requires_grad_()))


@pytest.mark.parametrize("dtype, tolerance", HALVES)
def test_wce_of_half_precision_logits_is_float32_and_close(batch, device, dtype, tolerance):
    logits, alpha, target = batch(128, device=device)
    loss = weighted_cross_entropy(logits.to(dtype), alpha.float(), target)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(weighted_cross_entropy(logits, alpha, target).item(), abs=tolerance)


def test_wce_under_autocast_is_that_of_float32(batch, device):
    logits, alpha, target = batch(128, dtype=torch.float32, device=device)
    plain = weighted_cross_entropy(logits, alpha, target)
    with torch.autocast(device, torch.bfloat16):
        assert weighted_cross_entropy(logits, alpha, target).equal(plain)


@pytest.mark.parametrize("logits, alpha", [((2, 3), (3,)), ((2, 3), (2, 1)), ((3,), (3,))])
def test_logits_and_alpha_that_do_not_fit_are_refused(logits, alpha):
    with pytest.raises(SettingsError, match=r"weighted_logits needs logits \[B, C\] and alpha \[B\], but got \["):
        weighted_logits(torch.zeros(logits), torch.zeros(alpha))


# ---- cross-entropy against evidence ----


def test_evidence_cross_entropy_is_that_of_the_samples_set_aside_over_the_whole_batch(batch, device, n, c):
    logits, alpha, _ = batch(n, c, device=device)
    evidence, aside = batch(n, c, device=device)[0].softmax(1), alpha < 0.5
    rows = zip(logits.tolist(), evidence.tolist(), aside.tolist(), strict=True)
    each = [-sum(q * math.log(p) for q, p in zip(qs, oracle.softmax(z), strict=True)) for z, qs, a in rows if a]
    assert evidence_cross_entropy(logits, evidence, aside).item() == pytest.approx(sum(each) / n)


def test_certain_evidence_is_a_label(batch, n, c):
    logits, _, target = batch(n, c)
    certain = torch.nn.functional.one_hot(target, c).double()
    assert evidence_cross_entropy(logits, certain, torch.ones(n, dtype=torch.bool)).item() == pytest.approx(
        cross_entropy(logits, target).item()
    )


def test_only_samples_set_aside_have_a_gradient_and_evidence_has_none(batch, c):
    logits, alpha, _ = batch(7, c)
    evidence = torch.full((7, c), 1 / c, dtype=torch.float64, requires_grad=True)
    evidence_cross_entropy(logits.requires_grad_(), evidence, alpha < 0.5).backward()
    assert ((logits.grad != 0).any(1) == (alpha < 0.5)).all() and evidence.grad is None


@pytest.mark.parametrize("dtype, tolerance", HALVES)
def test_evidence_cross_entropy_of_half_precision_logits_is_float32_and_close(batch, device, dtype, tolerance):
    logits, _, _ = batch(128, device=device)
    evidence, aside = torch.full((128, 7), 1 / 7, device=device), torch.ones(128, dtype=torch.bool, device=device)
    found = evidence_cross_entropy(logits.to(dtype), evidence, aside)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(evidence_cross_entropy(logits, evidence, aside).item(), abs=tolerance)


# ---- early learning ----


def test_early_learning_is_the_loop_over_samples_and_classes(batch, device, n, c):
    logits, _, _ = batch(n, c, device=device)
    target = batch(n, c, device=device)[0].softmax(1) / 2
    rows = zip(logits.tolist(), target.tolist(), strict=True)
    each = [math.log(1 - sum(t * p for t, p in zip(ts, oracle.softmax(z), strict=True))) for z, ts in rows]
    assert early_learning(logits, target, 3.0).item() == pytest.approx(3 * sum(each) / n, rel=1e-3)


def test_nothing_is_asked_of_a_target_of_zeros_and_no_gradient_reaches_a_target(batch, c):
    logits, _, _ = batch(3, c)
    target = torch.zeros(3, c, dtype=torch.float64)
    target[1:, 0] = 0.5  # of the same share of every class nothing would be asked either
    early_learning(logits.requires_grad_(), target.requires_grad_()).backward()
    assert (logits.grad[0] == 0).all() and (logits.grad[1:] != 0).any(1).all() and target.grad is None


def test_relative_importance_has_mean_1_keeps_the_ranking_and_cannot_be_turned_down_as_a_whole(batch):
    _, alpha, _ = batch(128)
    relative = relative_importance(alpha.requires_grad_())
    assert relative.mean().item() == pytest.approx(1)
    assert torch.equal(relative.argsort(), alpha.argsort())
    assert relative_importance(alpha / 2).tolist() == pytest.approx(relative.tolist())
    downhill = gradient((relative * torch.randn(128, dtype=torch.float64)).sum(), alpha)
    assert (downhill * alpha).sum().item() == pytest.approx(0, abs=1e-9)


# ---- rank regularization ----


@pytest.mark.parametrize("margin", MARGINS)
def test_rank_loss_is_equations_3_and_4(batch, device, n, beta, margin):
    _, alpha, _ = batch(n, device=device)
    alpha = alpha**2
    assert rank_regularization(alpha, beta, margin).item() == pytest.approx(
        oracle.rank_loss(alpha.tolist(), beta, margin), abs=1e-12
    )


def test_group_means_are_the_means_of_the_groups_that_low_importance_marks(batch, beta):
    _, alpha, _ = batch(7)
    low = low_importance(alpha, beta)
    expected = alpha[~low].mean().item(), alpha[low].mean().item()
    assert [m.item() for m in group_means(alpha, beta)] == pytest.approx(expected)


def test_rank_gradient_is_shared_evenly_within_each_group(batch, beta):
    for n in (2, 3, 7, 128):
        _, alpha, _ = batch(n)
        grad = gradient(rank_regularization(alpha.requires_grad_(), beta, margin=1.0), alpha)
        size = high_group_size(n, beta)
        expected = torch.where(low_importance(alpha, beta), 1 / (n - size), -1 / size).double()
        assert torch.allclose(grad, expected, atol=1e-12)


def test_rank_loss_and_its_gradient_are_zero_once_the_gap_is_wider_than_the_margin(batch, beta):
    _, alpha, _ = batch(64)
    high, low = group_means(alpha, beta)
    gap = (high - low).item()
    loss = rank_regularization(alpha.requires_grad_(), beta, margin=gap - 1e-6)
    assert loss.item() == 0 and not gradient(loss, alpha).any()
    assert rank_regularization(alpha, beta, margin=gap + 1e-6).item() == pytest.approx(1e-6)


@pytest.mark.parametrize("margin", [*MARGINS, torch.tensor(0.15)])
def test_a_batch_of_one_has_no_rank_loss_and_a_zero_gradient(beta, margin):
    alpha = torch.tensor([0.3], requires_grad=True)
    loss = rank_regularization(alpha, beta, margin)
    assert loss.item() == 0 and gradient(loss, alpha).tolist() == [0]


def test_alphas_that_all_tie_cost_the_whole_margin(beta):
    alpha = torch.full((7,), 0.5, dtype=torch.float64, requires_grad=True)
    loss = rank_regularization(alpha, beta, margin=0.15)
    assert loss.item() == pytest.approx(0.15)
    grad = gradient(loss, alpha)
    assert grad.sum().item() == pytest.approx(0) and int((grad < 0).sum()) == high_group_size(7, beta)


def test_rank_loss_gradcheck_away_from_ties_and_kink(batch, beta):
    _, alpha, _ = batch(7)
    margin = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    function = lambda a, m: rank_regularization(a, beta, m)  # noqa: E731
    assert torch.autograd.gradcheck(function, (alpha.requires_grad_(), margin))


def test_a_learnable_margin_can_only_shrink():
    margin = torch.tensor(0.15, requires_grad=True)
    active, met = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
    assert gradient(rank_regularization(active, 0.5, margin), margin).item() == 1
    assert gradient(rank_regularization(met, 0.5, margin), margin).item() == 0


@pytest.mark.parametrize("dtype, tolerance", HALVES)
def test_rank_loss_of_half_precision_alpha_is_float32_and_close(batch, device, dtype, tolerance):
    _, alpha, _ = batch(128, device=device)
    loss = rank_regularization(alpha.to(dtype), margin=1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(rank_regularization(alpha, margin=1.0).item(), abs=tolerance)


def test_the_hinge_is_the_missing_gap():
    gaps = [rank_hinge(torch.tensor(high), torch.tensor(0.5), 0.25).item() for high in (0.5, 0.625, 0.75, 1.0)]
    assert gaps == [0.25, 0.125, 0.0, 0.0]


@pytest.mark.parametrize("margin", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_rank_margin_out_of_range_is_refused(margin):
    with pytest.raises(SettingsError, match=r"^The rank margin \(delta1\) is .* values between 0 and 1 and must lie"):
        rank_regularization(torch.rand(4), margin=margin)


def test_the_rank_loss_refuses_beta_even_for_a_batch_of_one():
    with pytest.raises(SettingsError, match="beta is 1.2"):
        rank_regularization(torch.rand(1), beta=1.2)


# ---- the total ----


@pytest.mark.parametrize("gamma, combine", [(0.0, "mix"), (0.5, "mix"), (1.0, "mix"), (0.5, "sum")])
def test_total_is_the_one_below_equation_4(batch, device, n, gamma, combine):
    logits, alpha, target = batch(n, device=device)
    loss = scn_loss(logits, alpha, target, beta=0.6, margin=0.8, gamma=gamma, combine=combine)
    lists = logits.tolist(), alpha.tolist(), target.tolist()
    assert loss.total.item() == pytest.approx(oracle.total_loss(*lists, 0.6, 0.8, gamma, combine), abs=1e-10)
    assert loss.wce.item() == pytest.approx(oracle.wce(*lists))
    assert loss.rank.item() == pytest.approx(oracle.rank_loss(lists[1], 0.6, 0.8))


def test_the_sum_is_twice_the_even_mix_and_ignores_gamma(batch):
    logits, alpha, target = batch(16)
    mix = scn_loss(logits, alpha, target, gamma=0.5).total
    for gamma in (0.1, 0.5):
        assert scn_loss(logits, alpha, target, gamma=gamma, combine="sum").total.item() == pytest.approx(2 * mix.item())


@pytest.mark.parametrize("combine", ["mix", "sum"])
def test_scn_loss_gradcheck_with_a_learnable_margin(batch, combine):
    logits, alpha, target = batch(6)
    margin = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    total = lambda z, a, m: scn_loss(z, a, target, margin=m, combine=combine).total  # noqa: E731
    assert torch.autograd.gradcheck(total, (logits.requires_grad_(), alpha.requires_grad_(), margin))


def test_the_rank_part_is_blind_to_labels_and_logits(batch):
    logits, alpha, target = batch(32)
    one, other = (scn_loss(z, alpha, y, margin=0.9) for z, y in ((logits, target), (logits * 5, (target + 1) % 7)))
    assert one.rank.equal(other.rank) and one.rank > 0 and not one.wce.equal(other.wce)


def test_the_loss_of_a_batch_of_one_trains_without_nan(batch):
    logits, alpha, target = batch(1)
    loss = scn_loss(logits.requires_grad_(), alpha.requires_grad_(), target, combine="sum")
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss.total, (logits, alpha)))
    assert loss.total.equal(loss.wce)


@pytest.mark.parametrize("dtype, tolerance", HALVES)
def test_total_in_half_precision_is_float32_and_close(batch, device, dtype, tolerance):
    logits, alpha, target = batch(128, device=device)
    total = scn_loss(logits.to(dtype), alpha.to(dtype).float(), target).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(scn_loss(logits, alpha, target).total.item(), abs=tolerance)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_gamma_out_of_range_is_refused(gamma):
    with pytest.raises(SettingsError, match="^gamma is .*, but it weighs RR against WCE and must lie between 0 and 1"):
        combine_losses(torch.tensor(1.0), torch.tensor(1.0), gamma)


def test_an_unknown_way_to_combine_is_refused():
    with pytest.raises(SettingsError, match="combine is 'max', but it must be 'mix' .* or 'sum'"):
        combine_losses(torch.tensor(1.0), torch.tensor(1.0), combine="max")
