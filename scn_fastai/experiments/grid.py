"""An experiment at work: its trainings as a grid that goes on where it stopped, and one tidy table of results."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SCNError, SettingsError
from scn_fastai.experiments.compare import Cell, compare, finished, made_by, made_of, run_cell, run_name
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.paper_tables import Experiment, Line
from scn_fastai.experiments.results import (
    FORMAT,
    Known,
    good_rows,
    known_results,
    settings_id,
    settings_of_run,
    training_of,
    write_results,
)
from scn_fastai.files import make_writable


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
    tell: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train what is not trained yet, and write ``NAME.csv``, ``NAME.parquet`` and ``NAME.json``; returns the table.

    A row per run: experiment, line, recipe, noise, seed, the figures of `summary_of`, the paper's figures, the data
    and training settings, and the versions and the commit that made it; ``settings`` names what stood behind the
    recipe's name then, the description has it. A training that fails, or whose folder holds another one, leaves a row
    with the reason in ``error``; the others go on. If it went well before, its row stays.

    Args:
        asked: the experiment.
        size: data and training of its runs.
        seeds: one training of every line for each.
        out: folder of the runs and the results.
        jobs: how many run at a time.
        progress: see `compare`.
        known: folder with results of earlier experiments: a training that is not finished in ``out`` and has a row
            there is taken from it, with the versions and the commit that made it, if its recipe means the same today.
        tell: called with a line about what was taken over, and what could not be.

    Raises:
        SettingsError: there is no seed, or the faces of the size do not have the labels that a line asks for.
        RunError: the results cannot be written, would lose trainings that stand there, or no training went well.
    """
    if not seeds:
        raise SettingsError("An experiment needs a seed; three or more, such as 0,1,2, tell of chance.")
    out, tell = Path(out), tell or (lambda line: None)
    make_writable(out)
    there, file = good_rows(out, asked.name), out / f"{asked.name}.csv"
    _keep_all(there, asked, seeds, file)
    pairs = experiment_cells(asked, size, seeds, out)
    done = _made_before(pairs, [] if known is None else known_results(known, asked), tell)
    _keep_good(there, pairs, done, file, tell)  # now, and not after hours of training that could not be written
    done |= _train({cell.folder: cell for _, cell in pairs if cell.folder not in done}, jobs, progress)
    _keep_good(there, pairs, done, file, tell)
    rows = [
        {"experiment": asked.name, "size": size.name, "order": number % len(asked.lines)}
        | {**done[cell.folder].summary(), **_of_line(line, cell), "folder": cell.folder.relative_to(out).as_posix()}
        for number, (line, cell) in enumerate(pairs)
    ]
    table, settings = pd.DataFrame(rows), [one.settings for one in done.values() if one.settings is not None]
    if "error" in table and table["error"].notna().all():
        raise RunError(f"No training of {asked.name} went well, so nothing was written: {table['error'].iloc[0]}")
    about = {"format": FORMAT, "experiment": asked.name, "title": asked.title, "size": size.name, "about": size.about}
    about |= {"seeds": seeds, "claims": claims_of(asked), "settings": {settings_id(one): one for one in settings}}
    write_results(out, asked.name, table, about)
    return table


def _keep_all(there: list[Known], asked: Experiment, seeds: list[int], file: Path) -> None:
    """Refuse to write a table over one that has more: what ``known`` gave to it lies nowhere else."""
    wanted = {(line.label, seed) for line in asked.lines for seed in seeds}
    left_out = [known.row for known in there if (known.row["line"], known.row["seed"]) not in wanted]
    if left_out:
        row = left_out[0]
        raise RunError(
            f"{file} holds {len(left_out)} trainings that this command leaves out and would lose, such "
            f"as {row['line']!r} with seed {row['seed']}: ask for them too, or choose another --out."
        )


def _keep_good(
    there: list[Known], pairs: list[tuple[Line, Cell]], done: dict[Path, Known], file: Path, tell: Callable
) -> None:
    """Where a training fails that has a good row already, that row stays, if it is of the same training; in place.

    Raises:
        RunError: it is of another one, so that it could neither stay nor be had again.
    """
    same = {known.training(): known for known in there}
    lines = {(known.row["line"], known.row["seed"]) for known in there}
    for line, cell in pairs:
        error = done[cell.folder].row.get("error") if cell.folder in done else None
        if error is None or (line.label, cell.train.seed) not in lines:
            continue
        earlier = same.get(training_of(_of_line(line, cell)))
        if earlier is None or not earlier.means_the_same():
            raise RunError(
                f"{file} holds a result of {line.label!r} with seed {cell.train.seed} that would be lost, for this "
                f"training fails ({error}): choose another --out."
            )
        done[cell.folder] = earlier
        tell(f"{line.label}, seed {cell.train.seed}: the result that was there stays, for its training fails ({error})")


def _made_before(pairs: list[tuple[Line, Cell]], known: list[Known], tell: Callable) -> dict[Path, Known]:
    """What need not be trained: it is known from elsewhere and not finished here, or its folder holds another run."""
    rows, done, others, made = {}, {}, set(), made_by()
    for one in known:
        rows.setdefault(one.training(), []).append(one)
    for line, cell in pairs:
        is_done, words = _looked_up(cell)
        there = [] if is_done else rows.get(training_of(_of_line(line, cell)), [])
        same = [one for one in there if one.means_the_same()]
        if words is not None:
            done[cell.folder] = Known({"error": words} | made, None)
        elif same:
            done[cell.folder] = same[0]
        elif there:
            others.add((line.recipe, cell.folder))
    if others:
        names = ", ".join(sorted({name for name, _ in others}))
        tell(f"{len(others)} known trainings ({names}) were not made with today's settings, or do not tell: made anew.")
    return done


def _train(left: dict[Path, Cell], jobs: int, progress: Callable | None) -> dict[Path, Known]:
    """Train the cells that are left, and say what made them."""
    found = compare(list(left.values()), jobs, progress, run=try_cell).to_dict("records") if left else []
    done, made = {}, made_by()
    for folder, summary in zip(left, found, strict=True):
        if isinstance(summary.get("error"), str):
            done[folder] = Known(summary | made, None)
        else:
            settings = settings_of_run(folder)
            done[folder] = Known(summary | made_of(folder) | {"settings": settings_id(settings)}, settings)
    return done


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


def _looked_up(cell: Cell) -> tuple[bool, str | None]:
    """Whether a cell is finished in its folder, and why it cannot be trained there, or None."""
    try:
        return finished(cell) is not None, None
    except (SCNError, OSError, ValueError, KeyError) as error:
        words = (
            str(error) if isinstance(error, SCNError) else f"{cell.folder} is damaged ({error}): remove that folder."
        )
        return False, words


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
