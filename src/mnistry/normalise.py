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
    if ink.dtype != np.uint8 or ink.ndim != 2 or not ink.size:
        raise UsageError(f"ink: is {ink.dtype} of shape {ink.shape}, expected uint8 of (h, w)")
    if not 0 < pixel_aspect < math.inf:
        raise UsageError(f"pixel_aspect: is {pixel_aspect}, expected a number above 0")
    image = np.zeros((SIZE, SIZE), np.uint8)
    ink = _to_full(ink)
    _, core = cv2.threshold(ink, _RIM * 255, 255, cv2.THRESH_BINARY)
    x, y, width, height = cv2.boundingRect(core)
    if not width:
        return image
    scale = _BOX / max(width * pixel_aspect, height)
    size = max(1, round(width * pixel_aspect * scale)), max(1, round(height * scale))
    # what is enlarged has no areas to average
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    part = ink[y : y + height, x : x + width]
    small = _to_full(cv2.resize(part, size, interpolation=how).astype(np.uint8))
    moments = cv2.moments(small)
    left, top = (
        min(max(round(_CENTRE - moments[key] / moments["m00"]), 0), SIZE - length)
        for key, length in zip(("m10", "m01"), size, strict=True)
    )
    image[top : top + size[1], left : left + size[0]] = small
    return image


def _to_full(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Brightened so that the brightest pixel, if there is any, is 255."""
    peak = int(cv2.norm(image, cv2.NORM_INF))
    if peak not in (0, 255):
        image = cv2.convertScaleAbs(image, alpha=255 / peak).astype(np.uint8)
    return image
