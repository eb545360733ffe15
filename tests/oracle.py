"""Equations 1 to 5 of the SCN paper as loops over floats: an independent word on what core/ should say."""

import math
from typing import NamedTuple


class Cure(NamedTuple):
    """What Eq. 5 says of one sample."""

    mask: bool
    label: int
    p_max: float
    p_given: float


def softmax(scores):
    """Probabilities of a list of scores."""
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def importance(features, weight, bias=0.0):
    """Eq. 1: alpha of each row of features."""
    result = []
    for row in features:
        score = bias
        for x, w in zip(row, weight, strict=True):
            score += x * w
        result.append(1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score)))
    return result


def wce(logits, alpha, target):
    """Eq. 2: mean cross-entropy of the logits times alpha."""
    total = 0.0
    for row, a, y in zip(logits, alpha, target, strict=True):
        scaled = [a * z for z in row]
        top = max(scaled)
        total -= scaled[y] - top - math.log(sum(math.exp(z - top) for z in scaled))
    return total / len(logits)


def split(alpha, beta):
    """The two groups of 3.3 as lists of sample numbers, high and low; neither is empty from two samples on."""
    n = len(alpha)
    ranked = sorted(range(n), key=lambda i: (-alpha[i], i))
    size = round(beta * n)
    if size == n:
        size = n - 1
    if size == 0 or n == 1:
        size = 1
    return ranked[:size], ranked[size:]


def rank_loss(alpha, beta, margin):
    """Eq. 3 and 4: what the gap between the groups' means lacks of the margin."""
    high, low = split(alpha, beta)
    if not low:
        return 0.0
    gap = sum(alpha[i] for i in high) / len(high) - sum(alpha[i] for i in low) / len(low)
    return max(0.0, margin - gap)


def total_loss(logits, alpha, target, beta, margin, gamma, combine="mix"):
    """The total loss below Eq. 4, or the released code's sum."""
    rank, cross = rank_loss(alpha, beta, margin), wce(logits, alpha, target)
    return rank + cross if combine == "sum" else gamma * rank + (1 - gamma) * cross


def cure(probs, target, eligible, margin):
    """Eq. 5: for each sample, whether it gets a new label, and which."""
    result = []
    for row, y, may in zip(probs, target, eligible, strict=True):
        best = row.index(max(row))
        change = may and row[best] - row[y] > margin
        result.append(Cure(change, best if change else y, row[best], row[y]))
    return result


def running_mean(predictions, decay):
    """Mean of one sample's probability rows, the last with weight 1, the one before with ``decay``, and so on."""
    weights = [decay ** (len(predictions) - 1 - epoch) for epoch in range(len(predictions))]
    classes = range(len(predictions[0]))
    return [sum(w * row[c] for w, row in zip(weights, predictions, strict=True)) / sum(weights) for c in classes]


def noise_estimate(probs, target):
    """Share of labels below at least k classes, times (C - 1) / (C - k), at most 1; rows of probs, label codes."""
    classes = len(probs[0])
    k = max(1, (classes - 1) // 2)
    low = 0
    for row, label in zip(probs, target, strict=True):
        likelier = 0
        for p in row:
            if p > row[label]:
                likelier += 1
        if likelier >= k:
            low += 1
    return min(1.0, low / len(probs) * (classes - 1) / (classes - k))
