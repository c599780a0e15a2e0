"""Pictures of digits: a grid, the worst mistakes, a prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.draw import canvas
from mnistry.draw.canvas import (
    BLUE,
    DPI,
    FAINT,
    FAINTEST,
    INK,
    MARGIN,
    MUTED,
    PALE,
    TEXT,
    VERMILION,
)
from mnistry.errors import UsageError

MOST_IMAGES = 1000
"""A grid holds at most this many images."""

MISTAKE, LETTER = 252, 11.5
"""The pixels of a mistake's tile, wide enough for "true 4 · read 9 (100%)", and of a letter."""


def draw_grid(
    images: ArrayLike,
    labels: Sequence[object] | NDArray[Any],
    path: str | Path,
    predictions: Sequence[object] | NDArray[Any] | None = None,
    title: str | None = None,
) -> None:
    """Draws images in a grid, each above its label.

    With predictions, an image that was read wrong stands in a vermilion frame, above
    "label → prediction".

    Args:
        images: (n, h, w) uint8 0..255 or float 0..1, 1 to 1000 of them.
        labels: n labels, anything that has a text.
        path: The PNG file to write.
        predictions: n labels predicted, of the same kind as `labels`.
        title: The line above.

    Raises:
        UsageError: A shape, length or range does not fit, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    stack = _images(images)
    names = canvas.texts("labels", labels, len(stack))
    guesses = names if predictions is None else canvas.texts("predictions", predictions, len(stack))
    wrong = [name != guess for name, guess in zip(names, guesses, strict=True)]
    captions = [
        f"{name} → {guess}" if bad else name
        for name, guess, bad in zip(names, guesses, wrong, strict=True)
    ]
    note = None
    if predictions is not None:
        right = len(stack) - sum(wrong)
        note = f"{right} of {len(stack)} read right" + (
            "; label → prediction where not" if any(wrong) else ""
        )
    canvas.save_png(canvas.tile_sheet(stack, captions, wrong, title, note), path)


def draw_mistakes(
    images: ArrayLike,
    y_true: ArrayLike,
    probabilities: ArrayLike,
    path: str | Path,
    most: int = 40,
    classes: Sequence[object] | None = None,
) -> None:
    """Draws the worst mistakes: the images read wrong, least probability for the truth first.

    Args:
        images: (n, h, w) uint8 0..255 or float 0..1.
        y_true: (n,) whole numbers in 0..k-1: the labels.
        probabilities: (n, k) floats in 0..1; the largest of a row is what was read.
        path: The PNG file to write.
        most: How many to draw at most, 1 to 1000. Where there are none, the picture says so.
        classes: The k classes, anything that has a text; 0..k-1 unless given.

    Raises:
        UsageError: A shape, length or range does not fit, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    stack, true, table = np.asarray(images), np.asarray(y_true), np.asarray(probabilities)
    n = len(true) if true.ndim else 0
    if (
        not n
        or true.ndim != 1
        or stack.ndim != 3
        or table.ndim != 2
        or {len(stack), len(table)} != {n}
    ):
        raise UsageError(
            f"images, y_true and probabilities have shapes {stack.shape}, {true.shape} and "
            f"{table.shape}; expected (n, height, width), (n,) and (n, k), n at least 1"
        )
    if not np.issubdtype(true.dtype, np.integer) or true.min() < 0 or true.max() >= table.shape[1]:
        raise UsageError(
            f"y_true has dtype {true.dtype} and values {true.min()}..{true.max()}; "
            f"expected whole numbers in 0..{table.shape[1] - 1}"
        )
    if not 1 <= most <= MOST_IMAGES:
        raise UsageError(f"most is {most}; expected 1 to {MOST_IMAGES}")

    k = table.shape[1]
    names = canvas.texts("classes", range(k) if classes is None else classes, k)
    read = table.argmax(axis=1)
    mistakes = np.flatnonzero(read != true)
    order = np.argsort(table[mistakes, true[mistakes]], kind="stable")
    worst = mistakes[order][:most]
    if not len(worst):
        note = f"every one of {n:,} images was read right" if n > 1 else "the image was read right"
        canvas.save_png(canvas.new_figure(4.0, 1.2, "No mistakes", note), path)
        return
    captions = [
        f"true {names[true[i]]} · read {names[read[i]]} ({table[i, read[i]]:.0%})" for i in worst
    ]
    title = "The worst mistakes" if len(worst) > 1 else "The worst mistake"
    share = f"{len(worst)} of {len(mistakes):,}" if len(worst) < len(mistakes) else f"{len(worst)}"
    note = f"{share} among {n:,} images, least probability for the true class first"
    tile = max(MISTAKE, min(448, round(LETTER * max(map(len, captions)))))
    sheet = canvas.tile_sheet(
        _images(stack[worst]), captions, [False] * len(worst), title, note, tile=tile
    )
    canvas.save_png(sheet, path)


