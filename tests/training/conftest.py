"""Small data, networks and Learners for the tests of the loop: everything fits in a second of training."""

import random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.imports import noop
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from PIL import Image
from torch import nn

from scn_fastai.training.head import find_head

CLASSES = ("glad", "mad", "sad")
N_TRAIN, N_VALID, SIDE = 42, 12, 32


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of PNGs, ``train|valid/class/number.png``, every pixel of an image being its number times 4.

    Fields: path, table (name, label, is_valid), by_number (label code of each number).
    """
    path = tmp_path_factory.mktemp("pictures")
    codes = np.random.default_rng(0).permutation(np.arange(N_TRAIN + N_VALID) % len(CLASSES))
    rows = []
    for number, code in enumerate(codes):
        name = f"{'train' if number < N_TRAIN else 'valid'}/{CLASSES[code]}/{number:02d}.png"
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), (number * 4,) * 3).save(path / name)
        rows.append({"name": name, "label": CLASSES[code], "is_valid": number >= N_TRAIN})
    table = pd.DataFrame(rows)
    table.to_csv(path / "labels.csv", index=False)
    return SimpleNamespace(path=path, table=table, by_number=torch.from_numpy(codes))


def make_blobs(n=240, n_valid=80, classes=4, noise=0.3, seed=0):
    """Points around the corners of a cube, which a small network separates; a share of the labels is flipped."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n + n_valid) % classes
    x = rng.normal(0, 1, (n + n_valid, 8)) + 4 * np.eye(8)[truth]
    given = truth.copy()
    flipped = rng.permutation(n)[: round(noise * n)]
    given[flipped] = (truth[flipped] + rng.integers(1, classes, len(flipped))) % classes
    x, given = torch.from_numpy(x).float(), torch.from_numpy(given)
    pairs = list(zip(x, given, strict=True))
    parts = {"train": pairs[:n], "valid": pairs[n:], "x": x[:n], "given": given[:n]}
    return SimpleNamespace(**parts, truth=torch.from_numpy(truth)[:n])


@pytest.fixture
def blobs():
    """`make_blobs`: a classification problem of 240 points with 30 % wrong labels, and its truth."""
    return make_blobs()


def mlp(features=8, classes=4, dropout=0.0):
    """A network without batch norm, so that a step can be written by hand."""
    middle = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(nn.Linear(features, 16), nn.ReLU(), *middle, nn.Linear(16, classes))


def small_cnn(classes=3):
    """A convolution, pooling, and a Linear layer behind a Dropout."""
    body = [nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*body, nn.Dropout(0.2), nn.Linear(8, classes))


def quiet(learn):
    """The same Learner, without bars and tables."""
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


@pytest.fixture
def blob_learner(tiny, tmp_path):
    """A function that makes a Learner on blobs: ``blob_learner(blobs, cbs, bs=..., **Learner's arguments)``."""

    def make(blobs, cbs=None, bs=40, model=None, loss_func=None, train=None, **options):
        train = blobs.train if train is None else train
        dls = DataLoaders.from_dsets(train, blobs.valid, bs=bs, device="cpu", num_workers=0)
        options = {"metrics": accuracy, "lr": 0.01, "path": tmp_path} | options
        return quiet(Learner(dls, model or mlp(), loss_func or CrossEntropyLossFlat(), cbs=cbs, **options))

    return make


@pytest.fixture
def seed_everything():
    """A function that seeds Python, NumPy, torch and a Learner's loaders."""

    def seed(number, learn=None):
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        for dl in [] if learn is None else learn.dls.loaders:
            dl.rng = random.Random(number)

    return seed


def numbers_in(x):
    """The number that is written into each image of a batch of `pictures`, decoded without normalising."""
    return (x.as_subclass(torch.Tensor)[:, 0, 0, 0] * 255 / 4).round().long().cpu()


def trained(learn, train):
    """Whether the importance head's own parameters change while ``train()`` runs."""
    before = [p.detach().clone() for p in find_head(learn.model).own_parameters()]
    head = find_head(learn.model)
    train()
    return all(not torch.equal(a, b) for a, b in zip(before, head.own_parameters(), strict=True))


@pytest.fixture(scope="session")
def tools():
    """The functions of this file, for the test modules."""
    return SimpleNamespace(
        make_blobs=make_blobs, mlp=mlp, small_cnn=small_cnn, quiet=quiet, numbers_in=numbers_in, trained=trained
    )
