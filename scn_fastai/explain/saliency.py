"""Which pixels speak for alpha, for a class, or for one class against another: four methods of Captum, one function.

A map is signed where the method is: a pixel above 0 raises the score that is asked about, one below 0 lowers it. What
is compared with is always the *grey image*: the mean colour of the training faces, which is 0 after normalising.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from captum.attr import IntegratedGradients, LayerGradCam, NoiseTunnel, Occlusion, Saliency
from torch import Tensor, nn
from torch.nn.functional import interpolate

from scn_fastai.errors import DataError, SettingsError
from scn_fastai.explain.maps import normalised, rank_correlation
from scn_fastai.training.head import ImportanceHead, find_head

__all__ = ["METHODS", "SCORES", "completeness_error", "normalised", "randomisation_check", "saliency"]

METHODS = ("saliency", "integrated gradients", "grad-cam", "occlusion")
SIGNED = {"saliency": False, "integrated gradients": True, "grad-cam": True, "occlusion": True}
SCORES = ("alpha", "class", "difference")
FACES_AT_ONCE, PASSES_AT_ONCE = 16, 64  # memory follows these, not the number of faces or of steps
NOT_USED = ("not have been used", "did not obtain any")  # words of torch and of Captum for a layer apart
Progress = Callable[[int, int], None]
Codes = int | Sequence[int] | Tensor


def saliency(
    model: nn.Module,
    x: Tensor,
    method: str = "integrated gradients",
    of: str = "alpha",
    target: Codes | None = None,
    other: Codes | None = None,
    noise_samples: int = 0,
    noise: float = 0.3,
    steps: int = 32,
    window: int | None = None,
    layer: str | nn.Module | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """A map for each face: how much each pixel speaks for a score.

    - ``'saliency'``: ``|d score / d x|``, summed over channels (Simonyan et al. 2014). Without sign.
    - ``'integrated gradients'``: ``x * mean of d score / d x`` on the way from the grey image to x, summed over
      channels (Sundararajan et al. 2017). The sum over all pixels is ``score(x) - score(grey)``.
    - ``'grad-cam'``: the channels of a convolution, each weighted by its mean gradient, summed and made as large as
      the face by bilinear interpolation (Selvaraju et al. 2017). **No ReLU**: what speaks against the score stays
      visible, below 0.
    - ``'occlusion'``: ``score(x) - score(x with a grey square)``, the mean over all squares that cover the pixel
      (Zeiler and Fergus 2014).

    The model is asked in evaluation mode on its own device; its modes, gradients and alpha are afterwards as before.

    Args:
        model: any network; with an importance head where alpha is asked for.
        x: float ``[B, C, H, W]``, prepared as for the network.
        method: one of `METHODS`.
        of: ``'alpha'``, ``'class'`` (the logit of ``target``) or ``'difference'`` (that of ``target`` less that of
            ``other``).
        target: a class as code, one for all or ``[B]``; None: the predicted class.
        other: the same for the class to subtract; None: the predicted class.
        noise_samples: mean over so many noisy copies (Captum's NoiseTunnel; Smilkov et al. 2017); 0: no noise.
        noise: standard deviation of the noise; 1 is that of the training pixels.
        steps: for integrated gradients.
        window: side of the grey square of occlusion, which moves by a third of it; None: 3/16 of the face.
        layer: for Grad-CAM, a module or its name; None: the last convolution.
        seed: for the noise.
        progress: called as ``progress(done, total)`` after each pass through the network.

    Returns:
        float32 ``[B, H, W]`` on the CPU.

    Raises:
        SettingsError: the method does not suit the network, or a setting is out of range.
        DataError: x is no batch of prepared faces, or a class is none of the network's.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> saliency(model, torch.ones(1, 1, 2, 2), "integrated gradients", "class", target=1).shape
    torch.Size([1, 2, 2])
    """
    _check(method, of, steps, noise_samples, noise)
    with unchanged(model) as head, _seeded(seed):
        x = _plain_input(model, x)
        target, other = _targets(model, x, head, of, target, other)
        window = window or max(1, round(min(x.shape[2:]) * 3 / 16))
        passes = {"integrated gradients": steps, "occlusion": _squares(x, window) + 1}.get(method, 1)
        score = _Score(model, head, of, len(x) * passes * max(1, noise_samples), progress)
        how, arguments = _method(method, score, model, layer, steps, window, x)
        if noise_samples:
            how = NoiseTunnel(how)
            arguments |= {"nt_samples": noise_samples, "nt_samples_batch_size": 1, "stdevs": float(noise)}
        maps = []
        for part in (slice(i, i + FACES_AT_ONCE) for i in range(0, len(x), FACES_AT_ONCE)):
            pixels = x[part].clone().requires_grad_()
            found = _ask(how, pixels, arguments | {"additional_forward_args": (target[part], other[part])})
            maps.append(_as_map(found.detach(), method, x.shape[2:]).float().cpu())
        score.finish()
    return torch.cat(maps) if maps else torch.zeros(0, *x.shape[2:])


def completeness_error(
    model: nn.Module,
    x: Tensor,
    maps: Tensor,
    of: str = "alpha",
    target: Codes | None = None,
    other: Codes | None = None,
) -> Tensor:
    """How far maps of integrated gradients are from adding up, as a share of what they should add up to, ``[B]``.

    ``|sum of the map - (score(x) - score(grey))| / |score(x) - score(grey)|``. More steps make it smaller. It says
    nothing where a face's score is that of the grey image: there the share of nothing is taken.

    Args:
        model: as for `saliency`; so are x, of, target and other.
        x: float ``[B, C, H, W]``.
        maps: what `saliency` gave, ``[B, H, W]``.
        of: the score.
        target: class codes, or None.
        other: class codes, or None.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> x = torch.ones(3, 1, 2, 2)
    >>> maps = saliency(model, x, "integrated gradients", "class", target=1)
    >>> bool((completeness_error(model, x, maps, "class", target=1) < 0.01).all())
    True
    """
    with unchanged(model) as head, torch.no_grad():
        x = _plain_input(model, x)
        target, other = _targets(model, x, head, of, target, other)
        score = _Score(model, head, of)
        due = (score(x, target, other) - score(torch.zeros_like(x), target, other)).cpu()
    return (maps.flatten(1).sum(1) - due).abs() / due.abs().clamp_min(1e-12)


def randomisation_check(
    model: nn.Module,
    x: Tensor,
    method: str = "integrated gradients",
    of: str = "alpha",
    target: Codes | None = None,
    other: Codes | None = None,
    layers: int | None = None,
    signed: bool = False,
    seed: int = 0,
    **options,
) -> Tensor:
    """How alike the maps of a network and of one with random weights are: Spearman's correlation, ``[B]``.

    After Adebayo et al. (2018), "Sanity checks for saliency maps". Near 0: the maps show what was learned. Near 1: they
    would look like this whatever was learned (edges, the middle of the face), and say nothing about the network.

    Args:
        model: as for `saliency`; so are x, method, of, target and other. It is copied, never changed.
        x: float ``[B, C, H, W]``.
        method: one of `METHODS`.
        of: the score.
        target: class codes; None: what the *trained* network predicts, for both.
        other: likewise.
        layers: give random weights to so many layers, the last first; None: to all.
        signed: compare signed maps; else only where they look.
        seed: of the random weights, and of noise.
        options: what else `saliency` takes.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    >>> randomisation_check(model, torch.ones(3, 1, 4, 4), "saliency", "class", layers=0).round(decimals=4).tolist()
    [1.0, 1.0, 1.0]
    """
    with unchanged(model) as head, torch.no_grad():
        target, other = _targets(model, _plain_input(model, x), head, of, target, other)
    found = [
        saliency(network, x, method, of, target, other, seed=seed, **options)
        for network in (model, randomised(model, layers, seed))
    ]
    return torch.from_numpy(rank_correlation(*(maps.numpy() for maps in found), signed=signed))


def randomised(model: nn.Module, layers: int | None = None, seed: int = 0) -> nn.Module:
    """A copy of a network whose last ``layers`` layers (None: all of them) have fresh random weights."""
    with _seeded(seed):
        copy = deepcopy(model)
        known = [m for m in copy.modules() if isinstance(m, ImportanceHead) or hasattr(m, "reset_parameters")]
        for module in known[len(known) - min(len(known), len(known) if layers is None else layers) :]:
            _reset(module)
    return copy


def scores(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Logits ``[B, C]`` and alpha ``[B]`` (None without an importance head) of prepared faces, on the CPU."""
    with unchanged(model) as head, torch.no_grad():
        found = [(model(part), head and head.alpha) for part in _plain_input(model, x).split(PASSES_AT_ONCE)]
    logits = torch.cat([logits.float().cpu() for logits, _ in found])
    return logits, None if head is None else torch.cat([alpha.cpu() for _, alpha in found])


# -- the network, left as it was --------------------------------------------------------------------------------------


@contextmanager
def unchanged(model: nn.Module) -> Iterator[ImportanceHead | None]:
    """Evaluation mode, alpha kept, no gradients for the weights; afterwards everything is as before."""
    head, modes = find_head(model), [(module, module.training) for module in model.modules()]
    learning = [p for p in model.parameters() if p.requires_grad]
    before = None if head is None else (head.keep_alpha, head.alpha, head.logits)
    try:
        model.eval()
        for parameter in learning:
            parameter.requires_grad_(False)
        if head is not None:
            head.keep_alpha = True
        with torch.inference_mode(False), torch.enable_grad():
            yield head
    finally:
        for parameter in learning:
            parameter.requires_grad_()
        for module, mode in modes:
            module.training = mode
        if head is not None:
            head.keep_alpha, head.alpha, head.logits = before


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """A seed of our own; the random numbers of the rest of the program go on as if nothing had been drawn."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def _reset(module: nn.Module) -> None:
    if not isinstance(module, ImportanceHead):
        module.reset_parameters()
        return
    span = 1 / math.sqrt(module.weight.shape[1])  # as torch draws a Linear layer
    for parameter in (module.weight, module.bias, module.attention_weight, module.attention_bias):
        if parameter is not None:
            nn.init.uniform_(parameter, -span, span)


# -- what is asked ----------------------------------------------------------------------------------------------------


class _Score:
    """The score of each face as a function of its pixels, for Captum; counts the passes through the network."""

    def __init__(self, model, head, of: str, total: int = 0, progress: Progress | None = None):
        self.model, self.head, self.of = model, head, of
        self.total, self.done, self.progress = total, 0, progress

    def __call__(self, x: Tensor, target: Tensor, other: Tensor) -> Tensor:
        """Scores ``[B]``."""
        logits = self.model(x)
        self.done = min(self.done + len(x), self.total)
        if self.progress is not None:
            self.progress(self.done, self.total)
        if self.of == "alpha":
            return self.head.alpha
        chosen = logits.gather(1, target[:, None])[:, 0]
        return chosen if self.of == "class" else chosen - logits.gather(1, other[:, None])[:, 0]

    def finish(self) -> None:
        """Say that all is done, where less was needed than expected."""
        if self.progress is not None and self.done < self.total:
            self.progress(self.total, self.total)


def _plain_input(model: nn.Module, x: Tensor) -> Tensor:
    """Faces on the model's device, in its precision, as a plain Tensor: Captum stumbles over fastai's subclasses."""
    if not isinstance(x, Tensor) or x.ndim != 4 or not x.is_floating_point():
        got = f"{x.dtype} {list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__
        raise DataError(f"Maps need prepared faces, float [B, C, H, W], got {got}: `prepare` makes them of uint8.")
    weights = next((p for p in model.parameters() if p.is_floating_point()), x)
    return x.detach().as_subclass(Tensor).to(weights.device, weights.dtype).clone()


def _targets(model, x: Tensor, head, of: str, target, other) -> tuple[Tensor, Tensor]:
    """Class codes ``[B]`` of what is asked about and of what is subtracted."""
    if of == "alpha" and head is None:
        raise SettingsError(
            "This network has no importance head and so no alpha: ask for a class, or add SCNCallback() to the Learner."
        )
    if of == "difference" and target is None:
        raise SettingsError("A difference is between two classes: give target, such as the given labels.")
    if of == "alpha" or not len(x):
        nothing = torch.zeros(len(x), dtype=torch.long, device=x.device)
        return nothing, nothing
    with torch.no_grad():
        logits = torch.cat([model(part) for part in x.split(PASSES_AT_ONCE)])
    predicted = logits.argmax(1)
    return tuple(predicted if codes is None else _codes(codes, len(x), logits) for codes in (target, other))


def _codes(codes: Codes, count: int, logits: Tensor) -> Tensor:
    codes = torch.as_tensor(codes).as_subclass(Tensor).to(logits.device)
    if codes.is_floating_point() or codes.ndim > 1 or codes.ndim == 1 and len(codes) != count:
        raise DataError(f"Classes are one code, or a code for each of the {count} faces, got {list(codes.shape)}.")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < logits.shape[1]:
        raise DataError(f"A class is outside the network's {logits.shape[1]}: codes are 0 to {logits.shape[1] - 1}.")
    return codes.long().expand(count).clone()


def _check(method: str, of: str, steps: int, noise_samples: int, noise: float) -> None:
    for name, value, known in (("method", method, METHODS), ("of", of, SCORES)):
        if value not in known:
            raise SettingsError(f"{name} is {value!r}, and there are: {', '.join(known)}.")
    if steps < 1 or noise_samples < 0 or noise < 0:
        raise SettingsError(
            f"steps is {steps}, noise_samples {noise_samples}, noise {noise:g}: at least 1, and 0, and 0."
        )


# -- how it is asked --------------------------------------------------------------------------------------------------


def _method(method: str, score: _Score, model, layer, steps: int, window: int, x: Tensor) -> tuple:
    """Captum's object for a method, and the arguments of its ``attribute``."""
    if method == "saliency":
        return Saliency(score), {}
    if method == "integrated gradients":
        return IntegratedGradients(score), {"n_steps": steps, "internal_batch_size": PASSES_AT_ONCE}
    if method == "grad-cam":
        return LayerGradCam(score, _layer(model, layer)), {}
    if not 1 <= window <= min(x.shape[2:]):
        raise SettingsError(f"window is {window}, and the faces have {x.shape[2]} x {x.shape[3]} pixels: less, please.")
    channels, stride = x.shape[1], _stride(window)
    at_once = max(1, PASSES_AT_ONCE // max(1, min(len(x), FACES_AT_ONCE)))
    return Occlusion(score), {"sliding_window_shapes": (channels, window, window),
                              "strides": (channels, stride, stride), "perturbations_per_eval": at_once}  # fmt: skip


def _stride(window: int) -> int:
    return max(1, window // 3)


def _squares(x: Tensor, window: int) -> int:
    """Number of grey squares that occlusion lays on a face."""
    return math.prod(math.ceil(max(0, side - window) / _stride(window)) + 1 for side in x.shape[2:])


def _layer(model: nn.Module, layer: str | nn.Module | None) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    if layer is not None:
        named = dict(model.named_modules())
        if layer not in named:
            raise SettingsError(f"There is no layer {layer!r} in this network: see `model.named_modules()`.")
        return named[layer]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise SettingsError(
            f"Grad-CAM looks at a convolution, and {type(model).__name__} has none: choose another method, such as "
            "integrated gradients."
        )
    return convolutions[-1]


def _ask(how, pixels: Tensor, arguments: dict) -> Tensor:
    try:
        found = how.attribute(pixels, **arguments)
    except (AssertionError, RuntimeError) as error:
        if not any(words in str(error) for words in NOT_USED):
            raise
        raise SettingsError("The layer for Grad-CAM is not used on the way to this score: name another.") from error
    if found.ndim != 4:
        raise SettingsError(
            "Grad-CAM needs a layer whose output has height and width, such as a convolution: name one."
        )
    return found


def _as_map(found: Tensor, method: str, size: Sequence[int]) -> Tensor:
    """One channel ``[B, H, W]``; all channels of a square are covered together, so for occlusion it is their mean."""
    if method == "grad-cam":
        return interpolate(found, tuple(size), mode="bilinear", align_corners=False)[:, 0]
    return found.mean(1) if method == "occlusion" else found.sum(1)
