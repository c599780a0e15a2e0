"""What is on paper and is no digit: letters, marks, scribbles, blots, ruled lines, nothing."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.normalise import SIZE, normalise
from mnistry.pen.hand import Drawn, Floats, Hands, Indices, curve_through, draw, traits_of
from mnistry.pen.ink import ink
from mnistry.pen.letterforms import OTHER_KINDS
from mnistry.pen.settings import CLASSES

_SHEET = 100  # pixels of a side of what is not drawn by a hand
_CORNERS = 24  # of a blot


def write_others(
    rng: np.random.Generator, hands: Hands, who: Indices, labels: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Write things that are no digits.

    Args:
        rng: Decides everything.
        hands: The writers' hands, for the letterforms `mnistry.pen.letterforms.OTHERS`.
        who: (n,) the writer of each, from 0 on.
        labels: (n,) the kind of each, an index of `CLASSES`.

    Returns:
        (n, 28, 28) uint8, 0 ground to 255 ink, as MNIST's.
    """
    images = np.zeros((len(labels), SIZE, SIZE), np.uint8)
    for label, kind in enumerate(CLASSES["others"]):
        at = np.flatnonzero(labels == label)
        among = [number for number, of in enumerate(OTHER_KINDS) if of == kind]
        if among:
            forms = rng.choice(among, len(at)).astype(np.uint8)
            for drawn in draw(rng, hands, who[at], forms):
                images[at[drawn.indices]] = ink(drawn, rng)
        elif kind == "scribble":
            for some, knots in zip(np.array_split(rng.permutation(at), 3), (6, 9, 14), strict=True):
                traits = traits_of(rng, hands, who[some])
                images[some] = ink(_scribbles(rng, len(some), knots, traits), rng)
        else:
            make = {"blot": _blot, "line": _lines, "empty": _specks}[kind]
            for i in at:
                images[i] = make(rng)
    return images


def _scribbles(rng: np.random.Generator, n: int, knots: int, traits: dict[str, Floats]) -> Drawn:
    """Curves through random points: each a walk with momentum, so that some run and some curl."""
    steps = rng.standard_normal((n, knots, 2))
    steps[:, 1:] += rng.uniform(-0.9, 0.9, (n, 1, 1)) * steps[:, :-1]
    walk = steps.cumsum(1) * np.exp(0.4 * rng.standard_normal((n, 1, 2)))
    low, high = walk.min(1, keepdims=True), walk.max(1, keepdims=True)
    way = np.linspace(0.0, 1.0, knots), np.linspace(0.0, 1.0, 14 * (knots - 1) + 1)
    matrix = curve_through(*way)
    points = matrix @ ((walk - low) / (high - low).max(2, keepdims=True))
    return Drawn(np.arange(n), points, ((0, len(matrix)),), traits)


def _blot(rng: np.random.Generator) -> NDArray[np.uint8]:
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    radius = np.full(_CORNERS, 1.0)
    for wave in range(1, 6):
        radius += 0.25 / wave * rng.standard_normal() * np.cos(wave * angles + rng.uniform(0, 6.3))
    stretch = np.exp(0.3 * rng.standard_normal(2))
    outline = np.stack([np.cos(angles), np.sin(angles)], -1) * np.abs(radius)[:, None] * stretch
    outline *= 0.4 * _SHEET / np.abs(outline).max()
    sheet = np.zeros((_SHEET, _SHEET), np.uint8)
    cv2.fillPoly(sheet, [np.round(outline + _SHEET / 2).astype(np.int32)], 255)
    return normalise(sheet)


def _lines(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A piece of ruled or squared paper, or the corner of a box, level but for a little.

    There is always a level line: an upright one alone would be a 1.
    """
    sheet = np.zeros((_SHEET, _SHEET), np.uint8)
    thick, tilt, gap = int(rng.integers(2, 8)), rng.uniform(-4, 4), rng.uniform(18, 60)
    level = np.arange(rng.uniform(10, 85), 90, gap)[: rng.integers(1, 4)]
    upright = np.arange(rng.uniform(10, 85), 90, gap)[: rng.integers(0, 3)]
    start, stop = rng.uniform(2, 20), _SHEET - rng.uniform(2, 20)
    ends = [[(start, at), (stop, at + tilt)] for at in level]
    ends += [[(at, start), (at - tilt, stop)] for at in upright]
    for line in np.round(np.array(ends) * 16).astype(np.int32):
        cv2.polylines(sheet, [line], False, 255, thick, cv2.LINE_AA, 4)
    return normalise(sheet)


def _specks(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Nothing, or the dirt and noise that is left of paper."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    for _ in range(int(rng.integers(0, 6))):
        x, y = rng.integers(1, SIZE - 1, 2).tolist()
        image[y, x] = rng.integers(40, 256)
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(5, 30), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image
