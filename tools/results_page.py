"""Write data/results/README.md: every experiment whose results lie there, beside the paper's figures and claims.

    python tools/results_page.py          # writes the page
    python tools/results_page.py --check  # says whether it is what the results say

Results come there from ``scn experiment NAME --out runs/...`` (NAME.csv, NAME.json and NAME_detectors.csv of that
folder), costs from ``python benchmarks/methods_cost.py --json``.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from scn_fastai.cli.experiment import detector_words
from scn_fastai.experiments.grid import experiments_in, read_results
from scn_fastai.plots.paper_table import claims_table, paper_lines

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
SIZES = {"real": " --size real --path ferplus.zip", "quick": ""}
COSTS = RESULTS / "methods_cost.jsonl"
LEAD = """# What was measured

Every table here was made by the command above it, and by `python tools/results_page.py` from the CSV beside it, which
has a row per training with its settings, versions and commit. Accuracy is that on the validation faces in %, mean ±
standard deviation over the seeds. The paper's figures are from its own data, network and pretraining: compare signs and
orders, not numbers. A claim of the paper *holds* if the 95 % interval of the difference over paired seeds lies above 0,
*does not hold* if it lies below, and is *not decided* if 0 is in it.
"""


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; figures stand right."""
    right = [pd.api.types.is_numeric_dtype(table[name]) for name in table]
    rows = [list(map(str, table.columns)), ["---:" if numeric else "---" for numeric in right]]
    rows += [[_text(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _text(value) -> str:
    if isinstance(value, float):
        return "–" if pd.isna(value) else f"{value:.1f}"
    return str(value).replace("|", "\\|")


def costs() -> pd.DataFrame:
    """Time and memory of each recipe over those of the plain network; nothing if they were not measured."""
    lines = COSTS.read_text(encoding="utf-8").splitlines() if COSTS.exists() else []
    return pd.DataFrame([json.loads(line) for line in lines], columns=["name", "time", "memory", "how"])


def section(folder: Path, name: str) -> str:
    """An experiment: its command, lines, claims and detectors."""
    results, about = read_results(folder, name)
    seeds = ",".join(map(str, about["seeds"]))
    command = f"scn experiment {name}{SIZES[folder.name]} --seeds {seeds}"
    lines = paper_lines(results)
    cost = costs().set_index("name")
    recipes = results.drop_duplicates("order").sort_values("order")["recipe"]
    if recipes.isin(cost.index).any():
        for column in ("time", "memory"):
            values = [cost[column].get(recipe) for recipe in recipes]
            lines[f"{column} / plain"] = ["–" if value is None else f"{value:.2f}" for value in values]
    commit = ", ".join(results["commit"].dropna().unique())
    parts = [
        f"## {about['title']}",
        f"{len(results)} trainings on {about['about']} ([every run]({folder.name}/{name}.csv), commit {commit}).",
        f"```bash\n{command}\n```",
        markdown(lines),
    ]
    claims = claims_table(results, about["claims"])
    if len(claims):
        parts.append(markdown(claims[["claim", "difference", "verdict"]]))
    detectors = folder / f"{name}_detectors.csv"
    if detectors.exists():
        found = detector_words(pd.read_csv(detectors)).rename_axis("AUROC, %").reset_index()
        parts += [
            f"How well each detector parts wrong labels from right ones ([every run]({folder.name}/{detectors.name})):"
        ]
        parts.append(markdown(found))
    return "\n\n".join(parts)


def cost_section(cost: pd.DataFrame) -> str:
    """Time and memory of every method."""
    words = "An epoch's seconds and peak memory over those of the plain network, timed in turns"
    shown = cost[["name", "time", "memory"]].rename(columns={"name": "recipe", "time": "time / plain"})
    shown = shown.rename(columns={"memory": "memory / plain"}).map(lambda v: v if isinstance(v, str) else f"{v:.2f}")
    command = "```bash\npython benchmarks/methods_cost.py --json\n```"
    return "\n\n".join(["## Costs", f"{words} ({cost['how'].iloc[0]}):", command, markdown(shown)])


def page() -> str:
    """The whole page."""
    sections = [section(RESULTS / size, name) for size in SIZES for name in experiments_in(RESULTS / size)]
    cost = costs()
    return "\n\n".join([LEAD.strip(), *sections, *([cost_section(cost)] if len(cost) else [])]) + "\n"


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
