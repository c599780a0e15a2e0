"""Tests of training that is killed, or finds no room, and of going on with it."""

import dataclasses
import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mnistry
from digits import make_digits, write_digits
from mnistry import runfolder
from mnistry.errors import DataError, ModelError, StorageError, UsageError
from mnistry.trainer import Progress
from mnistry.training import resume, train
from networks import Stop, bits_of, figures_of

Floats = NDArray[np.float64]
DATA = make_digits()
SMALL = make_digits(train=50, test=20)


# -------------------------------------------------------------------------------- recovery

# A process that starts others which train: each is killed (SIGKILL, no clean-up of any kind) at
# the moment that its line of input says. It imports once and forks, or each would take seconds.
KILLER = """
import json, os, signal, sys, time
import torch
torch.set_num_threads(1)
import matplotlib.figure, matplotlib.ticker, matplotlib.backends.backend_agg
import mnistry, mnistry.trainer, mnistry.training

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def train(job):
    seen = 0
    def progress(told):
        nonlocal seen
        seen += "progress" in job
        if seen == job.get("progress"):
            die()
    def audit(event, args):
        nonlocal seen
        writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir") or (
            event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if writes and str(args[0]).startswith(job["root"]):
            seen += 1
            if seen == job["event"]:
                die()
    if "event" in job:
        sys.addaudithook(audit)
    if "progress" in job:  # after every step
        mnistry.trainer._TELL_EVERY, mnistry.trainer._STEPS_AT_A_TIME = -1.0, 1
    mnistry.train(job["recipe"], out=job["root"] + "/run", progress=progress, **job["arguments"])

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        code = 9
        try:
            train(job)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    if "seconds" in job:
        time.sleep(job["seconds"])
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""

OWN_FILE = """
from torch import nn

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(576, 10)

    def forward(self, x):
        return self.head(self.drop(self.norm(self.conv(x)).relu().flatten(1)))
"""

Killer = Callable[..., int]


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    """Starts a training in a process of its own and kills it; gives its exit code."""
    script = tmp_path_factory.mktemp("killer") / "killer.py"
    script.write_text(KILLER)
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def start(case: "Case", root: Path, **moment: float) -> int:
            root.mkdir()
            job = {"recipe": case.recipe, "arguments": case.arguments, "root": str(root), **moment}
            print(json.dumps(job), file=process.stdin, flush=True)
            assert process.stdout is not None
            return int(process.stdout.readline())

        yield start
        process.stdin.close()


@dataclasses.dataclass
class Case:
    recipe: str
    arguments: dict[str, Any]
    whole: mnistry.Run
    seconds: float


@pytest.fixture(scope="module", params=["datumo-cnn", "nvidia-mlp", "own"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A training and how it ends when nobody kills it."""
    folder = tmp_path_factory.mktemp("case")
    data = write_digits(folder / "data", make_digits(150, 40))
    recipe, settings = request.param, {"units": "24"}
    if recipe == "datumo-cnn":
        settings["filters"] = "4"
    if recipe == "own":
        (folder / "own_net.py").write_text(OWN_FILE)
        recipe, settings = f"{folder / 'own_net.py'}:Own", {}
    arguments: dict[str, Any] = {
        "data": str(data),
        "epochs": 3,
        "batch_size": 40,
        "seed": 4,
        "threads": 1,
        "precision": "float32",
        "settings": settings,
        "validation": "split",
    }
    train(recipe, out=folder / "warm", **arguments)
    whole = train(recipe, out=folder / "whole", **arguments)
    return Case(recipe, arguments, whole, sum(record["seconds"] for record in whole.history))


def finish(case: Case, folder: Path) -> str:
    """Resumes what was killed, and asserts that it ends as if it had not been."""
    if not folder.exists():
        with pytest.raises(ModelError, match="no such folder"):
            resume(folder)
        return "nothing"
    if (folder / runfolder.WEIGHTS).exists():
        with pytest.raises(UsageError, match="its training is finished"):
            resume(folder)
        run, state = mnistry.load_run(folder), "finished"
    else:
        state = "checkpoint" if (folder / runfolder.CHECKPOINT).exists() else "config"
        with pytest.raises(ModelError, match="its training did not finish"):
            mnistry.load_run(folder)
        run = resume(folder)
        assert {path.name for path in folder.iterdir()} == {
            *(runfolder.CONFIG, runfolder.HISTORY, runfolder.WEIGHTS, runfolder.CURVES)
        }
        assert bits_of(mnistry.load_run(folder)) == bits_of(run)
    assert bits_of(run) == bits_of(case.whole)
    assert figures_of(run) == figures_of(case.whole)
    return state


