"""Classes of expressions: their order in each data set, and the one table that leads from one set to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from scn_fastai.data.samples import FaceSet, ReadAccount
from scn_fastai.errors import DataError

# Position in the list + first code = the number in that set's own files.
ORDERS = {
    # microsoft/FERPlus, the columns of fer2013new.csv
    "ferplus": ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"],
    # FER2013, ICML 2013 challenge
    "fer2013": ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"],
    # RAF-DB's basic part, EmoLabel/list_patition_label.txt
    "rafdb": ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"],
    # RAF-DB's compound part
    "rafdb-compound": [
        "happily surprised", "happily disgusted", "sadly fearful", "sadly angry", "sadly surprised",
        "sadly disgusted", "fearfully angry", "fearfully surprised", "angrily surprised", "angrily disgusted",
        "disgustedly surprised",
    ],
    # AffectNet, column expression; 8 none, 9 uncertain and 10 no face are no classes
    "affectnet": ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"],
    "affectnet7": ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger"],
}  # fmt: skip
FIRST_CODE = {"rafdb": 1, "rafdb-compound": 1}
_OTHER_WORDS = {
    "neutral": "neutral", "neutrality": "neutral", "natural": "neutral", "calm": "neutral",
    "happiness": "happiness", "happy": "happiness", "joy": "happiness",
    "surprise": "surprise", "surprised": "surprise",
    "sadness": "sadness", "sad": "sadness",
    "anger": "anger", "angry": "anger",
    "disgust": "disgust", "disgusted": "disgust",
    "fear": "fear", "fearful": "fear", "afraid": "fear", "scared": "fear",
    "contempt": "contempt", "contemptuous": "contempt",
}  # fmt: skip


def class_order(name: str) -> list[str]:
    """The classes of a data set in the order of its own numbers.

    >>> class_order("rafdb")[:2]
    ['surprise', 'fear']
    """
    if name not in ORDERS:
        raise DataError(f"There is no class order {name!r}; there are: {', '.join(ORDERS)}.")
    return list(ORDERS[name])


def class_table() -> pd.DataFrame:
    """The number of each emotion in the files of each data set; -1 where a set does not have it.

    >>> class_table().loc[["neutral", "contempt"], ["ferplus", "rafdb", "affectnet", "affectnet7"]]
              ferplus  rafdb  affectnet  affectnet7
    neutral         0      7          0           0
    contempt        7     -1          7          -1
    """
    sets = [name for name in ORDERS if name != "rafdb-compound"]
    rows = {name: map_codes(ORDERS["ferplus"], ORDERS[name]) for name in sets}
    return pd.DataFrame(
        {name: np.where(codes < 0, -1, codes + FIRST_CODE.get(name, 0)) for name, codes in rows.items()},
        index=ORDERS["ferplus"],
    )


def canonical(name: str) -> str:
    """The name that this project uses for an emotion; a name that is none stays as it is.

    >>> canonical("Happy"), canonical("ant")
    ('happiness', 'ant')
    """
    return _OTHER_WORDS.get(str(name).strip().lower(), str(name))


def map_codes(source: str | Sequence[str], target: str | Sequence[str]) -> np.ndarray:
    """For each class of `source` its position in `target`, int64 [C]; -1 where the target does not have it.

    Each is the name of a data set (see `class_order`) or a list of classes. Codes count from 0.

    >>> map_codes("rafdb", "ferplus")
    array([2, 6, 5, 1, 3, 4, 0])
    >>> map_codes("affectnet", "affectnet7")[-1]
    np.int64(-1)
    """
    source, target = (class_order(names) if isinstance(names, str) else list(names) for names in (source, target))
    place = {canonical(name): code for code, name in enumerate(target)}
    return np.array([place.get(canonical(name), -1) for name in source], dtype=np.int64)


def to_classes(faces: FaceSet, classes: str | Sequence[str]) -> FaceSet:
    """The same faces in other classes: names and order of `classes`; faces of a class that is not there are dropped.

    A given label outside the classes drops a face, and so does a true label; both are counted in the account. Votes
    for classes that are left out are taken away and the others' shares brought to 1 again.

    Raises:
        DataError: no class is common to both.
    """
    wanted = class_order(classes) if isinstance(classes, str) else [str(name) for name in classes]
    codes = map_codes(faces.classes, wanted)
    if (codes < 0).all():
        raise DataError(
            f"None of the classes {', '.join(faces.classes)} is among {', '.join(wanted)}: name the classes alike."
        )
    new_name = {old: wanted[code] for old, code in zip(faces.classes, codes, strict=True) if code >= 0}
    table = faces.samples.copy()
    account = replace(faces.account, dropped=dict(faces.account.dropped), notes=list(faces.account.notes))
    keep = np.ones(len(table), dtype=bool)
    for column in ("label", "true_label"):
        if column in table:
            gone = keep & table[column].notna().to_numpy() & ~table[column].isin(new_name).to_numpy()
            _count(account, table[column][gone], "" if column == "label" else "truly ")
            keep &= ~gone
            table[column] = table[column].map(new_name)
    left = [name for name in wanted if name not in new_name.values()]
    account.read = int(keep.sum())
    account.notes.append(f"classes in order: {', '.join(name for name in wanted if name not in left)}")
    moved = FaceSet(_votes(table, new_name), [n for n in wanted if n not in left], faces.images, account)
    return moved if keep.all() else moved.take(keep)


def _count(account: ReadAccount, labels: pd.Series, how: str) -> None:
    for name, count in labels.value_counts().items():
        account.drop(f"{how}{name}, which is not among the classes", count)


def _votes(table: pd.DataFrame, new_name: dict[str, str]) -> pd.DataFrame:
    old = [column for column in table.columns if column.startswith("vote_")]
    if not old:
        return table
    votes = table[old].rename(columns={f"vote_{name}": f"vote_{new}" for name, new in new_name.items()})
    votes = votes[[f"vote_{new}" for new in new_name.values() if f"vote_{new}" in votes]]
    total = votes.sum(axis=1)
    return table.drop(columns=old).join(votes.div(total.where(total > 0), axis=0))
