"""`mnistry data` and `mnistry cache`: get a data set and look at it, as the tutorials do."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from mnistry.cli.console import DataDir, Json, Quiet, load, say, say_json, table
from mnistry.errors import UsageError

if TYPE_CHECKING:
    from mnistry.dataset import DataSplits


def data(
    name: Annotated[
        str, typer.Argument(help="mnist; pen or pen-others, written here; or a path to your own.")
    ] = "mnist",
    data_dir: DataDir = None,
    index: Annotated[int, typer.Option(min=0, help="Which training image to show as numbers.")] = 0,
    grid: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="N", help="Draw the first N training images with their labels."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(readable=False, help="Where --grid goes; NAME-first-N.png if left out."),
    ] = None,
    prepare: Annotated[
        str | None,
        typer.Option(metavar="PRESET", help="Show how this preset's network is fed, step by step."),
    ] = None,
    train: Annotated[
        int | None,
        typer.Option("--train", metavar="N", help="pen: images to train on; 60,000 if left out."),
    ] = None,
    test: Annotated[
        int | None,
        typer.Option("--test", metavar="N", help="pen: images to test on; 10,000 if left out."),
    ] = None,
    writers: Annotated[
        int | None,
        typer.Option(metavar="N", help="pen: writers of both together; 2,000 if left out."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="pen: decides everything random; 0 if left out.")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            help="pen: us, eu or mixed (if left out): where the writers learned to write."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get a data set, check it, and look at it.

    \b
    mnistry data
    mnistry data --grid 9
    mnistry data --prepare nvidia-mlp
    mnistry data --data-dir ./folder-with-mnist
    mnistry data ./my-digits --grid 40 --out mine.png
    mnistry data pen --train 10000 --writers 300 --style eu --grid 40
    """
    wanted = {"train": train, "test": test, "writers": writers, "seed": seed, "style": style}
    given: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    if given:
        from mnistry.dataset import WRITTEN
        from mnistry.pen import PenSet

        if name not in WRITTEN:
            options = ", ".join(f"--{key}" for key in given)
            known = " or ".join(WRITTEN)
            raise UsageError(f"{options}: goes with {known}, not with {name}; leave it out")
        name = f"{name}:{PenSet(**given)}".rstrip(":")
    splits = load(name, data_dir, quiet)
    _show(splits, index, grid, out, prepare, json)


def _show(
    splits: "DataSplits",
    index: int,
    grid: int | None,
    out: Path | None,
    prepare: str | None,
    json: bool,
) -> None:
    train, test = splits.train, splits.test
    if index >= len(train):
        raise UsageError(f"--index {index}: expected 0 to {len(train) - 1}")
    picture = None
    if grid is not None:
        from mnistry.draw import draw_grid

        if grid > len(train):
            raise UsageError(f"--grid {grid}: expected 1 to {len(train)}")
        picture = out or Path(f"{splits.name or 'data'}-first-{grid}.png")
        names = [train.classes[label] for label in train.labels[:grid]]
        draw_grid(train.images[:grid], names, picture)
    arrays = {
        "x_train": train.images,
        "y_train": train.labels,
        "x_test": test.images,
        "y_test": test.labels,
    }
    counts = {
        part: np.bincount(d.labels, minlength=len(train.classes)).tolist()
        for part, d in (("train", train), ("test", test))
    }
    steps = _steps(prepare, train.images, train.labels, len(train.classes)) if prepare else []
    label = train.classes[train.labels[index]]
    if json:
        say_json(
            {
                "name": splits.name,
                "origin": splits.origin,
                "sha256": splits.sha256,
                "arrays": {name: _describe(array) for name, array in arrays.items()},
                "classes": list(train.classes),
                "count_per_class": counts,
                "index": index,
                "label": label,
                "image": train.images[index].tolist(),
                "prepare": [
                    {"step": step} | _describe(array) | {"values": values.tolist(), "from": start}
                    for step, array, values, start in steps
                ],
                "grid": None if picture is None else str(picture),
            }
        )
        return
    say(f"{splits.name}, from {splits.origin}")
    say(f"SHA-256 {splits.sha256}\n")
    rows = [[name, *_cells(array)] for name, array in arrays.items()]
    say(table(["", "shape", "dtype", "min", "max"], rows, "lllrr"))
    say()
    per_class = zip(train.classes, counts["train"], counts["test"], strict=True)
    rows = [[name, f"{n:,}", f"{m:,}"] for name, n, m in per_class]
    say(table(["class", "train", "test"], rows, "lrr"))
    say(f"\nx_train[{index}], as numbers; its label, y_train[{index}], is {label}:\n")
    _say_numbers(train.images[index])
    for step, array, values, start in steps:
        shape, dtype, low, high = _cells(array)
        where = f"; from pixel {start} on, where the first image's ink begins:" if start else ""
        say(f"\n{step}: shape {shape}, {dtype}, {low} to {high}{where}")
        text = np.array2string(values, max_line_width=78, precision=4, separator=" ")
        say("  " + text.replace("\n", "\n  "))
    if picture:
        say(f"\nDrawn: {picture}")


