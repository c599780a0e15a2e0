"""Tests of mnistry.pen.paper: digits where the sheet says that they are."""

import numpy as np
import pytest

from mnistry.errors import UsageError
from mnistry.normalise import normalise
from mnistry.pen.paper import write_sheet


@pytest.mark.parametrize("paper", ["plain", "ruled", "squared"])
@pytest.mark.parametrize("height", [12, 60, 200])
def test_the_ink_is_in_its_box(paper, height: int) -> None:
    sheet = write_sheet(["0123", "456789"], height, paper=paper, light=0.0, noise=0.0, seed=3)
    assert sheet.image.dtype == np.uint8
    assert sheet.labels.tolist() == list(range(10))
    ground = np.median(sheet.image)
    for row in (sheet.boxes[:4], sheet.boxes[4:]):
        assert (row[1:, 0] > row[:-1, 0] + row[:-1, 2]).all()  # no two touch
    for left, top, width, tall in sheet.boxes:
        assert 0.6 * height < max(width, tall) < 1.4 * height
        assert sheet.image[top : top + tall, left : left + width].min() < ground - 40
    dark = sheet.image < ground - 90
    for left, top, width, tall in sheet.boxes:
        dark[max(top - 3, 0) : top + tall + 3, max(left - 3, 0) : left + width + 3] = False
    assert not dark.any()


def test_a_digit_cut_out_is_an_image_as_mnists() -> None:
    sheet = write_sheet(["37"], 80, light=0.0, noise=0.0)
    left, top, width, tall = sheet.boxes[0]
    part = sheet.image[top : top + tall, left : left + width]
    ink = np.where(part < 150, 255 - part, 0).astype(np.uint8)
    image = normalise(ink)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) == 19
    assert 0.05 < image.mean() / 255 < 0.25  # strokes, and neither a blot nor specks


def test_light_and_noise_are_as_asked_for() -> None:
    even, uneven = (write_sheet(["1"], 60, light=x, noise=0.0, seed=5).image for x in (0.0, 1.0))
    assert np.ptp(np.median(even, axis=0)) < 10
    assert np.ptp(np.median(uneven, axis=0)) > 10
    noisy = write_sheet(["1"], 60, light=0.0, noise=10.0, seed=5).image
    assert noisy[:20].std() > even[:20].std() + 5


def test_the_same_seed_gives_the_same_sheet() -> None:
    first, again, other = (write_sheet(["0123456789"], 40, seed=s).image for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": []}, "rows: are"),
        ({"rows": ["12a"]}, "expected digits"),
        ({"rows": ["1", ""]}, "expected digits"),
        ({"rows": ["1" * 10001]}, "would fill 204 x 900270 pixels, expected at most 100,000,000"),
        ({"rows": ["1"] * 5000 + ["1" * 5000]}, "expected at most 100,000,000"),
        ({"rows": ["1"], "seed": -1}, "seed is -1"),
        ({"rows": ["1"], "height": 5}, "height: is 5"),
        ({"rows": ["1"], "paper": "lined"}, "paper: is 'lined'"),
        ({"rows": ["1"], "style": "fr"}, "style is 'fr'"),
        ({"rows": ["1"], "light": 2.0}, "light, noise"),
        ({"rows": ["1"], "noise": -1.0}, "light, noise"),
    ],
)
def test_what_cannot_be_written(arguments, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        write_sheet(**arguments)
