"""Folders of runs that are replaced whole or not at all."""

import os
import shutil
from pathlib import Path

from scn_fastai.files import HALF

# What a save of a run replaces; everything else in its folder is the user's. A summary tells of the epochs before it.
OURS = {"settings.json", "samples.parquet", "ledger.parquet", "proposals.parquet", "history", "model.safetensors"}
OURS |= {"model_before.safetensors", "resume", "summary.json"}


def swap(new: Path, folder: Path) -> None:
    """Put the new folder in the place of the old one; a kill anywhere in it is mended by `finish_swap`."""
    if folder.exists():
        os.rename(folder, old_folder(folder))
    try:
        os.rename(new, folder)
    except OSError:
        finish_swap(folder)
        raise
    finish_swap(folder)


def finish_swap(folder: Path) -> None:
    """Take the old folder back if the new one did not come; else move the user's files over and remove it."""
    folder, old = folder.resolve(), old_folder(folder)
    if not old.is_dir():
        return
    if not folder.exists():
        os.rename(old, folder)
        return
    for path in old.iterdir():
        if path.name not in OURS and not path.name.endswith(HALF) and not (folder / path.name).exists():
            os.rename(path, folder / path.name)
    shutil.rmtree(old, ignore_errors=True)


def old_folder(folder: Path) -> Path:
    """Where the old folder waits while the new one takes its place."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.old")
