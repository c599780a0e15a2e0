"""Tests of mnistry.trainer: a step held against numpy, and the epochs."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import mnistry
from digits import make_digits
from mnistry import trainer
from mnistry.dataset import Dataset
from mnistry.errors import ModelError
from mnistry.evaluation import evaluate
from mnistry.layers import Conv, Dense, LayerRow, MaxPool, describe_layers
from mnistry.model import build
from mnistry.recipe import PRESETS, TUTORIALS, Recipe
from mnistry.trainer import Progress
from mnistry.training import train
from networks import NETWORKS, NORMALISED, OWN, Own, bits_of, figures_of

Floats = NDArray[np.float64]
DATA = make_digits()
SMALL = make_digits(train=50, test=20)


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


def row_shape(n: int, row: LayerRow) -> tuple[int, ...]:
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


@pytest.mark.parametrize("name", TUTORIALS)
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
        monkeypatch.setattr(trainer, "can_write", lambda _: False)
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
    data = make_digits(2000, 200)
    run = train(recipe, data=data, seed=0)
    losses = [record["loss"] for record in run.history]
    assert losses[-1] < 0.7 * losses[0]
    assert run.evaluate(data).accuracy > 0.65  # of what other writers wrote
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
            assert list(record) == ["epoch", *figures, "seconds", "repeatable", "course"]
            assert record["epoch"] == number
            assert record["seconds"] > 0
            assert all(type(record[name]) is float for name in figures)
            assert 0 <= record["accuracy"] <= 1
            count = 45 if validation == "split" else 50
            sizes = [len(part) for part in np.array_split(np.arange(count), 20)]
            course = np.average(record["course"], axis=0, weights=sizes)
            assert course == pytest.approx([record["loss"], record["accuracy"]])
        json.dumps(run.history, allow_nan=False)


@pytest.mark.parametrize("name", [name for name in NETWORKS if NETWORKS[name].members == 1])
def test_validation_on_the_test_images(name: str) -> None:
    recipe = dataclasses.replace(NETWORKS[name], test_shifts=int(name == "normalised"))
    run = train(recipe, data=DATA, epochs=2, validation="test")
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
            assert run.evaluate(DATA).accuracy > 0.4  # after 100 steps, and by guessing 0.1
            assert all(
                tensor.dtype == torch.float32
                for tensor in run.network.state_dict().values()
                if tensor.is_floating_point()
            )
        assert kinds[1].config["precision"] == "bfloat16"


@pytest.mark.parametrize("name", ["cnn", "rmsprop"])
def test_what_was_computed_before_does_not_change_the_bits(name: str) -> None:
    """Threads that were made without the flushing of small numbers must flush them too."""
    code = (
        "import sys, torch, mnistry\n"
        "from digits import make_digits\n"
        "from networks import NETWORKS, bits_of\n"
        "torch.set_num_threads(2)\n"
        "if sys.argv[2] == 'used':\n"
        "    torch.rand(600, 600) @ torch.rand(600, 600)\n"
        "run = mnistry.train(NETWORKS[sys.argv[1]], data=make_digits(), epochs=2, threads=2)\n"
        "print(hash(tuple(sorted(bits_of(run).items()))))\n"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code, name, before],
            env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(Path(__file__).parent)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for before in ("fresh", "used")
    ]
    assert printed[0] == printed[1]
    assert printed[0].strip()


def test_tiny_numbers_are_flushed_in_every_thread() -> None:
    tiny = torch.full((4_000_000,), 1e-40)
    counts = []

    def count(_: Progress) -> None:
        counts.append(int((tiny * 1.5).count_nonzero()))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert (tiny * 1.5).count_nonzero() == len(tiny)  # both threads are there, and do not flush
        train(NETWORKS["cnn"], data=SMALL, epochs=2, threads=2, progress=count)
        assert counts == [0] * len(counts)
        assert len(counts) >= 2
        assert (tiny * 1.5).count_nonzero() == len(tiny)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", [NORMALISED, OWN], ids=lambda recipe: recipe.name)
def test_members_are_trained_as_alone_and_averaged(recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, epochs=2, validation="test")
    run = train(recipe, data=SMALL, seed=5, members=3)
    alone = [train(recipe, data=SMALL, seed=seed) for seed in (5, 6, 7)]
    assert len(run.history) == 6
    figures = [record["val_loss"] for record in run.history]
    assert figures == [record["val_loss"] for each in alone for record in each.history]
    images = SMALL[1][0]
    mean = np.mean([each.predict(images) for each in alone], axis=0)
    np.testing.assert_allclose(run.predict(images), mean, rtol=1e-4, atol=1e-6)
    assert np.abs(mean - alone[0].predict(images)).max() > 1e-3, "they are all the same"


def test_progress_counts_every_members_epochs() -> None:
    told: list[Progress] = []
    train("vidhya-mlp", data=SMALL, epochs=2, members=2, progress=told.append)
    assert [(t.epoch, t.epochs) for t in told if t.record] == [(n, 4) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_where_the_processor_has_it(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: has)
    for device in map(torch.device, ("cpu", "cuda")):
        assert trainer._use_bfloat16("auto", device) is has
        assert trainer._use_bfloat16("bfloat16", device)
        assert not trainer._use_bfloat16("float32", device)
    run = train(NETWORKS["everything"], data=SMALL, epochs=1)
    assert run.config["precision"] == ("bfloat16" if has else "float32")


def test_the_written_step_and_autograd_train_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything that an update has, on images changed in the same way."""
    recipe = dataclasses.replace(NORMALISED, epochs=2, learning_rate=0.001)
    written = train(recipe, data=SMALL, threads=1)
    monkeypatch.setattr(trainer, "can_write", lambda _network: False)
    other = train(recipe, data=SMALL, threads=1, precision="float32")
    images = SMALL[1][0]
    np.testing.assert_allclose(written.predict(images), other.predict(images), atol=2e-3)
    assert bits_of(written) != bits_of(other), "the same path twice"


