"""What all tests share."""

import random
import signal

import numpy as np
import pytest
import torch
from chromium import CHROMIUM

torch.set_num_threads(1)  # two processes of tests share two cores, and bits must not depend on how many there are
# A job in the background is started with Ctrl-C ignored, and the tests of an interrupt raise one themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tiny():
    """A torch Generator seeded with 0; Python, NumPy and torch are seeded with 0 too, for this test only."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        yield torch.Generator().manual_seed(0)
    random.setstate(python_state)
    np.random.set_state(numpy_state)


def pytest_collection_modifyitems(items):
    """Skip the tests marked `gpu` where there is no CUDA device, and those marked `browser` without Chromium."""
    there = {"gpu": torch.cuda.is_available(), "browser": CHROMIUM is not None}
    reasons = {"gpu": "no CUDA device on this machine", "browser": "no Chromium on this machine: install chromium"}
    for item in items:
        for name in (name for name in there if not there[name] and item.get_closest_marker(name)):
            item.add_marker(pytest.mark.skip(reason=reasons[name]))


@pytest.fixture(scope="session")
def small_pack(tmp_path_factory):
    """A folder with a small pack in place of the rendered faces (see `small_faces.pack_table`)."""
    from small_faces import write_pack

    return write_pack(tmp_path_factory.mktemp("pack")).parent


@pytest.fixture(scope="module")
def small_rendered(small_pack):
    """For the tests of a module the rendered faces are the small pack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCN_DATA", str(small_pack))
        yield small_pack
