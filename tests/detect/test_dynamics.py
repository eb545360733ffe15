"""Scores from the history against the formulas as plain loops, on tiny histories with planted noise."""

import math

import numpy as np
import pytest
import torch

from scn_fastai.detect import dynamics
from scn_fastai.detect.groups import auroc
from scn_fastai.detect.metrics import rank_correlation
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.history import SCNHistory

N, E, C = 24, 5, 3
SCORES = {
    "loss": lambda h, y: dynamics.loss(h, y),
    "loss_mean": lambda h, y: dynamics.loss(h, y, None),
    "confidence": lambda h, y: dynamics.self_confidence(h, y, None),
    "gap": dynamics.prediction_gap,
    "gap_averaged": dynamics.averaged_gap,
    "aum": dynamics.aum,
    "variability": dynamics.variability,
    "incorrectness": dynamics.incorrectness,
    "forgetting": dynamics.forgetting,
}


def history_of(logits, alpha, weighting=True, relative=False):
    """A history with these logits [E, N, C] and alpha [E, N], NaN: not drawn."""
    epochs, n, c = logits.shape
    history = SCNHistory(n, c)
    for z, a in zip(logits, alpha, strict=True):
        seen = torch.from_numpy(np.flatnonzero(np.isfinite(a)))
        history.begin_epoch("cpu")
        history.see(seen, torch.tensor(a, dtype=torch.float32)[seen], torch.tensor(z)[seen], torch.zeros(len(seen)) > 0)
        history.add(**{name: torch.tensor(0.5) for name in ("wce", "rank", "alpha_high", "alpha_low")})
        history.end_epoch(weighting=weighting, relative=relative)
    return history


@pytest.fixture
def made():
    """History, given labels and the logits as stored: some samples skip epochs, the last one all of them."""
    rng = np.random.default_rng(3)
    true = np.arange(N) % C
    given = np.where(np.arange(N) % 4 == 0, (true + 1) % C, true)
    logits = rng.normal(0, 1.5, (E, N, C)) + 2 * np.eye(C)[true] * np.linspace(0.2, 1, E)[:, None, None]
    alpha = rng.uniform(0.2, 0.9, (E, N))
    alpha[0, 1] = alpha[2, 5] = alpha[E - 1, 6] = np.nan
    alpha[:, N - 1] = np.nan
    return history_of(logits, alpha), given, logits.astype(np.float16).astype(float), alpha


def softmax(z):
    top = max(z)
    parts = [math.exp(v - top) for v in z]
    return [v / sum(parts) for v in parts]


def presentations(i, logits, alpha):
    """Logits of a sample in the epochs in which it was drawn."""
    return [list(logits[e, i]) for e in range(len(logits)) if not math.isnan(alpha[e, i])]


def margins(z, y):
    return z[y] - max(v for k, v in enumerate(z) if k != y)


def mean(values):
    return sum(values) / len(values) if values else math.nan


def by_loop(name, i, given, logits, alpha):
    """The score of a sample from its formula."""
    y, zs = int(given[i]), presentations(i, logits, alpha)
    p_y = [softmax(z)[y] for z in zs]
    last = list(logits[-1, i]) if not math.isnan(alpha[-1, i]) else None
    if name == "loss":
        return -math.log(softmax(last)[y]) if last else math.nan
    if name == "gap":
        return max(softmax(last)) - softmax(last)[y] if last else math.nan
    if not zs:
        return math.nan
    if name == "loss_mean":
        return mean([-math.log(p) for p in p_y])
    if name == "confidence":
        return 1 - mean(p_y)
    if name == "aum":
        return -mean([margins(z, y) for z in zs])
    if name == "variability":
        return math.sqrt(mean([(p - mean(p_y)) ** 2 for p in p_y]))
    right = [max(z) == z[y] for z in zs]
    if name == "incorrectness":
        return 1 - mean([float(r) for r in right])
    if name == "forgetting":
        return sum(a and not b for a, b in zip(right, right[1:], strict=False)) if any(right) else len(logits)
    drawn = [e for e in range(len(logits)) if not math.isnan(alpha[e, i])]
    weights = [0.7 ** (len(drawn) - 1 - t) for t in range(len(drawn))]
    probs = [softmax([alpha[e, i] * v for v in logits[e, i]]) for e in drawn]
    averaged = [sum(w * p[k] for w, p in zip(weights, probs, strict=True)) / sum(weights) for k in range(C)]
    return max(averaged) - averaged[y]


@pytest.mark.parametrize("name", SCORES)
def test_each_score_is_its_formula(made, name):
    history, given, logits, alpha = made
    found = SCORES[name](history, given)
    np.testing.assert_allclose(found, [by_loop(name, i, given, logits, alpha) for i in range(N)], atol=2e-6)
    assert found.dtype == float and np.isnan(found[N - 1])


