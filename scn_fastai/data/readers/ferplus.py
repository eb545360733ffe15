"""FERPlus (Barsoum et al., ICMI 2016): the faces of FER2013 with the votes of ten taggers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd

from scn_fastai.data import images as pixels
from scn_fastai.data.classes import class_order
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.data.store import Listing, Store, open_store
from scn_fastai.errors import DataError

CLASSES = class_order("ferplus")
VOTES = [*CLASSES, "unknown", "NF"]
# FER2013's own codes (0 Angry 1 Disgust 2 Fear 3 Happy 4 Sad 5 Surprise 6 Neutral) as FERPlus classes.
FER2013_CLASSES = class_order("fer2013")
RULES = ("argmax8", "majority", "threshold", "soft")
_USAGE = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
_FOLDER = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}


class Crowd(NamedTuple):
    """What the votes say: class codes [N] (-1: no label), the reason for each -1, and how many ties."""

    codes: np.ndarray
    reason: np.ndarray
    ties: int


def read_ferplus(
    path: str | Path,
    rule: str = "argmax8",
    labels: str = "crowd",
    size: int | None = None,
    cache_dir: str | Path | None = None,
    splits: Sequence[str] = ("train", "valid"),
    classes: int = 8,
) -> FaceSet:
    """FERPlus from its PNG folders or from Kaggle's `fer2013.csv`, each with `fer2013new.csv`.

    path: a folder or a zip file that holds them (a zip is read where it lies), or `fer2013.csv` itself.
    rule: how ten votes become a label, see `crowd_labels`. Every rule keeps the votes, as columns
    `vote_<class>`: shares of the eight emotions that sum to 1.
    labels: 'crowd', or 'fer2013' for the labels that FER2013 came with as the *given* labels of the
    train split (label noise that people made); `true_label` is then the crowd's. Validation and test
    keep the crowd's labels, so that accuracy there is accuracy on the truth.
    classes: 8, or 7 without contempt, which FER2013's own labels do not have.
    """
    listing = list_ferplus(path, rule, labels, splits, classes)
    faces = listing.faces(size, grey=True, cache_dir=cache_dir)
    account = faces.account
    account.problems[:] = [(PurePosixPath(name).name, sentence) for name, sentence in account.problems]
    return faces


def list_ferplus(
    path: str | Path,
    rule: str = "argmax8",
    labels: str = "crowd",
    splits: Sequence[str] | None = None,
    classes: int = 8,
) -> Listing:
    """What `read_ferplus` would read, before an image is opened. splits: None takes those that are there."""
    _check_settings(rule, labels, list(_USAGE) if splits is None else splits, classes)
    path = pixels.existing(path)
    store = open_store(path.parent if path.is_file() and path.suffix.lower() == ".csv" else path, "FERPlus")
    account = ReadAccount(str(path))
    kaggle = store.find("fer2013.csv")
    table = _kaggle_table(store, kaggle) if kaggle else _folder_table(store)
    if splits is None:
        there = {PurePosixPath(name).parent.name for name in store.names}
        splits = [split for split in _USAGE if kaggle or _FOLDER[split] in there] or list(_USAGE)
    table = table[table["split"].isin(splits)].reset_index(drop=True)
    if not kaggle:
        table = _match_files(table, store, splits, account)
    table = _label(table, rule, account)
    if labels == "fer2013":
        table = _original_labels(table, store, account)
    if classes == 7:
        table = _without_contempt(table, account)
    if table.empty:
        raise DataError(f"No face of {', '.join(splits)} is left in {path}:\n{account}")
    source = _from_pixels(table, store.path / kaggle) if kaggle else store.source(table["file"].tolist())
    truth = ["true_label"] if "true_label" in table.columns else []
    names = CLASSES[:classes]
    columns = ["image", "split", "label", *truth, *(f"vote_{name}" for name in names)]
    return Listing(table[columns].reset_index(drop=True), names, source, account)


def crowd_labels(votes: np.ndarray, rule: str = "argmax8") -> Crowd:
    """One class per face from votes [N, 10] (eight emotions, unknown, not a face).

    argmax8: the most voted of the eight emotions; unknown and not-a-face votes do not count.
    soft: the same label, for methods that learn from the vote shares and want every face that has any.
    majority: Microsoft's rule; single votes are dropped, then one emotion needs more than half of all.
    threshold: Microsoft's multi-target rule; single votes are dropped, emotions with at least 30 % of the
    rest count, together they need more than half; the largest is the label.
    Ties go to the first class in order.

    >>> crowd_labels(np.array([[4, 0, 0, 1, 3, 2, 0, 0, 0, 0], [0] * 8 + [9, 1]]))
    Crowd(codes=array([ 0, -1]), reason=array(['', 'no emotion vote'], dtype=object), ties=0)
    """
    votes = np.asarray(votes, dtype=float)
    reason = np.full(len(votes), "", dtype=object)
    if rule in ("argmax8", "soft"):
        counts = votes[:, :8]
        reason[counts.sum(1) == 0] = "no emotion vote"
    else:
        counts = np.where(votes <= 1, 0, votes)
        total, top = counts.sum(1), counts.max(1)
        if rule == "majority":
            reason[top <= total / 2] = "no majority"
        else:
            heard = np.where(counts >= 0.3 * total[:, None], counts, 0).sum(1)
            reason[heard <= total / 2] = "too few votes above the threshold"
        reason[(reason == "") & (counts.argmax(1) >= 8)] = "unknown or not a face"
    labelled = reason == ""
    ties = int(((counts[:, :8] == counts.max(1, keepdims=True)).sum(1) > 1)[labelled].sum())
    return Crowd(np.where(labelled, counts.argmax(1), -1), reason, ties)


def _check_settings(rule: str, labels: str, splits: Sequence[str], classes: int) -> None:
    if rule not in RULES:
        raise DataError(f"There is no FERPlus rule {rule!r}: use {', '.join(RULES)}.")
    if labels not in ("crowd", "fer2013"):
        raise DataError(f"There are no FERPlus labels {labels!r}: use crowd or fer2013.")
    if classes not in (7, 8):
        raise DataError(f"FERPlus has 8 classes, or 7 without contempt, not {classes!r}.")
    unknown = [split for split in splits if split not in _USAGE]
    if unknown or isinstance(splits, str) or not splits:
        raise DataError(f"FERPlus splits are train, valid and test: give some of them, not {splits!r}.")


def _votes_table(store: Store) -> pd.DataFrame:
    """`fer2013new.csv` with a column `split`, row for row as it is."""
    name = store.find("fer2013new.csv")
    if name is None:
        raise DataError(
            f"There is no fer2013new.csv in {store.path}: it holds the votes, fetch it from "
            "github.com/microsoft/FERPlus and put it beside the images."
        )
    table = store.table(name)
    _need_columns(table, ["Usage", "Image name", *VOTES], name)
    return _with_split(table, name)


def _with_split(table: pd.DataFrame, name: str) -> pd.DataFrame:
    splits = table["Usage"].map({usage: split for split, usage in _USAGE.items()})
    if splits.isna().any():
        row = int(np.flatnonzero(splits.isna())[0])
        raise DataError(f"Row {row} of {name} has Usage {table['Usage'].iloc[row]!r}: expected Training, "
                        "PublicTest or PrivateTest.")  # fmt: skip
    votes = table[VOTES].apply(pd.to_numeric, errors="coerce")
    wrong = np.flatnonzero(votes.isna().any(axis=1) | (votes < 0).any(axis=1))
    if len(wrong):
        raise DataError(f"Row {wrong[0]} of {name} has a vote that is not a count: fetch the file again.")
    table[VOTES] = votes
    return table.assign(split=splits)


def _need_columns(table: pd.DataFrame, columns: list[str], name: str) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{name} has no column {missing[0]!r}: it needs {', '.join(columns)}.")


def _folder_table(store: Store) -> pd.DataFrame:
    if store.find("fer2013new.csv") is None and store.find("label.csv") is not None:
        return _label_csv_table(store)
    table = _votes_table(store)
    return table.rename(columns={"Image name": "image"})


def _label_csv_table(store: Store) -> pd.DataFrame:
    """Microsoft's `label.csv` of each folder: image, box, ten votes; no header."""
    parts = []
    for split, folder in _FOLDER.items():
        name = next((n for n in store.names if n.endswith(f"{folder}/label.csv")), None)
        if name is not None:
            part = store.table(name, header=None)
            if part.shape[1] != 12:
                raise DataError(f"{name} has {part.shape[1]} columns: expected image, box and ten votes.")
            part.columns = ["image", "box", *VOTES]
            parts.append(_with_split(part.assign(Usage=_USAGE[split]), name))
    if not parts:
        raise DataError(f"The label.csv in {store.path} is in none of {', '.join(_FOLDER.values())}.")
    return pd.concat(parts, ignore_index=True)


