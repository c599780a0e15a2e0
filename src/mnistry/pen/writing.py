"""Writes a set: its writers in chunks, each chunk from random numbers of its own.

So it does not matter who writes which chunk, and when: worker processes do, one for each core.
(Threads would gain nothing. Drawing is many small calls, and they hold the interpreter's lock.)
"""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
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
    """Each chunk's images, in order; what a worker does not deliver, this process writes."""
    count = min(_cores(), len(chunks))
    small = count < 2 or settings.train + settings.test < _WORTH
    if small or not sys.executable or getattr(sys, "frozen", False):
        count = 0  # a frozen or embedded program has no interpreter to start
    with ExitStack() as stack:
        streams: list[IO[bytes]] = []
        with suppress(OSError):  # this process can do without
            workers = [_worker(settings, what, number, count) for number in range(count)]
            streams = [stack.enter_context(worker) for worker in workers]
        for number, chunk in enumerate(chunks):
            size = len(chunk.labels) * SIZE * SIZE
            data = streams[number % count].read(size) if streams else b""
            if len(data) == size:
                yield np.frombuffer(data, np.uint8).reshape(-1, SIZE, SIZE)
            else:
                yield chunk.write()


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _worker(settings: PenSet, what: What, number: int, count: int) -> Iterator[IO[bytes]]:
    """Start a worker for the chunks `number`, `number` + `count`, ...: their images, a stream."""
    arguments = [what, str(settings), str(number), str(count)]
    environment = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the same Mnistry as here
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "mnistry.pen.worker", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout
        finally:
            process.kill()