@pytest.mark.parametrize("name", ["everything", "members"])
def test_a_replayed_step_trains_alike(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU the step is recorded; here what is recorded is simply done again."""
    recipe = dataclasses.replace(NETWORKS[name], epochs=2, batch_size=8)
    monkeypatch.setattr(trainer, "can_write", lambda _network: False)
    plain = train(recipe, data=SMALL, threads=1, precision="float32")
    begin, captured = trainer.Trainer._begin, []

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        """As a CUDA graph: recording does nothing yet; replaying takes no arguments."""
        captured.append(work)
        return work

    def begin_replayed(self: trainer.Trainer, member: int) -> None:
        begin(self, member)
        self.step = trainer.Replayed(self._backpropagate, capture)

    monkeypatch.setattr(trainer.Trainer, "_begin", begin_replayed)
    replayed = train(recipe, data=SMALL, threads=1, precision="float32")
    assert bits_of(replayed) == bits_of(plain)
    assert figures_of(replayed) == figures_of(plain)
    assert len(captured) == recipe.members, "recorded once for each network"


def test_what_is_replayed() -> None:
    done: list[int] = []

    def double(x: Tensor) -> Tensor:
        done.append(len(x))
        return 2 * x

    recorded: list[Tensor] = []

    def capture(work: Callable[[], None]) -> Callable[[], object]:
        """As a CUDA graph: from now on it reads and writes the memory that it has seen."""
        work()
        source, target = step.x, step.output
        recorded.append(source)
        return lambda: torch.mul(source, 2, out=target)

    step = trainer.Replayed(double, capture)
    for number, size in enumerate((4, 4, 4, 2, 4, 2, 4)):
        x = torch.full((size,), float(number))
        assert torch.equal(step(x), 2 * x)
    assert done == [4, 4, 4, 2, 4, 2], "the last one was replayed"
    assert [len(x) for x in recorded] == [4]
