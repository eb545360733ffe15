"""The paper's tables as experiments: figures are the paper's, recipes exist, claims are about lines that are there."""

import pytest

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.paper_tables import EXPERIMENTS, Claim, Experiment, Line, experiment

OTHERS = {"curriculumnet", "metacleaner", "dlpcnn", "ltnet", "gacnn", "ran", "upsample", "weightedloss", "pld"}


def figure(name, label, column):
    return next(line for line in experiment(name).lines if line.label == label).paper[column]


def test_figures_are_those_that_the_paper_printed():
    assert figure("table2", "baseline, 30% noise", "RAF-DB") == 46.81
    assert figure("table2", "SCN, 30% noise", "RAF-DB") == 60.61
    assert figure("table2", "SCN, 10% noise", "FERPlus") == 78.53 and figure("table4", "SCN", "AffectNet") == 47.28
    assert figure("table5", "weight + rank + relabel", "RAF-DB") == 78.31
    assert figure("table5", "relabel", "RAF-DB") == 71.25
    assert figure("table6", "gamma = 0.8", "RAF-DB") == 71.75 and figure("table7", "RAN", "FERPlus") == 88.55


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_line_is_a_recipe_and_the_plain_network_stands_beside(name):
    from scn_fastai.experiments.recipes import recipe

    lines = experiment(name).lines
    assert all(recipe(line.recipe) for line in lines if line.recipe not in OTHERS)
    assert any(line.recipe == "plain" for line in lines)


def test_what_does_not_exist_gets_a_sentence():
    with pytest.raises(SettingsError, match="no experiment 'table9'; there are: table2"):
        experiment("table9")
    with pytest.raises(SettingsError, match="claim about a line it lacks"):
        Experiment("x", "x", (Line("a", "plain"),), (Claim("a beats b", "a", "b"),))
