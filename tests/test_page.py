"""Tests of mnistry.page: digits found, in reading order, with tight boxes; and cut apart."""

import time
from collections.abc import Sequence
from typing import Any, get_args

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnistry.cutting import cut
from mnistry.errors import DataError
from mnistry.page import Piece, find_one, find_rows, join, may_be_one
from mnistry.pen.paper import Paper, Sheet, write_sheet

ROWS = ["3141592", "6535", "8979323"]
Box = tuple[int, int, int, int]


def iou(a: Sequence[int], b: Sequence[int]) -> float:
    """How much two boxes have in common, of what both cover: 0 to 1."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    tall = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(0, wide) * max(0, tall)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def matched(rows: list[list[Piece]], sheet: Sheet) -> list[int]:
    """The number of the sheet's digit that each piece is, in reading order; -1 for none."""
    return sheet.match([piece.box for row in rows for piece in row]).tolist()


def check(sheet: Sheet, found: float = 1.0, extra: float = 0.0) -> None:
    """Most digits are found, in the order in which they were written, and little else is."""
    order = matched(find_rows(sheet.image), sheet)
    right = [number for number in order if number >= 0]
    assert len(set(right)) >= found * len(sheet.labels)
    assert order.count(-1) <= extra * len(sheet.labels)
    assert sorted(right) == right


def blank(height: int = 200, width: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (230 + rng.normal(0, 2, (height, width))).astype(np.uint8)


def write(image: np.ndarray, text: str, at: tuple[int, int], scale: float = 2.0) -> None:
    """In print, each letter by itself."""
    for number, letter in enumerate(text):
        place = at[0] + round(30 * scale * number), at[1]
        cv2.putText(image, letter, place, 0, scale, 40, round(2 * scale), cv2.LINE_AA)


# ----------------------------------------------------------------------------------- digits found


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"dark": True},
        {"tilt": 4.0},
        {"tilt": -4.0},
        {"light": 1.0},
        {"noise": 12.0},
        {"height": 20, "noise": 1.0},
        {"height": 150},
        {"pen": "marker"},
        {"pen": "fountain"},
        {"paper": "ruled"},
        {"paper": "squared"},
        {"paper": "squared", "tilt": 2.0},
    ],
    ids=str,
)
def test_each_digit_is_found_in_reading_order(kind: dict[str, Any]) -> None:
    check(write_sheet(ROWS, **{"seed": 1} | kind), found=0.9, extra=0.15)


@pytest.mark.parametrize("paper", get_args(Paper))
def test_on_every_paper(paper: Paper) -> None:
    for seed in (2, 3):
        check(write_sheet(ROWS, 64, paper=paper, seed=seed), found=0.85, extra=0.2)


def test_faint_pencil_in_light_of_two_levels() -> None:
    rows = ["03721", "441", "91706060", "00973526"]  # light is no noise, which would hide strokes
    check(write_sheet(rows, pen="pencil", seed=71002), found=0.95, extra=0.1)


@pytest.mark.parametrize(
    ("seed", "rows"),
    [
        (71007, ["579", "18846025", "27497800", "802081"]),
        (71013, ["15805", "6426274", "658688664", "7533"]),
    ],
)
def test_a_digit_on_the_lines_of_its_box(seed: int, rows: list[str]) -> None:
    sheet = write_sheet(rows, paper="boxed", tilt=-2.0, seed=seed)  # that box is as large as others
    check(sheet, found=1.0)


def test_boxes_are_tight() -> None:
    sheet = write_sheet(ROWS, 80, light=0.0, noise=0.0, seed=1)
    rows = find_rows(sheet.image)
    numbers = matched(rows, sheet)
    assert numbers.count(-1) <= 2
    for number, piece in zip(numbers, [p for row in rows for p in row], strict=True):
        assert number < 0 or np.abs(np.array(piece.box) - sheet.boxes[number]).max() <= 4
        assert piece.ink.shape == (piece.box[3], piece.box[2])
        assert piece.ink.dtype == np.uint8
        assert (piece.right, piece.bottom) == (
            piece.box[0] + piece.box[2],
            piece.box[1] + piece.box[3],
        )
        x, y, wide, tall = cv2.boundingRect(piece.ink)
        assert max(x, y, piece.box[2] - x - wide, piece.box[3] - y - tall) <= 1


