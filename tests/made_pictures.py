"""Pictures with rendered faces in them, made the same way by the tests and by tools/align_reference.py."""

import numpy as np
from PIL import Image

from scn_fastai.data.readers.rendered import rendered_faces

# Of each picture: height, width, and the faces in it as (row of the validation faces, side, left, top).
PICTURES = {
    "one": (300, 400, [(0, 160, 40, 60)]),
    "small_one": (300, 400, [(8, 64, 200, 100)]),
    "two": (320, 420, [(16, 128, 20, 30), (24, 144, 230, 120)]),
    "three": (320, 480, [(32, 96, 10, 10), (40, 112, 180, 180), (48, 144, 320, 60)]),
    "at_the_edge": (256, 320, [(56, 160, -30, 40)]),
    "only_a_face": (192, 192, [(0, 192, 0, 0)]),
    "nobody": (240, 320, []),
}


def made_picture(name, faces=None):
    """One of PICTURES as uint8 [H, W, 3]: faces enlarged on a grey ground with a slope of light."""
    height, width, placed = PICTURES[name]
    faces = rendered_faces(splits=["valid"]).images if faces is None else faces
    slope = 90 + 80 * np.arange(width) // width
    picture = Image.fromarray(np.broadcast_to(slope[None, :, None], (height, width, 3)).astype(np.uint8))
    for row, side, left, top in placed:
        face = Image.fromarray(np.ascontiguousarray(faces[row])).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(face, (left, top))
    return np.asarray(picture)
