"""The process that reads images for a server: `python -m mnistry.server.reading READER RUNS`.

What it gets on its standard input, again and again, is a line of JSON, a list that has for each
image how many bytes it has, and how to read it; then all bytes. What it says is a line of JSON, a
list that has for each the name of an error or "", how many digits it read, and how many bytes
follow; then all of these: an error's text, or the answer as JSON. It ends when its input does.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Any

from mnistry import errors
from mnistry.errors import MnistryError, UsageError
from mnistry.reader import Reader, Reading
from mnistry.server.models import Models


@dataclass(frozen=True)
class Asked:
    """How images are to be read."""

    model: str
    single: bool = False
    min_confidence: float | None = None
    seen: bool = False
    max_pages: int = 20


@dataclass(frozen=True)
class Read:
    """What was read from an image: as JSON, and how many digits."""

    json: bytes
    digits: int


Answer = Read | MnistryError

_BUG = "this is a bug in mnistry, please report it"


def read_all(models: Models, images: Sequence[tuple[bytes, Asked]]) -> list[Answer]:
    """Read images: those that are to be read alike together, which takes less time.

    Args:
        models: The networks.
        images: Each a file's bytes, of any format that `mnistry.picture` takes, and how to read it.

    Returns:
        For each what was read, or why nothing could be.
    """
    found: list[Answer] = [UsageError("the body is empty, expected an image's bytes")] * len(images)
    alike: dict[Asked, list[int]] = {}
    for number, (image, asked) in enumerate(images):
        if image:
            alike.setdefault(asked, []).append(number)
    for asked, numbers in alike.items():
        try:
            network = models.network(asked.model)
            reader = Reader(network, min_confidence=asked.min_confidence, threads=1)
            sources = [images[number][0] for number in numbers]
            readings = reader.read_many(sources, single=asked.single, max_pages=asked.max_pages)
            for number, reading in zip(numbers, readings, strict=True):
                if isinstance(reading, Reading):
                    found[number] = _read(reading, asked.seen)
                else:
                    found[number] = reading
        except MnistryError as error:
            found = [error if n in numbers else f for n, f in enumerate(found)]
        except Exception as error:
            bug = MnistryError(f"{_BUG} ({error!r:.200})")
            found = [bug if n in numbers else f for n, f in enumerate(found)]
    return found


def _read(reading: Reading, seen: bool) -> Read:
    found = reading.to_dict()
    if seen:
        for digit, own in zip(reading.digits, found["digits"], strict=True):
            own["seen"] = digit.image.tolist()
    return Read(json.dumps(found, separators=(",", ":")).encode(), len(reading.digits))


def send_images(stream: IO[bytes], images: Sequence[tuple[bytes, Asked]]) -> None:
    """Ask the process, on its standard input."""
    head = json.dumps([[len(image), *astuple(asked)] for image, asked in images])
    stream.write(b"".join([head.encode(), b"\n", *(image for image, _ in images)]))
    stream.flush()


def receive_images(stream: IO[bytes]) -> list[tuple[bytes, Asked]]:
    """What the process is asked; nothing where its input ends."""
    rows = json.loads(stream.readline() or b"[]")
    return [(stream.read(size), Asked(*how)) for size, *how in rows]


def send_answers(stream: IO[bytes], answers: Sequence[Answer]) -> None:
    """Answer, on the standard output."""
    rows: list[Any] = []
    contents = []
    for answer in answers:
        if isinstance(answer, Read):
            kind, digits, content = "", answer.digits, answer.json
        else:
            kind, digits, content = type(answer).__name__, 0, str(answer).encode(errors="replace")
        rows.append([kind, digits, len(content)])
        contents.append(content)
    stream.write(b"".join([json.dumps(rows).encode(), b"\n", *contents]))
    stream.flush()


def receive_answers(stream: IO[bytes]) -> list[Answer]:
    """What the process answers.

    Raises:
        EOFError: It has ended.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answers: list[Answer] = []
    for kind, digits, size in json.loads(line):
        content = stream.read(size)
        if len(content) < size:
            raise EOFError
        answers.append(getattr(errors, kind)(content.decode()) if kind else Read(content, digits))
    return answers


def main() -> None:
    """Reads until nobody asks any more."""
    import cv2

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when whoever started it has its answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    cv2.setNumThreads(1)
    reader, runs = sys.argv[1:]
    models = Models(reader or None, Path(runs))
    gc.collect()
    gc.freeze()  # what stays for good is not looked at for garbage again and again
    while images := receive_images(sys.stdin.buffer):
        send_answers(answers, read_all(models, images))


if __name__ == "__main__":
    main()
