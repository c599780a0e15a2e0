"""What every picture is drawn on: the one style, places in inches, sheets of tiles, the PNG.

matplotlib is imported by the first picture, and through its object API alone: no pyplot, no global
state, so that drawing is safe in a server or beside a user's own figures.
"""

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DependencyError, UsageError
from mnistry.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

DPI = 200

# The two colours that carry meaning are Okabe and Ito's blue and vermilion (2008), which every kind
# of colour vision tells apart. Sizes are in points.
PAPER, TILE = "#fcfcfa", "#ffffff"
INK, MUTED, FAINT, FAINTEST = "#22262b", "#6f767e", "#d9dcdf", "#eceef0"
BLUE, PALE, VERMILION = "#0072b2", "#b9cfdd", "#d55e00"
TITLE, TEXT, SMALL = 12.0, 8.5, 7.5

MARGIN = 0.35
"""Inches of white around what is drawn."""


def new_figure(
    width: float, height: float, title: str | None = None, note: str | None = None
) -> "Figure":
    """Returns a sheet of paper, headed by a title and, below it, a note in smaller print.

    Args:
        width: Inches.
        height: Inches; `heading_height` says how many of them the heading takes.
        title: The heading.
        note: The line below it.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError.missing("matplotlib") from error
    whole = [(round(inches * DPI) + 0.01) / DPI for inches in (width, height)]  # pixels
    figure = Figure(figsize=(whole[0], whole[1]), dpi=DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    top = MARGIN
    for text, size, colour in ((title, TITLE, INK), (note, TEXT, MUTED)):
        if text:
            write(figure, MARGIN, top, text, size=size, colour=colour, room=width - 2 * MARGIN)
            top += 1.75 * size / 72
    return figure


def heading_height(title: str | None, note: str | None) -> float:
    """Returns the inches from the upper edge at which the picture below a heading begins."""
    return MARGIN + (1.75 * TITLE / 72 if title else 0) + (1.75 * TEXT / 72 if note else 0)


def write(
    figure: "Figure",
    left: float,
    top: float,
    text: str,
    *,
    size: float = TEXT,
    colour: str = INK,
    align: str = "left",
    bold: bool = False,
    room: float = math.inf,
) -> None:
    """Writes a line whose upper edge is `top` inches down, smaller or cut where `room` is short."""
    width, height = figure.get_size_inches()
    text = writable(text)
    line = figure.text(
        left / width,
        1 - (top + 0.76 * size / 72) / height,  # the baseline: capitals rise 0.76 of the size
        text,
        fontsize=size,
        color=colour,
        ha=align,
        fontweight="bold" if bold else "normal",
        parse_math=False,
    )
    if math.isinf(room):
        return
    found = line.get_window_extent().width / DPI
    if found > room:
        smaller = max(room / found, 0.75)
        line.set_fontsize(smaller * size)
        text = text[: math.ceil(1.2 * len(text) * room / (found * smaller))]  # cut most at once
    while text and line.get_window_extent().width / DPI > room:
        text = text[:-1]
        line.set_text(text.rstrip() + "…")


def place_axes(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Returns axes at a place in inches from the upper left corner, in the style of all."""
    across, down = figure.get_size_inches()
    axes = figure.add_axes(
        (left / across, 1 - (top + height) / down, width / across, height / down)
    )
    axes.set_facecolor(PAPER)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=FAINT, linewidth=0.8)
    axes.tick_params(color=FAINT, width=0.8, labelcolor=MUTED, labelsize=TEXT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_tick_formatter(axis))
    return axes


def label_axes(axes: "Axes", across: str, up: str) -> None:
    """Names what runs along both axes."""
    axes.set_xlabel(across, fontsize=TEXT, color=MUTED, labelpad=5)
    axes.set_ylabel(up, fontsize=TEXT, color=MUTED, labelpad=5)


def _tick_formatter(axis: "Axis") -> Callable[[float, float], str]:
    """Returns what spells an axis's ticks, each in full: no offset or power beside the axis."""

    def spelled(value: float, _: float) -> str:
        low, high = axis.get_view_interval()
        text = "0" if abs(value) < 1e-9 * abs(high - low) else f"{value:.6g}"
        return text.replace("-", "−")

    return spelled


def number(value: float) -> str:
    """Spells a number with up to four decimals, or four digits where it is very large or small."""
    plain = value == 0 or 1e-3 <= abs(value) < 1e6
    text = f"{value:.4f}".rstrip("0").rstrip(".") if plain else f"{value:.4g}"
    return text.replace("-", "−")


def painted(image: NDArray[np.float64], scale: int) -> NDArray[np.uint8]:
    """Paints an image as ink on paper, each pixel a square of `scale`.

    Args:
        image: (h, w) float 0..1, ink 1.
        scale: Whole pixels.

    Returns:
        (scale h, scale w, 3) uint8.
    """
    paper, ink = _rgb(TILE), _rgb(INK)
    mixed = paper + image[..., None] * (ink - paper)  # (h, w, 3)
    return np.rint(mixed).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)


