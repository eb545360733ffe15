"""Maps laid over faces: what raises a score in blue, what lowers it in hatched orange; as a plotly figure, as a PNG."""

import base64
import io
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw

from scn_fastai.errors import DataError
from scn_fastai.plots.faces import NO_FACE, Cells, Grid, draw_grid, lay_out, png_bytes
from scn_fastai.plots.static import draw_grid_png, font_for, grid_picture
from scn_fastai.plots.style import BLUE, INK, VERMILION, markup, sentence

FACE = "face"  # the column of the faces themselves
FACE_PIXELS = 112  # width of a face on the screen
HATCH, STRIPE = 7, 0.3  # what lowers a score is striped: period in pixels, and how much of the colour a stripe keeps
PALE_FROM = 90  # black becomes this grey
STEPS = 48  # of opacity: pictures stay small
BAR, BAR_ROOM, EDGE = (220, 18), 34, 8
BAR_GREY = (190, 190, 190)
LAYOUTS = ("columns", "rows")
WORDS = {True: ("lowers the score", "raises the score"), False: ("matters little", "matters much")}


def bar_words(of: str, signed: bool = True) -> tuple[str, str]:
    """The words at the two ends of the colour bar.

    Args:
        of: ``'alpha'``, ``'predicted'``, ``'given'``, ``'difference'``, or the name of a class.
        signed: whether the map has a sign.

    >>> bar_words("alpha"), bar_words("fear", signed=False)
    (('lowers alpha', 'raises alpha'), ('matters little for fear', 'matters much'))
    """
    what = {"predicted": "the predicted class", "given": "the given class", "difference": "the difference"}.get(of, of)
    if not signed:
        return f"matters little for {what}", "matters much"
    if of == "difference":
        return "for the predicted class", "for the given class"
    if of == "alpha":
        return "lowers alpha", "raises alpha"
    return f"against {what}", f"for {what}"


# -- arithmetic, for the figure and the PNG alike ---------------------------------------------------------------------


def overlay(values: np.ndarray, signed: bool = True) -> np.ndarray:
    """A map as a transparent picture: uint8 ``[..., H, W, 4]`` of values ``[..., H, W]`` from -1 to 1.

    Blue where it is above 0, orange with stripes where it is below; the larger, the more opaque. Without sign it is the
    size alone, in blue.

    >>> overlay(np.array([[1.0, 0.0, -1.0]]))[0].tolist()
    [[0, 114, 178, 255], [0, 114, 178, 0], [213, 94, 0, 255]]
    """
    values = np.asarray(values, dtype=np.float64)
    low = (values < 0) & signed
    colors = np.array([_rgb(BLUE), _rgb(VERMILION)], np.uint8)[low.astype(int)]
    rows, columns = np.indices(values.shape[-2:])
    striped = low & ((rows + columns) % HATCH >= HATCH - 2)
    opacity = np.round(STEPS * np.abs(values) ** (0.75 if signed else 1.25)) / STEPS * np.where(striped, STRIPE, 1.0)
    return np.concatenate([colors, np.round(255 * opacity[..., None]).astype(np.uint8)], axis=-1)


def blended(faces: np.ndarray, layer: np.ndarray, strength: float) -> np.ndarray:
    """Faces uint8 ``[..., 3]`` with a transparent layer ``[..., 4]`` over them; strength from 0 (nothing) to 1.

    >>> blended(np.full((1, 1, 3), 100, np.uint8), np.array([[[0, 200, 100, 255]]], np.uint8), 0.5).tolist()
    [[[50, 150, 100]]]
    """
    share = strength * layer[..., 3:].astype(np.float64) / 255
    return np.round(faces * (1 - share) + layer[..., :3] * share).astype(np.uint8)


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def _checked(images, maps: Mapping[str, np.ndarray], strength: float, layout: str) -> np.ndarray:
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.ndim == 4 and images.shape[3] != 3:
        raise DataError(
            f"Faces must be uint8 of shape [k, H, W] or [k, H, W, 3], got {images.dtype} {list(images.shape)}: "
            "convert them first."
        )
    if not 0 <= strength <= 1:
        raise DataError(f"strength is {strength:g}: it lies between 0 (faces alone) and 1.")
    if layout not in LAYOUTS:
        raise DataError(f"layout is {layout!r}, and there are: {', '.join(LAYOUTS)}.")
    for name, values in maps.items():
        values = np.asarray(values)
        if values.ndim != 3 or len(values) != len(images):
            raise DataError(
                f"There are {len(images)} faces, but the maps {name!r} have the shape {list(values.shape)}: "
                "give [H, W] for each face."
            )
        if values.size and not np.abs(values).max() <= 1:
            raise DataError(f"The maps {name!r} do not lie between -1 and 1: bring them there with `normalised`.")
    return _rgb_faces(images)


