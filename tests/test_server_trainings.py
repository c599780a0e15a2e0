"""Tests of the server's trainings: real processes that train, are stopped, and are killed."""

import dataclasses
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from digits import Splits, make_digits, write_digits
from mnistry import runfolder
from mnistry.catalogue import CATALOGUE
from mnistry.errors import (
    BusyError,
    DependencyError,
    MissingError,
    StorageError,
    UsageError,
)
from mnistry.network import OnnxNetwork
from mnistry.recipe import PRESETS
from mnistry.server import shapes, trainee
from mnistry.server.trainings import (
    Training,
    Trainings,
    kept,
    live_path,
    points_of,
    presets,
)
from mnistry.trainer import Progress

LONG = 1000  # epochs: more than any test waits for

SERVER = """
import signal, sys
from pathlib import Path
from mnistry.errors import BusyError
from mnistry.server.trainings import Trainings
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what is in the background
trainings = Trainings(Path(sys.argv[1]), sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
try:
    print(trainings.start("vidhya-mlp", epochs=1000).name, flush=True)
except BusyError as error:
    print(error, flush=True)
sys.stdin.readline()
trainings.close()
"""


@pytest.fixture(scope="module")
def digits() -> Splits:
    return make_digits()


@pytest.fixture(scope="module")
def data(digits: Splits, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_digits(tmp_path_factory.mktemp("data") / "digits", digits))


@pytest.fixture
def trainings(data: str, tmp_path: Path) -> Iterator[Trainings]:
    trainings = Trainings(tmp_path / "runs", data)
    yield trainings
    trainings.close()


