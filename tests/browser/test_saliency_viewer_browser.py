"""SaliencyViewer in JupyterLab: maps over faces appear, their strength follows at once, slow methods show progress."""

import time

import pytest
from chromium import SLACK

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SETUP = """
from pathlib import Path
import numpy as np
import scn_fastai
from scn_fastai import Run, rendered_faces
from scn_fastai.training.run_images import run_images
from scn_fastai.widgets.saliency_viewer import SaliencyViewer
run = Run.load(Path(scn_fastai.__file__).parent.parent / "data" / "runs" / "scn")
images = run_images(run)
SaliencyViewer(run, images).method.value = "grad-cam"  # a kernel that has done something like it
"""
VIEWER = """viewer = SaliencyViewer(run, images)
viewer"""
STATE = "print(repr(viewer), viewer.strength.value, viewer.first, len(viewer.explainer._maps))"
SLOW = """viewer.method.value = 'occlusion'"""
PAINTED = """() => document.querySelectorAll(".scn-widget .js-plotly-plot image").length === 4"""
FAINT = """value => [...document.querySelectorAll(".scn-widget .js-plotly-plot image")].filter(image =>
    Math.abs(parseFloat(image.style.opacity || image.getAttribute("opacity") || 1) - value) < 0.001).length === 2"""


def seconds_until(page, script, argument=None, timeout=30_000):
    start = time.monotonic()
    page.wait_for_function(script, arg=argument, timeout=timeout)
    return time.monotonic() - start


def test_a_run_is_looked_into(open_notebook):
    notebook = open_notebook(SETUP, VIEWER, STATE, SLOW, name="saliency.ipynb")
    page, first = notebook.page, []
    notebook.run(0)
    for _ in range(2):
        notebook.run(1, wait=False)
        if first:
            page.locator(".scn-widget").wait_for(state="detached", timeout=10_000)
        first.append(seconds_until(page, PAINTED))
    print(f"first paint after {first[0]:.2f} and {first[1]:.2f} s")
    viewer = page.locator(".scn-widget").first
    viewer.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    notebook.shot("saliency")
    assert "faces 1 to 8 of 3,200" in viewer.inner_text()
    assert "lowers alpha" in viewer.inner_text() and "raises alpha" in viewer.inner_text()

    slider, steps = viewer.locator(".widget-slider .noUi-handle").first, []
    slider.focus()
    for number in range(5):
        page.keyboard.press("ArrowRight")
        steps.append(seconds_until(page, FAINT, round(0.65 + 0.05 * number, 2)))
    print("a step of the strength is seen after", ", ".join(f"{1000 * step:.0f}" for step in steps), "ms")
    assert min(steps) < 0.15 * SLACK
    viewer.get_by_role("button", name="next").click()
    page.wait_for_function("() => document.body.innerText.includes('faces 9 to 16 of 3,200')", timeout=30_000)
    state = notebook.run(2)
    assert "SaliencyViewer(8 faces, integrated gradients of alpha) 0.85 8 32" in state

    notebook.run(3)
    viewer.get_by_text("Press ‘look’ to begin").wait_for(timeout=10_000)
    viewer.scroll_into_view_if_needed()
    notebook.shot("saliency_waits")
    viewer.get_by_role("button", name="look").click()
    viewer.locator(".progress-bar").wait_for(timeout=15_000)
    notebook.shot("saliency_works")
    page.wait_for_function(PAINTED, timeout=60_000)
    viewer.locator(".progress-bar").wait_for(state="hidden", timeout=60_000)
    notebook.shot("saliency_occlusion")
    assert not notebook.problems
