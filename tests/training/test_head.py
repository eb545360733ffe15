"""The importance head: the same logits as the Linear layer, and every way on, off and through a file."""

import copy
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn

from scn_fastai.core import attention_weights, scn_loss
from scn_fastai.errors import SettingsError
from scn_fastai.training.head import ImportanceHead, attach_head, detach_head, find_head, take_over
from scn_fastai.training.ledger import LabelLedger

CLASSES = 3


class Nested(nn.Module):
    """A classifier inside a module inside a module, as in torchvision's vgg."""

    def __init__(self, dropout=0.5, bias=True):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.classifier = nn.Sequential(nn.Identity(), nn.Dropout(dropout), nn.Linear(8, CLASSES, bias=bias))

    def forward(self, x):
        return self.classifier(self.body(x))


def no_dropout():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def one_layer():
    return nn.Linear(6, CLASSES)


MODELS = [Nested, no_dropout, one_layer, lambda: Nested(bias=False)]
every_model = pytest.mark.parametrize("make", MODELS, ids=["nested", "no_dropout", "one_layer", "no_bias"])


@pytest.fixture
def x(tiny):
    return torch.randn(5, 6, generator=tiny)


def ledger_of(head):
    """A ledger with one change, joined to the head as the callback joins it."""
    ledger = LabelLedger([0, 1, 2], ["sad", "glad", "mad"])
    head.ledger_state, head.load_ledger = ledger.state, ledger.load_state
    return ledger


def step(model, head, x):
    """Forward and backward of a training step, whose graph stays on the head."""
    target = torch.arange(len(x)) % CLASSES
    logits = model.train()(x)
    scn_loss(logits, head.alpha, target).total.backward()


# ---- the same network ----


@every_model
@pytest.mark.parametrize("training", [True, False])
def test_logits_are_those_of_the_linear_layer_bit_for_bit(make, training, x):
    model = make().train(training)
    torch.manual_seed(1)
    plain = model(x)
    model, _ = attach_head(model)
    torch.manual_seed(1)
    assert model.train(training)(x).equal(plain)


@every_model
def test_gradients_of_the_network_are_those_of_the_linear_layer(make, x):
    model = make()
    parameters = list(model.parameters())
    gradients = []
    for _ in range(2):
        torch.manual_seed(1)
        gradients.append(torch.autograd.grad(model.train()(x).square().sum(), parameters))
        model, _ = attach_head(model) if find_head(model) is None else (model, None)
    assert all(a.equal(b) for a, b in zip(*gradients, strict=True))


@every_model
def test_parameter_objects_are_kept_and_only_the_attention_is_new(make):
    model = make()
    before = {id(p) for p in model.parameters()}
    model, head = attach_head(model)
    after = {id(p) for p in model.parameters()}
    assert before < after and after - before == {id(p) for p in head.own_parameters()}
    assert find_head(model) is head and find_head(make()) is None


@every_model
def test_detaching_restores_the_modules_and_parameter_objects(make, x):
    model = make().eval()
    layers, parameters, plain = str(model), list(map(id, model.parameters())), model(x)
    dropouts = [id(m) for m in model.modules() if isinstance(m, nn.Dropout)]
    model, head = attach_head(model)
    model.train()(x)
    restored = detach_head(model.eval(), head)
    assert str(restored) == layers and list(map(id, restored.parameters())) == parameters
    assert [id(m) for m in restored.modules() if isinstance(m, nn.Dropout)] == dropouts
    assert find_head(restored) is None and restored(x).equal(plain) and not any(m.training for m in restored.modules())