def wait(
    trainings: Trainings, name: str, until: Callable[[Training], object], seconds: float = 60
) -> Training:
    deadline = time.monotonic() + seconds
    while not until(found := trainings.get(name)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def has_ended(training: Training) -> bool:
    return training.state != "running"


def has_scores(training: Training) -> bool:
    assert training.state == "running", training
    return len(training.scores) > 1


def process_of(trainings: Trainings) -> int:
    assert trainings._child is not None
    return trainings._child.pid


# --------------------------------------------------------------------------------- to its end


@dataclasses.dataclass
class Finished:
    trainings: Trainings
    seen: list[Training]  # by another process's eyes, as fast as it can look

    @property
    def last(self) -> Training:
        return self.seen[-1]


@pytest.fixture(scope="module")
def finished(data: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A training from its start to its end, looked at all the time."""
    folder = tmp_path_factory.mktemp("finished") / "runs"
    trainings, other = Trainings(folder, data), Trainings(folder)
    started = trainings.start("vidhya-mlp", epochs=4, learning_rate=0.01, units=24)
    seen = [started]
    looking = threading.Thread(target=lambda: wait(other, started.name, look))

    def look(training: Training) -> bool:
        seen.append(training)
        return has_ended(training)

    looking.start()
    looking.join()
    yield Finished(trainings, seen)
    trainings.close()


def test_it_is_seen_to_advance(finished: Finished) -> None:
    states = [training.state for training in finished.seen]
    assert states == ["running"] * (len(states) - 1) + ["done"]
    assert [t.progress for t in finished.seen] == sorted(t.progress for t in finished.seen)
    assert {t.name for t in finished.seen} == {"vidhya-mlp-1"}
    assert {t.epochs for t in finished.seen} == {4}
    messages = list(dict.fromkeys(training.message for training in finished.seen))
    assert messages[0] == "is getting ready"
    assert messages[-2] == "its network is written"


def test_points_within_an_epoch(tmp_path: Path) -> None:
    live_path(tmp_path, "fast-1").parent.mkdir()
    teller = trainee._Teller(live_path(tmp_path, "fast-1"), Training("fast-1", "fast", "running"))
    course = [[0.5, 0.5]] * 20
    record = {"epoch": 1, "loss": 0.5, "accuracy": 0.5, "course": course}
    for done, loss, kept_record in ((10, 2.0, None), (20, float("nan"), None), (40, 0.5, record)):
        teller(Progress(1, 2, done, 40, loss, 0.5, kept_record))
        teller.say()
        found = Trainings(tmp_path).get("fast-1")
        points = [(point["epoch"], point["loss"]) for point in found.points]
        expected = [((n + 1) / 20, 0.5) for n in range(20)] if kept_record else [(0.25, 2.0)]
        assert points == expected
    assert len(found.scores) == 1


def test_how_it_ends(finished: Finished, digits: Splits) -> None:
    last = finished.last
    assert (last.preset, last.progress, last.epoch, last.epochs) == ("vidhya-mlp", 1.0, 4, 4)
    assert last.message == "trained on digits, not on MNIST"
    assert last.seconds > 0
    assert [score["epoch"] for score in last.scores] == [1, 2, 3, 4]
    assert last.scores[-1].keys() == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert last.scores[-1]["val_loss"] is None
    assert len(last.points) == 80
    assert last.points[-1]["epoch"] == 4
    run = finished.trainings.folder / last.name
    config = runfolder.read_config(run)["recipe"]
    assert config["learning_rate"] == 0.01
    assert [layer["units"] for layer in config["network"] if "units" in layer] == [24, 24, 10]
    assert last.model == last.name
    network = OnnxNetwork(run.with_name("vidhya-mlp-1.onnx"), 1)
    images, labels = digits[1]
    right = np.mean(network.predict(images).argmax(1) == labels)
    assert last.test_accuracy == pytest.approx(right)
    assert sorted(os.listdir(run.parent / ".trainings")) == ["gate", "lock"]


def test_as_json(finished: Finished) -> None:
    found = finished.trainings.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found.keys() == {"available", "why_not", "presets", "trainings"}
    assert (found["available"], found["why_not"]) == (True, None)
    assert found["trainings"] == [finished.last.to_dict()]
    assert list(found["trainings"][0]) == [
        *("name", "preset", "state", "message", "progress", "epoch", "epochs", "seconds"),
        *("points", "scores", "test_accuracy", "model"),
    ]


def test_it_is_seen_anew_each_time(finished: Finished) -> None:
    name = finished.last.name
    assert finished.trainings.get(name) == finished.last
    assert finished.trainings.stop(name) == finished.last  # it does not run
    assert Trainings(finished.trainings.folder).list() == (finished.last,)


# ------------------------------------------------------------------------ stopped, killed, failed


def test_looking_needs_no_writing(finished: Finished, tmp_path: Path) -> None:
    runs, name = tmp_path / "runs", finished.last.name
    shutil.copytree(finished.trainings.folder, runs)
    code = (
        "import sys; from pathlib import Path; from mnistry.server.trainings import Trainings\n"
        "trainings = Trainings(Path(sys.argv[1]))\n"
        "print([t.name for t in trainings.list()], trainings.get(sys.argv[2]).state)"
    )
    command = [sys.executable, "-c", code, str(runs), name]
    if os.geteuid() == 0:  # who writes anywhere, but on a file system that is read-only
        if not shutil.which("unshare"):
            pytest.skip("no file system can be mounted here")
        mount = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "${@:2}"'
        command = ["unshare", "--mount", "bash", "-c", mount, "-", str(runs), *command]
    for path in (runs, runs / ".trainings"):
        path.chmod(0o555)
    looked = subprocess.run(command, capture_output=True, text=True, check=False)
    for path in (runs, runs / ".trainings"):
        path.chmod(0o755)
    if "unshare failed" in looked.stderr or "permission denied" in looked.stderr:
        pytest.skip("no file system can be mounted here")
    assert looked.stdout == f"['{name}'] done\n", looked.stderr


def test_why_a_finished_training_has_no_network(trainings: Trainings) -> None:
    name = trainings.start("vidhya-mlp", epochs=1).name
    place = trainings.folder / f"{name}.onnx"
    place.mkdir()  # in the way of the file
    ended = wait(trainings, name, has_ended)
    assert (ended.state, ended.model) == ("done", None)
    assert ended.test_accuracy is not None
    shown = shapes.Training.model_validate(ended.to_dict(), strict=True)  # as the API says
    assert shown.model_dump() == ended.to_dict()
    assert str(place) in (ended.message or "").partition(";")[0]
    assert "to read with it: mnistry export" in (ended.message or "")
    place.rmdir()
    place.touch()  # as by that command
    assert "cannot be" not in (trainings.get(name).message or "")


def test_stopped_midway_by_another_process(trainings: Trainings) -> None:
    name = trainings.start("vidhya-mlp", epochs=LONG).name
    wait(trainings, name, has_scores)
    other = Trainings(trainings.folder)
    with pytest.raises(BusyError, match="vidhya-mlp-1 is being trained; stop it, or wait"):
        other.start("fast")
    assert other.stop(name).message in ("is being stopped", other.get(name).message)
    ended = wait(other, name, has_ended, seconds=15)
    assert ended.state == "stopped"
    assert (ended.model, ended.test_accuracy) == (None, None)
    run = trainings.folder / name
    assert ended.message == f"stopped; finish it with: mnistry train --resume {run}"
    _, notes = runfolder.read_arrays(run / runfolder.CHECKPOINT)
    kept_epochs = json.loads(notes["history"])
    assert [e["accuracy"] for e in kept_epochs] == [s["accuracy"] for s in ended.scores]
    assert 0 < ended.progress < 1
    assert other.list() == (ended,)


def test_killed_and_another_one_closed(trainings: Trainings) -> None:
    name = trainings.start("vidhya-mlp", epochs=LONG).name
    wait(trainings, name, has_scores)
    os.kill(process_of(trainings), signal.SIGKILL)
    ended = wait(trainings, name, has_ended, seconds=10)
    assert ended.state == "failed"
    assert ended.message == (
        "its process ended before it was done: it was killed, or the memory was full; "
        f"finish it with: mnistry train --resume {trainings.folder / name}"
    )
    assert len(ended.scores) > 1
    again = trainings.start("vidhya-mlp", epochs=LONG)
    assert (again.name, again.state) == ("vidhya-mlp-2", "running")
    trainings.close()
    closed = trainings.get(again.name)
    assert closed.state == "stopped"
    assert closed.message == "stopped with the server; no epoch was finished"
    assert not (trainings.folder / again.name).exists()
    assert trainings.list() == (closed, ended)
    trainings.close()


@contextmanager
def servers(count: int, folder: Path, data: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ready to start a training, each in a session of its own."""
    command = [sys.executable, "-c", SERVER, str(folder), data]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes, start_new_session=True) for _ in range(count)]
    try:
        assert [line(process) for process in processes] == ["ready"] * count
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    print(file=process.stdin, flush=True)


