"""Plain PyTorch, as its tutorials for beginners write it: Sequential, DataLoader, a loop.

The hyper-parameters and the initial weights are Keras's. Two things are PyTorch's own way, as
anyone would write them: labels are class numbers in every tutorial, and the epsilon stands where
`torch.optim` puts it.
"""

import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from peers import mnist
from peers.job import Job, Trained
from peers.tutorial import TUTORIALS, Tutorial, check_parameters

Batches = DataLoader[tuple[Tensor, ...]]


def train(job: Job) -> Trained:
    """Trains and evaluates one tutorial."""
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    tutorial = TUTORIALS[job.preset]
    x_train, y_train, x_test, y_test = mnist.load(job.data, tutorial)
    train_batches = batches(x_train, y_train, tutorial, shuffle=True)
    test_batches = batches(x_test, y_test, tutorial, shuffle=False)

    model = build(tutorial)
    check_parameters(job.preset, sum(weights.numel() for weights in model.parameters()))
    optimizer = build_optimizer(model, tutorial)
    accuracy = 0.0
    start = time.perf_counter()
    for _ in range(job.epochs):
        _, accuracy = train_epoch(model, train_batches, optimizer)
        if tutorial.validates:
            evaluate(model, test_batches)
    seconds = time.perf_counter() - start

    _, test_accuracy = evaluate(model, test_batches)
    return Trained(seconds, seconds, accuracy, test_accuracy)


def batches(
    images: mnist.Pixels, labels: mnist.Labels, tutorial: Tutorial, *, shuffle: bool
) -> Batches:
    """The data in batches; images with a channel come as (batch, channel, height, width)."""
    x = torch.from_numpy(images)
    if x.dim() == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    data = TensorDataset(x, torch.from_numpy(labels).long())
    return DataLoader(data, batch_size=tutorial.batch_size, shuffle=shuffle, num_workers=0)


def build(tutorial: Tutorial) -> nn.Sequential:
    """The tutorial's network, without its softmax: the loss has it."""
    layers: list[nn.Module] = []
    inputs = 28 * 28
    if tutorial.filters is not None:
        layers += [nn.Conv2d(1, tutorial.filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = tutorial.filters * 13 * 13  # valid convolution: 26x26, pooled: 13x13
    layers.append(nn.Flatten())
    for units in tutorial.hidden_units:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    layers.append(nn.Linear(inputs, 10))
    model = nn.Sequential(*layers)
    initialise(model, tutorial)
    return model


def initialise(model: nn.Sequential, tutorial: Tutorial) -> None:
    """Draws the weights as Keras does: the biases zero, the last layer Glorot-uniform."""
    for layer in model:
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if tutorial.initialiser == "he_uniform" and layer is not model[-1]:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def build_optimizer(model: nn.Module, tutorial: Tutorial) -> torch.optim.Optimizer:
    """The tutorial's optimiser, with the values that Keras has by default."""
    if tutorial.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-7)
    return torch.optim.RMSprop(model.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)


def train_epoch(
    model: nn.Module, data: Batches, optimizer: torch.optim.Optimizer
) -> tuple[float, float]:
    """One pass over the training images; its mean loss and accuracy while it went on."""
    loss_of = nn.CrossEntropyLoss()
    total_loss, correct, seen = 0.0, 0, 0
    model.train()
    for x, y in data:
        optimizer.zero_grad()
        logits = model(x)  # (batch, 10)
        loss = loss_of(logits, y)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(y)
        correct += int((logits.argmax(1) == y).sum().item())
        seen += len(y)
    return total_loss / seen, correct / seen


def evaluate(model: nn.Module, data: Batches) -> tuple[float, float]:
    """The mean loss and accuracy on the test images."""
    loss_of = nn.CrossEntropyLoss()
    total_loss, correct, seen = 0.0, 0, 0
    model.eval()
    with torch.no_grad():
        for x, y in data:
            logits = model(x)
            total_loss += loss_of(logits, y).item() * len(y)
            correct += int((logits.argmax(1) == y).sum().item())
            seen += len(y)
    return total_loss / seen, correct / seen
