"""How a pretrained network wants its inputs: size, order of channels, mean and standard deviation, crop."""

from dataclasses import asdict, dataclass, fields

from scn_fastai.errors import SettingsError


@dataclass(frozen=True)
class InputConvention:
    """What a checkpoint's training did to its pictures, so that the loader does the same (see `face_loaders`).

    A pixel of 0 to 255 becomes ``(pixel / 255 - mean) / std``, mean and std in the order of ``channels``.

    size: pixels, width and height; None leaves the faces as they are. channels: RGB or BGR. crop: the middle share of
    width and height that is kept before resizing. framing: in words, how the faces of that training were cut out.

    >>> InputConvention(112, (0.5,) * 3, (0.5,) * 3).change(size=224).size
    224
    """

    size: int | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: str = "RGB"
    crop: float = 1.0
    framing: str = ""

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("mean", "std"):
            values = getattr(self, name)
            values = (values,) * 3 if isinstance(values, int | float) else tuple(values)
            if len(values) != 3:
                raise SettingsError(f"{name} has {len(values)} values, but a picture has three channels: give three.")
            object.__setattr__(self, name, tuple(float(value) for value in values))
        if min(self.std) <= 0:
            raise SettingsError(f"std is {list(self.std)}, but each of its values must be above 0.")
        if self.channels not in ("RGB", "BGR"):
            raise SettingsError(f"channels is {self.channels!r}, but it must be RGB or BGR.")
        if not 0 < self.crop <= 1:
            raise SettingsError(f"crop is {self.crop}, but it is the share of a picture that is kept, in (0, 1].")
        if self.size is not None and (not isinstance(self.size, int) or self.size < 1):
            raise SettingsError(f"size is {self.size!r}, but it is a number of pixels, or None.")

    def change(self, **values) -> "InputConvention":
        """A copy with some values changed.

        Raises:
            SettingsError: a name is unknown or a value is out of range.
        """
        known = [field.name for field in fields(self)]
        for name in values:
            if name not in known:
                raise SettingsError(f"{name!r} is no part of an input convention; there are: {', '.join(known)}.")
        return InputConvention(**{**asdict(self), **values})

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    def __str__(self) -> str:
        size = "any size" if self.size is None else f"{self.size} px"
        plain = self.mean == (0, 0, 0) and self.std == (1, 1, 1)
        numbers = "no mean or std" if plain else f"mean {_short(self.mean)}, std {_short(self.std)}"
        crop = "" if self.crop == 1 else f", middle {self.crop:.1%}"
        return f"{size}, {self.channels} in 0 to 1, {numbers}{crop}"


def _short(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "/".join(f"{value:.3g}" for value in values)
