"""Metrics, against arithmetic done by hand and published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnistry.errors import UsageError
from mnistry.metrics import (
    accuracy_score,
    confusion_matrix,
    cross_entropy_loss,
    mcnemar_test,
    mean_and_deviation,
    mean_interval,
    recall_score,
    wilson_interval,
)

TRUE, PRED = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 2]


def test_accuracy_is_the_share_that_is_right() -> None:
    assert accuracy_score(TRUE, PRED) == 4 / 6
    assert accuracy_score([7], [7]) == 1.0
    assert accuracy_score(np.array([7], np.uint8), np.array([8], np.int64)) == 0.0


def test_confusion_matrix_has_the_true_class_in_rows() -> None:
    matrix = confusion_matrix(TRUE, PRED, classes=4)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_confusion_matrix_of_uint8_labels_does_not_wrap() -> None:
    true, pred = np.array([30], np.uint8), np.array([46], np.uint8)
    assert confusion_matrix(true, pred, classes=47)[30, 46] == 1


def test_recall_is_the_accuracy_within_each_class() -> None:
    recall = recall_score(TRUE, PRED, classes=4)
    assert recall.dtype == np.float64
    np.testing.assert_array_equal(recall, [2 / 3, 1 / 2, 1.0, np.nan])


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1))
def test_the_counts_agree_with_each_other(pairs: list[tuple[int, int]]) -> None:
    true, pred = map(list, zip(*pairs, strict=True))
    matrix = confusion_matrix(true, pred, classes=10)
    assert matrix.sum() == len(pairs)
    assert matrix.sum(axis=1).tolist() == [true.count(digit) for digit in range(10)]
    assert matrix.sum(axis=0).tolist() == [pred.count(digit) for digit in range(10)]
    assert matrix.trace() / len(pairs) == accuracy_score(true, pred)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([], [], r"y_true has shape \(0,\).*expected \(n,\) whole numbers"),
        ([1.0], [1], "y_true has shape .* dtype float64"),
        ([1], [[1]], r"y_pred has shape \(1, 1\)"),
        ([1, 2], [1], "y_pred has 1 labels; expected 2"),
        (3, 3, r"y_true has shape \(\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y_true: object, y_pred: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        accuracy_score(y_true, y_pred)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([10], [0], "y_true has the label 10; expected 0 to 9"),
        ([0], [-1], "y_pred has the label -1; expected 0 to 9"),
    ],
)
def test_labels_out_of_range_are_refused(
    y_true: list[int], y_pred: list[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        confusion_matrix(y_true, y_pred, classes=10)


def test_cross_entropy_is_the_mean_of_minus_log() -> None:
    loss = cross_entropy_loss([0, 1, 2], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
    assert loss == pytest.approx(-(math.log(0.7) + math.log(0.8) + math.log(0.4)) / 3)


def test_cross_entropy_of_ten_even_guesses_is_log_ten() -> None:
    assert cross_entropy_loss([3] * 5, np.full((5, 10), 0.1)) == pytest.approx(math.log(10))


def test_cross_entropy_clips_as_keras_does() -> None:
    assert cross_entropy_loss([0], [[0.0, 1.0]]) == pytest.approx(-math.log(1e-7))
    assert cross_entropy_loss([1], [[0.0, 1.0]]) == pytest.approx(1e-7, rel=1e-6)


def test_cross_entropy_takes_what_a_float32_softmax_gives() -> None:
    above_one = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0]], np.float32)
    assert cross_entropy_loss([0], above_one) == pytest.approx(1e-7, rel=1e-6)


@pytest.mark.parametrize(
    ("y_true", "probabilities", "message"),
    [
        ([0], [0.5, 0.5], r"probabilities has shape \(2,\); expected \(1, k\)"),
        ([0, 1], [[0.5, 0.5]], r"shape \(1, 2\); expected \(2, k\)"),
        ([2], [[0.5, 0.5]], "y_true has the label 2; expected 0 to 1"),
        ([-1], [[0.5, 0.5]], "y_true has the label -1"),
        ([0], [[3.0, -2.0]], r"-2\.\.3; expected 0\.\.1 .*softmax"),
        ([0], [[np.nan, 0.5]], r"expected 0\.\.1"),
    ],
)
def test_probabilities_that_do_not_fit_are_refused(
    y_true: list[int], probabilities: list[object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cross_entropy_loss(y_true, probabilities)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("correct", "n", "expected"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_wilson_interval_has_the_published_values(
    correct: int, n: int, expected: tuple[float, float]
) -> None:
    assert wilson_interval(correct, n) == pytest.approx(expected, abs=5e-5)


def test_wilson_interval_at_both_ends_and_at_other_confidences() -> None:
    low, high = wilson_interval(20, 20)
    assert (low, high) == (pytest.approx(1 - 0.1611, abs=5e-5), 1.0)
    wide, narrow = wilson_interval(9, 10, 0.99), wilson_interval(9, 10, 0.8)
    assert wide[0] < narrow[0] < 0.9 < narrow[1] < wide[1]


@given(st.integers(1, 10**9).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_measured_share(pair: tuple[int, int]) -> None:
    correct, n = pair
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
    assert low < high


@pytest.mark.parametrize(
    ("correct", "n", "confidence"),
    [(1, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1), (1, 5, 0)],
)
def test_wilson_interval_refuses_what_is_out_of_range(
    correct: int, n: int, confidence: float
) -> None:
    with pytest.raises(UsageError, match="expected"):
        wilson_interval(correct, n, confidence)


def test_mean_and_deviation_divides_by_n_less_one() -> None:
    mean, deviation = mean_and_deviation(value for value in (2, 4, 4, 4, 5, 5, 7, 9))
    assert mean == 5.0
    assert deviation == pytest.approx(math.sqrt(32 / 7))


def test_deviation_of_one_value_is_not_a_number() -> None:
    mean, deviation = mean_and_deviation([98.7])
    assert mean == 98.7
    assert math.isnan(deviation)


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"expected .* n at least 1"):
        mean_and_deviation([])


@pytest.mark.parametrize(
    ("n", "quantile"), [(2, 12.7062), (3, 4.3027), (5, 2.7764), (20, 2.0930), (121, 1.9799)]
)
def test_the_interval_of_a_mean_is_students(n: int, quantile: float) -> None:
    values = [*range(n)]
    mean, deviation = mean_and_deviation(values)
    low, high = mean_interval(values)
    assert (low + high) / 2 == pytest.approx(mean)
    assert (high - low) / 2 == pytest.approx(quantile * deviation / math.sqrt(n), rel=2e-5)
    assert mean_interval(values, 0.5)[0] > low


def test_the_interval_of_a_mean_needs_two_values() -> None:
    for values, confidence in (([1.0], 0.95), ([], 0.95), ([1.0, 2.0], 1.0)):
        with pytest.raises(UsageError, match="expected"):
            mean_interval(values, confidence)


@pytest.mark.parametrize(
    ("mine", "yours", "p"),
    [  # the binomial distribution's tails, by hand
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (8, 0, 2 / 2**8),
        (9, 1, 2 * (1 + 10) / 2**10),
        (1, 9, 2 * (1 + 10) / 2**10),
        (12, 3, 2 * (1 + 15 + 105 + 455) / 2**15),
    ],
)
def test_mcnemar_counts_what_one_alone_reads_right(mine: int, yours: int, p: float) -> None:
    both = 10
    y_true = [1] * (mine + yours + 2 * both)
    first = [1] * mine + [0] * yours + [1] * both + [0] * both
    second = [0] * mine + [1] * yours + [1] * both + [2] * both
    assert mcnemar_test(y_true, first, second) == pytest.approx(p)


def test_mcnemar_of_very_many_images() -> None:
    y_true = [0] * 10_000
    assert mcnemar_test(y_true, [0] * 5_000 + [1] * 5_000, [1] * 5_000 + [0] * 5_000) == 1.0
    assert 0 <= mcnemar_test(y_true, [0] * 10_000, [1] * 10_000) < 1e-300
    with pytest.raises(UsageError, match="expected 10000, as y_true has"):
        mcnemar_test(y_true, y_true, [0])
