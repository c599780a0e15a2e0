"""The process that trains: `python -m mnistry.server.trainee RUNS NAME JSON`, for `Trainings`.

It inherits the lock that says that it lives. It stops, as by Ctrl-C, when it is asked to or when
its standard input closes, which it does when the server's process ends, in whatever way.
"""

import json
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from mnistry import runfolder
from mnistry.catalogue import CATALOGUE
from mnistry.dataset import PEN, DataSplits, load_dataset
from mnistry.errors import MnistryError, StorageError
from mnistry.recipe import Recipe
from mnistry.server.training import (
    State,
    Training,
    add_point,
    points_of,
    recipe_of,
    scores_of,
)
from mnistry.server.trainings import STATE, STOP, TESTED, kept, live_path, model_path
from mnistry.sources import cache_dir

if TYPE_CHECKING:
    from mnistry.trainer import Progress

_TELL_EVERY = 0.2  # seconds
_LOOK_EVERY = 0.1
_AGAIN_AFTER = 4.0  # an interrupt may be lost in a library's own code
_NICE = 5  # reading goes first


class _Teller:
    """Writes how far the training is, now and then."""

    def __init__(self, path: Path, training: Training) -> None:
        self.path, self.training = path, training
        self.history: list[Mapping[str, Any]] = []
        self.present: list[dict[str, float]] = []  # the curves of the epoch that it is in
        self.started = self.told = time.monotonic()

    def __call__(self, progress: "Progress") -> None:
        """Takes what `train` tells."""
        epochs, at = progress.epochs, progress.epoch - 1 + progress.done / progress.total
        if progress.record is not None:
            self.history.append(progress.record)
            self.present.clear()  # its record says more
        elif math.isfinite(progress.loss):
            add_point(self.present, at, progress.loss, progress.accuracy, epochs)
        self.now_and_then(
            progress=at / epochs,
            epoch=progress.epoch,
            epochs=epochs,
            seconds=round(time.monotonic() - self.started, 3),
        )

    def now_and_then(self, **changes: Any) -> None:
        """Says it, if it is long enough since something was said."""
        if time.monotonic() - self.told > _TELL_EVERY:
            self.say(**changes)

    def say(self, **changes: Any) -> None:
        """Writes the training with these changes."""
        self.told = time.monotonic()
        curves = points_of(self.history, self.training.epochs) + self.present
        self.training = replace(
            self.training, points=curves, scores=scores_of(self.history), **changes
        )
        with suppress(StorageError):  # a training goes on where this cannot be told
            runfolder.write_json(self.path, self.training.to_dict())


def _watch(stop: Path) -> None:
    """Interrupts the main thread when the training is to stop."""
    while not stop.exists() and not select.select([sys.stdin], [], [], _LOOK_EVERY)[0]:
        pass
    main = threading.main_thread().ident
    assert main is not None
    while True:
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(_AGAIN_AFTER)


def _load(name: str | None, teller: _Teller) -> DataSplits:
    """The data asked for; or MNIST where it can be had without the network, else pen."""
    if name is None:
        files = [cache_dir() / "mnist" / file.name for file in CATALOGUE["mnist"].files]
        is_here = os.environ.get("MNISTRY_DATA") or all(file.is_file() for file in files)
        name = "mnist" if is_here else PEN

    def progress(done: int, total: int) -> None:
        teller.now_and_then(message=f"is getting ready: {name}, {done / max(1, total):.0%}")

    return load_dataset(name, progress=progress)


def _train(folder: Path, recipe: Recipe, data: str | None, teller: _Teller) -> None:
    name = teller.training.name
    splits = _load(data, teller)
    from mnistry.export import export_run  # with PyTorch, which takes seconds
    from mnistry.training import train

    pen = "MNIST is not on this machine, so it is trained on digits that this program writes; "
    message = pen + "get MNIST with: mnistry data" if data is None and splits.name == PEN else None
    teller.started = time.monotonic()
    teller.say(message=message, epoch=1)
    run = train(recipe, data=splits, out=folder / name, progress=teller)
    seconds = round(sum(record["seconds"] for record in run.history), 3)
    teller.say(message="is scored", progress=1.0, epoch=recipe.epochs, seconds=seconds)
    report = run.evaluate(splits)
    tested = {"data": report.data, "accuracy": report.accuracy}
    runfolder.write_json(folder / name / TESTED, tested)
    teller.say(message="its network is written", test_accuracy=report.accuracy)
    export_run(run, model_path(folder, name), splits)


def _outcome(folder: Path, recipe: Recipe, data: str | None, teller: _Teller) -> tuple[State, str]:
    """Trains; gives how it ended, and what there is to say about it."""
    run, stop = folder / teller.training.name, folder / STATE / STOP
    try:
        try:
            threading.Thread(target=_watch, args=(stop,), daemon=True).start()
            _train(folder, recipe, data, teller)
            return "done", ""
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
    except KeyboardInterrupt:
        by = "stopped" if stop.exists() else "stopped with the server"
        return "stopped", f"{by}; {kept(run)}"
    except MnistryError as error:
        return "failed", str(error)
    except MemoryError:
        return "failed", f"the memory is full; take fewer units or another preset; {kept(run)}"
    except Exception as error:  # told, or it would be lost with this process
        bug = "this is a bug in mnistry, please report it"
        return "failed", f"{bug}: {type(error).__name__}: {error}"


def main(arguments: Sequence[str]) -> None:
    """Trains as the arguments say: the folder of runs, the name, what is asked for as JSON."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the server may have been started without them
        signal.signal(number, signal.default_int_handler)
    with suppress(OSError):
        os.nice(_NICE)
    folder, name, asked = Path(arguments[0]), arguments[1], json.loads(arguments[2])
    data = asked.pop("data")
    recipe = recipe_of(**asked)
    path = live_path(folder, name)
    teller = _Teller(path, Training(name, recipe.name, "running", epochs=recipe.epochs))
    state, message = _outcome(folder, recipe, data, teller)
    if state != "failed" and (folder / name / runfolder.WEIGHTS).exists():
        path.unlink(missing_ok=True)  # the run folder says it all
        return
    teller.say(state=state, message=shorten(message, 500, placeholder=" ..."))
    with suppress(OSError):  # it holds something
        (folder / name).rmdir()


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # at once: PyTorch takes half a second to unload, for which the lock is held
