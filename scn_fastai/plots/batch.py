"""One mini-batch as a figure: ranked by alpha, split at beta, what the hinge asks for, where training moves alpha."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from scn_fastai.core.microscope import BatchReport
from scn_fastai.errors import DataError
from scn_fastai.plots.batch_words import hinge_words, hover_words, wce_words
from scn_fastai.plots.sprites import thumbnails
from scn_fastai.plots.style import BLUE, GREEN, INK, ORANGE, PURPLE, VERMILION, look, markup, plain

MOST_IN_STRIP = 32  # more faces than that are too small on the axis to be told apart
STRIP_PIXELS = 56  # of a face as it is sent
# Pixels from the top of the drawing area: where each panel begins and how high it is.
PANELS = {"alpha": (0, 210), "strip": (212, 40), "wce": (290, 84), "gradient": (412, 104)}
WITHOUT_STRIP = {"alpha": (0, 250), "wce": (290, 84), "gradient": (412, 104)}
WIDTH = 1080  # pixels, what a notebook has on a projector; a figure that lives in a notebook cannot ask for its room
AREA, HEAD, FOOT, LEFT, RIGHT = 516, 56, 34, 74, 206  # height of the drawing area; room around it
LINE = 19  # pixels between the words of two lines that lie close
RAISES, LOWERS = "alpha rises", "alpha falls"
OCHRE = "#8A5F00"  # ORANGE as letters and lines, which have to be read on white
BAND = "#CFE8F7"  # behind what is selected: a pale SKY
AXES = {"alpha": "alpha", "wce": "WCE", "gradient": "dL / d alpha"}


class Level(NamedTuple):
    """A horizontal line: its words, its height, how it is drawn, and the height of its words."""

    words: str
    y: float
    color: str
    dash: str
    words_y: float


class BatchPicture(NamedTuple):
    """What the figure shows, in the order of alpha; the figure and its PNG twin draw the same."""

    order: np.ndarray
    alpha: np.ndarray
    low: np.ndarray
    wce: np.ndarray
    from_wce: np.ndarray
    from_rank: np.ndarray
    gradient: np.ndarray
    changed: np.ndarray
    split: float | None  # between the last of the high group and the first of the low one
    top: float  # of the axis of alpha
    hinge: tuple[float, float] | None  # what RR asks for: from alpha_H up to alpha_L + delta1
    levels: list[Level]
    titles: dict[str, str]  # words above each panel
    panels: dict[str, tuple[int, int]]
    selected: list[int]  # places on the axis


def batch_picture(
    report: BatchReport, strip: bool = False, title: str = "", selected: Sequence[int] = ()
) -> BatchPicture:
    """Everything that is drawn of a report, as numbers and words."""
    order = report.order.numpy()
    names = ("alpha", "low", "wce", "gradient_wce", "gradient_rank", "gradient", "changed")
    columns = [getattr(report, name).numpy()[order] for name in names]
    high, low, margin = float(report.alpha_high), float(report.alpha_low), report.rules.rank_margin
    alone, panels = len(order) < 2, PANELS if strip else WITHOUT_STRIP
    top = 1.08 * max(1.0, 0.0 if alone else low + margin)
    lines = [] if alone else [("alpha_H", high, INK, "dash"), ("alpha_L + delta1", low + margin, OCHRE, "dashdot"),
                              ("alpha_L", low, INK, "dot")]  # fmt: skip
    heights = spread([y for _, y, *_ in lines], top * LINE / panels["alpha"][1])
    levels = [Level(f"{words} = {y:.2f}", y, *how, at) for (words, y, *how), at in zip(lines, heights, strict=True)]
    titles = {"alpha": "; ".join(part for part in (title, hinge_words(report)) if part), "wce": wce_words(report),
              "gradient": "gradient of the loss: training moves each alpha against it"}  # fmt: skip
    split = None if alone else float((~columns[1]).sum()) - 0.5
    return BatchPicture(order, *columns, split, top, None if alone or high >= low + margin else (high, low + margin),
                        levels, titles, panels, report.order.argsort()[list(selected)].tolist())  # fmt: skip


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Heights for the words of lines, none closer than a gap to another, in the order of the lines.

    >>> [round(y, 2) for y in spread([0.5, 0.52, 0.2], 0.1)]
    [0.46, 0.56, 0.2]
    """
    found = np.array(heights, dtype=float)
    order = np.argsort(found, kind="stable")
    for _ in range(4 * len(found)):
        for lower, upper in zip(order, order[1:], strict=False):
            lack = gap - (found[upper] - found[lower])
            if lack > 1e-9:
                found[lower], found[upper] = found[lower] - lack / 2, found[upper] + lack / 2
    return found.tolist()


# -- the figure ---------------------------------------------------------------------------------------------------


