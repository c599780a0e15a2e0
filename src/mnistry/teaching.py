"""What the reader is taught on: digits by many hands, and what is no digit.

A reader of pages has to tell a digit from a letter, a smudge, or two digits that touch, so "none"
is an eleventh class. Its images are what pen writes beside digits, pairs of digits that touch, and
digits with much of a neighbour beside them; with a little of a neighbour, as a cut leaves, they are
digits.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.cutting import cut
from mnistry.dataset import Dataset
from mnistry.formats import DIGITS
from mnistry.normalise import SIZE, normalise, stretch
from mnistry.page import Piece, find_rows, join
from mnistry.pen.paper import Paper, Pen, write_sheet
from mnistry.recipe import PRESETS, Augment, Recipe

CLASSES = (*DIGITS, "none")
"""What the reader tells apart."""

PAIR_CLASSES = (*(a + b for a in DIGITS for b in DIGITS), "none")
"""What the reader of two digits that touch tells apart."""

_NONE = len(DIGITS)  # the class of what is no digit

RECIPE: Recipe = replace(
    PRESETS["strong"].with_settings({"filters": "32,64,160"}),
    name="reader",
    beta_1=0.9,
    beta_2=0.99,
    epochs=3,
    augment=Augment(
        shift=1.5,
        rotate=12,
        scale=0.12,
        shear=0.3,
        elastic=0.5,
        stroke=0.8,
        stretch=0.25,
        coarse=0.15,
        threshold=0.2,
        tone=0.3,
        noise=0.15,
    ),
    source="Mnistry's own: the reader",
    reported="",
)
"""How the reader is trained: distortions as far as the world goes."""

PAIR_RECIPE: Recipe = replace(
    RECIPE.with_settings({"filters": "24,48,80"}),
    name="pairs",
    augment=replace(RECIPE.augment, rotate=8, stretch=0, coarse=0),
    source="Mnistry's own: the reader of two digits that touch",
)
"""How the reader of two digits that touch is trained."""

_TOUCHED = 100  # ink from which two pixels touch
_LARGER = 2.5  # times the size of the images at which some digits are put together
_UNLIKE = 0.15  # by which the sizes of two neighbours differ from that
_UNEVEN = 3  # pixels of the images by which one may stand above the other
_DEEPEST = 12  # pixels of the images that two digits may run into each other
_THREE = 0.3  # of what the reader of pairs is taught on: how much is cut from three digits
_SINGLE = 0.15  # of the same, beside it: digits alone
_LARGE, _SMALL = (28, 90), (12, 28)  # pixels of digits on sheets: most, and half on plain paper
_ALIKE = 0.15  # of a digit's longer side: what is found of it may be as much larger or smaller
_SELDOM = 0.2  # the share of sheets that are negatives, in a shadow, or dirty
_OWN, _NOBODYS = 0.65, 0.5  # of a digit's ink less its neighbour's: a part is that, or no digit

UInt8s = NDArray[np.uint8]


def lessons(digits: Sequence[Dataset], others: UInt8s, pairs: int, seed: int) -> Dataset:
    """Put together what a reader is taught on.

    Args:
        digits: Sets of digits, of the ten classes; one that is to count several times, so often.
        others: (n, 28, 28) uint8 of what is no digit.
        pairs: How many pairs of digits that touch; two parts of most of them come with them.
        seed: Decides which digits stand beside each other, and which parts are taken.

    Returns:
        All of them, of the classes `CLASSES`.
    """
    rng = np.random.default_rng(seed)
    images = np.concatenate([each.images for each in digits])
    labels = np.concatenate([each.labels for each in digits])
    learned = [lesson for _ in range(pairs) for lesson in _pair(rng, images, labels)]
    none = np.full(len(others), _NONE, np.uint8)
    return Dataset(
        np.concatenate([images, others, *(image[None] for image, _ in learned)]),
        np.concatenate([labels, none, np.array([label for _, label in learned], np.uint8)]),
        CLASSES,
    )


def _pair(rng: np.random.Generator, images: UInt8s, labels: UInt8s) -> Iterator[tuple[UInt8s, int]]:
    """Two digits that touch, and what the reader may make of them when it cuts them up.

    Yields:
        The pair; the one of all runs of its parts that is most nearly one of the digits, if it
        hardly is anything else; and a run that is neither, and tall. Each as the network sees it,
        with its label.
    """
    two = rng.integers(len(images), size=2)
    left, right = _side_by_side(rng, images[two])
    both = np.maximum(left, right)
    yield normalise(both), _NONE
    parts = cut(Piece((0, 0, both.shape[1], both.shape[0]), both))
    runs = [join(parts[i:j]) for j in range(1, len(parts) + 1) for i in range(j)]
    own = np.array([[_share(run, digit) for digit in (left, right)] for run in runs])
    like = own - own[:, ::-1]
    chosen = int(rng.integers(2))
    best = int(like[:, chosen].argmax())
    if len(parts) > 1 and like[best, chosen] >= _OWN:
        yield normalise(runs[best].ink), int(labels[two[chosen]])
    is_tall = np.array([2 * run.box[3] >= len(both) for run in runs])
    wrong = np.flatnonzero((np.abs(like).max(1) <= _NOBODYS) & is_tall & (own.min(1) < 1))
    if len(wrong):
        yield normalise(runs[int(rng.choice(wrong))].ink), _NONE


def on_sheets(sheets: int, seed: int) -> Dataset:
    """Find digits on sheets that pen writes: of any paper, pen, size and light.

    Args:
        sheets: How many, of about 26 digits each.
        seed: Decides what sheets they are, and whose hands.

    Returns:
        The digits that are found whole, with what is left on them of lines and shadows.
    """
    found = [_on_sheet(rng) for rng in np.random.default_rng(seed).spawn(sheets)]
    images, labels = (np.concatenate(each) for each in zip(*found, strict=True))
    return Dataset(images, labels)


def _on_sheet(rng: np.random.Generator) -> tuple[UInt8s, UInt8s]:
    rows = ["".join(map(str, rng.integers(0, 10, rng.integers(4, 10)))) for _ in range(4)]
    paper: Paper = rng.choice(get_args(Paper))
    is_small = paper == "plain" and rng.random() < 0.5
    height = round(math.exp(rng.uniform(*np.log(_SMALL if is_small else _LARGE))))
    sheet = write_sheet(
        rows,
        height,
        paper=paper,
        pen=rng.choice(get_args(Pen)),
        dark=rng.random() < _SELDOM,
        tilt=rng.uniform(-3, 3),
        light=rng.uniform(0, 1),
        shadow=rng.uniform(0.2, 0.6) if rng.random() < _SELDOM else 0,
        specks=rng.uniform(0, 3) if rng.random() < _SELDOM and not is_small else 0,
        noise=rng.uniform(0, 2 if is_small else 12),
        seed=int(rng.integers(2**32)),
    )
    pieces = [piece for row in find_rows(sheet.image) for piece in row]
    numbers = sheet.match([piece.box for piece in pieces]).tolist()
    whole = [
        (piece, number)
        for piece, number in zip(pieces, numbers, strict=True)
        if number >= 0 and _is_as_large(piece.box[2:], sheet.boxes[number, 2:])
    ]
    images = np.array([normalise(piece.ink) for piece, _ in whole], np.uint8)
    return images.reshape(-1, SIZE, SIZE), sheet.labels[[number for _, number in whole]]


def _is_as_large(found: Sequence[int], digit: NDArray[np.intp]) -> bool:
    return bool((np.abs(digit - found) <= 2 + _ALIKE * digit.max()).all())


def pair_lessons(digits: Sequence[Dataset], others: UInt8s, count: int, seed: int) -> Dataset:
    """Put together what the reader of two digits that touch is taught on.

    Args:
        digits: Sets of digits, of the ten classes; one that is to count several times, so often.
        others: (n, 28, 28) uint8 of what is no digit.
        count: How many pairs, alone or cut from three digits.
        seed: Decides which digits stand beside each other.

    Returns:
        The pairs, and what is none, each stretched to a square; of the classes `PAIR_CLASSES`.
    """
    rng = np.random.default_rng(seed)
    images = np.concatenate([each.images for each in digits])
    labels = np.concatenate([each.labels for each in digits])
    none = PAIR_CLASSES.index("none")
    alone = [*others, *images[rng.integers(len(images), size=round(_SINGLE * count))]]
    learned = [(stretch(image), none) for image in alone]
    for _ in range(count):
        learned += _pair_alone(rng, images, labels)
    return Dataset(
        np.stack([image for image, _ in learned]),
        np.array([label for _, label in learned], np.uint8),
        PAIR_CLASSES,
    )


def _pair_alone(
    rng: np.random.Generator, images: UInt8s, labels: UInt8s
) -> Iterator[tuple[UInt8s, int]]:
    """Two digits that touch; or three, of which runs of parts are taken as `_pair` takes them.

    Yields:
        The pair, as the network sees it, with its label; perhaps a run that is no pair.
    """
    some = rng.integers(len(images), size=3 if rng.random() < _THREE else 2)
    layers = _side_by_side(rng, images[some])
    whole = layers.max(0)
    if len(some) == 2:
        yield stretch(whole), _number(labels[some])
        return
    parts = cut(Piece((0, 0, whole.shape[1], whole.shape[0]), whole))
    runs = [join(parts[i:j]) for j in range(2, len(parts) + 1) for i in range(j - 1)]
    own = np.array([[_share(run, digit) for digit in layers] for run in runs]).reshape(-1, 3)
    like = np.stack([own[:, :2].min(1) - own[:, 2], own[:, 1:].min(1) - own[:, 0]], 1)
    first = int(rng.integers(2))
    if runs and like[best := int(like[:, first].argmax()), first] >= _OWN:
        yield stretch(runs[best].ink), _number(labels[some[first : first + 2]])
    wrong = np.flatnonzero(like.max(1) <= _NOBODYS)
    if len(wrong):
        yield stretch(runs[int(rng.choice(wrong))].ink), PAIR_CLASSES.index("none")


def _number(labels: UInt8s) -> int:
    return 10 * int(labels[0]) + int(labels[1])


def _share(run: Piece, digit: UInt8s) -> float:
    """How much of a digit's ink is in some parts of a pair."""
    x, y, wide, tall = run.box
    kept = np.minimum(run.ink, digit[y : y + tall, x : x + wide])
    return float(kept.sum(dtype=np.int64) / digit.sum(dtype=np.int64))


