import sys

import numpy as np
import pytest
from made_pictures import write_gif, write_video
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.web import frames as W


def film(n):
    """n pictures that get brighter."""
    return [np.full((48, 64, 3), 20 + 5 * i, np.uint8) for i in range(n)]


def test_two_frames_a_second_of_a_video(tmp_path):
    write_video(tmp_path / "x.mp4", film(40))
    found = list(W.sampled(tmp_path / "x.mp4"))
    assert np.allclose([f.seconds for f in found], np.arange(8) * 0.5)
    assert np.allclose([f.image.mean() for f in found], 20 + 25 * np.arange(8), atol=4)
    assert len(list(W.sampled(tmp_path / "x.mp4", per_second=100))) == 40


def test_two_frames_a_second_of_an_animated_image(tmp_path):
    write_gif(tmp_path / "x.gif", film(40))
    found = list(W.sampled(tmp_path / "x.gif"))
    assert np.allclose([f.seconds for f in found], np.arange(8) * 0.5)
    assert [round(f.image.mean()) for f in found] == [20 + 25 * i for i in range(8)]
    assert W.is_animated(tmp_path / "x.gif")
    write_gif(tmp_path / "slow.gif", film(4), 900)
    slow = list(W.sampled(tmp_path / "slow.gif"))  # each picture stays for 0.9 seconds
    assert np.allclose([f.seconds for f in slow], np.arange(8) * 0.5)
    assert [round(f.image.mean()) for f in slow] == [20, 20, 25, 25, 30, 30, 35, 35]


def test_a_folder_of_numbered_images(tmp_path):
    for i, picture in enumerate(film(30)):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    found = list(W.of_folder(tmp_path, folder_fps=10, per_second=2))
    assert [int(f.image[0, 0, 0]) for f in found] == [20 + 25 * i for i in range(6)]  # 10 comes behind 9
    assert not W.is_animated(tmp_path / "0.png")


def test_a_video_that_is_too_long_is_said(tmp_path):
    write_gif(tmp_path / "x.gif", film(40))
    with pytest.raises(DataError, match="longer than 3 seconds"):
        list(W.sampled(tmp_path / "x.gif", most_seconds=3))
    write_video(tmp_path / "x.mp4", film(40))
    with pytest.raises(DataError, match="longer than 3 seconds"):
        list(W.sampled(tmp_path / "x.mp4", most_seconds=3))


def test_what_is_no_video_is_said(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed: pip install scn_fastai[video]")
    for name, data in (("text.mp4", b"no video"), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="the video cannot be read"):
            list(W.sampled(tmp_path / name))
    with pytest.raises(DataError, match="the animated image"):
        (tmp_path / "x.gif").write_bytes(b"GIF89a")
        list(W.sampled(tmp_path / "x.gif"))


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(DataError, match=r"install scn_fastai\[video\]"):
        list(W.sampled(tmp_path / "x.mp4"))
