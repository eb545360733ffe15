"""AblationBoard in JupyterLab: a choice changes picture and table, a click on a mark opens its run."""

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BOARD = """
from scn_fastai import AblationBoard
from scn_fastai.teaching import SHIPPED
board = AblationBoard(SHIPPED.parent / "ablation")
board
"""
MARKS = """() => [...document.querySelectorAll(".scn-widget .js-plotly-plot")][0]
    .querySelectorAll(".scatterlayer .point").length"""


def test_choose_and_open(open_notebook):
    notebook = open_notebook(BOARD, "print(board, board.chosen is not None)", name="board.ipynb")
    page = notebook.page
    notebook.run(0)
    page.wait_for_function(f"() => ({MARKS})() > 20", timeout=30_000)
    notebook.shot("board")
    assert "relabel" in page.locator(".scn-widget table").first.inner_text()
    mark = page.locator(".scn-widget .js-plotly-plot").first.locator(".scatterlayer .point").first
    mark.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.wait_for_timeout(500)  # plotly clicks what it hovers over, and looks around only now and then
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator(".scn-widget", has_text="rank_margin 0.15").first.wait_for(timeout=10_000)
    page.locator(".scn-widget .js-plotly-plot").nth(1).locator(".scatterlayer .trace").first.wait_for(timeout=10_000)
    notebook.shot("board_run")
    page.locator(".scn-widget select").first.select_option(label="gamma, weight of RR against WCE (Table 6)")
    page.locator(".scn-widget table", has_text="gamma").first.wait_for(timeout=10_000)
    notebook.shot("board_gamma")
    assert "gamma by accuracy_last) True" in notebook.run(1)
    assert not notebook.problems
