"""Test-time averaging: how far images are moved, to be read so, too, and how often that is."""

from mnistry.errors import UsageError

MOST_SHIFTS = 4
"""By how many pixels at most: about the margin around MNIST's digits."""


def check_shifts(shifts: object, name: str = "shifts") -> None:
    """Refuse what no image can be moved by.

    Raises:
        UsageError: It is no whole number from 0 to `MOST_SHIFTS`.
    """
    if type(shifts) is not int or not 0 <= shifts <= MOST_SHIFTS:
        raise UsageError(f"{name} is {shifts!r}; expected a whole number, 0 to {MOST_SHIFTS}")


def views_of(shifts: int) -> int:
    """How many times an image is read that is moved by up to so many pixels down and across."""
    return (2 * shifts + 1) ** 2


def at_a_time(most: int, shifts: int) -> int:
    """How many such images are read together, at least one, if it is `most` that are not moved."""
    return max(1, most // views_of(shifts))
