"""One upright face of one size from every picture, with an account of what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scn_fastai.align.mtcnn import MTCNN, THRESHOLDS, Found
from scn_fastai.align.similarity import box_similarity, needed_part, similarity, template, warp
from scn_fastai.errors import SettingsError

Detector = Callable[[Sequence[np.ndarray]], list[Found]]
RULES = ("largest", "central", "surest")
FALLBACKS = ("", "box", "centre")
CANDIDATE = 0.1  # O-Net's score from which a candidate that is no face gives at least its box
BOX_MARGIN = 0.1  # share of the box that is added at each side in a cut-out by box
FLATTEST = 0.05  # points whose second spread is below this share of the first lie on a line


@dataclass(frozen=True)
class FaceRecord:
    """What was found in one picture.

    found: a face that passed all three networks. faces: how many did. score, box [4], points [5, 2]: of the face that
    was taken, or of the candidate behind the fallback ``box``; None where there is none. fallback: empty when the face
    was aligned by its points, else what was cut instead: ``box`` or ``centre``, the largest square in the middle.
    """

    found: bool
    faces: int
    score: float | None
    box: np.ndarray | None
    points: np.ndarray | None
    fallback: str


class Aligned(NamedTuple):
    """uint8 images [N, size, size, 3] and a `FaceRecord` for each."""

    images: np.ndarray
    records: list[FaceRecord]


def choose_face(found: Found, height: int, width: int, rule: str = "largest") -> int:
    """Which of several faces is taken: the largest box, the one nearest to the middle of the picture, or the surest.

    >>> boxes = np.array([[0.0, 0, 50, 50], [70, 70, 130, 130]])
    >>> faces = Found(boxes, np.array([0.99, 0.9]), np.zeros((2, 5, 2)))
    >>> [choose_face(faces, 200, 200, rule) for rule in ("largest", "central", "surest")]
    [1, 1, 0]
    """
    if rule not in RULES:
        raise SettingsError(f"There is no rule {rule!r} to choose a face: use {', '.join(RULES)}.")
    if rule == "surest":
        return int(np.argmax(found.scores))
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    if rule == "largest":
        return int(np.argmax(sides.prod(1)))
    away = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - np.array([width, height]) / 2
    return int(np.argmin((away**2).sum(1)))


def usable_points(points: np.ndarray) -> bool:
    """Whether five points [5, 2] span a face: finite, and not all on a line or in one place."""
    if not np.isfinite(points).all():
        return False
    spread = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(spread[0] > 1 and spread[1] > FLATTEST * spread[0])


class FaceAligner:
    """Turns pictures of any sizes into faces of one size whose eyes and mouth lie at ArcFace's template.

    size: pixels of the result. margin: share of it left free around the template at each side. rule: which face of
    several (`choose_face`). threshold: the score above which a candidate is a face. detector: a callable from a list
    of uint8 [H, W, 3] arrays to a list of `Found`; by default MTCNN on `device`. Where there is no face, the box of the
    best candidate is cut out, else the middle of the picture, and the record says so.

    Raises:
        SettingsError: a size, margin, rule or threshold that makes no sense.
        DataError: the weights of MTCNN are missing or damaged.
    """

    def __init__(
        self,
        size: int = 224,
        margin: float = 0.0,
        rule: str = "largest",
        threshold: float = THRESHOLDS[2],
        detector: Detector | None = None,
        device: str | torch.device = "cpu",
    ):
        if rule not in RULES:
            raise SettingsError(f"There is no rule {rule!r} to choose a face: use {', '.join(RULES)}.")
        if not 0 <= threshold <= 1:
            raise SettingsError(f"A threshold of {threshold:g} makes no sense: give a number from 0 to 1.")
        self.size, self.margin, self.rule, self.threshold = size, margin, rule, threshold
        self.target, self.device = template(size, margin), torch.device(device)
        first, second, _ = THRESHOLDS
        self.detector = detector or MTCNN((first, second, min(CANDIDATE, threshold)), device=device)

    def __call__(self, images: Sequence[np.ndarray]) -> Aligned:
        """The faces of uint8 [H, W, 3] pictures; one that is alone gives what it gives among others."""
        result = np.empty((len(images), self.size, self.size, 3), np.uint8)
        records = []
        for row, (image, found) in enumerate(zip(images, self.detector(images), strict=True)):
            record = self._choose(found, *image.shape[:2])
            records.append(record)
            matrix, (top, bottom, left, right) = needed_part(
                self.matrix(record, *image.shape[:2]), self.size, *image.shape[:2]
            )
            pixels = torch.from_numpy(np.array(image[top:bottom, left:right])).to(self.device)
            moved = warp(pixels.permute(2, 0, 1)[None], matrix[None], self.size)
            result[row] = moved[0].permute(1, 2, 0).cpu().numpy()
        return Aligned(result, records)

    def matrix(self, record: FaceRecord, height: int, width: int) -> Tensor:
        """From pixels of the picture to pixels of the result, float64 [2, 3]."""
        if not record.fallback:
            return similarity(torch.from_numpy(record.points)[None], self.target)[0]
        if record.fallback == "box":
            box = record.box.astype(np.float64)
            extra = BOX_MARGIN * (box[2:] - box[:2]).max()
            box = box + extra * np.array([-1, -1, 1, 1])
        else:
            middle, half = np.array([width, height]) / 2, min(height, width) / 2
            box = np.concatenate([middle - half, middle + half])
        return box_similarity(torch.from_numpy(box)[None], self.size)[0]

    def _choose(self, found: Found, height: int, width: int) -> FaceRecord:
        sure = np.flatnonzero(found.scores > self.threshold)
        faces = Found(*(x[sure] for x in found))
        if not len(found.scores):
            return FaceRecord(False, 0, None, None, None, "centre")
        if not len(sure):
            best = int(np.argmax(found.scores))
            return FaceRecord(False, 0, float(found.scores[best]), found.boxes[best], found.points[best], "box")
        one = choose_face(faces, height, width, self.rule)
        fallback = "" if usable_points(faces.points[one]) else "box"
        return FaceRecord(True, len(sure), float(faces.scores[one]), faces.boxes[one], faces.points[one], fallback)