def draw_prediction(
    image: ArrayLike,
    probabilities: ArrayLike,
    path: str | Path,
    label: object = None,
    title: str | None = None,
    classes: Sequence[object] | None = None,
) -> None:
    """Draws an image beside a bar for each class's probability, the largest one in colour.

    Args:
        image: (h, w) uint8 0..255 or float 0..1.
        probabilities: (k,) floats in 0..1.
        path: The PNG file to write.
        label: The true class, one of `classes`, where it is known; one that was missed is marked.
        title: The line above.
        classes: The k classes, anything that has a text; 0..k-1 unless given.

    Raises:
        UsageError: A shape, length or range does not fit, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    stack = _images(np.asarray(image)[None])
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.all((values >= 0) & (values <= 1 + 1e-5)):
        raise UsageError(
            f"probabilities has shape {values.shape}; expected (k,) numbers in 0..1 (after softmax)"
        )
    k, read = len(values), int(values.argmax())
    names = canvas.texts("classes", range(k) if classes is None else classes, k)
    if label is not None and str(label) not in names:
        raise UsageError(f"label is {label}; expected one of the classes {', '.join(names)}")
    true = None if label is None else names.index(str(label))
    heading = f"Read as {names[read]}" + (f": {title}" if title else "")
    known = "" if true is None else ", as labelled" if true == read else f", labelled {label}"
    note = f"{values[read]:.1%} probability{known}"

    high, wide = stack.shape[1:]
    scale = max(1, 448 // max(high, wide))  # 28 pixels become 2.24 inches
    pixels = canvas.framed(canvas.painted(stack[0], scale), FAINT, 1)
    top = canvas.heading_height(heading, note) + 0.15
    across, down = scale * wide / DPI, max(scale * high / DPI, 0.2 * k)
    left, bars = MARGIN + across + 0.52 + 0.068 * max(map(len, names)), 3.1  # inches
    width = left + 1.2 * bars + MARGIN
    figure = canvas.new_figure(width, top + down + MARGIN, heading, note)
    canvas.place_pixels(figure, round(MARGIN * DPI), round(top * DPI), pixels)
    axes = canvas.place_axes(figure, left, top, bars, down)
    colours = [BLUE if i == read else VERMILION if i == true else PALE for i in range(k)]
    axes.barh(range(k), 1.0, height=0.5, color=FAINTEST)
    axes.barh(range(k), values, height=0.5, color=colours)
    axes.set(xlim=(0, 1), ylim=(k - 0.5, -0.5), xticks=[])
    axes.set_yticks(range(k), names, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="y", length=0, pad=6)
    for i, (value, tick) in enumerate(zip(values, axes.get_yticklabels(), strict=True)):
        strong = i in (read, true)
        weight = "bold" if strong else "normal"
        tick.set(color=INK if strong else MUTED, fontweight=weight)
        axes.text(
            1.2, i, f"{value:.1%}", ha="right", va="center_baseline", fontsize=TEXT,
            color=colours[i] if strong else MUTED, fontweight=weight,
        )  # fmt: skip
    canvas.save_png(figure, path)


def _images(images: ArrayLike) -> NDArray[np.float64]:
    """Returns (n, h, w) float64 in 0..1 of uint8 0..255 or float 0..1."""
    stack = np.asarray(images)
    if stack.ndim != 3 or not stack.size or len(stack) > MOST_IMAGES:
        raise UsageError(
            f"images has shape {stack.shape}; "
            f"expected (n, height, width), n from 1 to {MOST_IMAGES}"
        )
    if stack.dtype == np.uint8:
        return stack / 255
    if not np.issubdtype(stack.dtype, np.floating) or not np.all((stack >= 0) & (stack <= 1)):
        raise UsageError(
            f"images has dtype {stack.dtype} and values {stack.min():g}..{stack.max():g}; "
            "expected uint8 0..255 or float 0..1"
        )
    return stack.astype(np.float64)
