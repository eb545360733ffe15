"""LTNet: the loss in plain loops, matrices that stay stochastic, the second labeller."""

import math
from dataclasses import replace

import pytest
import torch
from fastai.callback.training import BnFreeze
from fastai.learner import Callback
from made_methods import TRAIN, Batches, fitted, summary
from small_faces import small_faces
from torch.nn.functional import cross_entropy

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods.ltnet import Labellers, latent_truth_loss


def loss_by_loops(z, matrices, labels, weights):
    """sum_j w_j mean_i -log sum_k p_ik T^j[k, y^j_i], over the samples that labeller j knows, / sum_j w_j."""
    total = 0.0
    for matrix, own, weight in zip(matrices, labels, weights, strict=True):
        losses = []
        for row, y in zip(z, own, strict=True):
            powers = [math.exp(v) for v in row]
            if y >= 0:
                losses.append(-math.log(sum(p / sum(powers) * t[y] for p, t in zip(powers, matrix, strict=True))))
        total += weight * (sum(losses) / len(losses) if losses else 0)
    return total / sum(weights)


@pytest.mark.parametrize("labels", [[[0, 2, 1, 1], [0, 0, 2, 1]], [[0, -1, 1, 1], [-1, -1, -1, -1]]])
def test_the_loss_is_that_of_the_definition(tiny, labels):
    z, matrices, weights = torch.randn(4, 3), torch.randn(2, 3, 3).softmax(2), (1.0, 0.3)
    loss = latent_truth_loss(z, matrices, torch.tensor(labels), weights)
    assert float(loss) == pytest.approx(loss_by_loops(z.tolist(), matrices.tolist(), labels, weights), rel=1e-5)


def test_with_identities_it_is_cross_entropy(tiny):
    z, y = torch.randn(6, 4), torch.tensor([0, 3, 1, 1, 2, 0])
    loss = latent_truth_loss(z, torch.eye(4).expand(2, 4, 4), torch.stack([y, y]), (1, 2))
    assert float(loss) == pytest.approx(float(cross_entropy(z, y)), rel=1e-5)


def test_matrices_are_stochastic_and_near_the_identity_at_first():
    matrices = Labellers(2, 5, spread=0.1)()
    torch.testing.assert_close(matrices.sum(2), torch.ones(2, 5))
    torch.testing.assert_close(matrices[0], 0.9 * torch.eye(5) + 0.02)


def test_a_matrix_learns_how_a_labeller_errs(tiny):
    """The truth is known to the network; one labeller says 1 for every second 0."""
    truth = torch.arange(300) % 3
    said = torch.where((truth == 0) & (torch.arange(300) % 2 == 0), 1, truth)
    part, z = Labellers(1, 3), 12.0 * torch.eye(3)[truth]
    opt = torch.optim.SGD(part.parameters(), lr=5.0)
    for _ in range(200):
        opt.zero_grad()
        latent_truth_loss(z, part(), said[None], (1,)).backward()
        opt.step()
    torch.testing.assert_close(part()[0, 0], torch.tensor([0.5, 0.5, 0.0]), atol=0.02, rtol=0)


def test_training_has_a_second_labeller_from_its_epoch_on():
    batches = Batches()
    learn = fitted("ltnet:start=0.5", callbacks=[batches])
    cb = learn.lt_net
    assert cb.predicted.shape == (96,) and set(cb.predicted.tolist()) <= set(range(8))
    matrices = cb.matrices()
    torch.testing.assert_close(matrices.sum(2), torch.ones(2, 8))
    assert not torch.equal(matrices[0], matrices[1])
    start = Labellers(2, 8)().detach()
    assert not torch.allclose(matrices, start, atol=1e-4)
    assert {epoch for epoch, *_ in batches.seen} == {0, 1, 2, 3}


def test_the_second_matrix_starts_at_what_the_network_said_of_each_label():
    learn = fitted("ltnet:start=0.5:given=1:predicted=0")  # with weight 0 only weight decay moves it
    given, said = learn.scn.ledger.current.tolist(), learn.lt_net.predicted.tolist()
    matrix = learn.lt_net.matrices()[1]
    for k in range(8):
        of_class = [s for g, s in zip(given, said, strict=True) if g == k]
        expected = [(of_class.count(y) + 1) / (len(of_class) + 8) for y in range(8)]
        assert matrix[k].tolist() == pytest.approx(expected, rel=1e-2)


def test_a_second_training_asks_the_network_anew():
    learn = fitted("ltnet:start=0.5")
    lt_net, said = learn.lt_net, []
    learn.add_cb(Notes(said))
    lt_net.predicted.fill_(7)  # as if the first network had said so
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 0.05)
    assert said == [False, False, True, True] and len(set(lt_net.predicted.tolist())) > 1


class Notes(Callback):
    """Whether there is a second labeller, in each epoch, or whether it is listened to (``on``)."""

    order = 9

    def __init__(self, into, what="predicted"):
        self.into, self.what = into, what

    def before_train(self):
        value = getattr(self.learn.lt_net, self.what)
        self.into.append(value is not None and value is not False)


def test_a_training_that_is_made_longer_keeps_its_second_labeller(tmp_path):
    """In 4 epochs it begins in the last one, in 6 it would begin in epoch 5."""
    on, folder = [], tmp_path / "run"
    summary("ltnet:start=1", TRAIN, folder=folder)
    summary("ltnet:start=1", replace(TRAIN, epochs=6), folder=folder, resume=True, callbacks=[Notes(on, "on")])
    assert on == [True, True]


def test_a_frozen_batch_norm_stays_frozen_when_the_network_labels_the_faces():
    learn = face_learner(small_faces(96, 32, size=24), "ltnet:start=0.5", TRAIN)
    norm = learn.model[1]
    norm.requires_grad_(False)
    mean = norm.running_mean.clone()
    learn.add_cb(BnFreeze())
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 0.05)
    assert learn.lt_net.predicted is not None and torch.equal(norm.running_mean, mean)


def test_before_it_the_loss_is_cross_entropy():
    lt, plain = Batches(), Batches()
    train = replace(TRAIN, epochs=2)
    fitted("ltnet:start=0.5", train, callbacks=[lt])
    fitted("plain", train, callbacks=[plain])
    early = [[seen for seen in heard.seen if seen[0] == 0] for heard in (lt, plain)]
    assert early[0] == early[1]
    assert lt.seen[-1][3] != plain.seen[-1][3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("start=1.5", "^start is 1.5, but it must be a number from 0 to 1.$"),
        ("given=-1", "^given is "),
        ("predicted=-1", "^predicted is "),
        ("spread=0", "^spread is "),
        ("given=0:predicted=0", "^given and predicted of ltnet are both 0, so there is nothing to learn from"),
    ],
)
def test_an_option_out_of_range(options, words):
    with pytest.raises(SettingsError, match=words):
        face_learner(small_faces(64, 32, size=24), f"ltnet:{options}", TRAIN)


def test_one_epoch_is_too_short_and_it_says_so():
    with pytest.warns(UserWarning, match="^ltnet has 1 epoch and learns from the given labels alone: train 2"):
        assert fitted("ltnet", replace(TRAIN, epochs=1)).lt_net.predicted is None
