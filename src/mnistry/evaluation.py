"""How good is it: anything that turns images into probabilities, scored on labelled images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistry.dataset import Dataset
from mnistry.errors import ModelError
from mnistry.metrics import (
    confusion_matrix,
    cross_entropy_loss,
    recall_score,
    wilson_interval,
)

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(n, 28, 28) uint8 images to (n, classes) float32 probabilities."""


@dataclass(frozen=True, eq=False)
class Report:
    """What a model scored on a data set.

    Attributes:
        data: The name of the images it was scored on.
        classes: The name of each class.
        y_true: (n,) uint8: the labels.
        probabilities: (n, classes) float32: what the model said.
        shifts: By how many pixels, at most, each image was moved, too, for the mean of all answers.
    """

    data: str
    classes: tuple[str, ...]
    y_true: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    shifts: int = 0

    @cached_property
    def y_pred(self) -> NDArray[np.intp]:
        """(n,) the most probable class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1))

    @cached_property
    def accuracy(self) -> float:
        """The share of images read right, 0..1."""
        return float((self.y_pred == self.y_true).mean())

    @cached_property
    def loss(self) -> float:
        """The mean cross-entropy in nats."""
        return cross_entropy_loss(self.y_true, self.probabilities)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy lies with 95% confidence, for images such as these (Wilson)."""
        return wilson_interval(int((self.y_pred == self.y_true).sum()), len(self.y_true))

    @cached_property
    def per_class(self) -> NDArray[np.float64]:
        """(classes,) the accuracy within each class; nan for a class without an image."""
        return recall_score(self.y_true, self.y_pred, len(self.classes))

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """(classes, classes): how often the class of the row was read as that of the column."""
        return confusion_matrix(self.y_true, self.y_pred, len(self.classes))

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        per_class = zip(self.classes, self.per_class, strict=True)
        return {
            "data": self.data,
            "images": len(self.y_true),
            "shifts": self.shifts,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.interval),
            "accuracy_per_class": {c: None if np.isnan(a) else float(a) for c, a in per_class},
            "confusion": self.confusion.tolist(),
        }


def evaluate(predict: Predict, dataset: Dataset, data: str = "", shifts: int = 0) -> Report:
    """Scores a model on labelled images.

    Args:
        predict: Any function from images to probabilities.
        dataset: The images and labels.
        data: What to call the images in the report.
        shifts: What to say in it of how they are read.

    Raises:
        ModelError: The model gives something else than probabilities of the data's classes.
    """
    probabilities = predict(dataset.images)
    expected = (len(dataset), len(dataset.classes))
    if probabilities.shape != expected:
        raise ModelError(
            f"the model gives probabilities of shape {probabilities.shape} for {data or 'the data'}"
            f"; expected {expected}: was it trained on other classes?"
        )
    if not np.isfinite(probabilities).all():
        raise ModelError(
            "the model gives probabilities that are no numbers: its training diverged; "
            "train again with a smaller --learning-rate"
        )
    return Report(data, dataset.classes, dataset.labels, probabilities, shifts)
