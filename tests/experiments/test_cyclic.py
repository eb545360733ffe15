"""O2U's cyclic stage: the rates, who trains with them, and that the score finds planted noise."""

import numpy as np
import pytest
from small_faces import CLASSES, small_faces

from scn_fastai import flip_labels
from scn_fastai.detect.cycles import o2u
from scn_fastai.detect.groups import auroc
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments import cyclic
from scn_fastai.experiments.cyclic import CyclicRate, cyclic_rate, train_cyclic
from scn_fastai.experiments.fit import TrainSettings

TRAIN = TrainSettings(arch="small", epochs=5, batch_size=32, device="cpu", half=False)


def test_the_rate_falls_in_a_line_and_starts_again():
    rates = [cyclic_rate(e) for e in range(20)]
    np.testing.assert_allclose(rates[:10], np.linspace(0.0091, 0.001, 10))
    assert rates[10:] == rates[:10]
    with pytest.raises(SettingsError, match="A cycle of 0 epochs"):
        CyclicRate(0)


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
