"""Grey pixels: what is connected, what is above a level, how many have each value."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8s = NDArray[np.uint8]

SQUARE = np.ones((3, 3), np.uint8)
"""A pixel and its neighbours: so often, it is as large as need be."""

_MANY = 4096  # pixels of an image, of which every third row tells how much there is of each value
_TALL = 100  # times as high as wide: an image is turned to find what is connected


def components(mask: UInt8s) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Find what is connected, corners included.

    Args:
        mask: (h, w) uint8, not 0 where there is something.

    Returns:
        The number of each pixel's component, (h, w) uint16 or int32, 0 the ground; and of each
        component, (n, 5) int32, its left, top, width, height, and how many pixels it has.
    """
    if mask.shape[0] > _TALL * mask.shape[1]:  # OpenCV takes long for each row
        turned, found = components(np.ascontiguousarray(mask.T))
        return turned.T, found[:, [1, 0, 3, 2, 4]]
    most = (mask.shape[0] + 1) // 2 * ((mask.shape[1] + 1) // 2)
    kind = cv2.CV_16U if most < 65536 else cv2.CV_32S  # the narrow one takes half the time
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=kind)
    return labels, stats.astype(np.int32, copy=False)


def over(image: UInt8s, level: float) -> UInt8s:
    """255 where a value is above a level, else 0."""
    return cv2.threshold(image, level, 255, cv2.THRESH_BINARY)[1].astype(np.uint8, copy=False)


def linear(image: UInt8s, slope: float, offset: float) -> UInt8s:
    """Each value times a slope, and an offset added, rounded to 0..255."""
    return cv2.addWeighted(image, slope, image, 0, offset).astype(np.uint8, copy=False)


def extremes(image: NDArray[Any]) -> tuple[float, float]:
    """The least and the largest of its values."""
    return cv2.minMaxLoc(image)[:2]


def histogram_of(image: UInt8s, where: UInt8s | None = None) -> NDArray[np.float64]:
    """How many pixels have each value; of all of a large image in every third row."""
    if where is None and image.size > _MANY:  # of some of it a third may be none
        image = image[::3]
    return cv2.calcHist([image], [0], where, [256], [0, 256]).ravel().astype(np.float64)


def quantiles(histogram: NDArray[np.float64], *shares: float) -> list[int]:
    """The values that such shares of the pixels, 0..1, are at most."""
    total = histogram.cumsum()
    return [int(total.searchsorted(share * total[-1])) for share in shares]
