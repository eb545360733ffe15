import numpy as np

from scn_fastai.faces.head_model import TEETH, head
from scn_fastai.faces.identity import HAIR_STYLES, Identity, landmarks, random_identity, shape_pairs


def people(n, seed=0):
    return [random_identity(np.random.default_rng([seed, i])) for i in range(n)]


def test_people_differ_and_the_generator_decides():
    one, two = people(2)
    again = people(1)[0]
    assert np.abs(one.vertices - two.vertices).max() > 0.05
    assert (one.vertices == again.vertices).all() and one.skin == again.skin


def test_ranges_over_many_people():
    crowd = people(200)
    assert {person.hair_style for person in crowd} == set(HAIR_STYLES)
    assert 60 < sum(person.gender > 0.5 for person in crowd) < 140
    assert min(p.age for p in crowd) < 0.4 and max(p.age for p in crowd) > 1.8
    assert all(abs(sum(person.phenotype) - 1) < 1e-6 for person in crowd)
    assert not any(person.beard for person in crowd if person.gender < 0.5 or person.age <= 0.75)
    colours = [colour for p in crowd for colour in (*p.skin, *p.hair, *p.brows, *p.iris, *p.clothes)]
    assert 0 <= min(colours) and max(colours) <= 1.05


def test_macro_weights_sum_to_one_so_the_head_keeps_its_size():
    heights = np.array([np.ptp(person.vertices[:, 1]) for person in people(30)])
    assert heights.std() / heights.mean() < 0.15
    for person in (Identity(), Identity(age=0.2), Identity(age=1.7, gender=1.0)):
        model, weights = head(), person._weights()
        names = {i: model.names[i] for i in weights}
        total = sum(w for i, w in weights.items() if names[i].startswith("phenotype:"))
        assert abs(total - 1) < 1e-3


def test_left_and_right_are_nearly_alike():
    assert "l-cheek-volume" in shape_pairs() and "chin-width" in shape_pairs()
    for person in people(10):
        eyes, lips = landmarks(person.vertices)
        assert abs(eyes[0]) < 0.03 and abs(lips[0]) < 0.03 and eyes[1] > lips[1] + 0.4


def test_teeth_lie_behind_the_lips():
    model = head()
    for person in people(20):
        _, lips = landmarks(person.vertices)
        assert person.vertices[model.vertex_part == TEETH, 2].max() < lips[2] + 0.05
