"""Tests of mnistry.rules: lines go, strokes stay, and no digit is taken for a line."""

from typing import Any, get_args

import cv2
import numpy as np
import pytest

from mnistry.inkmap import InkMap, find_ink
from mnistry.pen.paper import Paper, write_sheet
from mnistry.pen.paper.layout import Layout
from mnistry.pen.paper.photo import Layer
from mnistry.rules import find_rules

PAPERS = [paper for paper in get_args(Paper) if paper != "plain"]
ROWS = ["3141592", "6535", "8979323"]


def rules_of(image: np.ndarray) -> np.ndarray:
    return find_rules(find_ink(image), image.shape)


def left_of(image: np.ndarray) -> np.ndarray:
    """Where there is ink without lines: (h, w) bool."""
    found = find_ink(image)
    return found.without(find_rules(found, image.shape)).mask > 0


@pytest.fixture
def unprinted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Where a sheet's strokes are, (h, w) bool: it is written without its lines."""

    def nothing(_: object, layout: Layout, *__: object) -> Layer:
        return Layer(np.zeros(layout.shape, np.uint8), 0.0)

    def write(*args: Any, **kwargs: Any) -> np.ndarray:
        with monkeypatch.context() as patch:
            patch.setattr("mnistry.pen.paper.sheet.print_lines", nothing)
            image = write_sheet(*args, **kwargs, light=0.0, noise=0.0).image.astype(int)
        return image.max() - image > 0.4 * np.ptp(image)

    return write


# --------------------------------------------------------------------------------- lines are found


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize(("height", "tilt"), [(60, 0), (60, 3), (40, -2), (110, 1)])
def test_what_is_left_is_the_digits(paper: Paper, height: int, tilt: float, unprinted: Any) -> None:
    lost, strange, ink = 0, 0, 0
    for seed in range(2):
        truth = unprinted(ROWS, height, paper=paper, tilt=tilt, seed=seed)
        left = left_of(write_sheet(ROWS, height, paper=paper, tilt=tilt, seed=seed).image)
        near = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        lost += (truth & ~left).sum()
        strange += (left & ~near).sum()
        ink += truth.sum()
    assert lost <= 0.05 * ink
    assert strange <= 0.1 * ink


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize(
    "kind", [{"dark": True}, {"light": 1.0}, {"pen": "pencil"}, {"pen": "marker"}], ids=str
)
def test_in_any_light_with_any_pen(paper: Paper, kind: dict[str, Any], unprinted: Any) -> None:
    truth = unprinted(
        ROWS, 50, paper=paper, seed=3, **{k: v for k, v in kind.items() if k == "pen"}
    )
    left = left_of(write_sheet(ROWS, 50, paper=paper, seed=3, **kind).image)
    near = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert left[truth].mean() > 0.93
    assert near[left].mean() > 0.9


@pytest.mark.parametrize("paper", PAPERS)
def test_empty_forms_are_empty(paper: Paper) -> None:
    image = write_sheet(["1", "0" * 9], 40, paper=paper, seed=1).image
    upper = left_of(image)[: image.shape[0] // 2 - 4, 100:]
    assert upper.shape[1] > 200
    assert upper.sum() < 40


def page(height: int = 300, width: int = 500) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (230 + rng.normal(0, 2, (height, width))).astype(np.uint8)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.06])
@pytest.mark.parametrize("thick", [1, 2])
@pytest.mark.parametrize("grey", [40, 150])
def test_a_margin_is_a_line(slope: float, thick: int, grey: int) -> None:
    image = page()
    cv2.line(image, (90, 0), (round(90 + slope * 300), 299), grey, thick, cv2.LINE_AA)
    cv2.putText(image, "317", (150, 150), 0, 2, 30, 3, cv2.LINE_AA)
    assert left_of(image)[:, 140:].any()
    assert not left_of(image)[:, :130].any()
    assert not left_of(np.ascontiguousarray(image.T))[:130].any()


