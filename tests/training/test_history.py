"""The history: what was seen, in how many bytes, and that an interrupted epoch leaves nothing."""

import re

import numpy as np
import oracle
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy

from scn_fastai.errors import RunError
from scn_fastai.training.history import SUMS, SCNHistory

N, C = 10, 3


def run_epoch(history, index, seed=0, decay=0.7, relative=False):
    """One epoch that sees the samples ``index`` in batches of 4; returns what was passed in: alpha, logits, low."""
    generator = torch.Generator().manual_seed(seed)
    n, c = history.n_samples, history.n_classes
    alpha, logits = torch.rand(n, generator=generator), torch.randn(n, c, generator=generator) * 3
    low = torch.rand(n, generator=generator) < 0.3
    history.begin_epoch("cpu")
    for batch in torch.as_tensor(index).split(4):
        history.see(batch, alpha[batch], logits[batch], low[batch])
        history.average(batch, logits[batch].softmax(1), decay)
        history.add(**{name: alpha[batch].mean() * (i + 1) for i, name in enumerate(SUMS)})
    history.end_epoch(relabeled=seed, relative=relative)
    return alpha, logits, low


@pytest.fixture
def history():
    """Three epochs; sample 9 is never drawn, and sample 0 not in the second."""
    history = SCNHistory(N, C)
    for seed, index in enumerate((range(9), range(1, 9), range(9))):
        run_epoch(history, index, seed)
    return history


def test_what_was_not_drawn_is_nan_and_unseen(history):
    assert history.epoch == 3 and history.alpha.shape == history.low.shape == (3, N)
    assert (~history.seen).sum(0).tolist() == [1] + [0] * 8 + [3]
    assert np.array_equal(np.isnan(history.alpha), ~history.seen)
    assert history.frame()["seen"].tolist() == [9, 8, 9]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_alpha_is_kept_in_float32_and_logits_in_float16(dtype):
    history = SCNHistory(4, 2)
    history.begin_epoch("cpu")
    alpha, logits = torch.rand(3).to(dtype).requires_grad_(), torch.randn(3, 2).to(dtype).requires_grad_()
    index, low = torch.tensor([3, 0, 1]), torch.tensor([True, False, True])
    history.see(index, alpha, logits, low)
    history.end_epoch()
    assert (history.alpha.dtype, history.logits.dtype, history.low.dtype) == (np.float32, np.float16, bool)
    assert history.alpha[0, index].tolist() == alpha.tolist() and history.low[0].tolist() == [False, True, False, True]
    assert torch.from_numpy(history.logits[0, index]).equal(logits.detach().half())


def test_an_empty_history_has_the_shapes_of_one(history):
    empty = SCNHistory(N, C)
    for name in ("alpha", "logits", "low", "seen"):
        one, other = getattr(empty, name), getattr(history, name)
        assert one.shape == (0, *other.shape[1:]) and one.dtype == other.dtype
    assert empty.frame().empty and np.isnan(empty.last("wce")) and empty.last("wce", 1) == 1
    empty.note(accuracy=1.0)
    assert empty.epoch == 0


@pytest.mark.parametrize("n, c, epochs", [(10, 3, 3), (64, 8, 2), (1, 1, 1)])
def test_memory_is_what_the_docstring_says(n, c, epochs):
    history = SCNHistory(n, c)
    for seed in range(epochs):
        run_epoch(history, range(n), seed)
    stored = [array for number in range(epochs) for array in history.epoch_arrays(number).values()]
    assert sum(array.nbytes for array in stored) == (5 + 2 * c) * n * epochs
    assert all(array.base is None or array.base.nbytes == array.nbytes for array in stored), "no view of more"


def test_the_memory_of_ferplus_in_the_docstring_follows_from_its_formula():
    sentence = r"\((\d+) faces, (\d+) classes, (\d+) epochs\) takes (\d+) MB"
    found = re.search(sentence, SCNHistory.__doc__.replace(",5", "5"))
    faces, classes, epochs, megabytes = map(int, found.groups())
    assert round((5 + 2 * classes) * faces * epochs / 1e6) == megabytes


def test_rows_hold_means_over_batches_and_figures_that_are_added_later(history):
    alpha, _, _ = run_epoch(history, range(9), seed=5)
    batches = [alpha[:4].mean(), alpha[4:8].mean(), alpha[8]]
    mean = float(sum(batches)) / 3
    history.note(accuracy=0.5)
    row = history.frame().iloc[3]
    assert row[list(SUMS)].tolist() == pytest.approx([mean, 2 * mean, 3 * mean, 4 * mean])
    assert row["alpha_mean"] == pytest.approx(alpha[:9].mean().item())
    assert row["alpha_sd"] == pytest.approx(alpha[:9].std(correction=0).item())
    assert row["epoch"] == 3 and row["relabeled"] == 5 and row["accuracy"] == history.last("accuracy") == 0.5
    assert history.count("relabeled") == 3


