"""Tests of mnistry.polarity: dark on light or light on dark, and where the sheet is."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mnistry.pen.paper import write_sheet
from mnistry.polarity import ground_of

UInt8s = NDArray[np.uint8]

BOTH = pytest.mark.parametrize("dark", [False, True])


def ground(image: NDArray[np.float64], dark: bool, seed: int) -> tuple[bool, UInt8s | None]:
    """Of an image, or of its negative, with some noise."""
    noisy = image + np.random.default_rng(seed).normal(0, 3, image.shape)
    grey = noisy.clip(0, 255).round().astype(np.uint8)
    return ground_of(np.invert(grey) if dark else grey)


def crop(seed: int, height: int = 100) -> NDArray[np.float64]:
    """One digit, thick, with a few pixels of paper around it."""
    sheet = write_sheet([str(seed % 10)], height, pen="marker", light=0, noise=0, seed=seed)
    x, y, wide, tall = sheet.boxes[0]
    return sheet.image[y - 3 : y + tall + 3, x - 3 : x + wide + 3].astype(float)


def in_light(image: NDArray[np.float64], light: str, seed: int) -> NDArray[np.float64]:
    """The image with light that falls from side to side, or with the edge of a shadow on it."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(image.shape) / np.max(image.shape) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    if light == "slope":
        return image * (0.7 + 0.5 * along)
    return image * (0.55 + 0.45 * (along > rng.uniform(-0.25, 0.25)))


@BOTH
@pytest.mark.parametrize("light", ["slope", "shadow"])
def test_a_thick_digit_in_any_light(light: str, dark: bool) -> None:
    grounds = [ground(in_light(crop(seed), light, seed), dark, seed) for seed in range(40)]
    assert sum(is_dark != dark for is_dark, _ in grounds) <= 1
    assert sum(sheet is not None for _, sheet in grounds) == 0


def on_desk(
    page: NDArray[np.float64], share: float, seed: int, level: float = 60, grain: float = 0
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A page seen from somewhere, so much of the image's sides; and where it is."""
    rng = np.random.default_rng(seed)
    tall, wide = page.shape
    size = round(wide / share), round(tall / share)
    corners = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    seen = corners + (np.array(size) - (wide, tall)) / 2
    seen = (seen + rng.uniform(-0.02, 0.02, seen.shape) * size).astype(np.float32)
    turn = cv2.getPerspectiveTransform(corners, seen)
    is_page = cv2.warpPerspective(np.ones_like(page), turn, size) > 0.5
    stripes = cv2.GaussianBlur(rng.normal(0, 1, size[::-1]), (0, 0), sigmaX=20, sigmaY=1.5)
    desk = level + grain * stripes / stripes.std()
    image = np.where(is_page, cv2.warpPerspective(page, turn, size), desk)
    return image.astype(np.float64), is_page


@BOTH
@pytest.mark.parametrize("grain", [0, 15])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
@pytest.mark.parametrize("rows", [["271828", "182845", "904523", "536028"], []])
def test_a_sheet_on_a_desk(rows: list[str], share: float, grain: float, dark: bool) -> None:
    for seed in range(4):
        page = np.full((250, 400), 230.0)
        if rows:
            page = write_sheet(rows, 40, light=0.2, noise=0, seed=seed).image.astype(float)
        image, is_page = on_desk(page, share, seed, level=[40, 130][seed % 2], grain=grain)
        is_dark, sheet = ground(image, dark, seed)
        assert is_dark == dark
        assert sheet is not None
        assert ((sheet > 0) != is_page).mean() < 0.02


@BOTH
@pytest.mark.parametrize("rows", [["271828", "182845", "904523", "536028"], ["314"]])
@pytest.mark.parametrize("light", ["corners", "lamp", "window"])
def test_light_that_is_brighter_inside(light: str, rows: list[str], dark: bool) -> None:
    """It is no sheet on a desk, and its corners are no ground."""
    page = write_sheet(rows, 40, light=0, noise=0, seed=2).image.astype(float)
    page = cv2.copyMakeBorder(page, *[60] * 4, cv2.BORDER_REPLICATE)
    y, x = np.indices(page.shape) / np.max(page.shape)
    y, x = y - y.mean(), x - x.mean()
    if light == "corners":
        page *= 1 - 1.2 * (x * x + y * y)
    elif light == "lamp":
        page *= 0.6 + 0.4 * np.exp(-20 * ((x - 0.1) ** 2 + y * y))
    else:
        lit = (np.abs(x - 0.02) < 0.25) & (np.abs(y) < 0.2)
        page *= 0.75 + 0.25 * cv2.GaussianBlur(lit.astype(float), (0, 0), 12)
    if dark:
        page = page * 0.9 + 12  # else there is nothing left of some of its ink
    assert ground(page, dark, 0) == (dark, None)


def test_a_dark_box_with_light_print_is_no_slate() -> None:
    page = write_sheet(["271828", "182845"], 60, light=0, noise=0, seed=1).image.astype(float)
    page = cv2.copyMakeBorder(page, 120, 0, 0, 0, cv2.BORDER_REPLICATE)
    for left, right in ((0, page.shape[1]), (12, -12), (20, 220)):
        image = page.copy()
        image[12:90, left:right] = 60
        cv2.putText(image, "INVOICE", (left + 20, 70), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 240, 4)
        assert ground(image, False, 0) == (False, None)


@BOTH
def test_several_sheets_on_a_desk(dark: bool) -> None:
    image = np.full((500, 900), 70.0)
    is_page = np.zeros(image.shape, bool)
    for number, (top, left) in enumerate([(30, 40), (250, 500), (40, 480)]):
        page = write_sheet(["2718", "1828"], 40, light=0, noise=0, seed=number).image
        place = slice(top, top + page.shape[0]), slice(left, left + page.shape[1])
        image[place], is_page[place] = page, True
    is_dark, sheet = ground(image, dark, 0)
    assert is_dark == dark
    assert sheet is not None
    assert ((sheet > 0) != is_page).mean() < 0.02


@BOTH
def test_what_is_no_sheet_on_a_desk(dark: bool) -> None:
    page = write_sheet(["271828", "182845"], 60, light=0, noise=0, seed=1).image.astype(float)
    framed = np.full((200, 160), 240.0)
    cv2.rectangle(framed, (20, 20), (140, 180), 30, 8)
    cv2.putText(framed, "8", (45, 150), cv2.FONT_HERSHEY_SIMPLEX, 4, 30, 24)
    block = cv2.copyMakeBorder(page, 0, 200, 0, 0, cv2.BORDER_REPLICATE)
    cv2.rectangle(block, (60, 270), (260, 380), 20, cv2.FILLED)
    bar = np.full((200, 120), 240.0)
    cv2.rectangle(bar, (45, 15), (75, 185), 30, cv2.FILLED)
    shadow = page.copy()
    shadow[60:, 100:300] *= 0.5
    for image in (framed, block, bar, shadow):
        is_dark, sheet = ground(image, dark, 0)
        assert is_dark == dark
        assert sheet is None


def test_anything_has_a_ground() -> None:
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 300), (300, 1), (2, 2), (40, 500)]:
        for image in (np.zeros(shape), np.full(shape, 255), rng.integers(0, 256, shape)):
            is_dark, sheet = ground_of(image.astype(np.uint8))
            assert is_dark in (False, True)
            assert sheet is None or sheet.shape == shape
