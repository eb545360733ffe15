"""Make the data set, or a larger one: images and table in one Parquet file, made in parts that survive an interrupt."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.faces.expressions import CLASSES
from scn_fastai.faces.plan import describe_face, draw_face
from scn_fastai.files import replace_file

VERSION = 1
PACK = "faces.parquet"
PART = 512  # faces a part: 64 people
QUALITY = 94  # the best that keeps 8,000 faces with their table well under 24 MB
TEXT = ("image", "split", "label", "true_label", "second", "uncertainty", "hair_style")


def make_faces(
    out: str | Path, n: int = 8000, size: int = 64, seed: int = 0, workers: int | None = None, progress=None
) -> Path:
    """Render ``n`` faces into ``out/faces.parquet`` with a checksum beside it; goes on where it was interrupted.

    Every image has a generator of its own, so the result does not depend on the number of workers or on interrupts.

    Args:
        out: a folder; made if it is not there.
        n: number of faces; eight make a person. A larger set begins with the smaller one.
        size: width of the images in pixels.
        seed: another seed, other people.
        workers: processes; None takes one a core.
        progress: called with the faces done and those in all.

    Raises:
        DataError: a number is out of range, the folder holds faces made otherwise, or cannot be written.
    """
    if n < 1 or not 16 <= size <= 1024 or seed < 0:
        raise DataError("Faces can be made when n is 1 or more, the size 16 to 1024 pixels and the seed 0 or more.")
    out = Path(out)
    about = {"version": VERSION, "classes": list(CLASSES), "size": size, "seed": seed, "n": n}
    if _finished(out, about):
        return out / PACK
    try:
        parts = _parts_folder(out, about)
        spans = [(start, min(start + PART, n)) for start in range(0, n, PART)]
        files = {span: parts / f"{span[0]:07d}-{span[1]:07d}.parquet" for span in spans}
        left = {span: file for span, file in files.items() if not file.exists()}
        done = n - sum(stop - start for start, stop in left)
        for start, stop in _in_processes(left, size, seed, workers):
            done += stop - start
            if progress is not None:
                progress(done, n)
        _join([files[span] for span in spans], out / PACK, about)
        shutil.rmtree(parts)
    except OSError as error:
        raise DataError(
            f"The faces cannot be written to {out} ({error.strerror}): make room or choose another."
        ) from error
    return out / PACK


def checksum(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _finished(out: Path, about: dict) -> bool:
    """Whether the folder holds these very faces already."""
    import pyarrow.parquet as pq

    if not (out / PACK).exists():
        return False
    try:
        found = json.loads(pq.read_schema(out / PACK).metadata[b"rendered_faces"])
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found != about:
        raise DataError(f"{out / PACK} holds other faces than were asked for, or is damaged: choose another folder.")
    return True


def _parts_folder(out: Path, about: dict) -> Path:
    parts, note = out / "parts", out / "parts" / "about.json"
    # A larger set may go on from a smaller one: the number of faces is no reason to refuse.
    same = {name: value for name, value in about.items() if name != "n"}
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != same:
        raise DataError(
            f"{parts} holds parts of faces of another size, seed or version: remove it or choose another folder."
        )
    parts.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(same), encoding="utf-8")
    return parts


def _in_processes(left: dict, size: int, seed: int, workers: int | None) -> Iterator[tuple[int, int]]:
    """The spans as they get ready."""
    workers = max(1, min(workers or os.cpu_count() or 1, len(left)))
    if workers == 1:
        for span, file in left.items():
            yield make_part(span, file, size, seed)
        return
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make_part, span, file, size, seed) for span, file in left.items()]
        try:
            for job in as_completed(jobs):
                yield job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start in here multiply matrices with one thread: several would only get in each other's way."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def make_part(span: tuple[int, int], file: Path, size: int, seed: int) -> tuple[int, int]:
    """Render the faces of a span into a Parquet file of their own, whole or not at all."""
    import pyarrow.parquet as pq

    rows = [describe_face(number, seed) for number in range(*span)]
    for row in rows:
        row["jpeg"] = jpeg_bytes(draw_face(row, size))
    replace_file(file, lambda to: pq.write_table(_table(rows), to))
    return span


def jpeg_bytes(image: np.ndarray, quality: int = QUALITY) -> bytes:
    """An image as a JPEG file, colours at full resolution."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def _table(rows: list[dict]):
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name in TEXT:
            return pa.string()
        if name == "jpeg":
            return pa.binary()
        return pa.int64() if name == "seed" else pa.int32() if name == "identity" else pa.float32()

    schema = pa.schema([(name, kind(name)) for name in rows[0]])
    return pa.Table.from_pylist(rows, schema=schema)


def _join(files: list[Path], target: Path, about: dict) -> None:
    """All parts in one file, a row group each, with what they are in its metadata and a checksum beside it."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(files[0]).with_metadata({b"rendered_faces": json.dumps(about).encode()})
    columns = {name: "zstd" for name in schema.names} | {"jpeg": "none"}

    def write(to: Path) -> None:
        with pq.ParquetWriter(to, schema, compression=columns) as writer:
            for file in files:
                writer.write_table(pq.read_table(file).cast(schema))

    replace_file(target, write)
    (target.parent / "SHA256SUMS").write_text(f"{checksum(target)}  {target.name}\n", encoding="utf-8")
