"""Mnistry reads handwritten digits: the whole MNIST workflow as one small program.

    import mnistry

    print(mnistry.Reader().read("scan.jpg").text)
    run = mnistry.train("fast")
    print(run.evaluate().accuracy)

Names are imported when they are first used, so `import mnistry` loads neither PyTorch nor
matplotlib.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from mnistry.version import __version__

# How long the threads of a computation spin while they wait for each other, before they sleep.
# OpenMP's own choice spins so long that one other busy program makes a small network's training
# ten to fifty times slower. It is read when PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_PLACES = {
    "dataset": ("Dataset", "DataSplits", "load_data", "load_dataset"),
    "draw": (
        "draw_confusion",
        "draw_curves",
        "draw_descent",
        "draw_grid",
        "draw_line",
        "draw_mistakes",
        "draw_prediction",
    ),
    "errors": (
        "DataError",
        "DependencyError",
        "LimitError",
        "MnistryError",
        "ModelError",
        "NetworkError",
        "StorageError",
        "UsageError",
    ),
    "evaluation": ("Report", "evaluate"),
    "export": ("export_run",),
    "layers": (
        "BatchNorm",
        "Conv",
        "Dense",
        "Dropout",
        "Flatten",
        "MaxPool",
        "describe_layers",
    ),
    "prepare": ("add_channel", "flatten", "one_hot", "scale"),
    "reader": ("Digit", "Reader", "Reading"),
    "recipe": ("Augment", "PRESETS", "Recipe", "load_recipe"),
    "run": ("Run", "load_run"),
    "trainer": ("Progress",),
    "training": ("resume", "train"),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}

if TYPE_CHECKING:
    from mnistry.dataset import Dataset, DataSplits, load_data, load_dataset
    from mnistry.draw import (
        draw_confusion,
        draw_curves,
        draw_descent,
        draw_grid,
        draw_line,
        draw_mistakes,
        draw_prediction,
    )
    from mnistry.errors import (
        DataError,
        DependencyError,
        LimitError,
        MnistryError,
        ModelError,
        NetworkError,
        StorageError,
        UsageError,
    )
    from mnistry.evaluation import Report, evaluate
    from mnistry.export import export_run
    from mnistry.layers import (
        BatchNorm,
        Conv,
        Dense,
        Dropout,
        Flatten,
        MaxPool,
        describe_layers,
    )
    from mnistry.prepare import add_channel, flatten, one_hot, scale
    from mnistry.reader import Digit, Reader, Reading
    from mnistry.recipe import PRESETS, Augment, Recipe, load_recipe
    from mnistry.run import Run, load_run
    from mnistry.trainer import Progress
    from mnistry.training import resume, train

__all__ = [
    "PRESETS",
    "Augment",
    "BatchNorm",
    "Conv",
    "DataError",
    "DataSplits",
    "Dataset",
    "Dense",
    "DependencyError",
    "Digit",
    "Dropout",
    "Flatten",
    "LimitError",
    "MaxPool",
    "MnistryError",
    "ModelError",
    "NetworkError",
    "Progress",
    "Reader",
    "Reading",
    "Recipe",
    "Report",
    "Run",
    "StorageError",
    "UsageError",
    "__version__",
    "add_channel",
    "describe_layers",
    "draw_confusion",
    "draw_curves",
    "draw_descent",
    "draw_grid",
    "draw_line",
    "draw_mistakes",
    "draw_prediction",
    "evaluate",
    "export_run",
    "flatten",
    "load_data",
    "load_dataset",
    "load_recipe",
    "load_run",
    "one_hot",
    "resume",
    "scale",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mnistry' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"mnistry.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from mnistry.errors import DependencyError

        raise DependencyError.missing(error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
