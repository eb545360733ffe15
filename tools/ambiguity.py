"""Does a score find the faces on which people disagree? Its rank correlation with the entropy of their votes, as CSV.

    python tools/ambiguity.py runs/experiments/real/clean/* > data/results/ambiguity.csv

A row per run and detector, for runs on data with votes (FERPlus: ten taggers). 0: the score knows nothing of the
taggers' doubt; 100: it ranks the faces as their votes do.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from scn_fastai.detect.detectors import detector_scores, votes_of
from scn_fastai.detect.metrics import rank_correlation, vote_entropy
from scn_fastai.training.run import Run


def correlations_of(folder: Path) -> pd.DataFrame:
    """Spearman's correlation of every detector of a run with the entropy of votes, in %."""
    run = Run.load(folder)
    entropy = vote_entropy(votes_of(run))
    scores, _ = detector_scores(run)
    seed = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["train"]["seed"]
    about = {"recipe": folder.name.rpartition("-seed")[0], "seed": seed}
    return pd.DataFrame(
        [about | {"detector": n, "spearman": 100 * rank_correlation(s, entropy)} for n, s in sorted(scores.items())]
    )


def main() -> None:
    """Print the table as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    table = pd.concat([correlations_of(folder) for folder in parser.parse_args().runs])
    table.round(2).to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
