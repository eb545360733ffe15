"""Pretrained weights into a network: names mapped, every tensor accounted for, refused where too few match."""

import json
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from scn_fastai.data.convention import InputConvention
from scn_fastai.errors import DataError, RunError
from scn_fastai.files import replace_file, write_whole
from scn_fastai.training.checkpoint_file import read_tensors, sha256
from scn_fastai.training.checkpoints import OURS, card_of, kind_by_name, read_card, recognise
from scn_fastai.training.head import ImportanceHead

ENOUGH = 0.9  # share of the backbone's tensors that must match
WRAPPERS = ("module", "backbone", "model", "net", "network", "base", "_orig_mod")
# A ResNet's children in order, as nn.Sequential(*resnet.children()) numbers them; relu and maxpool hold nothing.
SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
CLASSIFIERS = ("fc", "feature", "classifier", "head", "heads", "last_linear", "logits", "alpha",
               "aux1", "aux2", "AuxLogits")  # fmt: skip
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")  # torchvision's files are older than its code
_COUNTER = "num_batches_tracked"  # older checkpoints have none, and a training without it is the same


@dataclass(frozen=True)
class Loaded:
    """What became of each tensor of a checkpoint, and how the network wants its inputs from now on."""

    file: str
    kind: str
    about: str
    convention: InputConvention
    total: int  # tensors of the network's backbone
    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)  # there, but of another shape or type
    unexpected: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # classifier layers, by name
    sha256: str = ""

    def __str__(self) -> str:
        lines = [f"{self.file} ({self.kind}): {len(self.matched)} of the backbone's {self.total} tensors match"]
        parts = {"ignored, classifier layers": self.ignored, "missing": self.missing}
        parts |= {"of another shape": self.reshaped, "unexpected": self.unexpected}
        lines += [f"  {what}: {_few(names)}" for what, names in parts.items() if names]
        return "\n".join([*lines, f"  trained with inputs of {self.convention}"])

    def as_dict(self) -> dict:
        """Plain values for a run's settings."""
        values = {name: getattr(self, name) for name in ("file", "kind", "total", "sha256")}
        lists = ("matched", "missing", "reshaped", "unexpected", "ignored")
        return values | {name: len(getattr(self, name)) for name in lists} | {"input": self.convention.as_dict()}


def load_backbone(
    model: nn.Module, path: str | Path, kind: str | None = None, tell: Callable[[str], None] | None = print
) -> Loaded:
    """Copy a checkpoint's weights into a network, all but its classifier, and say what matched and what did not.

    Names are compared without ``module.``, ``backbone.`` and the like, and a ResNet that was taken apart into an
    ``nn.Sequential`` (``features.4.0.conv1``) is known again, on both sides. Nothing is copied unless all is well.

    Args:
        model: a network whose last Linear layer is the classifier (it stays as it is), or a bare backbone, such as
            the ``learn.model[0]`` of a fastai `vision_learner`.
        path: the checkpoint: torch's (opened with ``weights_only=True``), safetensors, or one of `save_backbone`.
        kind: how its inputs were made, by name (see `KINDS`); None: recognised by its file and tensors.
        tell: given the report of a few lines; None says nothing.

    Returns:
        The report; its ``convention`` goes to ``face_loaders(faces, convention=...)``.

    Raises:
        DataError: it cannot be read, or under 90 % of the backbone's tensors are in it with their shapes, or the
            network has no place for a tenth of its tensors.
        SettingsError: nothing says how its inputs were made.
    """
    path = Path(path).expanduser()
    theirs = read_tensors(path)
    theirs = {bare: theirs[name] for name, bare in bare_names(theirs).items()}
    ours = model.state_dict(keep_vars=True)
    place, ignored = _backbone_names(model, ours), []
    chosen: dict[str, Tensor] = {}
    found: dict[str, list[str]] = {"matched": [], "reshaped": [], "unexpected": []}
    for name, tensor in theirs.items():
        if name not in place:
            group = ignored if _is_classifier(model, name) else found["unexpected"]
        elif _fits(tensor, ours[place[name]]):
            group, chosen[name] = found["matched"], tensor
        else:
            group = found["reshaped"]
        group.append(name)
    counted = {what: [name for name in names if not name.endswith(_COUNTER)] for what, names in found.items()}
    needed = [name for name in place if not name.endswith(_COUNTER)]
    missing = [name for name in needed if name not in theirs]
    _check_matches(path, counted, missing, len(needed), theirs)
    _check_numbers(path, chosen)
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.items()}
    known = recognise(path, shapes) if kind is None else kind_by_name(kind)
    with torch.no_grad():
        for name, tensor in chosen.items():
            ours[place[name]].copy_(tensor)
    report = Loaded(path.name, known.name, known.about, known.convention, len(needed), missing=missing,
                    ignored=ignored, sha256=sha256(path), **counted)  # fmt: skip
    if tell is not None:
        tell(str(report))
    return report


