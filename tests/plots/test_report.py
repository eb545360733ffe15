import re
import time

import numpy as np
import pandas as pd
import pytest
import torch

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots import write_comparison, write_report
from scn_fastai.plots.page import duration
from scn_fastai.plots.report import Facts
from scn_fastai.training.measures import repair_measures


def text_of(path):
    """The page without plotly.js: scripts of more than a million letters are left out."""
    page = path.read_text(encoding="utf-8")
    return re.sub(r"<script[^>]*>(?:(?!</script>).){1000000,}</script>", "<plotly>", page, flags=re.S)


def test_it_stands_alone(run, faces, tmp_path):
    page = text_of(write_report(run, tmp_path / "new" / "report.html", faces, {"seconds": 183}))
    assert page.count("<plotly>") == 1 and page.startswith("<!DOCTYPE html>")
    assert not re.findall(r"(?:src|href)=[\"'](?!#|data:)", page) and "cdn" not in page.lower()
    for name in ("curves", "alpha", "ranking", "changes-right", "map"):
        assert page.count(f'id="figure-{name}"') == 1, name
    assert page.count("How to read it.") == 5 and "3 min 3 s" in page
    assert str(tmp_path) not in page and [p.name for p in (tmp_path / "new").iterdir()] == ["report.html"]


def test_known_uncertainty_gets_a_section(run, faces, tmp_path):
    assert 'id="kinds"' not in text_of(write_report(run, tmp_path / "without.html", faces))
    run.samples["uncertainty"] = np.where(np.arange(len(run.samples)) % 3, "none", "blur")
    page = text_of(write_report(run, tmp_path / "with.html", faces))
    assert 'id="figure-kinds"' in page and 'id="figure-kind-ranking"' in page and 'href="#kinds"' in page
    assert "20 faces of 60 are known to be uncertain." in page and page.count("How to read it.") == 6
    assert 'id="figure-kind-ranking"' not in text_of(write_report(run, tmp_path / "bare.html"))


def test_its_figures_are_those_of_the_measures(run):
    found = Facts(run, {}).figures
    wanted = repair_measures(run.ledger.given, run.ledger.current, run.truth)
    assert wanted["changed"] > 5 and {name: found[name] for name in wanted} == pytest.approx(wanted)
    assert (found["accuracy_last"], found["epoch_best"]) == (pytest.approx(0.8), 2)


def test_headline_numbers_are_on_the_page(run, tmp_path):
    wanted = repair_measures(run.ledger.given, run.ledger.current, run.truth)
    page = text_of(write_report(run, tmp_path / "r.html"))
    before, after = wanted["label_accuracy_before"], wanted["label_accuracy_after"]
    for words in ("80.0%", f"{before:.1%} → {after:.1%}", f"{wanted['relabel_precision']:.1%}", "rank_margin"):
        assert words in page, words
    assert "Relabeling began in epoch 1;" in page and "Alpha doctor:" in page


def test_the_share_of_labels_that_look_wrong_is_on_the_page_where_it_was_estimated(run, tmp_path):
    assert "look wrong" not in text_of(write_report(run, tmp_path / "without.html"))
    run.history.note(noise_estimate=0.1234)
    page = text_of(write_report(run, tmp_path / "with.html"))
    assert "labels that look wrong" in page and "12.3%" in page


def test_without_faces_a_sentence_says_so(run, tmp_path):
    page = text_of(write_report(run, tmp_path / "r.html"))
    assert page.count("The faces were not at hand") == 2 and 'id="figure-ranking"' not in page
    assert 'id="figure-map"' in page


def test_without_truth_nothing_is_claimed(tmp_path, faces, new_run):
    page = text_of(write_report(new_run(truth=False), tmp_path / "r.html", faces))
    assert "relabel precision" not in page and "the truth is not known" in page
    assert 'id="figure-changes-all"' in page and "Changed and now" not in page


def test_without_changes_it_says_so(tmp_path, faces, new_run):
    page = text_of(write_report(new_run(relabels=False), tmp_path / "r.html", faces))
    assert page.count("No label differs from the given one.") == 2 and "No epoch of this training changed" in page
    assert "no change" in page and 'id="figure-changes' not in page


def test_no_wrong_label_and_one_epoch(tmp_path, faces, new_run):
    run = new_run(epochs=1, wrong=0.0)
    page = text_of(write_report(run, tmp_path / "r.html", faces))
    assert "none wrong" in page and "100.0% → 100.0%" in page and 'id="figure-curves"' in page


def test_samples_not_seen(tmp_path, faces, new_run):
    page = text_of(write_report(new_run(unseen=5), tmp_path / "r.html", faces))
    assert "5 samples were not seen" in page
    page = text_of(write_report(new_run(unseen=60, relabels=False), tmp_path / "r.html", faces))
    assert "No sample was seen in this epoch" in page


