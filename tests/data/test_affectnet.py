"""AffectNet in both of its forms, and what is said of files that are wrong."""

import numpy as np
import pandas as pd
import pytest
from official_layouts import AFFECT_ROWS, make_affectnet_csv, make_affectnet_folders, picture, save, zipped

from scn_fastai.data import images as pixels
from scn_fastai.data.readers import affectnet
from scn_fastai.data.readers.affectnet import npy_number, read_affectnet
from scn_fastai.errors import DataError

CLASSES = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]
ROWS = [row for rows in AFFECT_ROWS.values() for row in rows]
KEPT = [number for number, row in enumerate(ROWS) if row[0] < 8]


@pytest.fixture
def tables(tmp_path):
    return make_affectnet_csv(tmp_path / "AffectNet")


@pytest.fixture
def folders(tmp_path):
    return make_affectnet_folders(tmp_path / "AffectNet8")


def csv(tables, name="training"):
    return tables / "Manually_Annotated_file_lists" / f"{name}.csv"


def in_table_order(faces, numbers):
    """Whether the faces are the pictures of these numbers, in this order."""
    return all(abs(int(image[10, 10, 0]) - n) < 25 for image, n in zip(faces.images, numbers, strict=True))


def test_the_form_with_tables(tables):
    faces = read_affectnet(tables, size=20)
    assert faces.classes == CLASSES and faces.images.shape == (len(KEPT), 20, 20, 3)
    assert faces.samples["label"].tolist() == [CLASSES[ROWS[n][0]] for n in KEPT]
    assert faces.samples["split"].tolist() == ["train"] * 9 + ["valid"] * 3
    assert faces.account.dropped == {"expression is none": 2, "expression is uncertain": 1, "no face": 1}
    np.testing.assert_allclose(faces.samples["valence"], [ROWS[n][1] for n in KEPT], rtol=1e-6)
    assert in_table_order(faces, KEPT)
    assert faces.images.mean(axis=(1, 2, 3)).min() > 30, "the box is cut out, not the black around it"


def test_the_form_with_folders_says_the_same(tables, folders):
    one, other = read_affectnet(tables, size=20), read_affectnet(folders, size=20)
    columns = ["split", "label", "valence", "arousal"]
    pd.testing.assert_frame_equal(one.samples[columns], other.samples[columns])
    assert in_table_order(other, KEPT)


def test_zips_of_both_forms(tables, folders, tmp_path):
    for folder in (tables, folders):
        packed = read_affectnet(zipped(folder, tmp_path / "all.zip", "deep/er/"), size=20)
        plain = read_affectnet(folder, size=20)
        assert packed.samples.equals(plain.samples) and (packed.images == plain.images).all()


def test_seven_classes_have_no_contempt(tables, folders):
    for path in (tables, folders):
        faces = read_affectnet(path, classes=7, size=20)
        assert faces.classes == CLASSES[:7] and "contempt" not in set(faces.samples["label"])
        assert faces.account.dropped["contempt, which is not among the 7 classes"] == 2


def test_the_default_size_and_whole_images(tables):
    assert read_affectnet(tables).images.shape[1:] == (112, 112, 3)
    whole = read_affectnet(tables, size=30, crop=False)
    assert whole.images[:, :6].max() < 40, "what lies above the box is there"


