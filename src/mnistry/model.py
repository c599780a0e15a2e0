"""Networks: a recipe's layers as torch modules, and the table of any torch module's layers."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistry.errors import ModelError
from mnistry.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    LayerRow,
    MaxPool,
    describe_layers,
)
from mnistry.recipe import Recipe

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "softmax": lambda logits: logits,  # the loss and `probabilities` take logits
    "linear": lambda outputs: outputs,
}


class DenseLayer(nn.Module):
    """x @ kernel + bias, with the kernel (inputs, units) as Keras keeps it."""

    def __init__(self, inputs: int, spec: Dense) -> None:
        super().__init__()
        self.spec = spec
        self.kernel = nn.Parameter(torch.empty(inputs, spec.units))
        self.bias = nn.Parameter(torch.zeros(spec.units)) if spec.bias else None

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs)
        """Gives (B, units), after the activation."""
        outputs = x @ self.kernel if self.bias is None else torch.addmm(self.bias, x, self.kernel)
        return _ACTIVATIONS[self.spec.activation](outputs)


class ConvLayer(nn.Module):
    """A convolution, with the kernel (filters, channels, size, size).

    In memory the channels of a pixel lie side by side, in the kernel and so in what it gives:
    convolutions are faster that way.
    """

    def __init__(self, channels: int, spec: Conv) -> None:
        super().__init__()
        self.spec = spec
        size = spec.kernel_size
        shape = spec.filters, channels, size, size
        strides = channels * size**2, 1, channels * size, channels
        self.kernel = nn.Parameter(torch.empty_strided(shape, strides))
        self.bias = nn.Parameter(torch.zeros(spec.filters)) if spec.bias else None

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, H, W)
        """Gives (B, filters, H', W'), after the activation."""
        stride, padding = self.spec.stride, self.spec.padding
        outputs = F.conv2d(x, self.kernel, self.bias, stride, padding)
        return _ACTIVATIONS[self.spec.activation](outputs)


class BatchNormLayer(nn.BatchNorm2d):
    """Batch normalisation of images (B, channels, H, W) or vectors (B, units)."""

    def __init__(self, channels: int, spec: BatchNorm) -> None:
        super().__init__(channels)
        self.spec = spec

    def _check_input_dim(self, x: Tensor) -> None:
        pass  # vectors too

    def forward(self, x: Tensor) -> Tensor:
        """Gives the same shape, after the activation."""
        if self.training and x.numel() == x.shape[1]:  # one number a unit has no deviation
            normal = torch.batch_norm(
                x, self.weight, self.bias, None, None, True, 0.0, self.eps, False
            )
        else:
            normal = super().forward(x)
        return _ACTIVATIONS[self.spec.activation](normal)


class Ensemble(nn.Module):
    """Networks whose probabilities are averaged."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 28, 28)
        """Gives (B, classes): the logarithms of the mean probabilities."""
        logs = torch.stack([member(x).log_softmax(1) for member in self.members])
        return logs.logsumexp(0) - math.log(len(self.members))


def probabilities_of(read: Callable[[Tensor], Tensor], images: Tensor, shifts: int) -> Tensor:
    """The mean of what is read from images as they are, first, and moved: test-time averaging.

    Args:
        read: Gives logits (n, classes) for images.
        images: (n, 1, 28, 28).
        shifts: By how many pixels, at most, they are moved down and across; none for 0.

    Returns:
        (n, classes) float32.
    """
    height, width = images.shape[2:]
    steps = sorted(range(2 * shifts + 1), key=lambda step: abs(step - shifts))
    wide = F.pad(images, (shifts,) * 4)  # ground comes in, and what leaves is gone
    views = [wide[..., y : y + height, x : x + width] for y in steps for x in steps]
    found = read(torch.cat(views) if shifts else images).float().softmax(1)
    mean: Tensor = found.unflatten(0, (len(views), images.shape[0])).mean(0)
    return mean


