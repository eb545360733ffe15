"""What ``scn detect`` does: every detector on a run, a table of how well each finds the wrong labels, their scores."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd

from scn_fastai.errors import RunError, SettingsError
from scn_fastai.files import make_writable, replace_file

FIGURES = {"auroc": "AUROC", "ap": "AP", "p_at_k": "P@k"}
WITHIN = {f"{name}_within": f"{words} within" for name, words in FIGURES.items()}


def add_arguments(verb) -> None:
    """The options of ``scn detect``."""
    verb.add_argument("folder", metavar="RUN", help="folder of the run")
    verb.add_argument("--detectors", help="names, separated by commas (default: all; a wrong name lists them)")
    verb.add_argument("--features", action="store_true", help="compute the features that knn needs: one pass")
    verb.add_argument("--folds", type=int, default=0, metavar="K", help="train K networks for held-out predictions")
    verb.add_argument("--cyclic", type=int, default=0, metavar="EPOCHS", help="train with O2U's cyclic rate")
    verb.add_argument("--boot", type=int, default=200, metavar="N", help="bootstrap resamples (default: 200)")
    verb.add_argument("--seed", type=int, default=0, help="of resamples and folds")
    verb.add_argument("--out", help="the CSV of the scores (default: detectors.csv in the run's folder)")


def detect(options: Namespace) -> int:
    """Score, judge, print, write."""
    from scn_fastai.detect.detectors import DETECTORS, table_of_scores, votes_of
    from scn_fastai.experiments.evidence import More, run_scores
    from scn_fastai.training.run import Run

    names = [n.strip() for n in options.detectors.split(",") if n.strip()] if options.detectors else list(DETECTORS)
    check_names(names, DETECTORS)
    if options.boot < 0:
        raise SettingsError(f"--boot is {options.boot}, but it is a number of resamples: 0 or more.")
    run = Run.load(options.folder)
    out = Path(options.out or run.folder / "detectors.csv")
    make_writable(out.parent)
    more = More(options.features, options.folds, options.cyclic, options.seed)
    scores, problems = run_scores(run, more, names, _say)
    truth = None if run.truth is None else run.truth.numpy()
    _write_scores(run, scores, truth, out)
    table, given = None, run.ledger.given.cpu().numpy()
    if truth is not None:
        table = table_of_scores(scores, problems, given, truth, run.classes, votes_of(run), options.boot, options.seed)
    if options.json:
        print(json.dumps({"table": _records(table), "problems": problems, "scores": str(out)}))
        return 0
    blind = f"{run.folder.name} does not know the true labels: nothing to judge by."
    print(blind if table is None else words_of(table))
    for words in dict.fromkeys(problems.values()):
        _say(f"scn: {words}")
    _say(f"Scores: {out}")
    return 0


def check_names(names: list[str], known) -> None:
    """Refuse a wrong name before anything is trained."""
    for name in names:
        if name not in known:
            raise SettingsError(f"There is no detector {name!r}; there are: {', '.join(known)}.")


def words_of(table: pd.DataFrame) -> str:
    """The table as text: each figure with its interval, in percent."""
    shown = table[table["problem"] == ""]
    if not len(shown):
        return "No detector could be asked."
    columns = {"detector": shown["detector"], "faces": shown["n"], "wrong": shown["wrong"]}
    for name, words in FIGURES.items():
        columns[words] = [
            f"{100 * row[name]:.1f} ({100 * row[f'{name}_low']:.1f} to {100 * row[f'{name}_high']:.1f})"
            for _, row in shown.iterrows()
        ]
    columns |= {words: (100 * shown[name]).map("{:.1f}".format) for name, words in WITHIN.items()}
    if shown["spearman"].notna().any():
        columns["votes"] = shown["spearman"].map("{:.2f}".format)
    text = [pd.DataFrame(columns).to_string(index=False).replace("nan", "  -")]
    text.append("In %, with 95 % bootstrap intervals over the faces; k: the number of wrong labels;")
    text.append("within: mean over the given classes.")
    if "votes" in columns:
        text.append("votes: rank correlation with the entropy of the crowd's votes.")
    for classes in dict.fromkeys(shown["undefined"]):
        if classes:
            text.append(f"Without both right and wrong labels, and so not counted within: {classes}.")
    return "\n".join(text)


# -- parts -----------------------------------------------------------------------------------------------------------


def _write_scores(run, scores: dict[str, np.ndarray], truth: np.ndarray | None, path: Path) -> None:
    names = np.array(run.classes, dtype=object)
    given = run.ledger.given.cpu().numpy()
    table = pd.DataFrame({"sample": np.arange(len(given)), "image": run.train_samples["image"], "given": names[given]})
    if truth is not None:
        table["true"], table["wrong"] = names[truth], given != truth
    table = pd.concat([table, pd.DataFrame(scores)], axis=1)
    try:
        replace_file(path, lambda place: table.to_csv(place, index=False, float_format="%.6g"))
    except OSError as error:
        raise RunError(
            f"The scores could not be written to {path} ({error.strerror or error}): choose another --out."
        ) from error


def _records(table: pd.DataFrame | None) -> list[dict] | None:
    """Rows for JSON, which knows no NaN."""
    return None if table is None else table.astype(object).where(table.notna(), None).to_dict("records")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
