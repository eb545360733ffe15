"""The report of one run: a page that a student reads without help, a kernel or the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scn_fastai.errors import DataError, RunError
from scn_fastai.plots import page as html
from scn_fastai.plots.alpha import alpha_histogram
from scn_fastai.plots.changes import change_map
from scn_fastai.plots.curves import numbers, relabeling_start, training_curves
from scn_fastai.plots.faces import alpha_ranking, before_after
from scn_fastai.plots.kinds import alpha_by_kind, kind_ranking, uncertain_words
from scn_fastai.plots.style import counted, label_states

if TYPE_CHECKING:
    from scn_fastai.training.run import Run

READ = {
    "curves": "Each panel runs from the first epoch on the left to the last on the right. Validation faces are never "
    "trained on, so their accuracy is the one to trust; when the accuracy on the given training labels goes on rising "
    "while validation stands still, the network is learning wrong labels by heart. The shaded band is the gap "
    "between the two groups: the rank loss is 0 while that gap, batch by batch, is at least the margin. A dotted "
    "vertical line marks the first epoch that changed labels; without one, no epoch did.",
    "alpha": "Alpha is the importance that the network gives a face: the higher, the more the face counts in "
    "training. In every batch the faces are sorted by alpha and split into a high and a low group. Healthy is a "
    "spread-out picture whose group means are at least the margin apart; one narrow spike means that alpha tells "
    "nothing. The groups overlap, because each batch is split by itself.",
    "ranking": "The upper row shows the faces that the network found least important, the lower row those it found "
    "most important, each with its label now and its alpha. Look for blur, darkness, odd poses and labels that do not "
    "fit among the lowest. Alpha is computed from the picture alone, so a clear face with a wrong label can still have "
    "a high alpha.",
    "kinds": "These faces were made on purpose: for each the data say whether it is certain, or ambiguous, blurred, "
    "dark and so on. A box shows alpha of one kind: the middle half, its median, and whiskers from the 5th to the 95th "
    "percentile; the dashed line is the median of the certain faces. If alpha did what the paper hopes for, all other "
    "boxes would lie left of it. AUROC says how well 1 - alpha tells the kind from certain faces: 1 always, 0.5 no "
    "better than chance, below 0.5 the wrong way round. Below, each row shows the faces of one kind with the lowest "
    "alpha on the left and with the highest on the right.",
    "changes": "The upper row of each pair shows the given label, the lower row the same face with its label after "
    "relabeling. The clearest changes come first: those where the network gave the new label far more probability than "
    "the given one. Look at the face before the frame: would you have changed the label?",
    "map": "A row is the label that faces came with, a column the label they have now; a number says how many faces "
    "went that way, and darker means more. Faces whose label stayed are left out. A dark cell often names two "
    "expressions that people mix up too; a whole dark column means that the network has a favourite class, which is "
    "a warning.",
}
NO_FACES = "The faces were not at hand when this report was written, so it shows no pictures of them."


def write_report(run: Run, path: str | Path, images: np.ndarray | None = None, summary: dict | None = None) -> Path:
    """Write one HTML file about a run that opens anywhere; returns its path.

    Args:
        run: with ledger and history.
        path: of the HTML file; what stands there is replaced when the new one is whole.
        images: uint8 ``[N, H, W]`` or ``[N, H, W, 3]``, the training faces in the order of the ledger; None leaves
            the faces out.
        summary: figures that the run itself does not hold, such as seconds.

    Raises:
        RunError: the run has no finished epoch, or the file cannot be written.
        DataError: there are more or fewer images than samples.
    """
    if run.ledger is None or run.history is None or not run.history.epoch:
        raise RunError(f"{run.folder.name} has no finished epoch yet: train it before you ask for a report.")
    if images is not None and len(images) != len(run.ledger.given):
        raise DataError(
            f"There are {len(images):,} images but {len(run.ledger.given):,} training samples: pass the training "
            "faces, in the order of the run."
        )
    facts = Facts(run, summary or {})
    parts = [_head(facts), _curves(facts), _alpha(facts), _ranking(facts, images), _kinds(facts, images)]
    parts += [_changes(facts, images), _map(facts), _settings(facts)]
    return html.write_page(path, html.page(f"SCN report: {facts.name}", "\n".join(parts)))


class Facts:
    """A run as plain arrays and figures, read once."""

    def __init__(self, run: Run, summary: dict):
        self.run, self.classes, self.settings = run, run.classes, run.settings
        self.given, self.current = run.ledger.given.cpu().numpy(), run.ledger.current.cpu().numpy()
        self.truth = None if run.truth is None else run.truth.cpu().numpy()
        self.states = label_states(self.given, self.current, self.truth)
        self.epochs = run.history.frame()
        arrays = run.history.epoch_arrays(run.history.epoch - 1)
        self.alpha, self.low = arrays["alpha"], arrays["low"]
        self.kinds = _known_kinds(run.train_samples)
        self.scn = run.settings.get("scn", {})
        self.name = run.settings.get("recipe") or run.folder.name
        self.figures = measured(self.epochs, self.states, self.given, self.truth) | {
            name: value for name, value in summary.items() if value is not None
        }

    @property
    def margin(self) -> float | None:
        """The rank margin of the last epoch, None where no rank loss was used."""
        acted = "weighting" not in self.epochs or bool(self.epochs["weighting"].iloc[-1])
        if not (self.scn.get("rank", True) and acted):
            return None
        if "rank_margin" in self.epochs:
            return float(self.epochs["rank_margin"].iloc[-1])
        return self.scn.get("rank_margin")


def _known_kinds(samples: pd.DataFrame) -> np.ndarray | None:
    """The kind of uncertainty of every face, or None where that is not known."""
    if "uncertainty" not in samples or samples["uncertainty"].isna().any():
        return None
    return samples["uncertainty"].to_numpy(dtype=object)


def measured(epochs: pd.DataFrame, states: np.ndarray, given: np.ndarray, truth: np.ndarray | None) -> dict:
    """The headline figures that follow from the epoch table and the labels (as `repair_measures` defines them)."""
    figures = {"epochs": len(epochs), "changed": int((states != "unchanged").sum())}
    if "accuracy" in epochs and numbers(epochs, "accuracy").notna().any():
        reached = numbers(epochs, "accuracy")
        best = int(np.nanargmax(reached))
        figures |= {"accuracy_last": float(reached.iloc[-1]), "accuracy_best": float(reached[best]), "epoch_best": best}
    if "noise_estimate" in epochs and len(epochs):
        figures["noise_estimate"] = float(epochs["noise_estimate"].iloc[-1])
    if truth is None:
        return figures
    counts = {state: int((states == state).sum()) for state in ("cured", "missed", "harmed")}
    wrong = int((given != truth).sum())
    shares = {
        "relabel_precision": (counts["cured"], figures["changed"]),
        "relabel_recall": (counts["cured"], wrong),
        "relabel_harm": (counts["harmed"], figures["changed"]),
        "label_accuracy_before": (len(given) - wrong, len(given)),
        "label_accuracy_after": (len(given) - wrong + counts["cured"] - counts["harmed"], len(given)),
    }
    return figures | {name: part / whole for name, (part, whole) in shares.items() if whole}


# -- the sections --------------------------------------------------------------------------------------------------


def _head(facts: Facts) -> str:
    f, n = facts.figures, len(facts.given)
    lead = (
        f"{counted(n, 'training face')} in {len(facts.classes)} classes, {counted(f['epochs'], 'epoch')}. "
        "SCN (Self-Cure Network) learns how important each face is, and changes labels that it doubts."
    )
    links = [("curves", "Training"), ("alpha", "Importance"), ("ranking", "Ranked faces")]
    links += [("kinds", "By kind of uncertainty")] if facts.kinds is not None else []
    links += [("changes", "Changed labels"), ("map", "From class to class"), ("settings", "Settings")]
    nav = "".join(f'<a href="#{name}">{words}</a>' for name, words in links)
    title = f"<h1>SCN report: recipe “{html.escape(facts.name)}”</h1>"
    return f'{title}{html.paragraph(lead, "lead")}<nav>{nav}</nav><div class="tiles">{"".join(_tiles(facts))}</div>'


def _tiles(facts: Facts) -> list[str]:
    f, n = facts.figures, len(facts.given)
    best = f"in epoch {f['epoch_best']}, counted from 0" if "epoch_best" in f else ""
    changed = f.get("changed", 0)
    tiles = [
        html.tile(html.number(f.get("accuracy_last")), "validation accuracy, last epoch", "the figure to report"),
        html.tile(html.number(f.get("accuracy_best")), "validation accuracy, best epoch", best),
        html.tile(f"{changed:,}", "labels changed", f"{changed / max(1, n):.1%} of the training faces"),
    ]
    if "noise_estimate" in f:
        about = "estimated from the averaged predictions; no more than these are changed by the default recipe"
        tiles.append(html.tile(html.number(f["noise_estimate"]), "labels that look wrong", about))
    if facts.truth is not None:
        none = "no change" if not changed else "not known"
        before, after = html.number(f.get("label_accuracy_before")), html.number(f.get("label_accuracy_after"))
        recall = html.number(f.get("relabel_recall"), missing="none wrong")
        tiles += [
            html.tile(f"{before} → {after}", "labels that are true", "before and after the training"),
            html.tile(html.number(f.get("relabel_precision"), missing=none), "relabel precision",
                      "of the changed labels are now true"),
            html.tile(recall, "relabel recall", "of the labels that were wrong are now true"),
            html.tile(html.number(f.get("relabel_harm"), missing=none), "harm",
                      "of the changed labels were true before"),
        ]  # fmt: skip
    speed = html.number(f.get("images_per_second"), ",.0f", "")
    note = f"{speed} faces a second" if speed else ""
    return [*tiles, html.tile(html.duration(f.get("seconds")), "training time", note)]


def _curves(facts: Facts) -> str:
    start = relabeling_start(facts.epochs)
    if start is not None:
        words = f"Relabeling began in epoch {start}; epochs are counted from 0."
    else:
        words = "No epoch of this training changed labels by its rule."
    figure = html.figure_html(training_curves(facts.epochs), "curves")
    parts = [html.paragraph(words), html.how_to_read(READ["curves"]), figure]
    return html.section("curves", "Training, epoch by epoch", parts)


def _alpha(facts: Facts) -> str:
    parts = []
    if facts.scn.get("rank", True) or facts.scn.get("weight", True):
        if facts.margin is not None:
            parts.append(html.paragraph("Alpha doctor: " + facts.run.history.doctor(facts.margin).sentence))
    else:
        parts.append(html.paragraph("This recipe computes alpha and ignores it; the picture is there to compare."))
    parts.append(html.how_to_read(READ["alpha"]))
    parts.append(html.figure_html(alpha_histogram(facts.alpha, facts.low, facts.margin), "alpha"))
    return html.section("alpha", "Importance (alpha) in the last epoch", parts)


def _ranking(facts: Facts, images: np.ndarray | None) -> str:
    if images is None:
        parts = [html.paragraph(NO_FACES)]
    else:
        figure = alpha_ranking(images, facts.alpha, facts.current, classes=facts.classes, frames=facts.states)
        parts = [html.how_to_read(READ["ranking"]), html.figure_html(figure, "ranking")]
    return html.section("ranking", "Faces ranked by importance", parts)


def _kinds(facts: Facts, images: np.ndarray | None) -> str:
    """Alpha of the faces that are known to be uncertain; nothing where that is not known."""
    if facts.kinds is None:
        return ""
    parts = [html.paragraph(uncertain_words(facts.kinds)), html.how_to_read(READ["kinds"])]
    parts.append(html.figure_html(alpha_by_kind(facts.alpha, facts.kinds), "kinds"))
    if images is not None:
        shown = kind_ranking(images, facts.alpha, facts.kinds, facts.current, facts.classes)
        parts.append(html.figure_html(shown, "kind-ranking"))
    return html.section("kinds", "Importance by kind of uncertainty", parts)


def _changes(facts: Facts, images: np.ndarray | None, most: int = 16) -> str:
    title = "Changed labels, before and after"
    table = last_changes(facts)
    if not len(table):
        return html.section("changes", title, [html.paragraph("No label differs from the given one.")])
    if images is None:
        return html.section("changes", title, [html.paragraph(NO_FACES)])
    parts = [html.how_to_read(READ["changes"])]
    if facts.truth is None:
        parts += _change_grid(facts, images, table, "The clearest changes (the truth is not known)", "all", most)
        return html.section("changes", title, parts)
    right = table["state"] == "cured"
    for words, who, name in (("Changed and now true", right, "right"), ("Changed and now wrong", ~right, "wrong")):
        parts += _change_grid(facts, images, table[who], words, name, most // 2)
    return html.section("changes", title, parts)


def last_changes(facts: Facts) -> pd.DataFrame:
    """A row per sample whose label differs from the given one, the clearest change (p_max - p_given) first."""
    rows = facts.run.ledger.rows().drop_duplicates("sample", keep="last")
    rows = rows[(facts.given != facts.current)[rows["sample"].to_numpy()]].copy()
    rows["state"] = facts.states[rows["sample"].to_numpy()]
    rows["clear"] = rows["p_max"] - rows["p_given"]
    return rows.sort_values("clear", ascending=False, na_position="last", kind="stable")


def _change_grid(facts: Facts, images: np.ndarray, rows: pd.DataFrame, words: str, name: str, most: int) -> list[str]:
    count = f"{words}: {counted(len(rows), 'face')}"
    if len(rows) > most:
        count += f"; the {most} clearest are shown"
    if not len(rows):
        return [f"<h3>{html.escape(count)}</h3>"]
    rows = rows.head(most)
    who = rows["sample"].to_numpy()
    trained_since = rows["epoch"].to_numpy() < facts.run.history.epoch - 1
    after = np.where(trained_since, facts.alpha[who], np.nan)
    truth = None if facts.truth is None else facts.truth[who]
    order = np.argsort(who, kind="stable")  # a memory map is read forwards
    pictures = np.asarray(images[who[order]])[np.argsort(order, kind="stable")]
    figure = before_after(
        pictures, facts.given[who], facts.current[who], truth, rows["alpha"].to_numpy(), after, facts.classes
    )
    return [f"<h3>{html.escape(count)}</h3>", html.figure_html(figure, f"changes-{name}")]


def _map(facts: Facts) -> str:
    parts = []
    if (facts.states != "unchanged").any():
        parts += [html.how_to_read(READ["map"])]
    parts.append(html.figure_html(change_map(facts.given, facts.current, facts.classes), "map"))
    return html.section("map", "Changed labels, from class to class", parts)


def _settings(facts: Facts) -> str:
    groups = {"SCN": facts.scn} | {
        name: value for name, value in facts.settings.items() if isinstance(value, dict) and name != "scn"
    }
    plain = {k: v for k, v in facts.settings.items() if not isinstance(v, dict) and k != "classes"}
    groups["run"] = plain | {"classes": ", ".join(facts.classes)}
    parts = [html.paragraph("Everything that is needed to run this again.")]
    for name, values in groups.items():
        rows = [(key, "-" if value is None else value) for key, value in values.items()]
        table = html.html_table(pd.DataFrame(rows, columns=["setting", "value"]), "settings")
        shown = " open" if name == "SCN" else ""
        parts.append(f"<details{shown}><summary>{html.escape(name)}</summary>{table}</details>")
    return html.section("settings", "Settings", parts)
