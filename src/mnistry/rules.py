"""Ruled lines, squares and boxes on paper: found, and taken out; strokes that cross them stay."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.inkmap import InkMap
from mnistry.pixels import SQUARE, components
from mnistry.straight import SMALLEST, Line, Stretch, lines_of, median, stretches_of

UInt8s = NDArray[np.uint8]

_BIT, _BITS = 40, 50  # pixels of a bit, at most; so many of them, as low as hairs, may be lines
_DIRT = 0.25  # from what hardly stands out to full ink: a bit that is darker is no pale line's
_IN_BITS = 0.06  # of all that there is: more is no dirt
_GAP = 9  # pixels: what is between dots and dashes is less
_THIN = 25  # a rule is so many times as long as thick; no bar of a digit is, but a hair's
_POST = 60  # the same for an upright one: a 1 has no bar that gives it away
_FRAME = 8  # a side of a frame
_COMB = 5  # a side that parts the frames between two rules, or of one of several small frames
_SMALL, _SEVERAL = 50, 3  # pixels of such a frame, at most; and so many as large are no angular 0s
_HAIR = 3  # pixels: a thinner rule has to be as long as one that is so thick
_WHOLE = 0.9  # of the image: a rule from edge to edge
_TIMES = 2.5  # as long as things here are tall: no part of one
_SIDE = 0.7  # of the same: a frame is about as large
_SQUARES = 5  # a rule of squared paper, which is as short only at the corners of what is turned
_ALIKE = 0.15  # of its size: another frame on the same page is as large
_MORE, _AT_LEAST = 1.35, 64  # as much ink as a line has, and so much: a stroke is there


def find_rules(found: InkMap, page: tuple[int, ...]) -> UInt8s:
    """Find the lines of ruled, squared and boxed paper.

    A line is straight, thin for its length, and reaches across the image, or is longer than the
    things here are tall, or than five squares of squared paper; or it is a side of a rectangle: of
    a small one whose sides are not very thin only where several are alike, and there is ink in one
    of them, but no bar from side to side. One line in the middle of a rectangle is none, but a 1,
    if others as large have none.

    Args:
        found: What stands out, (h, w), its rims and all, and the ink: where a line has more of it
            than usual, a stroke crosses.
        page: The height and width of the image that it is of, or of a part of.

    Returns:
        (h, w) uint8, 255 where lines are, but where strokes cross them; else 0.
    """
    faint, ink = found.faint, found.ink
    inked, labels, stats = _connected(found)
    sizes = stats[1:, 2:4].tolist()
    tall = sorted(min(size) for size in sizes if min(size) >= SMALLEST // 2)
    typical = float(tall[len(tall) // 2]) if tall else 0.0
    least = tuple(min(_WHOLE * side, _TIMES * typical) for side in page[::-1])
    others: list[int] = []  # what shows no lines
    ruled: list[tuple[int, list[Line], list[Line]]] = []

    def look(part: int, thin: float, hidden: bool) -> tuple[list[Line], list[Line]]:
        own = (labels[_place(stats[part])] == part).view(np.uint8)
        level, upright = _lines_of(own, _SIDE * typical, least, thin, hidden)
        if min(len(level), len(upright)) < 3:
            return level, upright
        square = min(_spacing(level), _spacing(upright))
        short = tuple(min(one, _SQUARES * square) for one in least)
        if short == least:
            return level, upright
        return _lines_of(own, _SIDE * typical, short, thin, hidden)

    for part, size in enumerate(sizes, start=1):
        if max(size) < SMALLEST:
            continue
        level, upright = look(part, _FRAME, hidden=False)
        if level or upright:
            ruled.append((part, level, upright))
        else:
            others.append(part)
    small = [
        (part, level, upright)
        for part in _repeated([part for part in others if max(sizes[part - 1]) <= _SMALL], stats)
        for level, upright in [look(part, _COMB, hidden=False)]
        if level and upright
    ]
    repeated = _repeated([part for part, _, _ in small], stats)
    if not any(_holds_ink(inked[_place(stats[part])]) for part in repeated):
        repeated = []  # angular 0s or 8s, side by side
    ruled += [frame for frame in small if frame[0] in repeated]
    frames = [part for part, level, upright in ruled if level and upright]
    undivided = [part for part, level, upright in ruled if level and len(upright) == 2]
    for part in set(others).difference(repeated) if frames else ():
        if _is_like(stats[part, 2:4], stats[frames, 2:4]):  # it is hidden by what is on its lines
            level, upright = look(part, _COMB, hidden=True)
            if level and upright:
                ruled.append((part, level, upright))
    rules = np.zeros(faint.shape, np.uint8)
    for part, level, upright in ruled:
        if level and len(upright) == 3 and _is_like(stats[part, 2:4], stats[undivided, 2:4]):
            upright = [min(upright, key=_off), max(upright, key=_off)]  # a stroke is between them
        place = _place(stats[part])
        own = (labels[place] == part).view(np.uint8)
        rules[place] |= own * _uncrossed(ink[place], level, upright)
    if ruled:
        rules |= cv2.dilate(rules, SQUARE).astype(np.uint8, copy=False) & faint & ~inked
    return rules


def _connected(found: InkMap) -> tuple[UInt8s, NDArray[Any], NDArray[np.int32]]:
    """What may be lines, 255 there, else 0, and its components; lines in many bits are whole."""
    mask = found.faint
    inked = mask * (found.ink > 0)  # without rims, which join the sides of boxes that nearly touch
    labels, stats = components(inked)
    low = [
        part
        for part, (_, _, wide, tall, _) in enumerate(stats.tolist())
        if part and tall <= _HAIR and wide < _BIT
    ]
    if len(low) <= _BITS:
        return inked, labels, stats
    inked = mask
    dark = found.faintest + _DIRT * (found.full - found.faintest)
    dirt = np.bincount(labels[found.soft > dark], minlength=len(stats))
    if np.count_nonzero(dirt[low] == 0) > _BITS:  # lines that are hardly darker than the noise
        inked = mask | found.pale
    areas = stats[:, 4]
    if areas[low].sum() > _IN_BITS * areas[1:].sum():  # dotted or dashed lines
        for bar in (np.ones((1, _GAP), np.uint8), np.ones((_GAP, 1), np.uint8)):
            closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, bar)
            inked = inked | closed.astype(np.uint8, copy=False)
    return inked, *components(inked)


def _place(stats: NDArray[np.int32]) -> tuple[slice, slice]:
    """Where a component is."""
    x, y, width, height, _ = stats.tolist()
    return slice(y, y + height), slice(x, x + width)


def _off(line: Line) -> float:
    """How far a line is from the first row, in its middle."""
    return sum(line.ends) / 2


def _spacing(lines: list[Line]) -> float:
    """How far parallel lines are from each other: most of them."""
    return median(np.diff(sorted(map(_off, lines))))


def _repeated(parts: list[int], stats: NDArray[np.int32]) -> list[int]:
    """Those of some components of whose size there are several, with themselves."""
    if len(parts) < _SEVERAL:
        return []
    sizes, kinds, counts = np.unique(
        stats[parts, 2:4], axis=0, return_inverse=True, return_counts=True
    )
    alike = [counts[(np.abs(sizes - size) <= _ALIKE * sizes).all(1)].sum() for size in sizes]
    return [
        part for part, kind in zip(parts, kinds.ravel(), strict=True) if alike[kind] >= _SEVERAL
    ]


def _holds_ink(frame: UInt8s) -> bool:
    """Whether there is ink inside of a small frame, well off its sides; but no bar, as of an 8."""
    edge = 2 + max(frame.shape) // 6
    inside = frame[edge:-edge]
    is_barred = (inside[:, 2:-2] > 0).all(1).any()
    return not is_barred and cv2.countNonZero(inside[:, edge:-edge]) > 0


def _is_like(size: NDArray[np.int32], others: NDArray[np.int32]) -> bool:
    """Whether something is about as wide and as high as one of some others, (n, 2)."""
    return bool((np.abs(others - size) <= _ALIKE * others).all(1).any())


def _lines_of(
    own: UInt8s, side: float, least: tuple[float, ...], frame: float, hidden: bool
) -> tuple[list[Line], list[Line]]:
    """What is a line within one connected piece of ink: the level ones, and the upright ones.

    Args:
        own: (h, w) uint8, 1 where it is.
        side: How long the side of a frame is at least, in pixels.
        least: The same for a rule, across and down.
        frame: How many times as long as thick the side of a frame is at least.
        hidden: Whether strokes lie on much of its lines.
    """
    across = stretches_of(own, side, least[0], frame)
    are_rules = sum(_is_rule(one, least[0], _THIN) for one in across) > 1
    down, may_stand = [], len(own) >= least[1]
    if len(across) > 1 or may_stand:
        thin = _COMB if are_rules else frame
        down = stretches_of(np.ascontiguousarray(own.T), side, least[1], thin)
    if not (across and down) and not any(
        _is_rule(one, rule, _THIN)
        for some, rule in zip((across, down), least, strict=True)
        for one in some
    ):  # there is neither a rule, nor sides to a frame both ways
        return [], []
    level = lines_of(across, hidden)
    sides = [line for line in level if line.long >= max(side, frame * line.thick)]
    posts = lines_of(down, hidden) if len(sides) > 1 or may_stand else []
    are_rules = sum(_is_rule(line, least[0], _THIN) for line in sides) > 1
    thin = _COMB if are_rules else frame
    others = [line for line in posts if line.long >= max(side, thin * line.thick)]
    before = 0
    while before != (before := len(sides) + len(others)):
        sides = [a for a in sides if _ends_on(a, others) > (not _is_rule(a, least[0], _THIN))]
        others = [b for b in others if _ends_on(b, sides) == 2]
    usual = median(np.array([line.thick for line in sides + others] or [0]))
    sides, others = (  # a stroke may stand between two sides
        [line for line in lines if line.thick <= 1.4 * usual + 1] for lines in (sides, others)
    )
    level = [line for line in level if line in sides or _is_rule(line, least[0], _THIN)]
    thin = _POST if len(level) < 2 else _THIN
    return level, [line for line in posts if line in others or _is_rule(line, least[1], thin)]


def _is_rule(line: Line | Stretch, least: float, thin: float) -> bool:
    return line.long >= max(least, thin * max(_HAIR, line.thick))


def _ends_on(line: Line, others: list[Line]) -> int:
    """How many of its ends are on other lines, at right angles to it."""
    return sum(
        any(other.meets(column, row) and other.is_square_to(line) for other in others)
        for row, column in zip(line.ends, (line.start, line.stop), strict=True)
    )


def _uncrossed(ink: UInt8s, level: list[Line], upright: list[Line]) -> UInt8s:
    """(h, w) 255 at the pixels of lines, but where strokes cross them."""
    found = np.zeros_like(ink)
    bands = _band(found, level), _band(found.T, upright).T
    crossed = np.zeros_like(ink)
    _mark_crossed(crossed, ink & ~bands[1], level)
    _mark_crossed(crossed.T, (ink & ~bands[0]).T, upright)
    return (bands[0] | bands[1]) & ~crossed


def _band(like: UInt8s, lines: list[Line]) -> UInt8s:
    band = np.zeros(like.shape, np.uint8)
    for line in lines:
        band[line.pixels(band.shape)] = 255
    return band


def _mark_crossed(crossed: UInt8s, ink: UInt8s, lines: list[Line]) -> None:
    """Mark the pixels of level lines where there is more ink than they usually have."""
    for line in lines:
        rows, columns = line.pixels(ink.shape)
        amount = ink[rows, columns].sum(0, dtype=np.int64)
        some = np.sort(amount[amount > 0])
        if len(some):
            more = amount > _MORE * some[int(0.4 * len(some))] + _AT_LEAST
            reach = 2 * round(line.thick) + 3  # a slanting stroke hides in the line that it crosses
            kernel = np.ones((1, reach), np.uint8)
            more = cv2.morphologyEx(more[None].astype(np.uint8), cv2.MORPH_CLOSE, kernel)[0] > 0
            crossed[rows[:, more], columns[:, more]] = 255
