import numpy as np
import pytest

from scn_fastai.data.standin import CLASSES, UNCERTAINTY, standin_faces
from scn_fastai.errors import DataError


@pytest.fixture(scope="module")
def faces():
    return standin_faces(480, 80, seed=1)


def test_what_it_draws(faces):
    assert faces.images.shape == (560, 48, 48) and faces.images.dtype == np.uint8
    assert faces.classes == CLASSES and len(faces.part("train")) == 480 and len(faces.part("valid")) == 80
    assert set(faces.part("valid").samples["label"].value_counts()) == {10}
    assert (faces.samples["label"] == faces.samples["true_label"]).all()
    assert len({image.tobytes() for image in faces.images}) == 560


def test_a_quarter_of_the_training_faces_is_uncertain(faces):
    counts = faces.part("train").samples["uncertainty"].value_counts()
    assert counts["none"] == 360 and all(counts[how] == 40 for how in UNCERTAINTY)
    assert set(faces.part("valid").samples["uncertainty"]) == {"none"}


def test_uncertain_faces_are_dark_and_blurred(faces):
    train = faces.part("train")
    how = train.samples["uncertainty"]
    brightness = train.images.mean((1, 2))
    assert brightness[how == "dark"].max() < brightness[how == "none"].min()
    assert np.median(np.ptp(train.images[how == "blur"], axis=(1, 2))) < np.median(
        np.ptp(train.images[how == "none"], axis=(1, 2))
    )


def test_seed_decides():
    one, same, other = (standin_faces(16, 8, size=32, seed=s) for s in (0, 0, 1))
    assert one.images.shape == (24, 32, 32)
    assert (one.images == same.images).all() and one.samples.equals(same.samples)
    assert (one.images != other.images).any()


def test_expressions_can_be_told_apart_on_average(faces):
    """The nearest class mean is far above chance (1/8), and far from perfect: they are no pictograms."""
    train, valid = faces.part("train"), faces.part("valid")

    def flat(part):
        x = part.images.reshape(len(part), -1).astype(float)
        return (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)

    x, codes = flat(train), train.label_codes()
    means = np.stack([x[codes == c].mean(0) for c in range(8)])
    guess = (flat(valid) @ means.T).argmax(1)
    assert 0.25 < (guess == valid.label_codes()).mean() < 0.9


def test_it_says_what_it_is(faces):
    assert "stand-in until the rendered faces come" in str(faces.account)
    assert "stand-in until the rendered faces come" in standin_faces.__doc__
    with pytest.raises(DataError, match="size of 16 pixels or more"):
        standin_faces(10, 10, size=8)