def test_the_ink_is_the_digits_own() -> None:
    sheet = write_sheet(["1234567"], 80, light=0.0, noise=0.0, seed=1)
    rows = find_rows(sheet.image)
    for piece in rows[0]:
        x, y, wide, tall = piece.box
        part = sheet.image[y : y + tall, x : x + wide].astype(float)
        assert np.corrcoef(piece.ink.ravel(), -part.ravel())[0, 1] > 0.9


def test_a_column_of_digits_is_one_digit_a_row() -> None:
    sheet = write_sheet(list("271828"), seed=2)
    rows = find_rows(sheet.image)
    assert [len(row) for row in rows] == [1] * 6
    assert matched(rows, sheet) == list(range(6))


def test_rows_of_different_sizes() -> None:
    image = blank(420, 500)
    write(image, "314", (20, 60), 1.0)
    write(image, "159", (20, 190), 3.0)
    write(image, "265", (20, 330), 2.0)
    rows = find_rows(image)
    assert [len(row) for row in rows] == [3, 3, 3]
    for row in rows:
        assert [piece.box[0] for piece in row] == sorted(piece.box[0] for piece in row)
    assert np.diff([row[0].box[1] for row in rows]).min() > 0


def test_tilted_rows_stay_apart() -> None:
    sheet = write_sheet(["1234567890"] * 4, 40, tilt=4.0, seed=1)
    rows = [row for row in find_rows(sheet.image) if len(row) > 1]
    assert [len(row) for row in rows] == [10] * 4


def test_dirt_is_ignored() -> None:
    clean, dirty = (
        sum(len(row) for row in find_rows(write_sheet(ROWS, specks=specks, seed=1).image))
        for specks in (0.0, 10.0)
    )
    assert abs(clean - dirty) <= 1


def test_two_pieces_of_one_digit_are_joined() -> None:
    image = blank()
    for left in (40, 140, 240):  # a 5 whose bar stands off above it
        cv2.ellipse(image, (left + 20, 120), (20, 24), 0, -110, 150, 40, 5, cv2.LINE_AA)
        cv2.line(image, (left + 12, 78), (left + 12, 100), 40, 5, cv2.LINE_AA)
        cv2.line(image, (left + 14, 66), (left + 44, 64), 40, 5, cv2.LINE_AA)
    rows = find_rows(image)
    assert [len(row) for row in rows] == [3]
    assert all(piece.box[1] < 66 and piece.bottom > 140 for piece in rows[0])


@pytest.mark.parametrize("lower", [-9, 0, 12])  # which of the two halves is met first
def test_an_8_of_two_circles_that_do_not_touch_is_one(lower: int) -> None:
    image = blank()
    write(image, "3", (20, 150), 3.0)
    cv2.ellipse(image, (150, 101), (16, 15), 0, 0, 360, 40, 5, cv2.LINE_AA)
    cv2.ellipse(image, (150 + lower, 141), (20, 16), 0, 0, 360, 40, 5, cv2.LINE_AA)
    write(image, "4", (220, 150), 3.0)
    (row,) = find_rows(image)
    assert len(row) == 3
    assert (row[1].box[1], row[1].bottom) == (pytest.approx(84, abs=3), pytest.approx(160, abs=3))


@pytest.mark.parametrize("apart", [20, 24])
def test_dots_that_lead_on_are_no_part_of_a_digit(apart: int) -> None:
    image = blank(160, 640)
    write(image, "7", (20, 120), 3.0)
    write(image, "8", (540, 120), 3.0)
    alone = find_rows(image)[0][0].box[2]
    for x in range(90, 520, apart):
        cv2.circle(image, (x, 115), 5, 40, -1, cv2.LINE_AA)
    boxes = [piece.box for row in find_rows(image) for piece in row if piece.box[0] < 60]
    assert boxes
    assert max(wide for _, _, wide, _ in boxes) < alone + 30


