"""When a face is there long enough to count: clips in a row of sampled frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SECONDS = 5.0  # that a face has to be there (SCN, section 4.1)
GAP = 1.0  # seconds without it that are forgiven: a detector blinks
LEAST_OVERLAP = 0.1  # of two boxes of one face; below this it is somebody else, or another scene


def clips(
    times: Sequence[float], boxes: Sequence, step: float, seconds: float = SECONDS, gap: float = GAP
) -> list[np.ndarray]:
    """Positions of the frames of every clip: runs of one face that last at least `seconds`.

    times [N] in seconds; boxes: N boxes x1, y1, x2, y2, or None where no face was found; step: seconds between two
    samples, the time for which each of them stands. A run ends when the face is away for longer than `gap`, or when its
    box jumps to a place that it does not overlap.

    >>> box = (0, 0, 10, 10)
    >>> [c.tolist() for c in clips([0, 1, 2, 3, 4, 5, 6], [box, box, None, box, None, None, box], 1, seconds=3)]
    [[0, 1, 3]]
    """
    runs: list[list[int]] = []
    for row, box in enumerate(boxes):
        if box is None:
            continue
        last = runs[-1][-1] if runs else None
        away = np.inf if last is None else times[row] - times[last] - step
        if away > gap + 1e-6 or overlap(boxes[last], box) < LEAST_OVERLAP:
            runs.append([])
        runs[-1].append(row)
    return [np.array(run) for run in runs if times[run[-1]] - times[run[0]] + step >= seconds - 1e-6]


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes.

    >>> overlap((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    across = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    down = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return float(across * down / max(areas - across * down, 1e-12))


def evenly(frames: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the frames of a clip, spread over it.

    >>> evenly(np.arange(10), 3).tolist()
    [1, 5, 8]
    """
    if len(frames) <= most:
        return frames
    return frames[((np.arange(most) + 0.5) * len(frames) / most).astype(int)]
