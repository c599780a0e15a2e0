"""Tests of mnistry.calibration."""

import numpy as np
import pytest

from mnistry.calibration import (
    at_temperature,
    calibration_error,
    fit_temperature,
    least_confidence,
)
from mnistry.errors import UsageError


def answers(n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from distributions, and those distributions at another temperature."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet([0.2] * 5, n).astype(np.float32)
    labels = (true.cumsum(1) > rng.random((n, 1))).argmax(1)
    return labels, at_temperature(true, 1 / temperature)


def test_a_temperature_is_the_softmaxs() -> None:
    logits = np.array([[2.0, 0.0, -1.0]], np.float32)
    softmax = np.exp(logits) / np.exp(logits).sum()
    half = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(at_temperature(softmax, 2.0), half, rtol=1e-5)
    assert at_temperature(softmax, 1.0) is softmax
    sure = at_temperature(np.array([[1.0, 0.0]], np.float32), 2.0)
    assert np.isfinite(sure).all()
    assert sure.sum() == pytest.approx(1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found(temperature: float) -> None:
    labels, bold = answers(20_000, temperature)
    assert fit_temperature(labels, bold) == pytest.approx(temperature, rel=0.04)


def test_what_is_too_bold_has_an_error_and_the_temperature_takes_it_away() -> None:
    labels, bold = answers(20_000, 2.5)
    before = calibration_error(labels, bold.argmax(1), bold.max(1))
    calm = at_temperature(bold, fit_temperature(labels, bold))
    after = calibration_error(labels, calm.argmax(1), calm.max(1))
    assert before > 0.05
    assert after < 0.015


def test_the_error_is_the_mean_distance_of_the_bins() -> None:
    true, guess = np.zeros(4, int), np.array([0, 1, 0, 0])
    assert calibration_error(true, guess, [0.5, 0.5, 0.9, 0.9], bins=2) == pytest.approx(0.05)
    assert calibration_error(true, guess, [0.5, 0.5, 0.9, 0.9], bins=1) == pytest.approx(0.05)
    assert calibration_error([0], [0], [0.25], bins=15) == 0.75


def test_the_least_confidence_keeps_the_share_of_wrong_answers() -> None:
    labels, guesses = answers(5_000, 1.0)
    y_pred, confidence = guesses.argmax(1), guesses.max(1)
    least = least_confidence(labels, y_pred, confidence, wrong=0.02)
    answered = confidence >= least
    assert 0.5 < least < 1
    assert (labels != y_pred)[answered].mean() <= 0.02
    assert (labels != y_pred)[confidence >= least - 0.02].mean() > 0.02
    assert least_confidence([1], [0], [0.9], wrong=0.0) == 1
    assert least_confidence([1, 1], [1, 1], [0.9, 0.3], wrong=0.0) == 0.3
    # of those as sure as each other, all are answered
    assert least_confidence([1, 1], [1, 0], [0.9, 0.9], wrong=0.0) == 1
    assert least_confidence([1, 1, 1], [1, 1, 0], [0.95, 0.9, 0.9], wrong=0.0) == 0.95


@pytest.mark.parametrize(
    ("y_true", "y_pred", "confidence", "bins"),
    [([], [], [], 3), ([1], [1], [0.5, 0.5], 3), ([1], [1], [0.5], 0), ([[1]], [[1]], [[0.5]], 1)],
)
def test_what_cannot_be_is_refused(y_true, y_pred, confidence, bins) -> None:
    with pytest.raises(UsageError, match="expected"):
        calibration_error(y_true, y_pred, confidence, bins)


def test_nothing_has_no_least_confidence() -> None:
    for y_pred, confidence in (([], []), ([1], [0.5, 0.6])):
        with pytest.raises(UsageError, match="expected"):
            least_confidence(y_pred, y_pred, confidence, wrong=0.1)
