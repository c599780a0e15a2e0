"""A page to the pieces of ink that may be digits, in rows, in reading order.

What is certain is decided here: what is a line, a speck, a row, the parts of one digit that lie
above each other. What only a reader can tell is left open: a row is a sequence of atoms, and a
digit is one of them or several neighbours.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.errors import LimitError
from mnistry.inkmap import InkMap, find_ink
from mnistry.pixels import SQUARE, components, over
from mnistry.rules import find_rules

UInt8s = NDArray[np.uint8]

MOST_MARKS = 10_000
"""Of a page: more pieces of ink are noise, or the dots of print, and would take long."""

_SPECK = 0.22  # of the usual height: what is smaller either way is no digit, but may be a part
_BAR = 0.45  # of the same: what is lower may be a digit's bar
_HALF = 0.6  # of the same: what is lower may be half of a digit, as of an 8 of two circles
_SLIVER = 0.2  # of the longer side
_LEAST = 5  # pixels of a digit's longer side
_BESIDE = 0.35  # of the lower one's height: what shares so much with a neighbour is in its row
_LOW_PIECE = 0.6  # of the usual height
_APART = 0.3  # of the height: parts that lie further from each other are of two digits
_WIDEST = 1.6  # width by height of a digit
_PART, _CUT_OFF = 0.05, 0.25  # of the size of one digit: its parts, and those at the image's edge
_NEAR = 0.3  # of the same: how far a part may be
# a low piece is of one digit with a tall: how close by the row's height, how low by the tall
# one's, and how wide both together
_GAP, _LOW, _BROAD = 0.1, 0.75, 1.2
_LEGIBLE = 8  # pixels of the usual height: less is no writing
_SIDE, _SOLID = 0.25, 0.9  # of the image: a dark side's breadth; and how much of its edge is dark
_HANGING = 0.3  # of its neighbour's height: how far a comma's top is from that one's foot and side
_PALE = 0.6  # of the depth of most ink: what is paler may be the edge of a shadow
# which is as dark as it is, but for noise, on one side: so many pixels around it, so many of 255,
# and so much of what is there
_AROUND, _NOISE, _ONE_SIDE = 4, 12, 0.2
# the same of what is as dark as ink, as the edge of a desk, if digits are so many pixels tall or
# more: beside smaller ones there are others
_DESK, _CLEAR = 0.35, 24
_RING = 1.5  # of the usual height: what is taller may be drawn around digits
_MOST = 5  # atoms of one digit: of broken ones, and of those that `cutting` makes


@dataclass(frozen=True, eq=False)
class Piece:
    """Some ink that may be a digit, or a part of one."""

    box: tuple[int, int, int, int]
    """Left, top, width and height, in pixels of the image."""
    ink: UInt8s
    """(height, width) uint8, 0 ground to 255 ink."""

    @property
    def right(self) -> int:
        """The first column past it."""
        return self.box[0] + self.box[2]

    @property
    def bottom(self) -> int:
        """The first row past it."""
        return self.box[1] + self.box[3]


def find_rows(grey: UInt8s) -> list[list[Piece]]:
    """Find what may be digits on an image.

    Args:
        grey: (h, w) uint8, 0 black to 255 white: dark ink on a light ground or the reverse.

    Returns:
        The rows from top to bottom, each from left to right; none where there is no ink.

    Raises:
        LimitError: There are more than `MOST_MARKS` pieces of ink.
    """
    found = find_ink(grey)
    pieces = [piece for piece in _pieces(found) if not _is_rim(piece, grey.shape)]
    if found.uneven is not None:
        pieces = _without_edges(pieces, found)
    pieces = [piece for piece in pieces if not _is_side(piece, pieces, grey.shape)]
    if not pieces or min(grey.shape) < _LEAST:
        return []
    height = _usual_height(pieces)
    if height < _LEGIBLE:  # the dots of dotted paper
        return []
    pieces = _without_rings(pieces, height)
    whole: list[Piece] = []
    parts: list[Piece] = []
    for piece in pieces:
        _, _, wide, tall = piece.box
        if max(wide, tall) >= max(_LEAST, 0.5 * _SPECK * height):
            (whole if tall >= _HALF * height else parts).append(piece)
    return [_join_stacked(row) for row in _rows(_join_parts(whole, parts, height), height)]


def find_one(grey: UInt8s) -> Piece | None:
    """Find the ink of an image that shows one digit.

    Args:
        grey: (h, w) uint8, 0 black to 255 white.

    Returns:
        All its ink but lines, specks, and small parts that the image's edge cuts off; None if
        there is none.

    Raises:
        LimitError: There are more than `MOST_MARKS` pieces of ink.
    """
    found = find_ink(grey)
    pieces = _pieces(found)
    if not pieces:
        return None
    main = max(pieces, key=lambda piece: _amount(piece, grey.shape))
    size = max(main.box[2:])
    others = [piece for piece in pieces if piece is not main]
    while True:  # what is near what belongs to it
        near = [piece for piece in others if _belongs(piece, main, size, grey.shape)]
        if not near:
            return main
        main = join([main, *near])
        others = [piece for piece in others if piece not in near]


def _amount(piece: Piece, within: tuple[int, ...]) -> float:
    """How much ink there is; half of that if it is cut off."""
    return cv2.sumElems(piece.ink)[0] * (0.5 if _is_cut_off(piece, within) else 1)


def _belongs(piece: Piece, main: Piece, size: int, within: tuple[int, ...]) -> bool:
    """Whether a piece is part of the one digit that `main` is the largest part of."""
    least = (_CUT_OFF if _is_cut_off(piece, within) else _PART) * size
    return max(piece.box[2:]) >= least and _distance(piece, main) <= _NEAR * size


def _is_cut_off(piece: Piece, within: tuple[int, ...]) -> bool:
    """Whether it touches the image's edge."""
    return 0 in piece.box[:2] or piece.right == within[1] or piece.bottom == within[0]


