"""The paper's tables as grids of trainings: which runs a table needs, what the paper printed, what it claims."""

from dataclasses import dataclass, replace
from pathlib import Path

from scn_fastai.data.source import Source
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.compare import Cell, run_name
from scn_fastai.experiments.fit import TrainSettings
from scn_fastai.experiments.recipes import all_recipes


@dataclass(frozen=True)
class Row:
    """A line of a table: a recipe on labels with so much noise, and the paper's figure in % (None: it has none)."""

    words: str
    recipe: str
    noise: float = 0.0
    printed: float | None = None
    noise_kind: str = "symmetric"


@dataclass(frozen=True)
class Claim:
    """That one row is better than another, in words."""

    words: str
    better: str  # words of a row
    worse: str


@dataclass(frozen=True)
class Table:
    """A table of the paper, or of ours."""

    name: str
    title: str
    column: str  # of the paper, that `printed` is from
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Size:
    """On which faces and how long a table is trained."""

    source: Source
    train: TrainSettings
    about: str


SIZES = {
    "quick": Size(
        Source("rendered", limit=2000),
        TrainSettings(arch="small", epochs=24, batch_size=64),
        "2,000 rendered faces, a small network, 24 epochs",
    ),
    "full": Size(
        Source("ferplus", limit=10000),
        TrainSettings(arch="resnet18", size=48, epochs=25),
        "10,000 faces of FERPlus, ResNet-18 from scratch, 25 epochs",
    ),
}
RAF, FERPLUS = "RAF-DB, from scratch", "FERPlus, from scratch"

_NOISY = {  # Table 2, FERPlus: plain and SCN
    0.1: (77.15, 78.53),
    0.2: (71.88, 72.46),
    0.3: (68.54, 70.45),
}
_TABLE2 = tuple(
    row
    for noise, (plain, scn) in _NOISY.items()
    for row in (
        Row(f"plain, {noise:.0%}", "plain", noise, plain),
        Row(f"SCN (paper), {noise:.0%}", "paper", noise, scn),
        Row(f"default recipe, {noise:.0%}", "default", noise),
        Row(f"CurriculumNet, {noise:.0%}", "curriculumnet", noise),
        Row(f"MetaCleaner, {noise:.0%}", "metacleaner", noise),
    )
)
_TABLE5 = (
    Row("none", "plain", printed=72.00),
    Row("relabel", "relabel-only", printed=71.25),
    Row("rank", "rank-only", printed=74.15),
    Row("weight", "weight-only", printed=76.26),
    Row("weight + rank", "weight-rank", printed=76.57),
    Row("weight + rank + relabel", "paper", printed=78.31),
    Row("default recipe", "default"),
)
_TABLE6 = {0.2: 76.12, 0.3: 76.35, 0.5: 78.31, 0.6: 76.57, 0.8: 71.75}
_FIG5 = {"rank_margin": (0, 0.15, 0.3), "relabel_margin": (0, 0.2, 0.5), "beta": (0.5, 0.7, 0.9)}
_KINDS = ("symmetric", "confusion", "human")


def _scn(setting: str, value: float) -> str:
    """The recipe of the paper with one setting changed; the default value is the paper itself, so that it runs once.

    >>> _scn("gamma", 0.2), _scn("gamma", 0.5)
    ('paper:gamma=0.2', 'paper')
    """
    usual = {"gamma": 0.5, "rank_margin": 0.15, "relabel_margin": 0.2, "beta": 0.7}
    return "paper" if usual[setting] == value else f"paper:{setting}={value}"


TABLES = {
    table.name: table
    for table in (
        Table("table2", "Synthetic noise", FERPLUS, _TABLE2,
              tuple(Claim(f"SCN is better than plain at {n:.0%} noise", f"SCN (paper), {n:.0%}", f"plain, {n:.0%}")
                    for n in _NOISY)),
        Table("table4", "Labels as they are", FERPLUS,
              (Row("plain", "plain", printed=82.4), Row("SCN (paper)", "paper", printed=83.42),
               Row("default recipe", "default"), Row("CurriculumNet", "curriculumnet"),
               Row("MetaCleaner", "metacleaner")),
              (Claim("SCN is better than plain", "SCN (paper)", "plain"),)),
        Table("table5", "The three modules", RAF, _TABLE5,
              (Claim("relabeling alone harms", "none", "relabel"), Claim("rank alone helps", "rank", "none"),
               Claim("weighting alone helps", "weight", "none"),
               Claim("rank adds to weighting", "weight + rank", "weight"),
               Claim("relabeling adds to both", "weight + rank + relabel", "weight + rank"))),
        Table("table6", "gamma", RAF, tuple(Row(f"gamma {g}", _scn("gamma", g), printed=p) for g, p in _TABLE6.items()),
              (Claim("0.5 is better than 0.2", "gamma 0.5", "gamma 0.2"),
               Claim("0.5 is better than 0.8", "gamma 0.5", "gamma 0.8"))),
        Table("fig5", "Both margins and beta", RAF,
              tuple(Row(f"{name} {value}", _scn(name, value)) for name, values in _FIG5.items() for value in values),
              tuple(Claim(f"{name} {values[1]} is better than {value}", f"{name} {values[1]}", f"{name} {value}")
                    for name, values in _FIG5.items() for value in (values[0], values[2]))),
        Table("detect", "Who finds wrong labels", "none",
              tuple(Row(f"{recipe}, {kind} 30%", recipe, 0.3, None, kind) for kind in _KINDS
                    for recipe in ("plain", "default")), ()),
    )
}  # fmt: skip


def table_by_name(name: str) -> Table:
    """The table of that name.

    Raises:
        SettingsError: there is none.
    """
    if name not in TABLES:
        raise SettingsError(f"There is no table {name!r}; there are: {', '.join(TABLES)}.")
    return TABLES[name]


def known_rows(table: Table) -> tuple[list[Row], list[Row]]:
    """The rows whose recipe is there, and those whose recipe this version does not have."""
    names = all_recipes()
    there = [row for row in table.rows if row.recipe.split(":")[0] in names]
    return there, [row for row in table.rows if row not in there]


def table_cells(rows: list[Row], seeds: list[int], size: Size, out: Path) -> dict[Row, list[Cell]]:
    """The trainings of each row, a seed each; rows that ask for the same training share its folder."""
    cells = {}
    for row in rows:
        source = replace(size.source, noise=row.noise, noise_kind=row.noise_kind)
        level = f"{row.noise_kind}{100 * row.noise:.0f}" if row.noise else "clean"
        cells[row] = [
            Cell(row.recipe, replace(size.train, seed=seed), source, Path(out) / level / run_name(row.recipe, seed))
            for seed in seeds
        ]
    return cells
