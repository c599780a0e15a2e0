"""Any image file, its bytes, a PIL image or an array to grey arrays: formats, pages, limits."""

import errno
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnistry import png
from mnistry.errors import DataError, LimitError, UsageError
from mnistry.files import open_file
from mnistry.grey import grey_array, grey_image
from mnistry.pdf import draw_pages

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
"""A page of more pixels, as 7072 x 7072, is refused before it is decoded."""
MAX_PAGES = 1_000
"""A file of more pages is refused before the first is decoded."""
MAX_BYTES = 1_000_000_000
"""A file of more bytes is refused before it is read."""

Picture: TypeAlias = "str | os.PathLike[str] | bytes | Image | NDArray[Any]"
"""What is read: a file, its contents, a PIL image or an array."""

_MAX_SCANS = 100  # of a JPEG: the usual have 1 or about 10, and each costs as much as an image
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM")  # those whose sizes stand in front
_EXPECTED = "expected an image file as PNG, JPEG, TIFF, WebP, GIF or BMP, or a PDF"
_JPEG = b"\xff\xd8"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_THUMBNAIL_OR_MASK = 0b101  # bits of a TIFF page's kind


def read_pages(source: Picture, max_pages: int = MAX_PAGES) -> Generator[NDArray[np.uint8]]:
    """Read every page of an image or PDF as grey, decoding each when it is asked for.

    Colours become their luminance, and colour profiles are ignored. Pages are the way up that
    their EXIF orientation says, and on white where transparent.

    Args:
        source: A file, or its contents as bytes: PNG, JPEG, TIFF, WebP, GIF, BMP or PPM, or a PDF,
            drawn as `mnistry.pdf` says. TIFF and PDF have pages (thumbnails and masks are none);
            of an animation the first frame is taken. A pipe may be named as /dev/stdin. Or one
            page as a PIL image of any mode, or as an array that `mnistry.grey.grey_array` takes:
            (h, w), or (h, w, c) with grey, grey and alpha, RGB, or RGB and alpha.
        max_pages: A file of more is refused before the first is decoded.

    Yields:
        Each page, at least one: (h, w) uint8, 0 black to 255 white, writable, the caller's own.

    Raises:
        LimitError: A file is over `MAX_BYTES` or `max_pages`, or a page over `MAX_PIXELS`.
        DataError: A file is missing, no image, damaged, cut off; a page is of a kind that has no
            grey values from 0 to 255 or 65535; or a PDF cannot be drawn. Pages before a damaged one
            are yielded.
        UsageError: The source is of another type, or an array of another shape, dtype or range.
        DependencyError: It is a PDF, and pypdfium2 is not installed.
    """
    if isinstance(source, np.ndarray):
        yield _read_array(source)
    elif isinstance(source, bytes):
        if len(source) > MAX_BYTES:
            raise _too_long(name_of(source))
        yield from _read_stream(io.BytesIO(source), name_of(source), max_pages)
    elif isinstance(source, str | os.PathLike):
        yield from _read_file(source, max_pages)
    else:
        yield _read_image(source)


def name_of(source: Picture) -> str:
    """What errors call an image."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return "the image's bytes"
    return "the array" if isinstance(source, np.ndarray) else "the PIL image"


def read_picture(source: Picture) -> NDArray[np.uint8]:
    """Read an image's only or first page, as `read_pages` does.

    Args:
        source: As for `read_pages`.

    Returns:
        (h, w) uint8, 0 black to 255 white, writable.

    Raises:
        DataError: The first page cannot be read, or there are too many.
        UsageError: The source cannot be an image.
        DependencyError: It is a PDF, and pypdfium2 is not installed.
    """
    with closing(read_pages(source)) as pages:
        return next(pages)


def light_on_dark(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Invert a digit that is dark on a light ground.

    MNIST's digits leave their border empty, so a border that is brighter than half on average is
    paper.

    Args:
        grey: (h, w) uint8 of one digit with its margin.

    Returns:
        (h, w) uint8, 0 ground to 255 ink.
    """
    border = np.concatenate((grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]))
    return np.invert(grey) if border.mean() > 127.5 else grey


# ------------------------------------------------------------------------------------------ sources


def _read_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.ndim in (2, 3):
        _check_size((array.shape[1], array.shape[0]), name_of(array))
    return grey_array(array)


def _read_image(image: object) -> NDArray[np.uint8]:
    from PIL import Image

    if not isinstance(image, Image.Image):
        raise UsageError(
            f"the image: is of type {type(image).__name__}, expected a file's path, its bytes, a "
            "PIL image or a numpy array"
        )
    name = name_of(image)
    with _decoding(name):
        _check_size(image.size, name)
        return grey_image(image, name)


def _read_file(path: str | os.PathLike[str], max_pages: int) -> Iterator[NDArray[np.uint8]]:
    name = os.fspath(path)
    try:
        with open_file(path) as stream:
            yield from _read_stream(_seekable(stream, name), name, max_pages)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{name}: cannot be read ({reason}); {_EXPECTED}") from error


def _seekable(stream: BinaryIO, name: str) -> BinaryIO:
    """The file itself; or what comes from a pipe, as /dev/stdin may be one."""
    status = os.fstat(stream.fileno())
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        if not stat.S_ISFIFO(status.st_mode):
            raise OSError(errno.EINVAL, "it is a device and no file")
        stream = io.BytesIO(stream.read(MAX_BYTES + 1))
        size = len(stream.getbuffer())
    if size > MAX_BYTES:
        raise _too_long(name)
    return stream


