"""`mnistry train`, `evaluate`, `predict` and `demo`: from a preset to a prediction."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistry.cli.console import (
    Data,
    DataDir,
    Json,
    Quiet,
    epoch_line,
    load,
    percent,
    progress,
    say,
    say_json,
    table,
    tell,
)
from mnistry.cli.look import describe_network, parse_settings
from mnistry.errors import DataError, MnistryError, UsageError

if TYPE_CHECKING:
    from mnistry.dataset import DataSplits
    from mnistry.evaluation import Report
    from mnistry.run import Run
    from mnistry.training import Progress

DEFAULT_PRESET = "nvidia-mlp"
DEMO = Path("demo")

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder: runs/nvidia-mlp-1.")]


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A preset (see: mnistry presets), or FILE.py:NAME.")
    ] = DEFAULT_PRESET,
    data: Data = "mnist",
    data_dir: DataDir = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training set.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step size.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam, rmsprop or sgd.")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Score each epoch on: none, split (a tenth) or test.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A number of the network: units=128, or units=32,64."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides first weights and order.")] = 0,
    threads: Annotated[int | None, typer.Option(help="How many threads compute.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/<preset>-<n>.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Finish a run that was stopped; takes no other option."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network and keep it in a run folder.

    What is left out is the preset's own. Any training can be stopped, even killed, and finished
    later with --resume.

    \b
    mnistry train nvidia-mlp
    mnistry train datumo-cnn --epochs 3 --seed 1
    mnistry train devto-mlp --set units=64 --validation split
    mnistry train mine.py:network --data ./my-digits
    mnistry train --resume runs/nvidia-mlp-1
    """
    if resume is not None:
        given = _given(context, {"resume", "json", "quiet"})
        if given:
            raise UsageError(f"--resume takes all else from the run; leave out {given}")
        from mnistry.runfolder import read_config
        from mnistry.training import resume as resume_run

        read_config(resume)
        with _epochs(quiet) as report:
            run = _stoppable(lambda: resume_run(resume, report), resume)
    else:
        from mnistry.recipe import load_recipe
        from mnistry.runfolder import next_run_folder

        chosen = load_recipe(recipe)
        splits = load(data, data_dir, quiet)
        folder = out or next_run_folder(chosen.name)
        from mnistry.training import train as train_run

        if not quiet:
            tell(f"{chosen.name}: {describe_network(chosen.with_settings(parse_settings(set_)))}")
            tell(f"{splits.name}: {len(splits.train):,} images to train on; {folder} keeps the run")
        with _epochs(quiet) as report:
            run = _stoppable(
                lambda: train_run(
                    chosen,
                    data=splits,
                    epochs=epochs,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    optimizer=optimizer,  # type: ignore[arg-type]  # `Recipe` checks them
                    validation=validation,  # type: ignore[arg-type]
                    settings=parse_settings(set_),
                    seed=seed,
                    threads=threads,
                    device=device,  # type: ignore[arg-type]
                    precision=precision,  # type: ignore[arg-type]
                    out=folder,
                    progress=report,
                ),
                folder,
            )
    _say_trained(run, json)