def test_low_digits_above_each_other_are_two_rows() -> None:
    image = blank(200, 640)
    write(image, "777", (20, 130), 4.0)
    write(image, "38", (450, 70), 1.9)
    write(image, "38", (450, 130), 1.9)
    assert sum(len(row) for row in find_rows(image)) == 7


def test_a_9_whose_stem_stands_off_is_one() -> None:
    image = blank()
    for left in (40, 140, 240):
        cv2.ellipse(image, (left, 80), (14, 16), 0, 0, 360, 40, 5, cv2.LINE_AA)
        cv2.line(image, (left + 23, 66), (left + 20, 140), 40, 5, cv2.LINE_AA)
    assert [len(row) for row in find_rows(image)] == [3]


@pytest.mark.parametrize("level", [10, 60])
def test_a_page_on_a_desk(level: int) -> None:
    sheet = write_sheet(ROWS, seed=1)
    image = cv2.copyMakeBorder(sheet.image, *[180] * 4, cv2.BORDER_CONSTANT, value=level)
    boxes = np.add(sheet.boxes, (180, 180, 0, 0))
    check(Sheet(image, sheet.labels, boxes), found=0.9, extra=0.1)


def test_a_scanners_black_rim() -> None:
    sheet = write_sheet(ROWS, seed=1)
    image = sheet.image.copy()
    image[:15] = image[-22:] = 6
    image[:, :25] = image[:, -10:] = 9
    check(Sheet(image, sheet.labels, sheet.boxes), found=0.9, extra=0.1)


@pytest.mark.parametrize("turns", range(4))
def test_one_dark_side(turns: int) -> None:
    sheet = write_sheet(["4719"], seed=1)
    image = np.rot90(sheet.image, turns).copy()
    before = [len(row) for row in find_rows(image)]
    image[:, :18] = 6
    assert [len(row) for row in find_rows(image)] == before


def test_a_1_at_the_edge_of_a_tight_crop() -> None:
    image = np.full((50, 90), 240, np.uint8)
    image[:, :6] = image[:, 40:46] = image[:, 80:86] = 30
    assert [len(row) for row in find_rows(image)] == [3]


@pytest.mark.parametrize("side", [2, 3, 4])
def test_dotted_paper(side: int) -> None:
    image = np.full((300, 400), 240, np.uint8)
    for y in range(20, 290, 25):
        for x in range(20, 390, 25):
            image[y : y + side, x : x + side] = 120
    assert find_rows(image) == []


# ------------------------------------------------------------------------------ nothing, anything


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 10_000), (10_000, 1), (40, 30), (300, 300)])
@pytest.mark.parametrize("level", [0, 127, 255])
def test_an_even_image_has_nothing(shape: tuple[int, int], level: int) -> None:
    image = np.full(shape, level, np.uint8)
    assert find_rows(image) == []
    assert find_one(image) is None


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1), st.integers(1, 8))
@settings(max_examples=150)
def test_anything_can_be_looked_at(height: int, width: int, seed: int, grain: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height, width)).astype(np.uint8)
    image = cv2.resize(coarse, None, fx=grain, fy=grain, interpolation=cv2.INTER_NEAREST)
    before = image.copy()
    one = find_one(image)
    for piece in [p for row in find_rows(image) for p in row] + ([one] if one else []):
        x, y, wide, tall = piece.box
        assert x >= 0 <= y
        assert 0 < wide <= image.shape[1] - x
        assert 0 < tall <= image.shape[0] - y
        assert piece.ink.shape == (tall, wide)
        again = join(cut(piece))
        assert int(again.ink.sum()) == int(piece.ink.sum())
    np.testing.assert_array_equal(image, before)


# -------------------------------------------------------------------------------------- one digit


def one(image: np.ndarray) -> Box:
    piece = find_one(image)
    assert piece is not None
    return piece.box