@pytest.mark.parametrize("place", [(200, 150), (200, 108), (200, 96), (200, 60)])
def test_a_stroke_that_crosses_a_line_or_lies_on_it_stays_whole(place: tuple[int, int]) -> None:
    ruled, digit = page(), np.full((300, 500), 255, np.uint8)
    for y in range(50, 300, 50):
        cv2.line(ruled, (0, y), (499, y), 120, 2, cv2.LINE_AA)
    cv2.putText(digit, "2", place, 0, 2, 0, 5, cv2.LINE_AA)
    cv2.line(digit, place, (place[0] + 40, place[1]), 0, 5)  # a base, from there to there
    truth = digit < 100
    left = left_of(np.minimum(ruled, np.where(digit < 255, digit * 0.8 + 30, 255)).astype(np.uint8))
    assert left[truth].mean() > 0.95
    pieces, labels = cv2.connectedComponents(left.astype(np.uint8))
    sizes = [(labels == part).sum() for part in range(1, pieces)]
    assert max(sizes) > 0.95 * sum(sizes)
    assert sum(sizes) < 1.4 * truth.sum()


@pytest.mark.parametrize(
    ("rows", "seed"),
    [
        (["15805", "6426274", "658688664", "7533"], 71013),
        (["728", "810089346", "9097", "19833925"], 71029),
    ],
)
def test_squared_paper_that_is_turned_is_empty_to_its_corners(rows: list[str], seed: int) -> None:
    sheet = write_sheet(rows, paper="squared", tilt=2.0, seed=seed)
    left = left_of(sheet.image)
    for x, y, wide, tall in sheet.boxes:
        left[y - 3 : y + tall + 3, x - 3 : x + wide + 3] = False
    stats = cv2.connectedComponentsWithStats(left.astype(np.uint8))[2][1:]
    assert (stats[:, 3] < 30).all()  # as tall as half a digit


@pytest.mark.parametrize("grey", [60, 160])
@pytest.mark.parametrize(("dot", "gap"), [(2, 1), (4, 1), (2, 6), (6, 8), (10, 5), (20, 6)])
def test_dotted_and_dashed_lines_are_lines(grey: int, dot: int, gap: int) -> None:
    image = page()
    for y in range(60, 260, 50):
        for x in range(20, 480, dot + gap):
            cv2.rectangle(image, (x, y), (x + dot - 1, y + 1), grey, -1)
    cv2.putText(image, "58", (200, 190), 0, 2, 30, 4, cv2.LINE_AA)
    left = left_of(image)
    assert left[150:190, 200:270].any()
    assert not left[:, :190].any()


def boxes(image: np.ndarray, lefts: list[int], side: int = 70, grey: int = 60) -> None:
    for left in lefts:
        cv2.rectangle(image, (left, 50), (left + side, 50 + side), grey, 3, cv2.LINE_AA)


@pytest.mark.parametrize(("wide", "tall"), [(2, 12), (3, 36)])
def test_rows_of_short_1s_are_no_dashed_lines(wide: int, tall: int) -> None:
    image = page(300, 500)
    for y in range(20, 280 - tall, tall + 8):
        for x in range(20, 480, 3 * wide + 4):
            cv2.rectangle(image, (x, y), (x + wide - 1, y + tall - 1), 60, -1)
    assert not rules_of(image).any()


