"""Self-paced learning: easy samples first, by weights that are solved for and network steps in turns."""

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.errors import SettingsError
from scn_fastai.methods.batch_loss import BatchLoss
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number

CURRICULA = ("selfpaced", "mentornet")


def best_weights(loss: Tensor, threshold: Tensor | float, slope: float = 0.0) -> Tensor:
    """Weights v that minimise sum_i v_i l_i + G(v) for losses that are held fixed, v in [0, 1].

    slope = 0 is self-paced learning (M. P. Kumar et al., NeurIPS 2010), G = -lambda1 sum_i v_i: v_i = 1 where
    l_i <= lambda1, else 0. slope > 0 weighs linearly, as MentorNet's predefined curriculum (L. Jiang et al., ICML
    2018) does in the end, G = sum_i lambda2 / 2 v_i^2 - (lambda1 + lambda2) v_i:
    v_i = min(1, max(0, 1 - (l_i - lambda1) / lambda2)).

    Args:
        loss: ``[N]``.
        threshold: lambda1.
        slope: lambda2.

    >>> l = torch.tensor([0.5, 1.0, 1.5, 3.0])
    >>> best_weights(l, 1.0).tolist(), best_weights(l, 1.0, slope=1.0).tolist()
    ([1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.5, 0.0])
    """
    if slope == 0:
        return (loss <= threshold).float()
    return (1 - (loss - threshold) / slope).clamp(0, 1)


def mentornet_weights(loss: Tensor, threshold: Tensor | float, progress: float) -> Tensor:
    """MentorNet's predefined curriculum: all samples at first, then the easy ones, at last the harder ones a little.

    v = 1 up to 18 % of the training, self-paced (slope 0) up to 90 %, then linear with lambda2 = 1, as in the
    authors' code (google/mentornet, vstar_mentornet_pd). With progress = epoch / epochs, as `SelfPaced` counts, the
    last phase never comes in a training of fewer than 10 epochs.

    Args:
        loss: ``[N]``.
        threshold: lambda1.
        progress: share of the training that is done.

    >>> l = torch.tensor([0.5, 1.5])
    >>> [mentornet_weights(l, 1.0, progress).tolist() for progress in (0.1, 0.5, 0.9)]
    [[1.0, 1.0], [1.0, 0.0], [1.0, 0.5]]
    """
    if progress <= 0.18:
        return torch.ones_like(loss)
    return best_weights(loss, threshold, slope=0.0 if progress < 0.9 else 1.0)


def share_at(epoch: int, start: float, end: float, grow: int) -> float:
    """Share of the samples below lambda1 in an epoch: from start in epoch 0 to end in epoch ``grow``, linearly.

    >>> [share_at(epoch, 0.5, 0.8, 3) for epoch in (0, 3, 9)]
    [0.5, 0.8, 0.8]
    """
    return start + (end - start) * min(epoch / grow, 1)


class SelfPaced(BatchLoss):
    """Train on L = mean_i v_i CE_i, with v ``[N]`` solved for between the epochs (`best_weights`).

    The alternation is what keeps v from the trivial solution v = 0: the network is trained with v fixed, v is
    solved for with the losses fixed. lambda1 is the quantile `share_at` of the last epoch's losses over the whole
    training set. In the first epoch all weights are 1. ``curriculum='mentornet'`` follows `mentornet_weights`, with
    the quantile ``end`` from the start (ours: of the last epoch; MentorNet's is a moving average of batches').

    Raises:
        SettingsError: an option is out of range.
    """

    _stateattrs = ("weight", "seen_loss")
    weight: Tensor | None = None
    seen_loss: Tensor | None = None

    def __init__(self, start: float = 0.5, end: float = 0.8, grow: int = 10, curriculum: str = "selfpaced"):
        check_number("start", start, 0.01, 1)
        check_number("end", end, 0.01, 1)
        check_number("grow", grow, 1, float("inf"), whole=True)
        if curriculum not in CURRICULA:
            raise SettingsError(f"curriculum is {curriculum!r}, but it must be {' or '.join(map(repr, CURRICULA))}.")
        self.start, self.end, self.grow, self.curriculum = start, end, grow, curriculum

    def before_train(self) -> None:
        """Solve for the weights."""
        self.weight = self.per_sample(self.weight, fill=1.0)
        self.seen_loss = self.per_sample(self.seen_loss, fill=torch.nan)
        epoch = self.learn.scn.history.epoch
        if epoch == 0:
            return
        if self.curriculum == "mentornet":
            progress = self.learn.epoch / self.learn.n_epoch
            weight = mentornet_weights(self.seen_loss, self.seen_loss.nanquantile(self.end), progress)
        else:
            share = share_at(epoch - 1, self.start, self.end, self.grow)
            weight = best_weights(self.seen_loss, self.seen_loss.nanquantile(share))
        self.weight = torch.where(self.seen_loss.isnan(), 1.0, weight)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """The weighted loss; each sample's own is kept for the next weights."""
        each = cross_entropy(logits, label, reduction="none")
        self.seen_loss[index] = each.detach()
        return (self.weight[index] * each).mean()

    def state(self) -> dict[str, Tensor]:
        """Weights and losses of the samples."""
        return {"weight": self.weight, "seen_loss": self.seen_loss}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        self.weight, self.seen_loss = state["weight"], state["seen_loss"]


def prepare(learn: Learner, faces=None, **options) -> None:
    """Add `SelfPaced` to the Learner."""
    learn.add_cb(SelfPaced(**options))


METHOD = Method(
    name="selfpaced",
    prepare=prepare,
    about="self-paced learning: easy samples first (curriculum=mentornet: MentorNet's)",
    paper="M. P. Kumar et al., Self-Paced Learning for Latent Variable Models, NeurIPS 2010; "
    "L. Jiang et al., MentorNet, ICML 2018",
    assumes="small loss means a right label; the share of right labels is known; rare classes may be lost",
    costs="two floats per sample; curriculum=mentornet: 10 epochs or more, or its last phase never comes",
    options={"start": 0.5, "end": 0.8, "grow": 10, "curriculum": "selfpaced"},
    check=SelfPaced,
)
