"""The paper's tables as experiments: which trainings stand behind each line, and what the paper printed there.

Figures are the paper's (K. Wang et al., CVPR 2020), in percent; FERPlus and RAF-DB report accuracy, AffectNet mean
class accuracy. Our lines stand beside them: `default`, and the plain network wherever the paper has its baseline.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from scn_fastai.errors import SettingsError

COLUMNS = ("RAF-DB", "AffectNet", "FERPlus")
_EARLY = "our default, ELR in the first third", "default:early_learning=3"
_OWN = {"gamma": 0.5, "rank_margin": 0.15, "relabel_margin": 0.2, "beta": 0.7}  # the paper's settings


@dataclass(frozen=True)
class Line:
    """A line of a table: the recipe that is trained for it, the noise on its labels, and the paper's figures.

    ``labels`` names a data set with the same faces and other labels (``fer2013``), which then are the noise.
    """

    label: str
    recipe: str
    noise: float = 0.0
    paper: dict[str, float] = field(default_factory=dict)
    noise_kind: str = "symmetric"
    labels: str | None = None


@dataclass(frozen=True)
class Claim:
    """What the paper says of two lines: ``better`` has the higher accuracy. Both are labels of lines."""

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
    detectors: bool = False  # whether every detector is asked about every run

    def __post_init__(self) -> None:
        """Every claim is about lines that are there, and no line stands twice."""
        labels = [line.label for line in self.lines]
        known = set(labels)
        if len(known) != len(labels) or any({c.better, c.than} - known for c in self.claims):
            raise SettingsError(f"The experiment {self.name!r} has a line twice, or a claim about a line it lacks.")


def _figures(*values: float | None) -> dict[str, float]:
    return {name: value for name, value in zip(COLUMNS, values, strict=False) if value is not None}


def _table2() -> Experiment:
    """The paper's evenly flipped labels; below them, where faces are rendered, the same shares as people err."""
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
        claims += [
            Claim(
                f"SCN beats {names[r]} at {noise:.0%} noise",
                f"SCN, {noise:.0%} noise",
                f"{names[r]}, {noise:.0%} noise",
            )
            for r in ("plain", "curriculumnet", "metacleaner")
        ]
    trained = {"plain": "baseline", "paper": "SCN", "default": "our default"}
    lines += [
        Line(f"{name}, {noise:.0%} human-like noise", recipe, noise, {}, "human")
        for noise in printed
        for recipe, name in trained.items()
    ]
    return Experiment("table2", "Table 2: synthetic label noise, from scratch", tuple(lines), tuple(claims))


def _table4() -> Experiment:
    lines = (
        Line("baseline", "plain", 0.0, _figures(72.0, 46.58, 82.4)),
        Line("SCN", "paper", 0.0, _figures(78.31, 47.28, 83.42)),
        Line("CurriculumNet", "curriculumnet", 0.0, _figures(74.67)),
        Line("MetaCleaner", "metacleaner", 0.0, _figures(77.18)),
        Line("our default", "default"),
        Line(*_EARLY),
    )
    others = ("baseline", "CurriculumNet", "MetaCleaner")
    claims = tuple(Claim(f"SCN beats {other} on the original labels", "SCN", other) for other in others)
    claims += (Claim("with ELR in the first third our default is better than baseline", _EARLY[0], "baseline"),)
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
        Claim("a naive relabeling alone hurts", "none", "relabel"),
        Claim("the rank loss alone helps", "rank", "none"),
        Claim("weighting alone helps", "weight", "none"),
        Claim("weighting helps more than ranking", "weight", "rank"),
        Claim("ranking adds to weighting", "weight + rank", "weight"),
        Claim("relabeling adds to both", "weight + rank + relabel", "weight + rank"),
    )
    return Experiment("table5", "Table 5: the three modules", (*lines, Line("our default", "default")), claims)


def _scn(setting: str, value: float) -> str:
    """The recipe `paper` with one setting changed; with the paper's own value it is `paper`, which then runs once.

    >>> _scn("gamma", 0.2), _scn("gamma", 0.5)
    ('paper:gamma=0.2', 'paper')
    """
    return "paper" if _OWN[setting] == value else f"paper:{setting}={value:g}"


