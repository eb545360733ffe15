"""Disagreement with neighbours: does the label of a face fit the faces that a network finds similar?"""

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors

from scn_fastai.data.images import decode_image
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.training.features import features_of
from scn_fastai.training.network import network_of
from scn_fastai.training.predict import prepare
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images, run_images

BATCH = 256


def run_features(run: Run, images: Images | None = None) -> np.ndarray:
    """Features ``x_i`` (Eq. 1) of a run's training faces by its network, float32 ``[N, D]``; NaN where one is missing.

    Args:
        run: a run whose network goes by its name.
        images: its faces, as `run_images` takes them; None: what the run names.

    Raises:
        RunError: the run does not say how its images were prepared, or where they are.
    """
    if "input" not in run.settings:
        raise RunError(f"{run.folder.name} does not say how its images were prepared: use `features_of` yourself.")
    network, images, how = network_of(run), run_images(run, images), run.settings["input"]
    size, grey = tuple(how["shape"][:2]), len(how["shape"]) == 2
    there = [row for row in range(len(images)) if images[row] is not None]

    def batches():
        for start in range(0, len(there), BATCH):
            faces = [torch.tensor(decode_image(images[row], size, grey=grey)) for row in there[start : start + BATCH]]
            yield prepare(torch.stack(faces), how)

    known = features_of(network, batches()).numpy()
    features = np.full((len(images), known.shape[1]), np.nan, np.float32)
    features[there] = known
    return features


def knn_disagreement(features: np.ndarray, given: np.ndarray, k: int = 20) -> np.ndarray:
    """Share of the k nearest other samples that have another given label, float64 ``[N]``; NaN without features.

    Cosine distance of the features. With k-nearest-neighbour votes as in Bahri et al., Deep k-NN for Noisy Labels, ICML
    2020.

    Args:
        features: float ``[N, D]``, such as `features_of` gives; a row with NaN is unknown, and nobody's neighbour.
        given: labels ``[N]``.
        k: neighbours that are asked; fewer where there are fewer.

    Raises:
        DataError: there is not a label for each row.
        SettingsError: k is below 1.

    >>> where = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    >>> knn_disagreement(where, np.array([0, 0, 1, 0]), k=1).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    features, given = np.asarray(features, np.float32), np.asarray(given)
    if features.ndim != 2 or len(features) != len(given):
        raise DataError(f"Features are [N, D] with a label each, got {list(features.shape)} and {len(given):,} labels.")
    if k < 1:
        raise SettingsError(f"k is {k}, but at least 1 neighbour has to be asked.")
    score, known = np.full(len(given), np.nan), np.flatnonzero(np.isfinite(features).all(axis=1))
    k = min(k, len(known) - 1)
    if k < 1:
        return score
    unit = features[known] / np.maximum(np.linalg.norm(features[known], axis=1, keepdims=True), 1e-12)
    # Of unit vectors the Euclidean order is the cosine order. Asked without points, it leaves each sample itself out.
    near = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit).kneighbors(return_distance=False)
    score[known] = (given[known][near] != given[known][:, None]).mean(axis=1)
    return score
