"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from scn_fastai.errors import RunError

HALF = ".writing"  # how the name of a file ends that is not whole yet


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then put it there; what was there stays if ``write`` fails.

    Args:
        path: where the file goes; its folder is there.
        write: writes a whole file to the path that it is given.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> replace_file(folder / "figures.txt", lambda to: to.write_text("0.63"))
    >>> [path.name for path in folder.iterdir()]
    ['figures.txt']
    """
    # The process in the name: two of them that write the same file do not write into each other's half.
    beside = path.with_name(f".{path.name}.{os.getpid()}{HALF}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def make_writable(folder: Path) -> None:
    """Make a folder and see that files can be written there: what takes hours shall not learn it at its end.

    Raises:
        RunError: they cannot.

    >>> import tempfile
    >>> make_writable(Path(tempfile.mkdtemp()) / "runs" / "mine")
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        words = error.strerror or error
        raise RunError(f"{folder} cannot be written ({words}): make room or choose another --out.") from error


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a text (UTF-8) or bytes by `replace_file`.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "figures.txt"
    >>> write_whole(file, "0.63")
    >>> file.read_text()
    '0.63'
    """
    raw = data.encode() if isinstance(data, str) else data
    replace_file(path, lambda to: to.write_bytes(raw))
