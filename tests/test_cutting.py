"""Tests of mnistry.cutting: digits that touch can be told apart by their parts."""

import cv2
import numpy as np
import pytest

from mnistry.cutting import cut, split
from mnistry.page import Piece, find_rows, join
from mnistry.pen.paper import write_sheet
from test_page import block, iou


def test_what_is_narrow_is_not_cut() -> None:
    for piece in (block(0, 0, 10, 40), block(0, 0, 4, 6), block(3, 3, 1, 1)):
        assert cut(piece) == [piece]


def test_halves_lose_nothing() -> None:
    piece = pair()
    halves = split(piece, 0.5)
    assert halves[0].right == halves[1].box[0] == 7 + 50
    assert sum(int(half.ink.sum()) for half in halves) == int(piece.ink.sum())
    x, y, wide, tall = cv2.boundingRect(piece.ink)
    np.testing.assert_array_equal(join(halves).ink, piece.ink[y : y + tall, x : x + wide])
    assert len(split(block(0, 0, 1, 5), 0.5)) == 1
    assert [part.box[2] for part in split(block(3, 0, 20, 5), 0.25)] == [5, 15]


def pair(gap: int = 0) -> Piece:
    """A 0 and a 0, side by side; they touch, or overlap by so many pixels."""
    ink = np.zeros((60, 100), np.uint8)
    cv2.ellipse(ink, (26, 30), (22, 26), 0, 0, 360, 255, 5)
    cv2.ellipse(ink, (74 + gap, 30), (22, 26), 0, 0, 360, 255, 5)
    return Piece((7, 9, 100, 60), ink)


def test_a_cut_loses_nothing() -> None:
    piece = pair()
    atoms = cut(piece)
    assert 2 <= len(atoms) <= 8
    assert sum(int(atom.ink.sum()) for atom in atoms) == int(piece.ink.sum())
    again = join(atoms)
    x, y, wide, tall = cv2.boundingRect(piece.ink)
    assert again.box == (7 + x, 9 + y, wide, tall)
    np.testing.assert_array_equal(again.ink, piece.ink[y : y + tall, x : x + wide])
    lefts = [atom.box[0] for atom in atoms]
    assert lefts == sorted(lefts)


@pytest.mark.parametrize("gap", [-3, 0])
def test_one_of_the_cuts_is_between_the_digits(gap: int) -> None:
    atoms = cut(pair(gap))
    halves = [(join(atoms[:i]).box, join(atoms[i:]).box) for i in range(1, len(atoms))]
    left, right = (9, 9 + 2, 49, 56), (9 + 46 + gap, 9 + 2, 49, 56)
    assert max(min(iou(a, left), iou(b, right)) for a, b in halves) > 0.7


def test_cuts_follow_the_writing_where_digits_overlap() -> None:
    """A cut may bend: here, no straight one would leave both whole."""
    ink = np.zeros((60, 70), np.uint8)
    cv2.polylines(ink, [np.array([[5, 5], [40, 5], [10, 55]])], False, 255, 5)
    cv2.polylines(ink, [np.array([[62, 20], [30, 50], [62, 52]])], False, 255, 5)
    cv2.line(ink, (35, 40), (20, 42), 120, 2)  # where they touch
    atoms = cut(Piece((0, 0, 70, 60), ink))
    halves = [(join(atoms[:i]).box, join(atoms[i:]).box) for i in range(1, len(atoms))]
    assert max(min(iou(a, (3, 3, 40, 56)), iou(b, (28, 18, 37, 38))) for a, b in halves) > 0.75


def test_touching_digits_can_be_cut_apart() -> None:
    found = total = 0
    for seed in range(4):
        sheet = write_sheet(["31", "62", "07", "95", "84"], touching=1.0, seed=seed)
        for row in find_rows(sheet.image):
            atoms = [atom for piece in row for atom in cut(piece)]
            parts = [
                join(atoms[i:j]).box
                for i in range(len(atoms))
                for j in range(i + 1, len(atoms) + 1)
            ]
            found += sum(max(iou(part, box) for part in parts) > 0.6 for box in sheet.boxes)
        total += len(sheet.boxes)
    assert found > 0.75 * total
