"""Tests of mnistry.model: fresh weights, tables, and errors about a user's own network."""

import math

import pytest
import torch
from torch import Tensor, nn

from mnistry.errors import ModelError
from mnistry.layers import Conv, Dense, Flatten, MaxPool, describe_layers
from mnistry.model import build, logits_of, summarise
from mnistry.recipe import PRESETS, TUTORIALS, Recipe

COUNTS = {
    "fast": 73_754,
    "strong": 250_546,
    "best": 250_546,
    "datumo-cnn": 542_230,
    "nvidia-mlp": 669_706,
    "devto-mlp": 118_282,
    "vidhya-mlp": 27_882,
}
GLOROT, HE = "glorot_uniform", "he_uniform"

# The kernels of each preset: fan in, fan out, and the initialiser that its tutorial names.
FANS = {
    "datumo-cnn": {
        "conv_1": (9, 32 * 9, HE),
        "dense_1": (13 * 13 * 32, 100, HE),
        "dense_2": (100, 10, GLOROT),
    },
    "nvidia-mlp": {
        "dense_1": (784, 512, GLOROT),
        "dense_2": (512, 512, GLOROT),
        "dense_3": (512, 10, GLOROT),
    },
    "devto-mlp": {
        "dense_1": (784, 128, GLOROT),
        "dense_2": (128, 128, GLOROT),
        "dense_3": (128, 10, GLOROT),
    },
    "vidhya-mlp": {
        "dense_1": (784, 32, GLOROT),
        "dense_2": (32, 64, GLOROT),
        "dense_3": (64, 10, GLOROT),
    },
}


@pytest.mark.parametrize("name", TUTORIALS)
def test_fresh_weights_are_kerass(name: str) -> None:
    state = build(PRESETS[name], seed=4).state_dict()
    assert {key.split(".")[0] for key in state} == FANS[name].keys()
    for layer, (fan_in, fan_out, initializer) in FANS[name].items():
        assert not state[f"{layer}.bias"].any()
        kernel = state[f"{layer}.kernel"]
        assert kernel.dtype == torch.float32
        limit = math.sqrt(6 / (fan_in if initializer == HE else fan_in + fan_out))
        spread, n = limit / math.sqrt(3), kernel.numel()
        assert kernel.abs().max() <= limit
        assert kernel.abs().max() > limit * (1 - 10 / n)
        assert abs(kernel.mean()) < 4 * spread / math.sqrt(n)
        assert abs(kernel.std() / spread - 1) < 4 / math.sqrt(n)


def test_a_convolution_of_many_channels() -> None:
    network = (Conv(6, 5), Conv(8, 3), Flatten(), Dense(10, "softmax"))
    kernel = build(Recipe("two", network)).state_dict()["conv_2.kernel"]
    assert kernel.shape == (8, 6, 3, 3)
    assert kernel.abs().max() <= math.sqrt(6 / ((6 + 8) * 9))
    assert kernel.abs().max() > 0.97 * math.sqrt(6 / ((6 + 8) * 9))


@pytest.mark.parametrize("name", PRESETS)
def test_parameter_counts(name: str) -> None:
    preset = PRESETS[name]
    network = build(preset)
    assert sum(p.numel() for p in network.parameters()) == COUNTS[name]
    assert not callable(preset.network)
    table = describe_layers(preset.network)
    assert sum(row.parameters for row in table) == COUNTS[name]
    for row, found in zip(table, summarise(network), strict=True):
        assert (row.name, row.output_shape, row.parameters) == (
            *(found.name, found.output_shape, found.parameters),
        )


def test_the_seed_decides_the_weights() -> None:
    for recipe in (PRESETS["devto-mlp"], Recipe("own", Own)):
        first, again, other = (build(recipe, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[key], again[key]) for key in first)
        kernels = [key for key in first if first[key].ndim > 1]
        assert kernels
        assert not any(torch.equal(first[key], other[key]) for key in kernels)


def test_building_leaves_the_global_generator_alone() -> None:
    for recipe in (PRESETS["devto-mlp"], Recipe("own", Own)):
        before = torch.get_rng_state()
        build(recipe, 9)
        assert torch.equal(before, torch.get_rng_state())


