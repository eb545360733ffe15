import json

import numpy as np
import pandas as pd
import pytest
from made_pictures import made_picture, write_gif, write_video
from PIL import Image

from scn_fastai.align.aligner import FaceAligner
from scn_fastai.cli import main
from scn_fastai.data.readers.folder import read_csv
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.web.collect import FACES, REPORT, SOURCES, TABLE, WebRules, collect_web

LONG, SHORT = 70, 30  # pictures at ten a second


@pytest.fixture
def web(tmp_path, red_picture):
    """Films as animated images, and stills; a face in a film moves by a pixel a frame and back."""

    def film(n, faces=True):
        return [red_picture(left=20 + i % 20, side=40 if faces else 0) for i in range(n)]

    root = tmp_path / "web"
    for folder in ("happy man", "sad", "funny/Peru", "holiday"):
        (root / folder).mkdir(parents=True)
    write_gif(root / "happy man" / "01.gif", film(LONG))
    write_gif(root / "happy man" / "02.gif", film(SHORT))
    write_gif(root / "sad" / "angry baby.gif", film(LONG))
    write_gif(root / "sad" / "nobody.gif", film(LONG, faces=False))
    write_gif(root / "holiday" / "01.gif", film(SHORT))
    Image.fromarray(red_picture()).save(root / "funny" / "Peru" / "7.png")
    Image.fromarray(red_picture(side=0)).save(root / "funny" / "Peru" / "8.png")
    (root / "funny" / "Peru" / "9.png").write_bytes(b"no image")
    return root


@pytest.fixture
def aligner(red_detector):
    return FaceAligner(24, detector=red_detector)


def tables(out):
    return (pd.read_csv(out / name, keep_default_na=False) for name in (TABLE, REPORT))


def test_videos_become_labelled_faces(web, aligner, tmp_path):
    summary = collect_web(web, tmp_path / "out", aligner, WebRules(per_clip=4, valid=0.0))
    faces, report = tables(tmp_path / "out")
    assert tuple(faces.columns) == FACES and tuple(report.columns) == SOURCES
    assert faces.groupby("source")["label"].agg(["first", "size"]).to_dict("index") == {
        "funny/Peru/7.png": {"first": "happiness", "size": 1},
        "happy man/01.gif": {"first": "happiness", "size": 4},
        "sad/angry baby.gif": {"first": "anger", "size": 4},
    }
    report = report.set_index("path")
    assert report["sampled"]["happy man/01.gif"] == 14 and report["clips"]["happy man/02.gif"] == 0
    assert report["with_face"]["sad/nobody.gif"] == 0 and report["word"]["sad/nobody.gif"] == "sad"
    assert "no emotion word" in report["problem"]["holiday/01.gif"]
    assert "not an image" in report["problem"]["funny/Peru/9.png"]
    assert (summary.sources, summary.clips, summary.faces, summary.without_face, summary.problems) == (8, 3, 9, 3, 2)
    assert summary.labels == {"anger": 4, "happiness": 5} and "9 faces of 3 clips" in str(summary)
    for path in faces["path"]:
        image = np.asarray(Image.open(tmp_path / "out" / path)).astype(int)
        assert image.shape == (24, 24, 3) and image[..., 0].mean() - image[..., 1].mean() > 60  # the face itself


def test_read_csv_reads_them(web, aligner, tmp_path):
    collect_web(web, tmp_path / "out", aligner, WebRules(valid=0.0))
    faces = read_csv(tmp_path / "out" / TABLE)
    assert faces.classes == ["anger", "happiness"] and faces.images.shape[1:] == (24, 24, 3)


def test_frames_of_one_video_never_stand_on_both_sides(red_picture, aligner, tmp_path):
    (tmp_path / "web" / "happy").mkdir(parents=True)
    for i in range(40):
        write_gif(tmp_path / "web" / "happy" / f"{i}.gif", [red_picture(), red_picture(left=31)], 3000)
    collect_web(tmp_path / "web", tmp_path / "out", aligner, WebRules(per_second=0.4, valid=0.3))
    faces, _ = tables(tmp_path / "out")
    assert len(faces) == 40 * 3 and (faces.groupby("source")["split"].nunique() == 1).all()
    # the draw is by name: about three videos of ten
    assert 0.1 < (faces["split"] == "valid").mean() < 0.5


