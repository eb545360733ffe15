import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_faces import pack_table

from scn_fastai.data.noise import face_doubt
from scn_fastai.data.source import Source
from scn_fastai.errors import DataError

pytestmark = pytest.mark.usefixtures("small_rendered")


def test_rendered_faces_are_the_default_and_need_no_path(small_pack):
    faces = Source().load()
    assert len(faces.part("train")) == 160 and len(faces.part("valid")) == 40 and len(faces.part("test")) == 0
    assert faces.images.shape == (200, 16, 16, 3)
    assert len(Source(path=str(small_pack)).load()) == 200
    assert Source(limit=80, size=12).load().images.shape == (120, 12, 12, 3)


def test_the_limit_is_the_same_for_every_seed_and_the_flips_are_not():
    source = Source(limit=80, noise=0.3)
    one, other = source.load(0).part("train").samples, source.load(1).part("train").samples
    assert one["image"].equals(other["image"]) and not one["label"].equals(other["label"])
    assert (one["label"] != one["true_label"]).sum() == 8 * 3


def test_human_noise_takes_uncertain_faces_first_and_ambiguous_ones_to_their_second_class():
    flips = []
    for seed in range(10):
        train = Source(noise=0.3, noise_kind="human").load(seed).part("train").samples
        wrong = train["label"] != train["true_label"]
        assert wrong.groupby(train["true_label"]).sum().eq(6).all()
        flips.append(train.assign(wrong=wrong))
    every = pd.concat(flips)
    share = every["wrong"].groupby(face_doubt(every) > 0).mean()
    assert share[True] > 1.5 * share[False] > 0
    ambiguous = every[every["wrong"] & (every["second"] != "")]
    assert 0.7 < (ambiguous["label"] == ambiguous["second"]).mean() < 1
    assert not every["wrong"].iloc[:160].equals(every["wrong"].iloc[160:320])


def test_faces_that_do_not_tell_get_confusion_and_the_account_says_so(tmp_path):
    names = ["fear", "surprise", "anger", "disgust"]
    for i in range(40):
        (tmp_path / names[i % 4]).mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), i, np.uint8)).save(tmp_path / names[i % 4] / f"{i}.png")
    human, confusion = (Source("folder", str(tmp_path), noise=0.25, noise_kind=kind) for kind in ("human", "confusion"))
    assert human.load(3).samples.equals(confusion.load(3).samples)
    assert "nothing says which of these faces are uncertain: labels are flipped along" in str(human.load().account)
    assert "nothing says" not in str(confusion.load().account)
    assert "nothing says" not in str(Source(noise=0.3, noise_kind="human").load().account)


def test_a_source_survives_json():
    source = Source(limit=40, noise=0.2, noise_kind="human")
    assert Source(**json.loads(json.dumps(source.as_dict()))) == source


def test_bad_names_are_one_sentence():
    for source, sentence in [
        (Source("mars"), "There is no data set 'mars'; there are: rendered, ferplus, fer2013, folder, csv"),
        (Source("folder"), "Where is folder"),
        (Source(limit=161), "limit of 161 training faces does not fit the 160 there are"),
        (Source(noise=0.3, noise_kind="pairs"), "no noise kind 'pairs'"),
    ]:
        with pytest.raises(DataError, match=sentence):
            source.load()


def test_the_small_pack_has_what_human_noise_needs():
    assert {"uncertainty", "level", "second"} <= set(pack_table().columns)