def _say_numbers(image: np.ndarray[Any, Any]) -> None:
    """Prints an image's pixels; where a terminal is too narrow, those from first ink to last."""
    narrow = shutil.get_terminal_size().columns < 4 * image.shape[1]
    if narrow and sys.stdout is not None and sys.stdout.isatty() and image.any():
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
        image = image[top : bottom + 1, left : right + 1]
        say(f"(rows {top} to {bottom} and columns {left} to {right}: all that is not 0)\n")
    for line in image:
        say("".join(f"{pixel:4d}" for pixel in line))


def _cells(array: np.ndarray[Any, Any]) -> list[str]:
    return [str(array.shape), str(array.dtype), f"{array.min():g}", f"{array.max():g}"]


def _describe(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "min": array.min().item(),
        "max": array.max().item(),
    }


Step = tuple[str, np.ndarray[Any, Any], np.ndarray[Any, Any], int]
"""What was done, the array that it gave, values of its first image or labels, and from where."""


def _steps(
    preset: str, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: int
) -> list[Step]:
    """A preset's preparation, one step after the other."""
    from mnistry.layers import Conv
    from mnistry.prepare import add_channel, flatten, one_hot, scale
    from mnistry.recipe import load_recipe

    recipe = load_recipe(preset)
    is_image = callable(recipe.network) or isinstance(recipe.network[0], Conv)
    shaped = add_channel(images) if is_image else flatten(images)
    scaled = scale(shaped)

    start = int(np.argmax(images[0] > 0))  # where the ink of the first image begins

    def seen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(array[0].reshape(-1)[start : start + 10])

    steps = [
        ("reshaped to one channel" if is_image else "flattened", shaped, seen(shaped), start),
        ("scaled by 255", scaled, seen(scaled), start),
    ]
    if recipe.labels == "one-hot":
        rows = one_hot(labels, classes)
        steps.append(("one-hot labels", rows, rows[:9], 0))
    else:
        steps.append(("labels, as they are (sparse)", labels, labels[:9], 0))
        rows = one_hot(labels[:9], classes)
        steps.append(("the first nine labels one-hot, for comparison", rows, rows, 0))
    return steps


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Delete what is kept.")] = False,
    json: Json = False,
) -> None:
    """Show what is kept of downloads and written sets, and where; or delete it.

    \b
    mnistry cache
    mnistry cache --clear
    """
    from mnistry.sources import cache_dir, cache_entries, clear_cache

    entries = clear_cache() if clear else cache_entries()
    size = sum(entry.size for entry in entries)
    if json:
        kept = [{"path": str(entry.path), "bytes": entry.size} for entry in entries]
        say_json({"folder": str(cache_dir()), "bytes": size, "deleted": clear, "files": kept})
        return
    if entries:
        rows = [[str(e.path.relative_to(cache_dir())), f"{e.size:,}"] for e in entries]
        say(table(["file", "bytes"], rows, "lr"))
        say()
    word = "deleted from" if clear else "kept in"
    say(f"{len(entries)} files, {size / 1e6:.1f} MB, {word} {cache_dir()}")
