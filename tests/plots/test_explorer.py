"""The explorer's picture: every face is a point, bars hold whom they say, marks are where they belong."""

import io

import numpy as np
import pytest
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.alpha import alpha_groups
from scn_fastai.plots.explorer import (
    FEW,
    Marks,
    epoch_words,
    explorer_figure,
    explorer_parts,
    group_notes,
    run_marks,
    samples_in_bars,
    wrapped,
)
from scn_fastai.plots.sample_table import chosen_samples, sample_table
from scn_fastai.plots.static_explorer import explorer_png


def traces(figure, meta):
    return [trace for trace in figure.data if trace.meta == meta]


def points(figure):
    """Where each sample is drawn."""
    shown = [t for t in figure.data if t.customdata is not None and t.meta != "lit"]
    return {int(s): (x, y) for t in shown for s, x, y in zip(t.customdata, t.x, t.y, strict=True)}


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


# ---- points ----


def test_every_face_is_a_point_where_its_numbers_are(run):
    table = sample_table(run)
    for x, y in (("alpha", "doubt"), ("loss", "rank")):
        places = points(explorer_figure(table, x, y))
        assert sorted(places) == list(range(60))
        expected = {row["sample"]: (row[x], row[y]) for row in table.to_dict("records")}
        assert all(places[s] == pytest.approx(expected[s], abs=1e-5) for s in places)


def test_states_have_their_own_colour_symbol_and_number(run):
    table = sample_table(run)
    figure = explorer_figure(table)
    entries = traces(figure, "legend")
    assert len({t.marker.color for t in entries}) == len({t.marker.symbol for t in entries}) == 4
    for trace in figure.data:
        if trace.customdata is not None and trace.meta != "lit":
            assert set(table["state"].iloc[list(trace.customdata)]) <= {trace.meta}
    count = (table["state"] == "cured").sum()
    assert any(t.name == f"changed, now true ({count})" for t in entries)


def test_selected_faces_are_lit_and_the_others_fade(run):
    table = sample_table(run)
    figure = explorer_figure(table, selected=[3, 7])
    lit = sorted(int(s) for t in traces(figure, "lit") for s in t.customdata)
    assert lit == [3, 7] and all(t.marker.opacity == 1 for t in traces(figure, "lit"))
    assert {t.marker.opacity for t in figure.data if t.meta in ("unchanged", "cured")} == {0.1}
    alone = explorer_figure(table)
    assert not any(len(t.x) for t in traces(alone, "lit"))
    assert min(t.marker.opacity for t in alone.data if t.meta in ("unchanged", "cured")) >= 0.6


def test_traces_are_the_same_whatever_is_shown(run):
    kinds = {tuple(t["type"] for t in explorer_parts(table)["data"])
             for table in (sample_table(run), sample_table(run, 0), sample_table(run)[:0])}  # fmt: skip
    assert len(kinds) == 1


def test_many_points_are_drawn_by_the_graphics_card(new_run):
    few, many = sample_table(new_run()), sample_table(new_run(n=FEW + 10))
    assert {t.type for t in explorer_figure(few).data} == {"bar", "scatter"}
    assert "scattergl" in {t.type for t in explorer_figure(many).data}
    assert "scattergl" in {t.type for t in explorer_figure(few, many=True).data}


# ---- histogram ----


def test_bars_count_the_groups_and_give_back_their_samples(new_run):
    table = sample_table(new_run(unseen=3))
    figure = explorer_figure(table)
    found = []
    for group in ("high", "low"):
        (bars,) = traces(figure, group)
        assert sum(bars.y) == (table["seen"] & (table["low"] == (group == "low"))).sum()
        for place, count in enumerate(bars.y):
            own = samples_in_bars(table, group, [place])
            assert len(own) == count
            half = bars.width / 2 + 1e-6
            assert all(abs(table["alpha"][s] - bars.x[place]) <= half for s in own)
            found += own.tolist()
    assert sorted(found) == list(range(57))


def test_bars_of_some_faces_give_back_only_those(run):
    table = sample_table(run).iloc[10:30]
    assert set(samples_in_bars(table, "high", range(40))) == set(table["sample"][~table["low"]])


def test_marks_of_a_run(new_run):
    run = new_run(unseen=5)
    table = sample_table(run)
    marks = run_marks(run, table)
    alpha = table["alpha"].dropna()
    assert (alpha > marks.split).sum() == round(0.7 * 55) and marks.rank_margin == 0.15
    everything = run.history.alpha
    assert marks.room[0] <= np.nanmin(everything) and marks.room[1] >= np.nanmax(everything)
    assert marks.relabel_margin is None and run_marks(run, table[:0]).split is None
    run.settings = {}
    assert run_marks(run, table)[:3] == (None, None, None)


