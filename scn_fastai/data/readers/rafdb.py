"""RAF-DB (Li, Deng and Du, CVPR 2017): the basic and the compound part, and the noisy labels published for it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from scn_fastai.data import images as pixels
from scn_fastai.data.classes import class_order
from scn_fastai.data.samples import FaceSet, ReadAccount, split_off
from scn_fastai.data.store import Listing, Store, decode_text, labelled_names, open_store
from scn_fastai.errors import DataError

LISTS = ("list_patition_label.txt", "list_partition_label.txt")  # the first is how the authors spell it
PARTS = {"basic": "rafdb", "compound": "rafdb-compound"}
ORIGINAL_SIZE = 100  # photographs differ in size; the aligned faces are all of this one


def read_rafdb(
    path: str | Path,
    size: int | None = None,
    images: str = "aligned",
    part: str = "basic",
    noise_file: str | Path | None = None,
    noise_base: int | None = None,
    valid: float | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """RAF-DB from its official layout: `EmoLabel/list_patition_label.txt` and `Image/aligned` or `Image/original`.

    path: its root, the folder `basic`, a folder above, or a zip of any of them. part: basic (7 classes) or compound
    (11). images: aligned or original; original photographs are brought to `size`, by default to 100 pixels.
    noise_file: labels of training faces made wrong on purpose, as the authors of SCN, EAC and ReSup publish them;
    they become `label`, the official ones stay as `true_label`. Whether such a file counts from 0 or 1 is found by
    its numbers and its agreement with the official labels; noise_base says it where neither tells.
    valid: a share of every class of the training faces to validate on; None validates on the official test faces,
    as the paper does.

    Raises:
        DataError: a file is missing or wrong; the sentence says which, where, and what to do.
    """
    listing = list_rafdb(path, images, part, noise_file, noise_base)
    faces = listing.faces(size or (ORIGINAL_SIZE if images == "original" else None), cache_dir=cache_dir)
    account, table = faces.account, faces.samples
    if valid is None:
        table = table.assign(split=table["split"].replace("test", "valid"))
        account.notes.append("validation faces are the official test faces: do not choose settings by them")
    else:
        if not 0 < valid < 1:
            raise DataError(f"A validation share of {valid} makes no sense: give a number between 0 and 1.")
        train = np.flatnonzero(table["split"] == "train")
        chosen = train[split_off(table["label"].iloc[train], valid, seed)]
        table.loc[chosen, "split"] = "valid"
        account.notes.append(f"{len(chosen):,} training faces set aside to validate on, {valid:.0%} of every class")
    if "true_label" in table:  # accuracy is measured on the truth
        table["label"] = table["label"].where(table["split"] == "train", table["true_label"])
    return FaceSet(table, faces.classes, faces.images, account)


def list_rafdb(
    path: str | Path,
    images: str = "aligned",
    part: str = "basic",
    noise_file: str | Path | None = None,
    noise_base: int | None = None,
) -> Listing:
    """What `read_rafdb` would read, before an image is opened; the official test faces are the split test."""
    if images not in ("aligned", "original"):
        raise DataError(f"There are no RAF-DB images {images!r}: use aligned or original.")
    if part not in PARTS:
        raise DataError(f"RAF-DB has no part {part!r}: use basic or compound.")
    path = pixels.existing(path)
    if path.is_file() and path.name in LISTS:
        path = path.parent
    if path.is_dir() and path.name in ("EmoLabel", "Image"):
        path = path.parent
    store, account = open_store(path, "RAF-DB"), ReadAccount(str(path))
    if store.unsafe:
        account.notes.append(f"{len(store.unsafe):,} names in the zip point out of it ({store.unsafe[0]}): not read")
    name, classes = _find_list(store, part), class_order(PARTS[part])
    table = _labels(labelled_names(store.text(name), name), name, classes)
    table = _match(table, store, name, images, account)
    if noise_file is not None:
        if part != "basic":
            raise DataError("A noise file belongs to RAF-DB's basic part: leave one of the two out.")
        table = _noisy(table, Path(noise_file), noise_base, classes, account)
    account.notes.append(f"classes in order: {', '.join(classes)}")
    table = table.sort_values("split", kind="stable", key=lambda s: s != "train")  # train first: it can be a view
    truth = ["true_label"] if "true_label" in table else []
    columns = ["image", "split", "label", *truth]
    return Listing(table[columns].reset_index(drop=True), classes, store.source(table["file"].tolist()), account)


def stem(name: str) -> str:
    """What a face is called in every list: without folders, ending and `_aligned`.

    >>> stem("C:/raf/train_00001_aligned.jpg")
    'train_00001'
    """
    return PurePosixPath(name).stem.removesuffix("_aligned")


def noise_labels(noisy: pd.DataFrame, truth: pd.Series, where: str, base: int | None = None) -> tuple[pd.Series, int]:
    r"""Label codes (from 0) of a noise file by face, and the number (0 or 1) that it counts from.

    noisy: as `labelled_names` gives it. truth: official codes from 0, int, by `stem`. base: None finds it: a
    noise file leaves most labels as they are, so the right base agrees with the truth on more than twice as many
    faces as the other.

    Raises:
        DataError: both bases are as likely, or a label lies outside the classes.

    >>> noisy = labelled_names("/a/train_1_aligned.jpg 3\n/a/train_2_aligned.jpg 0\n", "x")
    >>> noise_labels(noisy, pd.Series({"train_1": 3, "train_2": 4}), "x")[1]
    0
    """
    labels = pd.Series(noisy["label"].to_numpy(), index=[stem(name) for name in noisy["name"]])
    known = truth.reindex(labels.index)
    agrees = {b: float((labels - b == known).sum()) for b in (0, 1)}
    fits = {b: bool(labels.between(b, b + 6).all()) for b in (0, 1)}
    if base is None:
        base = max(agrees, key=agrees.get)
        if agrees[base] <= 2 * agrees[1 - base]:
            raise DataError(
                f"It cannot be told whether {where} counts its labels from 0 or from 1 ({agrees[0]:.0f} of "
                f"{len(labels):,} agree with the official ones if from 0, {agrees[1]:.0f} if from 1): give "
                "noise_base=0 or noise_base=1."
            )
    elif base not in (0, 1):
        raise DataError(f"noise_base is {base!r}, but labels count from 0 or from 1.")
    if not fits[base]:
        row = noisy[~labels.between(base, base + 6).to_numpy()].iloc[0]
        raise DataError(
            f"Line {row['line']} of {where} has the label {row['label']}, but the file counts from {base} (its other "
            f"labels agree with the official ones then): {base} to {base + 6} are the classes; mend the line."
        )
    return labels - base, base


def _find_list(store: Store, part: str) -> str:
    """The label list of a part; a list that lies under no part's name is taken for the basic one."""
    found = [name for name in store.names if PurePosixPath(name).name in LISTS]
    compound = {name for name in found if "compound" in f"{store.path.name}/{name}".lower()}
    right = [name for name in found if (name in compound) == (part == "compound")]
    if not right:
        others = " (the list of the compound part is there: part='compound')" if found and part == "basic" else ""
        raise DataError(
            f"There is no {LISTS[0]} of RAF-DB's {part} part in {store.path}{others}: name the folder that holds "
            "EmoLabel and Image."
        )
    return min(right, key=lambda name: (name.count("/"), name))


