"""Many processes train as one does: losses, gradients, labels and history of the whole batch, and none lost."""

import json
import os
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from scn_fastai import Run
from scn_fastai.errors import SettingsError
from scn_fastai.training.processes import asked_processes, gather, n_processes, not_padding, own_part, share_of_batch

WORKER = Path(__file__).resolve().parent.parent / "process_worker.py"
EARLY = {"weight_from": 1, "relabel_from": 1, "relabel_margin": 0.1}
pytest.importorskip("accelerate", reason="several processes need accelerate (the extra 'distributed')")


def start(out, processes, **how):
    """Start a training in so many processes; the subprocesses."""
    out.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"PYTHONPATH": os.pathsep.join([str(WORKER.parent.parent), os.environ.get("PYTHONPATH", "")])}
    if processes > 1:
        env |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(WORKER), str(out), json.dumps(how)]
    return [
        subprocess.Popen(command, env=env | {"RANK": str(r), "LOCAL_RANK": str(r)}, stderr=subprocess.PIPE, text=True)
        for r in range(processes)
    ]


def train(out, processes, **how):
    """Train, and what each process knew in the end."""
    started = start(out, processes, **how)
    errors = [p.communicate(timeout=240)[1] for p in started]
    assert not any(p.returncode for p in started), "\n".join(errors)
    return [torch.load(out / f"rank{r}.pt", weights_only=True) for r in range(processes)]


def assert_same(one, other, atol=1e-5):
    for name, weight in one["weights"].items():
        torch.testing.assert_close(weight, other["weights"][name], atol=atol, rtol=1e-4)
    assert torch.equal(one["current"], other["current"]) and torch.equal(one["low"], other["low"])
    for name in ("alpha", "evidence"):
        torch.testing.assert_close(one[name], other[name], atol=atol, rtol=1e-4, equal_nan=True)
    torch.testing.assert_close(one["logits"], other["logits"], atol=2e-3, rtol=2e-3)  # stored in half precision
    assert_same_rows(json.loads(one["rows"]), json.loads(other["rows"]), skip=("train_loss", "valid_loss", "accuracy"))
    mine, theirs = (pd.read_csv(StringIO(known["ledger"])) for known in (one, other))
    pd.testing.assert_frame_equal(mine, theirs, atol=1e-4)


def assert_same_rows(one, other, skip):
    assert list(one) == list(other)
    for name in set(one) - set(skip):
        np.testing.assert_allclose(np.array(one[name], float), np.array(other[name], float), atol=1e-4, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "n", "how"),
    [
        (2, 96, {"settings": "default", "changes": EARLY}),
        (2, 96, {"settings": "default", "changes": EARLY | {"aside": 0.2}}),
        (2, 96, {"settings": "default", "changes": EARLY | {"early_learning": 1.0}}),
        (2, 96, {"settings": "paper", "changes": {"relabel_from": 1, "relabel_margin": 0.0}}),
        (2, 93, {"settings": "default", "changes": EARLY | {"learn_margin": True}}),
        (4, 93, {"settings": "released", "changes": {"relabel_from": 1, "relabel_margin": 0.0}}),
    ],
)
def test_many_processes_do_what_one_does(tmp_path, processes, n, how):
    bs = 24
    together = train(tmp_path / "many", processes, n=n, bs=bs // processes, epochs=3, **how)
    if n % processes == 0:  # one process has no padding, so the comparison is exact without it
        (alone,) = train(tmp_path / "one", 1, n=n, bs=bs, epochs=3, alone_like=processes, **how)
        assert_same(alone, together[0])
    for other in together[1:]:
        assert_same(together[0], other, atol=1e-7)
    assert (together[0]["current"] != torch.tensor(labels(n))).any()  # labels were changed, and every ledger knows


def labels(n):
    import process_worker

    return process_worker.points(n).labels


@pytest.mark.slow
def test_a_killed_process_costs_the_running_epoch_and_another_number_goes_on(tmp_path):
    how = {"n": 96, "epochs": 4, "settings": "default", "changes": EARLY}
    whole = train(tmp_path / "whole", 2, bs=12, run=str(tmp_path / "run_whole"), **how)
    started = start(tmp_path / "killed", 2, bs=12, run=str(tmp_path / "run"), die=[1, 2, 1], **how)
    codes = [p.wait(timeout=240) for p in started]
    assert codes[1] == 9 and codes[0] != 0
    assert Run.load(tmp_path / "run").history.epoch == 2
    resumed = train(tmp_path / "resumed", 2, bs=12, run=str(tmp_path / "run"), resume=True, **how)
    assert_same(whole[0], resumed[0], atol=1e-6)
    (tmp_path / "run_other").mkdir()
    started = start(tmp_path / "killed2", 2, bs=12, run=str(tmp_path / "run_other"), die=[0, 2, 1], **how)
    assert all(p.wait(timeout=240) for p in started)
    (alone,) = train(tmp_path / "alone", 1, bs=24, alone_like=2, run=str(tmp_path / "run_other"), resume=True, **how)
    assert_same(whole[0], alone)


def test_in_one_process_nothing_is_sent():
    x = torch.randn(3, requires_grad=True)
    assert n_processes() == 1 and gather(x) is x and own_part(x) is not None and len(own_part(x)) == 3
    assert not_padding(object(), 0, 4, torch.device("cpu")) is None


def test_a_batch_is_shared_out(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (asked_processes(), share_of_batch(64)) == (1, 64)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (asked_processes(), share_of_batch(64)) == (4, 16)
    with pytest.raises(SettingsError, match="multiple of 4"):
        share_of_batch(30)


def test_padding_is_told_apart(monkeypatch):
    from types import SimpleNamespace

    from scn_fastai.training import processes

    monkeypatch.setattr(processes, "n_processes", lambda: 2)
    loader = SimpleNamespace(n=7, n_padded=8)  # shares 0-3 and 4-7, of which 7 is padding
    assert not_padding(loader, 0, 2, "cpu") is None
    assert not_padding(loader, 2, 2, "cpu").tolist() == [True, True, True, False]
