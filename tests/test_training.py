"""Tests of mnistry.training: what it is told, what it leaves behind, the tutorials' figures."""

import _thread
import dataclasses
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from digits import make_digits
from mnistry import runfolder, trainer, training
from mnistry.errors import DataError, MnistryError, ModelError, UsageError
from mnistry.optimizer import SGD
from mnistry.recipe import PRESETS, TUTORIALS, Recipe
from mnistry.trainer import Progress
from mnistry.training import train
from networks import NETWORKS, Stop

Floats = NDArray[np.float64]
DATA = make_digits()
SMALL = make_digits(train=50, test=20)


# -------------------------------------------------------------------------- what it is told


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr(trainer, "_STEPS_AT_A_TIME", 1)
    monkeypatch.setattr(trainer, "_TELL_EVERY", -1.0)  # after every step
    run = train("vidhya-mlp", data=DATA, epochs=2, batch_size=100, progress=told.append)
    steps = [(p.epoch, p.done) for p in told if p.record is None]
    assert steps == [(e, done) for e in (1, 2) for done in (100, 200, 300, 320)]
    ends = [p for p in told if p.record is not None]
    assert [(p.epoch, p.done) for p in ends] == [(1, 320), (2, 320)]
    assert [p.record for p in ends] == run.history
    assert {(p.epochs, p.total) for p in told} == {(2, 320)}
    assert told[-1] is ends[-1]
    assert [(p.loss, p.accuracy) for p in ends] == [(r["loss"], r["accuracy"]) for r in run.history]
    for end in ends:  # what is told of the parts is, together, what is told of the epoch
        parts = [p for p in told if p.epoch == end.epoch and p.record is None]
        sizes = (100, 100, 100, 20)
        for name in ("loss", "accuracy"):
            whole = sum(n * getattr(p, name) for n, p in zip(sizes, parts, strict=True)) / 320
            assert whole == pytest.approx(getattr(end, name))


def test_progress_is_not_told_at_every_step() -> None:
    told: list[Progress] = []
    run = train("vidhya-mlp", data=DATA, epochs=3, batch_size=1, progress=told.append)
    seconds = sum(record["seconds"] for record in run.history)
    assert 3 <= len(told) <= 3 + seconds / 0.1 + 1


def test_arguments_replace_the_recipes_own() -> None:
    run = train(
        "nvidia-mlp",
        data=SMALL,
        epochs=1,
        batch_size=10,
        learning_rate=0.02,
        optimizer="adam",
        validation="none",
        settings={"units": "12,14"},
        seed=77,
        threads=1,
        device="cpu",
        precision="float32",
    )
    base = PRESETS["nvidia-mlp"].with_settings({"units": "12,14"})
    assert run.recipe == dataclasses.replace(
        *(base,), epochs=1, batch_size=10, learning_rate=0.02, optimizer="adam", validation="none"
    )
    assert run.config["recipe"] == run.recipe.to_dict()
    wanted = {"seed": 77, "threads": 1, "device": "cpu", "precision": "float32"}
    assert {key: run.config[key] for key in wanted} == wanted
    data = run.config["data"]
    assert (data["train"], data["test"], data["place"]) == (50, 20, None)
    assert data["classes"] == list("0123456789")
    assert len(data["sha256"]) == 64
    assert run.config["versions"]["torch"] == torch.__version__
    assert run.config["hardware"]["cores"]
    assert run.path is None


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"recipe": "resnet"}, UsageError, "'resnet' is no preset"),
        ({"epochs": 0}, UsageError, "epochs is 0"),
        ({"batch_size": 0}, UsageError, "batch_size is 0"),
        ({"learning_rate": -1}, UsageError, "learning_rate is -1"),
        ({"optimizer": "lion"}, UsageError, "optimizer is 'lion'"),
        ({"validation": "some"}, UsageError, "validation is 'some'"),
        ({"settings": {"filters": "3"}}, UsageError, "--set filters"),
        ({"seed": -1}, UsageError, "seed is -1; expected a whole number of at least 0"),
        ({"seed": 2**64}, UsageError, "seed is 18446744073709551616"),
        ({"seed": 1.5}, UsageError, "seed is 1.5"),
        ({"threads": 0}, UsageError, "threads is 0; expected"),
        ({"threads": 10**10}, UsageError, "threads is 10000000000; expected"),
        ({"threads": 1.5}, UsageError, "threads is 1.5; expected"),
        ({"device": "tpu"}, UsageError, "device 'tpu' is not to be had here; expected auto or cpu"),
        ({"precision": "float16"}, UsageError, "precision is 'float16'; expected one of auto, fl"),
        ({"data": "nowhere/at/all"}, DataError, "nowhere/at/all"),
        ({"data": (SMALL[0],)}, UsageError, "data: expected a name, a path, or"),
        ({"validation": "split", "data": make_digits(1, 1)}, UsageError, "validation: is 1"),
    ],
)
def test_arguments_that_no_training_could_use(
    arguments: dict[str, Any], error: type[MnistryError], words: str, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    recipe = arguments.get("recipe", "vidhya-mlp")
    rest = {key: value for key, value in arguments.items() if key != "recipe"}
    with pytest.raises(error, match=words):
        train(recipe, **{"data": SMALL, "out": out, "epochs": 1, **rest})
    assert not out.exists() or not (out / runfolder.WEIGHTS).exists()


class Fails(nn.Linear):
    """Gives logits when it is tried, and fails in training."""

    def __init__(self) -> None:
        super().__init__(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1) if not self.training else x)


