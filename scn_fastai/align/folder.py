"""A folder of photographs in, a folder of aligned faces out, picture by picture, and a report of what was not found."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from scn_fastai.align.aligner import FaceAligner, FaceRecord
from scn_fastai.data.images import SUFFIXES, decode_image, existing
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.files import write_whole

REPORT, SETTINGS = "align_report.csv", "align.json"
COLUMNS = ("path", "file", "found", "faces", "score", "box", "points", "fallback", "problem")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
MOST_MEGAPIXELS = 64  # of a picture; larger ones are reported and left out, before they are decoded
BATCH = 16  # pictures that lie in memory together; as many again are decoded meanwhile
FORMATS = {"png": {}, "jpg": {"quality": 95, "subsampling": 0}}


@dataclass
class AlignSummary:
    """What became of the pictures of a folder, in numbers."""

    report: str
    images: int = 0
    aligned: int = 0
    box: int = 0
    centre: int = 0
    unreadable: int = 0
    done_before: int = 0

    def __str__(self) -> str:
        lines = [
            f"{self.images:,} pictures: {self.aligned:,} faces aligned, {self.box:,} cut by box, {self.centre:,} "
            f"without a face cut from the middle, {self.unreadable:,} not read."
        ]
        if self.done_before:
            lines.append(f"{self.done_before:,} of them had been done before.")
        if self.box or self.centre or self.unreadable:
            lines.append("Which ones: columns fallback and problem of the report.")
        return "\n".join([*lines, f"Report: {self.report}"])


def align_folder(
    folder: str | Path,
    out: str | Path,
    aligner: FaceAligner,
    form: str = "png",
    progress: Callable[[int, int], None] | None = None,
) -> AlignSummary:
    """Align every picture below `folder` into the same place below `out`; goes on where it was interrupted.

    `out` gets `align_report.csv`, a row a picture with the columns path, file, found, faces, score, box (x1 y1 x2 y2),
    points (x y of five), fallback (empty, box or centre) and problem (why it could not be read), and `align.json`, the
    settings: another call has to have the same. At most two batches of 16 pictures are in memory.

    progress: called with the pictures done and those in all.

    Raises:
        DataError: no folder, no picture in it, `out` inside of it or made with other settings, or not writable.
    """
    if form not in FORMATS:
        raise SettingsError(f"Aligned faces cannot be written as {form!r}: use {' or '.join(FORMATS)}.")
    folder, out = _input_folder(folder), Path(out).expanduser()
    check_apart(folder, out)
    names = _pictures(folder)
    files = output_names(names, form)
    try:
        own = {"size": aligner.size, "margin": aligner.margin, "rule": aligner.rule, "threshold": aligner.threshold}
        same_settings(out / SETTINGS, own | {"format": form})
        rows = _done(out, files)
        left = [name for name in names if name not in rows]
        summary = AlignSummary(str(out / REPORT), done_before=len(names) - len(left))
        for row in rows.values():
            _count(summary, row)
        with GrowingTable(out / REPORT, COLUMNS, rows.values()) as report:
            for batch, pictures in _read(folder, left):
                new = _align(batch, pictures, files, out, aligner, form)
                report.add(new)
                for row in new:
                    _count(summary, row)
                if progress is not None:
                    progress(summary.images, len(names))
    except OSError as error:
        raise DataError(
            f"The faces cannot be written to {out} ({error.strerror}): make room or choose another."
        ) from error
    return summary


def output_names(names: list[str], form: str) -> dict[str, str]:
    """Where each picture goes: the same path with the suffix of the form; names that would meet keep their own too.

    >>> output_names(["a/1.jpg", "a/2.jpg", "a/2.bmp"], "png")
    {'a/1.jpg': 'a/1.png', 'a/2.jpg': 'a/2.jpg.png', 'a/2.bmp': 'a/2.bmp.png'}
    """
    stems = {name: name.rpartition(".")[0] for name in names}
    often = Counter(stem.lower() for stem in stems.values())
    return {name: f"{name if often[stem.lower()] > 1 else stem}.{form}" for name, stem in stems.items()}


def read_picture(path: Path) -> np.ndarray | str:
    """A picture as uint8 [H, W, 3], upright, or the sentence that says why there is none."""
    try:
        data = path.read_bytes()
        if not data:
            return "the file is empty"
        width, height = Image.open(io.BytesIO(data)).size
        if width * height > MOST_MEGAPIXELS * 1_000_000:
            return (
                f"{width} x {height} are {width * height / 1e6:,.0f} megapixels, more than {MOST_MEGAPIXELS}: reduce it"
            )
        return decode_image(data, grey=False)
    except Image.DecompressionBombError:
        return f"more than {MOST_MEGAPIXELS} megapixels: reduce it"
    except Image.UnidentifiedImageError:
        return "not an image that Pillow can read"
    except Exception as error:  # a damaged file can raise anything; it is reported, never a traceback
        return f"unreadable or truncated ({(str(error).splitlines() or [type(error).__name__])[0]})"


# ---- what is there ----


def _input_folder(folder: str | Path) -> Path:
    folder = existing(folder)
    if folder.is_file() and folder.suffix.lower() in VIDEOS:
        raise DataError(
            f"{folder} is a video: `scn web` takes frames from videos, `scn align` needs a folder of images."
        )
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: give the folder that it lies in.")
    return folder


def check_apart(folder: Path, out: Path) -> None:
    """Refuse an output folder that lies inside of the input."""
    inside, outside = folder.resolve(), out.resolve()
    if outside == inside or inside in outside.parents:
        raise DataError(
            f"{out} lies inside of {folder}: its faces would be read as pictures; choose a folder elsewhere."
        )
    if out.is_file():
        raise DataError(f"{out} is a file: give a folder for the aligned faces.")


def _pictures(folder: Path) -> list[str]:
    """The pictures below a folder, as paths with slashes, sorted."""
    names, others = [], Counter()
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = Path(path).relative_to(folder)
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if suffix in SUFFIXES and not name.startswith("."):
                names.append((place / name).as_posix())
            else:
                others["videos" if suffix in VIDEOS else "other files"] += 1
    if not names:
        there = ", ".join(f"{count:,} {what}" for what, count in others.items()) or "nothing"
        more = "; `scn web` takes frames from videos" if others["videos"] else ""
        raise DataError(f"There is no image in {folder} (there: {there}): give a folder of images{more}.")
    return sorted(names)


def same_settings(file: Path, own: dict, what: str = "faces") -> None:
    """Write the settings into a new folder, or see that they are those with which its faces were made."""
    out = file.parent
    if file.is_file():
        try:
            before = dict(json.loads(file.read_text(encoding="utf-8")))
        except ValueError:
            raise DataError(f"{file} is damaged: choose another folder, or remove it and its faces.") from None
        for name, value in own.items():
            if before.get(name) != value:
                raise DataError(
                    f"{out} holds {what} of {name} {before.get(name)}, not {value}: choose another folder for these."
                )
        return
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"{out} holds something else than aligned faces: choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(own) + "\n")


def _done(out: Path, files: dict[str, str]) -> dict[str, list[str]]:
    """Rows of an earlier report that hold: their picture is still asked for and its face is there."""
    rows = rows_of(out / REPORT, COLUMNS)
    # What could not be read is tried again: it may have been mended.
    return {row[0]: row for row in rows if row[1] and row[1] == files.get(row[0]) and (out / row[1]).is_file()}


class GrowingTable:
    """A CSV file that rows are added to; it begins with the rows that hold, so half a row of a killed run goes."""

    def __init__(self, file: Path, columns: Sequence[str], rows: Iterable[list[str]]):
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
        write_whole(file, text.getvalue().encode())
        self.stream = file.open("a", newline="", encoding="utf-8")

    def __enter__(self) -> GrowingTable:
        return self

    def __exit__(self, *_) -> None:
        self.stream.close()

    def add(self, rows: Iterable[list[str]]) -> None:
        """Write rows, at once."""
        csv.writer(self.stream, lineterminator="\n").writerows(rows)
        self.stream.flush()


def rows_of(file: Path, columns: Sequence[str]) -> list[list[str]]:
    """The whole rows of a CSV file that an earlier call left, without its head; none where there is no file."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.reader(stream) if len(row) == len(columns)][1:]