def test_it_goes_on_after_an_interrupt(web, red_detector, aligner, tmp_path):
    calls = []

    def stops(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return red_detector(images)

    with pytest.raises(KeyboardInterrupt):
        collect_web(web, tmp_path / "out", FaceAligner(24, detector=stops))
    with (tmp_path / "out" / TABLE).open("a") as stream:  # faces of a video whose row was not written
        stream.write("anger/x.jpg,anger,train,angry,sad/angry baby.gif,0,0.00,0.9\nanger/y")
    collect_web(web, tmp_path / "out", aligner)
    collect_web(web, tmp_path / "other", aligner)
    for one, other in zip(tables(tmp_path / "out"), tables(tmp_path / "other"), strict=True):
        key = one.columns[0]
        pd.testing.assert_frame_equal(
            one.sort_values(key, ignore_index=True), other.sort_values(key, ignore_index=True)
        )


def test_a_folder_of_images_as_a_video(red_picture, aligner, tmp_path):
    (tmp_path / "web" / "smug lady").mkdir(parents=True)
    for i in range(LONG):
        Image.fromarray(red_picture(left=20 + i % 20)).save(tmp_path / "web" / "smug lady" / f"{i}.png")
    stills = collect_web(tmp_path / "web", tmp_path / "stills", aligner)
    film = collect_web(tmp_path / "web", tmp_path / "film", aligner, WebRules(folder_fps=10))
    assert (stills.sources, stills.faces, film.sources, film.faces) == (LONG, LONG, 1, 5)


def rendered_film(n, row=8):
    """A rendered face that walks over a grey ground."""
    face = Image.fromarray(rendered_faces(splits=["valid"]).images[row]).resize((144, 144), Image.Resampling.BICUBIC)
    pictures = []
    for i in range(n):
        ground = Image.new("RGB", (320, 240), (110, 110, 110))
        ground.paste(face, (20 + i, 50))
        pictures.append(np.asarray(ground))
    return pictures


def test_a_real_video_of_a_rendered_face(finder, tmp_path, capsys):
    (tmp_path / "web").mkdir()
    write_video(tmp_path / "web" / "happy man.mp4", rendered_film(60))
    write_video(tmp_path / "web" / "sad man.mp4", [made_picture("nobody")] * 60)
    (tmp_path / "web" / "angry.mp4").write_bytes(b"no video")
    how = ["--size", "64", "--device", "cpu", "--json", "--valid", "0"]
    assert main(["web", "--in", str(tmp_path / "web"), "--out", str(tmp_path / "out"), *how]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["clips"], summary["faces"], summary["without_face"], summary["problems"]) == (1, 5, 1, 1)
    faces, report = tables(tmp_path / "out")
    assert set(faces["label"]) == {"happiness"} and (faces["score"] > 0.9).all()
    assert "the video cannot be read" in report.set_index("path")["problem"]["angry.mp4"]
    images = [np.asarray(Image.open(tmp_path / "out" / path)).astype(float) for path in faces["path"]]
    assert all(np.abs(image - images[0]).mean() < 6 for image in images)  # the face walked, the aligned one did not


REFUSED = {
    "missing folder": (lambda root: (root / "gone", root / "out"), "There is nothing at .*gone"),
    "a file": (lambda root: (root / "web" / "sad" / "nobody.gif", root / "out"), "is a file: give the folder"),
    "nothing in it": (lambda root: (root / "empty", root / "out"), "no video and no image in"),
    "out inside in": (lambda root: (root / "web", root / "web" / "out"), "lies inside of"),
    "out is another's": (lambda root: (root / "web", root / "empty2"), "holds something else"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_cannot_be_done_is_refused(fault, web, aligner, tmp_path):
    for name in ("empty", "empty2"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty2" / "notes.txt").write_text("mine")
    paths, words = REFUSED[fault]
    with pytest.raises(DataError, match=words):
        collect_web(*paths(tmp_path), aligner)


def test_a_folder_made_with_other_rules_is_refused(web, aligner, tmp_path):
    collect_web(web, tmp_path / "out", aligner)
    with pytest.raises(DataError, match=r"of seconds 5.0, not 3: choose another folder"):
        collect_web(web, tmp_path / "out", aligner, WebRules(seconds=3))


@pytest.mark.parametrize(
    ("rules", "words"),
    [({"per_second": 0}, "per_second is 0"), ({"gap": -1}, "cannot be negative"), ({"valid": 1}, "share of 1")],
)
def test_rules_that_make_no_sense_are_said(rules, words):
    with pytest.raises(SettingsError, match=words):
        WebRules(**rules)


def test_the_command_prints_queries_and_says_what_it_needs(capsys):
    assert main(["web", "--queries", "pairs"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 2080
    assert main(["web"]) == 2 and "needs --in and --out" in capsys.readouterr().err
