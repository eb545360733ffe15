"""AffectNet (Mollahosseini, Hasani and Mahoor, 2017): expressions, valence and arousal of faces from the web."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from PIL import Image

from scn_fastai.data import images as pixels
from scn_fastai.data.classes import class_order
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.data.store import Listing, Store, open_store, read_table
from scn_fastai.errors import DataError

# The columns of training.csv and validation.csv; copies without this header are about.
COLUMNS = [
    "subdirectory_filepath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
]  # fmt: skip
BOX = COLUMNS[1:5]
NO_CLASS = {8: "expression is none", 9: "expression is uncertain", 10: "no face"}
SIZE = 112  # 450,000 faces of this size take 16 GiB on disk
_SPLITS = {"training.csv": "train", "validation.csv": "valid"}
_SETS = {"train_set": "train", "val_set": "valid", "valid_set": "valid", "test_set": "test"}


def read_affectnet(
    path: str | Path,
    classes: int = 8,
    size: int | None = None,
    crop: bool = True,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """AffectNet in either of its forms, in 8 classes or in 7 (without contempt).

    The first form has `training.csv` and `validation.csv` and the photographs of `Manually_Annotated_Images`; the box
    in the table says which part of each is the face. The later one has faces cut out already,
    `train_set/images/N.jpg`, and `train_set/annotations/N_exp.npy` (and `_val`, `_aro`); `val_set` likewise.
    Columns `valence` and `arousal` are kept, NaN where there is none. Validation is the official one, which has
    equally many faces of each class while training has not: see `oversample` and mean class accuracy.

    path: a folder or zip that holds either form. size: pixels to bring the faces to (112). crop: whether to cut the
    faces out by their boxes, in the first form; False takes whole images, for those who cut them out before.
    cache_dir: where the pixels go; sets above a gigabyte always go to a file (see `decode_all`), never into memory.

    Raises:
        DataError: a file is missing or wrong; the sentence says which, where, and what to do.
    """
    return list_affectnet(path, classes, crop).faces(size or SIZE, grey=False, cache_dir=cache_dir)


def list_affectnet(path: str | Path, classes: int = 8, crop: bool = True) -> Listing:
    """What `read_affectnet` would read, before an image is decoded."""
    if classes not in (7, 8):
        raise DataError(f"AffectNet has 8 classes, or 7 without contempt, not {classes!r}.")
    path = pixels.existing(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        path = path.parent
    store, account = open_store(path, "AffectNet"), ReadAccount(str(path))
    if store.unsafe:
        account.notes.append(f"{len(store.unsafe):,} names in the zip point out of it ({store.unsafe[0]}): not read")
    csvs = [name for name in store.names if PurePosixPath(name).name.lower().endswith(tuple(_SPLITS))]
    if csvs:
        table = _match(pd.concat([_csv(store, name) for name in csvs], ignore_index=True), store, account)
    else:
        table = _folders(store, account)
    table = _classes(table, classes, account)
    table = table.sort_values("split", kind="stable").reset_index(drop=True)  # train first: it can be a view
    source = store.source(table["file"].tolist())
    if csvs and crop:
        source = _boxes(source, table, account)
    return Listing(
        table[["image", "split", "label", "valence", "arousal"]],
        class_order("affectnet" if classes == 8 else "affectnet7"),
        source,
        account,
    )


# ---- the form with two tables ----


def _csv(store: Store, name: str) -> pd.DataFrame:
    """One table with the columns file (as the table has it), split, where, code, box, valence, arousal."""
    raw = store.bytes_of(name)
    try:
        head = read_table(raw, name, nrows=1, header=None, dtype=str).iloc[0]
        names = [str(value).strip().lower() for value in head]
        titled = "expression" in names or "subdirectory_filepath" in names
        if not titled and len(names) == len(COLUMNS) and "/" in names[0].replace("\\", "/"):
            names = COLUMNS
        missing = [column for column in (COLUMNS[0], "expression") if column not in names]
        if missing:
            raise DataError(
                f"{name} has no column {missing[0]!r} (it begins with {', '.join(map(str, head[:3]))}): it needs "
                "subDirectory_filePath, face_x, face_y, face_width, face_height, expression, valence and arousal."
            )
        wanted = [number for number, column in enumerate(names) if column in COLUMNS and column != "facial_landmarks"]
        table = read_table(raw, name, header=None, skiprows=int(titled), usecols=wanted, dtype=str)
    except (IndexError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} in {store.path} is not a table ({error}): fetch it again.") from error
    table.columns = [names[number] for number in wanted]
    table = table.reindex(columns=[column for column in COLUMNS if column != "facial_landmarks"])
    split = next(split for end, split in _SPLITS.items() if name.lower().endswith(end))
    codes = pd.to_numeric(table["expression"], errors="coerce")
    _check_codes(codes, table["expression"], [f"row {i}" for i in range(len(table))], name)
    files = table[COLUMNS[0]].fillna("").str.replace("\\", "/", regex=False)
    numbers = table[[*BOX, "valence", "arousal"]].apply(pd.to_numeric, errors="coerce")
    return pd.DataFrame({"image": files, "split": split, "code": codes.astype(int)}).join(numbers)


def _match(table: pd.DataFrame, store: Store, account: ReadAccount) -> pd.DataFrame:
    """Join table and files by folder and name, `689/737db2.jpg`, wherever the images lie."""
    files = {_tail(name): name for name in store.names if name.lower().endswith(pixels.SUFFIXES)}
    if not files:
        raise DataError(
            f"There are no images in {store.path}: unpack the parts of Manually_Annotated_Images beside the tables."
        )
    file = table["image"].map(_tail).map(files)
    absent = file.isna()
    if absent.all():
        raise DataError(
            f"None of the {len(table):,} images of the tables is in {store.path}, {table['image'].iloc[0]} to begin "
            "with: put the folders of Manually_Annotated_Images there."
        )
    account.drop("image file missing", absent.sum())
    account.problems += [(name, "the file is not there") for name in table["image"][absent]]
    return table.assign(file=file)[~absent].reset_index(drop=True)


def _tail(name: str) -> str:
    return "/".join(name.split("/")[-2:])


def _boxes(source: pixels.ImageSource, table: pd.DataFrame, account: ReadAccount) -> pixels.ImageSource:
    """The source with the face boxes; where there is none, the whole image is taken, and told."""
    boxes = table[BOX].to_numpy(float, copy=True)
    boxes[~(boxes[:, 2:] > 0).all(axis=1)] = np.nan
    whole = int(np.isnan(boxes).any(axis=1).sum())
    if whole:
        account.notes.append(f"{whole:,} rows have no face box: their images are taken whole")
    _check_boxes(source, boxes)
    mark = hashlib.sha256(boxes.tobytes() + source.stamp.encode()).hexdigest()
    return replace(source, boxes=boxes, stamp=mark)


def _check_boxes(source: pixels.ImageSource, boxes: np.ndarray, look_at: int = 32) -> None:
    """Faces that were cut out before have boxes that lie outside of them: cutting again would spoil them in silence."""
    seen = outside = 0
    for row in np.flatnonzero(np.isfinite(boxes).all(axis=1))[:look_at]:
        try:
            width, height = Image.open(io.BytesIO(source.read(source.names[row]))).size
        except Exception:  # the decoding pass says what is wrong with it
            continue
        left, top, wide, high = boxes[row]
        seen += 1
        outside += left + wide > 1.1 * width or top + high > 1.1 * height
    if 2 * outside > seen:
        raise DataError(
            f"The face boxes of the table do not fit the images ({outside} of {seen} lie outside): if these are faces "
            "that were cut out already, give crop=False."
        )


# ---- the form with folders ----


def _folders(store: Store, account: ReadAccount) -> pd.DataFrame:
    """The later form: a row per annotation."""
    names = [name for name in store.names if name.endswith("_exp.npy")]
    if not names:
        raise DataError(
            f"{store.path} holds neither training.csv and validation.csv nor train_set/annotations/N_exp.npy: name the "
            "folder that holds either form of AffectNet."
        )
    there, rows = set(store.names), []
    pictures = {name.rsplit(".", 1)[0]: name for name in store.names if name.lower().endswith(pixels.SUFFIXES)}
    for name in names:
        root, number = name.rsplit("/annotations/", 1) if "/annotations/" in f"/{name}" else (None, "")
        split = _SETS.get(PurePosixPath(root or "").name)
        if split is None:
            raise DataError(f"{name} lies in no train_set/annotations or val_set/annotations, so its split is unknown.")
        number = number.removesuffix("_exp.npy")
        rows.append((f"{PurePosixPath(root).name}/{number}", split, pictures.get(f"{root}/images/{number}"), name))
    rows.sort(key=lambda row: (row[1], len(row[0]), row[0]))  # 2 before 10
    table = pd.DataFrame(rows, columns=["image", "split", "file", "where"])
    absent = table["file"].isna()
    account.drop("image file missing", absent.sum())
    account.problems += [(f"{name}.jpg", "the file is not there") for name in table["image"][absent]]
    without = len(set(pictures.values()) - set(table["file"]))
    if without:
        account.notes.append(f"{without:,} images have no annotation and are not read")
    if absent.all():
        raise DataError(f"There are no images beside the {len(table):,} annotations in {store.path}: put them into "
                        "train_set/images and val_set/images.")  # fmt: skip
    table = table[~absent].reset_index(drop=True)
    values = {kind: _numbers(store, table["where"], there, kind) for kind in ("exp", "val", "aro")}
    _check_codes(values["exp"], values["exp"], table["where"], str(store.path))
    return table.assign(code=values["exp"].astype(int), valence=values["val"], arousal=values["aro"])


def _numbers(store: Store, where: pd.Series, there: set[str], kind: str) -> pd.Series:
    """The number in each `N_<kind>.npy`, read by threads; NaN where the file is missing."""
    names, out = [name.removesuffix("exp.npy") + f"{kind}.npy" for name in where], np.full(len(where), np.nan)

    def one(row: int) -> None:
        if names[row] in there:
            out[row] = npy_number(store.bytes_of(names[row]), names[row])

    pixels.in_threads(one, range(len(names)))
    return pd.Series(out)


def npy_number(raw: bytes, name: str = "") -> float:
    """The single number in the bytes of a .npy file; AffectNet stores each as text in an array without dimensions.

    Read by hand, for numpy's own reader takes ten times as long and there are a million of these files.

    >>> file = io.BytesIO()
    >>> np.save(file, np.array("-0.25"))
    >>> npy_number(file.getvalue())
    -0.25
    """
    try:
        start = (10 if raw[6] == 1 else 12) + int.from_bytes(raw[8 : 10 if raw[6] == 1 else 12], "little")
        kind = re.search(rb"'descr': *'([<>|=]?[a-zA-Z]\d*)'", raw[:start])[1].decode()
        if raw[:6] != b"\x93NUMPY" or np.dtype(kind).hasobject:
            raise ValueError
        return float(np.frombuffer(raw, kind, count=1, offset=start)[0])
    except (ValueError, TypeError, IndexError):
        raise DataError(f"{name} is not a .npy file with one number: fetch it again.") from None


# ---- both ----


def _check_codes(codes: pd.Series, said: pd.Series, rows: list[str] | pd.Series, name: str) -> None:
    wrong = np.flatnonzero(~codes.isin(range(11)).to_numpy())
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"{list(rows)[row]} of {name} has the expression {said.iloc[row]!r} ({len(wrong):,} such rows), and "
            "AffectNet's are 0 to 10: mend it or fetch the file again."
        )


def _classes(table: pd.DataFrame, classes: int, account: ReadAccount) -> pd.DataFrame:
    """Drop and count what is no class, name the rest, and blank out valence and arousal that are not there (-2)."""
    for code, reason in NO_CLASS.items():
        account.drop(reason, (table["code"] == code).sum())
    if classes == 7:
        account.drop("contempt, which is not among the 7 classes", (table["code"] == 7).sum())
    table = table[table["code"] < classes].reset_index(drop=True)
    if not (table["split"] == "train").any():
        raise DataError(f"There are no training faces in {account.source}: the training table or train_set is missing.")
    order = class_order("affectnet")
    account.notes.append(f"classes in order: {', '.join(order[:classes])}")
    ratings = {
        name: table[name].where(table[name].between(-1, 1)).astype(np.float32) for name in ("valence", "arousal")
    }
    return table.assign(label=np.array(order)[table["code"]], **ratings)
