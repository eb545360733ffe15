"""AUM's threshold samples: two disjoint sets, an extra class, and flags that find planted noise."""

import numpy as np
import pytest
from small_faces import CLASSES, small_faces

from scn_fastai import flip_labels
from scn_fastai.detect.threshold import aum_flags, aum_threshold
from scn_fastai.errors import DataError
from scn_fastai.experiments.fake_class import FAKE, flag_by_threshold, threshold_sets, with_fake_class
from scn_fastai.experiments.fit import TrainSettings

TRAIN = TrainSettings(arch="small", epochs=8, batch_size=32, device="cpu", half=False)


@pytest.fixture(scope="module")
def noisy():
    clean = small_faces(240, 40, size=16)
    return clean.with_labels(flip_labels(clean.part("train").samples["label"], 0.3, seed=1, classes=CLASSES).labels)


def test_the_fake_class_is_one_more(noisy):
    first, second = threshold_sets(240, 8, seed=3)
    assert first.sum() == second.sum() == 240 // 9 and not (first & second).any()
    faked = with_fake_class(noisy, first)
    labels = faked.part("train").samples["label"].to_numpy()
    assert faked.classes == [*noisy.classes, FAKE] and (labels[first] == FAKE).all()
    assert (labels[~first] == noisy.part("train").samples["label"].to_numpy()[~first]).all()
    assert FAKE not in set(noisy.samples["label"])  # the faces that came in are as they were


def test_flags_cover_the_threshold_samples_and_judge_nobody_by_its_own_set():
    rng = np.random.default_rng(0)
    score, fake = rng.normal(size=400), np.arange(400) < 200
    at = aum_threshold(score, fake)
    assert np.mean(score[fake] >= at) == pytest.approx(0.99, abs=0.006)
    flags = aum_flags(score, fake)
    assert not flags[fake].any()
    assert flags.tolist() == [bool(s >= at and not f) for s, f in zip(score, fake, strict=True)]
    assert aum_flags(score, fake, 50).sum() < flags.sum()


def test_two_trainings_flag_wrong_labels(noisy):
    lines = []
    flagged = flag_by_threshold(noisy, TRAIN, percentile=80, tell=lines.append)
    given, truth = noisy.part("train").label_codes(), noisy.part("train").label_codes("true_label")
    wrong = given != truth
    assert len(lines) == 2 and flagged.shape == (240,)
    assert wrong[flagged].mean() > 1.5 * wrong.mean()


def test_bad_input_is_a_sentence(noisy):
    with pytest.raises(DataError, match="too few for a threshold set"):
        threshold_sets(5, 8)
    with pytest.raises(DataError, match="240 training faces but 3 marks"):
        with_fake_class(noisy, np.ones(3, bool))
    with pytest.raises(DataError, match="No threshold sample has a score"):
        aum_threshold(np.array([np.nan, 1.0]), np.array([True, False]))
    with pytest.raises(DataError, match="2 scores but 1 marks"):
        aum_threshold(np.zeros(2), np.array([True]))
