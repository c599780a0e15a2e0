"""The gradient of small networks, written out by hand: what autograd does, in fewer steps.

A tutorial's network is so small that on a CPU the bookkeeping between its operations costs more
than the arithmetic. `WrittenGradient` does the same arithmetic in buffers made once: no graph, no
allocation, no copy. Three choices carry most of it:

- The gradient with respect to a large layer's input is computed transposed, (inputs, B): the
  matrix library is up to four times faster that way round. So is the softmax of (classes, B).
- Images are kept as (channels, positions, B), so that a convolution is a gather of whole rows and
  a product of two large matrices.
- Convolution and pooling are one matrix product. Every window of the pooled image sees
  (kernel + pool - 1)^2 pixels, and each of the pool^2 places of the kernel in it is a row block
  of one larger kernel. The pooled output is the largest of the blocks.

Source: the chain rule (Rumelhart, Hinton and Williams, 1986); figures in docs/design.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mnistry.model import BatchNormLayer, ConvLayer, DenseLayer

_mask = torch.ops.aten.threshold_backward.grad_input  # gradient where the other is above a limit


_MOST_WINDOWS = 2**14  # numbers in an image's windows, above which autograd's convolution is faster
_TURN_ABOVE = 2**16  # numbers in a kernel from which the transposed product is faster


class _Part(Protocol):
    """A layer with its buffers for one batch size; numbers of images are (B, n), in any layout."""

    def forward(self, x: Tensor) -> Tensor: ...

    def backward(self, gradient: Tensor) -> Tensor | None:
        """Writes the parameters' gradients; gives the input's, if anything needs it."""


class _Dense:
    """A dense layer: with ReLU or without."""

    def __init__(self, layer: DenseLayer, is_first: bool, batch: int) -> None:
        inputs, units = layer.kernel.shape
        self.kernel, self.kernel_gradient = layer.kernel.data, layer.kernel.grad
        self.bias = self.bias_gradient = None
        if layer.bias is not None:
            self.bias = layer.bias.data
            self.bias_gradient = layer.bias.grad.view(1, -1)  # type: ignore[union-attr]
        self.is_first, self.relu = is_first, layer.spec.activation == "relu"
        self.ones = torch.ones(1, batch)
        self.output = torch.empty(batch, units)
        self.gradient = torch.empty(batch, units)
        self.turned = inputs * units > _TURN_ABOVE
        shape = (inputs, batch) if self.turned else (batch, inputs)
        self.input_gradient = torch.empty(0 if is_first else shape)

    def forward(self, x: Tensor) -> Tensor:  # (B, inputs) -> (B, units)
        self.x = x
        if self.bias is None:
            torch.mm(x, self.kernel, out=self.output)
        else:
            torch.addmm(self.bias, x, self.kernel, out=self.output)
        return self.output.relu_() if self.relu else self.output

    def backward(self, gradient: Tensor) -> Tensor | None:  # (B, units) -> (B, inputs)
        if self.relu:
            gradient = _mask(gradient, self.output, 0, grad_input=self.gradient)
        torch.mm(self.x.t(), gradient, out=self.kernel_gradient)
        if self.bias_gradient is not None:
            torch.mm(self.ones, gradient, out=self.bias_gradient)
        if self.is_first:
            return None
        if self.turned:
            return torch.mm(self.kernel, gradient.t(), out=self.input_gradient).t()
        return torch.mm(gradient, self.kernel.t(), out=self.input_gradient)


def _windows(channels: int, size: int, kernel: int, stride: int) -> Tensor:
    """Which row of (channels * size^2, B) each window has: tap by tap, channel, then position."""
    corner = torch.arange((size - kernel) // stride + 1) * stride
    line = torch.arange(kernel)[:, None] + corner  # of each tap, at each position
    pixel = line[:, None, None, :, None] * size + line[None, :, None, None, :]
    return (torch.arange(channels)[:, None, None] * size * size + pixel).flatten()


def _matrix(kernel: Tensor) -> Tensor:
    """A view of a kernel as (filters, taps * channels)."""
    return kernel.permute(0, 2, 3, 1).view(len(kernel), -1)


class _Conv:
    """A convolution without padding; with ReLU or without."""

    def __init__(self, layer: ConvLayer, size: int, is_first: bool, batch: int) -> None:
        filters, channels, kernel, _ = layer.kernel.shape
        self.layer, self.relu = layer, layer.spec.activation == "relu"
        self.kernel = _matrix(layer.kernel.data)
        self.kernel_gradient = _matrix(layer.kernel.grad)  # type: ignore[arg-type]
        self.rows = _windows(channels, size, kernel, layer.spec.stride)
        taps = self.kernel.shape[1]
        columns = len(self.rows) // taps * batch
        has_bias = layer.bias is not None
        self.x = torch.empty(channels * size * size, batch)
        self.windows = torch.ones(taps + has_bias, columns)  # a row of ones for the bias
        self.taps = self.windows[:taps].view(-1, batch)
        self.weights = torch.empty(filters, taps + has_bias)
        self.weights_gradient = torch.empty(taps + has_bias, filters)
        self.output = torch.empty(filters, columns)
        self.gradient = torch.empty(filters, columns)
        self.is_first = is_first
        if not is_first:
            self.taps_gradient = torch.empty(taps, columns)
            # Which numbers of it each number of the input is in, one input after the other.
            self.order = self.rows.argsort()
            counts = self.rows.bincount(minlength=len(self.x))
            self.starts = counts.cumsum(0) - counts

    def forward(self, x: Tensor) -> Tensor:  # (B, channels * size^2) -> (B, filters * positions)
        batch = len(x)
        x = x.t() if x.t().is_contiguous() else self.x.copy_(x.t())
        torch.index_select(x, 0, self.rows, out=self.taps)
        weights = self.kernel
        if self.layer.bias is not None:
            torch.cat([self.kernel, self.layer.bias.data[:, None]], 1, out=self.weights)
            weights = self.weights
        torch.mm(weights, self.windows, out=self.output)
        if self.relu:
            self.output.relu_()
        return self.output.view(-1, batch).t()

    def backward(self, gradient: Tensor) -> Tensor | None:
        batch = len(gradient)
        gradient = gradient.t().reshape(self.output.shape)
        if self.relu:
            gradient = _mask(gradient, self.output, 0, grad_input=self.gradient)
        # Faster than gradient x windows', which is of the shape that is wanted.
        torch.mm(self.windows, gradient.t(), out=self.weights_gradient)
        self.kernel_gradient.copy_(self.weights_gradient[: self.kernel.shape[1]].t())
        if self.layer.bias is not None:
            self.layer.bias.grad.copy_(self.weights_gradient[-1])  # type: ignore[union-attr]
        if self.is_first:
            return None
        torch.mm(self.kernel.t(), gradient, out=self.taps_gradient)
        sums = torch.embedding_bag(self.taps_gradient.view(-1, batch), self.order, self.starts)
        return sums[0].t()


class _BatchNorm:
    """Batch normalisation and ReLU, of channels or of units."""

    def __init__(self, layer: BatchNormLayer, features: int, batch: int) -> None:
        self.layer, self.scale, self.shift = layer, layer.weight.data, layer.bias.data
        shape = len(self.scale), features // len(self.scale) * batch
        self.ones = torch.ones(shape[1])
        self.normal = torch.empty(shape)
        self.output = torch.empty(shape)
        self.product = torch.empty(shape)
        self.gradient = torch.empty(shape)

    def forward(self, x: Tensor) -> Tensor:  # (B, features) -> (B, features)
        batch, count = len(x), len(self.ones)
        x = x.t().reshape(self.output.shape)
        mean = torch.mv(x, self.ones).div_(count)
        torch.sub(x, mean[:, None], out=self.normal)
        torch.mul(self.normal, self.normal, out=self.product)
        variance = torch.mv(self.product, self.ones).div_(count)
        self._remember(mean, variance)
        self.root = (variance + self.layer.eps).rsqrt_()
        self.normal.mul_(self.root[:, None])
        torch.addcmul(
            self.shift[:, None], self.normal, self.scale[:, None], out=self.output
        ).relu_()
        return self.output.view(-1, batch).t()

    def backward(self, gradient: Tensor) -> Tensor:
        batch, count = len(gradient), len(self.ones)
        gradient = gradient.t().reshape(self.output.shape)
        gradient = _mask(gradient, self.output, 0, grad_input=self.gradient)
        torch.mul(gradient, self.normal, out=self.product)
        shift_gradient, scale_gradient = self.layer.bias.grad, self.layer.weight.grad
        torch.mv(gradient, self.ones, out=shift_gradient)
        torch.mv(self.product, self.ones, out=scale_gradient)
        assert shift_gradient is not None
        assert scale_gradient is not None
        gradient.sub_(shift_gradient[:, None] / count)
        gradient.addcmul_(self.normal, scale_gradient[:, None], value=-1 / count)
        gradient.mul_((self.scale * self.root)[:, None])
        return gradient.view(-1, batch).t()

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """The running figures, for after training; of a single number there are none."""
        layer, count = self.layer, len(self.ones)
        if count == 1:
            return
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert layer.num_batches_tracked is not None
        assert layer.momentum is not None
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * (count / (count - 1)), layer.momentum)
        layer.num_batches_tracked += 1


class _ConvPool:
    """The first layers of an image network: convolution, ReLU, max-pool."""

    def __init__(self, layer: ConvLayer, pool: Any, batch: int) -> None:
        filters, _, kernel, _ = layer.kernel.shape
        size = 28
        extent = (size - kernel + 1) // pool  # of the pooled image
        window = kernel + pool - 1
        assert layer.bias is not None
        self.filters, self.blocks, self.batch = filters, pool * pool, batch
        self.kernel = _matrix(layer.kernel.data)
        self.kernel_gradient = _matrix(layer.kernel.grad)  # type: ignore[arg-type]
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
    """Whether the gradient is written out for a network: a small one, on a CPU."""
    return _plan(network) is not None


def _plan(network: nn.Module) -> list[Callable[[int], _Part]] | None:
    """The parts of a network, each for a batch of any size; None where one is not written out."""
    if not isinstance(network, nn.Sequential):
        return None
    if any(not p.is_cpu or p.dtype != torch.float32 for p in network.parameters()):
        return None
    layers = list(network)
    if not layers or not isinstance(layers[-1], DenseLayer):
        return None
    plan: list[Callable[[int], _Part]] = []
    size, features = 28, 28 * 28
    while layers:
        layer, first = layers.pop(0), not plan
        if isinstance(layer, nn.Flatten):
            continue
        if isinstance(layer, DenseLayer):
            plan.append(partial(_Dense, layer, first))
            features = layer.spec.units
        elif isinstance(layer, BatchNormLayer) and layer.spec.activation == "relu" and not first:
            plan.append(partial(_BatchNorm, layer, features))
        elif isinstance(layer, ConvLayer) and not layer.spec.padding:
            spec = layer.spec
            extent = (size - spec.kernel_size) // spec.stride + 1
            pool = layers[0].kernel_size if layers and isinstance(layers[0], nn.MaxPool2d) else 0
            if pool and first and spec.activation == "relu" and spec.stride == 1 and spec.bias:
                plan.append(partial(_ConvPool, layer, pool))
                extent //= pool  # type: ignore[operator]
                layers.pop(0)
            elif pool or (not first and layer.kernel[0].numel() * extent**2 > _MOST_WINDOWS):
                return None
            else:
                plan.append(partial(_Conv, layer, size, first))
            size, features = extent, spec.filters * extent**2
        else:
            return None
    return plan


class WrittenGradient:
    """Probabilities and the gradient of the mean cross-entropy, for batches of one size.

    Args:
        network: One for which `can_write` holds, its parameters' `.grad` in place: they are
            written to, and must stay where they are. Batch normalisation's running figures are
            updated.
        batch: Images in a batch.
        scale: What the gradient is multiplied by.
    """

    def __init__(self, network: nn.Sequential, batch: int, scale: float = 1.0) -> None:
        plan = _plan(network)
        assert plan is not None
        self.parts = [part(batch) for part in plan]
        self.scale = scale / batch
        last = network[-1]
        assert isinstance(last, DenseLayer)
        classes = last.spec.units
        self.probabilities, self.gradient = torch.empty(classes, batch), torch.empty(classes, batch)

    def __call__(self, x: Tensor, scaled_labels: Tensor, probabilities: Tensor) -> None:
        """Runs a batch forwards and backwards.

        Args:
            x: (B, 784) float32 in 0..1.
            scaled_labels: (B, classes) float32: the labels' probabilities times `-self.scale`.
            probabilities: (B, classes) float32, written to.
        """
        for part in self.parts:
            x = part.forward(x)
        self.gradient.copy_(x.t())  # for now it holds the logits
        torch.softmax(self.gradient, 0, out=self.probabilities)
        # d loss / d logits = (probabilities - labels) / B
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
            vector, in the layout that it has, and its `.grad` a view of a second one.

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
        values = parameter.data.clone()  # the same layout, without gaps
        strides = values.stride()
        parameter.data = flat.as_strided(values.shape, strides, start)
        parameter.data.copy_(values)
        parameter.grad = gradient.as_strided(values.shape, strides, start)
    return flat, gradient
