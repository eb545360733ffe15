import pytest

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.web.keywords import LABELS, Keywords, queries, read_keywords, search_word

WORDS = read_keywords()


def test_the_table_has_the_papers_numbers_and_the_words_that_it_names():
    assert (len(WORDS.emotions), len(WORDS.countries), len(WORDS.ages)) == (40, 45, 6)
    happy = [word for word, label in WORDS.emotions.items() if label == "happiness"]
    assert happy == ["happy", "funny", "ecstatic", "smug", "kawaii"]
    assert WORDS.ages == ("baby", "lady", "woman", "man", "old man", "old woman")
    assert {label: list(WORDS.emotions.values()).count(label) for label in LABELS} == dict.fromkeys(LABELS, 5)


def test_all_combinations_are_asked_once():
    table = queries(WORDS)
    assert len(table) == 40 * 45 * 6 == table["query"].nunique()
    assert "smug old woman South Korea" in set(table["query"])
    pairs = queries(WORDS, "pairs")
    assert len(pairs) == 40 * (1 + 45 + 6) == pairs["query"].nunique()
    with pytest.raises(SettingsError, match="combined by 'none': use all or pairs"):
        queries(WORDS, "none")


def test_every_query_as_a_file_name_gives_its_label_back():
    for row in queries(WORDS, "pairs").itertuples():
        assert search_word(f"videos/{row.query.replace(' ', '_')} 07.mp4", WORDS) == (row.word, row.label)


def test_the_file_name_comes_before_the_folder_and_the_nearest_folder_first():
    assert search_word("sad/angry/happy man.mp4", WORDS)[1] == "happiness"
    assert search_word("sad/Angry woman/0001.mp4", WORDS)[1] == "anger"
    assert search_word("sad/x/0001.mp4", WORDS)[1] == "sadness"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("holiday/0001.mp4", "no emotion word in its name"),
        ("unhappy.mp4", "no emotion word"),
        ("happy and sad.mp4", r"several classes \(happiness, sadness\): rename"),
    ],
)
def test_a_name_without_a_label_is_said(path, words):
    with pytest.raises(DataError, match=words):
        search_word(path, WORDS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind,word\nemotion,happy", "no column 'label'"),
        ("kind,word,label\nemotion,happy,joy", "'happy' in .* has the label 'joy': use neutral, happiness"),
        ("kind,word,label\nmood,happy,happiness", "kind 'mood': use emotion, country, age"),
        ("kind,word,label\nemotion,,happiness", "Row 0 of .* has no word"),
        ("kind,word,label\nemotion,sad,sadness\nage,Sad,", "'Sad' is twice"),
        ("kind,word,label\nage,man,", "no emotion word"),
        ("", "cannot be read as a CSV"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(text, words, tmp_path):
    (tmp_path / "words.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_keywords(tmp_path / "words.csv")


def test_a_table_of_ones_own(tmp_path):
    (tmp_path / "words.csv").write_text("kind,word,label\nemotion,Sehr  Froh,happiness\n")
    own = read_keywords(tmp_path / "words.csv")
    assert own == Keywords({"sehr froh": "happiness"}) and queries(own)["query"].tolist() == ["sehr froh"]
    assert search_word("sehr-froh_1.mp4", own) == ("sehr froh", "happiness")
