"""O2U-Net's second stage: a learning rate that falls and starts again, with small batches."""

from fastai.learner import Callback

from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import SettingsError
from scn_fastai.experiments.fit import TrainSettings, face_learner, loaders_for
from scn_fastai.training.history import SCNHistory

HIGH, LOW = 0.01, 0.001


def cyclic_rate(epoch: int, cycle: int = 10, high: float = HIGH, low: float = LOW) -> float:
    """Learning rate of an epoch: ``(1 - s) high + s low`` with ``s = ((e mod c) + 1) / c``; a line that starts again.

    Huang et al., O2U-Net, ICCV 2019.

    >>> [round(cyclic_rate(e, cycle=3), 4) for e in range(4)]
    [0.007, 0.004, 0.001, 0.007]
    """
    if cycle < 1:
        raise SettingsError(f"A cycle of {cycle} epochs makes no sense: give 1 or more.")
    s = (epoch % cycle + 1) / cycle
    return (1 - s) * high + s * low


class CyclicRate(Callback):
    """Give every epoch of a fit its `cyclic_rate`."""

    def __init__(self, cycle: int = 10, high: float = HIGH, low: float = LOW):
        cyclic_rate(0, cycle)
        self.cycle, self.high, self.low = cycle, high, low

    def before_train(self) -> None:
        """Set the rate."""
        self.learn.opt.set_hyper("lr", cyclic_rate(self.learn.epoch, self.cycle, self.high, self.low))


def train_cyclic(
    faces: FaceSet,
    train: TrainSettings | None = None,
    epochs: int = 20,
    cycle: int = 10,
    batch_size: int = 16,
    high: float = HIGH,
    low: float = LOW,
) -> tuple[SCNHistory, int]:
    """Train a plain network as usual, then with a cyclic learning rate: what the detector ``o2u`` looks at.

    The cyclic stage has the inputs of the first one, and an optimizer of its own: momentum is 0.9 again, without what
    the first stage left in it.

    Args:
        faces: with the splits train and valid.
        train: of the first stage.
        epochs: of the cyclic stage.
        cycle: epochs in which the rate falls from ``high`` to ``low``.
        batch_size: of the cyclic stage.
        high: rate at the beginning of a cycle.
        low: rate at its end.

    Returns:
        The history of both stages, and the epoch in which the cyclic one begins:
        ``Evidence(given, cyclic=history, cyclic_start=start)``.

    Raises:
        SettingsError: there is no cyclic epoch.
    """
    if epochs < 1:
        raise SettingsError(f"{epochs} cyclic epochs make no sense: give 1 or more.")
    train = train or TrainSettings()
    learn = face_learner(faces, "plain", train)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(train.epochs, train.lr)
        learn.dls = loaders_for(faces, train, train.arch, batch_size, learn.dls.device, learn.pretrained)
        learn.fit(epochs, high, cbs=CyclicRate(cycle, high, low), reset_opt=True)
    return learn.scn.history, train.epochs
