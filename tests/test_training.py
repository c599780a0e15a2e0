"""Tests of mnistry.training: the step, the loop, what it leaves behind, and recovery."""

import dataclasses
import gc
import itertools
import json
import random
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import mnistry
from digits import make_digits, write_digits
from mnistry import runfolder, training
from mnistry.dataset import Dataset
from mnistry.errors import DataError, MnistryError, ModelError, StorageError, UsageError
from mnistry.evaluation import evaluate
from mnistry.model import build
from mnistry.optimizer import SGD
from mnistry.recipe import PRESETS, Conv, Dense, MaxPool, Recipe, describe_layers
from mnistry.training import Progress, resume, train

Floats = NDArray[np.float64]
DATA = make_digits()
SMALL = make_digits(train=50, test=20)


def bits_of(run: mnistry.Run) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in run.network.state_dict().items()}


def figures_of(run: mnistry.Run) -> list[dict[str, float]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.history]


# ------------------------------------------------------- a step, written out in numpy float64


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def forward(recipe: Recipe, weights: dict[str, Floats], x: Floats) -> tuple[Floats, list[Any]]:
    """Logits, and what the way back needs of each layer."""
    assert not callable(recipe.network)
    kept: list[Any] = []
    for layer, row in zip(recipe.network, describe_layers(recipe.network), strict=True):
        if isinstance(layer, Conv):
            size = (layer.kernel_size, layer.kernel_size)
            seen = np.lib.stride_tricks.sliding_window_view(x, size, axis=(2, 3))
            x = np.tensordot(seen, weights[f"{row.name}.kernel"], ((1, 4, 5), (1, 2, 3)))
            x = x.transpose(0, 3, 1, 2) + weights[f"{row.name}.bias"][:, None, None]
            kept.append((seen, x > 0))
            x = np.maximum(x, 0)
        elif isinstance(layer, MaxPool):
            n, channels, height, width = x.shape
            p = layer.pool_size
            blocks = x[:, :, : height // p * p, : width // p * p]
            blocks = blocks.reshape(n, channels, height // p, p, width // p, p)
            blocks = blocks.transpose(0, 1, 2, 4, 3, 5).reshape(*row_shape(n, row), p * p)
            kept.append((x.shape, blocks.argmax(-1)))
            x = blocks.max(-1)
        elif isinstance(layer, Dense):
            seen = x
            x = x @ weights[f"{row.name}.kernel"] + weights[f"{row.name}.bias"]
            kept.append((seen, x > 0))
            if layer.activation == "relu":
                x = np.maximum(x, 0)
        else:
            kept.append(x.shape)
            x = x.reshape(len(x), -1)
    return x, kept


def row_shape(n: int, row: mnistry.recipe.LayerRow) -> tuple[int, ...]:
    return (n, *row.output_shape)


def backward(
    recipe: Recipe, weights: dict[str, Floats], kept: list[Any], gradient: Floats
) -> dict[str, Floats]:
    assert not callable(recipe.network)
    gradients: dict[str, Floats] = {}
    rows = describe_layers(recipe.network)
    for layer, row, memory in reversed(list(zip(recipe.network, rows, kept, strict=True))):
        if isinstance(layer, Conv):
            seen, positive = memory
            gradient = gradient * positive
            gradients[f"{row.name}.kernel"] = np.tensordot(gradient, seen, ((0, 2, 3), (0, 2, 3)))
            gradients[f"{row.name}.bias"] = gradient.sum((0, 2, 3))
        elif isinstance(layer, MaxPool):
            shape, chosen = memory
            p, spread = layer.pool_size, np.zeros(shape)
            n, c, i, j = np.indices(chosen.shape)
            spread[n, c, i * p + chosen // p, j * p + chosen % p] = gradient
            gradient = spread
        elif isinstance(layer, Dense):
            seen, positive = memory
            if layer.activation == "relu":
                gradient = gradient * positive
            gradients[f"{row.name}.kernel"] = seen.T @ gradient
            gradients[f"{row.name}.bias"] = gradient.sum(0)
            gradient = gradient @ weights[f"{row.name}.kernel"].T
        else:
            gradient = gradient.reshape(memory)
    return gradients


def train_in_numpy(
    recipe: Recipe, weights: dict[str, Floats], images: Any, labels: Any, misplaced: bool = False
) -> tuple[dict[str, Floats], list[tuple[float, float]]]:
    """Full-batch steps, one an epoch: the weights after, and each step's loss and accuracy.

    `misplaced` puts epsilon where PyTorch has it: after the root and the bias correction.
    """
    weights = {name: value.copy() for name, value in weights.items()}
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    x, one_hot = images[:, None] / 255.0, np.eye(10)[labels]
    rate, epsilon, figures = recipe.learning_rate, 1e-7, []
    for step in range(1, recipe.epochs + 1):
        logits, kept = forward(recipe, weights, x)
        probabilities = softmax(logits)
        right = float((probabilities.argmax(1) == labels).mean())
        figures.append(
            (float(-(one_hot * np.log(probabilities.clip(1e-7, 1 - 1e-7))).sum(1).mean()), right)
        )
        slopes = backward(recipe, weights, kept, (probabilities - one_hot) / len(x))
        for name, g in slopes.items():
            m, v = mean[name], square[name]
            if recipe.optimizer == "adam":
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                corrected = np.sqrt(1 - 0.999**step)
                root = np.sqrt(v) + epsilon * (corrected if misplaced else 1)
                weights[name] -= rate * corrected / (1 - 0.9**step) * m / root
            else:
                v += 0.1 * (g * g - v)
                root = np.sqrt(v) + epsilon if misplaced else np.sqrt(v + epsilon)
                weights[name] -= rate * g / root
    return weights, figures


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("path", ["written", "autograd"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_is_the_arithmetic_written_out(
    name: str, path: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(PRESETS[name], epochs=steps, validation="none")
    rng = np.random.default_rng(8)
    images = rng.integers(0, 256, (recipe.batch_size, 28, 28), dtype=np.uint8)
    labels = rng.integers(0, 10, recipe.batch_size).astype(np.uint8)
    if path == "autograd":
        monkeypatch.setattr(training, "can_write", lambda _: False)
    run = train(recipe, data=((images, labels), (images, labels)), seed=6, precision="float32")

    initial = build(recipe, seed=6).state_dict()
    before = {key: tensor.numpy().astype(np.float64) for key, tensor in initial.items()}
    expected, figures = train_in_numpy(recipe, before, images, labels)
    misplaced, _ = train_in_numpy(recipe, before, images, labels, misplaced=True)
    tolerance = 0.003 * steps * recipe.learning_rate  # a step's size is the learning rate
    noticed = 0.0
    for key, tensor in run.network.state_dict().items():
        assert np.abs(expected[key] - before[key]).max() > 0.5 * recipe.learning_rate
        np.testing.assert_allclose(
            tensor.numpy().astype(np.float64), expected[key], rtol=0, atol=tolerance, err_msg=key
        )
        noticed = max(noticed, np.abs(misplaced[key] - expected[key]).max())
    assert noticed > 20 * tolerance, "a misplaced epsilon would pass"
    for record, (loss, accuracy) in zip(run.history, figures, strict=True):
        assert record["loss"] == pytest.approx(loss, rel=2e-4)
        assert record["accuracy"] == accuracy


# ------------------------------------------------------------------------------- networks


class Own(nn.Module):
    """A network of the user's own, with everything that could break repeatability."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.1)
        )
        self.frozen = nn.Linear(576, 48)
        self.frozen.requires_grad_(False)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.frozen(self.features(x).flatten(1)))
        return logits


OWN = Recipe("own", Own, learning_rate=0.01)
NETWORKS: dict[str, Recipe] = {
    "cnn": PRESETS["datumo-cnn"].with_settings({"filters": "4", "units": "20"}),
    "rmsprop": PRESETS["nvidia-mlp"].with_settings({"units": "32"}),
    "sgd": dataclasses.replace(PRESETS["vidhya-mlp"], optimizer="sgd", learning_rate=0.1),
    "own": OWN,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_seed_decides_every_bit(name: str, threads: int) -> None:
    def once(seed: int) -> mnistry.Run:
        return train(NETWORKS[name], data=DATA, epochs=2, seed=seed, threads=threads)

    first = once(1)
    torch.rand(5)  # what the caller draws meanwhile does not matter
    again, other = once(1), once(2)
    assert bits_of(first) == bits_of(again)
    assert figures_of(first) == figures_of(again)
    assert bits_of(first) != bits_of(other)
    assert first.history[0]["repeatable"] is True
    assert first.config["repeatable"] is True


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns(name: str) -> None:
    recipe = dataclasses.replace(NETWORKS[name], batch_size=16, epochs=8)
    run = train(recipe, data=make_digits(800, 200), seed=0)
    losses = [record["loss"] for record in run.history]
    assert losses[-1] < losses[0] / 3
    assert run.evaluate(make_digits(800, 200)).accuracy > 0.9
    assert not run.network.training


def test_own_layers_keep_what_is_frozen_and_count_their_batches() -> None:
    fresh = build(OWN, seed=3).state_dict()
    run = train(OWN, data=SMALL, epochs=3, seed=3)
    state = run.network.state_dict()
    for name in ("frozen.weight", "frozen.bias", "unused"):
        assert torch.equal(state[name], fresh[name]), name
    for name in ("features.0.weight", "features.1.running_mean", "head.2.bias"):
        assert not torch.equal(state[name], fresh[name]), name
    assert state["features.1.num_batches_tracked"] == 3 * 2  # 50 images in batches of 32
    assert all(p.grad is None for p in run.network.parameters())
    assert [p.requires_grad for p in run.network.parameters()] == [
        p.requires_grad for p in Own().parameters()
    ]


def test_classes_that_are_not_ten() -> None:
    data = make_digits(260, 52, classes=26)
    run = train("vidhya-mlp", data=data, epochs=2)
    assert run.predict(data[1][0]).shape == (52, 26)
    assert run.recipe.network[-1] == Dense(26, "softmax")  # type: ignore[index]
    with pytest.raises(ModelError, match="own: the network gives 10 numbers an image; expected 26"):
        train(OWN, data=data)


# ----------------------------------------------------------------------------- the history


def test_the_records_of_the_history() -> None:
    for validation in ("none", "split", "test"):
        run = train("vidhya-mlp", data=SMALL, epochs=2, validation=validation)  # type: ignore[arg-type]
        figures = ["loss", "accuracy"]
        if validation != "none":
            figures += ["val_loss", "val_accuracy"]
        for number, record in enumerate(run.history, start=1):
            assert list(record) == ["epoch", *figures, "seconds", "repeatable"]
            assert record["epoch"] == number
            assert record["seconds"] > 0
            assert all(type(record[name]) is float for name in figures)
            assert 0 <= record["accuracy"] <= 1
        json.dumps(run.history, allow_nan=False)


@pytest.mark.parametrize("name", NETWORKS)
def test_validation_on_the_test_images(name: str) -> None:
    run = train(NETWORKS[name], data=DATA, epochs=2, validation="test")
    report = run.evaluate(DATA)
    assert run.history[-1]["val_accuracy"] == report.accuracy
    assert run.history[-1]["val_loss"] == pytest.approx(report.loss, rel=1e-5)


def test_validation_on_images_left_out_of_training() -> None:
    (x, y), _ = DATA
    told: list[Progress] = []
    run = train("vidhya-mlp", data=DATA, epochs=2, validation="split", progress=told.append)
    kept, held_out = Dataset(x, y).split(32, seed=0)
    report = evaluate(run.predict, held_out)
    assert run.history[-1]["val_accuracy"] == report.accuracy
    assert run.history[-1]["val_loss"] == pytest.approx(report.loss, rel=1e-5)
    assert {progress.total for progress in told} == {288}
    # It is the same as training on the rest alone.
    alone = train(
        "vidhya-mlp", data=((kept.images, kept.labels), DATA[1]), epochs=2, validation="none"
    )
    assert bits_of(run) == bits_of(alone)


@pytest.mark.parametrize("name", ["cnn", "sgd"])
def test_the_figures_are_means_over_every_image(name: str) -> None:
    """With steps too small to change a weight they are those of the fresh network."""
    recipe = dataclasses.replace(NETWORKS[name], optimizer="sgd", learning_rate=1e-30)
    for batch_size in (7, 32, 50, 64):  # 50 images: the last batch is smaller in two of them
        run = train(recipe, data=SMALL, epochs=2, batch_size=batch_size, validation="none")
        report = evaluate(run.predict, Dataset(*SMALL[0]))
        for record in run.history:
            assert record["loss"] == pytest.approx(report.loss, rel=1e-5)
            assert record["accuracy"] == report.accuracy


class Watches(nn.Module):
    seen: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            Watches.seen.append(x.detach().clone())
        logits: Tensor = self.line(x.flatten(1))
        return logits


def test_each_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    (x, _), _ = SMALL
    orders: list[list[int]] = []
    place = {np.float32(image / np.float32(255)).tobytes(): i for i, image in enumerate(x)}
    assert len(place) == 50
    for seed in (0, 1):
        Watches.seen = []
        train(Recipe("watches", Watches), data=SMALL, epochs=2, seed=seed, precision="float32")
        assert [len(batch) for batch in Watches.seen] == [32, 18, 32, 18]
        orders += [
            [place[image.numpy().tobytes()] for image in torch.cat(epoch)]
            for epoch in (Watches.seen[:2], Watches.seen[2:])
        ]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_bfloat16_learns_and_keeps_float32_weights() -> None:
    for recipe in (NETWORKS["cnn"], OWN):
        kinds = [
            train(recipe, data=DATA, epochs=5, batch_size=16, precision=precision)
            for precision in ("float32", "bfloat16")  # type: ignore[arg-type]
        ]
        assert bits_of(kinds[0]) != bits_of(kinds[1])
        for run in kinds:
            assert run.evaluate(DATA).accuracy > 0.8
            assert all(
                tensor.dtype == torch.float32
                for tensor in run.network.state_dict().values()
                if tensor.is_floating_point()
            )
        assert kinds[1].config["precision"] == "bfloat16"


# -------------------------------------------------------------------------- what it is told


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Progress] = []
    monkeypatch.setattr(training, "_STEPS_AT_A_TIME", 1)
    monkeypatch.setattr(training, "_TELL_EVERY", -1.0)  # after every step
    run = train("vidhya-mlp", data=DATA, epochs=2, batch_size=100, progress=told.append)
    steps = [(p.epoch, p.done) for p in told if p.record is None]
    assert steps == [(e, done) for e in (1, 2) for done in (100, 200, 300, 320)]
    ends = [p for p in told if p.record is not None]
    assert [(p.epoch, p.done) for p in ends] == [(1, 320), (2, 320)]
    assert [p.record for p in ends] == run.history
    assert {(p.epochs, p.total) for p in told} == {(2, 320)}
    assert told[-1] is ends[-1]


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
    assert not (tmp_path / "run" / runfolder.WEIGHTS).exists()


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


def live_tensors() -> dict[int, Tensor]:
    gc.collect()
    return {id(o): o for o in gc.get_objects() if issubclass(type(o), Tensor)}


class Watch:
    """Tensors made since: whether they are alive, and how much memory they hold."""

    def __init__(self) -> None:
        self.before = {key: weakref.ref(tensor) for key, tensor in live_tensors().items()}
        self.during: list[weakref.ref[Tensor]] = []

    def new(self) -> list[Tensor]:
        known = self.before
        return [t for key, t in live_tensors().items() if key not in known or known[key]() is not t]

    def look(self, _: Progress | None = None) -> None:
        self.during += map(weakref.ref, self.new())

    def new_bytes(self) -> int:
        storages = [tensor.untyped_storage() for tensor in self.new()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    def alive(self) -> int:
        gc.collect()
        return len({id(tensor) for reference in self.during if (tensor := reference()) is not None})


@pytest.mark.parametrize("name", NETWORKS)
def test_the_memory_is_released_after_success(name: str) -> None:
    watch = Watch()
    run = train(NETWORKS[name], data=DATA, epochs=1, progress=watch.look)
    assert len(watch.during) >= 10
    tensors = [*run.network.parameters(), *run.network.buffers()]
    # What lives is the network, in no more memory than its own numbers need.
    assert watch.new_bytes() == sum(t.numel() * t.element_size() for t in tensors)
    assert watch.alive() <= len(tensors)
    del run, tensors
    assert watch.new_bytes() == 0
    assert watch.alive() == 0


class Stop(Exception):  # noqa: N818
    pass


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_the_memory_is_released_after_an_error(
    name: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_STEPS_AT_A_TIME", 1)
    monkeypatch.setattr(training, "_TELL_EVERY", -1.0)
    for stop_at_end in (False, True):
        watch = Watch()

        def progress(told: Progress) -> None:
            if (told.record is not None) == stop_at_end:  # noqa: B023
                watch.look()  # noqa: B023
                raise error

        with pytest.raises(error) as caught:
            train(NETWORKS[name], data=DATA, epochs=1, progress=progress)
        assert len(watch.during) >= 10
        # While the error is still looked at, as in a notebook.
        assert caught.value is not None
        assert watch.new_bytes() == 0
        assert watch.alive() == 0


def test_the_memory_is_released_after_an_own_network_fails() -> None:
    watch = Watch()
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


# -------------------------------------------------------------------------------- recovery

# A process that starts others which train: each is killed (SIGKILL, no clean-up of any kind) at
# the moment that its line of input says. It imports once and forks, or each would take seconds.
KILLER = """
import json, os, signal, sys, time
import torch
torch.set_num_threads(1)
import matplotlib.figure, matplotlib.ticker, matplotlib.backends.backend_agg
import mnistry, mnistry.training

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
        mnistry.training._TELL_EVERY, mnistry.training._STEPS_AT_A_TIME = -1.0, 1
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
        "import os, signal, sys, mnistry, mnistry.training\n"
        "mnistry.training._TELL_EVERY, mnistry.training._STEPS_AT_A_TIME, steps = -1.0, 1, []\n"
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
    with pytest.raises(DataError, match=r"is not the data that .* was started on"):
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
    with pytest.raises(UsageError, match="was started on arrays, which are gone; train again"):
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
    path.write_text(OWN_FILE.replace("Conv2d(1, 4", "Conv2d(1, 5"))
    with pytest.raises(ModelError):
        resume(tmp_path / "run")
    path.unlink()
    with pytest.raises(ModelError, match=r"has no usable recipe .*no such file"):
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


# ----------------------------------------------------------------- the tutorials' own figures


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_reaches_its_tutorials_figures(name: str, mnist_dir: Path) -> None:
    run = train(name, data_dir=mnist_dir, seed=0)
    assert len(run.history) == PRESETS[name].epochs
    test, last = run.evaluate(data_dir=mnist_dir), run.history[-1]
    if name == "datumo-cnn":
        assert test.accuracy >= 0.984
    elif name == "nvidia-mlp":
        assert last["val_accuracy"] >= 0.975
        assert last["val_accuracy"] == test.accuracy
    elif name == "devto-mlp":
        assert test.accuracy >= 0.967
    else:
        assert abs(last["accuracy"] - 0.9788) <= 0.004
        assert test.accuracy > 0.96
