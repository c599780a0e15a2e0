"""The gradient of the tutorials' networks, written out by hand: what autograd does, in fewer steps.

A tutorial's network is so small that on a CPU the bookkeeping between its operations costs more
than the arithmetic. `WrittenGradient` does the same arithmetic in buffers made once: no graph, no
allocation, no copy. Two choices carry most of it:

- The gradient with respect to a large layer's input is computed transposed, (inputs, B): the
  matrix library is up to four times faster that way round. So is the softmax of (classes, B).
- Convolution and pooling are one matrix product. Every window of the pooled image sees
  (kernel + pool - 1)^2 pixels, and each of the pool^2 places of the kernel in it is a row block
  of one larger kernel. The pooled output is the largest of the blocks.

Source: the chain rule (Rumelhart, Hinton and Williams, 1986); figures in docs/design.md.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnistry.model import ConvLayer, DenseLayer

_mask = torch.ops.aten.threshold_backward.grad_input  # gradient where the other is above a limit


_TURN_ABOVE = 2**16  # numbers in a kernel from which the transposed product is faster


class _Part(Protocol):
    """A layer with its buffers for one batch size."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Writes the parameters' gradients; gives the input's, if anything needs it."""


class _Dense:
    """A dense layer: with ReLU, but for the last one."""

    def __init__(self, layer: DenseLayer, batch: int, is_first: bool, is_last: bool) -> None:
        inputs, units = layer.kernel.shape
        assert layer.bias is not None
        self.kernel, self.bias = layer.kernel.data, layer.bias.data
        self.kernel_gradient = layer.kernel.grad
        self.bias_gradient = layer.bias.grad.view(1, -1)  # type: ignore[union-attr]
        self.is_first, self.is_last = is_first, is_last
        self.ones = torch.ones(1, batch)
        self.output = torch.empty(batch, units)
        self.gradient = torch.empty(batch, units)
        self.turned = inputs * units > _TURN_ABOVE
        shape = (inputs, batch) if self.turned else (batch, inputs)
        self.input_gradient = torch.empty(0 if is_first else shape)

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs) -> (B, units)
        self.x = x
        torch.addmm(self.bias, x, self.kernel, out=self.output)
        return self.output if self.is_last else self.output.relu_()

    def backward(self, gradient: Tensor) -> Tensor | None:  # (B, units) -> (B, inputs)
        if not self.is_last:
            gradient = _mask(gradient, self.output, 0, grad_input=self.gradient)
        torch.mm(self.x.t(), gradient, out=self.kernel_gradient)
        torch.mm(self.ones, gradient, out=self.bias_gradient)
        if self.is_first:
            return None
        if self.turned:
            return torch.mm(self.kernel, gradient.t(), out=self.input_gradient).t()
        return torch.mm(gradient, self.kernel.t(), out=self.input_gradient)


class _ConvPool:
    """The first layers of an image network: convolution, ReLU, max-pool, flatten."""

    def __init__(self, layer: ConvLayer, pool: Any, batch: int, size: int = 28) -> None:
        filters, _, kernel, _ = layer.kernel.shape
        extent = (size - kernel + 1) // pool  # of the pooled image
        window = kernel + pool - 1
        assert layer.bias is not None
        self.filters, self.blocks, self.batch = filters, pool * pool, batch
        self.kernel = layer.kernel.data.view(filters, kernel * kernel)
        self.kernel_gradient = layer.kernel.grad.view(filters, kernel * kernel)  # type: ignore[union-attr]
        self.bias, self.bias_gradient = layer.bias.data.view(-1, 1), layer.bias.grad
        self.places = _places(kernel, pool)  # (kernel^2, pool^2 * window^2)
        corner = torch.arange(extent) * pool
        pixel = torch.arange(window)
        row = (pixel[:, None] + corner).view(window, 1, extent, 1)
        column = (pixel[:, None] + corner).view(1, window, 1, extent)
        self.pixels = (row * size + column).flatten()  # of every window: tap by tap, then position
        columns = extent * extent * batch
        self.transposed = torch.empty(size * size, batch)
        self.windows = torch.empty(window * window, columns)
        self.wide_kernel = torch.empty(filters, self.places.shape[1])
        self.wide_gradient = torch.empty(filters * self.blocks, window * window)
        self.outputs = torch.empty(filters, self.blocks, columns)
        self.pooled = torch.empty(filters, columns)
        self.largest = torch.empty(filters, columns)
        self.rest = torch.empty(filters, columns)
        self.taken = torch.empty(filters, columns)

    def forward(self, x: Tensor) -> Tensor:  # (B, 784) -> (B, filters * extent^2)
        self.transposed.copy_(x.t())
        torch.index_select(self.transposed, 0, self.pixels, out=self.windows.view(-1, self.batch))
        torch.mm(self.kernel, self.places, out=self.wide_kernel)
        torch.mm(
            self.wide_kernel.view(len(self.wide_gradient), -1),
            self.windows,
            out=self.outputs.view(len(self.wide_gradient), -1),
        )
        torch.amax(self.outputs, 1, out=self.largest)
        torch.add(self.largest, self.bias, out=self.pooled).relu_()
        return self.pooled.view(-1, self.batch).t()

    def backward(self, gradient: Tensor) -> Tensor | None:  # (B, filters * extent^2)
        gradient = gradient.t().reshape(self.filters, -1)
        rest = _mask(gradient, self.pooled, 0, grad_input=self.rest)
        torch.sum(rest, 1, out=self.bias_gradient)
        # Each gradient goes to the first block that reached the maximum, as everywhere.
        for block in range(self.blocks - 1):
            outputs = self.outputs[:, block]
            torch.sub(outputs, self.largest, out=self.taken)  # 0 at the maximum, else below
            _mask(rest, self.taken, -1e-30, grad_input=outputs)
            rest.sub_(outputs)
        self.outputs[:, -1] = rest
        torch.mm(
            self.outputs.view(len(self.wide_gradient), -1), self.windows.t(), out=self.wide_gradient
        )
        torch.mm(
            self.wide_gradient.view(self.filters, -1), self.places.t(), out=self.kernel_gradient
        )
        return None


