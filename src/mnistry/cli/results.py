"""`mnistry evaluate`, `mnistry predict` and `mnistry export`: what a run is good for."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    tell,
)
from mnistry.errors import DataError, UsageError

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
        int,
        typer.Option(
            metavar="N",
            help="Read each image also moved by up to N pixels, 0 to 4, and take the mean.",
        ),
    ] = 0,
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
    splits = _test_data(trained, data, data_dir, quiet)
    report = trained.evaluate(splits, shifts=shifts)
    own = splits.sha256 == trained.config["data"]["sha256"]
    pictures = draw_report(report, splits, out or (run if own else run / splits.name))
    if json:
        say_json(report.to_dict() | {"pictures": [str(path) for path in pictures]})
        return
    _say_report(report)
    say("\nDrawn: " + ", ".join(str(path) for path in pictures))


def _test_data(run: "Run", data: str | None, data_dir: Path | None, quiet: bool) -> "DataSplits":
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
    low, high = report.interval
    wrong = int((report.y_pred != report.y_true).sum())
    say(f"{report.data}: {len(report.y_true):,} images, {wrong:,} read wrong")
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


def predict(
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            readable=False,
            metavar="IMAGE",
            help="Image files: one digit each, 28 x 28 pixels, grey.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            readable=False, metavar="RUN", help="The run folder to predict with. Required."
        ),
    ] = None,
    index: Annotated[
        list[int] | None,
        typer.Option(min=0, metavar="N", help="Predict image N of the run's test set, too."),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw each with its prediction.")] = False,
    out: Annotated[
        Path, typer.Option(readable=False, help="The folder for what --draw draws.")
    ] = Path("."),
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what digit an image shows, with the probability of each.

    Either polarity will do: dark on light, or light on dark as MNIST is. With --json, each image's
    answer is a line of its own.

    \b
    mnistry predict seven.png --run runs/fast-1 --draw
    mnistry predict --index 0 --index 1 --run runs/fast-1
    """
    if run is None:
        raise UsageError("--run is missing: name the run folder to predict with, runs/fast-1")
    if not images and not index:
        raise UsageError("there is nothing to predict: name image files, or --index N")
    from mnistry.picture import read_digit
    from mnistry.run import load_run

    trained = load_run(run)
    folder = out if draw else None
    tested = _tested(trained, index or [], data_dir, quiet)
    failed = False
    drawn: set[Path] = set()
    for file in images or []:
        try:
            image = read_digit(file)
            if image.min() == image.max():
                raise DataError(f"{file}: is empty, all of one grey; expected a digit")
        except DataError as error:
            failed = True
            if json:
                say_json({"image": str(file), "error": str(error)})
            else:
                tell(one_line(f"mnistry: {error}"))
        else:
            picture = _picture(folder, file.stem, drawn)
            _predict_one(trained, str(file), image, None, picture, json)
    for name, image, label in tested:
        picture = _picture(folder, name.replace(" ", "-"), drawn)
        _predict_one(trained, name, image, label, picture, json)
    if failed:
        raise typer.Exit(DataError.exit_code)


def _tested(
    run: "Run", indices: list[int], data_dir: Path | None, quiet: bool
) -> Iterator[tuple[str, Any, str]]:
    """Test images by their numbers: each one's name, pixels and label."""
    if not indices:
        return iter(())
    splits = _test_data(run, None, data_dir, quiet)
    test = splits.test
    for index in indices:
        if index >= len(test):
            raise UsageError(f"--index {index}: expected 0 to {len(test) - 1}")
    return (
        (f"{splits.name} test {i}", test.images[i], test.classes[test.labels[i]]) for i in indices
    )


def _picture(folder: Path | None, stem: str, drawn: set[Path]) -> Path | None:
    """Where an image's picture goes, if anywhere: no two of one call to the same place."""
    if folder is None:
        return None
    make_folder(folder)
    path, number = folder / f"{stem}-prediction.png", 1
    while path in drawn:
        number += 1
        path = folder / f"{stem}-prediction-{number}.png"
    drawn.add(path)
    return path


def _predict_one(
    run: "Run", name: str, image: Any, label: str | None, picture: Path | None, json: bool
) -> None:
    probabilities = run.predict(image)[0]
    answer = run.classes[int(probabilities.argmax())]
    if picture is not None:
        from mnistry.draw import draw_prediction

        title, classes = one_line(name), run.classes
        draw_prediction(image, probabilities, picture, label=label, title=title, classes=classes)
    if json:
        values = probabilities.tolist()  # in the order of the classes
        record = {"image": name, "label": answer, "probabilities": values, "true_label": label}
        say_json(record | {"picture": None if picture is None else str(picture)})
        return
    truth = "" if label is None else f" (labelled {label})"
    say(f"{one_line(name)}: {answer}{truth}")
    shares = [f"{c}: {p:.1%}" for c, p in zip(run.classes, probabilities, strict=True)]
    for start in range(0, len(shares), 5):
        say("  " + "  ".join(f"{share:>9}" for share in shares[start : start + 5]))
    if picture:
        say(f"  drawn: {one_line(str(picture))}")


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
    splits = _test_data(trained, data, data_dir, quiet)
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
