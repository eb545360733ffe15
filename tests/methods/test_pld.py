"""PLD: labels come from the votes, in their proportions, anew at every draw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_methods import TRAIN, Batches, fitted
from small_faces import CLASSES, small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods.pld import draw_labels, vote_shares


def voted(shares=(0.7, 0.2, 0.1)):
    """Small faces whose votes go to the label, the next class and the one after it."""
    faces = small_faces(96, 32, size=24)
    codes = faces.label_codes()
    for code, name in enumerate(CLASSES):
        votes = [share * ((codes + step) % 8 == code) for step, share in enumerate(shares)]
        faces.samples[f"vote_{name}"] = sum(votes)
    return faces


def test_labels_are_drawn_by_summed_shares(tiny):
    """The first class at which the sum of the shares exceeds the number; in plain loops."""
    shares = torch.tensor([0.5, 0.0, 0.25, 0.25]).expand(400, 4)
    uniform = torch.rand(400)
    for u, label in zip(uniform.tolist(), draw_labels(shares, uniform).tolist(), strict=True):
        total, expected = 0.0, 0
        for code, share in enumerate([0.5, 0.0, 0.25, 0.25]):
            total += share
            if u < total:
                expected = code
                break
        assert label == expected


def test_rounding_never_draws_a_class_without_votes():
    shares = torch.tensor([[0.1] * 10 + [0.0, 0.0]])
    assert draw_labels(shares, torch.tensor([1 - 2**-24])).item() == 9


def test_shares_of_faces():
    faces = voted()
    faces.samples.loc[3, [f"vote_{name}" for name in CLASSES]] = np.nan  # nobody voted
    shares = vote_shares(faces)
    codes = faces.part("train").label_codes()
    assert shares.shape == (96, 8)
    assert shares[0].tolist() == pytest.approx([0.7, 0.2, 0.1, 0, 0, 0, 0, 0])
    assert shares[3].tolist() == np.eye(8)[codes[3]].tolist()
    torch.testing.assert_close(shares.sum(1), torch.ones(96))


def test_few_votes_can_be_left_out():
    assert vote_shares(voted(), at_least=0.15)[0].tolist() == pytest.approx([7 / 9, 2 / 9, 0, 0, 0, 0, 0, 0])
    assert vote_shares(voted(), at_least=0.9)[0].tolist() == pytest.approx([0.7, 0.2, 0.1, 0, 0, 0, 0, 0])


def test_training_draws_anew_and_history_keeps_the_given_labels():
    batches = Batches()
    learn = fitted("pld", replace(TRAIN, epochs=12), voted(), [batches])
    given = learn.scn.ledger.given
    step = torch.cat([(torch.tensor(labels) - given[index]) % 8 for _, index, labels, _ in batches.seen])
    share = torch.bincount(step, minlength=8) / len(step)
    assert share[:3].tolist() == pytest.approx([0.7, 0.2, 0.1], abs=0.05) and share[3:].sum() == 0
    first, later = ({i: y for e, index, labels, _ in batches.seen if e == epoch
                     for i, y in zip(index, labels, strict=True)} for epoch in (0, 5))  # fmt: skip
    assert any(first[i] != later[i] for i in first.keys() & later.keys())
    assert torch.equal(given, torch.from_numpy(voted().part("train").label_codes()))


def test_soft_labels_do_where_there_are_no_votes():
    faces = voted()
    soft = replace(faces, samples=faces.samples.rename(columns=lambda name: name.replace("vote_", "soft_")))
    assert torch.equal(vote_shares(soft), vote_shares(faces))


def test_faces_without_votes():
    with pytest.raises(SettingsError, match="^pld draws labels from the votes .* no column 'vote_neutral': use faces"):
        face_learner(small_faces(64, 32, size=24), "pld", TRAIN)
    with pytest.raises(SettingsError, match="^at_least is 3, but it must be a number from 0 to 1.$"):
        face_learner(voted(), "pld:at_least=3", TRAIN)