def test_of_several_servers_one_trains_and_takes_it_along(data: str, tmp_path: Path) -> None:
    with servers(4, tmp_path, data) as processes:
        for process in processes:
            tell(process)
        said = [line(process) for process in processes]
        assert sorted(said)[:3] == ["vidhya-mlp-1"] + 2 * [
            "vidhya-mlp-1 is being trained; stop it, or wait until it is done"
        ]
        winner = processes[said.index("vidhya-mlp-1")]
        here = Trainings(tmp_path)
        wait(here, "vidhya-mlp-1", has_scores)
        os.killpg(winner.pid, signal.SIGINT)  # Ctrl-C: for the server alone to act on
        before = here.get("vidhya-mlp-1").progress
        wait(here, "vidhya-mlp-1", lambda t: t.state == "running" and t.progress > before)
        winner.kill()
        ended = wait(here, "vidhya-mlp-1", has_ended, seconds=15)
        assert ended.state == "stopped"
        assert (ended.message or "").startswith("stopped with the server; finish it with: ")


def test_one_that_cannot_begin(tmp_path: Path) -> None:
    trainings = Trainings(tmp_path, str(tmp_path / "nowhere"))
    for _ in range(2):  # its name is free again
        assert trainings.start("fast").name == "fast-1"
        ended = wait(trainings, "fast-1", has_ended)
        assert ended.state == "failed"
        assert f"{tmp_path / 'nowhere'}: " in (ended.message or "")
        assert "\n" not in (ended.message or "")
        assert not (tmp_path / "fast-1").exists()
    trainings.close()


def test_no_process_to_be_had(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("/nowhere/python", None):
        monkeypatch.setattr(sys, "executable", program)
        with pytest.raises(Exception, match="no process for a training can be started"):
            trainings.start("fast")
    assert trainings.list() == ()
    assert os.listdir(trainings.folder) == [".trainings"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    trainings = Trainings(tmp_path / "file")
    with pytest.raises(StorageError, match="name another folder for runs"):
        trainings.start("fast")
    assert trainings.list() == ()


@pytest.mark.slow
def test_one_that_diverges(trainings: Trainings) -> None:
    name = trainings.start("vidhya-mlp", learning_rate=1e20).name
    ended = wait(trainings, name, has_ended)
    assert ended.state == "failed"
    assert "the training diverged in epoch 1" in (ended.message or "")
    assert not (trainings.folder / name).exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "close", "kill", "terminate"])
