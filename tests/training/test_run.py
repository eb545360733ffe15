"""Saving and resuming: what a run's folder holds, what survives a failure, and that a resume changes no bit."""

import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  (gives Learner its fit_one_cycle)
from fastai.learner import Callback, Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from fastai.optimizer import SGD, Adam, OptimWrapper
from fastai.torch_core import set_seed
from fastai.vision.augment import Flip, RandomCrop
from fastai.vision.data import ImageDataLoaders
from PIL import Image
from torch import nn

from scn_fastai import Run, SCNCallback, flip_labels
from scn_fastai.data.loaders import face_loaders
from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError, RunError
from scn_fastai.training import run as run_module
from scn_fastai.training.network import small_network

CLASSES = ["平静", "高兴", "惊讶 surprise"]
OFF = {"weight": False, "rank": False, "relabel": False, "relabel_from": 10}
BUSY = {"relabel_from": 1, "relabel_margin": 0.0}  # relabels for certain, after an epoch
RECIPES = {
    "plain": ("paper", OFF),
    "default": ("default", BUSY),
    "paper": ("paper", BUSY | {"scope": "all"}),
    "learnable": ("default", BUSY | {"learn_margin": True}),
}
EPOCHS, BATCH = 4, 16
SEEN_WHOLE = {"samples.parquet", "ledger.parquet", "history", "settings.json", "model.safetensors", "resume"}


def torch_sgd(params, lr, **_):
    return OptimWrapper(params, partial(torch.optim.SGD, momentum=0.9, fused=True), lr=lr)


def make_faces(n_train=70, n_valid=16, seed=3):
    """Noisy squares, brighter by class, a third of the training labels wrong; 70 is no multiple of 16."""
    rng = np.random.default_rng(seed)
    true = np.arange(n_train + n_valid) % 3
    images = (rng.integers(0, 90, (len(true), 20, 20)) + 80 * true[:, None, None]).astype(np.uint8)
    table = pd.DataFrame({"image": [f"脸{i}.png" for i in range(len(true))], "label": np.array(CLASSES)[true]})
    table["split"] = ["train"] * n_train + ["valid"] * n_valid
    faces = FaceSet(table, CLASSES, images, ReadAccount("squares", len(table)))
    return faces.with_labels(flip_labels(true[:n_train], 0.33, seed=seed, classes=3).labels)


def squares_on_disk(folder):
    """The same squares as an ordinary folder of PNG files, by class."""
    faces = make_faces()
    for i, (pixels, row) in enumerate(zip(faces.images, faces.samples.itertuples(), strict=True)):
        place = folder / row.split / row.label
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:03d}.png")
    return folder


def folder_loaders(pictures):
    augment = {"item_tfms": RandomCrop(18), "batch_tfms": Flip(p=0.5)}
    return ImageDataLoaders.from_folder(pictures, valid="valid", bs=BATCH, num_workers=0, device="cpu", **augment)


def make_learner(folder, recipe="default", pictures=None, opt_func=torch_sgd, model=None, cbs=()):
    """A Learner that is the same to the bit each time it is made."""
    set_seed(1)
    faces = make_faces()
    dls = face_loaders(faces, BATCH, device="cpu") if pictures is None else folder_loaders(pictures)
    preset, changes = RECIPES[recipe]
    run = folder if pictures is not None or folder is None else Run(folder, faces.samples, CLASSES, {"about": "a test"})
    scn = SCNCallback(preset, run=run, **changes)
    model = model or small_network(3, width=4)
    return Learner(dls, model, CrossEntropyLossFlat(), opt_func, metrics=accuracy, cbs=[scn, *cbs])


def train(learn, start=0, epochs=EPOCHS):
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, 0.05, start_epoch=start)
    return learn


class StopAt(Callback):
    """An interrupt in the middle of an epoch, after its second batch."""

    order = 80

    def __init__(self, epoch, act=None):
        self.at, self.act = epoch, act

    def after_batch(self):
        if self.training and self.epoch == self.at and self.learn.iter == 1:
            (self.act or signal.raise_signal)(signal.SIGINT)


