"""IR50: shapes, number of parameters and forward pass against the definition written again as plain layers."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import attach_head
from scn_fastai.training.ir50 import IR50
from scn_fastai.training.network import build_network

# (channels in, channels out, stride) of the 24 units, written out.
UNITS = (
    [(64, 64, 2), (64, 64, 1), (64, 64, 1)]
    + [(64, 128, 2)] + [(128, 128, 1)] * 3
    + [(128, 256, 2)] + [(256, 256, 1)] * 13
    + [(256, 512, 2), (512, 512, 1), (512, 512, 1)]
)  # fmt: skip


def parameters_by_hand(size):
    """Convolutions (no bias), two numbers a channel and batch norm, one a channel and PReLU, one Linear with bias."""
    total = 3 * 9 * 64 + 2 * 64 + 64
    for c, o, _ in UNITS:
        total += 2 * c + 9 * c * o + o + 9 * o * o + 2 * o
        total += c * o + 2 * o if c != o else 0
    return total + 2 * 512 + (512 * (size // 16) ** 2 * 512 + 512) + 2 * 512


def plain_forward(w, x):
    """Embedding [B, 512] in eval mode, from the weights by their names."""

    def norm(x, name):
        shape = (1, -1, *[1] * (x.ndim - 2))
        mean, var, weight, bias = (
            w[f"{name}.{k}"].view(shape) for k in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def prelu(x, name):
        return torch.where(x > 0, x, x * w[f"{name}.weight"].view(1, -1, 1, 1))

    x = prelu(norm(F.conv2d(x, w["input_layer.0.weight"], padding=1), "input_layer.1"), "input_layer.2")
    for i, (c, o, stride) in enumerate(UNITS):
        unit = f"body.{i}"
        short = x[:, :, ::stride, ::stride]
        if c != o:
            short = norm(F.conv2d(short, w[f"{unit}.shortcut_layer.0.weight"]), f"{unit}.shortcut_layer.1")
        y = F.conv2d(norm(x, f"{unit}.res_layer.0"), w[f"{unit}.res_layer.1.weight"], padding=1)
        y = F.conv2d(prelu(y, f"{unit}.res_layer.2"), w[f"{unit}.res_layer.3.weight"], stride=stride, padding=1)
        x = norm(y, f"{unit}.res_layer.4") + short
    x = norm(x, "output_layer.0").reshape(len(x), -1)
    return norm(x @ w["output_layer.3.weight"].T + w["output_layer.3.bias"], "output_layer.4")


def shuffle_norms(model):
    """Running statistics and weights that are not those of a new network, or a mistake with them would not show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, std=0.1)
    return model


@pytest.mark.parametrize(("size", "millions"), [(112, 43.6), (224, 82.1)])
def test_the_parameters_are_those_of_the_definition(size, millions):
    with torch.device("meta"):
        model = IR50(8, size)
    found = sum(p.numel() for p in model.parameters()) - (8 * 512 + 8)
    assert found == parameters_by_hand(size) and found / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("arch", "size"), [("ir50", 112), ("ir50:224", 224)])
def test_shapes_all_the_way(arch, size):
    with torch.device("meta"):
        model = build_network(arch, 8)
        x = torch.zeros(2, 3, size, size)
    assert model.body(model.input_layer(x)).shape == (2, 512, size // 16, size // 16)
    model, head = attach_head(model)
    assert head.weight.shape == (8, 512) and model.eval()(x).shape == (2, 8)


def test_forward_is_that_of_plain_layers_with_the_same_weights(tiny):
    model = shuffle_norms(IR50(8)).eval()
    seen = []
    model.classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.rand(2, 3, 112, 112) * 2 - 1
    with torch.no_grad():
        logits = model(x)
        expected = plain_forward(model.state_dict(), x)
    torch.testing.assert_close(seen[0], expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 0.1  # something to compare
    torch.testing.assert_close(
        logits, expected @ model.classifier.weight.T + model.classifier.bias, rtol=1e-3, atol=1e-4
    )


def test_dropout_is_off_in_eval(tiny):
    model = IR50(3).output_layer
    x = torch.rand(4, 512, 7, 7)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_names_are_those_of_the_published_checkpoints():
    with torch.device("meta"):
        names = set(IR50(3).state_dict())
    some = (
        "input_layer.0.weight",
        "input_layer.2.weight",
        "body.3.shortcut_layer.0.weight",
        "body.23.res_layer.4.bias",
    )
    assert names >= {*some, "output_layer.0.running_mean", "output_layer.3.weight", "output_layer.4.running_var"}
    assert "body.0.shortcut_layer.0.weight" not in names and "body.24.res_layer.0.weight" not in names


def test_another_size_is_one_sentence():
    with pytest.raises(SettingsError, match=r"takes faces of 112 or 224 px, not 64: use 'ir50' or 'ir50:224'\.$"):
        IR50(3, 64)
    with torch.device("meta"):
        model = IR50(3)
        with pytest.raises(SettingsError, match=r"faces of 112 x 112 px, not 64 x 64: resize them \(--size 112\)\.$"):
            model(torch.zeros(2, 3, 64, 64))