@pytest.mark.parametrize("gap", [9, 8])  # of which the lines leave 4 pixels, or 3
def test_the_sides_of_boxes_that_nearly_touch_are_lines(gap: int) -> None:
    image = page()
    boxes(image, [40 + n * (70 + gap) for n in range(4)])
    bare = image.copy()
    cv2.line(image, (95, 75), (130, 100), 50, 5, cv2.LINE_AA)  # from one box into the next
    left = left_of(image)
    stroke = cv2.dilate((image < bare).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert left[stroke].sum() > 150
    assert not left[~stroke].any()
    assert not left_of(bare).any()


def test_a_1_from_side_to_side_of_a_box_is_no_line() -> None:
    image = page()
    boxes(image, [40, 140, 240, 340])
    cv2.line(image, (275, 54), (275, 116), 50, 4, cv2.LINE_AA)
    left = left_of(image)
    assert left[60:110, 270:281].any(1).all()
    assert not left[:, :265].any()


@pytest.mark.parametrize("long", [0, 15])
def test_a_few_squares_without_a_border_are_lines(long: int) -> None:
    image = page()
    for off in (60, 105, 150):
        cv2.line(image, (60 - long, off), (150 + long, off), 60, 2)
        cv2.line(image, (off, 60 - long), (off, 150 + long), 60, 2)
    cv2.putText(image, "3", (75, 95), 0, 0.8, 30, 2, cv2.LINE_AA)
    cv2.putText(image, "5", (300, 95), 0, 0.8, 30, 2, cv2.LINE_AA)
    left = left_of(image)
    assert left[70:100, 70:100].any()
    assert left[70:100, 290:330].any()
    left[65:102, 65:102] = False
    assert not left[:, :250].any()


def test_a_comb_as_large_as_a_box_has_lines_between() -> None:
    image = page(400, 600)
    cv2.rectangle(image, (50, 50), (530, 110), 60, 2)
    cv2.rectangle(image, (50, 200), (530, 260), 60, 2)
    for x in range(98, 530, 48):
        cv2.line(image, (x, 200), (x, 260), 60, 2)
    cv2.putText(image, "7", (110, 250), 0, 1.4, 30, 3, cv2.LINE_AA)
    left = left_of(image)
    assert left[210:250, 105:140].any()
    left[205:256, 102:142] = False
    assert not left.any()


# -------------------------------------------------------------------------- digits are not lines

# in a square of side 1: strokes that are straight, long, level, upright or at right angles
SHAPES: dict[str, list[list[tuple[float, float]]]] = {
    "1": [[(0.5, 0.0), (0.5, 1.0)]],
    "slanting 1": [[(0.58, 0.0), (0.5, 1.0)]],
    "1 with a serif and a base": [[(0.3, 0.25), (0.5, 0), (0.5, 1)], [(0.2, 1), (0.8, 1)]],
    "7": [[(0.15, 0.0), (0.85, 0.0), (0.4, 1.0)]],
    "crossed 7": [[(0.15, 0.0), (0.85, 0.0), (0.45, 1.0)], [(0.3, 0.5), (0.8, 0.5)]],
    "Z": [[(0.15, 0.0), (0.85, 0.0), (0.15, 1.0), (0.85, 1.0)]],
    "2 with a long base": [
        [(0.2, 0.2), (0.4, 0.0), (0.65, 0.1), (0.65, 0.35), (0.1, 1.0), (1.6, 1.0)]
    ],
    "4": [[(0.3, 0.0), (0.1, 0.6), (0.9, 0.6)], [(0.65, 0.2), (0.65, 1.0)]],
    "closed 4": [[(0.7, 1.0), (0.7, 0.0), (0.1, 0.65), (0.9, 0.65)]],
    "5": [[(0.8, 0.0), (0.25, 0.0), (0.25, 0.45), (0.7, 0.5), (0.75, 0.85), (0.2, 1.0)]],
}


def drawn(name: str, height: int, thick: int) -> np.ndarray:
    image = page(2 * height, 3 * height)
    for stroke in SHAPES[name]:
        points = np.rint(np.add(stroke, (0.7, 0.5)) * height * 16).astype(np.int32)
        cv2.polylines(image, [points], False, 50, thick, cv2.LINE_AA, 4)
    return image


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("height", "share"), [(20, 0.1), (60, 0.05), (60, 0.1), (400, 0.015)])
def test_a_digit_is_no_line(name: str, height: int, share: float) -> None:
    image = drawn(name, height, max(1, round(share * height)))
    assert find_ink(image).mask.any()
    assert not rules_of(image).any()


@pytest.mark.parametrize("share", [0.03, 0.06, 0.12])
@pytest.mark.parametrize("height", [24, 80, 250])
def test_a_squarish_0_is_no_box(height: int, share: float) -> None:
    image = page(2 * height, 2 * height)
    radius, near, far = height // 4, height // 2, height * 3 // 2
    for x, y, start in ((far, far, 0), (near, far, 90), (near, near, 180), (far, near, 270)):
        middle = x + radius * (1 if x == near else -1), y + radius * (1 if y == near else -1)
        thick = max(1, round(share * height))
        cv2.ellipse(image, middle, (radius,) * 2, 0, start, start + 90, 50, thick, cv2.LINE_AA)
    for a, b in (((near, 0), (far, 0)), ((near, 1), (far, 1))):
        for turn in (1, -1):
            points = [(a[0] + radius, (near, far)[a[1]]), (b[0] - radius, (near, far)[b[1]])]
            cv2.line(image, points[0][::turn], points[1][::turn], 50, thick, cv2.LINE_AA)
    assert not rules_of(image).any()


