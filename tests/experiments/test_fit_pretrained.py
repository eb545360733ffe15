"""A training that starts from a pretrained backbone: weights, inputs, what the run says, and the command line."""

import json
from dataclasses import replace

import pytest
import torch
from small_faces import small_faces

from scn_fastai import Run
from scn_fastai.cli import main
from scn_fastai.errors import DataError
from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces
from scn_fastai.training.network import build_network
from scn_fastai.training.predict import predictor

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


@pytest.fixture
def checkpoint(tmp_path, tiny):
    """A checkpoint of the small network under a name that nobody knows."""
    state = build_network("small", 3).state_dict()
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "mine.pth")
    return tmp_path / "mine.pth", state


def test_weights_and_inputs_are_those_of_the_checkpoint(checkpoint, tmp_path):
    path, state = checkpoint
    faces, told = small_faces(48, 16), []
    train = replace(TRAIN, pretrained=str(path), pretrained_kind="minus-one-one:size=32:channels=BGR")
    learn = face_learner(faces, "default", train, tmp_path / "run", told.append)
    assert torch.equal(learn.model[0].weight, state["0.weight"]) and "20 of the backbone's 20 tensors match" in told[0]
    x = learn.dls.valid.one_batch()[0]
    assert x.shape[-2:] == (32, 32) and x.min() >= -1 and x.max() <= 1 and x.min() < -0.5
    train_faces(faces, "default", train, tmp_path / "run", bar=False)
    run = Run.load(tmp_path / "run")
    assert run.settings["input"]["size"] == 32 and run.settings["input"]["channels"] == "BGR"
    assert run.settings["pretrained"]["matched"] == 20 and len(run.settings["pretrained"]["sha256"]) == 64
    assert predictor(run)(faces.images[:2]).shape == (2, 8)


def test_a_size_that_is_asked_for_goes_before_that_of_the_checkpoint(checkpoint):
    path, _ = checkpoint
    train = replace(TRAIN, size=20, pretrained=str(path), pretrained_kind="imagenet:size=32")
    assert face_learner(small_faces(48, 16), "plain", train).dls.one_batch()[0].shape[-1] == 20


def test_a_network_of_one_size_gets_that_size(tmp_path):
    learn = face_learner(small_faces(16, 8), "plain", replace(TRAIN, arch="ir50", batch_size=2), tmp_path / "run")
    assert learn.dls.valid.one_batch()[0].shape[-1] == 112
    assert learn.scn.saved.settings["input"]["size"] == 112


def test_the_command_line_trains_from_a_checkpoint(checkpoint, small_rendered, tmp_path, capsys):
    path, _ = checkpoint
    call = "train --limit 48 --arch small --device cpu --batch-size 16 --epochs 1 --json".split()
    call += ["--pretrained", str(path), "--out", str(tmp_path / "run")]
    assert main(call) == 2
    assert "mine.pth is no checkpoint that is known" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*call, "--pretrained-kind", "zero-one"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["epochs"] == 1
    assert said.err.count("mine.pth (zero-one): 20 of the backbone's 20 tensors match") == 1


def test_another_architecture_is_refused(checkpoint):
    path, _ = checkpoint
    with pytest.raises(DataError, match="does not fit this network: 0 of the backbone's 100 tensors match"):
        face_learner(small_faces(48, 16), "plain", replace(TRAIN, arch="resnet18", pretrained=str(path)))
