"""The processes that read images for a server, as many at a time as there are cores.

Threads would wait for each other, for the interpreter's lock. And what a decoder does with hostile
bytes ends a process, at worst, and not the server.
"""

import logging
import queue
import selectors
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from mnistry.errors import DataError
from mnistry.server.models import Models
from mnistry.server.reading import (
    Answer,
    Asked,
    read_all,
    receive_answers,
    send_images,
)
from mnistry.workers import start

_log = logging.getLogger("mnistry.server")

_ALONE = 2.0  # seconds that an image has which is read again, alone
_SMALL = 200_000  # bytes of images that are read together
_ENDED = (
    "the image made the process that read it end: it took more than {seconds:g} seconds, or too "
    "much memory; scale it down, or crop it"
)


class Readers:
    """Processes that read; this one does it itself where none can be started."""

    def __init__(self, count: int, models: Models, reader: str | None, runs: Path, seconds: float):
        """Starts them.

        Args:
            count: How many.
            models: The networks of this process.
            reader: The ONNX file that they read with; None for the shipped one.
            runs: The folder of the networks that were trained here.
            seconds: That some images may take.
        """
        self._arguments = [reader or "", str(runs.absolute())]
        self._models, self._seconds = models, seconds
        self._free: queue.SimpleQueue[subprocess.Popen[bytes] | None] = queue.SimpleQueue()
        for _ in range(count):
            self._free.put(self._start())
        self._count = count

    def read_all(self, images: Sequence[tuple[bytes, Asked]]) -> list[Answer]:
        """Have images read by a process that is free, as `reading.read_all` does."""
        return [answer for some in _together(images) for answer in self._read(some, self._seconds)]

    def _read(self, images: Sequence[tuple[bytes, Asked]], seconds: float) -> list[Answer]:
        process = self._free.get()
        try:
            if process is None:
                return read_all(self._models, images)
            try:
                return self._read_by(process, images, seconds)
            except BaseException as error:  # what it still says is no answer to what comes next
                _end(process)
                code, process = process.returncode, self._start()
                if not isinstance(error, OSError | EOFError):
                    raise
            _log.warning("a process that read %d images ended: %s", len(images), code)
            if len(images) == 1:
                return [DataError(_ENDED.format(seconds=seconds))]
        finally:
            self._free.put(process)
        # one of them is at fault; the others are small, and take no time
        return [answer for image in images for answer in self._read([image], _ALONE)]

    def _read_by(
        self,
        process: subprocess.Popen[bytes],
        images: Sequence[tuple[bytes, Asked]],
        seconds: float,
    ) -> list[Answer]:
        assert process.stdin is not None
        assert process.stdout is not None
        send_images(process.stdin, images)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                raise EOFError
        return receive_answers(process.stdout)

    def _start(self) -> subprocess.Popen[bytes] | None:
        with suppress(OSError):
            return start(
                "mnistry.server.reading",
                self._arguments,
                {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return None

    def close(self) -> None:
        """End the processes, each when it has read what it reads."""
        for _ in range(self._count):
            if process := self._free.get():
                _end(process)


def _together(
    images: Sequence[tuple[bytes, Asked]],
) -> Iterator[Sequence[tuple[bytes, Asked]]]:
    """Images in their order, many small ones together and large ones alone: each takes its time."""
    start = size = 0
    for number, (image, _) in enumerate(images):
        if number > start and size + len(image) > _SMALL:
            yield images[start:number]
            start, size = number, 0
        size += len(image)
    if start < len(images):
        yield images[start:]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with process, suppress(OSError):  # its pipes are closed
        pass
