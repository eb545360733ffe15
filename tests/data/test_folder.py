import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.data.images import UnfitImage, decode_image
from scn_fastai.data.readers.folder import read_csv, read_folder
from scn_fastai.errors import DataError


def save(path, number, side=16, colour=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((side, side, 3) if colour else (side, side), number, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def plain(tmp_path):
    """Ten images of zebra (0..9) and five of ant (100..104), in class folders."""
    root = tmp_path / "set"
    for i in range(10):
        save(root / "zebra" / f"{i:02d}.png", i)
    for i in range(5):
        save(root / "ant" / f"{i:02d}.png", 100 + i)
    return root


@pytest.fixture
def table(plain):
    rows = [(str(f.relative_to(plain)), f.parent.name) for f in sorted(plain.rglob("*.png"))]
    return pd.DataFrame(rows, columns=["path", "label"])


def write(table, root, **changes):
    path = root / "faces.csv"
    table.assign(**changes).to_csv(path, index=False)
    return path


def test_class_folders_with_a_seeded_share_for_validation(plain):
    faces = read_folder(plain)
    assert faces.classes == ["ant", "zebra"] and faces.images.shape == (15, 16, 16)
    assert faces.part("valid").samples["label"].value_counts().to_dict() == {"zebra": 2, "ant": 1}
    for image, pixels in zip(faces.samples["image"], faces.images, strict=True):
        folder, number = image.replace("\\", "/").split("/")
        assert pixels[0, 0] == int(number[:2]) + 100 * (folder == "ant")
    text = str(faces.account)
    assert "classes in order: ant, zebra" in text and "no valid split: 3 faces set aside" in text
    assert read_folder(plain).samples.equals(faces.samples)
    assert not read_folder(plain, seed=1).samples.equals(faces.samples)


def test_train_and_valid_folders(plain, tmp_path):
    root = tmp_path / "split"
    for name, label, number in [("Train", "b", 1), ("Train", "a", 2), ("val", "a", 3), ("test", "b", 4)]:
        save(root / name / label / "x.png", number)
    faces = read_folder(root)
    assert faces.samples[["split", "label"]].values.tolist() == [
        ["train", "a"], ["train", "b"], ["test", "b"], ["valid", "a"],
    ]  # fmt: skip
    save(root / "val" / "c" / "x.png", 5)
    with pytest.raises(DataError, match="has the label 'c', which is outside the classes a, b"):
        read_folder(root)


def test_colour_stays_colour_and_sizes_must_agree(plain):
    save(plain / "zebra" / "colour.png", 7, colour=True)
    assert read_folder(plain).images.shape == (16, 16, 16, 3)
    save(plain / "zebra" / "large.png", 7, side=20)
    with pytest.raises(DataError, match="large.png is 20x20 but .* is 16x16: give `size`"):
        read_folder(plain)
    assert read_folder(plain, size=12).images.shape == (17, 12, 12, 3)


def test_grey_of_16_bits_keeps_its_shades_and_fractions_are_refused(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "deep.png"), ramp >> 8)
    np.testing.assert_array_equal(decode_image(tmp_path / "deep.png", grey=False)[..., 1], ramp >> 8)
    Image.fromarray(ramp.astype(np.float32) / 65535).save(tmp_path / "fractions.tif")
    with pytest.raises(UnfitImage, match="numbers of mode F, 0 to 1: save it with 8 or 16 bits"):
        decode_image(tmp_path / "fractions.tif")


def test_unreadable_images_are_reported_and_dropped(plain):
    whole = (plain / "zebra" / "03.png").read_bytes()
    (plain / "zebra" / "03.png").write_bytes(whole[:50])
    (plain / "zebra" / "04.png").write_bytes(b"")
    (plain / "zebra" / "notes.txt").write_text("hello")
    faces = read_folder(plain)
    assert len(faces) == 13 and faces.account.dropped == {"image unreadable": 2}
    assert [path[-6:] for path, _ in faces.account.problems] == ["03.png", "04.png"]
    assert "1 files are not images" in str(faces.account)


def test_bad_folders_are_one_sentence(plain, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, sentence in [
        (tmp_path / "nowhere", "There is nothing at .*nowhere"),
        (tmp_path / "empty", "There are no images in .*empty"),
        (plain / "ant" / "00.png", "is not a folder: give a folder of class folders"),
    ]:
        with pytest.raises(DataError, match=sentence):
            read_folder(path)
    (plain / "cat").mkdir()
    with pytest.raises(DataError, match="The class folder .*cat holds no image"):
        read_folder(plain)
    (plain / "cat" / "x.png").write_text("broken")
    with pytest.raises(DataError, match="Class 'cat' has no readable training image"):
        read_folder(plain)
    with pytest.raises(DataError, match="validation share of 1.5 makes no sense"):
        read_folder(plain, valid=1.5)


def test_nothing_readable(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "x.png").write_text("broken")
    with pytest.raises(DataError, match="None of the 2 images can be read, .*x.png to begin with"):
        read_folder(tmp_path)


def test_one_image_a_class_leaves_nothing_to_set_aside(tmp_path):
    for label in "ab":
        save(tmp_path / label / "x.png", 1)
    with pytest.raises(DataError, match="single image for each class, too few to set validation images aside"):
        read_folder(tmp_path)


def test_csv_with_splits_truth_and_votes(plain, table):
    split = ["train"] * 12 + ["Validation", "val", "test"]
    path = write(table, plain, split=split, true_label="ant", vote_ant=0.5)
    faces = read_csv(path)
    assert faces.samples["split"].tolist() == ["train"] * 12 + ["valid", "valid", "test"]
    assert set(faces.samples["true_label"]) == {"ant"} and (faces.samples["vote_ant"] == 0.5).all()
    assert faces.samples["image"].tolist() == table["path"].tolist()
    assert read_csv(write(table, plain), classes=["zebra", "ant"]).classes == ["zebra", "ant"]


def test_csv_without_splits_and_with_numbers_as_labels(plain, table):
    faces = read_csv(write(table, plain, label=(table["label"] == "ant").astype(int)))
    assert faces.classes == ["0", "1"] and len(faces.part("valid")) == 3


def test_labels_are_stripped_and_none_may_be_a_class(plain, table):
    labels = table["label"].where(table.index % 2 == 0, " " + table["label"] + " ").str.replace("zebra", "None")
    faces = read_csv(write(table, plain, label=labels))
    assert faces.classes == ["None", "ant"]


def test_an_image_with_two_labels_is_one_sentence_and_with_one_a_note(plain, table):
    with pytest.raises(DataError, match=f"names {table['path'][0]} more than once, with different labels"):
        read_csv(write(pd.concat([table, table[:1].assign(label="zebra")]), plain))
    faces = read_csv(write(pd.concat([table, table[:1]]), plain))
    assert any("1 rows name an image that an earlier row named" in note for note in faces.account.notes)


def test_missing_files_are_dropped(plain, table):
    (plain / table["path"][0]).unlink()
    faces = read_csv(write(table, plain))
    assert len(faces) == 14 and faces.account.problems[0][1] == "the file is not there"


def test_bad_csv_files_are_one_sentence(plain, table, tmp_path):
    for changes, classes, sentence in [
        (dict(split="dev2"), None, "Row 0 of .*faces.csv has split 'dev2': use train, valid or test"),
        (dict(label=[None] + ["ant"] * 14), None, "Row 0 of .*faces.csv has no path or no label"),
        (dict(), ["ant", "bee"], "has the label 'zebra', which is outside the classes ant, bee"),
        (dict(true_label="bee"), None, "has the true_label 'bee', which is outside the classes ant, zebra"),
        (dict(), ["ant", "bee", "zebra"], "Class 'bee' has no readable training image"),
        (dict(split="valid"), None, "There are no training images in"),
    ]:
        with pytest.raises(DataError, match=sentence):
            read_csv(write(table, plain, **changes), classes=classes)
    with pytest.raises(DataError, match=r"has no column 'label' \(it has path\): name the columns"):
        read_csv(write(table[["path"]], plain))
    with pytest.raises(DataError, match="has no rows"):
        read_csv(write(table[:0], plain))
    with pytest.raises(DataError, match="There is nothing at"):
        read_csv(tmp_path / "none.csv")
    (tmp_path / "blank.csv").write_bytes(b"")
    with pytest.raises(DataError, match="blank.csv cannot be read as a CSV file"):
        read_csv(tmp_path / "blank.csv")
