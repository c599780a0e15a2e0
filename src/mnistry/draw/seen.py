"""What a network saw: a sheet of the 28 x 28 images, each above its answer.

Drawn by Pillow: who only reads digits has no matplotlib.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnistry.draw.canvas import FAINT, INK, MUTED, PAPER, VERMILION, framed, painted
from mnistry.draw.raster import plain, save_image, text_font
from mnistry.errors import UsageError

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_SCALE = 3  # pixels of the sheet for one of an image
_SIDE = 28 * _SCALE
_GAP = 22  # between tiles
_ACROSS, _DOWN = _SIDE + _GAP, _SIDE + 72  # from tile to tile
_COLUMNS, _FEWEST_COLUMNS = 12, 4
_MARGIN, _HEADING, _NAME_ROOM = 48, 38, 18
_HEADING_SIZE, _ANSWER_SIZE, _SMALL_SIZE = 20, 26, 14


@dataclass(frozen=True, eq=False)
class Tile:
    """One image and what it was read as.

    Attributes:
        image: (28, 28) uint8, 0 ground to 255 ink.
        answer: What it was read as.
        note: A short text below, in smaller print: how sure that is.
        is_sure: Else it is marked.
    """

    image: NDArray[np.uint8]
    answer: str
    note: str
    is_sure: bool


@dataclass(frozen=True, eq=False)
class Group:
    """What was seen on one image, line by line."""

    name: str
    lines: Sequence[Sequence[Tile]]


@dataclass(frozen=True, eq=False)
class _Row:
    """Tiles side by side, all below a heading or each above its name; or a heading alone."""

    tiles: Sequence[Tile] = ()
    heading: str = ""
    names: Sequence[str] = ()

    @property
    def top(self) -> int:
        """Where its tiles begin."""
        return _HEADING * bool(self.heading)

    @property
    def height(self) -> int:
        return self.top + _DOWN * bool(self.tiles) + _NAME_ROOM * bool(self.names)


def draw_seen(groups: Sequence[Group], path: str | Path) -> None:
    """Draws what a network saw of some images.

    An image with several digits has a heading of its own; images of one digit each stand side by
    side above their names.

    Args:
        groups: Of each image what was seen on it, at least one group; no lines where nothing was.
        path: The PNG file to write.

    Raises:
        UsageError: There are no groups, or the name does not end in .png.
        StorageError: The file cannot be written.
    """
    from PIL import Image, ImageDraw

    if not groups:
        raise UsageError("groups: are none; expected at least one")
    rows = list(_rows(groups))
    columns = max([_FEWEST_COLUMNS, *(len(row.tiles) for row in rows)])
    width = columns * _ACROSS - _GAP + 2 * _MARGIN
    sheet = Image.new("RGB", (width, sum(row.height for row in rows) + 2 * _MARGIN), PAPER)
    pen = ImageDraw.Draw(sheet)
    y = _MARGIN
    for row in rows:
        heading = _fitting(row.heading, text_font(_HEADING_SIZE), width - 2 * _MARGIN)
        pen.text((_MARGIN, y), heading, INK, text_font(_HEADING_SIZE))
        for column, tile in enumerate(row.tiles):
            x, top = _MARGIN + column * _ACROSS, y + row.top
            edge, colour = (1, FAINT) if tile.is_sure else (4, VERMILION)
            pixels = framed(painted(tile.image / 255, _SCALE), colour, edge)
            sheet.paste(Image.fromarray(pixels), (x - edge, top - edge))
            _write_below(pen, tile, row.names[column] if row.names else "", x, top + _SIDE)
        y += row.height
    save_image(sheet, path)


def _rows(groups: Sequence[Group]) -> Iterator[_Row]:
    singles: list[Group] = []
    for group in (*groups, None):  # None ends the last row
        is_single = group is not None and [len(line) for line in group.lines] == [1]
        if singles and (not is_single or len(singles) == _COLUMNS):
            tiles = [single.lines[0][0] for single in singles]
            yield _Row(tiles, names=[os.path.basename(single.name) for single in singles])
            singles = []
        if group is None:
            return
        if is_single:
            singles.append(group)
            continue
        heading = group.name if group.lines else f"{group.name}: no digits found"
        if not group.lines:
            yield _Row(heading=heading)
        for line in group.lines:
            for start in range(0, len(line), _COLUMNS):
                yield _Row(line[start : start + _COLUMNS], heading)
                heading = ""


def _write_below(pen: "ImageDraw", tile: Tile, name: str, x: int, y: int) -> None:
    """A tile's answer, how sure it is, and its image's name."""
    colour = INK if tile.is_sure else VERMILION
    middle = x + _SIDE / 2
    answer = _fitting(tile.answer, text_font(_ANSWER_SIZE), _SIDE)
    pen.text((middle, y + 28), answer, colour, text_font(_ANSWER_SIZE), anchor="ms")
    pen.text((middle, y + 46), plain(tile.note), MUTED, text_font(_SMALL_SIZE), anchor="ms")
    name = _fitting(name, text_font(_SMALL_SIZE), _ACROSS - 6)
    pen.text((middle, y + 66), name, MUTED, text_font(_SMALL_SIZE), anchor="ms")


def _fitting(text: str, font: "FreeTypeFont", room: float) -> str:
    """The text, or as much of its end as there is room for: names differ there."""
    text = shown = plain(text)
    while text and font.getlength(shown) > room:
        text = text[1:]
        shown = "…" + text
    return shown
