"""Ways to train that have a name: the plain network, SCN as published and released, our default, other methods."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from scn_fastai.errors import SettingsError
from scn_fastai.methods.method import Method
from scn_fastai.training.settings import PRESETS, SCNSettings

Value = bool | int | float | str | None

_OFF = {"weight": False, "rank": False, "relabel": False}
_PAPER = PRESETS["paper"]
WAITING = ("settled", "noise_needed", "noise_steady", "noise_steady_late")  # settings of the rule 'settled'


@dataclass(frozen=True)
class Recipe:
    """A name, the settings behind it, and where they come from; for another method, that and its options."""

    name: str
    settings: SCNSettings
    about: str
    method: Method | None = None
    options: Mapping[str, Value] = field(default_factory=dict)


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


def all_recipes() -> dict[str, Recipe]:
    """SCN's recipes and every method of `scn_fastai.methods`, by name."""
    from scn_fastai.methods import METHODS  # fastai comes with it, which takes seconds

    plain = RECIPES["plain"].settings
    others = (Recipe(m.name, plain, m.about, m, dict(m.options)) for m in METHODS.values())
    return RECIPES | {r.name: r for r in others}


def recipe(name: str) -> Recipe:
    """The recipe of that name; ``name:setting=value`` is one with some of its settings or options changed.

    Raises:
        SettingsError: there is no such recipe, setting or option, or a value is out of range.

    >>> recipe("paper").settings.scope
    'low'
    >>> changed = recipe("paper:gamma=0.2:scope=all")
    >>> changed.settings.gamma, changed.settings.scope
    (0.2, 'all')
    >>> dict(recipe("smoothing:eps=0.2").options)
    {'eps': 0.2}
    """
    base, *changes = name.split(":")
    known = RECIPES if base in RECIPES else all_recipes()
    if base not in known:
        raise SettingsError(f"There is no recipe {base!r}; there are: {', '.join(known)}.")
    chosen = known[base]
    if not changes:
        return chosen
    values = dict(_change(text) for text in changes)
    about = f"{base} with {', '.join(changes)}"
    if chosen.method is None:
        return Recipe(name, chosen.settings.change(**values), about)
    return _changed_method(chosen, name, about, values)


def changed_since(stored: dict, name: str) -> dict[str, tuple]:
    """What stands behind a recipe's name today and did not when a run was made: ``{setting: (then, now)}``.

    A setting that the run does not know came later and was off then; those that only ``'settled'`` looks at do not
    count where nothing waits for it. Runs that do not tell the options of their method are taken as they are.

    Args:
        stored: the run's settings: ``scn``, and ``options`` of a method.
        name: the recipe.

    >>> run = {"scn": recipe("default").settings.change(noise_needed=0.11).as_dict()}
    >>> changed_since(run, "default"), changed_since(run, "default:noise_needed=0.11")
    ({'noise_needed': (0.11, 0.08)}, {})
    """
    chosen = recipe(name)
    then, now = _looked_at(stored.get("scn", {})), _looked_at(chosen.settings.as_dict())
    changed = {key: (then.get(key), now.get(key)) for key in then | now if then.get(key) != now.get(key)}
    changed = {key: pair for key, pair in changed.items() if key in then or pair[1]}
    options, before = dict(chosen.options), stored.get("options", chosen.options)
    return changed | {k: (before.get(k), options.get(k)) for k in before | options if before.get(k) != options.get(k)}


def change_words(changed: dict[str, tuple]) -> str:
    """What changed, in words.

    >>> change_words({"epochs": (15, 1)})
    'epochs 15, now 1'
    """
    return ", ".join(f"{name} {then}, now {now}" for name, (then, now) in changed.items())


def _looked_at(scn: dict[str, Value]) -> dict[str, Value]:
    waits = "settled" in (scn.get("weight_from"), scn.get("relabel_from"))
    return {name: value for name, value in scn.items() if waits or name not in WAITING}


def _changed_method(chosen: Recipe, name: str, about: str, values: dict[str, Value]) -> Recipe:
    """The recipe of a method with other options; what the plain network can be told is not an option of it."""
    unknown = [option for option in values if option not in chosen.options]
    if unknown:
        if unknown[0] in {field.name for field in fields(SCNSettings)}:
            raise SettingsError(f"{unknown[0]!r} is a setting of SCN, and {chosen.name} trains without SCN.")
        there = ", ".join(chosen.options) or "none"
        raise SettingsError(f"{unknown[0]!r} is not an option of {chosen.name}; there are: {there}.")
    options = chosen.options | values
    if chosen.method.check is not None:
        chosen.method.check(**options)
    return Recipe(name, chosen.settings, about, chosen.method, options)


def _change(text: str) -> tuple[str, Value]:
    """A setting and its value from ``setting=value``."""
    setting, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"{text!r} changes no setting: write recipe:setting=value, such as paper:gamma=0.2.")
    try:
        return setting, json.loads(value)
    except json.JSONDecodeError:
        return setting, {"True": True, "False": False, "None": None}.get(value, value)
