"""What ``scn pretrain`` and ``scn table3`` do: a backbone with its card; the paper's Table 3 on stand-ins."""

import argparse
import json
import shlex
import sys
from argparse import Namespace
from pathlib import Path

from tqdm import tqdm

from scn_fastai.cli import experiment
from scn_fastai.errors import RunError, SettingsError


def options_of_pretrain(verb: argparse.ArgumentParser) -> None:
    """The options of ``scn pretrain``."""
    verb.add_argument(
        "--what", required=True, help="identity (people of the rendered faces) or web (half wrong labels)"
    )
    verb.add_argument("--how", help="identity by classification (default) or metric (CosFace: angles and a margin)")
    verb.add_argument("--scn", action="store_true", help="train with SCN, beginning early and whatever the labels")
    verb.add_argument("--out", required=True, help="folder for the run, backbone.safetensors and its card")
    verb.add_argument("--resume", action="store_true", help="go on with the run in --out")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--path", help="folder or file of the rendered faces (default: found)")
    verb.add_argument("--limit", type=int, metavar="N", help="number of faces to train on")
    verb.add_argument("--noise", type=float, help="share of wrong labels of web (default: 0.5)")
    how = verb.add_argument_group("training")
    how.add_argument("--arch", default="small", help="small, ir50, a torchvision name, or timm:NAME (default: small)")
    how.add_argument("--size", type=int, help="resize faces to this many pixels")
    how.add_argument("--epochs", type=int, default=30)
    how.add_argument("--batch-size", type=int, default=64)
    how.add_argument("--lr", type=float, default=0.05)
    how.add_argument("--device", default="auto")


def options_of_table3(verb: argparse.ArgumentParser) -> None:
    """The options of ``scn table3``."""
    verb.add_argument("--out", default="runs/table3", help="folder for the runs; finished ones are not run again")
    verb.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas")
    verb.add_argument("--size", default="quick", help="tiny, quick (small network, 2,000 faces) or full (ResNet-18)")
    verb.add_argument("--jobs", type=int, default=1, help="trainings at a time")
    verb.add_argument("--path", help="folder or file of the rendered faces (default: found)")


def pretrain(options: Namespace) -> int:
    """One pretraining: its run, its backbone, its card."""
    from scn_fastai.experiments.compare import finished, run_cell
    from scn_fastai.experiments.fit import TrainSettings
    from scn_fastai.experiments.pretrain import pretrain_cell, pretraining_name, save_pretrained
    from scn_fastai.training.pretrained import backbone_card

    name = pretraining_name(options.what, options.how or "classification", options.scn)
    if options.epochs < 1 or options.batch_size < 2:
        raise SettingsError("A training needs --epochs of 1 or more and a --batch-size of 2 or more.")
    names = ("arch", "size", "epochs", "batch_size", "lr", "device", "seed")
    train = TrainSettings(**{name: getattr(options, name) for name in names})
    cell = pretrain_cell(name, train, Path(options.out), options.limit, options.path, options.noise)
    begun = (cell.folder / "settings.json").exists()
    if begun and not options.resume:
        raise RunError(f"{cell.folder} holds a run already: add --resume to go on with it, or choose another --out.")
    if finished(cell) is None:
        run_cell(cell, _say)
    file = save_pretrained(cell, _command(options))
    card = backbone_card(file)
    if options.scn and card["figures"]["scn_began"] is None:
        _say("SCN never began in this training, so it was a plain one: train for more --epochs.")
    if options.json:
        print(json.dumps({"backbone": str(file), "card": card}))
    else:
        figures = ", ".join(f"{key} {value:.4g}" for key, value in card["figures"].items() if value is not None)
        print(
            f"{file}\n  {card['trained_on']}\n  {figures}\n  for: scn train --arch {card['arch']} --pretrained {file}"
        )
    return 0


def table3(options: Namespace) -> int:
    """The four rows of Table 3, several seeds, beside what the paper printed."""
    from scn_fastai.experiments.table3 import table3 as run_all
    from scn_fastai.plots.comparison import waiting_words

    seeds, out = experiment.seeds_of(options.seeds), Path(options.out)
    with tqdm(unit="epoch", file=sys.stderr, mininterval=1) as bar:
        runs = run_all(out, seeds, options.size, options.jobs, options.path, lambda *told: _move(bar, *told))
    for words in waiting_words(runs[runs["recipe"] != "plain"].assign(recipe=runs["line"])):
        _say(words)
    _say(f"A row for each training: {out / 'table3.csv'}")
    return experiment.show(out, ["table3"], options.json)


def _move(bar: tqdm, done: int, total: int, line: str) -> None:
    bar.total = total  # of the stage that runs now
    bar.set_postfix_str(line, refresh=False)
    bar.n = done
    bar.refresh()


def _command(options: Namespace) -> str:
    """The command again; folders stand in it as they were given, by their last name."""
    kept = {k: v for k, v in vars(options).items() if k not in ("run", "json", "resume", "path") and v is not None}
    words = ["scn", "pretrain"]
    for name, value in kept.items():
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [] if value is False else [flag, str(value)]
    words[words.index("--out") + 1] = Path(options.out).name
    return shlex.join(words)


def _say(line: str) -> None:
    print(line, file=sys.stderr)
