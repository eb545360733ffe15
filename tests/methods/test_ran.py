"""RAN's loss in plain loops; its network is tested in training/test_regions.py."""

from dataclasses import replace

import pytest
import torch
from made_methods import TRAIN, Batches, fitted
from small_faces import small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods import METHODS
from scn_fastai.methods.ran import region_biased_loss


def test_the_loss_is_that_of_the_definition(tiny):
    mu = torch.rand(9, 6)
    by_loops = sum(max(0.0, 0.1 - (max(row[1:]) - row[0])) for row in mu.tolist()) / 9
    assert float(region_biased_loss(mu, 0.1)) == pytest.approx(by_loops, rel=1e-5)


def test_training_adds_it_and_keeps_no_graph():
    train, with_it, without = replace(TRAIN, epochs=1), Batches(), Batches()
    learn = fitted("ran:weight=3:margin=0.9", train, callbacks=[with_it])
    fitted("ran:weight=0", train, callbacks=[without])
    added = with_it.seen[0][3] - without.seen[0][3]
    assert 3 * 0.7 < added < 3 * 1.1  # weights start close together, so that the margin of 0.9 is missing
    assert learn.model.weights is None and not learn.model.keep_weights


def test_another_network_is_one_sentence():
    learn = face_learner(small_faces(64, 32, size=24), "plain", TRAIN)
    words = "^ran trains a network that looks at a face and its crops, and Sequential does not: build one with "
    with pytest.raises(SettingsError, match=words):
        METHODS["ran"].prepare(learn)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("margin=2", "^margin is 2, but it must be a number from 0 to 1.$"),
        ("weight=-1", "^weight is -1, but it must be a number of 0 or more.$"),
    ],
)
def test_an_option_out_of_range(options, words):
    with pytest.raises(SettingsError, match=words):
        face_learner(small_faces(64, 32, size=24), f"ran:{options}", TRAIN)
