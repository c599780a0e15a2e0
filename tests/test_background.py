"""Tests of mnistry.background: the brightness of paper, whatever lies on it and in which light."""

import cv2
import numpy as np
import pytest

from mnistry import background
from mnistry.background import contrast_of, noise
from mnistry.inkmap import find_ink
from mnistry.pen.paper import write_sheet
from mnistry.pixels import histogram_of


@pytest.mark.parametrize("dark", [False, True])
def test_even_paper_is_found_at_once_and_its_ink_is_the_same(
    dark: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_sheet(["3141", "59"], light=0, noise=2, dark=dark, seed=1).image
    at_once = find_ink(image)
    assert at_once.uneven is None
    monkeypatch.setattr(background, "_even_paper", lambda _: None)
    place_by_place = find_ink(image)
    assert place_by_place.uneven is not None
    ink = place_by_place.mask > 0
    assert ((at_once.mask > 0) != ink).sum() < 0.05 * ink.sum()
    assert np.abs(at_once.ink[ink].astype(int) - place_by_place.ink[ink]).mean() < 12


def test_paper_that_is_not_even() -> None:
    sheet = write_sheet(["3141", "59"], light=0, noise=2, seed=1).image
    desk = cv2.copyMakeBorder(sheet, *[80] * 4, cv2.BORDER_CONSTANT, value=110)
    shadow = sheet.copy()
    shadow[:, 120:] = shadow[:, 120:] // 2
    sloping = (sheet * np.linspace(1, 0.7, sheet.shape[1])).astype(np.uint8)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (90, 90), np.uint8)
    for image in (desk, np.invert(desk), shadow, sloping, noise, np.zeros((9, 9), np.uint8)):
        assert contrast_of(image).uneven is not None


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("brightness", [120, 250])
def test_contrast_of_paper_is_the_same_whatever_its_brightness(dark: bool, brightness: int) -> None:
    rng = np.random.default_rng(0)
    image = np.full((80, 80), brightness, float)
    image[20:60, 40:43] = brightness / 10
    image = (image + rng.normal(0, 1, image.shape)).clip(0, 255).round().astype(np.uint8)
    found = contrast_of(np.invert(image) if dark else image)
    assert not found.is_dim
    contrast = found.contrast
    assert np.median(contrast[:20]) == pytest.approx(15, abs=9)
    assert np.median(contrast[20:60, 40:43]) == pytest.approx(231, abs=9)


@pytest.mark.parametrize("slope", [0.5, 0.9])
def test_light_that_slopes_leaves_no_contrast(slope: float) -> None:
    image = write_sheet(["3141", "59"], light=0, noise=0, seed=1).image
    sloping = (image * np.linspace(1, slope, image.shape[1])).round().astype(np.uint8)
    blank = image == image.max()
    assert np.abs(contrast_of(sloping).contrast[blank].astype(int) - 15).mean() < 2


def test_what_is_in_shadow_is_dim() -> None:
    page = write_sheet(["3141", "59"], light=0, noise=2, seed=1).image
    assert not contrast_of(page).is_dim
    for level, is_dim in ((0.4, True), (0.6, True), (0.9, False)):
        shadow = page.copy()
        shadow[page.shape[0] // 2 :] = (shadow[page.shape[0] // 2 :] * level).astype(np.uint8)
        assert contrast_of(shadow).is_dim == is_dim


@pytest.mark.parametrize("level", [60, 110, 150])
def test_a_desk_has_the_contrast_of_paper(level: int) -> None:
    page = write_sheet(["3141", "59"], light=0, noise=2, seed=1).image
    desk = cv2.copyMakeBorder(page, *[80] * 4, cv2.BORDER_CONSTANT, value=level)
    found = contrast_of(desk)
    assert found.sheet is not None
    around = np.ones(desk.shape, bool)
    around[80:-80, 80:-80] = False
    assert not found.sheet[around].any()
    assert (found.contrast[around] == 15).all()
    assert found.sheet[90:-90, 90:-90].all()
    assert not found.is_dim


@pytest.mark.parametrize("sigma", [2.0, 4.0, 9.0])
def test_noise_is_measured_beside_any_ink(sigma: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(20, sigma, (300, 300))
    image[:60] = 200  # much ink
    histogram = histogram_of(image.clip(0, 255).round().astype(np.uint8))
    ground, deviation = noise(histogram, both=False)
    assert ground == pytest.approx(20, abs=2)
    assert deviation == pytest.approx(sigma, rel=0.35)
    assert noise(histogram, both=True)[0] == pytest.approx(20, abs=4)
