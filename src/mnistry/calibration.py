"""Confidence that means something: of answers given with 0.9, nine in ten are right.

One number, the temperature, makes all of a network's probabilities bolder or more careful (Guo and
others, 2017); it is fitted on images that the network was not trained on.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.errors import UsageError
from mnistry.metrics import cross_entropy_loss

_LOWEST = 1e-12  # a probability that has an own logarithm
_RANGE = 0.2, 5.0  # where a temperature is looked for


def at_temperature(probabilities: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Make probabilities more careful, above 1, or bolder, below.

    Args:
        probabilities: (n, k) float32, each row a distribution.
        temperature: Above 0; 1 changes nothing.

    Returns:
        (n, k) float32: the softmax of the logarithms divided by the temperature.
    """
    if temperature == 1:
        return probabilities
    powers = np.maximum(probabilities, _LOWEST) ** np.float32(1 / temperature)
    changed: NDArray[np.float32] = powers / powers.sum(1, keepdims=True)
    return changed


def fit_temperature(y_true: ArrayLike, probabilities: NDArray[np.float32]) -> float:
    """Find the temperature at which the cross-entropy is least, by golden-section search.

    Args:
        y_true: (n,) whole numbers in 0..k-1: the labels.
        probabilities: (n, k) float32, each row a distribution.

    Returns:
        0.2 to 5.

    Raises:
        UsageError: As for `mnistry.metrics.cross_entropy_loss`.
    """
    golden = (np.sqrt(5) - 1) / 2
    low, high = np.log(_RANGE)

    def loss(logarithm: float) -> float:
        return cross_entropy_loss(y_true, at_temperature(probabilities, float(np.exp(logarithm))))

    while high - low > 1e-4:
        first, second = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, second) if loss(first) < loss(second) else (first, high)
    return float(np.exp((low + high) / 2))


def calibration_error(
    y_true: ArrayLike, y_pred: ArrayLike, confidence: ArrayLike, bins: int = 15
) -> float:
    """Compute how far confidence lies from accuracy: the expected calibration error.

    Answers are sorted by confidence and put into bins of as many each (Nguyen and O'Connor, 2015),
    as nearly all of a good reader's have one of 0.99 and more; the error is the mean distance of a
    bin's mean confidence from the share of it that is right.

    >>> calibration_error([1, 1, 1, 0], [1, 1, 1, 1], [0.75] * 4, bins=1)
    0.0

    Args:
        y_true: (n,) the labels.
        y_pred: (n,) the answers.
        confidence: (n,) the probability that was given for each, 0..1.
        bins: How many.

    Returns:
        0..1.

    Raises:
        UsageError: They are empty, or not of one length; there are no bins.
    """
    right, sure = _compared(y_true, y_pred, confidence)
    if bins < 1:
        raise UsageError(f"bins: are {bins}, expected at least 1")
    order = sure.argsort(kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    apart = [abs(right[part].mean() - sure[part].mean()) * len(part) for part in parts]
    return float(sum(apart) / len(order))


def least_confidence(
    y_true: ArrayLike, y_pred: ArrayLike, confidence: ArrayLike, wrong: float
) -> float:
    """Find the confidence from which at most a share of what is answered is wrong.

    >>> least_confidence([1, 1, 0, 1], [1, 1, 1, 1], [0.9, 0.8, 0.7, 0.6], wrong=0.1)
    0.8

    Args:
        y_true: (n,) the labels.
        y_pred: (n,) the answers.
        confidence: (n,) the probability that was given for each, 0..1.
        wrong: The share, 0..1.

    Returns:
        The lowest such confidence of those given; 1 if there is none.

    Raises:
        UsageError: The arrays are empty, or of different lengths.
    """
    right, sure = _compared(y_true, y_pred, confidence)
    order = (-sure).argsort(kind="stable")
    errors = np.cumsum(~right[order])
    is_last = np.append(np.diff(sure[order]) != 0, True)  # what is as sure is answered, too
    enough = np.flatnonzero((errors <= wrong * np.arange(1, len(order) + 1)) & is_last)
    return float(sure[order[enough[-1]]]) if len(enough) else 1.0


def _compared(
    y_true: ArrayLike, y_pred: ArrayLike, confidence: ArrayLike
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which answers are right, and how sure each is."""
    right = np.asarray(y_true) == np.asarray(y_pred)
    sure = np.asarray(confidence, np.float64)
    if right.ndim != 1 or right.shape != sure.shape or not right.size:
        raise UsageError(
            f"y_true, y_pred and confidence give {right.shape} and {sure.shape}; expected (n,) of "
            "each, n at least 1"
        )
    return right, sure
