"""What the widgets share: controls of one look, a picture for pages where nothing runs, plots that follow."""

from base64 import b64encode
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from ipywidgets import Layout

from scn_fastai.widgets.live_figure import LiveFigure

LETTERS = 15  # pixels; ipywidgets writes in 13, too small for a projector
STYLE = f"""<style>
.scn-widget {{ --jp-widgets-font-size: {LETTERS}px; --jp-widgets-inline-label-width: 132px }}
.scn-widget .jupyter-button, .scn-widget .lm-TabBar-tabLabel {{ font-size: {LETTERS}px }}
.scn-widget .widget-label, .scn-widget .widget-html-content {{ font-size: {LETTERS}px; line-height: 1.35 }}
</style>"""


class Panel(widgets.VBox):
    """A widget made of parts, with a picture of it for pages where nothing runs.

    A child class gives ``figure()`` (a plotly Figure of what is shown now), ``png()`` (the same as a PNG file, made
    without a browser) and a short ``__repr__`` that is the same on every machine.
    """

    def __init__(self, children: Sequence[widgets.Widget]):
        super().__init__([*children, widgets.HTML(STYLE)])
        self.add_class("scn-widget")

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        raise NotImplementedError

    def png(self) -> bytes:
        """The same as a PNG file."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **how) -> dict:
        """The widget and its words, and its picture for a page where nothing runs."""
        _settle(self)
        return super()._repr_mimebundle_(**how) | {"image/png": b64encode(self.png()).decode()}


def _settle(widget: widgets.Widget) -> None:
    """Have all figures in a widget shown as they are now."""
    if isinstance(widget, LiveFigure):
        widget.settle()
    for child in getattr(widget, "children", ()):
        _settle(child)


def slider(words: str, least: float, most: float, value: float, step: float = 0.01, digits: str = ".2f"):
    """A slider that tells its value while it moves; whole numbers where the step is one."""
    whole = isinstance(step, int)
    kind, form = (widgets.IntSlider, "d") if whole else (widgets.FloatSlider, digits)
    return kind(description=words, min=least, max=most, value=value, step=step, readout_format=form,
                layout=Layout(width="auto", min_width="260px", flex="1 1 260px"))  # fmt: skip


def dropdown(words: str, options: Sequence, value=None, width: str = "auto") -> widgets.Dropdown:
    """A list to choose one from; the first where no value is named."""
    chosen = {} if value is None else {"value": value}
    return widgets.Dropdown(description=words, options=list(options), layout=Layout(width=width), **chosen)


def button(words: str, what, help: str = "") -> widgets.Button:
    """A button; ``what`` is called without arguments."""
    made = widgets.Button(description=words, tooltip=help, layout=Layout(width="auto"))
    made.on_click(lambda _: what())
    return made


def row(*controls: widgets.Widget) -> widgets.HBox:
    """Controls beside each other; they go on below where the page is narrow."""
    return widgets.HBox(list(controls), layout=Layout(flex_flow="row wrap", grid_gap="4px 16px", align_items="center"))


def live(figure: go.Figure, parts: dict | None = None) -> LiveFigure:
    """A plotly figure that `redraw` can change in place and whose points can be selected.

    ``parts``: what of it will be redrawn, if that is not all: a dict with ``data`` and ``layout``.
    """
    shown = LiveFigure(figure)
    shown._drawn = _parts(parts or figure)
    return shown


def redraw(shown: LiveFigure, figure: go.Figure | dict) -> None:
    """Show another figure in the place of one that `live` made: what differs travels, in one message.

    What a person did to it (zoom, tool, a hidden part of the legend) stays as long as the figures agree on it.
    """
    new, was = _parts(figure), getattr(shown, "_drawn", None) or _parts(shown)
    with shown.batch_update():
        if [t.type for t in shown.data] == [t["type"] for t in new["data"]] and len(was["data"]) == len(new["data"]):
            for trace, before, after in zip(shown.data, was["data"], new["data"], strict=True):
                _become(trace, before, after)
        else:
            shown.data = []
            shown.add_traces(new["data"])
        _become(shown.layout, was["layout"], new["layout"])
    shown._drawn = new


def _parts(figure: go.Figure | dict) -> dict:
    if isinstance(figure, dict):
        return figure
    return {"data": [t.to_plotly_json() for t in figure.data], "layout": figure.layout.to_plotly_json()}


def _become(shown, before: dict, after: dict) -> None:
    """Set what differs between two traces or layouts."""
    for name in before | after:
        if name != "template" and not _same(before.get(name), after.get(name)):
            shown[name] = after.get(name)


def _same(one, other) -> bool:
    """Whether two values of a figure are the same."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    return one == other