def _match_files(table: pd.DataFrame, store: Store, splits: Sequence[str], account: ReadAccount) -> pd.DataFrame:
    """Join votes and PNG files by folder and image name; what has no partner is counted."""
    split_of = {_FOLDER[split]: split for split in splits}
    files = {}
    for name in store.names:
        parts = PurePosixPath(name).parts
        if len(parts) > 1 and parts[-2] in split_of and parts[-1].lower().endswith(pixels.SUFFIXES):
            files[split_of[parts[-2]], parts[-1]] = name
    for folder, split in split_of.items():
        if not any(key[0] == split for key in files):
            raise DataError(
                f"There are no images of {folder} in {store.path}: unpack them there, or read other splits."
            )
    keys = list(zip(table["split"], table["image"], strict=True))
    unnamed = table["image"].isna().to_numpy()
    file = pd.Series([files.get(key) for key in keys], dtype=object)
    absent = file.isna().to_numpy() & ~unnamed
    account.drop("no image name (not a face)", unnamed.sum())
    account.drop("image file missing", absent.sum())
    account.problems += [(str(name), "the file is not there") for name in table["image"][absent]]
    extra = len(set(files) - set(keys))
    if extra:
        account.notes.append(f"{extra:,} image files have no votes and are not read")
    found = ~file.isna().to_numpy()
    return table.assign(file=file)[found].reset_index(drop=True)


