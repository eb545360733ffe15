"""Write data/results/README.md: every experiment whose results lie there, beside the paper's figures and claims.

    python tools/results_page.py          # writes the page
    python tools/results_page.py --check  # says whether it is what the results say

Results come there from ``scn experiment NAME --out runs/...`` (NAME.csv, NAME.json and NAME_detectors.csv of that
folder), costs.jsonl and ambiguity.csv from the commands that stand above their tables.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd
from face_evidence import markdown

from scn_fastai.cli.experiment import detector_words
from scn_fastai.experiments import grid
from scn_fastai.experiments.paper_tables import experiment
from scn_fastai.experiments.results import detectors_file, experiments_in, read_results
from scn_fastai.plots.paper_table import claims_table, paper_lines

RESULTS = Path(__file__).resolve().parent.parent / "data" / "results"
SIZES = {"real": " --size real --path ferplus.zip", "quick": ""}
FACES = {"real": "photographs", "quick": "rendered faces"}
LEAD = """# What was measured

Every table here was made by the command above it, and by `python tools/results_page.py` from the CSV beside it, which
has a row per training with its settings, versions and commit (what stood behind the recipe's name then: `settings` in
the JSON beside it). Accuracy is that on the validation faces in %, mean ± standard deviation over the seeds. The
paper's figures are from its own data, network and pretraining: compare signs and orders, not numbers. A claim of the
paper *holds* if the 95 % interval of the difference over paired seeds lies above 0, *does not hold* if it lies below,
and is *not decided* if 0 is in it. What our default recipe is and gains: [DEFAULT.md](DEFAULT.md). Where it did not
begin (column `changed` of the CSV) it is the plain network; what differs then is the processor on which each ran.
"""


COSTS = RESULTS / "costs.jsonl"
COST_LEAD = """## What each recipe costs

Seconds of a training epoch and peak memory over those of the plain network, in one run, in turns; the smallest and the
largest of the repeats in brackets. {how}; a plain epoch took {plain_seconds:.1f} s and {mib:.0f} MiB.
What lies within a tenth of 1.00 is not told apart from it by so few repeats; RAN looks at a face and five crops of it.

```bash
python benchmarks/methods_cost.py --faces 512 --repeats 5 --json > data/results/costs.jsonl
```"""


def costs() -> dict[str, dict]:
    """What was measured of each recipe's costs, by its name."""
    rows = map(json.loads, COSTS.read_text(encoding="utf-8").splitlines())
    return {row["name"]: row for row in rows}


def cost_columns(recipes: list[str], known: dict[str, dict]) -> dict[str, list[str]]:
    """Time and memory of lines over plain; a recipe with other settings costs what it costs with its own.

    >>> cost_columns(["plain", "elr:lam=1"], {"elr": {"time": 1.04, "memory": 1.0}})
    {'time': ['1.00', '1.04'], 'memory': ['1.00', '1.00']}
    """
    known = {"plain": {"time": 1.0, "memory": 1.0}} | known
    rows = [known.get(name) or known.get(name.split(":")[0]) for name in recipes]
    return {kind: ["–" if row is None else f"{row[kind]:.2f}" for row in rows] for kind in ("time", "memory")}


def cost_section() -> str:
    """The costs of every recipe."""
    known = costs()
    first = next(iter(known.values()))
    lead = COST_LEAD.format(**first, mib=first["plain_bytes"] / 2**20)
    rows = [
        {"recipe": name, "time, × plain": f"{row['time']:.2f} ({row['low']:.2f}–{row['high']:.2f})"}
        | {"memory, × plain": f"{row['memory']:.2f}"}
        for name, row in sorted(known.items(), key=lambda item: item[1]["time"])
    ]
    return f"{lead}\n\n{table_of(pd.DataFrame(rows))}"


AMBIGUITY = RESULTS / "ambiguity.csv"
AMBIGUITY_LEAD = """## Which score finds the faces on which people disagree

Ten taggers voted on each face of FERPlus, and the entropy of their votes says how far they disagreed. Rank correlation
(Spearman) of each score with that entropy over the training faces, in %, mean ± standard deviation over the seeds
([every run](ambiguity.csv)); the labels are those of the crowd, none made wrong. Plain, rank-only and relabel-only do
not weight, so nothing teaches their alpha (the rank loss only parts two groups of it). Weight-only's alpha is that of
two seeds: in the third it collapsed to one value for all faces, which ranks nobody.

```bash
scn experiment table5 --size real --path ferplus.zip --seeds 0,1,2 --out runs/real
python tools/ambiguity.py runs/real/clean/* > data/results/ambiguity.csv
```"""


