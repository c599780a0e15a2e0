"""Tests of mnistry.dither: images of black and white alone that stand for grey ones."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mnistry.dither import undithered
from mnistry.page import find_rows
from mnistry.pen.paper import write_sheet


@pytest.mark.parametrize("white", [200, 243, 250])
@pytest.mark.parametrize("height", [30, 60])
def test_digits_on_dithered_paper(white: int, height: int) -> None:
    rows = ["31415926", "53589793"] * 2
    sheet = write_sheet(rows, height, light=0, noise=0, seed=white)
    grey = (sheet.image * (white / sheet.image.max())).astype(np.uint8)
    dots = np.asarray(Image.fromarray(grey).convert("1")).astype(np.uint8) * np.uint8(255)
    smooth = undithered(dots)
    assert np.abs(smooth.astype(float) - grey).mean() < 20
    boxes = [piece.box for row in find_rows(dots) for piece in row]
    found = sheet.match(boxes)
    assert len(boxes) <= len(sheet.labels) + 1
    assert (found >= 0).sum() >= 0.95 * len(sheet.labels)


def test_what_is_not_dithered_stays_as_it_is() -> None:
    grey = write_sheet(["3141", "59"], seed=1).image
    ink = np.where(grey > 150, 255, 0).astype(np.uint8)
    hairs = np.full((200, 200), 255, np.uint8)
    for start in range(0, 180, 30):  # one pixel wide: each of theirs is one alone
        cv2.line(hairs, (start, 10), (start + 20, 90), 0, 1, cv2.LINE_8)
        cv2.line(hairs, (start, 110), (start + 60, 170), 0, 1, cv2.LINE_8)
    small = np.indices((20, 20)).sum(0).astype(np.uint8) % 2 * np.uint8(255)
    blank = np.zeros((500, 500), np.uint8)
    for image in (grey, ink, np.invert(ink), hairs, small, blank, blank[:1, :1]):
        assert undithered(image) is image