def test_a_dropout_that_works_in_place_leaves_alpha_its_features():
    """As in torchvision's efficientnet and mobilenet_v3."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5, inplace=True), nn.Linear(8, 3))
    model, head = attach_head(model)
    logits = model.train()(torch.randn(6, 4))
    (head.alpha[:, None] * logits).sum().backward()
    assert head.attention_weight.grad.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
def test_the_head_is_in_the_mode_of_its_layer_and_so_is_the_layer_again(training, x):
    model = Nested().train(training)
    model, head = attach_head(model)
    model(x)
    assert head.training == head.dropout.training == training and (head.alpha is not None) == training
    assert all(module.training == training for module in detach_head(model, head).classifier[1:])


def test_frozen_parameters_stay_frozen():
    model = no_dropout()
    model[2].requires_grad_(False)
    model, head = attach_head(model)
    assert not head.weight.requires_grad and all(p.requires_grad for p in head.own_parameters())
    assert not detach_head(model, head)[2].weight.requires_grad


def test_a_model_that_is_itself_a_linear_layer_becomes_the_head(x):
    model = one_layer()
    head, same = attach_head(model)
    assert head is same and isinstance(head, ImportanceHead) and head.weight is model.weight
    assert isinstance(detach_head(head, head), nn.Linear)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vgg11"])
def test_torchvision_models_end_in_a_head_with_the_dropout_that_was_before_it(name):
    with torch.device("meta"):
        model, head = attach_head(torchvision.models.get_model(name, num_classes=CLASSES))
    assert head.weight.shape[0] == CLASSES and (head.dropout is None) == (name == "resnet18")


def test_a_timm_model_works(x):
    model = timm.create_model("test_resnet", num_classes=CLASSES).eval()
    images = torch.randn(4, 3, 32, 32)
    plain = model(images)
    model, head = attach_head(model)
    assert model(images).equal(plain) and head.alpha is None
    step(model, head, images)
    assert head.attention_weight.grad.any()
    assert detach_head(model, head).eval()(images).shape == (4, CLASSES)


# ---- alpha ----


def test_alpha_comes_from_the_features_before_the_dropout(x):
    model, head = attach_head(Nested(dropout=0.9))
    assert isinstance(model.classifier[1], nn.Identity) and isinstance(head.dropout, nn.Dropout)
    alphas, logits = [], []
    for _ in range(3):
        logits.append(model.train()(x))
        alphas.append(head.alpha)
    expected = attention_weights(model.body(x), head.attention_weight, head.attention_bias)
    assert all(alpha.equal(expected) for alpha in alphas) and not logits[0].equal(logits[1])


@pytest.mark.parametrize("training, keep, there", [(True, False, True), (False, False, False), (False, True, True)])
def test_alpha_is_there_in_training_or_when_it_is_wanted(training, keep, there, x):
    model, head = attach_head(Nested())
    head.keep_alpha = keep
    model.train(training)(x)
    assert (head.alpha is not None) == there and (head.logits is not None) == training
    head.clear()
    assert head.alpha is None and head.logits is None


def test_alpha_under_autocast_is_float32_and_that_of_its_features(tiny):
    features = torch.randn(64, 6, generator=tiny)
    head, _ = attach_head(one_layer())
    plain = head.train()(features), head.alpha
    with torch.autocast("cpu", torch.bfloat16):
        assert head(features).dtype == torch.bfloat16 and plain[0].dtype == torch.float32
    assert head.alpha.dtype == torch.float32 and head.alpha.equal(plain[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_attention_is_float32_whatever_the_network_is(dtype):
    head = ImportanceHead(one_layer().to(dtype))
    assert {p.dtype for p in head.own_parameters()} == {torch.float32}
    head.train()(torch.randn(2, 6).to(dtype))
    assert head.alpha.dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("bias, margin, n", [(True, None, 2), (False, None, 1), (True, 0.15, 3), (False, 0.15, 2)])
def test_options_say_which_parameters_there_are(bias, margin, n):
    _, head = attach_head(no_dropout(), bias=bias, margin=margin)
    assert len(head.own_parameters()) == n and (head.attention_bias is not None) == bias
    assert head.margin is None if margin is None else head.margin.item() == pytest.approx(margin)


@pytest.mark.parametrize("start", [0.1, 0.5, 0.9])
def test_alpha_starts_where_it_is_told(start):
    _, head = attach_head(no_dropout(), start=start)
    head.train()(torch.zeros(4, 8))
    assert head.alpha.tolist() == pytest.approx([start] * 4)


# ---- checkpoints ----


@every_model
def test_a_plain_checkpoint_loads_strictly_and_keeps_the_attention(make, x):
    plain = make().eval()
    model, head = attach_head(make(), margin=0.15)
    before = [p.detach().clone() for p in head.own_parameters()]
    model.load_state_dict(plain.state_dict())
    assert model.eval()(x).equal(plain(x))
    assert all(a.equal(b) for a, b in zip(before, head.own_parameters(), strict=True))


@every_model
def test_an_scn_checkpoint_goes_through_a_file_with_its_ledger(make, tmp_path, x):
    one, head = attach_head(make(), margin=0.15)
    ledger_of(head).override(0, "mad")
    torch.save(one.state_dict(), tmp_path / "model.pt")
    other, other_head = attach_head(make(), margin=0.15)
    ledger = ledger_of(other_head)
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    for module in (one, other):
        module.eval()(x)
    assert one(x).equal(other(x)) and ledger.current.tolist() == [2, 1, 2] and len(ledger) == 1
    assert all(a.equal(b) for a, b in zip(head.own_parameters(), other_head.own_parameters(), strict=True))


def test_without_a_ledger_to_load_into_the_weights_come_alone(x):
    one, head = attach_head(Nested())
    ledger_of(head).override(0, "mad")
    other, _ = attach_head(Nested())
    other.load_state_dict(one.state_dict())
    assert other.eval()(x).equal(one.eval()(x))


def test_a_checkpoint_that_lacks_a_part_of_the_attention_or_of_the_network_is_not_taken_silently():
    model, _ = attach_head(Nested())
    state = model.state_dict()
    for name in ("classifier.2.attention_weight", "classifier.2.weight", "body.0.bias"):
        with pytest.raises(RuntimeError, match=f"Missing key.*{name}"):
            model.load_state_dict({key: value for key, value in state.items() if key != name})
    plain = {key: value for key, value in Nested().state_dict().items() if key != "classifier.2.weight"}
    with pytest.raises(RuntimeError, match='Missing key.* "classifier.2.weight"\\.'):
        model.load_state_dict(plain)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_after_a_training_step_carries_no_ledger_and_no_graph(way, x):
    model, head = attach_head(Nested())
    ledger_of(head)
    step(model, head, x)
    twin = way(model)
    carried = vars(find_head(twin))
    assert [carried[name] for name in ("alpha", "logits", "ledger_state", "load_ledger")] == [None] * 4
    assert head.alpha is not None and head.ledger_state is not None, "the original keeps its own"
    assert twin.eval()(x).equal(model.eval()(x)) and find_head(twin).get_extra_state() == {}


def test_a_pickle_does_not_hold_the_training_labels(x):
    model, head = attach_head(Nested())
    before = len(pickle.dumps(model))
    ledger = LabelLedger(torch.arange(100_000) % CLASSES)
    head.ledger_state, head.load_ledger = ledger.state, ledger.load_state
    assert len(pickle.dumps(model)) == before


@pytest.mark.parametrize("fits", [True, False])
def test_attention_is_taken_over_from_a_head_of_the_same_shape_only(fits):
    _, old = attach_head(Nested(), margin=0.15)
    _, new = attach_head(Nested(), margin=0.15 if fits else None)
    own = new.own_parameters()
    take_over(new, old.own_parameters())
    assert [id(p) for p in new.own_parameters()] == [id(p) for p in (old.own_parameters() if fits else own)]


# ---- what is refused ----


def test_squeezenet_is_refused_and_left_as_it_is():
    with torch.device("meta"):
        model = torchvision.models.squeezenet1_1()
    layers = str(model)
    with pytest.raises(SettingsError, match=r"Linear layer, but SqueezeNet has none \(squeezenet ends in a conv"):
        attach_head(model)
    assert str(model) == layers


def test_dataparallel_is_refused():
    with pytest.raises(SettingsError, match="does not work inside DataParallel, .* use one GPU, or learn.distrib_ctx"):
        attach_head(nn.DataParallel(no_dropout()))


@pytest.mark.gpu
def test_a_head_is_made_where_its_layer_is(x):
    model, head = attach_head(Nested().cuda(), margin=0.15)
    assert all(p.is_cuda for p in head.own_parameters())
    with torch.autocast("cuda", torch.float16):
        model.train()(x.cuda())
    assert head.alpha.dtype == torch.float32 and head.alpha.is_cuda
