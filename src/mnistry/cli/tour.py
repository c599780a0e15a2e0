"""`mnistry demo`: the whole workflow once."""

import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistry.cli.console import DataDir, Quiet, load, make_folder, percent, say, tell
from mnistry.cli.look import describe_network
from mnistry.cli.results import draw_report
from mnistry.cli.training import watch
from mnistry.errors import UsageError
from mnistry.recipe import DEFAULT_PRESET
from mnistry.runfolder import CONFIG, WEIGHTS, read_config

if TYPE_CHECKING:
    from mnistry.dataset import DataSplits

_SHOWN = 40


def demo(
    data_dir: DataDir = None,
    out: Annotated[
        Path, typer.Option(readable=False, help="Where the run and the pictures go.")
    ] = Path("demo"),
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

    folder = out / "run"
    own = read_config(folder)["data"] if (folder / CONFIG).exists() else None
    with timed("getting the data"):
        splits = _load_own(own, folder, data_dir, quiet) if own else load(None, data_dir, quiet)
    make_folder(out)
    with timed("drawing its first images"):
        from mnistry.draw import draw_grid

        first = splits.train
        draw_grid(first.images[:_SHOWN], first.labels[:_SHOWN], out / "first-40.png")
    with timed("loading PyTorch"):
        from mnistry import training
        from mnistry.run import load_run

    if (folder / WEIGHTS).exists():
        with timed(f"reading the training that lies in {folder}"):
            run = load_run(folder)
    elif (folder / CONFIG).exists():
        with timed("finishing the training that was stopped"):
            run = watch(lambda report: training.resume(folder, report), folder, quiet, _again(out))
    else:
        with timed(f"training {DEFAULT_PRESET}"):
            run = watch(
                lambda report: training.train(
                    DEFAULT_PRESET, data=splits, out=folder, progress=report
                ),
                folder,
                quiet,
                _again(out),
            )
    with timed("evaluating"):
        report = run.evaluate(splits)
    with timed("drawing its predictions and mistakes"):
        images, labels = splits.test.images[:_SHOWN], splits.test.labels[:_SHOWN]
        draw_grid(images, labels, out / "predictions.png", predictions=report.y_pred[:_SHOWN])
        draw_report(report, splits, out)
    low, high = report.interval
    result = (
        f"Mnistry trained {run.recipe.name} ({describe_network(run.recipe)}) on "
        f"{len(splits.train):,} images of {splits.name}, and read {percent(report.accuracy)} of "
        f"{len(splits.test):,} others right (95% interval {percent(low)} to {percent(high)})."
    )
    say(f"\n{fill(result, 80)}\n")
    say("\n".join(f"  {seconds:7.2f} s  {step}" for step, seconds in took))
    places = [shlex.quote(str(place)) for place in (folder, out)]
    say(
        f"\nPictures in {out}: first-40.png, predictions.png, mistakes.png, confusion.png,\n"
        f"and run/curves.png. Next:\n\n{_activation()}"
        f"  mnistry predict --index 7 --run {places[0]} --draw {places[1]}\n"
        "  mnistry train strong\n"
        "  mnistry --help"
    )


def _load_own(
    own: dict[str, Any], folder: Path, data_dir: Path | None, quiet: bool
) -> "DataSplits":
    """Loads what the run that is there was trained on."""
    if own["place"] == "mnist":
        return load(own["place"], data_dir or own["data_dir"], quiet)
    another = f"for a training on MNIST take another folder with --out, or delete {folder}"
    if data_dir:
        raise UsageError(f"{folder}: was trained on {own['name']}, not on {data_dir}; {another}")
    if not quiet:
        tell(f"{folder} was trained on {own['name']}: the figures are not MNIST's; {another}")
    return load(own["place"], None, quiet)


def _activation() -> str:
    """The line that puts `mnistry` on the path, where the environment it runs in is not."""
    script = Path(sys.prefix, "bin", "activate")
    if shutil.which("mnistry") or not script.exists():
        return ""
    here = Path.cwd()
    shown = script.relative_to(here) if script.is_relative_to(here) else script
    return f"  . {shlex.quote(str(shown))}\n"


def _again(out: Path) -> str:
    return "mnistry demo" if out == Path("demo") else f"mnistry demo --out {shlex.quote(str(out))}"
