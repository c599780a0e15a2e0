"""A run: a trained network with its recipe and history, to evaluate, predict, save and load."""

import functools
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mnistry import runfolder
from mnistry.dataset import Data, DataSplits, as_splits, load_dataset
from mnistry.draw import draw_curves
from mnistry.errors import DataError, ModelError, UsageError
from mnistry.evaluation import Report, evaluate
from mnistry.model import build, logits_of, probabilities_of
from mnistry.prepare import as_images, scale
from mnistry.recipe import Recipe
from mnistry.shifts import at_a_time, check_shifts

History = list[dict[str, Any]]

_MOST = sys.float_info.max  # a history's numbers are finite
_BATCH = 1000  # images at a time: large enough to be fast, small enough for any network


@dataclass(eq=False)
class Run:
    """A finished training.

    Attributes:
        recipe: What was trained.
        network: The trained network, on the CPU.
        history: A record for each epoch: epoch, loss, accuracy (mean over the epoch's images as
            they were trained on, as Keras reports it), val_loss and val_accuracy where there was
            validation, seconds, whether it is repeatable (the same bits from the same seed), and
            its course: loss and accuracy of each twentieth of its images. Members follow one
            another, each with figures of its own alone.
        config: What config.json holds: recipe, seed, threads, device, precision, data and its
            hash, versions, hardware.
        path: Its run folder, or None.
    """

    recipe: Recipe
    network: nn.Module
    history: History
    config: dict[str, Any] = field(repr=False)
    path: Path | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The name of each class, in the order of the probabilities."""
        return tuple(self.config["data"]["classes"])

    def predict(self, images: ArrayLike, shifts: int | None = None) -> NDArray[np.float32]:
        """The probability of each class for each image.

        Args:
            images: (28, 28), (784,), (n, 28, 28), (n, 784), (n, 1, 28, 28) or (n, 28, 28, 1);
                uint8 0..255 or float 0..1; light ink on a dark ground, as MNIST's.
            shifts: 0..4, as `Recipe.test_shifts`, which it is if left out.

        Returns:
            (n, classes) float32; each row adds up to 1. One image gives one row.

        Raises:
            UsageError: Images of another shape, dtype or range, or `shifts` out of range.
        """
        shifts = self.recipe.test_shifts if shifts is None else shifts
        check_shifts(shifts)
        array = as_images(images)
        rows = []
        size = at_a_time(_BATCH, shifts)
        read = functools.partial(logits_of, self.network)
        for part in np.split(array, range(size, len(array), size)):
            pixels = torch.from_numpy(scale(part).copy()).unsqueeze(1)  # may be turned, read-only
            rows.append(probabilities_of(read, pixels, shifts).numpy())
        return np.concatenate(rows)

    def evaluate(
        self,
        data: Data | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        shifts: int | None = None,
    ) -> Report:
        """Scores the run on test images.

        Args:
            data: As `train` takes it; what the run was trained on if left out.
            data_dir: Where the public data set lies, as for `load_data`.
            shifts: As `predict` takes it.

        Raises:
            MnistryError: The data cannot be had, or has other classes; or it is the run's own and
                has changed since, so that test images might be among those it was trained on.
        """
        splits = self.load_data(data_dir) if data is None else as_splits(data, data_dir)
        if splits.test.classes != self.classes:
            raise ModelError(
                f"{splits.name}: has the classes {', '.join(splits.test.classes)}; expected those "
                f"that the run was trained on, {', '.join(self.classes)}"
            )
        shifts = self.recipe.test_shifts if shifts is None else shifts
        predict = functools.partial(self.predict, shifts=shifts)
        return evaluate(predict, splits.test, f"{splits.name} test", shifts)

    def load_data(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> DataSplits:
        """Loads the data that the run was trained on.

        Args:
            data_dir: Where the public data set lies; where it lay then if left out.
            progress: As `load_dataset` takes it.

        Raises:
            UsageError: The run was trained on arrays.
            DataError: The data is not what it was.
            MnistryError: As `load_dataset`.
        """
        return load_own_data(self.config["data"], self.path or self.recipe.name, data_dir, progress)

    def save(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Writes the run folder: config, history, weights and curves.

        Args:
            path: A folder that is not there yet, or empty; the next free one of
                `runs/<recipe>-<n>` if left out.

        Returns:
            The folder.

        Raises:
            UsageError: There is something at that place already.
            StorageError: The disk is full, or the place cannot be written to.
        """
        folder = runfolder.claim_run_folder(self.recipe.name) if path is None else Path(path)
        runfolder.make_run_folder(folder, self.config)
        try:
            self.write_results(folder)
        except BaseException:
            runfolder.remove_run_folder(folder)
            raise
        return folder

    def write_results(self, folder: Path) -> None:
        """Writes history, curves and, last of all, the weights into a run folder."""
        data = self.config["data"]["name"]
        runfolder.write_json(folder / runfolder.HISTORY, {"data": data, "epochs": self.history})
        title = f"{self.recipe.name} on {data}"
        draw_curves(self.history, folder / runfolder.CURVES, title=title)
        runfolder.write_arrays(folder / runfolder.WEIGHTS, network_arrays(self.network))
        self.path = folder


