"""The paper behind the ink: its brightness, place by place or at once, its noise, its polarity.

Ink is dark on light, or light on dark, whichever of the two lies further from the image's middle
grey; where the paper is not as bright all over, what is thin, if it is nearly all of one kind. The
paper's own brightness is what is left when strokes are closed (Serra, 1982) by a square wider than
they are, so that a shadow or a desk wider than that stays paper, sharp edges and all.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pixels import SQUARE, components, extremes, histogram_of, linear, quantiles

UInt8s = NDArray[np.uint8]

FAINTEST = 18
"""Of 255: what differs less from the paper is no ink."""
SIGMAS = 5.0
"""Of the noise: what is fainter is paper."""

_VALUES = np.arange(256)
_NEAR = np.ones(9)  # of them: about the same
_COARSE = 512  # pixels of the longer side of what the paper is estimated on
_FEW = 64  # the same, at most, of what is too coarse to have many strokes
_WHITE = 240  # of 255: the paper's brightness, which noise may exceed
_WIDEST = 0.007  # of the image's side: half a stroke that is wider than most
_STROKES = 0.009  # of an image is narrow where strokes are; less may be the corners of thick ones
_MUCH_MORE = 3  # so many times as much says that it is not by chance
_DEEPEST = 0.4  # of the brightest paper: what is darker is enlarged no more than that
_DIM, _EDGE = 0.7, 0.05  # of the same, and of the image: so dark and so large may be a desk
# even paper: how much of it is about as bright as most, how bright, and how loud its noise may be
_EVEN, _DARKEST, _LOUD = 0.95, 64, 0.25
_NARROW = 9  # pixels, in the coarse image: what is as wide may be no ink
_LEAST = 10  # pixels of the middle of strokes: fewer tell nothing


def contrast_of(grey: UInt8s) -> tuple[UInt8s, UInt8s | None, bool]:
    """Tell how much darker than its paper each pixel is, or lighter where paper is dark.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        The contrast, (h, w) uint8, 255 black; where paper is not as bright all over, the image
        itself, dark on light; and whether some of the paper is dim.
    """
    small = _reduced(grey, _COARSE)
    even = _even_paper(small)
    if even is not None:
        brightness, is_dark = even
        times = _WHITE / brightness
        slope, offset = (times, 255 - 255 * times) if is_dark else (-times, 255)
        return linear(grey, slope, offset), None, False
    if _is_dark(small):
        grey, small = np.invert(grey), np.invert(small)
    paper = _paper(small)
    lifted, level, is_dim = grey, paper, False
    darkest, brightest = extremes(paper)
    if darkest <= _DIM * brightest:  # else none of it is dim, or deep
        (bright,) = quantiles(histogram_of(paper), 0.95)
        is_dim = (paper < _DIM * bright).mean() > _EDGE
        level = np.maximum(paper, max(1, round(_DEEPEST * bright)))
        lifted = cv2.add(grey, _enlarged(level - paper, grey.shape)).astype(np.uint8, copy=False)
    contrast = np.invert(cv2.divide(lifted, _enlarged(level, grey.shape), scale=_WHITE))
    return contrast, grey, is_dim


def noise(histogram: NDArray[np.float64], both: bool) -> tuple[int, float]:
    """Tell the contrast of the ground, and the deviation of its noise.

    Args:
        histogram: (256,) of the contrast.
        both: Whether what is darker than the ground may be noise too, as the grain of a desk,
            rather than ink or rules, of which there may be more than there is ground.
    """
    ground = int(np.convolve(histogram, _NEAR, "same").argmax())
    spread = histogram[ground::-1]
    if both:
        (ground,) = quantiles(histogram, 0.5)
        spread = _folded(histogram, ground)
    (usual,) = quantiles(spread, 0.5)
    return ground, 1.48 * usual


def _even_paper(small: UInt8s) -> tuple[int, bool] | None:
    """The brightness of paper that is the same all over, and whether the image is a negative.

    None where some of it is brighter or darker, or where something on it is not narrow, and may be
    a shadow or a desk: the paper has to be looked at place by place then.
    """
    histogram = histogram_of(small)
    is_dark = _is_negative(histogram)
    if is_dark:
        histogram, small = histogram[::-1], np.invert(small)
    paper = 255 - noise(histogram[::-1], False)[0]
    least = FAINTEST * paper / _WHITE
    (usual,) = quantiles(_folded(histogram, paper), 0.5)  # light and all
    if SIGMAS * 1.48 * usual > least:  # without what light does, which is wider
        grain = cv2.absdiff(small, cv2.blur(small, (5, 5))).astype(np.uint8, copy=False)
        usual = min(usual, *quantiles(histogram_of(grain), 0.5))
    faintest = max(least, SIGMAS * 1.48 * usual)
    near = histogram[max(0, round(paper - faintest / 3)) : round(paper + faintest / 3) + 1].sum()
    ink = histogram[: max(0, round(paper - faintest))].sum()
    if paper < _DARKEST or faintest > _LOUD * paper or near < _EVEN * (histogram.sum() - ink):
        return None
    marks = cv2.threshold(small, paper - faintest, 255, cv2.THRESH_BINARY_INV)[1]
    solid = cv2.erode(marks, SQUARE, iterations=_NARROW // 2, borderValue=255)
    return None if cv2.countNonZero(solid) else (paper, is_dark)


def _folded(histogram: NDArray[np.float64], value: int) -> NDArray[np.float64]:
    """How many pixels are so far from a value, either way."""
    return np.bincount(np.abs(_VALUES - value), histogram).astype(np.float64, copy=False)


def _is_negative(histogram: NDArray[np.float64]) -> bool:
    """Whether what is bright lies further from the middle than what is dark."""
    low, middle, high = quantiles(histogram, 0.005, 0.5, 0.995)
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
    return _is_negative(histogram_of(small))


def _narrow(small: UInt8s) -> tuple[float, float, float]:
    """How much light there is in what is narrow, how much dark, and its share of the image."""
    usual = cv2.medianBlur(small, max(3, max(small.shape) // 16 | 1))
    parts = [
        cv2.threshold(difference, FAINTEST, 255, cv2.THRESH_TOZERO)[1]
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
    bare = cv2.dilate(few, SQUARE, iterations=reach)  # closed and opened: without most strokes,
    bare = cv2.erode(bare, SQUARE, iterations=2 * reach)  # dark and light
    bare = cv2.dilate(bare, SQUARE, iterations=reach)
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
    ridge = (depth > 0) & (depth == cv2.dilate(depth, SQUARE))
    wide = max(strokes.shape) / 16
    if extremes(depth)[1] > wide:  # a desk is none, if there are others: wide, and at the edge
        labels, stats = components(strokes)
        start, stop = stats[:, :2], stats[:, :2] + stats[:, 2:4]
        desk = ((start == 0) | (stop == strokes.shape[::-1])).any(1)
        desk[np.setdiff1d(np.arange(len(desk)), labels[depth > wide])] = False
        others = ridge & ~desk[labels]
        ridge = others if others.sum() >= _LEAST else ridge
    found: NDArray[np.float32] = depth[ridge]
    return found


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


def _enlarged(small: UInt8s, shape: tuple[int, ...]) -> UInt8s:
    if small.shape == shape:
        return small
    large = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return large.astype(np.uint8, copy=False)


def _close(grey: UInt8s, side: int, more: int = 0) -> UInt8s:
    """Fills what is dark and narrower than a side, in pixels; what is left grows by `more`."""
    reach = max(1, side // 2)
    filled = cv2.dilate(grey, SQUARE, iterations=reach)
    low, high = extremes(filled)
    if low < high:  # else it is all one
        filled = cv2.erode(filled, SQUARE, iterations=reach + more)
    return filled.astype(np.uint8, copy=False)
