"""Every detector on every run of an experiment, and what stands there of them already."""

import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from scn_fastai.detect.detectors import DETECTORS, table_of_scores, votes_of
from scn_fastai.errors import SCNError
from scn_fastai.experiments.evidence import More, run_scores
from scn_fastai.training.run import Run

KILLED = "the system ended the process that asked the detectors, most likely for want of memory: use fewer --jobs"
KEY = ["line", "seed", "detector"]
SAME = 1e-9  # figures that went through a CSV


def detector_results(
    results: pd.DataFrame,
    out: str | Path,
    n_boot: int = 0,
    known: pd.DataFrame | None = None,
    more: More | None = None,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Every detector on every finished run: `detector_table` with the run's line, recipe, noise_kind and seed.

    Args:
        results: of `run_experiment`.
        out: folder with the runs.
        n_boot: bootstrap samples for the intervals.
        known: a table that this function made earlier, for the runs that do not lie in ``out``.
        more: what is gathered beside the histories; None: features. What other networks say of the faces, of folds and
            of the cyclic rate, is asked about the runs of the plain network only: runs of a seed have the same labels.
        jobs: how many runs at a time.
        progress: called with runs done, runs in all, and the line of the run that was judged.
    """
    more, out = more or More(features=True), Path(out)
    rows = [row for row in results.to_dict("records") if not isinstance(row.get("error"), str)]
    here = [known is None or (out / row["folder"] / "summary.json").exists() for row in rows]
    judged = _judge_all([row for row, is_here in zip(rows, here, strict=True) if is_here], out, more, n_boot, jobs)
    parts = []
    for row, is_here in zip(rows, here, strict=True):
        stored = None if is_here else known[(known["line"] == row["line"]) & (known["seed"] == row["seed"])]
        parts.append(next(judged) if is_here else stored)
        if progress is not None:
            progress(len(parts), len(rows), f"detectors, {row['line']}")
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def keep_judged(found: pd.DataFrame, before: pd.DataFrame | None) -> pd.DataFrame:
    """What was found, and the figures that stood there of detectors that were not asked again, of the same runs.

    That the runs are the same their other detectors tell: none has another AUROC now.
    """
    if before is None or not len(found):
        return found
    old, new = before.set_index(KEY), found.set_index(KEY)
    other = (new["auroc"] - old["auroc"]).abs() > SAME
    there = old[old["auroc"].notna() & old.index.droplevel("detector").isin(new.index.droplevel("detector"))]
    there = there[~there.index.droplevel("detector").isin(other[other].index.droplevel("detector"))]
    there = there.drop(new[new["auroc"].notna()].index, errors="ignore")
    return pd.concat([new.drop(there.index, errors="ignore"), there]).reset_index() if len(there) else found


def _judge_all(rows: list[dict], out: Path, more: More, n_boot: int, jobs: int) -> Iterator[pd.DataFrame]:
    """The detectors of each row's run; where the system ends a process, the rows left have its sentence."""
    done = 0
    try:
        for table in Parallel(jobs, return_as="generator")(delayed(_judge)(row, out, more, n_boot) for row in rows):
            yield table
            done += 1
    except TerminatedWorkerError:
        yield from (_not_judged(row, KILLED) for row in rows[done:])


def _judge(row: dict, out: Path, more: More, n_boot: int) -> pd.DataFrame:
    """Every detector on the run of a row; one that cannot be read costs its own rows only."""
    more = more if row["recipe"] == "plain" else replace(more, folds=0, cyclic=0)
    try:
        run = Run.load(out / row["folder"])
        scores, problems = run_scores(run, more)
        given, truth = run.ledger.given.cpu().numpy(), run.truth.numpy()
        table = table_of_scores(scores, problems, given, truth, run.classes, votes_of(run), n_boot)
    except Exception as error:  # anything: the other runs shall be judged
        if not isinstance(error, SCNError):
            log = out / f"{row['folder']}.detectors.error.txt"
            log.write_text(traceback.format_exc(), encoding="utf-8")
        return _not_judged(row, str(error).splitlines()[0] if str(error) else type(error).__name__)
    return table.assign(**_about(row), folds=more.folds, cyclic=more.cyclic)


def _about(row: dict) -> dict:
    return {name: row[name] for name in ("line", "recipe", "noise_kind", "seed")}


def _not_judged(row: dict, words: str) -> pd.DataFrame:
    table = pd.DataFrame({"detector": list(DETECTORS), "auroc": float("nan"), "problem": words})
    return table.assign(**_about(row), folds=0, cyclic=0)
