"""The relabeling rule (Eq. 5), its budget, and evidence that is averaged over epochs."""

import oracle
import pytest
import torch

from scn_fastai.core import (
    average_evidence,
    grown_budget,
    low_importance,
    most_doubted,
    noise_estimate,
    noise_shows,
    relabel,
    set_aside,
    spare_ineligible,
)
from scn_fastai.errors import SettingsError


def proposal(batch, n, c=7, margin=0.2, **where):
    logits, alpha, target = batch(n, c, **where)
    return relabel(logits.softmax(1), target, margin=margin), target, alpha


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("scope", ["low", "all"])
def test_relabel_is_equation_5(batch, device, n, c, margin, scope):
    logits, alpha, target = batch(n, c, device=device)
    probs = logits.softmax(1)
    eligible = low_importance(alpha) if scope == "low" else torch.ones(n, dtype=torch.bool, device=device)
    change = relabel(probs, target, eligible, margin)
    expected = oracle.cure(probs.tolist(), target.tolist(), eligible.tolist(), margin)
    assert [tuple(row) for row in zip(*(field.tolist() for field in change), strict=True)] == expected


def test_nothing_is_relabeled_at_margin_1(batch, n, c):
    change, target, _ = proposal(batch, n, c, margin=1.0)
    sure = relabel(torch.eye(c, dtype=torch.float64), (torch.arange(c) + 1) % c, margin=1.0)
    assert not change.mask.any() and change.label.equal(target) and not sure.mask.any()


def test_a_gap_of_exactly_the_margin_is_not_enough():
    probs = torch.tensor([[0.75, 0.25], [0.875, 0.125]])
    assert relabel(probs, torch.tensor([1, 1]), margin=0.5).mask.tolist() == [False, True]


def test_no_eligible_argument_means_everyone(batch, n):
    logits, _, target = batch(n)
    probs = logits.softmax(1)
    everyone = relabel(probs, target, torch.ones(n, dtype=torch.bool))
    assert all(a.equal(b) for a, b in zip(relabel(probs, target), everyone, strict=True))
    assert not relabel(probs, target, torch.zeros(n, dtype=torch.bool)).mask.any()


