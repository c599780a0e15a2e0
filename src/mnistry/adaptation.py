"""The reader, taught one user's handwriting on top of all that it knows.

It is trained on from its own weights: on the user's digits and, so that it forgets nothing else,
on digits that pen writes and on what is none.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from mnistry.calibration import at_temperature
from mnistry.dataset import Dataset, DataSplits
from mnistry.errors import DependencyError, ModelError, UsageError
from mnistry.export import export_run
from mnistry.files import check_free
from mnistry.model import BatchNormLayer, build
from mnistry.network import OnnxNetwork, shipped
from mnistry.pen import PenSet, write
from mnistry.prepare import scale
from mnistry.reader import label_of
from mnistry.run import Run
from mnistry.teaching import CLASSES, RECIPE, lessons
from mnistry.trainer import Progress
from mnistry.training import train

LEAST = 20
"""Fewer examples tell nothing."""

_FOLDS = 3
_EPOCHS, _RATE = 2, 0.002
_WRITTEN, _OTHERS, _PAIRS = 8_000, 2_000, 1_000  # what it goes on being taught
_SAMPLE = 500  # digits by which statistics are found
_SHARE = 0.25  # of the digits, beside pen's: a user's few are repeated so often

UInt8s = NDArray[np.uint8]


@dataclass(frozen=True)
class Adaptation:
    """What was gained.

    What is not sure, "?", is not right.

    Attributes:
        path: The new reader's file.
        examples: How many digits of the user's there were.
        before: The share of them that the reader read right, 0..1.
        after: The same of readers that were each adapted to the others: to each digit's, but it.
    """

    path: Path
    examples: int
    before: float
    after: float


def adapt(
    images: UInt8s,
    labels: UInt8s,
    path: str | os.PathLike[str],
    whence: ArrayLike | None = None,
    min_confidence: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int, Progress], object] | None = None,
) -> Adaptation:
    """Adapt the reader that comes with Mnistry, and write it as a file of its own.

    What is gained is measured by cross-validation: the examples are dealt into three parts, those
    of one image into the same, and each is read by a reader that was adapted to the two others.
    What is written is adapted to all;
    it keeps the temperature and the least confidence of the reader that it comes from.

    Args:
        images: (n, 28, 28) uint8 digits as `Digit.image` holds them; at least 20.
        labels: (n,) uint8: what they are.
        path: The file, which is not there yet.
        whence: (n,) which image each digit comes from, any numbers; three images at least. Each
            from its own if left out.
        min_confidence: 0..1: what is less probable counts as "?"; by default the reader's.
        seed: Decides everything that is random.
        progress: Is told which training, of how many, is how far.

    Raises:
        UsageError: There are too few examples or images, or there is something at that place
            already.
        StorageError: The file cannot be written.
        DependencyError: onnx or onnxscript is not installed.
    """
    place = Path(path)
    check_adaptable(len(images), place)
    _, source = np.unique(np.arange(len(images)) if whence is None else whence, return_inverse=True)
    sources = int(source.max()) + 1
    if sources < _FOLDS:
        raise UsageError(
            f"the labelled digits come from {sources} images, expected {_FOLDS} or more: some are "
            "kept out, to see what is gained"
        )
    base = OnnxNetwork(None, threads=0)
    least = base.min_confidence if min_confidence is None else min_confidence
    digits, _ = write(PenSet(_WRITTEN, 1, 800, seed=seed))
    others, _ = write(PenSet(_OTHERS, 1, 400, seed=seed), what="others")
    known = Dataset(digits.images, digits.labels)
    test = Dataset(images, labels, CLASSES)
    start = load_network(shipped(), digits.images[:_SAMPLE])

    def train_on(chosen: NDArray[np.bool_], number: int) -> Run:
        own = Dataset(images[chosen], labels[chosen])
        times = max(1, round(_SHARE / (1 - _SHARE) * _WRITTEN / len(own)))
        taught = lessons([known, *[own] * times], others.images, _PAIRS, seed)
        recipe = replace(
            RECIPE,
            network=lambda: deepcopy(start),
            epochs=_EPOCHS,
            learning_rate=_RATE,
            origin="the shipped reader",
        )

        def tell(told: Progress) -> None:
            if progress:
                progress(number, _FOLDS + 1, told)

        data = DataSplits(taught, test, "own", "adapt")
        return train(recipe, data=data, seed=seed, progress=tell)

    def count_right(found: NDArray[np.float32], chosen: NDArray[np.bool_]) -> int:
        pairs = zip(found[:, :10], labels[chosen], strict=True)
        return sum(label_of(digit, least) == int(label) for digit, label in pairs)

    every = np.ones(len(images), bool)
    part = (np.random.default_rng(seed).permutation(sources) % _FOLDS)[source]
    right = 0
    for number in range(_FOLDS):
        held = part == number
        run = train_on(~held, number)
        right += count_right(at_temperature(run.predict(images[held]), base.temperature), held)
    before = count_right(base.predict(images), every)
    run = train_on(every, _FOLDS)
    notes = {"temperature": str(base.temperature), "min_confidence": str(base.min_confidence)}
    export_run(run, place, DataSplits(test, test, "own", "adapt"), notes=notes)
    return Adaptation(place, len(images), before / len(images), right / len(images))


def check_adaptable(digits: int, path: Path) -> None:
    """Raises `UsageError` where there are too few digits, or something at that place already."""
    check_free(path)
    if digits < LEAST:
        raise UsageError(
            f"there are {digits} labelled digits, expected {LEAST} or more to adapt to"
        )


def load_network(content: bytes, images: UInt8s) -> nn.Module:
    """The shipped reader as a network that can be trained on.

    Its file holds weights as whole numbers of a byte, and some batch normalisations as part of the
    convolution before them. Those are made anew, so that they change nothing: by the mean and
    deviation of what the convolution gives.

    Args:
        content: The ONNX file.
        images: (n, 28, 28) uint8, some hundred digits.

    Raises:
        DependencyError: onnx is not installed.
        ModelError: The file lacks weights.
    """
    try:
        import onnx
    except ImportError as error:
        raise DependencyError.missing(error.name) from error
    graph = onnx.load_from_string(content).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {
        name.removeprefix("network."): torch.from_numpy(array.copy())
        for name, array in (arrays | _dequantised(graph.node, arrays)).items()
    }
    network = build(RECIPE.with_classes(len(CLASSES))).eval()
    x, before = torch.from_numpy(scale(images)).unsqueeze(1), ""
    with torch.no_grad():
        for name, layer in network.named_children():
            own = layer.state_dict()
            known = {key: weights[f"{name}.{key}"] for key in own if f"{name}.{key}" in weights}
            if isinstance(layer, BatchNormLayer) and not known:
                variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
                known = {
                    "running_mean": mean,
                    "running_var": variance,
                    "weight": (variance + layer.eps).sqrt(),
                    "bias": mean + weights[f"{before}.kernel_bias"],
                }
            if missing := dict(layer.named_parameters()).keys() - known.keys():
                raise ModelError(f"the file has no {name}.{min(missing)}; expected a reader's")
            layer.load_state_dict(own | known)
            x, before = layer(x), name
    return network


def _dequantised(
    nodes: Iterable[Any], arrays: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """The weights that an ONNX graph holds as whole numbers, each channel with a scale."""
    found = {}
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays:
            numbers, scale, zero = (arrays[name] for name in node.input)
            axis = next((each.i for each in node.attribute if each.name == "axis"), 1)
            shape = [-1 if i == axis else 1 for i in range(numbers.ndim)]
            exact = (numbers - zero.astype(np.float32).reshape(shape)) * scale.reshape(shape)
            found[node.input[0].removesuffix("_quantized")] = exact.astype(np.float32)
    return found
