"""Two data sets as one."""

import os

import numpy as np
import pandas as pd
import pytest
from official_layouts import make_affectnet_csv, make_rafdb

from scn_fastai.data import images as pixels
from scn_fastai.data.join import join
from scn_fastai.data.readers.affectnet import read_affectnet
from scn_fastai.data.readers.rafdb import read_rafdb
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.data.source import Source
from scn_fastai.errors import DataError


@pytest.fixture
def pair(tmp_path):
    return make_rafdb(tmp_path / "raf"), make_affectnet_csv(tmp_path / "affectnet")


def small(n, first, classes, side=4, colour=False, **columns):
    """n faces of one colour each, from the number `first`; every other one is to validate on."""
    table = pd.DataFrame({"image": [str(i) for i in range(n)], "split": (["train", "valid"] * n)[:n], **columns})
    table["label"] = [classes[i % len(classes)] for i in range(n)]
    images = np.arange(first, first + n, dtype=np.uint8).reshape(-1, 1, 1) * np.ones((1, side, side), np.uint8)
    images = images[..., None].repeat(3, -1) if colour else images
    return FaceSet(table, classes, images, ReadAccount(f"made from {first}", n, {"lost": 1}, [("x.png", "gone")]))


def test_raf_db_and_affectnet_as_in_table_7(pair):
    a, b = read_rafdb(pair[0]), read_affectnet(pair[1], size=28)
    faces = join(a, b, ["rafdb", "affectnet"])
    assert faces.classes == a.classes and faces.images.shape == (26, 20, 20, 3)
    counts = faces.samples.groupby(["split", "source"]).size().to_dict()
    assert counts == {
        ("train", "rafdb"): 12,
        ("train", "affectnet"): 8,
        ("valid", "rafdb"): 4,
        ("valid", "affectnet"): 2,
    }
    for part, name in ((a, "rafdb"), (b, "affectnet")):
        of = faces.samples[faces.samples["source"] == name]
        label = part.samples.set_index("image")["label"]
        assert (of["label"].to_numpy() == label.reindex(of["image"].str.removeprefix(f"{name}/")).to_numpy()).all()
    text = str(faces.account)
    assert "affectnet: contempt, which is not among the classes" in text and "affectnet: no face" in text
    assert "12 train of rafdb, 8 train of affectnet" in text and "classes in order: surprise, fear" in text
    assert faces.samples["valence"].notna().sum() == 10


def test_pixels_stay_with_their_rows():
    a, b = small(5, 10, ["joy", "fear"]), small(4, 50, ["fear", "joy"], side=8, colour=True)
    faces = join(a, b)
    assert faces.images.shape == (9, 4, 4, 3)
    names = [f"a/{i}" for i in (0, 2, 4)] + ["b/0", "b/2"] + ["a/1", "a/3", "b/1", "b/3"]
    assert faces.samples["image"].tolist() == names
    expected = [(10 if name[0] == "a" else 50) + int(name[2:]) for name in names]
    assert faces.images[:, 0, 0, 0].tolist() == faces.images[:, 3, 3, 2].tolist() == expected
    assert join(a, a, ["a", "b"]).images.ndim == 3, "grey stays grey"
    assert join(a, b, size=6).images.shape[1:3] == (6, 6)


def test_accounts_and_columns_are_merged():
    a = small(4, 0, ["joy", "fear"], vote_joy=0.5, vote_fear=0.5, true_label=["joy", "fear"] * 2)
    b = small(4, 9, ["joy", "fear"])
    faces = join(a, b)
    assert faces.account.dropped == {"a: lost": 1, "b: lost": 1}
    assert faces.account.problems == [("a/x.png", "gone"), ("b/x.png", "gone")] and faces.account.read == 8
    assert not [name for name in faces.samples if name.startswith("vote_")]
    assert faces.samples.groupby("source")["true_label"].count().to_dict() == {"a": 4, "b": 0}


def test_large_sets_go_to_a_file(tmp_path, monkeypatch):
    a, b = small(5, 10, ["joy", "fear"]), small(4, 50, ["joy", "fear"])
    plain = join(a, b)
    monkeypatch.setattr(pixels, "MEMORY_LIMIT", 10)
    monkeypatch.setenv("SCN_CACHE", str(tmp_path))
    kept = join(a, b)
    assert isinstance(kept.images, np.memmap) and (kept.images == plain.images).all()
    changed = join(small(5, 11, ["joy", "fear"]), b)
    assert changed.images[0, 0, 0] == 11, "other pixels are another file"


def test_a_source_joins_by_name(pair):
    path = os.pathsep.join(map(str, pair))
    faces = Source("rafdb+affectnet", path, size=20).load()
    assert len(faces) == 26 and set(faces.samples["source"]) == {"rafdb", "affectnet"}
    noisy = Source("rafdb+affectnet7", path, size=20, noise=0.5).load(1)
    train = noisy.part("train").samples
    assert (train["label"] != train["true_label"]).any()


def test_what_cannot_be_joined_is_one_sentence(pair):
    a = small(4, 0, ["joy", "fear"])
    for call, sentence in [
        (lambda: join(a, small(4, 0, ["ant", "bee"])), r"a \(joy, fear\) and b \(ant, bee\) have no class in common"),
        (lambda: join(a, a, ["x", "x"]), "need two names"),
        (lambda: Source("rafdb+affectnet", str(pair[0])).load(), "rafdb.affectnet needs 2 paths, in the same order"),
        (lambda: Source("rafdb+affectnet+csv", "x").load(), "Two data sets can be joined"),
        (lambda: Source("rafdb+rafdb", os.pathsep.join(map(str, pair))).load(), "names one data set twice"),
        (lambda: Source("rafdb+mars", os.pathsep.join(map(str, pair))).load(), "There is no data set 'mars'"),
        (lambda: Source("folder", str(pair[0]), noise_file="x").load(), "A noise file belongs to rafdb, not to folder"),
    ]:
        with pytest.raises(DataError, match=sentence):
            call()