def ambiguity_section() -> str:
    """Every score and recipe: correlation with the votes' entropy."""
    by_recipe = pd.read_csv(AMBIGUITY).groupby(["detector", "recipe"])["spearman"]
    words = by_recipe.agg(lambda r: f"{r.mean():.1f} ± {r.std():.1f}").unstack("recipe")
    order = by_recipe.mean().unstack("recipe")["plain"].sort_values(ascending=False).index
    recipes = ["plain", "rank-only", "relabel-only", "weight-only", "weight-rank", "paper", "default"]
    return f"{AMBIGUITY_LEAD}\n\n{markdown(words.loc[order, recipes].rename_axis('Spearman, %'))}"


def table_of(frame: pd.DataFrame) -> str:
    """A table without its index as Markdown."""
    return markdown(frame.set_index(frame.columns[0]))


def section(folder: Path, name: str) -> str:
    """An experiment: its command, lines, claims and detectors."""
    results, about = read_results(folder, name)
    seeds = ",".join(map(str, about["seeds"]))
    lines = lines_option(results, name, folder.name)
    commit = ", ".join(results["commit"].dropna().unique())
    parts = [
        f"## {about['title']} ({FACES[folder.name]})",
        f"{len(results)} trainings on {about['about']} ([every run]({folder.name}/{name}.csv), commit {commit}).",
        f"```bash\nscn experiment {name}{SIZES[folder.name]} --seeds {seeds}{lines}{more_option(folder, name)}\n```",
        table_of(_with_costs(paper_lines(results), results)),
    ]
    claims = claims_table(results, about["claims"])
    if len(claims):
        parts.append(table_of(claims[["claim", "difference", "verdict"]]))
    detectors = detectors_file(folder, name)
    if detectors.exists():
        table = pd.read_csv(detectors)
        words = "How well each detector parts wrong labels from right ones"
        parts.append(f"{words} ([every run]({folder.name}/{detectors.name})){fewer_seeds(table)}:")
        parts.append(markdown(detector_words(table).round(1).astype(object).fillna("–").rename_axis("AUROC, %")))
    return "\n\n".join(parts)


def fewer_seeds(table: pd.DataFrame) -> str:
    """Which detectors were asked about fewer seeds than the others, else nothing."""
    known = table.dropna(subset="auroc").groupby(["detector", "line"])["seed"].agg(lambda seeds: tuple(sorted(seeds)))
    some = known[known.map(len) < table["seed"].nunique()].groupby("detector").first()
    words = [
        f"{', '.join(group.index)} of seed {' and '.join(map(str, seeds))} only" for seeds, group in some.groupby(some)
    ]
    return f"; {'; '.join(words)}" if words else ""


def more_option(folder: Path, name: str) -> str:
    """``--folds ...`` and ``--cyclic ...`` where other networks were trained for the detectors, else nothing."""
    if not detectors_file(folder, name).exists():
        return ""
    table = pd.read_csv(detectors_file(folder, name))
    most = {option: int(table[option].max()) for option in ("folds", "cyclic") if option in table}
    return "".join(f" --{option} {value}" for option, value in most.items() if value)


def lines_option(results: pd.DataFrame, name: str, size: str) -> str:
    """``--lines ...`` where an experiment was run in part, else nothing."""
    there = results.sort_values("order")["recipe"].drop_duplicates().tolist()
    every = {line.recipe for line in grid.lines_at(experiment(name), grid.SIZES[size]).lines}
    return "" if every == set(there) else f" --lines {','.join(there)}"


def _with_costs(lines: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """The lines of an experiment with what their recipes cost."""
    recipes = results.sort_values("order").drop_duplicates("order")["recipe"].tolist()
    return lines.assign(**{f"{kind}, × plain": column for kind, column in cost_columns(recipes, costs()).items()})


def page() -> str:
    """The whole page."""
    sections = [section(RESULTS / size, name) for size in SIZES for name in experiments_in(RESULTS / size)]
    return "\n\n".join([LEAD.strip(), *sections, ambiguity_section(), cost_section()]) + "\n"


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
