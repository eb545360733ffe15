"""An experiment at work: its trainings as a grid that goes on where it stopped, and one tidy table of results."""

import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed

from scn_fastai.data.source import Source
from scn_fastai.detect.detectors import DETECTORS, table_of_scores, votes_of
from scn_fastai.errors import RunError, SCNError, SettingsError
from scn_fastai.experiments.compare import Cell, compare, finished, made_by, made_of, run_cell, run_name
from scn_fastai.experiments.evidence import More, run_scores
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.paper_tables import Experiment, Line
from scn_fastai.experiments.recipes import recipe
from scn_fastai.files import make_writable, replace_file, write_whole
from scn_fastai.training.run import Run

FORMAT = 1
# The columns of a row that tell its training from another.
TRAINING = ("recipe", "seed", "noise", "noise_kind", "data", "limit", "arch", "image_size", "planned_epochs")
TRAINING += ("batch_size", "lr", "wd")


@dataclass(frozen=True)
class Size:
    """How large an experiment is: the same for each of its trainings."""

    name: str
    source: Source
    train: TrainSettings
    about: str


SIZES = {
    size.name: size
    for size in (
        Size(
            "quick",
            Source("rendered", limit=2000),
            TrainSettings(arch="small", epochs=16, batch_size=64),
            "2,000 rendered faces, small network, 16 epochs",
        ),
        Size(
            "real",
            Source("ferplus", limit=4000),
            TrainSettings(arch="resnet18", epochs=15, batch_size=128, size=48),
            "4,000 FERPlus faces at 48 px, ResNet-18 from scratch, 15 epochs",
        ),
        # A training of the full size: 10.6e9 operations a face (torch's FlopCounterMode, forward and backward), 28,558
        # faces, 40 epochs, 12e15 in all; 0.2 hours at a sustained 20e12 a second. Counted, not measured.
        Size(
            "full",
            Source("ferplus"),
            TrainSettings(arch="resnet18", epochs=40, batch_size=1024, size=224, lr=0.1),
            "all FERPlus faces at 224 px, ResNet-18 from scratch, batches of 1,024, 40 epochs, as the paper: for GPUs, "
            "about 0.2 hours a training on one that does 20 TFLOP/s",
        ),
    )
}


def lines_at(asked: Experiment, size: Size) -> Experiment:
    """What a size can show of an experiment: photographs have no human-like noise, it is confusion there (`Source`)."""
    if size.source.name == "rendered":
        return asked
    return replace(asked, lines=tuple(line for line in asked.lines if line.noise_kind != "human"))


def experiment_cells(asked: Experiment, size: Size, seeds: list[int], out: Path) -> list[tuple[Line, Cell]]:
    """Line and training of every run of an experiment; seeds vary slowest, so that every line has a figure early.

    Experiments of one size share their folder, and lines that ask for the same training share that.
    """
    return [(line, _cell(line, size, seed, out)) for seed in seeds for line in asked.lines]


def _cell(line: Line, size: Size, seed: int, out: Path) -> Cell:
    source = replace(size.source, noise=line.noise, noise_kind=line.noise_kind)
    level = f"{line.noise_kind}{100 * line.noise:g}" if line.noise else line.labels or "clean"
    if line.labels is not None:
        if source.name != "ferplus":
            raise SettingsError(f"The faces of the size {size.name} have no labels of {line.labels}: use --size real.")
        source = replace(source, name=line.labels)
    return Cell(line.recipe, replace(size.train, seed=seed), source, out / level / run_name(line.recipe, seed))


