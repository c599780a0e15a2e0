"""Tests of mnistry.segmentation: rows of ink that is whole, broken, or of several digits."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from mnistry.page import Piece, join
from mnistry.segmentation import Seen, Ways


def seen(piece: Piece, label: int | None, chance: float = 0.97) -> Seen:
    """A piece that is a digit with some probability, else none."""
    found = np.zeros(11, np.float32)
    found[10] = 1 - chance
    found[10 if label is None else label] += chance
    return Seen(piece, np.zeros((28, 28), np.uint8), found)


def bar(x: int, wide: int = 8, tall: int = 40, y: int = 0) -> Piece:
    return Piece((x, y, wide, tall), np.full((tall, wide), 255, np.uint8))


def two(x: int = 0) -> Piece:
    """Two upright bars that a thin bridge joins."""
    both = join([bar(x), bar(x + 30)])
    both.ink[18:20, 8:30] = 255
    return both


def nothing(ways: Ways) -> list[np.ndarray]:
    """That nothing which touches is two digits."""
    return [np.full(100, 1e-6, np.float32)] * len(ways.touching)


def labels(row: list[Seen]) -> list[int]:
    return [int(each.probabilities.argmax()) for each in row]


def test_what_is_sure_stays_as_it_is() -> None:
    row = [seen(bar(0), 1), seen(bar(30), 7), seen(bar(60), None)]
    ways = Ways([row[0], row[1]])
    assert ways.unseen == []
    assert ways.best([], []) == row[:2]


def test_two_that_touch_are_parted() -> None:
    whole = seen(two(), None)
    ways = Ways([whole])
    assert ways.unseen
    others = [seen(p, 1 if p.box[2] < 22 and p.box[3] == 40 else None) for p in ways.unseen]
    assert ways.best(others, nothing(ways)) == []  # a letter, as it is no two digits
    some_two = [np.full(100, 0.009, np.float32)] * len(ways.touching)
    parts = ways.best(others, some_two)
    assert labels(parts) == [1, 1]
    assert parts[0].piece.right <= parts[1].piece.box[0] + 1


def test_a_comma_is_no_1() -> None:
    row = [seen(bar(0), 7), seen(bar(30), 2), seen(bar(45, 6, 20, 30), 1), seen(bar(60), 5)]
    assert labels(Ways(row).best([], [])) == [7, 2, 5]
    low, broad = seen(bar(45, 6, 20, 30), 3), seen(bar(45, 26, 20, 20), 1, 0.95)
    assert labels(Ways([*row[:2], low]).best([], [])) == [7, 2, 3]
    assert broad.is_doubtful
    ways = Ways([*row[:2], broad])
    others = [seen(p, None) for p in ways.unseen]
    assert ways.best(others, nothing(ways))[2:] == [broad]


def test_who_knows_only_digits_joins_nothing() -> None:
    row = [
        Seen(each.piece, each.image, each.probabilities[:10])
        for each in (seen(bar(0), 1, 0.5), seen(bar(10), 1, 0.5), seen(bar(20), 1, 0.5))
    ]
    ways = Ways(row)
    assert all(piece.box[2] <= 8 for piece in ways.unseen)


def test_what_is_no_digit_either_way_is_left_out_but_not_where_it_may_be_several() -> None:
    wide = seen(join([bar(0, 50, 4), bar(0), bar(42)]), None)
    for whole, left in ((seen(two(), None), []), (wide, [wide]), (seen(bar(0, 50, 4), None), [])):
        ways = Ways([seen(bar(-60), 1), whole])
        others = [seen(p, None) for p in ways.unseen]
        assert ways.best(others, nothing(ways))[1:] == left


def test_a_cut_has_to_pay() -> None:
    whole = seen(two(), 4, 0.85)
    ways = Ways([whole])
    assert ways.unseen
    assert ways.best([seen(p, 1, 0.93) for p in ways.unseen], nothing(ways)) == [whole]


def test_parts_that_are_low_are_no_digits() -> None:
    ways = Ways([seen(two(), None)])
    assert all(piece.box[3] >= 20 for piece in ways.unseen)


def test_a_digit_in_two_pieces_is_joined() -> None:
    row = [seen(bar(0), None), seen(bar(12), None)]
    ways = Ways(row)
    others = [seen(p, 0 if p.box[2] == 20 else None) for p in ways.unseen]
    (digit,) = ways.best(others, nothing(ways))
    assert digit.piece.box == (0, 0, 20, 40)


def test_rows_are_seen_alike_from_both_sides() -> None:
    row = [seen(bar(0), 1), seen(bar(12), 1), seen(bar(24), None)]
    mirrored = [seen(bar(32 - 8 - s.piece.box[0]), None if s is row[2] else 1) for s in row[::-1]]

    def unseen(row: list[Seen]) -> list[int]:
        return sorted(piece.box[2] for piece in Ways(row).unseen)

    assert unseen(row) == unseen(mirrored) == [20, 32]


def test_what_is_read_as_two_is_parted_where_its_parts_look_most_like_them() -> None:
    ways = Ways([seen(two(), None)])
    pairs = nothing(ways)
    (whole,) = [i for i, piece in enumerate(ways.touching) if piece.box == two().box]
    pairs[whole] = np.full(100, 0.0002, np.float32)
    pairs[whole][17] = 0.95
    # nothing is surely a 1 or 7, but the bars are more so than any other parts
    others = [
        seen(p, (1 if p.box[0] == 0 else 7) if p.box[2] < 22 and p.box[3] == 40 else None, 0.5)
        for p in ways.unseen
    ]
    left, right = ways.best(others, pairs)
    assert labels([left, right]) == [1, 7]
    assert left.probabilities.shape == right.probabilities.shape == (11,)
    assert 0.95 < left.probabilities[1] < 0.96
    np.testing.assert_allclose(left.probabilities.sum(), 1, atol=1e-6)
    assert left.piece.right <= right.piece.box[0] + 1
    assert left.image.shape == (28, 28)
    assert left.image.max() == 255


@pytest.mark.parametrize(("number", "left"), [(42, 22), (17, 11), (71, 33), (11, 22)])
def test_two_that_no_way_leads_between_are_as_wide_as_usual(number: int, left: int) -> None:
    whole = seen(Piece((5, 5, 44, 40), np.full((40, 44), 255, np.uint8)), None)
    ways = Ways([whole])
    assert ways.unseen == []
    (piece,) = ways.touching
    assert piece.box == whole.piece.box
    pair = np.zeros(100, np.float32)
    pair[number] = 0.9
    first, second = ways.best([], [pair])
    assert first.piece.box == (5, 5, left, 40)
    assert second.piece.box == (5 + left, 5, 44 - left, 40)
    assert labels([first, second]) == [number // 10, number % 10]


def test_two_have_to_be_surer_than_one() -> None:
    ways = Ways([seen(two(), 4, 0.5)])
    others = [seen(p, None) for p in ways.unseen]
    for chance, count in ((0.99, 2), (0.5, 1)):
        pairs = [chance * np.eye(100, dtype=np.float32)[11] for _ in ways.touching]
        assert len(ways.best(others, pairs)) == count


def test_neither_what_is_narrow_nor_what_is_very_wide_is_two() -> None:
    narrow = Ways([seen(bar(0), None, 0.5)])
    wide = Ways([seen(join([bar(0, 150, 4), bar(0), bar(142)]), None), seen(bar(200), 1)])
    assert narrow.touching == []
    assert all(piece.box[2] <= 2.6 * piece.box[3] for piece in wide.touching)


def test_a_long_scribble_is_not_tried_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was, and 4,000 pixels took half a minute."""
    wide = 1200
    scribble = bar(0, wide)
    scribble.ink[:] = 0
    turns = np.array([[x, 37 if x // 12 % 2 else 2] for x in range(2, wide - 2, 12)], np.int32)
    cv2.polylines(scribble.ink, [turns], False, 255, 3)
    joined: list[int] = []

    def counted(pieces: Sequence[Piece]) -> Piece:
        joined.append(len(pieces))
        return join(pieces)

    monkeypatch.setattr("mnistry.segmentation.join", counted)
    ways = Ways([seen(scribble, None)])
    assert len(ways.touching) > 50
    assert len(joined) < 5000
    assert max(joined) < 40
