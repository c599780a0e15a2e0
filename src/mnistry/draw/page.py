"""A page with a box around each digit that was read on it, and the answer beside the box.

Drawn by Pillow: who only reads digits has no matplotlib.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnistry.draw.canvas import BLUE, VERMILION
from mnistry.draw.raster import save_image, text_font, write_centred
from mnistry.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

_LEGIBLE = 44  # pixels that digits should be high at least; a page of smaller ones is enlarged
_ENLARGED = 6.0  # at most
_PIXELS = 12_000_000  # of the picture, at most
_TAG = 0.36  # the height of an answer's tag by that of a digit

_Box = tuple[float, float, float, float]  # left, top, right, bottom


def draw_page(
    page: NDArray[np.uint8],
    boxes: Sequence[tuple[int, int, int, int]],
    answers: Sequence[str],
    sure: Sequence[bool],
    path: str | Path,
) -> None:
    """Draws a page with what was read on it.

    Each digit stands in a blue box with its answer on a tag; one that is not sure in a broken
    vermilion box. Small writing is enlarged, a page of very many pixels scaled down; where there is
    no room for tags at the top, there is more of the page's ground.

    Args:
        page: (h, w) uint8, 0 black to 255 white.
        boxes: Left, top, width and height of each digit's ink, in pixels of the page.
        answers: What each was read as.
        sure: Whether each is sure.
        path: The PNG file to write.

    Raises:
        UsageError: The numbers of boxes, answers and `sure` differ, or the name does not end in
            .png.
        StorageError: The file cannot be written.
    """
    from PIL import Image, ImageDraw

    if not len(boxes) == len(answers) == len(sure):
        raise UsageError(
            f"boxes, answers and sure have lengths {len(boxes)}, {len(answers)} and {len(sure)}; "
            "expected the same of each"
        )
    height = _usual_height(boxes)
    scale = _scale(page.shape, height)
    picture = Image.fromarray(page)
    if scale != 1:
        width, depth = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, depth), Image.Resampling.LANCZOS)
    height *= scale
    line = max(2, round(height / 36))
    gap = round(height / 14) + line  # between the ink and the box
    tag = max(16, round(_TAG * height))
    highest = min((scale * top for _, top, _, _ in boxes), default=math.inf)
    room = max(0, math.ceil(gap + tag - line - min(highest, gap + tag)))
    frames = []
    for left, top, wide, tall in (tuple(scale * side for side in box) for box in boxes):
        upper = room + top
        frames.append((left - gap, upper - gap, left + wide + gap, upper + tall + gap))
    ground = (int(np.median(page)),) * 3
    drawn = Image.new("RGB", (picture.width, room + picture.height), ground)
    drawn.paste(picture, (0, room))
    pen = ImageDraw.Draw(drawn)
    for frame, is_sure in zip(frames, sure, strict=True):
        if is_sure:
            pen.rectangle(frame, outline=BLUE, width=line)
        else:
            _draw_broken(pen, frame, line)
    for frame, answer, is_sure in zip(frames, answers, sure, strict=True):
        _draw_tag(pen, frame, answer, BLUE if is_sure else VERMILION, tag, line)
    save_image(drawn, path)


def _usual_height(boxes: Sequence[tuple[int, int, int, int]]) -> float:
    longer = sorted(max(wide, tall) for _, _, wide, tall in boxes)
    return float(longer[len(longer) // 2]) if longer else float(_LEGIBLE)


def _scale(shape: Sequence[int], height: float) -> float:
    """What brings digits so high to a legible size, as far as pixels allow; 1 where they are."""
    allowed = math.sqrt(_PIXELS / math.prod(shape))
    return max(min(1.0, allowed), min(_LEGIBLE / height, allowed, _ENLARGED))


def _draw_broken(pen: "ImageDraw", frame: _Box, line: int) -> None:
    """A frame of dashes: each side begins and ends with one."""
    left, top, right, bottom = frame
    for start, end in _dashes(left, right, 4 * line):
        for at in (top, bottom - line + 1):
            pen.rectangle((start, at, end, at + line - 1), fill=VERMILION)
    for start, end in _dashes(top, bottom, 4 * line):
        for at in (left, right - line + 1):
            pen.rectangle((at, start, at + line - 1, end), fill=VERMILION)


def _dashes(start: float, end: float, length: int) -> list[tuple[float, float]]:
    """Where dashes of about a length, and gaps as long, begin and end."""
    count = max(2, round((end - start) / (2 * length) + 0.5))
    own = (end - start) / (2 * count - 1)
    return [(start + 2 * own * i, start + 2 * own * i + own) for i in range(count)]


def _draw_tag(
    pen: "ImageDraw", frame: _Box, answer: str, colour: str, tall: int, line: int
) -> None:
    """An answer on the box's upper edge, at its left end."""
    left, top, _, _ = frame
    font = text_font(0.9 * tall)
    wide = max(0.75 * tall, font.getlength(answer) + 0.36 * tall)
    tag = (left, top + line - tall, left + wide, top + line)
    pen.rectangle(tag, fill=colour)
    write_centred(pen, tag, answer, font, "#ffffff")
