"""Before and after relabeling as in the paper's Fig. 3: the faces that tell most, three rows of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots.curves import relabeling_start
from scn_fastai.plots.faces import Grid, draw_grid
from scn_fastai.plots.sample_table import weighting_start
from scn_fastai.plots.sprites import alpha_line, checked_faces, faces_at
from scn_fastai.plots.static import draw_grid_png
from scn_fastai.plots.style import as_names, label_states
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.training.run import Run

COLUMNS = 8  # faces in a row of Fig. 3
MOST = 64  # faces in it
FACE = 70  # pixels across a face: eight of them fit beside their titles on a notebook page
SHARES = {"cured": 2, "missed": 1, "harmed": 1, "changed": 1}  # of each four telling faces two are cured
ROWS = {
    "true": "true\nlabel",
    "original": "original\nlabel",
    "before": "given label,\nbefore",
    "after": "label after\nrelabeling",
}


# -- the picture --------------------------------------------------------------------------------------------------


def figure3_grid(
    images: np.ndarray | Sequence[np.ndarray | None],
    true: Sequence[int | str] | None,
    given: Sequence[int | str],
    current: Sequence[int | str],
    alpha_before: Sequence[float] | None = None,
    alpha_after: Sequence[float] | None = None,
    classes: list[str] | None = None,
    alpha_original: Sequence[float] | None = None,
    columns: int = COLUMNS,
    title: str = "",
    hidden: bool = False,
) -> Grid:
    """The grid that `figure3` draws."""
    images, count = checked_faces(images), len(images)
    columns_of = {"true": true, "given": given, "current": current, "alpha_before": alpha_before,
                  "alpha_after": alpha_after, "alpha_original": alpha_original}  # fmt: skip
    for name, values in columns_of.items():
        if values is not None and len(values) != count:
            raise DataError(f"There are {count} faces but {len(values)} values in {name}: give one for each.")
    faces, missing = faces_at(images, np.arange(count))
    names = [as_names(labels, classes) for labels in (given if true is None else true, given, current)]
    names[0] = ["?"] * count if hidden else names[0]
    first = [f"{name}\n(image missing)" if gone else name for name, gone in zip(names[0], missing, strict=True)]
    captions = [
        name if alpha is None else f"{name}\n{alpha_line(float(alpha[i]))}"
        for words, alpha in zip((first, *names[1:]), (alpha_original, alpha_before, alpha_after), strict=True)
        for i, name in enumerate(words)
    ]
    states = label_states(names[1], names[2], None if true is None or hidden else names[0]).tolist()
    columns = max(1, min(columns, count))
    band, column = np.divmod(np.arange(count), columns)
    slots = np.concatenate([(3 * band + row) * columns + column for row in range(3)])
    titles = [ROWS["original" if true is None else "true"], ROWS["before"], ROWS["after"]]
    bands = int(band[-1]) + 1 if count else 0
    return Grid(np.concatenate([faces] * 3), captions, [None] * 2 * count + states, columns, FACE / faces.shape[2],
                slots=slots.tolist(), row_titles=titles * bands, title=title)  # fmt: skip


def figure3(
    images: np.ndarray | Sequence[np.ndarray | None],
    true: Sequence[int | str] | None,
    given: Sequence[int | str],
    current: Sequence[int | str],
    alpha_before: Sequence[float] | None = None,
    alpha_after: Sequence[float] | None = None,
    classes: list[str] | None = None,
    alpha_original: Sequence[float] | None = None,
    columns: int = COLUMNS,
    title: str = "",
    hidden: bool = False,
) -> go.Figure:
    """The paper's Fig. 3 of any faces: each stands in three rows, with a label and its alpha to 4 decimals.

    The first row shows the true (original) label, the second the given (noisy) one before relabeling, the third the
    label after it; frames tell what became of it.

    Args:
        images: uint8 ``[k, H, W]`` or ``[k, H, W, 3]``, or a list in which None is a missing image.
        true: ``[k]``, names, or codes into ``classes``; None where it is not known: then the given one is the original.
        given: ``[k]``.
        current: ``[k]``, labels after relabeling.
        alpha_before: ``[k]``, alpha in the last epoch before relabeling began; NaN where a face was not drawn.
        alpha_after: ``[k]``, alpha after training.
        classes: class names.
        alpha_original: ``[k]``, alpha of a training on the original labels.
        columns: faces in a row; more go on below, in three further rows.
        title: text above.
        hidden: leave the true labels to be guessed: the first row and the frames do not tell them.

    Raises:
        DataError: lengths or images do not fit.

    >>> figure = figure3(np.zeros((1, 48, 48), np.uint8), ["sad"], ["glad"], ["sad"], [0.25], [0.5])
    >>> list(figure.data[-1].text)
    ['sad', 'glad<br>α 0.2500', 'sad<br>α 0.5000']
    """
    grid = figure3_grid(
        images, true, given, current, alpha_before, alpha_after, classes, alpha_original, columns, title, hidden
    )
    return draw_grid(grid)


def figure3_png(images, true, given, current, alpha_before=None, alpha_after=None, **options) -> bytes:
    """The picture of `figure3` as a PNG file; the same arguments."""
    return draw_grid_png(figure3_grid(images, true, given, current, alpha_before, alpha_after, **options))


def samples_in(text: str, count: int) -> list[int]:
    """Sample numbers that somebody wrote down.

    Raises:
        DataError: something in it is no number, or no sample.

    >>> samples_in("17, 3 17", count=20)
    [17, 3]
    """
    words = text.replace(",", " ").split()
    for word in words:
        if not word.isdigit() or int(word) >= count:
            raise DataError(f"{word!r} is no sample: write numbers from 0 to {count - 1:,}, such as 17, 203.")
    if len(words) > MOST:
        raise DataError(f"Fig. 3 shows at most {MOST} faces, got {len(words):,}: choose some of them.")
    return list(dict.fromkeys(int(word) for word in words))


# -- what a run says --------------------------------------------------------------------------------------------


class Alphas(NamedTuple):
    """Alpha ``[N]`` before relabeling and after training, and of another training; None where there is none."""

    before: np.ndarray | None
    after: np.ndarray | None
    original: np.ndarray | None
    words: str  # which epochs they are of


def alphas_of(run: Run, original: Run | None = None) -> Alphas:
    """Alpha of the last epoch before relabeling began and of the last one, and the last of ``original``.

    Args:
        run: a run.
        original: a run on the same faces with their original labels, for the first row of Fig. 3.

    Raises:
        RunError: the two runs have not the same faces.
    """
    history = run.history
    if history is None or not history.epoch:
        return Alphas(None, None, _last_alpha(run, original), "This run has no epoch yet, so no alpha is known.")
    start, last = relabeling_start(history.frame()), history.epoch - 1
    after = history.epoch_arrays(last)["alpha"]
    if start is None:
        words, before = f"No epoch of this run changed labels by the rule. Alpha is that of epoch {last}.", None
    elif start == 0:
        words, before = f"Relabeling began in epoch 0. Alpha after it is that of epoch {last}.", None
    else:
        before = history.epoch_arrays(start - 1)["alpha"]
        words = f"Alpha before relabeling is that of epoch {start - 1}, after it that of epoch {last}."
        began = weighting_start(run)
        if began is None or began >= start:
            words += " Alpha was not trained yet before relabeling, so the two rows cannot be compared."
    return Alphas(before, after, _last_alpha(run, original), words)


def _last_alpha(run: Run, original: Run | None) -> np.ndarray | None:
    if original is None or original.history is None or not original.history.epoch:
        return None
    own, other = run.train_samples["image"], original.train_samples["image"]
    if len(own) != len(other) or (own.to_numpy() != other.to_numpy()).any():
        raise RunError(
            f"{original.folder.name} was not trained on the faces of {run.folder.name}: Fig. 3 needs a run on the "
            "same faces with their original labels."
        )
    return original.history.epoch_arrays(original.history.epoch - 1)["alpha"]


def telling_changes(run: Run, k: int = COLUMNS) -> list[int]:
    """Samples whose changed label tells most: half of them cured, a quarter missed, a quarter harmed, if there are.

    Of each kind those come first that the rule doubted most clearly, every new label in its turn. Without a truth the
    clearest changes. The same run gives the same samples.

    Args:
        run: a run with its ledger.
        k: how many; fewer if fewer labels changed.

    Raises:
        RunError: the run has no labels yet.
    """
    if run.ledger is None:
        raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
    given, current = (labels.cpu().numpy() for labels in (run.ledger.given, run.ledger.current))
    states = label_states(given, current, None if run.truth is None else run.truth.numpy())
    sample = np.flatnonzero(given != current)
    table = pd.DataFrame({"sample": sample, "state": states[sample], "label": current[sample]})
    table["doubt"] = last_doubt(run.ledger)[sample]
    table = table.sort_values(["doubt", "sample"], ascending=[False, True], kind="stable", na_position="last")
    table["turn"] = table.groupby(["state", "label"]).cumcount()
    table = table.sort_values("turn", kind="stable")
    kinds = list(SHARES)
    table["kind"] = np.array([kinds.index(state) for state in table["state"]], dtype=np.int64)
    shares = np.array(list(SHARES.values()))[table["kind"]]
    table["place"] = table.groupby("kind").cumcount() / shares
    chosen = table.sort_values(["place", "kind"], kind="stable")[: max(0, k)]
    return chosen.sort_values("kind", kind="stable")["sample"].tolist()


def last_doubt(ledger: LabelLedger) -> np.ndarray:
    """``P_max - P_given`` when the rule last changed each label, float ``[N]``; NaN where it never did."""
    rows = ledger.rows()
    rows = rows[rows["by"] == "rule"].drop_duplicates("sample", keep="last")
    doubt = np.full(len(ledger.given), np.nan)
    doubt[rows["sample"]] = rows["p_max"].to_numpy(float) - rows["p_given"].to_numpy(float)
    return doubt
