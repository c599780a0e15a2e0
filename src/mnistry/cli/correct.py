"""`mnistry correct`: how well one's own handwriting is read, and a reader adapted to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistry.cli.console import (
    Json,
    MinConfidence,
    Quiet,
    ReaderFile,
    make_folder,
    one_line,
    percent,
    progress,
    say,
    say_json,
    table,
    tell,
)
from mnistry.errors import DataError, UsageError

if TYPE_CHECKING:
    from mnistry.adaptation import Adaptation
    from mnistry.correction import Correction
    from mnistry.reader import Digit

_MOST = 20  # mistakes in the table; the picture has all


def correct(
    labels: Annotated[
        Path,
        typer.Argument(
            readable=False,
            metavar="LABELS",
            help="A folder with a folder for each digit, or a CSV: image, digits.",
        ),
    ],
    reader: ReaderFile = None,
    min_confidence: MinConfidence = None,
    out: Annotated[
        Path, typer.Option(readable=False, help="The folder for the picture of the mistakes.")
    ] = Path("."),
    adapt: Annotated[
        Path | None,
        typer.Option(
            readable=False, metavar="ONNX", help="Write a reader that has learnt this handwriting."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what the right answers were: how well is your handwriting read?

    LABELS is a folder with a folder for each digit (scans/5/*.png), or a CSV file with an image and
    its digits in each row (a.png,5989). With --adapt the reader is taught your handwriting, and
    what that gains is measured on images that were kept out. An image is right where all its
    digits are; one that cannot be read is reported, and the exit code is then 3.

    \b
    mnistry correct scans
    mnistry correct labels.csv --adapt mine.onnx
    mnistry predict new.png --reader mine.onnx
    """
    from mnistry.correction import correct as read_all
    from mnistry.correction import passed_over, read_labels
    from mnistry.reader import Reader

    if reader and adapt:
        raise UsageError(
            "--reader and --adapt: are given both, expected one of them: what is adapted is the "
            "reader that comes with Mnistry"
        )
    labelled = read_labels(labels)
    if others := passed_over(labels):
        tell(
            f"mnistry: passed over: {len(others):,} in no folder named by its digit, 0 to 9, as "
            f"{one_line(str(others[0]))}"
        )
    if adapt:  # what cannot be is said before all is read
        from mnistry.adaptation import check_adaptable

        check_adaptable(sum(len(each.digits) for each in labelled), adapt)
    network = Reader(reader, min_confidence=min_confidence)
    with progress("reading", quiet) as report:
        found = read_all(network, labelled, report)
    picture = _draw_mistakes(found, out)
    if not json:
        _say_all(found)
        if picture:
            say(f"\nDrawn: {one_line(str(picture))}")
    for error in found.unread:
        tell(one_line(f"mnistry: {error}"))
    adapted = None if adapt is None else _adapt(found, adapt, network.min_confidence, quiet)
    if json:
        record = found.to_dict() | {"picture": None if picture is None else str(picture)}
        say_json(record | {"adapted": None if adapted is None else _record(adapted)})
    elif adapted:
        say(
            f"\nadapted to {adapted.examples:,} digits: {percent(adapted.before)} of them read "
            f"right before, {percent(adapted.after)} after, each by a reader that had not seen it\n"
            f"written: {one_line(str(adapted.path))}; use it with: "
            f"mnistry predict IMAGE --reader {one_line(str(adapted.path))}"
        )
    if found.unread:
        raise typer.Exit(DataError.exit_code)


def _say_all(found: "Correction") -> None:
    low, high = found.interval
    mistakes = found.mistakes
    images = "1 image" if len(found.answers) == 1 else f"{len(found.answers):,} images"
    say(f"{images}, {len(mistakes):,} not read right")
    say(
        f"accuracy {percent(found.accuracy)} of the images (95% interval {percent(low)} to "
        f"{percent(high)})"
    )
    say(f"not sure {percent(found.unsure)}")
    right, count = found.digits
    if count > len(found.answers):
        besides = f", {found.invented:,} where there is none" if found.invented else ""
        say(f"digits {right:,} of {count:,} read right ({percent(right / count)}){besides}")
    if mistakes:
        rows = [
            [one_line(str(a.labelled.path)), a.labelled.digits, a.text or "nothing"]
            for a in mistakes[:_MOST]
        ]
        more = len(mistakes) - _MOST
        say("\n" + table(["image", "label", "read"], rows))
        if more > 0:
            say(f"and {more:,} more")


def _draw_mistakes(found: "Correction", folder: Path) -> Path | None:
    """Draws what was not read right, each above what it is and what it was read as."""
    from mnistry.draw.seen import Group, Tile, draw_seen

    groups = []
    for answer in found.mistakes:
        pairs = answer.aligned()
        missed = ", ".join(label for digit, label in pairs if digit is None)
        tiles = [
            Tile(digit.image, str(digit), _note(digit, label), digit.label is not None)
            for digit, label in pairs
            if digit and (missed or str(digit) != label)  # all, to see between which it was missed
        ]
        name = str(answer.labelled.path)
        if tiles and missed:
            name = f"{name}: {missed} not found"
        groups.append(Group(name, [tiles] if tiles else []))
    if not groups:
        return None
    make_folder(folder)
    picture, number = folder / "mistakes.png", 1
    while picture.exists():
        number += 1
        picture = folder / f"mistakes-{number}.png"
    draw_seen(groups, picture)
    return picture


def _note(digit: "Digit", label: str) -> str:
    """What a digit is, where that is not what it was read as."""
    if str(digit) == label:
        return ""
    return f"is {label}" if label else "is none"


def _adapt(found: "Correction", path: Path, least: float, quiet: bool) -> "Adaptation":
    from mnistry.adaptation import adapt
    from mnistry.trainer import Progress

    images, labels, whence = found.examples()
    with progress("adapting", quiet) as report:

        def tell(number: int, count: int, told: Progress) -> None:
            done = (told.epoch - 1) * told.total + told.done
            report(number * told.epochs * told.total + done, count * told.epochs * told.total)

        return adapt(images, labels, path, whence, least, progress=tell)


def _record(adapted: "Adaptation") -> dict[str, Any]:
    return vars(adapted) | {"path": str(adapted.path)}
