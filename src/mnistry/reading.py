"""Reads many files, on all cores.

As a program, `python -m mnistry.reading MODEL LEAST SINGLE NUMBER OF`, it is one of the processes
that do so: it reads the chunks NUMBER, NUMBER + OF, ... of the files that are named on its standard
input, and writes what it reads to its standard output, for each file a line and its digits.
"""

import json
import os
import signal
import sys
from collections.abc import Generator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mnistry.errors import DataError
from mnistry.network import OnnxNetwork
from mnistry.reader import Digit, Reader, Reading
from mnistry.workers import cores, workers

if TYPE_CHECKING:
    from mnistry.picture import Picture

_CHUNK = 32  # files
_WORTH = 500  # files; fewer are read before a worker would have started
_DIGIT = np.dtype(
    [
        *(("page", "<i4"), ("line", "<i4"), ("box", "<i4", 4)),
        *(("probabilities", "<f4", 10), ("image", "u1", (28, 28))),
    ]
)


def read_files(
    reader: Reader, sources: Sequence["Picture"], *, single: bool = False
) -> Generator[Reading | DataError]:
    """Read many files, each as `Reader.read` does, on all cores.

    Args:
        reader: Reads them.
        sources: The files; whatever else a reader takes is read by this process alone.
        single: Each page shows one digit.

    Yields:
        In their order, what was read from each; or why it cannot be read.
    """
    names = [os.fspath(name) for name in sources if isinstance(name, str | os.PathLike)]
    network = reader.network
    count = 0
    if min(len(sources), len(names)) >= _WORTH and isinstance(network, OnnxNetwork):
        count = cores() if len(names) == len(sources) else 0
    model = network.path or "" if isinstance(network, OnnxNetwork) else ""
    arguments = [model, repr(reader.min_confidence), str(int(single))]
    given = b"\0".join(os.fsencode(name) for name in names)
    with workers("mnistry.reading", arguments, count, given) as streams:
        for number, chunk in enumerate(_chunks(sources)):
            found: Sequence[Reading | DataError] = []
            if streams:
                found = _received(streams[number % len(streams)], len(chunk), reader)
            yield from found or reader.read_many(chunk, single=single)


def _chunks(sources: Sequence[Any]) -> list[Sequence[Any]]:
    return [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]


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
        digits = np.frombuffer(data, _DIGIT)
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
    model, least, single, number, count = sys.argv[1:]
    names = [os.fsdecode(name) for name in sys.stdin.buffer.read().split(b"\0")]
    reader = Reader(model or None, min_confidence=float(least), threads=1)
    for chunk in _chunks(names)[int(number) :: int(count)]:
        said = [_sent(found) for found in reader.read_many(chunk, single=single == "1")]
        sys.stdout.buffer.write(b"".join(said))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