def _read_stream(stream: BinaryIO, name: str, max_pages: int) -> Iterator[NDArray[np.uint8]]:
    start = stream.read(1024)
    if png.may_be_plain(start, MAX_PIXELS):
        plain = png.decode_plain(start + stream.read())
        if plain is not None:
            yield plain
            return
    stream.seek(0)
    if b"%PDF-" in start:
        yield from draw_pages(stream, name, max_pages)
        return
    yield from _read_frames(stream, name, start, max_pages)


def _read_frames(
    stream: BinaryIO, name: str, start: bytes, max_pages: int
) -> Iterator[NDArray[np.uint8]]:
    with _decoding(name):
        image = _open(stream, name, start, max_pages)
        page = _read_frame(image, name)
    yield page
    for number in count(1) if image.format == "TIFF" else ():
        label = f"{name}, page {number + 1}"
        with _decoding(label):
            try:
                image.seek(number)
            except EOFError:
                return
            _check_tags(image, stream)
            if image.tag_v2.get(254, 0) & _THUMBNAIL_OR_MASK:
                continue
            page = _read_frame(image, label)
        yield page


def _read_frame(image: Any, name: str) -> NDArray[np.uint8]:
    _check_size(image.size, name)
    if image.format in ("JPEG", "MPO"):
        image.draft("L", None)  # leaves out the colours: half the time
    return grey_image(image, name)


# ----------------------------------------------------------------------------------------- decoding


class _Silence:
    """Silences Pillow's warnings while any thread decodes, as their filters are the process's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
            self._inside += 1
            warnings.filterwarnings("ignore", module="PIL|mnistry")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_SILENCE = _Silence()


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn whatever a decoder trips over in hostile bytes into an error, and silence warnings."""
    from PIL import Image

    try:
        with _SILENCE:
            yield
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))  # the error's first number
        found = f"{int(pixels[0]):,}" if pixels else "far too many"
        raise LimitError(_too_large(name, found)) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(
            f"{name}: is damaged or cut off ({reason}); {_EXPECTED}; take a fresh copy, or save it "
            "as PNG"
        ) from error


def _open(stream: BinaryIO, name: str, start: bytes, max_pages: int) -> Any:
    from PIL import Image, UnidentifiedImageError

    if start.startswith(_JPEG):
        scans = stream.read().count(b"\xff\xda\0")
        if scans > _MAX_SCANS:
            raise DataError(
                f"{name}: is a JPEG of {scans:,} scans; {_EXPECTED}, with at most {_MAX_SCANS}; "
                "save it anew"
            )
    try:
        image = Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError:
        found, advice = _foreign(start)
        raise DataError(f"{name}: {found}; {_EXPECTED}; {advice}") from None
    if image.format == "TIFF":
        _check_tags(image, stream)
        if _has_page(Image.open(stream, formats=("TIFF",)), max_pages):
            raise LimitError(
                f"{name}: has more than {max_pages:,} pages, expected fewer; split it into parts"
            )
    return image


def _check_tags(image: Any, stream: BinaryIO) -> None:
    """Of a TIFF: Pillow only warns of a cut page's tags, and would give it as black."""
    stream.seek(0)
    header = stream.read(3)
    is_big = header[2] == 43  # a BigTIFF
    counter, tag, pointer = (8, 20, 8) if is_big else (2, 12, 4)  # bytes
    stream.seek(image.tag_v2.offset)
    tags = int.from_bytes(stream.read(counter), "little" if header[:2] == b"II" else "big")
    stream.seek(tags * tag, os.SEEK_CUR)
    if len(stream.read(pointer)) < pointer:
        raise OSError("its tags are cut off")


def _has_page(image: "Image", number: int) -> bool:
    with suppress(Exception):  # a damaged page is an error when it is read
        image.seek(number)
        return True
    return False


def _foreign(start: bytes) -> tuple[str, str]:
    """What a file is that Pillow does not take for an image, and what to do."""
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC:
        advice = "save it as JPEG, as phones do that are set to 'most compatible' or share a photo"
        return "is HEIC, which is not read here", advice
    if b"<svg" in start.lower():
        return "is SVG, a drawing without pixels", "save it as PNG"
    if start.startswith((b"%!", b"\xc5\xd0\xd3\xc6")):
        return "is PostScript, a program", "save it as PDF or PNG"
    if start.startswith((_JPEG, b"\x89PNG", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")):
        return "is damaged or cut off near its start", "take a fresh copy, or save it as PNG"
    shown = start[:8].hex(" ") or "nothing: it is empty"
    return f"is no readable image (starts with {shown})", "save it as PNG"


def _too_long(name: str) -> LimitError:
    return LimitError(
        f"{name}: has more than {MAX_BYTES:,} bytes; {_EXPECTED}, with fewer; split it into parts, "
        "or scale it down"
    )


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if not 1 <= width * height <= MAX_PIXELS:
        raise LimitError(_too_large(name, f"{width} x {height}"))


def _too_large(name: str, found: str) -> str:
    return f"{name}: has {found} pixels, expected 1 to {MAX_PIXELS:,}; scale it down, or crop it"
