"""Verification: pairs counted one by one, and figures of a network that knows people or does not."""

import math

import numpy as np
import pytest
import torch

from scn_fastai.errors import DataError
from scn_fastai.experiments.verify import verification_auroc


def auroc_by_loops(features, people):
    """Over every pair of one person and every pair of two people: which has the larger cosine; ties count half."""
    same, other = [], []
    for i in range(len(people)):
        for j in range(i + 1, len(people)):
            product = sum(a * b for a, b in zip(features[i], features[j], strict=True))
            cosine = product / (math.hypot(*features[i]) * math.hypot(*features[j]))
            (same if people[i] == people[j] else other).append(cosine)
    return np.mean([(a > b) + (a == b) / 2 for a in same for b in other])


def test_it_counts_pairs(tiny):
    people = np.repeat([3, 8, 9], 4)
    features = torch.randn(12, 5)
    assert verification_auroc(features, people) == pytest.approx(auroc_by_loops(features.tolist(), people), abs=1e-6)
    assert verification_auroc(features * torch.rand(12, 1).add(0.1), people) == pytest.approx(
        verification_auroc(features, people), abs=1e-3
    )  # how long a feature is does not count


def test_a_network_that_knows_everybody_and_one_that_knows_nobody(tiny):
    people = np.repeat(np.arange(10), 4)
    known = torch.eye(10)[torch.from_numpy(people)] + 0.1 * torch.randn(40, 10)
    assert verification_auroc(known, people) == 1
    assert verification_auroc(torch.ones(40, 3), people) == 0.5
    assert verification_auroc(torch.randn(40, 50), people) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("people", [[1, 1, 1], [1, 2, 3]])
def test_pairs_of_both_kinds_are_needed(people):
    with pytest.raises(DataError, match="give two people, one of them twice"):
        verification_auroc(torch.randn(3, 4), np.array(people))
