"""MetaCleaner: learn from one clean feature made of several noisy ones of a class (Zhang, Wang, Qiao, CVPR 2019)."""

import torch
from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from scn_fastai.errors import SettingsError
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.parts import MethodCallback, add_callback
from scn_fastai.training.head import find_head

EMA = 0.9  # how much of a sample's score stays when it is drawn again


class NoisyWeighting(nn.Module):
    """Confidence in each of K images of a class, judged together: s = softmax(W2 relu(W1 [f_1; ...; f_K])).

    The weights depend on the place in the group, so that the images have to change places from epoch to epoch. Ours:
    each f_k is brought to length 1 first, and W2 starts at 0, so that all images count alike at first. Without both the
    softmax picks one image of each group from the second epoch on, and a network from scratch learns nothing.

    >>> NoisyWeighting(4, 16, 8)(torch.zeros(2, 4, 16)).shape
    torch.Size([2, 4])
    """

    def __init__(self, group: int, features: int, width: int = 128):
        super().__init__()
        self.first, self.second = nn.Linear(group * features, width), nn.Linear(width, group)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Confidences ``[G, K]`` of features ``[G, K, D]``; each row sums to 1."""
        return self.second(self.first(normalize(features, dim=2).flatten(1)).relu()).softmax(1)


def hallucinate(features: Tensor, confidence: Tensor) -> Tensor:
    """Clean features v = sum_k s_k f_k, ``[G, D]``, of features ``[G, K, D]`` and confidences ``[G, K]``.

    >>> hallucinate(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0.75, 0.25]]))
    tensor([[0.7500, 0.2500]])
    """
    return (confidence[:, :, None] * features).sum(1)


def group_order(labels: Tensor, group: int) -> Tensor:
    """N positions, int64 ``[N]``: groups of ``group`` samples of one class one after the other, in random order.

    A class that does not divide evenly lends some of its samples twice; as many groups are left out at the end.
    """
    groups = []
    for code in labels.unique().tolist():
        members = (labels == code).nonzero()[:, 0]
        members = members[torch.randperm(len(members))]
        missing = -len(members) % group
        groups.append(torch.cat([members, members.repeat(missing // len(members) + 1)[:missing]]).view(-1, group))
    groups = torch.cat(groups)
    return groups[torch.randperm(len(groups))].flatten()[: len(labels)]


class MetaCleaner(MethodCallback):
    """Draws groups of one class and learns from their clean features.

    ``suspicion`` ``[N]`` is a detector's score: the running mean of 1 - K s_i, 0 where a sample counts as much as
    the others of its groups, up to 1 where it does not count; NaN where it was not drawn yet.
    """

    wants_features = True
    _stateattrs = ("suspicion",)
    suspicion: Tensor | None = None

    def __init__(self, weighting: NoisyWeighting, group: int, single: float):
        super().__init__(weighting)
        self.group, self.single = group, single

    def check_loader(self, dl: DataLoader) -> None:
        """Groups must fit into batches."""
        super().check_loader(dl)
        if dl.bs % self.group:
            raise SettingsError(
                f"metacleaner draws groups of {self.group} faces, which do not fill batches of {dl.bs}: choose a batch "
                f"size that {self.group} divides, or another group."
            )

    def before_train(self) -> None:
        """Scores lie where the network is."""
        super().before_train()
        if self.active:
            self.suspicion = self.per_sample(self.suspicion, fill=torch.nan)

    def draw(self, indices: list[int]) -> list[int]:
        """Groups of one class."""
        return group_order(self.learn.scn.ledger.current.cpu(), self.group).tolist()

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy of the clean features, and notes the scores."""
        head, whole = self.head, len(label) - len(label) % self.group
        if not whole:  # a last batch that is smaller than a group
            return cross_entropy(logits, label)
        features = self.tap.take()[:whole].float().unflatten(0, (-1, self.group)).flatten(2)
        confidence = self.part(features)
        self._note(index[:whole], confidence.detach().flatten())
        clean = hallucinate(features, confidence)
        if head.dropout is not None:
            clean = head.dropout(clean)
        loss = cross_entropy(linear(clean, head.weight, head.bias), label[: whole : self.group])
        return loss + self.single * cross_entropy(logits, label) if self.single else loss

    def _note(self, index: Tensor, confidence: Tensor) -> None:
        now, before = 1 - self.group * confidence, self.suspicion[index]
        self.suspicion[index] = torch.where(before.isnan(), now, EMA * before + (1 - EMA) * now)

    def state(self) -> dict[str, Tensor]:
        """The weighting, and the scores, once there are some."""
        return super().state() | ({} if self.suspicion is None else {"suspicion": self.suspicion})

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take them back."""
        super().load_state(state)
        self.suspicion = state.get("suspicion")


def check(group: int = 4, width: int = 128, single: float = 0.0) -> None:
    """Raise one sentence for an option that is out of its range."""
    check_number("group", group, 1, float("inf"), whole=True)
    check_number("width", width, 1, float("inf"), whole=True)
    check_number("single", single, 0, float("inf"))


def prepare(learn: Learner, faces=None, group: int = 4, width: int = 128, single: float = 0.0) -> None:
    """Learn from groups of K images of one class: L = CE(W v, c), v = sum_k s_k f_k (see `NoisyWeighting`).

    f_k are the features in front of the classifier W. The network itself is the ordinary one: at test the logits are
    W f. ``single`` adds that share of the cross-entropy of each image, L + single * CE(W f_k, c). With ``group=1`` it
    is plain cross-entropy. The authors published no code; the size of the two layers, their start, the running mean
    behind the score, and that each sample is drawn about once an epoch are ours.

    Args:
        learn: the Learner.
        faces: not needed.
        group: images in a group, K; must divide the batch size.
        width: of the layer between the two of Noisy Weighting.
        single: weight of the cross-entropy of single images.

    Raises:
        SettingsError: an option is out of its range, or batches are not whole groups.
    """
    check(group, width, single)
    features = find_head(learn.model).weight.shape[1]
    add_callback(learn, MetaCleaner(NoisyWeighting(group, features, width), group, single))


METHOD = Method(
    name="metacleaner",
    prepare=prepare,
    about="learns from weighted means of a few faces of one class",
    paper="W. Zhang, Y. Wang, Y. Qiao, MetaCleaner: Learning to Hallucinate Clean Representations for "
    "Noisy-Labeled Visual Recognition, CVPR 2019",
    assumes="of a few faces of a class most are labelled right, and features tell which",
    costs="two small layers while it trains; batch sizes that the group divides; a class's faces in one batch",
    options={"group": 4, "width": 128, "single": 0.0},
    check=check,
    draws=True,
)
