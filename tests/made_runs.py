"""Small runs made by hand."""

import numpy as np
import pandas as pd
import torch

from scn_fastai.core.relabeling import relabel
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.run import Run

CLASSES = ["anger", "joy", "fear"]


def make_run(folder, n=60, epochs=3, classes=CLASSES, truth=True, relabels=True, unseen=0, wrong=0.3):
    """A run of `epochs` epochs whose last two change labels towards the truth; the last `unseen` are never drawn."""
    rng, c = np.random.default_rng(0), len(classes)
    true = np.arange(n) % c
    given = np.where(rng.random(n) < wrong, (true + 1) % c, true)
    names = np.array(classes, dtype=object)
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(n)], "split": "train", "label": names[given]})
    if truth:
        table["true_label"] = names[true]
    scn = {"rank": True, "weight": True, "rank_margin": 0.15, "beta": 0.7}
    run = Run(folder / "default-seed0", table, classes, {"recipe": "default", "classes": classes, "scn": scn})
    run.ledger, run.history = LabelLedger(given, classes), SCNHistory(n, c)
    for epoch in range(epochs):
        _epoch(run, rng, true, relabels and epoch >= max(1, epochs - 2), unseen)
    return run


def _epoch(run, rng, true, relabels, unseen):
    n, c = run.history.n_samples, run.history.n_classes
    logits = torch.tensor(rng.normal(0, 1, (n, c)) + 3 * np.eye(c)[true])
    alpha = torch.tensor(rng.uniform(0.2, 1, n), dtype=torch.float32)
    low, seen = alpha < 0.5, torch.arange(n - unseen)
    run.history.begin_epoch("cpu")
    run.history.see(seen, alpha[seen], logits[seen], low[seen])
    high, lower = alpha[~low].mean(), alpha[low].mean()
    run.history.add(wce=torch.tensor(1.0), rank=torch.tensor(0.05), alpha_high=high, alpha_low=lower)
    if relabels:
        change = relabel(logits.softmax(1), run.ledger.given, None, 0.2)
        run.ledger.record(torch.arange(n), change, alpha, low)
    relabeled = run.ledger.flush(run.history.epoch)
    changed = int((run.ledger.current != run.ledger.given).sum())
    run.history.end_epoch(relabeled=relabeled, changed=changed, relabeling=relabels)
    run.history.note(accuracy=0.5 + 0.1 * run.history.epoch, train_accuracy_given=0.6)
