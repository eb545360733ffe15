"""A plotly figure that can change in place, and that a page shows without making plotly ready again."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path

import plotly
import plotly.graph_objects as go
from traitlets import Bytes, Unicode, default, observe


@cache
def bundle() -> bytes:
    """Plotly's own half of its widgets in the browser, a JavaScript module."""
    return (Path(plotly.__file__).parent / "package_data" / "widgetbundle.js").read_bytes()


class LiveFigure(go.FigureWidget):
    """A `FigureWidget` whose second and further copies appear at once.

    `FigureWidget` lets the browser read and compile all of plotly anew for each figure, which takes it a second; here
    it does so once a page.

    >>> figure = LiveFigure({"data": [{"type": "bar", "y": [1, 2]}]})
    >>> figure.data[0].y = [3, 4]
    >>> figure.data[0].y
    (3, 4)
    """

    _esm = Path(__file__).with_suffix(".js")
    _bundle = Bytes().tag(sync=True)
    _version = Unicode(plotly.__version__).tag(sync=True)

    _picked: Callable[[dict[int, list[int]]], None] | None = None

    @default("_bundle")
    def _plotly(self) -> bytes:
        return bundle()

    def settle(self) -> None:
        """Let a page that shows the figure for the first time see it as it is now, not as it was made."""
        # Changes are sent as messages, and those that come before the browser is ready are lost.
        self._widget_data, self._widget_layout = deepcopy(self._data), deepcopy(self._layout)

    def on_pick(self, callback: Callable[[dict[int, list[int]]], None]) -> None:
        """Call a function with the points that a lasso, a box or a click picked; with none when a person lets go.

        They come as a dict from the number of a trace to the numbers of its points.
        """
        self._picked = callback

    @observe("_js2py_pointsCallback")
    def _handler_js2py_pointsCallback(self, change) -> None:
        # Plotly's own way calls back for one trace after the other, and has each of them drawn anew.
        if self._picked is None or not change["new"]:
            super()._handler_js2py_pointsCallback(change)
            return
        kind, points = change["new"]["event_type"], change["new"].get("points") or {}
        picked: dict[int, list[int]] = {}
        for trace, point in zip(points.get("trace_indexes", ()), points.get("point_indexes", ()), strict=True):
            picked.setdefault(trace, []).append(point)
        self._js2py_pointsCallback = None
        if kind in ("plotly_selected", "plotly_deselect") or kind == "plotly_click" and picked:
            self._picked(picked)
