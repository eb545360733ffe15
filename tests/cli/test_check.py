"""`scn check`, and training on what it has looked at."""

import json
import os

import numpy as np
import pytest
from official_layouts import make_affectnet_csv, make_affectnet_folders, make_rafdb, picture, save

from scn_fastai.cli import main
from scn_fastai.training.run import Run

HOW = "--arch small --device cpu --epochs 1 --batch-size 4 --json --out".split()


def test_a_table_as_json(tmp_path, capsys):
    for i in range(3):
        save(tmp_path / f"{i}.png", picture(i, 40))
    (tmp_path / "1.png").write_bytes(b"hello")
    (tmp_path / "faces.csv").write_text("path,label\n0.png,joy\n1.png,fear\n2.png,fear\nno.png,joy\n")
    assert main(["check", "--data", "csv", "--path", str(tmp_path / "faces.csv"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["read"] == 2 and report["dropped"] == 2 and report["classes"] == {"fear": 1, "joy": 1}
    assert report["problems"] == [
        {"path": "1.png", "problem": "not an image that Pillow can read"},
        {"path": "no.png", "problem": "the file is not there"},
    ]


def test_a_report_in_words(tmp_path, capsys):
    assert main(["check", "--data", "rafdb", "--path", str(make_rafdb(tmp_path))]) == 0
    out = capsys.readouterr().out
    assert "16 images open, 0 are dropped" in out and "What to do" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--data mars --path .", "There is no data set 'mars' to be checked; there are: rafdb"),
        ("--data rafdb --path nowhere", "There is nothing at nowhere"),
        ("--data rafdb --path .", "The folder . is empty: put RAF-DB there"),
        ("--data ferplus --path . --rule best", "There is no FERPlus rule 'best'"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["check", *arguments.split()]) == 2
    assert capsys.readouterr().err.strip().startswith(f"scn: {sentence}")


def train(capsys, tmp_path, *arguments):
    assert main(["train", *arguments, *HOW, str(tmp_path / "run")]) == 0
    return json.loads(capsys.readouterr().out), Run.load(tmp_path / "run")


def test_training_on_raf_db_with_a_noise_file(tmp_path, capsys):
    raf = make_rafdb(tmp_path / "raf")
    lines = (raf / "basic" / "EmoLabel" / "list_patition_label.txt").read_text().splitlines()[:12]
    lines[-1] = lines[-1][:-1] + "7"
    (tmp_path / "noise.txt").write_text("\n".join(lines))
    summary, run = train(
        capsys, tmp_path, "--data", "rafdb", "--path", str(raf), "--noise-file", str(tmp_path / "noise.txt")
    )
    assert summary["n_train"] == 12 and summary["label_accuracy_before"] == pytest.approx(11 / 12)
    assert run.settings["data"]["noise_file"].endswith("noise.txt") and run.classes[0] == "surprise"


@pytest.mark.parametrize("make", [make_affectnet_csv, make_affectnet_folders])
def test_training_on_affectnet_balanced(tmp_path, capsys, make):
    arguments = ["--data", "affectnet", "--path", str(make(tmp_path / "set")), "--size", "16", "--oversample"]
    summary, run = train(capsys, tmp_path, *arguments)
    assert summary["n_train"] == 9 and 0 <= summary["mean_class_accuracy_last"] <= summary["mean_class_accuracy_best"]
    assert run.settings["train"]["oversample"] and run.settings["data"]["size"] == 16
    assert run.settings["input"]["shape"] == [16, 16, 3]


def test_joint_training(tmp_path, capsys):
    paths = os.pathsep.join([str(make_rafdb(tmp_path / "raf")), str(make_affectnet_csv(tmp_path / "affectnet"))])
    summary, run = train(capsys, tmp_path, "--data", "rafdb+affectnet", "--path", paths, "--size", "16")
    assert summary["n_train"] == 20 and np.unique(run.samples["source"]).tolist() == ["affectnet", "rafdb"]
