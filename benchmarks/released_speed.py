"""How much faster the fast path is than the loop of the released code.

That loop decodes a PNG file with Pillow for every image, augments image by image, and trains in float32 and NCHW.
The fast path trains the same network on the same faces, with SCN's recipe 'default' in it.
"""

import ctypes
import platform
import tempfile
from pathlib import Path

import torch
from _common import arguments, epoch_seconds, learner, noisy_faces, report, seconds_of, time_pairs
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from scn_fastai.data.samples import FaceSet
from scn_fastai.training.network import build_network, keep_freed_memory


class Files(Dataset):
    """PNG files, decoded and augmented one at a time."""

    def __init__(self, faces: FaceSet, folder: Path):
        train = faces.part("train")
        self.labels, self.paths = train.label_codes().tolist(), []
        for i, pixels in enumerate(train.images):
            self.paths.append(folder / f"{i:06d}.png")
            Image.fromarray(pixels).save(self.paths[-1])
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.RandomCrop(train.images.shape[1:3], padding=4),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.open(self.paths[i]).convert("RGB")), self.labels[i]


class PlainLoop:
    """A network trained in float32 and NCHW by torch's SGD."""

    def __init__(self, faces: FaceSet, options, device: torch.device):
        self.model = build_network(options.arch, len(faces.classes)).to(device, memory_format=torch.contiguous_format)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
        self.device = device

    def epoch(self, loader: DataLoader) -> None:
        """Once over all samples."""
        self.model.train()
        for x, y in loader:
            loss = cross_entropy(self.model(x.to(self.device)), y.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def free_memory_as_usual() -> None:
    """Undo `keep_freed_memory`, which belongs to the fast path: glibc's own limits once a program uses large blocks."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD
        mallopt(-1, 64 * 2**20)  # M_TRIM_THRESHOLD


def main(argv: list[str] | None = None) -> None:
    """Print how many times as fast, with the loader in the same process and with two workers."""
    options = arguments(__doc__, argv)
    faces = noisy_faces(options)
    learn = learner(faces, options, "default")
    device = learn.dls.device
    loop = PlainLoop(faces, options, device)
    with tempfile.TemporaryDirectory() as folder:
        files = Files(faces, Path(folder))
        for workers in (0, 2):
            how = {"shuffle": True, "drop_last": True, "num_workers": workers, "pin_memory": device.type == "cuda"}
            loader = DataLoader(files, options.batch_size, **how)

            def plain(loader=loader) -> float:
                free_memory_as_usual()
                return seconds_of(lambda: loop.epoch(loader), device)

            def fast() -> float:
                if device.type == "cpu":
                    keep_freed_memory()
                return epoch_seconds(learn)

            ratio = time_pairs(plain, fast, options.repeats)
            report(f"times as fast as the released loop, {workers} workers", ratio, ">= 2", options, device)


if __name__ == "__main__":
    main()