def _kaggle_table(store: Store, name: str) -> pd.DataFrame:
    """`fer2013.csv` and `fer2013new.csv` side by side: they are aligned by row, not by name."""
    faces, votes = store.table(name), _votes_table(store)
    _need_columns(faces, ["emotion", "pixels", "Usage"], name)
    if len(faces) != len(votes):
        raise DataError(
            f"{name} has {len(faces):,} rows and fer2013new.csv has {len(votes):,}: they must be the two "
            "official files, row for row."
        )
    apart = np.flatnonzero(faces["Usage"].to_numpy() != votes["Usage"].to_numpy())
    if len(apart):
        raise DataError(
            f"Row {apart[0]} is {faces['Usage'].iloc[apart[0]]} in {name} but "
            f"{votes['Usage'].iloc[apart[0]]} in fer2013new.csv: the files do not belong together."
        )
    return votes.rename(columns={"Image name": "image"}).assign(pixels=faces["pixels"], emotion=faces["emotion"])


def _label(table: pd.DataFrame, rule: str, account: ReadAccount) -> pd.DataFrame:
    """Add `label` and vote shares; drop and count the faces without a label."""
    if table["image"].isna().any():
        account.drop("no image name (not a face)", table["image"].isna().sum())
        table = table[table["image"].notna()]
    votes = table[VOTES].to_numpy(float)
    crowd = crowd_labels(votes, rule)
    for reason, count in pd.Series(crowd.reason[crowd.codes < 0]).value_counts().items():
        account.drop(str(reason), count)
    if crowd.ties:
        account.notes.append(f"{crowd.ties:,} faces with tied votes: the first class in order is taken")
    keep = crowd.codes >= 0
    emotions = votes[keep, :8]
    shares = emotions / emotions.sum(1, keepdims=True)
    table = table[keep].reset_index(drop=True)
    table = table.drop(columns=VOTES).assign(label=np.array(CLASSES)[crowd.codes[keep]])
    return table.assign(**{f"vote_{name}": shares[:, i] for i, name in enumerate(CLASSES)})