def bare_names(names: Iterable[str]) -> dict[str, str]:
    """Each name as the bare network has it: without wrappers, and with a ResNet's own words for its numbered layers.

    >>> bare_names(["module.conv1.weight", "module.fc.bias"])
    {'module.conv1.weight': 'conv1.weight', 'module.fc.bias': 'fc.bias'}
    >>> list(bare_names(["features.0.weight", "features.4.0.conv1.weight"]).values())
    ['conv1.weight', 'layer1.0.conv1.weight']
    """
    bare = {name: _unwrapped(name) for name in names}
    bare = bare if len(set(bare.values())) == len(bare) else {name: name for name in bare}
    for mark in [name for name in bare.values() if name.endswith("4.0.conv1.weight")]:
        before = mark.removesuffix("4.0.conv1.weight")
        if (before == "" or before.endswith(".")) and f"{before}0.weight" in bare.values():
            bare = {name: _named(short, before) for name, short in bare.items()}
    return bare


def _unwrapped(name: str) -> str:
    first, _, rest = name.partition(".")
    return _unwrapped(rest) if first in WRAPPERS and rest else _OLD_DENSENET.sub(r"\1\2.", name)


def _named(name: str, before: str) -> str:
    number, _, rest = name.removeprefix(before).partition(".")
    return f"{SEQUENTIAL[number]}.{rest}" if name.startswith(before) and number in SEQUENTIAL else name


def _classifier(model: nn.Module) -> str | None:
    """Name of the last Linear layer (or the importance head in its place); None for a bare backbone."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | ImportanceHead)]
    return linears[-1] if linears else None


def _backbone_names(model: nn.Module, state: dict) -> dict[str, str]:
    """Bare name to the name in the model, of every tensor that is not the classifier's."""
    classifier = _classifier(model)
    bare = bare_names(name for name, value in state.items() if isinstance(value, Tensor))
    return {short: name for name, short in bare.items() if classifier is None or not _within(name, classifier)}


def _within(name: str, module: str) -> bool:
    return module == "" or name.startswith(module + ".")


def _is_classifier(model: nn.Module, name: str) -> bool:
    own = _classifier(model)
    return name.partition(".")[0] in CLASSIFIERS or (own is not None and _within(name, _unwrapped(own)))


def _fits(tensor: Tensor, place: Tensor) -> bool:
    return tensor.shape == place.shape and tensor.is_floating_point() == place.is_floating_point()


def _check_matches(path: Path, found: dict, missing: list[str], total: int, theirs: dict[str, Tensor]) -> None:
    matched, reshaped, unexpected = (found[name] for name in ("matched", "reshaped", "unexpected"))
    looks = _looks_like(theirs)
    hint = f"it looks like {looks}: choose that architecture" if looks else "choose the architecture that it is of"
    if len(matched) < ENOUGH * total:
        lacks = [f"{len(missing)} are missing ({_few(missing, 2)})"] if missing else []
        lacks += [f"{len(reshaped)} are of another shape or type ({_few(reshaped, 2)})"] if reshaped else []
        raise DataError(
            f"{path.name} does not fit this network: {len(matched)} of the backbone's {total} tensors match, "
            f"{' and '.join(lacks)}; nothing was loaded, {hint}."
        )
    others = len(reshaped) + len(unexpected)
    if len(matched) < ENOUGH * (len(matched) + others):
        raise DataError(
            f"{path.name} does not fit this network, which has no place for {others} of its tensors "
            f"({_few(unexpected + reshaped, 2)}); nothing was loaded, {hint}."
        )


