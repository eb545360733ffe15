"""BatchMicroscope driven from Python: what its sliders change, which batch and epoch it shows, what goes wrong."""

import base64
import html
import time

import numpy as np
import pytest
import torch

from scn_fastai.core import rank_regularization, scn_loss
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.settings import PRESETS
from scn_fastai.widgets.batch_microscope import SLIDERS, BatchMicroscope


@pytest.fixture
def microscope(new_run, faces):
    return BatchMicroscope(new_run(), faces, size=20)


def epoch_batch(widget):
    """Logits, alpha and the labels that the epoch trained on, read from the run in another way."""
    run, epoch, samples = widget.run, widget.epoch.value, widget.batch
    logits = torch.from_numpy(run.history.logits[epoch][samples].astype(np.float64))
    alpha = torch.from_numpy(run.history.alpha[epoch][samples].astype(np.float64))
    return logits, alpha, run.ledger.at(epoch - 1)[samples]


# ---- what the controls do ----


def test_the_numbers_are_those_of_the_loss(microscope):
    microscope.switch.value = "paper"
    microscope.beta.value, microscope.rank_margin.value, microscope.gamma.value = 0.6, 0.8, 0.25
    loss = scn_loss(*epoch_batch(microscope), beta=0.6, margin=0.8, gamma=0.25)
    report = microscope.report
    assert [report.total.item(), report.mean_wce.item(), report.rank.item()] == pytest.approx(
        [loss.total.item(), loss.wce.item(), loss.rank.item()]
    )
    rank, wce, total = (f"{value.item():.3f}" for value in (loss.rank, loss.wce, loss.total))
    assert f"L = gamma RR + (1 - gamma) WCE = 0.25 × {rank} + 0.75 × {wce} = {total}" in microscope.words.value


def test_the_picture_follows_each_slider(microscope):
    before = microscope.figure().to_json()
    for name, value in {"beta": 0.4, "rank_margin": 0.7, "relabel_margin": 0.01}.items():
        getattr(microscope, name).value = value
        after = microscope.figure().to_json()
        assert after != before, name
        shown = [trace.name for trace in microscope.plot.data]
        assert shown == [trace.name for trace in microscope.figure().data]
        before = after
    assert microscope.plot.data[0].name == "high group (8)"


def test_the_switch_sets_the_sliders_and_draws_once(microscope, monkeypatch):
    drawn = []
    monkeypatch.setattr(microscope, "_parts", lambda: drawn.append(1) or type(microscope)._parts(microscope))
    for name in ("paper", "released", "default"):
        microscope.switch.value = name
        recipe, rules = PRESETS[name], microscope.report.rules
        assert [getattr(microscope, slider).value for slider in SLIDERS] == [getattr(recipe, s) for s in SLIDERS]
        assert rules._asdict() == {field: getattr(recipe, field) for field in rules._fields}
        assert microscope.gamma.disabled == (recipe.combine == "sum")
    assert len(drawn) == 3


def test_the_switch_says_with_which_label_and_by_which_evidence(new_run, faces):
    run = new_run()
    widget = BatchMicroscope(run, faces, batch=range(60))
    given, current = run.ledger.given, run.ledger.at(1)
    assert (given != current).any()
    everyone = np.arange(60)
    step = run.history.probs(2)
    for name, labels in {"paper": given, "released": current}.items():
        widget.switch.value = name
        np.testing.assert_allclose(widget.report.p_given, step[everyone, labels], atol=1e-5)
    widget.switch.value = "default"
    averaged = np.mean([run.history.probs(epoch) for epoch in range(3)], axis=0)
    np.testing.assert_allclose(widget.report.p_max, averaged.max(1), atol=1e-5)


def test_the_epoch_moves_alpha_and_labels(new_run, faces):
    widget = BatchMicroscope(new_run(), faces, batch=range(60))
    for epoch in (0, 1, 2):
        widget.epoch.value = epoch
        _, alpha, target = epoch_batch(widget)
        assert torch.equal(widget.report.alpha, alpha) and torch.equal(widget.report.target, target)
    assert repr(widget).startswith("BatchMicroscope(60 samples, epoch 2, default, L ")


def test_an_epoch_that_did_not_weight_is_named(new_run, faces):
    run = new_run()
    for epoch, row in enumerate(run.history._rows):
        row["weighting"] = epoch == 2
    widget = BatchMicroscope(run, faces, epoch=0)
    assert "did not weight its logits yet (it began in epoch 2)" in widget.words.value
    widget.epoch.value = 2
    assert "did not weight" not in widget.words.value


