"""A face to play with: sliders for what it does, how it is seen and how poor the picture is."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
from ipywidgets import Layout
from traitlets import Instance, observe

from scn_fastai.faces import lab
from scn_fastai.faces.expressions import CLASSES, MOST
from scn_fastai.faces.lab import FaceState, Predict, View
from scn_fastai.plots.face_lab import FACE_WIDTH, bars_html, caption_html, face_lab_figure, face_lab_png, face_png

# Of a slider: words, least, most, step, how its number is written. The names are those of `Pose` and `Light`.
DEGREES, SHARE, ADDED = ".0f", ".2f", "+.2f"
POSE = {
    "yaw": ("turn (yaw)", -75, 75, 1, DEGREES),
    "pitch": ("nod (pitch)", -30, 30, 1, DEGREES),
    "roll": ("tilt (roll)", -30, 30, 1, DEGREES),
    "zoom": ("size (zoom)", 0.5, 1.6, 0.01, SHARE),
    "shift_x": ("shift across", -0.3, 0.3, 0.01, SHARE),
    "shift_y": ("shift down", -0.3, 0.3, 0.01, SHARE),
}
LIGHT = {
    "azimuth": ("lamp left to right", -90, 90, 1, DEGREES),
    "elevation": ("lamp low to high", -60, 80, 1, DEGREES),
    "key": ("lamp strength", 0, 1.5, 0.01, SHARE),
    "fill": ("from the other side", 0, 1, 0.01, SHARE),
    "ambient": ("from everywhere", 0, 1, 0.01, SHARE),
    "warmth": ("cold to warm", -0.3, 0.3, 0.01, SHARE),
}
UNITS = {
    words: {k: (v, -MOST, MOST, 0.05, ADDED) for k, v in units.items()} for words, units in lab.UNIT_GROUPS.items()
}
TABS = UNITS | {"Pose": POSE, "Light": LIGHT}
UNITS_HELP = "More (right) or less (left) than the expression has:"
# ipywidgets writes in letters of 13 pixels: too small for a projector.
STYLE = """<style>
.scn-face-lab { --jp-widgets-font-size: 15px; --jp-widgets-inline-label-width: 172px }
.scn-face-lab .jupyter-button, .scn-face-lab .lm-TabBar-tabLabel { font-size: 15px }
.scn-face-lab .widget-tab-contents { padding: 6px }
</style>"""


class FaceLab(widgets.HBox):
    """A rendered face and its controls; with a model, what that says of the face.

    Everything that is shown follows from ``state`` (a `FaceState`), which can be read and set: it moves with the
    controls, and the controls move with it. Each control can be set from Python too: ``lab.mix.value = 0.4``,
    ``lab.controls["jawOpen"].value = 0.3``, ``lab.presets["fear"].click()``.

    Args:
        predict: a model as a function: uint8 faces ``[k, S, S, 3]`` in, probabilities ``[k, C]`` out, or a pair of
            those and alpha ``[k]``; `scn_fastai.training.predict.predictor` makes one of a Run. None: no bars.
        classes: names of the C classes; None takes ``predict.classes``.
        state: what to begin with.
        size: pixels across, as the model gets them; on the screen a face is always 384 wide.

    >>> lab = FaceLab(size=32)
    >>> lab.mix.value = 0.4
    >>> lab, lab.image.shape
    (FaceLab(happiness 0.60 + surprise 0.40), (32, 32, 3))
    """

    state = Instance(FaceState)

    def __init__(
        self,
        predict: Predict | None = None,
        classes: Sequence[str] | None = None,
        state: FaceState | None = None,
        size: int = 128,
    ):
        self._look = partial(lab.look, size=size, predict=predict, classes=classes)
        self._first_state, self.view = state or FaceState(), View()
        self._make_controls()
        self.picture = widgets.Image(format="png", layout=Layout(width=f"{FACE_WIDTH}px", height=f"{FACE_WIDTH}px"))
        self.bars, self.caption = widgets.HTML(), widgets.HTML()
        left = widgets.VBox([self.picture, self.bars], layout=Layout(width=f"{FACE_WIDTH}px", flex="0 0 auto"))
        super().__init__([left, self._panel(), widgets.HTML(STYLE)])
        self.layout = Layout(flex_flow="row wrap", grid_gap="16px")
        self.add_class("scn-face-lab")
        self.state = self._first_state

    # -- what is shown ------------------------------------------------------------------------------------------

    @observe("state")
    def _show(self, _=None) -> None:
        self.view = view = self._look(self.state)
        self._follow()
        self.picture.value = face_png(view.image, view.problem)
        self.bars.value = bars_html(view.probs, view.classes, view.alpha, view.silence)
        self.caption.value = caption_html(str(self.state), view.units)

    @property
    def image(self) -> np.ndarray | None:
        """The face, uint8 ``[size, size, 3]``; None where the state cannot be drawn."""
        return self.view.image

    def figure(self) -> go.Figure:
        """What is shown now, as a plotly figure that stays as it is."""
        return face_lab_figure(*self._shown())

    def png(self) -> bytes:
        """The same as a PNG file."""
        return face_lab_png(*self._shown())

    def _shown(self) -> tuple:
        view = self.view
        return view.image, view.probs, view.classes, str(self.state), view.alpha, view.problem or view.silence

    def __repr__(self) -> str:
        return f"FaceLab({self.state})"

    def _repr_mimebundle_(self, **how) -> dict:
        """The widget and its words, and its picture for a page where nothing runs."""
        return super()._repr_mimebundle_(**how) | {"image/png": b64encode(self.png()).decode()}

    # -- controls -----------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        self.first, self.second, self.kind = (_dropdown(names) for names in (CLASSES, CLASSES, lab.KINDS))
        self.mix, self.level = (_slider("", 0, 1, 0.01, SHARE) for _ in range(2))
        self.intensity = _slider("", 0, lab.MOST_INTENSITY, 0.05, SHARE)
        self.person = widgets.BoundedIntText(min=0, max=lab.LAST_PERSON, layout=Layout(width="80px"))
        own = ("first", "second", "mix", "intensity", "kind", "level", "person")
        self.controls: dict[str, widgets.Widget] = {name: getattr(self, name) for name in own}
        self.controls |= {name: _slider(*how) for sliders in TABS.values() for name, how in sliders.items()}
        for name, control in self.controls.items():
            control.value = _reachable(control, lab.value_of(FaceState(), name))
            control.observe(partial(self._take, name), "value")
        self.presets = {name: self._button(name, partial(lab.preset, name=name)) for name in CLASSES}
        self.somebody_else = self._button("somebody else", lab.somebody_else)
        self.start_again = self._button("start again", lambda _: self._first_state)

    def _panel(self) -> widgets.VBox:
        buttons = Layout(grid_template_columns="repeat(4, 1fr)", grid_gap="4px")
        rows = [
            widgets.GridBox(list(self.presets.values()), layout=buttons),
            widgets.HBox([self.first, self.mix, self.second]),
            _row("strength", self.intensity),
            _row("spoiled by", self.kind, self.level),
            _row("person", self.person, self.somebody_else, self.start_again),
            widgets.Tab([self._tab(name) for name in TABS], titles=tuple(TABS)),
            self.caption,
        ]
        return widgets.VBox(rows, layout=Layout(flex="1 1 400px", max_width="520px"))

    def _tab(self, name: str) -> widgets.VBox:
        words = [widgets.Label(UNITS_HELP)] if name in UNITS else []
        return widgets.VBox([*words, *(self.controls[slider] for slider in TABS[name])])

    def _take(self, name: str, change: Mapping) -> None:
        if not self._stands(name):
            self.state = lab.with_value(self.state, name, change["new"])

    def _follow(self) -> None:
        """Move the controls to a state that can be drawn; one that does not reach so far goes as far as it can."""
        for name in self.controls if not self.view.problem else ():
            if not self._stands(name):  # else somebody may be dragging it, and an answer would throw it back
                self.controls[name].value = _reachable(self.controls[name], lab.value_of(self.state, name))
        self.level.disabled = self.state.kind == "none"

    def _stands(self, name: str) -> bool:
        """Whether a control stands where the state has it, or as near as it can."""
        control, value = self.controls[name], lab.value_of(self.state, name)
        return lab.alike(control.value, value) or lab.alike(control.value, _reachable(control, value))

    def _apply(self, change: Callable[[FaceState], FaceState], _=None) -> None:
        self.state = change(self.state)

    def _button(self, words: str, change: Callable[[FaceState], FaceState]) -> widgets.Button:
        button = widgets.Button(description=words, layout=Layout(width="auto"))
        button.on_click(partial(self._apply, change))
        return button


def _row(words: str, *controls: widgets.Widget) -> widgets.HBox:
    return widgets.HBox([widgets.Label(words, layout=Layout(width="80px")), *controls])


def _slider(words: str, least: float, most: float, step: float, digits: str) -> widgets.FloatSlider:
    return widgets.FloatSlider(description=words, min=least, max=most, step=step, readout_format=digits,
                               layout=Layout(width="auto", flex="1 1 auto"))  # fmt: skip


def _dropdown(names: Sequence[str]) -> widgets.Dropdown:
    return widgets.Dropdown(options=[(name.replace("_", " "), name) for name in names], layout=Layout(width="125px"))


def _reachable(control: widgets.Widget, value):
    """A slider in a browser snaps to its steps and would report that as a move: it is put there at once."""
    slider = isinstance(control, widgets.FloatSlider)
    return lab.on_step(value, control.min, control.max, control.step) if slider else value
