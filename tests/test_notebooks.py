"""Notebooks as they lie in nbs/: run, thin, small, and really compared.

`make nbs` runs every cell and compares what it gives with what is stored. That is worth nothing for a cell
that was stored without having been run, or that is told to be left out; these rules keep such cells few.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from execute_notebooks import slide_types  # noqa: E402

NOTEBOOKS = sorted((ROOT / "nbs").glob("*.ipynb"))

LARGEST = 2_000_000  # bytes
LONGEST_DEF = 3  # lines
LONGEST_SOLUTION = 10  # lines of a function that a student writes
COMPARED_SHARE = 0.70
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|home|Users)/[\w.-]+")
KERNEL_ONLY = {"application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"}
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
IGNORE = {"nbval-ignore-output", "pytest-validate-ignore-output"}
SKIP = {"nbval-skip"}
RAISES = {"nbval-raises-exception", "raises-exception"}


def text(cell):
    """The source of a cell as one string."""
    return "".join(cell["source"])


def marks(cell):
    """What a cell tells nbval, by tag or by comment, as tags: `# NBVAL_SKIP` is `nbval-skip`."""
    lines = (line.strip() for line in text(cell).splitlines())
    comments = (line.lstrip("#").strip() for line in lines if line.startswith("#"))
    return set(cell["metadata"].get("tags", [])) | {c.lower().replace("_", "-") for c in comments}


def thick(cell):
    """What makes the code of a cell thick: a class, a long function, or something that is no Python."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(text(cell)))
    except SyntaxError:
        return ["is no Python"]
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found.append(f"defines class {node.name}, which belongs in the package")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            most = LONGEST_SOLUTION if "solution" in marks(cell) else LONGEST_DEF
            if node.end_lineno - node.lineno + 1 > most:
                found.append(f"defines {node.name} in more than {most} lines, not in the package")
    return found


def cell_faults(cell):
    """What is wrong with one code cell."""
    found = thick(cell)
    if cell["execution_count"] is None and not marks(cell) & SKIP:
        found.append("was not run, so it would never be compared")
    if any(o["output_type"] == "error" for o in cell["outputs"]) and not marks(cell) & RAISES:
        found.append("ended in an error")
    if any(KERNEL_ONLY & set(o.get("data", {})) and "image/png" not in o["data"] for o in cell["outputs"]):
        found.append("shows a picture that is empty on GitHub and in slides: let it be a PNG, or add one")
    return found


def compared_share(cells):
    """Share of the code cells with outputs that nbval compares; 0 if no cell has any."""
    shown = [c for c in cells if c["outputs"]]
    return sum(not marks(c) & (IGNORE | SKIP) for c in shown) / len(shown) if shown else 0.0


def faults(raw):
    """What is wrong with a notebook, given as the text of its file: sentences, none if it is in order."""
    notebook = json.loads(raw)
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code" and text(c).strip()]
    found = [f"code cell {i} {fault}" for i, cell in enumerate(cells, 1) for fault in cell_faults(cell)]
    if len(raw.encode()) > LARGEST:
        found.append(f"is larger than {LARGEST / 1e6:g} MB")
    found += [f"names a place on one machine: {m.group()}" for m in MACHINE_PATH.finditer(raw)]
    widgets = notebook["metadata"].get("widgets")
    if widgets is not None and "state" not in widgets.get(WIDGET_STATE, {}):
        found.append("has metadata.widgets without a state: some sites then show nothing at all")
    if compared_share(cells) < COMPARED_SHARE:
        found.append(f"compares {compared_share(cells):.0%} of its outputs, {COMPARED_SHARE:.0%} is the least")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_in_order(path):
    found = faults(path.read_text(encoding="utf-8"))
    assert not found, "\n".join(f"{path.name} {fault}" for fault in found)


# ---- the rules themselves ----


def code(source="1 + 1", count=1, outputs=None, tags=()):
    """A code cell; with an output, unless told otherwise."""
    shown = [{"output_type": "stream", "name": "stdout", "text": ["2\n"]}] if outputs is None else outputs
    return {
        "cell_type": "code",
        "source": source,
        "execution_count": count,
        "outputs": shown,
        "metadata": {"tags": list(tags)} if tags else {},
    }


