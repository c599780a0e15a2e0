"""Tests of mnistry.optimizer: Keras's arithmetic, written out in numpy."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnistry import optimizer
from mnistry.optimizer import FlatOptimizer, make_optimizer
from mnistry.recipe import PRESETS

Floats = NDArray[np.float64]
RATE = 0.01


def adam(
    parameters: Floats,
    gradients: list[Floats],
    epsilon_last: bool = False,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
) -> Floats:
    p, mean, square = parameters.copy(), 0.0, 0.0
    for step, g in enumerate(gradients, start=1):
        mean = beta_1 * mean + (1 - beta_1) * g
        square = beta_2 * square + (1 - beta_2) * g * g
        correction = np.sqrt(1 - beta_2**step)
        if epsilon_last:  # as PyTorch has it
            p -= RATE / (1 - beta_1**step) * mean / (np.sqrt(square) / correction + 1e-7)
        else:
            p -= RATE * correction / (1 - beta_1**step) * mean / (np.sqrt(square) + 1e-7)
    return p


def rmsprop(parameters: Floats, gradients: list[Floats], epsilon_last: bool = False) -> Floats:
    p, square = parameters.copy(), 0.0
    for g in gradients:
        square = 0.9 * square + 0.1 * g * g
        p -= RATE * g / (np.sqrt(square) + 1e-7 if epsilon_last else np.sqrt(square + 1e-7))
    return p


def sgd(parameters: Floats, gradients: list[Floats]) -> Floats:
    return parameters - RATE * sum(gradients)


def made(name: str, like: Tensor, **values: Any) -> FlatOptimizer:
    recipe = replace(PRESETS["devto-mlp"], learning_rate=RATE, optimizer=name)  # type: ignore[arg-type]
    return make_optimizer(replace(recipe, **values), like)


RULES: dict[str, Callable[..., Floats]] = {"adam": adam, "rmsprop": rmsprop, "sgd": sgd}


def gradients_of_every_size(steps: int, n: int = 1003) -> Iterator[NDArray[np.float32]]:
    """From 1e-12 to 10, with zeros among them, of changing sign."""
    rng = np.random.default_rng(1)
    sizes = 10 ** rng.uniform(-12, 1, n)
    sizes[::17] = 0
    for _ in range(steps):
        yield (sizes * rng.normal(size=n)).astype(np.float32)


def stepped(name: str, start: NDArray[np.float32], gradients: list[NDArray[np.float32]]) -> Floats:
    parameters = torch.from_numpy(start.copy())
    rule = made(name, parameters)
    for gradient in gradients:
        rule.step(parameters, torch.from_numpy(gradient * np.float32(rule.gradient_scale)))
    return parameters.numpy().astype(np.float64)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_the_arithmetic_is_kerass(name: str, steps: int) -> None:
    gradients = list(gradients_of_every_size(steps))
    zeros = np.zeros_like(gradients[0])  # so that a step is seen with all its digits
    found = stepped(name, zeros, gradients)
    exact = [g.astype(np.float64) for g in gradients]
    expected = RULES[name](zeros.astype(np.float64), exact)
    # Relative to each number's largest possible step: the smallest of them count as well.
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6 * RATE)
    assert (found[::17] == 0).all(), "a zero gradient moved a parameter"
    if name != "sgd":
        misplaced = RULES[name](zeros.astype(np.float64), exact, epsilon_last=True)
        assert np.abs(misplaced - expected).max() > 0.01 * RATE, "the test would not notice"


@pytest.mark.parametrize("name", RULES)
def test_steps_start_from_the_parameters_given(name: str) -> None:
    gradients = list(gradients_of_every_size(5))
    start = np.random.default_rng(2).normal(size=1003).astype(np.float32)
    found = stepped(name, start, gradients)
    expected = RULES[name](start.astype(np.float64), [g.astype(np.float64) for g in gradients])
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("kernel", [("cpu",), ()])
def test_adams_decays(kernel: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "ADAM_KERNEL", kernel)
    gradients = list(gradients_of_every_size(9))
    parameters = torch.zeros(1003)
    rule = made("adam", parameters, beta_1=0.6, beta_2=0.8)
    for gradient in gradients:
        rule.step(parameters, torch.from_numpy(gradient))
    exact = [g.astype(np.float64) for g in gradients]
    expected = adam(np.zeros(1003), exact, beta_1=0.6, beta_2=0.8)
    np.testing.assert_allclose(parameters.numpy(), expected, rtol=5e-4, atol=2e-6 * RATE)
    assert np.abs(expected - adam(np.zeros(1003), exact)).max() > 0.1 * RATE


@pytest.mark.parametrize("name", RULES)
def test_the_state_is_all_that_it_remembers(name: str) -> None:
    gradients = [torch.from_numpy(g) for g in gradients_of_every_size(8)]
    whole = torch.ones(1003)
    rule = made(name, whole)
    for gradient in gradients[:3]:
        rule.step(whole, gradient)
    kept = {part: tensor.numpy().copy() for part, tensor in rule.state.items()}
    halved, steps = whole.clone(), rule.steps
    assert steps == 3
    for gradient in gradients[3:]:
        rule.step(whole, gradient)

    other = made(name, halved)
    assert other.state.keys() == kept.keys()
    other.steps = steps
    for part, tensor in other.state.items():
        assert tensor.dtype == torch.float32
        tensor.copy_(torch.from_numpy(kept[part]))
    for gradient in gradients[3:]:
        other.step(halved, gradient)
    assert torch.equal(whole, halved)
    for part, tensor in rule.state.items():
        assert torch.equal(tensor, other.state[part])


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_devices_without_a_fused_kernel_do_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(3)
    start = torch.randn(1000, generator=generator)
    gradients = torch.randn(20, 1000, generator=generator)
    ends = []
    for devices in (("cpu",), ()):
        monkeypatch.setattr(optimizer, "ADAM_KERNEL", devices)
        monkeypatch.setattr(optimizer, "ADAGRAD_KERNEL", devices)
        rule, parameters = made(name, start, learning_rate=0.01), start.clone()
        for gradient in gradients:
            rule.step(parameters, gradient * rule.gradient_scale)
        ends.append(parameters)
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-6)
    assert (ends[0] - start).abs().mean() > 1e-2
