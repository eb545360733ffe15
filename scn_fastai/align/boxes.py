"""Boxes between the networks of MTCNN: pyramid, candidates, shifts, squares, what hides what, and cut-outs.

A box is x1, y1, x2, y2 in pixels. `image` [K] says of every box to which picture of the batch it belongs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

WINDOW, STRIDE = 12, 2  # of P-Net, in pixels


def pyramid(height: int, width: int, min_face_size: float = 20, factor: float = 0.709) -> list[float]:
    """Scales at which P-Net's window of 12 pixels sees faces from `min_face_size` up to the whole picture.

    >>> [round(scale, 2) for scale in pyramid(48, 64)]
    [0.6, 0.43, 0.3]
    """
    scale = WINDOW / min_face_size
    scales = []
    while min(height, width) * scale >= WINDOW:
        scales.append(scale)
        scale *= factor
    return scales


def candidates(prob: Tensor, shift: Tensor, scale: float, threshold: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Windows of P-Net that reach the threshold: boxes [K, 4], scores [K], shifts [K, 4], image [K].

    prob [B, h, w], shift [B, 4, h, w]: what P-Net says of the picture at this scale; boxes are in the whole picture.
    """
    image, y, x = (prob >= threshold).nonzero(as_tuple=True)
    corner = torch.stack([x, y], 1).to(prob.dtype) * STRIDE + 1
    boxes = torch.cat([(corner / scale).floor(), ((corner + WINDOW - 1) / scale).floor()], 1)
    return boxes, prob[image, y, x], shift[image, :, y, x], image


def shifted(boxes: Tensor, shift: Tensor, pixel: int = 1) -> Tensor:
    """Every side moved by its share of the box's width or height, which are x2 - x1 + pixel and y2 - y1 + pixel.

    >>> shifted(torch.tensor([[0.0, 0, 9, 19]]), torch.tensor([[0.1, 0.1, -0.1, 0]]))
    tensor([[ 1.,  2.,  8., 19.]])
    """
    sides = boxes[:, 2:] - boxes[:, :2] + pixel
    return boxes + shift * sides.repeat(1, 2)


def squared(boxes: Tensor) -> Tensor:
    """The square with the longer side of each box around its middle.

    >>> squared(torch.tensor([[0.0, 0, 10, 20]]))
    tensor([[-5.,  0., 15., 20.]])
    """
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], 1)


def keep_apart(boxes: Tensor, scores: Tensor, image: Tensor, most: float) -> Tensor:
    """Non-maximum suppression in every picture: which boxes stay, surest first, int64.

    A box goes when its overlap with a surer one, intersection over union, is above `most`.
    """
    return batched_nms(boxes, scores, image, most)


def keep_unnested(boxes: Tensor, scores: Tensor, image: Tensor, most: float) -> Tensor:
    """The same with intersection over the smaller of both boxes: what lies inside a surer box goes as well.

    >>> boxes = torch.tensor([[0.0, 0, 99, 99], [10, 10, 29, 29], [200, 0, 299, 99]])
    >>> keep_unnested(boxes, torch.tensor([0.9, 0.8, 0.95]), torch.zeros(3), 0.7)
    tensor([2, 0])
    """
    # Candidates that reach beyond the picture on all sides are cut out alike and tie. The smallest lies nearest to what
    # the network saw. (facenet-pytorch leaves it to an unstable sort: there, and only there, its boxes can be others.)
    order = (boxes[:, 2:] - boxes[:, :2]).prod(1).argsort(stable=True)
    order = order[scores[order].argsort(descending=True, stable=True)]
    b, image = boxes[order], image[order]
    area = (b[:, 2:] - b[:, :2] + 1).prod(1)
    corner = torch.minimum(b[:, None, 2:], b[None, :, 2:]) - torch.maximum(b[:, None, :2], b[None, :, :2]) + 1
    share = corner.clamp(min=0).prod(2) / torch.minimum(area[:, None], area[None])
    hides = ((share > most) & (image[:, None] == image[None])).triu(1).cpu()
    stays = torch.ones(len(b), dtype=torch.bool)
    for row in range(len(b)):  # only a box that stays hides others
        if stays[row]:
            stays &= ~hides[row]
    return order[stays.to(order.device)]


def integral(images: Tensor) -> Tensor:
    """Sums of all pixels above and to the left: uint8 [B, C, H, W] -> int64 [B, C, H+1, W+1], exact.

    >>> integral(torch.ones(1, 1, 2, 3, dtype=torch.uint8))[0, 0].tolist()
    [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6]]
    """
    sums = images.new_zeros(*images.shape[:2], images.shape[2] + 1, images.shape[3] + 1, dtype=torch.int64)
    sums[:, :, 1:, 1:] = images.to(torch.int64).cumsum(2).cumsum(3)
    return sums


def cut_out(sums: Tensor, boxes: Tensor, image: Tensor, side: int) -> Tensor:
    """The boxes as pictures of one size, float [K, C, side, side]: every pixel is the mean of the area it covers.

    sums: `integral` of the pictures; a mean over a rectangle takes four of its values, so all boxes are cut at once.
    Boxes count pixels from 1 and end with the pixel they name, as the networks were trained; what lies outside of the
    picture is left out. A box without a pixel gives zeros.
    """
    height, width = sums.shape[2] - 1, sums.shape[3] - 1
    whole = boxes.trunc().to(torch.int64)
    y0, y1 = _edges(whole[:, 1], whole[:, 3], height, side)
    x0, x1 = _edges(whole[:, 0], whole[:, 2], width, side)
    k = image[:, None, None]

    def at(y: Tensor, x: Tensor) -> Tensor:  # [K, side, side, C]
        return sums[k, :, y[:, :, None], x[:, None, :]]

    total = at(y1, x1) - at(y0, x1) - at(y1, x0) + at(y0, x0)
    area = ((y1 - y0)[:, :, None] * (x1 - x0)[:, None, :]).clamp(min=1)
    return (total.to(torch.float32) / area[..., None].to(torch.float32)).permute(0, 3, 1, 2)


def _edges(first: Tensor, last: Tensor, limit: int, side: int) -> tuple[Tensor, Tensor]:
    """Where each of the `side` strips of first..last begins and ends, both [K, side]."""
    start, stop = (first - 1).clamp(0, limit)[:, None], last.clamp(0, limit)[:, None]
    length = (stop - start).clamp(min=0)
    strip = torch.arange(side, device=first.device)
    return start + strip * length // side, start - (-(strip + 1) * length) // side
