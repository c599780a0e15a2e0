"""The figures of merit: plain arrays in, plain numbers out.

The names and the order ``y_true, y_pred`` are scikit-learn's: a ``*_score`` is better when higher,
a ``*_loss`` when lower.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.errors import UsageError

EPSILON = 1e-7
"""A probability below this, or above one less this, counts as this: Keras's ``epsilon()``."""


def _labels(name: str, value: ArrayLike) -> NDArray[np.integer]:
    """Returns `value` as a non-empty vector of whole numbers."""
    array = np.asarray(value)
    if array.ndim != 1 or not array.size or not np.issubdtype(array.dtype, np.integer):
        raise UsageError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; "
            "expected (n,) whole numbers, n at least 1"
        )
    return array


def _pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Returns both label vectors, which have one length."""
    true, pred = _labels("y_true", y_true), _labels("y_pred", y_pred)
    if len(true) != len(pred):
        raise UsageError(f"y_pred has {len(pred)} labels; expected {len(true)}, as y_true has")
    return true, pred


def _require_below(name: str, labels: NDArray[np.integer], classes: int) -> None:
    """Refuses labels outside 0..classes-1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UsageError(
            f"{name} has the label {low if low < 0 else high}; expected 0 to {classes - 1}"
        )


def accuracy_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Computes the share of labels that are right.

    >>> accuracy_score([1, 2, 3, 4], [1, 2, 3, 9])
    0.75

    Args:
        y_true: (n,) whole numbers: the labels.
        y_pred: (n,) whole numbers: the labels predicted.

    Returns:
        0..1.

    Raises:
        UsageError: The two are empty, not whole numbers, or not of one length.
    """
    true, pred = _pair(y_true, y_pred)
    return float(np.mean(true == pred))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Counts how often each class was taken for each.

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [[1, 1], [0, 1]]

    Args:
        y_true: (n,) whole numbers in 0..classes-1: the labels.
        y_pred: (n,) whole numbers in 0..classes-1: the labels predicted.
        classes: How many classes there are.

    Returns:
        (classes, classes) int64: the true class chooses the row, the predicted one the column.

    Raises:
        UsageError: The labels are empty, not whole numbers, not of one length, or out of range.
    """
    true, pred = _pair(y_true, y_pred)
    _require_below("y_true", true, classes)
    _require_below("y_pred", pred, classes)
    cells = true.astype(np.int64) * classes + pred.astype(np.int64)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def recall_score(y_true: ArrayLike, y_pred: ArrayLike, classes: int) -> NDArray[np.float64]:
    """Computes the accuracy within each true class: scikit-learn's with ``average=None``.

    >>> recall_score([0, 0, 1], [0, 1, 1], classes=2).tolist()
    [0.5, 1.0]

    Args:
        y_true: (n,) whole numbers in 0..classes-1: the labels.
        y_pred: (n,) whole numbers in 0..classes-1: the labels predicted.
        classes: How many classes there are.

    Returns:
        (classes,) float64 in 0..1; nan for a class that `y_true` does not hold.

    Raises:
        UsageError: The labels are empty, not whole numbers, not of one length, or out of range.
    """
    matrix = confusion_matrix(y_true, y_pred, classes)
    totals = matrix.sum(axis=1)
    recall = np.full(classes, np.nan)
    np.divide(matrix.diagonal(), totals, out=recall, where=totals > 0)
    return recall


