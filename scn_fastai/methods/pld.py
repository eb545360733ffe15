"""PLD: at every draw another of the labels that people voted for (Barsoum et al., ICMI 2016)."""

import numpy as np
import torch
from fastai.learner import Learner
from torch import Tensor

from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import SettingsError
from scn_fastai.methods.guest import Guest
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number


def vote_shares(faces: FaceSet, at_least: float = 0.0) -> Tensor:
    """Votes of the training faces as shares that sum to 1, float32 ``[N, C]``.

    From the columns ``vote_<class>``, or ``soft_<class>`` (soft labels) where there are none. Shares below
    ``at_least`` are dropped, unless none would be left; a face without votes counts its given label alone.

    Raises:
        SettingsError: the table has no votes, or not those of every class.
    """
    train = faces.part("train")
    kinds = [[f"{prefix}_{name}" for name in faces.classes] for prefix in ("vote", "soft")]
    columns = next((columns for columns in kinds if set(columns) <= set(train.samples)), None)
    if columns is None:
        missing = [column for column in kinds[0] if column not in train.samples]
        raise SettingsError(
            f"pld draws labels from the votes of several people, and these faces have no column {missing[0]!r}: use "
            "faces with votes (FERPlus, or a table with vote_<class> columns), or another recipe."
        )
    votes = np.nan_to_num(train.samples[columns].to_numpy(float)).clip(0)
    none = votes.sum(1) == 0
    votes[none, train.label_codes()[none]] = 1
    votes /= votes.sum(1, keepdims=True)
    kept = np.where(votes >= at_least, votes, 0)
    votes = np.where(kept.sum(1, keepdims=True) > 0, kept, votes)
    return torch.from_numpy(votes / votes.sum(1, keepdims=True)).float()


def draw_labels(shares: Tensor, uniform: Tensor) -> Tensor:
    """A class of each row with the probability of its share: the first whose summed share exceeds a uniform number.

    Args:
        shares: ``[B, C]``, rows sum to 1.
        uniform: numbers in [0, 1), ``[B]``.

    Returns:
        int64 ``[B]``.

    >>> draw_labels(torch.tensor([[0.5, 0.0, 0.5], [0.5, 0.0, 0.5]]), torch.tensor([0.2, 0.5])).tolist()
    [0, 2]
    """
    summed = shares.cumsum(1)
    last = shares.shape[1] - 1 - (shares > 0).flip(1).int().argmax(1)  # summed shares may end below 1 by rounding
    return torch.minimum((uniform[:, None] >= summed).sum(1), last)


class PLD(Guest):
    """Draws each label anew from the votes."""

    order = 6  # SCNCallback (5) says first which samples the batch holds, and compares their labels
    _stateattrs = ("shares",)
    shares: Tensor | None = None
    run_valid = False

    def __init__(self, shares: Tensor):
        self.shares = shares

    def before_batch(self) -> None:
        """Labels of a training batch are drawn, by torch's default generator of the device."""
        index = self.learn.scn.index
        if index is None:  # lr_find trains on the given labels
            return
        if self.shares.device != index.device:
            self.shares = self.shares.to(index.device)
        target = self.learn.yb[0]
        drawn = draw_labels(self.shares[index], torch.rand(len(index), device=index.device))
        self.learn.yb = (drawn.as_subclass(type(target)),)


def check(at_least: float = 0.0) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("at_least", at_least, 0, 1)


def prepare(learn: Learner, faces: FaceSet | None = None, at_least: float = 0.0) -> None:
    """At every draw of sample i its label y ~ votes_i / sum votes_i, and L = CE(z_i, y).

    Barsoum et al. clean FERPlus's votes first: single votes are dropped, classes are kept until they have 75 % of the
    votes, three at most, and faces on which too few agree are left out. Which faces there are is the reader's
    business here; ``at_least=0.2`` keeps shares of 0.2 and more, and so drops single votes where more than five people
    voted.

    Args:
        learn: the Learner.
        faces: with columns ``vote_<class>`` or ``soft_<class>``.
        at_least: shares of votes below it do not count.

    Raises:
        SettingsError: the faces have no votes, or the option is out of its range.
    """
    check(at_least)
    if faces is None:
        raise SettingsError("pld needs the faces with their votes: pass the FaceSet behind the loaders.")
    learn.add_cb(PLD(vote_shares(faces, at_least)))


METHOD = Method(
    name="pld",
    prepare=prepare,
    about="each label is drawn from the votes, anew at every draw (faces with votes only)",
    paper="E. Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label "
    "Distribution, ICMI 2016",
    assumes="several votes a face; they replace the given label, so noise added to that label is not seen",
    costs="nothing but the votes",
    options={"at_least": 0.0},
    check=check,
)
