"""Reads many files, on all cores.

As a program it is one of the processes that do so. It is given the reader's model, whether each
file shows one digit, and chunks of files' names, and tells what it reads: of each chunk a line of
JSON, and the digits of its files.
"""

import json
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np

from mnistry import errors
from mnistry.errors import DataError
from mnistry.files import is_named
from mnistry.network import OnnxNetwork
from mnistry.reader import Digit, Reader, Reading
from mnistry.workers import answer, cores, share

if TYPE_CHECKING:
    from mnistry.picture import Picture

T = TypeVar("T")

_ONE_THREAD = threading.Lock()
_CHUNK = 32  # files at most
_CHUNKS_EACH = 8  # of a process, if there are enough files
_SECONDS, _PER_BYTE = 0.001, 2.5e-7  # that a file takes, and each of its bytes: about
_WORTH = 1.0  # seconds: what takes less is read before a worker would have started
_DIGIT = np.dtype(
    [
        *(("page", "<i4"), ("line", "<i4"), ("box", "<i4", 4)),
        *(("probabilities", "<f4", 10), ("image", "u1", (28, 28))),
    ]
)


def read_files(
    reader: Reader, sources: Sequence["Picture"], *, single: bool = False
) -> Generator[Reading | DataError]:
    """Read files, each as `Reader.read` does; on all cores where there is much to read.

    Args:
        reader: Reads them. A network that is no file's is used by this process alone.
        sources: The files; whatever else a reader takes is read by this process alone.
        single: Each page shows one digit.

    Yields:
        In their order, what was read from each; or why it cannot be read.

    Raises:
        UsageError, DependencyError: As `Reader.read`.
    """
    network, workers, model = reader.network, 0, None
    paths = (each for each in sources if isinstance(each, str | os.PathLike))
    names = [os.fspath(path) for path in paths if is_named(path)]
    if isinstance(network, OnnxNetwork) and len(names) == len(sources) and _is_much(names):
        workers, model = min(cores(), len(names)) - 1, network.path
    if not workers:
        yield from reader.read_many(sources, single=single)
        return
    size = max(1, min(_CHUNK, len(sources) // (_CHUNKS_EACH * (workers + 1))))
    given = json.dumps([model, single, size, names])
    parts = -(-len(sources) // size)

    def read(number: int) -> list[Reading | DataError]:
        with _one_thread():
            return list(reader.read_many(_chunk(sources, size, number), single=single))

    def received(stream: IO[bytes], number: int) -> list[Reading | DataError] | None:
        return _received(stream, len(_chunk(sources, size, number)), reader)

    with closing(share(parts, read, workers, "mnistry.reading", given, received)) as chunks:
        for found in chunks:
            yield from found


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within it OpenCV keeps to one core: sharing out small images takes longer than it gains."""
    import cv2

    with _ONE_THREAD:  # another thread's would be taken for what is usual
        usual = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            yield
        finally:
            cv2.setNumThreads(usual)


def _is_much(names: Sequence[str]) -> bool:
    """Whether it would take this process alone so long that workers are worth starting."""
    seconds = _SECONDS * len(names)
    for name in names:
        if seconds > _WORTH:
            break
        with suppress(OSError, ValueError):  # that there is none will be found out
            seconds += _PER_BYTE * os.path.getsize(name)
    return seconds > _WORTH


def _chunk(sources: Sequence[T], size: int, number: int) -> Sequence[T]:
    return sources[number * size : (number + 1) * size]


def _received(stream: IO[bytes], count: int, reader: Reader) -> list[Reading | DataError] | None:
    """What a worker read from so many files; None if it has ended."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    said = json.loads(line)  # of each file how many digits it has, or why it cannot be read
    size = sum(each for each in said if isinstance(each, int)) * _DIGIT.itemsize
    data = stream.read(size)
    if len(said) != count or len(data) < size:
        return None
    rows = np.frombuffer(bytearray(data), _DIGIT)
    places = (rows[name].tolist() for name in ("box", "page", "line"))
    digits = (
        Digit.of(probabilities, reader.min_confidence, tuple(box), page, line, image)
        for probabilities, image, box, page, line in zip(
            rows["probabilities"], rows["image"], *places, strict=True
        )
    )
    return [
        Reading(tuple(islice(digits, each)))
        if isinstance(each, int)
        else getattr(errors, each[0])(each[1])
        for each in said
    ]


def _sent(found: Iterable[Reading | DataError]) -> bytes:
    said: list[int | tuple[str, str]] = []
    rows: list[tuple[object, ...]] = []
    for each in found:
        if isinstance(each, DataError):
            said.append((type(each).__name__, str(each)))
            continue
        said.append(len(each.digits))
        rows += [(d.page, d.line, d.box, d.probabilities, d.image) for d in each.digits]
    return json.dumps(said).encode() + b"\n" + np.array(rows, _DIGIT).tobytes()


def _worker(given: str) -> Callable[[int], bytes]:
    import cv2

    cv2.setNumThreads(1)
    model, single, size, names = json.loads(given)
    reader = Reader(model, threads=1)

    def tell(number: int) -> bytes:
        return _sent(reader.read_many(_chunk(names, size, number), single=single))

    return tell


if __name__ == "__main__":
    answer(_worker)
