"""Digits on a sheet of paper, as a camera or scanner sees it: what the reader is tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.errors import UsageError
from mnistry.pen.hand import draw, draw_hands
from mnistry.pen.ink import canvases
from mnistry.pen.settings import PenSet, Style

Paper = Literal["plain", "ruled", "squared"]

_SMALLEST, _LARGEST = 12, 1000  # pixels of a digit's height
_MOST = 100_000_000  # pixels of a sheet


@dataclass(frozen=True, eq=False)
class Sheet:
    """A written sheet."""

    image: NDArray[np.uint8]
    """(h, w) uint8, 0 black to 255 white."""
    labels: NDArray[np.uint8]
    """(n,) the digits, row by row from the left."""
    boxes: NDArray[np.intp]
    """(n, 4) left, top, width and height of each digit's ink, in pixels."""


def write_sheet(
    rows: Sequence[str],
    height: int = 60,
    *,
    paper: Paper = "plain",
    light: float = 0.2,
    noise: float = 3.0,
    style: Style = "mixed",
    seed: int = 0,
) -> Sheet:
    """Write rows of digits on paper, all in one hand; no two of them touch.

    Args:
        rows: The digits of each row, "0123".
        height: Pixels of a digit, about: 12 to 1000.
        paper: Plain, with ruled lines or with squares.
        light: How unevenly it is lit: 0 not at all, to 1, where the darkest places may have half
            the light of the brightest.
        noise: The deviation of the camera's noise, in grey levels.
        style: "us", "eu" or "mixed", as `PenSet` has it.
        seed: Decides everything that is random.

    Raises:
        UsageError: An argument is out of range, or a row holds something else than digits.
    """
    if not rows or not all(row.isascii() and row.isdecimal() for row in rows):
        raise UsageError(f"rows: are {list(rows)!r:.80}, expected digits in each: '0123'")
    if not _SMALLEST <= height <= _LARGEST:
        raise UsageError(f"height: is {height}, expected {_SMALLEST} to {_LARGEST}")
    if paper not in get_args(Paper):
        raise UsageError(f"paper: is {paper!r}, expected one of {', '.join(get_args(Paper))}")
    PenSet(seed=seed, style=style)  # refuses what they cannot be
    if not 0 <= light <= 1 or not 0 <= noise <= 50:
        raise UsageError(f"light, noise: are {light}, {noise}; expected 0 to 1 and 0 to 50")
    line = round(1.7 * height)
    size = (line * (len(rows) + 1), round(1.5 * height * (max(map(len, rows)) + 2)))  # at most
    if size[0] * size[1] > _MOST:
        raise UsageError(
            f"rows: would fill {size[0]} x {size[1]} pixels, expected at most {_MOST:,} in all;"
            " write fewer digits, or smaller ones"
        )
    rng = np.random.default_rng(seed)
    labels = np.array([int(c) for row in rows for c in row], np.uint8)
    inks = _inks(rng, labels, height, style)
    sizes = np.array([digit.shape[::-1] for digit in inks])
    jitter = 0.06 * height * rng.standard_normal((len(labels), 2)).clip(-2, 2)
    gaps = np.round(0.3 * height + jitter[:, 0]).astype(int)
    ends = np.cumsum([len(row) for row in rows])
    boxes = np.empty((len(labels), 4), np.intp)
    boxes[:, 2:] = sizes
    for number, own in enumerate(np.split(np.arange(len(labels)), ends[:-1])):
        steps = sizes[own, 0] + gaps[own]
        boxes[own, 0] = height + np.cumsum(steps) - steps
        boxes[own, 1] = line * (number + 1) - sizes[own, 1] + np.round(jitter[own, 1])
    ink = np.zeros((size[0], int((boxes[:, 0] + boxes[:, 2]).max()) + height), np.uint8)
    for digit, (left, top, wide, tall) in zip(inks, boxes, strict=True):
        ink[top : top + tall, left : left + wide] = digit
    return Sheet(_photograph(rng, ink, line, paper, light, noise), labels, boxes)


def _inks(
    rng: np.random.Generator, labels: NDArray[np.uint8], height: int, style: Style
) -> list[NDArray[np.uint8]]:
    """Each digit's ink in its box, (h, w) uint8, softened by drawing it twice as large."""
    inks: list[NDArray[np.uint8]] = [np.zeros((1, 1), np.uint8)] * len(labels)
    hands = draw_hands(rng, 1, style)
    for drawn in draw(rng, hands, np.zeros(len(labels), np.intp), labels):
        tall = 2 * height * np.exp(drawn.traits["size"])
        for i, (canvas, nib) in zip(drawn.indices, canvases(drawn, rng, tall), strict=True):
            size = max(1, round(canvas.shape[1] * nib / 2)), max(1, canvas.shape[0] // 2)
            soft = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(soft)
            inks[i] = soft[y : y + h, x : x + w]
    return inks


def _photograph(
    rng: np.random.Generator,
    ink: NDArray[np.uint8],
    line: int,
    paper: Paper,
    light: float,
    noise: float,
) -> NDArray[np.uint8]:
    height, width = ink.shape
    sheet = np.full(ink.shape, rng.uniform(225, 250), np.float32)
    grain = rng.standard_normal((height // 2 + 1, width // 2 + 1)).astype(np.float32)
    sheet += 1.5 * cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    rules = sheet.copy()
    if paper != "plain":
        step = line if paper == "ruled" else max(6, line // 3)
        wide = max(1, line // 60)
        for at in range(line % step, height, step):
            rules[at : at + wide] -= rng.uniform(35, 60)
        if paper == "squared":
            for at in range(line % step, width, step):
                rules[:, at : at + wide] = sheet[:, at : at + wide] - rng.uniform(35, 60)
    dark = rng.uniform(20, 90)
    cover = ink.astype(np.float32) / 255
    sheet = (rules + (dark - rules) * cover).astype(np.float32)
    corners = rng.uniform(1 - 0.5 * light, 1, (3, 3)).astype(np.float32)
    sheet *= cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    sheet = cv2.GaussianBlur(sheet, (0, 0), rng.uniform(0.3, 0.9)).astype(np.float32)
    sheet += noise * rng.standard_normal(ink.shape).astype(np.float32)
    return np.clip(np.round(sheet), 0, 255).astype(np.uint8)
