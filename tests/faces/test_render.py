import numpy as np
import pytest

from scn_fastai.errors import DataError
from scn_fastai.faces.expressions import CLASSES, expression_units
from scn_fastai.faces.identity import Identity, random_identity
from scn_fastai.faces.render import (
    Light,
    Pose,
    five_points,
    random_background,
    random_light,
    random_pose,
    render_face,
)

NEUTRAL = expression_units("neutral")


@pytest.fixture(scope="module")
def somebody():
    return random_identity(np.random.default_rng(3))


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int)).mean()


def test_a_face_is_a_picture_of_the_size_asked_for(somebody):
    for size in (16, 64, 100):
        image = render_face(somebody, NEUTRAL, size=size)
        assert image.shape == (size, size, 3) and image.dtype == np.uint8 and image.std() > 10


def test_the_same_arguments_give_the_same_picture(somebody):
    assert (render_face(somebody, NEUTRAL) == render_face(somebody, NEUTRAL.copy())).all()


def test_every_expression_changes_the_picture(somebody):
    neutral = render_face(somebody, NEUTRAL)
    for name in CLASSES[1:]:
        assert difference(render_face(somebody, expression_units(name)), neutral) > 1, name


def test_an_open_mouth_is_darker_below(somebody):
    shut, open_ = (render_face(somebody, {"jawOpen": weight})[38:54, 26:38].mean() for weight in (0.0, 1.0))
    assert open_ < shut - 10


def test_the_head_turns_to_the_side_it_is_told():
    """The nose is the nearest part: with the face turned right more skin lies right of the eyes' middle."""
    left, right = (render_face(Identity(), NEUTRAL, Pose(yaw=yaw), Light(azimuth=0)) for yaw in (-40, 40))
    assert difference(left, right[:, ::-1]) < difference(left, right) / 2


def test_light_comes_from_where_it_is_told():
    image = render_face(Identity(), NEUTRAL, light=Light(azimuth=60, fill=0, ambient=0.1)).astype(int)
    assert image[28:44, 36:44].mean() > image[28:44, 20:28].mean() + 20


def test_zoom_and_shift():
    near = render_face(Identity(), NEUTRAL, Pose(zoom=1.6))
    far = render_face(Identity(), NEUTRAL, Pose(zoom=0.6))
    ground = np.abs(far.astype(int) - far[0, 0]).sum(2) < 60
    assert ground.mean() > (np.abs(near.astype(int) - near[0, 0]).sum(2) < 60).mean()
    moved = render_face(Identity(), NEUTRAL, Pose(shift_x=0.25))
    still = render_face(Identity(), NEUTRAL)
    assert difference(moved[:, 16:56], still[:, :40]) < 3


def test_a_mask_hides_the_mouth_and_dark_glasses_hide_the_eyes(somebody):
    open_, happy = expression_units("surprise"), expression_units("happiness")
    bare = difference(render_face(somebody, open_)[40:56], render_face(somebody, happy)[40:56])
    masked = [render_face(somebody, units, wear=("mask", 1.0))[40:56] for units in (open_, happy)]
    assert difference(*masked) < 0.4 * bare
    wide = {"eyeWideLeft": 1.5, "eyeWideRight": 1.5}
    wide_eyes, relaxed = (render_face(somebody, units, wear=("glasses", 1.0)) for units in (wide, {}))
    seen, hidden = difference(render_face(somebody, wide), render_face(somebody, {})), difference(wide_eyes, relaxed)
    assert hidden < 0.5 * seen


@pytest.mark.parametrize("style", ["bald", "short", "volume", "curly", "bob", "long"])
def test_hair_changes_the_head_and_holds_in_profile(style):
    other = "short" if style == "bald" else "bald"
    for pose in (Pose(), Pose(yaw=70)):
        images = [render_face(Identity(hair_style=s, gender=0.3), NEUTRAL, pose) for s in (style, other)]
        assert difference(*images) > 1.5


def test_random_poses_and_lights_vary():
    rng = np.random.default_rng(0)
    assert len({random_pose(rng).yaw for _ in range(9)}) == len({random_light(rng).azimuth for _ in range(9)}) == 9
    top, bottom = random_background(rng)
    assert all(0 <= value <= 1 for value in (*top, *bottom))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 0}, "face of 0 pixels"),
        ({"size": 5000}, "16 to 1024"),
        ({"pose": Pose(yaw=float("nan"))}, "pose .* no number"),
        ({"pose": Pose(zoom=0.0)}, "zoom is 0.0"),
        ({"light": Light(key=float("inf"))}, "light .* no number"),
        ({"wear": ("hat", 1.0)}, "cannot wear 'hat'.*mask, glasses"),
        ({"wear": ("mask", 1.5)}, "level of mask is 1.5"),
        ({"units": {"smile": 1.0}}, "no facial unit 'smile'"),
    ],
)
def test_bad_input_gets_one_sentence(arguments, words):
    with pytest.raises(DataError, match=words):
        render_face(Identity(), **{"units": NEUTRAL, **arguments})


# ---- a picture behind, and where the eyes are ----


def test_a_picture_can_stand_behind(somebody):
    wall = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    face = render_face(somebody, NEUTRAL, background=wall)
    grey = render_face(somebody, NEUTRAL)
    behind = (grey == render_face(somebody, NEUTRAL, background=((1, 0, 0), (1, 0, 0)))).all(2)
    assert (face[0, 0] == wall[0, 0]).all() and (face[behind] == grey[behind]).all() and behind.mean() > 0.3
    for wrong in (wall[:32, :32], wall / 255):
        with pytest.raises(DataError, match=r"must be uint8 of shape \[64, 64, 3\], got"):
            render_face(somebody, NEUTRAL, background=wrong)


def test_five_points_lie_on_eyes_nose_and_mouth():
    for pose in (Pose(), Pose(yaw=20, roll=-15), Pose(zoom=0.6, shift_x=0.1)):
        image = render_face(Identity(), NEUTRAL, pose, size=256).astype(int)
        points = five_points(Identity(), NEUTRAL, pose, size=256)
        for x, y in points[:2].round().astype(int):  # a pupil is dark, the cheek below it is not
            assert image[y - 3 : y + 4, x - 3 : x + 4].min() < 60
        left_eye, right_eye, nose, left_corner, right_corner = points
        assert left_eye[0] < nose[0] < right_eye[0] and left_corner[0] < nose[0] < right_corner[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_corner[1], right_corner[1])


def test_points_move_with_the_head_and_the_mouth_with_the_face():
    still, shifted = five_points(Identity(), NEUTRAL), five_points(Identity(), NEUTRAL, Pose(shift_x=0.25))
    np.testing.assert_allclose(shifted - still, np.tile([16, 0], (5, 1)), atol=1e-4)
    np.testing.assert_allclose(five_points(Identity(), NEUTRAL, size=128), 2 * still + 0.5, atol=1e-4)
    smile = five_points(Identity(), {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0})
    np.testing.assert_allclose(smile[:2], still[:2], atol=0.3)
    assert (smile[3:, 1] < still[3:, 1] - 0.5).all()
    across = five_points(Identity(), NEUTRAL, Pose(roll=30))[:2]
    assert np.degrees(np.arctan2(across[0, 1] - across[1, 1], across[1, 0] - across[0, 0])) == pytest.approx(30, abs=1)
