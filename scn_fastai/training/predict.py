"""Scoring images with a run from disk: no Learner, no training data."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import pandas as pd
import torch
from fastai.torch_core import TensorImage
from torch import Tensor

from scn_fastai.data.images import decode_image
from scn_fastai.data.loaders import ToRGBFloat
from scn_fastai.errors import RunError
from scn_fastai.training.network import network_of
from scn_fastai.training.run import Run
from scn_fastai.training.score import score_batches

FEW = 4  # images that one thread scores


def predict_files(run: Run, paths: list[str]) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Score image files: a table (image, and the columns of `score_samples`), and a sentence for each bad file.

    Raises:
        RunError: the run does not say how its images were prepared.
    """
    how = _preparation(run)
    good, pixels, problems = [], [], []
    for path in paths:
        try:
            pixels.append(_decoded(path, how))
            good.append(str(path))
        except (OSError, ValueError) as error:
            problems.append({"image": str(path), "problem": f"cannot be read as an image ({error})"})
    if not good:
        return pd.DataFrame(columns=["image", "predicted", "p_max", "alpha"]), problems
    batches = (prepare(torch.stack(pixels[i : i + 256]), how) for i in range(0, len(pixels), 256))
    table = score_batches(network_of(run), batches, run.classes, weighted=_weighted(run))
    table.insert(0, "image", good)
    return table, problems


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: for a face or two, threads cost more than they bring, most of all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Predictor:
    """A run's network as a function of pictures; `predictor` makes one.

    ``predictor(images)`` takes uint8 ``[k, H, W, 3]`` of any size and returns probabilities float32 ``[k, C]`` in the
    order of ``classes``, or a pair of those and alpha float32 ``[k]``.
    """

    def __init__(self, run: Run, with_alpha: bool = False):
        self.classes, self.with_alpha = list(run.classes), with_alpha
        self._how, self._score = _preparation(run), partial(score_batches, network_of(run), weighted=_weighted(run))

    def __call__(self, images: np.ndarray) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Probabilities, or probabilities and alpha."""
        pixels = torch.stack([_decoded(image, self._how) for image in images])
        with one_thread() if len(images) <= FEW else nullcontext():
            table = self._score([prepare(pixels, self._how)], self.classes)
        probs = table[[f"p_{name}" for name in self.classes]].to_numpy(np.float32)
        return (probs, table["alpha"].to_numpy(np.float32)) if self.with_alpha else probs


def predictor(run: Run, with_alpha: bool = False) -> Predictor:
    """A run's network as a function of uint8 images ``[k, H, W, 3]``: what `FaceLab` asks for.

    Args:
        run: a run whose network goes by its name (see `network_of`).
        with_alpha: return the importance alpha ``[k]`` too.

    Raises:
        RunError: the run does not say how its images were prepared.
        SettingsError: it does not name its architecture.
    """
    return Predictor(run, with_alpha)


def _preparation(run: Run) -> dict:
    if "input" not in run.settings:
        raise RunError(f"{run.folder.name} does not say how its images were prepared: score with your own Learner.")
    return run.settings["input"]


def _weighted(run: Run) -> bool:
    """Whether the loss of this run saw logits that were weighted by alpha itself."""
    return run.settings["scn"]["weight"] and not run.settings["scn"]["relative"]


def _decoded(data: str | np.ndarray, how: dict) -> Tensor:
    """A file or an array as the run's data set would hold it, uint8 ``[H, W(, 3)]``."""
    return torch.tensor(decode_image(data, tuple(how["shape"][:2]), grey=len(how["shape"]) == 2))


def prepare(images: Tensor, how: dict) -> Tensor:
    """uint8 images ``[B, H, W(, 3)]`` as the run's network saw them in validation, float ``[B, 3, S, S]``."""
    to_float = ToRGBFloat(how["size"], how.get("crop", 1.0), how.get("channels", "RGB"))
    x = to_float(TensorImage(images)).as_subclass(Tensor)
    mean, std = (torch.tensor(how[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (x - mean) / std
