"""Writes a set: its writers in chunks, each chunk from random numbers of its own.

So it does not matter who writes which chunk, and when: this process, or workers beside it.
"""

import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import UsageError
from mnistry.normalise import SIZE
from mnistry.pen.hand import Indices, draw, draw_hands
from mnistry.pen.ink import ink
from mnistry.pen.letterforms import LETTERFORMS, OTHERS
from mnistry.pen.others import write_others
from mnistry.pen.settings import CLASSES, PenSet, What
from mnistry.workers import cores, share

_CHUNK = 200  # writers
_PART = 7_000  # images of them
_WORTH = 5_000  # images; fewer are written before a worker would have started
_COPIES = 3  # of the images in memory, until they are in the cache


@dataclass(frozen=True, eq=False)
class Written:
    """Digits with who wrote them."""

    images: NDArray[np.uint8]
    """(n, 28, 28) uint8, 0 ground to 255 ink, as MNIST's."""
    labels: NDArray[np.uint8]
    """(n,) uint8, each the index of a class in `CLASSES`, all as common, in random order."""
    writers: Indices
    """(n,): the number of the writer, from 0 on; each wrote a stretch of the images. The training
    set's writer 0 and the test set's are two."""


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

    Raises:
        UsageError: They would not fit into this machine's memory.
    """
    total, done = settings.train + settings.test, 0
    _check_memory(total)
    chunks = plan(settings, what)
    images = np.empty((total, SIZE, SIZE), np.uint8)
    with closing(_write_all(settings, what, chunks)) as written:
        for some in written:
            images[done : done + len(some)] = some
            done += len(some)
            if progress:
                progress(done, total)
    labels = np.concatenate([chunk.labels for chunk in chunks])
    who = np.concatenate([chunk.who + _CHUNK * chunk.place[1] for chunk in chunks])
    train, test = np.s_[: settings.train], np.s_[settings.train :]
    return Written(images[train], labels[train], who[train]), Written(
        images[test], labels[test], who[test]
    )


def _check_memory(images: int) -> None:
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, for one, does not say
        return
    each = _COPIES * SIZE * SIZE
    if images * each > memory:
        raise UsageError(
            f"pen: {images:,} images take {images * each / 2**30:.1f} GiB, and this machine has"
            f" {memory / 2**30:.1f}; ask for fewer, {memory // each:,} at most"
        )


@dataclass(frozen=True, eq=False)
class Chunk:
    """What some writers are to write."""

    what: What
    settings: PenSet
    place: tuple[int, int, int]
    """0 to train on or 1 to test on; which block of writers; which part of what they write."""
    writers: int
    """How many writers the block has."""
    who: Indices
    """(n,): the writer of each image, from 0 to `writers` - 1, in rising order."""
    labels: NDArray[np.uint8]
    """(n,): the class of each image."""

    def write(self) -> NDArray[np.uint8]:
        """Write it: (n, 28, 28)."""
        forms = LETTERFORMS if self.what == "digits" else OTHERS
        seed, style = self.settings.seed, self.settings.style
        hands = draw_hands(_rng(seed, *self.place[:2]), self.writers, style, forms)
        rng = _rng(seed, *self.place)
        if self.what == "others":
            return write_others(rng, hands, self.who, self.labels)
        images = np.empty((len(self.labels), SIZE, SIZE), np.uint8)
        for drawn in draw(rng, hands, self.who, self.labels):
            images[drawn.indices] = ink(drawn, rng)
        return images


def plan(settings: PenSet, what: What) -> list[Chunk]:
    """Cut a set into chunks: those to train on, then those to test on."""
    total = settings.train + settings.test
    for_test = max(1, min(settings.writers - 1, round(settings.writers * settings.test / total)))
    chunks = []
    for part, (count, most) in enumerate(
        ((settings.train, settings.writers - for_test), (settings.test, for_test))
    ):
        writers = min(most, count)
        who = np.arange(count) * writers // count
        classes = np.arange(count) % len(CLASSES[what])
        labels = _rng(settings.seed, part).permuted(classes).astype(np.uint8)
        for block, first in enumerate(range(0, writers, _CHUNK)):
            size = min(_CHUNK, writers - first)
            start, stop = np.searchsorted(who, (first, first + size)).tolist()
            for number, at in enumerate(range(start, stop, _PART)):
                own = slice(at, min(at + _PART, stop))
                place = part, block, number
                chunks.append(Chunk(what, settings, place, size, who[own] - first, labels[own]))
    return chunks


def _rng(seed: int, *place: int) -> np.random.Generator:
    """Random numbers of a place's own: no other seed or place has the same."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


def _write_all(settings: PenSet, what: What, chunks: list[Chunk]) -> Generator[NDArray[np.uint8]]:
    """Each chunk's images, in order."""

    def received(stream: IO[bytes], number: int) -> NDArray[np.uint8] | None:
        size = len(chunks[number].labels) * SIZE * SIZE
        data = stream.read(size)
        return np.frombuffer(data, np.uint8).reshape(-1, SIZE, SIZE) if len(data) == size else None

    is_much = settings.train + settings.test >= _WORTH
    workers = min(cores(), len(chunks)) - 1 if is_much else 0
    given = f"{what} {settings}"
    return share(
        len(chunks), lambda n: chunks[n].write(), workers, "mnistry.pen.worker", given, received
    )
