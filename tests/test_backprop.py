"""Tests of mnistry.backprop: the written-out gradient against autograd."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnistry.backprop import WrittenGradient, can_write, flatten_parameters
from mnistry.layers import BatchNorm, Conv, Dense, Dropout, Flatten, Layer, MaxPool
from mnistry.model import build
from mnistry.recipe import PRESETS, TUTORIALS, Recipe


def image_network(filters: int, kernel: int, pool: int, *units: int) -> tuple[Layer, ...]:
    return (
        *(Conv(filters, kernel), MaxPool(pool), Flatten()),
        *(Dense(n) for n in units),
        Dense(10, "softmax"),
    )


def plain(filters: int, kernel: int, stride: int = 1) -> Conv:
    return Conv(filters, kernel, "linear", stride=stride, bias=False)


NETWORKS: dict[str, tuple[Layer, ...]] = {
    **{name: PRESETS[name].network for name in ("fast", *TUTORIALS)},  # type: ignore[dict-item]
    "no hidden layer": (Flatten(), Dense(10, "softmax")),
    "four hidden layers": (Flatten(), *(Dense(n) for n in (33, 17, 9, 21)), Dense(10, "softmax")),
    "26 classes": (Flatten(), Dense(40), Dense(26, "softmax")),
    "one filter, no dense": image_network(1, 3, 2),
    "kernel 5": image_network(6, 5, 2, 20),
    "kernel 1": image_network(5, 1, 2, 20),
    "pool 3, which leaves a border": image_network(7, 3, 3, 20),
    "pool 4, kernel 2": image_network(4, 2, 4, 11, 13),
    "pool 1": image_network(3, 3, 1, 12),
    "the kernel is the image": image_network(8, 28, 1, 12),
    "the pool is what is left": image_network(8, 25, 4, 12),
    "linear, without a bias": (
        *(Flatten(), Dense(12, "linear"), Dense(9, bias=False), Dense(10, "softmax", bias=False)),
    ),
    "convolutions with a bias": (
        *(Conv(5, 5, stride=2), plain(4, 3), BatchNorm(), Conv(3, 3, stride=3)),
        *(Flatten(), Dense(10, "softmax")),
    ),
    "a convolution alone": (plain(5, 4, 3), Flatten(), Dense(10, "softmax")),
    "normalised": (
        *(plain(6, 5, 2), BatchNorm(), plain(7, 4, 2), BatchNorm(), Flatten()),
        *(Dense(20, "linear", bias=False), BatchNorm(), Dense(10, "softmax")),
    ),
    "convolutions in a row": (
        *(plain(4, 3, 2), BatchNorm(), plain(5, 2), plain(3, 3, 3), BatchNorm(), Flatten()),
        Dense(10, "softmax"),
    ),
    "normalised after a pool": (
        *(Conv(4, 5), MaxPool(2), BatchNorm(), plain(6, 3), BatchNorm(), Flatten()),
        Dense(10, "softmax"),
    ),
    "dense layers, normalised": (Flatten(), Dense(30, "linear"), BatchNorm(), Dense(10, "softmax")),
}


def compare(network: nn.Sequential, x: Tensor, labels: Tensor, scale: float = 1.0) -> None:
    """Asserts that loss gradients and probabilities agree with autograd's in float64."""
    exact = {n: p.detach().double().requires_grad_() for n, p in network.named_parameters()}
    running = {
        n: b.double() if b.is_floating_point() else b.clone() for n, b in network.named_buffers()
    }
    images = x.double().view(-1, 1, 28, 28)
    logits = torch.func.functional_call(network, exact | running, images)
    F.cross_entropy(logits, labels).backward()

    flatten_parameters(list(network.parameters()))
    written = WrittenGradient(network, len(x), scale)
    probabilities = torch.empty(len(x), logits.shape[1])
    one_hot = F.one_hot(labels, logits.shape[1]) * -written.scale
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    for _ in range(2):  # the buffers of the first call must not show in the second
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
        written(x, one_hot, probabilities)
        torch.testing.assert_close(probabilities.double(), logits.softmax(1), rtol=1e-4, atol=1e-6)
        for name, parameter in network.named_parameters():
            wanted, found = exact[name].grad, parameter.grad
            assert wanted is not None
            assert found is not None
            size = max(wanted.abs().max().item(), 1e-2)
            difference = (found.double() - scale * wanted).abs().max().item()
            assert difference <= 2e-5 * scale * size, f"{name} differs by {difference / size}"
        for name, buffer in network.named_buffers():
            torch.testing.assert_close(
                buffer.to(running[name].dtype), running[name], rtol=1e-5, atol=1e-6
            )


def built(network: tuple[Layer, ...], seed: int = 3) -> nn.Sequential:
    module = build(Recipe(name="test", network=network), seed)
    assert isinstance(module, nn.Sequential)
    torch.manual_seed(seed)
    with torch.no_grad():  # biases are not zero for long
        for name, parameter in module.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.1, 0.1)
    return module


@pytest.fixture(autouse=True)
def _own_seed() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("batch", [1, 7, 32])
def test_it_is_autograds_gradient(name: str, batch: int) -> None:
    network = built(NETWORKS[name])
    assert can_write(network)
    classes = NETWORKS[name][-1].units  # type: ignore[union-attr]
    compare(network, torch.rand(batch, 784), torch.randint(0, classes, (batch,)))


def test_it_is_multiplied_by_the_scale() -> None:
    for name in ("vidhya-mlp", "kernel 5"):
        network = built(NETWORKS[name])
        compare(network, torch.rand(9, 784), torch.randint(0, 10, (9,)), scale=0.1**0.5)


