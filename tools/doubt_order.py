"""In which order do doubts of labels come true? ``python tools/doubt_order.py RUN... [--epochs 8,14,20]``.

For finished runs whose true labels are known: of the labels that the averaged predictions doubt most, by the difference
P_max - P_given (Eq. 5), by the ratio P_max / P_given, and by that ratio after each class's evidence was divided by the
root of its share of the given labels: how many given labels are wrong, how many predicted labels are right, and, were
they changed, which share of the labels would be right in the average true class. Training faces only, so that an order
may be chosen by it.
"""

import argparse

import torch
from torch import Tensor

from scn_fastai import Run
from scn_fastai.core.relabeling import RULED_OUT
from scn_fastai.detect.outlook import evidence_by_epoch

SHARES = (0.05, 0.1, 0.16, 0.18, 0.2)


def doubts(mean: Tensor, given: Tensor):
    """Name, doubt ``[N]`` and predicted class ``[N]`` of each order."""
    share = torch.bincount(given, minlength=mean.shape[1]) / len(given)
    for name, evidence in (("difference", mean), ("ratio", mean), ("by share", mean / share.clamp_min(1e-6).sqrt())):
        p_max, best = evidence.max(1)
        p_given = evidence.gather(1, given[:, None]).squeeze(1)
        doubt = p_max - p_given if name == "difference" else p_max / (p_given + RULED_OUT)
        yield name, torch.where(best == given, -torch.inf, doubt), best


def rows_of(run: Run, epochs: list[int], decay: float = 0.7):
    """For each epoch, order and share: wrong given labels, right predicted ones, right labels in the average class."""
    given, truth, n = run.ledger.given, run.truth, len(run.ledger.given)
    for epoch, (_, mean, _) in enumerate(evidence_by_epoch(run.history, decay)):
        if epoch in epochs:
            for name, doubt, best in doubts(mean, given):
                for share in SHARES:
                    top = doubt.argsort(descending=True)[: int(share * n)]
                    wrong, right = given[top] != truth[top], best[top] == truth[top]
                    cured = given.clone()
                    cured[top] = best[top]
                    of_class = torch.stack([(cured[truth == k] == k).float().mean() for k in truth.unique()]).mean()
                    yield epoch, name, share, wrong.float().mean().item(), right.float().mean().item(), of_class.item()


def main() -> None:
    """Print a line per run, epoch, order and share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--epochs", default="8,14,20,24")
    options = parser.parse_args()
    epochs = [int(epoch) for epoch in options.epochs.split(",")]
    print(f"{'run':<16}{'epoch':>6} {'order':<12}{'share':>6}{'given wrong':>13}{'new right':>11}{'a class':>9}")
    for folder in options.runs:
        run = Run.load(folder)
        for epoch, name, share, wrong, right, of_class in rows_of(run, epochs):
            print(
                f"{run.folder.name:<16}{epoch:>6} {name:<12}{share:>6.0%}{wrong:>13.1%}{right:>11.1%}{of_class:>9.1%}"
            )


if __name__ == "__main__":
    main()
