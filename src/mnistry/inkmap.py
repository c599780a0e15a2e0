"""How much ink there is at each pixel of an image: polarity, uneven light and noise taken away.

Ink is what differs from the paper around it: dark on light, or light on dark, whichever of the two
lies further from the image's middle grey; where large areas are dark and others light, as when
paper lies on a desk, what is thin tells which of the two is ink. The paper's own brightness is what
is left when strokes are closed (Serra, 1982) by a square wider than they are, so that a shadow or a
desk wider than that stays paper, sharp edges and all.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8s = NDArray[np.uint8]

_COARSE = 512  # pixels of the longer side of what the paper is estimated on
_FEW = 64  # the same of what is too coarse to have many strokes
_SOME = 10  # pixels of strokes' middle: fewer tell nothing
_WHITE = 240  # of 255: the paper's brightness, which noise may exceed
_WIDEST = 0.007  # of the image's side: half a stroke that is wider than most
_MUCH_MORE = 2  # so many times as much says that it is not by chance
_DEEPEST = 0.4  # of the brightest paper: what is darker is enlarged no more than that
_DIM, _EDGE = 0.7, 0.05  # of the same, and of the image: so dark and so large may be a desk
_SIGMAS = 5.0  # of the noise: what is fainter is paper
_FAINTEST = 18  # of 255: what differs less from the paper is no ink
_OF_INK = 0.25  # of the ink's own contrast: what has less is the rim of a stroke, or a faint rule


@dataclass(frozen=True, eq=False)
class InkMap:
    """The ink of an image."""

    contrast: UInt8s
    """(h, w) uint8: 255 black; paper is about `ground`, whatever light there is on it."""
    soft: UInt8s
    """The same, blurred a little: noise and the grain of a pencil break no stroke in it."""
    ground: int
    """The contrast of paper."""
    faint: UInt8s
    """(h, w) uint8, 255 where anything stands out from the paper, else 0."""

    def without(self, lines: UInt8s) -> "InkMap":
        """The same, where some of what stands out is no ink: (h, w) 255 there, else 0."""
        faint = self.faint & ~lines
        return InkMap(self.contrast, self.soft, self.ground, faint)

    @cached_property
    def _levels(self) -> tuple[int, float]:
        """The contrast of full ink, and the least that any ink has."""
        histogram = _histogram(self.soft, self.faint)
        full = _quantile(histogram, 0.9)
        return full, self.ground + _OF_INK * (full - self.ground)

    @cached_property
    def mask(self) -> UInt8s:
        """(h, w) uint8, 255 where there is ink, else 0: not where something is too faint."""
        return _over(self.soft, self._levels[1]) & self.faint

    @cached_property
    def ink(self) -> UInt8s:
        """(h, w) uint8, 0 ground to 255 ink; what is certainly ground is 0."""
        full, least = self._levels
        if not self.faint.any():
            return self.faint
        rim = self.ground + 0.5 * (least - self.ground)
        table = np.clip((np.arange(256) - rim) * (255 / max(1.0, full - rim)), 0, 255)
        return cv2.LUT(self.contrast, np.rint(table).astype(np.uint8)).astype(np.uint8, copy=False)


def find_ink(grey: UInt8s) -> InkMap:
    """Tell ink from paper.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        Its ink; all 0 where nothing stands out from the paper and its noise.
    """
    small = _reduced(grey, _COARSE)
    if _is_dark(small):
        grey, small = np.invert(grey), np.invert(small)
    paper = _paper(small)
    bright = _quantile(_histogram(paper), 0.95)
    level = np.maximum(paper, max(1, round(_DEEPEST * bright)))
    lifted = cv2.add(grey, _enlarged(level - paper, grey.shape))
    contrast = np.invert(cv2.divide(lifted, _enlarged(level, grey.shape), scale=_WHITE))
    soft = cv2.GaussianBlur(contrast, (3, 3), 0).astype(np.uint8, copy=False)
    is_dim = (paper < _DIM * bright).mean() > _EDGE
    ground, sigma = _noise(_histogram(soft), is_dim)
    return InkMap(contrast, soft, ground, _over(soft, ground + max(_FAINTEST, _SIGMAS * sigma)))


def _noise(histogram: NDArray[np.int64], both: bool) -> tuple[int, float]:
    """The contrast of the ground, and the deviation of its noise.

    Args:
        histogram: Of the contrast.
        both: Whether what is darker than the ground may be noise too, as the grain of a desk,
            rather than ink or rules, of which there may be more than there is ground.
    """
    ground = int(np.convolve(histogram, np.ones(9), "same").argmax())
    spread = histogram[ground::-1]
    if both:
        ground = _quantile(histogram, 0.5)
        spread = np.bincount(np.abs(np.arange(256) - ground), histogram)
    return ground, 1.48 * (_quantile(spread, 0.5) if spread[0] * 2 < spread.sum() else 0)


def _over(image: UInt8s, level: float) -> UInt8s:
    return cv2.threshold(image, level, 255, cv2.THRESH_BINARY)[1].astype(np.uint8, copy=False)


def _histogram(image: UInt8s, where: UInt8s | None = None) -> NDArray[np.int64]:
    return cv2.calcHist([image], [0], where, [256], [0, 256]).ravel().astype(np.int64)


def _quantile(histogram: NDArray[Any], share: float) -> int:
    total = np.cumsum(histogram)
    return int(np.searchsorted(total, share * total[-1]))


def _reduced(grey: UInt8s, side: int) -> UInt8s:
    """Made smaller, if need be, so that the longer side has so many pixels."""
    height, width = grey.shape
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _is_dark(small: UInt8s) -> bool:
    """Whether the ground is dark and the ink light."""
    thin = np.ones((5, 5), np.uint8)
    bare = cv2.morphologyEx(_reduced(small, _FEW), cv2.MORPH_CLOSE, thin)
    bare = cv2.morphologyEx(bare, cv2.MORPH_OPEN, thin)  # of most strokes, dark and light
    bright = cv2.threshold(bare, 0, 255, cv2.THRESH_OTSU)[1].astype(np.uint8, copy=False)
    if _lies_on(bright, np.invert(bright)) or _lies_on(np.invert(bright), bright):
        # paper on a desk, or deep shadow: ink is what is thin
        usual = cv2.medianBlur(small, max(3, max(small.shape) // 16 | 1))
        light, dark = (
            cv2.threshold(difference, _FAINTEST, 255, cv2.THRESH_TOZERO)[1].sum(dtype=np.int64)
            for difference in (cv2.subtract(small, usual), cv2.subtract(usual, small))
        )
        if max(light, dark) > _MUCH_MORE * min(light, dark):
            return bool(light > dark)
    histogram = _histogram(small)
    low, middle, high = (_quantile(histogram, share) for share in (0.005, 0.5, 0.995))
    return high - middle > middle - low


def _lies_on(page: UInt8s, desk: UInt8s) -> bool:
    """Whether one part of an image (h, w), 255 there, is large, and the other along a side."""
    side = min(page.shape)
    strip = max(1, side // 8)
    strips = desk[:strip], desk[-strip:], desk[:, :strip], desk[:, -strip:]
    solid = np.ones((max(3, side // 4),) * 2, np.uint8)
    along = any(part.mean() > 0.95 * 255 for part in strips)
    return along and bool(cv2.erode(page, solid, borderValue=0).any())


def _paper(small: UInt8s) -> UInt8s:
    """The brightness that the paper would have without ink."""
    longer = max(small.shape)
    rough = _close(small, longer // 3)
    _, strokes = cv2.threshold(cv2.subtract(rough, small), 0, 255, cv2.THRESH_OTSU)
    ridge = np.sort(_ridge(strokes.astype(np.uint8, copy=False)))
    wide = 1.0
    if len(ridge):  # most may be thin rules; but what is wide may be a shadow
        usual, large = (float(ridge[int(share * len(ridge))]) for share in (0.5, 0.95))
        wide = 2 * max(usual, min(large, _WIDEST * longer))
    closed = _close(small, min(longer // 3, round(5 + 3 * wide)))
    # the dark side of a sharp edge is to stay dark up to it
    edged = cv2.erode(closed, np.ones((5, 5), np.uint8))
    return cv2.blur(edged, (5, 5)).astype(np.uint8, copy=False)


def _ridge(strokes: UInt8s) -> NDArray[np.float32]:
    """Half the width of strokes, at each pixel along their middle."""
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3).astype(np.float32, copy=False)
    ridge = (depth > 0) & (depth == cv2.dilate(depth, np.ones((3, 3), np.uint8)))
    wide = depth > max(strokes.shape) / 16
    if wide.any():  # a desk is none, if there are others: wide, and at the image's edge
        _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
        start, stop = stats[:, :2], stats[:, :2] + stats[:, 2:4]
        desk = ((start == 0) | (stop == strokes.shape[::-1])).any(1)
        desk[np.setdiff1d(np.arange(len(desk)), labels[wide])] = False
        others = ridge & ~desk[labels]
        ridge = others if others.sum() >= _SOME else ridge
    found: NDArray[np.float32] = depth[ridge]
    return found


def _enlarged(small: UInt8s, shape: tuple[int, ...]) -> UInt8s:
    large = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return large.astype(np.uint8, copy=False)


def _close(grey: UInt8s, side: int) -> UInt8s:
    """Fills what is dark and narrower than a side, in pixels."""
    kernel = np.ones((max(3, side) | 1,) * 2, np.uint8)
    return cv2.morphologyEx(grey, cv2.MORPH_CLOSE, kernel).astype(np.uint8)
