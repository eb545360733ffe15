"""Oversampling: every class equally often, and the records of SCN still know which sample is which."""

import numpy as np
import pytest
import torch
from small_faces import CLASSES, small_faces

from scn_fastai.data.balance import balanced_order
from scn_fastai.data.loaders import face_loaders
from scn_fastai.data.samples import FaceSet
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces


@pytest.fixture
def uneven():
    """60 training faces: 32 neutral, 16 happiness, 4 or 1 of each other class; 40 to validate on."""
    faces = small_faces(128, 40, size=12)
    keep = np.zeros(len(faces), dtype=bool)
    keep[faces.rows("valid")] = True
    for name, count in zip(CLASSES, [16, 16, 8, 8, 4, 4, 1, 3], strict=True):
        keep[np.flatnonzero((faces.samples["label"] == name) & (faces.samples["split"] == "train"))[:count]] = True
    return faces.take(keep)


@pytest.mark.parametrize("counts", [[7], [5, 5], [100, 3, 1], [1, 2, 400, 0, 30]])
def test_every_class_is_drawn_equally_often(counts):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = balanced_order(labels)
    assert len(order) == len(labels)
    drawn = torch.bincount(labels[order], minlength=len(counts))
    there = torch.tensor(counts) > 0
    assert (drawn[~there] == 0).all() and drawn[there].max() - drawn[there].min() <= 1
    times = torch.bincount(order, minlength=len(labels))
    for code in range(len(counts)):
        of_class = times[labels == code]
        assert len(of_class) == 0 or of_class.max() - of_class.min() <= 1, "none is drawn much oftener than another"


def test_no_labels_no_order():
    assert balanced_order(torch.zeros(0, dtype=torch.long)).tolist() == []


def test_the_order_is_torchs_alone_and_another_one_every_time(tiny):
    labels = torch.arange(100) % 3 // 2
    state = torch.get_rng_state()
    first, second = balanced_order(labels), balanced_order(labels)
    torch.set_rng_state(state)
    assert torch.equal(balanced_order(labels), first) and not torch.equal(first, second)


def test_the_loader_draws_balanced_and_its_index_names_the_samples(uneven):
    dls = face_loaders(uneven, batch_size=10, augment=False, device="cpu", oversample=True)
    labels, drawn = dls.train_ds.labels, []
    for image, label in dls.train:
        index = dls.train.batch_index
        assert torch.equal(torch.as_tensor(label), labels[index]) and len(image) == 10
        drawn.append(index)
    counts = torch.bincount(labels[torch.cat(drawn)], minlength=8)
    assert counts.tolist() != torch.bincount(labels, minlength=8).tolist() and counts.min() >= 4
    assert sum(len(label) for _, label in dls.valid) == 40, "validation stays as it is"
    plain = face_loaders(uneven, batch_size=10, device="cpu")
    assert not plain.train.oversample


def test_scn_records_what_was_drawn(uneven):
    train = TrainSettings(arch="small", epochs=2, batch_size=10, device="cpu", half=False, oversample=True)
    learn = face_learner(uneven, "default", train)
    with learn.no_bar(), learn.no_logging():
        learn.fit(2, 0.01)
    seen = learn.scn.history.seen
    rare = (learn.scn.ledger.given >= 4).numpy()
    assert seen.shape == (2, 60) and seen[:, rare].mean() > 0.8 and not seen.all()
    assert learn.scn.history.frame()["mean_class_accuracy"].between(0, 1).all()


def test_oversampling_finds_a_rare_class():
    """Two classes under much noise, one twenty times as frequent: drawn as they are, nearly all is called that one."""
    faces = small_faces(640, 160, size=12)
    label, train = (faces.samples[column].to_numpy() for column in ("label", "split"))
    keep = (label == "neutral") | ((label == "happiness") & (train == "valid"))
    keep[np.flatnonzero((label == "happiness") & (train == "train"))[:4]] = True
    noise = np.random.default_rng(0).normal(0, 90, faces.images.shape)
    images = np.clip(faces.images + noise, 0, 255).astype(np.uint8)
    faces = FaceSet(faces.samples[keep], CLASSES[:2], images[keep], faces.account)
    reached = []
    for oversample in (False, True):
        how = TrainSettings(arch="small", epochs=3, batch_size=12, device="cpu", half=False, oversample=oversample)
        reached.append(train_faces(faces, "plain", how, bar=False)["mean_class_accuracy_last"])
    assert reached[1] > reached[0] + 0.1
