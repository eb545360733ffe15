"""Arrays on disk: made once, in pieces; gone on with; one process at a time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scn_fastai.data import cache
from scn_fastai.data.cache import cached, close_gaps, filled
from scn_fastai.errors import DataError

N, SHAPE = 25, (25, 2, 2)
NAMES = [f"{i}.png" for i in range(N)]


def filler(made, bad=(), stop_at=None, error=KeyboardInterrupt):
    """Fill row i with the number i, and note it; some rows are bad, and at one of them it stops."""

    def fill(images, rows, moved):
        wrong = {}
        for row in rows:
            if row == stop_at:
                raise error
            made.append(row)
            if row in bad:
                wrong[row] = f"row {row} is bad"
            else:
                images[row] = row
        moved(len(rows))
        return wrong

    return fill


def check(decoded, bad=()):
    good = [i for i in range(N) if i not in bad]
    assert decoded.kept.tolist() == good and decoded.images[:, 0, 0].tolist() == good
    assert decoded.problems == [(f"{i}.png", f"row {i} is bad") for i in bad]


@pytest.mark.parametrize("bad", [(), (0,), (3, 4, 24), tuple(range(20))])
def test_in_memory_and_on_disk_agree(tmp_path, bad):
    check(filled(SHAPE, NAMES, filler([], bad)), bad)
    check(cached(tmp_path, "key", SHAPE, NAMES, filler([], bad), piece=4), bad)
    made = []
    again = cached(tmp_path, "key", SHAPE, NAMES, filler(made), piece=4)
    check(again, bad)
    assert made == [] and isinstance(again.images, np.memmap)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".npy", ".json", ".lock"}


def test_an_interrupt_costs_the_running_piece(tmp_path):
    bad = (1, 22)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", SHAPE, NAMES, filler([], bad, stop_at=14), piece=4)
    made = []
    check(cached(tmp_path, "key", SHAPE, NAMES, filler(made, bad), piece=4), bad)
    assert made == list(range(12, 25))


def test_an_interrupt_while_gaps_are_closed_starts_anew(tmp_path, monkeypatch):
    def stop(images, wrong):
        images[0] = 99
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "close_gaps", stop)
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", SHAPE, NAMES, filler([], (3,)), piece=4)
    monkeypatch.undo()
    made = []
    check(cached(tmp_path, "key", SHAPE, NAMES, filler(made, (3,)), piece=4), (3,))
    assert len(made) == N


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), DataError("sizes differ")])
def test_what_would_fail_again_leaves_nothing(tmp_path, error):
    with pytest.raises(DataError, match="No space left on device.*give another cache_dir|sizes differ"):
        cached(tmp_path, "key", SHAPE, NAMES, filler([], stop_at=9, error=error), piece=4)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


def test_damaged_leavings_are_not_used(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "key", SHAPE, NAMES, filler([], stop_at=9), piece=4)
    (part,) = tmp_path.glob("*.part")
    part.write_bytes(part.read_bytes()[:50])
    check(cached(tmp_path, "key", SHAPE, NAMES, filler([]), piece=4))
    (final,) = tmp_path.glob("*.npy")
    final.write_bytes(b"half")
    check(cached(tmp_path, "key", SHAPE, NAMES, filler([]), piece=4))


def test_another_key_or_shape_is_another_array(tmp_path):
    made = []
    for key in ("one", "two", "one"):
        check(cached(tmp_path, key, SHAPE, NAMES, filler(made)))
    assert len(made) == 2 * N


def test_two_at_a_time_make_it_once(tmp_path):
    made = []
    with ThreadPoolExecutor(4) as pool:
        for decoded in pool.map(lambda _: cached(tmp_path, "key", SHAPE, NAMES, filler(made), piece=4), range(4)):
            check(decoded)
    assert made == list(range(N))


def test_close_gaps_by_hand():
    images = np.arange(5)
    assert close_gaps(images, {1: "", 3: ""}).tolist() == [0, 2, 4] and images[:3].tolist() == [0, 2, 4]
