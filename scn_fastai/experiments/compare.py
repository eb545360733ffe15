"""Several recipes with several seeds: runs on disk, in one process or several, resumable."""

import json
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.fit import TellEpochs, TrainSettings, train_faces
from scn_fastai.experiments.recipes import change_words, changed_since
from scn_fastai.training.checkpoint_file import sha256
from scn_fastai.training.run import finish_swap

KILLED = (
    "The system ended a training, most likely for want of memory: the same command with fewer --jobs goes on, every "
    "finished epoch is kept."
)

MADE_WITH = ("scn_fastai", "torch", "fastai")


@dataclass(frozen=True)
class Cell:
    """One run of a comparison."""

    recipe: str
    train: TrainSettings
    source: Source
    folder: Path

    def about(self) -> dict:
        """What tells this run from another: kept in the run's settings and compared before it is taken as done."""
        return {"data": self.source.as_dict(), "recipe": self.recipe, "train": asdict(self.train)}


def cells(recipes: list[str], seeds: list[int], train: TrainSettings, source: Source, out: Path) -> list[Cell]:
    """The grid of recipes and seeds, each once; seeds vary slowest, so that every recipe has a figure early."""
    return [
        Cell(name, replace(train, seed=seed), source, out / run_name(name, seed))
        for seed in dict.fromkeys(seeds)
        for name in dict.fromkeys(recipes)
    ]


def run_name(recipe: str, seed: int) -> str:
    """Name of a run's folder, without the letters that some systems do not allow.

    >>> run_name("paper:gamma=0.2", 1)
    'paper_gamma=0.2-seed1'
    """
    return f"{recipe.replace(':', '_')}-seed{seed}"


def best_jobs(n_cells: int, device: str = "auto") -> int:
    """How many runs at a time: one on a GPU, one a core on a CPU.

    On a CPU two runs of one thread each get more done than one run of two threads.
    """
    if torch.cuda.is_available() and device != "cpu":
        return 1
    return max(1, min(n_cells, os.cpu_count() or 1))


def jobs_of(asked: int | None, n_cells: int, device: str = "auto") -> int:
    """How many runs at a time: as many as were asked for, or `best_jobs`.

    Raises:
        SettingsError: fewer than one.
    """
    if asked is None:
        return best_jobs(n_cells, device)
    if asked < 1:
        raise SettingsError(f"{asked} runs at a time make no sense: --jobs is 1 or more.")
    return asked


def compare(
    grid: list[Cell],
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
    run: Callable[..., dict] | None = None,
) -> pd.DataFrame:
    """Run every cell that is not done yet; a row per run (see `summary_of`), in the order of the grid.

    A finished run is never run again, an interrupted one goes on from its last epoch.

    Args:
        grid: the cells.
        jobs: how many run at a time, each in a process of its own with its share of the cores.
        progress: called with epochs done, epochs in all, and a line about the run that moved.
        run: what trains a cell; None: `run_cell`.

    Raises:
        RunError: a folder holds a run with other settings, or the system ended a process.
        SettingsError: jobs is less than 1.
    """
    jobs = jobs_of(jobs, len(grid))
    done = {cell.folder: finished(cell) for cell in grid}
    left = [cell for cell in grid if done[cell.folder] is None]
    total = sum(cell.train.epochs for cell in grid)
    count = iter(range(total - sum(cell.train.epochs for cell in left) + 1, total + 1))

    def tell(line: str) -> None:
        if progress is not None:
            progress(next(count, total), total, line)

    run = run or run_cell
    for cell, summary in _one_by_one(left, tell, run) if jobs == 1 else _in_processes(left, jobs, tell, run):
        done[cell.folder] = summary
    return pd.DataFrame([done[cell.folder] for cell in grid])


def _one_by_one(left: list[Cell], tell: Callable[[str], None], run: Callable) -> Iterator[tuple[Cell, dict]]:
    for cell in left:
        yield cell, run(cell, tell)