def _is_rim(piece: Piece, within: tuple[int, ...]) -> bool:
    """Whether it runs along the image's edge, as a scanner leaves it black."""
    if piece.box[2:] != within[::-1]:
        return False
    ink = piece.ink
    return bool(
        np.mean([(side > 0).mean() for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1])]) > 0.5
    )


def _is_side(piece: Piece, pieces: Sequence[Piece], within: tuple[int, ...]) -> bool:
    """Whether it is a dark side of the image, from edge to edge; other ink is far shorter."""
    x, y, wide, tall = piece.box
    height, width = within
    if tall == height and wide <= _SIDE * width:
        edges = (x == 0, piece.ink[:, 0]), (piece.right == width, piece.ink[:, -1])
    elif wide == width and tall <= _SIDE * height:
        edges = (y == 0, piece.ink[0]), (piece.bottom == height, piece.ink[-1])
    else:
        return False
    longest = max((max(other.box[2:]) for other in pieces if other is not piece), default=0)
    is_dark = any(is_edge and (edge > 0).mean() > _SOLID for is_edge, edge in edges)
    return is_dark and longest < max(wide, tall) / 2


def join(pieces: Sequence[Piece]) -> Piece:
    """One piece of several."""
    if len(pieces) == 1:
        return pieces[0]
    x, y = min(p.box[0] for p in pieces), min(p.box[1] for p in pieces)
    ink = np.zeros((max(p.bottom for p in pieces) - y, max(p.right for p in pieces) - x), np.uint8)
    for piece in pieces:
        left, top, wide, tall = piece.box
        part = ink[top - y : top - y + tall, left - x : left - x + wide]
        np.maximum(part, piece.ink, out=part)
    return Piece((x, y, ink.shape[1], ink.shape[0]), ink)


def may_be_one(parts: Sequence[Piece], height: float) -> bool:
    """Whether neighbours in a row, from left to right, may be parts of one digit.

    Args:
        parts: At least two.
        height: Of the row's digits, in pixels.
    """
    right = max(part.right for part in parts[:-1])
    wide = max(right, parts[-1].right) - min(part.box[0] for part in parts)
    tall = max(part.bottom for part in parts) - min(part.box[1] for part in parts)
    apart = parts[-1].box[0] - right
    return len(parts) <= _MOST and apart <= _APART * height and wide <= _WIDEST * max(tall, height)


def _pieces(found: InkMap) -> list[Piece]:
    """The connected pieces of ink without ruled lines, each with the faint rim of its strokes."""
    page = found.faint.shape
    found, left, top = found.trimmed()
    rules = find_rules(found, page)
    is_ruled = cv2.countNonZero(rules) > 0
    if is_ruled:
        found = found.without(rules)
    labels, stats = components(found.mask)
    pieces = []
    large = [
        (part, x, y, wide, tall)
        for part, (x, y, wide, tall, area) in enumerate(stats.tolist())
        if part and max(wide, tall) >= _LEAST - 1 and area >= _LEAST
    ]
    if len(large) > MOST_MARKS:
        raise LimitError(
            f"shows {len(large):,} separate marks, expected at most {MOST_MARKS:,}; if there "
            "are digits on it, crop it to them, or scan it anew with less noise"
        )
    for part, x, y, wide, tall in large:
        place = slice(y, y + tall), slice(x, x + wide)
        own = cv2.dilate((labels[place] == part).view(np.uint8), SQUARE)
        ink = (found.ink[place] * own).astype(np.uint8, copy=False)
        if not cv2.countNonZero(ink):  # the blurred rim of a line that was taken out
            continue
        piece = Piece((left + x, top + y, wide, tall), ink)
        thin = min(wide, tall) < _SLIVER * max(wide, tall)
        if not (is_ruled and thin and _is_cut_off(piece, page)):  # the end of a rule
            pieces.append(piece)
    return pieces


