import inspect
import io
import math

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.faces import degrade as module
from scn_fastai.faces.degrade import (
    HIDDEN,
    IMAGE_KINDS,
    INNER_FACE,
    STRENGTHS,
    degrade,
    degrade_by,
    strength_at,
    to_display,
    to_linear,
)

RANDOM = ("low_light", "noise", "motion", "block")


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(size=64):
    """A drawn face, much the same at every size: ground, head, eyes, mouth."""
    at = (np.arange(4 * size) + 0.5) / (4 * size)
    x, y = np.meshgrid(at, at)
    image = np.zeros((4 * size, 4 * size, 3)) + [90, 110, 150]
    image[((x - 0.5) / 0.33) ** 2 + ((y - 0.52) / 0.42) ** 2 < 1] = [205, 160, 130]
    for across in (0.38, 0.62):
        image[((x - across) / 0.08) ** 2 + ((y - 0.37) / 0.04) ** 2 < 1] = [30, 20, 20]
    image[((x - 0.5) / 0.16) ** 2 + ((y - 0.64) / 0.05) ** 2 < 1] = [150, 50, 50]
    return np.asarray(Image.fromarray(image.astype(np.uint8)).reduce(4))


def distance(one, two):
    return float(np.sqrt(np.mean((one.astype(float) - two.astype(float)) ** 2)))


def grey(value, size=64):
    return np.full((size, size, 3), value, np.uint8)


# ---- all kinds ----


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("size", [16, 17, 48, 64, 128])
def test_any_size_gives_uint8_of_that_size(kind, size):
    image = picture(size)
    before = image.copy()
    for level in (0, 0.5, 1):
        out = degrade(image, kind, level, rng())
        assert out.shape == image.shape and out.dtype == np.uint8
    assert (image == before).all()


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_the_generator_decides(kind):
    image = picture()
    one, two, other = (degrade(image, kind, 0.7, rng(seed)) for seed in (1, 1, 2))
    assert (one == two).all()
    assert (one != other).any() == (kind in RANDOM)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_a_higher_level_changes_more(kind):
    image = picture()
    change = [
        np.mean([distance(image, degrade(image, kind, level, rng(s))) for s in range(20)]) for level in (0, 0.5, 1)
    ]
    assert 0 < change[0] < change[1] < change[2]


@pytest.mark.parametrize("kind", [k for k in IMAGE_KINDS if k != "block"])
def test_64_and_128_pixels_look_alike(kind):
    small = [degrade(picture(64), kind, 0.7, rng(s)).astype(float) for s in range(5)]
    large = [np.asarray(Image.fromarray(degrade(picture(128), kind, 0.7, rng(s))).reduce(2)) for s in range(5)]
    apart = np.mean([distance(a, b) for a, b in zip(small, large, strict=True)])
    changed = np.mean([distance(a, picture(64)) for a in small])
    assert apart < 0.4 * changed


def test_a_block_lies_at_the_same_place_at_64_and_128_pixels():
    small = degrade(picture(64), "block", 0.7, rng(3))
    large = np.asarray(Image.fromarray(degrade(picture(128), "block", 0.7, rng(3))).reduce(2))
    assert distance(small, large) < 0.25 * distance(small, picture(64))


# ---- each kind by itself ----


@pytest.mark.parametrize("kind", ["blur", "low_resolution", "jpeg", "motion"])
def test_what_only_smears_keeps_a_plain_picture(kind):
    for value in (0, 100, 255):
        out = degrade(grey(value), kind, 1.0, rng())
        assert np.abs(out.astype(int) - value).max() <= (10 if kind == "jpeg" else 0)  # JPEG rounds even one grey


def test_blur_is_a_gaussian_in_linear_light():
    image = grey(0)
    image[:, 32:] = 255
    sigma = 0.05
    light = to_linear(degrade_by(image, "blur", sigma, rng())[32, :, 0] / 255)
    wanted = [0.5 * (1 + math.erf((x + 0.5 - 32) / (sigma * 64) / math.sqrt(2))) for x in range(64)]
    np.testing.assert_allclose(light, wanted, atol=0.02)


def test_low_resolution_has_so_few_pixels():
    image = rng().integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = degrade_by(image, "low_resolution", 8, rng())
    small = np.asarray(Image.fromarray(image).resize((8, 8), Image.Resampling.BOX))
    assert (out == np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))).all()
    assert (degrade_by(image, "low_resolution", 64, rng()) == image).all()


def test_jpeg_is_that_of_pillow():
    stored = io.BytesIO()
    Image.fromarray(picture()).save(stored, "JPEG", quality=9)
    assert (degrade_by(picture(), "jpeg", 9, rng()) == np.asarray(Image.open(stored))).all()


def test_low_light_halves_the_light_and_adds_shot_noise():
    value, exposure = 188, 0.1
    light = to_linear(np.array(value / 255)) * exposure
    out = to_linear(degrade_by(grey(value), "low_light", exposure, rng()) / 255)
    assert out.mean() == pytest.approx(light, rel=0.02)
    electrons = light * module.FULL_WELL
    assert out.std() == pytest.approx(np.sqrt(electrons + module.READ_NOISE**2) / module.FULL_WELL, rel=0.1)