def test_the_network_computes_what_its_layers_say() -> None:
    network = build(Recipe("n", (Conv(2, 3), MaxPool(2), Flatten(), Dense(10, "softmax"))), 0)
    image = torch.rand(1, 1, 28, 28)
    kernel, dense = network.state_dict()["conv_1.kernel"], network.state_dict()["dense_1.kernel"]
    pooled = torch.zeros(2, 13, 13)
    for f in range(2):
        for i in range(13):
            for j in range(13):
                places = [(2 * i + a, 2 * j + b) for a in (0, 1) for b in (0, 1)]
                pooled[f, i, j] = max(
                    0.0,
                    *((image[0, 0, r : r + 3, c : c + 3] * kernel[f, 0]).sum() for r, c in places),
                )
    expected = pooled.flatten() @ dense
    torch.testing.assert_close(logits_of(network, image)[0], expected, rtol=1e-4, atol=1e-5)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 26 * 26, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x).flatten(1)))


def test_the_table_of_an_own_module() -> None:
    network = Own().train()
    rows = {row.name: (row.kind, row.output_shape, row.parameters) for row in summarise(network)}
    assert rows == {
        "features.0": ("Conv2d", (4, 26, 26), 40),
        "features.1": ("BatchNorm2d", (4, 26, 26), 8),
        "features.2": ("ReLU", (4, 26, 26), 0),
        "drop": ("Dropout", (2704,), 0),
        "head": ("Linear", (10,), 27_050),
    }
    assert list(rows) == ["features.0", "features.1", "features.2", "drop", "head"]
    assert sum(p.numel() for p in network.parameters()) == 40 + 8 + 27_050
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert network.features[1].num_batches_tracked == 0


def test_parameters_that_no_layer_shows_are_counted() -> None:
    network = Own()
    network.register_parameter("loose", torch.nn.Parameter(torch.ones(7)))
    network.unused = torch.nn.Linear(3, 2)
    assert [(row.name, row.parameters) for row in summarise(network)][-1] == ("(others)", 15)


def test_a_network_is_used_as_after_training() -> None:
    network = Own().train()
    images = torch.rand(5, 1, 28, 28)
    first = logits_of(network, images)
    assert torch.equal(first, logits_of(network, images)), "dropout at work"
    assert network.training
    assert not first.requires_grad
    single = torch.cat([logits_of(network, image[None]) for image in images])
    torch.testing.assert_close(first, single)  # batch norm does not look at the batch


class Fails(nn.Linear):
    def __init__(self) -> None:
        super().__init__(784, 10)


class Gives(nn.Module):
    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, _: Tensor) -> object:
        return self.result


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Fails(), "fails on images of shape .1, 1, 28, 28.: RuntimeError"),
        (Gives(None), "gives NoneType for 1 images; expected logits"),
        (Gives((torch.zeros(1, 10),)), "gives tuple"),
        (Gives(torch.zeros(10)), r"gives \(10,\)"),
        (Gives(torch.zeros(3, 10)), r"gives \(3, 10\) for 1 images"),
        (Gives(torch.zeros(1, 10, 1)), r"gives \(1, 10, 1\)"),
    ],
)
def test_networks_that_give_no_logits(network: nn.Module, words: str) -> None:
    network.train()
    with pytest.raises(ModelError, match=words):
        summarise(network)
    assert network.training
    assert not network._forward_hooks


def test_half_precision_logits_become_float32() -> None:
    assert logits_of(Gives(torch.zeros(1, 10).half()), torch.zeros(1, 1, 28, 28)).dtype == (
        torch.float32
    )


def test_a_function_that_makes_something_else() -> None:
    with pytest.raises(ModelError, match=r"nets.py:make: gave int; expected a torch module"):
        build(Recipe("odd", lambda: 3, origin="nets.py:make"))  # type: ignore[arg-type, return-value]


def test_a_softmax_at_the_end_is_refused() -> None:
    """The loss takes logits: probabilities in their place would train, but badly."""
    layers = (nn.Flatten(), nn.Linear(784, 10), nn.Softmax(dim=1))
    recipe = Recipe("own", lambda: nn.Sequential(*layers), origin="mine.py:own")
    with pytest.raises(ModelError, match="Leave the last layer out"):
        build(recipe)
