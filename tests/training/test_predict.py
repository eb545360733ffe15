"""A run's network as a function of pictures: the same word as for the files, for grey and colour, one and many."""

import numpy as np
import pytest
import torch
from PIL import Image
from small_faces import CLASSES, small_faces

from scn_fastai import Run
from scn_fastai.errors import RunError
from scn_fastai.experiments.fit import TrainSettings, train_faces
from scn_fastai.faces.lab import FaceState, look
from scn_fastai.training.predict import FEW, predict_files, predictor

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=32, device="cpu", half=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train_faces(small_faces(64, 16, size=24), "default", TRAIN, folder=folder, bar=False)
    return Run.load(folder)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)


def test_it_says_what_predict_files_says(run, pictures, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    table, _ = predict_files(run, paths)
    probs, alpha = predictor(run, with_alpha=True)(pictures)
    assert probs.shape == (6, 8) and probs.dtype == np.float32 and alpha.shape == (6,)
    assert np.allclose(probs, table[[f"p_{name}" for name in CLASSES]], atol=1e-6)
    assert np.allclose(alpha, table["alpha"], atol=1e-6)


def test_one_at_a_time_is_the_same_and_threads_are_given_back(run, pictures):
    predict, threads = predictor(run), torch.get_num_threads()
    assert predict.classes == CLASSES and len(pictures) > FEW
    alone = np.concatenate([predict(picture[None]) for picture in pictures])
    assert np.allclose(alone, predict(pictures), atol=1e-5) and torch.get_num_threads() == threads
    assert np.allclose(alone.sum(1), 1, atol=1e-5)


def test_pictures_of_any_size_are_taken(run):
    view = look(FaceState(), 64, predictor(run, with_alpha=True))
    assert view.silence == "" and view.classes == tuple(CLASSES) and 0 < view.alpha < 1


def test_a_run_that_does_not_say_how_it_saw_is_refused(run):
    stranger = Run.load(run.folder)
    del stranger.settings["input"]
    with pytest.raises(RunError, match="how its images were prepared"):
        predictor(stranger)
    with pytest.raises(RunError, match="how its images were prepared"):
        predict_files(stranger, [])
