"""Dark ink on a light ground or the reverse; and the sheets, where they lie on a desk.

What is all along the image's edge is its ground, unless it surrounds sheets of paper. Elsewhere
what is thin tells, if nearly all of it is of one kind; and where nothing but light differs.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pixels import SQUARE, extremes, histogram_of, quantiles

UInt8s = NDArray[np.uint8]

FAINTEST = 18
"""Of 255: what differs less from the paper is no ink."""

_ALL = 0.85  # of the image's edge: as much as all of it
_ENDS, _GRAIN = 0.1, 0.05  # of the same: either end of what varies; what is so by chance
_NEAR, _STEP = (
    7,
    0.5,
)  # pixels, in which edges of things differ by so much of what light and dark do
# a sheet of paper, seen from anywhere: its corners, if some are cut off; how far its sides are
# bent, of the shorter; how much it fills of what is around it, and how much of it is no ink
_CORNERS, _BENT, _FLAT, _BARE = 6, 0.12, 0.9, 0.6
_SMALL = 0.1  # of the largest sheet: what is smaller is none
_LONG = 2.5  # times as long as wide: if there is nothing on it, it is a stroke
_RIM = 4  # pixels of a sheet's edge that are left out
_STROKES = 0.009  # of paper is narrow where strokes are; less may be the corners of thick ones
_MUCH_MORE = 3  # so many times as much says that it is not by chance
_LESS = 0.1  # of what is on a sheet: what a desk may have, by chance


def is_negative(histogram: NDArray[np.float64]) -> bool:
    """Whether what is bright lies further from the middle than what is dark: of even paper."""
    low, middle, high = quantiles(histogram, 0.005, 0.5, 0.995)
    return high - middle > middle - low


def ground_of(small: UInt8s) -> tuple[bool, UInt8s | None]:
    """Tell whether an image's ground is dark, and where its paper is.

    Args:
        small: (h, w) uint8, of a few hundred pixels a side: paper that is not as bright all over.

    Returns:
        Whether the ground is dark and the ink light; and (h, w) uint8, 255 where sheets are and 0
        where the desk is, or None if all of the image is paper.
    """
    level = _level(small)
    if _is_light(level):
        light, dark, _ = _narrow(small)
        return light > dark, None
    bright = cv2.threshold(level, 0, 255, cv2.THRESH_OTSU)[1].astype(np.uint8, copy=False)
    share = _edge(bright).mean() / 255
    is_edge_dark = bool(share < 0.5)
    darker, brighter = _beyond_edge(level)
    sheet = sheet_in(bright if is_edge_dark else np.invert(bright))
    if sheet is None and not 1 - _ALL < share < _ALL:
        # a gap in a thick digit is as dark as its ground, and no ink
        is_dark = ink_on(small) if (darker if is_edge_dark else brighter) > 2 * FAINTEST else None
        return (is_edge_dark if is_dark is None else is_dark), None
    is_inside = sheet is not None and _edge(sheet).mean() < _GRAIN * 255
    is_dark = None
    if sheet is not None:  # if it leaves the image it may be a shadow, with little in it
        is_dark = ink_on(small, sheet, None if is_inside else small.size)
    if is_dark is None:
        is_dark = ink_on(small)
    if is_dark is None:
        if sheet is not None and is_inside:  # there is nothing on it
            is_dark = is_edge_dark == _is_long(sheet)
        else:  # ink is what is furthest from the ground
            is_dark = darker < brighter
    if sheet is None or is_dark == is_edge_dark:
        return is_dark, None
    if _is_bare(small, sheet):
        return is_dark, sheet
    return False, None  # ink on both, as on a page with a dark box: dark on light is usual


def _is_light(level: UInt8s) -> bool:
    """Whether nothing but light differs, as from the middle to the corners: without sharp edges."""
    usual = _usual(level)
    bright = cv2.threshold(usual, 0, 255, cv2.THRESH_OTSU)[1]
    border = cv2.morphologyEx(bright, cv2.MORPH_GRADIENT, SQUARE) > 0
    if not border.any():
        return True
    steps = cv2.morphologyEx(usual, cv2.MORPH_GRADIENT, np.ones((_NEAR, _NEAR), np.uint8))
    apart = usual[bright > 0].mean() - usual[bright == 0].mean()
    return bool(np.median(steps[border]) < max(FAINTEST, _STEP * apart))


def sheet_in(inner: UInt8s) -> UInt8s | None:
    """The parts of a mask, and what is on them, whose outlines may be those of sheets.

    Args:
        inner: (h, w) uint8, 255 or 0.

    Returns:
        (h, w) uint8, 255 on the sheets, else 0; None if the largest part is none.
    """
    contours, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = sorted(contours, key=cv2.contourArea, reverse=True)
    if not outlines or not _is_sheet(outlines[0]):
        return None
    least = _SMALL * cv2.contourArea(outlines[0])
    sheets = [each for each in outlines if cv2.contourArea(each) >= least and _is_sheet(each)]
    sheet = np.zeros_like(inner)
    cv2.drawContours(sheet, sheets, -1, 255, cv2.FILLED)
    is_frame = cv2.countNonZero(sheet & inner) < _BARE * cv2.countNonZero(sheet)
    return None if is_frame else sheet


def _is_sheet(outline: NDArray[Any]) -> bool:
    """Whether it has a few corners, and straight sides."""
    hull = cv2.convexHull(outline)
    corners = cv2.approxPolyDP(hull, _BENT * min(cv2.minAreaRect(hull)[1]), True)
    area = min(map(cv2.contourArea, (corners, outline)))
    return len(corners) <= _CORNERS and area > _FLAT * cv2.contourArea(hull)


def ink_on(small: UInt8s, part: UInt8s | None = None, area: int | None = None) -> bool | None:
    """Tell whether ink is light, by what is thin, whatever light there is on the paper.

    Args:
        small: (h, w) uint8.
        part: (h, w) uint8, 255 or 0: a sheet, or the like; else all of it.
        area: In pixels, of which a share has to be thin; else the part's.

    Returns:
        None if too little is thin, or too much of both kinds.
    """
    light, dark, pixels = _narrow(small, part)
    if area is None:
        area = small.size if part is None else cv2.countNonZero(part)
    return light > dark if pixels > _STROKES * area and _is_one_kind(light, dark) else None


def _edge(image: UInt8s) -> UInt8s:
    """The pixels along the image's edge."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def _beyond_edge(small: UInt8s) -> tuple[float, float]:
    """How much darker and how much brighter something is than what is at the image's edge."""
    low, high = quantiles(histogram_of(_edge(small)[None]), _ENDS, 1 - _ENDS)
    darkest, brightest = extremes(cv2.blur(small, (3, 3)).astype(np.uint8, copy=False))
    return low - darkest, brightest - high


