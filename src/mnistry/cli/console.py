"""What the commands share: printing, tables, progress, and one line for an error."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from mnistry.errors import StorageError

if TYPE_CHECKING:
    from mnistry.dataset import DataSplits

_LINES_EVERY = 5.0  # seconds between two lines of progress where there is no terminal

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ReaderFile = Annotated[
    Path | None,
    typer.Option(readable=False, metavar="ONNX", help="Read with another reader's file."),
]
MinConfidence = Annotated[
    float | None,
    typer.Option(min=0, max=1, metavar="X", help="Answer ? where it is less sure than X."),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="mnist, pen, or a path: IDX files, .npz, CSV, or class folders. If left out, mnist "
        "or, where it cannot be reached, pen."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="The folder with the public set's files; else MNISTRY_DATA, else download.",
    ),
]


class OutputClosedError(Exception):
    """Whoever read the standard output has gone, as `head` does when it has seen enough."""


def say(text: str = "") -> None:
    """Prints a result to the standard output."""
    try:
        _write(sys.stdout, text)
    except BrokenPipeError:
        silence(sys.stdout)
        raise OutputClosedError from None
    except OSError as error:
        silence(sys.stdout)
        raise StorageError(
            f"the standard output cannot be written ({error.strerror or error}); free some space, "
            "or send it elsewhere"
        ) from error


def tell(text: str) -> None:
    """Prints what goes beside the result (progress, notices, errors) to the standard error.

    Nothing is lost but the text where that cannot be written: a training goes on without it.
    """
    try:
        _write(sys.stderr, text)
    except OSError:
        silence(sys.stderr)


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # None where the process was started without one
        stream.write(text + "\n")
        stream.flush()


def silence(stream: TextIO | None) -> None:
    """Sends a stream that failed to nowhere, so that what it still holds fails no more."""
    if stream is not None:
        with suppress(OSError, ValueError):  # it has no file behind it, or is closed
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def one_line(text: str) -> str:
    """Text without line breaks, and with what a terminal would obey or not show spelled out."""
    joined = " ".join(text.splitlines())
    return "".join(
        c if c.isprintable() or c == "\u3000" else c.encode("unicode_escape").decode()
        for c in joined
    )


def say_json(content: Any) -> None:
    """Prints a result for a program to read, in one line of ASCII."""
    say(json.dumps(content))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> str:
    """Rows under their heads, in columns of equal width.

    Args:
        head: The names of the columns.
        rows: The cells, as text.
        right: A letter a column, "r" where it is aligned to the right; the others to the left.
    """
    grid = [list(head), *map(list, rows)]
    widths = [max(len(row[i]) for row in grid) for i in range(len(head))]
    sides = right.ljust(len(head), "l")
    lines = [
        "  ".join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in grid
    ]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])


Report = Callable[[int, int], None]
"""Is told how much is done, of how much."""


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Report]:
    """Shows how far something is: a bar in a terminal, a line now and then elsewhere."""
    if quiet:
        yield lambda _done, _total: None
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(what) as report:
            yield report
    else:
        yield _lines(what)


@contextmanager
def _bar(what: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _lines(what: str) -> Report:
    told = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > _LINES_EVERY:
            told = time.monotonic()
            tell(f"{what} {done / max(1, total):.0%}")

    return report


def load(data: str | None, data_dir: Path | None, quiet: bool) -> "DataSplits":
    """Loads a data set, showing the progress; None is MNIST or, where it cannot be reached, pen."""
    from mnistry.dataset import load_dataset, load_mnist_or_pen

    with progress(f"loading {data or 'the data'}", quiet) as report:
        if data is None:
            return load_mnist_or_pen(data_dir, report, tell)
        return load_dataset(data, data_dir, report)


def make_folder(folder: Path, option: str = "--out") -> None:
    """Makes a folder for pictures, where there is none; an error names the option it came from."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"{folder}: cannot be made ({reason}); name another place with {option}"
        ) from error


def epoch_line(record: Mapping[str, float], epochs: int) -> str:
    """One epoch's figures, as Keras shows them."""
    parts = [f"epoch {record['epoch']:.0f}/{epochs}", f"{record['seconds']:6.2f} s"]
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return "  ".join([*parts, *(f"{name} {record[name]:.4f}" for name in names if name in record)])


def percent(share: float) -> str:
    """0.9878 as 98.78%."""
    return f"{share:.2%}"