def run_experiment(
    asked: Experiment,
    size: Size,
    seeds: list[int],
    out: str | Path,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
    known: str | Path | None = None,
) -> pd.DataFrame:
    """Train what is not trained yet, and write ``NAME.csv``, ``NAME.parquet`` and ``NAME.json``; returns the table.

    A row per run: experiment, line, recipe, noise, seed, the figures of `summary_of`, the paper's figures, the data
    and training settings, and the versions and the commit that made it. A training that fails, or whose folder holds
    another one, leaves a row with the reason in ``error``; the others go on.

    Args:
        asked: the experiment.
        size: data and training of its runs.
        seeds: one training of every line for each.
        out: folder of the runs and the results.
        jobs: how many run at a time.
        progress: see `compare`.
        known: folder with results of earlier experiments: a training that has a row there is taken from it, with the
            versions and the commit that made it.

    Raises:
        SettingsError: there is no seed, or the faces of the size do not have the labels that a line asks for.
        RunError: the results cannot be written, would lose trainings that stand there, or no training went well.
    """
    if not seeds:
        raise SettingsError("An experiment needs a seed; three or more, such as 0,1,2, tell of chance.")
    out = Path(out)
    make_writable(out)
    _keep_all(out, asked, seeds)
    pairs = experiment_cells(asked, size, seeds, out)
    cells = {cell.folder: cell for _, cell in pairs}
    done = {} if known is None else _taken(pairs, known_results(known, asked))
    made, n = made_by(), len(asked.lines)
    done |= {f: {"error": words} | made for f, c in cells.items() if f not in done and (words := _refused(c))}
    left = [cell for folder, cell in cells.items() if folder not in done]
    found = compare(left, jobs, progress, run=try_cell).to_dict("records") if left else []
    for cell, summary in zip(left, found, strict=True):
        failed = isinstance(summary.get("error"), str)
        done[cell.folder] = summary | (made if failed else made_of(cell.folder))
    rows = [
        {"experiment": asked.name, "size": size.name, "order": number % n, **done[cell.folder], **_of_line(line, cell)}
        | {"folder": cell.folder.relative_to(out).as_posix()}
        for number, (line, cell) in enumerate(pairs)
    ]
    table = pd.DataFrame(rows)
    if "error" in table and table["error"].notna().all():
        raise RunError(f"No training of {asked.name} went well, so nothing was written: {table['error'].iloc[0]}")
    about = {"format": FORMAT, "experiment": asked.name, "title": asked.title, "size": size.name, "about": size.about}
    write_results(out, asked.name, table, about | {"seeds": seeds, "claims": claims_of(asked)})
    return table


def _keep_all(out: Path, asked: Experiment, seeds: list[int]) -> None:
    """Refuse to write a table over one that has more: what ``known`` gave to it lies nowhere else."""
    if not (out / f"{asked.name}.csv").exists() or not (out / f"{asked.name}.json").exists():
        return
    there = read_results(out, asked.name)[0]
    there = there[there["error"].isna()] if "error" in there else there
    left_out = there[~(there["line"].isin([line.label for line in asked.lines]) & there["seed"].isin(seeds))]
    if len(left_out):
        row = left_out.iloc[0]
        raise RunError(
            f"{out / asked.name}.csv holds {len(left_out)} trainings that this command leaves out and would lose, such "
            f"as {row['line']!r} with seed {row['seed']}: ask for them too, or choose another --out."
        )


def try_cell(cell: Cell, tell: Callable[[str], None], threads: int | None = None) -> dict:
    """`run_cell`, but what goes wrong becomes a figure: ``error``, its sentence. The traceback lies beside the run."""
    try:
        return run_cell(cell, tell, threads)
    except Exception as error:  # anything: the other trainings shall run
        sentence = str(error).splitlines()[0] if str(error) else type(error).__name__
        if not isinstance(error, SCNError):
            log = cell.folder.with_name(f"{cell.folder.name}.error.txt")
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc(), encoding="utf-8")
        return {"recipe": cell.recipe, "seed": cell.train.seed, "error": sentence}


def known_results(folder: str | Path, asked: Experiment) -> pd.DataFrame:
    """The rows in a folder's results that an experiment can take over: those of trainings that ended well.

    Where every detector is asked about every run, only its own rows will do: their detectors stand beside them.

    Raises:
        RunError: no experiment lies there, or one that cannot be read.
    """
    names = experiments_in(folder)
    if not names:
        raise RunError(
            f"{folder} holds no results of an experiment: --known names a folder with NAME.csv and NAME.json."
        )
    tables = [read_results(folder, name)[0] for name in names if name == asked.name or not asked.detectors]
    tables = [table for table in tables if set(TRAINING) <= set(table)]  # Table 3 has two trainings a row
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(TRAINING))
    return table[table["error"].isna()] if "error" in table else table


def _taken(pairs: list[tuple[Line, Cell]], known: pd.DataFrame) -> dict[Path, dict]:
    """What is known of each cell that has a row: the summary of its training, and what made it."""
    rows = {_training(row): row for row in known.to_dict("records")}
    own = {"experiment", "size", "order", "line", "folder", "error"} | {
        name for name in known if name.startswith("paper ")
    }
    found = {cell.folder: rows.get(_training(_of_line(line, cell))) for line, cell in pairs}
    return {folder: {n: v for n, v in row.items() if n not in own} for folder, row in found.items() if row is not None}


