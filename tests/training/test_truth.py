"""Figures that need the truth stand beside the others, and do nothing else."""

import pickle

import numpy as np
import pytest
import torch
from fastai.callback.core import CancelTrainException
from fastai.learner import Callback

from scn_fastai import SCNCallback
from scn_fastai.training.measures import label_accuracy, repair_measures
from scn_fastai.training.truth import TruthColumns

NAMES = ["relabel_precision", "relabel_recall", "relabel_harm"]


def test_the_figures_are_in_the_table_and_in_the_history(blobs, blob_learner):
    scn = SCNCallback(relabel_from=2, budget_ramp=1)
    learn = blob_learner(blobs, [scn, TruthColumns(blobs.truth)])
    learn.fit(5, 0.01)
    frame = scn.history.frame()
    found = repair_measures(scn.ledger.given, scn.ledger.current, blobs.truth)
    assert [frame[name].iloc[-1] for name in NAMES] == pytest.approx([found[name] for name in NAMES])
    assert frame["label_accuracy"][0] == pytest.approx(0.7) and frame["relabel_precision"][:2].isna().all()
    assert learn.recorder.metric_names[-3:] == ["label_accuracy", "relabel_precision", "time"]
    shown = [row[-1] for row in learn.recorder.values]
    np.testing.assert_allclose(shown, frame["relabel_precision"])
    for epoch in range(5):
        logits, seen = (torch.from_numpy(a[epoch].copy()) for a in (scn.history.logits, scn.history.seen))
        assert frame["train_accuracy_true"][epoch] == pytest.approx(label_accuracy(logits, seen, blobs.truth))
        assert frame["train_accuracy_given"][epoch] == pytest.approx(label_accuracy(logits, seen, blobs.given))


def test_the_truth_never_reaches_the_training(blobs, blob_learner, seed_everything):
    found = []
    for truth in (blobs.truth, torch.zeros(240), None):
        torch.manual_seed(0)
        scn = SCNCallback(relabel_from=1)
        learn = blob_learner(blobs, [scn] if truth is None else [scn, TruthColumns(truth)])
        seed_everything(1, learn)
        learn.fit(4, 0.01)
        found.append((scn.ledger.rows(), [p.detach() for p in learn.model.parameters()]))
    for rows, weights in found[1:]:
        assert rows.equals(found[0][0]) and all(torch.equal(a, b) for a, b in zip(weights, found[0][1], strict=True))


def test_the_columns_are_gone_after_fit_and_in_validation(blobs, blob_learner):
    learn = blob_learner(blobs, [SCNCallback(), TruthColumns(blobs.truth)])
    assert len(learn.validate()) == 2
    learn.fit(1)
    assert [m.name for m in learn.metrics] == ["accuracy"] and len(learn.validate()) == 2


def test_without_scn_there_is_nothing_to_judge(blobs, blob_learner):
    learn = blob_learner(blobs, TruthColumns(blobs.truth))
    learn.fit(1)
    learn.add_cb(SCNCallback())
    learn.fit(1)
    assert learn.scn.history.last("label_accuracy") == pytest.approx(0.7)
    learn.remove_cb(SCNCallback)
    learn.fit(1)
    assert list(learn.recorder.metric_names) == ["epoch", "train_loss", "valid_loss", "accuracy", "time"]


def test_an_interrupted_epoch_is_not_judged(blobs, blob_learner):
    class Nothing(Callback):
        order = 1

        def before_batch(self):
            if self.training:
                raise CancelTrainException

    learn = blob_learner(blobs, [SCNCallback(), TruthColumns(blobs.truth)])
    learn.fit(1)
    frame = learn.scn.history.frame()
    learn.fit(1, cbs=Nothing())  # an epoch without a batch
    assert learn.scn.history.frame().equals(frame)


def test_an_export_does_not_hold_the_truth(blobs, blob_learner):
    columns = TruthColumns(blobs.truth)
    loaded = pickle.loads(pickle.dumps(columns))
    assert loaded.truth is None and columns.truth is not None
    learn = blob_learner(blobs, [SCNCallback(), loaded])
    learn.fit(1)  # with nothing to judge by it is silent
    assert "label_accuracy" not in learn.scn.history.frame()
