"""The head that every face is made from: a mesh, and named directions in which its vertices can move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from scn_fastai.errors import DataError

# What a triangle or a vertex belongs to. Hair and glasses are added by accessories.py.
SKIN, EYE, TEETH, TONGUE, LASH, HAIR, FRAME, LENS = range(8)


@dataclass(frozen=True, eq=False)
class Head:
    """The base mesh and its targets, as read from ``head.npz``.

    Lengths are in decimetres: x to the person's left, y up, z forward; eyes near y 7.3, the chin near 6.0. A face is
    ``vertices + sum(weight * delta)``: linear in every weight. The base itself is a blank, not a neutral person; the
    phenotype targets make it one.
    """

    vertices: np.ndarray  # float32 [V, 3]
    triangles: np.ndarray  # int64 [T, 3], anticlockwise seen from outside
    vertex_part: np.ndarray  # uint8 [V], SKIN to LASH
    triangle_part: np.ndarray  # uint8 [T]
    occlusion: np.ndarray  # float32 [V], share of the sky that a vertex sees with a closed mouth
    lips: np.ndarray  # float32 [V], 0 to 1, as are the next three
    eyelids: np.ndarray
    mouth: np.ndarray
    ears: np.ndarray
    names: tuple[str, ...]  # of the targets: phenotype:..., weight:..., shape:..., unit:...
    deltas: np.ndarray  # float32 [K, V, 3]

    @property
    def attributes(self) -> np.ndarray:
        """What is interpolated over triangles, float32 [V, 8]: x, y, z, lips, eyelids, mouth, ears, occlusion."""
        masks = (self.lips, self.eyelids, self.mouth, self.ears, self.occlusion)
        return np.concatenate([self.vertices, np.stack(masks, 1)], 1).astype(np.float32)

    def indices(self, kind: str) -> dict[str, int]:
        """Position of every target of a kind ('phenotype', 'weight', 'shape' or 'unit') by its own name.

        >>> list(head().indices("unit"))[:2]
        ['browDownLeft', 'browDownRight']
        """
        return {name.split(":", 1)[1]: i for i, name in enumerate(self.names) if name.startswith(kind + ":")}

    def moved(self, weights: dict[int, float]) -> np.ndarray:
        """The sum of targets times weights, float32 [V, 3]."""
        if not weights:
            return np.zeros_like(self.vertices)
        chosen = np.fromiter(weights, dtype=np.int64)
        amount = np.fromiter(weights.values(), dtype=np.float32)
        return np.tensordot(amount, self.deltas[chosen], 1)


@cache
def head() -> Head:
    """The head of this package, read once.

    Raises:
        DataError: the file is damaged.
    """
    with files("scn_fastai.faces").joinpath("head.npz").open("rb") as file:
        try:
            pack = dict(np.load(file))
            kinds = {"triangles": np.int64, "vertex_part": np.uint8, "triangle_part": np.uint8}
            names = tuple(str(name) for name in pack.pop("names"))
            return Head(
                names=names, **{name: values.astype(kinds.get(name, np.float32)) for name, values in pack.items()}
            )
        except Exception as error:  # zip, header and content can be damaged in many ways
            raise DataError("The head mesh of this package (faces/head.npz) is damaged: install it anew.") from error


def rigid_fit(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each axis that carry points ``[N, 3]`` onto others, by least squares: two float [3]."""
    middle, goal = source.mean(0), target.mean(0)
    scale = ((source - middle) * (target - goal)).sum(0) / ((source - middle) ** 2).sum(0)
    return scale, goal - scale * middle
