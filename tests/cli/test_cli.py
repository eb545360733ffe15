"""The command line: what each command prints, where it writes, and what it says of bad input."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.cli import main
from scn_fastai.experiments.recipes import all_recipes

OPTIONS = "--data rendered --limit 80 --arch small --device cpu --size 16 --batch-size 16"
TINY = OPTIONS.split()
pytestmark = pytest.mark.usefixtures("small_rendered")
KEYS = {
    "accuracy_last",
    "accuracy_best",
    "relabel_precision",
    "relabel_recall",
    "label_accuracy_before",
    "label_accuracy_after",
    "auroc_alpha",
    "auroc_loss",
    "seconds",
    "images_per_second",
}


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, small_rendered):
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *TINY, "--noise", "0.3", "--epochs", "2", "--out", str(folder), "--json"]) == 0
    return folder


def printed(capsys) -> dict | list:
    return json.loads(capsys.readouterr().out)


def test_recipes_are_listed_as_objects_with_a_name(capsys):
    assert main(["recipes", "--json"]) == 0
    names = {entry["name"] for entry in printed(capsys)}
    assert names == set(all_recipes()) >= {"plain", "default", "paper", "released"}


def test_train_prints_one_json_summary_and_writes_run_and_report(tmp_path, capsys):
    code = main(["train", *TINY, "--noise", "0.3", "--epochs", "2", "--out", str(tmp_path / "r"), "--json"])
    summary = printed(capsys)
    assert code == 0 and set(summary) >= KEYS
    assert summary["label_accuracy_before"] == pytest.approx(0.7, abs=0.05)
    assert {"settings.json", "samples.parquet", "summary.json", "report.html"} <= {
        p.name for p in (tmp_path / "r").iterdir()
    }


def test_a_changed_setting_is_a_recipe_of_its_own(tmp_path, capsys):
    out, names = tmp_path / "grid", ["paper:gamma=0.2", "paper"]
    how = f"--recipes {','.join(names)} --seeds 0 --jobs 1 --epochs 1 --json --out".split()
    assert main(["compare", *TINY, *how, str(out)]) == 0
    assert [row["recipe"] for row in printed(capsys)["runs"]] == names
    settings = [out / f"{name}-seed0" / "settings.json" for name in ("paper_gamma=0.2", "paper")]
    assert [json.loads(path.read_text())["scn"]["gamma"] for path in settings] == [0.2, 0.5]
    assert (out / "comparison.html").exists()


def test_train_does_not_overwrite_a_run(run_folder, capsys):
    assert main(["train", *TINY, "--epochs", "1", "--out", str(run_folder)]) == 2
    assert "holds a run already: add --resume" in capsys.readouterr().err


def test_resume_of_a_finished_run_trains_nothing_more(run_folder, capsys):
    code = main(["train", *TINY, "--noise", "0.3", "--epochs", "2", "--out", str(run_folder), "--resume", "--json"])
    assert code == 0 and printed(capsys)["epochs"] == 2


def test_compare_gives_a_row_a_run_and_is_resumable(tmp_path, capsys):
    call = ["compare", *TINY, "--noise", "0.3", "--epochs", "1", "--recipes", "plain,default", "--seeds", "0,1"]
    call += ["--out", str(tmp_path), "--jobs", "1", "--json"]
    assert main(call) == 0
    first = printed(capsys)
    assert [(r["recipe"], r["seed"]) for r in first["runs"]] == [(n, s) for s in (0, 1) for n in ("plain", "default")]
    assert (tmp_path / "comparison.html").exists()
    assert main(call) == 0
    assert printed(capsys)["runs"] == first["runs"]  # seconds too: nothing was run again


def test_compare_refuses_a_folder_with_other_settings(tmp_path, capsys):
    call = ["compare", *TINY, "--recipes", "plain", "--seeds", "0", "--out", str(tmp_path), "--jobs", "1"]
    assert main([*call, "--epochs", "1", "--json"]) == 0
    assert main([*call, "--epochs", "2"]) == 2
    assert "holds a run with other settings (train: epochs 1, now 2)" in capsys.readouterr().err


def test_predict_scores_good_images_and_names_bad_ones(run_folder, tmp_path, capsys):
    Image.fromarray(np.full((20, 20), 128, np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    names = [str(tmp_path / name) for name in ("good.png", "bad.png", "absent.png")]
    assert main(["predict", str(run_folder), *names, "--json"]) == 1
    found = printed(capsys)
    (row,) = found["images"]
    probabilities = [value for name, value in row.items() if name.startswith("p_") and name != "p_max"]
    assert row["image"].endswith("good.png") and 0 < row["alpha"] < 1
    assert sum(probabilities) == pytest.approx(1, abs=1e-5) and max(probabilities) == pytest.approx(row["p_max"])
    assert [p["image"] for p in found["problems"]] == names[1:]


def test_report_is_written_again(run_folder, capsys):
    (run_folder / "report.html").unlink()
    assert main(["report", str(run_folder), "--json"]) == 0
    assert "report.html" in printed(capsys)["report"] and (run_folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "--data", "mars"], "There is no data set 'mars'; there are: rendered, ferplus"),
        (["train", "--data", "ferplus"], "Name its folder or file with --path"),
        (["train", "--data", "folder", "--path", "nowhere"], "nowhere"),
        (["train", *TINY, "--recipe", "magic"], "There is no recipe 'magic'; there are: plain"),
        (["train", *TINY, "--arch", "resnet999"], "There is no architecture 'resnet999'"),
        (["train", *TINY[:-2], "--batch-size", "1"], "--batch-size of 2 or more"),
        (["train", *TINY, "--noise", "1.5"], "1.5"),
        (["compare", *TINY, "--seeds", "0,x"], "'0,x' are no seeds"),
        (["compare", *TINY, "--seeds", ""], "'' are no seeds"),
        (["compare", *TINY, "--recipes", ","], "There is no recipe to compare"),
        (["compare", *TINY, "--jobs", "0"], "--jobs is 1 or more"),
        (["experiment", "detect", "--known", "nowhere"], "There is no folder nowhere"),
        (["predict", "nowhere", "a.png"], "There is no run at nowhere"),
        (["report", "nowhere"], "There is no run at nowhere"),
    ],
)
def test_bad_input_ends_in_one_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("scn: ") and sentence in error


def test_cured_labels_can_be_trained_on_elsewhere(tmp_path, capsys):
    from scn_fastai.training.ledger import LabelLedger

    for i in range(12):
        Image.fromarray(np.full((16, 16), 20 * i, np.uint8)).save(tmp_path / f"{i}.png")
    ledger = LabelLedger([i % 2 for i in range(12)], ["sad", "glad"])
    ledger.override(3, "sad")
    samples = pd.DataFrame({"image": [f"{i}.png" for i in range(12)]})
    path = ledger.export(tmp_path / "cured.csv", samples)
    assert main(["train", "--data", "csv", "--path", str(path), "--arch", "small", "--epochs", "1", "--batch-size", "4",
                 "--out", str(tmp_path / "run"), "--json", "--device", "cpu"]) == 0  # fmt: skip
    assert printed(capsys)["n_train"] > 0


def test_an_experiment_prints_lines_and_claims_and_report_shows_it_again(tmp_path, capsys):
    out = str(tmp_path / "out")
    options = ["--seeds", "0", "--lines", "plain,paper", "--limit", "64", "--epochs", "1", "--out", out, "--jobs", "1"]
    assert main(["experiment", "table5", *options, "--json"]) == 0
    told = printed(capsys)
    assert [row["line"] for row in told["lines"]] == ["none", "weight + rank + relabel"] and told["claims"] == []
    assert main(["report", out, "--json"]) == 0
    assert printed(capsys)["lines"] == told["lines"]
    faults = {"--lines=elr": "no line of", "--size=huge": "no size", "--seeds=a": "no seeds", "--size=full": "--path"}
    for wrong, words in faults.items():
        assert main(["experiment", "table5", "--out", out, wrong]) == 2
        assert words in capsys.readouterr().err
    assert main(["experiment", "table6", *options, "--json"]) == 0 and printed(capsys)
    assert main(["report", out, "--json"]) == 0
    assert [one["experiment"] for one in printed(capsys)] == ["table5", "table6"]
    assert main(["experiment", "table3"]) == 2 and "scn table3" in capsys.readouterr().err


def test_the_experiment_of_detectors_asks_each_about_each_run(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--seeds", "0", "--lines", "plain", "--limit", "64", "--epochs", "1", "--out", str(out), "--jobs", "1"]
    assert main(["experiment", "detect", *options, "--json"]) == 0
    told = printed(capsys)
    assert "loss" in told["detectors"]["plain, 30% symmetric"]
    assert told["detectors"]["plain, 30% symmetric"]["knn"] > 0 and "o2u" not in told["detectors"]
    stored = pd.read_csv(out / "detect_detectors.csv")
    assert set(stored["noise_kind"]) == {"symmetric", "confusion", "human"} and {"auroc", "problem"} <= set(stored)
    again = tmp_path / "again"
    options[-3] = str(again)
    assert main(["experiment", "detect", *options, "--known", str(out), "--json"]) == 0
    assert printed(capsys)["detectors"] == told["detectors"] and not list(again.glob("*/*-seed0"))
    (out / "detect_detectors.csv").unlink()
    options[-3] = str(tmp_path / "third")
    assert main(["experiment", "detect", *options, "--known", str(out), "--json"]) == 0
    assert "no training is taken over" in capsys.readouterr().err


def test_what_one_line_noted_the_others_lack(tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--seeds", "0", "--lines", "plain,metacleaner", "--limit", "64", "--epochs", "1", "--batch-size", "16"]
    assert main(["experiment", "detect", *options, "--out", str(out), "--jobs", "1", "--json"]) == 0
    found = printed(capsys)["detectors"]
    assert found["plain, 30% human"]["metacleaner"] is None and found["metacleaner, 30% human"]["metacleaner"] > 0
    assert "<td>–</td>" in (out / "detect.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("verb", "words"), [("train", "with --resume goes on"), ("compare", "same command goes on")])
def test_an_interrupt_says_what_goes_on(verb, words, tmp_path, monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"scn_fastai.cli.commands.{verb}", interrupted)
    assert main([verb, "--out", str(tmp_path)]) == 130
    assert words in capsys.readouterr().err
