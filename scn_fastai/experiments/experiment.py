"""Run a table of the paper: every cell once, a failing one costs only itself, results as one tidy table."""

import json
import subprocess
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from scn_fastai.detect.detectors import detector_table
from scn_fastai.errors import SCNError
from scn_fastai.experiments.compare import Cell, compare, finished, run_cell
from scn_fastai.experiments.tables import Row, Size, Table, known_rows, table_cells
from scn_fastai.training.folders import replace_file
from scn_fastai.training.run import Run

NAMES = ("fastai", "torch", "torchvision", "scn_fastai")


def run_table(
    table: Table,
    size: Size,
    seeds: list[int],
    out: Path,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Train what the table needs and is not done yet; a row for each row of the table and seed.

    A training that fails, or whose folder holds another one, has its sentence in ``error``; the rest comes anyway.

    Args:
        table: which.
        size: on which faces, how long.
        seeds: of each row.
        out: folder of the runs; finished ones are not run again.
        jobs: runs at a time.
        progress: as for `compare`.

    Returns:
        DataFrame: table, words, recipe, noise, noise_kind, seed, error, the figures of the summary (see `summary_of`),
        how it was trained, commit and versions.
    """
    rows, missing = known_rows(table)
    wanted = table_cells(rows, seeds, size, out)
    cells = {cell.folder: cell for of_row in wanted.values() for cell in of_row}
    results = {folder: {"error": words} for folder, cell in cells.items() if (words := _refused(cell))}
    left = [cell for folder, cell in cells.items() if folder not in results]
    found = compare(left, jobs, progress, run=try_cell).to_dict("records") if left else []
    results |= {cell.folder: summary for cell, summary in zip(left, found, strict=True)}
    stamp = {"about": size.about, "commit": commit()} | {name: version(name) for name in NAMES}
    tidy = [_tidy(table, row, cell, results[cell.folder]) | stamp for row, of_row in wanted.items() for cell in of_row]
    tidy += [_about(table, row) | {"error": f"this version has no recipe {row.recipe!r}"} | stamp for row in missing]
    return pd.DataFrame(tidy)


def try_cell(cell: Cell, tell: Callable[[str], None], threads: int | None = None) -> dict:
    """`run_cell`, but what goes wrong becomes a figure: ``error``, its sentence. The traceback lies beside the run."""
    try:
        return run_cell(cell, tell, threads)
    except Exception as error:  # anything: the other cells shall run
        sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not isinstance(error, SCNError):
            log = cell.folder.with_name(f"{cell.folder.name}.error.txt")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc(), encoding="utf-8")
        return {"recipe": cell.recipe, "seed": cell.train.seed, "error": sentence}


def detector_results(results: pd.DataFrame, out: Path, n_boot: int = 0) -> pd.DataFrame:
    """Every detector on every finished run of a table: `detector_table` with words, recipe, noise_kind and seed."""
    parts = []
    for row in results.to_dict("records"):
        if isinstance(row.get("folder"), str) and not isinstance(row.get("error"), str):
            table = detector_table(Run.load(Path(out) / row["folder"]), n_boot=n_boot)
            about = {name: row[name] for name in ("words", "recipe", "noise_kind", "seed")}
            parts.append(table.assign(**about))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def layout(table: Table, results: pd.DataFrame, figure: str = "accuracy_last") -> pd.DataFrame:
    """The paper's layout: a line for each row with seeds, our mean and standard deviation in %, the printed figure."""
    lines = []
    for row in table.rows:
        values = _values(results, row.words, figure)
        failed = int(results.loc[results["words"] == row.words, "error"].notna().sum())
        lines.append({"row": row.words, "seeds": len(values), "mean": 100 * values.mean() if len(values) else np.nan,
                      "sd": 100 * values.std() if len(values) > 1 else np.nan, "paper": row.printed,
                      "failed": failed})  # fmt: skip
    return pd.DataFrame(lines)


def claims(table: Table, results: pd.DataFrame, figure: str = "accuracy_last") -> pd.DataFrame:
    """A line for each claim: the rows' difference in points over common seeds, its 95 % interval, the verdict.

    ``holds``: yes if the interval lies above 0, no if below, open if it holds 0; with one seed the sign alone, "yes
    (one seed)"; "not run" without a common seed.
    """
    lines = []
    for claim in table.claims:
        better, worse = (_values(results, words, figure) for words in (claim.better, claim.worse))
        gap = 100 * (better - worse).dropna()
        mean = gap.mean() if len(gap) else np.nan
        half = student_t.ppf(0.975, len(gap) - 1) * gap.std() / np.sqrt(len(gap)) if len(gap) > 1 else np.nan
        lines.append({"claim": claim.words, "seeds": len(gap), "points": mean, "low": mean - half, "high": mean + half,
                      "holds": verdict(mean, half)})  # fmt: skip
    return pd.DataFrame(lines, columns=["claim", "seeds", "points", "low", "high", "holds"])


def verdict(mean: float, half: float) -> str:
    """Whether a claim holds.

    >>> verdict(2.0, 0.5), verdict(-2.0, 0.5), verdict(1.0, 3.0), verdict(1.0, float("nan")), verdict(float("nan"), 0)
    ('yes', 'no', 'open', 'yes (one seed)', 'not run')
    """
    if mean != mean:
        return "not run"
    if half != half:
        return f"{'yes' if mean > 0 else 'no'} (one seed)"
    return "yes" if mean > half else "no" if mean < -half else "open"


def write_results(results: pd.DataFrame, path: Path) -> list[Path]:
    """The tidy table as CSV and as Parquet beside it; each whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [path.with_suffix(".csv"), path.with_suffix(".parquet")]
    replace_file(files[0], lambda place: results.to_csv(place, index=False))
    replace_file(files[1], lambda place: results.to_parquet(place))
    return files


def commit() -> str:
    """The commit of the code, with a + where files differ from it; empty outside of a repository."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


# -- parts -----------------------------------------------------------------------------------------------------------


def _refused(cell: Cell) -> str | None:
    """Why a cell cannot be trained in its folder, or None."""
    try:
        finished(cell)
    except (SCNError, OSError, ValueError, KeyError) as error:
        return str(error) if isinstance(error, SCNError) else f"{cell.folder} is damaged ({error}): remove that folder."
    return None


def _about(table: Table, row: Row) -> dict:
    return {"table": table.name, "words": row.words, "recipe": row.recipe, "noise": row.noise,
            "noise_kind": row.noise_kind}  # fmt: skip


def _tidy(table: Table, row: Row, cell: Cell, summary: dict) -> dict:
    how = {name: getattr(cell.train, name) for name in ("seed", "arch", "epochs", "batch_size", "lr", "size")}
    data = {"data": cell.source.name, "limit": cell.source.limit}
    place = "/".join(cell.folder.parts[-2:])
    figures = {name: value for name, value in summary.items() if name not in ("recipe", "seed", "epochs")}
    return _about(table, row) | how | data | {"folder": place, "error": None} | figures | {"train": json.dumps(how)}


def _values(results: pd.DataFrame, words: str, figure: str) -> pd.Series:
    """A figure by seed."""
    if figure not in results or "seed" not in results:
        return pd.Series(dtype=float)
    own = results[(results["words"] == words) & results["seed"].notna()]
    return pd.to_numeric(own.set_index("seed")[figure], errors="coerce").dropna()
