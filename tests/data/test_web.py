import numpy as np
import pytest

from scn_fastai.data.readers.web import WEB_NOISE, web_faces
from scn_fastai.data.source import Source

pytestmark = pytest.mark.usefixtures("small_rendered")


def wrong(faces, part):
    samples = faces.part(part).samples
    return (samples["label"] != samples["true_label"]).to_numpy()


def test_half_of_the_training_labels_are_wrong_and_no_validation_label():
    faces = web_faces()
    assert wrong(faces, "train").mean() == pytest.approx(WEB_NOISE, abs=0.01) and not wrong(faces, "valid").any()
    assert "50% of the training labels are wrong" in str(faces.account)


def test_doubtful_faces_are_wrong_more_often_and_seeds_differ():
    rates = []
    for seed in range(10):
        faces = web_faces(rate=0.3, seed=seed)
        sure = (faces.part("train").samples["uncertainty"] == "none").to_numpy()
        rates.append([wrong(faces, "train")[sure].mean(), wrong(faces, "train")[~sure].mean()])
    assert np.mean(rates, 0)[1] > 1.3 * np.mean(rates, 0)[0]
    assert (web_faces(seed=1).samples["label"] == web_faces(seed=1).samples["label"]).all()
    assert (web_faces(seed=1).samples["label"] != web_faces(seed=2).samples["label"]).any()


def test_as_a_source_by_name():
    assert (Source("web").load(3).samples["label"] == web_faces(seed=3).samples["label"]).all()
    some = Source("web", limit=80, noise=0.3).load()
    assert len(some.part("train")) == 80 and wrong(some, "train").mean() == 0.3
