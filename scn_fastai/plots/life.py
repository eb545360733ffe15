"""The life of one face in a training: its alpha and predictions epoch by epoch, and what became of its label."""

import base64
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.faces import png_bytes
from scn_fastai.plots.sample_table import epoch_rows, weighting_start
from scn_fastai.plots.sprites import text_width
from scn_fastai.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILION,
    counted,
    look,
    markup,
    plain,
    sentence,
)
from scn_fastai.training.history import SCNHistory
from scn_fastai.training.run import Run

NO_LIFE = "This run has no epoch yet, so there is nothing to tell of a face."
# Of a line: column, words, colour, dash.
LINES = (
    ("alpha", "alpha", BLUE, "solid"),
    ("p_max", "P_max", GREEN, "dot"),
    ("p_given", "P_given", VERMILION, "dash"),
)
# Who changed a label: words, colour, symbol.
BY = {
    "rule": ("changed by the rule", INK, "circle"),
    "person": ("by a person", PURPLE, "star"),
    "undo": ("taken back", ORANGE, "x"),
}


class Event(NamedTuple):
    """A change of the label: at the end of an epoch, from a class to another, by whom."""

    epoch: int
    old: str
    new: str
    by: str  # 'rule', 'person' or 'undo'


class SampleLife(NamedTuple):
    """What a run knows of one training sample; arrays are float ``[E]``, NaN in epochs that did not draw it."""

    sample: int
    title: str
    alpha: np.ndarray
    p_max: np.ndarray
    p_given: np.ndarray
    events: list[Event]
    votes: dict[str, float]  # of each class; empty where they are not known
    votes_are: str  # what they are
    given: str
    true: str | None
    labels: list[str]  # after each epoch
    began: int | None  # the epoch in which weighting began


def sample_life(run: Run, sample: int) -> SampleLife:
    """Everything that a run knows of one of its training samples.

    Votes are the columns ``vote_<class>`` of the samples table, or ``soft_<class>`` where there are none.

    Raises:
        DataError: there is no such sample.
        RunError: the run has no labels yet.
    """
    if run.ledger is None or run.history is None:
        raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
    count = len(run.ledger.given)
    if not 0 <= sample < count:
        raise DataError(f"There is no sample {sample}: the run has {counted(count, 'training sample')}.")
    history, given = run.history, int(run.ledger.given[sample])
    # A history of this sample alone: the same rows, and of every array its entry.
    own = [{k: v[sample : sample + 1] for k, v in history.epoch_arrays(e).items()} for e in range(history.epoch)]
    one = SCNHistory.restore(epoch_rows(run), own, 1, history.n_classes)
    probs = np.array([one.probs(epoch)[0] for epoch in range(one.epoch)]).reshape(-1, history.n_classes)
    rows = run.ledger.frame()
    rows = rows[rows["sample"] == sample]
    events = [Event(int(r.epoch), r.old_label, r.new_label, r.by) for r in rows.itertuples()]
    facts = run.train_samples.iloc[sample]
    votes_are, votes = _votes(facts, run.classes)
    names = run.classes
    true = facts.get("true_label") if isinstance(facts.get("true_label"), str) else None
    title = _title(sample, facts, names[given], names[int(run.ledger.current[sample])])
    p_max = probs.max(1) if len(probs) else probs[:, 0]
    labels = _labels(names[given], events, history.epoch)
    return SampleLife(sample, title, one.alpha[:, 0], p_max, probs[:, given], events, votes, votes_are, names[given],
                      true, labels, weighting_start(run))  # fmt: skip


def _labels(given: str, events: list[Event], epochs: int) -> list[str]:
    """The label after each epoch.

    >>> _labels("sad", [Event(1, "sad", "glad", "rule")], 3)
    ['sad', 'glad', 'glad']
    """
    after = {event.epoch: event.new for event in events}  # of several in an epoch the last one
    labels = []
    for epoch in range(epochs):
        labels.append(after.get(epoch, labels[-1] if labels else given))
    return labels


