"""Maps against what is known without Captum: linear models, planted patches, differences; nothing is left changed."""

import numpy as np
import pytest
import torch
from fastai.torch_core import TensorImage
from scipy.stats import spearmanr
from torch import nn

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.explain.maps import normalised, rank_correlation
from scn_fastai.explain.saliency import (
    METHODS,
    completeness_error,
    randomisation_check,
    randomised,
    saliency,
    scores,
    unchanged,
)
from scn_fastai.training.head import attach_head, find_head


@pytest.fixture
def linear(tiny):
    """Scores that are weighted sums of pixels; its weights ``[C, 3, H, W]``."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 5, 4))
    return model, model[1].weight.detach().reshape(4, 3, 6, 5)


@pytest.fixture
def network(tiny):
    """A small convolutional network with an importance head behind a Dropout, in training mode."""
    body = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
    body += [nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    model, head = attach_head(nn.Sequential(*body, nn.Dropout(0.5), nn.Linear(48, 4)))
    nn.init.normal_(head.attention_weight, std=0.5)
    return model.train()


def faces(n=3, side=(16, 16)):
    return torch.randn(n, 3, *side, generator=torch.Generator().manual_seed(1))


# ---- against what can be calculated ----


def test_saliency_of_a_linear_model_is_the_size_of_its_weights(linear):
    model, weights = linear
    found = saliency(model, faces(2, (6, 5)), "saliency", "class", target=[1, 3])
    assert torch.allclose(found, weights[[1, 3]].abs().sum(1))


def test_integrated_gradients_of_a_linear_model_are_weight_times_pixel(linear):
    model, weights = linear
    x = faces(20, (6, 5))  # more than are looked at together
    codes = torch.arange(20) % 4
    found = saliency(model, x, "integrated gradients", "class", target=codes, steps=7)
    assert torch.allclose(found, (weights[codes] * x).sum(1), atol=1e-5)
    found = saliency(model, x, "integrated gradients", "difference", target=2, other=codes, steps=7)
    assert torch.allclose(found, ((weights[2] - weights[codes]) * x).sum(1), atol=1e-5)


def test_without_a_target_it_is_the_predicted_class(linear):
    model, weights = linear
    x = faces(5, (6, 5))
    best = model(x).argmax(1)
    assert torch.allclose(saliency(model, x, "saliency", "class"), weights[best].abs().sum(1))
    assert saliency(model, x, "integrated gradients", "difference", target=best).abs().max() == 0


def test_occlusion_of_a_linear_model_is_what_the_squares_take_away(linear):
    model, weights = linear
    x = faces(2, (6, 5))
    product = (weights[2] * x).sum(1)
    assert torch.allclose(saliency(model, x, "occlusion", "class", target=2, window=1), product, atol=1e-5)
    # Squares of 3 pixels move by 1: an inner pixel lies in nine of them, and gets the mean of what these take away.
    found = saliency(model, x, "occlusion", "class", target=2, window=3)
    taken = product.unfold(1, 3, 1).unfold(2, 3, 1).sum((3, 4))
    assert torch.allclose(found[:, 2, 2], taken[:, 0:3, 0:3].mean((1, 2)), atol=1e-5)
    assert torch.allclose(found[:, 0, 0], taken[:, 0, 0], atol=1e-5)


def test_occlusion_finds_the_only_patch_that_is_used():
    class Corner(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, :, 8:12, 4:8].sum((1, 2, 3)), torch.zeros(len(x))], 1)

    found = saliency(Corner(), torch.ones(2, 3, 16, 16), "occlusion", "class", target=0, window=4)
    assert found.flatten(1).argmax(1).tolist() == [found[0].argmax()] * 2 and found.min() >= 0
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[8:12, 4:8] = True
    assert (found[0][inside].min() > 0) and found[0, :4].abs().max() == 0 and found[0, :, 12:].abs().max() == 0
    assert saliency(Corner(), torch.ones(1, 3, 16, 16), "occlusion", "class", target=1).abs().max() == 0


def bright_spot_network():
    """A convolution that answers to bright pixels, and a class 1 that counts its answers."""
    convolution = nn.Conv2d(3, 2, 3, stride=2, padding=1)
    model = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        convolution.weight.copy_(torch.stack([torch.ones(3, 3, 3), -torch.ones(3, 3, 3)]))
        convolution.bias.zero_()
        model[4].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    return model


def test_grad_cam_finds_a_bright_patch_and_keeps_the_sign():
    x = torch.full((1, 3, 32, 32), -0.1)
    x[:, :, 20:26, 6:12] = 2.0
    found = saliency(bright_spot_network(), x, "grad-cam", "class", target=1)[0]
    row, column = divmod(int(found.argmax()), 32)
    assert found.shape == (32, 32) and 20 <= row < 26 and 6 <= column < 12
    assert found[:14, 18:].abs().max() < 0.05 * found.max()
    against = saliency(bright_spot_network(), x, "grad-cam", "difference", target=0, other=1)[0]
    assert against.min() < 0 and divmod(int(against.argmin()), 32) == (row, column)


def test_grad_cam_is_the_weighted_sum_of_channels(network):
    x = faces(2)
    with unchanged(network) as head:
        activation = network[:4](x).detach().requires_grad_()
        network[5:](activation.relu())  # the network's own ReLU works in place
        (slope,) = torch.autograd.grad(head.alpha.sum(), activation)
    small = (slope.mean((2, 3), keepdim=True) * activation).sum(1)
    found = saliency(network, x, "grad-cam")
    assert torch.allclose(nn.functional.interpolate(small[:, None], (16, 16), mode="bilinear")[:, 0], found, atol=1e-6)
    assert torch.allclose(saliency(network, x, "grad-cam", layer="3"), found)
    assert not torch.allclose(saliency(network, x, "grad-cam", layer=network[0]), found)


def test_the_slope_of_alpha_against_finite_differences(network):
    network, x = network.double(), faces(2).double()
    alpha = scores(network, x)[1]
    found = saliency(network, x, "saliency")
    for row, column in ((3, 4), (8, 8), (15, 0)):
        slopes = []
        for channel in range(3):
            moved = x.clone()
            moved[:, channel, row, column] += 1e-6
            slopes.append((scores(network, moved)[1] - alpha) / 1e-6)
        assert torch.allclose(torch.stack(slopes).abs().sum(0).float(), found[:, row, column], rtol=1e-3, atol=1e-7)


def test_integrated_gradients_add_up(network):
    x = faces(20)
    alpha, grey = scores(network, x)[1], scores(network, torch.zeros(1, 3, 16, 16))[1]
    maps = saliency(network, x, steps=200)
    assert torch.allclose(maps.sum((1, 2)), alpha - grey, atol=1e-3)
    error = completeness_error(network, x, maps)
    assert torch.allclose(error, ((maps.sum((1, 2)) - alpha + grey) / (alpha - grey)).abs(), atol=1e-3)
    far = (alpha - grey).abs() > 0.05
    assert far.sum() >= 5 and error[far].max() < 0.01
    codes = scores(network, x)[0].argmin(1)
    maps = saliency(network, x, of="difference", target=codes, steps=200)
    assert completeness_error(network, x, maps, "difference", target=codes).median() < 0.01


# ---- noise, chunks, progress ----


@pytest.mark.parametrize("method", METHODS)
def test_noise_smooths_and_draws_nothing_from_the_outer_generator(network, method):
    x, state = faces(2), torch.get_rng_state()
    plain = saliency(network, x, method, steps=8)
    noisy = saliency(network, x, method, steps=8, noise_samples=3, seed=5)
    assert noisy.shape == plain.shape == (2, 16, 16) and not torch.allclose(noisy, plain)
    assert torch.equal(noisy, saliency(network, x, method, steps=8, noise_samples=3, seed=5))
    assert not torch.equal(noisy, saliency(network, x, method, steps=8, noise_samples=3, seed=6))
    assert torch.allclose(saliency(network, x, method, steps=8, noise_samples=2, noise=0.0), plain, atol=1e-6)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("method", METHODS)
def test_many_faces_are_done_in_parts_of_which_none_grows(network, method, monkeypatch):
    x, sizes = faces(37), []
    head, forward = find_head(network), type(find_head(network)).forward
    monkeypatch.setattr(type(head), "forward", lambda self, f: (sizes.append(len(f)), forward(self, f))[1])
    together = saliency(network, x, method, steps=50)
    saliency(network, x, method, steps=50, noise_samples=8)
    assert max(sizes) <= 64
    alone = torch.cat([saliency(network, x[i : i + 1], method, steps=50) for i in (0, 17, 36)])
    assert torch.allclose(together[[0, 17, 36]], alone, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise_samples", [0, 2])
def test_progress_grows_to_its_end(network, method, noise_samples):
    seen = []
    options = {"steps": 40, "noise_samples": noise_samples, "progress": lambda *now: seen.append(now)}
    saliency(network, faces(18), method, **options)
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done) and set(totals) == {done[-1]}
    if method in ("integrated gradients", "occlusion"):
        assert len(set(done)) >= 6 and done[0] < 0.5 * done[-1]
    if method != "grad-cam":  # which asks more often than it says
        assert done[-2] < done[-1] and len(done) - len(set(done)) <= 1


# ---- nothing is left changed ----


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was(network, method):
    network[0].weight.requires_grad_(False)
    network[1].eval()
    head = find_head(network)
    network(faces(4))
    alpha, modes = head.alpha, [m.training for m in network.modules()]
    wanted = [p.requires_grad for p in network.parameters()]
    before = {name: t.clone() for name, t in network.state_dict().items() if isinstance(t, torch.Tensor)}
    x = faces(3).requires_grad_()
    with torch.no_grad():
        saliency(network, x, method, steps=3)
    assert head.alpha is alpha and not head.keep_alpha and x.grad is None and x.requires_grad
    assert [m.training for m in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == wanted
    assert all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], network.state_dict()[name]) for name in before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_it_is_left_as_it_was_after_an_error_too(network):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        saliency(network, faces(3), progress=stop)
    assert network.training and all(p.requires_grad for p in network.parameters()) and not find_head(network).keep_alpha


def test_a_subclass_of_tensor_and_inference_mode_change_nothing(network):
    x = faces(3)
    plain = saliency(network, x, steps=4, noise_samples=2)
    found = saliency(network, TensorImage(x), steps=4, noise_samples=2)
    assert type(found) is torch.Tensor and torch.equal(found, plain)
    with torch.inference_mode():
        assert torch.equal(saliency(network, x.clone(), steps=4, noise_samples=2), plain)


@pytest.mark.gpu
@pytest.mark.parametrize("method", METHODS)
def test_a_model_on_a_gpu(network, method):
    on_cpu = saliency(network, faces(3), method, steps=8)
    on_gpu = saliency(network.cuda(), faces(3), method, steps=8)
    assert on_gpu.device.type == "cpu" and torch.allclose(on_cpu, on_gpu, atol=1e-4)


# ---- random weights ----


def test_random_weights_from_the_last_layer_on(network):
    state = torch.get_rng_state()
    copy = randomised(network, 2, seed=3)
    same = [torch.equal(a, b) for a, b in zip(network.parameters(), copy.parameters(), strict=True)]
    names = [name for name, _ in network.named_parameters()]
    changed = {name.split(".")[0] for name, equal in zip(names, same, strict=True) if not equal}
    assert changed == {"3", "8"} and torch.equal(state, torch.get_rng_state())
    everything = randomised(network, seed=3)
    assert not torch.equal(network[0].weight, everything[0].weight)
    assert torch.equal(everything[0].weight, randomised(network, seed=3)[0].weight)


def test_the_check_compares_with_random_weights(network):
    x = faces(4)
    found = randomisation_check(network, x, "saliency", seed=3, signed=True)
    a, b = saliency(network, x, "saliency"), saliency(randomised(network, seed=3), x, "saliency")
    by_hand = [spearmanr(p.flatten(), q.flatten()).statistic for p, q in zip(a, b, strict=True)]
    assert np.allclose(found.numpy(), by_hand)
    assert (randomisation_check(network, x, layers=0) > 0.999).all()


def test_the_check_asks_both_networks_for_the_same_class(linear):
    model, weights = linear
    x = faces(3, (6, 5))
    best = model(x).argmax(1)
    other = randomised(model, seed=1)[1].weight.detach().reshape(4, 3, 6, 5)[best].abs().sum(1)
    expected = rank_correlation(weights[best].abs().sum(1).numpy(), other.numpy())
    assert np.allclose(randomisation_check(model, x, "saliency", "class", seed=1), expected)


def test_correlation_with_ties_and_even_maps():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-3, 4, (2, 5, 4, 4)).astype(float)
    for signed in (True, False):
        found = rank_correlation(a, b, signed)
        pairs = [(p.ravel(), q.ravel()) if signed else (abs(p).ravel(), abs(q).ravel()) for p, q in zip(a, b)]  # noqa: B905
        assert np.allclose(found, [spearmanr(*pair).statistic for pair in pairs])
    b[1] = 2.0
    assert np.isnan(rank_correlation(a, b)[1]) and rank_correlation(a[:0], b[:0]).shape == (0,)


# ---- normalising ----


def test_normalised_keeps_sign_and_zero():
    maps = np.zeros((3, 20, 20))
    maps[0, 0, 0], maps[1, :5] = -4.0, 2.0
    maps[1, 9, 9] = -100.0
    found = normalised(maps)
    assert found.dtype == np.float32 and found[0, 0, 0] == -1 and found[0].sum() == -1
    assert np.all(found[1, :5] > 0.9) and found[1, 9, 9] == -1 and not found[2].any()
    assert normalised(maps[1]).tolist() == found[1].tolist()
    assert np.allclose(normalised(7 * maps), found) and np.allclose(normalised(found), found)
    maps[0, 1, 1] = np.nan
    assert normalised(maps)[0, 1, 1] == 0 and normalised(np.zeros((0, 4, 4))).shape == (0, 4, 4)


# ---- bad input ----


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"method": "guess"}, SettingsError, "method is 'guess', and there are: saliency"),
        ({"of": "beauty"}, SettingsError, "of is 'beauty'"),
        ({"steps": 0}, SettingsError, "steps is 0"),
        ({"noise_samples": -1}, SettingsError, "noise_samples -1"),
        ({"method": "occlusion", "window": 40}, SettingsError, "window is 40, and the faces have 16 x 16"),
        ({"method": "grad-cam", "layer": "body"}, SettingsError, "no layer 'body'"),
        ({"method": "grad-cam", "layer": "6"}, SettingsError, "output has height and width"),
        ({"method": "grad-cam", "layer": "8"}, SettingsError, "not used"),
        ({"of": "difference"}, SettingsError, "give target"),
        ({"of": "class", "target": 4}, DataError, "outside the network's 4: codes are 0 to 3"),
        ({"of": "class", "target": [-1, 0, 0]}, DataError, "outside the network's 4"),
        ({"of": "class", "target": [0, 1]}, DataError, r"for each of the 3 faces, got \[2\]"),
        ({"of": "class", "target": 0.5}, DataError, "one code"),
    ],
)
def test_bad_settings_are_a_sentence(network, options, error, sentence):
    with pytest.raises(error, match=sentence):
        saliency(network, faces(3), **options)
    assert network.training


@pytest.mark.parametrize("x", [torch.zeros(3, 16, 16), torch.zeros(1, 3, 8, 8, dtype=torch.uint8), np.zeros(3)])
def test_what_is_no_batch_is_a_sentence(network, x):
    with pytest.raises(DataError, match=r"float \[B, C, H, W\], got"):
        saliency(network, x)


def test_networks_that_do_not_suit():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(SettingsError, match="no importance head"):
        saliency(plain, torch.zeros(1, 3, 2, 2))
    with pytest.raises(SettingsError, match="Grad-CAM looks at a convolution, and Sequential has none"):
        saliency(plain, torch.zeros(1, 3, 2, 2), "grad-cam", "class")
    never = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(SettingsError, match="not used"):
        saliency(never, torch.zeros(1, 3, 2, 2), "grad-cam", "class", layer=nn.Conv2d(3, 2, 1))
    assert saliency(never, torch.zeros(0, 3, 2, 2), of="class").shape == (0, 2, 2)


def test_maps_that_are_none_are_a_sentence():
    with pytest.raises(DataError, match="sum over the channels"):
        normalised(np.zeros((1, 3, 4, 4)))
    with pytest.raises(DataError, match="of one shape"):
        rank_correlation(np.zeros((1, 3, 4)), np.zeros((1, 4, 4)))
