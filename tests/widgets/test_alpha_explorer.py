"""AlphaExplorer driven from Python and by what a browser would send: epochs, filters, links in both directions."""

import base64

import numpy as np
import pytest
from traitlets import TraitError

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.explorer import explorer_figure, run_marks
from scn_fastai.plots.sample_table import chosen_samples, sample_table
from scn_fastai.widgets.alpha_explorer import AlphaExplorer


def lit(explorer):
    """Samples that light up in the plot."""
    return sorted(int(s) for t in explorer._plot.data if t.meta == "lit" for s in t.customdata)


def drawn(explorer):
    """Samples that are points of the plot, and where."""
    shown = [t for t in explorer._plot.data if t.customdata is not None and t.meta != "lit"]
    return {int(s): (x, y) for t in shown for s, x, y in zip(t.customdata, t.x, t.y, strict=True)}


def lasso(explorer, samples=(), bars=()):
    """What plotly sends after a lasso: of each trace the points, in their order."""
    found = {"trace_indexes": [], "point_indexes": [], "xs": [], "ys": []}
    for number, trace in enumerate(explorer._plot.data):
        names = [] if trace.customdata is None or trace.meta == "lit" else list(trace.customdata)
        inside = [i for i, s in enumerate(names) if s in samples]
        inside += [i for group, i in bars if trace.type == "bar" and trace.meta == group]
        for i in inside:
            for key, value in zip(found, (number, i, 0.0, 0.0), strict=True):
                found[key].append(value)
    explorer._plot._handler_js2py_pointsCallback({"new": {"event_type": "plotly_selected", "points": found}})


def click(explorer, sample):
    for number, trace in enumerate(explorer._plot.data):
        if trace.customdata is not None and trace.meta != "lit" and sample in trace.customdata:
            points = {"trace_indexes": [number], "point_indexes": [list(trace.customdata).index(sample)]}
            explorer._plot._handler_js2py_pointsCallback({"new": {"event_type": "plotly_click", "points": points}})


def a_kind(run):
    """Let a run know kinds of uncertainty."""
    run.samples["uncertainty"] = np.where(np.arange(len(run.samples)) % 4 == 0, "blur", "none")
    return run


# ---- what is shown ----


def test_it_begins_with_the_last_epoch_and_the_least_certain_first(new_run, faces):
    run = new_run()
    explorer = AlphaExplorer(run, faces)
    alpha = run.history.alpha[-1]
    assert repr(explorer) == "AlphaExplorer(60 faces, epoch 2, 0 selected)"
    assert explorer.grid.order == np.argsort(alpha, kind="stable").tolist() == explorer.table["sample"].tolist()
    places = drawn(explorer)
    assert all(places[i][0] == pytest.approx(alpha[i], abs=1e-5) for i in range(60))
    low = explorer.table.iloc[0]
    assert explorer.grid.caption(int(low["sample"])).endswith(f"α {low['alpha']:.4f}, rank 0.00")


def test_an_epoch_moves_points_captions_labels_and_words(new_run, faces):
    run = new_run(epochs=4)
    explorer = AlphaExplorer(run, faces)
    changed = int((run.ledger.given != run.ledger.current).nonzero()[0])
    assert "→" in explorer.grid.caption(changed)
    explorer.epoch.value = 1
    table = sample_table(run, 1)
    assert "→" not in explorer.grid.caption(changed)
    assert explorer.grid.caption(7).endswith(f"α {table['alpha'][7]:.4f}, rank {table['rank'][7]:.2f}")
    assert drawn(explorer)[7] == pytest.approx((table["alpha"][7], table["doubt"][7]), abs=1e-5)
    assert explorer.grid.order == chosen_samples(table).tolist() and "Epoch 1, 60 faces." in explorer._words.value
    assert repr(explorer).startswith("AlphaExplorer(60 faces, epoch 1")
    explorer.epoch.value = 3
    assert "→" in explorer.grid.caption(changed) and "epoch 3" in repr(explorer)


def test_axes_and_order_can_be_any_score(new_run, faces):
    run, mine = new_run(), np.linspace(1, 0, 60)
    explorer = AlphaExplorer(run, faces, scores={"mine": mine})
    explorer.x.value, explorer.y.value = "loss", "mine"
    table = sample_table(run)
    assert drawn(explorer)[11] == pytest.approx((table["loss"][11], mine[11]), abs=1e-5)
    assert explorer._plot.layout.xaxis.title.text == "loss of the given label"
    explorer.sort.value = "mine"
    assert explorer.grid.order == list(range(60))[::-1]
    explorer.ascending.value = False
    assert explorer.grid.order == list(range(60))


