"""What the tests of the methods share: a quick training of small faces, and the batches that it drew."""

from fastai.learner import Callback
from small_faces import small_faces

from scn_fastai.experiments.fit import TrainSettings, face_learner, train_faces

TRAIN = TrainSettings(arch="small", epochs=4, batch_size=32, device="cpu", half=False)


class Batches(Callback):
    """Epoch, samples, labels and loss of each training batch."""

    order = 9

    def __init__(self):
        self.seen = []

    def after_loss(self):
        if self.training:
            index = self.learn.dls.train.batch_index.tolist()
            self.seen.append((self.epoch, index, self.learn.yb[0].tolist(), self.learn.loss.item()))


def fitted(recipe, train=TRAIN, faces=None, callbacks=()):
    """A Learner after a quick training by a recipe."""
    learn = face_learner(faces or small_faces(96, 32, size=24), recipe, train)
    learn.add_cbs(callbacks)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(train.epochs, train.lr)
    return learn


def summary(recipe, train=TRAIN, faces=None, **where):
    """The summary of a quick training by a recipe."""
    return train_faces(faces or small_faces(96, 32, size=24), recipe, train, bar=False, **where)