def _labels(table: pd.DataFrame, where: str, classes: list[str]) -> pd.DataFrame:
    """Add image, split and label; the list counts from 1."""
    wrong = table[~table["label"].between(1, len(classes))]
    if len(wrong):
        row = wrong.iloc[0]
        hint = " it counts from 0, is it a noise file (noise_file=...)?" if (table["label"] == 0).any() else ""
        raise DataError(
            f"Line {row['line']} of {where} has the label {row['label']}, and RAF-DB's labels are 1 to "
            f"{len(classes)}:{hint or ' mend the line or fetch the list again.'}"
        )
    table["image"] = [stem(name) for name in table["name"]]
    split = table["image"].str.extract(r"^(train|test)_")[0]
    if split.isna().any():
        row = table[split.isna()].iloc[0]
        raise DataError(f"Line {row['line']} of {where} names {row['name']}, which begins with neither train_ nor "
                        "test_, so its split is unknown: mend the name.")  # fmt: skip
    return table.assign(split=split, label=np.array(classes)[table["label"] - 1])


def _match(table: pd.DataFrame, store: Store, name: str, images: str, account: ReadAccount) -> pd.DataFrame:
    """Join the list and the image files of its part by the name of the face."""
    parents = PurePosixPath(name).parent
    root = parents.parent if parents.name == "EmoLabel" else parents
    inside = "" if str(root) == "." else f"{root}/"
    here = [n for n in store.names if n.startswith(inside) and n.lower().endswith(pixels.SUFFIXES)]
    if any(f"/{images}/" in f"/{n}" for n in here):
        here = [n for n in here if f"/{images}/" in f"/{n}"]
    elif images == "aligned":
        here = [n for n in here if PurePosixPath(n).stem.endswith("_aligned")]
    if not here:
        packed = [n for n in store.names if n.lower().endswith((f"{images}.zip", f"{images}.rar", f"{images}.7z"))]
        what = f"unpack {packed[0]} there" if packed else f"put them into {inside}Image/{images}"
        raise DataError(f"There are no {images} images in {store.path}: {what}.")
    files = {stem(n): n for n in here}
    file = table["image"].map(files)
    absent = file.isna()
    account.drop("image file missing", absent.sum())
    account.problems += [(n, "the file is not there") for n in table["name"][absent]]
    extra = len(set(files) - set(table["image"]))
    if extra:
        account.notes.append(f"{extra:,} image files are not in {PurePosixPath(name).name} and are not read")
    if absent.all():
        raise DataError(f"None of the {len(table):,} faces of {name} has an {images} image in {store.path}: "
                        "check that the images belong to the list.")  # fmt: skip
    return table.assign(file=file)[~absent].reset_index(drop=True)


def _noisy(table: pd.DataFrame, file: Path, base: int | None, classes: list[str], account: ReadAccount) -> pd.DataFrame:
    """The labels of a noise file for the training faces, the official ones as the truth."""
    file = pixels.existing(file)
    if not file.is_file():
        raise DataError(f"{file} is not a file: name the noise file itself.")
    lines = labelled_names(decode_text(file.read_bytes(), file.name), file.name)
    train = table["split"] == "train"
    lines = lines[~lines["name"].str.startswith("test_")]
    truth = pd.Series(np.array([classes.index(name) for name in table["label"]]), index=table["image"])
    codes, base = noise_labels(lines, truth[train.to_numpy()], file.name, base)
    given = table["image"].map(codes)
    absent = train & given.isna()
    if absent.any():
        raise DataError(
            f"{file.name} has no label for {absent.sum():,} of the {train.sum():,} training faces, "
            f"{table['image'][absent].iloc[0]} to begin with: fetch it whole."
        )
    names = given.map(dict(enumerate(classes)))
    noisy = table.assign(true_label=table["label"], label=names.where(train, table["label"]))
    wrong = int((noisy["label"] != noisy["true_label"]).sum())
    account.notes.append(
        f"given labels of {file.name} (counted from {base}): {wrong:,} of {train.sum():,} training faces are labelled "
        f"otherwise than officially ({wrong / max(1, train.sum()):.1%})"
    )
    return noisy
