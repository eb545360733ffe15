"""RAF-DB in its official layout, the noise files of three papers, and what is said of files that are wrong."""

import re
import struct
import zipfile
import zlib

import numpy as np
import pytest
from official_layouts import RAF_LABELS, make_rafdb, picture, raf_names, save, zipped

from scn_fastai.data.readers.rafdb import list_rafdb, read_rafdb
from scn_fastai.errors import DataError

CLASSES = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
TRAIN = [CLASSES[label - 1] for label in RAF_LABELS["train"]]


@pytest.fixture
def raf(tmp_path):
    return make_rafdb(tmp_path / "RAF-DB")


def label_list(raf):
    return raf / "basic" / "EmoLabel" / "list_patition_label.txt"


def test_the_official_layout(raf):
    faces = read_rafdb(raf)
    assert faces.classes == CLASSES and faces.images.shape == (16, 20, 20, 3)
    train, valid = faces.part("train").samples, faces.part("valid").samples
    assert train["label"].tolist() == TRAIN and train["image"].iloc[0] == "train_00001"
    assert valid["label"].tolist() == ["happiness", "neutral", "surprise", "disgust"]
    assert faces.part("train").images.base is not None, "the training faces come first, as a view"
    text = str(faces.account)
    assert "classes in order: surprise, fear" in text and "official test faces: do not choose settings by them" in text


def test_images_belong_to_their_rows(raf):
    for faces in (read_rafdb(raf), read_rafdb(raf, images="original", size=20)):
        for number, image in enumerate(faces.images):
            assert abs(int(image[10, 10, 0]) - number) < 25


def test_found_from_wherever_the_path_points(raf, tmp_path):
    reference = read_rafdb(raf)
    zips = [zipped(raf, tmp_path / "a.zip", "RAF-DB/"), zipped(raf / "basic", tmp_path / "b.zip")]
    for path in (raf.parent / "RAF-DB", tmp_path, raf / "basic", raf / "basic" / "EmoLabel", label_list(raf), *zips):
        faces = read_rafdb(path)
        assert faces.samples.equals(reference.samples) and (faces.images == reference.images).all()


def test_a_share_of_the_training_faces_to_validate_on(tmp_path):
    faces = read_rafdb(make_rafdb(tmp_path), valid=0.3)
    assert len(faces.part("test")) == 4 and len(faces.part("train")) + len(faces.part("valid")) == 12
    assert "4 training faces set aside" in str(faces.account)  # one of each class that has two


def test_the_compound_part(raf):
    make_rafdb(raf, "compound", labels=[*range(1, 12), 11, 1, 2, 3, 4])
    faces = read_rafdb(raf, part="compound")
    assert len(faces.classes) == 11 and faces.samples["label"].iloc[0] == "happily surprised"
    assert faces.samples["label"].iloc[10] == "disgustedly surprised"
    assert read_rafdb(raf).classes == CLASSES, "the basic part is read as before"


# ---- noise files ----

NOISY = [5, 5, 4, 1, 2, 3, 6, 7, 4, 4, 2, 1]  # the last two are flipped
FORMS = {
    "SCN": lambda name, label: f"/home_of/victor/aligned/{name[:-4]}_aligned.jpg {label - 1}\n",
    "EAC": lambda name, label: f"{name} {label}\n",
    "Windows": lambda name, label: f"D:\\raf\\{name[:-4]}_aligned.jpg,{label}\r\n",
    "from 0": lambda name, label: f"{name}\t{label - 1}\n",
}


def noise_file(tmp_path, form, labels=NOISY, names=None):
    names = names or [name for name, _ in raf_names()][:12]
    file = tmp_path / "noise.txt"
    file.write_text("".join(FORMS[form](name, label) for name, label in zip(names, labels, strict=True)), newline="")
    return file


@pytest.mark.parametrize("form", FORMS)
def test_noise_files_of_three_papers(raf, tmp_path, form):
    faces = read_rafdb(raf, noise_file=noise_file(tmp_path, form))
    train = faces.part("train").samples
    assert train["label"].tolist() == [CLASSES[label - 1] for label in NOISY] and train["true_label"].tolist() == TRAIN
    valid = faces.part("valid").samples
    assert (valid["label"] == valid["true_label"]).all()
    base = 0 if form in ("SCN", "from 0") else 1
    assert f"noise.txt (counted from {base}): 2 of 12 training faces" in str(faces.account)


