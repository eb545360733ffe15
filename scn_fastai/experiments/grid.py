"""An experiment at work: its trainings as a grid that goes on where it stopped, and one tidy table of results."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.compare import Cell, compare, run_name
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.paper_tables import Experiment, Line
from scn_fastai.training.folders import replace_file

FORMAT = 1
RESULTS, ABOUT = "results.csv", "experiment.json"


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
            "2,000 rendered faces, small network, 16 epochs: a table within an hour on two cores",
        ),
        Size(
            "real",
            Source("ferplus", limit=4000),
            TrainSettings(arch="resnet18", epochs=15, batch_size=128, size=48),
            "4,000 FERPlus faces at 48 px, ResNet-18, 15 epochs: about four minutes a training on one core",
        ),
        Size(
            "full",
            Source("ferplus"),
            TrainSettings(arch="resnet18", epochs=40, batch_size=1024, size=224, lr=0.1),
            "all FERPlus faces at 224 px, ResNet-18, batches of 1,024, 40 epochs, as the paper: for GPUs",
        ),
    )
}


def experiment_cells(
    asked: Experiment, size: Size, seeds: list[int], out: Path, noise_kind: str = "symmetric"
) -> list[tuple[Line, Cell]]:
    """Line and training of every run of an experiment; seeds vary slowest, so that every line has a figure early."""
    return [(line, _cell(line, size, seed, out, noise_kind)) for seed in seeds for line in asked.lines]


def _cell(line: Line, size: Size, seed: int, out: Path, noise_kind: str) -> Cell:
    source = replace(size.source, noise=line.noise, noise_kind=noise_kind)
    name = run_name(line.recipe, seed)
    folder = out / (f"noise{100 * line.noise:g}-{name}" if line.noise else name)
    return Cell(line.recipe, replace(size.train, seed=seed), source, folder)


def run_experiment(
    asked: Experiment,
    size: Size,
    seeds: list[int],
    out: str | Path,
    jobs: int = 1,
    noise_kind: str = "symmetric",
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Train what is not trained yet, and write ``results.csv`` and ``experiment.json``; returns the table.

    A row per run: experiment, line, recipe, noise, seed, the figures of `summary_of`, the paper's figures, the data
    and training settings, and the version and commit that made it. A training that fails leaves a row with the
    reason in ``error``; the others go on.

    Raises:
        SettingsError: there is no seed.
        RunError: the folder holds an experiment of another name, size or version, or cannot be written.
    """
    if not seeds:
        raise SettingsError(
            "An experiment needs a seed or more, such as 0,1,2: with one seed nothing is known of chance."
        )
    out = Path(out)
    about = {"format": FORMAT, "experiment": asked.name, "size": size.name, "data": size.source.as_dict()}
    about |= {"noise_kind": noise_kind}
    _check_folder(out, about)
    pairs = experiment_cells(asked, size, seeds, out, noise_kind)
    out.mkdir(parents=True, exist_ok=True)
    _write_text(out / ABOUT, json.dumps(about | {"seeds": seeds, "claims": _claims(asked)}, indent=1))
    runs = compare([cell for _, cell in pairs], jobs, progress, keep_going=True)
    made, n = _made_by(), len(asked.lines)
    rows = [
        {"experiment": asked.name, "size": size.name, "order": number % n, **_of_line(line, cell), **run, **made}
        for number, ((line, cell), run) in enumerate(zip(pairs, runs.to_dict("records"), strict=True))
    ]
    table = pd.DataFrame(rows)
    _write_text(out / RESULTS, table.to_csv(index=False))
    return table


def read_results(folder: str | Path) -> tuple[pd.DataFrame, dict]:
    """Results and description of an experiment's folder.

    Raises:
        RunError: there is none, it is half written, or a newer version made it.
    """
    folder = Path(folder)
    if not (folder / ABOUT).exists():
        raise RunError(f"There is no experiment in {folder}: make one with `scn experiment table5 --out {folder}`.")
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder / ABOUT} is damaged: run the experiment again, finished trainings are kept."
        ) from error
    if about.get("format", 0) > FORMAT:
        raise RunError(f"{folder} was made by a newer version of scn_fastai: update it.")
    if not (folder / RESULTS).exists():
        raise RunError(f"{folder} has no results yet: the same `scn experiment` command goes on with it.")
    return pd.read_csv(folder / RESULTS), about


def _check_folder(out: Path, about: dict) -> None:
    """The folder is new, or holds the very experiment."""
    if not (out / ABOUT).exists():
        return
    try:
        there = json.loads((out / ABOUT).read_text(encoding="utf-8"))
    except ValueError:
        return  # the description was cut off; the runs' own settings are compared before they count as done
    if there.get("format", 0) > FORMAT:
        raise RunError(f"{out} was made by a newer version of scn_fastai: update it, or choose another --out.")
    for name in ("experiment", "size", "data", "noise_kind"):
        if there.get(name) != about[name]:
            raise RunError(
                f"{out} holds another experiment ({name} {there.get(name)!r}, not {about[name]!r}): choose another "
                "--out."
            )


def _claims(asked: Experiment) -> list[dict]:
    return [{"text": c.text, "better": c.better, "than": c.than} for c in asked.claims]


def _of_line(line: Line, cell: Cell) -> dict:
    """What a row says of its line, the paper's figures for it, its data and its training."""
    t, s = cell.train, cell.source
    row = {"line": line.label, "key": line.key, "noise": s.noise, "noise_kind": s.noise_kind if s.noise else ""}
    row |= {f"paper {column}": value for column, value in line.paper.items()}
    row |= {"data": s.name, "limit": s.limit, "arch": t.arch, "image_size": t.size, "planned_epochs": t.epochs}
    return row | {"batch_size": t.batch_size, "lr": t.lr, "wd": t.wd}


def _made_by() -> dict:
    """Versions and commit of the code that runs."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10
        )
        commit = answer.stdout.strip() if answer.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {
        "scn_fastai": version("scn_fastai"),
        "torch": version("torch"),
        "fastai": version("fastai"),
        "commit": commit,
    }


def _write_text(path: Path, text: str) -> None:
    try:
        replace_file(path, lambda place: Path(place).write_text(text, encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error.strerror}): make room or choose another --out.") from error