def _check_numbers(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(f"{path.name} has a NaN or an infinite number in {name}; nothing was loaded, use another.")


def _looks_like(theirs: dict[str, Tensor]) -> str | None:
    """The architecture by a checkpoint's names, where that is easy to say."""
    if "input_layer.0.weight" in theirs and "body.23.res_layer.3.weight" in theirs:
        embedding = theirs.get("output_layer.3.weight")
        return "ir50:224" if embedding is not None and embedding.shape[-1] == 512 * 14 * 14 else "ir50"
    names = [name.split(".") for name in theirs if name.startswith("layer")]
    blocks = [len({part[1] for part in names if part[0] == f"layer{stage}"}) for stage in (1, 2, 3, 4)]
    deep = "layer1.0.conv3.weight" in theirs
    known = {(2, 2, 2, 2, False): "resnet18", (3, 4, 6, 3, False): "resnet34", (3, 4, 6, 3, True): "resnet50"}
    known |= {(3, 4, 23, 3, True): "resnet101", (3, 8, 36, 3, True): "resnet152"}
    return known.get((*blocks, deep))


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def save_backbone(model: nn.Module, path: str | Path, arch: str, convention: InputConvention, trained_on: str,
                  command: str = "", figures: dict | None = None, how: str = "") -> Path:  # fmt: skip
    """Write a network without its classifier, and its card beside it; gives the file, which `load_backbone` reads.

    The card (JSON) says what it was trained on, how it wants its inputs, by which command it was made, and its figures.

    Args:
        model: a network whose last Linear layer is the classifier.
        path: a name that ends in .safetensors.
        arch: the name that `build_network` knows it by.
        convention: how its inputs were made.
        trained_on: what it was trained on, in words.
        command: the command that makes it.
        figures: what was measured.
        how: how it learned: classification or metric.

    Raises:
        DataError: another ending.
        RunError: it cannot be written.
    """
    path = Path(path).expanduser()
    if path.suffix != ".safetensors":
        raise DataError(f"A backbone is saved as .safetensors, not {path.name!r}: give it that ending.")
    state = model.state_dict()
    names = _backbone_names(model, state)
    plain = {short: state[name].detach().cpu().clone(memory_format=torch.contiguous_format)
             for short, name in names.items()}  # fmt: skip
    card = {"format": 1, "kind": OURS, "arch": arch, "input": convention.as_dict(), "trained_on": trained_on}
    card |= {"how": how} if how else {}
    card |= {"command": command, "figures": figures or {}, "tensors": len(plain)}
    versions = {name: version(name) for name in ("torch", "torchvision", "scn_fastai")}
    card["versions"] = versions | {"python": platform.python_version()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda to: safetensors.torch.save_file(plain, to))
        card["sha256"] = sha256(path)
        text = json.dumps(card, indent=1) + "\n"
        write_whole(card_of(path), text)
    except (OSError, safetensors.SafetensorError) as error:
        raise RunError(
            f"The backbone could not be saved to {path} ({str(error).splitlines()[0]}): make room."
        ) from error
    return path


def backbone_card(path: str | Path) -> dict:
    """The card of a backbone that `save_backbone` wrote.

    Raises:
        DataError: it has none, or the card or the weights are damaged.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"There is no backbone {path}: check the path.")
    card = read_card(path)
    if card is None:
        raise DataError(f"{path} has no card {card_of(path).name} beside it: it was not saved by this toolkit.")
    return card
