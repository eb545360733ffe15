import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.data import cache as cache_room
from scn_fastai.data import images as pixels
from scn_fastai.data.readers.ferplus import CLASSES, VOTES, crowd_labels, read_ferplus
from scn_fastai.errors import DataError

FOLDERS = {"Training": "FER2013Train", "PublicTest": "FER2013Valid", "PrivateTest": "FER2013Test"}
# Usage, votes (neutral happiness surprise sadness anger disgust fear contempt unknown NF), FER2013 code
ROWS = [
    ("Training", (8, 1, 0, 0, 0, 0, 0, 0, 1, 0), 6),  # 0 neutral
    ("Training", (0, 10, 0, 0, 0, 0, 0, 0, 0, 0), 0),  # 1 happiness, FER2013 says anger
    ("Training", (0, 0, 4, 0, 0, 0, 4, 0, 2, 0), 5),  # 2 surprise = fear
    ("Training", (0, 0, 0, 0, 0, 0, 0, 0, 9, 1), 4),  # 3 no emotion at all
    ("Training", (1, 0, 0, 3, 0, 0, 0, 0, 6, 0), 4),  # 4 sadness, but unknown leads
    ("Training", (2, 2, 2, 1, 1, 1, 1, 0, 0, 0), 3),  # 5 everything a little
    ("Training", (0, 0, 0, 0, 0, 0, 0, 0, 0, 10), 2),  # 6 not a face: no image name
    ("PublicTest", (0, 0, 0, 0, 9, 1, 0, 0, 0, 0), 1),  # 7 anger, FER2013 says disgust
    ("PublicTest", (0, 0, 0, 0, 0, 0, 0, 10, 0, 0), 6),  # 8 contempt
    ("PrivateTest", (0, 0, 0, 0, 0, 7, 3, 0, 0, 0), 1),  # 9 disgust
]


def name(i):
    return None if i == 6 else f"fer{i:07d}.png"


def picture(i):
    return np.random.default_rng(i).integers(0, 256, (48, 48), dtype=np.uint8)


def votes_table():
    rows = [(usage, name(i), *votes) for i, (usage, votes, _) in enumerate(ROWS)]
    return pd.DataFrame(rows, columns=["Usage", "Image name", *VOTES])


@pytest.fixture
def folder(tmp_path):
    """The PNG form, as the authors' script makes it."""
    root = tmp_path / "ferplus"
    for sub in FOLDERS.values():
        (root / sub).mkdir(parents=True)
    for i, (usage, _, _) in enumerate(ROWS):
        if name(i):
            Image.fromarray(picture(i)).save(root / FOLDERS[usage] / name(i))
    votes_table().to_csv(root / "fer2013new.csv", index=False)
    original = [(usage, name(i), code) for i, (usage, _, code) in enumerate(ROWS) if name(i) and i != 2]
    pd.DataFrame(original, columns=["Usage", "Image name", "emotion"]).to_csv(root / "fer2013_labels.csv", index=False)
    return root


@pytest.fixture
def kaggle(tmp_path):
    """Kaggle's form: one CSV of pixels, beside the votes."""
    root = tmp_path / "kaggle"
    root.mkdir()
    votes_table().to_csv(root / "fer2013new.csv", index=False)
    rows = [(code, " ".join(map(str, picture(i).ravel())), usage) for i, (usage, _, code) in enumerate(ROWS)]
    pd.DataFrame(rows, columns=["emotion", "pixels", "Usage"]).to_csv(root / "fer2013.csv", index=False)
    return root


def zipped(folder, prefix=""):
    path = folder.parent / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def labels_of(faces):
    return {int(row.image[3:10]): row.label for row in faces.samples.itertuples()}


def test_png_form(folder):
    faces = read_ferplus(folder)
    assert faces.classes == CLASSES and faces.images.shape == (7, 48, 48)
    expected = {0: "neutral", 1: "happiness", 2: "surprise", 4: "sadness", 5: "neutral"}
    assert labels_of(faces.part("train")) == expected
    assert labels_of(faces.part("valid")) == {7: "anger", 8: "contempt"}


