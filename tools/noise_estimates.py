"""How the share of labels that look wrong runs through trainings of the default recipe, epoch by epoch, as CSV.

    python tools/noise_estimates.py runs/experiments/real/*/default-seed* > data/results/noise_estimates.csv

A row per run and epoch: its data, what is wrong with its labels, seed, epoch, settled, noise_estimate, and whether
relabeling was at work. `noise_shows` reads these figures.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from scn_fastai.training.run import Run


def epochs_of(folder: Path) -> pd.DataFrame:
    """The epochs of a run, with what it was trained on."""
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    data, train = settings["data"], settings["train"]
    frame = Run.load(folder).history.frame()[["epoch", "settled", "noise_estimate", "relabeling"]]
    kind = f"{100 * data['noise']:g} % {data['noise_kind']}" if data["noise"] else "as they are"
    about = {
        "data": data["name"],
        "faces": data["limit"],
        "labels": kind,
        "epochs": train["epochs"],
        "seed": train["seed"],
    }
    return frame.assign(**about)[[*about, *frame]]


def main() -> None:
    """Print the table as CSV."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    table = pd.concat([epochs_of(folder) for folder in parser.parse_args().runs])
    table.round(4).to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
