"""Pens, and digits written with them, each in pixels of its own."""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pen.hand import draw, draw_hands
from mnistry.pen.ink import canvases
from mnistry.pen.settings import Style

Pen = Literal["ballpoint", "fine", "pencil", "marker", "fountain"]

VISIBLE = 0.2
"""Of a digit's darkest ink: what has less does not widen its box."""

_THIN = 0.018  # the thinnest strokes, by the digit's longer side


@dataclass(frozen=True)
class _Nib:
    """What a pen makes of strokes."""

    width: tuple[float, float]
    """From and to, by the digit's longer side."""
    grey: tuple[float, float]
    """The level of full ink, from and to: 0 black to 255 white."""
    faint: float
    """How far ink gives out along a stroke, about: 0 or less to 1."""
    swell: float
    """How much the width changes along a stroke."""
    skips: float
    """How much of the paper's hollows it leaves bare: -2 next to nothing, 1 a half."""


_NIBS: dict[Pen, _Nib] = {
    "ballpoint": _Nib((0.05, 0.08), (15, 80), 0.35, 0.1, -0.6),
    "fine": _Nib((0.018, 0.03), (10, 70), 0.2, 0.05, -2.0),
    "pencil": _Nib((0.045, 0.08), (85, 135), 0.45, 0.2, 0.8),
    "marker": _Nib((0.13, 0.2), (5, 35), -0.2, 0.1, -2.0),
    "fountain": _Nib((0.05, 0.09), (20, 90), 0.25, 0.4, -2.0),
}


@dataclass(frozen=True, eq=False)
class Inks:
    """Written digits."""

    covers: list[NDArray[np.uint8]]
    """(h + 2 rim, w + 2 rim) each, 0 paper to 255 ink: its box, and what is fainter around it."""
    rim: int
    """Pixels around each box."""
    sizes: NDArray[np.intp]
    """(n, 2) width and height of each box."""
    grey: float
    """The level of full ink."""
    blur: float
    """The deviation of the camera's blur, in pixels."""

    def visible(self, i: int) -> NDArray[np.bool_]:
        """Where a digit has visible ink, in its box: (h, w)."""
        return _visible(self.covers[i])[self.rim : -self.rim, self.rim : -self.rim]


def write_digits(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    height: int,
    pen: Pen,
    style: Style,
    tilt: float,
    blur: float,
) -> Inks:
    """Write digits in one hand.

    Args:
        rng: Decides the hand, its pen and each digit.
        labels: (n,) uint8, 0 to 9.
        height: Pixels of a digit's longer side, about.
        pen: What they are written with.
        style: Where the writer learned to write.
        tilt: Degrees by which they are turned clockwise.
        blur: The deviation of the camera's blur, in pixels.
    """
    nib = _NIBS[pen]
    hands = draw_hands(rng, 1, style)
    usual = {"width": math.log(rng.uniform(*nib.width)), "faint": nib.faint, "swell": nib.swell}
    hands.traits.update({name: np.array([value]) for name, value in usual.items()})
    hands.traits["turn"] += math.radians(tilt)
    grey, rim, of_hollows = rng.uniform(*nib.grey), math.ceil(3 * blur), rng.spawn(1)[0]
    covers = [np.zeros((1, 1), np.uint8)] * len(labels)
    for drawn in draw(rng, hands, np.zeros(len(labels), np.intp), labels):
        tall = 2 * height * np.exp(drawn.traits["size"])  # drawn twice as large: soft edges
        for i, (canvas, wide) in zip(drawn.indices, canvases(drawn, rng, tall, _THIN), strict=True):
            size = max(1, round(canvas.shape[1] * wide / 2)), max(1, canvas.shape[0] // 2)
            small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
            cover = _skip(of_hollows, np.pad(small, 2 * rim), nib.skips, height)
            covers[i] = _cut(cv2.GaussianBlur(cover, (0, 0), blur).astype(np.uint8), rim)
    sizes = np.array([cover.shape[::-1] for cover in covers]) - 2 * rim
    return Inks(covers, rim, sizes, grey, blur)


def _skip(
    rng: np.random.Generator, cover: NDArray[np.uint8], skips: float, height: int
) -> NDArray[np.uint8]:
    """Leave the paper's hollows bare."""
    if skips <= -2:
        return cover
    tall, wide = cover.shape
    coarse = max(1.0, 0.009 * height)  # pixels from one hollow to the next
    hollows = rng.standard_normal((math.ceil(tall / coarse), math.ceil(wide / coarse)), np.float32)
    deep = cv2.resize(hollows, (wide, tall), interpolation=cv2.INTER_CUBIC) + skips - 1
    left: NDArray[np.uint8] = np.rint(cover * (1 - 0.9 * np.clip(deep, 0, 1))).astype(np.uint8)
    return left


def _cut(cover: NDArray[np.uint8], rim: int) -> NDArray[np.uint8]:
    """Cut out what is visible, and a rim around it."""
    x, y, w, h = cv2.boundingRect(_visible(cover).astype(np.uint8))
    return cover[y - rim : y + h + rim, x - rim : x + w + rim]


def _visible(cover: NDArray[np.uint8]) -> NDArray[np.bool_]:
    visible: NDArray[np.bool_] = cover >= VISIBLE * cover.max()
    return visible
