"""How much ink there is at each pixel of an image: polarity, uneven light and noise taken away.

Ink is what differs from the paper around it: dark on light, or light on dark, whichever of the two
lies further from the image's middle grey; where the paper is not as bright all over, what is thin,
if it is nearly all of one kind. The paper's own brightness is what is left when strokes are closed
(Serra, 1982) by a square wider than they are, so that a shadow or a desk wider than that stays
paper, sharp edges and all.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8s = NDArray[np.uint8]

_VALUES = np.arange(256)
_NEAR = np.ones(9)  # of them: about the same
_SQUARE = np.ones((3, 3), np.uint8)  # so often, it is as large as need be
_COARSE = 512  # pixels of the longer side of what the paper is estimated on
_FEW = 64  # the same, at most, of what is too coarse to have many strokes
_SOME = 10  # pixels of strokes, or of their middle: fewer tell nothing
_WHITE = 240  # of 255: the paper's brightness, which noise may exceed
_WIDEST = 0.007  # of the image's side: half a stroke that is wider than most
_STROKES = 0.009  # of an image is narrow where strokes are; less may be the corners of thick ones
_MUCH_MORE = 3  # so many times as much says that it is not by chance
_DEEPEST = 0.4  # of the brightest paper: what is darker is enlarged no more than that
_DIM, _EDGE = 0.7, 0.05  # of the same, and of the image: so dark and so large may be a desk
# even paper: how much of it is about as bright as most, how bright, and how loud its noise may be
_EVEN, _DARKEST, _LOUD = 0.95, 64, 0.25
_NARROW = 9  # pixels, in the coarse image: what is as wide may be no ink
_SIGMAS = 5.0  # of the noise: what is fainter is paper
_FAINTEST = 18  # of 255: what differs less from the paper is no ink
_WEAK = 0.5  # of what stands out, at least: what goes on a stroke that is narrower than a pixel
_PALE = 0.65  # of the same: what a line may have that is in bits otherwise
_STRONG, _REACH = 0.5, 2  # of such strokes: how much stands out; and how many pixels they go on
_FULL = 0.9  # of what stands out: how much has less contrast than full ink
_OF_INK = 0.25  # of the ink's own contrast: what has less is the rim of a stroke, or a faint rule
# the same where little of the ink is inside of strokes: a stroke that is narrower than a pixel is
# the paler for it
_OF_THIN_INK, _THIN = 0.12, 0.35
_MANY = 4096  # pixels of an image, of which every third row tells how much there is of each value
_MARGIN = 4  # pixels
_TALL = 100  # times as high as wide: an image is turned to find what is connected


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
        (full,) = _quantiles(_histogram(self.soft, faint), _FULL)
        return replace(self, full=full, faint=faint, is_bare=False)

    @cached_property
    def _inked(self) -> tuple[float, UInt8s]:
        """The least contrast that any ink has, and where there is as much."""
        least, strokes = self._above(_OF_INK)
        inside = cv2.countNonZero(cv2.erode(strokes, _SQUARE))
        if inside >= _THIN * cv2.countNonZero(strokes):
            return least, strokes
        least, strokes = self._above(_OF_THIN_INK)
        if not self.is_bare:  # the rims of lines go on strokes, too
            return least, strokes
        weakest = self._weaker(_WEAK)
        labels, stats = components(_over(self.soft, weakest))  # two thresholds: Canny, 1986
        strong = np.bincount(labels[strokes > 0], minlength=len(stats))
        # else it is a pale line that a stroke touches, or a grain of noise
        goes_on = (strong >= _SOME) & (strong >= _STRONG * stats[:, 4])
        near = cv2.dilate(strokes, _SQUARE, iterations=_REACH).astype(np.uint8, copy=False)
        return min(least, weakest), strokes | (near * goes_on[labels])

    def _above(self, share: float) -> tuple[float, UInt8s]:
        least = self.ground + share * (self.full - self.ground)
        return least, _over(self.soft, least) & self.faint

    def _weaker(self, share: float) -> float:
        return self.ground + share * (self.faintest - self.ground)

    @property
    def pale(self) -> UInt8s:
        """(h, w) uint8, 255 where anything may stand out, or be noise, else 0."""
        return _over(self.soft, self._weaker(_PALE))

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
        return _linear(self.contrast, times, -rim * times)


def find_ink(grey: UInt8s) -> InkMap:
    """Tell ink from paper.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        Its ink; all 0 where nothing stands out from the paper and its noise.
    """
    contrast, uneven, is_dim = _contrast(grey)
    soft = cv2.GaussianBlur(contrast, (3, 3), 0).astype(np.uint8, copy=False)
    histogram = _histogram(soft)
    ground, sigma = _noise(histogram, is_dim)
    faintest = ground + max(_FAINTEST, _SIGMAS * sigma)
    histogram[: int(faintest) + 1] = 0
    (full,) = _quantiles(histogram, _FULL)
    return InkMap(contrast, soft, ground, full, _over(soft, faintest), faintest, uneven)


def _contrast(grey: UInt8s) -> tuple[UInt8s, UInt8s | None, bool]:
    """How much darker than its paper each pixel is.

    Beside it, where paper is not as bright all over, the image, dark on light; and whether some of
    it is dim.
    """
    small = _reduced(grey, _COARSE)
    even = _even_paper(small)
    if even is not None:
        brightness, is_dark = even
        times = _WHITE / brightness
        slope, offset = (times, 255 - 255 * times) if is_dark else (-times, 255)
        return _linear(grey, slope, offset), None, False
    if _is_dark(small):
        grey, small = np.invert(grey), np.invert(small)
    paper = _paper(small)
    lifted, level, is_dim = grey, paper, False
    darkest, brightest = _extremes(paper)
    if darkest <= _DIM * brightest:  # else none of it is dim, or deep
        (bright,) = _quantiles(_histogram(paper), 0.95)
        is_dim = (paper < _DIM * bright).mean() > _EDGE
        level = np.maximum(paper, max(1, round(_DEEPEST * bright)))
        lifted = cv2.add(grey, _enlarged(level - paper, grey.shape)).astype(np.uint8, copy=False)
    contrast = np.invert(cv2.divide(lifted, _enlarged(level, grey.shape), scale=_WHITE))
    return contrast, grey, is_dim


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


def _noise(histogram: NDArray[np.float64], both: bool) -> tuple[int, float]:
    """The contrast of the ground, and the deviation of its noise.

    Args:
        histogram: Of the contrast.
        both: Whether what is darker than the ground may be noise too, as the grain of a desk,
            rather than ink or rules, of which there may be more than there is ground.
    """
    ground = int(np.convolve(histogram, _NEAR, "same").argmax())
    spread = histogram[ground::-1]
    if both:
        (ground,) = _quantiles(histogram, 0.5)
        spread = _folded(histogram, ground)
    (usual,) = _quantiles(spread, 0.5)
    return ground, 1.48 * usual


def _over(image: UInt8s, level: float) -> UInt8s:
    return cv2.threshold(image, level, 255, cv2.THRESH_BINARY)[1].astype(np.uint8, copy=False)


def _linear(image: UInt8s, slope: float, offset: float) -> UInt8s:
    """Each value times a slope, and an offset added, rounded to 0..255."""
    return cv2.addWeighted(image, slope, image, 0, offset).astype(np.uint8, copy=False)


def _extremes(image: NDArray[Any]) -> tuple[float, float]:
    """The least and the largest of its values."""
    return cv2.minMaxLoc(image)[:2]


def _histogram(image: UInt8s, where: UInt8s | None = None) -> NDArray[np.float64]:
    """How many pixels have each value; of all of a large image in every third row."""
    if where is None and image.size > _MANY:  # of some of it a third may be none
        image = image[::3]
    return cv2.calcHist([image], [0], where, [256], [0, 256]).ravel().astype(np.float64)


def _folded(histogram: NDArray[np.float64], value: int) -> NDArray[np.float64]:
    """How many pixels are so far from a value, either way."""
    return np.bincount(np.abs(_VALUES - value), histogram).astype(np.float64, copy=False)


def _quantiles(histogram: NDArray[np.float64], *shares: float) -> list[int]:
    total = histogram.cumsum()
    return [int(total.searchsorted(share * total[-1])) for share in shares]


def _reduced(grey: UInt8s, side: int) -> UInt8s:
    """Made smaller, if need be, so that the longer side has so many pixels."""
    height, width = grey.shape
    scale = side / max(height, width)
    if scale >= 1:
        return grey
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _reduced_by(grey: UInt8s, times: int) -> UInt8s:
    """Made smaller by a whole number, which takes a tenth of the time, less what is left over."""
    height, width = (max(1, side // times) for side in grey.shape)
    grey = grey[: height * times, : width * times]
    small = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)
    return small.astype(np.uint8, copy=False)


def _even_paper(small: UInt8s) -> tuple[int, bool] | None:
    """The brightness of paper that is the same all over, and whether the image is a negative.

    None where some of it is brighter or darker, or where something on it is not narrow, and may be
    a shadow or a desk: the paper has to be looked at place by place then.
    """
    histogram = _histogram(small)
    is_dark = _is_negative(histogram)
    if is_dark:
        histogram, small = histogram[::-1], np.invert(small)
    paper = 255 - _noise(histogram[::-1], False)[0]
    least = _FAINTEST * paper / _WHITE
    (usual,) = _quantiles(_folded(histogram, paper), 0.5)  # light and all
    if _SIGMAS * 1.48 * usual > least:  # without what light does, which is wider
        grain = cv2.absdiff(small, cv2.blur(small, (5, 5))).astype(np.uint8, copy=False)
        usual = min(usual, *_quantiles(_histogram(grain), 0.5))
    faintest = max(least, _SIGMAS * 1.48 * usual)
    near = histogram[max(0, round(paper - faintest / 3)) : round(paper + faintest / 3) + 1].sum()
    ink = histogram[: max(0, round(paper - faintest))].sum()
    if paper < _DARKEST or faintest > _LOUD * paper or near < _EVEN * (histogram.sum() - ink):
        return None
    marks = cv2.threshold(small, paper - faintest, 255, cv2.THRESH_BINARY_INV)[1]
    solid = cv2.erode(marks, _SQUARE, iterations=_NARROW // 2, borderValue=255)
    return None if cv2.countNonZero(solid) else (paper, is_dark)


def _is_negative(histogram: NDArray[np.float64]) -> bool:
    """Whether what is bright lies further from the middle than what is dark."""
    low, middle, high = _quantiles(histogram, 0.005, 0.5, 0.995)
    return high - middle > middle - low


def _is_dark(small: UInt8s) -> bool:
    """Whether the ground is dark and the ink light."""
    light, dark, share = _narrow(small)
    is_thin = share > _STROKES
    if not is_thin:  # one thick digit, or nothing: light may fall from side to side
        small = _level(small)
        light, dark, _ = _narrow(small)
    is_one_kind = max(light, dark) > _MUCH_MORE * min(light, dark)
    if is_one_kind and (is_thin or _has_desk(small)):  # whatever light there is, it is ink
        return light > dark
    return _is_negative(_histogram(small))


def _narrow(small: UInt8s) -> tuple[float, float, float]:
    """How much light there is in what is narrow, how much dark, and its share of the image."""
    usual = cv2.medianBlur(small, max(3, max(small.shape) // 16 | 1))
    parts = [
        cv2.threshold(difference, _FAINTEST, 255, cv2.THRESH_TOZERO)[1]
        for difference in (cv2.subtract(small, usual), cv2.subtract(usual, small))
    ]
    light, dark = (cv2.sumElems(part)[0] for part in parts)
    return light, dark, max(map(cv2.countNonZero, parts)) / small.size


def _level(small: UInt8s) -> UInt8s:
    """Without what light does that falls from one side to another: a plane, by least squares."""
    slopes = []
    for axis in (1, 0):
        side = small.shape[1 - axis]
        along = np.arange(side, dtype=np.float32) - (side - 1) / 2
        slopes.append(along * (along @ small.mean(axis) / max(0.5, along @ along)))
    level: UInt8s = np.clip(small - slopes[0][:, None] - slopes[1], 0, 255).astype(np.uint8)
    return level


def _has_desk(small: UInt8s) -> bool:
    """Whether there is a desk around the paper, or a part of it is in deep shadow."""
    few = _reduced_by(small, -(-max(small.shape) // _FEW))
    reach = max(1, max(few.shape) // 26)
    bare = cv2.dilate(few, _SQUARE, iterations=reach)  # closed and opened: without most strokes,
    bare = cv2.erode(bare, _SQUARE, iterations=2 * reach)  # dark and light
    bare = cv2.dilate(bare, _SQUARE, iterations=reach)
    bright = cv2.threshold(bare, 0, 255, cv2.THRESH_OTSU)[1].astype(np.uint8, copy=False)
    strip = max(1, min(bright.shape) // 8)
    strips = bright[:strip], bright[-strip:], bright[:, :strip], bright[:, -strip:]
    shares = [cv2.countNonZero(part) / part.size for part in strips]
    return (min(shares) < 0.05 and _is_large(bright)) or (
        max(shares) > 0.95 and _is_large(np.invert(bright))
    )


def _is_large(part: UInt8s) -> bool:
    """Whether a square of a quarter of the image fits in."""
    side = max(3, min(part.shape) // 4)
    if cv2.countNonZero(part) < side**2:
        return False
    return cv2.countNonZero(cv2.erode(part, np.ones((side, side)), borderValue=0)) > 0


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
    # the dark side of a sharp edge is to stay dark up to it
    edged = _close(small, min(longer // 3, round(5 + 3 * wide)), 2)
    return cv2.blur(edged, (5, 5)).astype(np.uint8, copy=False)


def _ridge(strokes: UInt8s) -> NDArray[np.float32]:
    """Half the width of strokes, at each pixel along their middle."""
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3).astype(np.float32, copy=False)
    ridge = (depth > 0) & (depth == cv2.dilate(depth, _SQUARE))
    wide = max(strokes.shape) / 16
    if _extremes(depth)[1] > wide:  # a desk is none, if there are others: wide, and at the edge
        labels, stats = components(strokes)
        start, stop = stats[:, :2], stats[:, :2] + stats[:, 2:4]
        desk = ((start == 0) | (stop == strokes.shape[::-1])).any(1)
        desk[np.setdiff1d(np.arange(len(desk)), labels[depth > wide])] = False
        others = ridge & ~desk[labels]
        ridge = others if others.sum() >= _SOME else ridge
    found: NDArray[np.float32] = depth[ridge]
    return found


def _enlarged(small: UInt8s, shape: tuple[int, ...]) -> UInt8s:
    if small.shape == shape:
        return small
    large = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return large.astype(np.uint8, copy=False)


def _close(grey: UInt8s, side: int, more: int = 0) -> UInt8s:
    """Fills what is dark and narrower than a side, in pixels; what is left grows by `more`."""
    reach = max(1, side // 2)
    filled = cv2.dilate(grey, _SQUARE, iterations=reach)
    low, high = _extremes(filled)
    if low < high:  # else it is all one
        filled = cv2.erode(filled, _SQUARE, iterations=reach + more)
    return filled.astype(np.uint8, copy=False)
