"""A plot that becomes another: the same figure in the end, little that travels, what a person did stays."""

import numpy as np
import plotly.graph_objects as go

from scn_fastai.widgets.parts import live, redraw


def a_figure(shift=0.0, title="a", shapes=1, kind="scatter"):
    figure = go.Figure({"data": [{"type": kind, "x": np.arange(3.0), "y": np.arange(3.0) + shift}]})
    figure.update_layout(title_text=title, xaxis_range=[0, 3], template="plotly_white")
    for place in range(shapes):
        figure.add_vline(x=place)
    return figure


def sent(shown, what):
    """The messages to a browser that something sends."""
    got = []
    for name in ("_py2js_update", "_py2js_restyle", "_py2js_relayout", "_py2js_addTraces", "_py2js_deleteTraces"):
        shown.observe(lambda change: got.append(change["new"]) if change["new"] else None, name)
    what()
    return got


def test_it_becomes_the_other_figure_in_one_message():
    shown, other = live(a_figure()), a_figure(2.0, "b", shapes=3)
    (message,) = sent(shown, lambda: redraw(shown, other))
    assert list(shown.data[0].y) == [2, 3, 4] and shown.layout.title.text == "b" and len(shown.layout.shapes) == 3
    assert set(message["style_data"]) == {"y"} and set(message["layout_data"]) == {"title", "shapes"}
    redraw(shown, a_figure())
    assert shown.layout.title.text == "a" and len(shown.layout.shapes) == 1 and shown.data[0].y[0] == 0


def test_nothing_travels_where_nothing_differs():
    shown = live(a_figure())
    assert sent(shown, lambda: redraw(shown, a_figure())) == []


def test_zoom_tool_and_hidden_traces_stay_while_the_figures_agree():
    shown = live(a_figure())
    shown.layout.xaxis.range, shown.layout.dragmode, shown.data[0].visible = [1, 2], "lasso", "legendonly"
    redraw(shown, a_figure(1.0, "b"))
    assert shown.layout.xaxis.range == (1, 2) and shown.layout.dragmode == "lasso"
    assert shown.data[0].visible == "legendonly"
    other = a_figure()
    other.update_layout(xaxis_range=[0, 9])
    redraw(shown, other)
    assert shown.layout.xaxis.range == (0, 9)


def test_other_kinds_of_traces_take_the_place():
    shown = live(a_figure())
    redraw(shown, a_figure(kind="bar"))
    assert [trace.type for trace in shown.data] == ["bar"] and list(shown.data[0].y) == [0, 1, 2]


def test_parts_as_plain_dicts():
    parts = [
        {"data": [{"type": "scatter", "x": [0], "y": [y]}], "layout": {"xaxis": {"range": [0, y]}}} for y in (1, 5)
    ]
    figure = go.Figure(parts[0])
    figure.update_layout(title_text="stays")
    shown = live(figure, parts[0])
    redraw(shown, parts[1])
    assert shown.data[0].y == (5,) and shown.layout.xaxis.range == (0, 5) and shown.layout.title.text == "stays"
