"""The pipeline of SCN (the paper's Fig. 2), drawn from a real batch: every number in it is of these very faces."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from scn_fastai.core.microscope import BatchReport, examine_batch
from scn_fastai.errors import DataError
from scn_fastai.plots.batch_words import hinge_words, loss_words
from scn_fastai.plots.drawing import Arrow, Drawing, Item, Picture, Words, box, drawing_figure, drawing_png, fitted
from scn_fastai.plots.drawing import Shape as Polygon
from scn_fastai.plots.style import BLUE, GREEN, INK, ORANGE, SKY, VERMILION, as_names

LEAST, MOST = 2, 8  # faces that the page has room for
WIDTH, TOP, ROW, LEAST_HIGH = 1280, 118, 78, 444
FACE, SMALL = 64, 42
TRACK, QUIET = "#ECECEC", "#555555"
PURPLE_INK, GREEN_INK = "#9C3D74", "#00704F"  # PURPLE and GREEN as letters, which have to be read on white
# Left and right end of each stage.
STAGES = {"faces": (16, 186), "cnn": (206, 328), "alpha": (352, 482), "logits": (508, 742), "rank": (776, 986),
          "relabel": (1012, 1270)}  # fmt: skip
HEADS = {
    "faces": ("1  faces", "with their labels"),
    "cnn": ("2  CNN", "features x"),
    "alpha": ("3  importance", "alpha = σ(W_a x)"),
    "logits": ("4  weighted logits", "softmax(alpha W x)"),
    "rank": ("5  rank regularization", "high and low group"),
    "relabel": ("6  relabeling", "P_max - P_given > delta2?"),
}


class Scene(NamedTuple):
    """What the parts of the picture need."""

    report: BatchReport
    images: np.ndarray
    features: np.ndarray | None
    truth: list[str] | None
    ambiguous: np.ndarray
    row: float  # height of a face's row
    bottom: float  # of the rows

    def middle(self, sample: int) -> float:
        """Height of the middle of a sample's row."""
        return TOP + (sample + 0.5) * self.row


def pipeline_figure(
    images: np.ndarray,
    features: np.ndarray | Tensor | None,
    alpha: np.ndarray | Tensor,
    logits: np.ndarray | Tensor,
    target: np.ndarray | Tensor,
    classes: Sequence[str] | None = None,
    truth: Sequence[int | str] | None = None,
    ambiguous: Sequence[bool] | None = None,
    **rules,
) -> go.Figure:
    """A few faces on their way through SCN: features, alpha, weighted logits, the two groups, and new labels.

    As in the paper's figure a wrong label has a solid red frame and an ambiguous face a dashed green one, where that
    is known. The rules are the paper's unless others are named.

    Args:
        images: uint8 ``[B, H, W]`` or ``[B, H, W, 3]``, 2 to 8 faces; six look best.
        features: float ``[B, D]``, what the last pooling layer says of them, or None: then they are not drawn.
        alpha: float ``[B]``.
        logits: float ``[B, C]``, not weighted.
        target: int ``[B]``, the labels.
        classes: class names.
        truth: true classes ``[B]``, names or codes, or None.
        ambiguous: bool ``[B]``, or None.
        rules: settings of `examine_batch`.

    Raises:
        DataError: there are too few or too many faces, or the arrays do not fit.

    >>> faces = np.zeros((3, 48, 48), np.uint8)
    >>> logits = np.array([[2., 0.], [0., 1.], [3., 0.]])
    >>> figure = pipeline_figure(faces, None, np.array([0.9, 0.8, 0.4]), logits, np.array([0, 1, 1]), ["sad", "glad"])
    >>> [note.text for note in figure.layout.annotations if "→" in note.text]
    ['<b>glad → sad</b>']
    """
    return drawing_figure(pipeline(images, features, alpha, logits, target, classes, truth, ambiguous, **rules))


def pipeline_png(images, features, alpha, logits, target, classes=None, truth=None, ambiguous=None, **rules) -> bytes:
    """The picture of `pipeline_figure` as a PNG file, 1,280 pixels wide; the same arguments."""
    return drawing_png(pipeline(images, features, alpha, logits, target, classes, truth, ambiguous, **rules))


