"""Tests of mnistry.inkmap: ink told from paper, whatever the light, the noise and the pen."""

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistry.inkmap import InkMap, find_ink
from mnistry.pen.paper import Sheet, write_sheet
from mnistry.pixels import components

ROWS = ["31415", "92653"]


def sheet(**kwargs: Any) -> Sheet:
    return write_sheet(ROWS, **({"seed": 1} | kwargs))


def true_ink(**kwargs: Any) -> np.ndarray:
    """Where the strokes of `sheet` are: (h, w) bool, from the same sheet in perfect light."""
    clean = {"paper": "plain", "dark": False, "specks": 0.0, "light": 0.0, "shadow": 0.0}
    image = sheet(**(kwargs | clean | {"noise": 0.0})).image.astype(int)
    dark = image.max() - image
    return dark > 0.4 * dark.max()


def check(found: InkMap, truth: np.ndarray, *, recall: float, precision: float) -> None:
    """What share of the strokes is found, and what share of what is found lies on one, or near."""
    near = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    mask = found.mask > 0
    assert mask[truth].mean() >= recall
    assert near[mask].mean() >= precision


def stroke(height: int = 100, width: int = 100, ground: int = 230, ink: int = 30) -> np.ndarray:
    image = np.full((height, width), ground, np.uint8)
    cv2.line(image, (width // 3, height // 5), (width // 2, height * 4 // 5), ink, 6, cv2.LINE_AA)
    return image


# ------------------------------------------------------------------------------------ what is ink


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"dark": True},
        {"light": 1.0},
        {"light": 1.0, "dark": True},
        {"shadow": 0.5},
        {"noise": 12.0},
        {"pen": "fine"},
        {"pen": "pencil"},
        {"pen": "pencil", "noise": 8.0},
        {"pen": "marker"},
        {"height": 16, "noise": 1.0},
        {"height": 200},
    ],
    ids=str,
)
def test_the_strokes_are_found_and_nothing_else(kind: dict[str, Any]) -> None:
    check(find_ink(sheet(**kind).image), true_ink(**kind), recall=0.93, precision=0.98)


@pytest.mark.parametrize("strength", [0.33, 0.4])
@pytest.mark.parametrize("light", [0.0, 0.6])
def test_pale_ink_beside_full_ink_is_found_whole(strength: float, light: float) -> None:
    full = sheet(light=light, noise=2)
    level = full.image[:40].mean()
    faint = level + strength * (full.image.astype(float) - level)
    image = np.concatenate([full.image, faint.clip(0, 255).round().astype(np.uint8)])
    mask = find_ink(image).mask > 0
    height = len(full.image)
    truth = true_ink()
    assert mask[:height][truth].mean() > 0.93
    assert mask[height:][truth].mean() > 0.9
    shine_through = level + 0.1 * (full.image.astype(float) - level)
    image[height:] = shine_through.clip(0, 255).round()
    assert (find_ink(image).mask[height:] > 0).mean() < 0.05 * truth.mean()


def test_light_on_dark_is_the_same_as_dark_on_light() -> None:
    image = sheet().image
    one, other = find_ink(image), find_ink(np.invert(image))
    check(other, one.mask > 0, recall=0.97, precision=0.97)


def test_ink_is_scaled_to_255_and_the_ground_is_0() -> None:
    for grey in (30, 120, 180):
        found = find_ink(stroke(ink=grey))
        assert (found.ink.dtype, found.mask.dtype) == (np.uint8, np.uint8)
        assert found.ink.max() == 255
        assert set(np.unique(found.mask)) == {0, 255}
        assert found.ink[:, 80:].max() == 0
        assert found.ink[50, 41] == 255
    assert (find_ink(stroke(ink=30)).ink > 0).mean() == pytest.approx(
        (find_ink(stroke(ink=180)).ink > 0).mean(), rel=0.2
    )


def test_pale_strokes_are_paler() -> None:
    image = np.hstack([stroke(ink=20), stroke(ink=130)])
    ink = find_ink(image).ink
    assert ink[50, 41] == 255
    assert 80 < ink[50, 141] < 200


def test_the_image_is_not_changed() -> None:
    for image in (sheet(paper="ruled").image, sheet(dark=True).image):
        before = image.copy()
        found = find_ink(image)
        assert found.ink.shape == found.mask.shape == image.shape
        np.testing.assert_array_equal(image, before)