def test_faces_set_aside_for_validation_keep_their_official_label(raf, tmp_path):
    file = noise_file(tmp_path, "EAC", [label % 7 + 1 if i > 9 else label for i, label in enumerate(NOISY)])
    for seed in range(5):
        valid = read_rafdb(raf, noise_file=file, valid=0.3, seed=seed).part("valid").samples
        assert (valid["label"] == valid["true_label"]).all()


def test_numbers_that_fit_both_are_told_apart_by_agreement_and_else_refused(raf, tmp_path):
    low = [max(label, 2) if label < 7 else 6 for label in NOISY]  # no 0, no 7 and no 1 in either form
    for form, base in (("EAC", 1), ("from 0", 0)):
        assert f"counted from {base}" in str(read_rafdb(raf, noise_file=noise_file(tmp_path, form, low)).account)
    unsure = noise_file(tmp_path, "EAC", [1] * 12)  # as many are 1 as 2
    with pytest.raises(DataError, match="cannot be told whether noise.txt counts its labels from 0 or from 1"):
        read_rafdb(raf, noise_file=unsure)
    assert "counted from 1" in str(read_rafdb(raf, noise_file=unsure, noise_base=1).account)


@pytest.mark.parametrize(
    ("labels", "names", "sentence"),
    [
        ([0, *NOISY[1:]], None, "Line 1 of noise.txt has the label 0, but the file counts from 1"),
        ([9, *NOISY[1:]], None, "Line 1 of noise.txt has the label 9, but the file counts from 1"),
        (NOISY[:-1], [n for n, _ in raf_names()][:11], "no label for 1 of the 12 training faces, train_00012 to begin"),
        (NOISY, ["train_00001.jpg"] * 12, "Line 2 of noise.txt names train_00001.jpg again"),
        (NOISY, [f"a_{i}.jpg" for i in range(12)], "cannot be told whether noise.txt counts"),
    ],
)
def test_noise_files_that_are_wrong(raf, tmp_path, labels, names, sentence):
    with pytest.raises(DataError, match=sentence):
        read_rafdb(raf, noise_file=noise_file(tmp_path, "EAC", labels, names))


# ---- forms of the list that are read all the same ----


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace(" ", "\t").encode(),
        lambda text: text.replace(" ", ",").encode(),
        lambda text: ("name label\n" + text).encode(),
        lambda text: text.replace("train_", "D:\\RAF-DB\\basic\\train_").encode(),
        lambda text: ("\n" + text.replace("\n", "\n\n")).encode(),
    ],
    ids=["BOM", "UTF-16", "CRLF", "tabs", "commas", "header", "Windows paths", "blank lines"],
)
def test_lists_in_other_forms(raf, change):
    reference = read_rafdb(raf).samples
    label_list(raf).write_bytes(change(label_list(raf).read_text()))
    assert read_rafdb(raf).samples.equals(reference)


# ---- faults ----


