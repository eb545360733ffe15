"""Class orders and the way from one set to another."""

import numpy as np
import pandas as pd
import pytest

from scn_fastai.data.classes import ORDERS, canonical, class_order, class_table, map_codes, to_classes
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError


def faces_of(labels, classes, **columns):
    table = pd.DataFrame({"image": [str(i) for i in range(len(labels))], "split": "train", "label": labels, **columns})
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1).repeat(4, 1).repeat(4, 2)
    return FaceSet(table, classes, images, ReadAccount("made", len(labels)))


@pytest.mark.parametrize("source", [name for name in ORDERS if name != "rafdb-compound"])
@pytest.mark.parametrize("target", [name for name in ORDERS if name != "rafdb-compound"])
def test_codes_name_the_same_emotion(source, target):
    codes = map_codes(source, target)
    for name, code in zip(class_order(source), codes, strict=True):
        assert class_order(target)[code] == name if code >= 0 else name not in class_order(target)


def test_the_table_has_the_numbers_of_the_files():
    table = class_table()
    # RAF-DB's list: 1 surprise 2 fear 3 disgust 4 happiness 5 sadness 6 anger 7 neutral
    assert table["rafdb"].drop("contempt").sort_values().index.tolist() == class_order("rafdb")
    assert table.loc["surprise", "rafdb"] == 1 and table.loc["anger", "affectnet"] == 6
    assert table.loc["anger", "fer2013"] == 0 and table.loc["contempt", "fer2013"] == -1


def test_other_words():
    assert [canonical(word) for word in ("Sad", " ANGRY ", "natural", "zebra")] == [
        "sadness",
        "anger",
        "neutral",
        "zebra",
    ]
    assert map_codes(["Happy", "sad"], ["sadness", "joy"]).tolist() == [1, 0]


def test_seven_classes_from_eight():
    labels = ["neutral", "contempt", "anger", "happiness"]
    faces = faces_of(labels, class_order("ferplus"), true_label=["neutral", "anger", "contempt", "happiness"])
    moved = to_classes(faces, "rafdb")
    assert moved.classes == class_order("rafdb") and moved.samples["label"].tolist() == ["neutral", "happiness"]
    assert moved.label_codes().tolist() == [6, 3] and moved.images[:, 0, 0].tolist() == [0, 3]
    assert moved.account.dropped == {
        "contempt, which is not among the classes": 1,
        "truly contempt, which is not among the classes": 1,
    }
    assert moved.account.read == 2 and faces.account.dropped == {}, "the first account stays as it was"


def test_votes_that_are_left_sum_to_one():
    votes = {"vote_joy": [0.5, 0.0], "vote_fear": [0.25, 0.0], "vote_contempt": [0.25, 1.0]}
    moved = to_classes(faces_of(["joy", "fear"], ["joy", "fear", "contempt"], **votes), ["fear", "happiness"])
    assert moved.samples["label"].tolist() == ["happiness", "fear"]
    np.testing.assert_allclose(moved.samples.loc[0, ["vote_happiness", "vote_fear"]].astype(float), [2 / 3, 1 / 3])
    assert moved.samples.loc[1, ["vote_happiness", "vote_fear"]].isna().all() and "vote_contempt" not in moved.samples


def test_what_cannot_be_mapped_is_one_sentence():
    with pytest.raises(DataError, match="There is no class order 'mars'; there are: ferplus, fer2013, rafdb"):
        map_codes("mars", "rafdb")
    with pytest.raises(DataError, match="None of the classes ant, bee is among surprise"):
        to_classes(faces_of(["ant"], ["ant", "bee"]), "rafdb")
