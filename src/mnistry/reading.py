"""Reads many files, on all cores.

As a program, `python -m mnistry.reading MODEL SINGLE CHUNK NUMBER OF`, it is one of the processes
that do so: of the files whose names are a JSON list on its standard input, it reads the chunks
NUMBER, NUMBER + OF, ... of CHUNK files each; and writes what it reads to its standard output, for
each file a line of JSON and its digits.
"""

import json
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mnistry.errors import DataError
from mnistry.network import OnnxNetwork
from mnistry.reader import Digit, Reader, Reading
from mnistry.workers import cores, workers

if TYPE_CHECKING:
    from mnistry.picture import Picture

_CHUNK = 32  # files at most
_CHUNKS_EACH = 8  # of a worker, if there are enough files
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
    network, count = reader.network, 0
    names = [os.fspath(name) for name in sources if isinstance(name, str | os.PathLike)]
    if isinstance(network, OnnxNetwork) and len(names) == len(sources) and _takes(names) > _WORTH:
        count = min(cores(), len(names))
    size = max(1, min(_CHUNK, len(sources) // (_CHUNKS_EACH * count))) if count else _CHUNK
    model = network.path or "" if isinstance(network, OnnxNetwork) else ""
    arguments, given = [model, str(int(single)), str(size)], json.dumps(names).encode()
    with workers("mnistry.reading", arguments, count, given) as streams:
        for number, chunk in enumerate(_chunks(sources, size)):
            found: Sequence[Reading | DataError] = []
            if streams:
                found = _received(streams[number % len(streams)], len(chunk), reader)
            yield from found or reader.read_many(chunk, single=single)


def _takes(names: Sequence[str]) -> float:
    """About how many seconds it takes to read files."""
    size = 0
    for name in names:
        with suppress(OSError, ValueError):  # that there is none will be found out
            size += os.path.getsize(name)
    return _SECONDS * len(names) + _PER_BYTE * size


def _chunks(sources: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [sources[start : start + size] for start in range(0, len(sources), size)]


def _received(stream: IO[bytes], count: int, reader: Reader) -> list[Reading | DataError]:
    """What a process read from so many files; nothing if it has ended."""
    found: list[Reading | DataError] = []
    for _ in range(count):
        line = stream.readline()
        if not line.endswith(b"\n"):
            return []
        said = json.loads(line)
        if isinstance(said, str):
            found.append(DataError(said))
            continue
        data = stream.read(said * _DIGIT.itemsize)
        if len(data) < said * _DIGIT.itemsize:
            return []
        digits = np.frombuffer(bytearray(data), _DIGIT)
        found.append(Reading(tuple(_digit(row, reader.min_confidence) for row in digits)))
    return found


def _digit(row: Any, least: float) -> Digit:
    box = tuple(row["box"].tolist())
    page, line = int(row["page"]), int(row["line"])
    return Digit.of(row["probabilities"], least, box, page, line, row["image"])


def _sent(found: Reading | DataError) -> bytes:
    if isinstance(found, DataError):
        return json.dumps(str(found)).encode() + b"\n"
    rows = [(d.page, d.line, d.box, d.probabilities, d.image) for d in found.digits]
    return b"%d\n" % len(rows) + np.array(rows, _DIGIT).tobytes()


def main() -> None:
    """Reads until all is read, or nobody listens."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    cv2.setNumThreads(1)
    model, single, size, number, count = sys.argv[1:]
    reader = Reader(model or None, threads=1)
    for chunk in _chunks(json.load(sys.stdin.buffer), int(size))[int(number) :: int(count)]:
        said = [_sent(found) for found in reader.read_many(chunk, single=single == "1")]
        sys.stdout.buffer.write(b"".join(said))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
