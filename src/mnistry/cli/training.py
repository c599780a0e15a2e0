"""`mnistry train`: from a preset to a run."""

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    tell,
)
from mnistry.cli.look import describe_network, parse_settings
from mnistry.errors import UsageError
from mnistry.recipe import (
    DEFAULT_PRESET,
    PRESETS,
    Device,
    Optimizer,
    Precision,
    Validation,
    load_recipe,
)
from mnistry.runfolder import CONFIG, WEIGHTS, claim_run_folder, read_config, unclaim_run_folder

if TYPE_CHECKING:
    from mnistry.run import Run
    from mnistry.trainer import Progress

_FEW_STEPS, _ENOUGH_STEPS = 100, 250


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(help="A preset (see: mnistry presets), or FILE.py:NAME.")
    ] = DEFAULT_PRESET,
    data: Data = None,
    data_dir: DataDir = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, metavar="N", help="Passes over the training set."),
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1_000,
            metavar="N",
            help="Train so many networks, one after the other, and average their answers.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, metavar="N", help="Images in a step.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step size.")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="Keras's, at its defaults.")] = None,
    validation: Annotated[
        Validation | None,
        typer.Option(help="What each epoch is scored on; split: a tenth of the training set."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="A number of the network, units=128 or units=32,64, or of the training: "
            "schedule, beta_1, beta_2, weight_decay, label_smoothing, averaging; test_shifts, as "
            "evaluate's --shifts; and how far images are changed at random: shift, rotate, scale, "
            "shear, elastic, stroke, cutout, stretch, coarse, threshold, tone, noise.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Decides first weights and order."),
    ] = 0,
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many threads compute.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute; auto: cuda, else cpu.")] = (
        "auto"
    ),
    precision: Annotated[
        Precision, typer.Option(help="auto: bfloat16 where the hardware has it and is faster.")
    ] = "auto",
    out: Annotated[
        Path | None,
        typer.Option(readable=False, help="The run folder; runs/<preset>-<n> if left out."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="RUN",
            help="Finish a run that was stopped; all else is its own.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network and keep it in a run folder.

    What is left out is the preset's own. Any training can be stopped, even killed, and finished
    later with --resume.

    \b
    mnistry train
    mnistry train datumo-cnn --epochs 3 --seed 1
    mnistry train devto-mlp --set units=64 --validation split
    mnistry train mine.py:network --data ./my-digits
    mnistry train --resume runs/fast-1
    """
    if resume is not None:
        given = _given(context, {"resume", "json", "quiet"})
        if given:
            raise UsageError(f"--resume takes all else from the run; leave out {given}")
        read_config(resume)  # before PyTorch is loaded, which takes seconds
        from mnistry.training import resume as resume_run

        run = watch(lambda report: resume_run(resume, report), resume, quiet)
    else:
        chosen = load_recipe(recipe).with_settings(parse_settings(set_))
        splits = load(data, data_dir, quiet)
        from mnistry.training import train as train_run

        folder = out or claim_run_folder(chosen.name)

        if not quiet:
            tell(f"{chosen.name}: {describe_network(chosen)}")
            images, size = len(splits.train), batch_size or chosen.batch_size
            tell(f"{splits.name}: {images:,} images to train on; the run goes to {folder}")
            if (validation or chosen.validation) == "split":
                images -= images // 10
            each = math.ceil(images / size)
            steps = each * (epochs or chosen.epochs)
            if steps < _FEW_STEPS:
                tell(
                    f"{steps} steps of {size} images are few for a network to learn in; "
                    f"--epochs {math.ceil(_ENOUGH_STEPS / each)} gives more"
                )
        try:
            run = watch(
                lambda report: train_run(
                    chosen,
                    data=splits,
                    epochs=epochs,
                    members=members,
                    batch_size=batch_size,
                    learning_rate=learning_rate,
                    optimizer=optimizer,
                    validation=validation,
                    seed=seed,
                    threads=threads,
                    device=device,
                    precision=precision,
                    out=folder,
                    progress=report,
                ),
                folder,
                quiet,
            )
        finally:
            if out is None:
                unclaim_run_folder(folder)
    _say_trained(run, json)


def _given(context: typer.Context, apart_from: set[str]) -> str:
    """What stands on the command line, "--epochs, --seed", but for some."""
    given = [
        name
        for name in context.params
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
        and name not in apart_from
    ]
    return ", ".join(
        "the preset" if name == "recipe" else "--" + name.strip("_").replace("_", "-")
        for name in given
    )


def watch(
    work: "Callable[[Callable[[Progress], None]], Run]",
    folder: Path,
    quiet: bool,
    again: str | None = None,
) -> "Run":
    """Trains, with a bar while an epoch runs and a line for each that is done.

    Args:
        work: Trains, and tells the function that it is given how far it is.
        folder: The run folder.
        quiet: Show nothing.
        again: The command that goes on where an interrupt stopped it.
    """
    try:
        with progress("training", quiet) as bar:

            def report(progress: "Progress") -> None:
                if progress.record is not None and not quiet:
                    tell(epoch_line(progress.record, progress.epochs))
                done = (progress.epoch - 1) * progress.total + progress.done
                bar(done, progress.epochs * progress.total)

            return work(report)
    except KeyboardInterrupt:
        again = again or f"mnistry train --resume {shlex.quote(str(folder))}"
        if (folder / WEIGHTS).exists():
            tell(f"stopped; its training was done already, and lies in {folder}")
        elif (folder / CONFIG).exists():
            tell(f"stopped; finish it with: {again}")
        else:
            tell("stopped; nothing was kept")
        raise


def _say_trained(run: "Run", json: bool) -> None:
    last = run.history[-1]
    if json:
        say_json({"run": str(run.path), "history": run.history, "config": run.config})
        return
    seconds, members = sum(record["seconds"] for record in run.history), run.recipe.members
    whose = f"; the last of its {members} networks:" if members > 1 else ":"
    name = run.config["data"]["name"]
    say(
        f"trained in {seconds:.2f} s{whose} accuracy {percent(last['accuracy'])} on what it was "
        f"shown of {name}"
    )
    if "val_accuracy" in last:
        preset = PRESETS.get(run.recipe.name)
        on = "images held out of the training set"
        if run.recipe.validation == "test":
            by = ", as its tutorial does" if preset and preset.validation == "test" else ""
            on = f"the test images{by}"
        say(f"val_accuracy {percent(last['val_accuracy'])} on {on}")
    place = shlex.quote(str(run.path))
    say(f"kept in {run.path}; next: mnistry evaluate {place}")