def test_filters_act_on_plot_grid_and_table(new_run, faces):
    run = a_kind(new_run())
    explorer, table = AlphaExplorer(run, faces), sample_table(run)
    blur, state = table["uncertainty"] == "blur", table["state"]
    cases = [("given", "joy", table["given"] == "joy"), ("kind", "blur", blur), ("kind", "any", blur),
             ("group", "low", table["low"]), ("label", "changed", state != "unchanged"),
             ("label", "cured", state == "cured")]  # fmt: skip
    for name, value, keep in cases:
        getattr(explorer, name).value = value
        expected = set(np.flatnonzero(keep))
        assert set(explorer.grid.order) == set(drawn(explorer)) == set(explorer.table["sample"]) == expected
        assert repr(explorer).startswith(f"AlphaExplorer({len(expected)} of 60 faces")
        getattr(explorer, name).value = ""
    assert len(explorer.grid.order) == 60
    explorer.given.value, explorer.kind.value, explorer.group.value = "joy", "blur", "unseen"
    assert len(explorer.table) == 0 and explorer._plot.layout.annotations[0].text.startswith("No face")
    assert "No face is left" in explorer.grid._words and explorer.png()[:4] == b"\x89PNG"
    explorer.group.value = ""
    assert len(explorer.table) and not explorer._plot.layout.annotations[0].text.startswith("No face")


def test_a_filter_that_the_run_does_not_know(new_run, faces):
    explorer = AlphaExplorer(new_run(truth=False), faces)
    assert explorer.kind.disabled and [value for _, value in explorer.label.options] == ["", "changed", "unchanged"]
    for control, value in ((explorer.sort, "level"), (explorer.kind, "blur"), (explorer.epoch, "three")):
        with pytest.raises(TraitError):
            control.value = value


def test_what_a_network_said_in_an_epoch_is_computed_once_and_labels_each_time(new_run, faces):
    run, asked = new_run(epochs=4), []
    probs = run.history.probs
    run.history.probs = lambda epoch: asked.append(epoch) or probs(epoch)
    explorer = AlphaExplorer(run, faces)
    for epoch in (2, 3, 2, 1, 3):
        explorer.epoch.value = epoch
    assert asked == [3, 2, 1]
    sample = int((run.ledger.given == run.truth).nonzero()[0])
    explorer.epoch.value = 0
    run.ledger.override(sample, (int(run.ledger.given[sample]) + 1) % 3)
    explorer.epoch.value = 3
    assert explorer.table.set_index("sample")["state"][sample] == "harmed" and asked == [3, 2, 1, 0]
    assert explorer.table.sort_values("sample", ignore_index=True).equals(sample_table(run))


# ---- links ----


def test_a_lasso_selects_faces_and_brings_them_to_the_front(new_run, faces):
    explorer = AlphaExplorer(new_run(), faces)
    before = list(explorer.grid.order)
    lasso(explorer, {5, 17, 40})
    assert sorted(explorer.selected) == [5, 17, 40] == lit(explorer)
    front = [s for s in before if s in (5, 17, 40)]
    assert explorer.grid.order == front + [s for s in before if s not in front]
    assert explorer.grid.focused == front[0] and len(explorer._below.children) == 1
    lasso(explorer, set())
    assert explorer.selected == [] == lit(explorer) and explorer.grid.order == before and explorer.grid.focused == -1


def test_a_lasso_around_bars_selects_whom_they_hold(new_run, faces):
    explorer = AlphaExplorer(new_run(), faces)
    lasso(explorer, {}, [(group, i) for group in ("low", "high") for i in range(5)])
    figure = explorer.figure()
    bars = next(t for t in figure.data if t.meta == "low")
    edge = bars.x[4] + bars.width / 2
    alpha = explorer.table.set_index("sample")["alpha"]
    assert set(explorer.selected) == set(alpha.index[alpha < edge]) and explorer.selected


def test_a_face_selected_in_the_grid_lights_up_and_nothing_moves(new_run, faces):
    explorer = AlphaExplorer(new_run(), faces)
    before = list(explorer.grid.order)
    explorer.grid.selected, explorer.grid.focused = [9], 9  # what a click sends
    assert lit(explorer) == [9] and explorer.grid.order == before
    explorer.select([1, 2])
    assert lit(explorer) == [1, 2] == sorted(explorer.grid.selected) and set(explorer.grid.order[:2]) == {1, 2}
    explorer.select([])
    assert lit(explorer) == []


def test_a_click_on_a_point_and_letting_go(new_run, faces):
    explorer = AlphaExplorer(new_run(), faces)
    click(explorer, 33)
    assert explorer.selected == [33] and explorer.grid.focused == 33 and explorer.grid.order[0] == 33
    explorer._plot._handler_js2py_pointsCallback({"new": {"event_type": "plotly_hover", "points": {}}})
    assert explorer.selected == [33]
    explorer._plot._handler_js2py_pointsCallback({"new": {"event_type": "plotly_deselect", "points": {}}})
    assert explorer.selected == []


