"""The three networks of MTCNN: P-Net proposes, R-Net refuses, O-Net decides and places the five points.

Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks, IEEE Signal
Processing Letters 2016, Fig. 2. Layers are named as in the published weights.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class _Trunk(nn.Module):
    """Convolutions conv1, prelu1, conv2, ... with max-pooling of stride 2 behind some of them."""

    def __init__(self, widths: list[int], kernels: list[int], pools: dict[int, int]):
        super().__init__()
        self.pools, self.depth = pools, len(kernels)
        for i, kernel in enumerate(kernels, start=1):
            self.add_module(f"conv{i}", nn.Conv2d(widths[i - 1], widths[i], kernel))
            self.add_module(f"prelu{i}", nn.PReLU(widths[i]))

    def trunk(self, x: Tensor) -> Tensor:
        for i in range(1, self.depth + 1):
            x = self.get_submodule(f"prelu{i}")(self.get_submodule(f"conv{i}")(x))
            if i in self.pools:
                x = F.max_pool2d(x, self.pools[i], 2, ceil_mode=True)
        return x


class PNet(_Trunk):
    """Looks through a 12 x 12 window at every second pixel of a picture of any size.

    >>> import torch
    >>> prob, shift = PNet()(torch.zeros(1, 3, 24, 36))
    >>> prob.shape, shift.shape
    (torch.Size([1, 7, 13]), torch.Size([1, 4, 7, 13]))
    """

    def __init__(self):
        super().__init__([3, 10, 16, 32], [3, 3, 3], {1: 2})
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> probability of a face [B, h, w], shift of the window's sides [B, 4, h, w] in widths of it."""
        x = self.trunk(x)
        return self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x)


class RNet(_Trunk):
    """Looks at a candidate of 24 x 24 pixels.

    >>> import torch
    >>> prob, shift = RNet()(torch.zeros(5, 3, 24, 24))
    >>> prob.shape, shift.shape
    (torch.Size([5]), torch.Size([5, 4]))
    """

    def __init__(self):
        super().__init__([3, 28, 48, 64], [3, 3, 2], {1: 3, 2: 3})
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[K, 3, 24, 24] -> probability of a face [K], shift of the sides [K, 4]."""
        x = self.prelu4(self.dense4(_columns_first(self.trunk(x))))
        return self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)


class ONet(_Trunk):
    """Looks at a candidate of 48 x 48 pixels and says where its eyes, nose and corners of the mouth are.

    >>> import torch
    >>> prob, shift, points = ONet()(torch.zeros(5, 3, 48, 48))
    >>> prob.shape, shift.shape, points.shape
    (torch.Size([5]), torch.Size([5, 4]), torch.Size([5, 5, 2]))
    """

    def __init__(self):
        super().__init__([3, 32, 64, 64, 128], [3, 3, 3, 2], {1: 3, 2: 3, 3: 2})
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2, self.dense6_3 = nn.Linear(256, 2), nn.Linear(256, 4), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[K, 3, 48, 48] -> probability [K], shift of the sides [K, 4], points [K, 5, 2] in widths of the candidate."""
        x = self.prelu5(self.dense5(_columns_first(self.trunk(x))))
        points = self.dense6_3(x).view(-1, 2, 5).transpose(1, 2)  # five x, then five y
        return self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), points


def _columns_first(x: Tensor) -> Tensor:
    # The weights were trained where pictures lie in memory column by column and channels last.
    return x.permute(0, 3, 2, 1).flatten(1)