def _places(kernel: int, pool: int) -> Tensor:
    """(kernel^2, pool^2 * window^2): 1 where a number of the kernel, at a place, meets a pixel."""
    window = kernel + pool - 1
    places = torch.zeros(kernel, kernel, pool, pool, window, window)
    for down in range(pool):
        for right in range(pool):
            for row in range(kernel):
                for column in range(kernel):
                    places[row, column, down, right, down + row, right + column] = 1
    return places.view(kernel * kernel, -1)


def can_write(network: nn.Module) -> bool:
    """Whether the gradient is written out for a network: the tutorials' kinds, on a CPU."""
    if not isinstance(network, nn.Sequential):
        return False
    parts = list(network)
    if parts and isinstance(parts[0], ConvLayer):
        spec = parts[0].spec
        plain = spec.activation == "relu" and spec.stride == 1 and not spec.padding and spec.bias
        parts = parts[2:] if plain and isinstance(parts[1], nn.MaxPool2d) else []
    dense = parts[1:]
    return (
        bool(dense)
        and isinstance(parts[0], nn.Flatten)
        and all(isinstance(layer, DenseLayer) and layer.spec.bias for layer in dense)
        and all(layer.spec.activation == "relu" for layer in dense[:-1])  # type: ignore[union-attr]
        and all(p.is_cpu and p.dtype == torch.float32 for p in network.parameters())
    )


class WrittenGradient:
    """Probabilities and the gradient of the mean cross-entropy, for batches of one size.

    Args:
        network: One for which `can_write` holds, its parameters' `.grad` in place: they are
            written to, and must stay where they are.
        batch: Images in a batch.
        scale: What the gradient is multiplied by.
    """

    def __init__(self, network: nn.Sequential, batch: int, scale: float = 1.0) -> None:
        layers = list(network)
        dense = [layer for layer in layers if isinstance(layer, DenseLayer)]
        self.parts: list[_Part] = []
        if isinstance(layers[0], ConvLayer):
            assert isinstance(layers[1], nn.MaxPool2d)
            self.parts.append(_ConvPool(layers[0], layers[1].kernel_size, batch))
        for layer in dense:
            self.parts.append(_Dense(layer, batch, not self.parts, layer is dense[-1]))
        self.scale = scale / batch
        classes = dense[-1].spec.units
        self.probabilities, self.gradient = torch.empty(classes, batch), torch.empty(classes, batch)

    def __call__(self, x: Tensor, scaled_labels: Tensor, probabilities: Tensor) -> None:
        """Runs a batch forwards and backwards.

        Args:
            x: (B, 784) float32 in 0..1.
            scaled_labels: (B, classes) float32: one-hot labels times `-self.scale`.
            probabilities: (B, classes) float32, written to.
        """
        for part in self.parts:
            x = part.forward(x)
        self.gradient.copy_(x.t())  # for now it holds the logits
        torch.softmax(self.gradient, 0, out=self.probabilities)
        # d loss / d logits = (probabilities - one-hot) / B
        torch.add(scaled_labels.t(), self.probabilities, alpha=self.scale, out=self.gradient)
        probabilities.copy_(self.probabilities.t())
        gradient: Tensor | None = self.gradient.t()
        for part in reversed(self.parts):
            assert gradient is not None
            gradient = part.backward(gradient)


def flatten_parameters(parameters: Sequence[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Moves parameters into one vector, so that an optimiser updates them in one call.

    Args:
        parameters: Trainable float32 parameters, on one device; each becomes a view of the
            vector, and its `.grad` a view of a second one.

    Returns:
        The parameters and their gradients, two vectors (n,) float32.
    """
    line = 16  # numbers in a cache line: each parameter starts on a new one
    starts, count = [], 0
    for parameter in parameters:
        starts.append(count)
        count += -(-parameter.numel() // line) * line
    device = parameters[0].device
    flat, gradient = torch.zeros(count, device=device), torch.zeros(count, device=device)
    for start, parameter in zip(starts, parameters, strict=True):
        place = slice(start, start + parameter.numel())
        flat[place] = parameter.data.flatten()
        parameter.data = flat[place].view(parameter.shape)
        parameter.grad = gradient[place].view(parameter.shape)
    return flat, gradient
