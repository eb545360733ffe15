"""What a face between two expressions looks like: soft labels for blends.

The mix of a blend is a matter of geometry, not of looks: half-way from fear to surprise most see surprise. For
each pair a logistic curve says which share of the label the second expression gets at a mix, fitted to what
networks trained on clean faces say of blends.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from scn_fastai.errors import SettingsError
from scn_fastai.faces.expressions import CLASSES, check_class

# (first, second): the mix at which both look alike strong, and the slope there (of the logistic curve's argument).
# Measured by `python tools/calibrate_faces.py`.
SOFT_CURVES: dict[tuple[str, str], tuple[float, float]] = {
    ("fear", "surprise"): (0.49, 5.0),
    ("anger", "disgust"): (0.50, 5.0),
    ("sadness", "neutral"): (0.61, 6.5),
    ("contempt", "happiness"): (0.47, 5.0),
    ("happiness", "surprise"): (0.44, 14.5),
    ("contempt", "neutral"): (0.46, 5.0),
    ("anger", "neutral"): (0.54, 6.5),
    ("fear", "sadness"): (0.60, 9.5),
    ("disgust", "sadness"): (0.50, 12.0),
}
PAIRS = tuple(SOFT_CURVES)  # expressions that people take for each other
DEFAULT_CURVE = (0.5, 10.0)  # for other pairs


def soft_label(first: str, second: str = "", mix: float = 0.0) -> np.ndarray:
    """Probabilities of the eight classes for a blend, float32 ``[8]``, in the order of ``CLASSES``; sum 1.

    Args:
        first, second: the expressions; without a second one, or with the same twice, the label is one-hot.
        mix: share of the second one in the blend, 0 to 1; at 0 and 1 the label is one-hot.

    Raises:
        DataError: there is no such expression.
        SettingsError: the mix is outside 0 to 1, or there is one and no second expression.

    >>> soft_label("anger").round(2)
    array([0., 0., 0., 0., 1., 0., 0., 0.], dtype=float32)
    >>> bool(np.allclose(soft_label("fear", "surprise", 0.3), soft_label("surprise", "fear", 0.7)))
    True
    """
    check_class(first)
    if second:
        check_class(second)
    if not (isinstance(mix, Real) and 0 <= mix <= 1):
        raise SettingsError(f"A mix of {mix} makes no sense: give a number from 0 (the first expression) to 1.")
    if mix and not second:
        raise SettingsError(f"A mix of {mix} needs a second expression: name it, or leave the mix at 0.")
    label = np.zeros(len(CLASSES), np.float32)
    share = second_share(first, second, float(mix)) if second else 0.0
    label[CLASSES.index(first)] += 1 - share
    label[CLASSES.index(second or first)] += share
    return label


def second_share(first: str, second: str, mix: float) -> float:
    """The share of the second expression in the label of a blend, 0 to 1.

    The curve is ``s(mix) = 1 / (1 + exp(-slope (mix - centre)))``, stretched to begin at 0 and to end at 1.

    >>> round(second_share("contempt", "anger", 0.5), 6)
    0.5
    """
    centre, slope = curve(first, second)
    start, here, end = (1 / (1 + math.exp(-slope * (x - centre))) for x in (0.0, mix, 1.0))
    return (here - start) / (end - start)


def mix_of_share(first: str, second: str, share: float) -> float:
    """The mix at which the second expression has this share of the label: the inverse of `second_share`.

    >>> round(mix_of_share("contempt", "anger", 0.5), 6)
    0.5
    """
    if not (isinstance(share, Real) and 0 <= share <= 1):
        raise SettingsError(f"A share of {share} makes no sense: give a number from 0 to 1.")
    centre, slope = curve(first, second)
    start, end = (1 / (1 + math.exp(-slope * (x - centre))) for x in (0.0, 1.0))
    height = start + share * (end - start)
    mix = centre + math.log(height / (1 - height)) / slope
    return min(max(mix, 0.0), 1.0)  # rounding may end just beside the ends


def curve(first: str, second: str) -> tuple[float, float]:
    """Centre and slope for a pair in either order.

    >>> curve("neutral", "sadness")[0] == 1 - curve("sadness", "neutral")[0]
    True
    """
    if (second, first) in SOFT_CURVES:
        centre, slope = SOFT_CURVES[second, first]
        return 1 - centre, slope
    return SOFT_CURVES.get((first, second), DEFAULT_CURVE)
