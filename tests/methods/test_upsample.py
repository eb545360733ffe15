"""Balanced sampling: how often each class is drawn, that indices stay right, that the loader gets its order back."""

import numpy as np
import pytest
import torch
from small_faces import CLASSES, small_faces

from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.upsample import balanced_order

TRAIN = TrainSettings(arch="small", epochs=1, batch_size=16, device="cpu", half=False)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_a_class_is_drawn_by_its_size_to_one_minus_power(tiny, power):
    label = torch.tensor([0] * 16000 + [1] * 3000 + [3] * 1000)
    drawn = label[balanced_order(label, 4, power)]
    sizes = [16000, 3000, 0, 1000]
    chances = [n ** (1 - power) if n else 0 for n in sizes]
    expected = [20000 * c / sum(chances) for c in chances]
    assert np.abs(np.array([int((drawn == k).sum()) for k in range(4)]) - expected).max() < 350  # five deviations


def test_rare_classes_are_seen_again_and_again():
    faces = small_faces(400, 16, size=16)
    rare = np.where(np.arange(400) % 40 == 1, "happiness", "neutral")
    rare[:8] = CLASSES
    learn = face_learner(faces.with_labels(rare), "upsample", TRAIN)
    drawn = []
    learn.scn.ledger.to("cpu")
    see = learn.scn.history.see
    learn.scn.history.see = lambda index, *rest: (drawn.append(index), see(index, *rest))
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 0.01)
    index = torch.cat(drawn)
    counts = torch.bincount(learn.scn.ledger.given[index], minlength=8)
    assert len(index) == 400 and int(counts.min()) > 25 and int(counts.max()) < 75
    assert 0 < int((~torch.from_numpy(learn.scn.history.seen[0])).sum()) < 400
    order = sorted(learn.dls.train.get_idxs())
    assert order == list(range(400))  # every face once: the loader's own order is back
