"""The settings: checked when made, immutable, and three presets that differ as the notes say."""

import json
from dataclasses import FrozenInstanceError, fields

import pytest

from scn_fastai.errors import SettingsError
from scn_fastai.training.settings import CHOICES, FLAGS, PRESETS, SCNSettings, preset

STEP = {"evidence": "step", "relabel_from": 10, "weight_from": 0, "budget": None, "aside": 0}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_valid_and_travels_through_json(name):
    settings = preset(name)
    assert SCNSettings(**json.loads(json.dumps(settings.as_dict()))) == settings
    assert settings.change() == settings


def test_the_paper_is_the_equations_as_printed():
    paper = preset("paper")
    assert (paper.beta, paper.rank_margin, paper.relabel_margin, paper.gamma) == (0.7, 0.15, 0.2, 0.5)
    assert (paper.combine, paper.scope, paper.reference, paper.evidence) == ("mix", "low", "original", "step")
    assert not paper.bias and not paper.weighted_inference and not paper.relative and paper.relabel_from == 10


def test_the_released_code_differs_from_the_paper_where_the_notes_say_so():
    paper, released = preset("paper").as_dict(), preset("released").as_dict()
    differ = {name: released[name] for name in paper if paper[name] != released[name]}
    assert differ == {
        "rank_margin": 0.07,
        "combine": "sum",
        "scope": "all",
        "reference": "current",
        "weighted_inference": True,
        "bias": True,
    }


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", 1, 0, None])
def test_yes_or_no_is_true_or_false(name, value):
    with pytest.raises(SettingsError, match=f"{name} is {value!r}, but it must be True or False"):
        SCNSettings().change(**{name: value})


@pytest.mark.parametrize("value", [1, 0, "yes", None])
def test_relabel_is_true_false_or_propose(value):
    with pytest.raises(SettingsError, match="must be True, False or 'propose'"):
        SCNSettings().change(relabel=value)


def test_the_default_is_our_recipe_and_plain_settings_are_it():
    assert preset("default") == SCNSettings()
    assert SCNSettings().evidence == "averaged" and SCNSettings().reference == "original"


@pytest.mark.parametrize("name, value", [(name, value) for name, values in CHOICES.items() for value in values])
def test_every_disputed_choice_can_be_made(name, value):
    extra = STEP if value == "step" else {}
    assert getattr(SCNSettings().change(**extra | {name: value}), name) == value


@pytest.mark.parametrize("weight", [True, False])
@pytest.mark.parametrize("rank", [True, False])
@pytest.mark.parametrize("relabel", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_every_row_of_table_5_can_be_set(name, weight, rank, relabel):
    settings = preset(name).change(weight=weight, rank=rank, relabel=relabel)
    assert (settings.weight, settings.rank, settings.relabel) == (weight, rank, relabel)


def test_settings_are_immutable_and_change_makes_a_copy():
    settings = SCNSettings()
    with pytest.raises(FrozenInstanceError):
        settings.beta = 0.5
    assert settings.change(beta=0.5).beta == 0.5 and settings.beta == 0.7


REFUSED = [
    ({"beta": 0}, r"beta is 0, but it is the share of high-importance samples .* between 0 and 1"),
    ({"beta": 1}, r"beta is 1, "),
    ({"rank_margin": -0.1}, r"The rank margin \(delta1\) is -0\.1, but it separates values between 0 and 1"),
    ({"relabel_margin": 1.2}, r"The relabel margin \(delta2\) is 1\.2, but it separates values between 0 and 1"),
    ({"gamma": 1.5}, r"gamma is 1\.5, but it weighs RR against WCE and must lie between 0 and 1"),
    ({"combine": "max"}, r"combine is 'max', but it must be 'mix' or 'sum'\."),
    ({"scope": "high"}, r"scope is 'high', but it must be 'low' or 'all'\."),
    ({"reference": None}, r"reference is None, but it must be 'original' or 'current'\."),
    ({"logits": "soft"}, r"logits is 'soft', but it must be 'weighted' or 'raw'\."),
    ({"evidence": 3}, r"evidence is 3, but it must be 'step' or 'averaged'\."),
    ({"relabel_from": -1}, r"relabel_from is -1, but it must be an epoch \(0, 1, \.\.\.\) or 'settled'"),
    ({"relabel_from": "soon"}, r"relabel_from is 'soon', but it must be an epoch"),
    ({"relabel_from": 2.5}, r"relabel_from is 2\.5, but it must be an epoch"),
    ({"budget": 0}, r"budget is 0, but it is a share of the training set in \(0, 1\], or None"),
    ({"budget": 1.1}, r"budget is 1\.1, "),
    (STEP | {"relabel_from": "settled"}, r"relabel_from='settled', .* a budget .* need evidence='averaged'"),
    (STEP | {"budget": 0.2}, r"with evidence='step' name epochs, and set budget=None"),
    ({"aside": 1}, r"aside is 1, but it is a share of the training set in \[0, 1\)"),
    (STEP | {"aside": 0.1}, r"samples set aside look at the whole training set, .* set budget=None and aside=0"),
    ({"early_learning": -1}, r"early_learning is -1, but it is the strength of a term of the loss: 0 or more"),
    ({"early_learning": float("inf")}, r"early_learning is inf, "),
    ({"early_learning": 3, "evidence_decay": 1}, r"it needs evidence='averaged' and an evidence_decay below 1"),
    (STEP | {"early_learning": 3}, r"early_learning holds predictions near their running mean, so it needs"),
    ({"settled": 1.1}, r"settled is 1\.1, but it must lie in \(0, 1\]"),
    ({"noise_needed": 1}, r"noise_needed is 1, but it is a share of the labels in \[0, 1\)"),
    ({"noise_needed": -0.1}, r"noise_needed is -0\.1, "),
    ({"noise_steady": 0}, r"noise_steady is 0, but it must lie in \(0, 1\]"),
    ({"evidence_decay": 0}, r"evidence_decay is 0, but it must lie in \(0, 1\]"),
    ({"budget_ramp": -1}, r"budget_ramp is -1, but it is a number of epochs: 0 or more"),
    ({"alpha_start": 1.0}, r"alpha_start is 1\.0, but it must lie between 0 and 1"),
    ({"alpha_start": 0}, r"alpha_start is 0, but it must lie between 0 and 1"),
    ({"alpha_start": 0.9, "bias": False}, r"alpha_start is 0\.9, .* it needs bias=True"),
    *(({field.name: float("nan")}, f"{field.name}|delta") for field in fields(SCNSettings) if field.type == "float"),
]


@pytest.mark.parametrize("values, sentence", REFUSED)
@pytest.mark.parametrize("way", ["made", "changed"])
def test_settings_out_of_range_or_at_odds_are_refused(way, values, sentence):
    with pytest.raises(SettingsError, match=sentence):
        SCNSettings(**values) if way == "made" else SCNSettings().change(**values)


def test_an_unknown_setting_is_refused_with_the_known_ones():
    with pytest.raises(
        SettingsError, match="'delta1' is not an SCN setting; there are: alpha_start, aside, beta, .*, weight"
    ):
        SCNSettings().change(delta1=0.15)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match="'best' is not a preset; there are: default, paper, released"):
        preset("best")