# Steps: four an epoch (135 images by 40), and one report at its end.
@pytest.mark.parametrize(
    ("step", "state"),
    [
        (1, "config"),
        (3, "config"),
        (5, "config"),  # before the first checkpoint is written
        (6, "checkpoint"),
        (8, "checkpoint"),
        (15, "checkpoint"),  # before the results are written
    ],
)
def test_killed_in_training(
    killer: Killer, case: Case, tmp_path: Path, step: int, state: str
) -> None:
    assert killer(case, tmp_path / "root", progress=step) == -9
    assert finish(case, tmp_path / "root" / "run") == state


@pytest.mark.slow
def test_killed_before_the_writing_of_any_file(killer: Killer, case: Case, tmp_path: Path) -> None:
    """Before each file or folder is opened, moved or removed, one after the other."""
    states = []
    for event in itertools.count(1):
        root = tmp_path / str(event)
        code = killer(case, root, event=event)
        states.append(finish(case, root / "run"))
        if code == 0:
            break
        assert code == -9
    assert len(states) > 15
    assert set(states) == {"nothing", "config", "checkpoint", "finished"}
    order = ["nothing", "config", "checkpoint", "finished"]
    assert [order.index(state) for state in states] == sorted(map(order.index, states))


@pytest.mark.slow
def test_killed_at_any_moment(killer: Killer, case: Case, tmp_path: Path) -> None:
    moments, killed = random.Random(3), 0
    for attempt in range(40):
        root = tmp_path / str(attempt)
        seconds = moments.uniform(0, 2 * case.seconds + 0.3)
        killed += killer(case, root, seconds=seconds) == -9
        finish(case, root / "run")
    assert killed > 5


def test_killed_again_and_again(killer: Killer, case: Case, tmp_path: Path) -> None:
    """A training that was resumed can be stopped and resumed like any other."""
    folder = tmp_path / "root" / "run"
    assert killer(case, tmp_path / "root", progress=6) == -9

    def stop(told: Progress) -> None:
        if told.record is not None and told.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        resume(folder, progress=stop)
    assert finish(case, folder) == "checkpoint"


@pytest.mark.slow
def test_killed_on_two_threads(tmp_path: Path) -> None:
    """A whole process of its own, the preset in full, on as many threads as there are."""
    data = write_digits(tmp_path / "data", make_digits(3000, 200))
    script = tmp_path / "train.py"
    script.write_text(
        "import os, signal, sys, mnistry, mnistry.trainer\n"
        "mnistry.trainer._TELL_EVERY, mnistry.trainer._STEPS_AT_A_TIME, steps = -1.0, 1, []\n"
        "def progress(told):\n"
        "    steps.append(told)\n"
        "    if len(steps) == int(sys.argv[2]): os.kill(os.getpid(), signal.SIGKILL)\n"
        f"mnistry.train('datumo-cnn', data={str(data)!r}, epochs=3, out=sys.argv[1], threads=2,\n"
        "              progress=progress)\n"
    )
    for step, code in ((-1, 0), (50, -9), (150, -9), (285, -9)):
        done = subprocess.run([sys.executable, script, tmp_path / str(step), str(step)])
        assert done.returncode == code
    whole = mnistry.load_run(tmp_path / "-1")
    for step in (50, 150, 285):
        assert bits_of(resume(tmp_path / str(step))) == bits_of(whole)


def stopped(case: Case, folder: Path, epoch: int = 1) -> None:
    """Leaves a run in a folder as one that was stopped in the epoch after."""

    def stop(told: Progress) -> None:
        if told.epoch > epoch:
            raise Stop

    with pytest.raises(Stop):
        train(case.recipe, out=folder, progress=stop, **case.arguments)
    assert (folder / runfolder.CHECKPOINT).exists()


