"""Alpha (Eq. 1) and the two groups: against the oracle, by gradcheck, in every dtype."""

import oracle
import pytest
import torch

from scn_fastai.core import attention_weights, high_group_size, low_importance
from scn_fastai.errors import SettingsError


def features_and_weight(generator, n, d=16, dtype=torch.float64, device="cpu"):
    x, w = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((n, d), (d,)))
    return x.to(device, dtype), w.to(device, dtype)


@pytest.mark.parametrize("bias", [None, 0.75])
def test_alpha_is_equation_1(tiny, device, n, bias):
    x, w = features_and_weight(tiny, n, device=device)
    alpha = attention_weights(x, w, None if bias is None else torch.tensor([bias], device=device))
    assert alpha.tolist() == pytest.approx(oracle.importance(x.tolist(), w.tolist(), bias or 0.0), abs=1e-12)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_the_bias_may_be_a_scalar_or_a_vector_of_one(shape):
    alpha = attention_weights(torch.zeros(3, 2), torch.zeros(2), torch.full(shape, 2.0))
    assert torch.allclose(alpha, torch.full((3,), 2.0).sigmoid())


def test_scores_far_from_zero_give_0_and_1_without_nan():
    alpha = attention_weights(torch.tensor([[-1e4], [1e4]]), torch.ones(1))
    assert alpha.tolist() == [0.0, 1.0]


def test_alpha_gradcheck(tiny):
    x, w = features_and_weight(tiny, 5, d=4)
    bias = torch.tensor([0.3], dtype=torch.float64)
    inputs = [t.requires_grad_() for t in (x, w, bias)]
    assert torch.autograd.gradcheck(attention_weights, inputs)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_alpha_is_float32_whatever_the_features_are(tiny, device, dtype, tolerance):
    x, w = features_and_weight(tiny, 128, device=device)
    alpha = attention_weights(x.to(dtype), w.to(dtype))
    assert alpha.dtype == torch.float32
    assert torch.allclose(alpha.double(), attention_weights(x, w), atol=tolerance)


def test_autocast_does_not_touch_alpha(tiny, device):
    x, w = features_and_weight(tiny, 128, dtype=torch.float32, device=device)
    plain = attention_weights(x, w, torch.tensor(0.1, device=device))
    with torch.autocast(device, torch.bfloat16):
        assert (x @ w).dtype == torch.bfloat16, "autocast is on"
        alpha = attention_weights(x, w, torch.tensor(0.1, device=device))
    assert alpha.dtype == torch.float32 and torch.equal(alpha, plain)


@pytest.mark.parametrize("shape, weight", [((2, 3), (4,)), ((2, 3, 1), (3,)), ((3,), (3,)), ((2, 3), (1, 3))])
def test_shapes_that_do_not_fit_are_refused(shape, weight):
    with pytest.raises(SettingsError, match=r"features \[B, D\] and weight \[D\], .* flatten the pooled features"):
        attention_weights(torch.zeros(shape), torch.zeros(weight))


def test_groups_are_those_of_the_oracle(batch, device, n, beta):
    _, alpha, _ = batch(n, device=device)
    low = low_importance(alpha, beta)
    assert low.device == alpha.device and low.dtype == torch.bool
    assert sorted(oracle.split(alpha.tolist(), beta)[1]) == low.nonzero().squeeze(1).tolist()


def test_both_groups_have_a_member_from_two_samples_on():
    for beta in (0.001, 0.3, 0.5, 0.7, 0.9, 0.999):
        for n in range(2, 70):
            assert 1 <= high_group_size(n, beta) <= n - 1
            assert int(low_importance(torch.rand(n), beta).sum()) == n - high_group_size(n, beta)


def test_a_single_sample_is_not_in_the_low_group(beta):
    assert low_importance(torch.tensor([0.01]), beta).tolist() == [False]


def test_ties_put_every_sample_in_exactly_one_group_earlier_ones_high(n, beta):
    size = high_group_size(n, beta)
    assert low_importance(torch.full((n,), 0.5), beta).tolist() == [i >= size for i in range(n)]


def test_the_split_does_not_depend_on_the_order_of_samples(batch, beta):
    _, alpha, _ = batch(64)
    order = torch.randperm(64)
    assert torch.equal(low_importance(alpha, beta)[order], low_importance(alpha[order], beta))


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5, float("nan")])
def test_beta_outside_0_to_1_is_refused(share):
    sentence = r"^beta is .*, but it is the share .* must lie between 0 and 1 .*0\.7"
    with pytest.raises(SettingsError, match=sentence):
        low_importance(torch.rand(4), share)
    with pytest.raises(SettingsError, match=sentence):
        high_group_size(4, share)
