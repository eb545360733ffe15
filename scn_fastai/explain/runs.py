"""Maps for the faces of a run, by its network before and after training; every map is computed once."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from scn_fastai.data.images import decode_image
from scn_fastai.errors import DataError, RunError, SettingsError
from scn_fastai.explain.saliency import Progress, saliency, scores
from scn_fastai.training.head import attach_head
from scn_fastai.training.network import build_network, network_of
from scn_fastai.training.predict import prepare
from scn_fastai.training.run import Run
from scn_fastai.training.run_images import Images, run_images

WHEN = ("untrained", "before relabel", "trained")
OF = ("alpha", "predicted", "given", "difference")  # or the name of a class
CHOICES = ("lowest alpha", "highest alpha", "changed labels", "random")
MOST_MAPS = 2048  # that are kept


class FaceMaps(NamedTuple):
    """What a network looked at in k faces, and what it says of them."""

    maps: np.ndarray  # float32 [k, H, W], of the network's input size
    alpha: np.ndarray  # float32 [k]
    predicted: np.ndarray  # int64 [k], class codes


class Explainer:
    """Maps of the faces of a run; networks are loaded once, and what was computed is kept.

    Args:
        run: a run with its labels whose network goes by its name.
        images: the training faces in the run's order, a FaceSet, or None: what the run names (see `run_images`).
        seed: of the untrained network, and of noise.

    Raises:
        RunError: the run has no labels, or does not say how its images were prepared, or where they are.
        SettingsError: it does not name its architecture.
        DataError: the images do not fit.
    """

    def __init__(self, run: Run, images: Images | None = None, seed: int = 0):
        if run.ledger is None:
            raise RunError(f"{run.folder.name} has no labels yet: train it, or load a run that was trained.")
        if "input" not in run.settings:
            raise RunError(
                f"{run.folder.name} does not say how its images were prepared: use `saliency` with your own network."
            )
        self.run, self.seed = run, seed
        self._networks: dict[str, nn.Module] = {}
        self.network("trained")
        self.images = run_images(run, images)
        self._maps: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._said: dict[tuple[str, int], tuple[float, int]] = {}

    def network(self, when: str = "trained") -> nn.Module:
        """The run's network, in eval mode on the CPU.

        Args:
            when: ``'untrained'`` (the same architecture with seeded random weights), ``'before relabel'`` (as it was
                when relabeling began) or ``'trained'``.

        Raises:
            RunError: the run did not relabel.
            SettingsError: ``when`` is something else.
        """
        if when not in WHEN:
            raise SettingsError(f"when is {when!r}, and there are: {', '.join(WHEN)}.")
        if when not in self._networks:
            with torch.random.fork_rng(devices=range(torch.cuda.device_count())):  # making a network draws its weights
                before = when == "before relabel"
                made = untrained(self.run, self.seed) if when == "untrained" else network_of(self.run, before)
            self._networks[when] = made
        return self._networks[when]

    def look(
        self,
        rows: Sequence[int],
        method: str = "integrated gradients",
        of: str = "alpha",
        when: str = "trained",
        noise_samples: int = 0,
        progress: Progress | None = None,
        **options,
    ) -> FaceMaps:
        """Maps of some faces, and what the network says of them.

        Args:
            rows: sample numbers ``[k]``.
            method: one of `saliency.METHODS`.
            of: ``'alpha'``; the logit of the ``'predicted'`` or of the ``'given'`` class or of one that is named;
                ``'difference'``: that of the given class less that of the predicted one, all 0 where they are the same.
            when: see `network`.
            noise_samples: as for `saliency`; so are progress and options.
            progress: called with the passes done and those in all.
            options: steps, window, layer.

        Raises:
            DataError: there is no such face, or it is missing.
        """
        rows, network = checked_rows(self.images, rows), self.network(when)
        question = (when, method, of, noise_samples, *sorted(options.items()))
        new = [row for row in dict.fromkeys(rows) if (*question, row) not in self._maps]
        if new:
            x = self.prepared(new)
            self._listen(network, when, new, x)
            target = self._target(of, new)
            score = of if of in ("alpha", "difference") else "class"
            maps = saliency(network, x, method, score, target, noise_samples=noise_samples, seed=self.seed,
                            progress=progress, **options)  # fmt: skip
            self._maps |= {(*question, row): found for row, found in zip(new, maps.numpy(), strict=True)}
        said = [self._said[when, row] for row in rows]
        alpha, predicted = (np.array([pair[i] for pair in said], kind) for i, kind in ((0, np.float32), (1, np.int64)))
        maps = [self._maps[*question, row] for row in rows]
        for key in list(self._maps)[: max(0, len(self._maps) - MOST_MAPS)]:
            del self._maps[key]
        return FaceMaps(np.stack(maps) if maps else np.zeros((0, 1, 1), np.float32), alpha, predicted)

    def known(self, rows: Sequence[int], method: str, of: str, when: str, noise_samples: int = 0, **options) -> bool:
        """Whether `look` would compute nothing."""
        question = (when, method, of, noise_samples, *sorted(options.items()))
        return all((*question, int(row)) in self._maps for row in rows)

    def prepared(self, rows: Sequence[int]) -> Tensor:
        """Faces as the run's network saw them in validation, float ``[k, 3, S, S]``."""
        how, rows = self.run.settings["input"], checked_rows(self.images, rows)
        size, grey = tuple(how["shape"][:2]), len(how["shape"]) == 2
        faces = [torch.tensor(decode_image(self.images[row], size, grey=grey)) for row in rows]
        return prepare(torch.stack(faces) if faces else torch.zeros(0, *how["shape"], dtype=torch.uint8), how)

    def _listen(self, network: nn.Module, when: str, rows: list[int], x: Tensor) -> None:
        """Keep what the network says of some faces."""
        logits, alpha = scores(network, x)
        for row, value, code in zip(rows, alpha.tolist(), logits.argmax(1).tolist(), strict=True):
            self._said[when, row] = value, code

    def _target(self, of: str, rows: list[int]) -> Tensor | int | None:
        if of in ("alpha", "predicted"):
            return None
        if of in ("given", "difference"):
            return self.run.ledger.given.cpu()[torch.tensor(rows)]
        if of not in self.run.classes:
            names = ", ".join((*OF, *self.run.classes))
            raise SettingsError(f"A map is of one of these, not of {of!r}: {names}.")
        return self.run.classes.index(of)