def _is_long(sheet: UInt8s) -> bool:
    """Whether it is a stroke rather than a sheet, if there is nothing on it."""
    wide, tall = sorted(cv2.minAreaRect(cv2.findNonZero(sheet))[1])
    return tall > _LONG * wide


def _is_bare(small: UInt8s, sheet: UInt8s) -> bool:
    """Whether there is no ink but on the sheet: what is around it has none, or grain."""
    on_sheet, around = (_narrow(small, part)[:2] for part in (sheet, np.invert(sheet)))
    return not _is_one_kind(*around) or max(around) < _LESS * max(on_sheet)


def _usual(small: UInt8s) -> UInt8s:
    """The median around each pixel: without what is narrow."""
    side = max(3, max(small.shape) // 16 | 1)
    return cv2.medianBlur(small, side).astype(np.uint8, copy=False)


def _narrow(small: UInt8s, part: UInt8s | None = None) -> tuple[float, float, int]:
    """How much light there is in what is narrow, how much dark, and in how many pixels."""
    if part is not None:  # what is around it is made as bright as most of it
        eroded = cv2.erode(part, SQUARE, iterations=_RIM, borderValue=255)
        inside = eroded.astype(np.uint8, copy=False)
        (usual,) = quantiles(histogram_of(small, inside), 0.5)
        small = np.where(inside > 0, small, np.uint8(usual))
    around = _usual(small)
    kinds = [
        cv2.threshold(difference, FAINTEST, 255, cv2.THRESH_TOZERO)[1]
        for difference in (cv2.subtract(small, around), cv2.subtract(around, small))
    ]
    light, dark = (cv2.sumElems(kind)[0] for kind in kinds)
    return light, dark, max(map(cv2.countNonZero, kinds))


def _is_one_kind(light: float, dark: float) -> bool:
    """Whether there is so much more of one that it is not by chance."""
    return max(light, dark) > _MUCH_MORE * min(light, dark)


def _level(small: UInt8s) -> UInt8s:
    """Without what light does that falls from one side to another: a plane, by least squares."""
    slopes = []
    for axis in (1, 0):
        side = small.shape[1 - axis]
        along = np.arange(side, dtype=np.float32) - (side - 1) / 2
        slopes.append(along * (along @ small.mean(axis) / max(0.5, along @ along)))
    level: UInt8s = np.clip(small - slopes[0][:, None] - slopes[1], 0, 255).astype(np.uint8)
    return level
