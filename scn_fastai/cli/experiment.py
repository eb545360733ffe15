"""What ``scn experiment`` does: train a table of the paper, print it beside the paper's figures, say what holds."""

import json
import math
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from scn_fastai.errors import RunError, SettingsError


def add_arguments(verb) -> None:
    """The options of ``scn experiment``."""
    verb.add_argument("table", metavar="TABLE", help="table2, table4, table5, table6, fig5 or detect")
    verb.add_argument("--size", default="quick", help="quick (rendered faces, CPU) or full (FERPlus, GPU hours)")
    verb.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas")
    verb.add_argument("--out", help="folder for runs and results (default: runs/experiments/SIZE)")
    verb.add_argument("--path", help="file or folder of FERPlus, for --size full")
    verb.add_argument("--jobs", type=int, help="runs at a time (default: one a core; 1 on a GPU)")
    verb.add_argument("--limit", type=int, metavar="N", help="other number of training faces")
    verb.add_argument("--epochs", type=int, help="other number of epochs")
    verb.add_argument("--batch-size", type=int, help="other batch size")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, ...")


def experiment(options: Namespace) -> int:
    """Train, write, print."""
    from scn_fastai.experiments.compare import best_jobs
    from scn_fastai.experiments.experiment import claims, detector_results, layout, run_table, write_results
    from scn_fastai.experiments.tables import table_by_name

    table, size, seeds = table_by_name(options.table), _size(options), _seeds(options.seeds)
    out = Path(options.out or f"runs/experiments/{options.size}")
    jobs = options.jobs or best_jobs(len(table.rows) * len(seeds), options.device)
    _say(f"{table.title}: {len(table.rows)} rows, {len(seeds)} seeds, on {size.about}.")
    with tqdm(unit="epoch", file=sys.stderr, mininterval=1) as bar:
        results = run_table(table, size, seeds, out, jobs, lambda done, total, line: _move(bar, done, total, line))
    lines, verdicts = layout(table, results), claims(table, results)
    written = [*_written(write_results, results, out / f"{table.name}.csv")]
    detectors = detector_results(results, out) if table.name == "detect" else pd.DataFrame()
    if len(detectors):
        written += _written(write_results, detectors, out / "detectors.csv")
    failed = results[results["error"].notna()]
    if options.json:
        summary = {"rows": _records(lines), "claims": _records(verdicts), "files": [str(path) for path in written]}
        print(json.dumps(summary | {"failed": _records(failed[["words", "error"]])}))
    else:
        print(lines.to_string(index=False, float_format="%.2f", na_rep="-"))
        if len(verdicts):
            print("\n" + verdicts.to_string(index=False, float_format="%.2f", na_rep="-"))
        if len(detectors):
            print("\n" + detector_words(detectors).to_string(float_format="%.1f", na_rep="-"))
        print(f"\nIn %, mean and standard deviation over seeds, {size.about}; paper: {table.column}.")
        for row in failed.drop_duplicates("error").itertuples():
            _say(f"scn: {row.words}: {row.error}")
        _say("Results: " + ", ".join(map(str, written)))
    return 1 if len(failed) else 0


def detector_words(detectors: pd.DataFrame) -> pd.DataFrame:
    """AUROC in % for each detector (lines) and row of the table (columns), mean over seeds, best first."""
    known = detectors[detectors["auroc"].notna()]
    means = 100 * known.pivot_table(index="detector", columns="words", values="auroc", sort=False)
    return means.loc[means.mean(axis=1).sort_values(ascending=False).index]


# -- parts -----------------------------------------------------------------------------------------------------------


def _size(options: Namespace):
    from scn_fastai.experiments.tables import SIZES

    if options.size not in SIZES:
        raise SettingsError(f"There is no size {options.size!r}; there are: {', '.join(SIZES)}.")
    size = SIZES[options.size]
    if options.size == "full" and not options.path:
        raise SettingsError("The full size needs FERPlus: name its file or folder with --path.")
    source = {"path": options.path} | ({} if options.limit is None else {"limit": options.limit})
    changes = {name: getattr(options, name) for name in ("epochs", "batch_size")}
    train = {name: value for name, value in changes.items() if value is not None} | {"device": options.device}
    about = size.about
    if options.limit or options.epochs or options.batch_size:
        changed = {"faces": options.limit, "epochs": options.epochs, "a batch": options.batch_size}
        about += " (changed: " + ", ".join(f"{v} {k}" for k, v in changed.items() if v) + ")"
    return replace(size, source=replace(size.source, **source), train=replace(size.train, **train), about=about)


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise SettingsError(f"{text!r} are no seeds: give whole numbers separated by commas, such as 0,1,2.") from None
    if not seeds:
        raise SettingsError("Without a seed there is nothing to train: give --seeds 0,1,2.")
    return list(dict.fromkeys(seeds))


def _written(write, results: pd.DataFrame, path: Path) -> list[Path]:
    try:
        return write(results, path)
    except OSError as error:
        raise RunError(
            f"The results could not be written to {path} ({error.strerror or error}): choose another --out."
        ) from error


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
