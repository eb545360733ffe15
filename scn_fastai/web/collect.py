"""From a folder of videos and images that were searched with emotion words to labelled faces that `read_csv` reads."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from scn_fastai.align.aligner import FaceAligner
from scn_fastai.align.folder import (
    VIDEOS,
    GrowingTable,
    check_apart,
    encoded,
    read_picture,
    rows_of,
    same_settings,
)
from scn_fastai.data.images import existing
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.files import write_whole
from scn_fastai.web.clips import GAP, SECONDS, clips, evenly
from scn_fastai.web.frames import NEEDS_VIDEO, Frame, images_in, is_animated, of_folder, sampled
from scn_fastai.web.keywords import Keywords, read_keywords, search_word

TABLE, REPORT, SETTINGS = "faces.csv", "web_report.csv", "web.json"
FACES = ("path", "label", "split", "word", "source", "clip", "seconds", "score")
SOURCES = ("path", "kind", "word", "label", "seconds", "sampled", "with_face", "clips", "faces", "problem")
BATCH = 16  # frames that are looked at together


@dataclass(frozen=True)
class WebRules:
    """How faces are taken from videos.

    seconds: that a face has to be there to make a clip (SCN: 5). gap: seconds without it that are forgiven.
    per_second: frames looked at. per_clip: faces kept of a clip, spread over it. most_seconds: longer videos are left
    out (SCN: less than 4 minutes). folder_fps: makes a folder of images a video of so many images a second; without it
    every image stands by itself and needs no clip. valid: share of the videos, never of the frames of one, that are
    marked as valid.
    """

    seconds: float = SECONDS
    gap: float = GAP
    per_second: float = 2.0
    per_clip: int = 5
    most_seconds: float = 240.0
    folder_fps: float | None = None
    valid: float = 0.1

    def __post_init__(self) -> None:
        for name in ("per_second", "per_clip", "most_seconds", "folder_fps"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} is {value:g}: give a number above 0.")
        if self.seconds < 0 or self.gap < 0:
            raise SettingsError("seconds and gap of a clip cannot be negative: give 0 or more.")
        if not 0 <= self.valid < 1:
            raise SettingsError(f"A validation share of {self.valid:g} makes no sense: give 0 to below 1.")


@dataclass
class WebSummary:
    """What became of the videos and images, in numbers."""

    table: str
    report: str
    sources: int = 0
    clips: int = 0
    faces: int = 0
    without_face: int = 0
    problems: int = 0
    labels: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{label} {count:,}" for label, count in self.labels.items()) or "none"
        return (
            f"{self.sources:,} videos and images: {self.faces:,} faces of {self.clips:,} clips ({counts}); "
            f"{self.without_face:,} without a face for long enough, {self.problems:,} not used (column problem).\n"
            f"Faces: {self.table}\nReport: {self.report}"
        )


def collect_web(
    folder: str | Path,
    out: str | Path,
    aligner: FaceAligner,
    rules: WebRules | None = None,
    keywords: Keywords | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WebSummary:
    """Take labelled faces from every video, animated image and image below `folder`; goes on where it was interrupted.

    The label is the class of the emotion word in the name of the file, or of the nearest folder that has one: noisy, as
    search words are. `out` gets the faces in a folder for each label, `faces.csv`, which `read_csv` reads, and
    `web_report.csv`, a row a video with what was found or what was wrong. A video's frames are read one at a time.

    Raises:
        DataError: no folder, nothing in it to read, `out` inside of it or made with other settings, or not writable.
    """
    rules, words = rules or WebRules(), keywords or read_keywords()
    folder, out = existing(folder), Path(out).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is a file: give the folder that it lies in; the search word may be in its name.")
    check_apart(folder, out)
    sources = list(_sources(folder, rules))
    if not sources:
        raise DataError(f"There is no video and no image in {folder}: put them into folders named after search words.")
    try:
        own = {"size": aligner.size, "margin": aligner.margin, "threshold": aligner.threshold, **vars(rules)}
        same_settings(out / SETTINGS, own)
        there = dict(sources)
        done = {row[0]: row for row in rows_of(out / REPORT, SOURCES) if not row[-1] and row[0] in there}
        faces = [row for row in rows_of(out / TABLE, FACES) if row[4] in done]
        summary = WebSummary(str(out / TABLE), str(out / REPORT))
        for row in done.values():
            _count(summary, row)
        with (
            GrowingTable(out / TABLE, FACES, faces) as table,
            GrowingTable(out / REPORT, SOURCES, done.values()) as report,
        ):
            for name, kind in sources:
                if name in done:
                    continue
                row, found = _one(folder, name, kind, out, aligner, rules, words)
                table.add(found)  # before the report: a video counts as done when all of it is written
                report.add([row])
                _count(summary, row)
                if progress is not None:
                    progress(summary.sources, len(sources))
    except OSError as error:
        raise DataError(
            f"The faces cannot be written to {out} ({error.strerror}): make room or choose another."
        ) from error
    return summary


def _sources(folder: Path, rules: WebRules) -> Iterator[tuple[str, str]]:
    """(path, kind) of all there is: video, animation, folder or image; sorted."""
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(path)
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEOS and not name.startswith("."):
                yield (here / name).relative_to(folder).as_posix(), "video"
        stills = []
        for image in images_in(here):
            if is_animated(image):
                yield image.relative_to(folder).as_posix(), "animation"
            else:
                stills.append(image)
        if stills and rules.folder_fps:
            yield here.relative_to(folder).as_posix(), "folder"
        elif stills:
            yield from ((image.relative_to(folder).as_posix(), "image") for image in stills)


def _one(
    folder: Path, name: str, kind: str, out: Path, aligner: FaceAligner, rules: WebRules, words: Keywords
) -> tuple[list[str], list[list[str]]]:
    """The row of one video or image in the report, and the rows of its faces, which are written."""
    try:
        word, label = search_word(folder.name + "/" + name if name != "." else folder.name, words)
    except DataError as error:
        return [name, kind, "", "", "", "0", "0", "0", "0", str(error).rstrip(".")], []
    try:
        seen = list(_look(_frames(folder / name, kind, rules), aligner))
    except DataError as error:
        if str(error) == NEEDS_VIDEO:
            raise  # not a fault of this video
        return [name, kind, word, label, "", "0", "0", "0", "0", str(error).rstrip(".")], []
    taken = _taken(seen, kind, rules)
    rows = []
    for number, clip in enumerate(taken):
        for frame in evenly(clip, rules.per_clip):
            one = seen[frame]
            file = f"{label}/{_slug(name)}_{number:02d}_{frame:04d}.jpg"
            (out / label).mkdir(parents=True, exist_ok=True)
            write_whole(out / file, one.jpeg)
            split = _split(name, rules.valid)
            rows.append([file, label, split, word, name, str(number), f"{one.seconds:.2f}", f"{one.score:.4f}"])
    length = f"{seen[-1].seconds + 1 / rules.per_second:.1f}" if kind != "image" else ""
    with_face = sum(one.box is not None for one in seen)
    counts = [str(n) for n in (len(seen), with_face, len(taken), len(rows))]
    return [name, kind, word, label, length, *counts, ""], rows


@dataclass(frozen=True)
class _Seen:
    seconds: float
    box: np.ndarray | None
    score: float
    jpeg: bytes


def _frames(path: Path, kind: str, rules: WebRules) -> Iterator[Frame]:
    if kind == "folder":
        yield from of_folder(path, rules.folder_fps, rules.per_second)
    elif kind == "image":
        picture = read_picture(path)
        if isinstance(picture, str):
            raise DataError(picture)
        yield Frame(0.0, picture)
    else:
        yield from sampled(path, rules.per_second, rules.most_seconds)


def _look(frames: Iterator[Frame], aligner: FaceAligner) -> Iterator[_Seen]:
    """Faces of frames, batch by batch; of each only its box and a small picture are kept."""
    while batch := list(islice(frames, BATCH)):
        images, records = aligner([frame.image for frame in batch])
        for frame, image, record in zip(batch, images, records, strict=True):
            if record.found:
                yield _Seen(frame.seconds, record.box, record.score, encoded(image, "jpg"))
            else:
                yield _Seen(frame.seconds, None, 0.0, b"")


def _taken(seen: list[_Seen], kind: str, rules: WebRules) -> list[np.ndarray]:
    if kind == "image":
        return [np.array([0])] if seen[0].box is not None else []
    times, boxes = [one.seconds for one in seen], [one.box for one in seen]
    return clips(times, boxes, 1 / rules.per_second, rules.seconds, rules.gap)


def _split(name: str, valid: float) -> str:
    """Train or valid, by the name of the video alone: frames of one video never stand on both sides."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
    return "valid" if drawn < valid else "train"


def _slug(name: str) -> str:
    plain = re.sub(r"\W+", "-", Path(name).stem).strip("-")[-40:]
    return f"{plain or 'faces'}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _count(summary: WebSummary, row: list[str]) -> None:
    summary.sources += 1
    summary.clips += int(row[7])
    summary.faces += int(row[8])
    summary.problems += bool(row[-1])
    summary.without_face += not row[-1] and row[7] == "0"
    if int(row[8]):
        summary.labels = dict(sorted((Counter(summary.labels) + Counter({row[3]: int(row[8])})).items()))