def test_one_bit_images() -> None:
    image = np.where(sheet(light=0.0).image > 128, 255, 0).astype(np.uint8)
    check(find_ink(image), image == 0, recall=0.97, precision=0.97)
    check(find_ink(255 - image), image == 0, recall=0.97, precision=0.97)


def test_what_is_taken_out_says_nothing_about_ink() -> None:
    image = stroke(ink=170)
    image[10:14] = 10  # a line, much darker
    found = find_ink(image)
    lines = np.zeros_like(image)
    lines[7:17] = 255
    left = found.without(lines)
    assert found.ink[50, 41] < 120
    assert left.ink[50, 41] > 200
    assert not left.mask[:17].any()
    assert left.mask[50, 41] == 255
    assert found.mask[12, 5] == 255  # as it was


# ------------------------------------------------------------------------------------------ light


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_sharp_shadow_wider_than_strokes_is_paper(width: int) -> None:
    image = stroke(400, 400)
    image[:, 230 : 230 + width] = image[:, 230 : 230 + width] * 0.45
    found = find_ink(image)
    assert not found.mask[:, 220:].any()
    assert found.mask[200, 165] == 255


def test_strokes_in_and_out_of_a_shadow() -> None:
    kind = {"shadow": 0.6, "seed": 6}
    check(find_ink(sheet(**kind).image), true_ink(seed=6), recall=0.85, precision=0.85)


@pytest.mark.parametrize("level", [8, 60, 120])
@pytest.mark.parametrize("margin", [60, 250])
def test_a_page_on_a_dark_desk(level: int, margin: int) -> None:
    page = sheet().image
    rng = np.random.default_rng(0)
    desk = cv2.copyMakeBorder(page, *[margin] * 4, cv2.BORDER_CONSTANT, value=level).astype(float)
    image = (desk + rng.normal(0, 3, desk.shape)).clip(0, 255).astype(np.uint8)
    truth = np.pad(true_ink(), margin)
    check(find_ink(image), truth, recall=0.9, precision=0.95)


def test_a_blackboard_on_a_white_wall() -> None:
    board = sheet(dark=True).image
    image = cv2.copyMakeBorder(board, *[150] * 4, cv2.BORDER_CONSTANT, value=235)
    check(find_ink(image), np.pad(true_ink(), 150), recall=0.9, precision=0.95)


# ----------------------------------------------------------------------------------- much, little


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 10_000), (10_000, 1), (300, 200)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_even_image_has_no_ink(shape: tuple[int, int], level: int) -> None:
    found = find_ink(np.full(shape, level, np.uint8))
    for part in (found.ink, found.mask, found.faint):
        assert part.shape == shape
        assert part.dtype == np.uint8
        assert not part.any()


@pytest.mark.parametrize("level", [40, 128, 220])
@pytest.mark.parametrize("noise", [2, 8, 20])
def test_noise_is_no_ink(level: int, noise: float) -> None:
    rng = np.random.default_rng(noise)
    image = (level + rng.normal(0, noise, (400, 500))).clip(0, 255).astype(np.uint8)
    assert (find_ink(image).mask > 0).mean() < 1e-4


def test_faint_pencil() -> None:
    rng = np.random.default_rng(0)
    image = stroke(ground=225, ink=180) + rng.normal(0, 2, (100, 100))
    found = find_ink(image.clip(0, 255).astype(np.uint8))
    check(found, stroke() < 128, recall=0.95, precision=0.95)


@pytest.mark.parametrize("dark", [False, True])
def test_a_thick_marker_that_covers_a_third(dark: bool) -> None:
    image = np.full((60, 50), 240, np.uint8)
    cv2.ellipse(image, (25, 30), (13, 19), 0, 0, 360, 20, 9)
    assert 0.33 < (image == 20).mean() < 0.45
    found = find_ink(255 - image if dark else image)
    check(found, image == 20, recall=0.97, precision=0.97)


def test_a_mostly_dark_crop() -> None:
    image = np.full((60, 60), 200, np.uint8)
    image[:, 20:] = 60  # the edge of a table
    image[20:40, 5:8] = 40
    found = find_ink(image)
    assert found.mask[25:35, 6].all()
    assert not found.mask[:, 12:18].any()