def pipeline(images, features, alpha, logits, target, classes=None, truth=None, ambiguous=None, **rules) -> Drawing:
    """The drawing that figure and PNG show; the arguments are those of `pipeline_figure`."""
    images = np.asarray(images)
    count = len(images)
    _check(images, {"features": features, "alpha": alpha, "truth": truth, "ambiguous": ambiguous})
    tensors = [torch.as_tensor(np.asarray(values)) for values in (logits, alpha, target)]
    report = examine_batch(*tensors, classes=classes, **rules)
    row = max(ROW, LEAST_HIGH / count)
    scene = Scene(
        report=report,
        images=images,
        features=None if features is None else np.asarray(features, dtype=float),
        truth=None if truth is None else as_names(truth, list(report.classes)),
        ambiguous=np.zeros(count, dtype=bool) if ambiguous is None else np.asarray(ambiguous, dtype=bool),
        row=row,
        bottom=TOP + count * row,
    )
    parts = (_heads, _flow, _faces, _network, _importance, _logits, _groups, _relabeling, _loss)
    return Drawing(WIDTH, round(scene.bottom + 122), [item for part in parts for item in part(scene)])


def _check(images: np.ndarray, columns: dict) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.ndim == 4 and images.shape[3] != 3:
        raise DataError(
            f"Faces must be uint8 of shape [B, H, W] or [B, H, W, 3], got {images.dtype} {list(images.shape)}."
        )
    if not LEAST <= len(images) <= MOST:
        raise DataError(f"The picture has room for {LEAST} to {MOST} faces, got {len(images)}: choose some of them.")
    for name, values in columns.items():
        if values is not None and len(values) != len(images):
            raise DataError(f"There are {len(images)} faces but {len(values)} for {name}: give one for each.")


# -- stages from left to right --------------------------------------------------------------------------------------


def _heads(scene: Scene) -> list[Item]:
    items: list[Item] = []
    for name, (head, below) in HEADS.items():
        left = STAGES[name][0]
        if name == "logits" and scene.report.rules.relative:
            below = "softmax(alpha / mean · W x)"
        items += [Words(left, 20, head, 17, bold=True), Words(left, 44, below, 15)]
    return items


def _flow(scene: Scene) -> list[Item]:
    """Arrows from stage to stage; alpha goes over the logits to the ranking."""
    middle = (TOP + scene.bottom) / 2
    ends = [STAGES[name] for name in ("faces", "cnn", "alpha", "logits")]
    items: list[Item] = [
        Arrow([(left[1] + 3, middle), (right[0] - 3, middle)]) for left, right in zip(ends, ends[1:], strict=False)
    ]
    over = [(STAGES["alpha"][0] + 50, TOP - 8), (STAGES["alpha"][0] + 50, TOP - 34)]
    to = STAGES["rank"][0] + 105
    items.append(Arrow([*over, (to, TOP - 34), (to, TOP - 6)]))
    items.append(Words((STAGES["logits"][0] + STAGES["logits"][1]) / 2, TOP - 44, "alpha", 14, anchor="center"))
    if scene.report.rules.scope == "low":
        middle = scene.bottom - 60  # from the low group
    return [*items, Arrow([(STAGES["rank"][1] + 3, middle), (STAGES["relabel"][0] - 3, middle)])]


def _faces(scene: Scene) -> list[Item]:
    left, right = STAGES["faces"]
    items: list[Item] = []
    for i, image in enumerate(scene.images):
        y = scene.middle(i)
        items += _framed(scene, i, left + 4, y - FACE / 2, FACE, image)
        name, wrong = scene.report.classes[int(scene.report.target[i])], is_wrong(scene, i)
        room = right - left - FACE - 14
        items.append(Words(left + FACE + 14, y - (10 if wrong else 0), fitted(name, room), 15, bold=wrong))
        if wrong:
            items.append(Words(left + FACE + 14, y + 10, fitted(f"({scene.truth[i]})", room, 14), 14, VERMILION))
    return items


def is_wrong(scene: Scene, i: int) -> bool:
    """Whether a sample's label is known to be wrong."""
    return scene.truth is not None and scene.truth[i] != scene.report.classes[int(scene.report.target[i])]


def _framed(scene: Scene, i: int, x: float, y: float, size: float, image: np.ndarray) -> list[Item]:
    """A face; framed if its label is wrong, or if it is ambiguous."""
    scale = size / max(image.shape[:2])
    high, wide = (side * scale for side in image.shape[:2])
    face = Picture(x + (size - wide) / 2, y + (size - high) / 2, wide, high, image)
    wrong = is_wrong(scene, i)
    if not wrong and not scene.ambiguous[i]:
        return [face]
    edge = VERMILION if wrong else GREEN
    return [face, box(x - 2, y - 2, size + 4, size + 4, edge=edge, line=4, dashed=not wrong)]