def test_an_epoch_that_saw_nothing_is_a_row_of_nan_without_a_warning(recwarn):
    history = SCNHistory(3, 2)
    history.begin_epoch("cpu")
    row = history.end_epoch()
    assert row["seen"] == 0 and np.isnan([row["alpha_mean"], row["alpha_sd"]]).all() and not recwarn.list


@pytest.mark.parametrize("epochs_before", [0, 2])
def test_an_interrupted_epoch_leaves_nothing_in_arrays_rows_or_evidence(epochs_before):
    one, other = SCNHistory(N, C), SCNHistory(N, C)
    for history in (one, other):
        for seed in range(epochs_before):
            run_epoch(history, range(N), seed)
    for _ in range(2):  # and once more, right after
        one.begin_epoch("cpu")
        one.see(torch.tensor([9]), torch.tensor([0.5]), torch.ones(1, C), torch.tensor([True]))
        one.average(torch.arange(N), torch.rand(N, C), 0.7)
        one.add(wce=torch.tensor(9.0))
    for history in (one, other):
        run_epoch(history, range(8), seed=7)
    assert one.evidence.equal(other.evidence) and one.evidence_count.equal(other.evidence_count)
    assert one.frame().equals(other.frame()) and np.array_equal(one.alpha, other.alpha, equal_nan=True)
    assert np.array_equal(one.logits, other.logits) and np.array_equal(one.low, other.low)


def test_evidence_is_the_running_mean_of_a_loop():
    history, seen = SCNHistory(N, C), []
    for seed in range(4):
        _, logits, _ = run_epoch(history, range(N), seed, decay=0.7)
        seen.append([oracle.softmax(row) for row in logits.tolist()])
    for sample in range(N):
        expected = oracle.running_mean([rows[sample] for rows in seen], 0.7)
        assert history.evidence[sample].tolist() == pytest.approx(expected, abs=1e-5)