def test_one_digit_and_what_its_neighbours_left_at_the_edges() -> None:
    image = blank(120, 120)
    write(image, "3", (40, 80), 2.0)
    alone = one(image)
    image[30:50, :3] = image[70:90, 116:] = 40  # parts of neighbours
    cv2.circle(image, (20, 100), 1, 60, -1)  # dirt
    cv2.line(image, (0, 112), (119, 112), 120, 2)  # a line
    assert iou(one(image), alone) > 0.9


def test_one_digit_in_a_box() -> None:
    image = blank(120, 120)
    write(image, "7", (40, 80), 2.0)
    alone = one(image)
    cv2.rectangle(image, (10, 12), (108, 110), 90, 2)
    assert iou(one(image), alone) > 0.9


def test_one_digit_in_several_parts() -> None:
    image = blank(160, 120)
    cv2.line(image, (40, 30), (80, 28), 40, 6, cv2.LINE_AA)
    cv2.line(image, (38, 42), (38, 70), 40, 6, cv2.LINE_AA)
    cv2.ellipse(image, (50, 100), (26, 26), 0, -100, 150, 40, 6, cv2.LINE_AA)
    assert iou(one(image), (35, 25, 45, 104)) > 0.7


def test_one_digit_that_fills_its_image() -> None:
    image = np.full((50, 40), 250, np.uint8)
    cv2.ellipse(image, (20, 25), (17, 22), 0, 0, 360, 20, 6)
    assert iou(one(image), (0, 0, 40, 50)) > 0.9
    assert iou(one(255 - image), (0, 0, 40, 50)) > 0.9
    image[45:47, 37:39] = 20  # dirt beside it
    assert iou(one(image), (0, 0, 40, 50)) > 0.9


def test_one_of_every_size() -> None:
    for height in (12, 28, 200, 900):
        sheet = write_sheet(["2"], height, noise=1.0, seed=3)
        assert iou(one(sheet.image), sheet.boxes[0].tolist()) > 0.7


# -------------------------------------------------------------------------------- parts of digits


def block(x: int, y: int, wide: int, tall: int, level: int = 255) -> Piece:
    return Piece((x, y, wide, tall), np.full((tall, wide), level, np.uint8))


def test_join() -> None:
    a, b = block(10, 20, 5, 6, 100), block(12, 30, 9, 4, 200)
    both = join([a, b])
    assert both.box == (10, 20, 11, 14)
    assert both.ink.sum() == a.ink.sum() + b.ink.sum()
    assert both.ink[0, 0] == 100
    assert both.ink[-1, -1] == 200
    assert join([a]) is a
    over = join([a, block(10, 20, 5, 6, 150)])
    np.testing.assert_array_equal(over.ink, np.full((6, 5), 150))


def test_what_may_be_one() -> None:
    assert may_be_one([block(0, 0, 10, 40), block(12, 0, 10, 40)], 40)
    assert may_be_one([block(0, 0, 30, 40), block(20, 0, 10, 40)], 40)  # one above the other
    assert not may_be_one([block(0, 0, 10, 40), block(40, 0, 10, 40)], 40)  # too far apart
    assert not may_be_one([block(0, 0, 50, 40), block(51, 0, 40, 40)], 40)  # too wide
    assert not may_be_one([block(4 * i, 0, 3, 40) for i in range(12)], 40)  # too many


def test_more_marks_than_a_page_has_are_refused_at_once() -> None:
    dots = np.full((1600, 1600), 255, np.uint8)
    for y in range(3, 1590, 14):
        for x in range(3, 1590, 14):
            dots[y : y + 7, x : x + 7] = 0
    start = time.process_time()
    for find in (find_rows, find_one):
        with pytest.raises(
            DataError, match=r"shows 12,996 separate marks, expected at most 10,000"
        ):
            find(dots)
    find_rows(dots[:1200, :1200])
    assert time.process_time() - start < 5


@pytest.mark.parametrize("shape", [(1, 10_000), (10_000, 1), (4, 3_000)])
def test_a_strip_of_noise_shows_nothing(shape: tuple[int, int]) -> None:
    strip = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    assert find_rows(strip) == []


