"""What can be trained from the page, and how far a training is: plain data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from mnistry.errors import UsageError
from mnistry.layers import Dense
from mnistry.recipe import PRESETS, Recipe

State = Literal["running", "done", "stopped", "failed"]
Figures = dict[str, float | None]

_MOST_EPOCHS, _MOST_UNITS = 1000, 4096
_MOST_POINTS = 500  # of a training's curves
_SUMMARIES = {  # how long: on two cores, as the README measures it
    "fast": "Reads 99% of MNIST's test digits after one round: a few seconds.",
    "strong": "A larger network that sees each digit moved and turned: a minute or so.",
    "best": "The same for twenty rounds, the most accurate: takes three to ten minutes.",
    "datumo-cnn": "The convolutional network of DATUMO's tutorial: more than a minute.",
    "nvidia-mlp": "The two wide dense layers of NVIDIA's tutorial: a quarter of a minute.",
    "devto-mlp": "The two dense layers of DEV's tutorial: a few seconds.",
    "vidhya-mlp": "The smallest network, of Analytics Vidhya's tutorial: a few seconds.",
}


@dataclass(frozen=True)
class Training:
    """How far a training is, or how it ended.

    Attributes:
        name: What its run folder is called.
        preset: What is trained.
        state: "running", "done", "stopped" or "failed".
        message: What there is to say about it, in one line.
        progress: The share of its images that it has trained on, 0..1.
        epoch: The one that it is in, from 1; 0 before the first.
        epochs: How many there are to be.
        seconds: Spent in training.
        points: Loss and accuracy along the way, on what it was being shown: "epoch" (0.25 is a
            quarter of the first), "loss", "accuracy"; some 500 at most.
        scores: The same for each finished epoch, with "val_loss" and "val_accuracy", which are
            None where nothing is validated on.
        test_accuracy: On the test images, after the last epoch; None before.
        model: The name of its network, which is in RUNS/NAME.onnx; None where there is none.
    """

    name: str
    preset: str
    state: State
    message: str | None = None
    progress: float = 0.0
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    points: list[dict[str, float]] = field(default_factory=list)
    scores: list[Figures] = field(default_factory=list)
    test_accuracy: float | None = None
    model: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return asdict(self)


def presets() -> list[dict[str, Any]]:
    """What can be trained, as JSON can hold it: name, summary, epochs, learning_rate, units."""
    return [
        {
            "name": name,
            "summary": _SUMMARIES[name],
            "epochs": recipe.epochs,
            "learning_rate": recipe.learning_rate,
            "units": _hidden_units(recipe),
        }
        for name, recipe in PRESETS.items()
    ]


def _hidden_units(recipe: Recipe) -> list[int] | None:
    layers = () if callable(recipe.network) else recipe.network[:-1]
    return [layer.units for layer in layers if isinstance(layer, Dense)] or None


def recipe_of(
    preset: str,
    epochs: int | None = None,
    learning_rate: float | None = None,
    units: int | None = None,
) -> Recipe:
    """A preset with some of its numbers changed, as `Trainings.start` takes them.

    Raises:
        UsageError: There is no such preset, or a number is out of range.
    """
    if preset not in PRESETS:  # no FILE.py:NAME, whose code would be run
        raise UsageError(f"preset is {preset[:60]!r}; expected one of {', '.join(PRESETS)}")
    for name, value, most in (("epochs", epochs, _MOST_EPOCHS), ("units", units, _MOST_UNITS)):
        if value is not None and not (type(value) is int and 1 <= value <= most):
            raise UsageError(f"{name} is {value!r:.60}; expected a whole number, 1 to {most:,}")
    numbers: dict[str, Any] = {"epochs": epochs, "learning_rate": learning_rate}
    changed = {name: value for name, value in numbers.items() if value is not None}
    recipe = replace(PRESETS[preset], **changed)
    return recipe if units is None else recipe.with_settings({"units": units})


def points_of(history: Iterable[Mapping[str, Any]], epochs: int) -> list[dict[str, float]]:
    """The curves of a training: loss and accuracy along its epochs, some 500 points at most."""
    points: list[dict[str, float]] = []
    for record in history:
        course = record.get("course", [])
        for number, (loss, accuracy) in enumerate(course, start=1):
            add_point(points, record["epoch"] - 1 + number / len(course), loss, accuracy, epochs)
    return points


def add_point(
    points: list[dict[str, float]], epoch: float, loss: float, accuracy: float, epochs: int
) -> None:
    """Adds a point to curves, if it is far enough from the last one."""
    last = points[-1]["epoch"] if points else -epochs
    if epoch - last > epochs / _MOST_POINTS - 1e-6:
        figures = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
        points.append({name: round(value, 4) for name, value in figures.items()})


def scores_of(history: Iterable[Mapping[str, Any]]) -> list[Figures]:
    """The figures of each finished epoch."""
    names = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
    return [{name: record.get(name) for name in names} for record in history]