def test_pixels_are_never_in_memory_whole_and_an_interrupt_loses_nothing(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(pixels, "MEMORY_LIMIT", 1000)
    monkeypatch.setenv("SCN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("scn_fastai.data.cache.PIECE", 4)
    opened, decode = [], pixels.decode_image

    def decode_eight(*arguments):
        if len(opened) == 8:
            raise KeyboardInterrupt
        opened.append(1)
        return decode(*arguments)

    monkeypatch.setattr(pixels, "decode_image", decode_eight)
    with pytest.raises(KeyboardInterrupt):
        read_affectnet(tables, size=20)
    opened.clear()
    monkeypatch.setattr(pixels, "decode_image", lambda *a: opened.append(1) or decode(*a))
    faces = read_affectnet(tables, size=20)
    assert isinstance(faces.images, np.memmap) and len(opened) == 4, "eight of twelve were there already"
    assert isinstance(faces.part("train").images, np.memmap) and in_table_order(faces, KEPT)


# ---- forms that are read all the same ----


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(";", "|").replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.split("\n", 1)[1].encode(),
        lambda text: text.replace("/", "\\").encode(),
        lambda text: text.replace("subDirectory_filePath", " SubDirectory_FilePath ").encode(),
    ],
    ids=["BOM", "UTF-16", "CRLF", "semicolons", "tabs", "no header", "Windows paths", "other capitals"],
)
def test_tables_in_other_forms(tables, change):
    reference = read_affectnet(tables, size=20).samples
    csv(tables).write_bytes(change(csv(tables).read_text()))
    assert read_affectnet(tables, size=20).samples.equals(reference)


def test_rows_without_a_box_are_taken_whole_and_told(tables):
    csv(tables).write_text(csv(tables).read_text().replace("5,8,20,20", ",,,", 2).replace("5,8,20,20", "5,8,0,20", 1))
    faces = read_affectnet(tables, size=20)
    assert len(faces) == 12 and "3 rows have no face box: their images are taken whole" in str(faces.account)


def test_annotations_that_are_missing_are_blank(folders):
    (folders / "train_set" / "annotations" / "0_val.npy").unlink()
    samples = read_affectnet(folders, size=20).samples.set_index("image")
    assert np.isnan(samples.loc["train_set/0", "valence"]) and samples.loc["train_set/1", "valence"] == np.float32(0.8)