def test_settled_is_the_share_of_samples_seen_before_whose_prediction_stays():
    history = SCNHistory(4, 2)

    def draw(index, probs):
        index, half = torch.tensor(index), torch.full((len(index),), 0.5)
        history.see(index, half, torch.zeros(len(index), 2), half > 0)
        history.average(index, torch.tensor(probs), 1.0)

    history.begin_epoch("cpu")
    assert history.settled_share() == 0, "nothing was seen before"
    draw([0, 1, 2], [[0.9, 0.1], [0.6, 0.4], [0.1, 0.9]])
    history.end_epoch()
    history.begin_epoch("cpu")
    draw([1, 2, 3], [[0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    assert history.settled_share() == pytest.approx(1 / 2), "1 has moved, 2 stayed; 0 was not drawn, 3 is new"
    draw([0], [[0.9, 0.1]])
    assert history.settled_share() == pytest.approx(2 / 3)


@pytest.mark.parametrize("relative", [False, True])
def test_probabilities_and_losses_follow_from_what_is_stored(relative):
    history = SCNHistory(N, C)
    alpha, logits, _ = run_epoch(history, range(9), relative=relative)
    weight, target = (alpha / alpha[:9].mean() if relative else alpha), torch.arange(N) % C
    z = logits.half().float()
    assert np.allclose(history.probs()[:9], (weight[:, None] * z).softmax(1)[:9], atol=1e-6)
    assert np.allclose(history.probs(0, "raw")[:9], z.softmax(1)[:9], atol=1e-6)
    expected = cross_entropy(weight[:, None] * z, target, reduction="none")
    for labels in (target, target.numpy()):
        assert np.allclose(history.loss(labels)[:9], expected[:9], atol=1e-5)
    assert np.isnan(history.probs()[9]).all() and np.isnan(history.loss(target)[9])


def test_a_row_per_sample_with_and_without_labels(history):
    labels = torch.arange(N) % C
    table = history.samples(1, labels)
    assert list(table.columns) == ["sample", "alpha", "low", "seen", "predicted", "p_max", "p_given", "loss"]
    seen, probs = table[table["seen"]], history.probs(1)
    assert len(table) == N and seen["sample"].tolist() == list(range(1, 9))
    assert seen["predicted"].tolist() == probs[1:9].argmax(1).tolist()
    assert seen["p_given"].to_numpy() == pytest.approx(probs[np.arange(1, 9), labels[1:9]])
    assert seen["loss"].to_numpy() == pytest.approx(-np.log(seen["p_given"]), abs=1e-5)
    assert table.loc[~table["seen"], ["alpha", "p_max", "p_given", "loss"]].isna().all(axis=None)
    assert list(history.samples().columns) == ["sample", "alpha", "low", "seen", "predicted", "p_max"]


@pytest.mark.parametrize("epoch", [3, -4])
@pytest.mark.parametrize("read", ["probs", "samples", "loss"])
def test_an_epoch_that_is_not_there_is_refused(history, read, epoch):
    arguments = [torch.zeros(N, dtype=torch.int64)] if read == "loss" else []
    with pytest.raises(RunError, match=rf"^There is no epoch {epoch} in this history, which has 3 \(0 to 2\)"):
        getattr(history, read)(*arguments, epoch=epoch)


def test_a_restored_history_reads_and_goes_on_like_the_first(history):
    arrays = [history.epoch_arrays(number) for number in range(history.epoch)]
    rows = history.frame().to_dict("records")
    copy = SCNHistory.restore(rows, arrays, N, C)
    copy.evidence, copy.evidence_count = history.evidence.clone(), history.evidence_count.clone()
    for _ in range(2):
        pd.testing.assert_frame_equal(copy.frame(), history.frame())
        pd.testing.assert_frame_equal(copy.samples(-1), history.samples(-1))
        assert all(np.array_equal(getattr(copy, a), getattr(history, a), equal_nan=a == "alpha") for a in arrays[0])
        assert copy.evidence.equal(history.evidence)
        for each in (history, copy):
            run_epoch(each, range(N), seed=11)
    assert len(rows) == 3, "the rows that it was made from are its own"


def test_the_doctor_reads_the_first_gap_and_the_last_alpha():
    history = SCNHistory(N, C)
    with pytest.raises(RunError, match="There is no epoch in this history yet: train before"):
        history.doctor(0.15)
    for alphas, rank in ((torch.linspace(0.2, 0.8, N), 0.0), (torch.full((N,), 0.999), 0.1)):
        history.begin_epoch("cpu")
        history.see(torch.arange(N), alphas, torch.zeros(N, C), torch.zeros(N, dtype=torch.bool))
        history.add(rank=torch.tensor(rank), alpha_high=torch.tensor(0.7), alpha_low=torch.tensor(0.4))
        history.end_epoch()
        kinds = {1: "idle margin", 2: "saturated"}
        assert history.doctor(0.15).kind == kinds[history.epoch]


@pytest.mark.gpu
def test_a_history_on_a_gpu_ends_on_the_host():
    history = SCNHistory(4, 2)
    history.begin_epoch("cuda")
    index = torch.tensor([2, 0], device="cuda")
    history.see(index, torch.rand(2, device="cuda"), torch.rand(2, 2, device="cuda"), index > 1)
    history.average(index, torch.rand(2, 2, device="cuda"), 0.7)
    history.end_epoch()
    assert history.seen[0].tolist() == [True, False, True, False] and history.evidence.is_cuda
    history.begin_epoch("cpu")
    assert history.evidence.device.type == "cpu" and history.probs(0).shape == (4, 2)


def test_before_weighting_began_the_logits_counted_as_they_were():
    alpha = np.array([0.2, 0.8, np.nan], dtype=np.float32)
    logits = np.array([[2, 0], [0, 4], [0, 0]], dtype=np.float16)
    arrays = {"alpha": alpha, "logits": logits, "low": np.zeros(3, dtype=bool)}
    rows = [{"epoch": e, "alpha_mean": 0.5, "relative": True, "weighting": e > 0} for e in range(2)]
    history = SCNHistory.restore(rows, [arrays, arrays], 3, 2)
    assert np.allclose(history.weight(0), [1, 1, np.nan], equal_nan=True)
    assert np.allclose(history.weight(1), [0.4, 1.6, np.nan], equal_nan=True)
    assert np.allclose(history.probs(0)[0], torch.tensor([2.0, 0.0]).softmax(0))
    assert np.allclose(history.probs(1)[1], torch.tensor([0.0, 6.4]).softmax(0))
    rows[1] |= {"weighted": False}  # a recipe that computes alpha and never weights by it
    assert np.allclose(SCNHistory.restore(rows, [arrays, arrays], 3, 2).weight(1), [1, 1, np.nan], equal_nan=True)


def test_a_sample_that_is_drawn_often_weighs_an_epoch_as_the_others_do():
    """As with oversampling: eight draws of one epoch are no eight epochs."""
    likely, unlikely = torch.tensor([[0.9, 0.1]] * 2), torch.tensor([[0.1, 0.9]] * 2)
    history = SCNHistory(2, 2)
    for epoch in range(6):
        history.begin_epoch("cpu")
        for index in [[0, 1]] + [[1]] * 7:
            history.average(torch.tensor(index), (unlikely if epoch == 5 else likely)[: len(index)], 0.7)
        history.end_epoch()
    assert torch.equal(history.evidence[0], history.evidence[1]) and history.evidence[1].argmax() == 0
    assert torch.equal(history.evidence_count[0], history.evidence_count[1])
