"""Tests of mnistry.evaluation: the figures of cases made by hand."""

import json
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mnistry.dataset import Dataset
from mnistry.errors import ModelError
from mnistry.evaluation import Report, evaluate

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 0, 1, 1, 1], np.uint8)  # and no "c"
PROBABILITIES = np.array(
    [
        [0.50, 0.25, 0.25],
        [0.25, 0.25, 0.50],
        [0.00, 1.00, 0.00],
        [0.25, 0.50, 0.25],
        [1.00, 0.00, 0.00],  # certain, and wrong
    ],
    np.float32,
)
IMAGES = np.arange(5 * 784, dtype=np.uint64).astype(np.uint8).reshape(5, 28, 28)


@pytest.fixture
def report() -> Report:
    return evaluate(lambda _: PROBABILITIES, Dataset(IMAGES, LABELS, CLASSES), "five images")


def test_the_figures(report: Report) -> None:
    assert report.data == "five images"
    assert report.classes == CLASSES
    assert report.y_pred.tolist() == [0, 2, 1, 1, 0]
    assert report.accuracy == 3 / 5
    clipped = -math.log(1e-7)
    expected = (math.log(2) + math.log(4) + 0 + math.log(2) + clipped) / 5
    assert report.loss == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(report.per_class, [1 / 2, 2 / 3, np.nan])
    assert report.confusion.tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]


def test_the_interval_is_wilsons(report: Report) -> None:
    # Its bounds are the shares p from which 3 of 5 lies 1.96 deviations away.
    for bound in report.interval:
        assert abs(0.6 - bound) == pytest.approx(
            1.959964 * math.sqrt(bound * (1 - bound) / 5), rel=1e-5
        )
    assert report.interval[0] < 0.6 < report.interval[1]


def test_the_figures_as_json(report: Report) -> None:
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert record == {
        "data": "five images",
        "images": 5,
        "shifts": 0,
        "loss": report.loss,
        "accuracy": 0.6,
        "accuracy_interval_95": list(report.interval),
        "accuracy_per_class": {"a": 0.5, "b": 2 / 3, "c": None},
        "confusion": [[1, 0, 1], [1, 2, 0], [0, 0, 0]],
    }


def test_the_images_are_given_as_they_are() -> None:
    seen: list[NDArray[Any]] = []

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(images)
        return PROBABILITIES

    evaluate(predict, Dataset(IMAGES, LABELS, CLASSES))
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], IMAGES, strict=True)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.full((5, 10), 0.1, np.float32), r"shape \(5, 10\) for five.*expected \(5, 3\): was it"),
        (PROBABILITIES[:4], r"shape \(4, 3\)"),
        (PROBABILITIES[0], r"shape \(3,\)"),
        (PROBABILITIES[..., None], r"shape \(5, 3, 1\)"),
        (np.full((5, 3), np.nan, np.float32), "are no numbers: its training diverged"),
        (np.full((5, 3), np.inf, np.float32), "are no numbers"),
    ],
)
def test_what_is_no_probability_of_these_classes(given: NDArray[np.float32], words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        evaluate(lambda _: given, Dataset(IMAGES, LABELS, CLASSES), "five images")
    assert caught.value.exit_code == 4