def _without_edges(pieces: Sequence[Piece], found: InkMap) -> list[Piece]:
    """Those that are no edges of shadows, or of a desk: what is as dark at its sides."""
    if not pieces:
        return []
    depths = np.array([np.percentile(piece.ink[piece.ink > 0], 90) for piece in pieces])
    pale = _PALE * float(np.median(depths))
    is_small = _usual_height(pieces) < _CLEAR
    return [
        piece
        for piece, depth in zip(pieces, depths, strict=True)
        if (is_small and depth > pale)
        or _dark_around(piece, found) < (_DESK if depth > pale else _ONE_SIDE)
    ]


def _without_rings(pieces: Sequence[Piece], height: float) -> list[Piece]:
    """Those that nothing lies in: what is drawn around digits is none, nor is a stain.

    But what of it has half of full ink stays, as digits that a pale stain crosses.
    """
    boxes = np.array([piece.box for piece in pieces])
    start, stop = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    is_tall = boxes[:, 3] >= _HALF * height
    kept = []
    for piece in pieces:
        x, y, _, tall = piece.box
        if tall > _RING * height:
            inside = (start > (x, y)).all(1) & (stop < (piece.right, piece.bottom)).all(1)
            if (inside & is_tall).any():
                kept += [part for part in _darker(piece) if part.box[3] <= _RING * height]
                continue
        kept.append(piece)
    return kept


def _darker(piece: Piece) -> list[Piece]:
    """What is dark of a piece, in pieces."""
    x, y, *_ = piece.box
    labels, stats = components(over(piece.ink, 127))
    parts = []
    for number, (left, top, wide, tall, area) in enumerate(stats.tolist()):
        if number and max(wide, tall) >= _LEAST and area >= _LEAST:
            place = slice(top, top + tall), slice(left, left + wide)
            ink = piece.ink[place] * (labels[place] == number)
            parts.append(Piece((x + left, y + top, wide, tall), ink.astype(np.uint8, copy=False)))
    return parts


def _dark_around(piece: Piece, found: InkMap) -> float:
    """How much of what is around a piece, but for darker ink, is as dark as it is, 0..1."""
    assert found.uneven is not None
    x, y, wide, tall = piece.box
    top, left = max(0, y - _AROUND), max(0, x - _AROUND)
    place = slice(top, piece.bottom + _AROUND), slice(left, piece.right + _AROUND)
    part = found.uneven[place]
    own = np.zeros(part.shape, np.uint8)
    own[y - top :, x - left :][:tall, :wide] = piece.ink > 0
    level = np.median(part[own > 0])
    near, rim = (cv2.dilate(own, np.ones((side, side), np.uint8)) for side in (2 * _AROUND + 1, 3))
    around = part[(near > rim) & (part >= level - _NOISE)]  # without lines and strokes
    return float((around <= level + _NOISE).mean()) if around.size else 0.0


def _usual_height(pieces: Sequence[Piece]) -> float:
    """The height of most of the ink that is about as tall as digits are wide, or taller."""
    heights = np.array([max(p.box[3], 0.5 * p.box[2]) for p in pieces])
    weights = heights**1.5
    order = heights.argsort()
    total = weights[order].cumsum()
    return float(heights[order][np.searchsorted(total, 0.4 * total[-1])])


