"""EAC: the maps against loops and against the logits, the mirror, the erased rectangles, the networks it refuses."""

from dataclasses import replace

import pytest
import torch
from fastai.layers import AdaptiveConcatPool2d, Flatten
from small_faces import small_faces
from torch import nn

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.eac import class_activation_maps, consistency_loss, erase, last_pooling, prepare
from scn_fastai.training.head import attach_head

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


def maps_by_loops(features, weight):
    """M_k(h, w) = sum_d w_kd F_d(h, w) of one cell."""
    count, depth, height, width = features.shape
    found = torch.zeros(count, len(weight), height, width)
    for b in range(count):
        for k in range(len(weight)):
            for h in range(height):
                for w in range(width):
                    found[b, k, h, w] = sum(float(weight[k, d] * features[b, d, h, w]) for d in range(depth))
    return found


def test_the_maps_are_those_of_the_loops():
    features, weight = torch.randn(2, 3, 3, 4), torch.randn(5, 3)
    assert torch.allclose(class_activation_maps(features, weight, (1, 1)), maps_by_loops(features, weight), atol=1e-5)


@pytest.mark.parametrize("cells", [(1, 1), (2, 2), (2, 3)])
@pytest.mark.parametrize("size", [(6, 6), (3, 5)])
def test_the_mean_of_a_map_is_the_logit_without_its_bias(cells, size):
    features, linear = torch.randn(2, 4, *size), nn.Linear(4 * cells[0] * cells[1], 5)
    pooled = nn.functional.adaptive_avg_pool2d(features, cells).flatten(1)
    maps = class_activation_maps(features, linear.weight, cells)
    assert torch.allclose(maps.mean((2, 3)), linear(pooled) - linear.bias, atol=1e-5)


@pytest.mark.parametrize("size", [3, 4])
def test_a_network_that_mirrors_with_the_image_is_consistent(size):
    """Features and weights that are their own mirror images leave nothing to correct, whatever the pooling."""
    features, weight = torch.randn(2, 4, size, size), torch.randn(5, 4, 2, 2)
    weight = ((weight + weight.flip(-1)) / 2).flatten(1)
    maps, mirrored = (class_activation_maps(f, weight, (2, 2)) for f in (features, features.flip(-1)))
    assert float(consistency_loss(maps, mirrored)) < 1e-10 < float(consistency_loss(maps, maps))


def test_the_consistency_is_that_of_the_loops():
    a, b = torch.randn(2, 3, 2, 4), torch.randn(2, 3, 2, 4)
    squares = [
        float(a[i, k, h, w] - b[i, k, h, 3 - w]) ** 2
        for i in range(2)
        for k in range(3)
        for h in range(2)
        for w in range(4)
    ]
    assert float(consistency_loss(a, b)) == pytest.approx(sum(squares) / len(squares), rel=1e-5)


def test_one_rectangle_is_erased_in_some_images(tiny):
    images = torch.ones(400, 3, 24, 24)
    gone = erase(images, chance=0.5, largest=0.25) == 0
    assert (images == 1).all() and (gone[:, :1] == gone).all()  # a copy, all channels alike
    gone = gone[:, 0]
    share = gone.float().mean((1, 2))
    hit = share > 0
    assert 0.4 < float(hit.float().mean()) < 0.6
    assert 0.005 < float(share[hit].min()) and float(share.max()) < 0.3 and 0.1 < float(share[hit].mean()) < 0.17
    rows, columns = gone.any(2).sum(1), gone.any(1).sum(1)
    assert torch.equal(gone.sum((1, 2)), rows * columns)  # a full rectangle
    assert (erase(images, 0.0, 0.25) == 1).all()


def test_the_loss_in_training_is_cross_entropy_and_the_maps_distance():
    learn = face_learner(small_faces(32, 16, size=32), "eac:strength=2:chance=0", TRAIN)
    pool, head = last_pooling(learn.model)
    learn.model.eval()  # no dropout, no batch statistics
    x = torch.randn(4, 3, 32, 32)
    y = torch.tensor([0, 1, 2, 3])
    body = nn.Sequential(*list(learn.model)[: list(learn.model).index(pool)])
    maps = [class_activation_maps(body(v), head.weight, (2, 2)) for v in (x, x.flip(-1))]
    expected = nn.functional.cross_entropy(learn.model(x), y) + 2 * ((maps[0] - maps[1].flip(-1)) ** 2).mean()
    callback = learn.erasing_attention
    callback.before_train()
    learn.xb = (x,)
    logits = learn.model(x)
    assert callback.batch_loss(logits, y, torch.arange(4)).item() == pytest.approx(expected.item(), rel=1e-5)
    callback.after_train()


def test_the_consistency_teaches_the_features_and_not_the_classifier():
    learn = face_learner(small_faces(32, 16, size=32), "eac:chance=0", TRAIN)
    learn.model.eval()
    callback, (_, head) = learn.erasing_attention, last_pooling(learn.model)
    x, y, gradients = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]), []
    learn.xb = (x,)
    callback.before_train()
    for callback.strength in (0.0, 5.0):
        learn.model.zero_grad()
        callback.batch_loss(learn.model(x), y, torch.arange(4)).backward()
        gradients.append([p.grad.clone() for p in (head.weight, head.bias, learn.model[0].weight)])
    callback.after_train()
    (weight, bias, features), others = gradients
    assert torch.equal(weight, others[0]) and torch.equal(bias, others[1])
    assert not torch.allclose(features, others[2])


def test_the_loss_does_not_run_away_at_the_learning_rate_of_the_others():
    train = replace(TRAIN, epochs=2, batch_size=32)
    learn = face_learner(small_faces(256, 32, size=32), "eac", train)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(2, 0.05)
    assert learn.scn.history.last("wce") < 10


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Flatten(), nn.Linear(12, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 9), nn.Linear(9, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(3), nn.Linear(3, 3)], "Sequential does not"),
        ([AdaptiveConcatPool2d(1), nn.Flatten(), nn.Linear(6, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 9, 1), nn.Flatten(), nn.Linear(9, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(1), nn.Hardswish(), nn.Flatten(), nn.Linear(3, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Sequential(nn.ReLU()), nn.Linear(3, 3)], "Sequential does not"),
        ([nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(9, 3)], "has other inputs"),
    ],
)
def test_a_network_without_maps_is_one_sentence(layers, words):
    class Holder:
        model, _ = attach_head(nn.Sequential(*layers))

    with pytest.raises(SettingsError, match=words):
        prepare(Holder)


def test_what_leaves_the_features_as_they_are_may_stand_between():
    between = [Flatten(), nn.Identity(), nn.Sequential(nn.Dropout(0.1), nn.Identity())]
    model, head = attach_head(nn.Sequential(nn.AdaptiveAvgPool2d(2), *between, nn.Linear(12, 3)))
    assert last_pooling(model) == (model[0], head)
