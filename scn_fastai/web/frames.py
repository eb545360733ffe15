"""Pictures with their time: from videos (the extra ``[video]``), animated images, and folders of numbered images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageSequence

from scn_fastai.align.folder import VIDEOS, read_picture
from scn_fastai.data.images import SUFFIXES, decode_image
from scn_fastai.errors import DataError

ANIMATED = (".gif", ".webp", ".png", ".apng")
HELD = 0.1  # seconds between two looks at a picture that stays
NEEDS_VIDEO = "Reading videos needs PyAV: install scn_fastai[video] (or `pip install av`)."


class Frame(NamedTuple):
    """A picture uint8 [H, W, 3] and its time in seconds from the beginning."""

    seconds: float
    image: np.ndarray


def sampled(path: str | Path, per_second: float = 2.0, most_seconds: float = 240.0) -> Iterator[Frame]:
    """Frames of a video or an animated image, `per_second` of them, one at a time.

    Raises:
        DataError: it cannot be read, holds no picture, is longer than `most_seconds`, or PyAV is missing.
    """
    path = Path(path)
    frames = _video(path, most_seconds) if path.suffix.lower() in VIDEOS else _animation(path)
    return _thinned(frames, path, per_second, most_seconds)


def of_folder(folder: str | Path, folder_fps: float, per_second: float = 2.0) -> Iterator[Frame]:
    """The images of a folder, sorted by name, as a video of `folder_fps` frames a second."""
    return _thinned(_folder(Path(folder), folder_fps), Path(folder), per_second, float("inf"))


def images_in(folder: Path) -> list[Path]:
    """The images that lie in a folder itself, by name; numbers count as numbers."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    return sorted(files, key=lambda p: (*_natural(p.stem), p.name))


def is_animated(path: Path) -> bool:
    """Whether an image file holds several pictures."""
    if path.suffix.lower() not in ANIMATED:
        return False
    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    parts, run = [], ""
    for letter in [*name, ""]:
        if run and (not letter or letter.isdecimal() != run[-1].isdecimal()):
            parts.append((int(run), "") if run.isdecimal() else (-1, run))
            run = ""
        run += letter
    return tuple(parts)


def _thinned(frames: Iterator[tuple], path: Path, per_second: float, most_seconds: float) -> Iterator[Frame]:
    """Every frame that is the first at or behind the next moment wanted; pictures are made of these only."""
    number = any_frame = 0
    for seconds, picture in frames:
        any_frame = True
        if seconds > most_seconds:
            raise DataError(f"longer than {most_seconds:g} seconds: cut it, or allow more")
        if seconds >= number / per_second - 1e-6:
            yield Frame(seconds, picture())
            number = int(seconds * per_second + 1e-6) + 1
    if not any_frame:
        raise DataError("there is no picture in it")


def _video(path: Path, most_seconds: float) -> Iterator[tuple]:
    try:
        import av
    except ImportError:
        raise DataError(NEEDS_VIDEO) from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError("there is no picture in it")
            stream = container.streams.video[0]
            if container.duration and container.duration / av.time_base > most_seconds:
                raise DataError(f"longer than {most_seconds:g} seconds: cut it, or allow more")
            start = None
            for frame in container.decode(stream):
                if frame.time is None:
                    continue
                start = frame.time if start is None else start
                yield frame.time - start, lambda frame=frame: frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"the video cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _animation(path: Path) -> Iterator[tuple]:
    try:
        with Image.open(path) as image:
            seconds = 0.0
            for frame in ImageSequence.Iterator(image):
                # Most viewers take 0.1 s where no duration is said. A picture that stays is there all that time.
                until = seconds + (frame.info.get("duration") or 100) / 1000
                while seconds < until - 1e-6:
                    yield seconds, lambda frame=frame: decode_image(frame.convert("RGB"), grey=False)
                    seconds = min(seconds + HELD, until)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("the animated image is truncated or cannot be read") from error


def _folder(folder: Path, fps: float) -> Iterator[tuple]:
    for number, file in enumerate(images_in(folder)):

        def picture(file: Path = file) -> np.ndarray:
            read = read_picture(file)
            if isinstance(read, str):
                raise DataError(f"{file.name}: {read}")
            return read

        yield number / fps, picture
