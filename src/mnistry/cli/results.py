"""`mnistry evaluate` and `mnistry export`: what a run is good for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistry.cli.console import (
    DataDir,
    Json,
    Quiet,
    load,
    make_folder,
    one_line,
    percent,
    progress,
    say,
    say_json,
    table,
)

if TYPE_CHECKING:
    from mnistry.dataset import DataSplits
    from mnistry.evaluation import Report
    from mnistry.run import Run

RunFolder = Annotated[
    Path, typer.Argument(readable=False, metavar="RUN", help="A run folder: runs/fast-1.")
]


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Option(help="Another data set to score on: its name or path.")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            help="Where the pictures go; the run folder, or for other data one in it, if left out.",
        ),
    ] = None,
    shifts: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Read each image also moved by up to N pixels, 0 to 4, and take the mean; by "
            "default as the run's recipe says.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run on test images, and draw its worst mistakes.

    \b
    mnistry evaluate runs/fast-1
    mnistry evaluate runs/fast-1 --json
    mnistry evaluate runs/fast-1 --shifts 1
    """
    from mnistry.run import load_run

    trained = load_run(run)
    splits = load_test_data(trained, data, data_dir, quiet)
    report = trained.evaluate(splits, shifts=shifts)
    own = splits.sha256 == trained.config["data"]["sha256"]
    pictures = draw_report(report, splits, out or (run if own else run / splits.name))
    if json:
        say_json(report.to_dict() | {"pictures": [str(path) for path in pictures]})
        return
    _say_report(report)
    say("\nDrawn: " + ", ".join(str(path) for path in pictures))


def load_test_data(
    run: "Run", data: str | None, data_dir: Path | None, quiet: bool
) -> "DataSplits":
    """The data asked for, or else what the run was trained on."""
    own = run.config["data"]
    if data is not None:
        return load(data, data_dir, quiet)
    if own["place"] == "mnist":
        return load(None, data_dir or own["data_dir"], quiet)
    with progress("loading its data", quiet) as report:
        return run.load_data(data_dir, report)


def draw_report(report: "Report", splits: "DataSplits", folder: Path) -> list[Path]:
    """Draws the worst mistakes and the confusion; gives the pictures' places."""
    from mnistry.draw import draw_confusion, draw_mistakes

    make_folder(folder)
    mistakes, confusion = folder / "mistakes.png", folder / "confusion.png"
    images, classes = splits.test.images, report.classes
    draw_mistakes(images, report.y_true, report.probabilities, mistakes, classes=classes)
    draw_confusion(report.confusion, classes, confusion)
    return [mistakes, confusion]


def _say_report(report: "Report") -> None:
    from mnistry.shifts import views_of

    low, high = report.interval
    wrong = int((report.y_pred != report.y_true).sum())
    how = f"; each read {views_of(report.shifts)} times, moved about" if report.shifts else ""
    say(f"{report.data}: {len(report.y_true):,} images, {wrong:,} read wrong{how}")
    say(f"accuracy {percent(report.accuracy)} (95% interval {percent(low)} to {percent(high)})")
    say(f"loss     {report.loss:.4f}\n")
    rows = [
        [name, "-" if share != share else percent(share), *(f"{n or '·'}" for n in row)]
        for name, share, row in zip(
            report.classes, report.per_class.tolist(), report.confusion.tolist(), strict=True
        )
    ]
    say("each row a class; how many of it were read as what the column says")
    say(table(["class", "accuracy", *report.classes], rows, "l" + "r" * (len(report.classes) + 1)))


def export(
    run: RunFolder,
    out: Annotated[
        Path,
        typer.Argument(readable=False, metavar="OUT", help="The file to write: fast.onnx."),
    ],
    data: Annotated[
        str | None, typer.Option(help="Another data set to check it on: its name or path.")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a run as an ONNX file, checked on all test images.

    ONNX Runtime reads it on any system, without PyTorch: images as bytes in, probabilities out. All
    else is in the file: the scaling of pixels, the names of the classes, what it was trained on.

    \b
    mnistry export runs/fast-1 fast.onnx
    mnistry export runs/fast-1 fast.onnx --json
    """
    from mnistry.export import TOLERANCE, export_run
    from mnistry.run import load_run

    trained = load_run(run)
    splits = load_test_data(trained, data, data_dir, quiet)
    with progress("checking it on test images", quiet) as report:
        written = export_run(trained, out, splits, progress=report)
    if json:
        say_json(written.to_dict())
        return
    say(f"written: {one_line(str(out))}, {written.size:,} bytes of ONNX")
    say("  images         (n, 28, 28) uint8, 0 ground to 255 ink")
    say(f"  probabilities  (n, {written.classes}) float32")
    say(
        f"checked on {written.images:,} images of {written.data}: "
        f"{written.answers_differ:,} answers differ from the run's own, probabilities by at most "
        f"{written.largest_difference:.1e} ({TOLERANCE:g} is allowed)"
    )
