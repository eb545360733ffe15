"""Balanced sampling: how often each class is drawn, that indices stay right, that the loader gets its order back."""

import numpy as np
import pytest
import torch
from fastai.callback.schedule import lr_find  # noqa: F401
from made_methods import Batches
from small_faces import CLASSES, small_faces

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner
from scn_fastai.methods.upsample import Upsample, balanced_order

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


def test_a_loader_that_does_not_shuffle_may_be_evaluated_on_and_not_trained_on():
    learn = face_learner(small_faces(48, 16, size=16), "upsample", TRAIN)
    learn.dls.train.shuffle = False
    with learn.no_bar(), learn.no_logging():
        learn.validate()
        with pytest.raises(SettingsError, match="^upsample chooses the order of the training faces, but"):
            learn.fit(1, 0.01)


def test_after_a_search_and_without_it_every_face_is_drawn_once(tmp_path):
    learn, drawn = face_learner(small_faces(64, 16, size=16), "upsample", TRAIN), Batches()
    learn.path = tmp_path
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=6, show_plot=False)
        learn.remove_cb(Upsample)
        learn.add_cb(drawn)
        learn.fit(1, 0.01)
    assert sorted(sum((index for _, index, *_ in drawn.seen), [])) == list(range(64))