def untrained(run: Run, seed: int = 0) -> nn.Module:
    """A network of a run's architecture that has learned nothing: what a map looks like before training."""
    scn, weights = run.settings.get("scn", {}), run.weights()
    bias = any(name.endswith("attention_bias") for name in weights)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        network = build_network(run.settings["arch"], len(run.classes))
        network, _ = attach_head(network, bias=bias, start=scn.get("alpha_start"))
    return network.eval()


def chosen_faces(run: Run, by: str, seed: int = 0) -> np.ndarray:
    """Sample numbers in the order of a choice: all of a run's faces, or those that the choice leaves.

    Args:
        run: a run with its labels.
        by: ``'lowest alpha'`` or ``'highest alpha'`` (after the last epoch; who was not seen is left out),
            ``'changed labels'`` or ``'random'``.
        seed: for ``'random'``.

    Raises:
        SettingsError: there is no such choice.
    """
    count = len(run.train_samples)
    if by == "random":
        return np.random.default_rng(seed).permutation(count)
    if by == "changed labels":
        return np.flatnonzero((run.ledger.current != run.ledger.given).cpu().numpy())
    if by not in CHOICES:
        raise SettingsError(f"Faces are chosen by one of these, not by {by!r}: {', '.join(CHOICES)}.")
    if run.history is None or not run.history.epoch:
        return np.zeros(0, np.int64)
    alpha = run.history.epoch_arrays(-1)["alpha"]
    order = np.argsort(alpha if by == "lowest alpha" else -alpha, kind="stable")
    return order[np.isfinite(alpha[order])]


def checked_rows(images, rows: Sequence[int]) -> list[int]:
    """Sample numbers as ints.

    Raises:
        DataError: there is no such face, or its image is missing.
    """
    values = np.atleast_1d(np.asarray(rows))
    if values.size and (values.dtype.kind not in "iu" or values.ndim != 1):
        raise DataError(f"Faces are whole numbers, got {rows!r}: give positions such as [0, 17].")
    for row in values.tolist():
        if not 0 <= row < len(images):
            raise DataError(f"There is no face {row}: there are {len(images):,} (0 to {len(images) - 1:,}).")
        if images[row] is None:
            raise DataError(f"The image of face {row} is missing: leave it out.")
    return [int(row) for row in values]
