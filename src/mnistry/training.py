"""The training loop: a recipe and a data set in, a `Run` out."""

import gc
import itertools
import json
import math
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnistry import runfolder
from mnistry.backprop import WrittenGradient, can_write, flatten_parameters
from mnistry.dataset import Data, Dataset, DataSplits, as_splits, load_dataset
from mnistry.errors import DataError, ModelError, UsageError
from mnistry.metrics import EPSILON
from mnistry.model import build, logits_of
from mnistry.optimizer import make_optimizer
from mnistry.prepare import flatten, scale
from mnistry.recipe import Optimizer, Recipe, Validation, describe_layers, load_recipe
from mnistry.run import (
    History,
    Run,
    check_history,
    data_of,
    fill_network,
    network_arrays,
    recipe_of,
)
from mnistry.version import __version__

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]

_TELL_EVERY = 0.1  # seconds between two reports of progress
_STEPS_AT_A_TIME = 32
_SMALL = 5_000_000  # multiply-adds of a batch forwards, below which one thread is as fast as two
_MOST_THREADS = 1024
_SCORE_BATCH = 1000  # validation images at a time


@dataclass(frozen=True)
class Progress:
    """How far a training is: `done` of `total` images in epoch `epoch` of `epochs` (from 1).

    At an epoch's end `record` is its history record; before, it is None.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    record: Mapping[str, float] | None = None


def train(
    recipe: str | Recipe = "nvidia-mlp",
    *,
    data: Data = "mnist",
    data_dir: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    optimizer: Optimizer | None = None,
    validation: Validation | None = None,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    device: Device = "auto",
    precision: Precision = "auto",
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Trains a network.

    On a CPU the same seed and number of threads give the same bits; on a GPU they need not, and
    every record of the history says so.

    Args:
        recipe: A preset's name, "FILE.py:NAME", or a `Recipe`.
        data: A data set's name or path, as `load_dataset` takes it; or what that gives; or the
            arrays `(x_train, y_train), (x_test, y_test)`, as `load_data` gives them.
        data_dir: Where the public data set lies; by default MNISTRY_DATA, the cache, the mirrors.
        epochs: Passes over the training set; the recipe's own if left out, as are the next four.
        batch_size: Images in a step.
        learning_rate: Step size, above 0.
        optimizer: "adam", "rmsprop" or "sgd".
        validation: "none", "split" (a tenth of the training set) or "test".
        settings: The network's own numbers, as `Recipe.with_settings` takes them.
        seed: Decides the first weights and the order of the images; at least 0.
        threads: How many threads compute. By default as many as PyTorch takes, but one for a
            network so small that several would spend their time waiting for each other.
        device: "auto" takes a CUDA GPU where there is one, else the CPU.
        precision: "auto" takes bfloat16 where the device has it in hardware and it is faster.
        out: A run folder to write as it goes, so that `resume` can finish what was stopped;
            nothing is written if left out.
        progress: Is told, ten times a second and at each epoch's end, how far it is.

    Raises:
        UsageError: An argument that no training could use; something is at `out` already.
        DataError, NetworkError: The data cannot be had.
        ModelError: The network does not fit the data, or the training diverged.
        StorageError: The run folder cannot be written.
    """
    chosen: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "validation": validation,
    }
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    recipe = recipe.with_settings(settings or {})
    recipe = replace(recipe, **{k: v for k, v in chosen.items() if v is not None})
    _check_setup(seed, threads, precision)
    place = resolve_device(device)
    splits = as_splits(data, data_dir)
    recipe = recipe.with_classes(len(splits.train.classes))
    config = {
        "recipe": recipe.to_dict(),
        "seed": seed,
        "threads": threads or _threads_for(recipe),
        "device": place,
        "precision": precision,
        "repeatable": place == "cpu",
        "data": {
            "name": splits.name,
            "place": splits.place,
            "data_dir": splits.data_dir,
            "sha256": splits.sha256,
            "classes": list(splits.train.classes),
            "train": len(splits.train),
            "test": len(splits.test),
        },
        "versions": {
            "mnistry": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "hardware": _hardware(place),
    }
    folder = None if out is None else Path(out)
    if folder:
        runfolder.make_run_folder(folder, config)
    return _train(recipe, splits, config, folder, progress)


def resume(path: str | os.PathLike[str], progress: Callable[[Progress], None] | None = None) -> Run:
    """Finishes a training that was stopped, from its last whole epoch.

    In float32 on a CPU the result is, bit for bit, that of a training that was not stopped.

    Args:
        path: The run folder.
        progress: As for `train`.

    Raises:
        UsageError: The run is finished already.
        ModelError: It is no run folder, or is damaged.
        DataError: The data is not what the run was started on.
    """
    folder = Path(path)
    config = runfolder.read_config(folder)
    recipe = recipe_of(config, folder)
    if (folder / runfolder.WEIGHTS).exists():
        raise UsageError(f"{folder}: its training is finished; start another with: mnistry train")
    runfolder.remove_part_files(folder)
    _check_config(config, folder)
    described = data_of(config, folder)
    if described["place"] is None:
        raise UsageError(f"{folder}: was started on arrays, which are gone; train again")
    splits = load_dataset(described["place"], described["data_dir"])
    if splits.sha256 != described["sha256"]:
        raise DataError(
            f"{described['place']}: is not the data that {folder} was started on (SHA-256 "
            f"{splits.sha256[:12]}..., expected {described['sha256'][:12]}...); bring it back"
        )
    return _train(recipe, splits, config, folder, progress)


def _threads_for(recipe: Recipe) -> int:
    """One for a small network, else as many as PyTorch takes."""
    if callable(recipe.network):
        return torch.get_num_threads()
    rows = describe_layers(recipe.network)
    uses = [row.parameters * math.prod(row.output_shape[1:]) for row in rows]  # of each weight
    return 1 if sum(uses) * recipe.batch_size < _SMALL else torch.get_num_threads()


def _check_config(config: dict[str, Any], folder: Path) -> None:
    try:
        _check_setup(config["seed"], config["threads"], config["precision"])
        resolve_device(config["device"])
    except (KeyError, TypeError, UsageError) as error:
        raise ModelError(f"{folder / runfolder.CONFIG}: cannot be used ({error})") from error


def _check_setup(seed: object, threads: object, precision: object) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed}; expected a whole number of at least 0, below 2^63")
    if threads is not None and not (isinstance(threads, int) and 1 <= threads <= _MOST_THREADS):
        raise UsageError(f"threads is {threads}; expected a whole number, 1 to {_MOST_THREADS}")
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise UsageError(f"precision is {precision!r}; expected one of {known}")


