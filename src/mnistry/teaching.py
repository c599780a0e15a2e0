"""What the reader is taught on: digits by many hands, and what is no digit.

A reader of pages has to tell a digit from a letter, a smudge, or two digits that touch, so "none"
is an eleventh class. Its images are what pen writes beside digits, pairs of digits that touch, and
digits with much of a neighbour beside them; with a little of a neighbour, as a cut leaves, they are
digits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mnistry.cutting import cut
from mnistry.dataset import Dataset
from mnistry.formats import DIGITS
from mnistry.normalise import SIZE, normalise
from mnistry.page import Piece, join
from mnistry.recipe import PRESETS, Augment, Recipe

CLASSES = (*DIGITS, "none")
"""What the reader tells apart."""

_NONE = len(DIGITS)  # the class of what is no digit

RECIPE: Recipe = replace(
    PRESETS["strong"],
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

_TOUCHED = 100  # ink from which two pixels touch
_LARGER = 2.5  # times the size of the images at which some digits are put together
_UNLIKE = 0.15  # by which the sizes of two neighbours differ from that
_UNEVEN = 3  # pixels of the images by which one may stand above the other
_DEEPEST = 12  # pixels of the images that two digits may run into each other
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
    left, right = _put_together(rng, *images[two])
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


def _share(run: Piece, digit: UInt8s) -> float:
    """How much of a digit's ink is in some parts of a pair."""
    x, y, wide, tall = run.box
    kept = np.minimum(run.ink, digit[y : y + tall, x : x + wide])
    return float(kept.sum(dtype=np.int64) / digit.sum(dtype=np.int64))


def _put_together(rng: np.random.Generator, a: UInt8s, b: UInt8s) -> tuple[UInt8s, UInt8s]:
    """Two digits enlarged, and moved together until they touch: (h, w) each, on one ground."""
    scale = rng.uniform(1, _LARGER)
    a, b = (_trimmed(_scaled(i, scale * rng.uniform(1 - _UNLIKE, 1 + _UNLIKE))) for i in (a, b))
    tall = max(len(a), len(b)) + round(_UNEVEN * scale)
    a, b = (_lifted(i, tall, int(rng.integers(tall - len(i) + 1))) for i in (a, b))
    near = a > _TOUCHED
    near[:, 1:] |= near[:, :-1]
    depth = 0
    while depth < min(_DEEPEST * scale, a.shape[1] - 1, b.shape[1] - 1):
        if depth and (near[:, -depth:] & (b[:, :depth] > _TOUCHED)).any():
            break
        depth += 1
    depth = min(depth + int(rng.integers(0, 3)), a.shape[1], b.shape[1])
    sheet = np.zeros((2, len(a), a.shape[1] + b.shape[1] - depth), np.uint8)
    sheet[0, :, : a.shape[1]] = a
    sheet[1, :, a.shape[1] - depth :] = b
    return sheet[0], sheet[1]


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
