"""Networks of regions: attention and gates in plain loops, and that they are built around any network by name."""

import copy
import math

import pytest
import torch
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import attach_head, detach_head
from scn_fastai.training.network import build_network
from scn_fastai.training.regions import CROPS, GatedPatches, RegionAttention, aggregate_regions, region_batch


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def dot(layer, row):
    return sum(w * v for w, v in zip(layer.weight[0].tolist(), row, strict=True)) + float(layer.bias)


def test_regions_are_aggregated_by_both_attentions(tiny):
    features, first, second = torch.randn(2, 3, 4), nn.Linear(4, 1), nn.Linear(8, 1)
    pooled, weights = aggregate_regions(features, first, second)
    for b, regions in enumerate(features.tolist()):
        mu = [sigmoid(dot(first, f)) for f in regions]
        whole = [sum(m * f[d] for m, f in zip(mu, regions, strict=True)) / sum(mu) for d in range(4)]
        both = [f + whole for f in regions]
        weight = [m * sigmoid(dot(second, row)) for m, row in zip(mu, both, strict=True)]
        expected = [sum(w * row[d] for w, row in zip(weight, both, strict=True)) / sum(weight) for d in range(8)]
        assert pooled[b].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
        assert weights[b].tolist() == pytest.approx(mu, rel=1e-5)


def test_crops_lie_in_the_face_and_the_face_comes_first(tiny):
    x = torch.rand(2, 3, 20, 24)
    regions = region_batch(x)
    assert regions.shape == (12, 3, 20, 24) and torch.equal(regions[:2], x)
    assert all(0 <= left and left + side <= 1 + 1e-9 and top + side <= 1 + 1e-9 for left, top, side in CROPS)
    corner = nn.functional.interpolate(x[..., :15, :18], (20, 24), mode="bilinear")
    assert torch.equal(regions[2:4], corner)
    torch.testing.assert_close(region_batch(torch.full((1, 3, 9, 9), 0.5)), torch.full((6, 3, 9, 9), 0.5))


def test_each_face_is_judged_by_its_own_regions(tiny):
    model = build_network("ran:small", 5).eval()
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arch", ["ran:small", "ran:resnet18", "gacnn:small", "gacnn:resnet18", "gacnn:efficientnet_b0"]
)
def test_built_by_name_and_fit_for_a_head(tiny, arch):
    model = build_network(arch, 5).eval()
    x = torch.randn(2, 3, 48, 48)
    logits = model(x)
    assert logits.shape == (2, 5)
    model, head = attach_head(model)
    assert torch.equal(model.eval()(x), logits)
    model.train()
    assert torch.equal(model(x), head.logits) and head.alpha.shape == (2,)
    model = detach_head(model, head).eval()
    assert model(x).shape == (2, 5)


def test_weights_are_kept_only_if_wanted_and_never_copied(tiny):
    model = build_network("ran:small", 3)
    model(torch.randn(2, 3, 24, 24))
    assert model.weights is None
    model.keep_weights = True
    model(torch.randn(2, 3, 24, 24))
    assert model.weights.shape == (2, 6) and model.weights.requires_grad
    assert copy.deepcopy(model).weights is None


def test_weights_are_precise_in_mixed_precision(tiny):
    model = RegionAttention(build_network("small", 3), 3)
    model.keep_weights = True
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randn(2, 3, 24, 24))
    assert model.weights.dtype == torch.float32


def test_gates_weigh_each_cell_and_the_whole(tiny):
    gates = GatedPatches(4, grid=2, width=3)
    nn.init.normal_(gates.bias)
    x = torch.rand(1, 4, 6, 6)
    out = gates(x)[0, :, 0, 0].tolist()
    mean = x[0].mean((1, 2))
    whole = (gates.whole.weight @ mean + gates.whole.bias).relu()
    expected = (whole * sigmoid(dot(gates.whole_gate, whole.tolist()))).tolist()
    for cell in range(4):
        row, column = 3 * (cell // 2), 3 * (cell % 2)
        inside = [sum(float(x[0, c, row + i, column + j]) for i in range(3) for j in range(3)) / 9 for c in range(4)]
        value = [
            max(0.0, sum(inside[c] * float(gates.weight[cell, c, d]) for c in range(4)) + float(gates.bias[cell, d]))
            for d in range(3)
        ]
        gate = sigmoid(sum(v * float(g) for v, g in zip(value, gates.gate[cell], strict=True)))
        expected += [gate * v for v in value]
    assert out == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("gacnn:mobilenet_v2", "^gacnn needs a network that pools its last feature map .* MobileNetV2 does not"),
        ("gacnn:alexnet", "AlexNet does not: use 'small' or a resnet"),
        ("ran:squeezenet1_0", "ends in a Linear layer"),
        ("ran:resnet19", "no architecture 'resnet19'"),
    ],
)
def test_a_network_that_does_not_fit(arch, words):
    with pytest.raises(SettingsError, match=words):
        build_network(arch, 3)