# ---- one batch after the other ----


def _read(folder: Path, names: list[str]) -> Iterator[tuple[list[str], list[np.ndarray | str]]]:
    """Batches of names with their pictures; the next batch is decoded by threads while this one is worked on."""
    batches = [names[start : start + BATCH] for start in range(0, len(names), BATCH)]
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # too large is reported in words
        ask = lambda batch: [pool.submit(read_picture, folder / name) for name in batch]  # noqa: E731
        ahead = ask(batches[0]) if batches else []
        for number, batch in enumerate(batches):
            now, ahead = ahead, ask(batches[number + 1]) if number + 1 < len(batches) else []
            yield batch, [job.result() for job in now]


def _align(
    names: list[str],
    pictures: list[np.ndarray | str],
    files: dict[str, str],
    out: Path,
    aligner: FaceAligner,
    form: str,
) -> list[list[str]]:
    """Align and write one batch; gives its rows of the report."""
    read = [row for row, picture in enumerate(pictures) if not isinstance(picture, str)]
    aligned = aligner([pictures[row] for row in read])
    rows = [[name, "", "False", "0", "", "", "", "", picture] for name, picture in zip(names, pictures, strict=True)]
    for row, image, record in zip(read, aligned.images, aligned.records, strict=True):
        file = out / files[names[row]]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, encoded(image, form))
        rows[row] = [names[row], files[names[row]], *report_cells(record), ""]
    return rows


def encoded(image: np.ndarray, form: str) -> bytes:
    """An image as the bytes of a file, png or jpg."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, {"jpg": "JPEG"}.get(form, "PNG"), **FORMATS[form])
    return buffer.getvalue()


def report_cells(record: FaceRecord) -> list[str]:
    """found, faces, score, box, points and fallback of a picture, as the report writes them."""
    score = "" if record.score is None else f"{record.score:.4f}"
    box, points = (
        "" if x is None else " ".join(f"{value:.2f}" for value in np.ravel(x)) for x in (record.box, record.points)
    )
    return [str(record.found), str(record.faces), score, box, points, record.fallback]


def _count(summary: AlignSummary, row: list[str]) -> None:
    summary.images += 1
    what = "unreadable" if row[-1] else row[7] or "aligned"
    setattr(summary, what, getattr(summary, what) + 1)