def interrupted(folder, **how):
    """A training that Ctrl-C ended in its third epoch."""
    with pytest.raises(KeyboardInterrupt):
        train(make_learner(folder, cbs=[StopAt(2)], **how))


def spoil_random_state():
    """A new process has other generators: make sure that nothing depends on those of this one."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def flat(state, name="opt"):
    """The leaves of nested dicts and lists, by path."""
    if isinstance(state, dict):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{name}/{key}").items()}
    if isinstance(state, list | tuple) or type(state).__name__ == "L":
        return {k: v for i, value in enumerate(state) for k, v in flat(value, f"{name}/{i}").items()}
    return {name: state}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    return a == b


def assert_same_run(a, b):
    """Weights, optimizer, labels, record, history and evidence of two Learners are equal to the bit."""
    for states in ((a.model.state_dict(), b.model.state_dict()), (a.opt.state_dict(), b.opt.state_dict())):
        left, right = (flat(state) for state in states)
        assert left.keys() == right.keys()
        assert [name for name in left if not same(left[name], right[name])] == []
    assert_same_records(a.scn.ledger, a.scn.history, b.scn.ledger, b.scn.history)


def assert_same_records(ledger, history, other_ledger, other_history):
    pd.testing.assert_frame_equal(ledger.rows(), other_ledger.rows(), check_exact=True)
    assert torch.equal(ledger.given, other_ledger.given) and torch.equal(ledger.current, other_ledger.current)
    assert ledger.classes == other_ledger.classes
    assert torch.equal(ledger.state()["held"], other_ledger.state()["held"])
    pd.testing.assert_frame_equal(history.frame(), other_history.frame(), check_exact=True)
    for name in ("alpha", "logits", "low"):
        np.testing.assert_array_equal(getattr(history, name), getattr(other_history, name))
    assert torch.equal(history.evidence, other_history.evidence)
    assert torch.equal(history.evidence_count, other_history.evidence_count)


def files_of(folder):
    """Content of every file in a folder, by its path there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return squares_on_disk(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(a trained Learner, its folder): not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "跑"
    learn = train(make_learner(folder))
    return learn, folder


@pytest.fixture
def copy(trained, tmp_path):
    """A copy of the trained run's folder."""
    return Path(shutil.copytree(trained[1], tmp_path / "copy"))


# ---- what is saved ----


def test_everything_comes_back(trained):
    learn, folder = trained
    run = Run.load(folder)
    assert len(learn.scn.ledger) and not learn.scn.history.seen.all()  # labels changed, and some samples never seen
    assert_same_records(run.ledger, run.history, learn.scn.ledger, learn.scn.history)
    assert run.classes == CLASSES and run.settings["about"] == "a test"
    assert run.settings["scn"] == learn.scn.settings.as_dict()
    assert set(run.settings["versions"]) >= {"torch", "fastai", "scn_fastai", "python"}
    pd.testing.assert_frame_equal(run.samples, make_faces().samples, check_dtype=False)
    assert run.truth.tolist() == [i % 3 for i in range(70)]
    weights = {k: v for k, v in learn.model.state_dict().items() if isinstance(v, torch.Tensor)}
    assert run.weights().keys() == weights.keys()
    assert all(torch.equal(run.weights()[name], weights[name]) for name in weights)


def test_saving_what_was_loaded_gives_the_same_run(copy):
    run = Run.load(copy)
    run.save(run.weights())
    again = Run.load(copy)
    assert_same_records(run.ledger, run.history, again.ledger, again.history)
    assert torch.equal(run.weights(before=True)["0.weight"], again.weights(before=True)["0.weight"])


def test_the_folder_holds_open_formats_only(trained):
    files = files_of(trained[1])
    top = {name.split("/")[0] for name in files}
    assert top == SEEN_WHOLE | {"model_before.safetensors"}
    assert {name for name in files if Path(name).suffix not in (".parquet", ".safetensors", ".json")} == {
        "resume/state.pt"
    }
    torch.load(trained[1] / "resume" / "state.pt", weights_only=True)
    json.loads(files["settings.json"])
    assert all(content[:4] == b"PAR1" for name, content in files.items() if name.endswith(".parquet"))
    for name in files:
        if name.endswith(".safetensors"):
            safetensors.torch.load_file(trained[1] / name)


def test_the_weights_before_relabeling_are_those_of_the_epoch_before(tmp_path):
    kept = {}

    class Keep(Callback):
        order = 80

        def after_epoch(self):
            kept[self.epoch] = safetensors.torch.load_file(tmp_path / "run" / "model.safetensors")

    learn = train(make_learner(tmp_path / "run", cbs=[Keep()]))
    first = learn.scn.history.frame()["relabeling"].tolist().index(True)
    before = Run.load(tmp_path / "run").weights(before=True)
    assert first > 0
    assert all(torch.equal(before[name], kept[first - 1][name]) for name in before)
    assert not torch.equal(before["0.weight"], kept[first]["0.weight"])


def test_a_run_that_does_not_relabel_has_no_weights_before(tmp_path):
    train(make_learner(tmp_path / "run", "plain"), epochs=1)
    assert {path.name for path in (tmp_path / "run").iterdir()} == SEEN_WHOLE
    with pytest.raises(RunError, match="run has no model_before.safetensors: this run did not relabel"):
        Run.load(tmp_path / "run").weights(before=True)


def test_a_persons_decision_comes_back(copy):
    run = Run.load(copy)
    others = [(int(label) + 1) % 3 for label in run.ledger.current[:2]]
    for sample, label in enumerate(others):
        run.ledger.override(sample, label)
    run.ledger.undo([1])
    run.save(run.weights())
    again = Run.load(copy)
    assert_same_records(run.ledger, run.history, again.ledger, again.history)
    assert int(again.ledger.current[0]) == others[0] and again.ledger.rows()["by"].tolist()[-1] == "undo"


def test_ordinary_fastai_loaders_name_their_files(tmp_path, pictures):
    train(make_learner(tmp_path / "run", pictures=pictures), epochs=1)
    table = Run.load(tmp_path / "run").samples
    assert all(Path(name).is_file() for name in table["image"])
    assert [Path(name).parent.name for name in table["image"]] == table["label"].tolist()


def test_tied_weights_and_paths_in_the_table_can_be_saved(trained, tmp_path):
    faces = make_faces()
    table = faces.samples.assign(image=[Path(name) for name in faces.samples["image"]])
    run = Run(tmp_path / "run", table, CLASSES, {"path": Path("faces")})
    run.ledger, run.history = trained[0].scn.ledger, trained[0].scn.history
    run.settings |= {"classes": CLASSES}
    weight = torch.rand(3, 3)
    run.save({"a": weight, "b": weight, "c": weight.T})
    again = Run.load(tmp_path / "run")
    assert torch.equal(again.weights()["c"], weight.T) and torch.equal(again.weights()["b"], weight)
    assert again.samples["image"][0] == "脸0.png"


# ---- a new training in an old folder, and what else lies there ----


def test_a_new_training_keeps_nothing_of_an_older_one(copy):
    (copy / "summary.json").write_text("{}")
    (copy / "report.html").write_text("<p>mine</p>")
    learn = make_learner(copy, "plain")
    learn.scn.saved.samples["image"] = "another"
    train(learn, epochs=1)
    assert {path.name for path in copy.iterdir()} == SEEN_WHOLE | {"report.html"}
    assert Run.load(copy).samples["image"].unique().tolist() == ["another"]


def test_what_a_user_put_into_the_folder_stays(tmp_path):
    class Put(Callback):
        order = 80

        def after_epoch(self):
            run = tmp_path / "run"
            if self.epoch == 0:
                (run / "sub" / "empty").mkdir(parents=True)
                (run / "sub" / "notes.txt").write_text("笔记")
                (run / "report.html").write_text("<p>report</p>")
                (run / "link").symlink_to(tmp_path, target_is_directory=True)

    train(make_learner(tmp_path / "run", cbs=[Put()]), epochs=3)
    run = tmp_path / "run"
    assert Run.load(run).history.epoch == 3
    assert (run / "sub" / "notes.txt").read_text() == "笔记" and (run / "sub" / "empty").is_dir()
    assert (run / "report.html").read_text() == "<p>report</p>" and (run / "link").is_symlink()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# ---- a save that fails ----


def fail_on(monkeypatch, owner, name, call, error):
    """Make the call number `call` of a function fail."""
    original, calls = getattr(owner, name), []

    def failing(*args, **kwargs):
        calls.append(name)
        if len(calls) == call:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


FULL = OSError(28, "No space left on device")
SERIALIZE = safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
FAILURES = [
    (safetensors.torch, "save_file", 1, FULL),
    (safetensors.torch, "save_file", 2, SERIALIZE),
    (safetensors.numpy, "save_file", 1, FULL),
    (torch, "save", 1, RuntimeError("unexpected pos 64 vs 0: No space left on device\nmore")),
    (pd.DataFrame, "to_parquet", 2, FULL),
    (run_module.os, "rename", 1, OSError(13, "No space left on device")),
    (run_module.os, "rename", 2, OSError(13, "No space left on device")),
]


@pytest.mark.parametrize("owner, name, call, error", FAILURES)
def test_a_full_disk_leaves_the_epoch_before(trained, copy, monkeypatch, owner, name, call, error):
    before, run = files_of(copy), Run.load(copy)
    with monkeypatch.context() as patch:
        fail_on(patch, owner, name, call, error)
        with pytest.raises(RunError, match=r"could not be saved to .*copy \(.*No space left on device.*\): make room"):
            run.save(run.weights(), {"opt": {}, "random": {}})
    assert files_of(copy) == before
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]
    assert_same_records(Run.load(copy).ledger, run.history, trained[0].scn.ledger, trained[0].scn.history)
    run.save(run.weights())  # and the next one goes through
    assert Run.load(copy).history.epoch == EPOCHS


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_file_that_really_cannot_be_written(copy):
    import resource

    run, before = Run.load(copy), files_of(copy)
    weights = {"large": torch.zeros(2_000_000)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, limits[1]))
    try:
        with pytest.raises(RunError, match="could not be saved"):
            run.save(weights)
        with pytest.raises(RunError, match="could not be saved"):
            run.save(run.weights(), {"opt": weights})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert files_of(copy) == before


