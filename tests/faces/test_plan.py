import math

import numpy as np
import pytest

from scn_fastai.faces.degrade import IMAGE_KINDS
from scn_fastai.faces.expressions import CLASSES, unit_names
from scn_fastai.faces.plan import KINDS, describe_face, draw_face, person, split_of, strength


@pytest.fixture(scope="module")
def rows():
    return [describe_face(number) for number in range(1600)]


def test_everybody_shows_every_expression_once_and_is_in_one_split(rows):
    for identity in range(20):
        own = [row for row in rows if row["identity"] == identity]
        assert [row["label"] for row in own] == list(CLASSES)
        assert {row["split"] for row in own} == {split_of(identity)}
    shares = {split: sum(row["split"] == split for row in rows) / len(rows) for split in ("train", "valid", "test")}
    assert shares == {"train": 0.8, "valid": 0.1, "test": 0.1}


def test_about_30_percent_of_train_are_uncertain_and_half_of_the_rest(rows):
    train = [row["uncertainty"] != "none" for row in rows if row["split"] == "train"]
    rest = [row["uncertainty"] != "none" for row in rows if row["split"] != "train"]
    assert 0.26 < np.mean(train) < 0.34 and 0.42 < np.mean(rest) < 0.58
    assert {row["uncertainty"] for row in rows} == set(KINDS)


def test_levels_stand_only_beside_an_uncertainty(rows):
    for row in rows:
        assert math.isnan(row["level"]) if row["uncertainty"] == "none" else 0 <= row["level"] <= 1
        assert bool(row["second"]) == (row["uncertainty"] == "ambiguous") == (row["mix"] > 0)


def test_soft_labels_agree_with_the_class(rows):
    for row in rows:
        soft = np.array([row[f"soft_{name}"] for name in CLASSES])
        assert soft.sum() == pytest.approx(1, abs=1e-5) and soft[CLASSES.index(row["label"])] >= soft.max() - 1e-5
    ambiguous = [row for row in rows if row["second"]]
    assert all(0.24 < row[f"soft_{row['second']}"] < 0.51 for row in ambiguous)
    assert np.corrcoef([r["level"] for r in ambiguous], [r[f"soft_{r['second']}"] for r in ambiguous])[0, 1] > 0.99


def test_a_profile_is_turned_by_its_level(rows):
    turned = [row for row in rows if row["uncertainty"] == "profile"]
    assert all(abs(row["yaw"]) == pytest.approx(strength("profile", row["level"])) for row in turned)
    assert all(abs(row["yaw"]) <= 20 for row in rows if row["uncertainty"] != "profile")
    assert {row["yaw"] > 0 for row in turned} == {True, False}


def test_a_row_and_its_image_depend_on_number_and_seed_alone():
    row, same, other = describe_face(13), describe_face(13), describe_face(13, seed=1)
    assert str(row) == str(same) and row["phenotype_asian"] != other["phenotype_asian"]
    first = draw_face(row)
    describe_face(99)
    assert (draw_face(describe_face(13)) == first).all() and (draw_face(other) != first).any()
    assert person(1) is person(1)


def test_every_kind_of_uncertainty_can_be_drawn(rows):
    for kind in KINDS:
        row = next(row for row in rows if row["uncertainty"] == kind)
        image = draw_face(row)
        assert image.shape == (64, 64, 3)
        if kind in (*IMAGE_KINDS, "mask", "glasses"):
            assert (draw_face({**row, "uncertainty": "none"}) != image).any(), kind


def test_the_row_holds_what_the_table_promises():
    row = describe_face(0)
    promised = [
        "image",
        "identity",
        "split",
        "label",
        "true_label",
        "intensity",
        "second",
        "mix",
        "uncertainty",
        "level",
    ]
    promised += ["yaw", "pitch", "roll", "light_azimuth", "gender", "age", "phenotype_asian", "hair_style", "seed"]
    assert set(promised) < set(row) and all(f"unit_{name}" in row for name in unit_names())
