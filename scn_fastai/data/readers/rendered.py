"""The rendered faces: the data set that comes with the project, images and table in one Parquet file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scn_fastai.data import images as pixels
from scn_fastai.data.samples import SPLITS, FaceSet, ReadAccount
from scn_fastai.errors import DataError
from scn_fastai.files import write_whole

PACK, CHECKSUMS = "faces.parquet", "SHA256SUMS"
FOLDER = "rendered_faces"
TABLE = "samples.csv"  # what `extract_faces` writes beside the images
VERSION = 1  # the newest form of the pack that is understood here
# Columns that somebody downstream counts on; the others (pose, light, person, units) are handed on as they are.
COLUMNS = ("image", "identity", "split", "label", "true_label", "second", "mix", "uncertainty", "level", "jpeg")
_SAFE_NAME = re.compile(r"\w[\w -]*")  # ids and classes become names of files: no dots, no slashes


def rendered_faces(
    path: str | Path | None = None,
    splits: Sequence[str] = SPLITS,
    size: int | None = None,
    grey: bool = False,
    cache_dir: str | Path | None = None,
) -> FaceSet:
    """The rendered faces with all that is known of each: uint8 images [N, 64, 64, 3] and a table with a row per face.

    `label` and `true_label` agree: add wrong labels with `flip_labels`. `uncertainty` says what is wrong with a face
    (none, ambiguous, blur, ...), `level` from 0 to 1 how much, `soft_<class>` what it shows; identity, pose, light,
    person and units are there too. The expressions are posed prototypes, not felt emotions.

    path: `faces.parquet` or a folder that holds it; by default where $SCN_DATA says, or in the checkout. splits: which
    of train, valid and test. size: pixels to bring the images to. grey: one channel instead of three.

    Raises:
        DataError: the pack is not found, is damaged, is newer than this code, or lacks columns.

    >>> rendered_faces(splits=["valid"]).images.shape[1:]
    (64, 64, 3)
    """
    if isinstance(splits, str) or not splits or not set(splits) <= set(SPLITS):
        raise DataError(f"The rendered faces have the splits train, valid and test: give some of them, not {splits!r}.")
    file = find_pack(path)
    about = _checked(file)
    table, jpegs = _read(file, about["classes"], images=True)
    rows = np.flatnonzero(table["split"].isin(splits))
    if not len(rows):
        raise DataError(f"There is no face of {', '.join(splits)} in {file}: read other splits.")
    row_of = dict(zip(table["image"].iloc[rows], rows.tolist(), strict=True))
    stat = file.stat()
    source = pixels.ImageSource(
        list(row_of),
        lambda name: jpegs[row_of[name]].as_buffer().to_pybytes(),
        f"{file}|{stat.st_mtime_ns}|{stat.st_size}|{','.join(splits)}",
    )
    decoded = pixels.decode_all(source, size, grey, cache_dir)
    samples = table.iloc[rows[decoded.kept]].reset_index(drop=True)
    return FaceSet(samples, about["classes"], decoded.images, _account(file, about, samples, decoded.problems))


def rendered_table(path: str | Path | None = None) -> pd.DataFrame:
    """The table alone, a row per face of all splits, without reading an image.

    path: as in `rendered_faces`, which says what may be wrong, too.

    >>> rendered_table()["split"].unique().tolist()
    ['train', 'valid', 'test']
    """
    file = find_pack(path)
    return _read(file, _checked(file)["classes"], images=False)[0]


def find_pack(path: str | Path | None = None) -> Path:
    """Where `faces.parquet` lies: by the argument, else by $SCN_DATA, else in the checkout this code is part of."""
    checkout = Path(__file__).resolve().parents[3] / "data"
    where = path or os.environ.get("SCN_DATA")
    place = pixels.existing(where) if where else checkout
    places = [place] if place.is_file() else [place / PACK, place / FOLDER / PACK]
    found = [file.resolve() for file in places if file.is_file()]
    if found:
        return found[0]
    if where:
        said = "" if path else ", where SCN_DATA points"
        raise DataError(f"There is no {PACK} in {place}{said}: name the file or its folder.")
    raise DataError(
        "The rendered faces are not here: clone the repository, or set SCN_DATA to a folder that holds "
        f"{FOLDER}/{PACK}, or make some with `scn faces make --out DIR`."
    )


def extract_faces(folder: str | Path, path: str | Path | None = None, limit: int | None = None) -> Path:
    """Write the images as files, `<split>/<label>/<image>.jpg`, with `samples.csv` beside them; gives the folder.

    The folder appears whole or not at all. A second call finds it and only mends images that are missing or damaged;
    what else lies there stays. `samples.csv` has the columns path, label, split and is_valid (true for all that is
    not for training), then what the table has, apart from the units. Both of these read it:

        read_csv(folder / "samples.csv")
        ImageDataLoaders.from_df(pd.read_csv(folder / "samples.csv"), folder, valid_col="is_valid")

    path: as in `rendered_faces`. limit: only the first so many training faces, and the same share of the other splits.

    Raises:
        DataError: there is something else in the folder, it cannot be written, or the pack cannot be used.
    """
    folder, file = Path(folder).expanduser().resolve(), find_pack(path)
    table, jpegs = _read(file, _checked(file)["classes"], images=True)
    if limit is not None:
        rows = _first_of_each_split(table["split"], limit)
        table, jpegs = table.iloc[rows].reset_index(drop=True), jpegs.take(rows)
    names = [f"{row.split}/{row.label}/{row.image}.jpg" for row in table.itertuples()]
    files = {name: jpeg.as_buffer().to_pybytes() for name, jpeg in zip(names, jpegs, strict=True)}
    files[TABLE] = _csv(table, names)
    try:
        if _is_ours(folder, files[TABLE]):
            for name, data in files.items():
                _mend(folder / name, data)
        else:
            _write_folder(folder, files)
    except OSError as error:
        raise DataError(
            f"The faces cannot be written to {folder} ({error.strerror}): make room or choose another."
        ) from error
    return folder


def _first_of_each_split(splits: pd.Series, limit: int) -> np.ndarray:
    """Positions of the first `limit` training faces and of the same share of the other splits."""
    whole = int((splits == "train").sum())
    if not 1 <= limit <= whole:
        raise DataError(
            f"A limit of {limit:,} does not fit the {whole:,} training faces: give a number from 1 to those."
        )
    place, size = splits.groupby(splits).cumcount(), splits.groupby(splits).transform("size")
    return np.flatnonzero(place < np.ceil(size * limit / whole))


# ---- reading ----


def _checked(file: Path) -> dict:
    """What the pack says of itself, after its checksum, its version and its columns have been looked at."""
    _check_sum(file)
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is damaged or no Parquet file ({_line(error)}): fetch it again.") from error
    try:
        about = json.loads((schema.metadata or {})[b"rendered_faces"])
        version, about["classes"] = int(about["version"]), [str(name) for name in about["classes"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is a Parquet file, but does not say that it holds rendered faces.") from error
    if version > VERSION:
        raise DataError(
            f"{file} is of version {version}, this scn_fastai reads up to {VERSION}: update scn_fastai, or fetch the "
            "pack that came with it."
        )
    needed = [*COLUMNS, *(f"soft_{name}" for name in about["classes"])]
    missing = [name for name in needed if name not in schema.names]
    if missing:
        raise DataError(f"{file} has no column {missing[0]!r} ({len(missing)} are missing): fetch or make it again.")
    return about


def _check_sum(file: Path) -> None:
    """Compare with the checksum beside the file, where there is one."""
    sums = file.with_name(CHECKSUMS)
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines() if sums.is_file() else []
    wanted = {line.split()[0].lower() for line in lines if line.split()[1:] in ([file.name], ["*" + file.name])}
    if not wanted:
        return
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found not in wanted:
        raise DataError(
            f"{file} is damaged or was changed, its checksum is not the one in {CHECKSUMS}: fetch it again, or remove "
            f"{CHECKSUMS} if you changed it yourself."
        )


def _read(file: Path, classes: list[str], images: bool) -> tuple[pd.DataFrame, pa.ChunkedArray | None]:
    """The table without images, and the bytes of the images (None when they are not asked for)."""
    try:
        # A ParquetFile, not `read_table`: that one would take a folder named a=b for a column.
        with pq.ParquetFile(file) as pack:
            wanted = [name for name in pack.schema_arrow.names if images or name != "jpeg"]
            whole = pack.read(columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is damaged ({_line(error)}): fetch it again.") from error
    table = whole.drop_columns("jpeg") if images else whole
    table = table.replace_schema_metadata().to_pandas()
    _check_table(table, classes, file)
    return table, whole["jpeg"] if images else None


def _check_table(table: pd.DataFrame, classes: list[str], file: Path) -> None:
    if table.empty:
        raise DataError(f"{file} holds no faces: fetch or make it again.")
    for name in [*classes, *table["image"]]:
        if not _SAFE_NAME.fullmatch(str(name)):
            raise DataError(f"{name!r} in {file} is no name for an image or a class: fetch or make it again.")
    if table["image"].duplicated().any():
        twice = table["image"][table["image"].duplicated()].iloc[0]
        raise DataError(f"The image {twice} is there twice in {file}: fetch or make it again.")
    known = {"split": SPLITS, "label": classes, "true_label": classes, "second": ["", *classes]}
    for column, values in known.items():
        wrong = table[~table[column].isin(values)]
        if len(wrong):
            raise DataError(
                f"Image {wrong['image'].iloc[0]} in {file} has the {column} {wrong[column].iloc[0]!r}, which is none "
                f"of {', '.join(filter(None, values))}: fetch or make it again."
            )


def _account(file: Path, about: dict, samples: pd.DataFrame, problems: list) -> ReadAccount:
    account = ReadAccount(str(file), len(samples), problems=list(problems))
    account.drop("image unreadable", len(problems))
    account.notes.append(f"rendered, no real person; version {about['version']}, seed {about.get('seed', 'unknown')}")
    parts = samples.groupby("split")["uncertainty"]
    counts, shares = parts.size(), parts.apply(lambda kinds: (kinds != "none").mean())
    found = [f"{counts[split]:,} {split} ({shares[split]:.0%} uncertain)" for split in SPLITS if split in counts]
    account.notes.append(", ".join(found))
    return account


def _line(error: Exception) -> str:
    """The first line of what a library says, without a full stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


