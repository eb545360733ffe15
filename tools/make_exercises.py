"""Student copies of the notebooks, and the instructor's page: both made from the one source in nbs/.

    python tools/make_exercises.py            write nbs/exercises/ and nbs/INSTRUCTOR.md
    python tools/make_exercises.py --check    say which of them are out of date; 1 if one is

A student copy is the notebook without outputs and with an empty cell in the place of every cell tagged ``solution``.
Lines of a solution above ``# solution`` stay: they are given. The instructor's page lists every exercise with its
difficulty, its time and its solution.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
NBS, STUDENTS, PAGE = ROOT / "nbs", "exercises", "INSTRUCTOR.md"
EXERCISE = re.compile(
    r"^\*\*Exercise (\d+)\.(\d+)\*\* \((easy|medium|hard), (\d+) min\)\s*(.*)", re.DOTALL | re.MULTILINE
)
MINUTES = re.compile(r"[Aa]bout (\d+) minutes?")
MARK = "# solution"
BLANK = "# Write your code here.\n"


def sources() -> list[Path]:
    """The notebooks of nbs/, in their order."""
    return sorted(NBS.glob("[0-9]*.ipynb"))


def tags(cell) -> set[str]:
    """The tags of a cell."""
    return set(cell.metadata.get("tags", []))


def student_copy(notebook):
    """The notebook as a student gets it."""
    notebook.cells[0].source = notebook.cells[0].source.replace("/nbs/", f"/nbs/{STUDENTS}/")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        if cell.cell_type != "code":
            continue
        cell.outputs, cell.execution_count = [], None
        if "solution" in tags(cell):
            cell.source = blank(cell.source)
            cell.metadata["tags"] = ["exercise"]
    return notebook


def blank(solution: str) -> str:
    r"""What is left of a solution: the lines above the mark.

    >>> blank("a = 1\n# solution\nb = a + 1")
    'a = 1\n# Write your code here.\n'
    """
    lines = solution.splitlines(keepends=True)
    marks = [i for i, line in enumerate(lines) if line.strip() == MARK]
    return "".join(lines[: marks[0]] if marks else []) + BLANK


def exercises(notebook) -> list[dict]:
    """The exercises of a notebook, each with the solution cells that follow it."""
    found = []
    for cell in notebook.cells:
        match = EXERCISE.search(cell.source) if cell.cell_type == "markdown" else None
        if match:
            chapter, number, level, minutes, text = match.groups()
            found.append({"name": f"{chapter}.{number}", "level": level, "minutes": int(minutes), "text": text.strip(),
                          "solutions": []})  # fmt: skip
        elif cell.cell_type == "code" and "solution" in tags(cell) and found:
            found[-1]["solutions"].append(cell.source.replace(MARK + "\n", "").strip())
    return found


def instructor_page(notebooks: dict[str, object]) -> str:
    """Timings, exercises and answers of all notebooks, as Markdown."""
    lines = ["# For the instructor", "", "Made by `make exercises` from the notebooks; do not edit.", ""]
    lines += ["| notebook | shown in | exercises | together |", "|---|---|---|---|"]
    for name, notebook in notebooks.items():
        minutes = MINUTES.search(notebook.cells[0].source)
        own = exercises(notebook)
        shown = f"{minutes.group(1)} min" if minutes else "?"
        lines.append(f"| [{name}]({name}.ipynb) | {shown} | {len(own)} | {sum(e['minutes'] for e in own)} min |")
    for notebook in notebooks.values():
        title = notebook.cells[0].source.splitlines()[0].lstrip("# ")
        lines += ["", f"## {title}"]
        for exercise in exercises(notebook):
            lines += ["", f"**{exercise['name']}** ({exercise['level']}, {exercise['minutes']} min) {exercise['text']}"]
            for solution in exercise["solutions"]:
                lines += ["", "```python", solution, "```"]
    return "\n".join(lines) + "\n"


def made() -> dict[Path, str]:
    """Every file that this tool writes, with its text."""
    read = {path.stem: nbformat.read(path, as_version=4) for path in sources()}
    files = {NBS / PAGE: instructor_page(read)}
    for name, notebook in read.items():
        if exercises(notebook):
            files[NBS / STUDENTS / f"{name}.ipynb"] = nbformat.writes(student_copy(notebook)) + "\n"
    return files


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is out of date")
    check = parser.parse_args().check
    files = made()
    old = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    old += [path for path in (NBS / STUDENTS).glob("*.ipynb") if path not in files]
    for path in old:
        print(f"{path.relative_to(ROOT)} is out of date" if check else path.relative_to(ROOT))
        if not check and path in files:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
        elif not check:
            path.unlink()
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
