"""The line-fitting exercise, against the tutorial's figures and numpy's own fit."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mnistry.errors import DataError, UsageError
from mnistry.line import (
    LEARNING_RATE,
    POINTS,
    descend,
    fit_closed_form,
    mean_squared_loss,
    read_points,
)


def test_the_tutorials_figures() -> None:
    assert mean_squared_loss(POINTS, m=-2, b=40) == 475.5
    best = fit_closed_form(POINTS)
    found = descend(POINTS)
    for line in (best, found.line):
        assert (f"{line.m:.4f}", f"{line.b:.4f}", f"{line.loss:.4f}") == (
            "5.1212",
            "14.4545",
            "14.8788",
        )
    assert found.converged
    assert (found.steps[0].m, found.steps[0].b, found.steps[0].loss) == (-2.0, 40.0, 475.5)


def test_each_step_takes_the_learning_rate_times_the_gradient() -> None:
    steps = descend(POINTS, learning_rate=0.01, steps=5).steps
    assert len(steps) == 6
    x, y = POINTS.T
    for here, there in itertools.pairwise(steps):
        residual = here.m * x + here.b - y
        gradient = (2 * np.mean(residual * x), 2 * np.mean(residual))
        assert here.gradient == pytest.approx(gradient, rel=1e-9)
        assert there.m == pytest.approx(here.m - 0.01 * gradient[0])
        assert there.b == pytest.approx(here.b - 0.01 * gradient[1])
        assert there.loss < here.loss


def test_the_gradient_is_that_of_the_points_as_given() -> None:
    years = np.column_stack([np.arange(1990, 2021), np.arange(31) ** 1.5])
    for step in descend(years, m=0.5, b=1.0, steps=2).steps:
        for_m = mean_squared_loss(years, step.m + 1e-4, step.b) - mean_squared_loss(
            years, step.m - 1e-4, step.b
        )
        for_b = mean_squared_loss(years, step.m, step.b + 1e-2) - mean_squared_loss(
            years, step.m, step.b - 1e-2
        )
        assert step.gradient == pytest.approx((for_m / 2e-4, for_b / 2e-2), rel=1e-4)


def test_the_default_learning_rate_is_one_over_the_largest_curvature() -> None:
    x = POINTS[:, 0]
    hessian = 2 * np.array([[np.mean(x**2), np.mean(x)], [np.mean(x), 1]])
    assert pytest.approx(1 / np.linalg.eigvalsh(hessian)[-1]) == LEARNING_RATE


number = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@settings(max_examples=12)
@given(st.lists(st.tuples(number, number), min_size=2, max_size=20))
def test_descent_and_closed_form_agree_with_numpy(points: list[tuple[float, float]]) -> None:
    x, y = np.array(points).T
    assume(np.ptp(x) > 1e-3 * np.abs(x).max())
    m, height = np.polyfit(x - x.mean(), y, 1)
    found = descend(points)
    assert found.converged
    tolerance = 1e-6 * _extent(points)
    for line in (fit_closed_form(points), found.line):
        assert line.m * np.ptp(x) == pytest.approx(m * np.ptp(x), abs=tolerance)
        assert line.m * x.mean() + line.b == pytest.approx(height, abs=tolerance)


def _extent(points: np.ndarray | list[tuple[float, float]]) -> float:
    """What counts as large among these points: their extent in y, or the line tried's."""
    x, y = np.array(points).T
    return float(np.ptp(y) or np.abs(40 - 2 * x).max())


@pytest.mark.parametrize(
    "points",
    [
        np.column_stack([np.arange(1990, 2021), np.linspace(2e4, 9e4, 31)]),
        np.column_stack([np.append(np.full(10_000, 9.0), 0.0), np.ones(10_001)]),
        np.array([[0.0, 0.0], [1.0, 0.0]]),
        np.array([[1e-20, 3.0], [2e-20, 4.0]]),
        np.array([[1e20, 3e29], [-1e20, 4e29]]),
        np.array([[1e8, 0.0], [1e8 + 1, 1.0]]),
        POINTS[::-1] + 1e7,
    ],
    ids=["years", "far outlier", "level", "tiny", "huge", "close", "offset"],
)
def test_descent_arrives_whatever_the_points(points: np.ndarray) -> None:
    best, found = fit_closed_form(points), descend(points)
    assert found.converged
    assert len(found.steps) < 5000
    x = points[:, 0]
    np.testing.assert_allclose(
        found.line.m * x + found.line.b, best.m * x + best.b, rtol=1e-7, atol=1e-6 * _extent(points)
    )


def test_a_descent_cut_short_says_so() -> None:
    found = descend(POINTS, steps=3)
    assert not found.converged
    assert len(found.steps) == 4
    assert found.line.loss == found.steps[-1].loss < 475.5


def test_a_descent_that_starts_at_the_best_line_stays_there() -> None:
    best = fit_closed_form(POINTS)
    found = descend(POINTS, best.m, best.b)
    assert found.converged
    assert len(found.steps) == 1