def huge_png(side=10_000):
    """A PNG of 100 megapixels in a few kilobytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (side * (side // 8 + 1)), 9)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def rewrite(old, new):
    return lambda raf: label_list(raf).write_text(label_list(raf).read_text().replace(old, new, 1))


def remove_images(raf, suffix=None):
    for file in (raf / "basic" / "Image" / "aligned").iterdir():
        file.unlink()
    if suffix:
        (raf / "basic" / "Image" / f"aligned.{suffix}").write_bytes(b"packed")


FAULTS = {
    "no list": (lambda raf: label_list(raf).unlink(), "There is no list_patition_label.txt of RAF-DB's basic part"),
    "label 0": (rewrite("train_00001.jpg 5", "train_00001.jpg 0"), "Line 1 of .*label.txt has the label 0, and RAF-DB"),
    "label 8": (rewrite("train_00001.jpg 5", "train_00001.jpg 8"), "has the label 8, and RAF-DB's labels are 1 to 7"),
    "a word": (rewrite("train_00002.jpg 5", "train_00002.jpg sad"), "Line 2 of .* is 'train_00002.jpg sad': expected"),
    "cut short": (rewrite("train_00003.jpg 4", "train_00"), "Line 3 of .* is 'train_00': expected the name"),
    "no split": (rewrite("train_00001", "valid_00001"), "names valid_00001.jpg, which begins with neither train_"),
    "twice": (rewrite("train_00002", "train_00001"), "Line 2 of .* names train_00001.jpg again"),
    "empty list": (lambda raf: label_list(raf).write_text(""), "names no image with a label"),
    "not text": (lambda raf: label_list(raf).write_bytes(b"\0\1\2"), "list_patition_label.txt is not a text file"),
    "no images": (remove_images, "There are no aligned images in .*: put them into basic/Image/aligned"),
    "still packed": (lambda raf: remove_images(raf, "zip"), "unpack basic/Image/aligned.zip there"),
    "other images": (lambda raf: (remove_images(raf), save(raf / "basic/Image/aligned/x_aligned.jpg", picture(1))),
                     "None of the 16 faces of .* has an aligned image"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_are_refused(raf, fault):
    change, sentence = FAULTS[fault]
    change(raf)
    with pytest.raises(DataError, match=sentence):
        read_rafdb(raf)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # pytest sets our filter aside
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "the file is not there"),
        (b"", "not an image that Pillow can read"),
        (b"hello", "not an image that Pillow can read"),
        ("half", "unreadable or truncated"),
        (huge_png(), r"too large \(10000x10000 pixels, more than 64 megapixels\): make it smaller"),
    ],
    ids=["missing", "empty", "text", "truncated", "100 megapixels"],
)
def test_faults_of_single_images_are_dropped_and_told(raf, content, sentence):
    file = raf / "basic" / "Image" / "aligned" / "train_00003_aligned.jpg"
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    faces = read_rafdb(raf)
    assert len(faces) == 15 and sum(faces.account.dropped.values()) == 1
    (problem,) = faces.account.problems
    assert "train_00003" in problem[0] and re.search(sentence, problem[1])
    assert abs(int(faces.images[2][10, 10, 0]) - 3) < 25, "the others move up"


def test_zips_that_are_cut_short_or_point_out_of_themselves(raf, tmp_path):
    path = zipped(raf, tmp_path / "raf.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../basic/Image/aligned/train_00099_aligned.jpg", b"x")
    before = sorted(tmp_path.rglob("*"))
    faces = read_rafdb(path)
    assert len(faces) == 16 and "1 names in the zip point out of it" in str(faces.account)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is extracted"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="raf.zip is not a whole zip file, it may have been cut short"):
        read_rafdb(path)


def test_settings_and_places_that_are_wrong(raf, tmp_path):
    (tmp_path / "empty").mkdir()
    for call, sentence in [
        (lambda: read_rafdb(tmp_path / "nowhere"), "There is nothing at .*nowhere"),
        (lambda: read_rafdb(tmp_path / "empty"), "The folder .*empty is empty: put RAF-DB there"),
        (lambda: read_rafdb(raf, images="both"), "no RAF-DB images 'both': use aligned or original"),
        (lambda: read_rafdb(raf, part="whole"), "no part 'whole': use basic or compound"),
        (lambda: read_rafdb(raf, part="compound"), "There is no .* of RAF-DB's compound part"),
        (lambda: read_rafdb(raf, valid=2), "validation share of 2 makes no sense"),
        (lambda: read_rafdb(raf, noise_file=tmp_path / "no.txt"), "There is nothing at .*no.txt"),
        (lambda: read_rafdb(raf, noise_file=tmp_path), "is not a file: name the noise file itself"),
        (lambda: read_rafdb(raf, noise_file=label_list(raf), noise_base=2), "labels count from 0 or from 1"),
    ]:
        with pytest.raises(DataError, match=sentence):
            call()


def test_a_listing_opens_no_image(raf):
    for file in (raf / "basic" / "Image" / "aligned").iterdir():
        file.write_bytes(b"")
    listing = list_rafdb(raf)
    assert len(listing.table) == 16 and set(listing.table["split"]) == {"train", "test"}
    assert np.unique(listing.source.names).size == 16
