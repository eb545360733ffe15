"""In which order do doubts of labels come true? ``python tools/doubt_order.py RUN... [--epochs 8,14,20]``.

For finished runs whose true labels are known: of the labels that the averaged predictions doubt most, by the difference
P_max - P_given (Eq. 5) and by the ratio P_max / P_given, how many given labels are wrong, and how many predicted labels
are right. Training faces only, so that an order may be chosen by it.
"""

import argparse

import torch

from scn_fastai import Run
from scn_fastai.core.relabeling import RULED_OUT
from scn_fastai.detect.outlook import evidence_by_epoch

SHARES = (0.05, 0.1, 0.16, 0.2)
ORDERS = {
    "difference": lambda p_max, p_given: p_max - p_given,
    "ratio": lambda p_max, p_given: p_max / (p_given + RULED_OUT),
}


def rows_of(run: Run, epochs: list[int], decay: float = 0.7):
    """For each epoch, order and share: shares of wrong given labels and of right predicted ones."""
    given, n = run.ledger.given, len(run.ledger.given)
    for epoch, (_, mean, _) in enumerate(evidence_by_epoch(run.history, decay)):
        if epoch in epochs:
            p_max, best = mean.max(1)
            p_given = mean.gather(1, given[:, None]).squeeze(1)
            for name, order in ORDERS.items():
                doubt = torch.where(best == given, -torch.inf, order(p_max, p_given)).argsort(descending=True)
                for share in SHARES:
                    top = doubt[: int(share * n)]
                    wrong, right = given[top] != run.truth[top], best[top] == run.truth[top]
                    yield epoch, name, share, wrong.float().mean().item(), right.float().mean().item()


def main() -> None:
    """Print a line per run, epoch, order and share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--epochs", default="8,14,20,24")
    options = parser.parse_args()
    epochs = [int(epoch) for epoch in options.epochs.split(",")]
    print(f"{'run':<16}{'epoch':>6} {'order':<12}{'share':>6}{'given wrong':>13}{'new right':>11}")
    for folder in options.runs:
        run = Run.load(folder)
        for epoch, name, share, wrong, right in rows_of(run, epochs):
            print(f"{run.folder.name:<16}{epoch:>6} {name:<12}{share:>6.0%}{wrong:>13.1%}{right:>11.1%}")


if __name__ == "__main__":
    main()
