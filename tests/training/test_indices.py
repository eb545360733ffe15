"""Which sample is which: the recorded order, and given labels without decoding."""

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.data import WeightedDL, weighted_dataloaders  # noqa: F401  (patches DataBlock)
from fastai.data.block import CategoryBlock, DataBlock, MultiCategoryBlock
from fastai.data.core import DataLoaders, TfmdDL
from fastai.data.load import SkipItemException
from fastai.data.transforms import ColReader, ColSplitter, GrandparentSplitter, get_image_files, parent_label
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.vision.core import PILImage
from fastai.vision.data import ImageBlock, ImageDataLoaders

from scn_fastai import SCNCallback, face_loaders
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError, SCNError, SettingsError
from scn_fastai.training.indices import batch_index, forget_order, given_labels, record_order


def folder(p, **k):
    return ImageDataLoaders.from_folder(p.path, train="train", valid="valid", **k)


def frame(p, **k):
    return ImageDataLoaders.from_df(p.table, p.path, valid_col="is_valid", **k)


def csv(p, **k):
    return ImageDataLoaders.from_csv(p.path, "labels.csv", valid_col="is_valid", **k)


def block(p, **k):
    blocks = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                       splitter=GrandparentSplitter("train", "valid"))  # fmt: skip
    return blocks.dataloaders(p.path, **k)


def weighted(p, **k):
    blocks = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader("name", pref=f"{p.path}/"),
                       get_y=ColReader("label"), splitter=ColSplitter())  # fmt: skip
    weights = np.where(p.table["label"] == "sad", 5.0, 1.0)
    return blocks.weighted_dataloaders(p.table, weights, **k)


def project(p, bs, num_workers, device, drop_last=True):
    images = np.stack([np.array(PILImage.create(p.path / name)) for name in p.table["name"]])
    table = p.table.assign(image=p.table["name"], split=np.where(p.table["is_valid"], "valid", "train"))
    faces = FaceSet(table[["image", "label", "split"]], ["glad", "mad", "sad"], images, ReadAccount("made"))
    stats = ([0.0] * 3, [1.0] * 3)
    return face_loaders(faces, bs, augment=False, device=device, num_workers=num_workers, stats=stats)


class Witness(Callback):
    """Compares, batch by batch, the images with the samples that SCNCallback took them for."""

    order = 6

    def __init__(self, numbers_in, number_of):
        self.numbers_in, self.number_of, self.seen = numbers_in, number_of, []

    def before_batch(self):
        if self.training:
            index = self.learn.scn._index
            assert torch.equal(self.number_of[index], self.numbers_in(self.learn.xb[0]))
            self.seen.append(index)


def number_of_each_sample(dls, pictures):
    """The number of every training sample, read from file names."""
    items = getattr(dls.train_ds, "items", None)
    if isinstance(items, pd.DataFrame):
        items = items["name"]
    if items is None or not isinstance(items[0], str) and not hasattr(items[0], "stem"):
        items = pictures.table["name"][~pictures.table["is_valid"]]
    return torch.tensor([int(str(item)[-6:-4]) for item in items])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("make", [folder, frame, csv, block, weighted, project], ids=lambda f: f.__name__)
def test_every_batch_is_recognised(make, workers, pictures, tools, tiny):
    dls = make(pictures, bs=8, num_workers=workers, device="cpu")
    number_of = number_of_each_sample(dls, pictures)
    witness = Witness(tools.numbers_in, number_of)
    learn = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=[SCNCallback(), witness]))
    assert torch.equal(learn.scn.ledger.given, pictures.by_number[number_of])
    learn.fit(2)
    assert len(witness.seen) == 2 * len(dls.train)
    assert (learn.scn.history.seen[-1].sum()) == len(torch.cat(witness.seen[len(dls.train) :]).unique())


@pytest.mark.parametrize(("shuffle", "drop_last", "seen"), [(True, True, 40), (True, False, 42), (False, False, 42)])
def test_partial_batches_are_recognised(shuffle, drop_last, seen, pictures, tools, tiny):
    dls = folder(pictures, bs=8, num_workers=0, device="cpu")
    dls.loaders[0] = dls.train.new(shuffle=shuffle, drop_last=drop_last)
    witness = Witness(tools.numbers_in, number_of_each_sample(dls, pictures))
    learn = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=[SCNCallback(), witness]))
    learn.fit(1)
    assert learn.scn.history.seen[0].sum() == seen
    assert np.isnan(learn.scn.history.alpha[0]).sum() == len(dls.train_ds) - seen


def test_a_weighted_sample_that_comes_twice_counts_once(pictures, tools, tiny):
    dls = weighted(pictures, bs=16, num_workers=0, device="cpu")
    assert isinstance(dls.train, WeightedDL)
    learn = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=SCNCallback()))
    learn.fit(1)
    drawn = learn.dls.train.drawn_order
    history = learn.scn.history
    assert len(drawn.unique()) < len(drawn)  # or this test shows nothing
    assert history.frame()["seen"][0] == len(drawn[: 16 * len(dls.train)].unique())
    # Twice in a batch, and in an epoch, is one prediction.
    assert history.evidence_count[drawn[: 16 * len(dls.train)]].unique().tolist() == [1]
    batch = torch.tensor([3, 3, 5])
    history.begin_epoch("cpu")
    history.evidence_count.zero_()
    history.average(batch, torch.full((3, 3), 1 / 3), decay=1.0)
    assert history.evidence_count[[3, 5]].tolist() == [1, 1]


