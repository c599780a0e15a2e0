"""The paper behind the ink: its brightness, place by place or at once, and its noise.

The paper's own brightness is what is left when strokes are closed (Serra, 1982) by a square wider
than they are, so that a shadow or a desk wider than that stays paper, sharp edges and all.
"""

from math import ceil
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pixels import SQUARE, components, extremes, histogram_of, linear, over, quantiles
from mnistry.polarity import FAINTEST, ground_of, ink_on, is_negative, sheet_in

UInt8s = NDArray[np.uint8]

SIGMAS = 5.0
"""Of the noise: what is fainter is paper."""

_VALUES = np.arange(256)
_NEAR = np.ones(9)  # of them: about the same
_COARSE = 512  # pixels of the longer side of what the paper is estimated on
_WHITE = 240  # of 255: the paper's brightness, which noise may exceed
_WIDEST = 0.007  # of the image's side: half a stroke that is wider than most
_DEEPEST = 0.4  # of the brightest paper: what is darker is enlarged no more than that
_DIM, _EDGE = 0.7, 0.05  # of the same, and of the image: so dark and so large may be a desk
# even paper: how much of it is about as bright as most, how bright, and how loud its noise may be
_EVEN, _DARKEST, _LOUD = 0.95, 64, 0.25
_NARROW = 9  # pixels, in the coarse image: what is as wide may be no ink
_RIM = 2  # pixels, in the coarse image, of an area's edge, which is no ink
# of the image's side: half of what may be no stroke, and of a desk; how far a bar goes along it
_BROAD, _DESK, _BAR = 0.0105, 0.0625, 0.9
_OTHERS = 0.2  # of the image's side, along the middle of strokes: fewer tell nothing


class Contrast(NamedTuple):
    """How much darker than its paper each pixel is, or lighter where paper is dark."""

    contrast: UInt8s
    """(h, w) uint8, 255 black; paper is about 15."""
    uneven: UInt8s | None = None
    """The image itself, dark on light, where its paper is not as bright all over."""
    is_dim: bool = False
    """Whether some of the paper is dim."""
    sheet: UInt8s | None = None
    """(h, w) uint8, 255 where the paper is, if it is a sheet on a desk; else all of it is paper."""


def contrast_of(grey: UInt8s) -> Contrast:
    """Tell ink's contrast, whatever light there is on its paper.

    Args:
        grey: (h, w) uint8, 0 black to 255 white, of any size.

    Returns:
        The contrast, that of paper where there is a desk.
    """
    small = _reduced(grey, _COARSE)
    even = _even_paper(small)
    if even is not None:
        brightness, is_dark = even
        times = _WHITE / brightness
        slope, offset = (times, 255 - 255 * times) if is_dark else (-times, 255)
        return Contrast(linear(grey, slope, offset))
    is_dark, sheet = ground_of(small)
    if is_dark:
        grey, small = np.invert(grey), np.invert(small)
    paper = _paper(small)
    lifted, level, is_dim = grey, paper, False
    darkest, brightest = extremes(paper)
    if darkest <= _DIM * brightest:  # else none of it is dim, or deep
        histogram = histogram_of(paper, sheet)
        (bright,) = quantiles(histogram, 0.95)
        is_dim = histogram[: ceil(_DIM * bright)].sum() > _EDGE * histogram.sum()
        level = np.maximum(paper, max(1, round(_DEEPEST * bright)))
        lifted = cv2.add(grey, _enlarged(level - paper, grey.shape)).astype(np.uint8, copy=False)
    contrast = np.invert(cv2.divide(lifted, _enlarged(level, grey.shape), scale=_WHITE))
    if sheet is not None:
        inside = cv2.erode(sheet, SQUARE, iterations=_RIM, borderValue=255)
        sheet = over(_enlarged(inside.astype(np.uint8, copy=False), grey.shape), 254)
        contrast[sheet == 0] = 255 - _WHITE
    return Contrast(contrast, grey, is_dim, sheet)


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
    is_dark = is_negative(histogram)
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


def _paper(small: UInt8s) -> UInt8s:
    """The brightness that the paper would have without ink."""
    longer = max(small.shape)
    rough = _close(small, longer // 3)
    difference = cv2.subtract(rough, small).astype(np.uint8, copy=False)
    strokes, depth = _strokes(difference)
    ridge = _ridge(depth)
    dark, bands = _areas(small, strokes, depth)
    if dark is not None:
        others = _ridge(np.where(dark > 0, np.float32(0), depth))
        if len(others) < _OTHERS * longer:  # what else there is may be paler
            near = cv2.dilate(dark, SQUARE, iterations=_RIM)
            rest = np.where(near > 0, np.uint8(0), difference)
            pale, deep = _strokes(rest)
            others = _ridge(np.where(over(pale & rest, FAINTEST) > 0, deep, np.float32(0)))
        ridge = others if len(others) >= _OTHERS * longer else ridge
    ridge = np.sort(ridge)
    usual, wide = 0.5, 1.0
    if len(ridge):  # most may be thin rules; but what is wide may be a shadow
        usual, large = (float(ridge[int(share * len(ridge))]) for share in (0.5, 0.95))
        wide = 2 * max(usual, min(large, _WIDEST * longer))
    # the dark side of a sharp edge is to stay dark up to it
    paper = _close(small, min(longer // 3, round(5 + 3 * wide)), 2)
    if bands is not None:
        near = cv2.dilate(bands, SQUARE, iterations=_RIM)
        paper = np.where(near > 0, _close(small, round(5 + 6 * usual), 2), paper)
    return cv2.blur(paper, (5, 5)).astype(np.uint8, copy=False)


def _areas(
    small: UInt8s, strokes: UInt8s, depth: NDArray[np.float32]
) -> tuple[UInt8s | None, UInt8s | None]:
    """What is dark and no stroke, if anything is: all of it, and what ink lies on.

    That is a desk or a shadow at the edge, a bar along it, or what a highlighter leaves.
    """
    longer = max(small.shape)
    if extremes(depth)[1] <= _BROAD * longer:
        return None, None
    labels, _ = components(strokes)
    dark, bands = np.zeros_like(strokes), np.zeros_like(strokes)
    for number in np.unique(labels[depth > _BROAD * longer]).tolist():
        part = (labels == number).view(np.uint8) * np.uint8(255)
        sides = part[0], part[-1], part[:, 0], part[:, -1]
        along = max(cv2.countNonZero(side) / side.size for side in sides)
        if along > _BAR or (along > 0 and depth[part > 0].max() > _DESK * longer):
            dark |= part
        elif (band := sheet_in(part)) is not None and ink_on(small, band) is False:
            dark |= band
            bands |= band
    return (dark if dark.any() else None), (bands if bands.any() else None)


def _strokes(difference: UInt8s) -> tuple[UInt8s, NDArray[np.float32]]:
    """What is darkest, and how far each of its pixels lies from what is not."""
    _, strokes = cv2.threshold(difference, 0, 255, cv2.THRESH_OTSU)
    depth = cv2.distanceTransform(strokes, cv2.DIST_L2, 3)
    return strokes.astype(np.uint8, copy=False), depth.astype(np.float32, copy=False)


def _ridge(depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the width of strokes, at each pixel along their middle."""
    found: NDArray[np.float32] = depth[(depth > 0) & (depth == cv2.dilate(depth, SQUARE))]
    return found


def _reduced(grey: UInt8s, side: int) -> UInt8s:
    """Made smaller, if need be, so that the longer side has so many pixels."""
    height, width = grey.shape
    scale = side / max(height, width)
    if scale >= 1:
        return grey
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


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
