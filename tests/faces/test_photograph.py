"""Rendered people in photographs, and the true place of their eyes and mouths."""

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.faces.expressions import CLASSES
from scn_fastai.faces.photograph import Place, photograph, random_place, write_photographs


def test_a_photograph_is_the_same_every_time_and_another_with_another_seed():
    one, same, other = (photograph([Place(60, 50, 40)], 100, 120, seed) for seed in (1, 1, 2))
    assert one.image.shape == (100, 120, 3) and one.image.dtype == np.uint8 and one.points.shape == (1, 5, 2)
    assert (one.image == same.image).all() and (one.points == same.points).all()
    assert (one.image != other.image).any()


def test_the_face_lies_where_it_was_put():
    for place in (Place(60, 50, 40), Place(140, 90, 60, turn=25)):
        points = photograph([place], 160, 200).points[0]
        middle = (points[:2].mean(0) + points[3:].mean(0)) / 2
        assert np.abs(middle - [place.x, place.y]).max() < 0.12 * place.side
        across = points[1] - points[0]  # against the clock: the right eye is higher
        assert np.degrees(np.arctan2(-across[1], across[0])) == pytest.approx(place.turn, abs=8)


def test_the_room_is_left_alone_where_nobody_is():
    empty, full = photograph([], 100, 120, seed=3), photograph([Place(30, 40, 30)], 100, 120, seed=3)
    assert empty.points.shape == (0, 5, 2)
    assert (empty.image[:, 70:] == full.image[:, 70:]).all() and (
        empty.image[30:50, 25:35] != full.image[30:50, 25:35]
    ).any()


def test_who_comes_last_stands_in_front():
    behind, before = Place(60, 50, 50), Place(66, 56, 50)
    both = photograph([behind, before], 100, 120)
    assert both.points.shape == (2, 5, 2) and np.allclose(both.points[0], photograph([behind], 100, 120).points[0])
    alone = photograph([behind], 100, 120).image
    assert (both.image[50:70, 55:75] != alone[50:70, 55:75]).any(2).mean() > 0.9


def test_a_body_goes_down_to_the_edge():
    empty, full = photograph([], 160, 120, seed=3), photograph([Place(60, 40, 40)], 160, 120, seed=3)
    changed = (empty.image != full.image).any(2)
    assert changed[-1, 40:80].all() and changed[-1].sum() < 90 and not changed[:5].any()


def test_a_person_may_be_cut_by_the_edge_but_not_stand_outside():
    assert photograph([Place(0, 0, 60)], 80, 80).image.shape == (80, 80, 3)
    with pytest.raises(DataError, match="at 90, 10 lies outside of a photograph of 80 x 80"):
        photograph([Place(90, 10, 60)], 80, 80)


def test_random_places_are_within_their_limits():
    rng = np.random.default_rng(0)
    places = [random_place("fear", rng, turn=10, yaw=5) for _ in range(50)]
    assert all(abs(place.turn) <= 10 and abs(place.yaw) <= 5 and 80 <= place.side < 160 for place in places)
    assert len({place.x for place in places}) == 50 and {place.expression for place in places} == {"fear"}


def test_a_folder_for_each_expression(tmp_path):
    made = write_photographs(tmp_path / "photos", each=1)
    assert sorted(made) == sorted(f"{name}/000.png" for name in CLASSES)
    for name, one in made.items():
        assert (np.asarray(Image.open(tmp_path / "photos" / name)) == one.image).all() and len(one.points) == 1
    with pytest.raises(DataError, match="holds something already: choose another folder"):
        write_photographs(tmp_path / "photos")
