"""Tests of mnistry.teaching: what the reader is taught on."""

import numpy as np
import pytest

from mnistry.dataset import Dataset
from mnistry.model import build
from mnistry.network import PAIR_READER, OnnxNetwork, shipped
from mnistry.pen import PenSet, write
from mnistry.reader import Reader
from mnistry.teaching import (
    CLASSES,
    PAIR_CLASSES,
    PAIR_RECIPE,
    RECIPE,
    lessons,
    on_sheets,
    pair_lessons,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    written, _ = write(PenSet(400, 1, 20, seed=3))
    return Dataset(written.images, written.labels)


def test_lessons_hold_all_that_was_given_and_pairs(digits: Dataset) -> None:
    others = np.full((7, 28, 28), 9, np.uint8)
    taught = lessons([digits, digits], others, pairs=60, seed=0)
    assert taught.classes == CLASSES == (*"0123456789", "none")
    assert 807 + 60 < len(taught) <= 807 + 3 * 60
    np.testing.assert_array_equal(taught.images[:800], np.concatenate([digits.images] * 2))
    np.testing.assert_array_equal(taught.labels[:800], np.concatenate([digits.labels] * 2))
    np.testing.assert_array_equal(taught.images[800:807], others)
    assert (taught.labels[800:807] == 10).all()
    again = lessons([digits, digits], others, pairs=60, seed=0)
    np.testing.assert_array_equal(taught.images, again.images)
    np.testing.assert_array_equal(taught.labels, again.labels)


def test_pairs_are_two_digits_that_touch_with_parts_that_are_one_or_none(digits: Dataset) -> None:
    taught = lessons([digits], np.zeros((0, 28, 28), np.uint8), pairs=300, seed=1)
    images, labels = taught.images[400:], taught.labels[400:]
    none = labels == 10
    assert set(labels.tolist()) == set(range(11))
    assert 150 < (~none).sum() < 300 < none.sum() < 600

    def wide(images: np.ndarray) -> float:
        boxes = [np.flatnonzero(image.max(0) > 60) for image in images]
        return float(np.mean([box[-1] - box[0] + 1 for box in boxes]))

    assert wide(images[~none]) < wide(digits.images) + 1 < wide(images[none])
    # a reader that was taught otherwise agrees with most of it
    answers = Reader(threads=1).classify(images).argmax(1)
    assert (answers[~none] == labels[~none]).mean() > 0.75


def test_digits_on_sheets_are_found_whole() -> None:
    found = on_sheets(12, seed=1)
    assert found.classes == CLASSES[:-1]
    assert 200 < len(found) < 12 * 36  # some sheets are too dark, or too small, for all of it
    assert set(found.labels.tolist()) == set(range(10))
    assert (Reader(threads=1).classify(found.images).argmax(1) == found.labels).mean() > 0.93
    again, other = on_sheets(12, seed=1), on_sheets(12, seed=2)
    np.testing.assert_array_equal(found.images, again.images)
    np.testing.assert_array_equal(found.labels, again.labels)
    assert len(other) != len(found) or (other.images != found.images).any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100, 200, 300])
def test_no_sheet_ends_in_an_error(seed: int) -> None:
    found = on_sheets(200, seed)
    assert len(found) > 200 * 20
    assert found.images.any((1, 2)).all()


def test_pair_lessons_are_pairs_and_what_is_none(digits: Dataset) -> None:
    others = np.full((7, 28, 28), 9, np.uint8)
    taught = pair_lessons([digits], others, 300, seed=1)
    assert taught.classes == PAIR_CLASSES == (*(f"{n:02}" for n in range(100)), "none")
    pairs = taught.labels < 100
    assert 210 < pairs.sum() < 300  # those cut from three are not always whole
    assert 7 + 45 < (~pairs).sum() < 7 + 45 + 130
    assert len(set(taught.labels.tolist())) > 80
    np.testing.assert_array_equal(taught.images[0], np.pad(np.full((24, 24), 255), 2))
    assert (taught.images.max((1, 2)) == 255).all()
    again = pair_lessons([digits], others, 300, seed=1)
    np.testing.assert_array_equal(taught.images, again.images)
    np.testing.assert_array_equal(taught.labels, again.labels)


def test_the_shipped_pair_reader_reads_pairs_that_it_has_not_seen(digits: Dataset) -> None:
    taught = pair_lessons([digits], np.zeros((0, 28, 28), np.uint8), 400, seed=2)
    answers = OnnxNetwork(None, 1, PAIR_READER).predict(taught.images).argmax(1)
    pairs = taught.labels < 100
    assert (answers[pairs] == taught.labels[pairs]).mean() > 0.85
    assert (answers[~pairs] == 100).mean() > 0.8


def test_the_recipes_fit_the_shipped_size() -> None:
    networks = build(RECIPE.with_classes(len(CLASSES))), build(PAIR_RECIPE.with_classes(101))
    weights = sum(p.numel() for n in networks for p in n.parameters())  # a byte each
    assert weights < len(shipped()) + len(shipped(PAIR_READER)) < 2_000_000