def notebook(*cells, **metadata):
    """The text of a notebook file."""
    prose = {"cell_type": "markdown", "source": ["# A title"], "metadata": {}}
    return json.dumps({"cells": [prose, *cells], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


PLOTLY = [{"output_type": "display_data", "data": {"application/vnd.plotly.v1+json": {}}, "metadata": {}}]
ERROR = [{"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []}]
HALF_WIDGETS = {WIDGET_STATE: {"version_major": 2}}
SHORT = "def f(x):\n    y = x + 1\n    return y"
IGNORED = code("# NBVAL_IGNORE_OUTPUT\nfit()")


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (notebook(code(), code(count=None)), "code cell 2 was not run"),
        (notebook(code(), code(count=None, outputs=[])), "was not run"),
        (notebook(code(), code(), code(), code(outputs=ERROR)), "code cell 4 ended in an error"),
        (notebook(code("open('/" + "home/me/x')")), "place on one machine"),
        (notebook(code(), widgets=HALF_WIDGETS), "without a state"),
        (notebook(code(), widgets={}), "without a state"),
        (notebook(code("x = '" + "a" * LARGEST + "'")), "larger than 2 MB"),
        (notebook(code("class A:\n    pass")), "class A"),
        (notebook(code("if True:\n    class A: x = 1")), "class A"),
        (notebook(code(SHORT + "\n    # more\n    return 2")), "defines f"),
        (notebook(code("async " + SHORT.replace("return y", "z = y\n    return z"))), "defines f"),
        (notebook(code("this is no python")), "no Python"),
        (notebook(code(), code(), IGNORED), "compares 67%"),
        (notebook(code(), code("# NBVAL_SKIP\nfit()", count=None)), "compares 50%"),
        (notebook(code(), code(tags=["nbval-ignore-output"])), "compares 50%"),
        (notebook(code(outputs=[])), "compares 0%"),
        (notebook(code(outputs=PLOTLY)), "empty on GitHub"),
        (notebook(), "compares 0%"),
    ],
)
def test_a_fault_is_found(raw, word):
    assert word in "\n".join(faults(raw))


@pytest.mark.parametrize(
    "raw",
    [
        notebook(code(), code(outputs=[])),
        notebook(code(SHORT), code("%matplotlib inline\n!ls"), code("", count=None, outputs=[])),
        notebook(code(), code(), code(), IGNORED),
        notebook(code(), code("# NBVAL_SKIP\nfit()", count=None, outputs=[])),
        notebook(code(), code(outputs=ERROR, tags=["raises-exception"])),
        notebook(code(), widgets={WIDGET_STATE: {"state": {}, "version_major": 2}}),
    ],
)
def test_a_good_notebook_is_let_through(raw):
    assert faults(raw) == []


def test_source_may_be_a_list_of_lines():
    assert faults(notebook(code(["# NBVAL_IGNORE_OUTPUT\n", "fit()"]), code())) != []


def test_marks_are_those_that_nbval_reads():
    from nbval.plugin import comment_markers, metadata_tags

    assert {"NBVAL_IGNORE_OUTPUT", "PYTEST_VALIDATE_IGNORE_OUTPUT", "NBVAL_SKIP"} <= set(comment_markers)
    assert IGNORE | SKIP | RAISES <= set(metadata_tags)


# ---- notebooks that teach ----

EXERCISE = re.compile(r"\*\*Exercise (\d+)\.(\d+)\*\* \((easy|medium|hard), \d+ min\)")
HEADER = ("**What you will see.**", "**What you need.**", "CPU", "GPU")
NUMBERED = [path for path in NOTEBOOKS if path.stem[:2].isdigit()]


def lesson_faults(name, cells):
    """What a notebook lacks that a student would miss: sentences, none if it is in order."""
    prose = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    number = int(name[:2])
    found = [f"does not say {words!r} in its first cell" for words in HEADER if words not in prose[0]]
    if not prose[0].startswith(f"# {name[:2]} "):
        found.append("does not begin with its number and title")
    if "*Predict" not in "".join(prose):
        found.append("asks nobody to predict")
    if not re.search(r"\*\*What .*(does|do) not", "".join(prose)):
        found.append("does not say what this does not do")
    asked = [EXERCISE.search(text) for text in prose if "**Exercise" in text]
    if None in asked or not 3 <= len(asked) <= 5:
        found.append(f"has {len(asked)} exercises in order, 3 to 5 are asked for")
    elif [tuple(map(int, e.groups()[:2])) for e in asked] != [(number, i + 1) for i in range(len(asked))]:
        found.append("does not number its exercises in order")
    solved = [c for c in cells if c["cell_type"] == "code" and "solution" in c["metadata"].get("tags", [])]
    if len(solved) < len(asked):
        found.append("has an exercise without a solution")
    if not any("checkpoint(" in "".join(c["source"]) for c in cells if c["cell_type"] == "code"):
        found.append("has no checkpoint")
    return found


@pytest.mark.parametrize("path", NUMBERED, ids=lambda p: p.stem)
def test_a_lesson_has_all_its_parts(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    found = lesson_faults(path.stem, cells)
    assert not found, "\n".join(f"{path.name} {fault}" for fault in found)


def test_an_incomplete_lesson_is_found():
    prose = "# 07 A title\n**What you will see.** x **What you need.** 1 minute on a CPU"
    cells = [{"cell_type": "markdown", "source": prose, "metadata": {}}]
    cells += [{"cell_type": "markdown", "source": "**Exercise 7.2** (easy, 5 min) x", "metadata": {}}] * 3
    words = " ".join(lesson_faults("07_x", cells))
    for part in ("GPU", "predict", "not do", "in order", "without a solution", "no checkpoint"):
        assert part in words


def test_lessons_are_numbered_without_a_gap():
    assert [int(path.stem[:2]) for path in NUMBERED] == list(range(len(NUMBERED)))


def test_student_copies_and_the_instructors_page_are_up_to_date():
    tool = [sys.executable, str(ROOT / "tools" / "make_exercises.py"), "--check"]
    out = subprocess.run(tool, capture_output=True, text=True)
    assert out.returncode == 0, out.stdout + out.stderr + "run `make exercises`"


def test_a_student_copy_has_no_solution_and_no_output():
    for path in (ROOT / "nbs" / "exercises").glob("*.ipynb"):
        source = json.loads((ROOT / "nbs" / path.name).read_text(encoding="utf-8"))["cells"]
        copy = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") for cell in copy)
        for mine, theirs in zip(source, copy, strict=True):
            if "solution" in mine["metadata"].get("tags", []):
                answer = "".join(mine["source"]).split("# solution")[-1].strip()
                assert answer not in "".join(theirs["source"]) and "Write your code here" in "".join(theirs["source"])


@pytest.mark.parametrize("path", NUMBERED, ids=lambda p: p.stem)
def test_links_lead_to_the_address_in_pyproject(path):
    address = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
    place = address.removeprefix("https://github.com/")
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    assert f"/github/{place}/blob/main/nbs/{path.name}" in first, "run `make links`"
    assert f"/gh/{place}/HEAD?urlpath=lab/tree/nbs/{path.name}" in first


def cell(kind, source, *outputs, tags=()):
    """A cell as nbformat reads it."""
    shown = [nbformat.v4.new_output("display_data", {mime: ""}) for mime in outputs]
    made = nbformat.v4.new_markdown_cell(source) if kind == "text" else nbformat.v4.new_code_cell(source, outputs=shown)
    made.metadata["tags"] = list(tags)
    return made


def test_a_slide_holds_a_thought_and_what_comes_of_it():
    cells = [
        cell("text", "# Title"), cell("code", "import numpy"), cell("code", "show()", "image/png"),
        cell("code", "show()", "image/png"), cell("text", "A word."), cell("code", "table", "text/html"),
        cell("code", "1"), cell("code", "1", "text/plain"), cell("text", "**Exercise**"),
        cell("code", "x = 1", tags=["solution"]), cell("code", "checkpoint(1)", "text/plain"),
    ]  # fmt: skip
    expected = ["slide", "skip", "-", "subslide", "subslide", "-", "-", "subslide", "skip", "skip", "skip"]
    assert slide_types(cells) == expected


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_places_on_slides_are_stored(path):
    cells = nbformat.read(path, as_version=4).cells
    assert [c.metadata["slideshow"]["slide_type"] for c in cells] == slide_types(cells), "run `make links`"