def _network(scene: Scene) -> list[Item]:
    left, right = STAGES["cnn"]
    end = left + 56 if scene.features is not None else right
    slope = (scene.bottom - TOP) / 5
    points = [(left, TOP), (end, TOP + slope), (end, scene.bottom - slope), (left, scene.bottom)]
    words = Words((left + end) / 2, (TOP + scene.bottom) / 2 - 20, "CNN", 18, bold=True, anchor="center")
    items: list[Item] = [Polygon(points, fill="#DCEBF5", edge=BLUE), words]
    for i, strip in enumerate(() if scene.features is None else feature_strips(scene.features)):
        items.append(Picture(end + 14, scene.middle(i) - 12, right - end - 14, 24, strip, smooth=False))
    return items


def feature_strips(features: np.ndarray, cells: int = 10) -> list[np.ndarray]:
    """Features ``[B, D]`` as strips of two rows of cells, the darker the larger; uint8 ``[2, cells, 3]`` each.

    >>> feature_strips(np.array([[0., 1.], [0., 0.]]), cells=1)[0][:, 0, 0].tolist()
    [255, 0]
    """
    wide = np.array(
        [np.interp(np.linspace(0, 1, 2 * cells), np.linspace(0, 1, features.shape[1]), f) for f in features]
    )
    span = wide.max() - wide.min()
    share = (wide - wide.min()) / (span if span > 0 else 1)
    dark, white = np.array([0, 60, 110]), np.array([255, 255, 255])
    shades = white + share[..., None] * (dark - white)
    return list(shades.round().astype(np.uint8).reshape(len(features), 2, cells, 3))


def _importance(scene: Scene) -> list[Item]:
    left, right = STAGES["alpha"]
    width, items = right - left - 48, []
    for i, alpha in enumerate(scene.report.alpha.tolist()):
        y, low = scene.middle(i), bool(scene.report.low[i])
        items += [box(left, y - 11, width, 22, fill=TRACK, edge=None),
                  box(left, y - 11, width * min(alpha, 1), 22, fill=VERMILION if low else BLUE, edge=None),
                  Words(right, y, f"{alpha:.2f}", 15, anchor="right")]  # fmt: skip
    return items


def _logits(scene: Scene) -> list[Item]:
    """Probabilities of each class, the label marked by a triangle, and the sample's WCE."""
    left, right = STAGES["logits"]
    report, count = scene.report, len(scene.report.classes)
    step, high, items = min(26.0, 128 / count), min(48.0, scene.row - 26), []
    for i in range(len(scene.images)):
        probs = report.probs[i].numpy()
        base, best = scene.middle(i) + high / 2 - 4, int(probs.argmax())
        for j, share in enumerate(probs):
            x, tall = left + 4 + j * step, max(1.0, share * high)
            items.append(box(x, base - tall, 0.75 * step, tall, fill=BLUE if j == best else SKY, edge=None))
        x = left + 4 + (int(report.target[i]) + 0.375) * step
        items.append(Polygon([(x - 6, base + 11), (x + 6, base + 11), (x, base + 2)], fill=INK, edge=None))
        text = left + 146
        items += [Words(text, base - high / 2 - 8, fitted(report.classes[best], right - text, 14), 14),
                  Words(text, base - high / 2 + 12, f"WCE {float(report.wce[i]):.2f}", 15, bold=True)]  # fmt: skip
    return [*items, Words(left, scene.bottom + 14, "▲ label; dark: most probable", 14, QUIET)]