@pytest.mark.parametrize("pool", [2, 3])
@pytest.mark.parametrize("picture", ["black", "saturated", "stripes", "blocks", "mixed"])
def test_ties_in_the_pool(picture: str, pool: int) -> None:
    """Equal windows: whichever of them is taken, it is taken once."""
    rows = torch.arange(28)
    images = {
        "black": torch.zeros(28, 28),
        "saturated": torch.ones(28, 28),
        "stripes": (rows % 2 == 0).float().expand(28, 28),
        "blocks": ((rows[:, None] // 6 + rows // 6) % 2).float(),
    }
    chosen = list(images.values()) if picture == "mixed" else [images[picture]] * 3
    x = torch.stack([image.reshape(-1) for image in chosen])
    compare(built(image_network(6, 3, pool, 20)), x, torch.arange(len(x)))


@pytest.mark.parametrize("pool", [2, 3])
def test_of_different_windows_that_tie_the_first_is_taken(pool: int) -> None:
    """As max_pool2d does; small whole numbers make every sum exact and many of them equal."""
    network = built(image_network(4, 3, pool))
    with torch.no_grad():
        kernel, bias = network[0].kernel, network[0].bias
        assert isinstance(kernel, Tensor)
        assert isinstance(bias, Tensor)
        kernel.copy_(torch.randint(-1, 2, kernel.shape))
        bias.fill_(0.5)
    x = torch.randint(0, 2, (16, 784)).float()
    # Ties between windows of different pixels are frequent here, so the order decides.
    outputs = F.conv2d(x.view(-1, 1, 28, 28), kernel.detach())
    windows = outputs[:, :, : outputs.shape[2] // pool * pool, : outputs.shape[3] // pool * pool]
    windows = windows.unfold(2, pool, pool).unfold(3, pool, pool).flatten(4)
    ties = (windows == windows.amax(-1, keepdim=True)).sum(-1) > 1
    assert ties.float().mean() > 0.2
    compare(network, x, torch.randint(0, 10, (16,)))


def test_dead_units_get_no_gradient() -> None:
    for name in ("vidhya-mlp", "kernel 5"):
        network = built(NETWORKS[name])
        with torch.no_grad():
            network[0 if name == "kernel 5" else 1].bias.fill_(-100)  # type: ignore[union-attr, operator]
        compare(network, torch.rand(4, 784), torch.arange(4))
        first = next(iter(network.parameters()))
        assert first.grad is not None
        assert (first.grad == 0).all()


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.parametrize(
    "network",
    [
        build(Recipe("a", (plain(3, 3), MaxPool(), Flatten(), Dense(10, "softmax")))),
        build(Recipe("b", (Conv(3, stride=2), MaxPool(), Flatten(), Dense(10, "softmax")))),
        build(Recipe("c", (Conv(3), Conv(3), MaxPool(), Flatten(), Dense(10, "softmax")))),
        build(Recipe("large", (Conv(9), Conv(9), Flatten(), Dense(10, "softmax")))),
        build(Recipe("d", (Conv(3), MaxPool(), MaxPool(), Flatten(), Dense(10, "softmax")))),
        build(Recipe("e", (MaxPool(), Flatten(), Dense(10, "softmax")))),
        build(Recipe("f", (Conv(3, activation="linear"), *image_network(1, 3, 2)[1:]))),
        build(Recipe("g", (Conv(3, padding=1, bias=False), *NETWORKS["normalised"][1:]))),
        build(Recipe("h", (plain(3, 3), BatchNorm("linear"), Flatten(), Dense(10, "softmax")))),
        build(Recipe("i", (BatchNorm(), plain(3, 3), Flatten(), Dense(10, "softmax")))),
        build(Recipe("j", (Flatten(), Dropout(), Dense(10, "softmax")))),
        build(PRESETS["vidhya-mlp"]).double(),
        build(PRESETS["vidhya-mlp"]).to("meta"),
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        nn.Sequential(nn.Flatten()),
        nn.Sequential(),
        Own(),
    ],
    ids=lambda network: " ".join(type(part).__name__ for part in network.children()) or "own",
)
def test_networks_that_it_leaves_to_autograd(network: nn.Module) -> None:
    assert not can_write(network)


def test_flat_parameters_keep_their_values_and_hold_their_gradients() -> None:
    parameters = [nn.Parameter(torch.randn(shape)) for shape in [(3, 5), (1,), (4, 4), (2, 3, 7)]]
    before = [parameter.detach().clone() for parameter in parameters]
    flat, gradient = flatten_parameters(parameters)
    assert flat.shape == gradient.shape
    assert flat.count_nonzero() == sum(p.numel() for p in parameters)  # between them zeros
    assert not gradient.any()
    for parameter, value in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value)
    sum((p * (k + 1)).sum() for k, p in enumerate(parameters)).backward()  # type: ignore[union-attr]
    for k, parameter in enumerate(parameters):
        assert parameter.grad is not None
        assert (parameter.grad == k + 1).all()
    assert gradient.sum() == sum((k + 1) * p.numel() for k, p in enumerate(parameters))
    flat.sub_(gradient)
    for k, (parameter, value) in enumerate(zip(parameters, before, strict=True)):
        assert torch.equal(parameter, value - (k + 1))
    starts = [p.data_ptr() for p in parameters]
    for (start, parameter), following in pairwise(zip(starts, parameters, strict=True)):
        assert following[0] >= start + 4 * parameter.numel()  # none lies in another's place
