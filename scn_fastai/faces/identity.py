"""Who a face belongs to: shape, skin, hair, eyes, drawn at random from wide ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from scn_fastai.faces.head_model import EYE, SKIN, TEETH, head

PHENOTYPES = ("african", "asian", "european")  # MakeHuman's presets of shape: no statement about anybody's ethnicity
HAIR_STYLES = ("bald", "short", "volume", "curly", "bob", "long")
HEAD_FORMS = ("oval", "round", "square", "rectangular", "triangular", "invertedtriangular", "diamond")
# Skin from light to dark for each preset, sRGB. That tone goes with the preset is a choice, and simplifies.
SKIN_TONES = {
    "african": ((0.55, 0.37, 0.27), (0.42, 0.27, 0.19), (0.30, 0.19, 0.14)),
    "asian": ((0.90, 0.74, 0.58), (0.82, 0.63, 0.46), (0.72, 0.53, 0.37)),
    "european": ((0.93, 0.76, 0.66), (0.85, 0.66, 0.54), (0.78, 0.58, 0.45)),
}
HAIR_COLOURS = ((0.07, 0.06, 0.06), (0.15, 0.10, 0.07), (0.27, 0.17, 0.10), (0.42, 0.28, 0.15), (0.66, 0.50, 0.29),
                (0.36, 0.15, 0.08))  # fmt: skip
IRISES = ((0.25, 0.14, 0.07), (0.20, 0.11, 0.06), (0.35, 0.25, 0.12), (0.28, 0.38, 0.50), (0.30, 0.42, 0.30))
GREY_HAIR = np.array([0.72, 0.71, 0.70])
OPPOSITES = (("incr", "decr"), ("in", "out"), ("up", "down"), ("forward", "backward"), ("convex", "concave"),
             ("compress", "uncompress"))  # fmt: skip
# Shapes that look like an expression may vary a little only, or a face would smile by birth.
LIKE_EXPRESSIONS = (
    "mouth-angles", "eyebrows-angle", "eyebrows-trans", "eye-height", "laugh", "eye-corner", "lip-ext", "lip-middle",
    "lowerlip", "upperlip", "head-age", "eyefold", "mouth-scale-vert",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Identity:
    """A person that does not exist. Colours are sRGB triples, ages 0 (child), 1 (young adult), 2 (old)."""

    gender: float = 0.5  # 0 female, 1 male
    age: float = 1.0
    phenotype: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)  # african, asian, european: shares
    build: float = 0.0  # -1 thin to 1 heavy
    shape: Mapping[str, float] = field(default_factory=dict)  # weights of shape targets
    skin: tuple[float, float, float] = (0.82, 0.63, 0.50)
    hair_style: str = "short"
    hair: tuple[float, float, float] = (0.2, 0.13, 0.09)
    brows: tuple[float, float, float] = (0.15, 0.1, 0.08)
    iris: tuple[float, float, float] = (0.25, 0.14, 0.07)
    clothes: tuple[float, float, float] = (0.3, 0.35, 0.5)
    volume: float = 0.1  # thickness of the hair
    hair_length: float = 0.5  # of long hair, 0 to the shoulder, 1 below
    hairline: float = 0.0  # raised by this much
    beard: float = 0.0
    lipstick: float = 0.0
    brow_thickness: float = 0.033
    brow_height: float = 0.0
    blush: float = 0.05
    phase: tuple[float, float, float, float] = (0.0, 1.0, 2.0, 3.0)  # where skin and hair patterns begin

    @cached_property
    def vertices(self) -> np.ndarray:
        """The neutral head, float32 ``[V, 3]``."""
        model = head()
        points = model.vertices + model.moved(self._weights())
        # Shape targets do not move the teeth, so they would stick out of a narrow jaw.
        points[model.vertex_part == TEETH] = points[model.vertex_part == TEETH] * [0.96, 1, 1] - [0, 0, 0.035]
        # The mesh is cut off at the shoulders: its edge is drawn down and out, beyond any picture.
        edge = (model.vertices[:, 1] < 5.56) | (np.abs(model.vertices[:, 0]) > 1.9)
        points[edge] += np.column_stack([0.4 * points[edge, 0], np.full(edge.sum(), -1.2), np.zeros(edge.sum())])
        return points.astype(np.float32)

    def _weights(self) -> dict[int, float]:
        model = head()
        phenotype, weight, shape = (model.indices(kind) for kind in ("phenotype", "weight", "shape"))
        child, old = max(0.0, 1 - self.age / 0.7), max(0.0, self.age - 1)
        builds = {
            "averageweight": 1 - abs(self.build),
            "maxweight": max(self.build, 0),
            "minweight": max(-self.build, 0),
        }
        weights: dict[int, float] = {}
        for age, share in (("child", child), ("young", 1 - child - old), ("old", old)):
            for gender, part in (("male", self.gender), ("female", 1 - self.gender)):
                both = share * part
                for name, amount in zip(PHENOTYPES, self.phenotype, strict=True):
                    weights[phenotype[f"{name}-{gender}-{age}"]] = both * amount
                for name, amount in builds.items():
                    weights[weight[f"{gender}-{age}-{name}"]] = both * amount
        weights |= {shape[name]: amount for name, amount in self.shape.items()}
        return {index: amount for index, amount in weights.items() if amount > 1e-4}


def random_identity(rng: np.random.Generator) -> Identity:
    """Somebody new: gender, age, phenotype preset, build, about a hundred shape weights, skin, hair, eyes, clothes.

    >>> random_identity(np.random.default_rng(0)).vertices.shape
    (5168, 3)
    """
    phenotype = rng.dirichlet([0.35] * 3)
    gender = float(np.clip(rng.choice([0.08, 0.92]) + rng.normal(0, 0.08), 0, 1))
    age = float(rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.4, 1.2), rng.uniform(1.2, 2)], p=[0.15, 0.55, 0.3]))
    female, dark_share = gender < 0.5, phenotype[0] + 0.8 * phenotype[1]
    hair, brows = _hair_colours(rng, age, dark_share)
    beard = 0.0
    if not female and age > 0.75:
        beard = float(rng.choice([0, rng.uniform(0.15, 0.5), rng.uniform(0.5, 0.9)], p=[0.55, 0.3, 0.15]))
    return Identity(
        gender=gender,
        age=age,
        phenotype=tuple(phenotype.tolist()),
        build=float(np.clip(rng.normal(0, 0.45), -1, 1)),
        shape=_random_shape(rng),
        skin=_skin(rng, phenotype),
        hair_style=_hair_style(rng, female, age),
        hair=hair,
        brows=brows,
        iris=IRISES[rng.integers(2 if rng.random() < dark_share else len(IRISES))],
        clothes=tuple(rng.uniform(0.08, 0.85, 3).tolist()),
        volume=float(rng.uniform(0.05, 0.2)),
        hair_length=float(rng.uniform(0, 1)),
        hairline=float(rng.normal(0, 0.05) + (0 if female else 0.12 * max(0.0, age - 1.2))),
        beard=beard,
        lipstick=float(rng.choice([0, rng.uniform(0.2, 0.7)])) if female and age > 0.7 else 0.0,
        brow_thickness=float(rng.uniform(0.026, 0.04) * (0.85 if female else 1.12)),
        brow_height=float(rng.normal(0, 0.012)),
        blush=float(rng.uniform(0.02, 0.09)),
        phase=tuple(rng.uniform(0, 2 * np.pi, 4).tolist()),
    )


def _skin(rng: np.random.Generator, phenotype: np.ndarray) -> tuple[float, float, float]:
    depth, bright = rng.random(), rng.uniform(0.95, 1.05)
    tones = [
        [np.interp(depth, [0, 0.5, 1], column) for column in zip(*SKIN_TONES[name], strict=True)] for name in PHENOTYPES
    ]
    return tuple((np.asarray(tones).T @ phenotype * bright).tolist())


def _hair_colours(rng: np.random.Generator, age: float, dark_share: float) -> tuple[tuple, tuple]:
    """Colours of hair and brows; both turn grey with age, brows less."""
    if rng.random() < dark_share:
        natural = np.array(HAIR_COLOURS[rng.choice(3, p=[0.6, 0.3, 0.1])])
    else:
        natural = np.array(HAIR_COLOURS[rng.integers(1, len(HAIR_COLOURS))])
    natural = natural * rng.uniform(0.8, 1.15)
    grey = float(np.clip((age - 1.25) * 1.4 + rng.normal(0, 0.15), 0, 0.95)) if age > 1.2 else 0.0
    hair = natural * (1 - grey) + GREY_HAIR * grey
    return tuple(hair.tolist()), tuple((natural * (1 - 0.5 * grey) + 0.35 * grey).tolist())


def _hair_style(rng: np.random.Generator, female: bool, age: float) -> str:
    if age < 0.4:
        odds = (0, 0.2, 0.2, 0.1, 0.25, 0.25) if female else (0, 0.6, 0.2, 0.15, 0.05, 0)
    else:
        odds = (0, 0.15, 0.15, 0.12, 0.25, 0.33) if female else (0.14, 0.52, 0.18, 0.1, 0.02, 0.04)
    return HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=odds)]


def _random_shape(rng: np.random.Generator) -> dict[str, float]:
    """Weights of shape targets; left and right are drawn together, with a small difference."""
    drawn: dict[str, float] = {}
    weights: dict[str, float] = {}
    for base, (more, less) in shape_pairs().items():
        sided = base[:2] in ("l-", "r-")
        common = base[2:] if sided else base
        if common not in drawn:
            spread = 0.08 if any(part in base for part in LIKE_EXPRESSIONS) else 0.24
            drawn[common] = float(np.clip(rng.normal(0, spread), -0.6, 0.6))
        amount = drawn[common] + (rng.normal(0, 0.04) if sided else 0)
        weights[more if amount > 0 else less] = float(abs(amount))
    weights["head-" + HEAD_FORMS[rng.integers(len(HEAD_FORMS))]] = float(rng.uniform(0, 0.5))
    return weights


@cache
def shape_pairs() -> dict[str, tuple[str, str]]:
    """Shape targets that undo each other, by their common name: {'chin-width': ('chin-width-incr', '...-decr')}."""
    names, pairs = head().indices("shape"), {}
    for name in names:
        for more, less in OPPOSITES:
            base = name.removesuffix("-" + more)
            if base != name and f"{base}-{less}" in names:
                pairs[base] = (name, f"{base}-{less}")
    return pairs


def landmarks(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the eyes and of the lips of a head ``[V, 3]``."""
    model = head()
    return points[model.vertex_part == EYE].mean(0), points[(model.lips > 0.5) & (model.vertex_part == SKIN)].mean(0)
