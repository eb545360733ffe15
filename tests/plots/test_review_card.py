"""The card of a doubted face: words, bars and votes, the same on a page, in a figure and in a picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from scn_fastai.core import Relabel
from scn_fastai.errors import DataError
from scn_fastai.plots.review_card import (
    FACE,
    beside,
    card_figure,
    card_html,
    card_of,
    card_png,
    probs_of,
    votes_of,
)
from scn_fastai.plots.review_queue import review_queue
from scn_fastai.plots.style import BLUE, INK
from scn_fastai.training.ledger import LabelLedger

CLASSES = ["sad", "glad", "<mad>"]


@pytest.fixture
def ledger():
    ledger = LabelLedger([0, 1, 2], CLASSES)
    change = Relabel(torch.tensor([True]), torch.tensor([2]), torch.tensor([0.75]), torch.tensor([0.125]))
    ledger.propose(torch.tensor([1]), change, torch.tensor([0.4321]), torch.tensor([True]))
    ledger.flush(7)
    return ledger


def a_card(ledger, **more):
    return card_of(review_queue(ledger), 1, CLASSES, int(ledger.current[1]), **more)


def test_what_stands_on_a_card(ledger):
    card = a_card(ledger, probs=np.array([0.1, 0.15, 0.75]), probs_are="Averaged", name="some/where/face.png")
    assert card.head == ("glad", "<mad>")
    assert card.lines == ("P_max 0.75, P_given 0.12", "α 0.4321 (low group)", "proposed in epoch 7", "face.png",
                          "not decided yet")  # fmt: skip
    assert [(bar.words, bar.share, bar.vote) for bar in card.bars] == [
        ("sad", 0.1, None), ("glad (given)", 0.15, None), ("<mad> (proposed)", 0.75, None)
    ]  # fmt: skip


def test_a_decision_the_truth_and_a_name_that_is_too_long(ledger):
    ledger.override(1, "sad")
    card = a_card(ledger, decided=True, true=2, name="a_very_long_name_of_a_photograph_0042.png")
    assert card.lines[-2:] == ("✎ other label: sad", "true label: <mad>") and card.lines[3].endswith("graph_0042.png")
    assert len(card.lines[3]) == 24
    ledger.override(1, "<mad>")
    assert a_card(ledger, decided=True).lines[-1] == "✓ accepted: <mad>"


def test_without_probabilities_the_two_that_were_compared(ledger):
    card = a_card(ledger)
    assert [bar.share for bar in card.bars] == [None, 0.125, 0.75] and "compared" in card.bars_are


def test_page_figure_and_picture_show_the_same(ledger):
    image = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    card = a_card(ledger, image=image, probs=np.array([0, 0.25, 0.75]), votes=np.array([0.5, 0.5, 0]))
    page, figure = card_html(card), card_figure(card, title="one of two")
    assert "&lt;mad&gt; (proposed)" in page and "<mad>" not in page and page.count("◆") == 3  # the legend and two votes
    assert "width: 75.0%" in page and "left: 50.0%" in page and 'alt="face of sample 1"' in page
    bar, numbers, votes = figure.data
    assert list(bar.x) == [0, 0.25, 0.75] and bar.marker.color[2] == BLUE
    assert [text.strip() for text in numbers.text] == ["0.00", "0.25", "0.75"]
    assert list(votes.x) == [0.5, 0.5, None] and votes.name == "votes of people"
    picture = np.asarray(Image.open(io.BytesIO(card_png(card))).convert("RGB")).astype(int)
    assert abs(picture[10 + FACE // 2, 10 + FACE // 2] - [200, 30, 30]).max() < 3
    blue = (abs(picture - [0x00, 0x72, 0xB2]).max(2) < 3).sum(1)
    ink = tuple(int(INK[i : i + 2], 16) for i in (1, 3, 5))
    assert blue.max() / picture.shape[1] > 0.3 and (abs(picture - ink).max(2) < 3).sum() > 500
    assert card_png(card, title="one of two") != card_png(card)


def test_a_missing_face_and_no_face(ledger):
    card = a_card(ledger)
    for made in (card_png(card), card_png(None, "nothing")):
        assert made[:4] == b"\x89PNG"
    assert "data:image/png" in card_html(card) and card_figure(card).layout.images[0].source
    assert "nothing &amp; nobody" in card_html(None, "nothing & nobody")
    assert card_figure(None, "nothing").layout.annotations[0].text == "nothing"
    with pytest.raises(DataError, match="Sample 0 is not in this queue of 1 faces"):
        card_of(review_queue(ledger), 0, CLASSES, 0)


def test_probabilities_are_the_averaged_ones_or_those_of_the_last_epoch(new_run):
    run = new_run(unseen=1)
    probs, words = probs_of(run, 3)
    np.testing.assert_allclose(probs, run.history.probs(-1)[3])
    assert "last epoch" in words and probs_of(run, 59) == (None, "")
    run.history.evidence, run.history.evidence_count = torch.full((60, 3), 1 / 3), torch.ones(60)
    run.history.evidence_count[4] = 0
    probs, words = probs_of(run, 3)
    assert probs.tolist() == pytest.approx([1 / 3] * 3) and "averaged" in words
    assert "last epoch" in probs_of(run, 4)[1] and probs_of(new_run(epochs=0), 0) == (None, "")


def test_votes_are_read_from_the_table(new_run):
    run = new_run()
    assert votes_of(run) == (None, "")
    for name in run.classes:
        run.samples[f"soft_{name}"] = 0.25
    assert votes_of(run)[0].shape == (60, 3) and votes_of(run)[1] == "soft label"
    for code, name in enumerate(run.classes):
        run.samples[f"vote_{name}"] = float(code)
    votes, words = votes_of(run)
    assert votes[5].tolist() == [0, 1, 2] and words == "votes of people"


def test_pictures_beside_each_other():
    def png(width, height, shade):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (shade,) * 3).save(buffer, "PNG")
        return buffer.getvalue()

    page = np.asarray(Image.open(io.BytesIO(beside(png(2, 3, 10), png(4, 1, 20)))))
    assert page.shape == (3, 6, 3) and page[2, 1, 0] == 10 and page[0, 5, 0] == 20 and page[2, 5, 0] == 255
