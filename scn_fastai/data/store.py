"""The files of a data set, in a folder or in a zip that is read where it lies, and what a reader found in them."""

from __future__ import annotations

import codecs
import io
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from scn_fastai.data import images as pixels
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError

_LABELLED = re.compile(r"[\"']?(?P<name>[^\"']+?)[\"']?[\s,;]+[\"']?(?P<label>[+-]?\d+)(?:\.0*)?[\"']?")


@dataclass
class Store:
    """Files of a folder or a zip by their relative names, whatever folder they are nested in."""

    path: Path
    names: list[str]
    read: Callable[[str], bytes]
    unsafe: list[str] = field(default_factory=list)  # names in a zip that point out of it: never read

    def find(self, *bases: str) -> str | None:
        """The name of a file that is called one of these, the least nested one."""
        found = [name for name in self.names if PurePosixPath(name).name in bases]
        return min(found, key=lambda name: (name.count("/"), name)) if found else None

    def bytes_of(self, name: str) -> bytes:
        """What a file holds, or one sentence."""
        try:
            return self.read(name)
        except (OSError, RuntimeError, zipfile.BadZipFile) as error:
            raise DataError(f"{name} in {self.path} cannot be read ({error}): fetch it again.") from error

    def text(self, name: str) -> str:
        """A text file in UTF-8, UTF-16 or an old Windows encoding, with or without a byte order mark."""
        return decode_text(self.bytes_of(name), name)

    def table(self, name: str, **kwargs) -> pd.DataFrame:
        """A CSV file, see `read_table`."""
        raw = self.bytes_of(name)
        try:
            return read_table(raw, name, **kwargs)
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{name} in {self.path} is not a table ({error}): fetch it again.") from error

    def source(self, names: list[str]) -> pixels.ImageSource:
        """Some of the files as images."""
        if self.path.is_dir():
            return pixels.from_paths([self.path / name for name in names])
        return pixels.from_zip(self.path, names)


@dataclass
class Listing:
    """What a reader found before it opened an image: row i of `table` belongs to name i of `source`.

    table: a row per image with `image`, `split`, `label` and what else is known of it. classes: in their order.
    """

    table: pd.DataFrame
    classes: list[str]
    source: pixels.ImageSource
    account: ReadAccount

    def faces(self, size: int | None = None, grey: bool | None = None, cache_dir: str | Path | None = None) -> FaceSet:
        """Decode the images; what cannot be read is dropped and told in the account, with the classes in order."""
        decoded = pixels.decode_all(self.source, size, grey, cache_dir)
        account = self.account
        account.drop("image unreadable", len(decoded.problems))
        account.problems += decoded.problems
        table = self.table.iloc[decoded.kept].reset_index(drop=True)
        account.read = len(table)
        return FaceSet(table, self.classes, decoded.images, account)


def open_store(path: Path, what: str) -> Store:
    """All files under a folder or in a zip; `what` is the data set that is looked for."""
    if path.is_dir():
        names = [
            (Path(folder) / file).relative_to(path).as_posix() for folder, _, files in os.walk(path) for file in files
        ]
        store = Store(path, sorted(names), lambda name: (path / name).read_bytes())
    elif zipfile.is_zipfile(path):
        archive = zipfile.ZipFile(path)
        names = [name.filename for name in archive.infolist() if not name.is_dir()]
        inside = [name for name in names if _stays_inside(name)]
        store = Store(path, inside, archive.read, sorted(set(names) - set(inside)))
    elif path.suffix.lower() == ".zip":
        raise DataError(f"{path} is not a whole zip file, it may have been cut short: fetch it again.")
    else:
        raise DataError(f"{path} is neither a folder, a zip nor a csv file: give one that holds {what}.")
    if not store.names:
        raise DataError(f"The {'folder' if path.is_dir() else 'zip'} {path} is empty: put {what} there.")
    return store


def decode_text(raw: bytes, name: str) -> str:
    r"""The text of a file, or one sentence when it is none.

    >>> decode_text(b"\xef\xbb\xbftrain_00001.jpg 5", "list.txt")
    'train_00001.jpg 5'
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:4096]:
        raise DataError(f"{name} is not a text file: fetch it again.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def labelled_names(text: str, where: str) -> pd.DataFrame:
    r"""Lines of `name label` as a table with the columns line, name and label; a header is passed over.

    Blanks, tabs, commas and semicolons part them; of a name only what follows the last slash counts, forward or
    backward, so a path on somebody else's machine does no harm.

    >>> labelled_names("name;label\nC:\\raf\\train_00001.jpg;5", "list.txt").values.tolist()
    [[2, 'train_00001.jpg', 5]]
    """
    rows, header = [], 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line:
            continue
        match = _LABELLED.fullmatch(line)
        if match:
            rows.append((number, match["name"].replace("\\", "/").rsplit("/", 1)[-1].strip(), int(match["label"])))
        elif not rows and not header:
            header = number
        else:
            raise DataError(
                f"Line {number} of {where} is {_short(line)!r}: expected the name of an image and a number, such as "
                "'train_00001.jpg 5'."
            )
    if not rows:
        raise DataError(f"{where} names no image with a label: fetch it again.")
    table = pd.DataFrame(rows, columns=["line", "name", "label"])
    twice = table[table.duplicated("name")]
    if len(twice):
        raise DataError(f"Line {twice['line'].iloc[0]} of {where} names {twice['name'].iloc[0]} again: fetch it anew.")
    return table


def read_table(raw: bytes, name: str, **kwargs) -> pd.DataFrame:
    r"""A CSV file from its bytes; commas, semicolons and tabs are told apart by the first line.

    Raises:
        DataError: it is not a text file.
        ValueError: it is not a table, as pandas says it.

    >>> read_table(b"path;label\n1.png;joy\n", "faces.csv").columns.tolist()
    ['path', 'label']
    """
    plain = not raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and raw.isascii()
    raw = raw if plain else decode_text(raw, name).encode()  # a file of hundreds of megabytes is not copied about
    lines = [line for line in raw[:65536].decode(errors="replace").splitlines() if line.strip()]
    parts = max(",;\t", key=lines[0].count) if lines else ","
    return pd.read_csv(io.BytesIO(raw), sep=parts, skipinitialspace=True, encoding_errors="replace", **kwargs)


def _short(line: str) -> str:
    return line if len(line) <= 60 else line[:57] + "..."


def _stays_inside(name: str) -> bool:
    """Whether a name in a zip points into it, and is no leaving of a Mac."""
    parts = name.replace("\\", "/").split("/")
    return ".." not in parts and not name.startswith(("/", "\\", "__MACOSX/")) and ":" not in parts[0]
