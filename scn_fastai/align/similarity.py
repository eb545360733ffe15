"""From five points to an upright face: the template, the similarity that fits best, and the warp."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scn_fastai.errors import SettingsError

# Where eyes, nose and corners of the mouth lie in a face of 112 x 112 pixels (ArcFace, CVPR 2019: insightface).
ARCFACE_SIDE = 112
ARCFACE_POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
FINEST = 8  # samples a pixel and side that a strongly reduced face is averaged from, at most


def template(size: int = 224, margin: float = 0.0) -> Tensor:
    """The five points in a picture of `size` pixels, float64 [5, 2]; `margin` is the share left free at each side.

    >>> template(224)[0]
    tensor([ 76.5892, 103.3926], dtype=torch.float64)
    >>> template(224, margin=0.25)[0]  # the same face half as large
    tensor([ 94.2946, 107.6963], dtype=torch.float64)
    """
    if size < 8:
        raise SettingsError(f"An aligned face of {size} pixels is too small: give a size of 8 or more.")
    if not 0 <= margin < 0.5:
        raise SettingsError(f"A margin of {margin:g} makes no sense: give a share from 0 to below 0.5.")
    points = torch.tensor(ARCFACE_POINTS, dtype=torch.float64)
    return points / ARCFACE_SIDE * size * (1 - 2 * margin) + margin * size


def similarity(points: Tensor, target: Tensor) -> Tensor:
    """The turn, scale and shift without mirroring that brings points onto the target with least squares, [B, 2, 3].

    Umeyama (PAMI 1991, Eq. 40-43) in the plane. With points and targets as complex numbers p and q around their means,
    the turn and scale together are the complex number sum(conj(p) q) / sum(|p|^2).

    points [B, 5, 2], target [5, 2]; float64. Points that all coincide give NaN.

    >>> square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    >>> similarity(square[None], square * 2 + 3)[0, :, 2]  # twice as large, moved by 3
    tensor([3., 3.], dtype=torch.float64)
    """
    points, target = points.to(torch.float64), target.to(torch.float64).to(points.device)
    middle, goal = points.mean(1, keepdim=True), target.mean(0)
    p, q = points - middle, target - goal
    whole = p.square().sum((1, 2))
    along = (p * q).sum((1, 2)) / whole
    across = (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]).sum(1) / whole
    turn = torch.stack([torch.stack([along, -across], 1), torch.stack([across, along], 1)], 1)
    shift = goal - (turn @ middle.transpose(1, 2))[..., 0]
    return torch.cat([turn, shift[..., None]], 2)


def box_similarity(boxes: Tensor, size: int) -> Tensor:
    """The scale and shift that brings the middle and the longer side of boxes [B, 4] into `size` pixels, [B, 2, 3]."""
    boxes = boxes.to(torch.float64)
    scale = size / (boxes[:, 2:] - boxes[:, :2]).amax(1).clamp(min=1)
    # A box names the edges of pixels, a point their middles: half a pixel between them.
    shift = (size - 1) / 2 - scale[:, None] * ((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5)
    turn = scale[:, None, None] * torch.eye(2, dtype=torch.float64, device=boxes.device)
    return torch.cat([turn, shift[..., None]], 2)


def needed_part(matrix: Tensor, size: int, height: int, width: int) -> tuple[Tensor, tuple[int, int, int, int]]:
    """What of a picture a result of `size` pixels looks at: rows top:bottom, columns left:right, and the matrix there.

    A large photograph is not brought into floating point, or to a GPU, for one face in it.

    >>> half = torch.tensor([[1.0, 0, -100], [0, 1, -50]], dtype=torch.float64)
    >>> needed_part(half, 64, 1000, 1000)[1]
    (47, 117, 97, 167)
    """
    ends = torch.tensor([-0.5, size - 0.5], dtype=torch.float64)
    corners = torch.cartesian_prod(ends, ends) - matrix[:, 2]
    found = corners @ torch.linalg.inv(matrix[:, :2]).T
    limit = torch.tensor([width, height], dtype=torch.float64)
    # Two pixels more than the corners: bilinear samples look at neighbours.
    first = torch.minimum((found.amin(0).floor() - 2).clamp(min=0), limit - 1)
    last = torch.maximum(torch.minimum(found.amax(0).ceil() + 3, limit), first + 1)
    (left, top), (right, bottom) = first.int().tolist(), last.int().tolist()
    moved = matrix.clone()
    moved[:, 2] += matrix[:, :2] @ first
    return moved, (top, bottom, left, right)


def warp(images: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Every picture moved by its matrix into `size` x `size` pixels, uint8 [B, C, size, size].

    images: uint8 [B, C, H, W]; matrices [B, 2, 3] from pixels of the picture to pixels of the result. Bilinear; a face
    that shrinks is averaged from finer samples, so that nothing flickers. Beyond the edge the edge goes on.
    """
    finer = [finer_by(matrix) for matrix in matrices]
    result = images.new_empty(len(images), images.shape[1], size, size)
    for times in sorted(set(finer)):
        rows = [row for row, own in enumerate(finer) if own == times]
        grid = _grid(matrices[rows].to(images.device), size, times, images.shape[2:])
        moved = F.grid_sample(
            images[rows].to(torch.float32), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        result[rows] = F.avg_pool2d(moved, times).round().clamp(0, 255).to(torch.uint8)
    return result


def finer_by(matrix: Tensor) -> int:
    """Samples along a side of a pixel: how many times the picture shrinks, rounded up, 1 to FINEST."""
    scale = float(torch.linalg.det(matrix[:, :2].to(torch.float64)).abs().sqrt())
    return int(np.clip(math.ceil(1 / scale - 1e-6), 1, FINEST)) if scale > 0 else FINEST


def _grid(matrices: Tensor, size: int, times: int, shape: tuple[int, int]) -> Tensor:
    """Where each sample of the result lies in its picture, as `grid_sample` counts, float32 [B, n, n, 2]."""
    place = (torch.arange(size * times, dtype=torch.float64, device=matrices.device) + 0.5) / times - 0.5
    y, x = torch.meshgrid(place, place, indexing="ij")
    goal = torch.stack([x, y], -1).view(-1, 2)
    back = torch.linalg.inv(matrices[:, :, :2].to(torch.float64))
    found = (goal[None] - matrices[:, None, :, 2]) @ back.transpose(1, 2)
    sides = torch.tensor([shape[1], shape[0]], dtype=torch.float64, device=matrices.device)
    grid = (2 * found + 1) / sides - 1
    return grid.view(len(matrices), size * times, size * times, 2).to(torch.float32)
