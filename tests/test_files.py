"""Files are replaced whole or not at all."""

import pytest

from scn_fastai.files import HALF, replace_file, write_whole


def test_text_and_bytes_arrive_as_they_are(tmp_path):
    write_whole(tmp_path / "a.txt", "Gefühl\n")
    assert (tmp_path / "a.txt").read_bytes() == "Gefühl\n".encode()
    write_whole(tmp_path / "a.txt", b"\x00\xff")
    assert (tmp_path / "a.txt").read_bytes() == b"\x00\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("problem", [OSError("full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, problem):
    file = tmp_path / "labels.csv"
    file.write_text("old")

    def write(to):
        to.write_text("half of the n")
        raise problem

    with pytest.raises(type(problem)):
        replace_file(file, write)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("old")

    def write(to):
        to.write_text("new")
        assert file.read_text() == "old" and to.parent == tmp_path and to.name.endswith(HALF)

    replace_file(file, write)
    assert file.read_text() == "new"
