"""Tests of mnistry.shifts: by how many pixels images are moved to be read, and how often."""

import pytest

from mnistry.errors import UsageError
from mnistry.shifts import MOST_SHIFTS, at_a_time, check_shifts, views_of


@pytest.mark.parametrize("shifts", [-1, 5, 1.0, True, "1", None])
def test_what_nothing_can_be_moved_by(shifts: object) -> None:
    with pytest.raises(UsageError, match=r"^far is .*; expected a whole number, 0 to 4$"):
        check_shifts(shifts, "far")


def test_how_often_an_image_is_read() -> None:
    views = []
    for shifts in range(MOST_SHIFTS + 1):
        check_shifts(shifts)
        views.append(views_of(shifts))
    assert views == [1, 9, 25, 49, 81]
    assert [at_a_time(512, shifts) for shifts in range(5)] == [512, 56, 20, 10, 6]
    assert at_a_time(50, 4) == 1
