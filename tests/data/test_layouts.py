"""Rendered faces written in official layouts come back as they were."""

import numpy as np
import pytest

from scn_fastai.data.classes import to_classes
from scn_fastai.data.layouts import LAYOUTS, write_layout
from scn_fastai.data.readers.affectnet import read_affectnet
from scn_fastai.data.readers.rafdb import read_rafdb
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.errors import DataError

pytestmark = pytest.mark.usefixtures("small_rendered")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_and_pixels_come_back(layout, tmp_path):
    path = write_layout(layout, tmp_path / layout, limit=80)
    faces = read_rafdb(path) if layout == "rafdb" else read_affectnet(path, size=16)
    expected = to_classes(rendered_faces(splits=("train", "valid")).limit(80), layout)
    for split in ("train", "valid"):
        mine, theirs = faces.part(split), expected.part(split)
        theirs = theirs.take(np.arange(len(mine)))
        assert mine.samples["label"].tolist() == theirs.samples["label"].tolist() and mine.classes == theirs.classes
        assert np.abs(mine.images.astype(int) - theirs.images).mean() < 4
    assert len(faces.part("train")) == (70 if layout == "rafdb" else 80) and faces.account.problems == []


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="There is no layout 'mars'; there are: rafdb, affectnet"):
        write_layout("mars", tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="holds something already: choose another folder"):
        write_layout("rafdb", tmp_path)