def test_npy_numbers_of_every_kind(tmp_path):
    for value in (np.array("3"), np.array(3), np.array([3.0], np.float32), np.array(b"3"), np.array("3.0")):
        np.save(tmp_path / "x.npy", value)
        assert npy_number((tmp_path / "x.npy").read_bytes()) == 3
    np.save(tmp_path / "x.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    for raw in ((tmp_path / "x.npy").read_bytes(), b"", b"\x93NUMPY", b"hello, I am no array at all"):
        with pytest.raises(DataError, match="7_exp.npy is not a .npy file with one number"):
            npy_number(raw, "7_exp.npy")


# ---- faults ----


def rewrite(old, new, name="training"):
    return lambda root: csv(root, name).write_text(csv(root, name).read_text().replace(old, new, 1))


def no_images(root):
    for file in (root / "Manually_Annotated_Images").rglob("*.jpg"):
        file.unlink()


FAULTS = {
    "no column": (rewrite("expression", "emotion"), "training.csv has no column 'expression'"),
    "another table": (lambda root: csv(root).write_text("a,b\n1,2\n"), "has no column 'subdirectory_filepath' .*a, b"),
    "code 11": (rewrite(",20,20,1.0;2.0;3.5,0,", ",20,20,1.0;2.0;3.5,11,"), "row 0 of .* has the expression '11' "),
    "no code": (rewrite("1.0;2.0;3.5,1,", "1.0;2.0;3.5,,"), "row 1 of .*training.csv has the expression nan"),
    "a word": (rewrite("1.0;2.0;3.5,1,", "1.0;2.0;3.5,happy,"), "has the expression 'happy' .* are 0 to 10"),
    "extra header": (lambda root: csv(root).write_text(csv(root).read_text().replace("\n", "\n" + csv(root).read_text(
                     ).split("\n")[0] + "\n", 1)), "row 0 of .* has the expression 'expression'"),
    "empty table": (lambda root: csv(root).write_bytes(b""), "training.csv in .* is not a table"),
    "not text": (lambda root: csv(root).write_bytes(b"\0\xff" * 99), "training.csv is not a text file"),
    "no images": (no_images, "There are no images in .*: unpack the parts of Manually_Annotated_Images"),
    "other images": (lambda root: (no_images(root), save(root / "x" / "y.jpg", picture(1))), "None of the 16 images"),
    "no training": (lambda root: csv(root).unlink(), "There are no training faces in"),
    "cut out before": (lambda root: [save(f, picture(1, 12)) for f in root.rglob("*.jpg")], "boxes of the table do not "
                       "fit the images .*crop=False"),
    "no tables": (lambda root: (csv(root).unlink(), csv(root, "validation").unlink()), "holds neither training.csv"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_are_refused(tables, fault):
    change, sentence = FAULTS[fault]
    change(tables)
    with pytest.raises(DataError, match=sentence):
        read_affectnet(tables, size=20)


def test_single_faults_are_dropped_and_told(tables):
    images = sorted((tables / "Manually_Annotated_Images").rglob("*.jpg"), key=lambda file: file.stem)
    images[0].unlink()
    images[1].write_bytes(b"no image")
    images[2].write_bytes(images[2].read_bytes()[:300])
    text = csv(tables).read_text().splitlines()
    text[4] = text[4].replace("5,8,20,20", "500,8,20,20")
    csv(tables).write_text("\n".join(text))
    faces = read_affectnet(tables, size=20)
    assert len(faces) == 8 and faces.account.dropped["image file missing"] == 1
    assert faces.account.dropped["image unreadable"] == 3
    said = [sentence for _, sentence in faces.account.problems]
    assert said[0] == "the file is not there" and said[1] == "not an image that Pillow can read"
    assert "truncated" in said[2] and "its face box (20x20) lies outside of the image (30x30)" in said[3]
    assert in_table_order(faces, [4, 5, 6, 7, 11, 12, 13, 14])


def remove(root, pattern):
    for file in root.rglob(pattern):
        file.unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda root: remove(root, "*.jpg"), "There are no images beside the 12 annotations"),
        (lambda root: remove(root, "*_exp.npy"), "holds neither training.csv and validation.csv nor train_set"),
        (lambda root: (root / "train_set").rename(root / "somewhere"), "lies in no train_set/annotations or val_set"),
        (lambda root: np.save(root / "train_set/annotations/0_exp.npy", np.array("12")), "has the expression .*12.0"),
        (lambda root: (root / "train_set/annotations/0_exp.npy").write_bytes(b"half"), "0_exp.npy is not a .npy file"),
        (lambda root: remove(root / "train_set", "*_exp.npy"), "There are no training faces in"),
    ],
)
def test_faults_of_the_form_with_folders(folders, change, sentence):
    change(folders)
    with pytest.raises(DataError, match=sentence):
        read_affectnet(folders, size=20)


def test_a_missing_image_of_the_form_with_folders(folders):
    (folders / "train_set" / "images" / "3.jpg").unlink()
    save(folders / "train_set" / "images" / "999.jpg", picture(9))
    account = read_affectnet(folders, size=20).account
    assert account.problems == [("train_set/3.jpg", "the file is not there")]
    assert "1 images have no annotation" in str(account)


def test_settings_and_places_that_are_wrong(tables, tmp_path):
    cut = zipped(tables, tmp_path / "cut.zip")
    cut.write_bytes(cut.read_bytes()[:-50])
    for call, sentence in [
        (lambda: read_affectnet(tables, classes=6), "AffectNet has 8 classes, or 7 without contempt, not 6"),
        (lambda: read_affectnet(tmp_path / "nowhere"), "There is nothing at .*nowhere"),
        (lambda: read_affectnet(cut), "cut.zip is not a whole zip file"),
    ]:
        with pytest.raises(DataError, match=sentence):
            call()


def test_the_numbers_that_are_no_classes_have_reasons():
    assert sorted(affectnet.NO_CLASS) == [8, 9, 10]
