"""Boxes, points and probabilities of facenet-pytorch's own MTCNN on made pictures, stored for the tests.

The package's pins exclude the torch of this project, so it gets an environment of its own that borrows ours:

    python -m venv --system-site-packages reference-venv && reference-venv/bin/pip install --no-deps \
        facenet-pytorch==2.6.0
    reference-venv/bin/python tools/align_reference.py --out tests/align/reference.json
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from made_pictures import PICTURES, made_picture  # noqa: E402


def reference() -> dict:
    """What the package finds in every picture, surest face first."""
    import facenet_pytorch

    finder = facenet_pytorch.MTCNN(keep_all=True, device="cpu")
    found = {}
    for name in PICTURES:
        boxes, scores, points = finder.detect(Image.fromarray(made_picture(name)), landmarks=True)
        if boxes is None:
            found[name] = {"boxes": [], "scores": [], "points": []}
            continue
        order = np.argsort(-scores.astype(float))
        parts = {"boxes": boxes, "scores": scores, "points": points}
        found[name] = {key: np.asarray(part[order], float).round(4).tolist() for key, part in parts.items()}
    return {"package": "facenet-pytorch 2.6.0", "pictures": found}


def main() -> None:
    """Write the figures."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=ROOT / "tests" / "align" / "reference.json")
    options = arguments.parse_args()
    found = reference()
    options.out.write_text(json.dumps(found) + "\n", encoding="utf-8")
    print({name: len(face["scores"]) for name, face in found["pictures"].items()})


if __name__ == "__main__":
    main()
