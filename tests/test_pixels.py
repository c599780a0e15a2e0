"""Tests of mnistry.pixels: what is connected, and how many pixels have each value."""

import time

import numpy as np
import pytest

from mnistry.pixels import components, extremes, histogram_of, linear, over, quantiles


@pytest.mark.parametrize("side", [40, 600])
def test_components_of_few_and_of_many_pixels(side: int) -> None:
    mask = np.zeros((side, side), np.uint8)
    mask[:-1:2, :-1:2] = 255
    mask[1, 1] = 255  # joins its four neighbours
    labels, stats = components(mask)
    count = (side // 2) ** 2 - 3
    assert len(stats) == count + 1
    assert labels.max() == count
    assert [0, 0, 3, 3, 5] in stats[1:].tolist()


def test_components_of_a_tall_strip() -> None:
    mask = np.zeros((900, 4), np.uint8)
    mask[10:20, 1:3] = mask[300, :] = mask[302:800, 0] = 255
    labels, stats = components(mask)
    assert sorted(stats[1:].tolist()) == [
        [0, 300, 4, 1, 4],
        [0, 302, 1, 498, 498],
        [1, 10, 2, 10, 20],
    ]
    for number, (x, y, _, _, count) in enumerate(stats[1:].tolist(), start=1):
        assert labels[y, x] == number
        assert (labels == number).sum() == count
    started = time.perf_counter()
    components(np.zeros((20_000_000, 1), np.uint8))
    assert time.perf_counter() - started < 5  # row by row it would be 17 s and more


def test_histograms_and_their_quantiles() -> None:
    image = np.random.default_rng(0).integers(0, 200, (60, 60), np.uint8)
    counts = np.bincount(image.ravel(), minlength=256)
    np.testing.assert_array_equal(histogram_of(image), counts)
    some = np.where(image > 120, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(histogram_of(image, some)[121:], counts[121:])
    assert not histogram_of(image, some)[:121].any()
    for share in (0.1, 0.5, 0.9):
        (value,) = quantiles(histogram_of(image), share)
        assert (image < value).mean() < share <= (image <= value).mean()
    assert quantiles(histogram_of(image), 0.2, 0.8) == sorted(np.percentile(image, [20, 80]))


def test_every_third_row_of_a_large_image_is_counted() -> None:
    image = np.repeat(np.arange(150, dtype=np.uint8)[:, None], 100, 1)
    np.testing.assert_array_equal(np.flatnonzero(histogram_of(image)), np.arange(0, 150, 3))
    everywhere = np.full_like(image, 255)
    np.testing.assert_array_equal(histogram_of(image, everywhere)[:150], 100)


def test_levels_and_lines_of_values() -> None:
    image = np.array([[0, 100, 101, 255]], np.uint8)
    assert over(image, 100).tolist() == over(image, 100.9).tolist() == [[0, 0, 255, 255]]
    assert linear(image, -1, 255).tolist() == [[255, 155, 154, 0]]
    assert linear(image, 2, -10).tolist() == [[0, 190, 192, 255]]
    assert extremes(image) == (0, 255)
