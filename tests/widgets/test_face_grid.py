"""FaceGrid driven from Python and by the messages of a browser: pages, order, selection, decisions, what goes wrong."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError, RunError
from scn_fastai.training.ledger import LabelLedger
from scn_fastai.widgets.face_grid import PAGE, FaceGrid

CLASSES = ["sad", "glad"]


class Browser:
    """Stands where a browser would: asks, and keeps what comes."""

    def __init__(self, grid):
        self.grid, self.got = grid, []
        grid.send = lambda content, buffers=None: self.got.append((content, buffers))

    def ask(self, **message):
        self.grid._handle_custom_msg(message, [])
        return self.got[-1] if self.got else None

    def page(self, number):
        return self.ask(kind="page", generation=self.grid._generation, page=number)


def shades(n, size=16):
    """Pictures of one shade each, so that a pixel tells which it is."""
    return np.repeat(np.arange(n) % 251, size * size).astype(np.uint8).reshape(n, size, size)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def a_grid(n=10, **options):
    ledger = LabelLedger(np.arange(n) % 2, CLASSES)
    return FaceGrid(shades(n), ledger=ledger, **options), ledger


# ---- pages ----


def test_the_first_page_comes_with_the_grid_and_the_others_when_asked_for():
    grid = FaceGrid(shades(300), [f"face {i}" for i in range(300)])
    assert len(grid._first["faces"]) == PAGE and grid._first["faces"][3]["lines"] == ["face 3"]
    content, (data,) = Browser(grid).page(2)
    assert [face["lines"][0] for face in content["faces"]] == [f"face {i}" for i in range(256, 300)]
    row, column = divmod(299 - 256, content["columns"])
    middle = pixels(data)[row * 16 + 8, column * 16 + 8]
    assert abs(middle - 299 % 251) <= 3


def test_a_page_of_an_older_order_is_not_sent():
    grid = FaceGrid(shades(300))
    browser, old = Browser(grid), grid._generation
    grid.order = [5, 4]
    assert browser.ask(kind="page", generation=old, page=1) is None
    assert browser.ask(kind="nonsense") is None


def test_large_faces_are_sent_small():
    grid = FaceGrid(np.zeros((3, 400, 300, 3), np.uint8))
    assert (grid._first["height"], grid._first["width"]) == (128, 96)


# ---- order and selection ----


def test_the_order_says_who_is_shown():
    grid = FaceGrid(shades(10), [str(i) for i in range(10)])
    grid.order = np.array([7, 2, 2, 9])
    assert grid.order == [7, 2, 9] and len(grid) == 3 and repr(grid) == "FaceGrid(3 of 10 faces, 0 selected, 0 decided)"
    assert np.frombuffer(grid._order, "<i4").tolist() == [7, 2, 9]
    assert [face["lines"] for face in grid._first["faces"]] == [["7"], ["2"], ["9"]]
    grid.order = []
    assert "grid.order = None" in grid._words and grid.figure().layout.annotations[0].text
    grid.order = None
    assert len(grid) == 10 and grid._words == ""


def test_selection_is_of_samples_and_survives_an_order():
    grid, seen = FaceGrid(shades(10)), []
    grid.observe(lambda change: seen.append(change["new"]), "selected")
    grid.selected = np.array([3, 1, 3])
    grid.order = [3, 4]
    grid.selected = 5
    assert seen == [[3, 1], [5]] and repr(grid).startswith("FaceGrid(2 of 10 faces, 1 selected")


def test_focus_is_a_sample_or_none():
    grid = FaceGrid(shades(10))
    grid.focused = 4
    grid.focused = -1
    assert grid.focused == -1


# ---- decisions ----


def test_decisions_reach_ledger_record_captions_and_frames():
    grid, ledger = a_grid(proposals=[-1, 0, *[-1] * 8], truth=[0] * 10)
    browser = Browser(grid)
    browser.ask(kind="accept", samples=[1])
    browser.ask(kind="choose", samples=[3], label=0)
    content, _ = browser.ask(kind="choose", samples=[0], label=1)
    assert ledger.current.tolist()[:4] == [1, 0, 0, 0] and ledger.frame()["by"].tolist() == ["person"] * 3
    assert content == {"kind": "faces", "faces": {0: {"lines": ["sad → glad", "true: sad"], "state": "harmed",
                                                      "verdict": "choose"}}}  # fmt: skip
    assert grid.caption(1) == "glad → sad\nproposed: sad\ntrue: sad"
    assert {key: count for key, *_, count in grid._legend} == {"unchanged": 7, "cured": 2, "harmed": 1}
    assert repr(grid) == "FaceGrid(10 faces, 0 selected, 3 decided)"
    browser.ask(kind="undo")
    assert grid.decisions[-1] == {"sample": 0, "action": "undo", "label": "sad"} and ledger.current[0] == 0
    assert grid._decided == 2 and grid.undo() == 1 and grid.undo() == 1 and grid.undo() == 0
    assert ledger.current.tolist() == ledger.given.tolist()


def test_decisions_can_be_watched_and_not_overwritten():
    grid, seen = a_grid()[0], []
    grid.observe(lambda change: seen.append(len(change["new"])), "decisions")
    grid.choose([0, 2, 4], "glad")
    grid.reject(0)
    assert seen == [3, 4]
    with pytest.raises(Exception, match="read-only"):
        grid.decisions = []


def test_a_second_display_gets_what_was_decided():
    grid, _ = a_grid()
    grid.choose(0, "glad")
    assert grid._first["revision"] != grid._revision  # so it asks for the first page again
    content, _ = Browser(grid).page(0)
    assert content["faces"][0]["lines"] == ["sad → glad"] and content["faces"][0]["verdict"] == "choose"
    grid.order = [0]
    assert grid._first["faces"][0]["verdict"] == "choose" and grid._first["revision"] == grid._revision


def test_labels_changed_elsewhere_are_read_again():
    grid, ledger = a_grid()
    ledger.override(2, "glad")
    grid.refresh()
    assert grid.caption(2) == "sad → glad" and grid._first["faces"][2]["state"] == "changed"


def test_other_captions_labels_and_order_come_at_once():
    grid, ledger = a_grid(300)
    generation, asked = grid._generation, []
    labels = np.where(np.arange(300) == 4, 1, ledger.given.numpy())

    def words(sample):
        asked.append(sample)
        return f"α {sample}"

    grid.recaption(words, labels, np.array([4, 2, 299]))
    assert grid._generation == generation + 1 and grid.order == [4, 2, 299]
    assert [face["lines"] for face in grid._first["faces"]] == [
        ["sad → glad", "α 4"],
        ["sad", "α 2"],
        ["glad", "α 299"],
    ]
    assert [key for key, *_ in grid._legend] == ["unchanged", "changed"] and len(set(asked)) <= PAGE + 1
    grid.recaption(str, None, [4, 2, 299])
    assert grid._generation == generation + 2 and grid._first["faces"][0]["lines"] == ["sad", "4"]
    grid.recaption(str)
    assert grid.order is None and len(grid) == 300


def test_without_a_ledger_decisions_are_kept_here():
    grid = FaceGrid(shades(3), ["a", "b", "c"], ["cured", None, "missed"], ["高兴", "悲伤"])
    grid.choose([1], "悲伤")
    assert grid.caption(1) == "→ 悲伤\nb" and grid._first["faces"][1]["state"] is None
    assert [key for key, *_ in grid._legend] == ["cured", "missed"]
    bare = FaceGrid(shades(3))
    bare.accept([0, 1])
    assert bare.decisions[0] == {"sample": 0, "action": "accept", "label": None}


# ---- a run ----


def test_a_run_after_an_epoch(new_run, faces):
    run = new_run(unseen=2)
    grid = FaceGrid.of_run(run, faces)
    alpha, names = run.history.alpha[-1], run.classes
    given, current, truth = run.ledger.given, run.ledger.current, run.truth
    i = int((given != current).nonzero()[0])
    assert grid.caption(i) == f"{names[given[i]]} → {names[current[i]]}\ntrue: {names[truth[i]]}\nα {alpha[i]:.4f}"
    assert grid.caption(59).endswith("α: not seen")
    first = FaceGrid.of_run(run, faces, epoch=0)
    assert first.caption(i).startswith(f"{names[given[i]]}\n") and [key for key, *_ in first._legend] == ["unchanged"]
    grid.reject(i)
    assert run.ledger.current[i] == given[i]


def test_a_run_without_truth_and_with_missing_images(new_run, faces):
    run = new_run(truth=False)
    some = FaceSet(pd.DataFrame({"image": ["1.png", "0.png"], "split": "train", "label": "joy"}), run.classes,
                   faces[[1, 0]], ReadAccount("here", 2))  # fmt: skip
    grid = FaceGrid.of_run(run, some)
    shown = grid._first["faces"]
    assert "true" not in grid.caption(0) and "missing" not in shown[1] and shown[2]["missing"] == "2.png"
    assert abs(pixels(grid._first["data"])[8, 24] - int(faces[1, 0, 0])) <= 3


def test_a_run_that_does_not_fit(new_run, faces):
    with pytest.raises(DataError, match="There are 59 images but 60 training samples"):
        FaceGrid.of_run(new_run(), faces[:59])
    with pytest.raises(RunError, match="no epoch 3 in this run, which has 3"):
        FaceGrid.of_run(new_run(), faces, epoch=3)
    assert FaceGrid.of_run(new_run(epochs=0), faces).caption(0).endswith("not seen")
    assert repr(FaceGrid.of_run(new_run(epochs=1), faces)) == "FaceGrid(60 faces, 0 selected, 0 decided)"


# ---- where nothing runs ----


def test_words_and_a_picture_stand_in_for_the_widget():
    grid, _ = a_grid(60)
    data, _ = grid._repr_mimebundle_()
    assert data["text/plain"] == "FaceGrid(60 faces, 0 selected, 0 decided)"
    assert base64.b64decode(data["image/png"]) == grid.png()


def test_figure_and_png_show_what_is_in_view():
    grid, _ = a_grid(60)
    grid.choose(41, "sad")
    grid.view = (40, 6)
    figure = grid.figure()
    captions = next(trace for trace in figure.data if trace.name == "captions")
    assert len(captions.text) == 6 and captions.text[1] == "glad<br>→ sad<br>chosen"
    assert figure.layout.title.text == "faces 41 to 46 of 60" and grid.png()[:4] == b"\x89PNG"
    grid.view = (0, 5000)
    assert len(next(trace for trace in grid.figure().data if trace.name == "captions").text) == 60


# ---- bad input ----


def test_no_faces_are_a_sentence():
    for empty in ([], np.zeros((0, 8, 8), np.uint8)):
        grid = FaceGrid(empty)
        assert grid._words == "There is no face to show." and repr(grid) == "FaceGrid(0 faces, 0 selected, 0 decided)"
        assert grid.png()[:4] == b"\x89PNG" and grid._repr_mimebundle_()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"captions": ["a"]}, "There are 4 faces but 1 for captions"),
        ({"captions": "abcd"}, "one text for captions"),
        ({"states": ["cured"] * 3}, "3 for states"),
        ({"states": ["odd"] * 4}, "'odd' is no kind of frame"),
        ({"ledger": LabelLedger([0, 1])}, "2 for samples in the ledger"),
        ({"ledger": LabelLedger([0, 1, 0, 1], CLASSES), "classes": ["a", "b"]}, "not those of the ledger"),
        ({"classes": "ab"}, "list of names"),
        ({"proposals": [0, 1, 0, 1]}, "proposals need `classes`"),
        ({"classes": CLASSES, "proposals": [0, 1, 0, 2]}, "outside the 2 classes"),
        ({"classes": CLASSES, "proposals": ["sad", "", None, "odd"]}, "'odd' in proposals is not one"),
        ({"names": ["a"]}, "1 for names"),
    ],
)
def test_bad_input_is_a_sentence(options, sentence):
    with pytest.raises(DataError, match=sentence):
        FaceGrid(shades(4), **options)


@pytest.mark.parametrize("name", ["selected", "order"])
@pytest.mark.parametrize("value", [[10], [-1], [0.5], ["a"], "a", [[1, 2]], [float("nan")]])
def test_a_bad_selection_is_refused_and_changes_nothing(name, value):
    grid = FaceGrid(shades(10))
    setattr(grid, name, [1])
    with pytest.raises(Exception, match="sample|Samples|list"):
        setattr(grid, name, value)
    assert getattr(grid, name) == [1]


def test_what_a_browser_cannot_do_is_a_sentence_there():
    browser = Browser(a_grid()[0])
    assert browser.ask(kind="undo")[0] == {"kind": "sentence", "text": "There is nothing to take back."}
    assert "not one of the classes" in browser.ask(kind="choose", samples=[0], label=7)[0]["text"]
    assert "no sample 99" in browser.ask(kind="accept", samples=[99])[0]["text"]
    assert "holds 1 to 1,024" in browser.page(50)[0]["text"]