def _given(context: typer.Context, apart_from: set[str]) -> str:
    """What stands on the command line, "epochs, seed", but for some."""
    given = [
        name.strip("_").replace("_", "-")
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    return ", ".join(name for name in given if name not in apart_from)


def _stoppable(train_run: "Callable[[], Run]", folder: Path) -> "Run":
    try:
        return train_run()
    except KeyboardInterrupt:
        tell(f"stopped; finish it with: mnistry train --resume {folder}")
        raise


@contextmanager
def _epochs(quiet: bool) -> "Iterator[Callable[[Progress], None]]":
    """Shows a bar while an epoch runs and a line for each that is done."""
    with progress("training", quiet) as bar:

        def report(progress: "Progress") -> None:
            if progress.record is not None and not quiet:
                tell(epoch_line(progress.record, progress.epochs))
            done = (progress.epoch - 1) * progress.total + progress.done
            bar(done, progress.epochs * progress.total)

        yield report


def _say_trained(run: "Run", json: bool) -> None:
    last = run.history[-1]
    if json:
        say_json({"run": str(run.path), "history": run.history, "config": run.config})
        return
    seconds = sum(record["seconds"] for record in run.history)
    say(f"trained in {seconds:.2f} s: accuracy {percent(last['accuracy'])} on what it was shown")
    if "val_accuracy" in last:
        on = "test images, as the tutorial does" if run.recipe.validation == "test" else "held out"
        say(f"val_accuracy {percent(last['val_accuracy'])} ({on})")
    say(f"kept in {run.path}; next: mnistry evaluate {run.path}")


def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Option(help="Another data set to score on: its name or path.")
    ] = None,
    data_dir: DataDir = None,
    out: Annotated[Path | None, typer.Option(help="Where the pictures go; the run folder.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a run on test images, and draw its worst mistakes.

    \b
    mnistry evaluate runs/nvidia-mlp-1
    mnistry evaluate runs/nvidia-mlp-1 --json
    """
    from mnistry.run import load_run

    trained = load_run(run)
    splits = _own_data(trained, data, data_dir, quiet)
    report = trained.evaluate(splits)
    pictures = _draw_report(report, splits, out or run)
    if json:
        say_json(report.to_dict() | {"pictures": [str(path) for path in pictures]})
        return
    _say_report(report)
    say("\nDrawn: " + ", ".join(str(path) for path in pictures))


def _own_data(run: "Run", data: str | None, data_dir: Path | None, quiet: bool) -> "DataSplits":
    """The data asked for, or else what the run was trained on."""
    own = run.config["data"]
    if data is None and own["place"] is None:
        raise UsageError(f"{run.path}: was trained on arrays; say what to score it on with --data")
    if data is None and data_dir is None and own["data_dir"]:
        data_dir = Path(own["data_dir"])
    return load(data or own["place"], data_dir, quiet)


def _draw_report(report: "Report", splits: "DataSplits", folder: Path) -> list[Path]:
    from mnistry.draw import draw_confusion, draw_mistakes

    make_folder(folder)
    mistakes, confusion = folder / "mistakes.png", folder / "confusion.png"
    draw_mistakes(splits.test.images, report.y_true, report.probabilities, mistakes)
    draw_confusion(report.confusion, report.classes, confusion)
    return [mistakes, confusion]


def make_folder(folder: Path) -> None:
    """Makes a folder for pictures, where there is none."""
    from mnistry.errors import StorageError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be made ({error.strerror}); name another place with --out"
        ) from error


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
        list[Path] | None, typer.Argument(help="Image files: one digit each, 28 x 28 pixels, grey.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="RUN", help="The run folder to predict with.")
    ] = None,
    index: Annotated[
        list[int] | None, typer.Option(help="Predict this image of the run's test set, too.")
    ] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw each with its prediction.")] = False,
    out: Annotated[Path, typer.Option(help="Where --draw puts its pictures.")] = Path("."),
    data_dir: DataDir = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what digit an image shows, with the probability of each.

    Either polarity will do: dark on light, or light on dark as MNIST is.

    \b
    mnistry predict seven.png --run runs/nvidia-mlp-1 --draw
    mnistry predict --index 0 --index 1 --run runs/nvidia-mlp-1
    """
    if run is None:
        raise UsageError("--run is missing: name the run folder to predict with, runs/nvidia-mlp-1")
    if not images and not index:
        raise UsageError("there is nothing to predict: name image files, or --index N")
    from mnistry.run import load_run

    trained = load_run(run)
    failed = 0
    for name, image, label in _inputs(images or [], index or [], trained, data_dir, quiet):
        if isinstance(image, MnistryError):
            failed += 1
            if json:
                say_json({"image": name, "error": str(image)})
            else:
                tell(f"mnistry: {image}")
            continue
        _predict_one(trained, name, image, label, out if draw else None, json)
    if failed:
        raise typer.Exit(DataError.exit_code)


def _inputs(
    files: list[Path], indices: list[int], run: "Run", data_dir: Path | None, quiet: bool
) -> Iterator[tuple[str, Any, int | None]]:
    """The images to predict: their names, pixels or what is wrong, and labels where known."""
    from mnistry.picture import read_digit

    for file in files:
        try:
            yield str(file), read_digit(file), None
        except DataError as error:
            yield str(file), error, None
    if indices:
        splits = _own_data(run, None, data_dir, quiet)
        test = splits.test
        for index in indices:
            if not 0 <= index < len(test):
                raise UsageError(f"--index {index}: expected 0 to {len(test) - 1}")
            yield f"{splits.name} test {index}", test.images[index], int(test.labels[index])


def _predict_one(
    run: "Run", name: str, image: Any, label: int | None, folder: Path | None, json: bool
) -> None:
    probabilities = run.predict(image)[0]
    answer = run.classes[int(probabilities.argmax())]
    known = None if label is None else run.classes[label]
    picture = None
    if folder is not None:
        from mnistry.draw import draw_prediction

        make_folder(folder)
        picture = folder / f"{Path(name).stem.replace(' ', '-')}-prediction.png"
        draw_prediction(image, probabilities, picture, label=label, title=name)
    if json:
        values = [float(p) for p in probabilities]
        record = {"image": name, "label": answer, "probabilities": values, "true_label": known}
        say_json(record | {"picture": None if picture is None else str(picture)})
        return
    truth = "" if known is None else f" (labelled {known})"
    say(f"{name}: {answer}{truth}")
    say("  " + "  ".join(f"{c}: {p:.1%}" for c, p in zip(run.classes, probabilities, strict=True)))
    if picture:
        say(f"  drawn: {picture}")


def demo(
    data_dir: DataDir = None,
    out: Annotated[Path, typer.Option(help="Where the run and the pictures go.")] = DEMO,
    quiet: Quiet = False,
) -> None:
    """Go through the whole workflow once, with pictures.

    A second time it takes the training that is there.

    \b
    mnistry demo
    """
    took: list[tuple[str, float]] = []

    @contextmanager
    def timed(step: str) -> Iterator[None]:
        started = time.perf_counter()
        if not quiet:
            tell(f"{step} ...")
        yield
        took.append((step, time.perf_counter() - started))

    with timed("getting MNIST"):
        splits = load("mnist", data_dir, quiet)
    make_folder(out)
    with timed("drawing its first images"):
        from mnistry.draw import draw_grid

        draw_grid(splits.train.images[:40], splits.train.labels[:40], out / "first-40.png")
    with timed("loading PyTorch"):
        from mnistry import training
        from mnistry.run import load_run
        from mnistry.runfolder import CONFIG, WEIGHTS

    folder = out / "run"
    if (folder / WEIGHTS).exists():
        with timed(f"reading the training that lies in {folder}"):
            run = load_run(folder)
    else:
        with timed(f"training {DEFAULT_PRESET}"), _epochs(quiet) as report:
            resume = (folder / CONFIG).exists()
            run = _stoppable(
                lambda: (
                    training.resume(folder, report)
                    if resume
                    else training.train(DEFAULT_PRESET, data=splits, out=folder, progress=report)
                ),
                folder,
            )
    with timed("evaluating"):
        result = run.evaluate(splits)
    with timed("drawing its predictions and mistakes"):
        shown = slice(0, 40)
        images, labels = splits.test.images[shown], splits.test.labels[shown]
        draw_grid(images, labels, out / "predictions.png", predictions=result.y_pred[shown])
        _draw_report(result, splits, out)
    low, high = result.interval
    say(
        f"\nMnistry trained {run.recipe.name} ({describe_network(run.recipe)}) on "
        f"{len(splits.train):,} images of handwritten digits,\n"
        f"and read {percent(result.accuracy)} of {len(splits.test):,} others right "
        f"(95% interval {percent(low)} to {percent(high)}).\n"
    )
    say("\n".join(f"  {seconds:7.2f} s  {step}" for step, seconds in took))
    say(
        f"\nPictures in {out}: first-40.png, predictions.png, mistakes.png, confusion.png; "
        "run/curves.png\n"
        f"Next: mnistry predict --index 7 --run {folder} --draw     mnistry train datumo-cnn     "
        "mnistry --help"
    )
