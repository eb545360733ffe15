"""Runs and faces that the tests of this room share."""

from functools import partial

import numpy as np
import pytest
from made_runs import make_run


@pytest.fixture
def new_run(tmp_path):
    """`make_run` with a folder of its own."""
    return partial(make_run, tmp_path)


@pytest.fixture
def faces():
    """Sixty grey pictures, each of one shade, so that a pixel tells which it is."""
    return np.repeat(np.arange(60, dtype=np.uint8) * 4, 16 * 16).reshape(60, 16, 16)
