"""An interrupted training of a method goes on to the same bits as one that was never interrupted."""

import json
from dataclasses import replace

import pytest
import torch
from fastai.learner import Callback
from small_faces import small_faces

from scn_fastai import Run
from scn_fastai.data.noise import flip_labels
from scn_fastai.errors import RunError
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces
from scn_fastai.methods import METHODS

TRAIN = TrainSettings(arch="small", epochs=4, batch_size=16, device="cpu", half=True)
TIMES = ("seconds", "images_per_second")
FIRST = ["elr", "coteaching"]
OTHERS = [*sorted(set(METHODS) - set(FIRST)), "selfpaced:curriculum=mentornet"]


class StopIn(Callback):
    """Interrupts in the middle of an epoch."""

    def __init__(self, epoch):
        self.at = epoch

    def after_batch(self):
        if self.training and self.learn.epoch == self.at and self.learn.iter == 1:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def noisy():
    faces = small_faces(64, 32, size=16)
    labels = flip_labels(faces.part("train").samples["label"], 0.3, seed=1, classes=faces.classes).labels
    faces = faces.with_labels(labels)
    for name in faces.classes:  # pld draws from votes
        faces.samples[f"vote_{name}"] = (faces.samples["true_label"] == name).astype(float)
    return faces


def resumed_and_whole(faces, name, folder, stops=(2,)):
    """Summaries and weights of both trainings."""
    results = []
    for way, epochs in (("whole", ()), ("broken", stops)):
        for i, epoch in enumerate(epochs):
            with pytest.raises(KeyboardInterrupt):
                train_faces(faces, name, TRAIN, folder / way, resume=i > 0, callbacks=[StopIn(epoch)], bar=False)
            torch.rand(7)
        summary = train_faces(faces, name, TRAIN, folder / way, resume=bool(epochs), bar=False)
        state = torch.load(folder / way / "resume" / "state.pt", weights_only=True)["callbacks"]
        summary = {key: value for key, value in summary.items() if key not in TIMES}
        results.append((json.dumps(summary), (folder / way / "model.safetensors").read_bytes(), state))
    return results


def assert_same(whole, broken):
    assert whole[:2] == broken[:2]
    assert whole[2].keys() == broken[2].keys()
    for name, tensors in whole[2].items():
        assert all(torch.equal(a.nan_to_num(-9), broken[2][name][key].nan_to_num(-9)) for key, a in tensors.items())


@pytest.mark.parametrize("name", FIRST)
def test_a_resumed_training_equals_one_without_interruption(noisy, name, tmp_path):
    whole, broken = resumed_and_whole(noisy, name, tmp_path)
    assert_same(whole, broken)
    assert whole[2]  # it does carry something


@pytest.mark.slow
def test_also_when_it_was_interrupted_twice(noisy, tmp_path):
    assert_same(*resumed_and_whole(noisy, "coteaching", tmp_path, stops=(1, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_method_resumes_too(noisy, name, tmp_path):
    assert_same(*resumed_and_whole(noisy, name, tmp_path))


def test_a_method_without_its_state_is_one_sentence(noisy, tmp_path):
    train_faces(noisy, "plain", replace(TRAIN, epochs=1), tmp_path / "run", bar=False)
    learn = face_learner(noisy, "elr", TRAIN)
    with pytest.raises(RunError, match="trained without EarlyLearning"):
        Run.load(tmp_path / "run").resume(learn)
