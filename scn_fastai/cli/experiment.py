"""``scn experiment``: a table or figure of the paper, run and shown beside what the paper printed."""

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.paper_tables import EXPERIMENTS, Experiment, experiment


def add_options(verb: ArgumentParser) -> None:
    """The options of the command."""
    verb.add_argument("name", metavar="TABLE", help=", ".join(EXPERIMENTS))
    verb.add_argument("--size", default="quick", help="quick (rendered faces), real (FERPlus, small) or full (GPUs)")
    verb.add_argument("--path", help="where the real faces lie (ferplus.zip, or its folder)")
    verb.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas")
    verb.add_argument("--lines", help="only lines of these recipes, separated by commas")
    verb.add_argument("--limit", type=int, help="training faces (default: those of the size)")
    verb.add_argument("--epochs", type=int, help="epochs (default: those of the size)")
    verb.add_argument("--noise-kind", default="symmetric", help="symmetric, confusion or human")
    verb.add_argument("--jobs", type=int, help="runs at a time (default: one a core; 1 on a GPU)")
    verb.add_argument("--out", help="folder for runs and results (default: runs/TABLE-SCALE)")


def run(options: Namespace) -> int:
    """Train what is not trained yet; print the lines and the claims, and write the page."""
    from scn_fastai.experiments.compare import best_jobs
    from scn_fastai.experiments.grid import run_experiment

    asked, size = _lines(experiment(options.name), options.lines), _size(options)
    seeds = [int(seed) for seed in options.seeds.split(",")] if options.seeds.replace(",", "").isdigit() else None
    if seeds is None:
        raise SettingsError(f"{options.seeds!r} are no seeds: give whole numbers separated by commas, such as 0,1,2.")
    out = Path(options.out or f"runs/{asked.name}-{size.name}")
    jobs = options.jobs or best_jobs(len(asked.lines) * len(seeds), size.train.device)
    print(f"{asked.title}: {size.about}.", file=sys.stderr)
    with tqdm(total=1, unit="epoch", file=sys.stderr, mininterval=1) as bar:
        results = run_experiment(asked, size, seeds, out, jobs, options.noise_kind, lambda *now: _move(bar, *now))
    return show(out, results, options.json)


def show(folder: Path, results=None, as_json: bool = False) -> int:
    """Print an experiment's lines and claims, and write its page."""
    from scn_fastai.experiments.grid import read_results
    from scn_fastai.plots.paper_table import claims_table, paper_lines, write_experiment

    stored, about = read_results(folder)
    results = stored if results is None else results
    title = experiment(about["experiment"]).title
    claims = claims_table(results, about["claims"])
    written = write_experiment(results, about, title, Path(folder) / "report.html")
    if as_json:
        lines = paper_lines(results).to_dict("records")
        told = [{k: _json(v) for k, v in row.items()} for row in claims.to_dict("records")]
        print(json.dumps({"experiment": about["experiment"], "lines": lines, "claims": told, "report": str(written)}))
    else:
        print(paper_lines(results).to_string(index=False))
        if len(claims):
            print(f"\n{claims[['claim', 'difference', 'verdict']].to_string(index=False)}")
        print(f"\nReport: {written}")
    return 1 if "error" in results and results["error"].notna().any() else 0


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
    keys = {line.key for line in lines}
    return replace(asked, lines=lines, claims=tuple(c for c in asked.claims if {c.better, c.than} <= keys))


def _size(options: Namespace):
    from scn_fastai.experiments.grid import SIZES

    if options.size not in SIZES:
        raise SettingsError(f"There is no size {options.size!r}; there are: {', '.join(SIZES)}.")
    size = SIZES[options.size]
    source, train = size.source, size.train
    if options.path:
        source = replace(source, path=options.path)
    if options.limit:
        source = replace(source, limit=options.limit)
    if options.epochs:
        train = replace(train, epochs=options.epochs)
    about = size.about
    if (source.limit, train.epochs) != (size.source.limit, size.train.epochs):
        about += f"; here {source.limit or 'all'} faces and {train.epochs} epochs"
    return replace(size, source=source, train=train, about=about)


def _move(bar: tqdm, done: int, total: int, line: str) -> None:
    bar.total = total
    bar.set_postfix_str(line, refresh=False)
    bar.update(done - bar.n)


def _json(value):
    return None if isinstance(value, float) and math.isnan(value) else value
