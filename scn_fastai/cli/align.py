"""What ``scn align`` does: a folder of photographs to a folder of aligned faces."""

import argparse
import json
import sys
from argparse import Namespace
from dataclasses import asdict

from tqdm import tqdm


def add_options(verb: argparse.ArgumentParser) -> None:
    """The options of ``scn align``."""
    verb.set_defaults(when_interrupted="finished pictures are kept, the same command goes on")
    verb.add_argument("--in", dest="folder", required=True, metavar="DIR", help="folder of photographs")
    verb.add_argument("--out", required=True, metavar="DIR", help="folder for the faces; goes on if interrupted")
    verb.add_argument("--size", type=int, default=224, help="pixels of an aligned face (default: 224)")
    verb.add_argument("--margin", type=float, default=0.0, help="share left free around the face at each side (0.1)")
    verb.add_argument("--rule", default="largest", help="which face of several: largest, central or surest")
    verb.add_argument("--threshold", type=float, default=0.7, help="score above which it is a face (default: 0.7)")
    verb.add_argument("--format", dest="form", default="png", help="png or jpg")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")


def align(options: Namespace) -> int:
    """Align a folder, print the account."""
    from scn_fastai.align.aligner import FaceAligner
    from scn_fastai.align.folder import align_folder

    device = detector_device(options.device)
    aligner = FaceAligner(options.size, options.margin, options.rule, options.threshold, device=device)
    with tqdm(unit="picture", file=sys.stderr, mininterval=1) as bar:
        summary = align_folder(options.folder, options.out, aligner, options.form, lambda n, of: move(bar, n, of))
    print(json.dumps(asdict(summary)) if options.json else summary)
    return 0


def detector_device(name: str) -> str:
    """`auto` as cuda where there is one, else cpu; any other name as it is, if torch can use it."""
    import torch

    from scn_fastai.errors import SettingsError

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"Device {name!r} cannot be used here ({str(error).splitlines()[0]}): try cpu.") from error
    return name


def move(bar: tqdm, done: int, of: int) -> None:
    """Bring a bar to where the work is."""
    bar.total = of
    bar.update(done - bar.n)
