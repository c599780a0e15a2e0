"""What pictures that Pillow draws share: the font, text in its place, the PNG."""

import functools
import io
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from mnistry.draw.canvas import write_png

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

CAPITAL = 0.7
"""The height of the font's capitals and digits by its size."""


@functools.cache
def text_font(size: float) -> "FreeTypeFont":
    """Returns Pillow's own font, so many pixels large. It has ASCII, and "…"."""
    from PIL import ImageFont

    return ImageFont.load_default(max(6, round(size)))  # type: ignore[return-value]


def plain(text: str) -> str:
    """Returns the text without accents, and "?" for what the font lacks.

    >>> plain("é→")
    'e?'
    """
    letters = (c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c == "…" else "?" for c in letters)


def write_centred(
    pen: "ImageDraw",
    box: tuple[float, float, float, float],
    text: str,
    font: "FreeTypeFont",
    colour: str,
) -> None:
    """Writes digits or capitals into the middle of a box: left, top, right and bottom."""
    left, top, right, bottom = box
    baseline = (top + bottom) / 2 + CAPITAL * font.size / 2
    pen.text(((left + right) / 2, baseline), plain(text), font=font, fill=colour, anchor="ms")


def save_image(image: "Image", path: str | Path) -> None:
    """Writes an image to a PNG file, whole or not at all.

    Raises:
        UsageError: The name does not end in .png.
        StorageError: The file cannot be written.
    """
    content = io.BytesIO()
    image.save(content, format="PNG", compress_level=4)  # half the time, a tenth larger
    write_png(content.getvalue(), path)
