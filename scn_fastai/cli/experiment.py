"""``scn experiment``: a table or figure of the paper, run and shown beside what the paper printed."""

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.paper_tables import EXPERIMENTS, Experiment, experiment
from scn_fastai.experiments.results import detectors_file, read_detectors
from scn_fastai.files import replace_file


def add_options(verb: ArgumentParser) -> None:
    """The options of the command."""
    verb.add_argument("name", metavar="NAME", help=", ".join(EXPERIMENTS))
    verb.add_argument("--size", default="quick", help="quick (rendered faces), real (FERPlus, small) or full (GPUs)")
    verb.add_argument("--path", help="where FERPlus lies (ferplus.zip, or its folder), for real and full")
    verb.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas")
    verb.add_argument("--lines", help="only lines of these recipes, separated by commas")
    verb.add_argument("--limit", type=int, metavar="N", help="other number of training faces")
    verb.add_argument("--epochs", type=int, help="other number of epochs")
    verb.add_argument("--batch-size", type=int, help="other batch size")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")
    verb.add_argument("--jobs", type=int, help="runs at a time (default: one a core; 1 on a GPU)")
    verb.add_argument(
        "--folds", type=int, default=0, metavar="K", help="detectors: K trainings for held-out predictions"
    )
    verb.add_argument("--cyclic", type=int, default=0, metavar="EPOCHS", help="detectors: train with O2U's cyclic rate")
    verb.add_argument("--known", metavar="FOLDER", help="take over trainings whose results stand there already")
    verb.add_argument("--out", help="folder for runs and results (default: runs/experiments/SIZE)")


def run(options: Namespace) -> int:
    """Train what is not trained yet; print the lines and the claims, and write the page."""
    from scn_fastai.experiments.compare import jobs_of
    from scn_fastai.experiments.evidence import More
    from scn_fastai.experiments.grid import lines_at, run_experiment

    if options.name == "table3":
        raise SettingsError("Table 3 pretrains first, so it has a command of its own: scn table3.")
    asked, size, seeds = _lines(experiment(options.name), options.lines), _size(options), seeds_of(options.seeds)
    asked = lines_at(asked, size)
    out = Path(options.out or f"runs/experiments/{size.name}")
    jobs = jobs_of(options.jobs, len(asked.lines) * len(seeds), size.train.device)
    beside = _known_detectors(options.known, asked)
    known = None if asked.detectors and beside is None else options.known
    more = More(True, options.folds, options.cyclic)
    _say(f"{asked.title}: {len(asked.lines)} lines, {len(seeds)} seeds, on {size.about}.")
    with tqdm(total=1, unit="epoch", file=sys.stderr, mininterval=1) as bar:
        results = run_experiment(asked, size, seeds, out, jobs, lambda *now: _move(bar, *now), known, _say_above)
    if asked.detectors:
        _ask_detectors(asked.name, results, out, beside, more, jobs)
    return show(out, [asked.name], options.json)


def _ask_detectors(name: str, results: pd.DataFrame, out: Path, beside: pd.DataFrame | None, more, jobs: int) -> None:
    """Every detector on every run; figures that were not asked for again stay."""
    from scn_fastai.experiments.judge import detector_results, keep_judged

    if (more.folds or more.cyclic) and beside is not None:
        _say("--folds and --cyclic are asked about runs in --out; of those that are taken over only what is known.")
    before = read_detectors(out, name)
    with tqdm(total=1, unit="run", file=sys.stderr, mininterval=1) as bar:
        found = detector_results(results, out, 0, beside, more, jobs, lambda *now: _move(bar, *now))
    found = keep_judged(found, before)
    replace_file(detectors_file(out, name), lambda place: found.to_csv(place, index=False))


@dataclass(frozen=True)
class Shown:
    """What is said of an experiment: its tables, the trainings that failed, and where its page lies."""

    name: str
    about: dict
    lines: pd.DataFrame
    claims: pd.DataFrame
    detectors: pd.DataFrame | None
    failed: pd.DataFrame
    page: Path

    def as_dict(self) -> dict:
        """The same for JSON."""
        told = {"experiment": self.name, "size": self.about["size"], "lines": _records(self.lines)}
        told |= {"claims": _records(self.claims), "failed": _records(self.failed[["line", "seed", "error"]])}
        told["report"] = str(self.page)
        if self.detectors is None:
            return told
        known = self.detectors.astype(object)
        return told | {"detectors": known.where(known.notna(), None).to_dict()}


def shown_of(folder: Path, name: str) -> Shown:
    """An experiment's tables; its page is written anew."""
    from scn_fastai.experiments.results import read_results, with_settings
    from scn_fastai.plots.paper_table import claims_table, paper_lines, write_experiment

    results, about = read_results(folder, name)
    lines, claims = paper_lines(results), claims_table(results, about["claims"])
    detectors = read_detectors(folder, name)
    found = None if detectors is None else detector_words(detectors)
    page = write_experiment(with_settings(results), about, Path(folder) / f"{name}.html", found)
    failed = (results if "error" in results else results.assign(error=None)).dropna(subset="error")
    return Shown(name, about, lines, claims, found, failed, page)


