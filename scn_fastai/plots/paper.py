"""Figures 1 and 4 of the paper, of any faces: from certain to uncertain, and the least important face of each class."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from scn_fastai.errors import DataError
from scn_fastai.plots.faces import Grid, draw_grid
from scn_fastai.plots.sprites import checked_faces, faces_at
from scn_fastai.plots.static import draw_grid_png
from scn_fastai.plots.style import as_names, sentence

NO_SCORE = "No face has a score, so they cannot be put in order."


def certain_to_uncertain_grid(
    images: np.ndarray,
    labels,
    doubt,
    classes: Sequence[str] | None = None,
    columns: int = 7,
    scale: float | None = None,
    title: str = "",
) -> Grid:
    """The grid that `certain_to_uncertain` draws."""
    names, doubt = np.array(as_names(labels, classes), dtype=object), np.asarray(doubt, dtype=float)
    _check_lengths(images, labels=names, doubt=doubt)
    order = [name for name in (classes or dict.fromkeys(names)) if (names == name).any()]
    chosen, slots, rows = [], [], []
    for name in order:
        own = np.flatnonzero((names == name) & np.isfinite(doubt))
        own = own[np.argsort(doubt[own], kind="stable")]
        if len(own):
            picked = own[_evenly(doubt[own], columns)]
            slots += [len(rows) * columns + i for i in range(len(picked))]
            chosen += picked.tolist()
            rows.append(name)
    captions = [f"{doubt[i]:.2f}" for i in chosen]
    return Grid(_rows_of(images, chosen), captions, None, columns, scale, slots, rows, title)


def certain_to_uncertain(
    images: np.ndarray,
    labels,
    doubt,
    classes: Sequence[str] | None = None,
    columns: int = 7,
    scale: float | None = None,
    title: str = "",
) -> go.Figure:
    """The paper's Fig. 1: a row for each class, its faces from certain (left) to uncertain (right).

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, or a list of such faces.
        labels: ``[N]``, names, or codes into ``classes``.
        doubt: ``[N]``, how uncertain each face is, in any unit: `face_doubt`, the entropy of votes, 1 - alpha; NaN
            leaves a face out.
        classes: class names, in the order of the rows.
        columns: faces in a row, evenly from the least ``doubt`` to the most.
        scale: screen pixels a pixel; None chooses them.
        title: text above.

    Raises:
        DataError: the lengths differ.
    """
    grid = certain_to_uncertain_grid(images, labels, doubt, classes, columns, scale, title)
    return draw_grid(grid) if len(grid.images) else sentence(NO_SCORE)


def certain_to_uncertain_png(
    images,
    labels,
    doubt,
    classes: Sequence[str] | None = None,
    columns: int = 7,
    scale: float | None = None,
    title: str = "",
) -> bytes:
    """The picture of `certain_to_uncertain` as a PNG file; the same arguments."""
    return draw_grid_png(certain_to_uncertain_grid(images, labels, doubt, classes, columns, scale, title))


def _evenly(values: np.ndarray, count: int) -> list[int]:
    """Places in an ascending array whose values lie closest to ``count`` even steps, each place once, ascending.

    >>> _evenly(np.array([0.0, 0.0, 0.0, 0.6, 1.0]), 3)
    [0, 3, 4]
    """
    chosen: list[int] = []
    for target in np.linspace(values[0], values[-1], min(count, len(values))):
        far = np.abs(values - target)
        far[chosen] = np.inf
        chosen.append(int(far.argmin()))
    return sorted(chosen)


def guess_the_label_grid(
    images: np.ndarray,
    alpha: np.ndarray,
    labels,
    classes: Sequence[str] | None = None,
    k: int = 10,
    answers: bool = True,
    title: str = "",
) -> Grid:
    """The grid that `guess_the_label` draws."""
    _check_lengths(images, alpha=np.asarray(alpha), labels=labels)
    chosen = least_important(alpha, labels, classes, k)
    names = as_names(np.asarray(labels)[chosen], classes)
    captions = [f"{i + 1}" + (f"\n{name}" if answers else "") for i, name in enumerate(names)]
    return Grid(_rows_of(images, chosen), captions, None, min(5, max(1, len(chosen))), title=title)


def least_important(alpha: np.ndarray, labels, classes: Sequence[str] | None = None, k: int = 10) -> list[int]:
    """The k faces of lowest alpha, class by class in turn, so that no class takes all places.

    >>> least_important(np.array([0.1, 0.2, 0.3, float("nan")]), ["sad", "sad", "glad", "glad"], k=2)
    [0, 2]
    """
    names, alpha = np.array(as_names(labels, classes), dtype=object), np.asarray(alpha, dtype=float)
    order = [i for i in np.argsort(alpha, kind="stable") if np.isfinite(alpha[i])]
    turn: dict[str, int] = {}
    rounds = []
    for i in order:
        turn[names[i]] = turn.get(names[i], -1) + 1
        rounds.append((turn[names[i]], alpha[i], int(i)))
    return [i for _, _, i in sorted(rounds)[:k]]


def guess_the_label(
    images: np.ndarray,
    alpha: np.ndarray,
    labels,
    classes: Sequence[str] | None = None,
    k: int = 10,
    answers: bool = True,
    title: str = "",
) -> go.Figure:
    """The paper's Fig. 4: k faces of low alpha, the lowest of each class first; guess their labels.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, or a list of such faces.
        alpha: ``[N]``, NaN where a sample was not seen.
        labels: ``[N]``, names, or codes into ``classes``: the answers.
        classes: class names.
        k: number of faces.
        answers: write the label below each face.
        title: text above.

    Raises:
        DataError: the lengths differ.
    """
    grid = guess_the_label_grid(images, alpha, labels, classes, k, answers, title)
    return draw_grid(grid) if len(grid.images) else sentence(NO_SCORE)


def guess_the_label_png(
    images, alpha, labels, classes: Sequence[str] | None = None, k: int = 10, answers: bool = True, title: str = ""
) -> bytes:
    """The picture of `guess_the_label` as a PNG file; the same arguments."""
    return draw_grid_png(guess_the_label_grid(images, alpha, labels, classes, k, answers, title))


def _rows_of(images, rows: Sequence[int]) -> np.ndarray:
    """Some faces of an array or of a list; only these are read, and a missing one is a grey tile."""
    if not len(rows):
        return np.zeros((0, 1, 1), np.uint8)
    return faces_at(checked_faces(images), np.asarray(rows))[0]


def _check_lengths(images, **columns) -> None:
    for name, values in columns.items():
        if len(values) != len(images):
            raise DataError(f"There are {len(images):,} faces but {len(values):,} values of {name}: give one for each.")
