"""Pictures and films with faces, made the same way by the tests and by tools/align_reference.py, and detectors."""

import numpy as np
import pytest
from PIL import Image

from scn_fastai.align.mtcnn import MTCNN, Found
from scn_fastai.align.weights import find_weights
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.errors import DataError

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


@pytest.fixture(scope="session")
def finder():
    """MTCNN with its published weights."""
    try:
        find_weights()
    except DataError as error:
        pytest.skip(str(error))
    return MTCNN()


FACE = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]])


def red_faces(images):
    """A detector without networks: a picture's red rectangle is a face, its brightness the score."""
    found = []
    for image in images:
        y, x = np.nonzero(image[..., 0].astype(int) - image[..., 1] > 60)
        if not len(x):
            found.append(Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))))
            continue
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float)
        score = image[int(y.mean()), int(x.mean()), 0] / 255
        points = box[:2] + FACE * (box[2:] - box[:2])
        found.append(Found(box[None], np.array([score]), points[None]))
    return found


@pytest.fixture
def red_detector():
    return red_faces


@pytest.fixture
def red_picture():
    """Makes a picture uint8 [H, W, 3] with a red rectangle (left, top, side) of this brightness."""

    def make(height=90, width=120, left=30, top=20, side=40, red=255):
        image = np.full((height, width, 3), 100, np.uint8)
        image[top : top + side, left : left + side] = (red, 0, 0)
        return image

    return make


def write_gif(path, pictures, milliseconds=100):
    """An animated image."""
    first, *others = map(Image.fromarray, pictures)
    first.save(path, save_all=True, append_images=others, duration=milliseconds)


def write_video(path, pictures, fps=10):
    """A video; the test is skipped where PyAV is missing."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install scn_fastai[video]")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps, options={"qscale": "2"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
