"""Every detector on every run: what cannot be judged costs its own rows, what was known stays."""

from dataclasses import replace

import pandas as pd
import pytest
from joblib.externals.loky.process_executor import TerminatedWorkerError

from scn_fastai.data.source import Source
from scn_fastai.experiments import judge
from scn_fastai.experiments.evidence import More
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.grid import Size, run_experiment
from scn_fastai.experiments.judge import detector_results, keep_judged
from scn_fastai.experiments.paper_tables import Experiment, Line

TRAIN = TrainSettings(arch="small", size=16, epochs=1, batch_size=16, device="cpu")
TINY = Size("tiny", Source("rendered", limit=48), TRAIN, "few faces")
LINES = (Line("baseline", "plain", 0.0), Line("SCN", "paper", 0.3))
ASKED = Experiment("table2", "two lines", LINES, ())
pytestmark = pytest.mark.usefixtures("small_rendered")


def test_every_detector_looks_at_every_run(tmp_path):
    results = run_experiment(ASKED, TINY, [0], tmp_path / "out")
    table = detector_results(results, tmp_path / "out")
    assert set(table["line"]) == {"baseline", "SCN"} and {"alpha", "loss", "aum"} <= set(table["detector"])
    noisy = table[(table["line"] == "SCN") & (table["detector"] == "loss")]
    assert 0 <= float(noisy["auroc"].iloc[0]) <= 1
    assert (table.loc[table["detector"] == "knn", "problem"] == "").all()  # features are there unasked


def test_a_run_that_cannot_be_read_costs_its_own_rows_only(tmp_path):
    results = run_experiment(ASKED, TINY, [0], tmp_path)
    (tmp_path / "symmetric30" / "paper-seed0" / "settings.json").write_text("{", encoding="utf-8")
    table = detector_results(results, tmp_path).set_index("line")
    assert "paper-seed0" in table.loc["SCN", "problem"].iloc[0] and table.loc["SCN", "auroc"].isna().all()
    assert (table.loc["baseline", "problem"] == "").any()


def test_other_networks_are_asked_about_the_plain_runs_only(tmp_path):
    asked = replace(ASKED, lines=(Line("plain", "plain", 0.3), LINES[1]), claims=())
    results, told = run_experiment(asked, TINY, [0], tmp_path / "out"), []
    more = {"more": More(True, 2, 1), "progress": lambda *now: told.append(now)}
    table = detector_results(results, tmp_path / "out", **more)
    held_out = table[table["detector"].isin(["confident", "held_out", "alpha_held_out", "o2u"])].set_index("line")
    assert held_out.loc["plain", "auroc"].notna().all() and held_out.loc["SCN", "auroc"].isna().all()
    assert held_out.loc["plain", "folds"].tolist() == [2] * 4 and held_out.loc["SCN", "cyclic"].tolist() == [0] * 4
    assert told == [(1, 2, "detectors, plain"), (2, 2, "detectors, SCN")]
    two = detector_results(results, tmp_path / "out", jobs=2)
    pd.testing.assert_frame_equal(two, detector_results(results, tmp_path / "out", jobs=1))


def test_what_goes_wrong_in_one_run_ends_no_other(tmp_path, monkeypatch):
    results, real = run_experiment(ASKED, TINY, [0], tmp_path), judge.run_scores

    def broken(run, more):
        if run.settings["recipe"] == "paper":
            raise ValueError("no such luck\nand more")
        return real(run, more)

    monkeypatch.setattr(judge, "run_scores", broken)
    table = detector_results(results, tmp_path).set_index("line")
    assert set(table.loc["SCN", "problem"]) == {"no such luck"}
    assert (table.loc["baseline", "problem"] == "").any()
    log = tmp_path / "symmetric30" / "paper-seed0.detectors.error.txt"
    assert "ValueError" in log.read_text(encoding="utf-8")


def test_an_ended_process_costs_the_runs_that_were_not_judged(tmp_path, monkeypatch):
    results = run_experiment(ASKED, TINY, [0], tmp_path)

    class Pool:
        def __init__(self, jobs, return_as):
            pass

        def __call__(self, tasks):
            function, args, how = next(iter(tasks))
            yield function(*args, **how)
            raise TerminatedWorkerError("killed")

    monkeypatch.setattr(judge, "Parallel", Pool)
    table = detector_results(results, tmp_path, jobs=2).set_index("line")
    assert (table.loc["baseline", "problem"] == "").any() and set(table.loc["SCN", "problem"]) == {judge.KILLED}


def rows(**aurocs):
    return pd.DataFrame(
        [{"line": "a", "seed": 0, "detector": name, "auroc": value, "problem": ""} for name, value in aurocs.items()]
    )


def test_figures_that_were_not_asked_for_again_stay():
    before = rows(loss=0.7, o2u=0.8, knn=0.6)
    found = keep_judged(rows(loss=0.7, o2u=float("nan"), knn=float("nan"), aum=0.5), before)
    assert found.set_index("detector")["auroc"].to_dict() == {"loss": 0.7, "aum": 0.5, "o2u": 0.8, "knn": 0.6}
    other = rows(loss=0.71, o2u=float("nan"))  # the run was trained anew
    pd.testing.assert_frame_equal(keep_judged(other, before), other)
    elsewhere = rows(loss=0.7).assign(seed=1)  # what is not in the table any more is gone
    assert len(keep_judged(elsewhere, before)) == 1 and keep_judged(elsewhere, None) is elsewhere