def test_a_full_disk_in_training_is_one_sentence(tmp_path, monkeypatch):
    fail_on(monkeypatch, safetensors.torch, "save_file", 4, FULL)  # evidence and weights, in the second epoch
    learn = make_learner(tmp_path / "run")
    with pytest.raises(RunError, match=r"^The run could not be saved to [^\n]*$"):
        train(learn)
    assert Run.load(tmp_path / "run").history.epoch == 1


def test_a_place_that_cannot_be_is_one_sentence(trained, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    run = Run(tmp_path / "file" / "run", make_faces().samples, CLASSES)
    run.ledger, run.history = trained[0].scn.ledger, trained[0].scn.history
    with pytest.raises(RunError, match=r"could not be saved to .* \(Not a directory\)"):
        run.save({})
    monkeypatch.chdir(tmp_path)
    run.folder = Path(".")
    with pytest.raises(RunError, match="is the working directory, and a run needs a folder of its own"):
        run.save({})


class Killed(BaseException):
    """Stands for a process that ends at once: nothing in the code catches it."""


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_kill_within_the_swap_is_mended(copy, monkeypatch, call):
    """Before the first rename, between the two, and before the user's file has moved over."""
    (copy / "report.html").write_text("mine")
    run = Run.load(copy)
    with monkeypatch.context() as patch:
        fail_on(patch, run_module.os, "rename", call, Killed())
        with pytest.raises(Killed):
            run.save(run.weights())
    assert copy.exists() == (call != 2)
    again = Run.load(copy)
    assert_same_records(again.ledger, again.history, run.ledger, run.history)
    again.save(again.weights())
    assert (copy / "report.html").read_text() == "mine" and (copy / "model_before.safetensors").exists()
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


# ---- going on ----

WAYS = [
    ("plain", torch_sgd, False),
    ("default", torch_sgd, False),
    ("default", Adam, False),
    ("paper", torch_sgd, False),
    ("learnable", partial(SGD, mom=0.9), False),
    ("plain", Adam, True),
    ("default", Adam, True),
    ("paper", Adam, True),
]


@pytest.mark.parametrize("recipe, opt_func, files", WAYS)
def test_a_resumed_training_equals_one_without_interruption(tmp_path, pictures, recipe, opt_func, files):
    how = {"recipe": recipe, "opt_func": opt_func, "pictures": pictures if files else None}
    whole = train(make_learner(tmp_path / "whole", **how))
    interrupted(tmp_path / "broken", **how)
    learn = make_learner(tmp_path / "broken", **how)
    spoil_random_state()
    start = Run.load(tmp_path / "broken").resume(learn)
    assert start == 2
    train(learn, start)
    assert_same_run(learn, whole)
    assert bool(len(whole.scn.ledger)) == (recipe != "plain")
    ends = [files_of(tmp_path / name) for name in ("whole", "broken")]
    assert ends[0].keys() == ends[1].keys()
    for name in ("model.safetensors", "model_before.safetensors"):
        assert ends[0].get(name) == ends[1].get(name)


def test_the_same_learner_goes_on_after_an_interrupt(tmp_path):
    whole = train(make_learner(tmp_path / "whole"))
    learn = make_learner(tmp_path / "broken", cbs=[StopAt(2)])
    with pytest.raises(KeyboardInterrupt):
        train(learn)
    learn.stop_at.at = 3
    with pytest.raises(KeyboardInterrupt):
        train(learn, Run.load(tmp_path / "broken").resume(learn))
    learn.remove_cb(StopAt)
    train(learn, Run.load(tmp_path / "broken").resume(learn))
    assert_same_run(learn, whole)


def test_the_epochs_that_a_resume_skips_write_nothing(tmp_path):
    """An interrupted Learner that goes on and is killed at once can be resumed to the same bits all the same."""
    learn = make_learner(tmp_path / "run", cbs=[StopAt(2)])
    with pytest.raises(KeyboardInterrupt):
        train(learn)
    before = files_of(tmp_path / "run")
    spoil_random_state()
    with pytest.raises(KeyboardInterrupt):
        train(learn, Run.load(tmp_path / "run").resume(learn))
    assert files_of(tmp_path / "run") == before


def test_a_training_interrupted_twice(tmp_path):
    whole = train(make_learner(tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        train(make_learner(tmp_path / "broken", cbs=[StopAt(1)]))
    for stop in (3, None):
        learn = make_learner(tmp_path / "broken", cbs=[] if stop is None else [StopAt(stop)])
        start = Run.load(tmp_path / "broken").resume(learn)
        if stop is None:
            assert_same_run(train(learn, start), whole)
            continue
        with pytest.raises(KeyboardInterrupt):
            train(learn, start)


def test_the_generators_come_back_with_their_halves(tmp_path, trained):
    """Gaussian numbers are drawn in pairs, and the second of a pair is part of the state."""
    learn = trained[0]
    random.gauss(0, 1), np.random.standard_normal()
    state = run_module._random_state(learn)
    torch.save(run_module._plain(state), tmp_path / "state.pt")
    expected = random.gauss(0, 1), np.random.standard_normal(), torch.rand(1), learn.dls.train.rng.random()
    spoil_random_state()
    run_module._set_random_state(learn, torch.load(tmp_path / "state.pt", weights_only=True))
    assert (random.gauss(0, 1), np.random.standard_normal(), torch.rand(1), learn.dls.train.rng.random()) == expected


def wait_to_be_killed(*_):
    print("waiting", flush=True)
    signal.pause()


def train_until_killed(folder, threads):
    torch.set_num_threads(threads)
    train(make_learner(folder, cbs=[StopAt(2, wait_to_be_killed)]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_a_killed_process_loses_the_running_epoch_and_no_more(tmp_path):
    code = "import sys, test_run; test_run.train_until_killed(sys.argv[1], int(sys.argv[2]))"
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path / "killed"), str(torch.get_num_threads())]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "waiting\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    learn = make_learner(tmp_path / "killed")
    start = Run.load(tmp_path / "killed").resume(learn)
    assert start == 2
    assert_same_run(train(learn, start), train(make_learner(None)))


# ---- refusals: one sentence each ----


def refused(match):
    return pytest.raises(RunError, match=rf"^[^\n]*{match}[^\n]*$")


def test_a_path_that_is_not_there(tmp_path):
    with refused("There is no run at .*nowhere: check the path"):
        Run.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with refused("There is no run at .*file: check the path"):
        Run.load(tmp_path / "file")


@pytest.mark.parametrize("name", run_module.MUST_HAVE)
def test_a_missing_file(copy, name):
    (copy / name).unlink()
    with refused(f"is not a whole run: {name} is missing"):
        Run.load(copy)


DAMAGES = [
    ("settings.json", b"{"),
    ("settings.json", b"[]"),
    ("settings.json", b"{}"),
    ("settings.json", b"\xff\xfe"),
    ("samples.parquet", b"PAR1"),
    ("ledger.parquet", b""),
    ("history/epochs.parquet", b"PAR1 nothing PAR1"),
    ("history/epoch_0001.safetensors", b"\x08"),
    ("history/epoch_0002.safetensors", None),
    ("history/evidence.safetensors", b""),
]


@pytest.mark.parametrize("name, content", DAMAGES)
def test_a_damaged_file(copy, name, content):
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    with refused(r"copy cannot be read \(.*\): a file in it is damaged; use another copy"):
        Run.load(copy)


def test_a_truncated_file(copy):
    for name, content in files_of(copy).items():
        if Path(name).suffix == ".parquet":
            (copy / name).write_bytes(content[: len(content) // 2])
            with refused("a file in it is damaged"):
                Run.load(copy)
            (copy / name).write_bytes(content)


def test_damaged_weights(copy):
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-9])
    with refused("copy cannot be read .*a file in it is damaged"):
        Run.load(copy).weights()
    with refused("copy cannot be read .*a file in it is damaged"):
        Run.load(copy).resume(make_learner(None))


def test_a_newer_format(copy):
    settings = json.loads((copy / "settings.json").read_text())
    (copy / "settings.json").write_text(json.dumps({"format": settings["format"] + 1}))
    with refused(r"has format 2, and this version of scn_fastai reads up to 1: update scn_fastai"):
        Run.load(copy)


def test_a_ledger_of_other_classes(copy):
    settings = json.loads((copy / "settings.json").read_text())
    (copy / "settings.json").write_text(json.dumps(settings | {"classes": ["a", "b", "c"]}))
    with refused("copy cannot be read"):
        Run.load(copy)


def test_resume_by_another_network(copy):
    with refused("was trained with another network or optimizer: make the Learner as its settings.json says"):
        Run.load(copy).resume(make_learner(None, model=small_network(3, width=8)))
    other = nn.Sequential(nn.Flatten(), nn.Linear(1200, 3))
    with refused("was trained with another network or optimizer"):
        Run.load(copy).resume(make_learner(None, model=other))


def test_resume_by_another_optimizer(copy):
    with refused("was trained with another network or optimizer"):
        Run.load(copy).resume(make_learner(None, opt_func=Adam))


def test_resume_without_the_callback_or_the_state(copy):
    learn = make_learner(None)
    scn = learn.scn
    learn.remove_cb(scn)
    with refused("cannot be resumed by a Learner without SCNCallback"):
        Run.load(copy).resume(learn)
    shutil.rmtree(copy / "resume")
    with refused("cannot be resumed, for it has no resume/state.pt"):
        Run.load(copy).resume(make_learner(None))


def test_resume_with_other_data(copy, pictures):
    with pytest.raises(DataError, match="was made for another training set"):
        Run.load(copy).resume(make_learner(None, pictures=pictures))


class Hostile:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("write", [torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, protocol=2))])
def test_a_hostile_pickle_is_not_run(copy, tmp_path, write):
    mark = tmp_path / "hacked"
    write({"opt": Hostile(mark), "random": {}}, copy / "resume" / "state.pt")
    with refused("resume/state.pt is damaged or holds more than tensors"):
        Run.load(copy).resume(make_learner(None))
    assert not mark.exists()
    Hostile(mark).__reduce__()[0](str(mark))  # it would have
    assert mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_a_damaged_resume_state(copy, content):
    path = copy / "resume" / "state.pt"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with refused("resume/state.pt is damaged"):
        Run.load(copy).resume(make_learner(None))