def _in_processes(
    left: list[Cell], jobs: int, tell: Callable[[str], None], run: Callable
) -> Iterator[tuple[Cell, dict]]:
    """Each cell in a process of its own; what they tell comes through a queue. Who stops, stops all of them."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    context = multiprocessing.get_context("spawn")  # fork and torch's threads do not go together
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        others, queue = set(multiprocessing.active_children()), manager.Queue()
        futures = {pool.submit(run, cell, queue.put, threads): cell for cell in left}
        waiting = set(futures)
        try:
            while waiting:
                ended, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    tell(queue.get())
                for future in ended:
                    yield futures[future], future.result()
        except BaseException as error:  # an interrupt too: a pool would train all that waits before it lets go
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            if isinstance(error, BrokenProcessPool):
                raise RunError(KILLED) from error
            raise


def finished(cell: Cell) -> dict | None:
    """The summary of a run that is done, or None.

    Raises:
        RunError: the folder holds a run with other settings, or its recipe meant something else when it was made.
    """
    finish_swap(cell.folder)  # an earlier process may have been killed while it saved
    settings_file, summary_file = cell.folder / "settings.json", cell.folder / "summary.json"
    if not settings_file.exists():
        return None
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    for name, value in cell.about().items():
        stored = _completed(settings.get(name), value, cell)
        if stored != value:
            raise RunError(
                f"{cell.folder} holds a run with other settings ({_difference(name, stored, value)}): choose another "
                "--out, or remove that folder."
            )
    _check_backbone(settings, cell)
    changed = changed_since(settings, cell.recipe)
    if changed:
        words = change_words(changed)
        raise RunError(
            f"{cell.folder} holds a run of another version's recipe {cell.recipe!r} ({words}): choose another "
            "--out, or remove that folder."
        )
    return json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.exists() else None


def _check_backbone(settings: dict, cell: Cell) -> None:
    """The backbone's file must be the one that the run began with."""
    file, known = cell.train.pretrained, settings.get("pretrained", {}).get("sha256")
    if file and known and Path(file).is_file() and sha256(file) != known:
        raise RunError(
            f"{cell.folder} holds a run from another backbone than {file} is now: choose another --out, or remove that "
            "folder."
        )


def _difference(name: str, stored, value) -> str:
    """What two settings differ in, as far as it can be named.

    >>> _difference("train", {"epochs": 15, "lr": 0.1}, {"epochs": 1, "lr": 0.1})
    'train: epochs 15, now 1'
    """
    if not (isinstance(stored, dict) and isinstance(value, dict)):
        return name
    pairs = {key: (stored.get(key), value.get(key)) for key in stored | value}
    return f"{name}: " + change_words({key: pair for key, pair in pairs.items() if pair[0] != pair[1]})


def _completed(stored, value, cell: Cell):
    """Stored settings; a run of an earlier version lacks those that came later: it ran with their defaults."""
    if not isinstance(stored, dict):
        return stored
    defaults = {f.name: f.default for kind in (cell.train, cell.source) for f in fields(kind)}
    return {name: defaults[name] for name in value if name in defaults} | stored


def run_cell(cell: Cell, tell: Callable[[str], None], threads: int | None = None) -> dict:
    """Train one cell in this process, on so many threads; it goes on where an earlier try stopped."""
    if threads is not None:
        torch.set_num_threads(threads)
    callback = TellEpochs(tell, f"{cell.recipe} seed {cell.train.seed}")
    resume = (cell.folder / "settings.json").exists()
    faces = cell.source.load(cell.train.seed)
    about = {"data": cell.source.as_dict()} | ({} if resume else {"made_by": made_by()})
    return train_faces(faces, cell.recipe, cell.train, cell.folder, resume, [callback], bar=False, about=about)


def made_by() -> dict:
    """Versions and commit of the code that runs, with a + where files differ from the commit."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return {name: version(name) for name in MADE_WITH} | {"commit": commit}


def made_of(folder: Path) -> dict:
    """`made_by` of the code that began a run; texts without a letter where an earlier version did not note it."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    return settings.get("made_by", dict.fromkeys((*MADE_WITH, "commit"), ""))
