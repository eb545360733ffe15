"""Make the run that the notebooks open, data/runs/scn: small, in open formats, without what only a resume needs.

    python tools/make_shipped_runs.py                          (about 1 minute)
    python tools/make_shipped_runs.py --epochs-of runs/a ...   settings, summaries and epochs of many runs, to
                                                               data/runs/ablation

SCN's default recipe trains the small network on 3,200 rendered faces with 30 % human-like wrong labels, on a CPU in
float32 with one thread, so that the same libraries give the same run again. Stored are the weights in half precision
and, of the samples table, the columns that the notebooks use; the faces lie in data/rendered_faces.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch

from scn_fastai.data.source import Source
from scn_fastai.experiments.fit import TrainSettings, train_faces
from scn_fastai.training.runs_in import runs_in

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 5_000_000  # bytes
FACES, EPOCHS = 3200, 24
COLUMNS = ["image", "identity", "split", "label", "true_label", "uncertainty", "level", "second", "mix"]


def make(folder: Path) -> dict:
    """Train the run; its summary."""
    source = Source("rendered", limit=FACES, noise=0.3, noise_kind="human")
    how = TrainSettings(arch="small", epochs=EPOCHS, batch_size=64, seed=0, device="cpu", half=False)
    shutil.rmtree(folder, ignore_errors=True)
    return train_faces(source.load(0), "default", how, folder, bar=False, about={"data": source.as_dict()})


def strip(folder: Path) -> None:
    """Leave out what no notebook needs."""
    shutil.rmtree(folder / "resume", ignore_errors=True)
    table = pd.read_parquet(folder / "samples.parquet")
    soft = [name for name in table if name.startswith("soft_")]
    table[[*COLUMNS, *soft]].astype(dict.fromkeys(soft, "float32")).to_parquet(folder / "samples.parquet")
    for path in folder.glob("model*.safetensors"):
        weights = safetensors.torch.load_file(path)
        halves = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
        safetensors.torch.save_file(halves, path)
    for path in folder.rglob("*"):  # safetensors makes files that only their owner may read
        path.chmod(0o755 if path.is_dir() else 0o644)


def copy_epochs(folders: list[Path], out: Path) -> int:
    """Of every finished run below some folders what no sample is needed for; how many."""
    found = [Path(row) for folder in folders for row in runs_in(folder)["folder"]]
    shutil.rmtree(out, ignore_errors=True)
    for run in found:
        target = out / run.parent.name / run.name
        (target / "history").mkdir(parents=True)
        for name in ("settings.json", "summary.json", "history/epochs.parquet"):
            shutil.copyfile(run / name, target / name)
    return len(found)


def main() -> int:
    """Make it; 1 if it is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "runs")
    parser.add_argument("--epochs-of", type=Path, nargs="+", help="folders that `scn compare --out` wrote")
    options = parser.parse_args()
    if options.epochs_of:
        print(copy_epochs(options.epochs_of, options.out / "ablation"), "runs")
        return 0
    folder = options.out / "scn"
    torch.set_num_threads(1)
    summary = make(folder)
    strip(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(json.dumps(summary), f"{size / 1e6:.1f} MB", sep="\n")
    return int(size > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
