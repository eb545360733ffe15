"""Checks of the options that a method is given."""

import math

from scn_fastai.errors import SettingsError


def check_number(name: str, value, low: float, high: float, whole: bool = False) -> None:
    """Raise one sentence unless value is a finite number (a whole one, if asked) from low to high.

    Raises:
        SettingsError: it is not.

    >>> check_number("beta", 0.7, 0, 1)
    >>> check_number("beta", 7, 0, 1)
    Traceback (most recent call last):
    scn_fastai.errors.SettingsError: beta is 7, but it must be a number from 0 to 1.
    """
    kinds = int if whole else (int, float)
    endless = isinstance(value, float) and math.isinf(value)
    if endless or isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "whole number" if whole else "finite number" if endless else "number"
        limits = f"of {low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
        raise SettingsError(f"{name} is {value!r}, but it must be a {kind} {limits}.")


def check_choice(name: str, value, choices: tuple[str, ...]) -> None:
    """Raise one sentence unless value is one of the choices.

    >>> check_choice("cluster_on", "colour", ("density", "distance"))
    Traceback (most recent call last):
    scn_fastai.errors.SettingsError: cluster_on is 'colour', but it must be one of density, distance.
    """
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}, but it must be one of {', '.join(choices)}.")
