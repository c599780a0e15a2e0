"""Straight thin stretches of ink that are nearly level; upright ones are, in the transposed image.

Which of them are lines on paper, `rules` decides.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pixels import components

UInt8s = NDArray[np.uint8]

SMALLEST = 14
"""Pixels of a stretch, at least."""

_RIM = 1  # pixels of pale ink at a line's side, which count as thickness
_DOUBLE = 0.7  # of a stretch: two lines along each other
_SKEW = 0.1  # of a frame's angles: the tangent of what they lack of right ones


@dataclass(frozen=True, eq=False)
class Stretch:
    """Ink that is nearly level, and may be a line.

    Attributes:
        left: The first column.
        top: The first row.
        found: (tall, long) bool: where it is.
        thick: How many pixels it mostly is thick, without what hangs on it.
    """

    left: int
    top: int
    found: NDArray[np.bool_]
    thick: float

    @property
    def long(self) -> int:
        """How many columns it has."""
        return int(self.found.shape[1])


@dataclass(frozen=True)
class Line:
    """A straight thin stretch of ink, nearly level in the image that it was found in.

    Attributes:
        start: The first column.
        stop: Past the last.
        ends: The rows at both.
        thick: As of its stretch.
    """

    start: int
    stop: int
    ends: tuple[float, float]
    thick: float

    @property
    def long(self) -> int:
        """How many columns it has."""
        return self.stop - self.start

    def row(self, column: Any) -> Any:
        """Where it is at a column, or would be."""
        share = (column - self.start) / max(1, self.long)
        return self.ends[0] + share * (self.ends[1] - self.ends[0])

    def meets(self, row: float, column: float) -> bool:
        """Whether it passes a point, or ends there."""
        slack = min(2, 0.06 * self.long) + 0.75 * self.thick
        nearest = min(max(column, self.start), self.stop)
        return abs(column - nearest) <= slack and abs(self.row(nearest) - row) <= slack

    def is_square_to(self, other: "Line") -> bool:
        """Whether it is at right angles to one that was found in the transposed image."""
        slopes = ((line.ends[1] - line.ends[0]) / max(1, line.long) for line in (self, other))
        return abs(sum(slopes)) <= _SKEW

    def pixels(self, shape: tuple[int, ...]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows and columns (thick, long) of all that may be its ink."""
        columns = np.arange(max(0, self.start - 2), min(shape[1], self.stop + 2))
        half = (self.thick + 1) / 2
        first = np.rint(self.row(columns) - half).astype(np.intp)
        rows = first + np.arange(round(2 * half) + 1)[:, None]
        return rows.clip(0, shape[0] - 1), np.broadcast_to(columns, rows.shape)


def stretches_of(own: UInt8s, side: float, rule: float, thin: float) -> list[Stretch]:
    """The thin, nearly level stretches of some ink.

    Args:
        own: (h, w) uint8, 1 where it is, else 0.
        side: How long the side of a frame is at least, in pixels.
        rule: The same for a rule.
        thin: How many times as long as thick either is at least.

    Returns:
        None, if none may be a rule, nor two the sides of a frame.
    """
    height, width = own.shape
    least = max(min(side, rule), SMALLEST)
    if width < least:
        return []
    length = int(min(max(0.4 * min(height, width, least), SMALLEST - 2), 40))
    gap = length // 2
    runs = cv2.dilate(own, _bar(3).T)  # so that slanting ones are not cut to bits
    runs = cv2.erode(runs, _bar(length), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    reach = cv2.boundingRect(runs)[2] + length - 1  # of all of them together
    if reach < max(length, least):
        return []
    # opened, and then closed, by way of what is longer than either
    runs = cv2.dilate(runs, _bar(length + 2 * gap), anchor=(length // 2 + gap, 0))
    runs = cv2.erode(runs, _bar(2 * gap + 1))
    labels, stats = components(runs.astype(np.uint8, copy=False))
    fit = [  # 0 is the ground
        (part, x, y, long, tall)
        for part, (x, y, long, tall, _) in enumerate(stats.tolist())
        if part and long >= least and tall <= max(8, long // 2)
    ]
    if len(fit) < 2 and not any(long >= rule for _, _, _, long, _ in fit):
        return []
    stretches = []
    for part, x, y, long, tall in fit:
        place = slice(y, y + tall), slice(x, x + long)
        whole = (labels[place] == part) & own[place].view(np.bool_)
        for found in _parted(whole):
            thick = np.sort(found.sum(0))
            thick = thick[np.count_nonzero(thick == 0) :]
            enough = len(thick) >= 0.6 * long
            if enough and long >= thin * (_RIM + (usual := float(thick[len(thick) // 5]))):
                stretches.append(Stretch(x, y, found, usual))
    return stretches


def lines_of(stretches: list[Stretch], hidden: bool) -> list[Line]:
    """Those stretches that are straight, as lines.

    Args:
        stretches: Of one piece of ink.
        hidden: Whether strokes lie on much of them: the longest way to see a line counts then, else
            the one that fits best.
    """
    return [line for one in stretches if (line := _line(one, hidden)) is not None]


def median(values: NDArray[Any]) -> float:
    """As np.median, which takes ten times as long for few."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _parted(found: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """A stretch (tall, long), or both that lie along each other: the sides of two boxes."""
    starts = found.copy()
    starts[1:] &= ~found[:-1]
    order = starts.cumsum(0, dtype=np.uint16)  # of the runs in each column
    count = order[-1]
    if np.count_nonzero(count == 2) < _DOUBLE * np.count_nonzero(count):
        return [found]
    return [found & (order == 1), found & (order == 2)]


def _line(stretch: Stretch, hidden: bool) -> Line | None:
    """A stretch as a line, if it is straight."""
    found, usual, left, top = stretch.found, stretch.thick, stretch.left, stretch.top
    thick = found.sum(0)
    columns = np.flatnonzero(thick)
    # strokes that hang on a line leave its other edge alone, or the other half of it
    upper, lower = found.argmax(0)[columns], len(found) - found[::-1].argmax(0)[columns]
    middle, bare = (upper + lower) / 2, thick[columns] <= 1.7 * usual + 1
    ways = [(columns, rows) for rows in (middle, upper + usual / 2, lower - usual / 2)]
    ways.append((columns[bare], middle[bare]))
    lines = []
    for x, y in ways:
        off, slope, offset = _fit(x, y)
        if off <= max(0.8, 0.5 * usual):
            along = x[np.abs(y - offset - slope * x) <= 1 + usual / 4]  # not round a corner
            order = (-len(along), off) if hidden else (off, slope, offset)
            lines.append((order, slope, offset, along))
    if not lines:
        return None
    _, slope, offset, along = min(lines, key=lambda line: line[0])
    start, stop = int(along[0]), int(along[-1]) + 1
    ends = top - 0.5 + offset + slope * start, top - 0.5 + offset + slope * stop
    return Line(left + start, left + stop, ends, usual)


def _fit(x: NDArray[np.intp], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """How far off the line through most points they are, its slope, and its offset."""
    third = max(1, len(x) // 3)  # medians of the outer thirds: what hangs on a line moves neither
    rise = median(y[-third:]) - median(y[:third])
    slope = rise / max(1.0, median(x[-third:]) - median(x[:third]))
    offset = median(y - slope * x)
    return median(np.abs(y - slope * x - offset)), slope, offset


@cache
def _bar(long: int) -> UInt8s:
    return np.ones((1, long), np.uint8)
