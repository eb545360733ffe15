"""What ``scn web`` does: videos that were searched with emotion words to labelled faces."""

import argparse
import json
import sys
from argparse import Namespace
from dataclasses import asdict

from tqdm import tqdm

from scn_fastai.cli.align import detector_device, move
from scn_fastai.errors import SettingsError


def add_options(verb: argparse.ArgumentParser) -> None:
    """The options of ``scn web``."""
    verb.set_defaults(when_interrupted="finished videos are kept, the same command goes on")
    verb.add_argument("--in", dest="folder", metavar="DIR", help="folder of videos and images, named by search words")
    verb.add_argument("--out", metavar="DIR", help="folder for faces.csv and the faces; goes on if interrupted")
    verb.add_argument("--queries", choices=("all", "pairs"), help="print what to search for instead, and end")
    verb.add_argument("--keywords", metavar="CSV", help="words of your own: kind,word,label (default: ours)")
    verb.add_argument("--size", type=int, default=224, help="pixels of a face (default: 224)")
    verb.add_argument("--margin", type=float, default=0.0, help="share left free around the face at each side (0.1)")
    verb.add_argument("--seconds", type=float, default=5.0, help="that a face has to be there (default: 5)")
    verb.add_argument("--per-second", type=float, default=2.0, help="frames looked at (default: 2)")
    verb.add_argument("--per-clip", type=int, default=5, help="faces kept of a clip (default: 5)")
    verb.add_argument("--most-seconds", type=float, default=240.0, help="longer videos are left out (default: 240)")
    verb.add_argument(
        "--folder-fps", type=float, metavar="FPS", help="a folder of images is a video of so many a second"
    )
    verb.add_argument("--valid", type=float, default=0.1, help="share of the videos marked as valid (default: 0.1)")
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")


def web(options: Namespace) -> int:
    """Collect labelled faces, or print the queries."""
    from scn_fastai.web.keywords import queries, read_keywords

    words = read_keywords(options.keywords)
    if options.queries:
        table = queries(words, options.queries)
        print(json.dumps(table.to_dict("records")) if options.json else table.to_csv(index=False), end="")
        return 0
    if not options.folder or not options.out:
        raise SettingsError("`scn web` needs --in and --out, or --queries to print what to search for.")
    from scn_fastai.align.aligner import FaceAligner
    from scn_fastai.web.collect import WebRules, collect_web

    names = ("seconds", "per_second", "per_clip", "most_seconds", "folder_fps", "valid")
    rules = WebRules(**{name: getattr(options, name) for name in names})
    aligner = FaceAligner(options.size, options.margin, device=detector_device(options.device))
    with tqdm(unit="video", file=sys.stderr, mininterval=1) as bar:
        told = lambda done, of: move(bar, done, of)  # noqa: E731
        summary = collect_web(options.folder, options.out, aligner, rules, words, told)
    print(json.dumps(asdict(summary)) if options.json else summary)
    return 0
