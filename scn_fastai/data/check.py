"""A data set looked at whole before it is trained on: what opens, what is there twice, how the classes are spread."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.data.images import decode_image, in_threads, sentence_of
from scn_fastai.data.readers.affectnet import list_affectnet
from scn_fastai.data.readers.ferplus import list_ferplus
from scn_fastai.data.readers.folder import list_csv, list_folder
from scn_fastai.data.readers.rafdb import list_rafdb
from scn_fastai.data.store import Listing
from scn_fastai.errors import DataError

NAMES = ("rafdb", "rafdb-compound", "ferplus", "fer2013", "affectnet", "affectnet7", "folder", "csv")
UNEVEN = 5  # a class this many times as large as another calls for oversampling
SMALL = 32  # pixels below which a face shows little


@dataclass
class CheckReport:
    """What `check_images` found.

    read: images that open. dropped: how many were left out, by reason. classes: images that open by label, split by
    split in `splits`. sizes: how many images have each (height, width). copies: groups of images with the same pixels,
    each with its paths, splits and labels. problems: path and sentence. advice: what to do.
    """

    source: str
    read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    splits: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    copies: list[dict[str, list[str]]] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def as_dict(self) -> dict:
        """Plain values, for JSON: read, dropped, classes, problems, and the rest."""
        sizes = [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes.items()]
        return {
            "source": self.source,
            "read": self.read,
            "dropped": sum(self.dropped.values()),
            "dropped_why": self.dropped,
            "classes": self.classes,
            "splits": self.splits,
            "sizes": sizes,
            "duplicates": self.copies,
            "problems": [{"path": path, "problem": sentence} for path, sentence in self.problems],
            "notes": self.notes,
            "advice": self.advice,
        }

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.read:,} images open, {sum(self.dropped.values()):,} are dropped"]
        lines += [f"  dropped {count:,}: {reason}" for reason, count in self.dropped.items()]
        lines += [f"  {note}" for note in self.notes]
        table = pd.DataFrame(self.splits).reindex(self.classes).fillna(0).astype(int)
        lines += ["", "Images of each class", table.to_string()] if len(table) else []
        sizes = sorted(self.sizes.items(), key=lambda item: -item[1])
        named = ", ".join(f"{h}x{w} ({n:,})" for (h, w), n in sizes[:5])
        more = f" and {len(sizes) - 5:,} other sizes" if len(sizes) > 5 else ""
        lines += ["", f"Sizes (height x width): {named or 'none'}{more}"]
        if self.copies:
            lines += ["", f"{len(self.copies):,} pictures are there more than once"]
            lines += [f"  {_group_words(group)}" for group in self.copies[:5]]
            lines += [f"  ... and {len(self.copies) - 5:,} more (see --json)"] if len(self.copies) > 5 else []
        if self.problems:
            lines += ["", f"{len(self.problems):,} problems"]
            lines += [f"  {path}: {sentence}" for path, sentence in self.problems[:10]]
            lines += [f"  ... and {len(self.problems) - 10:,} more (see --json)"] if len(self.problems) > 10 else []
        return "\n".join([*lines, "", "What to do", *(f"  - {line}" for line in self.advice)])


def list_by_name(name: str, path: str | Path, rule: str = "argmax8", noise_file: str | None = None) -> Listing:
    """The listing of a data set that lies in files, by the name that `scn train --data` takes.

    Raises:
        DataError: the name is none of `NAMES`, or what the reader says.
    """
    if name not in NAMES:
        raise DataError(f"There is no data set {name!r} to be checked; there are: {', '.join(NAMES)}.")
    if name.startswith("rafdb"):
        part = "compound" if name.endswith("compound") else "basic"
        return list_rafdb(path, part=part, noise_file=noise_file)
    if noise_file is not None:
        raise DataError(f"A noise file belongs to rafdb, not to {name}: leave it out.")
    if name in ("ferplus", "fer2013"):
        labels, classes = ("crowd", 8) if name == "ferplus" else (name, 7)
        return list_ferplus(path, rule, labels, classes=classes)
    if name.startswith("affectnet"):
        return list_affectnet(path, 7 if name.endswith("7") else 8)
    return list_folder(path) if name == "folder" else list_csv(path, strict=False)


def check_images(listing: Listing, moved: Callable[[int], object] = lambda n: None) -> CheckReport:
    """Decode every image, one block at a time, and count; `moved(n)` hears of every n that are done.

    Two images are copies when their pixels are the same, whatever their names and files. Memory: 16 bytes an image.
    """
    source, table, account = listing.source, listing.table, listing.account
    count = len(source.names)
    digests, sizes, wrong = [b""] * count, [(0, 0)] * count, {}

    def one(row: int) -> None:
        try:
            box = None if source.boxes is None else source.boxes[row]
            pixels = decode_image(source.read(source.names[row]), box=box)
            mark = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=16)
            mark.update(np.ascontiguousarray(pixels))
            digests[row], sizes[row] = mark.digest(), pixels.shape[:2]
        except Exception as error:  # a damaged file can raise anything; it is reported
            wrong[row] = sentence_of(error)

    in_threads(one, range(count), None, moved)
    root = Path(account.source)
    paths = [_shown(name, root if root.is_dir() else root.parent) for name in source.names]
    account.drop("image unreadable", len(wrong))
    good = np.setdiff1d(np.arange(count), list(wrong))
    found = table.iloc[good]
    report = CheckReport(account.source, len(good), account.dropped, notes=account.notes)
    report.classes = _counts(found["label"], listing.classes)
    report.splits = {
        split: _counts(found["label"][found["split"] == split], listing.classes)
        for split in ("train", "valid", "test")
        if (found["split"] == split).any()
    }
    report.sizes = dict(Counter(sizes[row] for row in good))
    report.problems = [*account.problems, *((paths[row], wrong[row]) for row in sorted(wrong))]
    report.copies = _copies(digests, paths, table, good)
    report.advice = _advice(report)
    return report


def _counts(labels: pd.Series, classes: list[str]) -> dict[str, int]:
    counts = labels.value_counts()
    return {name: int(counts.get(name, 0)) for name in classes}


def _copies(digests: list[bytes], paths: list[str], table: pd.DataFrame, good: np.ndarray) -> list[dict]:
    """Groups of rows with the same pixels; those of two splits or two labels first."""
    groups = defaultdict(list)
    for row in good:
        groups[digests[row]].append(row)
    columns = {"paths": paths, "splits": table["split"].tolist(), "labels": table["label"].tolist()}
    found = [
        {name: [values[row] for row in rows] for name, values in columns.items()}
        for rows in groups.values()
        if len(rows) > 1
    ]
    return sorted(found, key=lambda group: -(2 * _several(group, "splits") + _several(group, "labels")))


def _several(group: dict[str, list[str]], what: str) -> bool:
    return len(set(group[what])) > 1


def _shown(name: str, root: Path) -> str:
    """The name as it stands under the folder of the data set."""
    path = Path(name)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else name


def _group_words(group: dict[str, list[str]]) -> str:
    images = [f"{path} ({split}, {label})" for path, split, label in zip(*group.values(), strict=True)]
    return " = ".join(images[:3]) + (f" and {len(images) - 3:,} more" if len(images) > 3 else "")


def _advice(report: CheckReport) -> list[str]:
    """Sentences that say what to do, the gravest first."""
    lines = []
    if not report.read:
        return ["No image opens: check the path and fetch the images again."]
    unlike = sum(_several(group, "labels") for group in report.copies)
    across = sum(_several(group, "splits") for group in report.copies)
    if across:
        lines.append(
            f"{across:,} pictures are in two splits: take them out of training, or the accuracy on the others is too "
            "good to be true."
        )
    if unlike:
        lines.append(f"{unlike:,} pictures have copies with other labels: at least one label of each is wrong.")
    rest = sum(not _several(group, "labels") and not _several(group, "splits") for group in report.copies)
    if rest:
        lines.append(f"{rest:,} pictures are there more than once with one label: they count double in training.")
    if report.problems:
        lines.append(f"{len(report.problems):,} images are not read: fetch them again, or leave them out of the table.")
    counts = report.splits.get("train", report.classes)
    empty = [name for name, count in counts.items() if not count]
    if empty:
        lines.append(f"No training image of {', '.join(empty)}: add some, or leave the class out.")
    there = [count for count in counts.values() if count]
    if there and max(there) >= UNEVEN * min(there):
        lines.append(
            f"The largest class has {max(there) / min(there):.0f} times the images of the smallest: train with "
            "--oversample, and look at mean_class_accuracy."
        )
    if len(report.sizes) > 1:
        lines.append(f"The images have {len(report.sizes):,} sizes: train with --size N to bring them to one.")
    if report.sizes and min(min(size) for size in report.sizes) < SMALL:
        lines.append(f"Some images are smaller than {SMALL} pixels: little can be seen on them.")
    return lines or ["Nothing: the set is ready to train on."]