def test_ended_at_any_moment(how: str, trainings: Trainings) -> None:
    """What is finished is kept and told, and the next one can start at once."""
    moments = random.Random(how)
    ends = []
    for _ in range(8):
        name = trainings.start("vidhya-mlp", epochs=20).name
        if how == "terminate":  # which ends it at once until it has begun
            wait(trainings, name, lambda t: t.message != "is getting ready")
        time.sleep(moments.uniform(0, 6))
        if how == "stop":
            trainings.stop(name)
        elif how == "close":
            trainings.close()
        elif trainings.get(name).state == "running":
            number = signal.SIGKILL if how == "kill" else signal.SIGTERM
            os.kill(process_of(trainings), number)
        ended = wait(trainings, name, has_ended, seconds=20)
        ends.append(ended.state)
        run = trainings.folder / name
        if ended.state == "done":
            assert len(ended.scores) == 20
            assert (run / runfolder.WEIGHTS).exists()
        else:
            assert ended.message
            assert ended.message.endswith(kept(run))
            assert ended.scores == [] or (run / runfolder.CHECKPOINT).exists()
    assert set(ends) <= ({"failed", "done"} if how == "kill" else {"stopped", "done"})
    assert set(ends) != {"done"}


# ------------------------------------------------------------------------------- what files say


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'{"name": 1}', b"\xff\x00", b'{"name": "fast-1", "pre']
)
def test_a_torn_state_file(content: bytes, tmp_path: Path) -> None:
    trainings = Trainings(tmp_path)
    path = live_path(tmp_path, "fast-1")
    path.parent.mkdir()
    path.write_bytes(content)
    found = trainings.get("fast-1")
    assert (found.state, found.preset) == ("failed", "fast")
    assert "its process ended before it was done" in (found.message or "")
    with (path.parent / "lock").open("w") as lock:
        lock.write("fast-1")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = trainings.get("fast-1")
        assert (found.state, found.message, found.progress) == ("running", None, 0)
    assert trainings.list() == (trainings.get("fast-1"),)


def test_ordinary_runs_are_done(finished: Finished, tmp_path: Path) -> None:
    """As `mnistry train` leaves them; what is no finished run is not listed."""
    run = finished.trainings.folder / finished.last.name
    for name in ("mine", "no config", "no history", "other history", "unfinished", ".hidden"):
        shutil.copytree(run, tmp_path / name)
    (tmp_path / "mine" / "test.json").unlink()
    (tmp_path / "no config" / runfolder.CONFIG).unlink()
    (tmp_path / "no history" / runfolder.HISTORY).write_text("{")
    (tmp_path / "other history" / runfolder.HISTORY).write_text('{"epochs": [{"epoch": "x"}]}')
    (tmp_path / "unfinished" / runfolder.WEIGHTS).unlink()
    (tmp_path / "notes.txt").touch()
    trainings = Trainings(tmp_path)
    place = tmp_path / "mine"
    message = "trained on digits, not on MNIST; to read with it: mnistry export"
    expected = dataclasses.replace(
        finished.last,
        name="mine",
        message=f"{message} {place} {place}.onnx",
        test_accuracy=None,
        model=None,
    )
    assert trainings.list() == (expected,)
    assert sorted(os.listdir(tmp_path))[0] == ".hidden"  # and no .trainings
    shutil.copy(f"{run}.onnx", f"{place}.onnx")
    assert trainings.get("mine").model == "mine"


def test_a_folder_of_many(finished: Finished, tmp_path: Path) -> None:
    run = finished.trainings.folder / finished.last.name
    for number in range(60):
        shutil.copytree(run, tmp_path / f"run-{number}")
        os.utime(tmp_path / f"run-{number}" / runfolder.WEIGHTS, (number, number))
    found = Trainings(tmp_path).list()
    assert [training.name for training in found] == [f"run-{n}" for n in range(59, 9, -1)]
    assert Trainings(tmp_path).get("run-0").state == "done"


