"""Out-of-fold predictions: who trains on what, what is kept, and that a network never saw what it judges."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_faces import CLASSES, small_faces

from scn_fastai import flip_labels
from scn_fastai.detect.detectors import Evidence, detector_table
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.experiments import folds as room
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.folds import fold_numbers, out_of_fold

TRAIN = TrainSettings(arch="small", epochs=6, batch_size=32, device="cpu", half=False)


@pytest.fixture(scope="module")
def noisy():
    clean = small_faces(240, 40, size=16)
    return clean.with_labels(flip_labels(clean.part("train").samples["label"], 0.3, seed=1, classes=CLASSES).labels)


def test_every_fold_has_its_share_of_each_class():
    labels = np.r_[np.zeros(50, int), np.ones(20, int), np.full(3, 2)]
    folds = fold_numbers(labels, 5, seed=1)
    assert [np.bincount(folds[labels == c], minlength=5).tolist() for c in (0, 1)] == [[10] * 5, [4] * 5]
    assert len(set(folds[labels == 2])) == 3  # a rare class is spread, and never all held out
    np.testing.assert_array_equal(folds, fold_numbers(labels, 5, seed=1))
    assert (folds != fold_numbers(labels, 5, seed=2)).any()


def test_no_network_trains_on_the_faces_that_it_judges(noisy, monkeypatch):
    trained, asked = [], []
    names = noisy.samples["image"]
    number = {image.tobytes(): name for image, name in zip(noisy.images, names, strict=True)}
    make, score = room.face_learner, room.score_samples

    def watched_learner(faces, *how):
        trained.append(set(faces.part("train").samples["image"]))
        return make(faces, *how)

    def watched_scores(learn, images):
        asked.append({number[image.tobytes()] for image in images})
        return score(learn, images)

    monkeypatch.setattr(room, "face_learner", watched_learner)
    monkeypatch.setattr(room, "score_samples", watched_scores)
    found = out_of_fold(noisy, train=replace(TRAIN, epochs=1), k=3)
    everyone = set(noisy.part("train").samples["image"])
    assert all(not seen & held and seen | held == everyone for seen, held in zip(trained, asked, strict=True))
    assert len(trained) == 3 and set().union(*asked) == everyone
    np.testing.assert_allclose(found.probs.sum(1), 1, atol=1e-5)
    assert np.isfinite(found.alpha).all()


def test_held_out_networks_find_wrong_labels_and_are_kept(noisy, tmp_path, monkeypatch):
    found = out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds")
    given, truth = noisy.part("train").label_codes(), noisy.part("train").label_codes("true_label")
    evidence = Evidence(given, out_of_fold=found.probs, held_out_alpha=found.alpha)
    names = ["held_out", "confident", "alpha_held_out"]
    table = detector_table(evidence, truth, names, noisy.classes, n_boot=20).set_index("detector")
    assert table["n"].tolist() == [240] * 3 and table["problem"].eq("").all()
    assert table["auroc"]["held_out"] > 0.7 and table["auroc"]["confident"] > 0.7
    monkeypatch.setattr(room, "face_learner", None)  # it would fail if a fold were trained again
    lines = []
    again = out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds", tell=lines.append)
    np.testing.assert_array_equal(again.probs, found.probs)
    assert lines == [f"fold {i} of 3 was there" for i in (1, 2, 3)]
    file = tmp_path / "folds" / "folds.json"
    about = json.loads(file.read_text())
    del about["train"]["oversample"], about["scn"]["aside"]  # of a version without them
    file.write_text(json.dumps(about))
    np.testing.assert_array_equal(out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds").probs, found.probs)
    file.write_text(json.dumps(about | {"scn": about["scn"] | {"rank_margin": 0.3}}))
    with pytest.raises(RunError, match="holds the folds of another training"):
        out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds")
    file.write_text("[]")
    with pytest.raises(RunError, match="holds the folds of another training"):
        out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds")
    file.write_text(json.dumps(about))
    with pytest.raises(RunError, match="holds the folds of another training"):
        out_of_fold(noisy, "default", TRAIN, 3, folder=tmp_path / "folds")
    half = tmp_path / "folds" / "fold_01.safetensors"
    half.write_bytes(half.read_bytes()[:100])
    with pytest.raises(RunError, match="fold_01.safetensors is damaged: remove it, and this fold is trained again"):
        out_of_fold(noisy, train=TRAIN, k=3, folder=tmp_path / "folds")


def test_bad_input_is_a_sentence(noisy):
    with pytest.raises(SettingsError, match="1 folds do not fit"):
        fold_numbers(np.zeros(5, int), 1)
    with pytest.raises(DataError, match="Class 1 has one sample only"):
        fold_numbers(np.array([0, 0, 0, 1]), 2)
    with pytest.raises(DataError, match="fewer faces than a batch of 200"):
        out_of_fold(noisy, train=replace(TRAIN, batch_size=200), k=2)