def test_given_labels_open_no_image(pictures, monkeypatch):
    dls = folder(pictures, bs=8, num_workers=0, device="cpu")

    def refuse(*_, **__):
        raise AssertionError("an image was opened")

    monkeypatch.setattr(PILImage, "create", refuse)
    number_of = number_of_each_sample(dls, pictures)
    assert given_labels(dls.train_ds).tolist() == pictures.by_number[number_of].tolist()


@pytest.mark.parametrize("column", ["labels", "targets"])
def test_a_column_called_like_an_attribute_is_no_trap(column, pictures):
    table = pictures.table.rename(columns={"label": column})
    dls = ImageDataLoaders.from_df(table, pictures.path, label_col=column, valid_col="is_valid", bs=8, device="cpu")
    assert given_labels(dls.train_ds).tolist() == pictures.by_number[:42].tolist()


def test_data_sets_of_other_libraries_tell_their_labels(blobs):
    class Targets(list):
        targets = [7, 8, 9]

    class Labels(list):
        labels = np.array([1, 2])

    assert given_labels(Targets()).tolist() == [7, 8, 9]
    assert given_labels(Labels()).tolist() == [1, 2]
    assert given_labels(blobs.train).tolist() == blobs.given.tolist()


def test_recording_leaves_no_trace(pictures):
    dl = folder(pictures, bs=8, num_workers=0, device="cpu").train
    record_order(dl)
    record_order(dl)  # twice is once
    list(dl)
    assert sorted(dl.drawn_order.tolist()) == list(range(42))
    new = dl.new()
    assert "drawn_order" not in vars(new) and "get_idxs" not in vars(new)
    forget_order(dl)
    forget_order(dl)
    assert not {"drawn_order", "original_get_idxs", "get_idxs"} & set(vars(dl))
    assert dl.get_idxs.__func__ is type(dl).get_idxs


def test_an_order_that_was_passed_in_is_given_back(blobs):
    def backwards(self=None):
        return list(range(239, -1, -1))

    dl = DataLoaders.from_dsets(blobs.train, bs=40, device="cpu", num_workers=0).train
    dl.get_idxs = backwards
    record_order(dl)
    list(dl)
    assert batch_index(dl, 40, 3, torch.device("cpu")).tolist() == [199, 198, 197]
    forget_order(dl)
    assert dl.get_idxs is backwards


def test_skipped_items_are_noticed_and_nothing_is_relabeled(pictures, tools, tiny):
    def open_or_skip(path):
        if path.stem in ("03", "17"):
            raise SkipItemException
        return PILImage.create(path)

    blocks = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, get_x=open_or_skip,
                       splitter=GrandparentSplitter("train", "valid"))  # fmt: skip
    dls = blocks.dataloaders(pictures.path, bs=8, num_workers=0, device="cpu")
    scn = SCNCallback("paper", relabel_from=0, relabel_margin=0)
    learn = tools.quiet(Learner(dls, tools.small_cnn(), CrossEntropyLossFlat(), cbs=scn))
    with pytest.raises(SettingsError, match=r"^\d+ labels .*SkipItemException.*drop the bad items"):
        learn.fit(3)
    assert len(scn.ledger) == 0 and torch.equal(scn.ledger.current, scn.ledger.given) and scn.history.epoch == 0


def test_a_plain_torch_loader_is_refused(blobs, tools, tiny):
    plain = torch.utils.data.DataLoader(blobs.train, batch_size=8)
    learn = tools.quiet(Learner(DataLoaders(plain, plain), tools.mlp(), CrossEntropyLossFlat(), cbs=SCNCallback()))
    with pytest.raises(SettingsError, match="^SCN must know which sample is which.*face_loaders"):
        learn.fit(1)


def test_a_loader_without_batches_is_refused(blobs, tools, tiny):
    class Batches(list):
        labels = blobs.given

    dl = TfmdDL(Batches(tuple(x[None] for x in pair) for pair in blobs.train), bs=None)
    dls = DataLoaders(dl, dl, device="cpu")
    learn = tools.quiet(Learner(dls, tools.mlp(), CrossEntropyLossFlat(), cbs=SCNCallback()))
    with pytest.raises(SettingsError, match="^SCN ranks the samples of a batch.*pass bs"):
        learn.fit(1)


def several_labels(pictures):
    blocks = DataBlock((ImageBlock, MultiCategoryBlock), get_items=get_image_files, splitter=GrandparentSplitter(
                       "train", "valid"), get_y=lambda path: [path.parent.name, "face"])  # fmt: skip
    return blocks.dataloaders(pictures.path, bs=8, num_workers=0, device="cpu")


def numbers_to_regress_on(_):
    pairs = [(torch.zeros(3, 8, 8), torch.tensor(0.5))] * 8
    return DataLoaders.from_dsets(pairs, pairs, bs=4, device="cpu")


@pytest.mark.parametrize("make", [several_labels, numbers_to_regress_on], ids=lambda f: f.__name__)
def test_labels_that_are_no_class_are_refused_and_the_network_is_left_alone(make, pictures, tools):
    learn = Learner(make(pictures), tools.small_cnn(), CrossEntropyLossFlat())
    layers = str(learn.model)
    with pytest.raises(DataError, match="^SCN needs one class per sample"):
        learn.add_cb(SCNCallback())
    assert str(learn.model) == layers and issubclass(DataError, SCNError)
