"""Ways to train that have a name: the plain network, SCN as published and as released, our default, Table 5."""

import json
from dataclasses import dataclass

from scn_fastai.errors import SettingsError
from scn_fastai.training.settings import PRESETS, SCNSettings

_OFF = {"weight": False, "rank": False, "relabel": False}
_PAPER = PRESETS["paper"]


@dataclass(frozen=True)
class Recipe:
    """A name, the settings behind it, and where they come from."""

    name: str
    settings: SCNSettings
    about: str


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("plain", _PAPER.change(**_OFF), "cross-entropy alone; alpha is computed and ignored, to compare"),
        Recipe("default", PRESETS["default"], "weighting, rank loss, relabeling by averaged evidence (see README)"),
        Recipe("paper", _PAPER, "SCN as printed in the paper (CVPR 2020)"),
        Recipe("released", PRESETS["released"], "SCN as in the authors' released train.py"),
        Recipe(
            "relabel-only",
            _PAPER.change(**{**_OFF, "relabel": True, "scope": "all"}),
            "Table 5, row 2: Eq. 5 on all samples of a plain network",
        ),
        Recipe("rank-only", _PAPER.change(**{**_OFF, "rank": True}), "Table 5, row 3: alpha by the rank loss alone"),
        Recipe("weight-only", _PAPER.change(**{**_OFF, "weight": True}), "Table 5, row 4: WCE alone"),
        Recipe("weight-rank", _PAPER.change(relabel=False), "Table 5, row 5: everything but relabeling"),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name; ``name:setting=value`` is one with some of its settings changed.

    Raises:
        SettingsError: there is no such recipe or setting, or a value is out of range.

    >>> recipe("paper").settings.scope
    'low'
    >>> changed = recipe("paper:gamma=0.2:scope=all")
    >>> changed.settings.gamma, changed.settings.scope
    (0.2, 'all')
    """
    base, *changes = name.split(":")
    if base not in RECIPES:
        raise SettingsError(f"There is no recipe {base!r}; there are: {', '.join(RECIPES)}.")
    if not changes:
        return RECIPES[base]
    values = dict(_change(text) for text in changes)
    return Recipe(name, RECIPES[base].settings.change(**values), f"{base} with {', '.join(changes)}")


def _change(text: str) -> tuple[str, bool | int | float | str | None]:
    """A setting and its value from ``setting=value``."""
    setting, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{text!r} changes no setting: write recipe:setting=value, such as paper:gamma=0.2.")
    try:
        return setting, json.loads(value)
    except json.JSONDecodeError:
        return setting, {"True": True, "False": False, "None": None}.get(value, value)
