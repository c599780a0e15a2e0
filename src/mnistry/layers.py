"""Layers as plain data, and the table of a network that is made of them."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from mnistry.errors import UsageError

Activation = Literal["relu", "softmax", "linear"]
Initializer = Literal["glorot_uniform", "he_uniform"]


@dataclass(frozen=True)
class Conv:
    """A convolution over images that are padded with zeros on each side; biases start at zero."""

    filters: int
    kernel_size: int = 3
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    stride: int = 1
    padding: int = 0
    bias: bool = True


@dataclass(frozen=True)
class MaxPool:
    """The maximum of each window of pool_size x pool_size, without overlap."""

    pool_size: int = 2


@dataclass(frozen=True)
class Flatten:
    """Image to vector: (channels, height, width) in that order."""


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; biases start at zero."""

    units: int
    activation: Activation = "relu"
    initializer: Initializer = "glorot_uniform"
    bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """Each channel or unit to mean 0 and deviation 1 over the batch, then scaled and shifted.

    Source: Ioffe and Szegedy, 2015.
    """

    activation: Activation = "relu"


@dataclass(frozen=True)
class Dropout:
    """In training, each number becomes 0 with probability `rate`, the rest larger in turn.

    Source: Srivastava and others, 2014.
    """

    rate: float = 0.5


Layer = Conv | MaxPool | Flatten | Dense | BatchNorm | Dropout
LAYERS: tuple[type[Layer], ...] = (Conv, MaxPool, Flatten, Dense, BatchNorm, Dropout)


@dataclass(frozen=True)
class LayerRow:
    """A row of a network's table: name, kind, output shape of one image, number of parameters."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


def describe_layers(layers: tuple[Layer, ...], size: int = 28) -> list[LayerRow]:
    """The table of a network's layers, for images of size x size pixels.

    Args:
        layers: From the image to the probabilities.
        size: Pixels a side.

    Returns:
        A row for each layer; output shapes are (channels, height, width) or (features,).

    Raises:
        UsageError: The layers do not fit each other.
    """
    shape: tuple[int, ...] = (1, size, size)
    rows: list[LayerRow] = []
    counts: dict[str, int] = {}
    for place, layer in enumerate(layers, start=1):
        if not isinstance(layer, LAYERS):
            raise UsageError(
                f"layer {place} is {layer!r}; expected one of "
                + ", ".join(known.__name__ for known in LAYERS)
            )
        kind = type(layer).__name__
        _check_values(layer, f"layer {place} ({kind})")
        takes_vector, takes_both = isinstance(layer, Dense), isinstance(layer, BatchNorm | Dropout)
        if not takes_both and takes_vector != (len(shape) == 1):
            needs = "a vector: put Flatten() before it" if takes_vector else "an image"
            raise UsageError(f"layer {place} ({kind}) gets {shape}, and takes {needs}")
        parameters = 0
        if isinstance(layer, Dense):
            parameters = (shape[0] + layer.bias) * layer.units
            shape = (layer.units,)
        elif isinstance(layer, Flatten):
            shape = (math.prod(shape),)
        elif isinstance(layer, Conv):
            parameters = (shape[0] * layer.kernel_size**2 + layer.bias) * layer.filters
            room = 2 * layer.padding - layer.kernel_size
            shape = (layer.filters, *((n + room) // layer.stride + 1 for n in shape[1:]))
        elif isinstance(layer, BatchNorm):
            parameters = 2 * shape[0]
        elif isinstance(layer, MaxPool):
            shape = (shape[0], *(extent // layer.pool_size for extent in shape[1:]))
        if min(shape) < 1:
            raise UsageError(f"layer {place} ({kind}) leaves nothing of the image: {shape}")
        counts[kind] = counts.get(kind, 0) + 1
        rows.append(LayerRow(f"{kind.lower()}_{counts[kind]}", kind, shape, parameters))
    softmax = [getattr(layer, "activation", "") == "softmax" for layer in layers]
    if not softmax or not softmax[-1] or any(softmax[:-1]) or not isinstance(layers[-1], Dense):
        raise UsageError('the last layer, and no other, must be Dense(classes, "softmax")')
    return rows


_MOST = 100_000  # units, filters or pixels: beyond it is a slip, and no memory would hold it


def _check_values(layer: Layer, what: str) -> None:
    choices = {"activation": get_args(Activation), "initializer": get_args(Initializer)}
    for name, value in asdict(layer).items():
        if name in choices:
            expected = f"one of {', '.join(choices[name])}"
            good = value in choices[name]
        elif name == "bias":
            expected, good = "True or False", type(value) is bool
        elif name == "rate":
            expected = "a number from 0 to below 1"
            good = type(value) in (int, float) and 0 <= value < 1
        else:
            least = 0 if name == "padding" else 1
            expected = f"a whole number, {least} to {_MOST}"
            good = type(value) is int and least <= value <= _MOST
        if not good:
            raise UsageError(f"{what}: {name} is {value!r}; expected {expected}")
