"""The words that videos are searched with, the queries made of them, and the label that a name carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pandas as pd

from scn_fastai.data.images import existing
from scn_fastai.errors import DataError, SettingsError

TABLE = Path(__file__).with_name("keywords.csv")
KINDS = ("emotion", "country", "age")
LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Keywords:
    """Emotion words with their class, and the words that vary them."""

    emotions: dict[str, str]
    countries: tuple[str, ...] = ()
    ages: tuple[str, ...] = ()


def read_keywords(path: str | Path | None = None) -> Keywords:
    """The table of words: 40 emotion words, 45 countries and 6 age words, or a CSV of your own.

    Columns kind (emotion, country or age), word and label (of emotions). The paper gives the numbers, the six age words
    and the five words for happiness (section 4.1); all other words in the table that comes with this are our choice.

    Raises:
        DataError: the table cannot be read, lacks a column, or has a word twice or without its class.

    >>> words = read_keywords()
    >>> len(words.emotions), len(words.countries), len(words.ages), words.emotions["smug"]
    (40, 45, 6, 'happiness')
    """
    path = existing(path) if path else TABLE
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a CSV file ({error}).") from error
    missing = [column for column in ("kind", "word", "label") if column not in table]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}: a table of words has kind,word,label.")
    table = table.apply(lambda column: column.str.strip())
    table["word"] = [" ".join(word.split()) for word in table["word"]]
    _check(table, path)
    rows = {kind: table[table["kind"] == kind] for kind in KINDS}
    emotions = dict(zip(rows["emotion"]["word"].str.lower(), rows["emotion"]["label"], strict=True))
    return Keywords(emotions, tuple(rows["country"]["word"]), tuple(rows["age"]["word"]))


def _check(table: pd.DataFrame, path: Path) -> None:
    for row in table.itertuples():
        if row.kind not in KINDS:
            raise DataError(f"Row {row.Index} of {path} is of kind {row.kind!r}: use {', '.join(KINDS)}.")
        if not _WORDS.search(row.word):
            raise DataError(f"Row {row.Index} of {path} has no word: fill it or remove the row.")
        if row.kind == "emotion" and row.label not in LABELS:
            raise DataError(f"The word {row.word!r} in {path} has the label {row.label!r}: use {', '.join(LABELS)}.")
    twice = table[table["word"].str.lower().duplicated()]
    if len(twice):
        raise DataError(f"The word {twice['word'].iloc[0]!r} is twice in {path}: keep one of them.")
    if not (table["kind"] == "emotion").any():
        raise DataError(f"{path} has no emotion word: give at least one.")


def queries(keywords: Keywords, combine: str = "all") -> pd.DataFrame:
    """What to search for: columns query, word and label.

    combine: ``all`` puts every emotion word with every country and every age word, 10,800 queries. ``pairs`` takes the
    word alone, with a country, or with an age word, 2,080 queries: twenty videos of each would be 41,600, which is near
    the 41,339 of the paper's Table 1, so this may be what its authors did; the paper does not say.

    >>> words = Keywords({"happy": "happiness"}, ("Peru",), ("man",))
    >>> queries(words)["query"].tolist(), queries(words, "pairs")["query"].tolist()
    (['happy man Peru'], ['happy', 'happy man', 'happy Peru'])
    """
    if combine not in ("all", "pairs"):
        raise SettingsError(f"Queries cannot be combined by {combine!r}: use all or pairs.")
    ages, countries = keywords.ages or ("",), keywords.countries or ("",)
    if combine == "all":
        others = list(product(ages, countries))
    else:
        others = [("", ""), *((age, "") for age in keywords.ages), *(("", country) for country in keywords.countries)]
    rows = [
        (" ".join(filter(None, (word, age, country))), word, label)
        for word, label in keywords.emotions.items()
        for age, country in others
    ]
    return pd.DataFrame(rows, columns=["query", "word", "label"])


def search_word(path: str | Path, keywords: Keywords) -> tuple[str, str]:
    """The emotion word that a file name, or else the nearest folder above it, carries, and its label.

    Raises:
        DataError: there is no such word, or words of several classes stand in the same name.

    >>> words = read_keywords()
    >>> search_word("happy/old_man_Peru_03.mp4", words), search_word("x/poker-face 7.mp4", words)
    (('happy', 'happiness'), ('poker face', 'neutral'))
    """
    parts = [Path(path).stem, *reversed(Path(path).parts[:-1])]
    for part in parts:
        tokens = f" {' '.join(_WORDS.findall(part.lower()))} "
        found = [word for word in keywords.emotions if f" {' '.join(_WORDS.findall(word))} " in tokens]
        labels = sorted({keywords.emotions[word] for word in found})
        if len(labels) > 1:
            raise DataError(f"{part!r} carries words of several classes ({', '.join(labels)}): rename it.")
        if found:
            word = max(found, key=len)
            return word, keywords.emotions[word]
    raise DataError("no emotion word in its name or in a folder above it: rename it, or add the word to the table")
