"""Digits that the program writes itself: no download, and more handwriting than MNIST has.

A letterform says which strokes make a digit (`letterforms`), a hand bends them as one writer would
(`hand`), ink makes them pixels (`ink`), and `normalise` makes those an image as MNIST's.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import UsageError
from mnistry.normalise import SIZE
from mnistry.pen.hand import draw, draw_hands
from mnistry.pen.ink import ink
from mnistry.pen.others import KINDS, write_others

Style = Literal["us", "eu", "mixed"]
"""Where the writers learned to write: North America, Europe, or one half here and one there."""

What = Literal["digits", "others"]
CLASSES: dict[What, tuple[str, ...]] = {"digits": tuple("0123456789"), "others": KINDS}
"""What there is to write, and of which kinds."""

MOST = 1_000_000
"""A set has at most so many images to train on, and to test on: 0.8 GB each."""

_CHUNK = 200  # writers who are drawn together, from random numbers of their own
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
            "train": (1, MOST),
            "test": (1, MOST),
            "writers": (2, MOST),
            "seed": (0, _LARGEST_SEED),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
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


@dataclass(frozen=True, eq=False)
class Written:
    """Digits with who wrote them."""

    images: NDArray[np.uint8]
    """(n, 28, 28) uint8, 0 ground to 255 ink, as MNIST's."""
    labels: NDArray[np.uint8]
    """(n,) uint8, each the index of a class in `CLASSES`, all as common, in random order."""
    writers: NDArray[np.intp]
    """(n,): the number of the writer, from 0 on; each wrote a stretch of the images."""


def write(
    settings: PenSet,
    progress: Callable[[int, int], object] | None = None,
    what: What = "digits",
) -> tuple[Written, Written]:
    """Write a training and a test set, by different writers.

    Args:
        settings: How many, and of what kind.
        progress: Is told how many images, of how many, are done.
        what: Digits, or others: things that are no digits.

    Returns:
        The two sets.
    """
    total = settings.train + settings.test
    for_test = max(1, min(settings.writers - 1, round(settings.writers * settings.test / total)))
    parts = ((settings.train, settings.writers - for_test), (settings.test, for_test))
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    train, test = (
        _write_part(what, count, min(writers, count), (settings.seed, part), settings.style, tell)
        for part, (count, writers) in enumerate(parts)
    )
    return train, test


def _write_part(
    what: What,
    count: int,
    writers: int,
    seed: tuple[int, ...],
    style: Style,
    tell: Callable[[int], None],
) -> Written:
    rng = np.random.default_rng(seed)
    who = np.arange(count) * writers // count
    labels = rng.permuted(np.arange(count) % len(CLASSES[what])).astype(np.uint8)
    write_some = {"digits": _write_digits, "others": write_others}[what]
    images = np.empty((count, SIZE, SIZE), np.uint8)

    for chunk in range(math.ceil(writers / _CHUNK)):
        own = np.random.default_rng((*seed, chunk))
        first = chunk * _CHUNK
        start, stop = np.searchsorted(who, (first, first + _CHUNK)).tolist()
        images[start:stop] = write_some(
            own, style, min(_CHUNK, writers - first), who[start:stop] - first, labels[start:stop]
        )
        tell(stop - start)
    return Written(images, labels, who)


def _write_digits(
    rng: np.random.Generator,
    style: Style,
    writers: int,
    who: NDArray[np.intp],
    labels: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    images = np.empty((len(labels), SIZE, SIZE), np.uint8)
    for drawn in draw(rng, draw_hands(rng, writers, style), who, labels):
        images[drawn.indices] = ink(drawn, rng)
    return images
