"""Are these two faces one person? How well a network's features answer that for people it has never seen."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import normalize

from scn_fastai.data.readers.rendered import rendered_faces
from scn_fastai.errors import DataError
from scn_fastai.training.features import features_of
from scn_fastai.training.network import network_of
from scn_fastai.training.predict import prepare
from scn_fastai.training.run import Run


def verification_auroc(features: Tensor, people: np.ndarray) -> float:
    """How often a pair of faces of one person has the larger cosine than a pair of two people, over all pairs i < j.

    Args:
        features: ``[N, D]``.
        people: who it is, ``[N]``.

    Raises:
        DataError: there are no two faces of one person, or no two people.

    >>> x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> verification_auroc(x, np.array([7, 7, 8, 8])), verification_auroc(x, np.array([7, 8, 7, 8]))
    (1.0, 0.25)
    """
    people = np.asarray(people)
    unit = normalize(features.float(), dim=1)
    first, second = np.triu_indices(len(people), k=1)
    same = people[first] == people[second]
    if same.all() or not same.any():
        raise DataError("Pairs of one person and pairs of two people are compared: give two people, one of them twice.")
    return float(roc_auc_score(same, (unit @ unit.T).numpy()[first, second]))


def held_out_auroc(run: Run, path: str | None = None) -> float:
    """`verification_auroc` of a run's features on the people of the rendered faces' valid split.

    Args:
        run: its network goes by its name (see `network_of`).
        path: where the rendered faces lie; None: found.
    """
    faces = rendered_faces(path, ("valid",))
    pixels = torch.from_numpy(np.ascontiguousarray(faces.images))
    batches = (prepare(pixels[i : i + 256], run.settings["input"]) for i in range(0, len(pixels), 256))
    return verification_auroc(features_of(network_of(run), batches), faces.samples["identity"].to_numpy())