def test_a_new_label_is_always_another_label(batch):
    change, target, _ = proposal(batch, 128, margin=0.0)
    assert change.mask.any() and change.mask.equal(change.label != target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_relabel_in_every_dtype_agrees_away_from_the_margin(batch, device, dtype):
    logits, _, target = batch(128, device=device)
    exact, rough = (relabel(p, target) for p in (logits.softmax(1), logits.float().softmax(1).to(dtype)))
    clear = ((exact.p_max - exact.p_given) - 0.2).abs() > 0.02
    assert exact.mask[clear].equal(rough.mask[clear]) and clear.sum() > 100
    assert torch.allclose(rough.p_max.double(), exact.p_max, atol=0.01)


@pytest.mark.parametrize("margin", [-0.1, 1.1, float("nan")])
def test_a_relabel_margin_out_of_range_is_refused(margin):
    with pytest.raises(SettingsError, match=r"The relabel margin \(delta2\) is .* values between 0 and 1 and must lie"):
        relabel(torch.rand(2, 2), torch.tensor([0, 1]), margin=margin)


@pytest.mark.parametrize("probs, target", [((2, 3), (3,)), ((2,), (2,)), ((2, 3), (2, 1))])
def test_shapes_that_do_not_fit_are_refused(probs, target):
    with pytest.raises(SettingsError, match=r"relabel needs probs \[B, C\] and target \[B\], but got \["):
        relabel(torch.zeros(probs), torch.zeros(target, dtype=torch.int64))


# ---- how many labels look wrong ----


def test_the_noise_estimate_counts_labels_that_rank_low(batch, device, n, c):
    logits, _, target = batch(n, c, device=device)
    probs = logits.softmax(1)
    found = noise_estimate(probs, target).item()
    assert found == pytest.approx(oracle.noise_estimate(probs.tolist(), target.tolist()))


def test_the_noise_estimate_is_near_the_rate_of_even_flips_and_low_for_faces_that_are_hard_to_tell():
    torch.manual_seed(0)
    true = torch.arange(8).repeat(1000)
    likely = torch.rand(8000, 8)
    likely[torch.arange(8000), true] += 1.5  # the true class first, the others in any order
    wrong = torch.rand(8000) < 0.3
    flipped = torch.where(wrong, (true + torch.randint(1, 8, (8000,))) % 8, true)
    assert noise_estimate(likely.softmax(1), flipped).item() == pytest.approx(0.3, abs=0.02)

    second = torch.where(wrong, (true + 1) % 8, true)
    likely[torch.arange(8000), second] += 1.0  # now 30 % are doubted, but their label is the second likeliest
    assert noise_estimate(likely.softmax(1), second) == 0


@pytest.mark.parametrize(
    "estimates, shows",
    [
        ([0.30, 0.29, 0.28], True),
        ([0.30, 0.27, 0.2701], True),  # nine tenths of two epochs before
        ([0.30, 0.27, 0.2699], False),  # still learning: ever fewer are doubted
        ([0.12, 0.11, 0.1099], False),  # too few
        ([0.05, 0.08, 0.11], True),
        ([0.30, 0.30], False),  # nothing to compare with yet
        ([], False),
        ([0.3, 0.3, float("nan")], False),
    ],
)
def test_noise_shows_where_enough_labels_stay_doubted(estimates, shows):
    assert noise_shows(estimates, needed=0.11) == shows
    assert noise_shows(estimates, needed=0.0)  # nothing is asked for


def test_the_noise_estimate_of_no_samples_is_0():
    assert noise_estimate(torch.zeros(0, 8), torch.zeros(0, dtype=torch.long)) == 0


# ---- budget ----


@pytest.mark.parametrize("budget", [0.01, 0.1, 0.34, 0.5, 1.0])
def test_a_budget_keeps_the_clearest_changes_and_never_more_than_its_share(batch, device, n, budget):
    change, target, _ = proposal(batch, n, device=device)
    kept = most_doubted(change, target, budget)
    ratio = [p / (q + 0.001) for p, q in zip(change.p_max.tolist(), change.p_given.tolist(), strict=True)]
    proposed = sorted(change.mask.nonzero().squeeze(1).tolist(), key=lambda i: (-ratio[i], i))
    assert sorted(proposed[: int(budget * n)]) == kept.mask.nonzero().squeeze(1).tolist()
    assert kept.label.equal(torch.where(kept.mask, change.label, target))


def test_the_label_that_is_ruled_out_goes_first():
    probs = torch.tensor([[0.80, 0.15, 0.05], [0.60, 0.02, 0.38]])  # differences 0.65 and 0.58, ratios 5.3 and 28.6
    change = relabel(probs, torch.tensor([1, 1]))
    assert most_doubted(change, torch.tensor([1, 1]), 0.5).mask.tolist() == [False, True]


def test_a_budget_of_everything_changes_nothing(batch, n):
    change, target, _ = proposal(batch, n)
    assert all(a.equal(b) for a, b in zip(most_doubted(change, target, 1.0), change, strict=True))


def test_among_equal_doubts_the_budget_is_still_kept():
    change = relabel(torch.tensor([[0.9, 0.1]] * 10), torch.ones(10, dtype=torch.int64))
    assert most_doubted(change, torch.ones(10, dtype=torch.int64), 0.3).mask.tolist() == [True] * 3 + [False] * 7


@pytest.mark.parametrize("share", [0.0, 0.1, 0.34, 0.9])
def test_set_aside_are_the_clearest_doubts_among_the_candidates(batch, device, n, c, share):
    logits, alpha, target = batch(n, c, device=device)
    probs, candidates = logits.softmax(1), alpha > 0.4
    found = set_aside(probs, target, candidates, share)
    rows = enumerate(zip(probs.tolist(), target.tolist(), candidates.tolist(), strict=True))
    ratio = {i: max(p) / (p[y] + 0.001) for i, (p, y, may) in rows if may and max(p) > p[y]}
    assert sorted(sorted(ratio, key=lambda i: (-ratio[i], i))[: int(share * n)]) == found.nonzero().squeeze(1).tolist()


def test_a_label_that_the_network_predicts_is_never_set_aside():
    probs = torch.tensor([[0.9, 0.1], [0.51, 0.49]])
    assert set_aside(probs, torch.tensor([0, 1]), torch.tensor([True, True]), 0.99).tolist() == [False, True]


@pytest.mark.parametrize("ramp", [0, 1, 4])
def test_a_budget_grows_evenly_and_stays(ramp):
    shares = [grown_budget(0.2, epoch, ramp) for epoch in range(8)]
    assert shares == pytest.approx([0.2 * min(1, (epoch + 1) / (ramp or 1)) for epoch in range(8)])


def test_ineligible_samples_keep_their_current_label_and_eligible_ones_follow_the_rule(batch):
    change, target, alpha = proposal(batch, 128)
    eligible, current = low_importance(alpha), (target + 1) % 7
    spared = spare_ineligible(change, current, eligible)
    assert spared.label[~eligible].equal(current[~eligible]) and not spared.mask[~eligible].any()
    assert spared.label[eligible].equal(change.label[eligible])
    back = eligible & ~change.mask
    assert back.any() and spared.label[back].equal(target[back]), "the rule takes back what no longer passes"


# ---- evidence ----


@pytest.mark.parametrize("decay", [1.0, 0.7, 0.1])
def test_averaged_evidence_is_the_weighted_mean_of_a_loop(tiny, device, decay):
    n, c = 6, 3
    mean, count = torch.zeros(n, c, device=device), torch.zeros(n, device=device)
    seen = {i: [] for i in range(n)}
    for _ in range(9):
        index = torch.randperm(n, generator=tiny)[:4]
        probs = torch.rand(4, c, generator=tiny).softmax(1)
        average_evidence(mean, count, index.to(device), probs.to(device), decay)
        for i, row in zip(index.tolist(), probs.tolist(), strict=True):
            seen[i].append(row)
    for i, rows in seen.items():
        assert mean[i].tolist() == pytest.approx(oracle.running_mean(rows, decay), abs=1e-5)
        assert count[i].item() == pytest.approx(sum(decay**k for k in range(len(rows))), abs=1e-5)


def test_samples_that_are_not_in_the_batch_keep_their_evidence():
    mean, count = torch.rand(4, 2), torch.arange(4.0)
    before = mean.clone()
    average_evidence(mean, count, torch.tensor([2]), torch.rand(1, 2), 0.7)
    assert mean[[0, 1, 3]].equal(before[[0, 1, 3]]) and count[[0, 1, 3]].tolist() == [0, 1, 3]


def test_a_sample_twice_in_a_batch_counts_once():
    probs = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    twice, once = ((torch.full((2, 2), 0.5), torch.ones(2)) for _ in range(2))
    average_evidence(*twice, torch.tensor([1, 1, 0]), probs[[0, 0, 1]])
    average_evidence(*once, torch.tensor([1, 0]), probs)
    assert all(a.equal(b) for a, b in zip(twice, once, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predictions_go_into_float32_evidence(dtype):
    mean, count = torch.zeros(2, 2), torch.zeros(2)
    average_evidence(mean, count, torch.tensor([1]), torch.tensor([[0.25, 0.75]], dtype=dtype))
    assert mean.dtype == torch.float32 and mean[1].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("decay", [0, -1, 1.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(SettingsError, match=r"The evidence decay is .*, but it must lie in \(0, 1\]; 1 is the plain"):
        average_evidence(torch.zeros(1, 2), torch.zeros(1), torch.tensor([0]), torch.zeros(1, 2), decay)
