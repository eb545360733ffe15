import io
import pickle

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.data.transforms import Category, Normalize
from fastai.interpret import ClassificationInterpretation
from fastai.learner import Learner, load_learner
from fastai.metrics import accuracy
from fastai.torch_core import TensorCategory, TensorImage
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn

from scn_fastai.data.loaders import FaceDataset, face_loaders, image_stats, plain_loader, shift_and_flip
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError

N_TRAIN, N_VALID, SIDE = 50, 21, 12


def make_faces(colour=False, seed=0):
    """Each image carries its row number in its middle pixels, so that batches can be checked."""
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_VALID
    images = rng.integers(100, 256, (n, SIDE, SIDE, 3) if colour else (n, SIDE, SIDE), dtype=np.uint8)
    images[:, 4:8, 4:8] = np.arange(n, dtype=np.uint8).reshape(-1, 1, 1, *([1] if colour else []))
    split = np.array(["train"] * N_TRAIN + ["valid"] * N_VALID, dtype=object)
    order = rng.permutation(n)  # splits lie mixed
    table = pd.DataFrame({"image": [f"{i}" for i in range(n)], "split": split[order]})
    table["label"] = np.array(["sad", "glad", "mad"])[np.arange(n) % 3]
    return FaceSet(table, ["sad", "glad", "mad"], images, ReadAccount("made"))


@pytest.fixture
def dls():
    return face_loaders(make_faces(), batch_size=8, device="cpu")


def small_model(classes=3):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))


def learner(dls, tmp_path):
    learn = Learner(dls, small_model(), metrics=accuracy, path=tmp_path)
    learn.remove_cbs(learn.cbs.filter(lambda cb: cb.name == "progress"))
    return learn


def numbers(x, dls):
    """The row number that make_faces wrote into each image."""
    norm = dls.train.after_batch.fs.filter(lambda tfm: isinstance(tfm, Normalize))[0]
    pixels = (x.as_subclass(torch.Tensor) * norm.std + norm.mean)[:, 0, 5:7, 5:7] * 255
    return pixels.flatten(1).median(1).values.round().long()


def test_is_an_ordinary_dataloaders(dls):
    assert isinstance(dls, DataLoaders)
    assert dls.c == 3 and list(dls.vocab) == ["sad", "glad", "mad"] and dls.n_inp == 1
    x, y = dls.one_batch()
    assert type(x) is TensorImage and type(y) is TensorCategory
    assert x.shape == (8, 3, SIDE, SIDE) and x.dtype == torch.float32 and y.dtype == torch.long
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert len(dls.train) == N_TRAIN // 8 and len(dls.valid) == -(-N_VALID // 8)
    assert len(dls.train_ds) == N_TRAIN and len(dls.valid_ds) == N_VALID


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("colour", [False, True])
def test_batch_index_names_the_samples_of_the_batch(workers, colour):
    faces = make_faces(colour)
    dls = face_loaders(faces, 8, augment=False, num_workers=workers, device="cpu")
    rows, seen = faces.rows("train"), []
    for x, y in dls.train:
        index = dls.train.batch_index
        assert torch.equal(torch.as_tensor(y), dls.train_ds.labels[index])
        assert torch.equal(numbers(x, dls), torch.as_tensor(rows[index]))
        seen.append(index)
    seen = torch.cat(seen)
    assert len(seen) == N_TRAIN // 8 * 8 and len(seen.unique()) == len(seen)
    assert not torch.equal(seen, seen.sort().values)


def test_labels_and_items_of_the_data_set(dls):
    faces = make_faces()
    expected = faces.label_codes()[faces.rows("train")]
    assert torch.equal(dls.train_ds.labels, torch.from_numpy(expected))
    x, y = dls.train_ds[3]
    assert type(x) is TensorImage and x.shape == (3, SIDE, SIDE) and int(y) == expected[3]
    assert (x[0, 5, 5] == faces.rows("train")[3]).all()


def test_order_and_augmentation_repeat_from_torch_state_alone(dls):
    list(dls.train)
    state = torch.get_rng_state()
    first = [(x.clone(), dls.train.batch_index) for x, _ in dls.train]
    again = face_loaders(make_faces(), batch_size=8, device="cpu")
    torch.set_rng_state(state)
    second = [(x.clone(), again.train.batch_index) for x, _ in again.train]
    assert all(torch.equal(a, b) and torch.equal(i, j) for (a, i), (b, j) in zip(first, second, strict=True))


