"""Many runs as one table: what was set, what came out, and where each lies."""

import json
from pathlib import Path

import pandas as pd

from scn_fastai.errors import RunError


def runs_in(folder: str | Path) -> pd.DataFrame:
    """The finished runs below a folder, a row each, without reading their samples.

    Columns: ``run`` (the folder's name), ``folder``, ``recipe``, ``seed``, the SCN settings (weight, rank, relabel,
    beta, gamma, rank_margin, relabel_margin, ...), ``data``, ``noise``, ``arch`` and ``pretrained``, and the figures of
    its summary (accuracy_last, accuracy_best, epochs, n_train, label_accuracy_after, ...). A folder that is no finished
    run is passed over.

    Raises:
        RunError: there is no such folder, or no finished run in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"There is no folder {folder}: name the one that `scn compare --out` wrote.")
    found = sorted(path.parent for path in folder.rglob("summary.json") if not path.parent.name.startswith("."))
    rows = [row for row in map(_row, found) if row is not None]
    if not rows:
        raise RunError(f"{folder} holds no finished run: make some with `scn compare --out {folder}`.")
    return pd.DataFrame(rows)


def epochs_of(folder: str | Path) -> pd.DataFrame:
    """A row per epoch of a run, without its samples.

    Raises:
        RunError: it has no history.
    """
    path = Path(folder) / "history" / "epochs.parquet"
    if not path.exists():
        raise RunError(f"{folder} has no history/epochs.parquet: it is no whole run.")
    return pd.read_parquet(path)


def _row(folder: Path) -> dict | None:
    """What is set and what came out; None for a folder that cannot be read as a run."""
    try:
        settings, summary = (json.loads((folder / f"{n}.json").read_text("utf-8")) for n in ("settings", "summary"))
        data = settings.get("data") or {}
        train = settings.get("train") or {}
        seed = train.get("seed", summary.get("seed"))
        known = {"run": folder.name, "folder": str(folder), "recipe": settings.get("recipe", folder.name), "seed": seed}
        about = {"data": data.get("name"), "noise": data.get("noise"), "noise_kind": data.get("noise_kind")}
        about |= {"arch": train.get("arch"), "pretrained": train.get("pretrained")}
        return known | settings["scn"] | about | {k: v for k, v in summary.items() if k not in known}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
