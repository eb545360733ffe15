import numpy as np

from scn_fastai.faces.head_model import EYE, LASH, SKIN, TEETH, TONGUE, head, rigid_fit


def test_what_is_in_the_head():
    model = head()
    assert model.vertices.shape[1] == 3 and len(model.vertices) == len(model.vertex_part) == model.deltas.shape[1]
    assert model.triangles.min() == 0 and model.triangles.max() == len(model.vertices) - 1
    assert set(np.unique(model.triangle_part)) == {SKIN, EYE, TEETH, TONGUE, LASH}
    assert len(model.names) == len(set(model.names)) == len(model.deltas)
    assert len(model.indices("unit")) == 52 and len(model.indices("phenotype")) == 18
    assert np.isfinite(model.deltas).all() and model.attributes.shape == (len(model.vertices), 8)
    for mask in (model.lips, model.eyelids, model.mouth, model.ears, model.occlusion):
        assert mask.min() >= 0 and mask.max() <= 1.001 and mask.max() > 0.5


def test_moved_is_linear_in_the_weights():
    model = head()
    jaw, brow = (model.indices("unit")[name] for name in ("jawOpen", "browInnerUp"))
    both = model.moved({jaw: 0.5, brow: 2.0})
    assert np.allclose(both, 0.5 * model.deltas[jaw] + 2 * model.deltas[brow], atol=1e-6)
    assert not model.moved({}).any()


def test_the_units_move_what_their_names_say():
    model = head()
    chin = (model.vertex_part == SKIN) & (model.vertices[:, 1] < 6.2) & (model.vertices[:, 2] > 1.2)
    jaw = model.deltas[model.indices("unit")["jawOpen"]]
    assert jaw[chin, 1].mean() < -0.1 and np.abs(jaw[model.vertices[:, 1] > 7.6]).max() < 0.02
    smile = model.deltas[model.indices("unit")["mouthSmileLeft"]]
    assert np.abs(smile[model.vertices[:, 0] > 0.1]).max() > 4 * np.abs(smile[model.vertices[:, 0] < -0.1]).max()


def test_rigid_fit_finds_scale_and_shift():
    points = np.random.default_rng(0).normal(size=(40, 3))
    scale, shift = rigid_fit(points, points * [1, 2, 0.5] + [3, 0, -1])
    assert np.allclose(scale, [1, 2, 0.5]) and np.allclose(shift, [3, 0, -1])
