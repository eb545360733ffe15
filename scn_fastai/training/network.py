"""Networks by name, and what makes them train fast on the machine at hand."""

import ctypes
import platform

import torch
from fastai.learner import Callback
from torch import Tensor, nn
from torchvision import models

from scn_fastai.errors import SettingsError
from scn_fastai.training.head import attach_head
from scn_fastai.training.ir50 import IR50
from scn_fastai.training.regions import RegionAttention, gate_patches

# Networks that take one size only; the others take any that is not too small.
FIXED_SIZES = {"ir50": 112, "ir50:224": 224, "maxvit_t": 224}


def build_network(arch: str, n_classes: int) -> nn.Module:
    """A network from scratch by name, in channels-last memory format.

    ``'small'`` is a convolutional network of 0.3 million parameters for small faces; any classifier of
    torchvision goes by its name there (``'resnet18'``), one of timm as ``'timm:NAME'``; ``'ir50'`` is the face
    recognition network of face.evoLVe for 112 px, ``'ir50:224'`` for 224 px. ``'ran:NAME'`` puts `RegionAttention`
    around one of them, ``'gacnn:NAME'`` puts `GatedPatches` in.

    Raises:
        SettingsError: there is no such architecture.
    """
    if arch == "small":
        model = small_network(n_classes)
    elif arch.startswith("ran:"):
        model = RegionAttention(build_network(arch.removeprefix("ran:"), n_classes), n_classes)
    elif arch.startswith("gacnn:"):
        model = gate_patches(build_network(arch.removeprefix("gacnn:"), n_classes), n_classes)
    elif arch in ("ir50", "ir50:224"):
        model = IR50(n_classes, FIXED_SIZES[arch])
    elif arch.startswith("timm:"):
        model = _timm(arch.removeprefix("timm:"), n_classes)
    elif arch in models.list_models(module=models):
        model = models.get_model(arch, weights=None, num_classes=n_classes, **_plain_options(arch))
    else:
        raise SettingsError(
            f"There is no architecture {arch!r}: use 'small', 'ir50', the name of a torchvision classifier such as "
            "'resnet18', or 'timm:NAME'."
        )
    return model.to(memory_format=torch.channels_last)


def _plain_options(arch: str) -> dict:
    """What makes a torchvision network an ordinary one: these two have further classifiers in the middle."""
    return {"aux_logits": False, "init_weights": True} if arch in ("googlenet", "inception_v3") else {}


def fixed_size(arch: str) -> int | None:
    """Width of the faces that a network is made for, in pixels; None: it takes faces as they are.

    >>> fixed_size("ir50"), fixed_size("ran:vit_b_16"), fixed_size("resnet18")
    (112, 224, None)
    """
    arch = arch.removeprefix("ran:").removeprefix("gacnn:")  # they give their network what they are given
    return 224 if arch.startswith("vit_") else FIXED_SIZES.get(arch)


def small_network(n_classes: int, width: int = 32) -> nn.Sequential:
    """Four strided convolutions with batch norm, average pooling to 2 x 2, dropout, and a Linear layer.

    Pooled to one cell the network would not know brows from mouth, and learns expressions slowly.

    >>> small_network(8)(torch.zeros(2, 3, 48, 48)).shape
    torch.Size([2, 8])
    """
    layers, channels = [], 3
    for out in (width, 2 * width, 4 * width, 6 * width):
        layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out)]
        layers += [nn.ReLU(inplace=True)]
        channels = out
    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * channels, n_classes)]
    return nn.Sequential(*layers, *head)


def _timm(name: str, n_classes: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise SettingsError("Architectures of timm need the extra: pip install 'scn_fastai[timm]'.") from None
    if not timm.is_model(name):
        raise SettingsError(f"timm has no model {name!r}: see timm.list_models().")
    return timm.create_model(name, pretrained=False, num_classes=n_classes)


def network_of(run, before: bool = False) -> nn.Module:
    """The trained network of a Run, with its importance head, in eval mode on the CPU.

    Raises:
        SettingsError: the run does not say its architecture (it was made by a Learner of your own).
    """
    if "arch" not in run.settings:
        raise SettingsError(
            f"{run.folder.name} does not name its architecture: build the network yourself, attach a head with "
            "attach_head(model), and load run.weights()."
        )
    weights = run.weights(before)
    options = {"bias": any(k.endswith("attention_bias") for k in weights)}
    options["margin"] = 0.0 if any(k.endswith("margin") for k in weights) else None
    model, _ = attach_head(build_network(run.settings["arch"], len(run.classes)), **options)
    model.load_state_dict(weights, strict=False)
    return model.eval()


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without it bfloat16 is slower than float32.

    >>> cpu_has_bfloat16() in (True, False)
    True
    """
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def keep_freed_memory() -> None:
    """Let the C allocator of Linux keep freed memory instead of handing it back after every batch.

    Training on the CPU frees and takes the same large blocks again and again, and each time the system has
    to zero the pages. Does nothing elsewhere.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: blocks up to 1 GiB come from the heap
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: and stay there


class CPUAutocast(Callback):
    """Mixed precision in bfloat16 on the CPU: fastai's own ``to_bf16`` names CUDA and does nothing here."""

    order = 10  # where fastai's MixedPrecision stands

    def before_batch(self) -> None:
        """Enter autocast."""
        self._autocast = torch.autocast("cpu", torch.bfloat16)
        self._autocast.__enter__()

    def after_pred(self) -> None:
        """The loss is computed in float32."""
        self.learn.pred = _float(self.learn.pred)

    def after_loss(self) -> None:
        """Leave autocast before the backward pass."""
        self._leave()

    def after_cancel_batch(self) -> None:
        """Leave it too when the batch was cancelled."""
        self._leave()

    def before_fit(self) -> None:
        """An interrupt in the middle of a batch left it on."""
        self._leave()

    def _leave(self) -> None:
        autocast = vars(self).pop("_autocast", None)
        if autocast is not None:
            autocast.__exit__(None, None, None)

    def __getstate__(self) -> dict:
        return {k: v for k, v in vars(self).items() if k != "_autocast"}


def _float(pred: Tensor) -> Tensor:
    return pred.float() if isinstance(pred, Tensor) and pred.is_floating_point() else pred