def network_arrays(network: nn.Module) -> dict[str, NDArray[Any]]:
    """A network's parameters and buffers by name, as arrays."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


def fill_network(network: nn.Module, arrays: runfolder.Arrays, path: Path) -> None:
    """Puts arrays into a network, after holding every name, shape and value against it.

    Raises:
        ModelError: They are not this network's.
    """
    expected = network_arrays(network)
    runfolder.check_arrays(path, arrays, expected)
    network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})


def check_history(history: Any, path: Path) -> None:
    """Holds what a file gives against what a history is.

    Raises:
        ModelError: It is something else than a record of numbers for each epoch from 1 on.
    """
    if not isinstance(history, list) or not all(
        isinstance(record, dict)
        and record.keys() >= {"loss", "accuracy", "seconds"}
        and record.get("epoch") == number
        and all(_is_number(value) for name, value in record.items() if name != "course")
        and _is_course(record.get("course", []))
        for number, record in enumerate(history, start=1)
    ):
        raise ModelError(f"{path}: holds no history, a record of numbers an epoch; train again")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= _MOST


def _is_course(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) == 2 and all(map(_is_number, part)) for part in value
    )


def data_of(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a run folder's config says of its data.

    Raises:
        ModelError: It does not say enough to find it again.
    """
    data: Any = config.get("data")
    try:
        classes = data["classes"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise TypeError(f"classes are {classes!r}")
        if not 1 <= len(classes) == len(set(classes)):
            raise TypeError(f"classes are {classes!r}, not one name for each")
        for name, kind in (("place", str | None), ("data_dir", str | None), ("sha256", str)):
            if not isinstance(data[name], kind):
                raise TypeError(f"{name} is {data[name]!r}")
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{path / runfolder.CONFIG}: is damaged (its data: {error}); train again"
        ) from error
    return dict(data)


def load_own_data(
    described: Mapping[str, Any],
    run: str | Path,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> DataSplits:
    """Loads what a config says of its data, and holds it against the hash kept there.

    Raises:
        UsageError: It was arrays.
        DataError: It is not what it was.
        MnistryError: As `load_dataset`.
    """
    if described["place"] is None:
        raise UsageError(f"{run}: was trained on arrays, which are not kept; give the data again")
    splits = load_dataset(described["place"], data_dir or described["data_dir"], progress)
    if splits.sha256 != described["sha256"]:
        raise DataError(
            f"{described['place']}: is not the data that {run} was trained on (SHA-256 "
            f"{splits.sha256[:12]}..., expected {described['sha256'][:12]}...); bring it back, or "
            "name the data to use"
        )
    return splits


def recipe_of(
    config: dict[str, Any], path: Path, network: Callable[[], nn.Module] | None = None
) -> Recipe:
    """The recipe that a run folder's config holds.

    Args:
        config: What config.json holds.
        path: The run folder.
        network: For a network that came from no file, the function that makes it.

    Raises:
        ModelError: It holds none that can be used.
    """
    try:
        origin = Path(config["recipe"].get("origin") or "/").parent
        if not origin.is_absolute() or path.resolve() in (origin, *origin.parents):
            raise UsageError("the file of its network lies in the run folder itself")
        return Recipe.from_dict(config["recipe"], network)
    except (KeyError, AttributeError, TypeError, UsageError) as error:
        raise ModelError(f"{path / runfolder.CONFIG}: has no usable recipe ({error})") from error


def load_run(path: str | os.PathLike[str], network: Callable[[], nn.Module] | None = None) -> Run:
    """Reads a finished run from its folder.

    A run of a network from a file needs that file where it was, unchanged: its code is run again.
    So load only runs whose config you trust; runs of presets and of layers run no code.

    Args:
        path: A run folder, as `train` and `Run.save` write it.
        network: For a network that came from no file, the function that makes it.

    Raises:
        ModelError: It is no run folder, is damaged, or its training did not finish.
    """
    folder = Path(path)
    config = runfolder.read_config(folder)
    recipe = recipe_of(config, folder, network)
    classes = data_of(config, folder)["classes"]
    if not (folder / runfolder.WEIGHTS).exists():
        raise ModelError(
            f"{folder}: its training did not finish; "
            f"finish it with: mnistry train --resume {folder}"
        )
    arrays, _ = runfolder.read_arrays(folder / runfolder.WEIGHTS)
    network = build(recipe)
    fill_network(network, arrays, folder / runfolder.WEIGHTS)
    outputs = logits_of(network, torch.zeros(1, 1, 28, 28)).shape[1]
    if outputs != len(classes):
        raise ModelError(
            f"{folder / runfolder.CONFIG}: names {len(classes)} classes, and its network gives "
            f"{outputs}; train again"
        )
    kept = runfolder.read_json(folder / runfolder.HISTORY)
    history: Any = kept.get("epochs") if isinstance(kept, dict) else None
    check_history(history, folder / runfolder.HISTORY)
    return Run(recipe, network.eval(), history, config, folder)
