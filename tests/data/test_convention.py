"""Input conventions: what they say, and that the loader does it, pixel by pixel."""

import numpy as np
import pytest
import torch
from fastai.torch_core import TensorImage
from small_faces import small_faces

from scn_fastai.data.convention import InputConvention
from scn_fastai.data.loaders import ToRGBFloat, face_loaders
from scn_fastai.errors import SettingsError
from scn_fastai.training.predict import prepare


def coloured(size=24):
    faces = small_faces(16, 8, size=size)
    images = np.repeat(faces.images[..., None], 3, axis=3)
    images[..., 1] //= 2
    images[..., 2] //= 4
    return type(faces)(faces.samples, faces.classes, images, faces.account)


def test_the_loader_does_what_the_convention_says():
    faces = coloured()
    how = InputConvention(None, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0), "BGR", 0.5)
    dls = face_loaders(faces, 8, device="cpu", convention=how)
    x, _ = next(iter(dls.valid))
    face = faces.images[faces.rows("valid")[0]]
    for channel, (source, mean, std) in enumerate(zip((2, 1, 0), how.mean, how.std, strict=True)):
        for row, column in ((0, 0), (3, 7), (11, 11)):
            value = face[6 + row, 6 + column, source] / 255
            assert x[0, channel, row, column].item() == pytest.approx((value - mean) / std, abs=1e-5)
    assert x.shape == (8, 3, 12, 12)


def test_size_and_stats_that_are_said_go_before():
    how = InputConvention(32, (0.5,) * 3, (0.5,) * 3)
    assert face_loaders(coloured(), 8, device="cpu", convention=how).one_batch()[0].shape[-1] == 32
    dls = face_loaders(coloured(), 8, size=16, stats=((0.0,) * 3, (1.0,) * 3), device="cpu", convention=how)
    x = dls.one_batch()[0]
    assert x.shape[-1] == 16 and 0 <= x.min() and x.max() <= 1


def test_without_one_everything_is_as_before():
    faces = coloured()
    a, b = (next(iter(face_loaders(faces, 8, device="cpu", **k).valid))[0] for k in ({}, {"convention": None}))
    assert torch.equal(a, b) and abs(a.mean().item()) < 0.3


def test_pictures_are_shown_in_their_own_colours():
    to_float = ToRGBFloat(None, 1.0, "BGR")
    pixels = torch.from_numpy(coloured().images[:2])
    shown = to_float.decodes(to_float.encodes(TensorImage(pixels)))
    torch.testing.assert_close(torch.as_tensor(shown), pixels.permute(0, 3, 1, 2) / 255)


def test_scoring_prepares_as_the_loader_did():
    faces = coloured()
    how = InputConvention(20, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0), "BGR", 0.75)
    x, _ = next(iter(face_loaders(faces, 8, device="cpu", convention=how).valid))
    again = prepare(torch.from_numpy(faces.images[faces.rows("valid")]), how.as_dict())
    torch.testing.assert_close(torch.as_tensor(x), again)


def test_in_words():
    assert str(InputConvention()) == "any size, RGB in 0 to 1, no mean or std"
    assert str(InputConvention(112, 0.5, 0.5, "BGR", 0.875)) == "112 px, BGR in 0 to 1, mean 0.5, std 0.5, middle 87.5%"
    assert InputConvention(**InputConvention(9, 0.1, 0.2).as_dict()) == InputConvention(9, 0.1, 0.2)


@pytest.mark.parametrize(("values", "match"), [
    ({"std": (1, 0, 1)}, "each of its values must be above 0"),
    ({"channels": "GBR"}, "channels is 'GBR', but it must be RGB or BGR"),
    ({"crop": 0}, r"crop is 0, but it is the share of a picture that is kept, in \(0, 1\]"),
    ({"size": 0}, "size is 0, but it is a number of pixels"),
    ({"mean": (1, 2)}, "mean has 2 values"),
])  # fmt: skip
def test_values_that_make_no_sense(values, match):
    with pytest.raises(SettingsError, match=match):
        InputConvention(**values)
