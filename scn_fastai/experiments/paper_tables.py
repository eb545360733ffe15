"""The paper's tables as experiments: which trainings stand behind each line, and what the paper printed there.

Figures are the paper's (K. Wang et al., CVPR 2020), in percent; FERPlus and RAF-DB report accuracy, AffectNet mean
class accuracy. Our lines stand beside them: `default`, and the plain network wherever the paper has its baseline.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scn_fastai.errors import SettingsError

COLUMNS = ("RAF-DB", "AffectNet", "FERPlus")


@dataclass(frozen=True)
class Line:
    """A line of a table: the recipe that is trained for it, the noise on its labels, and the paper's figures."""

    label: str
    recipe: str
    noise: float = 0.0
    paper: dict[str, float] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What tells it from the other lines: recipe and noise."""
        return f"{self.recipe}@{self.noise:g}"


@dataclass(frozen=True)
class Claim:
    """What the paper says of two lines: ``better`` has the higher accuracy. Both are keys of lines."""

    text: str
    better: str
    than: str


@dataclass(frozen=True)
class Experiment:
    """A table or a figure of the paper: its lines, and what the paper claims of them."""

    name: str
    title: str
    lines: tuple[Line, ...]
    claims: tuple[Claim, ...]
    varied: str | None = None  # the setting on the axis of a figure

    def __post_init__(self) -> None:
        """Every claim is about lines that are there, and no line stands twice."""
        keys = [line.key for line in self.lines]
        known = set(keys)
        if len(known) != len(keys) or any({c.better, c.than} - known for c in self.claims):
            raise SettingsError(f"The experiment {self.name!r} has a line twice, or a claim about a line it lacks.")


def _figures(*values: float | None) -> dict[str, float]:
    return {name: value for name, value in zip(COLUMNS, values, strict=False) if value is not None}


def _table2() -> Experiment:
    printed = {
        0.1: {"curriculumnet": (68.5,), "metacleaner": (68.45,), "plain": (61.43, 44.68, 77.15),
              "paper": (70.26, 45.23, 78.53)},
        0.2: {"curriculumnet": (61.23,), "metacleaner": (61.35,), "plain": (55.5, 41.0, 71.88),
              "paper": (63.50, 41.63, 72.46)},
        0.3: {"curriculumnet": (57.52,), "metacleaner": (58.89,), "plain": (46.81, 38.35, 68.54),
              "paper": (60.61, 39.42, 70.45)},
    }  # fmt: skip
    names = {"curriculumnet": "CurriculumNet", "metacleaner": "MetaCleaner", "plain": "baseline", "paper": "SCN"}
    lines, claims = [], []
    for noise, row in printed.items():
        lines += [Line(f"{names[r]}, {noise:.0%} noise", r, noise, _figures(*row[r])) for r in row]
        lines.append(Line(f"our default, {noise:.0%} noise", "default", noise))
        scn = f"paper@{noise:g}"
        claims += [
            Claim(f"SCN beats the {names[r]} at {noise:.0%} noise", scn, f"{r}@{noise:g}")
            for r in ("plain", "curriculumnet", "metacleaner")
        ]
    return Experiment("table2", "Table 2: synthetic label noise, from scratch", tuple(lines), tuple(claims))


def _table4() -> Experiment:
    lines = (
        Line("baseline", "plain", 0.0, _figures(72.0, 46.58, 82.4)),
        Line("SCN", "paper", 0.0, _figures(78.31, 47.28, 83.42)),
        Line("CurriculumNet", "curriculumnet", 0.0, _figures(74.67)),
        Line("MetaCleaner", "metacleaner", 0.0, _figures(77.18)),
        Line("our default", "default"),
    )
    claims = tuple(
        Claim(f"SCN beats {name} on the original labels", "paper@0", f"{recipe}@0")
        for name, recipe in (
            ("the baseline", "plain"),
            ("CurriculumNet", "curriculumnet"),
            ("MetaCleaner", "metacleaner"),
        )
    )
    return Experiment("table4", "Table 4: original labels, from scratch", lines, claims)


def _table5() -> Experiment:
    rows = (
        ("plain", "none", 72.00),
        ("relabel-only", "relabel", 71.25),
        ("rank-only", "rank", 74.15),
        ("weight-only", "weight", 76.26),
        ("weight-rank", "weight + rank", 76.57),
        ("paper", "weight + rank + relabel", 78.31),
    )
    lines = tuple(Line(label, recipe, 0.0, _figures(figure)) for recipe, label, figure in rows)
    claims = (
        Claim("a naive relabeling alone hurts", "plain@0", "relabel-only@0"),
        Claim("the rank loss alone helps", "rank-only@0", "plain@0"),
        Claim("weighting alone helps", "weight-only@0", "plain@0"),
        Claim("weighting helps more than ranking", "weight-only@0", "rank-only@0"),
        Claim("ranking adds to weighting", "weight-rank@0", "weight-only@0"),
        Claim("relabeling adds to both", "paper@0", "weight-rank@0"),
    )
    return Experiment("table5", "Table 5: the three modules", (*lines, Line("our default", "default")), claims)


def _varied(name: str, title: str, setting: str, values: Iterable[float], paper: dict[float, float]) -> Experiment:
    best = max(paper, key=paper.get) if paper else None
    lines = tuple(
        Line(f"{setting} = {v:g}", f"paper:{setting}={v:g}", 0.0, _figures(paper[v]) if v in paper else {})
        for v in values
    )
    claims = tuple(
        Claim(f"{setting} = {best:g} is better than {v:g}", f"paper:{setting}={best:g}@0", f"paper:{setting}={v:g}@0")
        for v in values
        if best is not None and v != best
    )
    return Experiment(name, title, (Line("baseline", "plain"), *lines), claims, setting)


def _figure5() -> Experiment:
    """Fig. 5 prints no figures beside its curves; what the text says of them is claimed."""
    margins1, margins2, betas = (0.0, 0.07, 0.15, 0.2, 0.3), (0.0, 0.1, 0.2, 0.3, 0.5), (0.5, 0.6, 0.7, 0.8, 0.9)
    lines = [Line("baseline", "plain")]
    lines += [Line(f"delta1 = {v:g}", f"paper:rank_margin={v:g}") for v in margins1]
    lines.append(Line("delta1 learned", "paper:learn_margin=true", 0.0, _figures(77.76)))
    lines += [Line(f"delta2 = {v:g}", f"paper:relabel_margin={v:g}") for v in margins2]
    lines += [Line(f"beta = {v:g}", f"paper:beta={v:g}") for v in betas]
    claims = [
        Claim(f"{word} = {best:g} is better than {v:g}", f"paper:{name}={best:g}@0", f"paper:{name}={v:g}@0")
        for word, name, best, values in (
            ("delta1", "rank_margin", 0.15, margins1),
            ("delta2", "relabel_margin", 0.2, margins2),
            ("beta", "beta", 0.7, betas),
        )
        for v in values
        if v != best
    ]
    fixed = "paper:rank_margin=0.15@0"
    claims.append(Claim("a fixed delta1 is better than a learned one", fixed, "paper:learn_margin=true@0"))
    return Experiment("fig5", "Fig. 5: delta1, delta2 and beta", tuple(lines), tuple(claims))


def _table7() -> Experiment:
    rows = (
        ("dlpcnn", "DLP-CNN", (84.22,)),
        ("ltnet", "IPA2LT", (86.77, 55.71)),
        ("gacnn", "gaCNN", (85.07,)),
        ("ran", "RAN", (86.90, 52.97, 88.55)),
        ("upsample", "Upsample", (None, 47.0)),
        ("weightedloss", "Weighted loss", (None, 58.0)),
        ("pld", "PLD", (None, None, 85.1)),
        ("paper", "SCN", (87.03, 60.23, 88.01)),
    )
    lines = tuple(Line(label, recipe, 0.0, _figures(*figures)) for recipe, label, figures in rows)
    claims = tuple(
        Claim(f"SCN beats {label}", "paper@0", f"{recipe}@0") for recipe, label, _ in rows if recipe != "paper"
    )
    lines = (Line("baseline", "plain"), *lines, Line("our default", "default"))
    return Experiment("table7", "Table 7: other methods", lines, claims)


_TABLE6 = {0.2: 76.12, 0.3: 76.35, 0.5: 78.31, 0.6: 76.57, 0.8: 71.75}
EXPERIMENTS = {
    e.name: e
    for e in (
        _table2(),
        _table4(),
        _table5(),
        _varied("table6", "Table 6: gamma, RR against WCE", "gamma", _TABLE6, _TABLE6),
        _figure5(),
        _table7(),
    )
}


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    >>> [line.label for line in experiment("table6").lines][:2]
    ['baseline', 'gamma = 0.2']
    """
    if name not in EXPERIMENTS:
        raise SettingsError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]
