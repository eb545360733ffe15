"""Scoring image files with a run from disk: no Learner, no training data."""

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


def predict_files(run: Run, paths: list[str]) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Score image files: a table (image, and the columns of `score_samples`), and a sentence for each bad file.

    Raises:
        RunError: the run does not say how its images were prepared.
    """
    if "input" not in run.settings:
        raise RunError(f"{run.folder.name} does not say how its images were prepared: score with your own Learner.")
    how = run.settings["input"]
    good, pixels, problems = [], [], []
    for path in paths:
        try:
            pixels.append(torch.tensor(decode_image(path, tuple(how["shape"][:2]), grey=len(how["shape"]) == 2)))
            good.append(str(path))
        except (OSError, ValueError) as error:
            problems.append({"image": str(path), "problem": f"cannot be read as an image ({error})"})
    if not good:
        return pd.DataFrame(columns=["image", "predicted", "p_max", "alpha"]), problems
    batches = (prepare(torch.stack(pixels[i : i + 256]), how) for i in range(0, len(pixels), 256))
    weighted = run.settings["scn"]["weight"] and not run.settings["scn"]["relative"]
    table = score_batches(network_of(run), batches, run.classes, weighted=weighted)
    table.insert(0, "image", good)
    return table, problems


def prepare(images: Tensor, how: dict) -> Tensor:
    """uint8 images ``[B, H, W(, 3)]`` as the run's network saw them in validation, float ``[B, 3, S, S]``."""
    x = ToRGBFloat(how["size"])(TensorImage(images)).as_subclass(Tensor)
    mean, std = (torch.tensor(how[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (x - mean) / std