def test_the_gap_is_measured_by_the_margin_where_the_rank_loss_pulled(new_run):
    run = new_run()
    table = sample_table(run)
    assert "margin" in epoch_words(run, table)[0]
    run.history._rows[-1]["weighting"] = False
    assert "margin" not in epoch_words(run, table)[0]
    run.history._rows[-1]["weighting"] = True
    run.settings["scn"]["rank"] = False
    assert "margin" not in epoch_words(run, table)[0]


def test_the_relabel_margin_is_a_line_where_this_epochs_doubt_is_compared_with_it(new_run):
    run = new_run()
    run.settings["scn"] = {"evidence": "step", "relabel_margin": 0.2}
    assert run_marks(run, sample_table(run)).relabel_margin == 0.2
    run.settings["scn"] = {"evidence": "averaged", "relabel_margin": 0.4}
    assert run_marks(run, sample_table(run)).relabel_margin is None


def test_means_split_and_margin_are_drawn_where_they_are(run):
    table = sample_table(run)
    marks = run_marks(run, table)._replace(relabel_margin=0.4)
    means = alpha_groups(table["alpha"], table["low"]).means
    figure = explorer_figure(table, marks=marks)
    lines = {(round(s.x0, 4), round(s.x1, 4)) for s in figure.layout.shapes if s.xref == "x2"}
    places = [means["high"], means["low"], marks.split]
    assert lines == {(round(p, 4), round(p, 4)) for p in places} | {
        (round(means["low"], 4), round(means["low"] + 0.15, 4))
    }
    texts = [note.text for note in figure.layout.annotations]
    for word in (f"alpha_H {means['high']:.2f}", f"alpha_L {means['low']:.2f}", "split", "margin 0.15"):
        assert any(word in text for text in texts)
    assert any(s.yref == "y" and s.y0 == s.y1 == 0.4 for s in figure.layout.shapes)
    assert not any(s.yref == "y" for s in explorer_figure(table, "loss", "rank", marks=marks).layout.shapes)
    turned = explorer_figure(table, "doubt", "alpha", marks=marks).layout
    assert any(s.xref == "x" and s.x0 == s.x1 == 0.4 for s in turned.shapes)


def test_alpha_shares_its_axis_with_the_histogram(run):
    table, marks = sample_table(run), Marks(room=(0.2, 1.0))
    assert explorer_figure(table, marks=marks).layout.xaxis2.matches == "x"
    other = explorer_figure(table, "loss", marks=marks).layout
    assert other.xaxis2.matches is None and other.xaxis2.range[0] < 0.2 and other.xaxis.autorange


# ---- words ----


def test_words_of_an_epoch(new_run):
    run = new_run()
    words = epoch_words(run, sample_table(run), 2)
    assert words[0].startswith("alpha_H - alpha_L = 0.") and "margin of 0.15" in words[0]
    assert words[1] == f"Alpha doctor: {run.history.doctor(0.15).sentence}"
    figure = explorer_figure(sample_table(run), words=["a <b> c"])
    assert "a &lt;b&gt; c" in figure.layout.title.text
    assert wrapped(["one two " * 40], 200)[0] == "one two one two one two" and wrapped([], 200) == []


def test_an_epoch_in_which_nothing_was_seen(new_run):
    run = new_run(unseen=60)
    table = sample_table(run)
    assert epoch_words(run, table)[0].startswith("No sample was seen in this epoch")
    figure = explorer_figure(table, marks=run_marks(run, table))
    assert np.isnan([x for x, _ in points(figure).values()]).all() and group_notes(alpha_groups([]), Marks()) == []
    assert explorer_png(table)[:4] == b"\x89PNG"


def test_no_face_is_a_sentence(run):
    nobody = sample_table(run)[:0]
    assert explorer_figure(nobody).layout.annotations[0].text == "No face is left by this choice."
    assert explorer_png(nobody)[:4] == b"\x89PNG"


def test_a_column_that_cannot_be_an_axis_is_a_sentence(run):
    for options in ({"x": "given"}, {"y": "nonsense"}):
        with pytest.raises(DataError, match="is no column of numbers"):
            explorer_figure(sample_table(run), **options)


# ---- without a browser ----


def test_the_png_shows_the_same(new_run):
    run = new_run(classes=["高兴", "悲伤"])
    table = sample_table(run)
    marks, chosen = run_marks(run, table)._replace(relabel_margin=0.4), chosen_samples(table)[:5]
    plain, lit = pixels(explorer_png(table, marks=marks)), pixels(explorer_png(table, marks=marks, selected=chosen))
    assert plain.shape == lit.shape == (700, 900, 3) and (plain != lit).any()
    assert (pixels(explorer_png(table, marks=marks)) == plain).all()
    for color in ((0, 114, 178), (213, 94, 0)):  # the two groups
        assert (np.abs(plain - color).max(2) < 8).sum() > 500
    assert (pixels(explorer_png(table, "loss", "rank")) != plain).any()