def place_pixels(figure: "Figure", left: int, top: int, pixels: NDArray[np.uint8]) -> None:
    """Puts pixels on a figure as they are, at a place in pixels from the upper left corner."""
    height = round(figure.get_size_inches()[1] * DPI)
    figure.figimage(pixels, left, height - top - len(pixels), origin="upper")


def framed(pixels: NDArray[np.uint8], colour: str, width: int) -> NDArray[np.uint8]:
    """Returns (h + 2 width, w + 2 width, 3) uint8: the pixels in a frame."""
    high, wide, _ = pixels.shape
    frame = np.empty((high + 2 * width, wide + 2 * width, 3), np.uint8)
    frame[:] = _rgb(colour)
    frame[width:-width, width:-width] = pixels
    return frame


def tile_sheet(
    images: NDArray[np.float64],
    captions: Sequence[str],
    marked: Sequence[bool],
    title: str | None,
    note: str | None,
    *,
    tile: int | None = None,
) -> "Figure":
    """Lays images out as framed tiles, each above its caption.

    Args:
        images: (n, h, w) float 0..1, ink 1.
        captions: n lines.
        marked: n truths: these tiles and their captions are vermilion.
        title: The heading.
        note: The line below it.
        tile: The pixels that a tile may be wide and high; fewer where there are more, unless told.
    """
    n, high, wide = images.shape
    rows, columns = rows_and_columns(n)
    target = tile or (224 if n <= 16 else 140 if n <= 64 else 112)
    scale = max(1, target // max(high, wide))
    size = SMALL if tile or n > 64 else TEXT if n > 16 else TITLE
    gap, caption = round(0.16 * target) + 4, round(size / 72 * DPI)
    across, down = scale * wide + gap, scale * high + caption + round(0.1 * target) + 18
    margin, top = round(MARGIN * DPI), round((heading_height(title, note) + 0.12) * DPI)
    letters = max(0.098 * len(title or ""), 0.068 * len(note or ""))  # inches, about
    width = 2 * margin + max(columns * across - gap, round(min(letters, 6) * DPI))
    height = top + rows * down - round(0.1 * target) + margin - 6
    figure = new_figure(width / DPI, height / DPI, title, note)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        x, y = margin + column * across, top + row * down
        edge, colour = (4, VERMILION) if marked[i] else (1, FAINT)
        pixels = framed(painted(image, scale), colour, edge)
        place_pixels(figure, x - edge, y - edge, pixels)
        write(
            figure,
            (x + scale * wide / 2) / DPI,
            (y + scale * high + 12) / DPI,
            captions[i],
            size=size,
            colour=VERMILION if marked[i] else INK,
            align="center",
            bold=marked[i],
            room=(across - 8) / DPI,
        )
    return figure


def rows_and_columns(n: int) -> tuple[int, int]:
    """Returns the rows and columns that hold n tiles: few empty, at most 2.5 times as wide as high.

    >>> [rows_and_columns(n) for n in (1, 2, 9, 10, 40, 100)]
    [(1, 1), (1, 2), (3, 3), (2, 5), (5, 8), (10, 10)]
    """
    squarest = math.isqrt(n)
    shapes = [(rows, math.ceil(n / rows)) for rows in range(1, squarest + 1)]
    fitting = [shape for shape in shapes if shape[1] <= 2.5 * shape[0]] or [shapes[-1]]
    return min(fitting, key=lambda shape: (math.prod(shape) - n, shape[1]))


def save_png(figure: "Figure", path: str | Path) -> None:
    """Writes a figure to a PNG file, whole or not at all.

    Raises:
        UsageError: The name does not end in .png.
        StorageError: The file cannot be written.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    write_png(picture.getvalue(), path)


def write_png(data: bytes, path: str | Path) -> None:
    """Writes the bytes of a PNG file, whole or not at all.

    Raises:
        UsageError: The name does not end in .png.
        StorageError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: expected a name that ends in .png")
    write_file(path, data)


def texts(name: str, values: Sequence[object] | NDArray[Any], n: int) -> list[str]:
    """Returns the text of each value, n in all."""
    if len(values) != n:
        raise UsageError(f"{name} has length {len(values)}; expected {n}")
    return [writable(str(value)) for value in values]


def writable(text: str) -> str:
    """Returns the text with "\ufffd" for what the font lacks, of which matplotlib would warn."""
    try:
        from matplotlib.font_manager import findfont, get_font
    except ImportError as error:
        raise DependencyError.missing("matplotlib") from error
    font = get_font(findfont("DejaVu Sans"))
    return "".join(c if font.get_char_index(ord(c)) else "\ufffd" for c in text)


def _rgb(colour: str) -> NDArray[np.float64]:
    """Returns (3,) float64 0..255 of "#rrggbb"."""
    return np.array(list(bytes.fromhex(colour[1:])), dtype=np.float64)
