"""Pretraining stand-ins: who is in which part, and backbones with their cards."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scn_fastai import Run, rendered_faces
from scn_fastai.cli import main
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.experiments.compare import run_cell
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.pretrain import (
    PRETRAININGS,
    Task,
    for_pretraining,
    pretrain_cell,
    save_pretrained,
)
from scn_fastai.training.network import build_network
from scn_fastai.training.pretrained import backbone_card, load_backbone

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)
pytestmark = pytest.mark.usefixtures("small_rendered")


def persons(faces, split="train"):
    return set(faces.part(split).samples["identity"])


# ---- who is in which part ----


def test_no_person_is_in_two_parts():
    web, target, whole = Task("web").load(), Task("target").load(), rendered_faces(splits=("train", "valid"))
    assert not persons(web) & persons(target)
    assert persons(web) | persons(target) == persons(whole)
    assert len(persons(web)) == round(0.7 * len(persons(whole)))
    assert len(web.part("valid")) == len(target.part("valid")) == len(whole.part("valid"))
    assert not persons(whole, "valid") & persons(web)
    assert persons(Task("identity").load()) <= persons(web)


def test_the_people_are_divided_the_same_way_every_time():
    faces = rendered_faces(splits=("train", "valid"))
    assert np.array_equal(for_pretraining(faces), for_pretraining(faces))
    assert persons(Task("web", noise=0.5).load(0)) == persons(Task("web", noise=0.5).load(1))


def test_web_labels_are_wrong_as_often_as_was_said_and_differ_with_the_seed():
    first, again, other = (Task("web", noise=0.5).load(seed).part("train").samples for seed in (0, 0, 1))
    wrong = first["label"] != first["true_label"]
    assert wrong.mean() == pytest.approx(0.5, abs=0.05)
    assert first["label"].equals(again["label"]) and not first["label"].equals(other["label"])
    valid = Task("web", noise=0.5).load().part("valid").samples
    assert (valid["label"] == valid["true_label"]).all()


def test_identity_holds_one_face_of_each_person_out():
    faces = Task("identity").load(3)
    train, valid = faces.part("train").samples, faces.part("valid").samples
    assert len(faces.classes) == train["identity"].nunique() == len(valid) == valid["identity"].nunique()
    assert (train.groupby("identity").size() == 7).all()
    assert not set(train["image"]) & set(valid["image"])
    assert train["label"].iloc[0] == f"person {train['identity'].iloc[0]:04d}"
    assert set(Task("identity").load(4).part("valid").samples["image"]) != set(valid["image"])


def test_a_limit_leaves_people_out_of_identity_and_faces_out_of_the_others():
    assert len(Task("identity", 40).load()) == 40 and len(Task("identity", 40).load().classes) == 5
    assert len(Task("web", 40).load().part("train")) == 40
    with pytest.raises(DataError, match="A limit of 4,000 training faces does not fit"):
        Task("target", 4000).load()


def test_an_unknown_task_or_pretraining():
    with pytest.raises(SettingsError, match="There is no task 'faces': it is identity, web or target"):
        Task("faces").load()
    with pytest.raises(
        SettingsError,
        match="There is no pretraining 'ms-celeb'; there are: identity, identity-scn, identity-metric, web",
    ):
        pretrain_cell("ms-celeb", TRAIN, "x")
    with pytest.raises(SettingsError, match="Who a person is has no label noise here"):
        pretrain_cell("identity", TRAIN, "x", noise=0.3)


# ---- backbones ----


@pytest.mark.parametrize("name", PRETRAININGS)
def test_every_pretraining_leaves_a_backbone_that_loads(name, tmp_path):
    cell = pretrain_cell(name, TRAIN, tmp_path / "run", limit=64)
    summary = run_cell(cell, lambda _: None)
    file = save_pretrained(cell, "scn pretrain")
    card, run = backbone_card(file), Run.load(tmp_path / "run")
    assert card["arch"] == "small" and card["command"] == "scn pretrain"
    assert card["figures"]["accuracy_last"] == summary["accuracy_last"]
    assert card["input"]["mean"] == pytest.approx(run.settings["input"]["mean"])
    assert ("people of the" in card["trained_on"]) == name.startswith("identity")
    assert ("verification_auroc" in card["figures"]) == name.startswith("identity")
    assert card["how"] == ("metric" if name == "identity-metric" else "classification")
    model = build_network("small", 8)
    report = load_backbone(model, file, tell=None)
    assert len(report.matched) == report.total == 20 and report.kind == "scn_fastai"
    assert card["figures"]["scn_began"] is None  # plain, or one epoch only, in which nothing has settled
    assert (model[0].weight.detach() == run.weights()["0.weight"]).all()
    assert save_pretrained(cell, "another") == file and backbone_card(file) == card  # written once


def test_a_training_too_short_for_scn_says_so(tmp_path, capsys, monkeypatch):
    call = "pretrain --what web --scn --limit 64 --epochs 2 --batch-size 16 --device cpu --json".split()
    assert main([*call, "--out", str(tmp_path / "late")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["card"]["figures"]["scn_began"] is None
    assert "SCN never began in this training, so it was a plain one: train for more --epochs." in said.err
    entry = replace(PRETRAININGS["web-scn"], recipe="default:weight_from=1")
    monkeypatch.setitem(PRETRAININGS, "web-scn", entry)
    assert main([*call, "--out", str(tmp_path / "early")]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["card"]["figures"]["scn_began"] == 1 and "never began" not in said.err


def test_metric_learning_on_the_command_line(tmp_path, capsys):
    call = "pretrain --what identity --how metric --limit 64 --epochs 1 --batch-size 16 --device cpu --json".split()
    assert main([*call, "--out", str(tmp_path / "ids")]) == 0
    card = json.loads(capsys.readouterr().out)["card"]
    assert card["how"] == "metric" and card["trained_on"].endswith("recipe cosface")
    assert "--what identity --how metric" in card["command"] and 0 <= card["figures"]["verification_auroc"] <= 1


# ---- the command line ----


def test_pretrain_then_train_from_it(tmp_path, capsys):
    out = tmp_path / "ids"
    call = f"pretrain --what identity --limit 64 --epochs 1 --batch-size 16 --device cpu --json --out {out}".split()
    assert main(call) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["card"]["how"] == "classification"
    command = "scn pretrain --what identity --out ids --seed 0 --limit 64 --arch small --epochs 1 --batch-size 16"
    assert found["card"]["command"].startswith(command)
    assert main(call) == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert main([*call, "--resume"]) == 0
    assert main(["report", str(out)]) == 0
    train = f"train --limit 48 --arch small --device cpu --batch-size 16 --epochs 1 --out {tmp_path / 'run'}".split()
    assert main([*train, "--pretrained", found["backbone"]]) == 0
    assert "backbone.safetensors (scn_fastai): 20 of the backbone's 20 tensors match" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "match"), [
    (["--what", "celebrities"], "There is nothing called 'celebrities' to pretrain on: --what is identity or web."),
    (["--what", "web", "--epochs", "0"], "A training needs --epochs of 1 or more"),
    (["--what", "identity", "--noise", "0.2"], "Who a person is has no label noise here"),
    (["--what", "identity", "--how", "triplets"], "There is no way 'triplets' to pretrain: --how is classification or"),
    (["--what", "web", "--how", "metric"], "Metric learning needs to know who is on a picture"),
    (["--what", "identity", "--how", "metric", "--scn"], "leave out either --scn or --how metric"),
])  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(options, match, tmp_path, capsys):
    assert main(["pretrain", *options, "--out", str(tmp_path / "x")]) == 2
    assert match in capsys.readouterr().err
