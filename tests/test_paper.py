"""Tests of mnistry.pen.paper: digits where the sheet says that they are."""

from typing import Any, get_args

import cv2
import numpy as np
import pytest

from mnistry.errors import UsageError
from mnistry.normalise import normalise
from mnistry.pen.paper import Paper, Pen, Sheet, write_sheet
from mnistry.pen.paper.layout import IN_BOXES, Layout, lay_out
from mnistry.pen.paper.pens import VISIBLE, Inks, write_digits
from mnistry.pen.paper.photo import Layer

PAPERS, PENS = get_args(Paper), get_args(Pen)
ROWS = ["0123456", "789", "3141592653"]
CLEAN: dict[str, Any] = {"light": 0.0, "noise": 0.0}


def places(height: int = 60, seed: int = 0, **kwargs: Any) -> tuple[Inks, Layout]:
    """The digits of `ROWS` and where they lie, without a sheet."""
    given = {"paper": "plain", "tilt": 0.0, "touching": 0.0} | kwargs
    labels = np.array([int(c) for row in ROWS for c in row], np.uint8)
    streams = np.random.default_rng(seed).spawn(2)
    inks = write_digits(streams[0], labels, height, "ballpoint", "mixed", given["tilt"], 0.5)
    return inks, lay_out(streams[1], inks, ROWS, height, **given)


def row_pairs() -> list[tuple[int, int]]:
    """The numbers of all neighbours in a row of `ROWS`."""
    stops = np.cumsum([len(row) for row in ROWS])
    return [(i, i + 1) for i in range(stops[-1] - 1) if i + 1 not in stops]


def what_is_printed(paper: Paper, seed: int) -> np.ndarray:
    """How much darker the rules make a sheet: (h, w)."""
    bare, printed = (
        write_sheet(ROWS, paper=p, seed=seed, **CLEAN).image.astype(int) for p in ("plain", paper)
    )
    return bare - printed


# -------------------------------------------------------------------------------------- boxes


def test_boxes_are_matched_with_digits() -> None:
    sheet = write_sheet(["3141", "59"], seed=1)
    boxes = sheet.boxes.copy()
    assert sheet.match(boxes).tolist() == list(range(6))
    assert sheet.match(boxes[::-1]).tolist() == list(range(6))[::-1]
    half = boxes.copy()
    half[:, 3] = half[:, 3] * 2 // 5
    assert sheet.match(half).tolist() == [-1] * 6
    less = boxes.copy()
    less[:, 3] = less[:, 3] * 3 // 5 + 1
    assert sheet.match(less).tolist() == list(range(6))
    assert sheet.match([*less, *boxes]).tolist() == [-1] * 6 + list(range(6))
    assert sheet.match([]).shape == (0,)


def test_boxes_with_the_pale_pixel_around_ink_are_matched() -> None:
    sheet = write_sheet(["1111"], height=14, seed=1)
    assert min(sheet.boxes[:, 2]) <= 3  # half of the box is rim
    rim = np.array([-1, -1, 2, 2])
    around = sheet.boxes + rim
    assert sheet.match(around).tolist() == list(range(4))
    assert -1 in sheet.match(around + 2 * rim)