def _groups(scene: Scene) -> list[Item]:
    """Both groups with their means, and between them the gap that the margin asks for."""
    left, right = STAGES["rank"]
    report, width = scene.report, right - left
    ranked = report.order.tolist()
    size = int((~report.low).sum())
    parts = (("high", ranked[:size], report.alpha_high, BLUE), ("low", ranked[size:], report.alpha_low, VERMILION))
    tall = {name: 68 + (SMALL + 8) * -(-len(members) // 4) for name, members, *_ in parts}
    items: list[Item] = []
    for name, members, mean, color in parts:
        y = TOP if name == "high" else scene.bottom - tall["low"]
        items.append(box(left, y, width, tall[name], edge=color, line=3, dashed=name == "low"))
        items.append(Words(left + 10, y + 18, f"{name} group", 15, color, bold=True))
        for place, i in enumerate(members):
            x, below = left + 9 + place % 4 * (SMALL + 8), y + 34 + place // 4 * (SMALL + 8)
            items += _framed(scene, i, x, below, SMALL, scene.images[i])
        symbol = "alpha_H" if name == "high" else "alpha_L"
        items.append(Words(left + 10, y + tall[name] - 16, f"{symbol} = {float(mean):.2f}", 15))
    top, end = TOP + tall["high"], scene.bottom - tall["low"]
    return items + _gap(scene, left + 16, top, end)


def _gap(scene: Scene, x: float, top: float, end: float) -> list[Item]:
    """The gap between the groups against the margin (SCN, Eq. 3), in three lines beside an arrow with two heads."""
    middle, color = (top + end) / 2, INK if scene.report.rank == 0 else "#8A5F00"
    gap, rest = hinge_words(scene.report).split(" = ", 1)
    number, rank = rest.split(": ", 1)
    lines = [gap, f"= {number}", rank.removeprefix("the ")]
    heads = [Arrow([(x, middle), (x, y)], color) for y in (top + 4, end - 4)]
    return heads + [Words(x + 14, middle + 22 * (k - 1), line, 15, color, bold=k == 2) for k, line in enumerate(lines)]


def _relabeling(scene: Scene) -> list[Item]:
    """Whom Eq. 5 looks at: the old label and the new one, and the two probabilities."""
    left, right = STAGES["relabel"]
    report, rules = scene.report, scene.report.rules
    asked = [i for i in report.order.tolist() if rules.scope == "all" or report.low[i]]
    asked.sort(key=lambda i: not report.changed[i])  # the changed ones first
    low = rules.scope == "low"
    top = scene.bottom - ROW * len(asked) if low else TOP  # beside the low group
    items: list[Item] = [Words(left, top - 24, "asked: the low group", 15, QUIET)] if low and top > TOP else []
    for place, i in enumerate(asked):
        y, text = top + 36 + place * ROW, left + SMALL + 12
        old, new = (report.classes[int(label)] for label in (report.target[i], report.label[i]))
        changed, p_max, p_given = bool(report.changed[i]), float(report.p_max[i]), float(report.p_given[i])
        words = f"{old} → {new}" if changed else f"{old}: stays"
        sign = ">" if p_max - p_given > rules.relabel_margin else "≤"
        items += _framed(scene, i, left + 2, y - SMALL / 2, SMALL, scene.images[i])
        items.append(Words(text, y - 21, fitted(words, right - text, 15), 15, PURPLE_INK if changed else INK, changed))
        items.append(Words(text, y, f"P_max {p_max:.2f}, P_given {p_given:.2f}", 14))
        items.append(Words(text, y + 19, f"{p_max - p_given:.2f} {sign} delta2 = {rules.relabel_margin:.2f}", 14))
    return items


def _loss(scene: Scene) -> list[Item]:
    """The total loss, and the way of the new labels back to the faces."""
    y, left, right = scene.bottom + 40, 430, STAGES["rank"][1]
    wce, rank = STAGES["logits"][1] + 10, (STAGES["rank"][0] + STAGES["rank"][1]) / 2
    items: list[Item] = [box(left, y, right - left, 36, fill="#FFF4DC", edge=ORANGE)]
    words = fitted(loss_words(scene.report), right - left - 8, 14)
    items.append(Words((left + right) / 2, y + 18, words, 14, anchor="center"))
    for x, word in ((wce, "WCE"), (rank, "RR")):
        items += [Arrow([(x, scene.bottom + 6), (x, y - 2)]), Words(x + 8, scene.bottom + 22, word, 15, bold=True)]
    back, lane = (STAGES["relabel"][0] + STAGES["relabel"][1]) / 2, y + 58
    way = [(back, scene.bottom + 4), (back, lane), (STAGES["faces"][0] + 36, lane)]
    items.append(Arrow([*way, (STAGES["faces"][0] + 36, scene.bottom + 6)], PURPLE_INK))
    note = "new labels: what the next epoch trains on"
    return [*items, Words(STAGES["faces"][0] + 52, lane - 14, note, 15, PURPLE_INK), *_frame_words(scene, y)]


def _frame_words(scene: Scene, y: float) -> list[Item]:
    """What the frames mean, as far as there are any."""
    left, words = STAGES["faces"][0] + 52, []
    if any(is_wrong(scene, i) for i in range(len(scene.images))):
        words.append(("solid frame: wrong label (true one in brackets)", VERMILION))
    if scene.ambiguous.any():
        words.append(("dashed frame: ambiguous face", GREEN_INK))
    return [Words(left, y - 22 + 22 * k, text, 14, color) for k, (text, color) in enumerate(words)]
