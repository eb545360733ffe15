import numpy as np
import pandas as pd
import pytest

from scn_fastai.data import samples
from scn_fastai.data.samples import FaceSet, ReadAccount, split_off
from scn_fastai.errors import DataError


def make(n_train=100, n_valid=10, classes=("b", "a")):
    """70 % of the training faces are 'b', 30 % 'a'; each image holds its row number."""
    label = ["b" if i % 10 < 7 else "a" for i in range(n_train)] + ["a"] * n_valid
    table = pd.DataFrame({"image": [f"f{i}" for i in range(len(label))], "label": label})
    table["split"] = ["train"] * n_train + ["valid"] * n_valid
    images = np.arange(len(label), dtype=np.uint8).reshape(-1, 1, 1).repeat(4, 1).repeat(4, 2)
    return FaceSet(table, list(classes), images, ReadAccount("made", len(table)))


def test_parts_keep_images_beside_their_rows():
    faces = make()
    valid = faces.part("valid")
    assert len(valid) == 10 and valid.samples["image"].iloc[0] == "f100" and valid.images[0, 0, 0] == 100
    assert list(valid.samples.index) == list(range(10))
    assert np.shares_memory(valid.images, faces.images)
    assert repr(faces) == "FaceSet(100 train, 10 valid; 4x4; classes: b, a)"


def test_take_by_position_mask_and_order():
    faces = make()
    assert list(faces.take([5, 3, -1]).images[:, 0, 0]) == [5, 3, 109]
    mask = np.zeros(110, bool)
    mask[[2, 9]] = True
    assert list(faces.take(mask).samples["image"]) == ["f2", "f9"]
    with pytest.raises(DataError, match="Row 110 is outside the 110 faces: use 0 to 109"):
        faces.take([0, 110])
    with pytest.raises(DataError, match="mask of 3 values does not fit 110 faces"):
        faces.take(np.array([True, False, True]))


@pytest.mark.parametrize("n, expected", [(10, 7), (50, 35), (99, 69), (100, 70), (1, 1)])
def test_limit_keeps_class_shares_exactly(n, expected):
    limited = make().limit(n, seed=3)
    train = limited.part("train")
    assert len(train) == n and len(limited.part("valid")) == 10
    assert (train.samples["label"] == "b").sum() == expected
    assert (limited.images[:, 0, 0] == [int(name[1:]) for name in limited.samples["image"]]).all()


def test_limit_is_seeded():
    one, same, other = (make().limit(30, seed=s).samples["image"].tolist() for s in (0, 0, 1))
    assert one == same and one != other
    for n in (0, 101):
        with pytest.raises(DataError, match=f"limit of {n} training faces does not fit the 100 there are"):
            make().limit(n)


def test_new_labels_keep_the_old_ones_as_truth():
    faces = make()
    flipped = faces.with_labels(["a"] * 100)
    assert set(flipped.part("train").samples["label"]) == {"a"}
    assert flipped.samples["true_label"].tolist() == faces.samples["label"].tolist()
    assert faces.samples.columns.tolist() == ["image", "label", "split"], "the first set stays as it was"
    again = flipped.with_labels(np.zeros(100, dtype=np.int64))
    assert set(again.part("train").samples["label"]) == {"b"}
    assert again.samples["true_label"].tolist() == faces.samples["label"].tolist()
    assert (again.part("valid").samples["label"] == "a").all()


def test_new_labels_that_do_not_fit():
    with pytest.raises(DataError, match="There are 3 new labels for 100 training faces"):
        make().with_labels(["a", "b", "a"])
    with pytest.raises(DataError, match="Label code 2 is outside the 2 classes: use 0 to 1"):
        make().with_labels(np.full(100, 2))
    with pytest.raises(DataError, match="is labelled 'c', which is not a class"):
        make().with_labels(["c"] * 100)


def test_label_codes_follow_the_order_of_classes():
    codes = make().label_codes()
    assert codes.dtype == np.int64 and codes[:10].tolist() == [0] * 7 + [1] * 3
    assert make(classes=("a", "b")).label_codes()[0] == 1


def test_label_outside_the_classes_is_named():
    faces = make()
    faces.samples.loc[4, "label"] = "joy"
    with pytest.raises(DataError, match=r"Row 4 \(f4\) is labelled 'joy', which is not a class.*are b, a"):
        faces.label_codes()
    with pytest.raises(DataError, match="The table has no column 'true_label'"):
        faces.label_codes("true_label")


def test_a_set_that_does_not_fit_together():
    good = make()
    with pytest.raises(DataError, match="110 rows but there are 7 images"):
        FaceSet(good.samples, good.classes, good.images[:7], good.account)
    with pytest.raises(DataError, match="no column 'split'"):
        FaceSet(good.samples.drop(columns="split"), good.classes, good.images, good.account)
    with pytest.raises(DataError, match="must be uint8"):
        FaceSet(good.samples, good.classes, good.images / 255, good.account)
    with pytest.raises(DataError, match="Split 'dev' in row 0 is unknown"):
        FaceSet(good.samples.assign(split="dev"), good.classes, good.images, good.account)
    with pytest.raises(DataError, match="There is no split 'all'"):
        good.part("all")


def test_split_off_takes_a_share_of_every_class():
    labels = np.array(["a"] * 50 + ["b"] * 10 + ["c"])
    mask = split_off(labels, 0.2, seed=1)
    assert [mask[labels == c].sum() for c in "abc"] == [10, 2, 0]
    assert (split_off(labels, 0.2, seed=1) == mask).all() and (split_off(labels, 0.2, seed=2) != mask).any()


def test_account_stays_short():
    account = ReadAccount("x", 3, problems=[(f"{i}.png", "broken") for i in range(9)])
    account.drop("broken", 9)
    account.drop("never", 0)
    text = str(account)
    assert text.startswith("x: 3 faces read, 9 dropped\n  dropped 9: broken") and "never" not in text
    assert text.count(".png") == 5 and text.endswith("and 4 more problems in `account.problems`")


def test_no_torch_is_needed():
    assert "torch" not in vars(samples)
