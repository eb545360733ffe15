"""The faces of a run, found by what the run says of them."""

import numpy as np
import pandas as pd
import pytest
from made_runs import make_run

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.data.source import Source
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.run_images import run_images


def shades(n):
    return np.repeat(np.arange(n, dtype=np.uint8), 4).reshape(n, 2, 2)


def test_an_array_is_given_back_as_it_is(tmp_path):
    images = shades(60)
    assert run_images(make_run(tmp_path), images) is images


def test_faces_of_a_set_are_found_by_name(tmp_path):
    run = make_run(tmp_path, n=4)
    table = pd.DataFrame({"image": ["3.png", "x.png", "0.png", "1.png"], "split": "train", "label": "joy"})
    faces = FaceSet(table, ["joy"], shades(4), ReadAccount("here", 4))
    found = run_images(run, faces)
    assert [None if image is None else int(image[0, 0]) for image in found] == [2, 3, None, 0]


def test_a_run_knows_its_data_set(tmp_path, small_rendered):
    run = make_run(tmp_path, n=4)
    source = Source("rendered", limit=40, noise=0.3)
    own = source.load(0).part("train")
    run.samples = pd.DataFrame({"image": own.samples["image"][:4], "split": "train", "label": "joy"})
    run.settings["data"] = source.as_dict()
    assert all(np.array_equal(a, b) for a, b in zip(run_images(run), own.images[:4], strict=True))


def test_what_cannot_be_found_is_said(tmp_path):
    run = make_run(tmp_path, n=4)
    with pytest.raises(RunError, match="does not say where its faces are"):
        run_images(run)
    with pytest.raises(DataError, match="3 images but 4 training samples"):
        run_images(run, shades(3))
