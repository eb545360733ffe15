"""A JupyterLab of our own and the system's Chromium, for tests that press keys and look at the page."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from chromium import CHROMIUM

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]  # fmt: skip

NEWS = "@jupyterlab/apputils-extension:announcements"  # asks a question in front of the page


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A running JupyterLab: its address and its folder."""
    folder = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
               "--ServerApp.token=", "--ServerApp.password=", 
               f"--ServerApp.root_dir={folder}"]  # fmt: skip
    own = {name: str(folder / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    config = folder / "JUPYTER_CONFIG_DIR" / "labconfig"
    config.mkdir(parents=True)
    config.joinpath("page_config.json").write_text(json.dumps({"disabledExtensions": {NEWS: True}}))
    notebooks = folder / "JUPYTER_CONFIG_DIR" / "lab" / "user-settings" / "@jupyterlab" / "notebook-extension"
    notebooks.mkdir(parents=True)  # every cell in the page, also those out of sight
    notebooks.joinpath("tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with open(folder / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for(f"{address}/api/status", server, folder / "lab.log")
        yield address, folder
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(address, server, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def chromium():
    """The system's Chromium, started once."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Notebook:
    """An open notebook: its page, and ways to run cells and read what they show."""

    def __init__(self, page):
        self.page, self.problems = page, []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def run(self, number, wait=True):
        """Run a cell, and give what it shows as text."""
        cell = self.page.locator(".jp-Notebook .jp-Cell").nth(number)
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.page.wait_for_function(CELL_IS_DONE, arg=number, timeout=60_000)
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())

    def shot(self, name):
        """Keep a picture of the page, if somebody wants to look at it."""
        if os.environ.get("SCN_SCREENSHOTS"):
            self.page.screenshot(path=Path(os.environ["SCN_SCREENSHOTS"]) / f"{name}.png")


CELL_IS_DONE = """number => {
    const prompt = document.querySelectorAll(".jp-Notebook .jp-Cell")[number].querySelector(".jp-InputArea-prompt");
    return /[0-9]/.test(prompt.innerText);
}"""


@pytest.fixture
def open_notebook(lab, chromium):
    """A function: cells (sources) in, an open `Notebook` out."""
    pages = []

    def opened(*cells, name="scratch.ipynb"):
        address, folder = lab
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, folder / name)
        page = chromium.new_page(viewport={"width": 1280, "height": 720})
        pages.append(page)
        page.goto(f"{address}/lab/workspaces/{Path(name).stem}/tree/{name}")  # without what was open before
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        if page.locator(".jp-Dialog .jp-mod-accept").count():
            page.locator(".jp-Dialog .jp-mod-accept").first.click()
        page.locator("#jp-main-statusbar", has_text="| Idle").wait_for(timeout=60_000)  # else the first run is lost
        return Notebook(page)

    yield opened
    for page in pages:
        page.close()