@pytest.mark.parametrize("rate", [0, -0.01, 2 * LEARNING_RATE, math.nan, math.inf])
def test_a_learning_rate_that_diverges_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match=r"learning_rate is .*; expected more than 0"):
        descend(POINTS, learning_rate=rate)


def test_a_learning_rate_just_below_the_limit_does_not_diverge() -> None:
    losses = [step.loss for step in descend(POINTS, learning_rate=1.99 * LEARNING_RATE).steps]
    assert losses[:1000] == sorted(losses[:1000], reverse=True)
    assert losses[-1] == pytest.approx(14.8788, abs=1e-4)


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match="steps is 0"):
        descend(POINTS, steps=0)
    with pytest.raises(UsageError, match="m=nan"):
        descend(POINTS, m=math.nan)
    with pytest.raises(UsageError, match="b=inf"):
        descend(POINTS, b=math.inf)
    with pytest.raises(UsageError, match=r"m=1e\+200.*not a finite number"):
        mean_squared_loss(POINTS, m=1e200, b=0)
    with pytest.raises(UsageError, match="m=nan"):
        mean_squared_loss(POINTS, m=math.nan, b=0)


@pytest.mark.parametrize(
    "function", [fit_closed_form, descend, lambda p: mean_squared_loss(p, 1, 0)]
)
@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([[1, 2]], "found 1 points; expected at least two"),
        (np.empty((0, 2)), "found 0 points"),
        ([[3, 1], [3, 2], [3, 5]], "all x are 3.*upright"),
        ([[1e9, 1], [1e9 + 1e-3, 2]], r"all x are 1e\+09, or too near"),
        ([[0, 0], [1e-310, 1]], "all x are 0, or too near"),
        ([[0, 1], [1, math.nan]], r"point 2 is \(1, nan\)"),
        ([[math.inf, 1], [1, 2]], r"point 1 is \(inf, 1\)"),
        (
            [[0, 1e300], [1, -1e300]],
            r"point 1 is \(0, 1e\+300\).*at most 1e\+30",
        ),
    ],
)
def test_points_that_fix_no_line_are_refused(function, points, message: str) -> None:
    with pytest.raises(DataError, match=message):
        function(points)


@pytest.mark.parametrize("points", [[1, 2, 3], [[1, 2, 3]], [[1, 2], [3]], [["a", "b"]], 5])
def test_points_of_another_shape_are_refused(points: object) -> None:
    with pytest.raises(UsageError, match=r"points.*expected \(n, 2\)"):
        fit_closed_form(points)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3,4.5\n",
        "1 2\n3 4.5",
        "x,y\n1,2\n3,4.5\n",
        "\ufeffx y\r\n1\t2\r\n3  4.5\r\n",
        "# ten points\n\nx, y  # the names\n 1 , 2 # first\n3e0,+4.5\n\n",
    ],
)
def test_read_points_takes_commas_spaces_headers_and_comments(tmp_path: Path, text: str) -> None:
    path = tmp_path / "points.csv"
    path.write_bytes(text.encode())
    points = read_points(path)
    assert points.dtype == np.float64
    assert points.tolist() == [[1, 2], [3, 4.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2\n3,four\n", r"line 2: found '3,four'; expected two numbers: x,y"),
        ("x,y\nu,v\n1,2\n", "line 2: found 'u,v'"),
        ("1,2\nx,y\n3,4", "line 2: found 'x,y'"),
        ("x 1\n1 2\n", "line 1: found 'x 1'"),
        ("# note\n1 2 3\n", "line 2: found '1 2 3'"),
        ("1\n2\n", "line 1: found '1'"),
        ("1,2\n3,nan\n", "line 2: found '3,nan'"),
        ("nan,inf\n1,2\n", "line 1: found 'nan,inf'"),
        ("1,2\n3,1e999\n", "line 2: found '3,1e999'"),
        ("1,2,\n3,4,\n", "line 1: found '1,2,'"),
        ("a" * 1000, r"line 1: found 'a{40}\.\.\.'"),
        ("", "found 0 points; expected at least two"),
        ("x,y\n1,2\n", "found 1 points"),
        ("1,2\n1,3\n", "all x are 1"),
        ("1,2\n3,1e200\n", r"point 2 is \(3, 1e\+200\)"),
    ],
)
def test_read_points_names_the_file_and_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_points(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_read_points_refuses_what_is_no_text_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: cannot be read .No such file"):
        read_points(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"cannot be read .Is a directory"):
        read_points(tmp_path)
    binary = tmp_path / "picture.png"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(DataError, match=r"picture\.png: is not text in UTF-8"):
        read_points(binary)
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(17 * 2**20)
    with pytest.raises(DataError, match="larger than 16 MiB"):
        read_points(large)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_read_points_never_fails_otherwise(tmp_path_factory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "points"
    path.write_bytes(data)
    try:
        points = read_points(path)
    except DataError as error:
        message = str(error)
        assert message.startswith(f"{path}: ")
    else:
        assert points.shape[1] == 2
