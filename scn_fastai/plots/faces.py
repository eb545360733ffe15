"""Faces in a grid: with captions and coloured frames, ranked by alpha, before and after relabeling."""

import base64
import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from scn_fastai.errors import DataError
from scn_fastai.plots.style import STATES, as_names, label_states, markup, sentence, tidy, unseen_words

MOST_FACES = 1024
FACE_PIXELS = 104  # width of a face on the screen unless told otherwise
LINE_PIXELS = 18
GAP_PIXELS = 16
NO_FACE = "There is no face to show."


class Grid(NamedTuple):
    """What a grid shows, for the plotly figure and its static twin alike."""

    images: np.ndarray  # uint8 [k, H, W] or [k, H, W, 3]
    captions: list[str]
    frames: list[str | None] | None = None  # keys of STATES; None: no frame
    columns: int = 8
    scale: float | None = None
    slots: list[int] | None = None  # cell of each face, row by row; None: one after the other
    row_titles: list[str] | None = None
    title: str = ""


@dataclass(frozen=True)
class Cells:
    """Where things lie, in image pixels: `scale` screen pixels each."""

    columns: int
    rows: int
    face: tuple[int, int]  # width, height
    scale: float
    lines: int  # of the longest caption

    @property
    def gap(self) -> int:
        """Room between two faces."""
        return max(2, round(GAP_PIXELS / self.scale))

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a cell: the face, its caption and half a gap around."""
        caption = int(np.ceil((self.lines * LINE_PIXELS + 8) / self.scale)) if self.lines else 0
        return self.face[0] + self.gap, self.face[1] + self.gap + caption

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole grid."""
        return self.columns * self.cell[0], self.rows * self.cell[1]

    def corner(self, slot: int) -> tuple[int, int]:
        """Left upper corner of the face in a cell."""
        row, column = divmod(slot, self.columns)
        return column * self.cell[0] + self.gap // 2, row * self.cell[1] + self.gap // 2


