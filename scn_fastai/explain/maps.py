"""Arithmetic on maps that needs no network: their scale, and how alike two of them are."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import rankdata

from scn_fastai.errors import DataError


def normalised(maps, quantile: float = 0.99) -> np.ndarray:
    """Maps on a common scale from -1 to 1: each is divided by its own ``quantile`` of ``|map|``, then cut at 1.

    The sign stays, 0 stays 0, and an empty map stays empty. A single wild pixel does not make all others pale. But how
    *large* a map was is lost: two normalised maps compare where they look, not how much.

    Args:
        maps: float ``[B, H, W]``, or ``[H, W]``.
        quantile: from 0 to 1; 1 divides by the largest.

    Returns:
        float32, of the same shape; numbers that are not finite become 0.

    Raises:
        DataError: these are no maps.

    >>> normalised([[[0.0, -2.0], [1.0, 4.0]]], quantile=1).tolist()
    [[[0.0, -0.5], [0.25, 1.0]]]
    """
    values = np.nan_to_num(np.asarray(maps, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if values.ndim not in (2, 3):
        raise DataError(f"Maps are [B, H, W] or [H, W], got {list(values.shape)}: sum over the channels first.")
    if not values.size:
        return values.astype(np.float32)
    size = np.quantile(np.abs(values), quantile, axis=(-2, -1), keepdims=True)
    largest = np.abs(values).max(axis=(-2, -1), keepdims=True)
    size = np.where(size > 0, size, largest)  # hardly a pixel counts: then the largest is the measure
    return np.clip(values / np.where(size > 0, size, 1.0), -1, 1).astype(np.float32)


def smoothed(maps, pixels: float = 1.5) -> np.ndarray:
    """Maps in which each pixel shares with its neighbours: a Gaussian of so many pixels; the sum over a face stays.

    Slopes change their sign from pixel to pixel. Smoothed, a map says what a small *region* does to the score: what
    speaks for it and what speaks against it there are added up.

    Args:
        maps: float ``[B, H, W]``.
        pixels: standard deviation of the Gaussian; 0 changes nothing.

    >>> smoothed(np.eye(5)[None]).sum().round(4)
    np.float64(5.0)
    """
    return gaussian_filter(np.asarray(maps, dtype=np.float64), (0, pixels, pixels), mode="reflect")


def for_display(maps, method: str, smooth: bool = True) -> np.ndarray:
    """Maps as the viewer shows them: those that are made pixel by pixel smoothed by 1/42 of the face, all normalised.

    Args:
        maps: float ``[B, H, W]``.
        method: as for `saliency`.
        smooth: False leaves the pixels as they are.
    """
    pixelwise = method in ("saliency", "integrated gradients")
    maps = np.asarray(maps)
    return normalised(smoothed(maps, maps.shape[-1] / 42) if pixelwise and smooth and maps.size else maps)


def rank_correlation(a, b, signed: bool = False) -> np.ndarray:
    """Spearman's rank correlation of the pixels of two maps, for each face ``[B]``; NaN where a map is even.

    Args:
        a: float ``[B, H, W]``.
        b: of the same shape.
        signed: compare the maps themselves; else their absolute values, which asks only whether they look at the
            same places.

    Raises:
        DataError: the shapes differ.

    >>> rank_correlation([[[1.0, 2.0, 9.0]]], [[[-1.0, -2.0, -3.0]]]).round(4).tolist()
    [1.0]
    """
    first, second = (np.asarray(maps, dtype=np.float64) for maps in (a, b))
    if first.shape != second.shape or first.ndim != 3:
        raise DataError(f"Compare maps [B, H, W] of one shape, got {list(first.shape)} and {list(second.shape)}.")
    if not signed:
        first, second = np.abs(first), np.abs(second)
    ranks = [rankdata(maps.reshape(len(maps), -1), axis=1) if maps.size else maps for maps in (first, second)]
    x, y = (r - r.mean(axis=1, keepdims=True) if r.size else np.zeros((len(r), 1)) for r in ranks)
    spread = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return np.divide((x * y).sum(axis=1), spread, out=np.full(len(x), np.nan), where=spread > 0)
