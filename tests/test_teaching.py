"""What the notebooks stand on: modes, the run that is studied, a batch of it, checkpoints."""

import numpy as np
import pytest
import torch

from scn_fastai import teaching
from scn_fastai.core import attention_weights
from scn_fastai.errors import SettingsError
from scn_fastai.teaching import batch_of, checkpoint, lesson, mode, study_run
from scn_fastai.training.network import network_of
from scn_fastai.training.predict import prepare
from scn_fastai.training.run_images import run_images
from scn_fastai.training.score import score_batches


@pytest.fixture(scope="module")
def shipped():
    run = study_run()
    return run, run_images(run)


def test_the_mode_is_a_word_of_the_environment(monkeypatch):
    monkeypatch.delenv("SCN_MODE", raising=False)
    assert mode() == "class" and lesson() is None
    for word in ("smoke", "full"):
        monkeypatch.setenv("SCN_MODE", word)
        assert mode() == word and lesson().folder.name == f"{word}-default"
    monkeypatch.setenv("SCN_MODE", "fast")
    with pytest.raises(SettingsError, match="class, smoke or full"):
        mode()


def test_smoke_trains_once(monkeypatch, tmp_path, small_pack):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCN_DATA", str(small_pack))
    monkeypatch.setenv("SCN_MODE", "smoke")
    monkeypatch.setitem(teaching.LENGTHS, "smoke", (96, 2))
    run = study_run()
    stamp = (run.folder / "model.safetensors").stat().st_mtime_ns
    assert run.history.epoch == 2 and len(run.train_samples) == 96
    assert (study_run().folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_the_shipped_run_is_what_its_readme_and_the_notebooks_say(shipped):
    run, images = shipped
    assert len(run.train_samples) == len(images) == 3200 and run.history.epoch == 24
    wrong = (run.ledger.given != run.truth).float().mean()
    assert abs(wrong - 0.3) < 0.01
    size = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
    assert size < 5_000_000
    assert all(image is not None for image in images)


def test_class_mode_has_no_other_recipe(monkeypatch):
    monkeypatch.delenv("SCN_MODE", raising=False)
    with pytest.raises(SettingsError, match="SCN_MODE=full"):
        study_run("paper")


@pytest.mark.parametrize("before", [False, True])
def test_a_batch_gives_what_the_network_gives(shipped, before):
    run, images = shipped
    rows = np.array([5, 0, 3100])
    batch = batch_of(run, images, rows, before)
    faces = torch.from_numpy(np.stack([images[i] for i in rows]))
    scored = score_batches(
        network_of(run, before), [prepare(faces, run.settings["input"])], run.classes, weighted=False
    )
    alpha = attention_weights(batch.features, batch.attention, batch.attention_bias)
    probs = (batch.features @ batch.classifier.T + batch.classifier_bias).softmax(1)
    assert np.allclose(alpha, scored["alpha"], atol=1e-5)
    assert np.allclose(probs, scored[[f"p_{name}" for name in run.classes]], atol=1e-5)
    assert batch.target.tolist() == run.ledger.given[rows].tolist()


def test_a_checkpoint_says_what_is_wrong(capsys):
    checkpoint("one is one", torch.tensor(True))
    assert capsys.readouterr().out == "yes: one is one\n"
    with pytest.raises(AssertionError, match="Not yet: one is two. Count again."):
        checkpoint("one is two", np.bool_(False), "Count again.")
