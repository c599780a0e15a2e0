"""Dithered images to grey ones.

An image of two values may stand for greys by how many of its pixels are black (Floyd and Steinberg,
1976), so that white paper that is not quite white has dots all over. Strokes are no dots.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8s = NDArray[np.uint8]

_DOTS, _SHARE = 500, 0.004  # at least, of all pixels: less are specks, or hairs aslant
_BLUR = 1.5  # pixels


def undithered(grey: UInt8s) -> UInt8s:
    """Give a dithered image its greys.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        The same, blurred if it is black and white alone and has dots of a pixel all over.
    """
    some = grey[len(grey) // 2] + np.uint8(1)  # nearly all images have greys there: 255 becomes 0
    if some.max() > 1 or cv2.countNonZero(cv2.inRange(grey, 1, 254)):
        return grey
    padded = np.pad(grey, 1, mode="edge")
    is_dot = np.ones(grey.shape, bool)
    for down, right in ((0, 1), (2, 1), (1, 0), (1, 2)):
        is_dot &= padded[down:, right:][: grey.shape[0], : grey.shape[1]] != grey
    if np.count_nonzero(is_dot) < max(_DOTS, _SHARE * grey.size):
        return grey
    return cv2.GaussianBlur(grey, (0, 0), _BLUR).astype(np.uint8, copy=False)
