"""The house: who may import whom, how large a room may be, and that its lists of packages agree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "scn_fastai"

# Imports run downwards: a room may import rooms of lower floors, not its neighbours, never upwards.
FLOORS = {
    "errors": 0,
    "files": 1,
    "core": 1,
    "data": 2,
    "faces": 2,
    "align": 2,
    "training": 2,
    "web": 3,
    "methods": 3,
    "detect": 3,
    "explain": 3,
    "experiments": 4,
    "plots": 4,
    "widgets": 5,
    "cli": 6,
    "teaching": 6,
    "__main__": 7,
}
NEIGHBOURS = {("training", "data"), ("align", "data")}  # on one floor: the first may import the second
CORE_MAY_IMPORT = {"torch", "numpy"} | set(sys.stdlib_module_names)
ONLY_IN = {"captum": {"explain"}, "ipywidgets": {"widgets"}, "anywidget": {"widgets"}}
FORBIDDEN = {
    "plots": ["fastai", "scn_fastai.training.callback", "scn_fastai.training.SCNCallback"],
    "widgets": ["fastai", "scn_fastai.training.callback", "scn_fastai.training.SCNCallback"],
    "training.callback": ["plotly", "ipywidgets", "anywidget"],
}
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


# ---- imports ----


def module_name(path):
    """`scn_fastai/data/noise.py` -> `scn_fastai.data.noise`; a package is named without `__init__`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(source, module, is_package=False):
    """All dotted names that a source imports, wherever in the file: `from a import b` gives `a.b`."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def within(name, prefix):
    """Whether a dotted name is `prefix` or lies in it."""
    return name == prefix or name.startswith(prefix + ".")


def wrong_inside(here, room, name):
    """What is wrong with a room importing a name of our own package, or None."""
    target = name.removeprefix(PACKAGE).lstrip(".").split(".")[0]
    if target == "__version__":
        return None
    if target not in FLOORS:
        return f"{here} imports {name}: say which room it comes from"
    if target == room or (room, target) in NEIGHBOURS or FLOORS[target] < FLOORS[room]:
        return None
    return f"{here} imports {name}: imports run downwards"


def wrong_imports(source, module, is_package=False):
    """Sentences, one for each import that the house does not allow."""
    here = module.removeprefix(PACKAGE).lstrip(".")
    if not here:
        return []  # the front door names everything, and loads it when it is asked for
    room = here.split(".")[0]
    if room not in FLOORS:
        return [f"{here} is in no room: give {room} a floor in {Path(__file__).name}"]
    wrong = []
    for name in imported_names(source, module, is_package):
        top = name.split(".")[0]
        if top == PACKAGE:
            wrong.append(wrong_inside(here, room, name))
        elif room in ("core", "errors") and top not in CORE_MAY_IMPORT:
            wrong.append(f"{here} imports {name}: core knows torch, numpy and the standard library")
        if room not in ONLY_IN.get(top, {room}):
            wrong.append(f"{here} imports {name}: only {', '.join(ONLY_IN[top])} may")
        for place, banned in FORBIDDEN.items():
            if within(here, place) and any(within(name, b) for b in banned):
                wrong.append(f"{here} imports {name}: {place} may not")
    return [sentence for sentence in wrong if sentence]


def package_files():
    """All Python files of the package."""
    return sorted((ROOT / PACKAGE).rglob("*.py"))


def test_imports_run_downwards():
    wrong = []
    for path in package_files():
        is_package = path.name == "__init__.py"
        wrong += wrong_imports(path.read_text(encoding="utf-8"), module_name(path), is_package)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source", "word"),
    [
        ("core.losses", "from scn_fastai.training.ledger import LabelLedger", "downwards"),
        ("core.losses", "from ..data import noise", "downwards"),
        ("core.losses", "import pandas as pd", "core knows"),
        ("core.losses", "def f():\n    from fastai.basics import Learner", "core knows"),
        ("errors", "import fastai", "core knows"),
        ("data.loaders", "from ..training import ledger", "downwards"),
        ("data.loaders", "from scn_fastai import training", "downwards"),
        ("data.loaders", "from .. import Run", "which room"),
        ("faces.make", "import scn_fastai.data.noise", "downwards"),
        ("training.run", "import scn_fastai.plots", "downwards"),
        ("training.callback", "import plotly.graph_objects as go", "training.callback may not"),
        ("training.callback", "import ipywidgets", "only widgets may"),
        ("detect.scores", "from captum.attr import Saliency", "only explain may"),
        ("plots.curves", "from fastai.learner import Learner", "plots may not"),
        ("plots.curves", "from ..training.callback import SCNCallback", "plots may not"),
        ("plots.curves", "from ..widgets import explorer", "downwards"),
        ("widgets.explorer", "from scn_fastai.training import callback", "widgets may not"),
        ("cellar.wine", "import os", "no room"),
    ],
)
def test_a_wrong_import_is_found(module, source, word):
    wrong = wrong_imports(source, f"{PACKAGE}.{module}")
    assert wrong and word in " ".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("core.losses", "import math\nimport torch.nn.functional as F\nfrom ..errors import SCNError"),
        ("core.losses", "from .importance import low_importance"),
        (
            "training.run",
            "from ..data.samples import Samples\nfrom ..core import relabel\nimport fastai.basics",
        ),
        ("plots.curves", "import plotly.graph_objects as go\nfrom ..training.run import Run"),
        ("widgets.explorer", "import ipywidgets\nfrom .. import plots"),
        ("cli", "from . import __version__\nfrom .experiments import recipes\nfrom .widgets import explorer"),
        ("explain.saliency", "from captum.attr import Saliency"),
    ],
)
def test_a_right_import_is_let_through(module, source):
    assert wrong_imports(source, f"{PACKAGE}.{module}") == []


def test_relative_imports_are_resolved():
    assert imported_names("from .noise import flip", "a.data", is_package=True) == ["a.data.noise.flip"]
    assert imported_names("from .noise import flip", "a.data.loaders") == ["a.data.noise.flip"]
    assert imported_names("from ... import core", "a.data.readers.ferplus") == ["a.core"]


# ---- size ----


def too_long(source, name):
    """Sentences for a file and its functions that are too long; a docstring does not count in a function."""
    lines = len(source.splitlines())
    wrong = [f"{name} has {lines} lines, {LONGEST_FILE} are allowed"] if lines > LONGEST_FILE else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):
                length -= node.body[0].end_lineno - node.body[0].lineno + 1
            if length > LONGEST_FUNCTION:
                wrong.append(f"{name}: {node.name} has {length} lines, {LONGEST_FUNCTION} are allowed")
    return wrong


def test_files_and_functions_are_short():
    wrong = []
    for path in package_files():
        wrong += too_long(path.read_text(encoding="utf-8"), module_name(path))
    assert not wrong, "\n".join(wrong)


def test_a_long_function_is_found():
    body = "    x = 1\n" * LONGEST_FUNCTION
    docstring = '    """One.\n' + "    more\n" * 50 + '    """\n'
    assert "f has 61 lines" in too_long("def f():\n" + body, "m")[0]
    assert too_long("def f():\n" + docstring + body[:-10], "m") == []
    assert "m has 401 lines" in too_long("x = 1\n" * 401, "m")[0]


# ---- lists of packages ----


def project():
    """The [project] table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def requirements():
    """All requirements of the project: the default ones and those of every extra, ours left out."""
    lines = [*project()["dependencies"]]
    for extra in project()["optional-dependencies"].values():
        lines += extra
    return [r for r in map(Requirement, lines) if canonicalize_name(r.name) != "scn-fastai"]