@pytest.mark.parametrize("seed", [8, 20, 21, 22, 30, 44])
def test_the_edges_of_shadows_are_no_digits(seed: int) -> None:
    """Each of them gave a piece of its own, as it differs from the paper about it."""
    sheet = write_sheet(["3141592", "6535897"], seed=seed, shadow=0.5)
    check(sheet)
    dark = find_rows(np.invert(sheet.image))
    assert matched(dark, sheet).count(-1) == 0


def moved(sheet: Sheet, image: np.ndarray, right: int, down: int) -> Sheet:
    """The same digits on an image that has more at its left and its top."""
    return Sheet(image, sheet.labels, np.add(sheet.boxes, (right, down, 0, 0)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("side", ["top", "left", "corner"])
def test_digits_beside_a_black_side(side: str, seed: int) -> None:
    """As a scanner leaves it, or the head of a form: pencil is pale beside it."""
    sheet = write_sheet(ROWS, pen="pencil", light=0.5, seed=seed)
    grey = 255 - 0.6 * np.invert(sheet.image)  # yet paler
    down, right = 60 * (side != "left"), 60 * (side != "top")
    image = np.pad(grey.astype(np.uint8), ((down, 0), (right, 0)), constant_values=12)
    check(moved(sheet, image, right, down), found=0.85)


@pytest.mark.parametrize("seed", range(3))
def test_digits_under_a_highlighter(seed: int) -> None:
    sheet = write_sheet(ROWS, 40, light=0.4, seed=seed)
    image = cv2.copyMakeBorder(sheet.image, 60, 600, 60, 900, cv2.BORDER_REPLICATE)
    page = moved(sheet, image, 60, 60)
    boxes = page.boxes[: len(ROWS[0])]
    left, top = boxes[:, :2].min(0) - 8
    right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0) + 8
    image[top:bottom, left:right] = image[top:bottom, left:right] * 0.55
    check(page)


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_thick_digit_is_no_bar(seed: int) -> None:
    """Though it is as broad as one, and thin ones are beside it."""
    small = write_sheet(ROWS, 60, seed=seed)
    large = write_sheet([str(seed + 5)], 200, pen="marker", seed=seed)
    wide = max(small.image.shape[1], large.image.shape[1])
    above, below = (
        np.pad(image, ((0, 0), (0, wide - image.shape[1])), mode="edge")
        for image in (large.image, small.image)
    )
    found = [piece.box for row in find_rows(np.concatenate([above, below])) for piece in row]
    boxes = [*large.boxes, *moved(small, below, 0, len(above)).boxes]
    is_found = [any(iou(box, other) > 0.5 for other in found) for box in boxes]
    assert is_found[0]
    assert np.mean(is_found) > 0.9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("around", ["row", "digit", "stain"])
def test_what_is_drawn_around_digits_is_none(around: str, seed: int) -> None:
    sheet = write_sheet(["3141592", "650035", "8979323"], 40, seed=seed)
    image = cv2.copyMakeBorder(sheet.image, 40, 40, 40, 40, cv2.BORDER_REPLICATE)
    page = moved(sheet, image, 40, 40)
    boxes = page.boxes[:7] if around == "row" else page.boxes[7:8]
    low, high = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    middle, size = (low + high) // 2, (high - low) * 0.7 + 8
    if around == "stain":  # soft and pale, over several rows
        ring = np.zeros(image.shape, np.float32)
        centre = [side // 2 for side in reversed(image.shape)]
        cv2.circle(ring, centre, 90, 1, 14)
        image[:] = image * (1 - 0.3 * cv2.GaussianBlur(ring, (0, 0), 4))
        check(page, found=0.65)
    else:
        ellipse = tuple(middle.tolist()), tuple((2 * size).tolist()), 0
        cv2.ellipse(image, ellipse, 40, 3, cv2.LINE_AA)
        check(page, found=0.9)


@pytest.mark.parametrize("is_framed", [False, True])
def test_a_floating_bar_is_its_own_digits(is_framed: bool) -> None:
    """And not that of what is drawn around all of them."""
    image = np.full((900, 900), 235, np.uint8)
    for y in (300, 430, 560):
        for x in range(220, 680, 70):
            cv2.ellipse(image, (x + 20, y + 50), (20, 20), 0, -110, 150, 30, 5, cv2.LINE_AA)
            cv2.line(image, (x + 8, y + 10), (x + 8, y + 34), 30, 5, cv2.LINE_AA)
            cv2.line(image, (x + 10, y - 4), (x + 44, y - 4), 30, 5, cv2.LINE_AA)
    if is_framed:
        cv2.ellipse(image, (450, 450), (430, 330), 0, 0, 360, 30, 4, cv2.LINE_AA)
    heights = [piece.box[3] for row in find_rows(image) for piece in row]
    assert sorted(heights)[:21] == [83] * 21


@pytest.mark.parametrize("seed", [3, 6, 9])
def test_the_edges_of_paper_on_a_desk_are_no_digits(seed: int) -> None:
    """A phone's photo; of the first two, edges gave slivers as dark as ink, which were 1s."""
    rng = np.random.default_rng(seed)
    paper = write_sheet(["3141592", "6535897"], seed=seed).image
    height, width = paper.shape
    desk = np.full((height * 3 // 2, width * 3 // 2), rng.uniform(40, 110))
    desk += 8 * np.sin(np.arange(desk.shape[1]) / 17)
    desk[height // 4 :, width // 4 :][:height, :width] = paper
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.03 * width, 0.03 * width, (4, 2)).astype(np.float32)
    turn, size = cv2.getPerspectiveTransform(corners, moved), desk.shape[::-1]
    seen = cv2.warpPerspective(desk.astype(np.uint8), turn, size, borderMode=cv2.BORDER_REPLICATE)
    lit = seen * np.linspace(rng.uniform(0.6, 0.8), 1, size[0]) + rng.normal(0, 4, seen.shape)
    photo = lit.clip(0, 255).astype(np.uint8)
    large = cv2.resize(photo, None, fx=2.5, fy=2.5, interpolation=cv2.INTER_CUBIC)
    assert [len(row) for row in find_rows(large)] == [7, 7]


@pytest.mark.parametrize(
    ("rows", "seed"),
    [(["5528184031", "2961920604", "445", "8159115"], 71017), (["0248", "41721936"], 71019)],
)
@pytest.mark.parametrize("paper", ["plain", "ruled", "boxed"])
def test_pencil_beside_a_bright_spot_is_ink(rows: list[str], seed: int, paper: Paper) -> None:
    """Most of the image is darker than its middle; what is thin tells that it is no negative."""
    sheet = write_sheet(rows, paper=paper, pen="pencil", light=1.0, seed=seed)
    check(sheet, found=0.95, extra=0.1)
    dark = matched(find_rows(np.invert(sheet.image)), sheet)
    assert len({number for number in dark if number >= 0}) >= 0.95 * len(sheet.labels)


@pytest.mark.parametrize("edge", [False, True])
def test_a_large_digit_in_light_that_falls_to_one_side(edge: bool) -> None:
    """It fills its crop, so that little of it is thin; half of that may lie in a shadow."""
    right = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        side = int(rng.integers(40, 160))
        image = np.full((side, side), 220, np.uint8)
        thick, place = max(2, side // int(rng.integers(8, 20))), (side // 4, side * 4 // 5)
        cv2.putText(image, str(seed % 10), place, 0, side / 35, 45, thick, cv2.LINE_AA)
        ink = cv2.boundingRect((image < 130).astype(np.uint8))
        rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
        turn = rng.uniform(0, 2 * np.pi)
        along = np.cos(turn) * columns + np.sin(turn) * rows
        shade, slope = rng.uniform(0.4, 0.7), rng.uniform(0.1, 0.25)
        light = np.where(along > 0.4, shade, 1) if edge else 1 - slope * (1 + along)
        lit = np.clip(image * light + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
        for each in (lit, np.invert(lit)):
            piece = find_one(each)
            right += piece is not None and iou(piece.box, ink) > 0.5
    assert right >= 75


@pytest.mark.parametrize("seed", [1, 4, 5])
def test_boxes_with_specks_are_boxes(seed: int) -> None:
    """Specks are bits, too, but too few of all to be what lines fell to: boxes are not joined."""
    sheet = write_sheet(["488", "747345", "81441"], 50, paper="boxed", seed=seed)
    dirt = np.random.default_rng(seed).random(sheet.image.shape) < 0.002
    rows = find_rows(np.where(dirt, 60, sheet.image).astype(np.uint8))
    order = matched(rows, sheet)
    assert len({number for number in order if number >= 0}) >= 13
    assert order.count(-1) <= 3


def test_squares_as_pale_as_noise_are_lines() -> None:
    """They were taken for strokes."""
    rows = ["488", "747345", "81441", "665385"]
    sheet = write_sheet(rows, paper="squared", pen="pencil", light=1.0, seed=71012)
    check(sheet, found=0.95, extra=0.1)


@pytest.mark.parametrize("seed", [0, 4])
def test_specks_join_no_boxes(seed: int) -> None:
    """They are bits, but darker than those of pale lines, whose rims would join boxes."""
    digits = np.random.default_rng(300 + seed).integers(0, 10, (8, 9))
    rows = ["".join(map(str, row)) for row in digits]
    sheet = write_sheet(rows, height=30, specks=3.0, paper="boxed", seed=4000 + seed)
    order = matched(find_rows(sheet.image), sheet)
    assert len({number for number in order if number >= 0}) >= 66
    assert order.count(-1) <= 13


@pytest.mark.parametrize(("thick", "level", "noise"), [(1, 40, 3), (1, 38, 5), (2, 34, 1.5)])
def test_lines_that_noise_cuts_to_bits_are_lines(thick: int, level: int, noise: float) -> None:
    """Half of their pixels stand out, and hundreds of bits were taken for digits."""
    image = np.full((600, 800), 245, np.uint8)
    for at in range(30, 780, 30):
        image[:, at : at + thick] = image[at : at + thick] = 245 - level
    places = [(x, y) for y in range(60, 580, 60) for x in range(30, 760, 50)]
    for x, y in places:
        number = str((x + y) // 10 % 10)
        cv2.putText(image, number, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 60, 1, cv2.LINE_AA)
    image = image + np.random.default_rng(level).normal(0, noise, image.shape)
    rows = find_rows(image.round().clip(0, 255).astype(np.uint8))
    assert abs(sum(map(len, rows)) - len(places)) <= 2


def test_what_is_left_beside_a_line_may_hold_no_ink() -> None:
    """In uneven light it has no depth, which was an error."""
    rows = ["56071", "902614", "38149", "22862"]
    sheet = write_sheet(
        *(rows, 79),
        paper="boxed",
        pen="pencil",
        tilt=-0.1765434003760431,
        light=0.6031464502854985,
        shadow=0.37502987105843494,
        noise=0.6363982249829898,
        seed=1178612949,
    )
    check(sheet)


@pytest.mark.parametrize("box", [0, 3])
def test_pale_ink_in_uneven_light_is_kept(box: int) -> None:
    """What is paler than most, on bright paper, even if dark lines are close to it."""
    image = np.full((700, 900), 235, np.uint8)
    for row in range(3):
        cv2.putText(image, "4728153960", (40, 60 + 60 * row), 0, 1.6, 30, 4)
    pale: list[Box] = []
    for number, digit in enumerate("51234"):
        ink = np.zeros_like(image)
        cv2.putText(ink, digit, (60 + 110 * number, 450), 0, 2, 255, 4)
        image[ink > 0] = 150
        x, y, wide, tall = cv2.boundingRect(ink)
        pale.append((x, y, wide, tall))
        if box:
            start, stop = (x - box - 2, y - box - 2), (x + wide + box + 1, y + tall + box + 1)
            cv2.rectangle(image, start, stop, 30, box)
    lit = (image * np.linspace(1, 0.45, 900)).astype(np.uint8)
    found = [piece.box for row in find_rows(lit) for piece in row]
    assert all(max(iou(one, other) for other in found) > 0.8 for one in pale)