def test_chinese_names_and_tags(tmp_path, faces, new_run):
    run = new_run(classes=["高兴", "悲伤", "<script>alert(1)</script>"])
    page = text_of(write_report(run, tmp_path / "r.html", faces))
    assert "高兴" in page and "<script>alert" not in page and 'charset="utf-8"' in page


def test_a_persons_decision_is_a_change(tmp_path, faces, new_run):
    run = new_run(relabels=False)
    run.ledger.override(3, "fear")
    run.ledger.override(4, "fear")
    run.ledger.undo([4])
    page = text_of(write_report(run, tmp_path / "r.html", faces))
    assert re.search(r"Changed and now (true|wrong): 1 face<", page)


def test_a_plain_recipe_has_no_doctor(run, tmp_path):
    run.settings["scn"] |= {"rank": False, "weight": False}
    page = text_of(write_report(run, tmp_path / "r.html"))
    assert "Alpha doctor" not in page and "computes alpha and ignores it" in page


def test_a_run_from_disk_gives_the_same_report(run, faces, tmp_path):
    from scn_fastai.training.run import Run

    run.settings |= {"format": 1}
    run.save({"w": torch.zeros(2)})
    first = write_report(run, tmp_path / "a.html", faces).read_bytes()
    assert write_report(Run.load(run.folder), tmp_path / "b.html", faces).read_bytes() == first


def test_what_cannot_be_reported(run, faces, tmp_path, new_run):
    with pytest.raises(DataError, match="2 images but 60 training samples"):
        write_report(run, tmp_path / "r.html", faces[:2])
    with pytest.raises(RunError, match="no finished epoch"):
        write_report(new_run(epochs=0), tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_an_old_report_stays_if_the_new_one_cannot_be_written(run, tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    path.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(RunError, match="No space left on device"):
        write_report(run, path)
    assert path.read_text() == "old" and sorted(p.name for p in tmp_path.iterdir()) == ["r.html"]


def test_a_place_that_is_no_folder(run, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="could not be written"):
        write_report(run, tmp_path / "file" / "r.html")


def test_thirty_thousand_samples(tmp_path, new_run):
    run = new_run(n=30_000, epochs=2)
    began = time.perf_counter()
    path = write_report(run, tmp_path / "r.html", np.zeros((30_000, 16, 16), np.uint8))
    assert time.perf_counter() - began < 20 and path.stat().st_size < 6_000_000


# ---- comparison ----


def runs():
    rows = [(r, s, a + s / 100) for r, a in (("plain", 0.5), ("default", 0.6)) for s in (0, 1, 2)]
    table = pd.DataFrame(rows, columns=["recipe", "seed", "accuracy_last"])
    table["accuracy_best"] = table["accuracy_last"] + 0.02
    table["relabel_precision"] = [None, None, None, 0.7, 0.8, 0.9]
    table["seconds"] = 75.0
    return table


def test_a_comparison_stands_alone(tmp_path):
    table = runs()
    curves = {r: [pd.DataFrame({"accuracy": [0.3, 0.5]})] * 3 for r in ("plain", "default")}
    page = text_of(write_comparison(table, curves, tmp_path / "c.html"))
    assert page.count("<plotly>") == 1 and not re.findall(r"(?:src|href)=[\"'](?!#|data:)", page)
    for words in ("51.0% ± 1.0", "63.0% ± 1.0", "+10.0 points (+10.0 to +10.0)", "80.0%", "1 min 15 s", "3 seeds"):
        assert words in page, words
    assert 'id="figure-curves"' in page and 'id="figure-dots"' in page and page.count("How to read it.") == 3
    pd.testing.assert_frame_equal(table, runs())


def test_a_comparison_says_where_scn_never_began(tmp_path):
    runs = pd.DataFrame({"recipe": ["plain", "default", "default"], "seed": [0, 0, 1], "changed": [0, 0, 9]})
    runs = runs.assign(accuracy_last=0.5, accuracy_best=0.6, alpha_doctor=["healthy", "not begun", "healthy"])
    text = write_comparison(runs, {}, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "default: SCN never began in 1 of 2 runs, which was an ordinary training: too few labels" in text
    assert "never began" not in write_comparison(runs[runs.seed != 0], {}, tmp_path / "d.html").read_text("utf-8")


def test_a_comparison_of_one_seed_and_without_curves(tmp_path):
    table = runs()
    page = text_of(write_comparison(table[table["seed"] == 0], {}, tmp_path / "c.html"))
    assert "+10.0 points<" in page and "1 seed." in page and "no finished epoch" in page


def test_a_comparison_needs_its_columns(tmp_path):
    with pytest.raises(DataError, match="accuracy_best"):
        write_comparison(runs().drop(columns="accuracy_best"), {}, tmp_path / "c.html")
    with pytest.raises(DataError, match="lacks a run"):
        write_comparison(runs().head(0), {}, tmp_path / "c.html")


def test_durations():
    assert (duration(59.6), duration(3700), duration(float("nan"))) == ("1 min 0 s", "1 h 1 min", "not known")
