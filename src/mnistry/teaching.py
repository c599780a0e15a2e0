"""What the reader is taught on: digits by many hands, and what is no digit.

A reader of pages has to tell a digit from a letter, a smudge, or two digits that touch, so "none"
is an eleventh class. Its images are what pen writes beside digits, pairs of digits that touch, and
digits with much of a neighbour beside them; with a little of a neighbour, as a cut leaves, they are
digits.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mnistry.dataset import Dataset
from mnistry.formats import DIGITS
from mnistry.normalise import SIZE, normalise
from mnistry.recipe import PRESETS, Augment, Recipe

CLASSES = (*DIGITS, "none")
"""What the reader tells apart."""

RECIPE: Recipe = replace(
    PRESETS["strong"],
    name="reader",
    beta_1=0.9,
    beta_2=0.99,
    epochs=8,
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
_DEEPEST = 12  # pixels that two digits may run into each other
_BESIDE = 8  # pixels by which a cut may miss
_MOSTLY, _HARDLY, _HALF = 0.92, 0.12, 0.4  # how much of a digit's ink a cut leaves

UInt8s = NDArray[np.uint8]


def lessons(digits: Sequence[Dataset], others: UInt8s, pairs: int, seed: int) -> Dataset:
    """Put together what a reader is taught on.

    Args:
        digits: Sets of digits, of the ten classes; one that is to count several times, so often.
        others: (n, 28, 28) uint8 of what is no digit.
        pairs: How many pairs of digits that touch, and how many cut ones.
        seed: Decides which digits stand beside each other, and where they are cut.

    Returns:
        All of them, of the classes `CLASSES`.
    """
    rng = np.random.default_rng(seed)
    images = np.concatenate([each.images for each in digits])
    labels = np.concatenate([each.labels for each in digits])
    touching, cut, cut_labels = _pairs(rng, images, labels, pairs)
    none = np.concatenate([others, touching])
    return Dataset(
        np.concatenate([images, cut, none]),
        np.concatenate([labels, cut_labels, np.full(len(none), len(DIGITS), np.uint8)]),
        CLASSES,
    )


def _pairs(
    rng: np.random.Generator, images: UInt8s, labels: UInt8s, count: int
) -> tuple[UInt8s, UInt8s, UInt8s]:
    """Pairs that touch, (count, 28, 28); and as many parts of some, with what they are."""
    touching = np.empty((count, SIZE, SIZE), np.uint8)
    cut = np.empty((count, SIZE, SIZE), np.uint8)
    cut_labels = np.empty(count, np.uint8)
    done = 0
    while done < count:
        first, second = rng.integers(len(images), size=2)
        left, right = _put_together(rng, images[first], images[second])
        both = np.maximum(left, right)
        touching[done] = normalise(both)
        edge = int(np.flatnonzero(right.any(0))[0])
        at = int(np.clip(edge + rng.integers(-_BESIDE, _BESIDE + 1), 1, both.shape[1] - 1))
        kept = left[:, :at].sum() / left.sum(), right[:, :at].sum() / right.sum()
        part, whole, label = both[:, :at], kept, labels[first]
        if rng.random() < 0.5:  # the right part of it
            part, whole, label = both[:, at:], (1 - kept[1], 1 - kept[0]), labels[second]
        if whole[0] >= _MOSTLY and whole[1] <= _HARDLY:
            cut_labels[done] = label
        elif min(whole) >= _HALF:
            cut_labels[done] = len(DIGITS)
        else:  # half an 8 may be a 3, and half a 0 a 1
            continue
        cut[done] = normalise(np.ascontiguousarray(part))
        done += bool(part.any())
    return touching, cut, cut_labels


def _put_together(rng: np.random.Generator, a: UInt8s, b: UInt8s) -> tuple[UInt8s, UInt8s]:
    """Two digits moved together until they touch: (28, w) each, on one ground."""
    a, b = (_trimmed(image) for image in (a, b))
    b = np.roll(b, rng.integers(-3, 4), 0)
    near = a > _TOUCHED
    near[:, 1:] |= near[:, :-1]
    depth = 0
    while depth < min(_DEEPEST, a.shape[1] - 1, b.shape[1] - 1):
        if depth and (near[:, -depth:] & (b[:, :depth] > _TOUCHED)).any():
            break
        depth += 1
    depth = min(depth + int(rng.integers(0, 2)), a.shape[1], b.shape[1])
    sheet = np.zeros((2, SIZE, a.shape[1] + b.shape[1] - depth), np.uint8)
    sheet[0, :, : a.shape[1]] = a
    sheet[1, :, a.shape[1] - depth :] = b
    return sheet[0], sheet[1]


def _trimmed(image: UInt8s) -> UInt8s:
    """Without the empty columns on both sides."""
    columns = np.flatnonzero(image.max(0) > _TOUCHED)
    return image[:, columns[0] : columns[-1] + 1] if len(columns) else image
