"""Write data/results/README.md: every experiment whose results lie there, beside the paper's figures and claims.

    python tools/results_page.py          # writes the page
    python tools/results_page.py --check  # says whether it is what the results say

Results come there from ``scn experiment NAME --out runs/...`` (NAME.csv, NAME.json and NAME_detectors.csv of that
folder).
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
from face_evidence import markdown

from scn_fastai.cli.experiment import detector_words, detectors_file
from scn_fastai.experiments.grid import experiments_in, read_results
from scn_fastai.plots.paper_table import claims_table, paper_lines

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
SIZES = {"real": " --size real --path ferplus.zip", "quick": ""}
LEAD = """# What was measured

Every table here was made by the command above it, and by `python tools/results_page.py` from the CSV beside it, which
has a row per training with its settings, versions and commit. Accuracy is that on the validation faces in %, mean ±
standard deviation over the seeds. The paper's figures are from its own data, network and pretraining: compare signs and
orders, not numbers. A claim of the paper *holds* if the 95 % interval of the difference over paired seeds lies above 0,
*does not hold* if it lies below, and is *not decided* if 0 is in it.
"""


def table_of(frame: pd.DataFrame) -> str:
    """A table without its index as Markdown."""
    return markdown(frame.set_index(frame.columns[0]))


def section(folder: Path, name: str) -> str:
    """An experiment: its command, lines, claims and detectors."""
    results, about = read_results(folder, name)
    seeds = ",".join(map(str, about["seeds"]))
    commit = ", ".join(results["commit"].dropna().unique())
    parts = [
        f"## {about['title']}",
        f"{len(results)} trainings on {about['about']} ([every run]({folder.name}/{name}.csv), commit {commit}).",
        f"```bash\nscn experiment {name}{SIZES[folder.name]} --seeds {seeds}\n```",
        table_of(paper_lines(results)),
    ]
    claims = claims_table(results, about["claims"])
    if len(claims):
        parts.append(table_of(claims[["claim", "difference", "verdict"]]))
    detectors = detectors_file(folder, name)
    if detectors.exists():
        words = "How well each detector parts wrong labels from right ones"
        parts.append(f"{words} ([every run]({folder.name}/{detectors.name})):")
        parts.append(markdown(detector_words(pd.read_csv(detectors)).round(1).rename_axis("AUROC, %")))
    return "\n\n".join(parts)


def page() -> str:
    """The whole page."""
    sections = [section(RESULTS / size, name) for size in SIZES for name in experiments_in(RESULTS / size)]
    return "\n\n".join([LEAD.strip(), *sections]) + "\n"


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if the page is not what it should be")
    check = parser.parse_args().check
    text, place = page(), RESULTS / "README.md"
    if check:
        return 0 if place.exists() and place.read_text(encoding="utf-8") == text else 1
    place.write_text(text, encoding="utf-8")
    print(place, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
