"""Ink to a 28 x 28 image made as MNIST's were.

The geometry is that of the MNIST files themselves: the ink's box is scaled, its aspect kept, so
that the longer side is 20 pixels, grey coming from area averaging; it is pasted at an integer
offset so that its centre of mass falls on pixel 14 of 0..27, as far as it stays inside; the
brightest pixel is 255. MNIST was made from ink that was black or nothing. So that a grey rim, as
scanning and scaling leave, does not widen the box, it holds what has more than a tenth of the
brightest pixel's ink.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.errors import UsageError

SIZE = 28
"""The image's side."""

_BOX, _CENTRE = 20, 14  # the longer side of the ink's box, and where the centre of mass goes
_STRETCHED = 24  # the sides of what two digits are stretched to
_RIM = 0.1  # of the brightest pixel: fainter ink does not widen the box


def normalise(ink: NDArray[np.uint8], pixel_aspect: float = 1.0) -> NDArray[np.uint8]:
    """Bring the ink of one digit to MNIST's form.

    Args:
        ink: (h, w) uint8 of any size, 0 ground to 255 ink. Whatever has over a tenth of the
            brightest pixel's ink counts, so the ground has to be clean.
        pixel_aspect: The width of a pixel by its height, above 0: 1 but for some scans, as a fax's.

    Returns:
        (28, 28) uint8, 0 ground to 255 ink; all 0 where there is no ink.

    Raises:
        UsageError: `ink` has another dtype or number of axes, or no pixels; or pixels have no size.
    """
    if not 0 < pixel_aspect < math.inf:
        raise UsageError(f"pixel_aspect: is {pixel_aspect}, expected a number above 0")
    image = np.zeros((SIZE, SIZE), np.uint8)
    part = _core(ink)
    if not part.size:
        return image
    height, width = part.shape
    scale = _BOX / max(width * pixel_aspect, height)
    size = max(1, round(width * pixel_aspect * scale)), max(1, round(height * scale))
    # what is enlarged has no areas to average
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = _to_full(cv2.resize(part, size, interpolation=how).astype(np.uint8))
    if not cv2.countNonZero(small):  # hairs on a very large image: averages below 1
        exact = cv2.resize(part.astype(np.float32), size, interpolation=how)
        small = (exact * (255 / exact.max())).astype(np.uint8)
    moments = cv2.moments(small)
    left, top = (
        min(max(round(_CENTRE - moments[key] / moments["m00"]), 0), SIZE - length)
        for key, length in zip(("m10", "m01"), size, strict=True)
    )
    image[top : top + size[1], left : left + size[0]] = small
    return image


def stretch(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring the ink of two digits that touch to a form of which as much is seen as of one.

    The ink's box is scaled to 24 x 24 pixels, its aspect lost, in the middle of the image.

    Args:
        ink: As for `normalise`.

    Returns:
        (28, 28) uint8, 0 ground to 255 ink; all 0 where there is no ink.

    Raises:
        UsageError: `ink` has another dtype or number of axes, or no pixels.
    """
    image = np.zeros((SIZE, SIZE), np.uint8)
    part = _core(ink)
    if part.size:
        how = cv2.INTER_AREA if min(part.shape) > _STRETCHED else cv2.INTER_LINEAR
        small = cv2.resize(part, (_STRETCHED, _STRETCHED), interpolation=how).astype(np.uint8)
        edge = (SIZE - _STRETCHED) // 2
        image[edge:-edge, edge:-edge] = _to_full(small)
    return image


def _core(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The box of what is no rim, brightened; nothing where there is no ink."""
    if ink.dtype != np.uint8 or ink.ndim != 2 or not ink.size:
        raise UsageError(f"ink: is {ink.dtype} of shape {ink.shape}, expected uint8 of (h, w)")
    ink = _to_full(ink)
    _, core = cv2.threshold(ink, _RIM * 255, 255, cv2.THRESH_BINARY)
    x, y, width, height = cv2.boundingRect(core)
    return ink[y : y + height, x : x + width]


def _to_full(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightened so that the brightest pixel, if there is any, is 255."""
    peak = int(cv2.norm(image, cv2.NORM_INF))
    if peak not in (0, 255):
        image = cv2.convertScaleAbs(image, alpha=255 / peak).astype(np.uint8)
    return image
