"""Small data sets in the layouts in which RAF-DB and AffectNet are published, of pictures made on the spot."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

RAF_LABELS = {"train": [5, 5, 4, 1, 2, 3, 6, 7, 4, 4, 1, 2], "test": [4, 7, 1, 3]}


def picture(number, side=20):
    """Colour noise with the number in its middle, which survives a JPEG of best quality."""
    pixels = np.random.default_rng(number).integers(100, 156, (side, side, 3), dtype=np.uint8)
    pixels[side // 4 : -side // 4, side // 4 : -side // 4] = number % 256
    return pixels


def save(path, pixels):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)
    return path


def raf_names():
    """(name, label) as the official list has them; train_00001.jpg but test_0001.jpg."""
    for split, labels in RAF_LABELS.items():
        for i, label in enumerate(labels, 1):
            yield (f"train_{i:05d}.jpg" if split == "train" else f"test_{i:04d}.jpg"), label


def make_rafdb(root, part="basic", labels=None, side=20):
    """RAF-DB's tree under `root`; aligned faces all of one size, photographs of several."""
    lines = []
    for number, (name, label) in enumerate(raf_names()):
        label = label if labels is None else labels[number]
        lines.append(f"{name} {label}\n")
        save(root / part / "Image" / "aligned" / name.replace(".jpg", "_aligned.jpg"), picture(number, side))
        save(root / part / "Image" / "original" / name, picture(number, side + number))
    listed = root / part / "EmoLabel" / "list_patition_label.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(lines))
    return root


AFFECT_HEAD = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
# expression, valence, arousal of the rows of training.csv and of validation.csv
AFFECT_ROWS = {
    "training": [(0, 0.1, 0.0), (1, 0.8, 0.4), (2, -0.7, -0.2), (3, 0.2, 0.8), (4, -0.3, 0.8), (5, -0.6, 0.4),
                 (6, -0.5, 0.6), (7, -0.5, 0.5), (8, -2, -2), (9, -2, -2), (10, -2, -2), (1, 0.7, 0.2)],
    "validation": [(1, 0.9, 0.5), (7, -0.4, 0.4), (0, 0.0, 0.0), (8, -2, -2)],
}  # fmt: skip


def make_affectnet_csv(root, side=30):
    """The form with tables: photographs whose face lies in a box from (5, 8), 20 wide and high; the rest is black."""
    number = 0
    for table, rows in AFFECT_ROWS.items():
        lines = [AFFECT_HEAD]
        for code, valence, arousal in rows:
            photo = np.zeros((side, side, 3), np.uint8)
            photo[8:28, 5:25] = picture(number)
            name = f"{number % 3 + 1}/{number:032x}.jpg"
            save(root / "Manually_Annotated_Images" / name, photo)
            lines.append(f"{name},5,8,20,20,1.0;2.0;3.5,{code},{valence},{arousal}\n")
            number += 1
        folder = root / "Manually_Annotated_file_lists"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{table}.csv").write_text("".join(lines))
    return root


def make_affectnet_folders(root):
    """The later form: faces and an .npy file for each of their annotations; the same rows, without 8 to 10."""
    number = 0
    for table, rows in AFFECT_ROWS.items():
        place = root / ("train_set" if table == "training" else "val_set")
        (place / "annotations").mkdir(parents=True, exist_ok=True)
        for code, valence, arousal in rows:
            if code < 8:
                save(place / "images" / f"{number}.jpg", picture(number))
                for kind, value in (("exp", code), ("val", valence), ("aro", arousal)):
                    np.save(place / "annotations" / f"{number}_{kind}.npy", np.array(str(value)))
            number += 1
    return root


def zipped(folder, path, prefix=""):
    """All files of a folder in a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path
