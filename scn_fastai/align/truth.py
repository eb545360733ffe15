"""Pictures whose faces are known beforehand: a detector that gives just those, and how far another one is off."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from scn_fastai.align.mtcnn import Found
from scn_fastai.align.similarity import ARCFACE_SIDE, similarity, template
from scn_fastai.errors import DataError

FAR = 1.0  # eye distances between the middles of true and found points from which it is another face


def found_of(points: np.ndarray, scores: Sequence[float] | None = None) -> Found:
    """Faces by their five points [K, 5, 2], in the order given; all sure unless `scores` [K] say otherwise.

    The box of a face is the square that an aligned face without margin shows of it, set upright.

    >>> found_of(template(112).numpy()[None]).boxes.round(1).tolist()
    [[0.0, 0.0, 112.0, 112.0]]
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 5, 2)
    scores = np.ones(len(points)) if scores is None else np.asarray(scores, dtype=np.float64)
    if len(scores) != len(points):
        raise DataError(f"There are {len(points)} faces but {len(scores)} scores: give one for each.")
    matrix = similarity(torch.from_numpy(points), template(ARCFACE_SIDE)).numpy()
    scale = np.sqrt(np.linalg.det(matrix[:, :, :2]))[:, None]
    goal = np.full(2, (ARCFACE_SIDE - 1) / 2) - matrix[:, :, 2]
    middle = np.linalg.solve(matrix[:, :, :2], goal[..., None])[..., 0] + 0.5
    half = ARCFACE_SIDE / 2 / scale
    return Found(np.concatenate([middle - half, middle + half], 1), scores, points)


class GivenFaces:
    """A detector for pictures whose faces are known: from a data set's list of points, or since a program drew them.

    It knows a picture by its pixels, so that order and batches do not matter; in any other picture it finds nobody.

    images: uint8 [H, W, 3] each. faces: the `Found` of each, as `found_of` makes it.

    >>> picture = np.zeros((9, 9, 3), np.uint8)
    >>> finder = GivenFaces([picture], [found_of(template(112).numpy())])
    >>> [len(found.scores) for found in finder([picture, picture + 1])]
    [1, 0]
    """

    def __init__(self, images: Sequence[np.ndarray], faces: Sequence[Found]):
        if len(images) != len(faces):
            raise DataError(f"There are {len(images)} pictures but the faces of {len(faces)}: give those of each.")
        self.faces = {_key(image): found for image, found in zip(images, faces, strict=True)}

    def __call__(self, images: Sequence[np.ndarray]) -> list[Found]:
        nobody = found_of(np.zeros((0, 5, 2)))
        return [self.faces.get(_key(image), nobody) for image in images]


def _key(image: np.ndarray) -> tuple:
    return image.shape, hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def point_error(found: Found, points: np.ndarray) -> np.ndarray:
    """How far off the found points are, in eye distances, for each of K true faces [K, 5, 2]; inf: it was not found.

    That is the mean over five points of their distances, divided by the distance of the true eyes. A face counts as
    found when the middle of some found points is nearer to its own middle than its eyes are to each other.

    >>> truth = template(112).numpy()[None]
    >>> point_error(found_of(truth + [3, 4]), truth).round(2).tolist()  # 5 of 35 pixels
    [0.14]
    """
    points = np.asarray(points, dtype=np.float64)
    eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=1)
    if not len(found.scores):
        return np.full(len(points), np.inf)
    away = np.linalg.norm(points.mean(1)[:, None] - found.points.mean(1)[None], axis=2)
    nearest = away.argmin(1)
    error = np.linalg.norm(points - found.points[nearest], axis=2).mean(1) / eyes
    return np.where(away.min(1) < FAR * eyes, error, np.inf)
