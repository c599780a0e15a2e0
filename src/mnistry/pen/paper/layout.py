"""Where the digits of a sheet lie, and the boxes that are printed for them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnistry.pen.hand import Floats, Indices
from mnistry.pen.paper.pens import Inks

Paper = Literal["plain", "ruled", "squared", "boxed", "comb"]

IN_BOXES: tuple[Paper, ...] = ("boxed", "comb")
"""Those that have a box for each digit."""

LINE = 1.7
"""From one row to the next, in digits' heights."""

_APART = 3  # pixels between digits that do not touch, at least
_CROSS = 0.15  # the share of the digits in boxes that are to cross theirs


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything lies, in pixels of the sheet."""

    shape: tuple[int, int]
    """The sheet's height and width."""
    boxes: Indices
    """(n, 4) left, top, width and height of each digit's ink."""
    cells: Floats
    """(m, 4, 2) the corners x, y of each printed box; some may have no digit."""
    turn: Floats
    """(2, 2) to x, y on the sheet from the ways along and across the rows."""
    origin: Floats
    """(2,) x, y where the ways begin; row r is to stand at `LINE` (r + 1) across, in heights."""


def lay_out(
    rng: np.random.Generator,
    inks: Inks,
    rows: Sequence[str],
    height: int,
    paper: Paper,
    tilt: float,
    touching: float,
) -> Layout:
    """Find a place for each digit.

    Args:
        rng: Decides what is left to chance.
        inks: The n digits of all rows.
        rows: The digits of each row.
        height: Pixels of a digit's longer side, about.
        paper: Decides whether they stand in boxes.
        tilt: Degrees by which the rows are turned clockwise.
        touching: The share of neighbours that touch; of the others no two do.
    """
    angle = math.radians(tilt)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    count = len(inks.sizes)
    jitter = 0.06 * height * rng.standard_normal((count, 2)).clip(-2, 2)
    overlaps = rng.integers(0, 3, count) + round(1.7 * inks.blur)  # blurred edges are pale
    overlaps[rng.random(count) >= touching] = -1
    own_rows = np.split(np.arange(count), np.cumsum([len(row) for row in rows])[:-1])
    if paper in IN_BOXES:
        cells, middles = _boxes(rng, inks.sizes, own_rows, height, paper == "comb")
    else:
        cells, middles = np.empty((0, 4, 2)), jitter
        for number, own in enumerate(own_rows):
            steps = inks.sizes[own, 0] + 0.3 * height
            middles[own, 0] += np.cumsum(steps) - steps / 2
            middles[own, 1] += LINE * height * (number + 1) - inks.sizes[own, 1] / 2
    boxes = np.concatenate([np.zeros_like(inks.sizes), inks.sizes], 1)
    for own in own_rows:
        _place(inks, boxes, own, middles @ turn.T, turn[:, 0], overlaps)
    cells = cells @ turn.T
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:], cells.reshape(-1, 2)])
    origin = height - np.floor(corners.min(0)).astype(np.intp)
    wide, tall = (np.ceil(corners.max(0)).astype(np.intp) + origin + height).tolist()
    boxes[:, :2] += origin
    return Layout((tall, wide), boxes, cells + origin, turn, origin.astype(float))


def _boxes(
    rng: np.random.Generator, sizes: Indices, own_rows: list[Indices], height: int, comb: bool
) -> tuple[Floats, Floats]:
    """Boxes (m, 4, 2), as many in each row as the longest has digits, and the digits' middles."""
    wide = max(height * rng.uniform(0.8, 1.15), sizes[:, 0].max() + _APART)
    box = np.array([wide, height * rng.uniform(1.15, 1.5)])
    pitch = np.array([wide + (0 if comb else height * rng.uniform(0.1, 0.4)), LINE * height])
    most = max(map(len, own_rows))
    places = np.stack(np.meshgrid(np.arange(most), np.arange(len(own_rows))), -1) * pitch
    where = np.concatenate([places[number, : len(own)] for number, own in enumerate(own_rows)])
    slack = (box - sizes) / 2
    inside = (0.6 * slack).clip(0)
    shift = (0.06 * height * rng.standard_normal(sizes.shape)).clip(-inside, inside)
    beyond = rng.choice([-1, 1], sizes.shape) * (slack + height * rng.uniform(0, 0.1, sizes.shape))
    cross = rng.random(len(sizes)) < _CROSS
    axis = rng.integers(0, 2, len(sizes))
    at = np.flatnonzero(cross), axis[cross]
    shift[at] = beyond[at]
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * box / 2
    return places.reshape(-1, 1, 2) + corners, where + shift


def _place(
    inks: Inks, boxes: Indices, own: Indices, middles: Floats, along: Floats, overlaps: Indices
) -> None:
    """Put a row's boxes at their middles, or as near as their neighbours on the left allow."""
    pulled, right = 0, -(2**31)
    for i in own:
        boxes[i, :2] = np.rint(middles[i] + pulled * along - boxes[i, 2:] / 2)
        if i > own[0] and overlaps[i] >= 0:
            step = -_gap(inks, i - 1, i, boxes[i, :2] - boxes[i - 1, :2]) - overlaps[i]
            pulled += step
        else:
            step = max(0, right + _APART - boxes[i, 0])
        boxes[i, 0] += step
        right = max(right, boxes[i, 0] + boxes[i, 2])


def _gap(inks: Inks, left: int, right: int, way: Indices) -> int:
    """Free pixels between two digits' ink, where one's box is `way` x, y from the other's."""
    first, second = inks.visible(left), inks.visible(right)
    down = int(way[1])
    first = first[max(0, down) : max(0, down + len(second))]
    second = second[max(0, -down) : max(0, -down) + len(first)]
    both = first.any(1) & second.any(1)
    free = second.argmax(1) + first[:, ::-1].argmax(1)
    least = int(free[both].min()) if both.any() else 0  # else as if their boxes were full
    return int(way[0]) - int(first.shape[1]) + least
