"""The command line: ``scn`` with ``demo``, ``train``, ``compare``, ``check``, ``predict``, ``report`` and more."""

import argparse
import sys

from scn_fastai.cli import align, check, commands, detect, experiment, faces, pretrain, web
from scn_fastai.data.source import NAMES
from scn_fastai.errors import SCNError

RESUMED = "every finished epoch is saved, the same command with --resume goes on"


def main(argv: list[str] | None = None) -> int:
    """Run a command; our own errors end it with one sentence and exit code 2."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except SCNError as error:
        print(f"scn: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = RESUMED if hasattr(arguments, "resume") else "what was finished is saved, the same command goes on"
        print(f"scn: interrupted; {getattr(arguments, 'when_interrupted', kept)}", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(prog="scn", description="SCN: train with uncertain labels, see what was cured.")
    verbs = top.add_subparsers(required=True, metavar="COMMAND")
    demo = _verb(verbs, "demo", commands.demo, "a plain network and SCN side by side on rendered faces (2 minutes)")
    demo.add_argument("--out", default="runs/demo", help="folder for the runs and the report")
    _train(_verb(verbs, "train", commands.train, "train one recipe"))
    _compare(_verb(verbs, "compare", commands.compare, "train several recipes with several seeds"))
    _verb(verbs, "recipes", commands.recipes, "list the recipes")
    predict = _verb(verbs, "predict", commands.predict, "score images with a trained run")
    predict.add_argument("folder", metavar="RUN", help="folder of the run")
    predict.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    report = _verb(verbs, "report", commands.report, "write the HTML report of a run or a comparison again")
    report.add_argument("folder", metavar="DIR", help="folder of a run, of a comparison, or of experiments")
    detect.add_arguments(_verb(verbs, "detect", detect.detect, "which detector finds the wrong labels of a run"))
    about = (
        "run a table or figure of the paper (table2, table4, ..., methods, detect, human); finished trainings are kept"
    )
    experiment.add_options(_verb(verbs, "experiment", experiment.run, about))
    check.add_options(_verb(verbs, "check", check.check, "read a data set whole, and say what is wrong with it"))
    _faces(verbs)
    about = "pretrain a backbone on rendered stand-ins, saved with its card"
    pretrain.options_of_pretrain(_verb(verbs, "pretrain", pretrain.pretrain, about))
    about = "the paper's Table 3 on rendered stand-ins: pretraining and fine-tuning, with and without SCN"
    pretrain.options_of_table3(_verb(verbs, "table3", pretrain.table3, about))
    about = "find the faces of photographs and bring them upright to one size"
    align.add_options(_verb(verbs, "align", align.align, about))
    web.add_options(_verb(verbs, "web", web.web, "labelled faces from videos that were searched with emotion words"))
    return top


def _faces(verbs) -> None:
    about = "rendered faces: make a data set of them, or contact sheets"
    kinds = verbs.add_parser("faces", help=about, description=about).add_subparsers(required=True, metavar="WHAT")
    make = _verb(
        kinds, "make", faces.make, "render faces and their table into one Parquet file; goes on if interrupted"
    )
    make.add_argument("--out", required=True, help="folder for faces.parquet and its checksum")
    make.add_argument("--n", type=int, default=8000, help="number of faces; eight make a person (default: 8000)")
    make.add_argument("--workers", type=int, help="processes (default: one a core)")
    sheets = _verb(kinds, "sheets", faces.sheets, "draw contact sheets: people by expression, uncertainty by level")
    sheets.add_argument("--out", default="sheets", help="folder for the pictures")
    sheets.add_argument("--scale", type=float, default=1.6, help="screen pixels a pixel")
    for verb in (make, sheets):
        verb.add_argument("--size", type=int, default=64, help="width of a face in pixels")
        verb.add_argument("--seed", type=int, default=0)


def _verb(verbs, name: str, run, about: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=about, description=about)
    verb.set_defaults(run=run)
    verb.add_argument("--json", action="store_true", help="print a JSON summary on standard output, nothing else there")
    return verb


def _train(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--recipe", default="default", help="see `scn recipes` (default: default)")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--out", default="runs/train", help="folder of the run")
    verb.add_argument("--resume", action="store_true", help="go on with the run in --out")
    _common(verb)


def _compare(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--recipes", default="plain,paper,default", help="names, separated by commas")
    verb.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas")
    verb.add_argument("--out", default="runs/compare", help="folder for the runs; finished ones are not run again")
    verb.add_argument("--jobs", type=int, help="runs at a time (default: one a core; 1 on a GPU)")
    _common(verb)


def _common(verb: argparse.ArgumentParser) -> None:
    data = verb.add_argument_group("data")
    data.add_argument("--data", default="rendered", metavar="NAME",
                      help=f"{', '.join(NAMES)}, or two with a plus: rafdb+affectnet (default: rendered)")  # fmt: skip
    data.add_argument("--path", help="folder or file of the data set (rendered: found without); of two: A:B")
    data.add_argument("--rule", default="argmax8", help="FERPlus: how votes become a label")
    data.add_argument("--noise-file", metavar="FILE", help="RAF-DB: labels that another paper made wrong")
    data.add_argument("--limit", type=int, metavar="N", help="number of training faces, class by class")
    data.add_argument("--noise", type=float, default=0.0, help="share of training labels to flip (0.3)")
    data.add_argument("--noise-kind", default="symmetric", help="symmetric, confusion or human (uncertain faces first)")
    how = verb.add_argument_group("training")
    how.add_argument("--arch", default="resnet18", help="small, ir50, a torchvision name, or timm:NAME")
    how.add_argument("--size", type=int, help="resize faces to this many pixels (default: as they are or must be)")
    how.add_argument("--pretrained", metavar="PATH", help="a checkpoint for all but the classifier")
    kinds = "how its inputs were made (default: recognised): ijba, msceleb, ir50, torchvision, zero-one:size=112, ..."
    how.add_argument("--pretrained-kind", metavar="NAME", help=kinds)
    how.add_argument("--epochs", type=int, default=25)
    how.add_argument("--batch-size", type=int, default=128)
    how.add_argument("--lr", type=float, default=0.05, help="highest learning rate of the one-cycle schedule")
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    how.add_argument("--oversample", action="store_true", help="draw every class equally often in training")
    how.add_argument("--compile", action="store_true", help="compile the network (torch.compile)")
