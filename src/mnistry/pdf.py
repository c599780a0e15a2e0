"""The pages of a PDF as grey arrays: drawn by PDFium, in a process of its own.

Few bytes of PDF can keep PDFium busy for ever, fill the memory or crash it. A process can be ended.
"""

import importlib.util
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from mnistry.errors import DataError, DependencyError, LimitError
from mnistry.workers import start

if TYPE_CHECKING:  # the process that draws does without numpy: it starts in half the time
    import numpy as np
    from numpy.typing import NDArray

DPI = 200
"""Dots per inch: a digit of 5 mm is 39 pixels high."""
MAX_DRAWN = 16_000_000
"""A page that would have more pixels, larger than A2, is drawn at fewer dots per inch."""
SECONDS = 30
"""A page that takes longer is refused."""

_MEMORY = 4 << 30  # bytes that the process may have
_AS_IMAGES = "or save its pages as PNG"


def draw_pages(stream: BinaryIO, name: str, most: int) -> "Generator[NDArray[np.uint8]]":
    """Draw a PDF's pages, one after the other, on white; at most one ahead of who takes them.

    Annotations are drawn, what was typed into a form's fields is not.

    Args:
        stream: The PDF, from here to its end.
        name: What errors call it.
        most: So many pages it may have.

    Yields:
        Each page: (h, w) uint8, 0 black to 255 white, writable.

    Raises:
        LimitError: It has more pages.
        DataError: It is damaged, asks for a password, has none, or a page of no size or that
            takes longer than `SECONDS`.
        DependencyError: pypdfium2 is not installed.
    """
    if importlib.util.find_spec("pypdfium2") is None:
        raise DependencyError.missing("pypdfium2")
    with _drawer(name) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # it has ended; why is seen below
                shutil.copyfileobj(stream, process.stdin)
            with suppress(BrokenPipeError):
                process.stdin.close()
            (pages,) = _numbers(process, name)
            if not 1 <= pages <= most:
                raise (LimitError if pages else DataError)(
                    f"{name}: has {pages:,} pages, expected 1 to {most:,}; split it into parts"
                )
            for number in range(1, pages + 1):
                label = name if number == 1 else f"{name}, page {number}"
                yield _page(process, label)
        finally:
            process.kill()


def _drawer(name: str) -> subprocess.Popen[bytes]:
    """Starts the process that draws: `main` of this module."""
    try:
        return start("mnistry.pdf", [str(SECONDS)])
    except OSError as error:
        raise DataError(
            f"{name}: is a PDF, and the process that draws it cannot be started ({error}); "
            "save its pages as PNG"
        ) from error


def _page(process: subprocess.Popen[bytes], label: str) -> "NDArray[np.uint8]":
    import numpy as np

    width, height = _numbers(process, label)
    pixels = np.empty((height, width), np.uint8)
    assert process.stdout is not None
    if process.stdout.readinto(pixels.data.cast("B")) < pixels.size:  # type: ignore[attr-defined]
        raise _ended(process, label)
    return pixels


def _numbers(process: subprocess.Popen[bytes], label: str) -> list[int]:
    """What the process says next; or what it found wrong, as an error."""
    assert process.stdout is not None
    kind, _, text = process.stdout.readline().decode().strip().partition(" ")
    if kind == "wrong":
        raise DataError(f"{label}: {text}")
    if kind != "next":
        raise _ended(process, label)
    return [int(number) for number in text.split()]


def _ended(process: subprocess.Popen[bytes], label: str) -> DataError:
    if process.wait() == -signal.SIGALRM:
        found = f"takes longer than {SECONDS} s to draw, expected a page of writing; print it to"
        return DataError(f"{label}: {found} a new PDF, {_AS_IMAGES}")
    return DataError(
        f"{label}: cannot be drawn (PDFium ended with code {process.returncode}), expected a "
        f"sound PDF; print it to a new PDF, {_AS_IMAGES}"
    )


# ------------------------------------------------------------------------ in the process that draws


def main() -> None:
    """Draws the PDF on the standard input to the standard output: python -m mnistry.pdf SECONDS."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    with suppress(ImportError, ValueError, OSError):  # where there is no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    seconds = int(sys.argv[1])
    data, out = sys.stdin.buffer.read(), sys.stdout.buffer
    signal.alarm(seconds)  # ends it, inside PDFium too
    for message in draw(data):
        signal.alarm(0)  # while it waits for its reader
        out.write(message)
        out.flush()
        signal.alarm(seconds)


def draw(data: bytes) -> Iterator[bytes | memoryview]:
    """What the process writes: the number of pages, then of each its size and its pixels.

    Args:
        data: A PDF, or what calls itself one.

    Yields:
        A line "next" with one or two whole numbers, and after two of them w x h bytes, 0 black to
        255 white; or as the last a line "wrong" with what is wrong.
    """
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(data) as document:
            yield f"next {len(document)}\n".encode()
            for number in range(len(document)):
                bitmap = _bitmap(document, number)
                yield f"next {bitmap.width} {bitmap.height}\n".encode()
                yield _rows(bitmap)
    except pypdfium2.PdfiumError as error:
        yield f"wrong {_problem(error)}\n".encode()


def _bitmap(document: Any, number: int) -> Any:
    from pypdfium2 import PdfBitmap, PdfiumError, raw

    page = document[number]
    try:
        size = page.get_size()  # points, 72 to the inch
        scale = min(DPI / 72, math.sqrt(MAX_DRAWN / math.prod(size)))
        width, height = (max(1, round(points * scale)) for points in size)
        if width * height > 2 * MAX_DRAWN:
            raise PdfiumError(f"a page of {size[0]:.3g} x {size[1]:.3g} points")
        bitmap = PdfBitmap.new_native(width, height, raw.FPDFBitmap_Gray)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
        flags = raw.FPDF_ANNOT | raw.FPDF_GRAYSCALE
        raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, flags)
        return bitmap
    finally:
        page.close()


def _rows(bitmap: Any) -> bytes:
    """The pixels without what pads each row."""
    data = bytes(bitmap.buffer)
    if bitmap.stride == bitmap.width:
        return data
    return b"".join(
        data[start : start + bitmap.width]
        for start in range(0, bitmap.height * bitmap.stride, bitmap.stride)
    )


def _problem(error: Any) -> str:
    if error.err_code == 4:  # FPDF_ERR_PASSWORD
        found, expected = "is encrypted", "one that opens without a password; save it without"
    else:
        reason = str(error).rstrip(".").removesuffix(" (PDFium: Success)")
        found = f"is a damaged PDF ({reason})"
        expected = "a sound one; take a fresh copy, print it to a new PDF"
    return f"{found}, expected {expected}, {_AS_IMAGES}"


if __name__ == "__main__":
    main()