class _Sheet:
    """What the figure and the PNG have in common: a grid of faces, and for its cells transparent tiles."""

    def __init__(
        self, images: np.ndarray, maps, captions, signed: bool, layout: str, across: int | None, title: str = ""
    ):
        self.maps, self.signed, self.count = maps, signed, len(images)
        names = [FACE, *maps]
        across = max(1, min(across or {"columns": 1, "rows": 8}[layout], len(images)))
        band, place = np.divmod(np.arange(len(images)), across)
        said = [_captions(captions, name, len(images)) for name in names]
        if layout == "rows":
            columns = across
            slots = [(band * len(names) + j) * across + place for j in range(len(names))]
            rows = [name.replace(" ", "\n") for name in names] * (int(band[-1]) + 1)
        else:
            columns, rows = across * len(names), None
            slots = [np.arange(len(images)) * len(names) + j for j in range(len(names))]
            said = [[f"{name}\n{text}".strip() for text in own] for name, own in zip(names, said, strict=True)]
        self.slots = np.concatenate(slots).tolist()
        pictures = np.concatenate([images, *[pale(images)] * len(maps)])
        scale = FACE_PIXELS / images.shape[2]
        self.grid = Grid(pictures, sum(said, []), None, columns, scale, self.slots, rows, title)

    def tiles(self, size: tuple[int, int]) -> np.ndarray:
        """Transparent pictures uint8 ``[k * maps, H, W, 4]``, one map after the other."""
        values = [[_resized(one, size) for one in own] for own in self.maps.values()]
        return overlay(np.array(values).reshape(-1, *size[::-1]), self.signed)


def pale(images: np.ndarray) -> np.ndarray:
    """RGB faces in light grey, so that colours stand out on dark hair too: uint8 ``[k, H, W, 3]`` in and out.

    >>> pale(np.array([[[[0, 0, 0], [255, 255, 255]]]], np.uint8))[..., 0].tolist()
    [[[90, 255]]]
    """
    grey = images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat(np.round(PALE_FROM + grey * (255 - PALE_FROM) / 255).astype(np.uint8)[..., None], 3, axis=-1)


def _rgb_faces(images: np.ndarray) -> np.ndarray:
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=-1)


