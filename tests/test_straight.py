"""Tests of mnistry.straight: straight thin stretches of ink."""

import cv2
import numpy as np
import pytest

from mnistry.straight import Line, lines_of, median, stretches_of


def drawn(*lines: tuple[tuple[int, int], tuple[int, int], int]) -> np.ndarray:
    """Lines from point to point, so thick, on a ground of 60 x 200."""
    image = np.zeros((60, 200), np.uint8)
    for start, stop, thick in lines:
        cv2.line(image, start, stop, 1, thick)
    return image


def found(image: np.ndarray, hidden: bool = False) -> list[Line]:
    return lines_of(stretches_of(image, 50, 100, 8), hidden)


@pytest.mark.parametrize("thick", [1, 2, 3, 5])
@pytest.mark.parametrize("rise", [-6, 0, 3, 10])
def test_a_line_is_where_it_is(thick: int, rise: int) -> None:
    image = drawn(((20, 30), (170, 30 + rise), thick))
    (line,) = found(image)
    assert abs(line.start - 20) <= 6
    assert abs(line.stop - 171) <= 6
    assert np.abs(np.subtract([line.row(20), line.row(170)], [30, 30 + rise])).max() < 1.5
    assert line.thick == np.median(image.sum(0)[30:160])
    rows, columns = line.pixels((60, 200))
    band = np.zeros((60, 200), bool)
    band[rows, columns] = True
    assert band[image > 0].mean() > 0.95
    assert line.meets(30 + rise / 2, 95)
    assert not line.meets(42 + rise / 2, 95)


def test_what_is_short_thick_or_bent_is_none() -> None:
    assert found(drawn(((20, 30), (60, 30), 2))) == []
    assert found(drawn(((20, 30), (170, 30), 25))) == []
    bow = np.zeros((60, 200), np.uint8)
    cv2.ellipse(bow, (100, 10), (80, 40), 0, 0, 180, 1, 2)
    assert found(bow) == []
    assert stretches_of(np.ones((5, 9), np.uint8), 50, 100, 8) == []


def test_two_along_each_other_are_two() -> None:
    both = found(drawn(((20, 29), (170, 29), 1), ((20, 32), (170, 32), 1)))
    assert sorted(round(line.row(90)) for line in both) == [29, 32]


def test_strokes_that_hang_on_a_line_move_it_little() -> None:
    image = drawn(((20, 30), (170, 30), 2), ((60, 30), (64, 55), 5), ((110, 30), (100, 55), 5))
    for hidden in (False, True):
        (line,) = found(image, hidden)
        assert abs(line.row(90) - 30) < 1.5
        assert line.long > 140


def test_right_angles() -> None:
    level, slanting = Line(0, 100, (10, 10), 2), Line(0, 100, (10, 30), 2)
    assert level.is_square_to(Line(0, 50, (5, 5), 2))
    assert not slanting.is_square_to(Line(0, 50, (5, 5), 2))
    assert slanting.is_square_to(Line(0, 50, (15, 5), 2))  # as turned as it is


def test_the_median() -> None:
    assert median(np.array([3, 1, 2])) == 2
    assert median(np.array([4, 1, 3, 2])) == 3  # the upper one of two
