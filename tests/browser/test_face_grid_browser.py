"""FaceGrid in JupyterLab: thirty thousand faces appear quickly, keys and clicks decide, nothing is lost."""

import re
import time

import pytest
from chromium import SLACK

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MANY = """
import numpy as np
from scn_fastai import FaceGrid, LabelLedger
n = 30_000
rng = np.random.default_rng(0)
tile = rng.integers(0, 256, (n // 10, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
images = np.concatenate([tile] * 10)
classes = ["neutral", "happiness", "surprise", "sadness"]
given, truth = rng.integers(0, 4, n), rng.integers(0, 4, n)
alpha = [f"α {a:.4f}" for a in rng.random(n)]
"""
GRID = """ledger = LabelLedger(given, classes)
grid = FaceGrid(images, alpha, ledger=ledger, proposals=truth, truth=truth)
grid"""
STATE = "print(repr(grid), grid.selected, grid.focused, grid.view, len(ledger))"
DRAWN = """() => {
    const grids = [...document.querySelectorAll(".scn-face-grid")];
    const whole = ({ dataset }) => dataset.drawn && dataset.drawn.split("/")[0] === dataset.drawn.split("/")[1];
    return grids.length > 0 && grids.every(grid => whole(grid) && !grid.dataset.drawn.startsWith("0"));
}"""
ODD = """
import numpy as np
from scn_fastai import FaceGrid
pictures = [None, *np.full((3, 64, 48), 120, np.uint8)]
FaceGrid(pictures, ["α 0.1234", "α: not seen", "", "α 1.0000"], ["harmed", "missed", None, "cured"],
         ["高兴", "悲伤的人"], proposals=[1, 0, 1, -1], names=["faces/0042_photo.png", "b", "c", "d"])
"""


def drawn(notebook):
    notebook.page.wait_for_function(DRAWN, timeout=15_000)


def answered(notebook, words):
    notebook.page.locator(".scn-face-grid .status", has_text=words).wait_for(timeout=10_000)


def test_thirty_thousand_faces(open_notebook):
    notebook = open_notebook(MANY, GRID, STATE, "grid")
    page, seconds = notebook.page, []
    notebook.run(0)
    for _ in range(2):
        start = time.monotonic()
        notebook.run(1, wait=False)
        if seconds:
            page.locator(".scn-face-grid").wait_for(state="detached", timeout=5_000)
        drawn(notebook)
        seconds.append(time.monotonic() - start)
    print(f"first paint of 30,000 faces after {seconds[0]:.2f} and {seconds[1]:.2f} s")
    assert min(seconds) < 1.5 * SLACK

    grid = page.locator(".scn-face-grid")
    grid.scroll_into_view_if_needed()
    notebook.shot("grid")
    assert "30,000 faces, 0 selected, 0 decided" in grid.inner_text()
    canvas = grid.locator("canvas")
    canvas.click(position={"x": 60, "y": 60})
    answered(notebook, "1 selected")
    canvas.click(position={"x": 60, "y": 280}, modifiers=["Shift"])  # one row below
    chosen = int(re.search(r"(\d+) selected", grid.inner_text()).group(1))
    assert chosen >= 4
    page.keyboard.press("a")
    answered(notebook, f"{chosen} decided")
    for key in ("ArrowRight", "4", "ArrowLeft", "r"):  # the last is selected: so all of them are rejected
        page.keyboard.press(key)
    answered(notebook, f"{chosen + 1} decided")
    for key in ("u", "Escape", "Space", "End"):
        page.keyboard.press(key)
    drawn(notebook)
    answered(notebook, "sample 29999")
    page.keyboard.press("?")
    assert grid.locator(".help").is_visible()
    notebook.shot("grid_help")
    page.keyboard.press("Escape")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 4  # the keys did nothing to the notebook
    page.wait_for_timeout(400)
    state = notebook.run(2)
    assert f"FaceGrid(30,000 faces, 1 selected, {chosen + 1} decided) [{chosen - 1}] 29999 (299" in state

    notebook.run(3)
    assert page.locator(".scn-face-grid").count() == 2
    drawn(notebook)
    assert f"{chosen + 1} decided" in page.locator(".scn-face-grid").nth(1).inner_text()
    notebook.shot("grid_again")
    assert not notebook.problems


def test_odd_faces_and_a_kernel_that_is_gone(open_notebook):
    notebook = open_notebook(ODD, "import os; os._exit(1)", name="odd.ipynb")
    page = notebook.page
    notebook.run(0)
    drawn(notebook)
    grid = page.locator(".scn-face-grid")
    for key in ("ArrowRight", "ArrowRight", "2"):
        page.keyboard.press(key) if key != "ArrowRight" else grid.press(key)
    answered(notebook, "→ 悲伤的人")
    grid.press("9")
    assert "There is no class for the key 9." in grid.inner_text()
    notebook.shot("odd")
    notebook.run(1, wait=False)
    page.locator(".jp-Dialog").wait_for(timeout=20_000)
    page.keyboard.press("Escape")
    grid.press("a")
    grid.locator(".message", has_text="run the cell again").wait_for(timeout=10_000)
    notebook.shot("no_kernel")
    assert not notebook.problems
