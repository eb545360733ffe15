"""What ``scn check`` does: read a data set whole, and say what is in it and what to do."""

import json
import sys
from argparse import ArgumentParser, Namespace

from tqdm import tqdm

from scn_fastai.data.check import NAMES, check_images, list_by_name


def add_options(verb: ArgumentParser) -> None:
    """The options of the command."""
    verb.add_argument("--data", required=True, metavar="NAME", help=", ".join(NAMES))
    verb.add_argument("--path", required=True, help="folder, zip or table of the data set")
    verb.add_argument("--rule", default="argmax8", help="FERPlus: how votes become a label")
    verb.add_argument("--noise-file", help="RAF-DB: labels that another paper made wrong")


def check(options: Namespace) -> int:
    """Report on a data set; exit code 0 when the report was made, whatever it says."""
    listing = list_by_name(options.data, options.path, options.rule, options.noise_file)
    count = len(listing.source.names)
    with tqdm(total=count, unit="image", file=sys.stderr, leave=False, mininterval=1, disable=None) as bar:
        report = check_images(listing, bar.update)
    print(json.dumps(report.as_dict(), indent=1) if options.json else report)
    return 0
