import numpy as np
import pytest

from scn_fastai.errors import DataError
from scn_fastai.faces import expressions
from scn_fastai.faces.expressions import (
    CLASSES,
    PROTOTYPES,
    blend,
    expression_units,
    random_expression,
    unit_names,
    units_vector,
)


def unit(vector, name):
    return vector[unit_names().index(name)]


def test_there_are_52_units_and_every_prototype_uses_known_ones():
    assert len(unit_names()) == len(set(unit_names())) == 52 and expressions.UNITS == unit_names()
    for name in CLASSES:
        for variant in range(len(PROTOTYPES[name])):
            assert expression_units(name, variant).shape == (52,)


def test_prototypes_differ_from_neutral_and_from_each_other():
    vectors = [expression_units(name) for name in CLASSES]
    for i, a in enumerate(vectors):
        for b in vectors[i + 1 :]:
            assert np.abs(a - b).max() > 0.3


def test_one_sided_units_are_on_one_side():
    left, right = (expression_units("contempt", side=side) for side in ("Left", "Right"))
    assert unit(left, "mouthSmileLeft") > 0.9 > 0.2 > unit(left, "mouthSmileRight")
    assert unit(right, "mouthSmileRight") == unit(left, "mouthSmileLeft")


def test_random_expressions_vary_around_the_prototype():
    rng = np.random.default_rng(0)
    jaws = np.array([unit(random_expression("surprise", rng), "jawOpen") for _ in range(300)])
    assert 0.6 < jaws.mean() < 0.85 and jaws.std() > 0.1
    weak = np.array([unit(random_expression("surprise", rng, 0.5), "jawOpen") for _ in range(300)])
    assert weak.mean() < 0.65 * jaws.mean()
    uneven = [random_expression("happiness", rng) for _ in range(50)]
    assert all(unit(u, "mouthSmileLeft") != unit(u, "mouthSmileRight") for u in uneven)
    assert all((u >= 0).all() and (u <= expressions.MOST).all() for u in uneven)


def test_the_generator_decides():
    one, same, other = (random_expression("fear", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one == same).all() and (one != other).any()


def test_blend_is_linear_between_its_ends():
    a, b = expression_units("fear"), expression_units("surprise")
    assert np.allclose(blend(a, b, 0), a) and np.allclose(blend(a, b, 1), b)
    assert np.allclose(blend(a, b, 0.25), 0.75 * a + 0.25 * b)


def test_units_by_name_or_as_a_vector():
    by_name = units_vector({"jawOpen": 0.5, "browInnerUp": 1.8})
    assert unit(by_name, "jawOpen") == 0.5 and by_name.sum() == pytest.approx(2.3)
    assert (units_vector(by_name) == by_name).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: units_vector({"jawOpn": 0.5}), "no facial unit 'jawOpn'"),
        (lambda: units_vector({"jawOpen": float("nan")}), "jawOpen is nan"),
        (lambda: units_vector({"jawOpen": 2.0}), "between 0 and 1.8"),
        (lambda: units_vector(np.zeros(51)), r"vector of 52 numbers, got shape \[51\]"),
        (lambda: expression_units("joy"), "no expression 'joy'.*happiness"),
        (lambda: expression_units("anger", side="left"), "Left or Right"),
        (lambda: random_expression("joy", np.random.default_rng(0)), "no expression 'joy'"),
        (lambda: blend(expression_units("fear"), expression_units("anger"), 1.2), "mix of two expressions is 1.2"),
    ],
)
def test_bad_input_gets_one_sentence(call, words):
    with pytest.raises(DataError, match=words):
        call()
