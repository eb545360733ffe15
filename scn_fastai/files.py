"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

HALF = ".writing"  # how the name of a file ends that is not whole yet


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside its place, then put it there; what was there stays if ``write`` fails.

    Args:
        path: where the file goes; its folder is there.
        write: writes a whole file to the path that it is given.

    >>> import pandas as pd
    >>> replace_file(Path("figures.csv"), pd.DataFrame({"accuracy": [0.63]}).to_csv)
    >>> Path("figures.csv").exists()
    True
    """
    # The process in the name: two of them that write the same file do not write into each other's half.
    beside = path.with_name(f".{path.name}.{os.getpid()}{HALF}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a text (UTF-8) or bytes by `replace_file`.

    >>> write_whole(Path("figures.txt"), "0.63")
    >>> Path("figures.txt").read_text()
    '0.63'
    """
    raw = data.encode() if isinstance(data, str) else data
    replace_file(path, lambda to: to.write_bytes(raw))