NAMES = ["", ".", "..", "/", "../runs", ".trainings", "fast-1/../fast-1", "a\0b", "\n", "x" * 5000]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_no_path(name: str, finished: Finished) -> None:
    trainings = finished.trainings
    for call in (trainings.get, trainings.stop):
        with pytest.raises(MissingError, match="there is no training named") as caught:
            call(name)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_names_that_are_taken_are_passed_over(trainings: Trainings) -> None:
    trainings.folder.mkdir()
    (trainings.folder / "fast-1").mkdir()
    (trainings.folder / "fast-2.onnx").touch()
    assert trainings._claim("fast") == "fast-3"
    assert not (trainings.folder / "fast-2").exists()


# ---------------------------------------------------------------------------- what can be asked for


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"preset": "nope"}, "preset is 'nope'; expected one of fast, strong,"),
        ({"preset": "evil.py:main"}, "preset is 'evil.py:main'; expected one of"),
        ({"epochs": 0}, "epochs is 0; expected a whole number, 1 to 1,000"),
        ({"epochs": 10_000}, "epochs is 10000; expected a whole number, 1 to 1,000"),
        ({"epochs": True}, "epochs is True; expected a whole number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected a number above 0"),
        ({"learning_rate": -1.0}, r"learning_rate is -1\.0; expected a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; expected a number above 0"),
        ({"units": 0}, "units is 0; expected a whole number, 1 to 4,096"),
        ({"units": 10**9}, "units is 1000000000; expected a whole number, 1 to 4,096"),
    ],
)
def test_bad_values(asked: dict[str, Any], message: str, trainings: Trainings) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        trainings.start(**{"preset": "fast", **asked})
    assert "\n" not in str(caught.value)
    assert not trainings.folder.exists()


def test_without_the_extra(trainings: Trainings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = trainings.to_dict()
    assert found["available"] is False
    assert "pip install 'mnistry[train]'" in found["why_not"]
    with pytest.raises(DependencyError, match="pip install"):
        trainings.start("fast")
    assert not trainings.folder.exists()


def test_presets() -> None:
    found = presets()
    assert [preset["name"] for preset in found] == list(PRESETS)
    assert all(preset.keys() == set(found[0]) for preset in found)
    best, mlp = found[2], found[-1]
    assert (best["epochs"], best["learning_rate"], best["units"]) == (20, 0.01, [128])
    assert "ten minutes" in best["summary"]
    assert mlp["units"] == [32, 64]


@pytest.mark.parametrize(("epochs", "count"), [(1, 20), (25, 500), (30, 300), (1000, 500)])
def test_points_are_thinned(epochs: int, count: int) -> None:
    course = [[1 / 3, 2 / 3]] * 20
    history = [{"epoch": epoch, "course": course} for epoch in range(1, epochs + 1)]
    points = points_of(history, epochs)
    assert len(points) == count
    assert [point["epoch"] for point in points] == sorted(point["epoch"] for point in points)
    assert points[0] == {"epoch": 0.05, "loss": 0.3333, "accuracy": 0.6667}
    assert points_of([{"epoch": 1}], 1) == []


def test_no_torch_where_it_only_looks(finished: Finished, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mnistry.server.trainings import Trainings\n"
        "found = Trainings(Path(sys.argv[1])).to_dict()\n"
        "assert found['available'] and found['trainings'][0]['state'] == 'done'\n"
        "assert not {'torch', 'matplotlib', 'safetensors', 'onnx'} & set(sys.modules)\n"
    )
    folder = str(finished.trainings.folder)
    subprocess.run([sys.executable, "-c", code, folder], check=True, cwd=tmp_path)


def test_which_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST where it is on this machine, without a question to the network; else pen."""
    monkeypatch.setattr(trainee, "load_dataset", lambda name, **_: name)
    load: Any = trainee._load
    monkeypatch.delenv("MNISTRY_DATA", raising=False)
    assert load("pen:train=10", None) == "pen:train=10"
    assert load(None, None) == "pen"
    folder = Path(os.environ["MNISTRY_CACHE"]) / "mnist"
    folder.mkdir(parents=True)
    for file in CATALOGUE["mnist"].files:
        assert load(None, None) == "pen"
        (folder / file.name).touch()
    assert load(None, None) == "mnist"
    shutil.rmtree(folder)
    monkeypatch.setenv("MNISTRY_DATA", str(tmp_path))
    assert load(None, None) == "mnist"
