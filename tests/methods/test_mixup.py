"""MixUp: the loss of the blend, the ledger's labels in both halves, and a loss that comes back after an interrupt."""

import pytest
import torch
from fastai.learner import Callback
from fastai.losses import CrossEntropyLossFlat
from oracle import wce
from small_faces import small_faces

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.mixup import LedgerMixUp

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


class Look(Callback):
    """Keeps what a batch was given, and its loss; stops the training if it is told to."""

    order = 50

    def __init__(self, stop=False):
        self.stop, self.batches = stop, []

    def after_loss(self):
        if not self.training:
            return
        mix = self.learn.ledger_mix_up
        given = [t.detach().as_subclass(torch.Tensor) for t in (self.learn.pred, self.y, mix.yb1[0], mix.lam)]
        self.batches.append((*given, float(self.learn.loss_grad), self.learn.scn.index))
        if self.stop:
            raise KeyboardInterrupt


def fit(stop=False, change=None):
    learn, look = face_learner(small_faces(48, 16, size=16), "mixup", TRAIN), Look(stop)
    learn.add_cb(look)
    if change is not None:
        learn.scn.ledger.override(*change)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
    return learn, look


def test_the_loss_is_that_of_both_labels_in_their_shares():
    _, look = fit()
    for z, y, partner, share, found, _ in look.batches:
        total = 0.0
        for row, a, b, lam in zip(z.tolist(), y.tolist(), partner.tolist(), share.tolist(), strict=True):
            total += lam * wce([row], [1.0], [a]) + (1 - lam) * wce([row], [1.0], [b])
        assert found == pytest.approx(total / len(z), rel=1e-5) and (share >= 0.5).all()


def test_a_corrected_label_counts_in_both_halves():
    """Every sample's label is 7 by a person's word, so no other is mixed in."""
    _, look = fit(change=(list(range(48)), "contempt"))
    assert all((y == 7).all() and (partner == 7).all() for _, y, partner, *_ in look.batches)


def interrupted():
    """A Learner whose training was ended by Ctrl-C, and what ended it."""
    learn, look = face_learner(small_faces(48, 16, size=16), "mixup", TRAIN), Look(stop=True)
    learn.add_cb(look)
    with learn.no_bar(), learn.no_logging(), pytest.raises(KeyboardInterrupt):
        learn.fit(1, 0.01)
    return learn, look


def test_the_loss_comes_back_after_an_interrupt():
    learn, look = interrupted()
    with learn.no_bar(), learn.no_logging():
        look.stop = False
        learn.fit(1, 0.01)
    assert isinstance(learn.loss_func, CrossEntropyLossFlat)


def test_the_loss_comes_back_when_it_is_taken_off_after_an_interrupt():
    learn, _ = interrupted()
    with learn.no_bar(), learn.no_logging():
        learn.remove_cb(LedgerMixUp)
        loss, *_ = learn.validate()
        probs, _ = learn.get_preds()
    assert loss > 0 and torch.allclose(probs.sum(1), torch.ones(16), atol=1e-5)


def test_a_last_batch_of_one_has_the_loss_of_its_own_label():
    learn, look = face_learner(small_faces(49, 16, size=32), "mixup", TRAIN), Look()
    learn.dls.train.drop_last = False
    learn.add_cb(look)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
    z, y, _, share, found, _ = look.batches[-1]
    assert [len(batch[0]) for batch in look.batches] == [16, 16, 16, 1] and share.tolist() == [1.0]
    assert found == pytest.approx(wce(z.tolist(), [1.0], y.tolist()), rel=1e-5)
