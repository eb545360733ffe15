"""What the tests of alignment share: MTCNN where its weights are, and a detector that needs none."""

import numpy as np
import pytest

from scn_fastai.align.mtcnn import MTCNN, Found
from scn_fastai.align.weights import find_weights
from scn_fastai.errors import DataError


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
        y, x = np.nonzero((image[..., 0] > 40) & (image[..., 1] == 0))
        if not len(x):
            found.append(Found(np.zeros((0, 4)), np.zeros(0), np.zeros((0, 5, 2))))
            continue
        box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float)
        score = image[y[0], x[0], 0] / 255
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
