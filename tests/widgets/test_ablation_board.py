"""AblationBoard driven from Python: what is shown, and which run a mark opens."""

import base64

import pytest
from made_runs import make_run

from scn_fastai.errors import RunError
from scn_fastai.training.runs_in import runs_in
from scn_fastai.widgets.ablation_board import AblationBoard


@pytest.fixture
def folder(tmp_path):
    """Four finished runs: plain and paper with two seeds each."""
    import json

    for recipe, on in (("plain", False), ("paper", True)):
        for seed in (0, 1):
            run = make_run(tmp_path / f"{recipe}-{seed}", n=12)
            run.folder = tmp_path / f"{recipe}-{seed}"
            run.settings |= {"recipe": recipe, "train": {"seed": seed}}
            margins = {"gamma": 0.5, "beta": 0.7, "rank_margin": 0.15, "relabel_margin": 0.2}
            run.settings["scn"] = {"weight": on, "rank": on, "relabel": on, **margins}
            run.save({})
            figures = {"accuracy_last": 0.5 + 0.1 * on + 0.02 * seed, "accuracy_best": 0.7}
            (run.folder / "summary.json").write_text(json.dumps(figures))
    return tmp_path


def test_a_folder_becomes_a_board(folder):
    board = AblationBoard(folder)
    assert repr(board) == "AblationBoard(4 runs, 2 recipes, 2 seeds; modules by accuracy_last)"
    assert "51.0 ± 1.4 %" in board.numbers.value and "61.0 ± 1.4 %" in board.numbers.value


def test_controls_change_picture_and_table(folder):
    board = AblationBoard(folder)
    board.y.value = "accuracy_best"
    assert "best epoch" in board.plot.layout.xaxis.title.text and "70.0" in board.numbers.value
    board.view.value = "gamma"
    assert "gamma" in board.plot.layout.xaxis.title.text and list(board.frame().columns)[0] == "gamma"
    board.view.value = "figure5"
    assert "needs runs" in board.plot.layout.annotations[0].text


def test_a_mark_opens_its_run(folder):
    board = AblationBoard(folder)
    number, trace = next((i, t) for i, t in enumerate(board.plot.data) if t.customdata is not None)
    points = {"trace_indexes": [number], "point_indexes": [1], "xs": [0], "ys": [0]}
    board.plot._js2py_pointsCallback = {"event_type": "plotly_click", "points": points}
    assert board.chosen == trace.customdata[1]
    assert board.table["run"][board.chosen] in board.words.value
    assert any("validation" in (t.name or "") for t in board.run_plot.data)
    with pytest.raises(RunError, match="no run 9"):
        board.open_run(9)


def test_a_table_without_folders_still_shows_figures(folder):
    table = runs_in(folder)
    table.loc[1, ["folder", "run"]] = "gone", "<img src=x>"
    board = AblationBoard(table)
    board.open_run(0)
    assert len(board.run_plot.data)
    board.open_run(1)
    assert "Only its figures" in board.words.value and "<img" not in board.words.value
    assert not len(board.run_plot.data)  # not the curves of the run before


def test_a_page_without_a_kernel_shows_a_picture(folder):
    data = AblationBoard(folder)._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_no_runs_are_said(tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        AblationBoard(tmp_path)


def test_runs_on_other_labels_are_chosen_apart(folder):
    table = runs_in(folder).assign(noise=[0.0, 0.3, 0.3, 0.3])
    board = AblationBoard(table)
    assert board.labels.value == "30% wrong labels" and repr(board).startswith("AblationBoard(3 runs")
    board.labels.value = "labels as they are"
    assert len(board.shown) == 1 and board.chosen is None
    kinds = AblationBoard(table.assign(noise_kind=["symmetric", "human", "symmetric", "symmetric"]))
    assert kinds.labels.options[0][0] == "30% wrong labels, symmetric (2 runs)" and len(kinds.labels.options) == 3
    board.open_run(0)
    assert table["run"][0] in board.words.value
