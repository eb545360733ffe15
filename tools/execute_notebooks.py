"""Run notebooks and store their outputs, in the form that the tests compare.

    python tools/execute_notebooks.py                          all of nbs/
    python tools/execute_notebooks.py nbs/00_quickstart.ipynb  only this one
    python tools/execute_notebooks.py --links                  run nothing, renew links and slides

Each notebook runs from top to bottom in a fresh kernel of this Python, in its own folder. Outputs and
execution counts are kept, since a cell without a count is never compared. What differs at every run goes:
the state of widgets (half of one makes a notebook invisible on some sites), and the times of the cells.
"""

import argparse
import sys
import time
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = ("**Exercise", "checkpoint(", "import ", "from ")  # of slides, by how a cell begins


def clean(notebook):
    """Take out of an executed notebook what is different at every run; returns the notebook."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    places = slide_types(notebook.cells)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        for key in ("execution", "collapsed", "ExecuteTime"):
            cell.metadata.pop(key, None)
        cell.metadata["slideshow"] = {"slide_type": places[number]}
    return notebook


def repository():
    """The repository's address, from pyproject.toml."""
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["urls"]["Repository"]


def with_links(source, name):
    """The text of a first cell with links to Colab and Binder below its title, in place of older ones."""
    title, _, rest = source.partition("\n")
    rest = "\n".join(line for line in rest.splitlines() if not line.startswith("[Colab]")).lstrip("\n")
    address = repository()
    place = address.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{place}/blob/main/nbs/{name}"
    binder = f"https://mybinder.org/v2/gh/{place}/HEAD?urlpath=lab/tree/nbs/{name}"
    first = f"`!git clone {address}; pip install -e {place.split('/')[1]}`"
    return f"{title}\n\n[Colab]({colab}) (there, run {first} first) · [Binder]({binder})\n\n{rest}"


def renew_links(path):
    """Write links and places on slides of one notebook anew, without running it."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = with_links(notebook.cells[0].source, path.name)
    nbformat.write(clean(notebook), path)


def slide_types(cells):
    """Where each cell stands when the notebook is shown as slides: a page holds a thought and what comes of it.

    A heading begins a slide. Other text begins one below it, and so does a picture where the page has one already.
    Imports, exercises and their checks are left out.
    """
    types, pictured = [], False
    for cell in cells:
        kind = slide_type(cell, pictured)
        types.append(kind)
        if kind != "skip":
            pictured = shows_picture(cell) or (pictured and kind == "-")
    return types


def slide_type(cell, pictured):
    """Where a cell stands, if the page before it ends with a picture or does not."""
    if "solution" in cell.metadata.get("tags", []) or cell.source.startswith(LEFT_OUT):
        return "skip"
    if cell.cell_type == "markdown":
        return "slide" if cell.source.startswith("#") else "subslide"
    return "subslide" if pictured and cell.outputs else "-"


def shows_picture(cell):
    """Whether a picture or a table is among the outputs of a cell."""
    return any({"image/png", "text/html"} & set(o.get("data", {})) for o in cell.get("outputs", []))


def execute(path, timeout):
    """Run one notebook and write it back; if a cell fails, the file stays as it was."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=timeout,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    if notebook.cells and notebook.cells[0].cell_type == "markdown":
        notebook.cells[0].source = with_links(notebook.cells[0].source, path.name)
    nbformat.write(clean(notebook), path)


def main():
    """Run the notebooks named on the command line, or all; 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--timeout", type=int, default=1800, help="seconds for one cell")
    parser.add_argument("--links", action="store_true", help="run nothing, renew links and slides")
    args = parser.parse_args()
    found = sorted((ROOT / "nbs").glob("*.ipynb"))
    failed = 0
    for path in args.notebooks or found:
        start = time.perf_counter()
        try:
            if args.links:
                renew_links(path)
            else:
                execute(path.resolve(), args.timeout)
        except FileNotFoundError:
            failed += 1
            print(f"{path}: there is no such file", file=sys.stderr)
        except CellExecutionError as error:
            failed += 1
            print(f"{path}: a cell failed, nothing was stored\n{error}", file=sys.stderr)
        else:
            print(f"{path.name}: stored after {time.perf_counter() - start:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
