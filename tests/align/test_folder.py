import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.align import folder as F
from scn_fastai.align.aligner import FaceAligner
from scn_fastai.cli import main
from scn_fastai.errors import DataError, SettingsError


@pytest.fixture
def photos(tmp_path, red_picture):
    """Twenty pictures in two folders: of every five one has a weak candidate and one has nobody."""
    for i in range(20):
        picture = red_picture(red=(255, 240, 100, 230, 255)[i % 5], side=0 if i % 5 == 4 else 40)
        path = tmp_path / "photos" / ("a" if i < 12 else "b/c") / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "photos"


@pytest.fixture
def aligner(red_detector):
    return FaceAligner(24, detector=red_detector)


def test_a_folder_in_a_folder_out_and_a_report(photos, aligner, tmp_path):
    told = []
    summary = F.align_folder(photos, tmp_path / "out", aligner, progress=lambda n, of: told.append((n, of)))
    assert (summary.images, summary.aligned, summary.box, summary.centre, summary.unreadable) == (20, 12, 4, 4, 0)
    assert told[-1] == (20, 20) and "12 faces aligned, 4 cut by box, 4 without a face" in str(summary)
    report = pd.read_csv(tmp_path / "out" / F.REPORT, keep_default_na=False)
    assert tuple(report.columns) == F.COLUMNS and len(report) == 20
    assert report["fallback"].value_counts().to_dict() == {"": 12, "box": 4, "centre": 4}
    assert report["found"].tolist() == [row % 5 in (0, 1, 3) for row in range(20)]
    assert report["box"][0] == "30.00 20.00 70.00 60.00" and len(report["points"][0].split()) == 10
    for path, file in zip(report["path"], report["file"], strict=True):
        image = np.asarray(Image.open(tmp_path / "out" / file))
        assert file == path and image.shape == (24, 24, 3)
        assert (image == aligner([F.read_picture(photos / path)]).images[0]).all()


def test_it_goes_on_after_an_interrupt_and_mends_half_a_row(photos, aligner, tmp_path, red_detector):
    calls = []

    def stops(images):
        calls.append(len(images))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return red_detector(images)

    with pytest.raises(KeyboardInterrupt):
        F.align_folder(photos, tmp_path / "out", FaceAligner(24, detector=stops))
    report = tmp_path / "out" / F.REPORT
    assert len(report.read_text().splitlines()) == 1 + F.BATCH
    with report.open("a") as stream:
        stream.write("b/c/16.png,b/c/16.png,Tr")
    (tmp_path / "out" / "a" / "03.png").unlink()
    summary = F.align_folder(photos, tmp_path / "out", aligner)
    assert summary.done_before == 15 and summary.images == 20 and summary.aligned == 12
    assert "15 of them had been done before" in str(summary)
    table = pd.read_csv(report, keep_default_na=False)
    assert sorted(table["path"]) == [p.relative_to(photos).as_posix() for p in sorted(photos.rglob("*.png"))]
    again = F.align_folder(photos, tmp_path / "out", aligner)
    assert again.done_before == 20 and not list((tmp_path / "out").rglob("*.writing"))


def test_a_photograph_lying_on_its_side_is_turned(tmp_path, red_picture):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(red_picture(60, 90)).save(tmp_path / "x.jpg", exif=exif)
    assert F.read_picture(tmp_path / "x.jpg").shape == (90, 60, 3)