def batch_figure(
    report: BatchReport,
    images: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    title: str = "",
    selected: Sequence[int] = (),
) -> go.Figure:
    """A batch under the lens: samples ranked by alpha, the hinge between the groups, WCE, and dL / d alpha.

    Bars are alpha, in two colours and two hatchings left and right of the split at beta. Where the high group's mean
    does not lie a margin above the low group's, the shaded band is what RR asks for (SCN, Eq. 3). Stars mark the
    labels that Eq. 5 would change; triangles say where training moves an alpha.

    Args:
        report: what `examine_batch` says of B samples.
        images: their faces, uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, in the batch's own order; drawn below the bars
            where there are at most 32. None: no faces.
        names: a name for each sample, for the words at the mouse.
        title: words before those on the hinge.
        selected: positions in the batch; a band runs through their bars, and their faces are framed.

    Raises:
        DataError: there are not as many faces or names as samples.

    >>> import torch
    >>> from scn_fastai.core.microscope import examine_batch
    >>> report = examine_batch(torch.tensor([[2., 0.], [3., 0.]]), torch.tensor([0.6, 0.5]), torch.tensor([0, 1]))
    >>> [trace.name for trace in batch_figure(report).data][:3]
    ['high group (1)', 'low group (1)', 'label would change (1)']
    """
    return go.Figure(batch_parts(report, images, names, title, selected))


def batch_parts(
    report: BatchReport,
    images: np.ndarray | None = None,
    names: Sequence[str] | None = None,
    title: str = "",
    selected: Sequence[int] = (),
) -> dict:
    """Data and layout of `batch_figure` as plain dicts: quicker than a figure where a slider asks for many."""
    check_lengths(report, images, names)
    strip = images is not None and len(images) <= MOST_IN_STRIP
    picture = batch_picture(report, strip, title, selected)
    layout = look() | {"shapes": _shapes(picture), "annotations": _annotations(picture)} | _axes(picture)
    layout["images"] = _strip(images[picture.order], picture) if strip else []
    legend = {"yref": "paper", "font": {"size": 14}, "entrywidth": 0}
    layout["legend"] = legend | {"orientation": "h", "x": 0, "y": 1 + 24 / AREA, "yanchor": "bottom"}
    top = domain(picture.panels, "gradient")[1]
    layout["legend2"] = legend | {"x": 1, "xanchor": "left", "y": top, "yanchor": "top"}
    margin = {"l": LEFT, "r": RIGHT, "t": HEAD, "b": FOOT}
    layout |= {"height": AREA + HEAD + FOOT, "width": WIDTH, "barmode": "relative", "bargap": 0.12, "margin": margin,
               "hovermode": "closest", "dragmode": False}  # fmt: skip
    return {"data": _traces(picture, hover_words(report, names)), "layout": layout}


def check_lengths(report: BatchReport, images: np.ndarray | None, names: Sequence[str] | None) -> None:
    """Raise one sentence unless there is a face and a name for each sample."""
    for what, values in (("faces", images), ("names", names)):
        if values is not None and len(values) != len(report.alpha):
            raise DataError(f"There are {len(report.alpha)} samples but {len(values)} {what}: give one for each.")


def domain(panels: dict[str, tuple[int, int]], name: str) -> list[float]:
    """Where a panel lies, bottom and top, as shares of the drawing area counted from below."""
    start, height = panels[name]
    return [1 - (start + height) / AREA, 1 - start / AREA]


def _axes(picture: BatchPicture) -> dict[str, dict]:
    words = "samples of the batch, from the highest alpha to the lowest"
    axes = {"xaxis": {"range": [-0.6, len(picture.order) - 0.4], "showticklabels": False, "showgrid": False,
                      "zeroline": False, "title": {"text": words, "standoff": 4, "font": {"size": 15}}, "anchor": "y3",
                      "fixedrange": True}}  # fmt: skip
    for number, name in enumerate(AXES):
        title = {"text": AXES[name], "font": {"size": 15}}
        axis = {"domain": domain(picture.panels, name), "title": title, "nticks": 5, "fixedrange": True}
        axis |= {"range": [0, picture.top]} if name == "alpha" else {"rangemode": "tozero"}
        axes[f"yaxis{number + 1 if number else ''}"] = axis
    return axes


