"""Drawing the classes of a training set equally often, for sets in which some of them are rare."""

import torch
from torch import Tensor


def balanced_order(labels: Tensor) -> Tensor:
    """Positions ``[N]`` in random order, from each class as many: N / C, give or take one.

    A class that is larger gives a random part of its samples, another one in every epoch; a smaller one gives all of
    them, again and again, so that no sample of a class is drawn more than once oftener than another. Only torch's
    default generator is asked.

    Args:
        labels: class codes ``[N]``; a class without a sample is passed over.

    >>> labels = torch.tensor([0, 0, 0, 0, 0, 0, 0, 1])
    >>> labels[balanced_order(labels)].sort().values
    tensor([0, 0, 0, 0, 1, 1, 1, 1])
    """
    codes, counts = labels.unique(return_counts=True)
    if not len(codes):
        return labels.long()
    share, more = divmod(len(labels), len(codes))
    quota = torch.full_like(counts, share)
    quota[torch.randperm(len(codes))[:more]] += 1
    drawn = []
    for code, count, wanted in zip(codes, counts.tolist(), quota.tolist(), strict=True):
        members = (labels == code).nonzero().squeeze(1)
        rounds, rest = divmod(wanted, count)
        drawn += [members.repeat(rounds), members[torch.randperm(count)[:rest]]]
    order = torch.cat(drawn)
    return order[torch.randperm(len(order))]
