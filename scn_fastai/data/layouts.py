"""Rendered faces in the layouts in which real data sets come, to try readers on without anybody's photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scn_fastai.data.classes import FIRST_CODE, class_order, to_classes
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import DataError

LAYOUTS = ("rafdb", "affectnet")
_EDGE = 18  # pixels around a face in AffectNet's photographs
_HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"


def write_layout(layout: str, folder: str | Path, limit: int = 400) -> Path:
    """Rendered faces as files in the layout of `rafdb` or `affectnet`; gives the folder.

    limit: training faces to begin with, class by class; a quarter as many are for test or validation. RAF-DB has no
    contempt, so those faces are left out there. AffectNet's faces stand in larger pictures, with a box.

    Raises:
        DataError: there is no such layout, or the folder holds something already.

    >>> import tempfile
    >>> from scn_fastai import read_rafdb
    >>> read_rafdb(write_layout("rafdb", Path(tempfile.mkdtemp()) / "RAF-DB", limit=80)).classes[:2]
    ['surprise', 'fear']
    """
    if layout not in LAYOUTS:
        raise DataError(f"There is no layout {layout!r}; there are: {', '.join(LAYOUTS)}.")
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} holds something already: choose another folder.")
    faces = rendered_faces(splits=("train", "valid")).limit(limit)
    train, valid = faces.part("train"), faces.part("valid")
    parts = {"train": train, "valid": valid.take(np.arange(min(len(valid), max(1, limit // 4))))}
    parts = {split: to_classes(part, layout) for split, part in parts.items()}
    (_write_rafdb if layout == "rafdb" else _write_affectnet)(folder, parts)
    return folder


def _numbers(layout: str, part: FaceSet) -> list[int]:
    """Labels in the numbers of the data set's own files."""
    order = class_order(layout)
    return [order.index(name) + FIRST_CODE.get(layout, 0) for name in part.samples["label"]]


def _write_rafdb(folder: Path, parts: dict[str, FaceSet]) -> None:
    aligned, listed = folder / "basic" / "Image" / "aligned", folder / "basic" / "EmoLabel"
    aligned.mkdir(parents=True)
    listed.mkdir()
    lines = []
    for split, part in parts.items():
        for i, (image, label) in enumerate(zip(part.images, _numbers("rafdb", part), strict=True), 1):
            name = f"train_{i:05d}" if split == "train" else f"test_{i:04d}"
            Image.fromarray(image).save(aligned / f"{name}_aligned.jpg", quality=95)
            lines.append(f"{name}.jpg {label}\n")
    (listed / "list_patition_label.txt").write_text("".join(lines), encoding="utf-8")


def _write_affectnet(folder: Path, parts: dict[str, FaceSet]) -> None:
    tables = folder / "Manually_Annotated_file_lists"
    tables.mkdir(parents=True)
    for split, part in parts.items():
        lines, side = [_HEADER], part.images.shape[1]
        for i, (image, code) in enumerate(zip(part.images, _numbers("affectnet", part), strict=True)):
            photo = np.full((side + 2 * _EDGE, side + 2 * _EDGE, 3), 90, np.uint8)
            photo[_EDGE:-_EDGE, _EDGE:-_EDGE] = image
            place = folder / "Manually_Annotated_Images" / str(i % 20 + 1)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo).save(place / f"{split}{i:05d}.jpg", quality=95)
            lines.append(f"{place.name}/{split}{i:05d}.jpg,{_EDGE},{_EDGE},{side},{side},,{code},-2,-2\n")
        name = "training.csv" if split == "train" else "validation.csv"
        (tables / name).write_text("".join(lines), encoding="utf-8")
