"""A guest gives everything back: after a search, a fit that is cancelled, an interrupt, and when it is taken off."""

from dataclasses import replace

import pytest
from fastai.callback.schedule import lr_find  # noqa: F401
from fastai.learner import Callback, CancelFitException
from fastai.losses import CrossEntropyLossFlat
from made_methods import TRAIN, Batches
from small_faces import small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods import METHODS
from scn_fastai.methods.guest import Guest

CHANGE = ("upsample", "metacleaner", "rul", "eac", "dlpcnn", "ran", "mixup")  # the loader, the network or the Learner


class Stop(Callback):
    """Ends the training in its first batch, before the callbacks that come after the batch."""

    order = -9  # where fastai's TerminateOnNaNCallback stands

    def __init__(self, how):
        self.how = how

    def after_batch(self):
        if self.training:
            raise self.how


@pytest.fixture(scope="module")
def faces():
    found = small_faces(96, 32, size=24)
    for name in found.classes:  # pld draws from votes
        found.samples[f"vote_{name}"] = (found.samples["label"] == name).astype(float)
    return found


def stopped(faces, name, how):
    """A Learner whose training was ended in that way."""
    learn = face_learner(faces, name, replace(TRAIN, epochs=1))
    stop = Stop(how)
    learn.add_cb(stop)
    with learn.no_bar(), learn.no_logging():
        if isinstance(how, KeyboardInterrupt):
            with pytest.raises(KeyboardInterrupt):
                learn.fit(1, 0.01)
        else:
            learn.fit(1, 0.01)
    learn.remove_cb(stop)
    return learn


def changes(learn):
    """What is not as it was before a training, by name."""
    found = [key for key in ("shuffle_fn", "order_before") if key in vars(learn.dls.train)]
    found += [str(module) for module in learn.model.modules() if module._forward_pre_hooks or module._forward_hooks]
    found += ["keep_weights"] if getattr(learn.model, "keep_weights", False) else []
    found += ["weights"] if getattr(learn.model, "weights", None) is not None else []
    return found + ([] if isinstance(learn.loss_func, CrossEntropyLossFlat) else ["loss_func"])


@pytest.mark.parametrize("name", METHODS)
def test_a_learning_rate_can_be_searched_for(faces, name, tmp_path):
    learn = face_learner(faces, name, TRAIN)
    learn.path = tmp_path
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=6, show_plot=False)
    assert learn.scn.history.epoch == 0 and not changes(learn)


@pytest.mark.parametrize("name", METHODS)
def test_training_without_scn_is_one_sentence_or_an_ordinary_training(faces, name):
    learn = face_learner(faces, name, replace(TRAIN, epochs=1))
    learn.remove_cb(learn.scn)
    with learn.no_bar(), learn.no_logging():
        if any(isinstance(cb, Guest) for cb in learn.cbs):
            with pytest.raises(SettingsError, match="trains by the labels that SCNCallback keeps, and that was taken"):
                learn.fit(1, 0.01)
        else:
            learn.fit(1, 0.01)


@pytest.mark.parametrize("name", CHANGE)
def test_a_cancelled_fit_leaves_everything_as_it_was(faces, name):
    assert not changes(stopped(faces, name, CancelFitException()))


@pytest.mark.parametrize("name", CHANGE)
def test_after_an_interrupt_it_can_be_taken_off(faces, name):
    learn = stopped(faces, name, KeyboardInterrupt())
    assert changes(learn)  # nothing of fastai's says that the training is over
    learn.remove_cbs([cb for cb in learn.cbs if isinstance(cb, Guest)])
    assert not changes(learn)
    drawn = Batches()
    learn.add_cb(drawn)
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        learn.fit(1, 0.01)
    assert sorted(sum((index for _, index, *_ in drawn.seen), [])) == list(range(96))


@pytest.mark.parametrize("name", CHANGE)
def test_after_an_interrupt_an_evaluation_finds_everything_as_it_was(faces, name):
    learn = stopped(faces, name, KeyboardInterrupt())
    with learn.no_bar(), learn.no_logging():
        learn.validate()
    assert not changes(learn)


class Refuses(Guest):
    """Raises one of our sentences."""

    def before_fit(self):
        raise SettingsError("This is the sentence.")


def test_our_errors_come_through_as_the_sentence_that_they_are(faces):
    learn = face_learner(faces, "plain", TRAIN)
    learn.add_cb(Refuses())
    with learn.no_bar(), learn.no_logging(), pytest.raises(SettingsError, match="^This is the sentence.$"):
        learn.validate()