def test_validation_draws_no_random_numbers(dls):
    state = torch.get_rng_state()
    one, two = list(dls.valid), list(dls.valid)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(one, two, strict=True))


def test_only_training_batches_are_augmented(dls):
    plain = plain_loader(dls)
    x = torch.cat([b[0] for b in plain])
    assert len(x) == N_TRAIN and torch.equal(numbers(x, dls), torch.from_numpy(make_faces().rows("train")))
    augmented = next(iter(dls.train))[0]
    assert not torch.equal(augmented, x[dls.train.batch_index])


def test_shift_and_flip_moves_each_image_on_its_own():
    for shape in ((3, 5, 6), (3, 5, 6, 3)):
        x = torch.randint(0, 256, shape, dtype=torch.uint8)
        out = shift_and_flip(x, torch.tensor([0, 1, -2]), torch.tensor([0, -1, 3]), torch.tensor([0, 0, 1]))
        assert torch.equal(out[0], x[0])
        assert torch.equal(out[1, 1:, :-1], x[1, :-1, 1:]) and torch.equal(out[1, 0, :-1], x[1, 0, 1:])
        assert torch.equal(out[2, :-2, 3:], x[2].flip(1)[2:, :-3])
        assert out.dtype == torch.uint8


def test_normalised_by_the_training_images_and_decoded_back():
    faces = make_faces(colour=True)
    dls = face_loaders(faces, 50, augment=False, device="cpu")
    x = next(iter(dls.train))[0].as_subclass(torch.Tensor)
    assert x.mean((0, 2, 3)).abs().max() < 1e-4 and (x.std((0, 2, 3)) - 1).abs().max() < 1e-2
    mean, std = image_stats(faces.images, faces.rows("train"))
    pixels = faces.images[faces.rows("train")] / 255
    np.testing.assert_allclose(mean, pixels.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(std, pixels.std((0, 1, 2)), atol=1e-6)
    valid = dls.valid.one_batch()
    decoded = dls.valid.decode(valid)[0].as_subclass(torch.Tensor)
    original = torch.from_numpy(faces.images[faces.rows("valid")]).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(decoded, original, atol=1e-5, rtol=0)


def test_own_statistics_and_size():
    dls = face_loaders(make_faces(), 8, size=20, stats=([0.5] * 3, [0.5] * 3), device="cpu")
    x, _ = dls.one_batch()
    assert x.shape == (8, 3, 20, 20) and x.min() >= -1 and x.max() <= 1
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_shows_and_decodes_batches(dls):
    dls.show_batch(max_n=4)
    dls.valid.show_batch(max_n=2)
    sample = dls.decode_batch(dls.one_batch(), max_n=2)
    assert len(sample) == 2 and isinstance(sample[0][1], Category) and sample[0][1] in dls.vocab
    plt.close("all")


def test_fits_predicts_and_shows_results(dls, tmp_path):
    learn = learner(dls, tmp_path)
    with learn.no_logging():
        learn.fit(1)
    preds, targets = learn.get_preds()
    assert preds.shape == (N_VALID, 3) and torch.equal(torch.as_tensor(targets), dls.valid_ds.labels)
    train_preds, train_targets = learn.get_preds(ds_idx=0, reorder=True)
    assert len(train_preds) == N_TRAIN and torch.equal(torch.as_tensor(train_targets), dls.train_ds.labels)
    learn.show_results(max_n=4)
    interp = ClassificationInterpretation.from_learner(learn)
    assert interp.confusion_matrix().sum() == N_VALID
    interp.plot_top_losses(3)
    plt.close("all")


def test_test_dl_takes_paths_images_and_arrays(dls, tmp_path):
    faces = make_faces()
    learn, images = learner(dls, tmp_path), faces.images[faces.rows("valid")][:3]
    buffer = io.BytesIO()
    Image.fromarray(images[0]).convert("RGB").save(buffer, "PNG")
    (tmp_path / "one.png").write_bytes(buffer.getvalue())
    expected = learn.get_preds()[0][:3]
    for items in (images, list(images), [Image.fromarray(i) for i in images], torch.from_numpy(images)):
        preds, targets = learn.get_preds(dl=dls.test_dl(items))
        assert targets is None
        torch.testing.assert_close(preds, expected)
    for item in (tmp_path / "one.png", str(tmp_path / "one.png"), buffer.getvalue()):
        name, code, probs = learn.predict(item)
        assert name == dls.vocab[int(code)] and probs.shape == (3,)
        torch.testing.assert_close(probs, expected[0])
    larger = Image.fromarray(images[0]).resize((40, 30))
    assert dls.test_dl([larger]).one_batch()[0].shape == (1, 3, SIDE, SIDE)
    labelled = dls.test_dl(dls.valid_ds.items[:4], with_labels=True)
    assert torch.equal(torch.as_tensor(labelled.one_batch()[1]), dls.valid_ds.labels[:4])


def test_bad_items_are_one_sentence(dls, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="There is no image at nowhere.png: check the path"):
        dls.test_dl(["nowhere.png"])
    with pytest.raises(DataError, match="text.png cannot be read"):
        dls.test_dl([tmp_path / "text.png"])
    with pytest.raises(DataError, match="cannot be read from a int: give paths"):
        dls.test_dl([3])
    with pytest.raises(DataError, match=r"must be uint8 of shape \[H, W\]"):
        dls.test_dl([np.zeros((4, 4))])


def test_export_carries_no_images(dls, tmp_path):
    learn = learner(dls, tmp_path)
    before = learn.predict(make_faces().images[0])[2]
    secret = dls.train_ds.images[dls.train_ds.rows[0]].tobytes()
    learn.export("small.pkl")
    data = (tmp_path / "small.pkl").read_bytes()
    assert len(data) < 40_000 and secret not in data and secret[:60] not in data
    assert learn.dls is dls and len(dls.train_ds) == N_TRAIN
    with pytest.warns(UserWarning, match="pickle"):
        loaded = load_learner(tmp_path / "small.pkl")
    assert len(loaded.dls.train_ds) == 0 and list(loaded.dls.vocab) == list(dls.vocab)
    torch.testing.assert_close(loaded.predict(make_faces().images[0])[2], before)


def test_data_set_pickles_without_its_cache(dls):
    list(dls.valid)
    again = pickle.loads(pickle.dumps(dls.valid_ds))
    assert isinstance(again, FaceDataset) and again._resident == {} and len(again) == N_VALID


def test_new_keeps_and_changes_settings(dls):
    ordered = dls.train.new(shuffle=False, drop_last=False, bs=N_TRAIN)
    (_, y), *rest = list(ordered)
    assert not rest and torch.equal(torch.as_tensor(y), dls.train_ds.labels)
    weighted = dls.train.new(get_idxs=lambda: [4] * 16)
    assert all((weighted.batch_index == 4).all() for _ in weighted)


def test_reads_a_memory_map_without_copying_it(tmp_path):
    faces = make_faces()
    np.save(tmp_path / "faces.npy", faces.images)
    mapped = FaceSet(faces.samples, faces.classes, np.load(tmp_path / "faces.npy", mmap_mode="r"), faces.account)
    dls = face_loaders(mapped, 8, augment=False, device="cpu")
    assert isinstance(dls.train_ds.images, np.memmap)
    for x, _ in dls.train:
        assert torch.equal(numbers(x, dls), torch.as_tensor(faces.rows("train")[dls.train.batch_index]))


def test_bad_settings_are_one_sentence():
    faces = make_faces()
    with pytest.raises(DataError, match="There are no valid faces in made: mark some as valid"):
        face_loaders(faces.part("train"), device="cpu")
    with pytest.raises(DataError, match="batch size of 0 makes no sense"):
        face_loaders(faces, batch_size=0, device="cpu")
    with pytest.raises(DataError, match="image size of -3 pixels makes no sense"):
        face_loaders(faces, size=-3, device="cpu")
    with pytest.raises(DataError, match="A batch of 51 is more than the 50 training faces"):
        face_loaders(faces, 51, device="cpu")
    faces.samples.loc[4, "label"] = None
    with pytest.raises(DataError, match="Row 4 .4. has no label in column 'label'"):
        face_loaders(faces, device="cpu")


@pytest.mark.gpu
def test_same_batches_on_a_gpu():
    faces = make_faces()
    cpu, gpu = (face_loaders(faces, 8, device=device) for device in ("cpu", "cuda"))
    torch.manual_seed(1)
    first = [b[0] for b in cpu.train]
    torch.manual_seed(1)
    second = [b[0] for b in gpu.train]
    assert gpu.train.batch_index.is_cuda
    assert all(torch.allclose(a, b.cpu(), atol=1e-5) for a, b in zip(first, second, strict=True))
