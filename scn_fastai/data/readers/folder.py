"""Any labelled folder of images, or a CSV file that names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data import images as pixels
from scn_fastai.data.samples import SPLITS, FaceSet, ReadAccount, split_off
from scn_fastai.data.store import Listing, read_table
from scn_fastai.errors import DataError

_SPLIT_NAMES = {
    "train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
    "dev": "valid", "test": "test", "testing": "test",
}  # fmt: skip


def read_folder(
    path: str | Path,
    size: int | None = None,
    valid: float = 0.2,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """Images in a folder per class, or in train and valid (and test) folders that hold those.

    Classes are the folder names of the training images, sorted. Without a valid folder a seeded share
    `valid` of every class is set aside. size: pixels to bring every image to, needed when they differ.
    """
    return _finish(list_folder(path), size, valid, seed, cache_dir)


def list_folder(path: str | Path) -> Listing:
    """What `read_folder` would read, before an image is opened."""
    path = pixels.existing(path)
    if not path.is_dir():
        raise DataError(f"{path} is not a folder: give a folder of class folders, or use read_csv.")
    account = ReadAccount(str(path))
    table = _walk(path, account)
    if table.empty:
        raise DataError(f"There are no images in {path}: put them there in a folder for each class.")
    return _listing(table, None, account)


def read_csv(
    path: str | Path,
    size: int | None = None,
    classes: Sequence[str] | None = None,
    valid: float = 0.2,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """Images named in a CSV file with columns path, label and, if there, split and true_label.

    Paths are relative to the CSV file. classes: their names in order; by default the labels, sorted.
    Columns `vote_<class>` are kept. Without a valid split a seeded share `valid` is set aside.
    """
    return _finish(list_csv(path, classes), size, valid, seed, cache_dir)


def list_csv(path: str | Path, classes: Sequence[str] | None = None, strict: bool = True) -> Listing:
    """What `read_csv` would read, before an image is opened.

    strict: rows without a path or a label raise DataError; otherwise they are dropped and told as problems.
    """
    path = pixels.existing(path)
    account = ReadAccount(str(path))
    table = _read_table(path)
    missing = [column for column in ("path", "label") if column not in table.columns]
    if missing:
        raise DataError(
            f"{path} has no column {missing[0]!r} (it has {', '.join(table.columns)}): "
            "name the columns path,label[,split,true_label]."
        )
    if table.empty:
        raise DataError(f"{path} has no rows: give at least one image.")
    if ((table["path"] == "path") & (table["label"] == "label")).any():
        row = int(np.flatnonzero(table["path"] == "path")[0])
        raise DataError(f"Row {row} of {path} repeats the header: remove it.")
    table = _whole_rows(table, path, account, strict)
    table = table.assign(image=table["path"], split=_splits(table, path), label=table["label"].astype(str))
    again = table["path"].duplicated(keep=False) & (table.groupby("path")["label"].transform("nunique") > 1)
    if again.any():
        twice = table.loc[again, "path"].iloc[0]
        raise DataError(f"{path} names {twice} more than once, with different labels: keep the row that is right.")
    same = int(table["path"].duplicated().sum())
    if same:
        account.notes.append(f"{same:,} rows name an image that an earlier row named: it can lie in two splits")
    table["file"] = [str(path.parent / name.strip().replace("\\", "/")) for name in table["path"]]
    names = None if classes is None else [str(name) for name in classes]
    return _listing(table, names, account)


def _whole_rows(table: pd.DataFrame, path: Path, account: ReadAccount, strict: bool) -> pd.DataFrame:
    empty = (table["path"].isna() | table["label"].isna()).to_numpy()
    rows = np.flatnonzero(empty)
    if len(rows) and strict:
        raise DataError(f"Row {rows[0]} of {path} has no path or no label: fill it or remove the row.")
    account.drop("no path or no label", len(rows))
    for row in rows:
        named = table["path"].iloc[row]
        account.problems.append((f"row {row}" if pd.isna(named) else str(named), "the row has no path or no label"))
    return table[~empty].reset_index(drop=True)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        # Only an empty cell is empty: "None" may be the name of a class.
        table = read_table(path.read_bytes(), str(path), dtype=str, keep_default_na=False, na_values=[""])
        table = table.apply(lambda column: column.str.strip())
        table.columns = [str(name).strip() for name in table.columns]
        votes = [name for name in table.columns if name.startswith("vote_")]
        return table.assign(**{name: pd.to_numeric(table[name]) for name in votes})
    except DataError:
        raise
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV file ({error}).") from error


def _splits(table: pd.DataFrame, path: Path) -> pd.Series:
    if "split" not in table.columns:
        return pd.Series("train", index=table.index)
    splits = table["split"].str.strip().str.lower().map(_SPLIT_NAMES)
    if splits.isna().any():
        row = int(np.flatnonzero(splits.isna())[0])
        found = table["split"].iloc[row]
        raise DataError(f"Row {row} of {path} has split {found!r}: use train, valid or test.")
    return splits


def _walk(path: Path, account: ReadAccount) -> pd.DataFrame:
    """A row per image file: image (relative path), split, label, file."""
    known = [(folder, _SPLIT_NAMES.get(folder.name.lower())) for folder in _subfolders(path)]
    splits = {folder: split for folder, split in known if split}
    if "train" not in splits.values():
        splits = {path: "train"}
    rows, others = [], 0
    for root, split in splits.items():
        for folder in _subfolders(root):
            files = sorted(file for file in folder.rglob("*") if file.is_file())
            found = [file for file in files if file.suffix.lower() in pixels.SUFFIXES]
            others += len(files) - len(found)
            if not found:
                raise DataError(f"The class folder {folder} holds no image: add images or remove the folder.")
            rows += [(str(file.relative_to(path)), split, folder.name, str(file)) for file in found]
    if others:
        account.notes.append(f"{others:,} files are not images and are not read")
    return pd.DataFrame(rows, columns=["image", "split", "label", "file"])


def _subfolders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _listing(table: pd.DataFrame, classes: list[str] | None, account: ReadAccount) -> Listing:
    """The table with its classes, after the labels have been looked at."""
    if not (table["split"] == "train").any():
        raise DataError(f"There are no training images in {account.source}: mark some as train.")
    classes = classes or sorted(table["label"][table["split"] == "train"].unique())
    _check_labels(table, classes, account.source)
    votes = [column for column in table.columns if column.startswith("vote_")]
    truth = ["true_label"] if "true_label" in table.columns else []
    source = pixels.from_paths(table["file"])
    return Listing(table[["image", "split", "label", *truth, *votes]].reset_index(drop=True), classes, source, account)


def _finish(listing: Listing, size: int | None, valid: float, seed: int, cache_dir: str | Path | None) -> FaceSet:
    """Decode, set validation faces aside, and close the account."""
    faces = listing.faces(size, cache_dir=cache_dir)
    table, account = faces.samples, faces.account
    if not (table["split"] == "valid").any():
        table = _set_aside(table, valid, seed, account)
    _check_classes(table, faces.classes, account.source)
    account.notes.append(f"classes in order: {', '.join(faces.classes)}")
    counts = table["split"].value_counts()
    account.notes.append(", ".join(f"{counts[split]:,} {split}" for split in SPLITS if split in counts))
    return FaceSet(table, faces.classes, faces.images, account)


def _check_labels(table: pd.DataFrame, classes: list[str], source: str) -> None:
    for column in ("label", "true_label"):
        if column in table.columns:
            wrong = table[table[column].notna() & ~table[column].isin(classes)]
            if len(wrong):
                image, value = wrong[["image", column]].iloc[0]
                raise DataError(
                    f"{image} in {source} has the {column} {value!r}, which is outside the classes "
                    f"{', '.join(classes)}: mend it, or add training images of it."
                )


def _set_aside(table: pd.DataFrame, share: float, seed: int, account: ReadAccount) -> pd.DataFrame:
    if not 0 < share < 1:
        raise DataError(f"A validation share of {share} makes no sense: give a number between 0 and 1.")
    train = np.flatnonzero(table["split"] == "train")
    chosen = train[split_off(table["label"].iloc[train], share, seed)]
    if not len(chosen):
        raise DataError(
            f"{account.source} has a single image for each class, too few to set validation images aside: "
            "add images or mark some as valid."
        )
    table.loc[chosen, "split"] = "valid"
    account.notes.append(f"no valid split: {len(chosen):,} faces set aside, {share:.0%} of every class")
    return table


def _check_classes(table: pd.DataFrame, classes: list[str], source: str) -> None:
    counts = table["label"][table["split"] == "train"].value_counts()
    empty = [name for name in classes if name not in counts]
    if empty:
        raise DataError(f"Class {empty[0]!r} has no readable training image in {source}: add images or leave it out.")
