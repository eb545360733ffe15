"""LiveFigure: plotly's own widget in all but how its browser half is sent."""

from pathlib import Path

import plotly
import plotly.graph_objects as go

from scn_fastai.widgets.live_figure import LiveFigure, bundle
from scn_fastai.widgets.parts import Panel, live, redraw


def test_the_browser_half_is_plotlys_own():
    figure = LiveFigure({"data": [{"type": "bar", "y": [1, 2]}]})
    own = Path(plotly.__file__).parent / "package_data" / "widgetbundle.js"
    state = figure.get_state()
    assert isinstance(figure, go.FigureWidget) and state["_bundle"] == own.read_bytes() == bundle()
    assert b"as default}" in bundle()[-20_000:]  # what our few lines import
    quiet = (b"as FigureView", b"_sendTraceDeltas", b"_sendLayoutDelta", b"plotGlPixelRatio")  # what they change in it
    assert all(name in bundle() for name in quiet)
    assert len(state["_esm"]) < 2_000 and state["_version"] == plotly.__version__
    assert LiveFigure()._bundle is figure._bundle  # kept once


def test_a_figure_is_shown_as_it_is_when_it_is_shown():
    class Plot(Panel):
        def __init__(self):
            self.plot = live(go.Figure({"data": [{"type": "bar", "y": [1, 2]}]}))
            super().__init__([self.plot])

        def png(self):
            return b""

    panel = Plot()
    other = go.Figure({"data": [{"type": "bar", "y": [3, 4]}], "layout": {"title": {"text": "b"}}})
    redraw(panel.plot, other)
    panel._repr_mimebundle_()
    assert list(panel.plot._widget_data[0]["y"]) == [3, 4] and panel.plot._widget_layout["title"]["text"] == "b"
    redraw(panel.plot, go.Figure({"data": [{"type": "bar", "y": [5, 6]}]}))
    assert list(panel.plot._widget_data[0]["y"]) == [3, 4]  # a copy: later changes travel as messages


def test_points_that_are_picked_come_all_at_once_and_nothing_is_sent_back():
    figure, got, sent = LiveFigure({"data": [{"type": "bar", "y": [1, 2]}, {"type": "bar", "y": [3, 4]}]}), [], []
    figure.observe(lambda change: sent.append(change["new"]) if change["new"] else None, "_py2js_restyle")
    figure.on_pick(got.append)
    points = {"trace_indexes": [1, 0, 1], "point_indexes": [0, 1, 1], "xs": [0] * 3, "ys": [0] * 3}
    for kind, inside in (("selected", points), ("hover", points), ("click", {}), ("click", points), ("deselect", {})):
        figure._js2py_pointsCallback = {"event_type": f"plotly_{kind}", "points": inside}
    assert got == [{1: [0, 1], 0: [1]}, {1: [0, 1], 0: [1]}, {}] and sent == []


def test_without_a_listener_it_answers_as_plotly_does():
    figure, got = LiveFigure({"data": [{"type": "bar", "y": [1, 2]}]}), []
    figure.data[0].on_click(lambda trace, points, _: got.append(points.point_inds))
    points = {"trace_indexes": [0], "point_indexes": [1], "xs": [0], "ys": [0]}
    figure._js2py_pointsCallback = {"event_type": "plotly_click", "points": points}
    assert got == [[1]]
