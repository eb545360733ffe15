"""What ``scn faces`` does: make rendered faces, draw contact sheets of them."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from tqdm import tqdm


def make(options: Namespace) -> int:
    """Render faces into a pack."""
    from scn_fastai.faces.make import make_faces

    with tqdm(total=options.n, unit="face", file=sys.stderr, mininterval=1) as bar:
        made = lambda done, _: bar.update(done - bar.n)  # noqa: E731
        pack = make_faces(options.out, options.n, options.size, options.seed, options.workers, made)
    print(json.dumps({"pack": str(pack), "bytes": pack.stat().st_size}) if options.json else pack)
    return 0


def sheets(options: Namespace) -> int:
    """Contact sheets: people by expression, and kinds of uncertainty by level."""
    from scn_fastai.faces.sheets import expression_sheet, uncertainty_sheet
    from scn_fastai.plots import face_grid_png

    out, written = Path(options.out), []
    out.mkdir(parents=True, exist_ok=True)
    for name, sheet in (("expressions", expression_sheet), ("uncertainty", uncertainty_sheet)):
        images, captions, columns = sheet(options.size, options.seed)
        file = out / f"{name}_{options.size}.png"
        file.write_bytes(face_grid_png(np.stack(images), captions, columns=columns, scale=options.scale))
        written.append(str(file))
    print(json.dumps({"sheets": written}) if options.json else "\n".join(written))
    return 0