def _traces(picture: BatchPicture, hover: Sequence[str]) -> list[dict]:
    """Always the same traces, some of them empty, so that a change of settings sends data and nothing else."""
    place, words = np.arange(len(picture.order)), np.array(hover, dtype=object)[picture.order]
    hatch, colors = np.where(picture.low, "/", ""), np.where(picture.low, VERMILION, BLUE)

    def bars(who, y, axis: str, name: str, color, pattern, legend: bool) -> dict:
        marker = {"color": color, "pattern": {"shape": pattern, "fgcolor": "white", "size": 6}}
        return {"type": "bar", "x": place[who].tolist(), "y": plain(y[who]), "yaxis": axis, "name": name,
                "marker": marker, "hovertext": words[who].tolist(), "hoverinfo": "text",
                "customdata": picture.order[who].tolist(), "showlegend": legend,
                "legend": "legend2" if axis == "y3" else "legend"}  # fmt: skip

    def marks(who, y, axis: str, name: str, symbol: str, color: str, size: int) -> dict:
        marker = {"symbol": symbol, "size": size, "color": color, "line": {"color": "white", "width": 1}}
        return {"type": "scatter", "mode": "markers", "x": place[who].tolist(), "y": plain(y[who]), "yaxis": axis,
                "name": name, "marker": marker, "hovertext": words[who].tolist(), "hoverinfo": "text",
                "customdata": picture.order[who].tolist(), "cliponaxis": False,
                "legend": "legend2" if axis == "y3" else "legend"}  # fmt: skip

    everyone, low, changed = np.ones(len(place), dtype=bool), picture.low, picture.changed
    stars, size = picture.alpha + 0.035 * picture.top, 10 if len(place) <= 64 else 7
    return [
        bars(~low, picture.alpha, "y", f"high group ({(~low).sum()})", BLUE, "", True),
        bars(low, picture.alpha, "y", f"low group ({low.sum()})", VERMILION, "/", True),
        marks(changed, stars, "y", f"label would change ({changed.sum()})", "star", PURPLE, size + 4),
        bars(everyone, picture.wce, "y2", "WCE", colors.tolist(), hatch.tolist(), False),
        bars(everyone, picture.from_wce, "y3", "from WCE", GREEN, "", True),
        bars(everyone, picture.from_rank, "y3", "from RR", ORANGE, "x", True),
        marks(picture.gradient < 0, picture.gradient, "y3", RAISES, "triangle-up", INK, size),
        marks(picture.gradient > 0, picture.gradient, "y3", LOWERS, "triangle-down-open", INK, size),
    ]


def _shapes(picture: BatchPicture) -> list[dict]:
    size = len(picture.order)
    span = {"xref": "x", "yref": "y", "x0": -0.6, "x1": size - 0.4}
    shapes = []
    for level in picture.levels:
        at = span | {"type": "line", "y0": round(level.y, 6), "y1": round(level.y, 6)}
        shapes.append(at | {"line": {"color": "white", "width": 5}, "opacity": 0.7})  # else it is lost on the bars
        shapes.append(at | {"line": {"color": level.color, "width": 2.5, "dash": level.dash}})
    if picture.hinge:
        low, high = picture.hinge
        shapes.append(span | {"type": "rect", "y0": round(low, 6), "y1": round(high, 6), "fillcolor": ORANGE,
                              "opacity": 0.35, "line": {"width": 0}})  # fmt: skip
    if picture.split is not None:
        for name in ("alpha", "wce", "gradient"):
            bottom, top = domain(picture.panels, name)
            shapes.append({"type": "line", "xref": "x", "yref": "paper", "x0": picture.split, "x1": picture.split,
                           "y0": bottom, "y1": top, "line": {"color": INK, "width": 2, "dash": "dash"}})  # fmt: skip
    return shapes + _frames(picture)


def _frames(picture: BatchPicture) -> list[dict]:
    """What marks the selected samples: a band behind all panels, a frame around the face."""
    frames = []
    for place in picture.selected:
        ends = {"type": "rect", "xref": "x", "x0": place - 0.5, "x1": place + 0.5, "yref": "paper"}
        line = {"color": INK, "width": 1}
        frames.append(ends | {"y0": 0, "y1": 1, "fillcolor": BAND, "line": line, "layer": "below"})
        if "strip" in picture.panels:
            bottom, top = domain(picture.panels, "strip")
            frames.append(ends | {"y0": bottom, "y1": top, "line": {"color": INK, "width": 3}})
    return frames


def _annotations(picture: BatchPicture) -> list[dict]:
    beside = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 6, "yref": "y", "showarrow": False}
    found = [beside | {"y": round(level.words_y, 6), "text": level.words,
                       "font": {"size": 14, "color": level.color}}
             for level in picture.levels]  # fmt: skip
    above = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "yanchor": "bottom", "showarrow": False}
    for name, words in picture.titles.items():
        found.append(above | {"y": domain(picture.panels, name)[1], "text": f"<b>{markup(words)}</b>",
                              "font": {"size": 15}})  # fmt: skip
    if picture.hinge:
        middle = {"xref": "x", "x": (len(picture.order) - 1) / 2, "yref": "y", "y": sum(picture.hinge) / 2}
        found.append(middle | {"text": "RR", "showarrow": False, "font": {"size": 14}, "bgcolor": "white",
                               "borderpad": 1, "opacity": 0.9})  # fmt: skip
    return found


def _strip(faces: np.ndarray, picture: BatchPicture) -> list[dict]:
    """The faces below their bars, each as large as its bar is wide, or as high as the strip."""
    bottom, top = domain(picture.panels, "strip")
    place = {"xref": "x", "yref": "paper", "y": (bottom + top) / 2, "sizex": 0.92, "sizey": top - bottom,
             "xanchor": "center", "yanchor": "middle", "sizing": "contain"}  # fmt: skip
    return [place | {"x": i, "source": _source(face)} for i, face in enumerate(thumbnails(faces, STRIP_PIXELS))]


def _source(face: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