def _rows(pieces: Sequence[Piece], height: float) -> list[list[Piece]]:
    """Chained from left to right, each to the row whose last piece it stands beside.

    Low pieces come last, to the row that they are in: a dash has too little height to lead on.
    """
    rows: list[list[Piece]] = []
    ends = np.zeros((len(pieces), 2))  # of each row's last piece: top and bottom
    in_order = sorted(pieces, key=_middle)
    for piece in [p for p in in_order if p.box[3] >= _LOW_PIECE * height]:
        top, bottom = piece.box[1], piece.bottom
        tops, bottoms = ends[: len(rows)].T
        shared = np.minimum(bottoms, bottom) - np.maximum(tops, top)
        share = shared / np.minimum(bottoms - tops, bottom - top)  # of the lower one's height
        best = int(share.argmax()) if rows and share.max() > _BESIDE else len(rows)
        if best == len(rows):
            rows.append([])
        rows[best].append(piece)
        ends[best] = top, bottom
    placed = np.empty((len(pieces), 5))  # boxes and the numbers of their rows
    count = 0
    for number, row in enumerate(rows):
        for piece in row:
            placed[count] = *piece.box, number
            count += 1
    for piece in [p for p in in_order if p.box[3] < _LOW_PIECE * height]:
        x, y, wide, tall = piece.box
        boxes = placed[:count]
        inside = (boxes[:, 1] <= y + tall / 2) & (y + tall / 2 <= boxes[:, 1] + boxes[:, 3])
        apart = np.maximum(boxes[:, 0] - x - wide, x - boxes[:, 0] - boxes[:, 2])
        below = y - boxes[:, 1] - boxes[:, 3]  # a comma hangs from what it is close to
        inside |= (np.abs(below) <= _HANGING * boxes[:, 3]) & (apart <= _HANGING * boxes[:, 3])
        apart[~inside] = np.inf
        number = len(rows) if not inside.any() else int(boxes[apart.argmin(), 4])
        if number == len(rows):
            rows.append([])
        bisect.insort(rows[number], piece, key=_middle)
        placed[count] = *piece.box, number
        count += 1
    return sorted(rows, key=lambda row: float(np.median([p.box[1] + p.box[3] / 2 for p in row])))


def _middle(piece: Piece) -> float:
    return piece.box[0] + piece.box[2] / 2


def _join_parts(whole: Sequence[Piece], parts: Sequence[Piece], height: float) -> list[Piece]:
    """Low pieces joined to what they are next to; the smallest are left out if that is nothing."""
    joined, alone = list(whole), []
    boxes = np.empty((len(whole) + len(parts), 4))
    boxes[: len(whole)] = np.array([piece.box for piece in whole]).reshape(-1, 4)
    grown = boxes.copy()  # with small parts, which may not lead on to others
    for part in sorted(parts, key=lambda piece: -piece.box[3]):
        x, y, wide, tall = part.box
        left, top, widths, heights = boxes[: len(joined)].T
        across = np.maximum(left - x - wide, x - left - widths)
        down = np.maximum(top - y - tall, y - top - heights)
        apart = np.hypot(across.clip(0), down.clip(0))
        is_small, is_half = tall < _SPECK * height, tall >= _BAR * height
        if is_small:
            near = apart <= max(0.2 * height, 0.6 * max(wide, tall))
        elif is_half:  # and the other one is above or below
            near = (apart <= 0.12 * height) & (-across >= 0.6 * np.minimum(wide, widths))
        else:  # a bar above or below, or one that nearly touches
            near = (apart <= 0.2 * height) & (-across >= 0.5 * wide)
            near |= (apart <= 0.06 * height) & (wide >= 1.5 * tall)
        _, top, _, heights = grown[: len(joined)].T
        together = np.maximum(top + heights, y + tall) - np.minimum(top, y)
        near &= together <= (1.2 if is_half else 1.4) * height
        if near.any():
            nearest = int(np.where(near, apart, np.inf).argmin())
            joined[nearest] = join([joined[nearest], part])
            grown[nearest] = joined[nearest].box
            if is_half:
                boxes[nearest] = grown[nearest]
        elif is_half:
            boxes[len(joined)] = grown[len(joined)] = part.box
            joined.append(part)
        elif not is_small:
            alone.append(part)
    return joined + alone


def _join_stacked(row: Sequence[Piece]) -> list[Piece]:
    """What lies above each other in a row is one digit, and so is a low piece close to a tall."""
    height = float(np.median([piece.box[3] for piece in row]))
    done: list[Piece] = []
    for piece in row:
        if done:
            last = done[-1]
            shared = min(last.right, piece.right) - max(last.box[0], piece.box[0])
            low, tall = sorted((last.box[3], piece.box[3]))
            both = join([last, piece])
            stacked = shared > 0.6 * min(last.box[2], piece.box[2])
            broken = -shared <= _GAP * height and low < _LOW * tall and both.box[2] < _BROAD * tall
            if (stacked or broken) and both.box[3] <= 1.3 * height:
                done[-1] = both
                continue
        done.append(piece)
    return done


def _distance(a: Piece, b: Piece) -> float:
    """Between the boxes of two pieces, in pixels."""
    across = max(a.box[0], b.box[0]) - min(a.right, b.right)
    down = max(a.box[1], b.box[1]) - min(a.bottom, b.bottom)
    return float(np.hypot(max(0, across), max(0, down)))
