"""What each command does: read the options, call the rooms, print."""

import json
import math
import os
import sys
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from scn_fastai.cli import experiment
from scn_fastai.data.source import Source
from scn_fastai.errors import RunError, SettingsError
from scn_fastai.experiments.recipes import Recipe, all_recipes, recipe
from scn_fastai.files import make_writable, write_whole


def demo(options: Namespace) -> int:
    """A plain network and the default recipe on faces with wrong labels."""
    from scn_fastai.experiments.fit import TrainSettings

    _say("The faces of this demo are rendered; 30 % of their labels are made wrong on purpose.")
    # Even flips, as in the paper's Table 2.
    source = Source("rendered", limit=2000, noise=0.3)
    train = TrainSettings(arch="small", epochs=40, batch_size=64)
    return _run_grid(["plain", "default"], [0], train, source, options)


def train(options: Namespace) -> int:
    """One recipe, one seed."""
    from scn_fastai.experiments.cost import expected_cost
    from scn_fastai.experiments.fit import TellEpochs, train_faces

    source, how = _source(options), _train_settings(options, options.seed)
    recipe(options.recipe)
    out = Path(options.out)
    if (out / "settings.json").exists() and not options.resume:
        raise RunError(f"{out} holds a run already: add --resume to go on with it, or choose another --out.")
    faces = source.load(options.seed)
    _say(str(faces.account))
    _say(f"{faces!r}\nThis will take {expected_cost(faces, how, options.recipe)}.")
    shown = sys.stderr.isatty() and not options.json and _first()
    about = {"data": source.as_dict()}
    callbacks = [] if shown or not _first() else [TellEpochs(_say, options.recipe)]
    summary = train_faces(faces, options.recipe, how, out, options.resume, callbacks, bar=shown, about=about, tell=_say)
    if not _first():
        return 0
    written = _report_run(out, faces, summary)
    _print_summary(summary, options.json)
    _say(f"{_doctor(out)}\nReport: {written}")
    return 0


def compare(options: Namespace) -> int:
    """A grid of recipes and seeds."""
    recipes_asked, seeds = _names(options.recipes), experiment.seeds_of(options.seeds)
    if not recipes_asked:
        raise SettingsError("There is no recipe to compare: --recipes plain,default, say; `scn recipes` lists them.")
    for name in recipes_asked:
        recipe(name)
    return _run_grid(recipes_asked, seeds, _train_settings(options, 0), _source(options), options)


def recipes(options: Namespace) -> int:
    """The list of recipes."""
    known = all_recipes().values()
    if options.json:
        print(json.dumps([_card(r) for r in known], indent=1))
    else:
        for r in known:
            print(f"{r.name:<14}{r.about}")
    return 0


def _card(r: Recipe) -> dict:
    """A recipe as JSON shows it: a method with its options and its card, SCN with its settings."""
    card = {"name": r.name, "about": r.about}
    if r.method is None:
        return card | {"settings": r.settings.as_dict()}
    return card | {"options": dict(r.options), **{key: getattr(r.method, key) for key in ("paper", "assumes", "costs")}}


def predict(options: Namespace) -> int:
    """Alpha and probabilities of image files, by a trained run."""
    from scn_fastai.training.predict import predict_files
    from scn_fastai.training.run import Run

    table, problems = predict_files(Run.load(options.folder), options.images)
    if options.json:
        print(json.dumps({"images": _plain(table.to_dict("records")), "problems": problems}, indent=1))
    else:
        if len(table):
            print(table[["image", "predicted", "p_max", "alpha"]].to_string(index=False, float_format="%.4f"))
        for problem in problems:
            print(f"scn: {problem['image']}: {problem['problem']}", file=sys.stderr)
    return 1 if problems else 0


def report(options: Namespace) -> int:
    """The HTML report of a run, of a comparison, or of every experiment in a folder."""
    from scn_fastai.experiments.results import experiments_in
    from scn_fastai.training.run import Run

    folder = Path(options.folder)
    if experiments := experiments_in(folder):
        return experiment.show(folder, experiments, options.json)
    if (folder / "runs.json").exists():
        runs = pd.DataFrame(json.loads((folder / "runs.json").read_text(encoding="utf-8"))["runs"])
        written = _report_comparison(folder, runs)
    else:
        run = Run.load(folder)
        summary_file = folder / "summary.json"
        summary = json.loads(summary_file.read_text(encoding="utf-8")) if summary_file.exists() else None
        written = _report_run(folder, _faces_of(run), summary)
    print(json.dumps({"report": str(written)}) if options.json else written)
    return 0


# -- parts --------------------------------------------------------------------------------------------------------


