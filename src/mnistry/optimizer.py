"""Optimisers with Keras's arithmetic, each on one flat vector of parameters.

Keras and PyTorch differ where it shows: Keras's RMSprop decays at 0.9 and adds its epsilon under
the root, its Adam adds epsilon before the bias correction, and both use 1e-7. One vector for all
parameters means one call a step, whatever the number of layers.
"""

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import Tensor

from mnistry.recipe import Recipe

EPSILON = 1e-7
ADAM_KERNEL, ADAGRAD_KERNEL = ("cpu", "cuda"), ("cpu",)  # devices on which the fused one is used


class FlatOptimizer(ABC):
    """An update rule for one vector.

    Attributes:
        state: What it remembers between steps, by name: (n,) float32 tensors, to save and load.
        steps: How many steps it has taken, likewise.
        learning_rate: Of the next step.
        gradient_scale: The factor that it wants the gradient multiplied by beforehand: a
            network's last layer can do that at no cost.
    """

    state: dict[str, Tensor]
    steps: int = 0
    learning_rate: float
    gradient_scale: float = 1.0

    @abstractmethod
    def step(self, parameters: Tensor, gradient: Tensor) -> None:
        """Updates the parameters in place.

        Args:
            parameters: (n,) float32.
            gradient: (n,) float32, of the loss times `gradient_scale`.
        """


@final
class Adam(FlatOptimizer):
    """Adam (Kingma and Ba, 2014), epsilon before the bias correction, as Keras has it."""

    def __init__(
        self, like: Tensor, learning_rate: float, beta_1: float = 0.9, beta_2: float = 0.999
    ) -> None:
        self.learning_rate, self.beta_1, self.beta_2 = learning_rate, beta_1, beta_2
        self.state = {"mean": torch.zeros_like(like), "square": torch.zeros_like(like)}
        self._late = torch.tensor(1e9, device=like.device)

    def step(self, parameters: Tensor, gradient: Tensor) -> None:
        """Updates the parameters in place."""
        self.steps += 1
        # Keras corrects the rate; PyTorch's kernel, told that it is late, corrects nothing.
        beta_1, beta_2 = self.beta_1, self.beta_2
        rate = self.learning_rate * (1 - beta_2**self.steps) ** 0.5 / (1 - beta_1**self.steps)
        mean, square = self.state["mean"], self.state["square"]
        if parameters.device.type not in ADAM_KERNEL:
            mean.lerp_(gradient, 1 - beta_1)
            square.lerp_(gradient.square(), 1 - beta_2)
            parameters.addcdiv_(mean, square.sqrt().add_(EPSILON), value=-rate)
            return
        torch._fused_adam_(
            [parameters],
            [gradient],
            [mean],
            [square],
            [],
            [self._late],
            lr=rate,
            beta1=beta_1,
            beta2=beta_2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


@final
class RMSprop(FlatOptimizer):
    """RMSprop (Tieleman and Hinton, 2012): decay 0.9, epsilon under the root, as Keras has it.

    Keras has v = 0.9 v + 0.1 g^2 and p -= rate g / sqrt(v + epsilon). With u = v + epsilon and
    h = sqrt(0.1) g that is u = 0.9 u + 0.1 epsilon, and then a step of Adagrad: u += h^2 and
    p -= rate / sqrt(0.1) h / sqrt(u), for which PyTorch has a kernel that reads and writes each
    number once.
    """

    gradient_scale = 0.1**0.5

    def __init__(self, like: Tensor, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.state = {"square": torch.full_like(like, EPSILON)}
        self._no_step = torch.zeros((), device=like.device)  # for a decay of the rate: none here
        self._refill = torch.tensor(0.1 * EPSILON, device=like.device)

    def step(self, parameters: Tensor, gradient: Tensor) -> None:
        """Updates the parameters in place."""
        self.steps += 1
        square = self.state["square"]
        torch.add(self._refill, square, alpha=0.9, out=square)
        if parameters.device.type in ADAGRAD_KERNEL:
            torch._fused_adagrad_(
                [parameters],
                [gradient],
                [square],
                [self._no_step],
                lr=self.learning_rate / self.gradient_scale,
                lr_decay=0.0,
                weight_decay=0.0,
                eps=0.0,
                maximize=False,
            )
        else:
            square.addcmul_(gradient, gradient)
            parameters.addcdiv_(
                gradient, square.sqrt(), value=-self.learning_rate / self.gradient_scale
            )


@final
class SGD(FlatOptimizer):
    """Plain gradient descent, without momentum: Keras's default."""

    def __init__(self, like: Tensor, learning_rate: float) -> None:
        del like
        self.learning_rate = learning_rate
        self.state = {}

    def step(self, parameters: Tensor, gradient: Tensor) -> None:
        """Updates the parameters in place."""
        self.steps += 1
        parameters.sub_(gradient, alpha=self.learning_rate)


def make_optimizer(recipe: Recipe, like: Tensor) -> FlatOptimizer:
    """A recipe's optimiser, for a vector such as `like`: (n,) float32."""
    if recipe.optimizer == "adam":
        return Adam(like, recipe.learning_rate, recipe.beta_1, recipe.beta_2)
    kinds: dict[str, type[RMSprop] | type[SGD]] = {"rmsprop": RMSprop, "sgd": SGD}
    return kinds[recipe.optimizer](like, recipe.learning_rate)
