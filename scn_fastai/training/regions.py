"""Networks that look at parts of a face: crops of it (RAN), gated cells of its last feature map (gaCNN)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import last_linear

# Left, top and side as shares of the face: three corners and sides, then two centers.
CROPS = (
    (0.0, 0.0, 0.75),
    (0.25, 0.0, 0.75),
    (0.125, 0.25, 0.75),
    (0.05, 0.05, 0.9),
    (0.075, 0.075, 0.85),
)


class RegionAttention(nn.Module):
    """The whole face and five crops of it, aggregated by attention: RAN (Wang et al., TIP 2020).

    With features f_i of the regions (i = 0 is the whole face): self-attention mu_i = sigmoid(w0 f_i); global feature
    F = sum mu_i f_i / sum mu_i; relation attention nu_i = sigmoid(w1 [f_i; F]); the face's feature is
    P = sum mu_i nu_i [f_i; F] / sum mu_i nu_i, and logits are linear in it. Where the crops lie is as we remember the
    paper's fixed ones.

    Args:
        network: a classifier that ends in a Linear layer, whose features become those of the regions.
        n_classes: number of classes.

    Raises:
        SettingsError: the network has no Linear layer.
    """

    def __init__(self, network: nn.Module, n_classes: int):
        super().__init__()
        name, linear = last_linear(network)
        _replace(network, name, nn.Identity())
        width = linear.in_features
        self.network = network
        self.self_attention, self.relation_attention = nn.Linear(width, 1), nn.Linear(2 * width, 1)
        self.classifier = nn.Linear(2 * width, n_classes)
        self.keep_weights = False
        self.weights: Tensor | None = None  # mu of the last training batch, [B, R], if it is wanted

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, C]`` of faces ``[B, 3, H, W]``."""
        regions = region_batch(x)
        features = self.network(regions).flatten(1).unflatten(0, (-1, len(x))).transpose(0, 1)
        with torch.autocast(x.device.type, enabled=False):  # bfloat16 cannot tell weights apart that differ by 0.002
            pooled, weights = aggregate_regions(features.float(), self.self_attention, self.relation_attention)
        if self.training and self.keep_weights:
            self.weights = weights
        return self.classifier(pooled)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"weights": None}


def region_batch(x: Tensor) -> Tensor:
    """Faces ``[B, 3, H, W]``, then each of their `CROPS` at the same size: ``[6 B, 3, H, W]``.

    >>> region_batch(torch.zeros(2, 3, 16, 16)).shape
    torch.Size([12, 3, 16, 16])
    """
    height, width = x.shape[-2:]
    parts = [x]
    for left, top, side in CROPS:
        row, column = round(top * height), round(left * width)
        part = x[..., row : row + math.ceil(side * height), column : column + math.ceil(side * width)]
        parts.append(interpolate(part, (height, width), mode="bilinear"))
    return torch.cat(parts)


def aggregate_regions(features: Tensor, self_attention: nn.Linear, relation: nn.Linear) -> tuple[Tensor, Tensor]:
    """P ``[B, 2 D]`` and mu ``[B, R]`` of features ``[B, R, D]`` (see `RegionAttention`)."""
    mu = self_attention(features).sigmoid()
    whole = (mu * features).sum(1, keepdim=True) / mu.sum(1, keepdim=True)
    both = torch.cat([features, whole.expand_as(features)], 2)
    weight = mu * relation(both).sigmoid()
    return (weight * both).sum(1) / weight.sum(1), mu[:, :, 0]


class GatedPatches(nn.Module):
    """In place of a network's last pooling: each cell of the feature map behind a gate of its own, and the whole.

    After gACNN (Li et al., TIP 2019), small: the map is pooled to a grid of cells; cell p with its mean feature f_p
    gives v_p = relu(V_p f_p) and the gate g_p = sigmoid(u_p . v_p); likewise the whole map with gate g_0; the output
    is [g_0 v_0; g_1 v_1; ...]. The paper has 24 patches around facial landmarks on a map in the middle of VGG-16, and
    convolutions within each patch.

    Args:
        channels: of the feature map.
        grid: cells in a row.
        width: features of a cell, d.

    >>> GatedPatches(16, grid=3, width=8)(torch.zeros(2, 16, 5, 5)).shape
    torch.Size([2, 88, 1, 1])
    """

    def __init__(self, channels: int, grid: int = 3, width: int = 64):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.whole, self.whole_gate = nn.Linear(channels, channels), nn.Linear(channels, 1)
        cells, bound = grid * grid, channels**-0.5
        self.weight = nn.Parameter(torch.empty(cells, channels, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(cells, width))
        self.gate = nn.Parameter(torch.empty(cells, width).uniform_(-(width**-0.5), width**-0.5))
        self.features = channels + cells * width

    def forward(self, x: Tensor) -> Tensor:
        """Gated features ``[B, C + grid^2 d, 1, 1]`` of maps ``[B, C, H, W]``."""
        cells = torch.einsum("bcp,pcd->bpd", self.pool(x).flatten(2), self.weight) + self.bias
        cells = cells.relu()
        cells = cells * (cells * self.gate).sum(2, keepdim=True).sigmoid()
        whole = self.whole(x.mean((2, 3))).relu()
        whole = whole * self.whole_gate(whole).sigmoid()
        return torch.cat([whole, cells.flatten(1)], 1)[:, :, None, None]


def gate_patches(network: nn.Module, n_classes: int) -> nn.Module:
    """The network with `GatedPatches` in place of its last pooling layer.

    Raises:
        SettingsError: the network does not pool its last feature map for a single Linear layer.
    """
    names = [name for name, module in network.named_modules() if isinstance(module, nn.AdaptiveAvgPool2d)]
    modules = dict(network.named_modules())
    after = list(modules)[list(modules).index(names[-1]) + 1 :] if names else []
    linears = [name for name in after if isinstance(modules[name], nn.Linear)]
    if len(linears) != 1:
        raise SettingsError(
            f"gacnn needs a network that pools its last feature map for one Linear layer, and {type(network).__name__} "
            "does not: use 'small' or a resnet."
        )
    size = modules[names[-1]].output_size
    cells = math.prod(size) if isinstance(size, tuple) else size * size
    gates = GatedPatches(modules[linears[0]].in_features // cells)
    _replace(network, names[-1], gates)
    _replace(network, linears[0], nn.Linear(gates.features, n_classes))
    return network


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