def _side_by_side(rng: np.random.Generator, images: UInt8s) -> UInt8s:
    """Digits enlarged, and moved together until they touch: (n, h, w), each on its own ground."""
    scale = rng.uniform(1, _LARGER)
    inks = [_trimmed(_scaled(i, scale * rng.uniform(1 - _UNLIKE, 1 + _UNLIKE))) for i in images]
    tall = max(map(len, inks)) + round(_UNEVEN * scale)
    inks = [_lifted(ink, tall, int(rng.integers(tall - len(ink) + 1))) for ink in inks]
    starts = [0]
    for a, b in itertools.pairwise(inks):
        limit = math.ceil(min(_DEEPEST * scale, a.shape[1] - 1, b.shape[1] - 1))
        depth = max(0, min(_overlap(a, b), limit))
        depth = min(depth + int(rng.integers(0, 3)), a.shape[1], b.shape[1])
        starts.append(starts[-1] + a.shape[1] - depth)
    ends = [start + ink.shape[1] for start, ink in zip(starts, inks, strict=True)]
    sheet = np.zeros((len(inks), tall, max(ends)), np.uint8)
    for own, ink, start, end in zip(sheet, inks, starts, ends, strict=True):
        own[:, start:end] = ink
    return sheet


def _overlap(a: UInt8s, b: UInt8s) -> int:
    """By how many columns two digits' boxes overlap when their ink is first next to each other."""
    right, left = a > _TOUCHED, b > _TOUCHED
    both = right.any(1) & left.any(1)
    free = (right[both, ::-1].argmax(1) - 1).clip(0) + left[both].argmax(1)
    return int(free.min(initial=a.shape[1] + b.shape[1])) + 1


def _scaled(image: UInt8s, by: float) -> UInt8s:
    side = round(SIZE * by)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def _lifted(image: UInt8s, tall: int, above: int) -> UInt8s:
    """With empty rows above and below it."""
    return np.pad(image, ((above, tall - len(image) - above), (0, 0)))


def _trimmed(image: UInt8s) -> UInt8s:
    """Without the empty rows and columns around it."""
    x, y, wide, tall = cv2.boundingRect((image > _TOUCHED).astype(np.uint8))
    return image[y : y + tall, x : x + wide] if wide else image