def test_over_exposure_clips_and_blooms():
    image = grey(40)
    image[24:40, 24:40] = 230
    out = degrade_by(image, "over_exposed", 4.0, rng())
    assert (out[26:38, 26:38] == 255).all()
    plain = to_display(to_linear(image / 255) * 4)
    assert out[23, 32, 0] / 255 > plain[23, 32, 0] + 0.01
    assert out[2, 2, 0] / 255 == pytest.approx(plain[2, 2, 0], abs=0.004)


def test_noise_has_its_sigma():
    out = degrade_by(grey(128), "noise", 0.1, rng())
    assert out.std() / 255 == pytest.approx(0.1, rel=0.03)
    assert degrade_by(grey(128, 128), "noise", 0.1, rng()).std() / 255 == pytest.approx(0.1, rel=0.03)
    assert degrade_by(grey(128, 32), "noise", 0.1, rng()).std() / 255 < 0.07


@pytest.mark.parametrize("seed", range(6))
def test_motion_smears_along_one_direction_only(seed):
    image = grey(0)
    image[32, 32] = 255
    light = to_linear(degrade_by(image, "motion", 0.25, rng(seed)) / 255)[..., 0]
    assert light.sum() == pytest.approx(1, rel=0.1)
    y, x = np.indices(light.shape)
    spread = np.linalg.eigvalsh(np.cov(np.stack([y.ravel(), x.ravel()]), aweights=light.ravel()))
    assert spread[0] < 0.5 and np.sqrt(12 * spread[1]) == pytest.approx(16, rel=0.15)


def test_motion_does_not_wrap_around_the_borders():
    image = grey(0)
    image[:, -8:] = 255
    for seed in range(6):
        assert (degrade_by(image, "motion", 0.2, rng(seed))[:, :16] == 0).all()


@pytest.mark.parametrize("covered", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("thing", [module._board_before, module._hand_before])
def test_a_block_hides_that_share_of_the_inner_face(thing, covered):
    for seed in range(10):
        for hidden in HIDDEN.values():
            assert module._hidden_share(thing(covered, hidden, 64, rng(seed))) == pytest.approx(covered, abs=0.05)


def test_a_block_is_opaque():
    image = rng().integers(0, 256, (64, 64, 3), dtype=np.uint8)
    left, top, right, bottom = (round(edge * 64) for edge in INNER_FACE)
    for seed in range(20):
        changed = (degrade_by(image, "block", 0.6, rng(seed)) != image).any(-1)
        assert 0.5 < changed[top:bottom, left:right].mean() < 0.85
        assert not changed.all()


def test_a_board_hides_its_target_first():
    for name, hidden in HIDDEN.items():
        shape = module._board_before(0.4, hidden, 64, rng())
        half = 0.05 / np.sqrt([1 / hidden[2], hidden[2]])
        x, y = (slice(round(64 * (c - h)), round(64 * (c + h))) for c, h in zip(hidden, half, strict=False))
        assert shape[y, x].mean() > 0.95, name


# ---- levels and bad input ----


def test_levels_run_between_the_two_strengths():
    for kind, (mild, strong) in STRENGTHS.items():
        assert strength_at(kind, 0) == mild and strength_at(kind, 1) == pytest.approx(strong)
        between = strength_at(kind, 0.5)
        assert min(mild, strong) < between < max(mild, strong)
    assert strength_at("blur", np.float32(0.5)) == pytest.approx(np.sqrt(np.prod(STRENGTHS["blur"])))


def test_light_there_and_back():
    values = np.linspace(0, 1, 256)
    np.testing.assert_allclose(to_display(to_linear(values)), values, atol=1e-9)


def test_it_needs_numpy_and_pillow_only():
    source = inspect.getsource(module)
    assert not any(f"import {name}" in source for name in ("torch", "pandas", "scipy", "fastai"))


@pytest.mark.parametrize(
    "change, error, sentence",
    [
        ({"kind": "rain"}, SettingsError, "no way to degrade called 'rain': use one of blur, low_resolution"),
        ({"kind": ["blur"]}, SettingsError, "no way to degrade called"),
        ({"level": 1.01}, SettingsError, "level of 1.01 makes no sense: give a number from 0"),
        ({"level": -0.1}, SettingsError, "level of -0.1 makes no sense"),
        ({"level": float("nan")}, SettingsError, "level of nan makes no sense"),
        ({"level": "high"}, SettingsError, "level of high makes no sense"),
        ({"rng": 3}, SettingsError, "needs a generator, not int: give np.random.default_rng"),
        ({"image": picture() / 255}, DataError, r"must be uint8 of shape \[S, S, 3\], got float64 \[64, 64, 3\]"),
        ({"image": picture()[..., 0]}, DataError, r"got uint8 \[64, 64\]: convert it first"),
        ({"image": picture()[:40]}, DataError, r"got uint8 \[40, 64, 3\]"),
        ({"image": [[0]]}, DataError, "must be a NumPy array, not list"),
        ({"image": grey(9, 15)}, DataError, "image of 15 pixels is too small to degrade: give 16 or more"),
    ],
)
def test_bad_input_is_one_sentence(change, error, sentence):
    arguments = {"image": picture(), "kind": "blur", "level": 0.5, "rng": rng()} | change
    with pytest.raises(error, match=sentence):
        degrade(**arguments)


@pytest.mark.parametrize("strength", [0, -1, float("inf"), float("nan"), None])
def test_a_strength_is_a_positive_number(strength):
    with pytest.raises(SettingsError, match="makes no sense for blur: give a number above 0"):
        degrade_by(picture(), "blur", strength, rng())
