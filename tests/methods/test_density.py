"""CurriculumNet's densities and subsets against the definition in plain loops."""

import math

import numpy as np
import pytest
import torch

from scn_fastai.detect.groups import auroc
from scn_fastai.methods import density
from scn_fastai.methods.density import curriculum, density_suspicion, local_density, principal, three_subsets


def density_by_loops(points, rank):
    """rho_i = #{j: D_ij < d_c} - 1, with d_c the value at a rank of the sorted n^2 distances."""
    n = len(points)
    distance = [[math.dist(a, b) for b in points] for a in points]
    ordered = sorted(d for row in distance for d in row)
    cutoff = ordered[min(int(rank * n * n), n * n - 1)]
    return [max(0, sum(d < cutoff for d in row) - 1) for row in distance]


def three_by_trial(values):
    """The division of sorted numbers into three runs with the least squared distance to the runs' means."""
    ordered, best = sorted(values), None
    for a in range(1, len(values) - 1):
        for b in range(a + 1, len(values)):
            runs = ordered[:a], ordered[a:b], ordered[b:]
            cost = sum(sum((v - sum(run) / len(run)) ** 2 for v in run) for run in runs)
            if best is None or cost < best[0]:
                best = cost, [len(run) for run in runs]
    return best


@pytest.mark.parametrize("rank", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("at_a_time", [2**22, 50])
def test_density_counts_the_neighbours(tiny, monkeypatch, rank, at_a_time):
    """Small whole numbers, so that equal distances are equal to the bit; in memory at once, and a row at a time."""
    monkeypatch.setattr(density, "AT_A_TIME", at_a_time)
    x = torch.randint(-4, 5, (32, 3)).float()
    assert local_density(x, rank).tolist() == density_by_loops(x.tolist(), rank)


def test_density_of_real_numbers(tiny):
    x = torch.randn(40, 5)
    assert np.abs(local_density(x).numpy() - density_by_loops(x.double().tolist(), 0.6)).max() <= 1  # rounding at d_c


def test_few_or_equal_points_have_a_density():
    assert local_density(torch.ones(1, 3)).tolist() == [0]
    assert local_density(torch.ones(4, 3)).tolist() == [0] * 4
    assert local_density(torch.tensor([[0.0], [5.0]])).tolist() == [0, 0]


def test_three_subsets_are_the_best_three(tiny):
    for _ in range(5):
        values = torch.randn(14).double()
        found = three_subsets(values)
        runs = [values[found == kind] for kind in range(3)]
        assert runs[0].max() < runs[1].min() and runs[1].max() < runs[2].min()
        cost = sum(float(((run - run.mean()) ** 2).sum()) for run in runs)
        assert cost == pytest.approx(three_by_trial(values.tolist())[0])


@pytest.mark.parametrize(
    ("values", "subsets"), [([3.0], [0]), ([3.0, 3.0], [0, 0]), ([4.0, 1.0, 4.0], [1, 0, 1]), ([1, 3, 2], [0, 2, 1])]
)
def test_tiny_classes_have_fewer_subsets(values, subsets):
    assert three_subsets(torch.tensor(values)).tolist() == subsets


def two_clouds():
    """Two classes around two points; the last ten samples of each lie with the other class, as if mislabelled."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(160, 6, generator=generator)
    labels = torch.arange(160) % 2
    wrong = torch.arange(160) >= 140
    x[:, 0] += 8 * (labels ^ wrong.long())
    return x, labels, wrong


@pytest.mark.parametrize("cluster_on", ["density", "distance"])
def test_wrong_labels_are_highly_noisy(cluster_on):
    x, labels, wrong = two_clouds()
    found = curriculum(x, labels, cluster_on)
    assert (found.subset[wrong] == 2).all() and (found.subset[~wrong] == 0).float().mean() > 0.4
    assert auroc(found.suspicion.numpy(), wrong.numpy()) > 0.99
    right = found.density[~wrong & (labels == 0)]
    assert right.mean() > found.density[wrong].max()


def test_a_class_is_measured_by_itself():
    x, labels, _ = two_clouds()
    both = curriculum(x, labels)
    alone = local_density(principal(x)[labels == 1])
    assert torch.equal(both.density[labels == 1], alone)


def test_distance_is_that_to_the_densest_sample():
    x = torch.tensor([[0.0], [1.0], [2.0], [9.0], [30.0]])
    by_loops = density_by_loops(x.tolist(), 0.6)
    centre = by_loops.index(max(by_loops))
    away = [abs(float(v) - float(x[centre])) for v in x]
    assert curriculum(x, torch.zeros(5, dtype=torch.long), "distance").subset.tolist() == (
        three_subsets(torch.tensor(away)).tolist()
    )


def test_suspicion_is_the_share_that_is_denser(tiny):
    rho, labels = torch.randint(0, 6, (30,)).float(), torch.randint(0, 3, (30,))
    for i, score in enumerate(density_suspicion(rho, labels).tolist()):
        others = [float(rho[j]) for j in range(30) if j != i and labels[j] == labels[i]]
        share = sum((r > rho[i]) + 0.5 * (r == rho[i]) for r in others) / len(others)
        assert score == pytest.approx(float(share))


def test_wide_features_keep_their_distances(tiny):
    """300 columns of rank 4: the 256 principal axes hold all of it."""
    x = torch.randn(20, 4) @ torch.randn(4, 300)
    narrow = principal(x)
    assert narrow.shape == (20, 256)
    torch.testing.assert_close(torch.cdist(narrow, narrow), torch.cdist(x, x), rtol=1e-3, atol=1e-2)
    assert principal(x[:, :9]).shape == (20, 9)
