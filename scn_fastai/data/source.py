"""Faces by name: which data set, how many of its faces, and which noise on their labels."""

import os
from dataclasses import asdict, dataclass, replace

import numpy as np

from scn_fastai.data.join import join
from scn_fastai.data.noise import DOUBT_COLUMNS, face_doubt, flip_labels
from scn_fastai.data.readers.affectnet import read_affectnet
from scn_fastai.data.readers.ferplus import read_ferplus
from scn_fastai.data.readers.folder import read_csv, read_folder
from scn_fastai.data.readers.rafdb import read_rafdb
from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.data.readers.web import WEB_NOISE, with_web_labels
from scn_fastai.data.samples import FaceSet
from scn_fastai.errors import DataError

NAMES = ("rendered", "ferplus", "fer2013", "folder", "csv", "rafdb", "rafdb-compound", "affectnet", "affectnet7", "web")


@dataclass(frozen=True)
class Source:
    """A recipe for a FaceSet, plain enough to stand in a run's settings and to be sent to another process.

    ``rendered`` are the faces that come with the project, found without a path. ``fer2013`` is FERPlus's faces with
    the labels that FER2013 came with, in its 7 classes: noise that people made. ``limit`` picks that many training
    faces, class by class, the same ones for every seed; ``noise`` flips that share of their labels, with other flips
    for every seed.
    ``noise_kind`` is symmetric, confusion, or human: along the confusions that people make, uncertain faces first.
    ``web`` are the rendered faces as a stand-in for WebEmotion: human noise, half of the labels unless ``noise`` says.
    Faces whose table does not say which of them are uncertain get confusion for human, and their account says so.
    ``affectnet7`` is AffectNet without contempt. Two names with a plus, ``rafdb+affectnet``, are joined (see `join`);
    ``path`` then holds both paths, parted as in $PATH (``:``, or ``;`` on Windows). ``noise_file`` holds the labels
    of RAF-DB's training faces as another paper made them wrong.
    """

    name: str = "rendered"
    path: str | None = None
    rule: str = "argmax8"
    limit: int | None = None
    size: int | None = None
    noise: float = 0.0
    noise_kind: str = "symmetric"
    noise_file: str | None = None

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    def load(self, seed: int = 0) -> FaceSet:
        """Read the faces, pick the limit, and flip labels with this seed.

        Raises:
            DataError: the name is unknown, the path is missing, or something in the data is wrong.
        """
        faces = self._read()
        if self.limit is not None:
            faces = faces.limit(self.limit, seed=0)
        if self.name == "web":
            faces = with_web_labels(faces, self.noise or WEB_NOISE, seed)
        elif self.noise:
            faces = faces.with_labels(self._flipped(faces, seed))
        return faces

    def _flipped(self, faces: FaceSet, seed: int) -> np.ndarray:
        """Label codes of the training faces, some of them wrong."""
        train, kind, how = faces.samples.iloc[faces.rows("train")], self.noise_kind, {}
        codes = faces.label_codes(split="train")
        if kind == "human" and not set(DOUBT_COLUMNS) <= set(train):
            kind = "confusion"
            faces.account.notes.append(
                "nothing says which of these faces are uncertain: labels are flipped along the confusions that people "
                "make, of all faces alike"
            )
        elif kind == "human":
            table = train.reset_index(drop=True)
            how = {"doubt": face_doubt(table), "second": table.get("second")}
        return flip_labels(codes, self.noise, kind=kind, seed=seed, classes=faces.classes, **how).labels

    def _read(self) -> FaceSet:
        if "+" in self.name:
            return self._joined()
        if self.name not in NAMES:
            raise DataError(
                f"There is no data set {self.name!r}; there are: {', '.join(NAMES)}, and two of them with a plus."
            )
        if self.noise_file is not None and self.name != "rafdb":
            raise DataError(f"A noise file belongs to rafdb, not to {self.name}: leave it out.")
        if self.name in ("rendered", "web"):
            return rendered_faces(self.path, ("train", "valid"), self.size)
        if self.path is None:
            raise DataError(f"Where is {self.name}? Name its folder or file with --path.")
        if self.name in ("ferplus", "fer2013"):
            labels, classes = ("crowd", 8) if self.name == "ferplus" else ("fer2013", 7)
            return read_ferplus(self.path, rule=self.rule, labels=labels, size=self.size, classes=classes)
        if self.name.startswith("rafdb"):
            part = "compound" if self.name.endswith("compound") else "basic"
            return read_rafdb(self.path, self.size, part=part, noise_file=self.noise_file)
        if self.name.startswith("affectnet"):
            return read_affectnet(self.path, 7 if self.name.endswith("7") else 8, self.size)
        reader = read_folder if self.name == "folder" else read_csv
        return reader(self.path, size=self.size)

    def _joined(self) -> FaceSet:
        """Two sets by their names and paths; the rendered faces need no path."""
        names = [name.strip() for name in self.name.split("+")]
        paths = (self.path or "").split(os.pathsep) if self.path else []
        if len(names) != 2:
            raise DataError(f"Two data sets can be joined, such as rafdb+affectnet, not {self.name!r}.")
        needing = [name for name in names if name != "rendered"]
        if len(paths) != len(needing):
            raise DataError(
                f"{self.name} needs {len(needing)} paths, in the same order, with {os.pathsep!r} between them: give "
                "them with --path."
            )
        place, left = {}, iter(paths)
        for name in names:
            place[name] = next(left) if name != "rendered" else None
        if len(place) < 2:
            raise DataError(f"{self.name} names one data set twice: join two different ones.")
        noise = {name: self.noise_file if name == "rafdb" else None for name in names}
        a, b = (
            replace(self, name=name, path=place[name], noise_file=noise[name], limit=None)._read() for name in names
        )
        return join(a, b, names, size=self.size)