def _run_grid(names: list[str], seeds: list[int], how, source: Source, options: Namespace) -> int:
    from scn_fastai.experiments.compare import cells, finished, jobs_of
    from scn_fastai.experiments.compare import compare as run_all
    from scn_fastai.experiments.cost import mean_cost
    from scn_fastai.plots.comparison import recipe_table, waiting_words

    out = Path(options.out)
    make_writable(out)
    grid = cells(names, seeds, how, source, out)
    left = [cell for cell in grid if finished(cell) is None]
    jobs = jobs_of(getattr(options, "jobs", None), len(grid), how.device)
    faces = source.load(seeds[0])
    _say(f"{faces.account}\n{faces!r}")
    if left:
        cost = mean_cost(faces, how, [cell.recipe for cell in left])
        rounds = math.ceil(len(left) / jobs) * (jobs if how.device == "cpu" or jobs > 1 else 1)
        _say(f"{len(left)} of {len(grid)} runs to do, {jobs} at a time: {cost.times(rounds, jobs)} in all.")
    with tqdm(total=sum(c.train.epochs for c in grid), unit="epoch", file=sys.stderr, mininterval=1) as bar:
        runs = run_all(grid, jobs, lambda done, total, line: _move(bar, done, line))
    setup = {"data": source.as_dict(), "train": asdict(how), "recipes": names, "seeds": seeds}
    result = {"runs": _plain(runs.to_dict("records")), "setup": setup}
    write_whole(out / "runs.json", json.dumps(result, indent=1))
    if len(seeds) == 1:
        for cell in grid:
            _report_run(cell.folder, faces, json.loads((cell.folder / "summary.json").read_text(encoding="utf-8")))
    written = _report_comparison(out, runs)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join([recipe_table(runs).to_string(index=False), *waiting_words(runs)]))
        print(f"\nReport: {written}")
    return 0


def _move(bar: tqdm, done: int, line: str) -> None:
    bar.set_postfix_str(line, refresh=False)
    bar.update(done - bar.n)


def _report_run(folder: Path, faces, summary: dict | None) -> Path:
    from scn_fastai.plots import write_report
    from scn_fastai.training.run import Run

    images = None if faces is None else faces.part("train").images
    return write_report(Run.load(folder), folder / "report.html", images=images, summary=summary)


def _doctor(folder: Path) -> str:
    from scn_fastai.training.run import Run

    run = Run.load(folder)
    return run.history.doctor(run.settings["scn"]["rank_margin"]).sentence


def _report_comparison(out: Path, runs: pd.DataFrame) -> Path:
    from scn_fastai.experiments.compare import run_name
    from scn_fastai.plots import write_comparison
    from scn_fastai.training.run import Run

    curves: dict[str, list[pd.DataFrame]] = {}
    for row in runs.itertuples():
        history = Run.load(out / run_name(row.recipe, row.seed)).history
        curves.setdefault(row.recipe, []).append(history.frame())
    return write_comparison(runs, curves, out / "comparison.html")


def _faces_of(run):
    """The faces of a run from where they were read, or None with a sentence if they are not there any more."""
    from scn_fastai.experiments.pretrain import source_of

    data = run.settings.get("data")
    if data is None:
        return None
    try:
        return source_of(data).load(run.settings["train"]["seed"])
    except ValueError as error:
        _say(f"The faces cannot be shown: {error}")
        return None


def _source(options: Namespace) -> Source:
    return Source(
        name=options.data,
        path=options.path,
        rule=options.rule,
        limit=options.limit,
        noise=options.noise,
        noise_kind=options.noise_kind,
        noise_file=options.noise_file,
        # Photographs are brought to size as they are decoded; small faces on the device, where it costs nothing.
        size=None if options.data in ("rendered", "ferplus", "fer2013") else options.size,
    )


def _train_settings(options: Namespace, seed: int):
    from scn_fastai.experiments.fit import TrainSettings

    if options.epochs < 1 or options.batch_size < 2:
        raise SettingsError("A training needs --epochs of 1 or more and a --batch-size of 2 or more.")
    names = ("arch", "size", "epochs", "batch_size", "lr", "device", "compile", "oversample")
    names += ("pretrained", "pretrained_kind")
    return TrainSettings(seed=seed, **{name: getattr(options, name) for name in names})


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _print_summary(summary: dict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_plain(summary)))
        return
    for name, value in summary.items():
        print(f"{name:<26}{value:.4f}" if isinstance(value, float) else f"{name:<26}{'-' if value is None else value}")


def _plain(value):
    """The same, with NaN as None: JSON has no NaN."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _first() -> bool:
    """Whether this is the first of the processes that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _say(line: str) -> None:
    if _first():
        print(line, file=sys.stderr)