def _training(row: dict) -> tuple:
    """What tells a training from another; an empty cell of a CSV (NaN) is the empty text that it was."""
    return tuple("" if pd.isna(row[name]) else row[name] for name in TRAINING)


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
    # A run that was taken over has no summary here, whatever was begun here.
    here = [known is None or (out / row["folder"] / "summary.json").exists() for row in rows]
    tasks = (delayed(_judge)(row, out, more, n_boot) for row, is_here in zip(rows, here, strict=True) if is_here)
    judged, parts = Parallel(jobs, return_as="generator")(tasks), []
    for row, is_here in zip(rows, here, strict=True):
        stored = None if is_here else known[(known["line"] == row["line"]) & (known["seed"] == row["seed"])]
        parts.append(next(judged) if is_here else stored)
        if progress is not None:
            progress(len(parts), len(rows), f"detectors, {row['line']}")
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _judge(row: dict, out: Path, more: More, n_boot: int) -> pd.DataFrame:
    """Every detector on the run of a row; one that cannot be read costs its own rows only."""
    more = more if row["recipe"] == "plain" else replace(more, folds=0, cyclic=0)
    about = {name: row[name] for name in ("line", "recipe", "noise_kind", "seed")}
    about |= {"folds": more.folds, "cyclic": more.cyclic}
    try:
        run = Run.load(out / row["folder"])
        scores, problems = run_scores(run, more)
        given, truth = run.ledger.given.cpu().numpy(), run.truth.numpy()
        table = table_of_scores(scores, problems, given, truth, run.classes, votes_of(run), n_boot)
    except SCNError as error:
        table = pd.DataFrame({"detector": list(DETECTORS), "auroc": float("nan"), "problem": str(error)})
    return table.assign(**about)


def experiments_in(folder: str | Path) -> list[str]:
    """Names of the experiments whose description lies in a folder."""
    return sorted(path.stem for path in Path(folder).glob("*.json") if '"claims"' in path.read_text(encoding="utf-8"))


def read_results(folder: str | Path, name: str) -> tuple[pd.DataFrame, dict]:
    """Results and description of an experiment in a folder.

    Raises:
        RunError: there is none, it is half written, or a newer version made it.
    """
    about_file, results = Path(folder) / f"{name}.json", Path(folder) / f"{name}.csv"
    if not about_file.exists():
        raise RunError(f"There is no experiment {name} in {folder}: `scn experiment {name} --out {folder}` makes it.")
    try:
        about = json.loads(about_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{about_file} is damaged: run the experiment again, its trainings are kept.") from error
    if about.get("format", 0) > FORMAT:
        raise RunError(f"{about_file} was made by a newer version of scn_fastai: update it.")
    if not results.exists():
        raise RunError(f"{results} is missing: run the experiment again, its trainings are kept.")
    return pd.read_csv(results), about


def with_settings(results: pd.DataFrame) -> pd.DataFrame:
    """Results with the SCN settings of each row's recipe as columns, as `runs_in` has them: for the pictures of runs.

    A recipe of another version, which this one does not know, has none of them.

    >>> with_settings(pd.DataFrame({"recipe": ["plain", "paper:gamma=0.2"]}))[["rank", "gamma"]].values.tolist()
    [[False, 0.5], [True, 0.2]]
    """
    known = {name: _settings_of(name) for name in results["recipe"].unique()}
    settings = pd.DataFrame([known[name] for name in results["recipe"]], results.index)
    return results.join(settings[settings.columns.difference(results.columns, sort=False)])


def _settings_of(name: str) -> dict:
    try:
        return asdict(recipe(name).settings)
    except SettingsError:
        return {}


def _refused(cell: Cell) -> str | None:
    """Why a cell cannot be trained in its folder, or None."""
    try:
        finished(cell)
    except (SCNError, OSError, ValueError, KeyError) as error:
        return str(error) if isinstance(error, SCNError) else f"{cell.folder} is damaged ({error}): remove that folder."
    return None


def claims_of(asked: Experiment) -> list[dict]:
    """An experiment's claims as plain values."""
    return [{"text": c.text, "better": c.better, "than": c.than} for c in asked.claims]


def _of_line(line: Line, cell: Cell) -> dict:
    """What a row says of its line, the paper's figures for it, its data and its training."""
    t, s = cell.train, cell.source
    row = {"line": line.label, "recipe": line.recipe, "seed": t.seed}
    row |= {"noise": s.noise, "noise_kind": s.noise_kind if s.noise else ""}
    row |= {f"paper {column}": value for column, value in line.paper.items()}
    row |= {"data": s.name, "limit": s.limit, "arch": t.arch, "image_size": t.size, "planned_epochs": t.epochs}
    return row | {"batch_size": t.batch_size, "lr": t.lr, "wd": t.wd}


def write_results(out: Path, name: str, table: pd.DataFrame, about: dict) -> None:
    """Write a table of results as ``NAME.csv`` and ``NAME.parquet``, and its description as ``NAME.json``.

    Raises:
        RunError: they cannot be written.
    """
    text = table.assign(error=table["error"].astype("string")) if "error" in table else table
    try:
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / f"{name}.csv", lambda place: table.to_csv(place, index=False))
        replace_file(out / f"{name}.parquet", text.to_parquet)
        described = json.dumps(about, indent=1)
        write_whole(out / f"{name}.json", described)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error.strerror}): make room or choose another --out.") from error
