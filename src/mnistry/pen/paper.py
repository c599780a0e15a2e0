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
    """Write rows of digits on paper, all in one hand.

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
    pitch, line = round(1.15 * height), round(1.7 * height)
    size = (line * (len(rows) + 1), pitch * (max(map(len, rows)) + 1))
    if size[0] * size[1] > _MOST:
        raise UsageError(
            f"rows: would fill {size[0]} x {size[1]} pixels, expected at most {_MOST:,} in all;"
            " write fewer digits, or smaller ones"
        )
    rng = np.random.default_rng(seed)
    labels = np.array([int(c) for row in rows for c in row], np.uint8)
    inks = _inks(rng, labels, height, style)
    ink = np.zeros(size, np.uint8)
    boxes = np.empty((len(labels), 4), np.intp)
    number = 0
    for r, row in enumerate(rows):
        for c in range(len(row)):
            digit = inks[number]
            jitter = (0.06 * height * rng.standard_normal(2)).clip(-0.1 * height, 0.1 * height)
            left = round(pitch * (c + 1) - digit.shape[1] / 2 + jitter[0])
            top = round(line * (r + 1) - digit.shape[0] / 2 + jitter[1])
            left = min(max(left, 0), size[1] - digit.shape[1])
            top = min(max(top, 0), size[0] - digit.shape[0])
            place = np.s_[top : top + digit.shape[0], left : left + digit.shape[1]]
            ink[place] = np.maximum(ink[place], digit)
            x, y, w, h = cv2.boundingRect(digit)
            boxes[number] = left + x, top + y, w, h
            number += 1
    return Sheet(_photograph(rng, ink, line, paper, light, noise), labels, boxes)


def _inks(
    rng: np.random.Generator, labels: NDArray[np.uint8], height: int, style: Style
) -> list[NDArray[np.uint8]]:
    """Each digit's ink, (h, w) uint8, its edges softened by drawing it twice as large."""
    inks: list[NDArray[np.uint8]] = [np.zeros((1, 1), np.uint8)] * len(labels)
    hands = draw_hands(rng, 1, style)
    for drawn in draw(rng, hands, np.zeros(len(labels), np.intp), labels):
        tall = 2 * height * np.exp(drawn.traits["size"])
        for i, (canvas, nib) in zip(drawn.indices, canvases(drawn, rng, tall), strict=True):
            size = max(1, round(canvas.shape[1] * nib / 2)), max(1, canvas.shape[0] // 2)
            inks[i] = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
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
        for at in range(line // 2, height, step):
            rules[at : at + wide] -= rng.uniform(35, 60)
        if paper == "squared":
            for at in range(line // 2, width, step):
                rules[:, at : at + wide] = sheet[:, at : at + wide] - rng.uniform(35, 60)
    dark = rng.uniform(20, 90)
    cover = ink.astype(np.float32) / 255
    sheet = (rules + (dark - rules) * cover).astype(np.float32)
    corners = rng.uniform(1 - 0.5 * light, 1, (3, 3)).astype(np.float32)
    sheet *= cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC)
    sheet = cv2.GaussianBlur(sheet, (0, 0), rng.uniform(0.3, 0.9)).astype(np.float32)
    sheet += noise * rng.standard_normal(ink.shape).astype(np.float32)
    return np.clip(np.round(sheet), 0, 255).astype(np.uint8)