def build(recipe: Recipe, seed: int = 0) -> nn.Module:
    """A recipe's network with fresh weights.

    Args:
        recipe: Its layers, or its function that makes a torch module.
        seed: The same seed gives the same weights; several members have it and those after it.

    Returns:
        A module that takes float32 images (B, 1, 28, 28) in 0..1 and gives logits (B, classes).

    Raises:
        ModelError: The recipe's own function made something else.
    """
    if recipe.members > 1:
        one = replace(recipe, members=1)
        return Ensemble([build(one, seed + member) for member in range(recipe.members)])
    if callable(recipe.network):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # the CPU's alone
            module = recipe.network()
            if not isinstance(module, nn.Module):
                raise ModelError(
                    f"{recipe.origin}: gave {type(module).__name__}; expected a torch module"
                )
            last = list(module.modules())[-1]
            if isinstance(last, nn.Softmax):
                raise ModelError(
                    f"{recipe.origin}: ends in {last}; expected logits, which the loss turns into "
                    "probabilities itself. Leave the last layer out"
                )
            logits_of(module, torch.zeros(1, 1, 28, 28))  # lazy layers take their shapes from it
        return module
    generator = torch.Generator().manual_seed(seed)
    network = nn.Sequential()
    inputs: tuple[int, ...] = (1, 28, 28)
    for layer, row in zip(recipe.network, describe_layers(recipe.network), strict=True):
        part: nn.Module
        if isinstance(layer, Conv):
            part = ConvLayer(inputs[0], layer)
            area = layer.kernel_size**2
            _initialise(part.kernel, inputs[0] * area, layer.filters * area, layer, generator)
        elif isinstance(layer, Dense):
            part = DenseLayer(inputs[0], layer)
            _initialise(part.kernel, inputs[0], layer.units, layer, generator)
        elif isinstance(layer, BatchNorm):
            part = BatchNormLayer(inputs[0], layer)
        elif isinstance(layer, Dropout):
            part = nn.Dropout(layer.rate)
        else:
            part = nn.MaxPool2d(layer.pool_size) if isinstance(layer, MaxPool) else nn.Flatten()
        network.add_module(row.name, part)
        inputs = row.output_shape
    return network


def _initialise(
    kernel: nn.Parameter, fan_in: int, fan_out: int, spec: Conv | Dense, generator: torch.Generator
) -> None:
    """Keras's: uniform within sqrt(6 / fan_in) (He) or sqrt(6 / (fan_in + fan_out)) (Glorot)."""
    fan = fan_in if spec.initializer == "he_uniform" else fan_in + fan_out
    with torch.no_grad():
        kernel.uniform_(-math.sqrt(6 / fan), math.sqrt(6 / fan), generator=generator)


def summarise(network: nn.Module) -> list[LayerRow]:
    """The table of any torch module's layers, in the order in which an image meets them.

    Raises:
        ModelError: The network cannot take an image (1, 1, 28, 28).
    """
    rows: list[LayerRow] = []

    def note(name: str, module: nn.Module) -> Callable[[Any, Any, Any], None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
            count = sum(p.numel() for p in module.parameters())
            rows.append(LayerRow(name, type(module).__name__, shape, count))

        return hook

    leaves = [(name, m) for name, m in network.named_modules() if not list(m.children())]
    hooks = [module.register_forward_hook(note(name, module)) for name, module in leaves]
    try:
        logits_of(network, torch.zeros(1, 1, 28, 28))
    finally:
        for hook in hooks:
            hook.remove()
    others = sum(p.numel() for p in network.parameters()) - sum(row.parameters for row in rows)
    if others > 0:  # held by modules that have children, or by layers that are not used
        rows.append(LayerRow("(others)", type(network).__name__, (), others))
    return rows


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """What a network says of images, as it is used after training (no dropout, fixed statistics).

    Args:
        network: On any device.
        images: (n, 1, 28, 28) float32 in 0..1, on the same device.

    Returns:
        (n, classes) float32.

    Raises:
        ModelError: The network fails on such images, or gives something else.
    """
    was_training = network.training
    network.eval()
    try:
        logits = network(images)
    except Exception as error:  # whatever a user's own network raises
        raise ModelError(
            f"the network fails on images of shape {tuple(images.shape)}: "
            f"{type(error).__name__}: {error}; expected to take float32 (n, 1, 28, 28)"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"the network gives {found} for {len(images)} images; expected logits (n, classes)"
        )
    return logits.float()
