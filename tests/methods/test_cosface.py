"""CosFace: its logits in plain loops, their gradient, and that training leaves a network that decides by angle."""

import math
from dataclasses import replace

import pytest
import torch
from made_methods import TRAIN, Batches, fitted
from torch.nn.functional import cross_entropy, normalize

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.recipes import recipe
from scn_fastai.methods.cosface import CosFace, cosface_logits
from scn_fastai.training.head import find_head


def logits_by_loops(features, weight, target, scale, margin):
    """s (cos(x_i, W_j) - m [j = y_i]), number by number."""
    rows = []
    for x, y in zip(features, target, strict=True):
        row = []
        for j, w in enumerate(weight):
            cosine = sum(a * b for a, b in zip(x, w, strict=True)) / (math.hypot(*x) * math.hypot(*w))
            row.append(scale * (cosine - margin if j == y else cosine))
        rows.append(row)
    return rows


def data(dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    features, weight = (torch.randn(n, 5, generator=g, dtype=dtype) for n in (7, 4))
    return features, weight, torch.randint(4, (7,), generator=g)


@pytest.mark.parametrize(("scale", "margin"), [(64.0, 0.35), (16.0, 0.2), (1.0, 0.0)])
def test_the_logits_are_those_of_the_loops(scale, margin):
    features, weight, target = data()
    wanted = logits_by_loops(features.tolist(), weight.tolist(), target.tolist(), scale, margin)
    found = cosface_logits(features, weight, target, scale, margin)
    assert torch.allclose(found, torch.tensor(wanted, dtype=found.dtype), atol=1e-10)


def test_the_gradient_is_that_of_differences():
    features, weight, target = data()
    inputs = (features.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, w: cosface_logits(x, w, target, 16.0, 0.2), inputs)


def test_lengths_do_not_matter_and_the_margin_makes_it_harder():
    features, weight, target = data()
    logits = cosface_logits(features, weight, target, 16.0, 0.2)
    longer = cosface_logits(7 * features, torch.tensor([[1.0], [2], [3], [4]]) * weight, target, 16.0, 0.2)
    assert torch.allclose(logits, longer)
    without = cosface_logits(features, weight, target, 16.0, 0.0)
    assert cross_entropy(logits, target) > cross_entropy(without, target)
    assert torch.allclose((without - logits).gather(1, target[:, None]), torch.tensor(3.2, dtype=logits.dtype))
    assert torch.equal(without.argsort(), cosface_logits(features, weight, target, 1.0, 0.0).argsort())


def test_a_feature_of_length_zero_is_no_nan():
    features = torch.zeros(2, 3, requires_grad=True)
    logits = cosface_logits(features, torch.randn(4, 3), torch.tensor([0, 1]), 16.0, 0.2)
    logits.sum().backward()
    assert logits.isfinite().all() and features.grad.isfinite().all()


def test_training_follows_the_loss_and_leaves_a_network_that_decides_by_angle():
    few, more = Batches(), Batches()
    learn = fitted("cosface", replace(TRAIN, epochs=2), callbacks=[few])
    fitted("cosface:margin=0.4", replace(TRAIN, epochs=2), callbacks=[more])
    assert more.seen[0][3] > few.seen[0][3] + 2  # 16 * 0.2 more to win by, in nearly every row
    head = find_head(learn.model)
    assert torch.allclose(head.weight.norm(dim=1), torch.ones(8)) and (head.bias == 0).all()
    kept = []
    hook = head.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        logits = learn.model.eval()(learn.dls.valid.one_batch()[0])
    hook.remove()
    assert torch.equal(logits.argmax(1), (normalize(kept[0]) @ normalize(head.weight).T).argmax(1))
    assert not any(isinstance(cb, CosFace) and cb.tap._hook for cb in learn.cbs)


def test_it_learns():
    batches = Batches()
    fitted("cosface", replace(TRAIN, epochs=6), callbacks=[batches])
    assert batches.seen[-1][3] < 0.7 * batches.seen[0][3]


@pytest.mark.parametrize(("name", "words"), [
    ("cosface:scale=0", "scale is 0, but it must be a number of 1 or more"),
    ("cosface:margin=-0.1", "margin is -0.1, but it must be a number from 0 to 1"),
])  # fmt: skip
def test_a_bad_option_is_one_sentence(name, words):
    with pytest.raises(SettingsError, match=words):
        recipe(name)