def _photo(path, side=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(path)


def truncated(path):
    _photo(path, 200)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def huge(path):
    Image.new("1", (10_000, 10_000)).save(path)


UNREADABLE = {
    "truncated.jpg": (truncated, "unreadable or truncated"),
    "cut.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n"), "not an image that Pillow can read"),
    "text.jpg": (lambda path: path.write_text("no picture"), "not an image that Pillow can read"),
    "empty.png": (lambda path: path.touch(), "the file is empty"),
    "huge.png": (huge, "10000 x 10000 are 100 megapixels, more than 64: reduce it"),
    "folder.png": (lambda path: path.symlink_to(path.parent / "nowhere"), "unreadable or truncated"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_picture_that_cannot_be_read_is_reported_and_the_others_are_done(name, tmp_path, aligner):
    make, words = UNREADABLE[name]
    _photo(tmp_path / "in" / "good.png")
    make(tmp_path / "in" / name)
    summary = F.align_folder(tmp_path / "in", tmp_path / "out", aligner)
    assert (summary.images, summary.centre, summary.unreadable) == (2, 1, 1)
    report = pd.read_csv(tmp_path / "out" / F.REPORT, keep_default_na=False).set_index("path")
    assert words in report["problem"][name] and report["file"][name] == "" and not report["problem"]["good.png"]
    assert not (tmp_path / "out" / name).exists()


REFUSED = {
    "missing folder": (lambda root: (root / "gone", root / "out"), "There is nothing at .*gone: check the path"),
    "a picture": (lambda root: (root / "in" / "a.png", root / "out"), "a.png is a file: give the folder"),
    "a video": (lambda root: (root / "film.mp4", root / "out"), "is a video: `scn web` takes frames"),
    "no image": (lambda root: (root / "films", root / "out"), "no image in .*1 videos, 1 other files.*scn web"),
    "an empty folder": (lambda root: (root / "empty", root / "out"), "no image in .*nothing"),
    "out is in": (lambda root: (root / "in", root / "in"), "lies inside of"),
    "out inside in": (lambda root: (root / "in", root / "in" / "faces"), "lies inside of .*choose a folder elsewhere"),
    "out is a file": (lambda root: (root / "in", root / "film.mp4"), "is a file: give a folder for the aligned"),
    "out is another's": (lambda root: (root / "in", root / "films"), "holds something else than aligned faces"),
    "out of another size": (lambda root: (root / "in", root / "of32"), "holds faces of size 32, not 24: choose"),
    "out is damaged": (lambda root: (root / "in", root / "damaged"), "align.json is damaged"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_done_is_refused(fault, tmp_path, aligner, red_detector):
    _photo(tmp_path / "in" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "films").mkdir()
    for name in ("film.mp4", "films/film.MP4", "films/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    F.align_folder(tmp_path / "in", tmp_path / "of32", FaceAligner(32, detector=red_detector))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / F.SETTINGS).write_text("{")
    paths, words = REFUSED[fault]
    with pytest.raises(DataError, match=words):
        F.align_folder(*paths(tmp_path), aligner)


def test_an_unknown_format_is_refused(photos, aligner, tmp_path):
    with pytest.raises(SettingsError, match="written as 'gif': use png or jpg"):
        F.align_folder(photos, tmp_path / "out", aligner, form="gif")


def test_the_command_names_the_step_when_the_weights_are_missing(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SCN_DATA", raising=False)
    assert main(["align", "--in", str(photos), "--out", str(tmp_path / "out")]) == 2
    assert "scn: The weights of MTCNN are not in" in (said := capsys.readouterr().err) and "`make mtcnn`" in said
    assert main(["align", "--in", str(photos), "--out", str(tmp_path / "out"), "--device", "abacus"]) == 2
    assert "Device 'abacus' cannot be used here" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(photos, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("scn_fastai.align.aligner.FaceAligner", stop)
    assert main(["align", "--in", str(photos), "--out", str(tmp_path / "out"), "--device", "cpu"]) == 130
    assert "finished pictures are kept, the same command goes on" in capsys.readouterr().err


def test_the_command_aligns_a_folder(finder, tmp_path, capsys):
    from made_pictures import made_picture

    (tmp_path / "in").mkdir()
    for name in ("one", "three", "nobody"):
        Image.fromarray(made_picture(name)).save(tmp_path / "in" / f"{name}.png")
    how = ["--size", "64", "--format", "jpg", "--device", "cpu", "--json"]
    assert main(["align", "--in", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *how]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["images"], summary["aligned"], summary["box"] + summary["centre"]) == (3, 2, 1)
    assert Image.open(tmp_path / "out" / "one.jpg").size == (64, 64)
