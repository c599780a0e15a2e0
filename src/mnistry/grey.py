"""Decoded images and arrays of every kind to grey, as they are meant to be seen.

That is upright, on white, and with square pixels: a fax's lines lie twice as far apart as its dots.

Colours become their luminance. That keeps ink of every colour but yellow far above a photo's noise,
and pencil clearer than the darkest of the three channels does, which has the noise of all of them.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

_ALIKE, _LONGEST = 0.1, 4  # resolutions that differ by less, or more times, are a slip, or a lie
_LARGE = 20_000_000  # pixels


def grey_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Bring an array of any usual kind to grey.

    Args:
        array: (h, w), or (h, w, c) with grey, grey and alpha, RGB, or RGB and alpha, none of them
            0; uint8 or uint16, 0 black to the type's largest; bool, True white; or floats from 0
            black to 1.

    Returns:
        (h, w) uint8, 0 black to 255 white, writable, a copy.

    Raises:
        UsageError: The array has another shape, dtype or range.
    """
    shape, dtype = array.shape, array.dtype
    if len(shape) not in (2, 3) or (len(shape) == 3 and not 1 <= shape[2] <= 4):
        raise UsageError(
            f"the array: has shape {shape}, expected (h, w), or (h, w, c) with 1 to 4 channels; "
            "give one image"
        )
    if dtype == np.uint8:
        values = np.array(array, order="C")
    elif dtype == np.bool_:
        values = array.astype(np.uint8, order="C") * np.uint8(255)
    elif dtype.kind == "u" and dtype.itemsize == 2:
        if 0 < (most := int(array.max())) <= 255:
            raise UsageError(
                f"the array: is of {dtype} with values up to {most}, expected 0 black to 65535 "
                "white; convert bytes with astype(numpy.uint8)"
            )
        values = _to_bytes(array, 65535)
    elif dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if np.isnan(low):
            raise UsageError(
                "the array: has values that are no numbers (NaN), expected 0 black to 1 white; "
                "give them one"
            )
        if not (low >= 0 and high <= 1):
            raise UsageError(
                f"the array: has fractional values from {low:g} to {high:g}, expected 0 black to 1 "
                "white; divide by the largest that there can be"
            )
        values = np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    else:
        raise UsageError(
            f"the array: is of {dtype}, expected uint8, uint16, bool, or floats from 0 to 1; "
            "convert it with astype"
        )
    if len(shape) == 2 or shape[2] == 1:
        return np.ascontiguousarray(values.reshape(shape[:2]))
    from PIL import Image

    return np.array(_grey(Image.fromarray(np.ascontiguousarray(values)), "the array"))


def grey_image(image: "Image", name: str) -> NDArray[np.uint8]:
    """Decode an image, bring it to grey, and turn and stretch it as the file says.

    Args:
        image: of any mode; it stays as it is.
        name: what an error calls it.

    Returns:
        (h, w) uint8, 0 black to 255 white, writable, a copy. It is turned as EXIF's orientation
        says. Where the resolutions across and down differ, up to four times, it has the finer one
        both ways; the coarser, if it would have over 20 million pixels.

    Raises:
        DataError: The image has no grey values from 0 to 255 or 65535.
        Exception: Whatever Pillow raises where the file is damaged.
    """
    from PIL import Image

    image.load()
    orientation = 1
    with suppress(Exception):  # in EXIF that is damaged
        orientation = image.getexif().get(0x0112, 1)
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    info = image.info
    # a PNG or a JPEG may say nothing but the aspect
    bare = info.get("jfif_density") if info.get("jfif_unit") == 0 else info.get("aspect")
    grey = _square(_grey(image, name), info.get("dpi") or bare)
    return np.array(grey if turn is None else grey.transpose(turn))


def _square(grey: "Image", dpi: object) -> "Image":
    """An image with square pixels, its resolutions across and down being known or not."""
    try:
        across, down = map(float, dpi)  # type: ignore[call-overload]
        ratio = across / down
    except (TypeError, ValueError, ZeroDivisionError):
        return grey
    if abs(ratio - 1) < _ALIKE or not 1 / _LONGEST <= ratio <= _LONGEST:
        return grey
    # the coarser side is stretched, but on a large image the finer one shrunk
    is_large = max(ratio, 1 / ratio) * grey.width * grey.height > _LARGE
    across, down = (1, ratio) if is_large == (ratio < 1) else (1 / ratio, 1)
    return grey.resize((max(1, round(grey.width * across)), max(1, round(grey.height * down))))


def _grey(image: "Image", name: str) -> "Image":
    """A loaded image in mode L."""
    if image.mode.startswith("I"):
        return _sixteen_bits(image, name)
    if image.mode == "F":
        raise DataError(f"{name}: has fractional values, expected 8 or 16 bits; save it as PNG")
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode == "LAB":
        return image.getchannel("L")
    return image if image.mode == "L" else image.convert("L")


def _sixteen_bits(image: "Image", name: str) -> "Image":
    from PIL import Image

    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # there it holds 16 bits
        raise DataError(f"{name}: has signed values or 32 bits, expected 8 or 16; save it as PNG")
    tags = getattr(image, "tag_v2", {})
    values = np.asarray(image)
    grey = _to_bytes(values, 4095 if tags.get(258) == (12,) else 65535)
    if tags.get(262) == 0:  # 0 is white; Pillow leaves 16 bits so
        np.invert(grey, out=grey)
    if (clear := image.info.get("transparency")) is not None:
        grey[values == clear] = 255
    return Image.fromarray(grey)


def _to_bytes(values: NDArray[Any], white: int) -> NDArray[np.uint8]:
    """Values from 0 to `white`, at most 65535, to the nearest of 0 to 255."""
    wide = values.astype(np.uint32)
    wide *= 255
    wide += white // 2
    wide //= white
    return wide.astype(np.uint8)


def _on_white(image: "Image") -> "Image":
    from PIL import Image, ImageOps

    if image.mode not in ("LA", "RGBA"):
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    grey, cover = image.convert("L"), image.getchannel("A")
    if cover.getextrema()[0] == 255:
        return grey
    paper = Image.new("L", image.size, 255)
    paper.paste(grey, mask=cover)
    white = paper.getextrema()[0] == 255
    return ImageOps.invert(cover) if white else paper  # white ink on nothing