def test_what_a_killed_writer_left_is_cleared(case: Case, tmp_path: Path) -> None:
    stopped(case, tmp_path / "run")
    for name in (".checkpoint.safetensors.01234567.part", ".0123456789abcdef.part"):
        (tmp_path / "run" / name).write_bytes(b"half a fi")
    (tmp_path / "run" / "notes.txt").write_text("the user's own")
    assert finish_beside(case, tmp_path / "run") == {"notes.txt"}


def finish_beside(case: Case, folder: Path) -> set[str]:
    run = resume(folder)
    assert bits_of(run) == bits_of(case.whole)
    own = {runfolder.CONFIG, runfolder.HISTORY, runfolder.WEIGHTS, runfolder.CURVES}
    found = {path.name for path in folder.iterdir()}
    assert own <= found
    return found - own


def test_what_cannot_be_resumed(case: Case, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder; expected a run folder"):
        resume(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is no folder"):
        resume(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config.json: cannot be read"):
        resume(tmp_path / "empty")
    assert case.whole.path is not None
    before = {path: path.read_bytes() for path in case.whole.path.iterdir()}
    with pytest.raises(UsageError, match="its training is finished; start another"):
        resume(case.whole.path)
    assert {path: path.read_bytes() for path in case.whole.path.iterdir()} == before


def test_data_that_has_changed(case: Case, tmp_path: Path) -> None:
    data = write_digits(tmp_path / "data", make_digits(150, 40))
    case = dataclasses.replace(case, arguments={**case.arguments, "data": str(data)})
    stopped(case, tmp_path / "run")
    write_digits(data, make_digits(150, 40, seed=1))
    checkpoint = (tmp_path / "run" / runfolder.CHECKPOINT).read_bytes()
    with pytest.raises(DataError, match=r"is not the data that .* was trained on"):
        resume(tmp_path / "run")
    for path in data.iterdir():
        path.unlink()
    with pytest.raises(DataError):
        resume(tmp_path / "run")
    assert (tmp_path / "run" / runfolder.CHECKPOINT).read_bytes() == checkpoint
    write_digits(data, make_digits(150, 40))
    assert bits_of(resume(tmp_path / "run")) == bits_of(case.whole)


def test_arrays_cannot_be_found_again(tmp_path: Path) -> None:
    def stop(told: Progress) -> None:
        raise Stop

    with pytest.raises(Stop):
        train("vidhya-mlp", data=SMALL, out=tmp_path / "run", progress=stop)
    with pytest.raises(UsageError, match="was trained on arrays, which are not kept"):
        resume(tmp_path / "run")


def test_an_own_network_that_has_changed(tmp_path: Path) -> None:
    data = write_digits(tmp_path / "data", SMALL)
    path = tmp_path / "net_that_changes.py"
    path.write_text(OWN_FILE)

    def stop(told: Progress) -> None:
        if told.epoch > 1:
            raise Stop

    with pytest.raises(Stop):
        train(f"{path}:Own", data=data, epochs=2, out=tmp_path / "run", progress=stop)
    for change in (OWN_FILE.replace("Conv2d(1, 4", "Conv2d(1, 5"), OWN_FILE.replace("0.2", "0.3")):
        path.write_text(change)
        with pytest.raises(ModelError, match=r"has no usable recipe .*is gone or has changed"):
            resume(tmp_path / "run")
    path.unlink()
    with pytest.raises(ModelError, match=r"has no usable recipe .*is gone or has changed"):
        resume(tmp_path / "run")


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_disk_that_fills_up_while_training(
    case: Case, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it is that does not fit: the training goes on once there is room again."""
    calls = itertools.count(0)

    def fsync(descriptor: int) -> None:
        if next(calls) == call:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(runfolder.os, "fsync", fsync)
        with pytest.raises(StorageError, match="No space left on device"):
            train(case.recipe, out=tmp_path / "run", **case.arguments)
    assert not list(tmp_path.rglob("*.part"))
    assert finish(case, tmp_path / "run") == ("config" if call == 1 else "checkpoint")
