"""Small made faces for tests that need no real ones: each class has a pattern of its own, under noise."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from scn_fastai.data.samples import FaceSet, ReadAccount

CLASSES = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
KINDS = ("none", "none", "blur", "ambiguous", "none")  # of every five faces in turn


def small_images(codes, size, seed=0):
    """Grey images uint8 [N, size, size]: one to four stripes, lying or standing."""
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(size) / size * 2 * np.pi * (1 + np.asarray(codes)[:, None] // 2))
    lying = np.broadcast_to(wave[:, :, None], (len(wave), size, size))
    images = np.where((np.asarray(codes) % 2 == 0)[:, None, None], lying, lying.transpose(0, 2, 1))
    noise = rng.normal(0, 0.6, images.shape) + rng.normal(0, 0.3, (len(images), 1, 1))
    return np.clip(128 + 50 * (images + noise), 0, 255).astype(np.uint8)


def small_faces(n_train=120, n_valid=40, size=24, seed=0):
    """A FaceSet of eight classes whose labels are true."""
    codes = np.arange(n_train + n_valid) % 8
    labels = np.array(CLASSES)[codes]
    table = pd.DataFrame({"image": [f"{i:06d}" for i in range(len(codes))], "label": labels, "true_label": labels})
    table["split"] = np.repeat(["train", "valid"], [n_train, n_valid])
    return FaceSet(table, CLASSES, small_images(codes, size, seed), ReadAccount("small faces", len(table)))


def pack_table(n_train=160, n_valid=40, n_test=40, size=16, seed=0):
    """The table of a small pack, with the columns that the real one has, or enough of them."""
    n = n_train + n_valid + n_test
    codes, number = np.arange(n) % 8, np.arange(n)
    labels, kinds = np.array(CLASSES)[codes], np.array(KINDS)[number % 5]
    ambiguous = kinds == "ambiguous"
    others = np.array(CLASSES)[codes ^ 1]
    rows = {"image": [f"r{i:06d}" for i in number], "identity": (number // 8).astype(np.int32)}
    rows |= {"split": np.repeat(["train", "valid", "test"], [n_train, n_valid, n_test])}
    rows |= {"label": labels, "true_label": labels, "intensity": np.float32(0.8)}
    rows |= {"second": np.where(ambiguous, others, ""), "mix": np.where(ambiguous, 0.4, 0).astype(np.float32)}
    for name in CLASSES:
        own = np.where(ambiguous, 0.6, 1.0) * (labels == name)
        rows[f"soft_{name}"] = (own + 0.4 * (ambiguous & (others == name))).astype(np.float32)
    rows |= {"uncertainty": kinds, "level": np.where(kinds == "none", np.nan, (number % 7) / 6).astype(np.float32)}
    rows |= {"yaw": np.float32(-3), "unit_jawOpen": np.float32(0.1), "seed": np.int64(seed)}
    images = np.repeat(small_images(codes, size, seed)[..., None], 3, axis=3)
    images[..., 2] //= 2  # some colour
    return pd.DataFrame(rows | {"jpeg": [jpeg(image) for image in images]})


def jpeg(image):
    """The bytes of a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_pack(folder, table=None, sums=True, **about):
    """Write faces.parquet (and its checksum) as `scn faces make` does; gives the file."""
    table = pack_table() if table is None else table
    about = {"version": 1, "classes": CLASSES, "size": 16, "seed": 0, "n": len(table)} | about
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    arrow = arrow.replace_schema_metadata({b"rendered_faces": json.dumps(about).encode()})
    file = Path(folder) / "faces.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow, file, row_group_size=64)
    if sums:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        (file.parent / "SHA256SUMS").write_text(f"{digest}  faces.parquet\n")
    return file