def _votes(facts, classes: list[str]) -> tuple[str, dict[str, float]]:
    for prefix, words in (("vote_", "votes"), ("soft_", "soft label")):
        votes = {name: float(facts[prefix + name]) for name in classes if prefix + name in facts}
        if votes and np.isfinite(list(votes.values())).all():
            return words, votes
    return "", {}


def _title(sample: int, facts, given: str, current: str) -> str:
    parts = [f"sample {sample} ({facts['image']})", f"given {given}"]
    if current != given:
        parts.append(f"now {current}")
    if isinstance(facts.get("true_label"), str):
        parts.append(f"true {facts['true_label']}")
    kind, level = facts.get("uncertainty", "none"), facts.get("level", float("nan"))
    if isinstance(kind, str) and kind != "none":
        parts.append(kind.replace("_", " ") + (f" {level:.2f}" if np.isfinite(level) else ""))
    return ", ".join(parts)


def label_rows(life: SampleLife) -> dict[str, str]:
    """The labels that a face had, and its true one, from the lowest row to the highest, with their words."""
    names = dict.fromkeys([life.given, *life.labels, *([life.true] if life.true else [])])
    roles = {life.given: " (given)"} | ({life.true: " (true)"} if life.true else {})
    if life.true == life.given:
        roles = {life.given: " (given, true)"}
    return {name: name + roles.get(name, "") for name in names}


def life_figure(
    life: SampleLife, image: np.ndarray | None = None, epoch: int | None = None, size: tuple[int, int] = (900, 420)
) -> go.Figure:
    """A face and its life: alpha, P_max and P_given over the epochs, its label below, its votes beside.

    The relabeling rule looks at the distance between P_max and P_given (SCN, Eq. 5); a mark on the line of the label
    says that it was changed at the end of the epoch, and by whom.

    Args:
        life: of `sample_life`.
        image: the face, uint8 ``[H, W]`` or ``[H, W, 3]``.
        epoch: an epoch to mark, counted from 0.
        size: width and height in pixels.
    """
    if not len(life.alpha):
        return sentence(NO_LIFE, size[1])
    return go.Figure(life_parts(life, image, epoch, size))


def life_parts(
    life: SampleLife, image: np.ndarray | None = None, epoch: int | None = None, size: tuple[int, int] = (900, 420)
) -> dict:
    """Data and layout of `life_figure` as plain dicts, for a run with epochs: quicker where a slider asks for many."""
    epochs, data = list(range(len(life.alpha))), []
    for name, words, color, dash in LINES:
        data.append({"type": "scatter", "x": epochs, "y": plain(getattr(life, name), 5), "name": words,
                     "mode": "lines+markers", "line": {"color": color, "dash": dash, "width": 3},
                     "hovertemplate": f"epoch %{{x}}: {words} %{{y:.3f}}<extra></extra>"})  # fmt: skip
    begin = [] if not life.began else [life.began - 0.5] * 2
    data.append({"type": "scatter", "x": begin, "y": [0, 1.02][: len(begin)], "mode": "lines",
                 "line": {"color": GREY, "dash": "dash", "width": 2}, "name": "weighting begins",
                 "showlegend": bool(begin), "hoverinfo": "skip"})  # fmt: skip
    names = list(life.votes)[::-1]
    marker = {"color": [VERMILION if name == life.given else GREY for name in names]}
    votes = {"type": "bar", "x": plain([life.votes[name] for name in names]), "y": names, "orientation": "h",
             "marker": marker, "showlegend": False, "xaxis": "x3", "yaxis": "y3",
             "hovertemplate": "%{y}: %{x}<extra></extra>"}  # fmt: skip
    layout = look(markup(life.title)) | {"width": size[0], "height": size[1], "dragmode": False}
    layout["title"] |= {"yref": "container", "y": 1, "yanchor": "top", "pad": {"t": 12}}
    legend = {"orientation": "h", "x": 0, "y": 1.03, "yanchor": "bottom", "font": {"size": 14}}
    layout |= {"legend": legend, "margin": {"t": 96, "b": 50, "l": 10, "r": 20}, "images": _picture(image)}
    layout |= {"shapes": _lines(life, epoch)} | _axes(life, 0.22 if image is not None else 0.0)
    return {"data": [*data, *_labels_drawn(life, epochs), votes], "layout": layout}


