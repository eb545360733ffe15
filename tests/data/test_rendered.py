import hashlib
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastai.vision.data import ImageDataLoaders
from small_faces import CLASSES, pack_table, write_pack

from scn_fastai.data.loaders import face_loaders
from scn_fastai.data.readers import rendered
from scn_fastai.data.readers.folder import read_csv, read_folder
from scn_fastai.data.readers.rendered import extract_faces, find_pack, rendered_faces, rendered_table
from scn_fastai.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder with a pack of its own, which a test may spoil."""
    return write_pack(tmp_path / "rendered_faces").parent


def change(folder, **columns):
    """Write the pack again with other columns (None: without), and with the right checksum."""
    table = pack_table().assign(**{name: value for name, value in columns.items() if value is not None})
    return write_pack(folder, table.drop(columns=[name for name, value in columns.items() if value is None]))


# ---- reading ----


def test_images_and_table_of_all_splits(small_pack):
    faces, table = rendered_faces(small_pack), pack_table()
    assert faces.images.shape == (240, 16, 16, 3) and faces.images.dtype == np.uint8 and faces.classes == CLASSES
    assert list(faces.samples.columns) == [name for name in table.columns if name != "jpeg"]
    assert faces.samples["image"].tolist() == table["image"].tolist()
    for row in (0, 123, 239):
        np.testing.assert_array_equal(faces.images[row], rendered.pixels.decode_image(table["jpeg"][row]))
    assert set(faces.samples["second"]) == {"", *CLASSES}
    text = str(faces.account)
    assert "240 faces read, 0 dropped" in text and "no real person; version 1, seed 0" in text
    assert "160 train (40% uncertain), 40 valid (40% uncertain), 40 test (40% uncertain)" in text


def test_some_splits_another_size_and_grey(small_pack):
    faces = rendered_faces(small_pack, splits=["valid", "test"], size=12, grey=True)
    assert faces.images.shape == (80, 12, 12) and set(faces.samples["split"]) == {"valid", "test"}
    assert faces.samples["image"].iloc[0] == "r000160"
    for splits in ("valid", [], ["dev"]):
        with pytest.raises(DataError, match="have the splits train, valid and test: give some of them, not"):
            rendered_faces(small_pack, splits)
    write_pack(small_pack.parent / "no_test", pack_table(n_test=0))
    with pytest.raises(DataError, match="There is no face of test in .*faces.parquet: read other splits"):
        rendered_faces(small_pack.parent / "no_test", ["test"])


def test_the_loader_takes_them(small_pack):
    dls = face_loaders(rendered_faces(small_pack), batch_size=16, device="cpu")
    x, y = dls.one_batch()
    assert x.shape == (16, 3, 16, 16) and len(y) == 16 and [len(d) for d in (dls.train_ds, dls.valid_ds)] == [160, 40]


def test_the_array_is_kept_in_a_cache(small_pack, tmp_path):
    kept = [rendered_faces(small_pack, splits, cache_dir=tmp_path) for splits in (["train"], ["train"], ["valid"])]
    assert isinstance(kept[0].images, np.memmap) and len(list(tmp_path.glob("*.npy"))) == 2
    np.testing.assert_array_equal(kept[0].images, kept[1].images)


def test_the_table_alone_reads_no_image(small_pack, monkeypatch):
    monkeypatch.setattr(rendered.pixels, "decode_all", None)
    table = rendered_table(small_pack)
    pd.testing.assert_frame_equal(table, pack_table().drop(columns="jpeg"))


def test_an_image_that_cannot_be_read_is_dropped_and_reported(folder):
    jpegs = pack_table()["jpeg"]
    jpegs[5], jpegs[7] = jpegs[5][:100], None
    change(folder, jpeg=jpegs)
    faces = rendered_faces(folder)
    assert len(faces) == 238 and faces.account.dropped == {"image unreadable": 2}
    assert [name for name, _ in faces.account.problems] == ["r000005", "r000007"]
    assert not {"r000005", "r000007"} & set(faces.samples["image"])


# ---- where it lies ----


def test_it_is_found_by_file_folder_variable_and_checkout(folder, tmp_path, monkeypatch):
    file = folder / "faces.parquet"
    monkeypatch.delenv("SCN_DATA", raising=False)
    for path in (file, folder, folder.parent, str(folder)):
        assert find_pack(path) == file
    monkeypatch.setenv("SCN_DATA", str(folder.parent))
    assert find_pack() == file
    monkeypatch.delenv("SCN_DATA")
    code = tmp_path / "scn_fastai" / "data" / "readers" / "rendered.py"
    (tmp_path / "data").mkdir()
    folder.rename(tmp_path / "data" / "rendered_faces")
    monkeypatch.setattr(rendered, "__file__", str(code))
    monkeypatch.chdir(os.sep)
    assert find_pack() == tmp_path / "data" / "rendered_faces" / "faces.parquet"


def test_one_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("SCN_DATA", raising=False)
    monkeypatch.setattr(rendered, "__file__", str(tmp_path / "a" / "b" / "c" / "d.py"))
    with pytest.raises(DataError, match="not here: clone the repository, or set SCN_DATA .*, or make some with `scn f"):
        rendered_faces()
    with pytest.raises(DataError, match=r"There is no faces.parquet in \S+: name the file or its folder"):
        rendered_faces(tmp_path)
    with pytest.raises(DataError, match="There is nothing at .*nowhere: check the path"):
        rendered_faces(tmp_path / "nowhere")
    monkeypatch.setenv("SCN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="There is no faces.parquet in .*, where SCN_DATA points: name the file"):
        rendered_table()


# ---- packs that cannot be used ----


def test_a_damaged_file(folder):
    file = folder / "faces.parquet"
    whole = file.read_bytes()
    for data in (whole[:-1000], whole[:5000] + b"x" + whole[5001:]):
        file.write_bytes(data)
        with pytest.raises(DataError, match="is damaged or was changed, its checksum is not the one in SHA256SUMS: f"):
            rendered_table(folder)
    (folder / "SHA256SUMS").unlink()
    for data in (whole[:-1000], b"", b"hello"):
        file.write_bytes(data)
        with pytest.raises(DataError, match=r"faces.parquet is damaged or no Parquet file \(.+\): fetch it again\.$"):
            rendered_faces(folder)
    file.write_bytes(whole[:4] + b"\0" * 2000 + whole[2004:])
    with pytest.raises(DataError, match=r"faces.parquet is damaged \(.+\): fetch it again\.$"):
        rendered_faces(folder)


def test_the_checksum_counts_where_there_is_one_for_the_pack(folder):
    sums = folder / "SHA256SUMS"
    right = sums.read_text()
    for text in (right.upper().replace("FACES.PARQUET", "*faces.parquet"), "0" * 64 + "  other.bin\n", "", "junk\n"):
        sums.write_text(text)
        assert len(rendered_table(folder)) == 240
    sums.write_text(right.replace(right[:4], "0000"))
    with pytest.raises(DataError, match="its checksum is not the one in SHA256SUMS"):
        rendered_table(folder)


def test_another_version_or_another_parquet_file(folder):
    write_pack(folder, version=2)
    with pytest.raises(DataError, match="is of version 2, this scn_fastai reads up to 1: update scn_fastai"):
        rendered_faces(folder)
    for about in (dict(version="x"), dict(classes=None)):
        write_pack(folder, **about)
        with pytest.raises(DataError, match="does not say that it holds rendered faces"):
            rendered_faces(folder)
    (folder / "SHA256SUMS").unlink()
    pq.write_table(pa.table({"a": [1]}), folder / "faces.parquet")
    with pytest.raises(DataError, match="is a Parquet file, but does not say that it holds rendered faces"):
        rendered_faces(folder)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"uncertainty": None}, r"has no column 'uncertainty' \(1 are missing\): fetch or make it again"),
        ({"soft_fear": None, "jpeg": None}, r"has no column 'jpeg' \(2 are missing\)"),
        ({"label": "joy"}, "Image r000000 in .* has the label 'joy', which is none of neutral, .*, contempt: fetch"),
        ({"second": "joy"}, "has the second 'joy', which is none of neutral, "),
        ({"split": "dev"}, "has the split 'dev', which is none of train, valid, test"),
        ({"image": "same"}, "The image same is there twice in"),
        ({"image": "../../r1"}, "'../../r1' in .* is no name for an image or a class"),
    ],
)
def test_a_table_that_does_not_fit(folder, columns, sentence):
    change(folder, **columns)
    with pytest.raises(DataError, match=sentence):
        rendered_faces(folder)


def test_no_faces_at_all(folder):
    write_pack(folder, pack_table()[:0])
    with pytest.raises(DataError, match="holds no faces: fetch or make it again"):
        rendered_table(folder)


# ---- extracting ----


def files_in(folder):
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_extracted_files_are_the_images_and_both_readers_take_them(small_pack, tmp_path):
    table = pack_table()
    out = extract_faces(tmp_path / "a" / "faces", small_pack)
    files = files_in(out)
    assert out == (tmp_path / "a" / "faces").resolve() and len(files) == 241
    assert files["train/happiness/r000001.jpg"] == table["jpeg"][1]
    assert [child.name for child in out.parent.iterdir()] == ["faces"], "nothing else is left"

    found = pd.read_csv(out / "samples.csv")
    assert list(found.columns[:4]) == ["path", "label", "split", "is_valid"]
    assert {"true_label", "uncertainty", "level", "identity", "soft_fear", "yaw", "seed"} <= set(found.columns)
    assert not any(name.startswith("unit_") for name in found.columns)
    assert (found["is_valid"] == (found["split"] != "train")).all() and set(found["uncertainty"]) == set(
        table["uncertainty"]
    )

    faces, whole = read_csv(out / "samples.csv", classes=CLASSES), rendered_faces(small_pack)
    assert faces.samples["label"].tolist() == whole.samples["label"].tolist()
    np.testing.assert_array_equal(faces.images, whole.images)
    assert len(read_folder(out).part("test")) == 40

    dls = ImageDataLoaders.from_df(found, out, valid_col="is_valid", bs=16, num_workers=0, device="cpu")
    assert len(dls.train_ds) == 160 and len(dls.valid_ds) == 80 and set(dls.vocab) == set(CLASSES)
    assert dls.one_batch()[0].shape == (16, 3, 16, 16)


def test_a_second_call_mends_what_is_damaged_and_leaves_the_rest(small_pack, tmp_path):
    out = extract_faces(tmp_path / "faces", small_pack)
    files = files_in(out)
    (out / "models").mkdir()
    (out / "models" / "mine.pth").write_bytes(b"weights")
    (out / "train" / "fear" / "r000006.jpg").write_bytes(b"half")
    (out / "valid" / "fear" / "r000166.jpg").unlink()
    before = (out / "train" / "fear" / "r000014.jpg").stat().st_mtime_ns
    assert extract_faces(out, small_pack) == out
    assert files_in(out) == files | {"models/mine.pth": b"weights"}
    assert (out / "train" / "fear" / "r000014.jpg").stat().st_mtime_ns == before


def test_an_empty_folder_is_filled_and_another_one_refused(small_pack, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(files_in(extract_faces(tmp_path / "empty", small_pack))) == 241
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    half = extract_faces(tmp_path / "half", small_pack)
    (half / "samples.csv").unlink()
    change(folder, seed=1)
    for out, pack in ((tmp_path / "other", small_pack), (tmp_path / "file", small_pack), (half, small_pack),
                      (tmp_path / "empty", folder)):  # fmt: skip
        before = out.read_bytes() if out.is_file() else files_in(out)
        with pytest.raises(DataError, match="holds something else than these faces: choose another folder, or remove"):
            extract_faces(out, pack)
        assert (out.read_bytes() if out.is_file() else files_in(out)) == before


def test_nothing_half_written_stays(small_pack, folder, tmp_path, monkeypatch):
    (folder / "faces.parquet").write_bytes(b"damaged")
    with pytest.raises(DataError, match="damaged"):
        extract_faces(tmp_path / "out", folder)
    written, write = [], rendered.Path.write_bytes

    def full_disk(path, data):
        written.append(path)
        if len(written) > 20:
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(rendered.Path, "write_bytes", full_disk)
    with pytest.raises(DataError, match=r"cannot be written to .*out \(No space left on device\): make room or choose"):
        extract_faces(tmp_path / "out", small_pack)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["rendered_faces"]


def test_another_process_may_be_faster(small_pack, tmp_path, monkeypatch):
    rename = rendered.Path.rename

    def too_late(path, target):
        monkeypatch.undo()
        extract_faces(target, small_pack)
        return rename(path, target)

    monkeypatch.setattr(rendered.Path, "rename", too_late)
    assert len(files_in(extract_faces(tmp_path / "out", small_pack))) == 241
    assert [child.name for child in tmp_path.iterdir()] == ["out"]


# ---- the pack that is shipped ----


@pytest.fixture(scope="module")
def shipped():
    """The pack of the checkout."""
    return rendered.Path(rendered.__file__).resolve().parents[3] / "data" / "rendered_faces" / "faces.parquet"


def test_the_shipped_pack_is_the_one_of_its_checksum_and_not_too_large(shipped):
    digest, name = (shipped.parent / "SHA256SUMS").read_text().split()
    assert name == "faces.parquet" and digest == hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert shipped.stat().st_size <= 24_000_000 and (shipped.parent / "README.md").is_file()


def test_the_shipped_faces_are_as_many_and_as_uncertain_as_promised(shipped):
    table = rendered_table(shipped)
    parts = table.groupby("split")
    assert len(table) >= 8000 and parts.size()["train"] >= 6000 and min(parts.size()[["valid", "test"]]) >= 700
    assert (parts["label"].nunique() == 8).all() and (table["label"] == table["true_label"]).all()
    assert (table.groupby("identity")["split"].nunique() == 1).all()
    shares = parts["uncertainty"].apply(lambda kinds: (kinds != "none").mean())
    assert abs(shares["train"] - 0.3) < 0.03 and abs(shares[["valid", "test"]] - 0.5).max() < 0.06
    np.testing.assert_allclose(table[[f"soft_{name}" for name in CLASSES]].sum(axis=1), 1, atol=1e-5)
    certain = table["uncertainty"] == "none"
    assert table["level"][certain].isna().all() and table["level"][~certain].between(0, 1).all()
    assert ((table["uncertainty"] == "ambiguous") == (table["second"] != "")).all()


def test_every_shipped_image_can_be_read(shipped):
    faces = rendered_faces(shipped)
    assert not faces.account.problems and faces.images.shape[1:] == (64, 64, 3)
    assert len(np.unique(faces.images.reshape(len(faces), -1)[:, ::97], axis=0)) == len(faces)


def test_a_limit_takes_the_same_share_of_every_split(small_pack, tmp_path):
    table = rendered_table(small_pack)
    whole = table["split"].value_counts()
    limit = whole["train"] // 2
    written = pd.read_csv(extract_faces(tmp_path / "few", small_pack, limit=limit) / "samples.csv")
    counts = written["split"].value_counts()
    assert counts["train"] == limit
    assert all(counts[name] == np.ceil(whole[name] * limit / whole["train"]) for name in whole.index)
    assert all((tmp_path / "few" / name).is_file() for name in written["path"])
    with pytest.raises(DataError, match="does not fit"):
        extract_faces(tmp_path / "none", small_pack, limit=0)