def test_selected_faces_can_be_followed_through_epochs_and_filters(new_run, faces):
    run = new_run(epochs=4)
    explorer = AlphaExplorer(run, faces)
    lasso(explorer, {5, 17, 40})
    explorer.epoch.value = 0
    assert lit(explorer) == [5, 17, 40] and set(explorer.grid.order[:3]) == {5, 17, 40}
    explorer.given.value = run.classes[int(run.ledger.given[5])]
    assert set(lit(explorer)) == {s for s in (5, 17, 40) if run.ledger.given[s] == run.ledger.given[5]}
    assert sorted(explorer.selected) == [5, 17, 40]


def test_plot_and_grid_do_not_answer_each_other_for_ever(new_run, faces):
    explorer, seen = AlphaExplorer(new_run(), faces), []
    explorer.grid.observe(lambda change: seen.append(change["new"]), "selected")
    lasso(explorer, {5, 17})
    explorer.grid.selected = [3]
    assert [sorted(samples) for samples in seen] == [[5, 17], [3]]


# ---- a life ----


def test_the_life_of_the_face_in_focus(new_run, faces):
    run = new_run(epochs=4)
    explorer = AlphaExplorer(run, faces)
    assert "Click a face" in explorer._below.children[0].value
    explorer.grid.focused = 8
    (life,) = explorer._below.children
    assert life.layout.title.text.startswith("sample 8 (8.png), given ")
    assert list(life.data[0].y) == pytest.approx(run.history.alpha[:, 8].tolist(), abs=1e-4)
    explorer.grid.focused = 9
    assert explorer._below.children == (life,) and life.layout.title.text.startswith("sample 9 ")
    assert list(life.data[0].y) == pytest.approx(run.history.alpha[:, 9].tolist(), abs=1e-4)
    explorer.epoch.value = 1
    assert [s.x0 for s in life.layout.shapes if s.type == "rect"] == [0.6]
    explorer.grid.focused = -1
    assert "Click a face" in explorer._below.children[0].value


def test_a_decision_in_the_grid_reaches_plot_table_and_life(new_run, faces):
    run = new_run()
    explorer = AlphaExplorer(run, faces)
    sample = int((run.ledger.given == run.truth).nonzero()[0])
    other = next(name for name in run.classes if name != run.classes[int(run.truth[sample])])
    explorer.grid.focused = sample
    explorer.grid.choose(sample, other)
    table = explorer.table.set_index("sample")
    assert table["state"][sample] == "harmed" and table["current"][sample] == other
    harmed = next(t for t in explorer._plot.data if t.meta == "harmed")
    assert sample in harmed.customdata
    assert f"now {other}" in explorer._below.children[0].layout.title.text
    explorer.grid.undo()
    assert explorer.table.set_index("sample")["state"][sample] == "unchanged"


# ---- where nothing runs ----


def test_figure_and_png_show_the_state(new_run, faces):
    run = new_run(epochs=4)
    explorer = AlphaExplorer(run, faces)
    explorer.epoch.value, explorer.y.value = 1, "loss"
    explorer.select([4])
    table = sample_table(run, 1)
    expected = explorer_figure(table, "alpha", "loss", [4], run_marks(run, table), explorer._sentences())
    assert explorer.figure() == expected and explorer.figure().layout.title.text.count("<br>") >= 2
    data = explorer._repr_mimebundle_()
    assert data["text/plain"] == repr(explorer) and base64.b64decode(data["image/png"]) == explorer.png()


# ---- bad input ----


def test_odd_runs(new_run, faces):
    one = AlphaExplorer(new_run(epochs=1), faces)
    one.epoch.value = 1  # the slider needs two ends; there is nothing at the second
    assert one.epoch.disabled and repr(one) == "AlphaExplorer(60 faces, epoch 0, 0 selected)"
    nobody = AlphaExplorer(new_run(unseen=60), faces)
    assert "No sample was seen" in nobody._words.value and nobody.png()[:4] == b"\x89PNG"
    missing = AlphaExplorer(new_run(unseen=2, classes=["高兴", "悲伤", "生气"]), [None, *faces[1:]])
    missing.select([0, 59])
    assert missing.grid.caption(59).endswith("not seen") and missing.grid.focused == 0
    with pytest.raises(RunError, match="no epoch yet"):
        AlphaExplorer(new_run(epochs=0), faces)
    with pytest.raises(DataError, match="59 images but 60 training samples"):
        AlphaExplorer(new_run(), faces[:59])
    with pytest.raises(DataError, match="60 training samples but 2 values of mine"):
        AlphaExplorer(new_run(), faces, {"mine": [0.1, 0.2]})
    with pytest.raises(DataError, match="There is no sample 99"):
        one.select([99])
    assert one.selected == []
