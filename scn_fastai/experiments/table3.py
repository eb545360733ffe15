"""The paper's Table 3 on stand-ins: pretraining on half wrong labels, then fine-tuning, each with and without SCN."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.compare import Cell, compare, made_of, run_name
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.grid import claims_of
from scn_fastai.experiments.paper_tables import COLUMNS, Claim, Experiment, Line
from scn_fastai.experiments.pretrain import SCN, WEB_NOISE, Task, pretrain_cell, save_pretrained, scn_began
from scn_fastai.experiments.results import FORMAT, write_results
from scn_fastai.training.pretrained import backbone_card
from scn_fastai.training.run import Run

TARGET_NOISE = 0.1  # share of wrong labels in fine-tuning; the paper does not count them


@dataclass(frozen=True)
class Row(Line):
    """A line of Table 3; ``recipe`` is that of the fine-tuning. pretraining: by name; None: from scratch."""

    pretraining: str | None = None


def _row(label: str, pretraining: str | None, recipe: str, *printed: float) -> Row:
    figures = dict(zip(COLUMNS, printed, strict=True))
    return Row(label, recipe, TARGET_NOISE, figures, "human", pretraining=pretraining)


TABLE3 = Experiment(
    "table3",
    "Table 3: SCN on noisy labels for pretraining",
    (
        _row("scratch, plain", None, "plain", 72.00, 46.58, 82.4),
        _row("web, plain", "web", "plain", 78.97, 56.43, 84.20),
        _row("web, SCN", "web", SCN, 80.42, 57.23, 85.13),
        _row("web with SCN, SCN", "web-scn", SCN, 82.45, 58.45, 85.97),
    ),
    (
        Claim("pretraining on noisy labels helps", "web, plain", "scratch, plain"),
        Claim("fine-tuning with SCN helps", "web, SCN", "web, plain"),
        Claim("pretraining with SCN helps", "web with SCN, SCN", "web, SCN"),
    ),
)


@dataclass(frozen=True)
class Size:
    """How long a Table 3 takes: faces and settings of its two stages."""

    pretrain_faces: int
    target_faces: int
    pretrain: TrainSettings
    finetune: TrainSettings

    def __str__(self) -> str:
        first, second = self.pretrain, self.finetune
        return (
            f"rendered faces, network {first.arch}: {self.pretrain_faces:,} with {WEB_NOISE:.0%} wrong labels to "
            f"pretrain on ({first.epochs} epochs), {self.target_faces:,} of other people with {TARGET_NOISE:.0%} to "
            f"fine-tune on ({second.epochs} epochs)"
        )


_SMALL = TrainSettings(arch="small", batch_size=64, half=False)
SIZES = {
    "tiny": Size(600, 400, replace(_SMALL, epochs=10), replace(_SMALL, epochs=10, lr=0.02)),  # shows that it runs
    "quick": Size(2000, 1000, replace(_SMALL, epochs=30), replace(_SMALL, epochs=30, lr=0.02)),
    "full": Size(4400, 1800, TrainSettings(epochs=40), TrainSettings(epochs=40, lr=0.02)),
}


def table3(
    out: str | Path,
    seeds: list[int],
    size: str | Size = "quick",
    jobs: int = 1,
    path: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> pd.DataFrame:
    """Pretrain and fine-tune the four rows with every seed, and write ``table3.csv``, ``.parquet`` and ``.json``.

    A row per fine-tuning: line, pretraining, the figures of `summary_of`, the paper's figures, the epoch in which SCN
    set to work (``scn_began``; none: it was too short for it), the same of its pretraining, and the versions that made
    it. A finished run is never run again; an interrupted one goes on from its last epoch.

    Args:
        out: folder for the runs, their backbones and the table.
        seeds: of the weights, the batches and the wrong labels.
        size: quick, full or tiny; or a `Size`.
        jobs: how many trainings at a time.
        path: where the rendered faces lie.
        progress: called with epochs done, epochs in all (of one stage), and a line about the run that moved.

    Raises:
        SettingsError: there is no such size, or no seed.
        RunError: a folder holds a run with other settings, or the results cannot be written.
    """
    out, chosen = Path(out), _size(size)
    if not seeds:
        raise SettingsError("Table 3 needs a seed; three or more, such as 0,1,2, tell of chance.")
    first = pretraining_cells(out, seeds, chosen, path)
    compare(list(first.values()), jobs, progress)
    backbones = {key: save_pretrained(cell, f"scn table3 --out {out.name}") for key, cell in first.items()}
    pairs = [(row, finetuning_cell(row, seed, backbones, out, chosen, path)) for seed in seeds for row in TABLE3.lines]
    summaries = compare([cell for _, cell in pairs], jobs, progress).to_dict("records")
    table = pd.DataFrame(
        [
            _of_row(row, cell, summary, backbones.get((row.pretraining, cell.train.seed))) | made_of(cell.folder)
            for (row, cell), summary in zip(pairs, summaries, strict=True)
        ]
    )
    about = {"format": FORMAT, "experiment": TABLE3.name, "title": TABLE3.title, "about": str(chosen), "seeds": seeds}
    about |= {"size": size if isinstance(size, str) else "own", "settings": asdict(chosen), "claims": claims_of(TABLE3)}
    write_results(out, TABLE3.name, table, about)
    return table


def pretraining_cells(out: Path, seeds: list[int], size: Size, path: str | None = None) -> dict[tuple[str, int], Cell]:
    """The pretrainings that the rows need, by name and seed."""
    names = dict.fromkeys(row.pretraining for row in TABLE3.lines if row.pretraining)
    return {
        (name, seed): pretrain_cell(
            name, replace(size.pretrain, seed=seed), out / f"pretrain-{name}-seed{seed}", size.pretrain_faces, path
        )
        for seed in seeds
        for name in names
    }


def finetuning_cell(
    row: Row, seed: int, backbones: dict[tuple[str, int], Path], out: Path, size: Size, path: str | None = None
) -> Cell:
    """The fine-tuning of a row, from the backbone of the same seed."""
    start = backbones.get((row.pretraining, seed))
    train = replace(size.finetune, seed=seed, pretrained=None if start is None else str(start))
    folder = out / f"{row.pretraining or 'scratch'}-{run_name(row.recipe, seed)}"
    return Cell(row.recipe, train, Task("target", size.target_faces, row.noise, path), folder)


def _of_row(row: Row, cell: Cell, summary: dict, backbone: Path | None) -> dict:
    """What the table says of one fine-tuning."""
    values = {"line": row.label, "order": TABLE3.lines.index(row), "pretraining": row.pretraining or "scratch"}
    values |= summary | {"scn_began": scn_began(Run.load(cell.folder))}
    figures = {} if backbone is None else backbone_card(backbone)["figures"]
    for name in ("accuracy_last", "scn_began", "seconds"):
        values[f"pretraining_{name}"] = figures.get(name)
    return values | {f"paper {column}": value for column, value in row.paper.items()} | {"arch": cell.train.arch}


def _size(size: str | Size) -> Size:
    if isinstance(size, Size):
        return size
    if size not in SIZES:
        raise SettingsError(f"There is no size {size!r} of Table 3; there are: {', '.join(SIZES)}.")
    return SIZES[size]
