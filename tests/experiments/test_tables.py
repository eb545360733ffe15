"""The paper's tables as grids: which runs each needs, and that its claims name rows that are there."""

from pathlib import Path

import pytest

from scn_fastai.errors import SettingsError
from scn_fastai.experiments.recipes import recipe
from scn_fastai.experiments.tables import SIZES, TABLES, known_rows, table_by_name, table_cells


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_are_recipes_and_claims_are_rows(table):
    words = [row.words for row in table.rows]
    assert len(set(words)) == len(words)
    for claim in table.claims:
        assert {claim.better, claim.worse} <= set(words)
    there, missing = known_rows(table)
    assert set(there) | set(missing) == set(table.rows)
    assert all(recipe(row.recipe).name == row.recipe for row in there)
    assert {row.recipe for row in missing} <= {"curriculumnet", "metacleaner"}


def test_table_5_is_the_papers():
    rows = {row.words: (row.recipe, row.printed) for row in TABLES["table5"].rows}
    for words, printed in zip(("none", "relabel", "rank", "weight", "weight + rank", "weight + rank + relabel"),
                              (72.00, 71.25, 74.15, 76.26, 76.57, 78.31), strict=True):  # fmt: skip
        assert rows[words][1] == printed
        settings, modules = recipe(rows[words][0]).settings, set(words.split(" + ")) - {"none"}
        assert {name for name in ("weight", "rank", "relabel") if getattr(settings, name)} == modules


def test_rows_that_are_the_same_training_share_it():
    table = TABLES["fig5"]
    cells = table_cells(list(table.rows), [0, 1], SIZES["quick"], Path("out"))
    usual = {cells[row][0].folder for row in table.rows if row.recipe == "paper"}
    assert usual == {Path("out/clean/paper-seed0")}
    noisy = table_cells(list(TABLES["detect"].rows), [2], SIZES["quick"], Path("out"))
    folders = [cell.folder.as_posix() for of_row in noisy.values() for cell in of_row]
    assert "out/human30/plain-seed2" in folders and len(set(folders)) == 6
    assert all(cell.source.noise == 0.3 for of_row in noisy.values() for cell in of_row)


def test_a_wrong_name_is_a_sentence():
    with pytest.raises(SettingsError, match="no table 'table9'; there are: table2"):
        table_by_name("table9")
