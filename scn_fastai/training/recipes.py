"""Ways to train that have a name: the plain network, SCN as published and as released, our default, Table 5."""

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
    """The recipe of that name.

    >>> recipe("paper").settings.scope
    'low'
    """
    if name not in RECIPES:
        raise SettingsError(f"There is no recipe {name!r}; there are: {', '.join(RECIPES)}.")
    return RECIPES[name]