# ---- the batch ----


def test_another_batch_and_a_chosen_one(microscope):
    first = microscope.batch
    microscope.again.click()
    second = microscope.batch
    assert len(second) == 20 and set(first) != set(second)
    microscope.batch = np.array([5, 2, 5, 9])
    assert microscope.batch == [5, 2, 9] and len(microscope.report.alpha) == 3
    assert "3 labels would change" in microscope.words.value
    again = BatchMicroscope(microscope.run, microscope.images, size=20)
    assert again.batch == first  # the same seed, the same draw


def test_the_grid_shows_the_batch_ranked_and_says_why(new_run, faces):
    run = new_run()
    widget = BatchMicroscope(run, faces, epoch=1, batch=range(20))
    widget.switch.value = "released"
    alpha = run.history.alpha[1]
    assert widget.grid.order == sorted(range(20), key=lambda sample: -alpha[sample])
    changed = widget.report.changed.nonzero().squeeze(1).tolist()
    assert changed
    for sample in range(20):
        lines = widget.grid.caption(sample).split("\n")
        old, new = run.ledger.given[sample], widget.report.label[sample]
        assert lines[0] == (run.classes[old] if old == new else f"{run.classes[old]} → {run.classes[new]}")
        assert lines[2] == f"α {alpha[sample]:.3f}, WCE {widget.report.wce[sample]:.2f}"
        assert (" ".join(lines[3:]) == widget.report.why[sample]) and (
            (sample in changed) == lines[3].startswith("relabelled")
        )
    widget.relabel_margin.value = 1.0
    assert not widget.report.changed.any()
    assert "not above the margin of 1.00" in widget.grid.caption(changed[0]).replace("\n", " ")
    assert widget.grid.caption(changed[0]).split("\n")[0] == run.classes[run.ledger.given[changed[0]]]


def test_a_persons_decision_stays_on_the_face_whatever_the_rule_would_do(new_run, faces):
    widget = BatchMicroscope(new_run(), faces, epoch=1, batch=range(20))
    run, sample = widget.run, 3
    other = run.classes[(int(run.ledger.current[sample]) + 1) % len(run.classes)]
    widget.grid.choose([sample], other)
    for margin in (1.0, 0.0):
        widget.relabel_margin.value = margin
        assert widget.grid.caption(sample).split("\n")[0].endswith(other)
    widget.grid.undo()
    widget.relabel_margin.value = 1.0
    assert widget.grid.caption(sample).split("\n")[0] == run.classes[run.ledger.given[sample]]


def test_the_microscope_changes_no_label(microscope):
    before = microscope.run.ledger.current.clone(), len(microscope.run.ledger.frame())
    microscope.relabel_margin.value = 0.0
    microscope.switch.value = "released"
    assert torch.equal(microscope.run.ledger.current, before[0]) and len(microscope.run.ledger.frame()) == before[1]


def test_one_sample_has_no_groups(new_run, faces):
    widget = BatchMicroscope(new_run(), faces, batch=[4])
    assert widget.report.rank == 0 and widget.png()[:4] == b"\x89PNG"
    assert repr(widget).startswith("BatchMicroscope(1 sample, epoch 2")


# ---- one face of the batch ----


def click(widget, sample, trace_name):
    """What plotly sends when a bar or a mark of a sample is clicked."""
    row = widget.batch.index(sample)
    number = next(i for i, t in enumerate(widget.plot.data) if t.name.startswith(trace_name) and row in t.customdata)
    point = list(widget.plot.data[number].customdata).index(row)
    points = {"trace_indexes": [number], "point_indexes": [point], "xs": [0], "ys": [0]}
    widget.plot._handler_js2py_pointsCallback({"new": {"event_type": "plotly_click", "points": points}})


def bands(figure):
    """Places on the axis of what is marked as selected."""
    return [shape.x0 + 0.5 for shape in figure.layout.shapes if shape.type == "rect" and shape.layer == "below"]


def test_a_click_on_a_bar_selects_its_face_and_tells_its_numbers(microscope):
    bare = microscope.png()
    assert "Click a bar or a face" in microscope.chosen.value and bands(microscope.plot) == []
    for sample, trace in ((microscope.batch[3], "WCE"), (microscope.batch[8], "from RR")):
        click(microscope, sample, trace)
        row = microscope.batch.index(sample)
        assert microscope.selected == [sample] == microscope.grid.selected and microscope.grid.focused == sample
        assert bands(microscope.plot) == [microscope.grid.order.index(sample)] == bands(microscope.figure())
        words = microscope.chosen.value
        assert f"<b>sample {sample}</b>" in words and f"alpha = {microscope.report.alpha[row]:.4f}" in words
        assert words.endswith(html.escape(microscope.report.why[row]))
    assert microscope.png() != bare
    click(microscope, sample, "from RR")
    assert microscope.selected == [] == bands(microscope.plot) and microscope.grid.focused == -1