def test_images_and_votes_belong_to_their_rows(folder):
    faces = read_ferplus(folder, splits=("train", "valid", "test"))
    for image, pixels_of in zip(faces.samples["image"], faces.images, strict=True):
        assert (pixels_of == picture(int(image[3:10]))).all()
    first = faces.samples.iloc[0]
    assert first["vote_neutral"] == pytest.approx(8 / 9) and first["vote_happiness"] == pytest.approx(1 / 9)
    np.testing.assert_allclose(faces.samples[[f"vote_{c}" for c in CLASSES]].sum(axis=1), 1)


def test_both_forms_and_a_zip_agree(folder, kaggle):
    splits = ("train", "valid", "test")
    one = read_ferplus(folder, splits=splits)
    for path in (kaggle, kaggle / "fer2013.csv", zipped(folder, "deep/er/"), folder / "fer2013new.csv"):
        other = read_ferplus(path, splits=splits)
        pd.testing.assert_frame_equal(one.samples, other.samples)
        assert (one.images == other.images).all()
        assert other.account.dropped == {"no image name (not a face)": 1, "no emotion vote": 1}
        assert "2 faces with tied votes" in str(other.account)


@pytest.mark.parametrize(
    "rule, kept, dropped",
    [
        ("argmax8", [0, 1, 2, 4, 5], {"no emotion vote": 1}),
        ("soft", [0, 1, 2, 4, 5], {"no emotion vote": 1}),
        ("majority", [0, 1], {"unknown or not a face": 2, "no majority": 2}),
        ("threshold", [0, 1, 2, 5], {"unknown or not a face": 2}),
    ],
)
def test_rules(folder, rule, kept, dropped):
    faces = read_ferplus(folder, rule=rule, splits=("train",))
    assert sorted(labels_of(faces)) == kept
    assert faces.account.dropped == {"no image name (not a face)": 1, **dropped}


def test_crowd_labels_by_hand():
    votes = np.zeros((3, 10))
    votes[0, :2], votes[1, :2], votes[2, :6] = 5, (6, 4), (3, 3, 1, 1, 1, 1)
    assert crowd_labels(votes, "argmax8").ties == 2
    assert crowd_labels(votes, "majority").codes.tolist() == [-1, 0, -1]
    assert crowd_labels(votes, "threshold").codes.tolist() == [0, 0, 0]


def test_original_labels_are_given_and_the_crowd_is_the_truth(folder, kaggle):
    for path, lost in ((folder, 1), (kaggle, 0)):
        faces = read_ferplus(path, labels="fer2013")
        train = faces.part("train").samples.set_index("image")
        assert train.loc[name(1), "label"] == "anger" and train.loc[name(1), "true_label"] == "happiness"
        assert train.loc[name(5), "label"] == "happiness" and train.loc[name(5), "true_label"] == "neutral"
        assert (name(2) in train.index) == (lost == 0)
        assert faces.account.dropped.get("no original FER2013 label", 0) == lost
        valid = faces.part("valid").samples
        assert valid["label"].tolist() == valid["true_label"].tolist() == ["anger", "contempt"]


def test_seven_classes_have_no_contempt(folder, kaggle):
    for path in (folder, kaggle):
        faces = read_ferplus(path, labels="fer2013", classes=7)
        assert faces.classes == CLASSES[:7] and labels_of(faces.part("valid")) == {7: "anger"}
        assert faces.account.dropped["contempt, which is not among the 7 classes"] == 1
        np.testing.assert_allclose(faces.samples[[f"vote_{c}" for c in CLASSES[:7]]].sum(axis=1), 1)
    with pytest.raises(DataError, match="FERPlus has 8 classes, or 7 without contempt, not 6"):
        read_ferplus(folder, classes=6)


