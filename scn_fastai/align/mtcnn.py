"""Finding faces: the cascade of the three networks over a batch of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from scn_fastai.align import boxes as B
from scn_fastai.align.networks import ONet, PNet, RNet
from scn_fastai.align.weights import load_networks
from scn_fastai.errors import DataError, SettingsError

THRESHOLDS = (0.6, 0.7, 0.7)  # of P-Net, R-Net, O-Net
FACTOR = 0.709  # from one scale to the next: half the area
MIN_FACE_SIZE = 20  # pixels
OVERLAPS = (0.5, 0.7, 0.7, 0.7)  # what may stay: of one scale, of all scales, behind R-Net, behind O-Net
SMALL_SIDE, ENLARGE = 96, 4  # a picture with no side above this is enlarged so many times before it is looked at
LARGE_SIDE = 1280  # a longer side is reduced to this for looking; the face is still cut from the whole picture
AT_ONCE = 512  # candidates that go through a network together
PIXELS_AT_ONCE = 8_000_000  # of pictures of one size that are looked at together


class Found(NamedTuple):
    """The faces of one picture, surest first: boxes [K, 4] as x1, y1, x2, y2, scores [K], points [K, 5, 2] as x, y.

    Points: left eye, right eye, nose, left and right corner of the mouth, left as the picture shows them.
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray


def detect(
    images: Tensor,
    networks: tuple[PNet, RNet, ONet],
    thresholds: Sequence[float] = THRESHOLDS,
    factor: float = FACTOR,
    min_face_size: float = MIN_FACE_SIZE,
) -> list[Found]:
    """Faces in pictures of one size, uint8 [B, 3, H, W], on the device where they lie."""
    pnet, rnet, onet = networks
    sums = B.integral(images)
    boxes, image = propose(images, pnet, thresholds[0], factor, min_face_size)
    boxes, image = refine(sums, boxes, image, rnet, thresholds[1])
    return finish(sums, boxes, image, onet, thresholds[2])


def propose(
    images: Tensor,
    pnet: PNet,
    threshold: float = THRESHOLDS[0],
    factor: float = FACTOR,
    min_face_size: float = MIN_FACE_SIZE,
) -> tuple[Tensor, Tensor]:
    """P-Net at every scale of pictures uint8 [B, 3, H, W]: boxes [K, 4], and to which picture each belongs, [K]."""
    height, width = images.shape[2:]
    pixels = images.to(torch.float32)
    none = pixels.new_zeros(0)
    found = [(none.view(0, 4), none, none.view(0, 4), none.to(torch.int64))]
    for scale in B.pyramid(height, width, min_face_size, factor):
        small = F.interpolate(pixels, (int(height * scale + 1), int(width * scale + 1)), mode="area")
        boxes, score, shift, image = B.candidates(*pnet(_normal(small)), scale, threshold)
        found.append(_only(B.keep_apart(boxes, score, image, OVERLAPS[0]), boxes, score, shift, image))
    boxes, score, shift, image = (torch.cat(parts) for parts in zip(*found, strict=True))
    boxes, shift, image = _only(B.keep_apart(boxes, score, image, OVERLAPS[1]), boxes, shift, image)
    return B.squared(B.shifted(boxes, shift, pixel=0)), image


def refine(
    sums: Tensor, boxes: Tensor, image: Tensor, rnet: RNet, threshold: float = THRESHOLDS[1]
) -> tuple[Tensor, Tensor]:
    """R-Net looks at the boxes of `propose`: those that stay, moved. sums: `boxes.integral` of the pictures."""
    score, shift = _look(rnet, sums, boxes, image, 24)
    boxes, score, shift, image = _only(score > threshold, boxes, score, shift, image)
    boxes, shift, image = _only(B.keep_apart(boxes, score, image, OVERLAPS[2]), boxes, shift, image)
    return B.squared(B.shifted(boxes, shift)), image


def finish(sums: Tensor, boxes: Tensor, image: Tensor, onet: ONet, threshold: float = THRESHOLDS[2]) -> list[Found]:
    """O-Net looks at the boxes of `refine` and says which are faces, and where eyes, nose and mouth lie."""
    score, shift, points = _look(onet, sums, boxes, image, 48)
    boxes, score, shift, points, image = _only(score > threshold, boxes, score, shift, points, image)
    points = points * (boxes[:, 2:] - boxes[:, :2] + 1)[:, None] + boxes[:, None, :2] - 1
    boxes = B.shifted(boxes, shift)
    boxes, score, points, image = _only(B.keep_unnested(boxes, score, image, OVERLAPS[3]), boxes, score, points, image)
    boxes, score, points, image = (x.cpu().numpy() for x in (boxes, score, points, image))
    return [Found(*(x[image == i] for x in (boxes, score, points))) for i in range(len(sums))]


