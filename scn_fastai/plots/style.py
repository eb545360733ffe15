"""One look for all pictures: colours that colour-blind readers tell apart, letters readable on a projector."""

import html
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from scn_fastai.errors import DataError

# Okabe and Ito (2008), "Color Universal Design": told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, INK = "#CC79A7", "#56B4E9", "#8A8A8A", "#222222"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK, GREY)
DASHES = ("solid", "dash", "dot", "dashdot")
FONT = "Noto Sans, DejaVu Sans, Arial, Noto Sans CJK SC, Microsoft YaHei, PingFang SC, sans-serif"


class State(NamedTuple):
    """How a face is framed: the words of the legend, a colour, and a line style that works without colour."""

    words: str
    color: str
    dash: str


STATES = {
    "unchanged": State("label unchanged", GREY, "solid"),
    "changed": State("label changed, truth unknown", PURPLE, "solid"),
    "cured": State("changed, now true", BLUE, "solid"),
    "missed": State("changed, still wrong", ORANGE, "dash"),
    "harmed": State("changed, was true before", VERMILION, "dot"),
}


def label_states(given: np.ndarray, current: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """What happened to each label, a key of STATES for every sample ``[N]``.

    >>> label_states([0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 2]).tolist()
    ['unchanged', 'cured', 'harmed', 'missed']
    """
    return np.array(list(STATES))[state_codes(given, current, truth)]


def state_codes(given: np.ndarray, current: np.ndarray, truth: np.ndarray | None = None) -> np.ndarray:
    """The same as positions in STATES, int8 ``[N]``: quicker for thirty thousand labels than words.

    >>> state_codes([0, 0, 1, 1], [0, 1, 0, 0], [0, 1, 1, 2]).tolist()
    [0, 2, 4, 3]
    """
    given, current = np.asarray(given), np.asarray(current)
    unchanged, changed, cured, missed, harmed = np.arange(len(STATES), dtype=np.int8)
    if truth is None:
        return np.where(given == current, unchanged, changed)
    truth = np.asarray(truth)
    became = np.where(current == truth, cured, np.where(given == truth, harmed, missed))
    return np.where(given == current, unchanged, became)


def plain(values, digits: int = 6) -> list[float | None]:
    """Numbers as a short list that is the same on every machine; None where there is no number.

    >>> plain([0.12345678, float("nan")])
    [0.123457, None]
    """
    return [round(float(v), digits) if np.isfinite(v) else None for v in np.asarray(values, dtype=float).ravel()]


def as_names(labels, classes: list[str] | None) -> list[str]:
    """Class names of labels ``[N]`` that are codes (with ``classes``) or names already.

    >>> as_names([1, 0], ["sad", "glad"])
    ['glad', 'sad']
    """
    values = np.asarray(labels)
    if classes is None or values.dtype.kind not in "iu":
        return [str(value) for value in values]
    if len(values) and (values.min() < 0 or values.max() >= len(classes)):
        raise DataError(f"A label is outside the {len(classes)} classes: labels are 0 to {len(classes) - 1}.")
    return [str(classes[value]) for value in values]


def counted(n: int, what: str) -> str:
    """A number and what it counts.

    >>> counted(1, "face"), counted(2000, "face")
    ('1 face', '2,000 faces')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def unseen_words(n: int) -> str:
    """How many samples were not drawn in an epoch, or nothing.

    >>> unseen_words(1), unseen_words(0)
    ('1 sample was not seen', '')
    """
    return f"{counted(n, 'sample')} {'was' if n == 1 else 'were'} not seen" if n else ""


def markup(text: str) -> str:
    r"""Plain text as plotly shows it: what looks like a tag stays text, a line end becomes a new line.

    >>> markup("a<b\nc")
    'a&lt;b<br>c'
    """
    return html.escape(str(text), quote=False).replace("\n", "<br>")


def tidy(figure: go.Figure, title: str = "", **layout) -> go.Figure:
    """The common look; returns the figure it was given."""
    return figure.update_layout(look(title), **layout)


def look(title: str = "") -> dict:
    """The common look as the layout of a figure."""
    return {
        "template": "plotly_white",
        "font": {"family": FONT, "size": 14, "color": INK},
        "title": {"text": title, "font": {"size": 18}, "x": 0, "xref": "paper", "xanchor": "left"} if title else None,
        "margin": {"l": 70, "r": 20, "t": 60 if title else 20, "b": 50},
        "hoverlabel": {"font": {"size": 14}},
    }


def sentence(text: str, height: int = 160) -> go.Figure:
    """A figure that says why there is no picture."""
    figure = go.Figure()
    middle = {"x": 0.5, "y": 0.5, "xref": "paper", "yref": "paper"}
    figure.add_annotation(text=markup(text), showarrow=False, font={"size": 16}, **middle)
    hidden = {"visible": False}
    return tidy(figure, height=height, xaxis=hidden, yaxis=hidden, margin={"l": 20, "r": 20, "t": 20, "b": 20})