def _better_than_the_others(setting: str, word: str, values: Iterable[float]) -> list[Claim]:
    best = _OWN[setting]
    return [
        Claim(f"{word} = {best:g} is better than {v:g}", f"{word} = {best:g}", f"{word} = {v:g}")
        for v in values
        if v != best
    ]


def _table6() -> Experiment:
    printed = {0.2: 76.12, 0.3: 76.35, 0.5: 78.31, 0.6: 76.57, 0.8: 71.75}
    lines = [Line(f"gamma = {v:g}", _scn("gamma", v), 0.0, _figures(figure)) for v, figure in printed.items()]
    claims = _better_than_the_others("gamma", "gamma", printed)
    return Experiment("table6", "Table 6: gamma, RR against WCE", (Line("baseline", "plain"), *lines), tuple(claims))


def _figure5() -> Experiment:
    """Fig. 5 prints no figures beside its curves; what the text says of them is claimed."""
    curves = {
        "rank_margin": ("delta1", (0.0, 0.07, 0.15, 0.2, 0.3)),
        "relabel_margin": ("delta2", (0.0, 0.1, 0.2, 0.3, 0.5)),
        "beta": ("beta", (0.5, 0.6, 0.7, 0.8, 0.9)),
    }
    lines, claims = [Line("baseline", "plain")], []
    for setting, (word, values) in curves.items():
        lines += [Line(f"{word} = {v:g}", _scn(setting, v)) for v in values]
        claims += _better_than_the_others(setting, word, values)
    lines.append(Line("delta1 learned", "paper:learn_margin=true", 0.0, _figures(77.76)))
    claims.append(Claim("a fixed delta1 is better than a learned one", "delta1 = 0.15", "delta1 learned"))
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
    claims = tuple(Claim(f"SCN beats {label}", "SCN", label) for _, label, _ in rows if label != "SCN")
    lines = (Line("baseline", "plain"), *lines, Line("our default", "default"))
    return Experiment("table7", "Table 7: other methods", lines, claims)


def _detect() -> Experiment:
    recipes = ("plain", "paper", "default", "curriculumnet", "metacleaner")  # the last two note scores of their own
    trained = [(kind, recipe) for kind in ("symmetric", "confusion", "human") for recipe in recipes]
    lines = tuple(Line(f"{recipe}, 30% {kind}", recipe, 0.3, {}, kind) for kind, recipe in trained)
    return Experiment("detect", "Which detector finds wrong labels", lines, (), detectors=True)


def _human() -> Experiment:
    """Noise that people made: the labels that FER2013 came with, judged by the crowd's votes."""
    lines = tuple(Line(recipe, recipe, labels="fer2013") for recipe in ("plain", "paper", "default"))
    title = "FER2013's own labels, judged by the crowd of FERPlus"
    return Experiment("human", title, lines, (Claim("SCN beats the baseline", "paper", "plain"),), detectors=True)


def _methods() -> Experiment:
    """Not in the paper: methods against wrong labels that came before it or after, and need no more than a loss."""
    rows = {"smoothing": "label smoothing", "mixup": "MixUp", "gce": "GCE", "elr": "ELR", "rul": "RUL", "eac": "EAC"}
    rows |= {"coteaching": "Co-teaching, two networks"}
    ours = {"plain": "baseline", "paper": "SCN", "default": "our default"}
    first, recipe = _EARLY
    ours |= {recipe: first}
    lines = tuple(Line(label, recipe, 0.3) for recipe, label in (ours | rows).items())
    claims = tuple(Claim(f"our default is better than {label}", "our default", label) for label in rows.values())
    claims += tuple(Claim(f"with ELR in the first third it is better than {label}", first, label)
                    for label in ("baseline", "our default", "ELR"))  # fmt: skip
    return Experiment("methods", "Other methods, 30 % of the labels flipped", lines, claims)


EXPERIMENTS = {
    e.name: e
    for e in (_table2(), _table4(), _table5(), _table6(), _figure5(), _table7(), _methods(), _detect(), _human())
}


def experiment(name: str) -> Experiment:
    """The experiment of that name.

    >>> [line.label for line in experiment("table6").lines][:2]
    ['baseline', 'gamma = 0.2']
    """
    if name not in EXPERIMENTS:
        raise SettingsError(f"There is no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}.")
    return EXPERIMENTS[name]