class NeedsTwo(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))


class Detached(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Double(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


class Nothing(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10]


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Fails, "fails.*RuntimeError"),
        (NeedsTwo, "fails.*ValueError: Expected more than 1 value"),  # a last batch of one image
        (Detached, "fails.*RuntimeError"),
        (Double, "fails in training, on 7 images: RuntimeError.*dtype"),
        (Nothing, "nothing: the network has no parameters; there is none to train"),
        (lambda: 3, "gave int; expected a torch module"),
    ],
)
def test_own_networks_that_cannot_be_trained(network: Any, words: str) -> None:
    name = getattr(network, "__name__", "").lower()
    with pytest.raises(ModelError, match=words):
        train(Recipe(name, network, batch_size=7), data=SMALL, epochs=1)


@pytest.mark.parametrize("name", ["cnn", "own"])
def test_a_training_that_diverges(name: str, tmp_path: Path) -> None:
    recipe = dataclasses.replace(NETWORKS[name], optimizer="sgd", learning_rate=9e29)
    with pytest.raises(ModelError, match=r"diverged in epoch 1 .*try a --learning-rate below 9e"):
        train(recipe, data=DATA, epochs=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()  # to go on with it would end the same way


def test_a_last_step_that_diverges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss was taken before that step; the weights are not numbers all the same."""

    def step(self: SGD, parameters: Tensor, gradient: Tensor) -> None:
        parameters[3] = float("inf")

    monkeypatch.setattr(SGD, "step", step)
    with pytest.raises(ModelError, match="diverged in epoch 1"):
        train(NETWORKS["sgd"], data=SMALL, epochs=1, batch_size=50, out=tmp_path / "run")
    assert not (tmp_path / "run" / runfolder.WEIGHTS).exists()


# -------------------------------------------------------------------- what it leaves behind


def flushes() -> bool:
    return bool((torch.tensor(1e-39) * 1.5).item() == 0)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_threads_and_flushing_are_put_back(before: bool, fails: bool) -> None:
    threads = torch.get_num_threads()
    seen: list[tuple[int, bool]] = []

    def progress(_: Progress) -> None:
        seen.append((torch.get_num_threads(), flushes()))
        if fails:
            raise KeyboardInterrupt

    try:
        torch.set_num_threads(1)
        torch.set_flush_denormal(before)
        if fails:
            with pytest.raises(KeyboardInterrupt):
                train("vidhya-mlp", data=SMALL, epochs=1, threads=2, progress=progress)
        else:
            train("vidhya-mlp", data=SMALL, epochs=1, threads=2, progress=progress)
        assert seen == [(2, True)]
        assert (torch.get_num_threads(), flushes()) == (1, before)
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["cnn", "own"])
def test_the_callers_random_numbers_are_left_alone(name: str) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1]
    train(NETWORKS[name], data=SMALL, epochs=2, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])


class Watch:
    """Tensors made since: whether they are alive, and how much memory they hold."""

    def __init__(self) -> None:
        self.during: list[weakref.ref[Tensor]] = []

    def new(self) -> list[Tensor]:
        gc.collect()
        return [o for o in gc.get_objects() if issubclass(type(o), Tensor)]

    def look(self, _: Progress | None = None) -> None:
        self.during += map(weakref.ref, self.new())

    def new_bytes(self) -> int:
        storages = [tensor.untyped_storage() for tensor in self.new()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    def alive(self) -> int:
        gc.collect()
        return len({id(tensor) for reference in self.during if (tensor := reference()) is not None})


@pytest.fixture
def watch() -> Iterator[Watch]:
    gc.collect()
    gc.freeze()  # what was there before is not looked at
    yield Watch()
    gc.unfreeze()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_memory_is_released_after_success(name: str, watch: Watch) -> None:
    run = train(NETWORKS[name], data=DATA, epochs=1, progress=watch.look)
    assert len(watch.during) >= 10
    tensors = [*run.network.parameters(), *run.network.buffers()]
    # What lives is the network, in no more memory than its own numbers need.
    assert watch.new_bytes() == sum(t.numel() * t.element_size() for t in tensors)
    assert watch.alive() <= len(tensors)
    del run, tensors
    assert watch.new_bytes() == 0
    assert watch.alive() == 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
@pytest.mark.parametrize("at_end", [False, True])
def test_the_memory_is_released_after_an_error(
    name: str,
    error: type[BaseException],
    at_end: bool,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainer, "_STEPS_AT_A_TIME", 1)
    monkeypatch.setattr(trainer, "_TELL_EVERY", -1.0)

    def progress(told: Progress) -> None:
        if (told.record is not None) == at_end:
            watch.look()
            raise error

    with pytest.raises(error) as caught:
        train(NETWORKS[name], data=DATA, epochs=1, progress=progress)
    assert len(watch.during) >= 10
    # While the error is still looked at, as in a notebook.
    assert caught.value is not None
    assert watch.new_bytes() == 0
    assert watch.alive() == 0


def test_the_memory_is_released_after_an_own_network_fails(watch: Watch) -> None:
    with pytest.raises(ModelError) as caught:
        train(Recipe("needs-two", NeedsTwo, batch_size=7), data=SMALL, epochs=1)
    assert caught.value.__cause__ is not None
    assert watch.new_bytes() == 0


MEMORY = """
import sys
import numpy as np
import mnistry

def resident():
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (60000, 28, 28), np.uint8), rng.integers(0, 10, 60000)
data = (images, labels.astype(np.uint8)), (images[:10], labels[:10].astype(np.uint8))
tiny = tuple((x[:100], y[:100]) for x, y in data)
mnistry.train(sys.argv[1], data=tiny, epochs=1, batch_size=1000)
before, during = resident(), []

