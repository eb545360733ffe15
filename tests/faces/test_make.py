import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scn_fastai.cli import main
from scn_fastai.errors import DataError
from scn_fastai.faces import make
from scn_fastai.faces.make import checksum, make_faces


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(make, "PART", 8)


def test_a_pack_holds_images_table_and_checksum(tmp_path, small_parts):
    told = []
    pack = make_faces(tmp_path / "faces", 20, 32, workers=1, progress=lambda done, n: told.append((done, n)))
    table = pq.read_table(pack)
    assert table.num_rows == 20 and told == [(8, 20), (16, 20), (20, 20)]
    about = json.loads(table.schema.metadata[b"rendered_faces"])
    assert about["version"] == 1 and about["size"] == 32 and about["n"] == 20 and len(about["classes"]) == 8
    assert (tmp_path / "faces" / "SHA256SUMS").read_text() == f"{checksum(pack)}  faces.parquet\n"
    assert all(value[:2] == b"\xff\xd8" for value in table["jpeg"].to_pylist())
    assert sorted(file.name for file in (tmp_path / "faces").iterdir()) == ["SHA256SUMS", "faces.parquet"]


@pytest.mark.slow
def test_workers_and_interrupts_do_not_change_the_result(tmp_path, small_parts, monkeypatch):
    whole = make_faces(tmp_path / "one", 24, 16, workers=1)
    with pytest.raises(KeyboardInterrupt):
        make_faces(tmp_path / "two", 24, 16, workers=1, progress=_interrupt)
    made = []
    real = make.make_part
    with monkeypatch.context() as patch:
        patch.setattr(make, "make_part", lambda span, *rest: made.append(span) or real(span, *rest))
        again = make_faces(tmp_path / "two", 24, 16, workers=1)
    assert made == [(8, 16), (16, 24)]  # the first part was kept
    parallel = make_faces(tmp_path / "three", 24, 16, workers=2)
    assert checksum(whole) == checksum(again) == checksum(parallel)


def _interrupt(done, n):
    raise KeyboardInterrupt


def test_a_finished_pack_is_not_made_again(tmp_path, small_parts, monkeypatch):
    pack = make_faces(tmp_path, 8, 16, workers=1)
    monkeypatch.setattr(make, "make_part", None)
    assert make_faces(tmp_path, 8, 16, workers=1) == pack


def test_a_larger_set_begins_with_the_smaller_one(tmp_path, small_parts):
    few, many = (pq.read_table(make_faces(tmp_path / str(n), n, 16, workers=1)) for n in (4, 10))
    assert many.slice(0, 4)["jpeg"].equals(few["jpeg"])


@pytest.mark.parametrize("numbers", [{"n": 0}, {"size": 0}, {"seed": -1}])
def test_numbers_out_of_range(tmp_path, numbers):
    with pytest.raises(DataError, match="n is 1 or more, the size 16 to 1024"):
        make_faces(tmp_path / "x", **{"n": 8, "size": 16, **numbers})
    assert not (tmp_path / "x").exists()


def test_a_folder_of_other_faces_is_left_alone(tmp_path, small_parts):
    pack = make_faces(tmp_path, 8, 16, workers=1)
    before = pack.read_bytes()
    with pytest.raises(DataError, match="holds other faces than were asked for, or is damaged: choose another folder"):
        make_faces(tmp_path, 8, 32, workers=1)
    assert pack.read_bytes() == before
    pack.write_bytes(before[:500])
    with pytest.raises(DataError, match="is damaged"):
        make_faces(tmp_path, 8, 16, workers=1)


def test_parts_of_other_faces_are_left_alone(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "about.json").write_text(json.dumps({"version": 0, "size": 16, "seed": 0}))
    with pytest.raises(DataError, match="parts of faces of another size, seed or version"):
        make_faces(tmp_path, 8, 16, workers=1)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written to .*file \(.*\): make room or choose another"):
        make_faces(tmp_path / "file", 8, 16, workers=1)


def test_the_commands(tmp_path, capsys):
    assert main(["faces", "make", "--out", str(tmp_path), "--n", "8", "--size", "16", "--workers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pack"].endswith("faces.parquet")
    assert main(["faces", "sheets", "--out", str(tmp_path / "sheets"), "--size", "16", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["sheets"]) == 2
    assert main(["faces", "make", "--out", str(tmp_path), "--n", "8", "--size", "4"]) == 2
    assert "size 16 to 1024" in capsys.readouterr().err


def test_images_are_stored_well():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    stored = np.asarray(Image.open(io.BytesIO(make.jpeg_bytes(image))))
    assert np.abs(stored.astype(int) - image).mean() < 6
