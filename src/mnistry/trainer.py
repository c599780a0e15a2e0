"""One training's tensors: the data, the network and the optimiser, and an epoch of steps."""

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mnistry import runfolder
from mnistry.augment import augment, can_be_recorded
from mnistry.backprop import WrittenGradient, can_write, flatten_parameters
from mnistry.dataset import Dataset, DataSplits
from mnistry.errors import ModelError
from mnistry.metrics import EPSILON
from mnistry.model import Ensemble, build, logits_of, probabilities_of
from mnistry.optimizer import make_optimizer
from mnistry.prepare import flatten, scale
from mnistry.recipe import Recipe
from mnistry.run import History, Run, check_history, fill_network, network_arrays
from mnistry.shifts import at_a_time

_TELL_EVERY = 0.1  # seconds between two reports of progress
_STEPS_AT_A_TIME = 32
_PARTS = 20  # of an epoch, whose figures are kept
_WARM_UP = 3  # steps, in which libraries choose how they compute and take their memory
_SCORE_BATCH = 1000  # validation images at a time


@dataclass(frozen=True)
class Progress:
    """How far a training is: `done` of `total` images in epoch `epoch` of `epochs` (from 1).

    `loss` and `accuracy` are the mean over the images since it was told last, or at an epoch's end,
    where `record` is its history record and no longer None, over all of the epoch's.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float
    accuracy: float
    record: Mapping[str, Any] | None = None


class Trainer:
    """A training's tensors: data, network, optimiser; all on the device until `finish`."""

    def __init__(self, recipe: Recipe, splits: DataSplits, config: Mapping[str, Any]) -> None:
        self.recipe, self.config, self.history = recipe, dict(config), History()
        self.device, self.precision = torch.device(config["device"]), config["precision"]
        train, self.validation = splits.train, None
        if recipe.validation == "split":
            train, held_out = train.split(max(1, len(train) // 10), seed=0)
            self.validation = self._on_device(held_out)
        elif recipe.validation == "test":
            self.validation = self._on_device(splits.test)
        self.images, self.labels = self._on_device(train)
        self.classes = len(train.classes)
        self.whole = build(recipe, config["seed"]).to(self.device)
        self._check_outputs()
        self.probabilities = torch.empty(len(train), self.classes, device=self.device)
        self.steps = recipe.epochs * -(-len(train) // recipe.batch_size)
        self.epochs = recipe.members * recipe.epochs
        self._begin(0)

    def _begin(self, member: int) -> None:
        """Takes up a member, or the whole network where there are none."""
        recipe, self.seed = self.recipe, self.config["seed"] + member
        whole = self.whole
        self.network = whole.members[member] if isinstance(whole, Ensemble) else whole
        self.trainable = [p for p in self.network.parameters() if p.requires_grad]
        if not self.trainable:
            raise ModelError(
                f"{recipe.name}: the network has no parameters; there is none to train"
            )
        self.parameters, self.gradient = flatten_parameters(self.trainable)
        self.optimizer = make_optimizer(recipe, self.parameters)
        self.written = can_write(self.network) and self.precision != "bfloat16"
        self.bfloat16 = not self.written and _use_bfloat16(self.precision, self.device)
        self.config["precision"] = "bfloat16" if self.bfloat16 else "float32"
        self.average = self.parameters.clone() if recipe.averaging else None
        self.step: Callable[[Tensor], Tensor] = self._backpropagate
        is_own = not callable(recipe.network)
        if self.device.type == "cuda" and is_own and can_be_recorded(recipe.augment):
            self.step = Replayed(self._backpropagate, capture_on_cuda)

    def _on_device(self, dataset: Dataset) -> tuple[Tensor, Tensor]:  # (n, 784), (n,)
        images = torch.from_numpy(scale(flatten(dataset.images))).to(self.device)
        return images, torch.from_numpy(dataset.labels.astype(np.int64)).to(self.device)

    def _check_outputs(self) -> None:
        outputs = logits_of(self.whole, self.images[:2].view(-1, 1, 28, 28)).shape[1]
        if outputs != self.classes:
            raise ModelError(
                f"{self.recipe.name}: the network gives {outputs} numbers an image; expected "
                f"{self.classes}, one for each class"
            )

    def epoch(self, progress: Callable[[Progress], None]) -> None:
        """Trains on every image once, in an order that the seed and the epoch's number decide."""
        started = time.perf_counter()
        number, total = len(self.history) + 1, len(self.labels)
        member, done = divmod(len(self.history), self.recipe.epochs)
        if member and not done:
            self._end()
            self._begin(member)
        seeds = np.random.SeedSequence((self.seed, done + 1))
        seed = int(seeds.generate_state(1, np.uint64)[0] >> np.uint64(1))
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        order = order.to(self.device)
        labels = self.labels[order]
        told, shown = started, 0
        gpus = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):  # a network of the user's own may use dropout
            torch.manual_seed(seed)
            for seen in self._written_steps(order) if self.written else self._steps(order):
                now = time.perf_counter()
                if now - told > _TELL_EVERY:
                    since = _figures(self.probabilities[shown:seen], labels[shown:seen])
                    told, shown = now, seen
                    progress(Progress(number, self.epochs, seen, total, *since))
        parts = min(_PARTS, total)
        shares = self.probabilities.tensor_split(parts), labels.tensor_split(parts)
        course = [list(_figures(*share)) for share in zip(*shares, strict=True)]
        loss, accuracy = _figures(self.probabilities, labels)
        record: dict[str, Any] = {"epoch": number, "loss": loss, "accuracy": accuracy}
        if self.validation:
            with self._averaged():
                record["val_loss"], record["val_accuracy"] = self._score(*self.validation)
        weights = (t for t in self.network.state_dict().values() if t.is_floating_point())
        if not (np.isfinite([*record.values()]).all() and all(t.isfinite().all() for t in weights)):
            raise ModelError(
                f"{self.recipe.name}: the training diverged in epoch {number} (loss {loss}); "
                f"try a --learning-rate below {self.recipe.learning_rate}"
            )
        record["seconds"] = time.perf_counter() - started
        record["repeatable"] = self.device.type == "cpu"
        record["course"] = course
        self.history.append(record)
        progress(Progress(number, self.epochs, total, total, loss, accuracy, record))

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
                        wanted = self._wanted() * -gradient.scale
                        x = torch.empty(batch, self.images.shape[1])
                        y = torch.empty(batch, self.classes)
                    torch.index_select(self.images, 0, indices, out=x)
                    torch.index_select(wanted, 0, indices, out=y)
                    gradient(self._augmented(x).flatten(1), y, probabilities)
                    self._update()
                    done += batch
            yield done

    def _steps(self, order: Tensor) -> Iterator[int]:
        size = self.recipe.batch_size
        steps = zip(order.split(size), self.probabilities.split(size), strict=True)
        self.network.train()
        done = 0
        for indices, probabilities in steps:
            try:
                logits = self.step(indices)
            except Exception as error:  # whatever a user's own network raises
                if is_out_of_memory(error):
                    raise
                raise ModelError(
                    f"{self.recipe.name}: the network fails in training, on {len(indices)} images: "
                    f"{type(error).__name__}: {error}"
                ) from error
            with torch.no_grad():
                self._update()
                probabilities.copy_(logits.softmax(1))
            done += len(indices)
            yield done

    def _backpropagate(self, indices: Tensor) -> Tensor:  # (B,) -> (B, classes)
        """Writes the gradient of a batch, by autograd; gives its logits."""
        x, y = self._augmented(self.images[indices]), self.labels[indices]
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            logits: Tensor = self.network(x)
        logits = logits.float()
        loss = F.cross_entropy(logits, y, label_smoothing=self.recipe.label_smoothing)
        loss = loss * self.optimizer.gradient_scale
        self.gradient.zero_()
        slopes = torch.autograd.grad(loss, self.trainable, allow_unused=True)
        for parameter, slope in zip(self.trainable, slopes, strict=True):
            if slope is not None:
                parameter.grad.copy_(slope)  # type: ignore[union-attr]
        return logits.detach()

    def _augmented(self, images: Tensor) -> Tensor:  # (B, 784) -> (B, 1, 28, 28)
        return augment(images.view(-1, 1, 28, 28), self.recipe.augment)

    def _wanted(self) -> Tensor:  # (n, classes)
        """The probabilities that the images are to get."""
        smoothing = self.recipe.label_smoothing
        return F.one_hot(self.labels, self.classes) * (1 - smoothing) + smoothing / self.classes

    def _update(self) -> None:
        """One step of the optimiser, with what belongs to it."""
        recipe, taken = self.recipe, self.optimizer.steps
        rate = recipe.learning_rate
        if recipe.schedule == "one-cycle":
            rate *= one_cycle((taken + 1) / (self.steps + 1))
        self.optimizer.learning_rate = rate
        if recipe.weight_decay:
            self.parameters.mul_(1 - rate * recipe.weight_decay)
        self.optimizer.step(self.parameters, self.gradient)
        if self.average is not None:
            decay = min(recipe.averaging, (1 + taken) / (10 + taken))  # the first weights fade soon
            self.average.lerp_(self.parameters, 1 - decay)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within it the network has its averaged weights, if they are averaged."""
        if self.average is None:
            yield
            return
        own = self.parameters.clone()
        self.parameters.copy_(self.average)
        try:
            yield
        finally:
            self.parameters.copy_(own)

    def _score(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        shifts = self.recipe.test_shifts
        parts = images.view(-1, 1, 28, 28).split(at_a_time(_SCORE_BATCH, shifts))
        read = partial(logits_of, self.network)
        return _figures(torch.cat([probabilities_of(read, x, shifts) for x in parts]), labels)

    def _state(self) -> dict[str, Tensor]:
        """What an update remembers, beside the network."""
        average = {} if self.average is None else {"average": self.average}
        return self.optimizer.state | average

    def write(self, path: Path) -> None:
        """Writes everything that the next epoch depends on."""
        arrays = {f"network.{name}": a for name, a in network_arrays(self.whole).items()}
        for name, tensor in self._state().items():
            arrays[f"optimizer.{name}"] = tensor.cpu().numpy()
        notes = {"history": json.dumps(self.history), "steps": str(self.optimizer.steps)}
        runfolder.write_arrays(path, arrays, notes)

    def read(self, path: Path) -> None:
        """Reads what `write` wrote."""
        arrays, notes = runfolder.read_arrays(path)
        network = {n.removeprefix("network."): a for n, a in arrays.items() if n[0] == "n"}
        state = {n.removeprefix("optimizer."): a for n, a in arrays.items() if n[0] == "o"}
        expected = {name: t.cpu().numpy() for name, t in self._state().items()}
        runfolder.check_arrays(path, state, expected)
        try:
            steps, history = int(notes["steps"]), json.loads(notes["history"])
        except (KeyError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: is damaged (its history: {error}); train again") from error
        check_history(history, path)
        member, last = divmod(len(history) - 1, self.recipe.epochs)
        each = -(-len(self.labels) // self.recipe.batch_size)
        if steps != each * (last + 1) or not 0 <= member < self.recipe.members:
            raise ModelError(f"{path}: is damaged ({steps} steps in its history); train again")
        if member:
            self._end()
            self._begin(member)
        fill_network(self.whole, network, path)
        for name, tensor in self._state().items():
            tensor.copy_(torch.from_numpy(state[name]))
        self.optimizer.steps = steps
        self.history.extend(history)

    def _end(self) -> None:
        """Leaves a member as it is to be used, in memory of its own."""
        if self.average is not None:
            self.parameters.copy_(self.average)
        for parameter in self.trainable:
            parameter.data = parameter.data.clone()
            parameter.grad = None

    def finish(self) -> Run:
        """The trained network, on the CPU."""
        self._end()
        return Run(self.recipe, self.whole.cpu().eval(), self.history, self.config)


class Replayed:
    """A step whose operations are recorded once and then replayed, so that none is dispatched.

    A GPU does a small network's operations faster than Python can ask for them.

    Args:
        work: Reads a tensor and what never moves in memory; gives a tensor. What is not as large
            as the first time is done without a recording.
        capture: Records what a function does and gives a function that does it again.
    """

    def __init__(
        self,
        work: Callable[[Tensor], Tensor],
        capture: Callable[[Callable[[], None]], Callable[[], object]],
    ) -> None:
        self.work, self.capture = work, capture
        self.calls = 0
        self.replay: Callable[[], object] | None = None
        self.x: Tensor
        self.output: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Does the work; what it gives is overwritten by the next call."""
        if not self.calls:
            self.x = x.clone()
        self.calls += 1
        if self.calls <= _WARM_UP or x.shape != self.x.shape:
            return self.work(x)
        if self.replay is None:
            self.replay = self.capture(self._once)
        self.x.copy_(x)
        self.replay()
        return self.output

    def _once(self) -> None:
        self.output = self.work(self.x)


def capture_on_cuda(work: Callable[[], None]) -> Callable[[], object]:
    """Records a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def one_cycle(share: float) -> float:
    """The rate by its peak after a share of all steps: up for a fifth of them, down to 0."""
    return min(share / 0.2, (1 - share) / 0.8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch found no memory: it has a class for that on CUDA alone."""
    words = ("allocate memory", "out of memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def _figures(probabilities: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, as Keras reports them."""
    chosen = probabilities.gather(1, labels[:, None]).cpu().double()  # Apple's GPUs have no double
    right = (probabilities.argmax(1) == labels).cpu()
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