def progress(told):
    during.append(resident())
    if sys.argv[2] == "fail":
        raise RuntimeError("stop")

try:
    mnistry.train(sys.argv[1], data=data, epochs=1, batch_size=1000, progress=progress)
except RuntimeError as error:
    kept = error
print(max(during) - before, resident() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["succeed", "fail"])
def test_the_system_gets_the_memory_back(how: str, tmp_path: Path) -> None:
    """The resident memory of a process, which sees also what Python's own list does not."""
    path = tmp_path / "memory.py"
    path.write_text(MEMORY)
    done = subprocess.run(
        [sys.executable, path, "vidhya-mlp", how], capture_output=True, text=True, check=True
    )
    grown, left = map(float, done.stdout.split())
    assert grown > 170  # MiB: the images alone, as float32
    assert left < 40


# ----------------------------------------------------------------- the presets' own figures


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", *TUTORIALS])
def test_a_preset_reaches_its_figures(name: str, mnist_dir: Path) -> None:
    run = train(name, data_dir=mnist_dir, seed=0)
    assert len(run.history) == PRESETS[name].epochs
    test, last = run.evaluate(data_dir=mnist_dir), run.history[-1]
    if name == "fast":
        assert test.accuracy >= 0.987
    elif name == "datumo-cnn":
        assert test.accuracy >= 0.984
    elif name == "nvidia-mlp":
        assert last["val_accuracy"] >= 0.975
        assert last["val_accuracy"] == test.accuracy
    elif name == "devto-mlp":
        assert test.accuracy >= 0.967
    else:
        assert abs(last["accuracy"] - 0.9788) <= 0.004
        assert test.accuracy > 0.96


@pytest.mark.parametrize("after", [0.0, 0.25])
def test_an_interrupt_waits_for_the_step_that_is_running(after: float) -> None:
    """A thread left behind would compute on, and abort the interpreter at its end."""
    ended = []

    def work() -> Any:
        time.sleep(after)
        _thread.interrupt_main()
        time.sleep(0.5)
        ended.append(True)

    stop = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        training._in_a_fresh_thread(work, stop)
    assert stop.is_set()
    assert ended
    assert "mnistry-training" not in [thread.name for thread in threading.enumerate()]
