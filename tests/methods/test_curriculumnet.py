"""CurriculumNet: stages, what they draw, how they weigh."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.learner import Callback
from made_methods import TRAIN, Batches, fitted, summary
from small_faces import small_faces
from torch.nn.functional import cross_entropy

from scn_fastai.detect.groups import auroc
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import face_learner
from scn_fastai.methods.curriculumnet import curriculum_loss, stage_of, stage_order


@pytest.mark.parametrize("epochs", [4, 5, 7, 25, 40])
def test_every_stage_has_its_epochs(epochs):
    stages = [stage_of(epoch, epochs) for epoch in range(epochs)]
    assert stages == sorted(stages) and set(stages) == {0, 1, 2, 3}
    counts = [stages.count(stage) for stage in (1, 2, 3)]
    assert max(counts) - min(counts) <= 1 and abs(stages.count(0) - epochs / 4) <= 1


def unequal():
    """800 samples of two classes, 3 to 1, and their subsets: half clean, the rest noisy and highly noisy."""
    labels = (torch.arange(800) % 4 == 0).long()
    return torch.tensor([0, 0, 1, 2]).repeat_interleave(4).repeat(50), labels


@pytest.mark.parametrize(("stage", "kinds"), [(1, {0}), (2, {0, 1})])
def test_the_first_stages_draw_classes_equally_often(tiny, stage, kinds):
    subset, labels = unequal()
    order = stage_order(subset, labels, stage, 32)
    assert len(order) == 800 and set(subset[order].tolist()) == kinds
    assert abs(labels[order].float().mean() - 0.5) < 0.05  # in the data it is 0.25


@pytest.mark.parametrize("batch_size", [32, 30, 3])
def test_the_last_stage_fills_batches_by_halves_and_quarters(tiny, batch_size):
    subset, labels = unequal()
    order = stage_order(subset, labels, 3, batch_size)
    assert len(order) == 800
    for start in range(0, 800 - batch_size, batch_size):
        kinds = subset[order[start : start + batch_size]].tolist()
        quarter = batch_size // 4
        assert [kinds.count(kind) for kind in range(3)] == [batch_size - 2 * quarter, quarter, quarter]


def test_an_empty_subset_is_replaced_by_the_clean_one(tiny):
    subset = torch.tensor([0, 0, 1, 0] * 8)
    order = stage_order(subset, torch.arange(32) % 2, 3, 16)
    assert [(subset[order[:16]] == kind).sum().item() for kind in range(3)] == [12, 4, 0]


def test_the_loss_is_the_weighted_mean(tiny):
    z, y, w = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1, 0.5, 1, 0.5, 0.5])
    total = sum(float(w[i]) * float(-z[i].log_softmax(0)[y[i]]) for i in range(5))
    assert float(curriculum_loss(z, y, w)) == pytest.approx(total / 5, rel=1e-5)
    torch.testing.assert_close(curriculum_loss(z, y, torch.ones(5)), cross_entropy(z, y))


def test_training_draws_by_the_stage_and_finds_wrong_labels():
    faces = small_faces(200, 40, size=24)
    codes = faces.part("train").label_codes()
    wrong = np.arange(200) % 5 == 0
    batches = Batches()
    train = replace(TRAIN, epochs=8, batch_size=40)
    learn = fitted("curriculumnet", train, faces.with_labels((codes + 3 * wrong) % 8), [batches])
    found = learn.curriculum_net.curriculum
    assert set(found.subset.tolist()) == {0, 1, 2}
    assert auroc(found.suspicion.numpy(), wrong) > 0.8
    for epoch, index, labels, _ in batches.seen:
        assert labels == learn.scn.ledger.given[index].tolist()
        assert set(found.subset[index].tolist()) <= [{0, 1, 2}, {0}, {0, 1}, {0, 1, 2}][stage_of(epoch, 8)]
    assert len(batches.seen) == 40
    share = (found.subset[batches.seen[-1][1]] == 0).float().mean()
    assert share == 0.5
    assert learn.scn.history.epoch == 8 and np.isnan(learn.scn.history.alpha[2]).any()  # not all are drawn


def test_a_second_training_divides_the_faces_anew():
    learn = fitted("curriculumnet")
    first, batches = learn.curriculum_net.curriculum, Batches()
    learn.add_cb(batches)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(4, 0.05)
    assert sorted(first_epoch(batches)) == list(range(96))  # before there is a division
    assert not torch.equal(learn.curriculum_net.curriculum.density, first.density)


def test_an_interrupted_stage_does_not_draw_the_next_trainings_first_epoch():
    learn, batches = face_learner(small_faces(96, 32, size=24), "curriculumnet", TRAIN), Batches()
    learn.add_cb(Interrupt())
    with learn.no_bar(), learn.no_logging():
        with pytest.raises(KeyboardInterrupt):
            learn.fit_one_cycle(4, 0.05)
        learn.remove_cb(Interrupt)
        learn.add_cb(batches)
        learn.fit_one_cycle(4, 0.05)
    assert sorted(first_epoch(batches)) == list(range(96))


def test_a_training_that_is_made_longer_does_not_go_back_to_an_earlier_stage(tmp_path):
    stages, folder = [], tmp_path / "run"
    summary("curriculumnet", TRAIN, folder=folder)
    summary("curriculumnet", replace(TRAIN, epochs=8), folder=folder, resume=True, callbacks=[Stages(stages)])
    assert [stage_of(epoch, 8) for epoch in range(4, 8)] == [2, 2, 3, 3] and stages == [3, 3, 3, 3]


class Stages(Callback):
    """The stage of each epoch."""

    order = 9

    def __init__(self, into):
        self.into = into

    def before_train(self):
        self.into.append(self.learn.curriculum_net.stage)


def test_a_run_that_does_not_say_its_stage_is_resumed_as_before():
    callback = fitted("curriculumnet").curriculum_net
    state = callback.state()
    assert int(state.pop("stage")) == 3
    callback.load_state(state)
    assert callback.stage == 0 and torch.equal(callback.curriculum.subset, state["subset"])


def first_epoch(batches):
    return sum((index for epoch, index, *_ in batches.seen if epoch == 0), [])


class Interrupt(Callback):
    """Ctrl-C in the third epoch."""

    order = 80

    def after_batch(self):
        if self.training and self.epoch == 2:
            raise KeyboardInterrupt


def test_without_a_second_weight_the_loss_is_the_drawn_mean():
    batches = Batches()
    learn = fitted("curriculumnet:noisy_weight=0.0", callbacks=[batches])
    subset = learn.curriculum_net.curriculum.subset
    late = [(loss, index) for epoch, index, _, loss in batches.seen if epoch == 3]
    assert all(loss == 0 for loss, index in late if (subset[index] > 0).all())
    assert learn.curriculum_net._weights.tolist() == (subset == 0).float().tolist()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("cluster_on=colour", "^cluster_on is 'colour', but it must be one of density, distance.$"),
        ("rank=2", "^rank is 2, but it must be a number from 0 to 1.$"),
        ("warmup=-1", "^warmup is "),
        ("noisy_weight=-1", "^noisy_weight is "),
    ],
)
def test_an_option_out_of_range(options, words):
    with pytest.raises(SettingsError, match=words):
        face_learner(small_faces(64, 32, size=24), f"curriculumnet:{options}", TRAIN)


def test_too_few_epochs_leave_stages_out_and_say_so():
    assert [[stage_of(epoch, epochs) for epoch in range(epochs)] for epochs in (1, 2, 3)] == [[0], [0, 1], [0, 1, 2]]
    with pytest.warns(UserWarning, match=r"^curriculumnet has too few epochs \(2\) for .*: train 4 or more.$"):
        fitted("curriculumnet", replace(TRAIN, epochs=2))
