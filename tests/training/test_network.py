"""Networks by name, and the switches that make them fast."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, squeezenet1_0

from scn_fastai.errors import SettingsError
from scn_fastai.training.features import features_of
from scn_fastai.training.head import ImportanceHead, attach_head, detach_head, find_head
from scn_fastai.training.network import (
    CPUAutocast,
    best_device,
    build_network,
    cpu_has_bfloat16,
    fixed_size,
    keep_freed_memory,
    network_of,
    small_network,
)


@pytest.mark.parametrize("arch", ["small", "resnet18", "regnet_x_400mf", "timm:resnet10t"])
def test_a_network_by_name(arch, tiny):
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    model = build_network(arch, 5)
    x = torch.rand(2, 3, 32, 32)
    assert model.eval()(x).shape == (2, 5)
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.shape[1] > 1)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    logits = model(x)
    model, head = attach_head(model)
    assert torch.equal(model(x), logits) and head.weight.shape[0] == 5


# One of every family of torchvision; shapes alone, on the meta device, so that the large ones cost nothing.
FAMILIES = (
    "alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5 mobilenet_v2 "
    "mobilenet_v3_small resnet50 resnext50_32x4d shufflenet_v2_x0_5 swin_t swin_v2_t vgg11_bn vit_b_16"
).split()


@pytest.mark.parametrize("arch", FAMILIES)
def test_every_family_of_torchvision_takes_a_head(arch):
    with torch.device("meta"):
        model, head = attach_head(build_network(arch, 5))
        size = fixed_size(arch) or 96
        assert model.eval()(torch.zeros(2, 3, size, size)).shape == (2, 5)
    assert head.attention_weight.shape == head.weight.shape[1:]


@pytest.mark.parametrize("arch", ["resnet18", "timm:resnet10t"])
def test_the_head_is_given_the_last_pooling_layer(arch, tiny):
    """Fig. 2 of the paper: x_i is the mean of the last feature map over its cells."""
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    model, head = attach_head(build_network(arch, 5).eval())
    maps = []
    model.layer4.register_forward_hook(lambda *given: maps.append(given[-1]))
    features = features_of(model, [torch.rand(2, 3, 96, 96)])
    assert maps[0].shape == (2, 512, 3, 3)
    torch.testing.assert_close(features, maps[0].sum((2, 3)) / 9)


@pytest.mark.parametrize("arch", ["small", "mobilenet_v2"])
def test_dropout_is_off_in_eval(arch, tiny):
    model, _ = attach_head(build_network(arch, 5))
    x = torch.rand(4, 3, 32, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_the_small_network_is_small():
    assert sum(p.numel() for p in small_network(8).parameters()) < 400_000


@pytest.mark.parametrize(("arch", "match"), [("fcn_resnet50", "no architecture 'fcn_resnet50': use 'small'"),
                                             ("resnet19", "no architecture 'resnet19': use 'small'"),
                                             ("timm:resnet19", "timm has no model 'resnet19'")])  # fmt: skip
def test_an_unknown_name_is_refused(arch, match):
    if arch.startswith("timm:"):
        pytest.importorskip("timm")
    with pytest.raises(SettingsError, match=match):
        build_network(arch, 3)


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(SettingsError, match=r"need the extra: pip install 'scn_fastai\[timm\]'"):
        build_network("timm:resnet18", 3)


class FakeRun:
    """As much of a Run as `network_of` reads."""

    def __init__(self, settings, weights=None):
        self.settings, self.classes, self.folder = settings, ["a", "b", "c"], type("Folder", (), {"name": "mine"})
        self.kept = weights

    def weights(self, before=False):
        return self.kept


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"margin": 0.3}])
def test_a_runs_network_is_built_again(options, tiny):
    model, head = attach_head(build_network("small", 3), **options)
    weights = {k: v for k, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    again = network_of(FakeRun({"arch": "small"}, weights))
    x = torch.rand(2, 3, 16, 16)
    assert not again.training and torch.equal(again(x), model.eval()(x))
    mine, theirs = find_head(again).own_parameters(), head.own_parameters()
    assert len(mine) == len(theirs) and all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_a_run_without_an_architecture_says_what_to_do():
    with pytest.raises(SettingsError, match="^mine does not name its architecture: build the network yourself"):
        network_of(FakeRun({}))


def test_autocast_is_left_after_a_cancelled_batch():
    callback = CPUAutocast()
    callback.before_batch()
    assert torch.is_autocast_enabled("cpu")
    callback.after_cancel_batch()
    callback.after_cancel_batch()
    assert not torch.is_autocast_enabled("cpu")


def test_switches_of_the_machine():
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert cpu_has_bfloat16() in (True, False)
    keep_freed_memory()


# ---- the head -----------------------------------------------------------------------------------------------------


def test_alpha_comes_from_the_features_before_the_dropout(tiny):
    model, head = attach_head(nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Linear(6, 3)))
    x = torch.rand(40, 6)
    model.train()
    logits = [model(x), model(x)]
    alpha = head.alpha
    model(x)
    assert torch.equal(alpha, head.alpha) and not torch.equal(*logits)
    assert isinstance(model[1], nn.Identity) and isinstance(head.dropout, nn.Dropout)


def test_a_dropout_elsewhere_stays(tiny):
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    attach_head(model)
    assert isinstance(model[0], nn.Dropout) and isinstance(model[3], ImportanceHead) and model[3].dropout is None


@pytest.mark.parametrize("make", [lambda: resnet18(weights=None, num_classes=3), lambda: small_network(3)])
def test_on_and_off_is_the_same_module_tree(make):
    model = make()
    tree, parameters = str(model), [id(p) for p in model.parameters()]
    model, head = attach_head(model)
    assert str(model) != tree
    detach_head(model, head)
    assert str(model) == tree and [id(p) for p in model.parameters()] == parameters


@pytest.mark.parametrize("start", [0.2, 0.9])
def test_alpha_can_start_anywhere(start, tiny):
    _, head = attach_head(nn.Sequential(nn.Linear(6, 3)), start=start)
    head(torch.zeros(4, 6))
    torch.testing.assert_close(head.alpha, torch.full((4,), start))


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(SettingsError, match="ends in a Linear layer, but SqueezeNet has none"):
        attach_head(squeezenet1_0(weights=None))
