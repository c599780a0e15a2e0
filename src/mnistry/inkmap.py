"""How much ink there is at each pixel of an image, whatever the light, the noise and the pen.

Ink is what differs from the paper around it: by more than the paper's noise, and by a share of what
the darkest ink does, which is less where strokes are narrower than a pixel.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.background import SIGMAS, contrast_of, noise
from mnistry.dither import undithered
from mnistry.pixels import SQUARE, components, histogram_of, linear, over, quantiles
from mnistry.polarity import FAINTEST

UInt8s = NDArray[np.uint8]

_WEAK = 0.5  # of what stands out, at least: what goes on a stroke that is narrower than a pixel
_PALE = 0.65  # of the same: what a line may have that is in bits otherwise
# of all that is connected with such a stroke: how much is ink by itself, and how many pixels; and
# how many pixels it goes on
_STRONG, _SOME, _REACH = 0.5, 10, 2
_FULL = 0.9  # of what stands out: how much has less contrast than full ink
_OF_INK = 0.25  # of the ink's own contrast: what has less is the rim of a stroke, or a faint rule
# the same where little of the ink is inside of strokes: a stroke that is narrower than a pixel is
# the paler for it
_OF_THIN_INK, _THIN = 0.12, 0.35
# what is paler than most ink has nowhere more than this of the same; how much of it is enough by
# itself, and how much of all strokes has to be; and the rims of other ink, pixels
_DARK, _MIDDLE, _FEW, _RIM = 0.5, 0.15, 0.001, 3
_MARGIN = 4  # pixels


@dataclass(frozen=True, eq=False)
class InkMap:
    """The ink of an image."""

    contrast: UInt8s
    """(h, w) uint8: 255 black; paper is about `ground`, whatever light there is on it."""
    soft: UInt8s
    """The same, blurred a little: noise and the grain of a pencil break no stroke in it."""
    ground: int
    """The contrast of paper."""
    full: int
    """The contrast of full ink."""
    faint: UInt8s
    """(h, w) uint8, 255 where anything stands out from the paper, else 0."""
    faintest: float
    """The contrast above which it does."""
    uneven: UInt8s | None
    """(h, w) uint8: the image, dark on light, where its paper is not as bright all over."""
    is_bare: bool = True
    """Whether nothing was taken out, whose rim may be left."""

    def trimmed(self) -> tuple["InkMap", int, int]:
        """The part where anything stands out, and a little around it; its left and its top."""
        x, y, wide, tall = cv2.boundingRect(self.faint)
        left, top = max(0, x - _MARGIN), max(0, y - _MARGIN)
        place = slice(top, y + tall + _MARGIN), slice(left, x + wide + _MARGIN)
        uneven = None if self.uneven is None else self.uneven[place]
        part = InkMap(
            self.contrast[place],
            self.soft[place],
            self.ground,
            self.full,
            self.faint[place],
            self.faintest,
            uneven,
            self.is_bare,
        )
        return part, left, top

    def without(self, lines: UInt8s) -> "InkMap":
        """The same, where some of what stands out is no ink: (h, w) 255 there, else 0."""
        faint = self.faint & ~lines
        (full,) = quantiles(histogram_of(self.soft, faint), _FULL)
        return replace(self, full=full, faint=faint, is_bare=False)

    @cached_property
    def _inked(self) -> tuple[float, UInt8s]:
        """The least contrast that any ink has, and where there is as much."""
        least, strokes = self._above(_OF_INK)
        inside = cv2.countNonZero(cv2.erode(strokes, SQUARE))
        if inside >= _THIN * cv2.countNonZero(strokes):
            return least, self._with_pale(strokes)
        least, strokes = self._above(_OF_THIN_INK)
        if not self.is_bare:  # the rims of lines go on strokes, too
            return least, strokes
        weakest = self._weaker(_WEAK)
        labels, stats = components(over(self.soft, weakest))  # two thresholds: Canny, 1986
        strong = np.bincount(labels[strokes > 0], minlength=len(stats))
        # else it is a pale line that a stroke touches, or a grain of noise
        goes_on = (strong >= _SOME) & (strong >= _STRONG * stats[:, 4])
        near = cv2.dilate(strokes, SQUARE, iterations=_REACH).astype(np.uint8, copy=False)
        return min(least, weakest), strokes | (near * goes_on[labels])

    def _with_pale(self, strokes: UInt8s) -> UInt8s:
        """Strokes, and all of those that are paler than most, not their middle alone."""
        dark = self._above(_DARK)[1]
        rims = cv2.dilate(dark, SQUARE, iterations=_RIM).astype(np.uint8, copy=False)
        if cv2.countNonZero(strokes & ~rims) < max(_SOME, _FEW * cv2.countNonZero(strokes)):
            return strokes
        labels, stats = components(self._above(_OF_THIN_INK)[1])
        dark_ones, ones = (
            np.bincount(labels[each > 0], minlength=len(stats)) for each in (dark, strokes)
        )
        # else it is the edge of a shadow, or the other side shining through
        is_pale = (dark_ones == 0) & (ones >= np.maximum(_SOME, _MIDDLE * stats[:, 4]))
        pale: UInt8s = (is_pale.view(np.uint8) * np.uint8(255))[labels]
        return strokes | pale

    def _above(self, share: float) -> tuple[float, UInt8s]:
        least = self.ground + share * (self.full - self.ground)
        return least, over(self.soft, least) & self.faint

    def _weaker(self, share: float) -> float:
        return self.ground + share * (self.faintest - self.ground)

    @property
    def pale(self) -> UInt8s:
        """(h, w) uint8, 255 where anything may stand out, or be noise, else 0."""
        return over(self.soft, self._weaker(_PALE))

    @property
    def mask(self) -> UInt8s:
        """(h, w) uint8, 255 where there is ink, else 0: not where something is too faint."""
        return self._inked[1]

    @cached_property
    def ink(self) -> UInt8s:
        """(h, w) uint8, 0 ground to 255 ink; what is certainly ground is 0."""
        if not cv2.countNonZero(self.faint):
            return self.faint
        rim = self.ground + 0.5 * (self._inked[0] - self.ground)
        times = 255 / max(1.0, self.full - rim)
        return linear(self.contrast, times, -rim * times)


def find_ink(grey: UInt8s) -> InkMap:
    """Tell ink from paper.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        Its ink; all 0 where nothing stands out from the paper and its noise.
    """
    contrast, uneven, is_dim, sheet = contrast_of(undithered(grey))
    soft = cv2.GaussianBlur(contrast, (3, 3), 0).astype(np.uint8, copy=False)
    histogram = histogram_of(soft, sheet)
    ground, sigma = noise(histogram, is_dim)
    faintest = ground + max(FAINTEST, SIGMAS * sigma)
    histogram[: int(faintest) + 1] = 0
    (full,) = quantiles(histogram, _FULL)
    return InkMap(contrast, soft, ground, full, over(soft, faintest), faintest, uneven)
