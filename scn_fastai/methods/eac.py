"""EAC, erasing attention consistency: the network must look at the same places of a face and of its mirror image."""

import math

import torch
from fastai.callback.training import GradientClip
from fastai.layers import Flatten
from fastai.learner import Learner
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from scn_fastai.errors import SettingsError
from scn_fastai.methods.batch_loss import BatchLoss, float32
from scn_fastai.methods.method import Method
from scn_fastai.methods.options import check_number
from scn_fastai.methods.tap import Tap
from scn_fastai.training.head import ImportanceHead, find_head

LEAST_ERASED, ASPECT = 0.02, (0.3, 3.3)  # as in the authors' RandomErasing


def pooling_bins(size: int, bins: int, device: torch.device | str = "cpu") -> Tensor:
    """What each of ``bins`` cells of adaptive average pooling takes from each of ``size`` positions, ``[bins, size]``.

    >>> pooling_bins(4, 2)
    tensor([[0.5000, 0.5000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.5000, 0.5000]])
    """
    place = torch.arange(size, device=device)
    cell = torch.arange(bins, device=device)[:, None]
    inside = (place >= cell * size // bins) & (place < ((cell + 1) * size + bins - 1) // bins)
    return inside / inside.sum(1, keepdim=True)


def class_activation_maps(features: Tensor, weight: Tensor, cells: tuple[int, int]) -> Tensor:
    """CAM of every class: M_k = sum_c w_kc F_c (Zhou et al., CVPR 2016; used so in EAC).

    For a classifier on features that were pooled to more than one cell (``cells``), w is that of the cell which a
    position belongs to. So in any case the mean of M_k over all positions is the logit of class k without its bias.

    Args:
        features: what the pooling is given, float ``[B, D, H, W]``.
        weight: the classifier's, float ``[C, D * cells]``.
        cells: height and width of the pooled map.

    Returns:
        float ``[B, C, H, W]``.

    >>> maps = class_activation_maps(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[2.0]]), (1, 1))
    >>> maps.tolist(), float(maps.mean())  # 2 * mean(1, 3)
    ([[[[2.0, 6.0]]]], 4.0)
    """
    depth, height, width = features.shape[1:]
    if cells == (1, 1):
        return torch.einsum("bdhw,kd->bkhw", features, weight)
    down = pooling_bins(height, cells[0], weight.device) * height / cells[0]
    along = pooling_bins(width, cells[1], weight.device) * width / cells[1]
    w = torch.einsum("kdij,ih,jw->kdhw", weight.view(-1, depth, *cells) * math.prod(cells), down, along)
    return torch.einsum("bdhw,kdhw->bkhw", features, w)


def consistency_loss(maps: Tensor, mirrored: Tensor) -> Tensor:
    """Mean of (M(x) - mirror(M(mirror x)))^2 over samples, classes and positions (EAC).

    Args:
        maps: of the images, ``[B, C, H, W]``.
        mirrored: of their mirror images.

    >>> maps = torch.tensor([[[[1.0, 2.0]]]])
    >>> float(consistency_loss(maps, maps.flip(-1))), float(consistency_loss(maps, maps))
    (0.0, 1.0)
    """
    return mse_loss(maps, mirrored.flip(-1))


def erase(images: Tensor, chance: float, largest: float) -> Tensor:
    """Images ``[B, 3, H, W]`` of which a share ``chance`` lost a rectangle, set to 0, the mean of normalised images.

    Its area is drawn from 0.02 to ``largest`` of the image, its height over width from 0.3 to 3.3 on a log scale
    (Random erasing, Z. Zhong et al., AAAI 2020). One draw on the device for the whole batch.
    """
    count, _, height, width = images.shape
    draw = torch.rand(5, count, device=images.device)
    area = (LEAST_ERASED + draw[0] * (largest - LEAST_ERASED)) * height * width
    low, high = (math.log(v) for v in ASPECT)
    aspect = (low + draw[1] * (high - low)).exp()
    tall, wide = (area * aspect).sqrt().clamp(max=height), (area / aspect).sqrt().clamp(max=width)
    down = _inside(height, draw[2] * (height - tall), tall)
    along = _inside(width, draw[3] * (width - wide), wide)
    gone = down[:, :, None] & along[:, None, :] & (draw[4] < chance)[:, None, None]
    return images.clone().masked_fill_(gone[:, None], 0)  # a clone keeps the memory format


def _inside(size: int, start: Tensor, length: Tensor) -> Tensor:
    """Which positions ``[B, size]`` have their middle between start and start + length ``[B]``."""
    middle = torch.arange(size, device=start.device) + 0.5
    return (middle >= start[:, None]) & (middle < (start + length)[:, None])


class ErasingAttention(BatchLoss):
    """Train on CE(x, y) + strength * `consistency_loss` of partly erased images and their mirror images.

    The consistency teaches the features alone: the maps take the classifier's weights as they are, without gradient,
    as in the authors' code. With a gradient, smaller weights would make any two maps alike.
    History and ledger see the erased images' logits.

    Raises:
        SettingsError: an option is out of range.
    """

    def __init__(self, strength: float = 5.0, chance: float = 0.5, largest: float = 0.25):
        check_number("strength", strength, 0, float("inf"))
        check_number("chance", chance, 0, 1)
        check_number("largest", largest, LEAST_ERASED, 0.9)
        self.strength, self.chance, self.largest = strength, chance, largest
        self._tap = Tap()

    def before_train(self) -> None:
        """Listen to what the last pooling is given."""
        self._pool, self._head = last_pooling(self.learn.model)
        self._tap.put(self._pool)

    def before_batch(self) -> None:
        """Erase."""
        image, *others = self.learn.xb
        plain = erase(image.as_subclass(Tensor), self.chance, self.largest)
        self.learn.xb = (plain.as_subclass(type(image)), *others)

    def batch_loss(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Cross-entropy, and how far the maps of image and mirror image differ."""
        features = self._tap.take()
        self.learn.model(self.learn.xb[0].flip(-1))
        mirrored = self._tap.take()
        cells = _cells(self._pool, features)
        with float32(logits.device):
            weight = self._head.weight.detach()
            both = (class_activation_maps(f.float(), weight, cells) for f in (features, mirrored))
            return cross_entropy(logits, label) + self.strength * consistency_loss(*both)

    def leave(self) -> None:
        """Listen no more."""
        self._tap.remove()
        self._pool = self._head = None


def last_pooling(model: nn.Module) -> tuple[nn.Module, ImportanceHead]:
    """The network's last adaptive average pooling, and the head behind it.

    Raises:
        SettingsError: the network does not end in such a pooling and one Linear layer on its cells.
    """
    modules, head = list(model.modules()), find_head(model)
    pools = [at for at, module in enumerate(modules) if isinstance(module, nn.AdaptiveAvgPool2d)]
    behind = modules[pools[-1] + 1 :] if pools else []
    # With anything else between them that computes, a convolution or an activation, the logits are no sum of maps.
    if not pools or any(module is not head and not _passes_on(module) for module in behind):
        raise SettingsError(
            f"eac needs a network that ends in average pooling and one Linear layer on it, but {type(model).__name__} "
            "does not: choose another architecture, such as resnet18."
        )
    return modules[pools[-1]], head


def _passes_on(module: nn.Module) -> bool:
    """Whether a module leaves features as they are but for Dropout; one that holds others is judged by these."""
    silent = (nn.Flatten, Flatten, nn.Identity, nn.modules.dropout._DropoutNd)
    return isinstance(module, silent) or any(True for _ in module.children())


def _cells(pool: nn.Module, features: Tensor) -> tuple[int, int]:
    size = pool.output_size
    height, width = size if isinstance(size, tuple) else (size, size)
    return height or features.shape[-2], width or features.shape[-1]


def check(clip: float = 1.0, **options) -> ErasingAttention:
    """The callback of these options; ``clip`` is the largest norm of the gradient.

    Raises:
        SettingsError: an option is out of range.
    """
    check_number("clip", clip, 1e-6, float("inf"))
    return ErasingAttention(**options)


def prepare(learn: Learner, faces=None, clip: float = 1.0, **options) -> None:
    """Add `ErasingAttention` to the Learner, and clip the gradient's norm.

    The clipping is ours, for SGD from scratch (the paper trains a network that knows faces, by Adam at 0.0001): at
    high learning rates the first epochs are calmer with it.

    Raises:
        SettingsError: the network has no maps to compare.
    """
    pool, head = last_pooling(learn.model)
    cells = math.prod(pool.output_size) if isinstance(pool.output_size, tuple) else pool.output_size**2
    if head.weight.shape[1] % cells or (head.weight.shape[1] // cells) < 2:
        raise SettingsError(
            f"eac needs a classifier that sees the pooled cells, but {type(learn.model).__name__}'s has other inputs: "
            "choose another architecture, such as resnet18."
        )
    learn.add_cbs([check(clip, **options), GradientClip(float(clip))])


METHOD = Method(
    name="eac",
    prepare=prepare,
    about="erasing attention consistency: the same places count in a face and in its mirror image",
    paper="Y. Zhang et al., Learn From All: Erasing Attention Consistency for Noisy Label Facial Expression "
    "Recognition, ECCV 2022",
    assumes="a face and its mirror image mean the same; a network that ends in average pooling and a Linear layer; "
    "the paper's maps have 7 x 7 places, those of faces of 48 pixels 2 x 2 or 3 x 3",
    costs="a second forward and backward pass: about twice the time of training and up to twice its memory",
    options={"strength": 5.0, "chance": 0.5, "largest": 0.25, "clip": 1.0},
    check=check,
)
