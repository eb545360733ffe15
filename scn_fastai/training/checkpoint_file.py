"""Named tensors out of a checkpoint file that somebody else wrote; nothing in it is ever run."""

import hashlib
import zipfile
from pathlib import Path
from pickle import UnpicklingError

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from scn_fastai.errors import DataError

# Where checkpoints keep their weights, in the order in which they are looked for.
WEIGHTS = ("state_dict", "model_state_dict", "model", "net", "network", "backbone", "weights", "params")
# What torch says of a pickle with more than tensors in it.
_CODE = ("unsupported global", "unsupported class", "unrecognized function", "can only build", "can only create")
_MORE = (
    "holds more than tensors, which could run code, so it was not opened: where you trust it, load it there and save "
    "its network's state_dict() alone."
)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint: of torch (old and new form) or safetensors, on the CPU.

    Only tensors and plain values are read (``weights_only=True``): a pickle that would run code is refused.

    Raises:
        DataError: there is no such file, it is no checkpoint, is damaged, or holds no network.
    """
    path = Path(path).expanduser()
    _check_place(path)
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except (safetensors.SafetensorError, OSError, ValueError) as error:
            raise DataError(f"{path} is no whole safetensors file ({_line(error)}): fetch it again.") from error
    _check_kind(path)
    return _named_tensors(_load(path), path)


def sha256(path: str | Path) -> str:
    """The checksum of a file, as 64 hexadecimal digits."""
    with Path(path).expanduser().open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_place(path: Path) -> None:
    if path.is_dir():
        inside = [name for name in ("backbone.safetensors", "data.pkl") if (path / name).exists()]
        hint = {
            "backbone.safetensors": "name the backbone.safetensors in it",
            "data.pkl": "it is an unpacked checkpoint: name the file that it was unpacked from",
            None: "name the checkpoint file",
        }[inside[0] if inside else None]
        raise DataError(f"{path} is a folder, not a checkpoint: {hint}.")
    if not path.is_file():
        raise DataError(f"There is no checkpoint {path}: check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: fetch it again.")


def _check_kind(path: Path) -> None:
    """Say what the file is where its first bytes tell that it is no checkpoint."""
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.lstrip()[:1] == b"<":
        raise DataError(f"{path} is a web page, not a checkpoint: the download ended at a page that asks something.")
    if head.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} only says where git keeps the checkpoint: fetch it with `git lfs pull`.")
    if head[:1] == b"\x80" and head[1:2] in (b"\x03", b"\x04", b"\x05"):  # torch writes pickles of protocol 2
        raise DataError(f"{path} {_MORE}")
    if not head.startswith(b"PK"):
        return
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is cut off, its end is missing: fetch it again.")
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "data.pkl" not in names:
        raise DataError(f"{path} is a zip archive, but no checkpoint: unpack it and name the checkpoint in it.")
    if "constants.pkl" in names:
        raise DataError(f"{path} is a TorchScript program, which holds code: save the state_dict() of its network.")


def _load(path: Path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises many kinds
        text = str(error).lower()
        if isinstance(error, UnpicklingError) and any(word in text for word in _CODE):
            raise DataError(f"{path} {_MORE}") from error
        raise DataError(f"{path} is damaged or no checkpoint of torch ({_line(error)}): fetch it again.") from error


def _named_tensors(found, path: Path) -> dict[str, Tensor]:
    """The dict of tensors in what was loaded."""
    if not isinstance(found, dict):
        raise DataError(f"{path} holds a {type(found).__name__}, not tensors by name: save a state_dict() instead.")
    for name in WEIGHTS:
        if isinstance(found.get(name), dict) and (tensors := _tensors(found[name])):
            return tensors
    if tensors := _tensors(found):
        return tensors
    if "param_groups" in found or any("optim" in str(name) for name in found):
        raise DataError(f"{path} holds the state of an optimizer, but no network: name the file with the weights.")
    raise DataError(f"{path} holds no tensors by name (only {', '.join(map(str, list(found)[:5])) or 'nothing'}).")


def _tensors(values: dict) -> dict[str, Tensor]:
    return {name: value for name, value in values.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _line(error: Exception) -> str:
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()  # what torch says before it is long
    return (text.splitlines() or [type(error).__name__])[0].rstrip(".")[:160]