def _labels_drawn(life: SampleLife, epochs: list[int]) -> list[dict]:
    """The label after each epoch as steps, and a mark for each change."""
    rows = label_rows(life)
    traces = [{"type": "scatter", "x": epochs, "y": [rows[name] for name in life.labels], "mode": "lines",
               "line": {"color": INK, "width": 3, "shape": "hv"}, "showlegend": False, "hoverinfo": "skip",
               "yaxis": "y2"}]  # fmt: skip
    for by, (words, color, symbol) in BY.items():
        own = [event for event in life.events if event.by == by]
        traces.append({"type": "scatter", "x": [event.epoch for event in own],
                       "y": [rows.get(event.new, event.new) for event in own], "mode": "markers",
                       "marker": {"color": color, "symbol": symbol, "size": 12}, "name": words, "yaxis": "y2",
                       "customdata": [f"{event.old} → {event.new}" for event in own], "showlegend": bool(own),
                       "hovertemplate": f"epoch %{{x}}: %{{customdata}}<extra>{words}</extra>"})  # fmt: skip
    return traces


def _axes(life: SampleLife, left: float) -> dict:
    rows, votes = list(label_rows(life).values()), bool(life.votes)
    longest = max(map(text_width, rows))
    across = {"title": {"text": "epoch (from 0)"}, "range": [-0.5, max(len(life.alpha) - 1, 1) + 0.5],
              "domain": [left + 0.03 + 0.009 * longest, 0.74 if votes else 1], "zeroline": False, "tickformat": "d",
              "anchor": "y2"}  # fmt: skip
    # Also an axis that is not visible has a white ground, which would lie over the end of the lines.
    where = [0.88, 1] if votes else [0.999, 1]
    return {
        "xaxis": across,
        "yaxis": {"range": [0, 1.02], "domain": [0.16 + 0.075 * len(rows), 1]},
        "yaxis2": {"domain": [0, 0.09 + 0.075 * len(rows)], "type": "category", "categoryarray": rows,
                   "categoryorder": "array", "range": [-0.5, len(rows) - 0.5]},
        "xaxis3": {"title": {"text": life.votes_are}, "domain": where, "visible": votes, "anchor": "y3",
                   "rangemode": "tozero"},
        "yaxis3": {"anchor": "x3", "visible": votes},
    }  # fmt: skip


def _lines(life: SampleLife, epoch: int | None) -> list[dict]:
    """A thin line for each change, a dashed one where weighting begins, a band for the epoch that is looked at."""
    base = {"type": "line", "yref": "paper", "y0": 0, "y1": 1}
    lines = [base | {"x0": e.epoch, "x1": e.epoch, "line": {"color": INK, "width": 1, "dash": "dot"}}
             for e in life.events]  # fmt: skip
    if life.began:
        began = life.began - 0.5
        lines.append(base | {"x0": began, "x1": began, "line": {"color": GREY, "width": 2, "dash": "dash"}})
    if epoch is not None:
        band = {"type": "rect", "x0": epoch - 0.4, "x1": epoch + 0.4, "fillcolor": GREY, "opacity": 0.3}
        lines.append(base | band | {"line": {"width": 0}, "layer": "below"})
    return lines


def _picture(image: np.ndarray | None) -> list[dict]:
    """The face, left of the lines."""
    if image is None:
        return []
    source = "data:image/png;base64," + base64.b64encode(png_bytes(Image.fromarray(image))).decode()
    return [{"source": source, "xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 0.2, "sizey": 1,
             "xanchor": "left", "yanchor": "top"}]  # fmt: skip
