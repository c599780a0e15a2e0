"""A sheet of written digits, with where they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.errors import UsageError
from mnistry.pen.paper.layout import IN_BOXES, LINE, Layout, Paper, lay_out
from mnistry.pen.paper.pens import Inks, Pen, write_digits
from mnistry.pen.paper.photo import Layer, photograph, print_lines, strew
from mnistry.pen.settings import PenSet, Style

_MOST = 100_000_000  # pixels of a sheet


@dataclass(frozen=True, eq=False)
class Sheet:
    """A written sheet."""

    image: NDArray[np.uint8]
    """(h, w) uint8, 0 black to 255 white."""
    labels: NDArray[np.uint8]
    """(n,) the digits, row by row from the left."""
    boxes: NDArray[np.intp]
    """(n, 4) left, top, width and height of each digit's ink, in pixels: of what has at least a
    fifth of the digit's darkest ink."""

    def match(self, boxes: ArrayLike) -> NDArray[np.intp]:
        """Tell which of the digits some boxes hold.

        Args:
            boxes: (m, 4) left, top, width and height, in pixels.

        Returns:
            (m,) the number of the digit whose box, or that and the pixel of pale ink around it, has
            more than half in common with it, of what both cover; -1 for none. What is most alike is
            matched first, each digit once.
        """
        theirs = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
        start, stop = theirs[..., :2], theirs[..., :2] + theirs[..., 2:]
        share = np.zeros((len(theirs), len(self.boxes)))
        for rim in (0, 1):
            first, last = self.boxes[:, :2] - rim, self.boxes[:, :2] + self.boxes[:, 2:] + rim
            both = (np.minimum(stop, last) - np.maximum(start, first)).clip(0).prod(-1)
            either = (stop - start).prod(-1) + (last - first).prod(-1) - both
            share = np.maximum(share, both / either)
        found = np.full(len(theirs), -1, np.intp)
        for _ in range(min(share.shape)):
            box, digit = np.unravel_index(share.argmax(), share.shape)
            if share[box, digit] <= 0.5:
                break
            found[box] = digit
            share[box] = share[:, digit] = 0
        return found


def write_sheet(
    rows: Sequence[str],
    height: int = 60,
    *,
    paper: Paper = "plain",
    pen: Pen = "ballpoint",
    dark: bool = False,
    tilt: float = 0.0,
    touching: float = 0.0,
    specks: float = 0.0,
    light: float = 0.2,
    shadow: float = 0.0,
    noise: float = 3.0,
    style: Style = "mixed",
    seed: int = 0,
) -> Sheet:
    """Write rows of digits on paper, all in one hand.

    Args:
        rows: The digits of each row, "0123".
        height: Pixels of a digit's longer side, about: 12 to 2000.
        paper: Plain, with ruled lines, with squares, with a box for each digit as forms have
            ("boxed"), or with boxes that share their sides ("comb").
        pen: A ballpoint, a fine pen, a pencil, a marker or a fountain pen: how thick and dark the
            strokes are.
        dark: Whether black and white are exchanged, as with chalk or on a screen.
        tilt: Degrees by which the paper is turned clockwise, -4 to 4.
        touching: The share of neighbours in a row whose ink touches, 0 to 1; of the others no two
            touch. There is none in boxes.
        specks: Dots and short hairs of dirt, so many for each digit: 0 to 20.
        light: How unevenly it is lit: 0 not at all, to 1, where the darkest places may have half
            the light of the brightest.
        shadow: The share of the light that a hand or phone takes where it throws its shadow, 0 none
            to 0.8.
        noise: The deviation of the camera's and the paper's noise, in grey levels, 0 to 50.
        style: "us", "eu" or "mixed", as `PenSet` has it.
        seed: Decides everything that is random. What one argument changes leaves the rest as it is.

    Raises:
        UsageError: An argument is out of range, or a row holds something else than digits.
    """
    PenSet(seed=seed, style=style)  # refuses what they cannot be
    _check_choices(paper=(paper, Paper), pen=(pen, Pen))
    _check_ranges(
        height=(height, 12, 2000),
        tilt=(tilt, -4, 4),
        touching=(touching, 0, 1),
        specks=(specks, 0, 20),
        light=(light, 0, 1),
        shadow=(shadow, 0, 0.8),
        noise=(noise, 0, 50),
    )
    if touching and paper in IN_BOXES:
        raise UsageError(
            f"touching: is {touching!r} on {paper} paper, expected 0: boxes part digits"
        )
    _check_rows(rows, height, tilt)
    of_pen, of_places, of_lines, of_dirt, of_camera = np.random.default_rng(seed).spawn(5)
    labels = np.array([int(c) for row in rows for c in row], np.uint8)
    blur = max(0.6, height / 150) * of_camera.uniform(0.4, 0.9)
    inks = write_digits(of_pen, labels, height, pen, style, tilt, blur)
    layout = lay_out(of_places, inks, rows, height, paper, tilt, touching)
    layers = [Layer(put_ink(inks, layout), inks.grey)]
    if paper != "plain":
        layers.insert(0, print_lines(of_lines, layout, height, paper, blur))
    if specks:
        count = round(specks * len(labels))
        layers.append(strew(of_dirt, layout.shape, count, height, blur))
    image = photograph(of_camera, layers, dark=dark, light=light, shadow=shadow, noise=noise)
    return Sheet(image, labels, layout.boxes)


def put_ink(inks: Inks, layout: Layout) -> NDArray[np.uint8]:
    """Put the digits at their places, on nothing: (h, w) uint8, 0 to 255 ink."""
    cover = np.zeros(layout.shape, np.uint8)
    for own, (left, top, _, _) in zip(inks.covers, layout.boxes - inks.rim, strict=True):
        place = cover[top : top + own.shape[0], left : left + own.shape[1]]
        np.maximum(place, own, out=place)
    return cover


def _check_choices(**choices: tuple[str, object]) -> None:
    for name, (value, known) in choices.items():
        if value not in get_args(known):
            raise UsageError(f"{name}: is {value!r}, expected one of {', '.join(get_args(known))}")


def _check_ranges(**ranges: tuple[float, float, float]) -> None:
    for name, (value, low, high) in ranges.items():
        kind = Integral if name == "height" else Real
        if not isinstance(value, kind) or not low <= value <= high:
            raise UsageError(f"{name}: is {value!r}, expected {low} to {high}")


def _check_rows(rows: Sequence[str], height: int, tilt: float) -> None:
    if isinstance(rows, str) or not rows or not all(map(_is_digits, rows)):
        raise UsageError(f"rows: are {rows!r:.80}, expected digits in each: ['0123']")
    upright = np.array([len(rows) + 1, max(map(len, rows)) + 2]) * LINE * height  # at most
    tall, wide = np.ceil(upright + upright[::-1] * abs(math.sin(math.radians(tilt)))).tolist()
    if tall * wide > _MOST:
        raise UsageError(
            f"rows: would fill {tall:.0f} x {wide:.0f} pixels, expected at most {_MOST:,} in all;"
            " write fewer digits, or smaller ones"
        )


def _is_digits(row: object) -> bool:
    return isinstance(row, str) and row.isascii() and row.isdecimal()
