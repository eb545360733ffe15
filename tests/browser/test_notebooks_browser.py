"""The notebooks themselves in JupyterLab, and as an app in Voila: they run, and their widgets answer."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NBS = Path(__file__).resolve().parents[2] / "nbs"
ERRORS = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"
DONE = """() => {
    const prompts = [...document.querySelectorAll(".jp-CodeCell .jp-InputArea-prompt")].map(p => p.innerText);
    return prompts.length > 3 && prompts.every(text => /[0-9]/.test(text));
}"""
GRID = """() => {
    const grids = [...document.querySelectorAll(".scn-face-grid")];
    return grids.length > 0 && grids.every(grid => grid.dataset.drawn && !grid.dataset.drawn.startsWith("0"));
}"""


@pytest.fixture
def run_all(lab, chromium):
    """A function: the name of a notebook of nbs/ in, its page with every cell run out."""
    pages = []

    def opened(name):
        address, folder = lab
        nbformat.write(without_outputs(nbformat.read(NBS / f"{name}.ipynb", 4)), folder / f"{name}.ipynb")
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        pages.append(page)
        page.goto(f"{address}/lab/workspaces/{name}/tree/{name}.ipynb")
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Kernel").first.click()
        page.get_by_text("Restart Kernel and Run All Cells").first.click()
        page.locator(".jp-Dialog .jp-mod-accept").click()
        page.wait_for_function(DONE, timeout=240_000)
        page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=60_000)
        assert page.locator(ERRORS).count() == 0, page.locator(ERRORS).first.inner_text()
        return page

    yield opened
    for page in pages:
        page.close()


def without_outputs(notebook):
    """A notebook as if nobody had run it: what is seen then was made here."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def shot(page, name):
    if os.environ.get("SCN_SCREENSHOTS"):
        page.screenshot(path=Path(os.environ["SCN_SCREENSHOTS"]) / f"{name}.png")


def chosen(page):
    found = re.search(r"([\d,]+) selected", page.locator(".scn-face-grid").last.inner_text())
    return int(found.group(1).replace(",", ""))


def lasso(page, left, top, right, bottom):
    """Choose the lasso of the last plot that has one, and draw it; the corners are shares of width and height."""
    plot = page.locator(".scn-alpha-explorer .js-plotly-plot").first
    plot.evaluate("plot => plot.scrollIntoView({ block: 'end' })")
    page.wait_for_timeout(500)
    box = plot.locator(".nsewdrag[data-subplot='xy']").bounding_box()
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for x, y in places[1:]:
        page.mouse.move(x, y, steps=6)
    page.mouse.up()


def test_a_newcomer_lassoes_the_least_certain_faces(run_all):
    start = time.monotonic()
    page = run_all("00_quickstart")
    page.wait_for_function(GRID, timeout=30_000)
    lasso(page, 0.03, 0.03, 0.5, 0.97)
    page.wait_for_function(
        "() => !/ 0 selected/.test(document.querySelector('.scn-face-grid').innerText)", timeout=10_000
    )
    print(f"from opening the notebook to a lasso: {time.monotonic() - start:.0f} s, {chosen(page)} faces")
    shot(page, "nb00_lasso")
    assert 0 < chosen(page) < 3200
    assert time.monotonic() - start < 180


def test_the_epoch_slider_of_06(run_all):
    page = run_all("06_alpha_rankings")
    page.wait_for_function(GRID, timeout=30_000)
    words = page.locator(".scn-alpha-explorer").first
    words.scroll_into_view_if_needed()
    before = re.search(r"Epoch (\d+)", words.inner_text()).group(1)
    page.locator(".scn-alpha-explorer .noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    page.locator(".scn-alpha-explorer", has_text=f"Epoch {int(before) - 1}").first.wait_for(timeout=10_000)
    shot(page, "nb06_slider")


def test_keys_decide_in_07(run_all):
    page = run_all("07_before_and_after")
    review = page.locator(".scn-face-grid").first
    if not review.is_visible():
        page.locator(".widget-tab .lm-TabBar-tabLabel", has_text="review").first.click()
    page.wait_for_function(GRID, timeout=30_000)
    review.scroll_into_view_if_needed()
    decided, of = re.search(r"(\d+) of (\d+) decided", page.locator(".jp-Notebook").inner_text()).groups()
    review.press("a")
    page.locator(".jp-Notebook", has_text=f"{int(decided) + 1} of {of} decided").first.wait_for(timeout=10_000)
    shot(page, "nb07_keys")


def test_an_app_without_code(chromium, tmp_path):
    pytest.importorskip("voila", reason="voila is not installed: pip install 'scn_fastai[app]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", str(NBS / "06_alpha_rankings.ipynb"), "--no-browser", f"--port={port}"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    try:
        _wait_for(f"http://127.0.0.1:{port}/voila/static/", server)
        page.goto(f"http://127.0.0.1:{port}/", timeout=180_000)
        page.wait_for_function(GRID, timeout=180_000)
        shot(page, "app06")
        assert page.locator(".jp-InputArea-editor:visible").count() == 0
        assert "AlphaExplorer(run" not in page.locator("body").inner_text()
    finally:
        page.close()
        server.terminate()
        server.wait(20)


def _wait_for(address, server, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail("Voila did not start.")
