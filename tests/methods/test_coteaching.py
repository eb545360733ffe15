"""Co-teaching against loops: who is kept for whom, the schedule, that each network learns from its own loss only."""

import math
from dataclasses import replace

import pytest
import torch
from fastai.optimizer import Adam
from fastai.torch_core import params
from fastcore.foundation import L
from oracle import softmax
from small_faces import small_faces
from torch import nn

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods import METHODS
from scn_fastai.methods.coteaching import coteaching_losses, fresh_copy, keep_rate
from scn_fastai.training.head import find_head
from scn_fastai.training.network import build_network

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


def by_loops(first, second, y, keep):
    """Each network's mean loss over the samples that are easiest for the other."""
    losses = [[-math.log(softmax(row)[label]) for row, label in zip(z.tolist(), y.tolist(), strict=True)]
              for z in (first, second)]  # fmt: skip
    chosen = [sorted(range(len(y)), key=lambda i, each=each: each[i])[:keep] for each in losses]
    return [sum(losses[net][i] for i in chosen[1 - net]) / keep for net in (0, 1)]


def data(n=8):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=g), torch.randn(n, 4, generator=g), torch.randint(4, (n,), generator=g)


@pytest.mark.parametrize("keep", [1, 5, 8])
def test_the_losses_are_those_of_the_loops(keep):
    found = [float(loss) for loss in coteaching_losses(*data(), keep)]
    assert found == pytest.approx(by_loops(*data(), keep), rel=1e-5)


def test_a_sample_that_the_other_finds_hard_has_no_gradient():
    first, second, y = data()
    first.requires_grad_()
    loss, _ = coteaching_losses(first, second, y, 5)
    loss.backward()
    hard = torch.nn.functional.cross_entropy(second, y, reduction="none").topk(3).indices
    assert (first.grad[hard] == 0).all() and int((first.grad != 0).any(1).sum()) == 5


def test_the_schedule():
    assert [keep_rate(t, 0.2, 4, 2.0) for t in (0, 2, 4, 40)] == pytest.approx([1, 0.95, 0.8, 0.8])


def test_a_fresh_copy_has_the_same_numbers_in_other_places():
    model = build_network("small", 4)
    other = fresh_copy(model)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values) and a.shape == b.shape
    assert not torch.equal(model[0].weight, other[0].weight) and find_head(other) is None


def test_a_pretrained_backbone_begins_both_networks(tmp_path):
    torch.save(build_network("small", 3).state_dict(), tmp_path / "mine.pth")
    train = replace(TRAIN, pretrained=str(tmp_path / "mine.pth"), pretrained_kind="zero-one")
    learn = face_learner(small_faces(48, 16, size=16), "coteaching", train)
    mine, other = learn.model.state_dict(), learn.co_teaching.other.state_dict()
    assert learn.pretrained.file == "mine.pth"
    assert [name for name, value in other.items() if not torch.equal(value, mine[name])] == ["15.weight", "15.bias"]
    assert torch.equal(other["15.weight"].flatten().sort().values, mine["15.weight"].flatten().sort().values)


def test_from_scratch_no_layer_of_the_second_is_like_the_first():
    learn = face_learner(small_faces(48, 16, size=16), "coteaching", TRAIN)
    first, second = find_convolutions(learn.model), find_convolutions(learn.co_teaching.other)
    assert learn.pretrained is None and len(first) == 4
    assert not any(torch.equal(a.weight, b.weight) for a, b in zip(first, second, strict=True))


def find_convolutions(model):
    return [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]


def test_both_networks_are_trained_and_only_one_is_kept():
    learn = face_learner(small_faces(48, 16, size=16), "coteaching", TRAIN)
    other = learn.co_teaching.other
    before = [p.detach().clone() for p in (*learn.model.parameters(), *other.parameters())]
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.05)
    after = [*learn.model.parameters(), *other.parameters()]
    still = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if torch.equal(a, b)]
    alpha = len(find_head(learn.model).own_parameters())  # ignored by the loss; weight decay leaves a zero at zero
    assert len(still) <= alpha and not ({id(p) for p in learn.model.parameters()} & {id(p) for p in other.parameters()})


@pytest.mark.parametrize("trained", [False, True])
def test_a_frozen_body_is_frozen_in_both_networks(trained):
    """But for their batch norms, which fastai lets train; the second network has the first one's learning rates."""
    learn = face_learner(small_faces(48, 16, size=16), "plain", TRAIN)
    learn.opt_func, learn.train_bn = Adam, True
    learn.splitter = lambda model: L(model[:12], model[12:]).map(params)
    with learn.no_bar(), learn.no_logging():
        if trained:  # the optimizer is there already
            learn.fit(1, 0.01)
        METHODS["coteaching"].prepare(learn)
        learn.freeze()
        other = learn.co_teaching.other
        before = {name: p.detach().clone() for name, p in other.named_parameters()}
        learn.fit(1, slice(0.001, 0.01))
    body = {id(p) for p in other[:12].parameters()}
    rates = [{id(p): at for at, group in enumerate(learn.opt.param_lists) for p in group}[id(p)]
             for p in other.parameters()]  # fmt: skip
    assert rates == [0 if id(p) in body else 1 for p in other.parameters()]
    changed = {name for name, p in other.named_parameters() if not torch.equal(p, before[name])}
    norms = {f"{at}.{kind}" for at, module in enumerate(other) if isinstance(module, nn.BatchNorm2d)
             for kind in ("weight", "bias")}  # fmt: skip
    assert changed == norms | {"15.weight", "15.bias"}


def test_without_forgetting_the_first_network_is_trained_as_a_plain_one():
    """tau = 0 keeps every sample, so the second network is of no consequence for the first."""
    faces, weights = small_faces(48, 16, size=16), []
    for name in ("plain", "coteaching:tau=0"):
        learn = face_learner(faces, name, TRAIN)
        torch.manual_seed(3)
        with learn.no_bar(), learn.no_logging():
            learn.model[-2].p = 0.0  # no dropout moves the generator
            find_head(learn.model).dropout.p = 0.0
            for module in learn.co_teaching.other.modules() if name != "plain" else ():
                module.p = 0.0
            learn.fit(1, 0.05)
        weights.append([p.detach() for p in learn.model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*weights, strict=True))