def test_label_csv_of_each_folder(folder):
    (folder / "fer2013new.csv").unlink()
    for usage, sub in FOLDERS.items():
        rows = [(name(i), "(0, 0, 48, 48)", *votes) for i, (of, votes, _) in enumerate(ROWS) if of == usage and name(i)]
        pd.DataFrame(rows).to_csv(folder / sub / "label.csv", index=False, header=False)
    assert len(read_ferplus(folder, splits=("train", "valid", "test"))) == 8


def test_damaged_and_missing_images_are_dropped_and_reported(folder):
    train = folder / "FER2013Train"
    (train / name(0)).write_bytes((train / name(0)).read_bytes()[:700])
    (train / name(1)).write_text("not an image")
    (train / name(4)).unlink()
    Image.fromarray(picture(77)).save(train / "fer0000077.png")
    faces = read_ferplus(folder)
    assert sorted(labels_of(faces.part("train"))) == [2, 5]
    for image, pixels_of in zip(faces.samples["image"], faces.images, strict=True):
        assert (pixels_of == picture(int(image[3:10]))).all()
    assert faces.account.dropped["image unreadable"] == 2 and faces.account.dropped["image file missing"] == 1
    problems = dict(faces.account.problems)
    assert "unreadable or truncated" in problems[name(0)]
    assert problems[name(1)] == "not an image that Pillow can read"
    assert problems[name(4)] == "the file is not there"
    assert "1 image files have no votes" in str(faces.account)


def test_damaged_pixels_are_dropped(kaggle):
    table = pd.read_csv(kaggle / "fer2013.csv")
    table.loc[0, "pixels"] = "1 2 3"
    table.loc[1, "pixels"] = table.loc[1, "pixels"].replace(" ", " x ", 1)
    table.to_csv(kaggle / "fer2013.csv", index=False)
    faces = read_ferplus(kaggle)
    assert sorted(labels_of(faces)) == [2, 4, 5, 7, 8]
    assert "unreadable pixels (3 numbers instead of 2304)" in dict(faces.account.problems)[name(0)]


def test_size_and_cache(folder, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    one = read_ferplus(folder, size=32, cache_dir=cache)
    assert one.images.shape[1:] == (32, 32) and isinstance(one.images, np.memmap)
    monkeypatch.setattr(pixels, "decode_image", None)  # a second look must not decode
    again = read_ferplus(folder, size=32, cache_dir=cache)
    assert (again.images == one.images).all() and not list(cache.glob("*.writing"))
    monkeypatch.undo()
    Image.fromarray(picture(50)).save(folder / "FER2013Train" / name(0))
    changed = read_ferplus(folder, size=32, cache_dir=cache)
    assert (changed.images[0] != one.images[0]).any(), "a changed file must not come from the cache"


def test_large_arrays_go_to_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "MEMORY_LIMIT", 1000)
    monkeypatch.setenv("SCN_CACHE", str(tmp_path / "own"))
    faces = read_ferplus(folder)
    assert isinstance(faces.images, np.memmap) and list((tmp_path / "own").glob("*.npy"))


def test_cache_with_damaged_images_and_a_damaged_cache(folder, tmp_path):
    (folder / "FER2013Train" / name(1)).write_text("not an image")
    cache = tmp_path / "cache"
    first, second = (read_ferplus(folder, cache_dir=cache) for _ in range(2))
    assert first.account.problems == second.account.problems and len(first) == len(second) == 6
    assert (first.images[0] == picture(0)).all() and (second.images[1] == picture(2)).all()
    next(cache.glob("*.npy")).write_bytes(b"half")
    assert (read_ferplus(folder, cache_dir=cache).images[1] == picture(2)).all()


def test_full_disk_is_one_sentence(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_room.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(DataError, match="are free: make room or give another cache_dir"):
        read_ferplus(folder, cache_dir=tmp_path / "cache")
    monkeypatch.undo()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_room.os, "replace", full)
    with pytest.raises(DataError, match="No space left on device.*give another cache_dir"):
        read_ferplus(folder, cache_dir=tmp_path / "cache")
    left = [path.suffix for path in (tmp_path / "cache").iterdir()]
    assert not {".npy", ".part", ".state", ".json"} & set(left), "nothing half written stays"