@pytest.mark.parametrize("dark", [False, True])
def test_a_thin_stroke_goes_on_where_it_is_weak(dark: bool) -> None:
    image = np.full((80, 80), 240, np.uint8)
    image[10:60, 30] = 120
    image[26:30, 30] = image[20:30, 60] = 216  # too pale to stand out
    image = (image + np.random.default_rng(0).normal(0, 2, image.shape)).round().astype(np.uint8)
    found = find_ink(255 - image if dark else image)
    assert not found.faint[27:29].any()
    assert found.mask[11:59, 30].all()
    assert not found.mask[:, 50:].any()
    lines = np.zeros_like(image)
    lines[10:26] = 255
    rest = found.without(lines)  # what is weak there may be a line's rim
    assert rest.mask[36:59, 30].all()
    assert not (rest.mask & ~rest.faint).any()


@pytest.mark.parametrize(("strong", "weak", "level"), [(14, 50, 212), (2, 3, 206)])
def test_what_is_weak_beside_little_is_no_ink(strong: int, weak: int, level: int) -> None:
    """Most of it is weak; or what stands out may be a grain of noise."""
    image = np.full((90, 80), 240, np.uint8)
    image[10:70, 60] = 120
    image[10 : 10 + strong, 30] = 120
    image[10 + strong : 10 + strong + weak, 30] = level
    image = (image + np.random.default_rng(0).normal(0, 2, image.shape)).round().astype(np.uint8)
    found = find_ink(image)
    assert found.mask[11 : 9 + strong, 30].all()
    assert not found.mask[12 + strong :, 30].any()  # past the rim


@pytest.mark.parametrize("level", [212, 216, 220, 224])
def test_a_thin_stroke_does_not_go_on_along_a_pale_line(level: int) -> None:
    image = np.full((330, 450), 240, np.uint8)
    image[::20] = image[:, ::20] = level
    for x in range(25, 430, 40):
        image[52:67, x] = 100
    image = (image + np.random.default_rng(1).normal(0, 1.2, image.shape)).round().astype(np.uint8)
    _, stats = components(find_ink(image).mask)
    assert len(stats) - 1 == 11
    assert stats[1:, 2:4].max() < 24


@pytest.mark.parametrize("light", [0.0, 1.0])
def test_trimmed_is_where_anything_stands_out(light: float) -> None:
    found = find_ink(np.pad(sheet(light=light).image, 40, "edge"))
    part, left, top = found.trimmed()
    height, width = part.faint.shape
    place = slice(top, top + height), slice(left, left + width)
    assert height < found.faint.shape[0] - 40
    assert width < found.faint.shape[1] - 40
    assert part.faint.sum(dtype=int) == found.faint.sum(dtype=int) > 0
    for name in ("contrast", "soft", "faint", "mask", "ink"):
        np.testing.assert_array_equal(getattr(part, name), getattr(found, name)[place])
    assert (part.uneven is None) == (found.uneven is None)
    if part.uneven is not None and found.uneven is not None:
        np.testing.assert_array_equal(part.uneven, found.uneven[place])


def test_ink_between_the_rows_that_are_counted_is_left_without_lines() -> None:
    found = find_ink(np.pad(stroke(ink=40), 20, constant_values=255))
    lines = found.faint.copy()
    row = int(np.flatnonzero(found.faint.any(1))[5]) // 3 * 3 + 1
    lines[row : row + 2] = 0
    rest = found.without(lines)
    assert rest.full > rest.ground
    assert rest.mask.any()


def test_trimmed_of_blank_paper_has_no_ink() -> None:
    part, left, top = find_ink(np.full((50, 60), 250, np.uint8)).trimmed()
    assert (left, top) == (0, 0)
    assert part.faint.size
    assert not part.faint.any()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 256))
def test_anything_has_some_ink_or_none(height: int, width: int, seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, levels, (height, width)).astype(np.uint8)
    found = find_ink(image)
    for part in (found.ink, found.mask, found.faint):
        assert part.shape == image.shape
        assert part.dtype == np.uint8
    labels, stats = components(found.mask)  # each stands out somewhere
    assert set(labels[found.faint > 0].tolist()) >= set(range(1, len(stats)))


@pytest.mark.parametrize("turned", [False, True])
def test_one_row_of_pixels_in_two_lights(turned: bool) -> None:
    """Light does not fall from one side to another where there is but one pixel."""
    row = np.full((1, 300), 200, np.uint8)
    row[:, 150:] = 180
    row[:, 40:80] = 60
    mask = find_ink(row.T.copy() if turned else row).mask.ravel()
    assert mask[45:75].all()
    assert not mask[90:140].any()
