"""How densely a sample's neighbourhood is filled by its class: CurriculumNet's measure (Guo et al., ECCV 2018)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

CLEAN, NOISY, HIGHLY_NOISY = range(3)
AT_A_TIME = 2**22  # distances in memory


@dataclass(frozen=True)
class Curriculum:
    """Which samples are easy. All ``[N]``, in the order of the features.

    subset: int64, 0 clean, 1 noisy, 2 highly noisy; density: float32, see `local_density`; suspicion: float32, see
    `density_suspicion`.
    """

    subset: Tensor
    density: Tensor
    suspicion: Tensor


def curriculum(features: Tensor, labels: Tensor, cluster_on: str = "density", rank: float = 0.6) -> Curriculum:
    """Divide each class into clean, noisy and highly noisy samples by the density of its features.

    In the dense middle of a class, so the assumption, labels are right. Each class is divided by k-means with three
    clusters on one number a sample: its density (as the released code does) or its distance to the densest sample of
    the class (as the paper says). The paper takes as the centre the sample where density rho and separation delta =
    min_{rho_j > rho_i} D_ij are both largest; that is the densest one, for its delta is max_j D_ij by definition.
    A class whose samples have fewer than three different values has fewer subsets, the clean one first.

    Args:
        features: ``[N, D]``; more than 256 columns are projected on their 256 principal axes.
        labels: given labels ``[N]``.
        cluster_on: ``'density'`` or ``'distance'``.
        rank: see `local_density`.

    >>> x = torch.tensor([[0.0], [1], [2], [3], [4], [5], [6], [20], [21], [50]])
    >>> curriculum(x, torch.zeros(10, dtype=torch.long)).subset.tolist()
    [0, 0, 0, 0, 0, 0, 0, 1, 1, 2]
    """
    x, n = principal(features), len(features)
    subset, density = torch.zeros(n, dtype=torch.long), torch.zeros(n)
    for code in labels.unique().tolist():
        members = (labels == code).nonzero()[:, 0]
        own = x[members]
        density[members] = local_density(own, rank)
        value = -density[members]
        if cluster_on == "distance":
            value = (own - own[density[members].argmax()]).norm(dim=1)
        subset[members] = three_subsets(value)
    return Curriculum(subset, density, density_suspicion(density, labels))


def principal(features: Tensor, width: int = 256) -> Tensor:
    """Features ``[N, D]`` minus their mean, on ``width`` principal axes if D is larger: ``[N, min(D, width)]``."""
    x = features.float() - features.float().mean(0)
    if x.shape[1] <= width:
        return x
    _, axes = torch.linalg.eigh((x.T @ x).double())  # the largest eigenvalues come last
    return x @ axes[:, -width:].float()


def local_density(x: Tensor, rank: float = 0.6) -> Tensor:
    """rho_i = #{j: D_ij < d_c} - 1, d_c being the value at ``rank`` of all n^2 sorted Euclidean distances D.

    In memory are some rows of D at a time: the value at a rank is found by counting, not by sorting.

    Args:
        x: features of the samples of one class, ``[n, D]``.
        rank: from 0 to 1; CurriculumNet's 0.6.

    Returns:
        float32 ``[n]``.

    >>> local_density(torch.tensor([[0.0], [1.0], [2.0], [9.0]])).tolist()  # d_c = 2
    [1.0, 2.0, 1.0, 0.0]
    """
    n = len(x)
    cutoff = _square_at(x, min(int(rank * n * n), n * n - 1))
    near = torch.cat([(squares < cutoff).sum(1) for squares in _squares(x)])
    return (near - 1).clamp_min(0).float()  # where all samples are equal, D_ii < d_c does not hold either


def density_suspicion(density: Tensor, labels: Tensor) -> Tensor:
    """Share of a sample's class that is denser than it (equals count half): a detector's score, 0 to 1, ``[N]``.

    0 is the densest sample of a class, 1 the loneliest, 0.5 the only one.

    >>> density_suspicion(torch.tensor([5.0, 3.0, 3.0, 1.0, 7.0]), torch.tensor([0, 0, 0, 0, 1])).tolist()
    [0.0, 0.5, 0.5, 1.0, 0.5]
    """
    result = torch.full((len(density),), 0.5)
    for code in labels.unique().tolist():
        members = (labels == code).nonzero()[:, 0]
        if len(members) > 1:
            _, place, count = density[members].unique(return_inverse=True, return_counts=True)
            lower = count.cumsum(0) - count  # how many are less dense than each value
            result[members] = 1 - ((lower + (count - 1) / 2) / (len(members) - 1))[place]
    return result


def three_subsets(value: Tensor) -> Tensor:
    """Clusters of numbers ``[n]`` by k-means with three means, numbered from the lowest: int64 ``[n]``.

    >>> three_subsets(torch.tensor([5.0, 0.0, 9.0, 0.2, 5.1])).tolist()
    [1, 0, 2, 0, 1]
    >>> three_subsets(torch.tensor([4.0, 4.0])).tolist()
    [0, 0]
    """
    numbers = value.double().numpy()[:, None]
    kinds = min(3, len(np.unique(numbers)))
    found = KMeans(kinds, n_init=10, random_state=0).fit(numbers)
    place = found.cluster_centers_[:, 0].argsort().argsort()
    return torch.from_numpy(place[found.labels_])


def _squares(x: Tensor) -> Iterator[Tensor]:
    """Squared distances, some rows ``[r, n]`` at a time; the same bits at every call, and zeros on the diagonal."""
    n, length = len(x), (x * x).sum(1)
    rows = max(1, AT_A_TIME // n)
    for start in range(0, n, rows):
        some = slice(start, min(start + rows, n))
        squares = (length[some, None] + length - 2 * x[some] @ x.T).clamp_(min=0).add_(0.0)  # no -0.0
        squares[torch.arange(len(squares)), torch.arange(n)[some]] = 0
        yield squares


def _square_at(x: Tensor, place: int) -> Tensor:
    """The squared distance at ``place`` of the sorted n^2, counted from 0.

    Floats that are not negative sort like the integers of their bits: count the upper half of the bits, then the
    lower half among those that share the upper one found.
    """
    upper = sum(torch.bincount((s.view(torch.int32) >> 16).flatten(), minlength=2**15) for s in _squares(x))
    high = int(torch.searchsorted(upper.cumsum(0), place, right=True))
    lower = torch.zeros(2**16, dtype=torch.long)
    for squares in _squares(x):
        bits = squares.view(torch.int32)
        lower += torch.bincount(bits[bits >> 16 == high] & 0xFFFF, minlength=2**16)
    low = int(torch.searchsorted(lower.cumsum(0), place - int(upper[:high].sum()), right=True))
    return torch.tensor([high << 16 | low], dtype=torch.int32).view(torch.float32)[0]
