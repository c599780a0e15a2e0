"""Digits that touch, cut apart along ways that cross little ink.

A piece is cut wherever a digit may end, which is more often than one does (Casey and Lecolinet,
1996, call this over-segmentation); what is read in the parts says which of them belong together.
"""

import itertools
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.page import Piece

UInt8s = NDArray[np.uint8]

_LEAST = 10  # pixels of the height of what is cut
_WIDE = 0.35  # width by height: narrower ink is not cut
_CUT = 0.5  # of the height: a cut through more ink is none
_DARK = 100  # ink from which something is enclosed
_BETWEEN = 0.3  # what a cut costs between strokes, in pixels of ink
_ASIDE = 0.15  # what a cut's step aside costs, in pixels of ink


def cut(piece: Piece) -> list[Piece]:
    """A wide piece, cut from top to bottom along ways that cross little ink.

    Returns:
        Its parts from left to right; itself alone where it is narrow, or full of ink.
    """
    _, _, wide, tall = piece.box
    if wide < _WIDE * tall or tall < _LEAST:
        return [piece]
    scale = min(1.0, 48 / tall)
    small = cv2.resize(piece.ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rows = (np.arange(tall) + 0.5) / tall * len(small) - 0.5
    ways = [np.interp(rows, np.arange(len(small)), way) for way in _ways(small.astype(np.uint8))]
    column = (np.arange(wide) + 0.5) / wide * small.shape[1] - 0.5
    return _along(piece, column, ways)


def split(piece: Piece, share: float) -> list[Piece]:
    """A piece cut straight down, at a share of its width; one part where the other has no ink."""
    _, _, wide, tall = piece.box
    return _along(piece, np.arange(wide), [np.full(tall, share * wide - 0.5)])


def _along(piece: Piece, column: NDArray[Any], ways: list[NDArray[np.float64]]) -> list[Piece]:
    """What lies between ways: (h,) each, how far right at each row, on the scale of `column`."""
    x, y, wide, tall = piece.box
    atoms, left = [], np.full((tall, wide), 255, np.uint8)
    for way in [*ways, np.full(tall, np.inf)]:
        here = left & (column <= way[:, None]) * np.uint8(255)
        left = left & ~here
        ink = piece.ink & here
        left_edge, top, w, h = cv2.boundingRect(ink)
        if w and h:
            part = ink[top : top + h, left_edge : left_edge + w]
            atoms.append(Piece((x + left_edge, y + top, w, h), part))
    return atoms


def _ways(ink: UInt8s) -> list[NDArray[np.intp]]:
    """The best ways to cut: (h,) the column at each row; from left to right.

    A way through what a digit encloses crosses little ink, too. So ways are sought twice, the
    second time with a price on what has ink above it and below.
    """
    tall, wide = ink.shape
    dark = ink > _DARK
    between = np.logical_or.accumulate(dark) & np.logical_or.accumulate(dark[::-1])[::-1] & ~dark
    middle, edge = tall // 2, 0.12 * tall
    chosen: dict[int, NDArray[np.intp]] = {}
    for price, most in ((0.0, 3.0), (_BETWEEN, 4.5)):
        cost = (ink / 255 + price * between).astype(np.float32)
        down, up = _cheapest(cost), _cheapest(cost[::-1])
        through = down[middle] + up[tall - 1 - middle] - cost[middle]  # of the best by each column
        low = cv2.erode(through[None], np.ones((1, 7)))[0]
        for at in through.argsort(kind="stable").tolist():
            if len(chosen) >= most * wide / tall:
                break
            if through[at] > min(low[at], _CUT * tall) or not edge <= at <= wide - 1 - edge:
                continue
            if all(abs(at - other) >= 0.1 * tall for other in chosen):
                above, below = _way(down[:middle], at), _way(up[: tall - 1 - middle], at)
                chosen[at] = np.array([*above[::-1], at, *below])
    return [chosen[at] for at in sorted(chosen)]


def _cheapest(cost: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the cheapest way down to each pixel costs."""
    total = np.full((len(cost), cost.shape[1] + 2), np.inf, np.float32)
    total[:, 1:-1] = cost
    for above, here in itertools.pairwise(total):
        aside = np.minimum(above[:-2], above[2:])
        aside += _ASIDE
        here[1:-1] += np.minimum(aside, above[1:-1], out=aside)
    return total[:, 1:-1]


def _way(total: NDArray[np.float32], at: int) -> list[int]:
    """The columns of the cheapest way back up from below a column of the last row."""
    way = []
    for costs in total[::-1].tolist():
        near = range(max(0, at - 1), min(len(costs), at + 2))
        at = min((costs[column] + _ASIDE * (column != at), column) for column in near)[1]
        way.append(at)
    return way
