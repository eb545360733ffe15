"""O2U's cyclic stage: the rates, who trains with them, and that the score finds planted noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_faces import CLASSES, small_faces

from scn_fastai import flip_labels
from scn_fastai.detect.cycles import o2u
from scn_fastai.detect.groups import auroc
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments import cyclic, fit
from scn_fastai.experiments.cyclic import CyclicRate, cyclic_rate, train_cyclic
from scn_fastai.experiments.fit import FusedSGD, TrainSettings
from scn_fastai.training.network import build_network

TRAIN = TrainSettings(arch="small", epochs=5, batch_size=32, device="cpu", half=False)


def test_the_rate_falls_in_a_line_and_starts_again():
    rates = [cyclic_rate(e) for e in range(20)]
    np.testing.assert_allclose(rates[:10], np.linspace(0.0091, 0.001, 10))
    assert rates[10:] == rates[:10]
    with pytest.raises(SettingsError, match="A cycle of 0 epochs"):
        CyclicRate(0)


def test_no_cyclic_epochs_are_one_sentence_before_anything_is_trained():
    with pytest.raises(SettingsError, match="-5 cyclic epochs make no sense"):
        train_cyclic(small_faces(160, 40, size=16), TRAIN, epochs=-5)


def test_the_second_stage_has_its_rates_and_finds_wrong_labels(monkeypatch):
    clean = small_faces(160, 40, size=16)
    noisy = clean.with_labels(flip_labels(clean.part("train").samples["label"], 0.3, seed=1, classes=CLASSES).labels)
    rates, sizes = [], []

    class Watching(CyclicRate):
        def after_batch(self):
            if self.training:
                rates.append(self.learn.opt.hypers[-1]["lr"])
                sizes.append(len(self.learn.yb[0]))

    monkeypatch.setattr(cyclic, "CyclicRate", Watching)
    history, start = train_cyclic(noisy, TRAIN, epochs=4, cycle=2)
    assert (history.epoch, start) == (9, 5) and set(sizes) == {16}
    np.testing.assert_allclose(rates, np.repeat([cyclic_rate(e, 2) for e in range(4)], 10))
    given, truth = noisy.part("train").label_codes(), noisy.part("train").label_codes("true_label")
    score = o2u(history, given, start)
    assert auroc(score, given != truth) > 0.65
    loops = []
    for i in range(160):
        total, count = 0.0, 0
        for e in range(start, 9):
            z = history.logits[e].astype(float)
            losses = [np.log(np.exp(z[j]).sum()) - z[j, given[j]] for j in range(160) if history.seen[e, j]]
            if history.seen[e, i]:
                total += np.log(np.exp(z[i]).sum()) - z[i, given[i]] - np.mean(losses)
                count += 1
        loops.append(total / count)
    np.testing.assert_allclose(score, loops, atol=1e-6)
    with pytest.raises(RunError, match="no cyclic epoch: the history has 9"):
        o2u(history, given, 9)


# ---- the second stage is the first one's in all but its rates ----


@pytest.fixture
def second_stage(monkeypatch):
    """A list of what the cyclic stage's batches were: images, momentum, and whether classes are drawn equally often."""
    seen = []

    class Watching(CyclicRate):
        def after_batch(self):
            if self.training:
                dl = self.learn.dls.train
                seen.append((self.learn.xb[0].detach().clone(), self.learn.opt.hypers[-1]["mom"], dl.oversample))

    monkeypatch.setattr(cyclic, "CyclicRate", Watching)
    return seen


def test_the_second_stage_has_the_pretrained_networks_inputs(second_stage, tmp_path):
    torch.save(build_network("small", 3).state_dict(), tmp_path / "mine.pth")
    kind = "minus-one-one:size=20:channels=BGR"
    train = replace(TRAIN, epochs=1, oversample=True, pretrained=str(tmp_path / "mine.pth"), pretrained_kind=kind)
    train_cyclic(small_faces(48, 16, size=16), train, epochs=1, cycle=1)
    images, _, oversample = second_stage[0]
    assert images.shape == (16, 3, 20, 20) and oversample
    assert -1 <= images.min() < -0.5 and 0.5 < images.max() <= 1


def test_the_second_stage_has_the_size_that_the_network_is_made_for(second_stage, monkeypatch):
    monkeypatch.setattr(fit, "fixed_size", {"small": 20}.get)
    train_cyclic(small_faces(48, 16, size=16), replace(TRAIN, epochs=1), epochs=1, cycle=1)
    assert second_stage[0][0].shape[-1] == 20


def test_the_second_stage_begins_with_an_optimizer_of_its_own(second_stage, monkeypatch):
    made = []
    monkeypatch.setattr(fit, "FusedSGD", lambda *args, **how: made.append(FusedSGD(*args, **how)) or made[-1])
    train_cyclic(small_faces(48, 16, size=16), replace(TRAIN, epochs=1), epochs=1, cycle=1)
    assert len(made) == 2 and {momentum for _, momentum, _ in second_stage} == {0.9}
    buffers = [{id(state["momentum_buffer"]) for state in opt.state.values()} for opt in made]
    assert buffers[1] and not buffers[0] & buffers[1]
