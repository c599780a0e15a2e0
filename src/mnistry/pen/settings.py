"""What a set of written digits is to be."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

from mnistry.errors import UsageError

Style = Literal["us", "eu", "mixed"]
"""Where the writers learned to write: North America, Europe, or one half here and one there."""

What = Literal["digits", "others"]
CLASSES: dict[What, tuple[str, ...]] = {
    "digits": tuple("0123456789"),
    "others": ("letter", "cross", "stroke", "scribble", "blot", "line", "empty"),
}
"""What there is to write, and of which kinds."""

_MOST = 1_000_000  # images to train on, and to test on: 0.8 GB each
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class PenSet:
    """What a set of written digits is to be; the same settings give the same bits.

    That holds for one version of Mnistry, numpy and OpenCV on one kind of processor.

    Raises:
        UsageError: A number is out of range, or there is no such style.
    """

    train: int = 60_000
    """Images to train on, at least 1."""
    test: int = 10_000
    """Images to test on, at least 1, by other writers."""
    writers: int = 2_000
    """Writers of both together, at least 2."""
    seed: int = 0
    """Decides everything that is random, at least 0."""
    style: Style = "mixed"

    def __post_init__(self) -> None:
        limits = {
            "train": (1, _MOST),
            "test": (1, _MOST),
            "writers": (2, _MOST),
            "seed": (0, _LARGEST_SEED),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UsageError(f"pen: {name} is {value!r}, expected {low} to {high}")
        if self.style not in get_args(Style):
            known = ", ".join(get_args(Style))
            raise UsageError(f"pen: style is {self.style!r}, expected one of {known}")

    @classmethod
    def parse(cls, text: str) -> "PenSet":
        """Reads "train=1000,style=us", what is left out being the default.

        Raises:
            UsageError: There is no such setting, or it has no such value.
        """
        known = {field.name: field.type for field in fields(cls)}
        given: dict[str, str | int] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            if name not in known or name in given or not value:
                raise UsageError(
                    f"pen: {part!r} is no setting of its own, expected some of "
                    f"{', '.join(known)}, each once, as train=1000,style=us"
                )
            digits = value.removeprefix("-")
            is_number = digits.isascii() and digits.isdecimal() and len(digits) < 20
            given[name] = int(value) if is_number else value
        return cls(**given)  # type: ignore[arg-type]  # __post_init__ holds them against the types

    def __str__(self) -> str:
        """What `parse` reads: the settings that are not the defaults."""
        values = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return ",".join(f"{name}={value}" for name, value, default in values if value != default)
