"""What the printer, dirt, light and the camera make of a sheet."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.pen.hand import Floats
from mnistry.pen.paper.layout import IN_BOXES, LINE, Layout, Paper

_BITS = 4  # after the point, in OpenCV's coordinates
_BAND = 256  # rows of a photo that are developed at a time
_COARSE = 1024  # pixels of a shadow's longer side


@dataclass(frozen=True, eq=False)
class Layer:
    """Something on paper."""

    cover: NDArray[np.uint8]
    """(h, w) 0 nothing to 255 all of it."""
    grey: float
    """Its level, 0 black to 255 white."""


def print_lines(
    rng: np.random.Generator, layout: Layout, height: int, paper: Paper, blur: float
) -> Layer:
    """Print a sheet's rules, squares or boxes."""
    if paper in IN_BOXES:
        lines, thickest, grey = [*layout.cells], 0.03, rng.uniform(20, 180)
    else:
        lines, thickest = _rules(rng, layout, height, paper == "squared"), 0.02
        grey = rng.uniform(70, 215)
    thick = int(rng.integers(1, max(1, round(thickest * height)), endpoint=True))
    cover = np.zeros(layout.shape, np.uint8)
    for line in lines:
        points = np.rint(line * (1 << _BITS)).astype(np.int32)
        cv2.polylines(cover, [points], len(line) > 2, 255, thick, cv2.LINE_AA, _BITS)
    return Layer(cv2.GaussianBlur(cover, (0, 0), blur).astype(np.uint8), grey)


def _rules(rng: np.random.Generator, layout: Layout, height: int, squared: bool) -> list[Floats]:
    """The ends (2, 2) of lines all over the sheet; the digits stand on them, or anywhere."""
    tall, wide = layout.shape
    corners = np.array([[0, 0], [wide, 0], [0, tall], [wide, tall]]) - layout.origin
    low, high = (corners @ layout.turn).min(0), (corners @ layout.turn).max(0)
    row = LINE * height
    step = row / rng.integers(2, 4) if squared else row
    if rng.random() < 0.5:
        step *= rng.uniform(0.7, 1.1)
    first = row + rng.uniform(-0.1, 0.1) * height
    ends = []
    for axis in (1, 0) if squared else (1,):
        for at in np.arange(first - (first - low[axis]) // step * step, high[axis], step):
            line = np.array([low, high])
            line[:, axis] = at
            ends.append(line @ layout.turn.T + layout.origin)
    return ends


def strew(
    rng: np.random.Generator, shape: tuple[int, int], count: int, height: int, blur: float
) -> Layer:
    """Strew dots and short hairs, none longer than a tenth of a digit's height."""
    cover = np.zeros(shape, np.uint8)
    way = np.linspace(0, 1, 8)[:, None]
    bend = np.hstack([(1 - way) ** 2, 2 * way * (1 - way), way**2])  # Bézier's, of three points
    for _ in range(count):
        place = rng.uniform((0, 0), shape[::-1])
        dark = int(rng.integers(90, 256))
        if rng.random() < 0.6:
            point = np.rint(place * (1 << _BITS)).astype(int).tolist()
            radius = round(height * rng.uniform(0.005, 0.045) * (1 << _BITS))
            cv2.circle(cover, point, radius, dark, -1, cv2.LINE_AA, _BITS)
        else:
            points = rng.uniform(-0.045, 0.045, (3, 2)) * height
            hair = np.rint((place + bend @ points) * (1 << _BITS)).astype(np.int32)
            cv2.polylines(cover, [hair], False, dark, max(1, height // 100), cv2.LINE_AA, _BITS)
    return Layer(cv2.GaussianBlur(cover, (0, 0), blur).astype(np.uint8), rng.uniform(20, 70))


def cast_shadow(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Cast a phone's or a hand's shadow from an edge: (h, w) 0 light to 255 shadow."""
    scale = min(1.0, _COARSE / max(shape))
    mask = np.zeros([max(1, round(scale * side)) for side in shape], np.uint8)
    size = min(mask.shape) * rng.uniform(0.15, 0.3)
    tip = rng.uniform(0.25, 0.75, 2) * mask.shape[::-1]
    angle = rng.uniform(0, 2 * np.pi)
    back, far = np.array([math.cos(angle), math.sin(angle)]), sum(mask.shape)
    side = np.array([-back[1], back[0]]) * size
    if rng.random() < 0.5:
        corners = [tip + side, tip - side, tip - side + far * back, tip + side + far * back]
        cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 255)
    else:
        palm = tip + 2.2 * size * back
        bones = [(palm, palm + far * back, 2.0 * size)]
        for spread, length in ((-1.1, 0.5), (-0.4, 0.9), (0.3, 1.0), (1.0, 0.8)):
            finger = palm + spread * side - length * 2.2 * size * back
            bones.append((finger, palm + 0.6 * spread * side, 0.55 * size))
        for start, stop, wide in bones:
            ends = np.rint([start, stop]).astype(np.int32)
            cv2.polylines(mask, [ends], False, 255, max(1, round(wide)))
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.7, 5))
    return cv2.resize(soft, shape[::-1], interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def photograph(
    rng: np.random.Generator,
    layers: list[Layer],
    *,
    dark: bool,
    light: float,
    shadow: float,
    noise: float,
) -> NDArray[np.uint8]:
    """Take a photo of white paper.

    Args:
        rng: Decides what is left to chance.
        layers: What is on the paper, the lowest first; each (h, w).
        dark: Whether black and white are exchanged.
        light: How unevenly it is lit, 0 to 1.
        shadow: The share of the light that a shadow takes, 0 to 1.
        noise: The deviation of the camera's noise, in grey levels.
    """
    tall, wide = layers[0].cover.shape
    white = rng.uniform(225, 252)
    lamps = rng.uniform(1 - 0.5 * light, 1, (3, 3)).astype(np.float32)
    lit = cv2.resize(lamps, (3, tall), interpolation=cv2.INTER_CUBIC)
    shade = cast_shadow(rng.spawn(1)[0], (tall, wide)) if shadow else None
    image = np.empty((tall, wide), np.uint8)
    for top in range(0, tall, _BAND):
        own = slice(top, min(top + _BAND, tall))
        level = np.full((own.stop - top, wide), white, np.float32)
        for layer in layers:
            level += (layer.grey - level) * (layer.cover[own] * np.float32(1 / 255))
        if dark:
            level = 255 - level
        level *= cv2.resize(lit[own], level.shape[::-1], interpolation=cv2.INTER_CUBIC)
        if shade is not None:
            level *= 1 - shade[own] * np.float32(shadow / 255)
        if noise:
            level += noise * _noise(rng, level.shape)
        image[own] = np.rint(level).clip(0, 255)
    return image


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Noise of deviation 1: of single pixels, and the paper's of several."""
    fine = rng.standard_normal(shape, np.float32)
    coarse = rng.standard_normal((shape[0] // 2 + 1, shape[1] // 2 + 1), np.float32)
    return 0.85 * fine + 0.6 * cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