def test_a_click_on_a_face_marks_its_bars_and_words_follow_the_sliders(microscope):
    samples = microscope.batch[2:6]
    microscope.grid.focused, microscope.grid.selected = samples[0], samples  # what the grid does
    assert bands(microscope.plot) == [microscope.grid.order.index(sample) for sample in samples]
    assert all(f"<b>sample {s}</b>" in microscope.chosen.value for s in samples[:3])
    assert microscope.chosen.value.endswith("and 1 other")
    before = microscope.chosen.value
    microscope.beta.value = 0.1
    assert microscope.chosen.value != before and len(bands(microscope.plot)) == 4


def test_another_batch_lets_go_of_who_is_not_in_it(new_run, faces):
    widget = BatchMicroscope(new_run(unseen=1), faces, batch=[5, 2, 9, 59])
    widget.select([2, 9])
    widget.batch = [9, 30, 31]
    assert widget.selected == [9] and widget.grid.focused == -1 and len(bands(widget.plot)) == 1
    widget.epoch.value = 0
    assert widget.selected == [9]
    for sample, words in ((2, "Sample 2 is not among those that are shown"), (99, "no sample 99")):
        with pytest.raises(DataError, match=words):
            widget.select(sample)
    widget.batch = [59]
    assert widget.selected == [] and "Click a bar" in widget.chosen.value


# ---- odd runs ----


def test_samples_that_were_not_seen(new_run, faces):
    widget = BatchMicroscope(new_run(unseen=2), faces, batch=[59, 1, 2])
    assert "1 sample was not seen" in widget.words.value and len(widget.report.alpha) == 2
    widget.batch = [58, 59]
    assert "None of these samples was seen" in widget.words.value
    assert repr(widget) == "BatchMicroscope(2 samples, epoch 2, none seen)"
    assert "None of these" in widget.figure().layout.annotations[0].text and widget.png()[:4] == b"\x89PNG"
    widget.batch = [1, 2]
    assert widget.report is not None and len(widget.plot.data) == len(widget.figure().data)
    assert BatchMicroscope(new_run(unseen=2), faces, batch=[]).report is None


def test_a_run_without_truth_of_one_epoch_with_chinese_classes(new_run, faces):
    run = new_run(truth=False, epochs=1, classes=["愤怒", "高兴", "恐惧"])
    widget = BatchMicroscope(run, [None, *faces[1:]], size=40)
    assert widget.epoch.disabled and "true:" not in widget.grid.caption(3)
    assert widget.png()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epoch": 3}, RunError, "no epoch 3 in this run, which has 3"),
        ({"batch": [60]}, DataError, "no sample 60"),
        ({"batch": [0.5]}, DataError, "whole numbers"),
        ({"size": 0}, DataError, "at least 1 sample"),
    ],
)
def test_what_does_not_exist_is_a_sentence(new_run, faces, options, error, words):
    with pytest.raises(error, match=words):
        BatchMicroscope(new_run(), faces, **options)


def test_no_epoch_and_too_few_images_are_sentences(new_run, faces):
    with pytest.raises(RunError, match="no epoch yet"):
        BatchMicroscope(new_run(epochs=0), faces)
    with pytest.raises(DataError, match="59 images but 60"):
        BatchMicroscope(new_run(), faces[:59])


# ---- where nothing runs, and how quick it is ----


def test_words_and_a_picture_stand_in_for_the_widget(microscope):
    data = microscope._repr_mimebundle_()
    assert data["text/plain"] == repr(microscope)
    assert base64.b64decode(data["image/png"]) == microscope.png()


def test_a_slider_is_quick_for_128_samples(new_run):
    run = new_run(n=128)
    widget = BatchMicroscope(run, np.zeros((128, 48, 48, 3), np.uint8), size=128)
    assert len(widget.report.alpha) == 128
    seconds = []
    for step in range(12):
        start = time.process_time()
        widget.beta.value = 0.3 + step / 20
        seconds.append(time.process_time() - start)
    print(f"a step of a slider takes {1000 * min(seconds):.0f} ms of this process")
    assert min(seconds) < 0.1
    assert widget.report.rank == rank_regularization(widget.report.alpha, widget.beta.value, widget.rank_margin.value)
