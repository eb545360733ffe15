"""What networks make of the rendered faces: the tables of the data card, from the runs of `scn compare`.

    python tools/face_evidence.py runs/faces_small --out data/results/rendered_small.csv

Every run of the folder scores the valid and test faces that the pack holds ("held out"; nobody in them was trained on),
and its history gives alpha of the training faces in the last epoch. The CSV has a row per run, part, kind of
uncertainty and band of level: number of faces, accuracy, and AUROC of 1 - alpha against the certain faces of that part.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet
from scn_fastai.detect.groups import CERTAIN, auroc
from scn_fastai.training.predict import Predictor, predictor
from scn_fastai.training.run import Run

BANDS = {"0 to 1/3": (0, 1 / 3), "1/3 to 2/3": (1 / 3, 2 / 3), "2/3 to 1": (2 / 3, 1.001)}
BATCH = 256


def scored(score: Predictor, faces: FaceSet) -> pd.DataFrame:
    """Label, prediction, alpha, kind and level of every face."""
    probs, alpha = [], []
    for start in range(0, len(faces), BATCH):
        some, importance = score(np.asarray(faces.images[start : start + BATCH]))
        probs.append(some)
        alpha.append(importance)
    table = faces.samples[["true_label", "uncertainty", "level"]].copy()
    table["predicted"] = np.array(score.classes)[np.concatenate(probs).argmax(1)]
    table["alpha"] = np.concatenate(alpha)
    return table


def trained(run: Run) -> pd.DataFrame:
    """The same of the training faces: predictions and alpha of the last epoch, as they were in training."""
    last = run.history.epoch_arrays(run.history.epoch - 1)
    table = run.train_samples[["true_label", "uncertainty", "level"]].copy()
    table["predicted"] = np.array(run.classes)[last["logits"].argmax(1)]
    table["alpha"] = last["alpha"]
    return table[np.isfinite(last["alpha"])]


def rows_of(table: pd.DataFrame) -> list[dict]:
    """A row per kind (all levels), and per kind and band of level; 'any' stands for all uncertain faces."""
    certain = table["uncertainty"] == CERTAIN
    groups = {("certain", "all"): certain, ("any", "all"): ~certain, ("everything", "all"): certain | ~certain}
    for kind in sorted(set(table["uncertainty"]) - {CERTAIN}):
        own = table["uncertainty"] == kind
        groups[kind, "all"] = own
        groups |= {(kind, band): own & table["level"].between(low, high, "left") for band, (low, high) in BANDS.items()}
    found = []
    for (kind, band), own in groups.items():
        part = table[own]
        among = table[own | certain]
        uncertain = among["uncertainty"] != CERTAIN
        found.append({
            "kind": kind, "level": band, "n": len(part),
            "accuracy": (part["predicted"] == part["true_label"]).mean() if len(part) else float("nan"),
            "auroc_alpha": auroc(1 - among["alpha"].to_numpy(), uncertain.to_numpy()) if kind != "certain" else np.nan,
        })  # fmt: skip
    return found


def evidence(folder: Path, splits: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tidy table of all runs, and their confusion matrices on certain held-out faces (shares of the true class)."""
    listed = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
    faces = rendered_faces()
    held_out = faces.take(np.sort(np.concatenate([faces.rows(split) for split in splits])))
    rows, confusions = [], []
    for entry in listed["runs"]:
        run = Run.load(folder / f"{entry['recipe']}-seed{entry['seed']}")
        about = {"arch": run.settings["arch"], "recipe": entry["recipe"], "seed": entry["seed"]}
        parts = {"held out": scored(predictor(run, with_alpha=True), held_out), "train": trained(run)}
        for part, table in parts.items():
            rows += [about | {"part": part} | row for row in rows_of(table)]
        clean = parts["held out"][parts["held out"]["uncertainty"] == CERTAIN]
        shares = pd.crosstab(clean["true_label"], clean["predicted"], normalize="index")
        confusions.append(shares.reindex(index=run.classes, columns=run.classes, fill_value=0).assign(**about))
    return pd.DataFrame(rows), pd.concat(confusions)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation over the seeds, in words."""
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")


def tables(rows: pd.DataFrame, confusions: pd.DataFrame) -> str:
    """The same as Markdown, mean and spread over the seeds."""
    written = []
    for (arch, recipe), own in rows.groupby(["arch", "recipe"], sort=False):
        written.append(f"### {arch}, {recipe}, {own['seed'].nunique()} seeds\n")
        held = own[own["part"] == "held out"]
        shown = held.groupby(["kind", "level"], sort=False)["accuracy"].agg(spread).unstack(sort=False)
        shown["AUROC of 1 - alpha, held out"] = _areas(held)
        shown["in training"] = _areas(own[own["part"] == "train"])
        written += [markdown(shown.fillna("")), ""]
        matrix = confusions[(confusions["arch"] == arch) & (confusions["recipe"] == recipe)]
        mean = matrix.drop(columns=["arch", "recipe", "seed"]).groupby(level=0, sort=False).mean().round(2)
        words = "Certain held-out faces: share of each true class (row) that was predicted as each class (column)\n"
        written += [words, markdown(mean), ""]
    return "\n".join(written)


def markdown(table: pd.DataFrame) -> str:
    """A table with its index as Markdown."""
    head = [table.index.name or "", *map(str, table.columns)]
    lines = [head, ["---"] * len(head), *([str(name), *map(str, values)] for name, *values in table.itertuples())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _areas(rows: pd.DataFrame) -> pd.Series:
    whole = rows[(rows["level"] == "all") & rows["auroc_alpha"].notna()]
    return whole.groupby("kind", sort=False)["auroc_alpha"].agg(spread)


def main() -> None:
    """Read the runs, write the CSV, print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path, help="what scn compare wrote")
    arguments.add_argument("--out", type=Path, help="CSV file for all figures")
    arguments.add_argument("--splits", default="valid,test", help="held-out faces to score (default: valid,test)")
    options = arguments.parse_args()
    rows, confusions = evidence(options.folder, options.splits.split(","))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        rows.round(4).to_csv(options.out, index=False)
    print(tables(rows, confusions))


if __name__ == "__main__":
    main()