def lay_out(grid: Grid) -> tuple[np.ndarray, list[int], Cells]:
    """Check a grid; the thumbnails, the cell of each face, and the geometry.

    Raises:
        DataError: images, captions or frames do not fit.
    """
    images, slots = _checked(grid), grid.slots
    slots = list(range(len(images))) if slots is None else list(slots)
    wide = images.shape[2]
    scale = grid.scale or FACE_PIXELS / wide
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in (wide, images.shape[1]))
        small = [Image.fromarray(image).resize((width, height), Image.Resampling.BOX) for image in images]
        images = np.stack([np.asarray(image) for image in small])
        scale = 1.0
    columns = max(1, min(grid.columns, max(slots) + 1))
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in grid.captions)
    face = images.shape[2], images.shape[1]
    return images, slots, Cells(columns, max(slots) // columns + 1, face, scale, lines)


def _checked(grid: Grid) -> np.ndarray:
    images = np.asarray(grid.images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.ndim == 4 and images.shape[3] != 3:
        raise DataError(
            f"Faces must be uint8 of shape [k, H, W] or [k, H, W, 3], got {images.dtype} {list(images.shape)}: "
            "convert them first."
        )
    if len(images) > MOST_FACES:
        raise DataError(f"A grid shows at most {MOST_FACES:,} faces, got {len(images):,}: choose some of them.")
    for name, values in (("captions", grid.captions), ("frames", grid.frames)):
        if values is not None and len(values) != len(images):
            raise DataError(f"There are {len(images)} faces but {len(values)} {name}: give one for each.")
    unknown = set(grid.frames if grid.frames is not None else []) - {None, *STATES}
    if unknown:
        raise DataError(f"{sorted(map(str, unknown))[0]!r} is no kind of frame; there are: {', '.join(STATES)}.")
    return images


def sprite(images: np.ndarray, slots: list[int], cells: Cells) -> Image.Image:
    """All faces in one picture with room for the captions; transparent where there is no face."""
    mode = "L" if images.ndim == 3 else "RGB"
    sheet = Image.new(f"{mode}A", cells.size, (0,) * (len(mode) + 1))
    for image, slot in zip(images, slots, strict=True):
        sheet.paste(Image.fromarray(image).convert(sheet.mode), cells.corner(slot))
    return sheet


def png_bytes(image: Image.Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def face_grid(
    images: np.ndarray,
    captions: list[str],
    frames: list[str] | None = None,
    columns: int = 8,
    scale: float | None = None,
    title: str = "",
) -> go.Figure:
    """Faces in a grid, each with a caption below and a frame that says what became of its label.

    All faces lie in one picture, so that a thousand are as quick as ten.

    Args:
        images: uint8 ``[k, H, W]`` or ``[k, H, W, 3]``, k at most 1,024.
        captions: text below each face; a line end begins a new line.
        frames: per face a key of `STATES` (see `label_states`); None draws no frames.
        columns: faces in a row.
        scale: screen pixels for an image pixel; None makes faces about 100 pixels wide.
        title: text above.

    Raises:
        DataError: images, captions or frames do not fit.

    >>> figure = face_grid(np.zeros((3, 48, 48), np.uint8), ["a", "b", "c"], ["cured", "missed", "cured"])
    >>> [trace.name for trace in figure.data]
    ['changed, now true', 'changed, still wrong', 'faces', 'captions']
    """
    framed = None if frames is None else list(frames)
    return draw_grid(Grid(images, list(captions), framed, columns, scale, title=title))


def draw_grid(grid: Grid) -> go.Figure:
    """The plotly figure of a grid."""
    if not len(grid.images):
        return sentence(NO_FACE)
    images, slots, cells = lay_out(grid)
    picture = base64.b64encode(png_bytes(sprite(images, slots, cells))).decode()
    width, height = cells.size
    figure = go.Figure()
    place = {"xref": "x", "yref": "y", "x": 0, "y": 0, "sizex": width, "sizey": height, "sizing": "stretch"}
    figure.add_layout_image(source=f"data:image/png;base64,{picture}", layer="below", **place)
    _add_frames(figure, grid.frames, slots, cells)
    _add_captions(figure, grid.captions, slots, cells)
    _add_row_titles(figure, grid.row_titles, cells)
    left = 110 if grid.row_titles else 10
    top = 10 + (40 if grid.title else 0) + (34 if grid.frames else 0)
    hidden = {"visible": False, "fixedrange": True}
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"size": 14}}
    tidy(figure, markup(grid.title), dragmode=False, legend=legend, plot_bgcolor="white")
    figure.update_layout(
        width=round(width * cells.scale) + left + 10,
        height=round(height * cells.scale) + top + 10,
        margin={"l": left, "r": 10, "t": top, "b": 10},
        xaxis=hidden | {"range": [0, width]},
        yaxis=hidden | {"range": [height, 0]},
    )
    if grid.title:
        figure.update_layout(title_yref="container", title_y=1, title_yanchor="top", title_pad={"t": 14})
    return figure


def _add_frames(figure: go.Figure, frames: list[str] | None, slots: list[int], cells: Cells) -> None:
    """The frames of one state are one line trace, which also makes the legend."""
    wide, high = cells.face
    edge = 2 / cells.scale
    for state, (words, color, dash) in STATES.items():
        x: list[float | None] = []
        y: list[float | None] = []
        for slot in (s for s, frame in zip(slots, frames or [], strict=False) if frame == state):
            left, top = cells.corner(slot)
            right, bottom, middle = left + wide + edge, top + high + edge, left + wide / 2
            left, top = left - edge, top - edge
            x += [middle, right, right, left, left, middle, None]  # from the middle: all four corners are joined
            y += [top, top, bottom, bottom, top, top, None]
        if x:
            line = {"color": color, "dash": dash, "width": 2 if state == "unchanged" else 4}
            figure.add_scatter(x=x, y=y, mode="lines", line=line, name=words, showlegend=True, hoverinfo="skip")


def _add_captions(figure: go.Figure, captions: list[str], slots: list[int], cells: Cells) -> None:
    corners = np.array([cells.corner(slot) for slot in slots], dtype=float)
    middle = (corners[:, 0] + cells.face[0] / 2).tolist()
    words = [markup(caption) for caption in captions]
    centre, below = corners[:, 1] + cells.face[1] / 2, corners[:, 1] + cells.face[1] + 8 / cells.scale
    size = 0.9 * cells.scale * min(cells.face)
    figure.add_scatter(x=middle, y=centre.tolist(), mode="markers", hovertext=words, hoverinfo="text", name="faces",
                       marker={"size": size, "opacity": 0, "symbol": "square"}, showlegend=False)  # fmt: skip
    figure.add_scatter(x=middle, y=below.tolist(), mode="text", text=words, textposition="bottom center",
                       textfont={"size": 13}, cliponaxis=False, hoverinfo="skip", name="captions",
                       showlegend=False)  # fmt: skip


def _add_row_titles(figure: go.Figure, titles: list[str] | None, cells: Cells) -> None:
    for row, title in enumerate(titles or []):
        y = row * cells.cell[1] + cells.gap // 2 + cells.face[1] / 2
        figure.add_annotation(x=0, xref="paper", xanchor="right", xshift=-8, y=y, text=f"<b>{markup(title)}</b>",
                              showarrow=False, align="right", font={"size": 14})  # fmt: skip


# -- ranked by alpha ----------------------------------------------------------------------------------------------


def ranking_grid(images, alpha, labels, k: int = 8, classes=None, frames=None, title: str = "") -> Grid:
    """The grid that `alpha_ranking` draws: ``images [N, ...]`` may be a memory map, 2k faces are read."""
    alpha = np.asarray(alpha, dtype=float)
    for name, values in (("images", images), ("labels", labels), ("frames", frames)):
        if values is not None and len(values) != len(alpha):
            raise DataError(f"There are {len(alpha):,} values of alpha but {len(values):,} {name}: give one for each.")
    seen = np.flatnonzero(np.isfinite(alpha))
    order = seen[np.argsort(alpha[seen], kind="stable")]
    k = max(1, min(k, len(order) // 2))
    chosen = np.concatenate([order[:k], order[k:][-k:][::-1]]) if len(order) else order
    names = as_names(np.asarray(labels)[chosen], classes)
    captions = [f"{name}\nα {value:.4f}" for name, value in zip(names, alpha[chosen], strict=True)]
    words = unseen_words(len(alpha) - len(seen))
    framed = None if frames is None else [frames[i] for i in chosen]
    rows = ["lowest\nalpha", "highest\nalpha"][: len(chosen) // k + (len(chosen) % k > 0)]
    scale = None if k <= 8 else FACE_PIXELS * 8 / k / images.shape[2]
    return Grid(_rows_of(images, chosen), captions, framed, k, scale, row_titles=rows,
                title="; ".join(w for w in (title, words) if w))  # fmt: skip


def _rows_of(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray(images[rows]) if len(rows) else np.asarray(images[:0])


def alpha_ranking(
    images: np.ndarray,
    alpha: np.ndarray,
    labels: np.ndarray | list[str],
    k: int = 8,
    classes: list[str] | None = None,
    frames: list[str] | None = None,
    title: str = "",
) -> go.Figure:
    """The k faces of lowest alpha above the k of highest, with label and raw alpha.

    Args:
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``.
        alpha: ``[N]``, NaN where a sample was not seen: such samples have no rank.
        labels: ``[N]``, names, or codes into ``classes``.
        k: faces in a row.
        classes: class names.
        frames: ``[N]`` keys of `STATES`.
        title: text above.
    """
    return draw_grid(ranking_grid(images, alpha, labels, k, classes, frames, title))


# -- before and after ---------------------------------------------------------------------------------------------


def before_after_grid(
    images, given, current, truth=None, alpha_before=None, alpha_after=None, classes=None, columns: int = 8,
    title: str = "",
) -> Grid:  # fmt: skip
    """The grid that `before_after` draws."""
    images = np.asarray(images)
    for name, values in (("given", given), ("current", current), ("truth", truth)):
        if values is not None and len(values) != len(images):
            raise DataError(f"There are {len(images)} faces but {len(values)} labels in {name}: give one for each.")
    count = len(images)
    columns = max(1, min(columns, count))
    names = {"given": as_names(given, classes), "current": as_names(current, classes)}
    states = label_states(names["given"], names["current"], None if truth is None else as_names(truth, classes))
    before = [name + _alpha_line(alpha_before, i) for i, name in enumerate(names["given"])]
    after = [name + _alpha_line(alpha_after, i) for i, name in enumerate(names["current"])]
    if truth is not None:
        after = [f"{text}\ntrue: {name}" for text, name in zip(after, as_names(truth, classes), strict=True)]
    band, column = np.divmod(np.arange(count), columns)
    slots = np.concatenate([2 * band * columns + column, (2 * band + 1) * columns + column])
    bands = int(band[-1]) + 1 if count else 0
    return Grid(np.concatenate([images, images]), before + after, [None] * count + states.tolist(), columns,
                slots=slots.tolist(), row_titles=["given", "after\nrelabeling"] * bands, title=title)  # fmt: skip


def _alpha_line(alpha, i: int) -> str:
    return "" if alpha is None or not np.isfinite(alpha[i]) else f"\nα {alpha[i]:.4f}"


def before_after(
    images: np.ndarray,
    given: np.ndarray | list[str],
    current: np.ndarray | list[str],
    truth: np.ndarray | list[str] | None = None,
    alpha_before: np.ndarray | None = None,
    alpha_after: np.ndarray | None = None,
    classes: list[str] | None = None,
    columns: int = 8,
    title: str = "",
) -> go.Figure:
    """Faces with their given labels, and below each the label after relabeling (the layout of SCN, Fig. 3).

    Args:
        images: uint8 ``[k, H, W]`` or ``[k, H, W, 3]``, the chosen faces.
        given: ``[k]``, names, or codes into ``classes``.
        current: ``[k]``.
        truth: ``[k]``; with it the frames say which changes were right.
        alpha_before: ``[k]``, alpha under the given label; NaN is left out.
        alpha_after: ``[k]``.
        classes: class names.
        columns: faces in a row.
        title: text above.
    """
    grid = before_after_grid(images, given, current, truth, alpha_before, alpha_after, classes, columns, title)
    return draw_grid(grid)