# ---- extracting ----


def _csv(table: pd.DataFrame, names: list[str]) -> bytes:
    """The table as CSV: the same bytes for the same pack, which is how an earlier extraction is known."""
    # Test faces count as valid here: whoever forgets to leave them out must not train on them.
    first = {"path": names, "label": table["label"], "split": table["split"], "is_valid": table["split"] != "train"}
    rest = [name for name in table.columns if name not in first and not name.startswith("unit_")]
    table = pd.DataFrame(first).join(table[rest])
    return table.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()


def _is_ours(folder: Path, csv: bytes) -> bool:
    """Whether these faces were extracted there before; False when the folder is empty or absent."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    table = folder / TABLE
    if not table.is_file() or table.read_bytes() != csv:
        raise DataError(f"{folder} holds something else than these faces: choose another folder, or remove it.")
    return True


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    """All files in a folder beside it, which then takes its name."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = temporary / "new"  # mkdtemp's own folder is closed to others
        for name in sorted({Path(name).parent for name in files}):
            (new / name).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (new / name).write_bytes(data)
        if folder.exists():
            folder.rmdir()  # it is empty
        new.rename(folder)
    except OSError:
        if not _is_ours(folder, files[TABLE]):  # else another process was faster
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _mend(file: Path, data: bytes) -> None:
    """Write a file that is missing or differs, whole or not at all."""
    if file.is_file() and file.read_bytes() == data:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, data)
