"""Tests of mnistry.normalise: MNIST's own geometry, from ink of any size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mnistry
from mnistry.errors import UsageError
from mnistry.normalise import normalise, stretch


def centre(image: np.ndarray) -> tuple[float, float]:
    y, x = np.indices(image.shape)
    return (image * y).sum() / image.sum(), (image * x).sum() / image.sum()


def box(image: np.ndarray) -> tuple[int, int]:
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 40), st.integers(1, 255), st.data())
def test_the_geometry_is_mnists(height, width, margin, brightest, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    ink = np.zeros((height + margin, width + 2 * margin), np.uint8)
    part = ink[margin:, margin : margin + width]
    part[:] = np.where(rng.random(part.shape) < 0.3, brightest, 0)
    part[[0, -1]] = part[:, [0, -1]] = brightest
    kept = ink.copy()
    image = normalise(ink)
    assert (image.shape, image.dtype) == ((28, 28), np.uint8)
    assert image.max() == 255
    assert max(box(image)) == 20
    assert all(13.49 <= c <= 14.51 for c in centre(image))
    np.testing.assert_array_equal(ink, kept)


def test_an_l_is_centred_by_its_mass_and_not_by_its_box() -> None:
    ink = np.zeros((100, 100), np.uint8)
    ink[:, :20] = ink[80:] = 200
    down, across = centre(normalise(ink))
    assert 13.5 <= down <= 14.5
    assert 13.5 <= across <= 14.5


def test_areas_are_averaged() -> None:
    ink = np.zeros((40, 40), np.uint8)
    ink[::2] = ink[-1] = 100  # two rows to one: half ink, but the last, which becomes 255
    rows = normalise(ink).max(1)
    np.testing.assert_array_equal(rows[rows > 0], [128] * 19 + [255])


def test_a_faint_rim_does_not_widen_the_box() -> None:
    ink = np.zeros((60, 60), np.uint8)
    ink[20:40, 25:35] = 100
    kept = normalise(ink)
    ink[18:42, 23:37] = np.maximum(ink[18:42, 23:37], 9)
    np.testing.assert_array_equal(normalise(ink), kept)
    ink[18:42, 23:37] = np.maximum(ink[18:42, 23:37], 11)
    assert box(normalise(ink)) == (20, 12)


@pytest.mark.parametrize(("height", "width"), [(10, 20), (200, 31), (24, 24), (1, 1)])
def test_stretched_ink_fills_a_square(height: int, width: int) -> None:
    ink = np.zeros((height + 7, width + 5), np.uint8)
    ink[3 : 3 + height, 5:] = 90
    ink[:3] = 5  # a rim
    kept = ink.copy()
    image = stretch(ink)
    expected = np.pad(np.full((24, 24), 255, np.uint8), 2)
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(ink, kept)


def test_stretched_ink_keeps_what_is_where() -> None:
    ink = np.zeros((40, 80), np.uint8)
    ink[:20, :40] = ink[-1, -1] = 255
    image = stretch(ink)
    assert image[2:14, 2:14].min() > 250
    assert image[15:, 2:24].max() == 0


def test_no_ink_is_stretched_to_nothing() -> None:
    np.testing.assert_array_equal(stretch(np.zeros((5, 9), np.uint8)), np.zeros((28, 28)))
    with pytest.raises(UsageError, match=r"^ink: is float64 of shape \(3, 3\), expected uint8"):
        stretch(np.zeros((3, 3)))  # type: ignore[arg-type]


def test_hairs_on_a_very_large_image_are_ink() -> None:
    ink = np.zeros((2000, 3000), np.uint8)
    ink[0, 0] = ink[-1, -1] = 255
    image = normalise(ink)
    assert image.max() == 255
    assert np.count_nonzero(image) == 2


def test_no_ink() -> None:
    assert not normalise(np.zeros((50, 60), np.uint8)).any()


def test_pixels_that_are_not_square() -> None:
    ink = np.full((100, 50), 255, np.uint8)
    assert box(normalise(ink, pixel_aspect=2.0)) == (20, 20)
    assert box(normalise(ink)) == (20, 10)


@pytest.mark.parametrize(
    "ink", [np.zeros((3, 3)), np.zeros((1, 3, 3), np.uint8), np.zeros((0, 3), np.uint8)]
)
def test_what_is_no_ink(ink: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 of \(h, w\)"):
        normalise(ink)


@pytest.mark.parametrize("aspect", [0.0, -1.0, float("nan"), float("inf")])
def test_pixels_that_cannot_be(aspect: float) -> None:
    with pytest.raises(UsageError, match=r"pixel_aspect: is .* expected a number above 0"):
        normalise(np.full((3, 3), 255, np.uint8), aspect)


def pasted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit at another size, somewhere on a larger sheet."""
    scale = rng.uniform(1.5, 6)
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    sheet = np.zeros([n + int(rng.integers(1, 60)) for n in large.shape], np.uint8)
    top, left = (int(rng.integers(0, sheet.shape[i] - large.shape[i] + 1)) for i in (0, 1))
    sheet[top : top + large.shape[0], left : left + large.shape[1]] = large
    return sheet


@pytest.mark.slow
def test_mnist_pasted_on_paper_is_read_as_well(mnist_dir: Path) -> None:
    splits = mnistry.load_dataset("mnist", mnist_dir)
    images, labels = splits.test.images, splits.test.labels
    rng = np.random.default_rng(0)
    again = np.stack([normalise(pasted(image, rng)) for image in images])
    lost = []
    for seed in range(3):
        run = mnistry.train("datumo-cnn", data=splits, epochs=3, seed=seed)
        before, after = ((run.predict(x).argmax(1) == labels).mean() for x in (images, again))
        lost.append(before - after)
    assert abs(np.mean(lost)) <= 0.0015, lost
