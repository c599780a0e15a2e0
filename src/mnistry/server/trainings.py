"""Trainings: each a process of its own, whose state lies in files that any process can look into.

    RUNS/NAME/                 the run, as `mnistry train` writes it, and what it scored on the test
    RUNS/NAME.onnx             its network, to read with
    RUNS/.trainings/NAME.json  what it said last: while it runs, and where it did not finish
    RUNS/.trainings/lock       held by the process that trains, for as long as it lives; its name
    RUNS/.trainings/stop       is there once that process has been asked to stop
    RUNS/.trainings/gate       held for an instant by whoever starts, stops or looks

So whatever is killed, and when: a training runs if, and only if, its process has the lock.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from mnistry import runfolder
from mnistry.errors import (
    BusyError,
    DependencyError,
    MissingError,
    MnistryError,
    ModelError,
    StorageError,
)
from mnistry.server.training import Training, points_of, presets, recipe_of, scores_of

if sys.platform != "win32":
    import fcntl

STATE, STOP, TESTED = ".trainings", "stop", "test.json"

_NEEDED = ("torch", "safetensors", "matplotlib", "onnx", "onnxscript")  # the extra named train
_MOST_LISTED = 50
_PATIENCE = 10.0  # seconds that a training has to end in, once it has been asked to


class Trainings:
    """The trainings in a folder of runs; those of `mnistry train` are among them once finished."""

    def __init__(self, folder: Path, data: str | None = None) -> None:
        """Looks at nothing yet, and makes nothing.

        Args:
            folder: Where runs are kept. Any number of processes may share it.
            data: What to train on, as `load_dataset` takes it; if left out, MNIST where it is on
                this machine, else the digits that the program writes itself.
        """
        self.folder, self._data = folder.absolute(), data
        self._state = self.folder / STATE
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def why_not(self) -> str | None:
        """What is missing for a training, and how to get it; None where nothing is."""
        if sys.platform == "win32":
            return "the server trains on Linux and macOS alone; train here with: mnistry train"
        if any(find_spec(name) is None for name in _NEEDED):
            return "training needs PyTorch, and more; get them with: pip install 'mnistry[train]'"
        return None

    def to_dict(self) -> dict[str, Any]:
        """What can be trained, and what was, as JSON can hold it."""
        why_not = self.why_not
        return {
            "available": why_not is None,
            "why_not": why_not,
            "presets": presets(),
            "trainings": [training.to_dict() for training in self.list()],
        }

    def start(
        self,
        preset: str,
        epochs: int | None = None,
        learning_rate: float | None = None,
        units: int | None = None,
    ) -> Training:
        """Start a training, in a process of its own.

        Args:
            preset: The name of one.
            epochs: 1 to 1,000; the preset's own if left out, as are the next two.
            learning_rate: Above 0.
            units: Of each hidden dense layer, 1 to 4,096.

        Raises:
            UsageError: A value that no training could use.
            BusyError: One is running already.
            DependencyError: What a training needs is not installed.
            StorageError: The folder of runs cannot be written.
            MnistryError: No process can be started.
        """
        asked = {"epochs": epochs, "learning_rate": learning_rate, "units": units}
        recipe = recipe_of(preset, **asked)  # type: ignore[arg-type]
        if why_not := self.why_not:
            raise DependencyError(why_not)
        with self._gate():
            if running := self._running():
                raise BusyError(f"{running} is being trained; stop it, or wait until it is done")
            self.close()  # the one before, which has ended
            runfolder.remove_part_files(self._state)
            (self._state / STOP).unlink(missing_ok=True)
            name = self._claim(recipe.name)
            told = "is getting ready"
            training = Training(name, preset, "running", told, epochs=recipe.epochs)
            try:
                runfolder.write_json(live_path(self.folder, name), training.to_dict())
                self._child = self._process(name, {"preset": preset, **asked})
            except BaseException as error:
                live_path(self.folder, name).unlink(missing_ok=True)
                (self.folder / name).rmdir()
                if isinstance(error, OSError):
                    raise MnistryError(
                        f"no process for a training can be started ({error}); train with: "
                        f"mnistry train {preset}"
                    ) from error
                raise
        return training

    def list(self) -> tuple[Training, ...]:
        """The newest 50 of all, the newest first."""
        with self._gate(to_look=True):
            names = sorted(self._names(), key=self._time, reverse=True)[:_MOST_LISTED]
            running = self._running()
            found = [self._look(name, running) for name in names]
        return tuple(training for training in found if training)

    def get(self, name: str) -> Training:
        """How far a training is.

        Raises:
            MissingError: There is none of that name.
        """
        with self._gate(to_look=True):
            # a name from elsewhere becomes a path only if a folder's listing has it
            found = self._look(name, self._running()) if name in self._names() else None
        if found is None:
            raise MissingError(
                f"there is no training named {name[:60]!r}; name one of those listed"
            )
        return found

    def stop(self, name: str) -> Training:
        """Ask a training to stop: it does so soon, and keeps the epochs that it has finished.

        Nothing happens to one that does not run.

        Raises:
            MissingError: There is none of that name.
            StorageError: The folder of runs cannot be written.
        """
        if self._state.is_dir():
            with self._gate():
                if self._running() == name:
                    with _storing(self._state):
                        (self._state / STOP).touch()
        return self.get(name)

    def close(self) -> None:
        """Stop the training that was started here, if it runs, and wait for its end."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()  # which tells it that nobody is here any more
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    @contextmanager
    def _gate(self, to_look: bool = False) -> Iterator[None]:
        """Within it no other process or thread starts or stops a training.

        Who only looks passes, too, where there is none, or it cannot be opened.
        """
        place = self._state / "gate"
        gate: IO[bytes] | None = None
        if to_look:
            with suppress(OSError):
                gate = place.open("rb")
        else:
            with _storing(self._state):
                self._state.mkdir(parents=True, exist_ok=True)
                gate = place.open("ab")
        with gate or nullcontext():
            if gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _running(self) -> str | None:
        """The name of the training that runs. To be asked within the gate."""
        if child := self._child:
            child.poll()  # or it would stay among the processes once it has ended
        missing = (FileNotFoundError, NotADirectoryError)
        with suppress(*missing), (self._state / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read()
        return None

    def _claim(self, preset: str) -> str:
        """Makes the next free folder, of a name that no network has either."""
        passed = []
        try:
            while True:
                folder = runfolder.claim_run_folder(preset, self.folder)
                if not os.path.lexists(model_path(self.folder, folder.name)):
                    return folder.name
                passed.append(folder)
        finally:
            for folder in passed:
                folder.rmdir()

    def _process(self, name: str, asked: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Starts the process; it has the lock from its first instant."""
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("this program has no Python interpreter to start")
        arguments = [str(self.folder), name, json.dumps({**asked, "data": self._data})]
        with (self._state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.write(name)
            lock.flush()
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "mnistry.server.trainee", *arguments],
                stdin=subprocess.PIPE,  # nothing is written: it closes when this process ends
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[lock.fileno()],
                start_new_session=True,  # Ctrl-C is for the server, which then stops it
            )

    def _names(self) -> set[str]:
        finished = {path.parent.name for path in self.folder.glob(f"*/{runfolder.WEIGHTS}")}
        told = {path.stem for path in self._state.glob("*.json")}
        return {name for name in finished | told if name.isprintable() and name[:1] != "."}

    def _time(self, name: str) -> float:
        """When it last came on, in seconds."""
        times = [0.0]
        for path in (live_path(self.folder, name), self.folder / name / runfolder.WEIGHTS):
            with suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def _look(self, name: str, running: str | None) -> Training | None:
        """A training, by what its files say; None where they have just gone."""
        told, finished = self._told(name), self._finished(name)
        if (
            (told and told.state == "failed")
            and (finished and finished.model is None)
            and self._is_last(name)
        ):
            finished = replace(finished, message=f"{told.message}; {finished.message}")
        found = told if running == name and told else finished or told
        if found is None:
            return None
        if running == name:
            stopping = (self._state / STOP).exists()
            message = "is being stopped" if stopping else found.message
            return replace(found, state="running", message=message)
        if found.state == "running":
            why = "its process ended before it was done: it was killed, or the memory was full"
            return replace(found, state="failed", message=f"{why}; {kept(self.folder / name)}")
        return found

    def _is_last(self, name: str) -> bool:
        """Whether what it said last is of after its training."""
        told, trained = live_path(self.folder, name), self.folder / name / runfolder.WEIGHTS
        with suppress(OSError):
            return told.stat().st_mtime_ns >= trained.stat().st_mtime_ns
        return False

    def _told(self, name: str) -> Training | None:
        """What it said last; nothing but its name where that cannot be read."""
        path = live_path(self.folder, name)
        try:
            return Training(**runfolder.read_json(path))
        except (ModelError, TypeError):
            return Training(name, name.rpartition("-")[0], "running") if path.exists() else None

    def _finished(self, name: str) -> Training | None:
        """A training that is done, by what its run folder says."""
        folder = self.folder / name
        if not (folder / runfolder.WEIGHTS).is_file():
            return None
        try:
            config = runfolder.read_config(folder)
            history = runfolder.read_json(folder / runfolder.HISTORY)["epochs"]
            tested = folder / TESTED
            accuracy = runfolder.read_json(tested)["accuracy"] if tested.exists() else None
            recipe, data = config["recipe"], config["data"]["name"]
            epochs = recipe["epochs"] * recipe.get("members", 1)
            has_model = model_path(self.folder, name).is_file()
            return Training(
                name,
                recipe["name"],
                "done",
                _notes(data, None if has_model else folder),
                1.0,
                epochs,
                epochs,
                round(sum(record["seconds"] for record in history), 3),
                points_of(history, epochs),
                scores_of(history),
                accuracy,
                name if has_model else None,
            )
        except (ModelError, LookupError, TypeError, ValueError, AttributeError):
            return None  # it is damaged, or of another version


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); name another folder for runs"
        ) from error


def _notes(data: str, without_model: Path | None) -> str | None:
    notes = [] if data == "mnist" else [f"trained on {data}, not on MNIST"]
    if without_model:
        places = f"{shlex.quote(str(without_model))} {shlex.quote(f'{without_model}.onnx')}"
        notes.append(f"to read with it: mnistry export {places}")
    return "; ".join(notes) or None


def live_path(folder: Path, name: str) -> Path:
    """Where a training says how far it is."""
    return folder / STATE / f"{name}.json"


def model_path(folder: Path, name: str) -> Path:
    """Where a training's network is, once it is done."""
    return folder / f"{name}.onnx"


def kept(run: Path) -> str:
    """What is left of a training that did not finish, and how to go on with it."""
    if (run / runfolder.CHECKPOINT).exists():
        return f"finish it with: mnistry train --resume {shlex.quote(str(run))}"
    return "no epoch was finished"