def _captions(captions, name: str, count: int) -> list[str]:
    own = list((captions or {}).get(name) or [""] * count)
    if len(own) != count:
        raise DataError(f"There are {count} faces but {len(own)} captions for {name!r}: give one for each.")
    return own


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map in the size of a tile, still between -1 and 1."""
    image = Image.fromarray(np.asarray(values, dtype=np.float32))
    return np.clip(np.asarray(image.resize(size, Image.Resampling.BILINEAR)), -1, 1)


def _bar_values(signed: bool) -> np.ndarray:
    return np.tile(np.linspace(-1 if signed else 0, 1, BAR[0]), (BAR[1], 1))


def _bar_start(words: str) -> int:
    """Where the bar begins, in pixels: behind the words on its left."""
    return round(font_for(words, 14).getlength(words)) + EDGE


# -- the figure -------------------------------------------------------------------------------------------------------


def saliency_grid(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    captions: Mapping[str, Sequence[str]] | None = None,
    strength: float = 0.6,
    signed: bool = True,
    words: tuple[str, str] | None = None,
    layout: str = "columns",
    across: int | None = None,
    title: str = "",
) -> go.Figure:
    """Faces, and beside each the same face in grey under its maps: what raises a score, and what lowers it.

    Args:
        images: uint8 ``[k, H, W]`` or ``[k, H, W, 3]``.
        maps: name of a column (``'before relabel'``, ``'trained'``) -> maps ``[k, h, w]`` from -1 to 1, of any size
            (see `normalised`).
        captions: name of a column, or ``'face'`` -> a text for each face.
        strength: how opaque the colours are, from 0 to 1; `set_strength` changes it later.
        signed: whether maps have a sign; else their size is shown.
        words: at the two ends of the colour bar (see `bar_words`).
        layout: ``'columns'``: a face and its maps beside each other; ``'rows'``: below each other.
        across: faces with their maps side by side; None: 1, or 8 in the layout ``'rows'``.
        title: text above.

    Raises:
        DataError: they do not fit.

    >>> maps = {"trained": np.array([[[0.0, 1.0], [-1.0, 0.5]]])}
    >>> figure = saliency_grid(np.zeros((1, 64, 64), np.uint8), maps, strength=0.5)
    >>> [image.opacity for image in figure.layout.images]
    [None, 0.5, None, 0.5]
    """
    images = _checked(images, maps, strength, layout)
    if not len(images):
        return sentence(NO_FACE)
    sheet = _Sheet(images, maps, captions, signed, layout, across, title)
    figure = draw_grid(sheet.grid)
    _, _, cells = lay_out(sheet.grid)
    width, height = cells.size
    figure.add_layout_image(source=_uri(_layer(sheet, cells)), layer="above", xref="x", yref="y", x=0, y=0, sizex=width,
                            sizey=height, sizing="stretch", opacity=strength)  # fmt: skip
    figure.update_traces(textfont_size=14, selector={"name": "captions"})
    _add_bar(figure, words or WORDS[signed], signed, strength)
    return figure


def _layer(sheet: _Sheet, cells: Cells) -> Image.Image:
    """All maps in one transparent picture with the pixels of the screen."""
    size = tuple(round(side * cells.scale) for side in cells.face)
    colors = Image.new("RGBA", tuple(round(side * cells.scale) for side in cells.size))
    for tile, slot in zip(sheet.tiles(size), sheet.slots[sheet.count :], strict=True):
        colors.paste(Image.fromarray(tile), tuple(round(side * cells.scale) for side in cells.corner(slot)))
    return colors


def set_strength(figure: go.Figure, strength: float) -> None:
    """Make the colours of a figure of `saliency_grid` more or less opaque; nothing is computed again."""
    for image in figure.layout.images:
        if image.opacity is not None:
            image.opacity = strength


def _add_bar(figure: go.Figure, words: tuple[str, str], signed: bool, strength: float) -> None:
    """The colour bar above the faces, on the grey of a face, with words at its ends."""
    about, start = figure.layout, _bar_start(words[0])
    more = max(0, _bar_width(words) + about.margin.l + 10 - about.width)  # a face or two are narrower than the bar
    width, height = about.width - about.margin.l - about.margin.r, about.height - about.margin.t - about.margin.b
    place = {"xref": "paper", "yref": "paper", "x": start / width, "y": 1 + (BAR_ROOM - 8) / height,
             "sizex": BAR[0] / width, "sizey": BAR[1] / height, "sizing": "stretch"}  # fmt: skip
    figure.add_layout_image(source=_uri(Image.new("RGB", BAR, BAR_GREY)), layer="below", **place)
    colors = Image.fromarray(overlay(_bar_values(signed), signed))
    figure.add_layout_image(source=_uri(colors), layer="above", opacity=strength, **place)
    for text, x in zip(words, (0, start + BAR[0] + EDGE), strict=True):
        figure.add_annotation(text=markup(text), x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="middle",
                              xshift=x, yshift=BAR_ROOM - 8 - BAR[1] / 2, showarrow=False,
                              font={"size": 14})  # fmt: skip
    figure.update_layout(margin_t=about.margin.t + BAR_ROOM, height=about.height + BAR_ROOM,
                         margin_r=about.margin.r + more, width=about.width + more)  # fmt: skip


def _bar_width(words: tuple[str, str]) -> int:
    return _bar_start(words[0]) + BAR[0] + EDGE + round(font_for(words[1], 14).getlength(words[1]))


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# -- the same without a browser -------------------------------------------------------------------------------------


def saliency_grid_png(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    captions: Mapping[str, Sequence[str]] | None = None,
    strength: float = 0.6,
    signed: bool = True,
    words: tuple[str, str] | None = None,
    layout: str = "columns",
    across: int | None = None,
    title: str = "",
) -> bytes:
    """The picture of `saliency_grid` as a PNG file; the same arguments."""
    images = _checked(images, maps, strength, layout)
    if not len(images):
        return draw_grid_png(Grid(images, []))
    size = FACE_PIXELS, max(1, round(FACE_PIXELS * images.shape[1] / images.shape[2]))
    large = np.stack([np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC)) for face in images])
    sheet = _Sheet(large, maps, captions, signed, layout, across)
    covered = blended(sheet.grid.images[len(images) :], sheet.tiles(size), strength)
    grid = sheet.grid._replace(images=np.concatenate([large, covered]))
    body = grid_picture(grid)
    return png_bytes(_headed(body, words or WORDS[signed], signed, strength, 110 if grid.row_titles else 10, title))


def _headed(body: Image.Image, words: tuple[str, str], signed: bool, strength: float, left: int, title: str):
    """Title and colour bar above a picture."""
    top = (34 if title else 0) + BAR_ROOM
    page = Image.new("RGB", (max(body.width, left + _bar_width(words) + 10), body.height + top), "white")
    page.paste(body, (0, top))
    pen, middle = ImageDraw.Draw(page), top - 12
    if title:
        pen.text((left, 8), title, fill=INK, font=font_for(title, 18))
    start = left + _bar_start(words[0])
    grey = np.full((*BAR[::-1], 3), BAR_GREY, np.uint8)
    bar = blended(grey, overlay(_bar_values(signed), signed), strength)
    page.paste(Image.fromarray(bar), (start, middle - BAR[1] // 2))
    for text, x in ((words[0], left), (words[1], start + BAR[0] + EDGE)):
        pen.text((x, middle), text, fill=INK, font=font_for(text, 14), anchor="lm")
    return page
