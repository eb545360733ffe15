"""The life of a face: its numbers against the history, its label from the ledger, its votes, its picture."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.life import Event, label_rows, life_figure, sample_life
from scn_fastai.plots.static_explorer import life_png


def line(figure, name):
    return next(trace for trace in figure.data if trace.name == name)


def changed_sample(run):
    return int((run.ledger.given != run.ledger.current).nonzero()[0])


def test_every_epoch_is_that_of_the_history(new_run):
    run = new_run(epochs=4)
    run.history._rows[2] |= {"relative": True}
    for sample in (0, 41):
        life, given = sample_life(run, sample), run.ledger.given[sample]
        for epoch in range(4):
            probs = run.history.probs(epoch)[sample]
            assert life.alpha[epoch] == run.history.alpha[epoch, sample]
            assert life.p_max[epoch] == pytest.approx(probs.max(), abs=1e-6)
            assert life.p_given[epoch] == pytest.approx(probs[given], abs=1e-6)


def test_changes_come_from_the_ledger(run):
    sample = changed_sample(run)
    names = [run.classes[int(labels[sample])] for labels in (run.ledger.given, run.ledger.current)]
    run.ledger.override(sample, "fear" if names[1] != "fear" else "joy")
    run.ledger.undo([sample])
    life = sample_life(run, sample)
    rows = run.ledger.frame()
    rows = rows[rows["sample"] == sample]
    assert [e.by for e in life.events] == rows["by"].tolist() and [e.by for e in life.events][-2:] == ["person", "undo"]
    assert [(e.old, e.new) for e in life.events] == list(zip(rows["old_label"], rows["new_label"], strict=True))
    assert life.labels == [run.classes[int(run.ledger.at(epoch)[sample])] for epoch in range(3)]
    figure = life_figure(life)
    for by, words in (("rule", "changed by the rule"), ("person", "by a person"), ("undo", "taken back")):
        own = [e for e in life.events if e.by == by]
        assert list(line(figure, words).x) == [e.epoch for e in own] and line(figure, words).showlegend == bool(own)
        assert list(line(figure, words).customdata) == [f"{e.old} → {e.new}" for e in own]
    assert {s.x0 for s in figure.layout.shapes if s.line.dash == "dot"} == {e.epoch for e in life.events}


def test_an_undone_change_to_an_unheard_of_label_is_drawn(new_run):
    run = new_run(relabels=False)
    run.ledger.override(5, "anger" if run.classes[int(run.ledger.given[5])] != "anger" else "joy")
    run.ledger.undo([5])
    life = sample_life(run, 5)
    assert life.labels == [life.given] * 3 and life_figure(life).data and life_png(life)[:4] == b"\x89PNG"


def test_rows_of_the_label_name_what_they_are(run):
    life = sample_life(run, changed_sample(run))
    life = life._replace(given="joy", true="fear", labels=["joy", "anger", "joy"])
    assert list(label_rows(life).values()) == ["joy (given)", "anger", "fear (true)"]
    assert list(label_rows(life._replace(true="joy", labels=["joy"])).values()) == ["joy (given, true)"]
    assert list(label_rows(life._replace(true=None, labels=["joy"])).values()) == ["joy (given)"]


def test_votes_or_soft_labels(run):
    assert sample_life(run, 0).votes == {}
    for i, name in enumerate(run.classes):
        run.samples[f"soft_{name}"] = np.float32(i / 3)
    life = sample_life(run, 0)
    assert life.votes_are == "soft label" and list(life.votes.values()) == pytest.approx([0, 1 / 3, 2 / 3])
    for i, name in enumerate(run.classes):
        run.samples[f"vote_{name}"] = 10 - i
    life = sample_life(run, 0)
    assert life.votes_are == "votes" and life.votes == {"anger": 10, "joy": 9, "fear": 8}
    bars = life_figure(life).data[-1]
    assert dict(zip(bars.y, bars.x, strict=True)) == life.votes
    assert bars.marker.color[list(bars.y).index(life.given)] not in [
        c for c, name in zip(bars.marker.color, bars.y, strict=True) if name != life.given
    ]


def test_nothing_lies_over_the_end_of_the_lines(run):
    """Without votes the axes of the votes are not visible, but the ground between them is: it must lie elsewhere."""
    layout = life_figure(sample_life(run, 0)).layout
    start, end = layout.xaxis3.domain
    assert not layout.xaxis3.visible and layout.xaxis.domain[1] == 1 and end - start < 0.002


def test_the_title_says_who_it_is(new_run):
    run = new_run(truth=False)
    sample = changed_sample(run)
    run.samples["uncertainty"], run.samples["level"] = "low_light", 0.5
    old, new = (run.classes[int(labels[sample])] for labels in (run.ledger.given, run.ledger.current))
    assert sample_life(run, sample).title == f"sample {sample} ({sample}.png), given {old}, now {new}, low light 0.50"
    assert "true" in sample_life(new_run(), sample).title


def test_epochs_that_did_not_draw_it_are_gaps(new_run):
    life = sample_life(new_run(unseen=1), 59)
    assert np.isnan(life.alpha).all() and np.isnan(life.p_max).all()
    assert list(line(life_figure(life), "alpha").y) == [None] * 3 and life_png(life)[:4] == b"\x89PNG"


def test_weighting_and_the_epoch_that_is_looked_at(new_run):
    run = new_run(epochs=4)
    for epoch in range(4):
        run.history._rows[epoch] |= {"weighting": epoch >= 2}
    figure = life_figure(sample_life(run, 0), epoch=3)
    assert list(line(figure, "weighting begins").x) == [1.5, 1.5]
    assert [(s.x0, s.x1) for s in figure.layout.shapes if s.type == "rect"] == [(2.6, 3.4)]
    assert len(line(life_figure(sample_life(new_run(), 0)), "weighting begins").x) == 0


def test_the_picture_is_the_face(run):
    image = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    (shown,) = life_figure(sample_life(run, 0), image).layout.images
    data = base64.b64decode(shown.source.split(",")[1])
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    assert not life_figure(sample_life(run, 0)).layout.images


def test_the_png_is_the_same_each_time(new_run):
    life = sample_life(new_run(classes=["高兴", "悲伤", "生气"]), 3)
    image = np.full((8, 8), 90, np.uint8)
    assert life_png(life, image, 1) == life_png(life, image, 1) != life_png(life, None, 1)


def test_no_epoch_one_epoch_and_bad_input(new_run):
    nothing = sample_life(new_run(epochs=0), 0)
    assert "no epoch yet" in life_figure(nothing).layout.annotations[0].text and life_png(nothing)[:4] == b"\x89PNG"
    one = sample_life(new_run(epochs=1), 0)
    assert len(one.alpha) == 1 and life_figure(one).data and life_png(one)[:4] == b"\x89PNG"
    for sample in (60, -1):
        with pytest.raises(DataError, match=f"There is no sample {sample}: the run has 60 training samples"):
            sample_life(new_run(), sample)
    run = new_run()
    run.ledger = None
    with pytest.raises(RunError, match="no labels yet"):
        sample_life(run, 0)


def test_the_label_after_each_epoch_for_several_changes_in_one(run):
    events = [Event(1, "joy", "fear", "rule"), Event(1, "fear", "anger", "person")]
    sample = int(torch.nonzero(run.ledger.given == 1)[0])
    from scn_fastai.plots.life import _labels

    assert _labels(run.classes[int(run.ledger.given[sample])], events, 3) == ["joy", "anger", "anger"]
