"""Tests of mnistry.teaching: what the reader is taught on."""

import numpy as np
import pytest

from mnistry.dataset import Dataset
from mnistry.model import build
from mnistry.pen import PenSet, write
from mnistry.teaching import CLASSES, RECIPE, lessons


@pytest.fixture(scope="module")
def digits() -> Dataset:
    written, _ = write(PenSet(400, 1, 20, seed=3))
    return Dataset(written.images, written.labels)


def test_lessons_hold_all_that_was_given_and_pairs(digits: Dataset) -> None:
    others = np.full((7, 28, 28), 9, np.uint8)
    taught = lessons([digits, digits], others, pairs=60, seed=0)
    assert taught.classes == CLASSES == (*"0123456789", "none")
    assert len(taught) == 2 * 400 + 60 + 7 + 60
    np.testing.assert_array_equal(taught.images[:800], np.concatenate([digits.images] * 2))
    np.testing.assert_array_equal(taught.labels[:800], np.concatenate([digits.labels] * 2))
    np.testing.assert_array_equal(taught.images[860:867], others)
    assert (taught.labels[860:] == 10).all()
    again = lessons([digits, digits], others, pairs=60, seed=0)
    np.testing.assert_array_equal(taught.images, again.images)


def test_pairs_are_two_digits_that_touch_and_cut_ones_mostly_one(digits: Dataset) -> None:
    taught = lessons([digits], np.zeros((0, 28, 28), np.uint8), pairs=300, seed=1)
    cut, pairs = taught.images[400:700], taught.images[700:]
    ones = taught.labels[400:700]

    def wide(images: np.ndarray) -> float:
        boxes = [np.flatnonzero(image.max(0) > 60) for image in images]
        return float(np.mean([box[-1] - box[0] + 1 for box in boxes]))

    alone = wide(digits.images)
    assert wide(pairs) > alone + 3
    assert alone - 1.5 < wide(cut[ones < 10]) < alone + 2.5
    assert wide(cut[ones == 10]) > alone + 2
    assert len(set(ones.tolist())) == 11
    assert 0.2 < (ones == 10).mean() < 0.8


def test_the_recipe_fits_the_shipped_size() -> None:
    network = build(RECIPE.with_classes(len(CLASSES)))
    assert 4 * sum(p.numel() for p in network.parameters()) < 2_000_000