def _original_labels(table: pd.DataFrame, store: Store, account: ReadAccount) -> pd.DataFrame:
    """FER2013's own label becomes the given one of the train split; the crowd's is the truth."""
    if "emotion" in table.columns:
        codes = table["emotion"]
    else:
        name = store.find("fer2013_labels.csv")
        if name is None:
            raise DataError(
                f"There is no fer2013_labels.csv in {store.path}: labels='fer2013' needs the original labels "
                "(Usage, Image name, emotion), or Kaggle's fer2013.csv."
            )
        original = store.table(name)
        _need_columns(original, ["Usage", "Image name", "emotion"], name)
        by = ["Usage", "Image name"]
        known = original.drop_duplicates(by).set_index(by)["emotion"]
        keys = pd.MultiIndex.from_arrays([table["split"].map(_USAGE), table["image"]])
        codes = pd.Series(known.reindex(keys).to_numpy(), index=table.index)
    codes = pd.to_numeric(codes, errors="coerce")
    outside = codes[codes.notna() & ~codes.isin(range(7))]
    if len(outside):
        wrong = f"{outside.iloc[0]:g} ({len(outside):,} rows)"
        raise DataError(f"FER2013 has no emotion {wrong}: its codes are 0 to 6.")
    train = table["split"] == "train"
    account.drop("no original FER2013 label", (train & codes.isna()).sum())
    names = codes.map(dict(enumerate(FER2013_CLASSES)))
    given = table["label"].where(~train, names)
    table = table.assign(true_label=table["label"], label=given)
    return table[~(train & codes.isna())].reset_index(drop=True)


def _without_contempt(table: pd.DataFrame, account: ReadAccount) -> pd.DataFrame:
    """Leave out faces that are labelled contempt or truly show it; the shares of the other votes sum to 1 again."""
    truth = table["true_label"] if "true_label" in table else table["label"]
    gone = (table["label"] == "contempt") | (truth == "contempt")
    account.drop("contempt, which is not among the 7 classes", gone.sum())
    table = table[~gone].reset_index(drop=True)
    votes = [f"vote_{name}" for name in CLASSES[:7]]
    return table.assign(**table[votes].div(table[votes].sum(axis=1), axis=0))


def _from_pixels(table: pd.DataFrame, file: Path) -> pixels.ImageSource:
    """Kaggle's strings of 48 * 48 numbers, each as the bytes of a PGM image."""
    texts = dict(zip(table["image"], table["pixels"], strict=True))

    def read(name: str) -> bytes:
        try:
            values = np.array(str(texts[name]).split(), dtype=np.uint8)
            if values.size != 48 * 48:
                raise ValueError(f"{values.size} numbers instead of 2304")
        except (ValueError, OverflowError) as error:
            raise pixels.UnfitImage(f"unreadable pixels ({error})") from error
        return b"P5 48 48 255\n" + values.tobytes()

    stat = file.stat() if file.is_file() else None  # a fer2013.csv in a zip cannot be looked at from here
    mark = f"{file}|{stat.st_mtime_ns}|{stat.st_size}" if stat else f"{file}|{hash(tuple(texts.values()))}"
    return pixels.ImageSource(table["image"].tolist(), read, mark)