@pytest.mark.parametrize("is_eight", [False, True])
@pytest.mark.parametrize("corner", [0.3, 0.4])
@pytest.mark.parametrize("side", [28, 32, 44])
def test_squarish_0s_and_8s_side_by_side_are_no_boxes(
    side: int, corner: float, is_eight: bool
) -> None:
    image = page(2 * side, 7 * side)
    wide, radius = round(0.8 * side), round(corner * side)
    for left in range(side // 2, 6 * side, round(1.3 * side)):
        near, far = (
            (left + radius, side // 2 + radius),
            (left + wide - radius, side * 3 // 2 - radius),
        )
        corners = ((near, 180), ((far[0], near[1]), 270), (far, 0), ((near[0], far[1]), 90))
        for middle, start in corners:
            cv2.ellipse(image, middle, (radius,) * 2, 0, start, start + 90, 50, 2, cv2.LINE_AA)
        for row in (side // 2, side * 3 // 2):
            cv2.line(image, (near[0], row), (far[0], row), 50, 2, cv2.LINE_AA)
        for column in (left, left + wide):
            cv2.line(image, (column, near[1]), (column, far[1]), 50, 2, cv2.LINE_AA)
        if is_eight:
            cv2.line(image, (left, side), (left + wide, side), 50, 2, cv2.LINE_AA)
    assert not rules_of(image).any()


@pytest.mark.parametrize("side", [26, 34, 40])
def test_several_small_boxes_by_a_broad_line_are_lines(side: int) -> None:
    """As a form that is scanned coarsely shows them; one alone may be an angular 0."""
    image = page(2 * side, 9 * side)
    near, far = side // 2, side // 2 + side
    lone = image.copy()
    for n in range(6):
        left = near + n * (side + side // 3)
        for some in (image, lone) if n == 0 else (image,):
            cv2.rectangle(some, (left, near), (left + side, far), 50, 2)
    cv2.line(image, (near + side // 2, near + 6), (near + side // 2, far - 6), 50, 2)
    image, lone = (cv2.GaussianBlur(some, (3, 3), 0) for some in (image, lone))
    left = left_of(image)
    assert left[near + 8 : far - 7, near + side // 2].all()
    left[:, near + 5 : near + side - 4] = False
    assert not left.any()
    assert not rules_of(lone).any()


@pytest.mark.parametrize("pen", ["ballpoint", "fine", "marker"])
def test_rows_of_1s_are_no_lines(pen: Any) -> None:
    for height in (20, 60):
        image = write_sheet(["11111111", "1111", "11111"], height, pen=pen, seed=2).image
        assert not rules_of(image).any()


@pytest.mark.parametrize("tall", [62, 80, 120, 145])
@pytest.mark.parametrize("count", [1, 4])
def test_1s_by_a_hair_are_no_lines(tall: int, count: int) -> None:
    image = page(300, 500)
    for n in range(count):
        cv2.line(image, (90 + 60 * n, 80), (90 + 60 * n, 80 + tall), 50, 1)
    assert not rules_of(image).any()


def test_written_digits_are_no_lines() -> None:
    for seed in range(4):
        for pen in ("ballpoint", "fine"):
            image = write_sheet(["0123456789"] * 2, 70, pen=pen, seed=seed).image
            assert not rules_of(image).any()


def test_nothing_and_almost_nothing() -> None:
    for shape in ((1, 1), (1, 500), (500, 1), (14, 14), (40, 40)):
        for mask in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8)):
            before = mask.copy()
            rules = find_rules(InkMap(mask, mask, 0, 255, mask, 127, None), mask.shape)
            assert (rules.shape, rules.dtype) == (shape, np.uint8)
            assert not (rules & ~mask).any()
            np.testing.assert_array_equal(mask, before)
