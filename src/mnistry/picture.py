"""Any image file, or its bytes, to a grey array: formats, orientation, transparency, limits."""

import io
import os
import threading
import warnings
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError
from mnistry.files import open_file

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
"""An image of more pixels is refused before it is decoded: 7071 x 7071, more than phones take."""

_EXPECTED = "expected an image file as PNG, JPEG, TIFF, WebP, GIF or BMP"
_WARNINGS_LOCK = threading.Lock()  # catch_warnings changes the process's filters


def read_picture(source: str | os.PathLike[str] | bytes) -> NDArray[np.uint8]:
    """Read an image as grey, the way up that its EXIF orientation says, on white where transparent.

    Args:
        source: the file, or its contents as bytes. Whatever Pillow reads by itself, in black and
            white, grey of 8 or 16 bits, a palette or colours; of an animation the first frame.

    Returns:
        (h, w) uint8, 0 black to 255 white, writable.

    Raises:
        DataError: the file is missing, no image, damaged, cut off, over `MAX_PIXELS`, or of a kind
            that has no grey values from 0 to 255 or 65535.
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), "the image's bytes")
    name = os.fspath(source)
    try:
        with open_file(source) as stream:
            return _decode(stream, name)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{name}: cannot be read ({reason}); {_EXPECTED}") from error


def read_digit(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image of one digit that has MNIST's size, and give it MNIST's polarity.

    Dark ink on a light ground is inverted: MNIST's digits leave their border empty, so a border
    that is brighter than half on average is paper.

    Args:
        path: an image file of 28 x 28 pixels.

    Returns:
        (28, 28) uint8, 0 ground to 255 ink, writable.

    Raises:
        DataError: the image cannot be read, or has another size.
    """
    grey = read_picture(path)
    if grey.shape != (28, 28):
        height, width = grey.shape
        raise DataError(
            f"{os.fspath(path)}: is {width} x {height} pixels, expected 28 x 28; "
            "scale it to 28 x 28 with the digit in the middle"
        )
    border = np.concatenate((grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]))
    return np.invert(grey) if border.mean() > 127.5 else grey


def _decode(stream: BinaryIO, name: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _WARNINGS_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(stream) as image:
                _check(image, name)
                return _grey(ImageOps.exif_transpose(image), name)
    except DataError:
        raise
    except UnidentifiedImageError:
        stream.seek(0)
        start = stream.read(8).hex(" ") or "nothing: it is empty"
        raise DataError(
            f"{name}: is no readable image (starts with {start}); {_EXPECTED}; save it as PNG"
        ) from None
    except Image.DecompressionBombError as error:
        raise DataError(_too_large(name, "far too many")) from error
    except Exception as error:  # whatever a decoder trips over in hostile bytes
        raise DataError(
            f"{name}: is damaged or cut off ({type(error).__name__}: {error}); {_EXPECTED}; take "
            "a fresh copy, or save it as PNG"
        ) from error


def _check(image: "Image", name: str) -> None:
    width, height = image.size
    if not 1 <= width * height <= MAX_PIXELS:
        raise DataError(_too_large(name, f"{width} x {height}"))
    if image.format == "EPS":  # Pillow would start Ghostscript, which runs what the file says
        raise DataError(f"{name}: is PostScript, a program; {_EXPECTED}; save it as PNG")
    if image.mode == "I" and image.format == "TIFF":  # in other formats it holds 16 bits
        raise DataError(f"{name}: has values of 32 bits, expected 8 or 16; save it as PNG")


def _too_large(name: str, found: str) -> str:
    return f"{name}: has {found} pixels, expected 1 to {MAX_PIXELS}; scale it down, or crop it"


def _grey(image: "Image", name: str) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if image.mode.startswith("I"):  # 16 bits, in one of several byte orders
        values = np.asarray(image).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise DataError(
                f"{name}: has values from {low} to {high}, expected 0 to 65535; save it as PNG"
            )
        return ((values + 128) // 257).astype(np.uint8)
    if image.mode == "F":
        raise DataError(f"{name}: has fractional values, expected 8 or 16 bits; save it as PNG")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper, cover = Image.new("L", image.size, 255), image.getchannel("A")
        paper.paste(image.convert("L"), mask=cover)
        white = paper.point(lambda value: 255 - value).getbbox() is None
        image = ImageOps.invert(cover) if white else paper  # white ink on nothing
    return np.array(image.convert("L"))