def break_rows(root, **columns):
    table = pd.read_csv(root / "fer2013new.csv")
    for column, value in columns.items():
        table[column] = table[column].astype(object)
        table.loc[2, column] = value
    table.to_csv(root / "fer2013new.csv", index=False)


def test_votes_that_do_not_align(kaggle):
    table = pd.read_csv(kaggle / "fer2013new.csv")
    table[:-1].to_csv(kaggle / "fer2013new.csv", index=False)
    with pytest.raises(DataError, match="fer2013.csv has 10 rows and fer2013new.csv has 9"):
        read_ferplus(kaggle)
    table.iloc[::-1].to_csv(kaggle / "fer2013new.csv", index=False)
    with pytest.raises(DataError, match="Row 0 is Training in fer2013.csv but PrivateTest in fer2013new.csv"):
        read_ferplus(kaggle)


def test_broken_tables_are_one_sentence(folder):
    break_rows(folder, anger="many")
    with pytest.raises(DataError, match="Row 2 of fer2013new.csv has a vote that is not a count"):
        read_ferplus(folder)
    break_rows(folder, anger=0, Usage="Extra")
    with pytest.raises(DataError, match="Row 2 of fer2013new.csv has Usage 'Extra'"):
        read_ferplus(folder)
    table = votes_table().drop(columns="contempt")
    table.to_csv(folder / "fer2013new.csv", index=False)
    with pytest.raises(DataError, match="fer2013new.csv has no column 'contempt'"):
        read_ferplus(folder)
    (folder / "fer2013new.csv").write_bytes(b"")
    with pytest.raises(DataError, match="fer2013new.csv in .* is not a table"):
        read_ferplus(folder)
    (folder / "fer2013new.csv").unlink()
    with pytest.raises(DataError, match="There is no fer2013new.csv in .*microsoft/FERPlus"):
        read_ferplus(folder)


def test_original_labels_that_cannot_be_used(folder):
    table = pd.read_csv(folder / "fer2013_labels.csv")
    table.loc[0, "emotion"] = 9
    table.to_csv(folder / "fer2013_labels.csv", index=False)
    with pytest.raises(DataError, match=r"FER2013 has no emotion 9 \(1 rows\): its codes are 0 to 6"):
        read_ferplus(folder, labels="fer2013")
    (folder / "fer2013_labels.csv").unlink()
    with pytest.raises(DataError, match="There is no fer2013_labels.csv"):
        read_ferplus(folder, labels="fer2013")


def test_wrong_places_and_settings(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for call, sentence in [
        (lambda: read_ferplus(tmp_path / "nowhere"), "There is nothing at .*nowhere: check the path"),
        (lambda: read_ferplus(tmp_path / "empty"), "The folder .*empty is empty"),
        (lambda: read_ferplus(tmp_path / "notes.txt"), "neither a folder, a zip nor a csv file"),
        (lambda: read_ferplus(folder, rule="best"), "no FERPlus rule 'best': use argmax8"),
        (lambda: read_ferplus(folder, labels="mine"), "no FERPlus labels 'mine': use crowd or fer2013"),
        (lambda: read_ferplus(folder, splits=("dev",)), "splits are train, valid and test"),
    ]:
        with pytest.raises(DataError, match=sentence):
            call()
    for file in (folder / "FER2013Test").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="There are no images of FER2013Test in"):
        read_ferplus(folder, splits=("train", "test"))


def test_zip_members_never_leave_the_archive(folder, tmp_path):
    path = zipped(folder)
    buffer = io.BytesIO()
    Image.fromarray(picture(0)).save(buffer, "PNG")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../FER2013Train/fer0000099.png", buffer.getvalue())
    before = sorted(tmp_path.rglob("*"))
    assert len(read_ferplus(path)) == 7
    assert sorted(tmp_path.rglob("*")) == before, "a zip is read where it lies, nothing is extracted"