@pytest.mark.parametrize("name", SCORES)
def test_the_order_of_samples_and_a_shift_of_logits_do_not_matter(made, name):
    _, given, logits, alpha = made
    order = np.random.default_rng(0).permutation(N)
    plain = SCORES[name](history_of(logits, alpha), given)
    np.testing.assert_allclose(SCORES[name](history_of(logits[:, order], alpha[:, order]), given[order]), plain[order])
    shifted = SCORES[name](history_of(logits + 1.0, alpha), given)
    np.testing.assert_allclose(shifted, plain, atol=0.01)  # half precision


@pytest.mark.parametrize("name", ["loss", "loss_mean", "confidence", "gap", "gap_averaged", "aum", "incorrectness"])
def test_a_lower_logit_of_the_given_class_is_never_less_suspicious(made, name):
    _, given, logits, alpha = made
    worse = logits.copy()
    worse[:, np.arange(N), given] -= 1.5
    before, after = (SCORES[name](history_of(z, alpha), given) for z in (logits, worse))
    assert np.nanmin(after - before) > -1e-6 and np.nanmax(after - before) > 0.01


def test_planted_noise_is_on_top(made):
    history, given, *_ = made
    wrong = np.arange(N) % 4 == 0
    for name in ("loss_mean", "confidence", "aum", "incorrectness"):
        score = SCORES[name](history, given)
        assert np.nanmean(score[wrong]) > np.nanmean(score[~wrong]), name


def test_alpha_knows_no_label(made):
    history, given, _, alpha = made
    np.testing.assert_allclose(dynamics.alpha_doubt(history), 1 - alpha[-1], atol=1e-6)
    np.testing.assert_allclose(dynamics.alpha_doubt(history, 0), 1 - alpha[0], atol=1e-6)
    drawn = [[a for a in alpha[:, i] if not math.isnan(a)] for i in range(N)]
    np.testing.assert_allclose(dynamics.alpha_doubt(history, None), [1 - mean(a) for a in drawn], atol=1e-6)


def test_the_weighted_gap_is_that_of_the_weighted_logits(made):
    history, given, logits, alpha = made
    loop = [softmax([alpha[1, i] * v for v in logits[1, i]]) for i in range(N - 1)]
    found = dynamics.prediction_gap(history, given, 1, "weighted")[: N - 1]
    np.testing.assert_allclose(found, [max(p) - p[given[i]] for i, p in enumerate(loop)], atol=1e-6)


def test_forgetting_counts_over_the_epochs_in_which_a_sample_was_drawn():
    right, wrong = [3.0, 0.0], [0.0, 3.0]
    logits = np.array([[right, right, wrong], [wrong, wrong, wrong], [right, wrong, wrong], [wrong, right, wrong]])
    alpha = np.full((4, 3), 0.5)
    alpha[1, 1] = np.nan
    assert dynamics.forgetting(history_of(logits, alpha), np.zeros(3, int)).tolist() == [2, 1, 4]


def test_aum_may_stop_early(made):
    history, given, logits, alpha = made
    np.testing.assert_allclose(dynamics.aum(history, given, 1)[0], -margins(list(logits[0, 0]), given[0]), atol=1e-6)
    with pytest.raises(RunError, match="AUM over 9 epochs does not fit a history of 5"):
        dynamics.aum(history, given, 9)


def test_rank_within_class_is_blind_to_the_class():
    rng = np.random.default_rng(0)
    given, score = np.repeat([0, 1, 2], 10), rng.normal(size=30)
    score[4], score[5] = np.nan, score[6]
    ranks = dynamics.within_class(score, given)
    for i in range(30):
        own = [score[j] for j in range(30) if given[j] == given[i] and not math.isnan(score[j])]
        below = sum(v < score[i] for v in own) + (sum(v == score[i] for v in own) + 1) / 2
        assert math.isnan(ranks[i]) if i == 4 else ranks[i] == pytest.approx((below - 0.5) / len(own))
    np.testing.assert_allclose(dynamics.within_class(score + 100 * given, given), ranks)


def test_rank_within_class_is_blind_to_the_size_of_the_class():
    given = np.repeat([0, 1, 2], [1000, 10, 1])
    ranks = dynamics.within_class(np.full(1011, 3.0), given)
    assert (ranks == 0.5).all()
    assert auroc(ranks, given == 1) == 0.5 and math.isnan(rank_correlation(ranks, np.arange(1011.0)))
    ranks = dynamics.within_class(np.random.default_rng(0).normal(size=1011), given)
    assert [ranks[given == code].mean() for code in range(3)] == pytest.approx([0.5] * 3)


def test_bad_input_is_a_sentence(made):
    history, given, *_ = made
    empty = SCNHistory(3, 2)
    for call in (lambda: dynamics.alpha_doubt(empty), lambda: dynamics.alpha_doubt(empty, None),
                 lambda: dynamics.forgetting(empty, np.zeros(3, int))):  # fmt: skip
        with pytest.raises(RunError, match="no epoch in this history yet: train"):
            call()
    with pytest.raises(RunError, match="no epoch 7 in this history, which has 5"):
        dynamics.loss(history, given, 7)
    with pytest.raises(DataError, match="24 samples in the history but 3 given labels"):
        dynamics.aum(history, given[:3])
    with pytest.raises(DataError, match="whole numbers from 0 to 2"):
        dynamics.aum(history, given + 5)
