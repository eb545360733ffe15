"""Compare recipes on training faces alone: ``python tools/choose_settings.py ferplus.zip --recipes default,elr``.

A setting that is chosen by the validation faces is no longer measured by them. So this trains on 4,000 FERPlus training
faces, judges by 3,000 other training faces, and uses none of the 10,000 that the results in `data/results` are trained
on, and no validation face. A row per run: accuracy of the last and the best epoch, mean of the classes, right labels.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scn_fastai.data.noise import flip_labels
from scn_fastai.data.readers.ferplus import read_ferplus
from scn_fastai.data.samples import FaceSet
from scn_fastai.experiments.compare import cells, compare
from scn_fastai.experiments.fit import TrainSettings

MEASURED = 10_000  # training faces behind data/results: `limit` picks them with seed 0
COLUMNS = ["recipe", "seed", "accuracy_last", "accuracy_best", "mean_class_accuracy_last", "label_accuracy_after"]


@dataclass(frozen=True)
class TrainingFaces:
    """Faces to train on and to judge by, both from FERPlus's training split; in the place of a Source."""

    path: str
    limit: int = 4000
    judges: int = 3000
    noise: float = 0.3
    noise_kind: str = "symmetric"

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    def load(self, seed: int = 0) -> FaceSet:
        """The same faces for every seed; with every seed other labels are wrong."""
        faces = read_ferplus(self.path, splits=("train",))
        free = without(faces, faces.limit(MEASURED, seed=0)).limit(self.limit + self.judges, seed=0)
        chosen = free.limit(self.limit, seed=0)
        rest = without(free, chosen)
        both = free.take(np.concatenate([positions(free, chosen), positions(free, rest)]))
        both.samples.loc[self.limit :, "split"] = "valid"
        if not self.noise:
            return both
        codes = both.label_codes(split="train")
        return both.with_labels(flip_labels(codes, self.noise, self.noise_kind, seed, classes=both.classes).labels)


def positions(faces: FaceSet, part: FaceSet) -> np.ndarray:
    """Where the faces of a part stand."""
    return np.flatnonzero(faces.samples["image"].isin(part.samples["image"]))


def without(faces: FaceSet, part: FaceSet) -> FaceSet:
    """The faces that are not in the part."""
    return faces.take(np.flatnonzero(~faces.samples["image"].isin(part.samples["image"])))


def main() -> None:
    """Train what is not trained yet, and print a row per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="ferplus.zip, or its folder")
    parser.add_argument("--recipes", default="plain,default")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int, default=4000, help="training faces")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--noise-kind", default="symmetric")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/choose"))
    o = parser.parse_args()
    faces = TrainingFaces(o.path, o.limit, noise=o.noise, noise_kind=o.noise_kind)
    train = TrainSettings(epochs=o.epochs, size=48)
    grid = cells(o.recipes.split(","), [int(seed) for seed in o.seeds.split(",")], train, faces, o.out)
    table = compare(grid, o.jobs, lambda done, total, line: print(f"{done}/{total} {line}", flush=True))
    print(table.reindex(columns=COLUMNS).round(4).to_string(index=False))


if __name__ == "__main__":
    main()