def resolve_device(device: str) -> str:
    """The device that "auto" stands for here, or the one asked for.

    Raises:
        UsageError: It is not there.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available.get(device):
        there = ", ".join(name for name, is_there in available.items() if is_there)
        raise UsageError(f"device {device!r} is not to be had here; expected auto or {there}")
    return device


def _train(
    recipe: Recipe,
    splits: DataSplits,
    config: dict[str, Any],
    folder: Path | None,
    progress: Callable[[Progress], None] | None,
) -> Run:
    trainer = None
    try:
        with _computing(config["threads"]):
            trainer = _Trainer(recipe, splits, config)
            if folder and (folder / runfolder.CHECKPOINT).exists():
                trainer.read(folder / runfolder.CHECKPOINT)
            while len(trainer.history) < recipe.epochs:
                trainer.epoch(progress or (lambda _: None))
                if folder and len(trainer.history) < recipe.epochs:
                    trainer.write(folder / runfolder.CHECKPOINT)
            run = trainer.finish()
    except BaseException as error:
        cause: BaseException | None = error
        while cause:
            traceback.clear_frames(cause.__traceback__)  # they hold tensors on the device
            cause = cause.__cause__ or cause.__context__
        raise
    finally:
        if trainer:
            trainer.__dict__.clear()
        del trainer
        gc.collect()
        if config["device"] == "cuda":
            torch.cuda.empty_cache()
    if folder:
        run.write_results(folder)
        (folder / runfolder.CHECKPOINT).unlink(missing_ok=True)
    return run


@contextmanager
def _computing(threads: int) -> Iterator[None]:
    """So many threads; and numbers too small for the format become 0.

    Averages that decay towards 0 end among those numbers, which cost a CPU a hundred times more.
    """
    before = torch.get_num_threads()
    flushing = (torch.tensor(1e-39) * 1.5).item() == 0
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.set_flush_denormal(flushing)


class _Trainer:
    """A training's tensors: data, network, optimiser; all on the device until `finish`."""

    def __init__(self, recipe: Recipe, splits: DataSplits, config: Mapping[str, Any]) -> None:
        self.recipe, self.config, self.history = recipe, dict(config), History()
        self.device = torch.device(config["device"])
        train, self.validation = splits.train, None
        if recipe.validation == "split":
            train, held_out = train.split(max(1, len(train) // 10), seed=0)
            self.validation = self._on_device(held_out)
        elif recipe.validation == "test":
            self.validation = self._on_device(splits.test)
        self.images, self.labels = self._on_device(train)
        self.classes = len(train.classes)
        self.network = build(recipe, config["seed"]).to(self.device)
        self._check_outputs()
        self.trainable = [p for p in self.network.parameters() if p.requires_grad]
        if not self.trainable:
            raise ModelError(
                f"{recipe.name}: the network has no parameters; there is none to train"
            )
        self.parameters, self.gradient = flatten_parameters(self.trainable)
        self.optimizer = make_optimizer(recipe.optimizer, self.parameters, recipe.learning_rate)
        self.written = can_write(self.network) and config["precision"] != "bfloat16"
        self.bfloat16 = not self.written and _use_bfloat16(config["precision"], self.device)
        self.probabilities = torch.empty(len(train), self.classes, device=self.device)

    def _on_device(self, dataset: Dataset) -> tuple[Tensor, Tensor]:  # (n, 784), (n,)
        images = torch.from_numpy(scale(flatten(dataset.images))).to(self.device)
        return images, torch.from_numpy(dataset.labels.astype(np.int64)).to(self.device)

    def _check_outputs(self) -> None:
        outputs = logits_of(self.network, self.images[:2].view(-1, 1, 28, 28)).shape[1]
        if outputs != self.classes:
            raise ModelError(
                f"{self.recipe.name}: the network gives {outputs} numbers an image; expected "
                f"{self.classes}, one for each class"
            )

    def epoch(self, progress: Callable[[Progress], None]) -> None:
        """Trains on every image once, in an order that the seed and the epoch's number decide."""
        started = time.perf_counter()
        number, total = len(self.history) + 1, len(self.labels)
        seeds = np.random.SeedSequence((self.config["seed"], number))
        seed = int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        order = order.to(self.device)
        told = started
        gpus = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):  # a network of the user's own may use dropout
            torch.manual_seed(seed)
            for done in self._written_steps(order) if self.written else self._steps(order):
                now = time.perf_counter()
                if now - told > _TELL_EVERY:
                    told = now
                    progress(Progress(number, self.recipe.epochs, done, total))
        loss, accuracy = _figures(self.probabilities, self.labels[order])
        if not (np.isfinite(loss) and self.parameters.isfinite().all()):
            raise ModelError(
                f"{self.recipe.name}: the training diverged in epoch {number} (loss {loss}); "
                f"try a --learning-rate below {self.recipe.learning_rate}"
            )
        record = {"epoch": number, "loss": loss, "accuracy": accuracy}
        if self.validation:
            record["val_loss"], record["val_accuracy"] = self._score(*self.validation)
        record["seconds"] = time.perf_counter() - started
        record["repeatable"] = self.device.type == "cpu"
        self.history.append(record)
        progress(Progress(number, self.recipe.epochs, total, total, record))

    def _written_steps(self, order: Tensor) -> Iterator[int]:
        size, scale_ = self.recipe.batch_size, self.optimizer.gradient_scale
        steps = zip(order.split(size), self.probabilities.split(size), strict=True)
        done, batch = 0, 0
        while chunk := list(itertools.islice(steps, _STEPS_AT_A_TIME)):
            with torch.inference_mode():  # entered seldom: it costs as much as a small product
                for indices, probabilities in chunk:
                    if len(indices) != batch:  # the first one, and a smaller last one
                        batch = len(indices)
                        gradient = WrittenGradient(self.network, batch, scale_)  # type: ignore[arg-type]
                        one_hot = F.one_hot(self.labels, self.classes) * -gradient.scale
                        x = torch.empty(batch, self.images.shape[1])
                        y = torch.empty(batch, self.classes)
                    torch.index_select(self.images, 0, indices, out=x)
                    torch.index_select(one_hot, 0, indices, out=y)
                    gradient(x, y, probabilities)
                    self.optimizer.step(self.parameters, self.gradient)
                    done += batch
            yield done

    def _steps(self, order: Tensor) -> Iterator[int]:
        size, scale_ = self.recipe.batch_size, self.optimizer.gradient_scale
        steps = zip(order.split(size), self.probabilities.split(size), strict=True)
        self.network.train()
        done = 0
        for indices, probabilities in steps:
            x, y = self.images[indices].view(-1, 1, 28, 28), self.labels[indices]
            self.gradient.zero_()
            try:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                    logits = self.network(x)
                loss = F.cross_entropy(logits.float(), y)
                (loss * scale_).backward()
            except Exception as error:  # whatever a user's own network raises
                raise ModelError(
                    f"{self.recipe.name}: the network fails in training, on {len(y)} images: "
                    f"{type(error).__name__}: {error}"
                ) from error
            with torch.no_grad():
                self.optimizer.step(self.parameters, self.gradient)
                probabilities.copy_(logits.float().softmax(1))
            done += len(y)
            yield done

    def _score(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        parts = images.view(-1, 1, 28, 28).split(_SCORE_BATCH)
        logits = torch.cat([logits_of(self.network, part) for part in parts])
        return _figures(logits.softmax(1), labels)

    def write(self, path: Path) -> None:
        """Writes everything that the next epoch depends on."""
        arrays = {f"network.{name}": a for name, a in network_arrays(self.network).items()}
        for name, tensor in self.optimizer.state.items():
            arrays[f"optimizer.{name}"] = tensor.cpu().numpy()
        notes = {"history": json.dumps(self.history), "steps": str(self.optimizer.steps)}
        runfolder.write_arrays(path, arrays, notes)

    def read(self, path: Path) -> None:
        """Reads what `write` wrote."""
        arrays, notes = runfolder.read_arrays(path)
        network = {n.removeprefix("network."): a for n, a in arrays.items() if n[0] == "n"}
        state = {n.removeprefix("optimizer."): a for n, a in arrays.items() if n[0] == "o"}
        expected = {name: t.cpu().numpy() for name, t in self.optimizer.state.items()}
        runfolder.check_arrays(path, state, expected)
        fill_network(self.network, network, path)
        for name, tensor in self.optimizer.state.items():
            tensor.copy_(torch.from_numpy(state[name]))
        try:
            steps, history = int(notes["steps"]), json.loads(notes["history"])
        except (KeyError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: is damaged (its history: {error}); train again") from error
        check_history(history, path)
        each = -(-len(self.labels) // self.recipe.batch_size)
        if steps != each * len(history):
            raise ModelError(f"{path}: is damaged ({steps} steps in its history); train again")
        self.optimizer.steps = steps
        self.history.extend(history)

    def finish(self) -> Run:
        """The trained network, on the CPU, in memory of its own."""
        for parameter in self.trainable:
            parameter.data = parameter.data.clone()
            parameter.grad = None
        return Run(self.recipe, self.network.cpu().eval(), self.history, self.config)


def _figures(probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, as Keras reports them."""
    chosen = probabilities.gather(1, labels[:, None]).double()
    right = probabilities.argmax(1) == labels
    return (
        float(-chosen.clamp(EPSILON, 1 - EPSILON).log().mean()),
        float(right.double().mean()),
    )


def _use_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether to compute in bfloat16: asked for, or in hardware where "auto" decides."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def _hardware(device: str) -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0] if names else name
    hardware: dict[str, Any] = {"cpu": name, "cores": os.cpu_count(), "system": platform.system()}
    if device == "cuda":
        hardware["gpu"] = torch.cuda.get_device_name()
    return hardware
