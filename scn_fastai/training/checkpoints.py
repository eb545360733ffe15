"""The checkpoints that are known: whose they are, how one recognises them, and how they want their inputs."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scn_fastai.data.convention import InputConvention
from scn_fastai.errors import DataError, SettingsError
from scn_fastai.training.checkpoint_file import sha256

Shapes = Mapping[str, tuple[int, ...]]  # of the tensors, by their names in the bare network

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
OURS = "scn_fastai"
_HASHED = re.compile(r"[\w.]+-([0-9a-f]{8})\.pth")  # torchvision's file names end in the start of their sha256


@dataclass(frozen=True)
class Kind:
    """A checkpoint by name. ``recognise(file name, shapes)`` says whether a file is one; None: it must be told."""

    name: str
    about: str
    convention: InputConvention
    recognise: Callable[[str, Shapes], bool] | None = None


def _ijba(_: str, shapes: Shapes) -> bool:
    return shapes.get("feature.weight") == (256, 512) and "layer4.1.conv2.weight" in shapes


def _msceleb(file: str, shapes: Shapes) -> bool:
    return "msceleb" in file.lower() and "layer4.1.conv2.weight" in shapes


def _ir50(_: str, shapes: Shapes) -> bool:
    needed = ("input_layer.0.weight", "body.23.res_layer.3.weight", "output_layer.3.weight")
    return all(name in shapes for name in needed) and "body.24.res_layer.3.weight" not in shapes


def _torchvision(file: str, _: Shapes) -> bool:
    # GoogLeNet and Inception came from TensorFlow and want -1 to 1: their kind must be told.
    return _HASHED.fullmatch(file) is not None and not file.startswith(("googlenet", "inception"))


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "ijba",
            "ijba_res18_naive.pth.tar of DREAM and RAN, ResNet-18 trained on MS-Celeb-1M: what SCN's README names",
            InputConvention(224, framing="aligned faces of 178 x 218 px, 110 px cut out, 15 px below the middle"),
            _ijba,
        ),
        Kind(
            "msceleb",
            "resnet18_msceleb.pth, ResNet-18 trained on MS-Celeb-1M, as DAN and others use it",
            InputConvention(224, **IMAGENET, framing="aligned faces"),
            _msceleb,
        ),
        Kind(
            "ir50",
            "IR50 of face.evoLVe, trained on MS-Celeb-1M",
            InputConvention(112, (0.5,) * 3, (0.5,) * 3, framing="faces aligned to five points, 112 px"),
            _ir50,
        ),
        Kind(
            "torchvision",
            "torchvision's own ImageNet weights, under the name that they are fetched by",
            InputConvention(224, **IMAGENET, framing="photographs of things; their test crop would cut faces off"),
            _torchvision,
        ),
        Kind("zero-one", "any: pixels in 0 to 1, no mean or std", InputConvention()),
        Kind("minus-one-one", "any: pixels in -1 to 1", InputConvention(None, (0.5,) * 3, (0.5,) * 3)),
        Kind("imagenet", "any: mean and std of ImageNet", InputConvention(None, **IMAGENET)),
    )
}


def kind_by_name(text: str) -> Kind:
    """The kind of that name; ``name:size=64:channels=BGR`` is one with some of its convention changed.

    Raises:
        SettingsError: there is no such kind, or a value is out of range.

    >>> kind_by_name("ir50:size=224").convention.size
    224
    """
    name, *changes = text.split(":")
    if name not in KINDS:
        raise SettingsError(f"There is no kind of checkpoint {name!r}; there are: {', '.join(KINDS)}.")
    kind, values = KINDS[name], {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise SettingsError(f"{change!r} changes nothing: write kind:name=value, such as zero-one:size=112.")
        try:
            values[key] = json.loads(value)
        except json.JSONDecodeError:
            values[key] = value
    try:
        return Kind(text, kind.about, kind.convention.change(**values), kind.recognise)
    except (TypeError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(
            f"{text!r} is no input convention: mean and std are numbers, or three in brackets."
        ) from None


def recognise(path: Path, shapes: Shapes) -> Kind:
    """What kind of checkpoint a file is, by its name, its card or its tensors.

    Raises:
        SettingsError: it is none that is known, so that it must be told.
        DataError: it is not the file that its name or its card says.
    """
    card = read_card(path)
    if card is not None:
        return Kind(OURS, card["trained_on"], InputConvention(**card["input"]))
    for kind in KINDS.values():
        if kind.recognise is not None and kind.recognise(path.name, shapes):
            _check_hash(path, kind)
            return kind
    raise SettingsError(
        f"{path.name} is no checkpoint that is known, so nothing says how its inputs were made: name a kind "
        f"({', '.join(KINDS)}); on the command line --pretrained-kind."
    )


def _check_hash(path: Path, kind: Kind) -> None:
    """A file that torchvision named carries the start of its own checksum."""
    match = _HASHED.fullmatch(path.name) if kind.name == "torchvision" else None
    if match and not sha256(path).startswith(match.group(1)):
        raise DataError(f"{path} is damaged or was changed, its checksum is not the one in its name: fetch it again.")


# ---- cards of our own backbones ----


def card_of(path: Path) -> Path:
    """Where the card of a backbone lies: beside it."""
    return path.with_suffix(".json")


def read_card(path: Path) -> dict | None:
    """The card beside a backbone that `save_backbone` wrote, or None where there is none.

    Raises:
        DataError: the card is damaged, or the weights are not those that it describes.
    """
    file = card_of(path)
    if path.suffix != ".safetensors" or not file.is_file():
        return None
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        if card["kind"] != OURS:
            return None
        InputConvention(**card["input"])
        told, _ = card["sha256"], card["trained_on"]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(f"{file} is damaged, it is no card of a backbone: use another copy.") from error
    if told != sha256(path):
        raise DataError(
            f"{path} is not the backbone that {file.name} describes, or is damaged: use another copy of both."
        )
    return card
