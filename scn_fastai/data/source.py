"""Faces by name: which data set, how many of its faces, and which noise on their labels."""

from dataclasses import asdict, dataclass

from scn_fastai.data.noise import flip_labels
from scn_fastai.data.readers.ferplus import read_ferplus
from scn_fastai.data.readers.folder import read_csv, read_folder
from scn_fastai.data.samples import FaceSet
from scn_fastai.data.standin import standin_faces
from scn_fastai.errors import DataError

NAMES = ("ferplus", "fer2013", "folder", "csv", "standin")


@dataclass(frozen=True)
class Source:
    """A recipe for a FaceSet, plain enough to stand in a run's settings and to be sent to another process.

    ``fer2013`` is FERPlus's faces with the labels that FER2013 came with: noise that people made. ``limit`` picks
    that many training faces, class by class, the same ones for every seed; ``noise`` flips that share of their
    labels, with other flips for every seed.
    """

    name: str = "standin"
    path: str | None = None
    rule: str = "argmax8"
    limit: int | None = None
    size: int | None = None
    noise: float = 0.0
    noise_kind: str = "symmetric"

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
        if self.noise:
            train = faces.part("train")
            flipped = flip_labels(
                train.label_codes(), self.noise, kind=self.noise_kind, seed=seed, classes=faces.classes
            )
            faces = faces.with_labels(flipped.labels)
        return faces

    def _read(self) -> FaceSet:
        if self.name not in NAMES:
            raise DataError(f"There is no data set {self.name!r}; there are: {', '.join(NAMES)}.")
        if self.name == "standin":
            return standin_faces(n_train=self.limit or 2000, size=self.size or 48)
        if self.path is None:
            raise DataError(f"Where is {self.name}? Name its folder or file with --path.")
        if self.name in ("ferplus", "fer2013"):
            labels = "crowd" if self.name == "ferplus" else "fer2013"
            return read_ferplus(self.path, rule=self.rule, labels=labels, size=self.size)
        reader = read_folder if self.name == "folder" else read_csv
        return reader(self.path, size=self.size)
