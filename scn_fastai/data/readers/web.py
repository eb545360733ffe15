"""A stand-in for the paper's WebEmotion: rendered faces whose training labels are as wrong as search words are."""

from __future__ import annotations

from pathlib import Path

from scn_fastai.data.noise import face_doubt, flip_labels
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.samples import FaceSet

WEB_NOISE = 0.5  # share of wrong training labels; an assumption: nobody has counted WebEmotion's


def web_faces(
    rate: float = WEB_NOISE, seed: int = 0, path: str | Path | None = None, size: int | None = None
) -> FaceSet:
    """Rendered training and validation faces; `rate` of the training labels are wrong, along human confusions.

    Doubtful faces are wrong more often (`flip_labels(kind="human")`); `true_label` keeps the truth, and validation
    labels stay true. For pretraining with and without SCN (Table 3), since WebEmotion was never released. What it
    shares with WebEmotion is the kind of its labels: no video, no search engine, no real face.

    path, size: as in `rendered_faces`. Raises DataError: the faces are not found, or the rate makes no sense.

    >>> faces = web_faces(rate=0.4).part("train")
    >>> bool(((faces.samples["label"] != faces.samples["true_label"]).mean() - 0.4) < 0.01)
    True
    """
    return with_web_labels(rendered_faces(path, ("train", "valid"), size), rate, seed)


def with_web_labels(faces: FaceSet, rate: float = WEB_NOISE, seed: int = 0) -> FaceSet:
    """Faces whose table says how doubtful they are, with that share of their training labels wrong."""
    train = faces.part("train")
    how = {"doubt": face_doubt(train.samples), "second": train.samples.get("second")}
    flipped = flip_labels(train.label_codes(), rate, kind="human", seed=seed, classes=faces.classes, **how)
    noisy = faces.with_labels(flipped.labels)
    noisy.account.notes.append(
        f"stand-in for WebEmotion: {flipped.flipped.mean():.0%} of the training labels are wrong"
    )
    return noisy
