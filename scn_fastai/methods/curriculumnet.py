"""CurriculumNet: first the samples in the dense middle of their class, then the others (Guo et al., ECCV 2018)."""

import warnings

import torch
from fastai.learner import Learner
from torch import Tensor
from torch.nn.functional import cross_entropy

from scn_fastai.methods.density import CLEAN, HIGHLY_NOISY, NOISY, Curriculum, curriculum
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_choice, check_number
from scn_fastai.methods.parts import MethodCallback, add_callback
from scn_fastai.training.features import features_of
from scn_fastai.training.score import training_loader


def stage_of(epoch: int, n_epoch: int, warmup: float = 0.25) -> int:
    """0 while the first network is trained on all samples, then stages 1 to 3 of equal length.

    >>> [stage_of(epoch, 8) for epoch in range(8)]
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    first = max(1, min(round(warmup * n_epoch), n_epoch - 3))
    return 0 if epoch < first else 1 + (epoch - first) * 3 // (n_epoch - first)


def stage_order(subset: Tensor, labels: Tensor, stage: int, batch_size: int) -> Tensor:
    """N positions to draw in an epoch, int64 ``[N]``, from torch's default generator.

    Stage 1 draws clean samples, stage 2 clean and noisy ones, every class equally often. In stage 3 half of each
    batch is clean, a quarter noisy and a quarter highly noisy. A subset that is empty is replaced by the clean one.
    """
    n = len(subset)
    if stage < 3:
        may = subset <= (CLEAN if stage == 1 else NOISY)
        weight = may / torch.bincount(labels[may], minlength=int(labels.max()) + 1)[labels].clamp_min(1)
        return torch.multinomial(weight, n, replacement=True)
    batches = -(-n // batch_size)
    quarter = batch_size // 4
    shares = {CLEAN: batch_size - 2 * quarter, NOISY: quarter, HIGHLY_NOISY: quarter}
    columns = []
    for kind, share in shares.items():
        members = subset == kind
        members = (members if members.any() else subset == CLEAN).nonzero()[:, 0]
        columns.append(_cycle(members, batches * share).view(batches, share))
    order = torch.cat(columns, 1)
    order[-1] = order[-1, torch.randperm(batch_size)]  # the last batch may be cut short
    return order.flatten()[:n]


def _cycle(members: Tensor, count: int) -> Tensor:
    """So many of the members, each drawn once before any comes again."""
    rounds = max(1, -(-count // len(members)))
    return torch.cat([members[torch.randperm(len(members))] for _ in range(rounds)])[:count]


def curriculum_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L = 1/B sum_i w_i CE(z_i, y_i): logits ``[B, C]``, labels ``[B]``, weights ``[B]``."""
    return (weight * cross_entropy(logits, target, reduction="none")).mean()


class CurriculumNet(MethodCallback):
    """Divides the training set after the first epochs, then draws and weights by the division.

    ``curriculum`` is None before that (see `Curriculum`); its ``suspicion`` is a detector's score.
    """

    _stateattrs = ("curriculum", "_weights")
    curriculum: Curriculum | None = None
    _weights: Tensor | None = None

    def __init__(self, cluster_on: str, rank: float, warmup: float, noisy_weight: float):
        super().__init__()
        self.cluster_on, self.rank, self.warmup, self.noisy_weight = cluster_on, rank, warmup, noisy_weight
        self.stage = 0

    def start_anew(self) -> None:
        """The features of this training divide it, not those of the one before."""
        self.curriculum = self._weights = None
        self.stage = 0

    def check(self) -> None:
        """There should be an epoch for the first network and for each stage."""
        if self.learn.n_epoch < 4:
            warnings.warn(
                f"curriculumnet has too few epochs ({self.learn.n_epoch}) for its first network and three stages, and "
                "leaves the last ones out: train 4 or more.",
                stacklevel=2,
            )

    def before_train(self) -> None:
        """Find the stage, divide the training set where it is the first one that asks for it."""
        if not self.active:
            return
        # A resumed training may be longer than it was; it does not go back to a stage before the one it had reached.
        self.stage = max(self.stage, stage_of(self.learn.epoch, self.learn.n_epoch, self.warmup))
        if not self.stage:
            return
        if self.curriculum is None:
            features = features_of(self.learn.model, (batch[0] for batch in training_loader(self.learn.dls)))
            self.curriculum = curriculum(features, self._labels(), self.cluster_on, self.rank)
        weights = torch.tensor([1.0, self.noisy_weight, self.noisy_weight])[self.curriculum.subset]
        self._weights = weights.to(self.head.weight.device)
        super().before_train()

    def _labels(self) -> Tensor:
        return self.learn.scn.ledger.current.cpu()

    def draw(self, indices: list[int]) -> list[int]:
        """The order of the stage."""
        return stage_order(self.curriculum.subset, self._labels(), self.stage, self.learn.dls.train.bs).tolist()

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Weighted cross-entropy, from stage 1 on."""
        return curriculum_loss(logits, label, self._weights[index]) if self.stage else cross_entropy(logits, label)

    def state(self) -> dict[str, Tensor]:
        """The division and the stage, once there is one."""
        if self.curriculum is None:
            return {}
        return vars(self.curriculum) | {"stage": torch.tensor(self.stage)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back; runs of earlier versions do not say their stage."""
        division = {name: tensor for name, tensor in state.items() if name != "stage"}
        self.curriculum = Curriculum(**division) if division else None
        self.stage = int(state.get("stage", 0))


def check(cluster_on: str = "density", rank: float = 0.6, warmup: float = 0.25, noisy_weight: float = 0.5) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_choice("cluster_on", cluster_on, ("density", "distance"))
    check_number("rank", rank, 0, 1)
    check_number("warmup", warmup, 0, 1)
    check_number("noisy_weight", noisy_weight, 0, float("inf"))


def prepare(
    learn: Learner,
    faces=None,
    cluster_on: str = "density",
    rank: float = 0.6,
    warmup: float = 0.25,
    noisy_weight: float = 0.5,
) -> None:
    """Train in three stages by the density of each class in feature space.

    The first ``warmup`` of all epochs trains on everything; its features give the densities (see
    `density.curriculum`). Then three stages of equal length (`stage_order`), with the loss L = 1/B sum_i w_i CE_i,
    w = 1 for clean and ``noisy_weight`` for the other samples. The paper trains the network anew with the curriculum
    and divides the learning rate by 10 from stage to stage; here it goes on from the first network, and the learning
    rate falls as it does in every other method that this one is compared with.

    Raises:
        SettingsError: an option is out of its range.
    """
    check(cluster_on, rank, warmup, noisy_weight)
    add_callback(learn, CurriculumNet(cluster_on, rank, warmup, noisy_weight))


METHOD = Method(
    name="curriculumnet",
    prepare=prepare,
    about="three stages, from the dense middle of each class to all samples",
    paper="S. Guo et al., CurriculumNet: Weakly Supervised Learning from Large-Scale Web Images, ECCV 2018",
    assumes="right labels lie close together in feature space, wrong ones apart from their class",
    costs="one pass over the training set, and distances of all pairs within a class, once",
    options={"cluster_on": "density", "rank": 0.6, "warmup": 0.25, "noisy_weight": 0.5},
    check=check,
    draws=True,
)
