"""Ink on paper: drawn digits as pixels, thin ballpoint to thick marker."""

import math
import operator
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.normalise import SIZE, normalise
from mnistry.pen.hand import Drawn, Floats, curve_through

_TALL = 48  # pixels of the longer side, before it is brought to MNIST's size
_PAD = 2  # pixels around it
_BITS = 4  # after the point, in OpenCV's coordinates
_THIN, _THICK = 0.03, 0.25  # the widths that strokes may have, by the longer side
_WAVES = 1.2  # how often the width swells along all strokes of a digit, and how often ink is short
_TONES = 8  # of ink
_COARSE = 100  # pixels up to which strokes need no more points and tones


def ink(drawn: Drawn, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Ink digits, and bring each to MNIST's form.

    Args:
        drawn: n digits.
        rng: Decides where the strokes swell.

    Returns:
        (n, 28, 28) uint8, 0 ground to 255 ink.
    """
    images = np.empty((len(drawn.points), SIZE, SIZE), np.uint8)
    for image, (canvas, nib) in zip(images, canvases(drawn, rng, _TALL), strict=True):
        image[:] = normalise(canvas, nib)
    return images


def canvases(
    drawn: Drawn, rng: np.random.Generator, tall: float | Floats, thinnest: float = _THIN
) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Ink digits at any size.

    Args:
        drawn: n digits.
        rng: Decides where the strokes swell.
        tall: Pixels of a digit's longer side, of all or of each: (n,).
        thinnest: The least width of a stroke, by the longer side.

    Yields:
        For each digit (h, w) uint8, 0 ground to 255 ink, and the width of its pixels by their
        height.
    """
    finer = min(16, math.ceil(np.max(tall) / _COARSE))
    points, ends = _refine(drawn.points, drawn.ends, finer)
    traits, tones = drawn.traits, _TONES * min(8, finer)
    n, count = points.shape[:2]
    pen = np.clip(np.exp(traits["width"]), thinnest, _THICK) * tall  # (n,)
    low, high = points.min(1), points.max(1)
    wave, want = np.cos(2 * np.pi * (np.linspace(0, _WAVES, count) + rng.random((2, n, 1))))
    thick = np.maximum(1, np.round(pen[:, None] * (1 + traits["swell"][:, None] * wave))).astype(
        int
    )
    margin = thick.max(1) / 2 + _PAD
    scale = (tall - pen) / (high - low).max(1)
    # A pen that is wider one way than the other: a round one, on pixels that are not square.
    nib = np.exp(traits["nib"])
    pixels = np.stack([scale * nib**-0.5, scale * nib**0.5], -1)[:, None]
    placed = (points - low[:, None]) * pixels + margin[:, None, None]
    sizes = np.ceil(placed.max(1) + margin[:, None]).astype(int) + 1
    fixed = np.round(placed * (1 << _BITS)).astype(np.int32)
    faint = np.clip(traits["faint"], 0, 1)[:, None] * (1 + want) / 2
    tone = 255 - (255 / tones * np.floor(tones * faint * 0.99)).astype(int)
    starts = np.zeros((n, count), bool)  # of a stretch of one width and tone
    starts[:, 1:] = (thick[:, 1:] != thick[:, :-1]) | (tone[:, 1:] != tone[:, :-1])
    starts[:, [start for start, _ in ends]] = True
    breaks = {stop for _, stop in ends}
    which, at = np.nonzero(starts)
    bounds = np.searchsorted(which, np.arange(n + 1)).tolist()
    greys, widths, firsts = tone[which, at].tolist(), thick[which, at].tolist(), at.tolist()
    for i, size in enumerate(sizes[:, ::-1].tolist()):
        canvas, line, own = np.zeros(size, np.uint8), fixed[i], slice(*bounds[i : i + 2])
        stops = [*firsts[own][1:], count]
        stretches = [*zip(greys[own], widths[own], firsts[own], stops, strict=True)]
        stretches.sort(key=operator.itemgetter(0))  # faint ink over dark leaves it dark
        for grey, width, start, stop in stretches:
            part = line[start : stop if stop in breaks else stop + 1]
            cv2.polylines(canvas, [part], False, grey, width, cv2.LINE_8, _BITS)
        yield canvas, float(nib[i])


def _refine(
    points: Floats, ends: tuple[tuple[int, int], ...], times: int
) -> tuple[Floats, tuple[tuple[int, int], ...]]:
    """So many times as many points along each stroke, on a smooth curve through them."""
    if times == 1:
        return points, ends
    parts = []
    for start, stop in ends:
        count = stop - start
        way = np.linspace(0, count - 1, times * count)
        parts.append(curve_through(np.arange(count, dtype=float), way) @ points[:, start:stop])
    return np.concatenate(parts, 1), tuple((times * start, times * stop) for start, stop in ends)