def pins():
    """The constraints: a dict from package to version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        text = line.split("#")[0].strip()
        if text:
            requirement = Requirement(text)
            (one,) = requirement.specifier
            assert one.operator == "==", f"{line}: a constraint names one version"
            found[canonicalize_name(requirement.name)] = one.version
    return found


def test_every_requirement_is_pinned_to_a_version_it_allows():
    pinned = pins()
    wrong = []
    for requirement in requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        if version is None:
            wrong.append(f"{requirement.name} has no line in constraints.txt")
        elif not requirement.specifier.contains(version):
            wrong.append(f"{requirement.name} is pinned to {version}, pyproject.toml asks {requirement.specifier}")
    assert not wrong, "\n".join(wrong)


def test_torch_and_torchvision_are_a_pair():
    # torchvision 0.N is built against torch 2.(N-15): 0.29 with 2.14, 0.21 with 2.6.
    torch, vision = (pins()[name].split(".") for name in ("torch", "torchvision"))
    assert int(vision[1]) - int(torch[1]) == 15 and torch[2] == vision[2]


def test_conda_users_get_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = (line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    assert pip == ["-c constraints.txt", "-e .[test]"]
    for line in plain:
        name, _, version = line.partition("=")
        if name == "python":
            assert SpecifierSet(project()["requires-python"]).contains(version)
        elif name != "pip":
            assert version.strip("=") == pins()[canonicalize_name(name)], f"environment.yml: {line}"


# ---- what is in the files ----

# Written so that this file does not contain what it looks for.
MACHINE_PATH = re.compile(r"(?<![\w.~$}])/(?:work|root|home|Users)/[\w.-]+")


def tracked_files():
    """The files of the repository, and those that would be added to it."""
    git = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        names = subprocess.run(git, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git repository")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def text_of(path):
    """The text of a file, or nothing if it is no text."""
    raw = path.read_bytes()
    return "" if b"\0" in raw[:8192] else raw.decode("utf-8", errors="replace")


def test_no_file_names_a_place_on_one_machine():
    files = tracked_files()
    assert Path(__file__).resolve() in files
    found = [(p.relative_to(ROOT), m.group()) for p in files for m in MACHINE_PATH.finditer(text_of(p))]
    assert not found, "\n".join(f"{path}: {place}" for path, place in found)


def test_a_place_on_one_machine_is_found():
    for top in ("work", "root", "home", "Users"):
        assert MACHINE_PATH.search(f'open("/{top}/me/faces")')
        assert MACHINE_PATH.search(f"file:///{top}/me/faces")
    for text in ("../home/me", "~/home/me", "example.org/home/me", "$HOME/home/me", "/usr/lib"):
        assert not MACHINE_PATH.search(text)


# ---- the front door ----


def front_door():
    """The package, if it has its front door already."""
    if not (ROOT / PACKAGE / "__init__.py").exists():
        pytest.skip("the package has no front door yet")
    return pytest.importorskip(PACKAGE)


def test_importing_the_package_is_light():
    front_door()
    heavy = ["fastai", "plotly", "captum", "ipywidgets", "anywidget", "torchvision", "timm"]
    code = f"import sys, {PACKAGE}; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "[]" and out.stderr == ""


def test_every_public_name_is_there_and_described():
    package = front_door()
    names = getattr(package, "__all__", None)
    if not names:
        pytest.skip("the front door names nothing yet")
    wrong = [f"{name} has no docstring" for name in names if not getattr(package, name).__doc__]
    assert not wrong, "\n".join(wrong)
    assert len(set(names)) == len(names) and set(names) <= set(dir(package))


def test_the_page_of_results_is_what_the_results_say():
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "results_page.py"), "--check"], check=False)
    assert done.returncode == 0, "run `python tools/results_page.py`"