def show(folder: Path, names: list[str], as_json: bool = False) -> int:
    """Print the lines and claims of experiments, and write their pages; 1 if a training failed."""
    every = [shown_of(folder, name) for name in names]
    if as_json:
        told = [shown.as_dict() for shown in every]
        print(json.dumps(told if len(told) > 1 else told[0]))
    for shown in every:
        if not as_json:
            _print(shown)
        for row in shown.failed.drop_duplicates("error").itertuples():
            _say(f"scn: {row.line}: {row.error}")
    return int(any(len(shown.failed) for shown in every))


def _print(shown: Shown) -> None:
    for table in (shown.lines, shown.claims[["claim", "difference", "verdict"]]):
        if len(table):
            print(table.to_string(index=False) + "\n")
    if shown.detectors is not None:
        print(shown.detectors.to_string(float_format="%.1f", na_rep="-") + "\n")
    print(f"In %, on {shown.about['about']}.\nReport: {shown.page}")


def _known_detectors(folder: str | None, asked: Experiment) -> pd.DataFrame | None:
    """The detectors that stand beside earlier results, or None."""
    if folder is None or not asked.detectors:
        return None
    if not Path(folder).is_dir():
        raise RunError(f"There is no folder {folder}: --known names one with results of an experiment.")
    there = read_detectors(folder, asked.name)
    if there is None:
        _say(f"{folder} has no {detectors_file(folder, asked.name).name}, so no training is taken over from it.")
    return there


def detector_words(detectors: pd.DataFrame) -> pd.DataFrame:
    """AUROC in % for each detector (rows) and line (columns), mean over seeds, best first."""
    known = detectors[detectors["auroc"].notna()]
    means = 100 * known.pivot_table(index="detector", columns="line", values="auroc", sort=False)
    return means.loc[means.mean(axis=1).sort_values(ascending=False).index]


def _lines(asked: Experiment, recipes: str | None) -> Experiment:
    """The experiment with the lines of some recipes only, and the claims about them."""
    if recipes is None:
        return asked
    wanted = {name.strip() for name in recipes.split(",")}
    unknown = wanted - {line.recipe for line in asked.lines}
    if unknown:
        there = ", ".join(dict.fromkeys(line.recipe for line in asked.lines))
        raise SettingsError(f"{asked.name} has no line of {sorted(unknown)[0]!r}; there are: {there}.")
    lines = tuple(line for line in asked.lines if line.recipe in wanted)
    there = {line.label for line in lines}
    return replace(asked, lines=lines, claims=tuple(c for c in asked.claims if {c.better, c.than} <= there))


def _size(options: Namespace):
    from scn_fastai.experiments.grid import SIZES

    if options.size not in SIZES:
        raise SettingsError(f"There is no size {options.size!r}; there are: {', '.join(SIZES)}.")
    size = SIZES[options.size]
    if size.source.name != "rendered" and not options.path:
        raise SettingsError(f"The size {size.name} needs FERPlus: name its file or folder with --path.")
    if options.epochs is not None and options.epochs < 1:
        raise SettingsError(f"A training of {options.epochs} epochs makes no sense: --epochs is 1 or more.")
    source = {"path": options.path} | ({} if options.limit is None else {"limit": options.limit})
    changes = {name: getattr(options, name) for name in ("epochs", "batch_size")}
    train = {name: value for name, value in changes.items() if value is not None} | {"device": options.device}
    about = size.about
    if options.limit or options.epochs or options.batch_size:
        changed = {"faces": options.limit, "epochs": options.epochs, "a batch": options.batch_size}
        about += " (changed: " + ", ".join(f"{v} {k}" for k, v in changed.items() if v) + ")"
    return replace(size, source=replace(size.source, **source), train=replace(size.train, **train), about=about)


def seeds_of(text: str) -> list[int]:
    """Seeds from ``0,1,2``, each once."""
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if not seeds:
        raise SettingsError(f"{text!r} are no seeds: give whole numbers separated by commas, such as 0,1,2.")
    return list(dict.fromkeys(seeds))


def _records(table: pd.DataFrame) -> list[dict]:
    """Rows for JSON, which knows no NaN."""
    rows = table.to_dict("records")
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def _move(bar: tqdm, done: int, total: int, line: str) -> None:
    bar.total = total
    bar.set_postfix_str(line, refresh=False)
    bar.update(done - bar.n)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _say_above(line: str) -> None:
    tqdm.write(line, file=sys.stderr)  # not through a bar