def _look(network: RNet | ONet, sums: Tensor, boxes: Tensor, image: Tensor, side: int) -> tuple[Tensor, ...]:
    """What a network says of the candidates; a bounded number of them is cut out at a time."""
    # One empty part at least: a picture without candidates gives empty answers of the right shapes.
    parts = zip(boxes.split(AT_ONCE), image.split(AT_ONCE), strict=True)
    said = [network(_normal(B.cut_out(sums, some, of, side))) for some, of in parts]
    return tuple(torch.cat(answers) for answers in zip(*said, strict=True))


def _only(which: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(x[which] for x in tensors)


def _normal(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 128


class MTCNN:
    """Finds faces in pictures of any sizes; a callable from a list of uint8 [H, W, 3] arrays to a list of `Found`.

    Pictures of one size go through the networks together. Those up to 96 pixels are enlarged four times first, those
    above 1,280 are reduced; boxes and points are in pixels of the picture that was given.

    Raises:
        DataError: the weights are missing or are other ones (see `make mtcnn`), or a picture is no such array.
        SettingsError: a threshold or a factor outside of 0 to 1, or a face smaller than 12 pixels.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = THRESHOLDS,
        factor: float = FACTOR,
        min_face_size: float = MIN_FACE_SIZE,
        device: str | torch.device = "cpu",
        weights: str | Path | None = None,
    ):
        if len(thresholds) != 3 or not all(0 <= threshold <= 1 for threshold in thresholds):
            raise SettingsError(f"MTCNN needs three thresholds from 0 to 1, got {list(thresholds)}.")
        if not 0 < factor < 1:
            raise SettingsError(f"A pyramid factor of {factor:g} makes no sense: give a number between 0 and 1.")
        if min_face_size < B.WINDOW:
            raise SettingsError(f"P-Net sees {B.WINDOW} pixels, so min_face_size {min_face_size:g} is too small.")
        self.thresholds, self.factor, self.min_face_size = tuple(thresholds), factor, min_face_size
        self.device = torch.device(device)
        self.networks = load_networks(weights, self.device)

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray]) -> list[Found]:
        groups: dict[tuple[int, int], list[int]] = {}
        sized = [_looked_at(image) for image in images]
        for row, (image, _) in enumerate(sized):
            groups.setdefault(image.shape[:2], []).append(row)
        found: dict[int, Found] = {}
        for (height, width), members in groups.items():
            n = max(1, PIXELS_AT_ONCE // (height * width))
            for rows in (members[start : start + n] for start in range(0, len(members), n)):
                batch = torch.from_numpy(np.stack([sized[row][0] for row in rows])).permute(0, 3, 1, 2)
                faces = self.detect(batch.to(self.device))
                found |= {row: _in_pixels(face, sized[row][1]) for row, face in zip(rows, faces, strict=True)}
        return [found[row] for row in range(len(images))]

    def detect(self, images: Tensor) -> list[Found]:
        """Pictures of one size, uint8 [B, 3, H, W], as they are."""
        return detect(images, self.networks, self.thresholds, self.factor, self.min_face_size)


def _looked_at(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture in the size in which it is looked at, and how many times larger that is, along x and y."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"A picture must be uint8 of shape [H, W, 3], got {image.dtype} {list(image.shape)}.")
    height, width = image.shape[:2]
    longer = max(height, width)
    times = ENLARGE if longer <= SMALL_SIDE else min(1.0, LARGE_SIDE / longer)
    if times == 1:
        return image, np.ones(2, np.float32)
    size = max(1, round(width * times)), max(1, round(height * times))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    return resized, np.array([size[0] / width, size[1] / height], np.float32)


def _in_pixels(face: Found, times: np.ndarray) -> Found:
    """Boxes and points from the size looked at into that of the picture."""
    if (times == 1).all():
        return face
    return Found(face.boxes / np.tile(times, 2), face.scores, (face.points + 0.5) / times - 0.5)