@pytest.fixture
def unprinted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets without their rules and boxes; all else is as it would be."""

    def nothing(_: object, layout: Layout, *__: object) -> Layer:
        return Layer(np.zeros(layout.shape, np.uint8), 0.0)

    monkeypatch.setattr("mnistry.pen.paper.sheet.print_lines", nothing)


def ends(boxes: np.ndarray) -> np.ndarray:
    """(n, 2) the right and lower ends."""
    return boxes[:, :2] + boxes[:, 2:]


def check_boxes(sheet: Sheet, height: int) -> None:
    """Each box is as small as it can be around the visible ink, and no ink is elsewhere."""
    ink = sheet.image.max() - sheet.image.astype(int)
    rim = int(np.ceil(3 * 0.9 * max(0.6, height / 150)))
    rest = ink.copy()
    for left, top, wide, tall in sheet.boxes:
        part = ink[top : top + tall, left : left + wide]
        near = ink[top - 1 : top + tall + 1, left - 1 : left + wide + 1].copy()
        near[1:-1, 1:-1] = 0
        edges = min(part[0].max(), part[-1].max(), part[:, 0].max(), part[:, -1].max())
        visible = VISIBLE * part.max()
        assert near.max() <= visible + 1 <= edges + 2  # a grey level may be rounded
        assert 0.6 * height < max(wide, tall) < 1.4 * height
        rest[top - rim : top + tall + rim, left - rim : left + wide + rim] = 0
    assert not rest.any()


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("height", [12, 60, 200])
@pytest.mark.parametrize("tilt", [0, -4])
@pytest.mark.usefixtures("unprinted")
def test_each_box_is_tight_around_its_digit(paper: Paper, height: int, tilt: float) -> None:
    sheet = write_sheet(["0123", "456789"], height, paper=paper, tilt=tilt, seed=3, **CLEAN)
    assert sheet.image.dtype == np.uint8
    assert sheet.boxes.dtype == np.intp
    assert sheet.labels.tolist() == list(range(10))
    check_boxes(sheet, height)


@pytest.mark.parametrize("pen", PENS)
def test_with_every_pen(pen: Pen) -> None:
    for height in (12, 60):
        check_boxes(write_sheet(ROWS, height, pen=pen, **CLEAN), height)


def test_the_largest_and_the_most() -> None:
    check_boxes(write_sheet(["7"], 2000, **CLEAN), 2000)
    many = write_sheet(["0123456789"] * 30, 12, tilt=2)
    assert many.boxes.shape == (300, 4)


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("height", [12, 40])
def test_no_two_digits_touch(paper: Paper, height: int) -> None:
    for seed in range(15):
        _, layout = places(height, seed, paper=paper, tilt=seed % 9 - 4.0)
        taken = np.zeros(layout.shape, int)
        for left, top, wide, tall in layout.boxes:
            taken[top - 1 : top + tall + 1, left - 1 : left + wide + 1] += 1
        assert taken.max() == 1
        margins = [layout.boxes[:, :2].min(), *(layout.shape[::-1] - ends(layout.boxes)).min(0)]
        assert min(margins) >= height


def test_a_digit_cut_out_is_an_image_as_mnists() -> None:
    sheet = write_sheet(["37"], 80, **CLEAN)
    left, top, width, tall = sheet.boxes[0]
    part = sheet.image[top : top + tall, left : left + width]
    ink = np.where(part < 150, 255 - part, 0).astype(np.uint8)
    image = normalise(ink)
    rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
    assert max(np.ptp(rows), np.ptp(columns)) == 19
    assert 0.03 < image.mean() / 255 < 0.25  # strokes, and neither a blot nor specks


# ----------------------------------------------------------------------------------- touching


def masks(inks: Inks, layout: Layout, shift: int = 0) -> np.ndarray:
    """Where each digit is visible: (n, h, w), every second one in a row moved to the right."""
    result = np.zeros((len(inks.sizes), *layout.shape), bool)
    for i, (left, top, wide, tall) in enumerate(layout.boxes):
        left += shift * (i % 2)
        result[i, top : top + tall, left : left + wide] = inks.visible(i)
    return result


@pytest.mark.parametrize("tilt", [0.0, 4.0])
def test_all_neighbours_touch_and_hardly_more(tilt: float) -> None:
    for seed in range(8):
        inks, layout = places(seed=seed, touching=1.0, tilt=tilt)
        own, moved = masks(inks, layout), masks(inks, layout, 4)
        _, pieces = cv2.connectedComponents(own.any(0).astype(np.uint8))
        for i, j in row_pairs():
            assert set(pieces[own[i]]) & set(pieces[own[j]])
            if j % 2:
                assert not (moved[i] & moved[j]).any()


def test_some_neighbours_touch() -> None:
    sheets = [write_sheet(["0123456789"] * 5, touching=share) for share in (0.0, 0.4, 1.0)]
    widths = [ends(sheet.boxes)[9::10, 0] - sheet.boxes[::10, 0] for sheet in sheets]
    assert (np.diff(np.mean(widths, axis=1)) < 0).all()
    starts, stops = sheets[1].boxes[:, 0], ends(sheets[1].boxes)[:, 0]
    apart = (starts[1:] > stops[:-1])[np.arange(49) % 10 < 9]
    assert 0.4 < apart.mean() < 0.8


def test_digits_that_share_no_row_touch_with_their_boxes() -> None:
    high, low = np.zeros((2, 24, 14), np.uint8)
    high[2:8, 2:12] = low[16:22, 2:12] = 255
    inks = Inks([high, low], 2, np.array([[10, 20]] * 2), 0.0, 0.5)
    layout = lay_out(np.random.default_rng(0), inks, ["11"], 20, "plain", 0.0, 1.0)
    assert 0 <= layout.boxes[0, 0] + 10 - layout.boxes[1, 0] <= 3


# ---------------------------------------------------------------------------------------- pens


def test_pens_differ_in_width_and_darkness() -> None:
    seeds = range(6)
    share: dict[str, float] = {}
    dark: dict[str, float] = {}
    for pen in PENS:
        inks = [
            255 - write_sheet(ROWS, pen=pen, seed=s, **CLEAN).image.astype(float) for s in seeds
        ]
        share[pen] = float(np.mean([(ink > ink.max() / 2).mean() for ink in inks]))
        dark[pen] = float(np.mean([np.percentile(ink, 99.5) for ink in inks]))
    assert 1.7 * share["fine"] < share["ballpoint"] < share["marker"] / 1.7
    assert dark["pencil"] + 30 < min(dark["ballpoint"], dark["fountain"]) < dark["marker"]


def test_a_pencil_is_grainy() -> None:
    def rough(pen: Pen) -> float:
        ink = 255 - write_sheet(["8"], 400, pen=pen, **CLEAN).image.astype(np.float32)
        strokes = (cv2.blur(ink, (9, 9)) > ink.max() / 3).astype(np.uint8)
        inside = cv2.erode(strokes, np.ones((9, 9))) > 0
        return float(ink[inside].std() / np.ptp(ink))

    assert rough("pencil") > 2 * rough("marker")


@pytest.mark.parametrize(
    "changed",
    [{"paper": "ruled"}, {"dark": True}, {"specks": 1.0}, {"light": 1.0}, {"shadow": 0.5}],
)
def test_the_digits_stay_where_they_are(changed: dict[str, Any]) -> None:
    first, other = write_sheet(ROWS, seed=4), write_sheet(ROWS, seed=4, **changed)
    np.testing.assert_array_equal(other.boxes, first.boxes)
    assert (other.image != first.image).any()


# --------------------------------------------------------------------------------------- paper


@pytest.mark.parametrize("paper", ["ruled", "squared"])
def test_rules_are_faint_to_dark(paper: Paper) -> None:
    darkness, crossed = [], []
    for seed in range(12):
        printed = what_is_printed(paper, seed)
        rows, columns = (np.median(printed, axis) > 5 for axis in (1, 0))
        assert 0.01 < rows.mean() < 0.3
        assert columns.any() == (paper == "squared")
        darkness.append(np.median(printed, 1).max())
        boxes = write_sheet(ROWS, seed=seed).boxes
        crossed.append(np.mean([rows[top + 6 : top + tall - 6].any() for _, top, _, tall in boxes]))
    assert min(darkness) < 50 < 100 < max(darkness)
    assert max(crossed) > 0.6
    assert min(crossed) < 0.4 or paper == "squared"  # on lined paper most stand on a line


@pytest.mark.parametrize("paper", IN_BOXES)
def test_digits_are_mostly_inside_their_boxes(paper: Paper) -> None:
    beyond = []
    used = np.concatenate([np.arange(10 * r, 10 * r + len(row)) for r, row in enumerate(ROWS)])
    for seed in range(10):
        _, layout = places(seed=seed, paper=paper)
        assert layout.cells.shape == (3 * 10, 4, 2)  # rows have as many boxes as the longest
        low, high = layout.cells[used].min(1), layout.cells[used].max(1)
        beyond.extend(np.maximum(low - layout.boxes[:, :2], ends(layout.boxes) - high).max(1))
        gap = layout.cells[1, 0, 0] - layout.cells[0, 1, 0]
        assert gap == pytest.approx(0) if paper == "comb" else gap > 5
    assert 0.03 < (np.array(beyond) > 0).mean() < 0.4
    assert max(beyond) < 0.2 * 60


def test_boxes_are_printed() -> None:
    sheet = write_sheet(["12", "3"], paper="boxed", **CLEAN)
    dark = (sheet.image < sheet.image.max() - 20).astype(np.uint8)
    holes = cv2.connectedComponentsWithStats(1 - dark, connectivity=4)[2]
    assert (holes[:, cv2.CC_STAT_AREA] > 1000).sum() >= 4 + 1  # boxes, one empty, and the paper


@pytest.mark.parametrize("tilt", [-4.0, 2.5])
def test_rows_and_rules_are_tilted(tilt: float) -> None:
    bare, ruled = (
        write_sheet(["0123456789" * 3], paper=paper, tilt=tilt, seed=2, **CLEAN)
        for paper in ("plain", "ruled")
    )
    _, pieces = cv2.connectedComponents((bare.image - ruled.image > 5).astype(np.uint8))
    rule = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
    for x, y in (
        (bare.boxes[:, 0] + bare.boxes[:, 2] / 2, ends(bare.boxes)[:, 1]),
        np.nonzero(rule)[::-1],
    ):
        assert np.degrees(np.arctan(np.polyfit(x, y, 1)[0])) == pytest.approx(tilt, abs=0.5)


# ----------------------------------------------------------------------------- dirt and light


def test_specks_are_small() -> None:
    clean, few, many = (
        write_sheet(ROWS, specks=x, **CLEAN).image.astype(int) for x in (0.0, 1.0, 10.0)
    )
    counts = []
    for dirty in (few, many):
        mask = (abs(clean - dirty) > 10).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        counts.append(count - 1)
        sizes = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
        assert np.median(sizes) <= 0.1 * 60
        if dirty is few:
            assert sizes.max() <= 0.1 * 60 + 3  # and its blurred edge
    assert 5 <= counts[0] < counts[1] / 3


def test_dark_is_the_sheet_inverted() -> None:
    light, dark = (write_sheet(ROWS, dark=dark, **CLEAN) for dark in (False, True))
    np.testing.assert_allclose(255.0 - light.image, dark.image, atol=1)
    assert np.median(write_sheet(ROWS, dark=True, shadow=0.5).image) < 60


def test_light_and_noise_are_as_asked_for() -> None:
    even, uneven = (write_sheet(["1"], 60, light=x, noise=0.0, seed=5).image for x in (0.0, 1.0))
    assert np.ptp(np.median(even, axis=0)) == 0
    assert np.ptp(np.median(uneven, axis=0)) > 10
    noisy = write_sheet(["1"], 60, light=0.0, noise=10.0, seed=5).image
    assert noisy[:20].std() == pytest.approx(10, abs=3)


def test_a_shadow_has_a_sharp_edge() -> None:
    for seed in range(8):
        lit, shaded = (
            write_sheet(ROWS, shadow=x, seed=seed, **CLEAN).image.astype(float) for x in (0, 0.6)
        )
        share = (shaded / lit)[lit > 100]
        inside, outside = (np.isclose(share, x, atol=0.02).mean() for x in (0.4, 1.0))
        assert min(inside, outside) > 0.03
        assert inside + outside > 0.85


# -------------------------------------------------------------------------------- all together


EVERYTHING: dict[str, Any] = {
    "paper": "ruled", "pen": "pencil", "dark": True, "tilt": 2.0, "touching": 0.3,
    "specks": 2.0, "light": 0.7, "shadow": 0.4, "noise": 5.0, "style": "eu",
}  # fmt: skip


def test_the_same_arguments_give_the_same_bits() -> None:
    for kwargs in ({}, {"paper": "boxed"}, EVERYTHING):
        first, again, other = (write_sheet(ROWS, 40, seed=s, **kwargs) for s in (1, 1, 2))
        np.testing.assert_array_equal(first.image, again.image, strict=True)
        np.testing.assert_array_equal(first.boxes, again.boxes, strict=True)
        assert first.image.shape != other.image.shape or (first.image != other.image).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": []}, "rows: are"),
        ({"rows": "123"}, r"rows: are '123', expected digits in each: \['0123'\]"),
        ({"rows": ["12a"]}, "expected digits"),
        ({"rows": ["1", ""]}, "expected digits"),
        ({"rows": [12]}, "expected digits"),
        ({"rows": ["1" * 10001]}, r"would fill 204 x 1020306 pixels, expected at most 100,000,000"),
        ({"rows": ["1"] * 5000 + ["1" * 5000]}, "expected at most 100,000,000"),
        ({"rows": ["123"], "height": 2000}, "write fewer digits, or smaller ones"),
        ({"rows": ["1"], "seed": -1}, "seed is -1"),
        ({"rows": ["1"], "style": "fr"}, "style is 'fr'"),
        ({"rows": ["1"], "height": 5}, "height: is 5, expected 12 to 2000"),
        ({"rows": ["1"], "height": 60.5}, "height: is 60.5"),
        ({"rows": ["1"], "paper": "lined"}, "paper: is 'lined', expected one of plain, ruled,"),
        ({"rows": ["1"], "pen": "quill"}, "pen: is 'quill', expected one of ballpoint, fine,"),
        ({"rows": ["1"], "tilt": 5.0}, "tilt: is 5.0, expected -4 to 4"),
        ({"rows": ["1"], "tilt": float("nan")}, "tilt: is nan"),
        ({"rows": ["1"], "touching": 1.5}, "touching: is 1.5, expected 0 to 1"),
        ({"rows": ["1"], "touching": 0.5, "paper": "comb"}, "touching: is 0.5 on comb paper"),
        ({"rows": ["1"], "specks": -1.0}, "specks: is -1.0, expected 0 to 20"),
        ({"rows": ["1"], "light": 2.0}, "light: is 2.0, expected 0 to 1"),
        ({"rows": ["1"], "light": "dim"}, "light: is 'dim'"),
        ({"rows": ["1"], "shadow": 1.0}, "shadow: is 1.0, expected 0 to 0.8"),
        ({"rows": ["1"], "noise": -1.0}, "noise: is -1.0, expected 0 to 50"),
    ],
)
def test_what_cannot_be_written(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        write_sheet(**arguments)
    assert "\n" not in str(caught.value)