def cross_entropy_loss(y_true: ArrayLike, probabilities: ArrayLike) -> float:
    """Computes the mean cross-entropy in nats.

    Each probability is clipped to 1e-7..1-1e-7 as Keras's sparse categorical cross-entropy does,
    so one confident mistake costs 16.1 at most.

    >>> round(cross_entropy_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)
    1.0397

    Args:
        y_true: (n,) whole numbers in 0..k-1: the labels.
        probabilities: (n, k) floats in 0..1: each row a distribution over the k classes.

    Returns:
        The mean over n of minus the natural logarithm of the true class's probability.

    Raises:
        UsageError: The shapes do not fit, a label is out of range, or a probability is not in 0..1.
    """
    true = _labels("y_true", y_true)
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or len(table) != len(true):
        raise UsageError(
            f"probabilities has shape {table.shape}; expected ({len(true)}, k), "
            "a row for each label of y_true"
        )
    if not np.all((table >= 0) & (table <= 1 + 1e-5)):  # nan fails too; float32 may round up
        raise UsageError(
            f"probabilities lies in {table.min():g}..{table.max():g}; expected 0..1 "
            "(apply softmax to logits first)"
        )
    _require_below("y_true", true, table.shape[1])
    chosen = table[np.arange(len(true)), true]
    return float(-np.log(np.clip(chosen, EPSILON, 1 - EPSILON)).mean())


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Computes the interval in which a share measured as ``correct / n`` lies.

    Wilson's score interval (1927): unlike the normal approximation it stays within 0..1 and has
    a width at 0 and n of n, where accuracies on MNIST are.

    >>> low, high = wilson_interval(9878, 10_000)
    >>> f"{low:.4f} {high:.4f}"
    '0.9855 0.9898'

    Args:
        correct: How many were right, 0..n.
        n: How many there were, at least 1.
        confidence: The probability that the interval holds the true share, between 0 and 1.

    Returns:
        The lower and the upper bound, both 0..1.

    Raises:
        UsageError: An argument is out of range.
    """
    if n < 1 or not 0 <= correct <= n:
        raise UsageError(f"correct={correct}, n={n}; expected 0 <= correct <= n and n at least 1")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected a number between 0 and 1")
    from statistics import NormalDist  # takes as long to import as all the rest

    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, spread = correct / n, z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == n else min(1.0, centre + half)
    return low, high


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    """Computes the mean and the sample standard deviation (n-1 in the denominator).

    >>> mean_and_deviation([1.0, 2.0, 3.0])
    (2.0, 1.0)

    Args:
        values: n numbers, at least one: one figure of n runs, for instance.

    Returns:
        The mean and the deviation, in the unit of the values. The deviation of a single value is
        nan: one run says nothing about the next, and 0.0 would claim that they all agree.

    Raises:
        UsageError: There is no value, or they are not a plain row of numbers.
    """
    array = np.asarray(list(values), dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise UsageError(f"values has shape {array.shape}; expected (n,) numbers, n at least 1")
    return float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else math.nan


def mean_interval(values: Iterable[float], confidence: float = 0.95) -> tuple[float, float]:
    """Computes the interval in which the mean of many more such values lies: Student's (1908).

    >>> low, high = mean_interval([98.6, 98.7, 98.8])
    >>> f"{low:.2f} {high:.2f}"
    '98.45 98.95'

    Args:
        values: n numbers, at least two: one figure of n runs, for instance.
        confidence: The probability that the interval holds the mean, between 0 and 1.

    Returns:
        The lower and the upper bound, in the unit of the values.

    Raises:
        UsageError: There are less than two values, or the confidence is out of range.
    """
    numbers = list(values)
    mean, deviation = mean_and_deviation(numbers)
    if len(numbers) < 2:
        raise UsageError("values has shape (1,); expected (n,) numbers, n at least 2")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence is {confidence}; expected a number between 0 and 1")
    half = _t_quantile(confidence, len(numbers) - 1) * deviation / math.sqrt(len(numbers))
    return mean - half, mean + half


def _t_quantile(confidence: float, freedom: int) -> float:
    """What Student's t stays within, either way, with that probability."""
    # With t = sqrt(freedom) tan(angle) its density is a power of the cosine.
    angle = np.linspace(0, math.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    mass = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(confidence, mass / mass[-1], angle)))


def mcnemar_test(y_true: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """Computes how probable such a difference is between two models that are equally good.

    McNemar's exact test (1947): of the images that one model alone reads right, each would be the
    first's or the second's as by the toss of a coin. A small value says that one is better.

    >>> mcnemar_test([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], [9, 9, 9, 9, 9, 5])
    0.0625

    Args:
        y_true: (n,) whole numbers: the labels.
        first: (n,) whole numbers: what the first model read.
        second: (n,) whole numbers: what the second model read, on the same images.

    Returns:
        The two-sided p-value, 0 to 1.

    Raises:
        UsageError: The three are empty, not whole numbers, or not of one length.
    """
    true, one = _pair(y_true, first)
    _, other = _pair(y_true, second)
    right, also_right = one == true, other == true
    mine, yours = int((right & ~also_right).sum()), int((also_right & ~right).sum())
    fewer, total = min(mine, yours), mine + yours
    ways, tail = 1, 0  # to choose k of them, and the sum of these up to `fewer`
    for k in range(fewer + 1):
        tail += ways
        ways = ways * (total - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << total))
