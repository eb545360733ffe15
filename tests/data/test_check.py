"""What `check_images` finds: counts, copies, sizes and faults, on sets made in every layout."""

import json

import numpy as np
import pytest
from official_layouts import make_affectnet_csv, make_affectnet_folders, make_rafdb, picture, save
from PIL import Image

from scn_fastai.data.check import NAMES, check_images, list_by_name
from scn_fastai.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Six images of joy and one of fear for training, two to test on; three of them are copies of others."""
    root = tmp_path / "set"
    for number in range(6):
        save(root / "train" / "joy" / f"{number}.png", picture(number, 40))
    save(root / "train" / "fear" / "0.png", picture(1, 40))  # a copy with another label
    save(root / "train" / "joy" / "0_again.png", picture(0, 40))
    save(root / "test" / "joy" / "2.png", picture(2, 40))  # a copy in another split
    save(root / "test" / "fear" / "9.png", picture(9, 48))
    return root


def report_on(name, path):
    return check_images(list_by_name(name, path))


def test_a_folder_is_counted_and_its_copies_are_found(folder):
    report = report_on("folder", folder)
    assert report.read == 10 and report.classes == {"fear": 2, "joy": 8} and report.problems == []
    assert report.splits == {"train": {"fear": 1, "joy": 7}, "test": {"fear": 1, "joy": 1}}
    assert report.sizes == {(40, 40): 9, (48, 48): 1}
    assert [sorted(group["paths"]) for group in report.copies] == [
        ["test/joy/2.png", "train/joy/2.png"],
        ["train/fear/0.png", "train/joy/1.png"],
        ["train/joy/0.png", "train/joy/0_again.png"],
    ]
    text = str(report)
    for sentence in (
        "10 images open, 0 are dropped", "40x40 (9), 48x48 (1)", "1 pictures are in two splits: take them out",
        "1 pictures have copies with other labels: at least one label of each is wrong",
        "1 pictures are there more than once with one label", "7 times the images of the smallest: train with --overs",
        "The images have 2 sizes: train with --size N",
    ):  # fmt: skip
        assert sentence in text


def test_copies_are_those_of_brute_force(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(40):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", np.full((36, 36), rng.integers(25), np.uint8))
    listing = list_by_name("folder", tmp_path)
    pixels = [int(np.asarray(Image.open(name))[0, 0]) for name in listing.source.names]
    expected = {value: pixels.count(value) for value in pixels if pixels.count(value) > 1}
    report = check_images(listing)
    assert sorted(len(group["paths"]) for group in report.copies) == sorted(expected.values())
    assert len(report.copies) == len(expected) > 0


def test_a_table_with_every_fault_is_reported_and_not_refused(folder):
    (folder / "train" / "joy" / "3.png").write_bytes(b"hello")
    (folder / "train" / "joy" / "4.png").write_bytes((folder / "train" / "joy" / "5.png").read_bytes()[:200])
    rows = [f"train\\joy\\{i}.png,joy" for i in range(6)] + ["gone.png,joy", "train/fear/0.png,", ",joy"]
    (folder / "faces.csv").write_text("path,label\n" + "\n".join(rows))
    report = report_on("csv", folder / "faces.csv").as_dict()
    assert json.loads(json.dumps(report)) == report
    assert report["read"] == 4 and report["dropped"] == 5 and report["classes"] == {"joy": 4}
    assert {p["path"]: p["problem"] for p in report["problems"]} == {
        "train/fear/0.png": "the row has no path or no label",
        "row 8": "the row has no path or no label",
        "train/joy/3.png": "not an image that Pillow can read",
        "train/joy/4.png": report["problems"][3]["problem"],
        "gone.png": "the file is not there",
    }
    assert "truncated" in report["problems"][3]["problem"]
    assert report["dropped_why"] == {"no path or no label": 2, "image unreadable": 3}
    assert any("5 images are not read: fetch them again" in line for line in report["advice"])


def test_official_layouts(tmp_path):
    raf = report_on("rafdb", make_rafdb(tmp_path / "raf"))
    assert raf.read == 16 and raf.splits["test"]["happiness"] == 1 and sum(raf.splits["train"].values()) == 12
    for make, path in ((make_affectnet_csv, tmp_path / "one"), (make_affectnet_folders, tmp_path / "two")):
        report = report_on("affectnet", make(path))
        assert report.read == 12 and report.classes["contempt"] == 2 and report.sizes == {(20, 20): 12}
        assert sum(report.dropped.values()) == (4 if make is make_affectnet_csv else 0)
        assert report_on("affectnet7", path).read == 10
    assert "Some images are smaller than 32 pixels" in str(report)


def test_a_ready_set_needs_nothing(tmp_path):
    for i in range(4):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", picture(i, 40))
    assert report_on("folder", tmp_path).advice == ["Nothing: the set is ready to train on."]
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    report = report_on("folder", tmp_path)
    assert report.read == 0 and report.advice == ["No image opens: check the path and fetch the images again."]


def test_progress_hears_of_every_image(folder):
    moved = []
    check_images(list_by_name("folder", folder), moved.append)
    assert sum(moved) == 10


def test_names_that_cannot_be_checked(tmp_path):
    with pytest.raises(DataError, match="no data set 'rendered' to be checked; there are: " + ", ".join(NAMES)):
        list_by_name("rendered", tmp_path)
    with pytest.raises(DataError, match="A noise file belongs to rafdb, not to folder"):
        list_by_name("folder", tmp_path, noise_file="x.txt")
