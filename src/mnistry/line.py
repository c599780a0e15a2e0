"""The line-fitting exercise: the m and b of y = mx + b with the least mean squared loss.

The bonus exercise of NVIDIA's tutorial "Image Classification with the MNIST Dataset": ten points,
a line tried by hand from m = -2 and b = 40, and then the program that finds a better one.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.errors import DataError, UsageError
from mnistry.files import open_file

POINTS: NDArray[np.float64] = np.array(
    [[0, 10], [1, 20], [2, 25], [3, 30], [4, 40], [5, 45], [6, 40], [7, 50], [8, 60], [9, 55]],
    dtype=np.float64,
)
"""(10, 2) float64: the tutorial's points, a row for each, x before y."""
POINTS.setflags(write=False)

LARGEST = 1e30
"""Coordinates beyond this are refused: their squares would soon leave float64."""

_CENTRE, _SPREAD = 4.5, math.sqrt(8.25)  # mean and deviation of the tutorial's x
_SQUARES = _SPREAD**2 + _CENTRE**2  # the Hessian is 2 [[_SQUARES, _CENTRE], [_CENTRE, 1]]
_CURVATURE = _SQUARES + 1 + math.hypot(_SQUARES - 1, 2 * _CENTRE)  # its largest eigenvalue
LEARNING_RATE = 1 / _CURVATURE
"""0.0171: one over the largest curvature of the loss, the textbook's safe step."""

_TOLERANCE = 1e-9
_FILE_LIMIT = 16 * 2**20  # bytes


@dataclass(frozen=True)
class Line:
    """The line y = mx + b and its mean squared loss over the points."""

    m: float
    b: float
    loss: float


@dataclass(frozen=True)
class Step(Line):
    """A line on the way down, and the loss's slope there: its derivatives for m and for b."""

    gradient: tuple[float, float]


@dataclass(frozen=True)
class Descent:
    """A gradient descent: its lines from the first tried to the last, and whether it arrived."""

    steps: tuple[Step, ...]
    converged: bool

    @property
    def line(self) -> Line:
        """The line at which the descent ended."""
        last = self.steps[-1]
        return Line(last.m, last.b, last.loss)


def mean_squared_loss(points: ArrayLike, m: float, b: float) -> float:
    """Computes the mean over the points of (mx + b - y)².

    >>> mean_squared_loss(POINTS, m=-2, b=40)
    475.5

    Args:
        points: (n, 2) numbers: a row for each point, x before y.
        m: The line's slope.
        b: The line's height at x = 0.

    Returns:
        The plain mean of squares, as the tutorial quotes it, in the square of y's unit.

    Raises:
        UsageError: The points do not have that shape, or the line is so far off that the loss
            leaves float64.
        DataError: The points do not fix a line: fewer than two, one x for all, not finite, or
            too large.
    """
    x, y = _coordinates(points)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = float(np.mean((m * x + b - y) ** 2))
    if not math.isfinite(loss):
        raise UsageError(f"m={m}, b={b}: the loss is not a finite number; try a nearer line")
    return loss


def fit_closed_form(points: ArrayLike) -> Line:
    """Finds the line of least mean squared loss by the normal equations (Legendre, 1805).

    >>> best = fit_closed_form(POINTS)
    >>> f"{best.m:.4f} {best.b:.4f} {best.loss:.4f}"
    '5.1212 14.4545 14.8788'

    Args:
        points: (n, 2) numbers: a row for each point, x before y.

    Returns:
        The line and its loss.

    Raises:
        UsageError: The points do not have that shape.
        DataError: The points do not fix a line: fewer than two, one x for all, not finite, or
            too large.
    """
    x, y = _coordinates(points)
    dx, dy = _centred(x), _centred(y)
    m = float(dx @ dy / (dx @ dx))
    b = float(y.mean() - m * x.mean())
    return Line(m, b, mean_squared_loss(points, m, b))


def descend(
    points: ArrayLike,
    m: float = -2.0,
    b: float = 40.0,
    learning_rate: float = LEARNING_RATE,
    steps: int = 10_000,
) -> Descent:
    """Finds the line of least mean squared loss by gradient descent.

    Every step takes the learning rate times the gradient off m and b. The loss is a bowl whose
    curvature, the Hessian 2 [[mean x², mean x], [mean x, 1]], depends on the x alone. Steps stay
    stable below 2 over its largest eigenvalue (58.4 for the tutorial's x), so 1 over it, 0.0171,
    is the default.

    Other points may make the bowl so long and narrow (x = 1990..2020) that no step size gets
    through it. So x is first moved and scaled to the mean and deviation of the tutorial's x, 4.5
    and 2.87, as inputs are scaled for a network: this leaves the tutorial's points as they are,
    and gives all others the same Hessian, the same learning rate and about as many steps. What
    is returned is in terms of the points as given.

    The descent stops when the scaled gradient is 1e-9 of the points' extent in y, or after
    `steps`.

    >>> found = descend(POINTS)
    >>> found.steps[0].loss, found.converged
    (475.5, True)
    >>> f"{found.line.m:.4f} {found.line.b:.4f} {found.line.loss:.4f}"
    '5.1212 14.4545 14.8788'

    Args:
        points: (n, 2) numbers: a row for each point, x before y.
        m: The slope to start from.
        b: The height at x = 0 to start from.
        learning_rate: What the gradient is multiplied by, above 0 and below 0.0342, where every
            step would overshoot.
        steps: The most steps to take, at least 1.

    Returns:
        The lines from the start on, each with its loss and gradient; `converged` is False when
        `steps` ended it.

    Raises:
        UsageError: The points do not have that shape, or a number is out of range.
        DataError: The points do not fix a line: fewer than two, one x for all, not finite, or
            too large.
    """
    x, y = _coordinates(points)
    if not (abs(m) <= LARGEST and abs(b) <= LARGEST):  # nan fails too
        raise UsageError(f"m={m}, b={b}; expected numbers of at most {LARGEST:g}")
    if not 0 < learning_rate < 2 * LEARNING_RATE:
        raise UsageError(
            f"learning_rate is {learning_rate}; expected more than 0 and less than "
            f"{2 * LEARNING_RATE:.4f}, where the descent would diverge"
        )
    if steps < 1:
        raise UsageError(f"steps is {steps}; expected at least 1")

    centred = _centred(x)
    scale = _SPREAD / float(np.sqrt(np.mean(centred**2)))
    u, v = centred * scale + _CENTRE, _centred(y)
    shift, height = float(x.mean()) - _CENTRE / scale, float(y.mean())  # u = (x - shift) scale
    slope, level = m / scale, b + m * shift - height  # v = slope u + level
    extent = float(np.abs(v).max())
    if extent <= 1e-12 * abs(height):  # a level row of points: the line tried gives the measure
        extent = abs(slope) * _SPREAD + abs(level)
    small = _TOLERANCE * extent

    path: list[Step] = []
    while True:
        residual = slope * u + level - v  # (n,)
        for_slope, for_level = 2 * float(np.mean(residual * u)), 2 * float(np.mean(residual))
        m, b = slope * scale, level + height - slope * scale * shift
        gradient = (for_slope / scale + for_level * shift, for_level)
        path.append(Step(m, b, float(np.mean(residual**2)), gradient))
        converged = math.hypot(for_slope, for_level) <= small
        if converged or len(path) > steps:
            return Descent(tuple(path), converged)
        slope -= learning_rate * for_slope
        level -= learning_rate * for_level


def read_points(path: str | Path) -> NDArray[np.float64]:
    """Reads points from a text file: "x y" or "x,y" a line.

    Empty lines, comments from # on, and a first line of two names are passed over.

    Args:
        path: The file: UTF-8, at most 16 MiB.

    Returns:
        (n, 2) float64: a row for each point, x before y.

    Raises:
        DataError: The file cannot be read, a line is not two finite numbers, or the points do not
            fix a line; the message names the file and the line.
    """
    try:
        with open_file(path) as file:
            data = file.read(_FILE_LIMIT + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected a table of points: x,y a line"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8; expected one point a line: x,y") from error
    if len(data) > _FILE_LIMIT:
        raise DataError(f"{path}: is larger than 16 MiB; expected a table of points: x,y a line")

    rows: list[list[float | None]] = []
    header_allowed = True
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        fields = content.split(",") if "," in content else content.split()
        values = [_number(field) for field in fields]
        if len(values) == 2 and all(v is not None and math.isfinite(v) for v in values):
            rows.append(values)
        elif not header_allowed or values != [None, None]:
            found = content if len(content) <= 40 else content[:40] + "..."
            raise DataError(f"{path}: line {number}: found {found!r}; expected two numbers: x,y")
        header_allowed = False
    points = np.array(rows, dtype=np.float64).reshape(-1, 2)
    try:
        _coordinates(points)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return points


def _number(text: str) -> float | None:
    """Returns the number that `text` spells, None where it spells none."""
    try:
        return float(text)
    except ValueError:
        return None


def _centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the values less their mean, taken off twice so that large ones keep their digits."""
    once: NDArray[np.float64] = values - values.mean()
    twice: NDArray[np.float64] = once - once.mean()
    return twice


def _coordinates(points: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns x and y, (n,) float64 each, of points that fix a line."""
    try:
        table = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"points: {error}; expected (n, 2) numbers, x before y") from error
    if table.ndim != 2 or table.shape[1] != 2:
        raise UsageError(f"points has shape {table.shape}; expected (n, 2), x before y")
    if len(table) < 2:
        raise DataError(f"found {len(table)} points; expected at least two, to lay a line through")
    if not np.all(np.abs(table) <= LARGEST):  # nan fails too
        row = int(np.argmin(np.all(np.abs(table) <= LARGEST, axis=1)))
        found = ", ".join(f"{value:g}" for value in table[row])
        raise DataError(f"point {row + 1} is ({found}); expected numbers of at most {LARGEST:g}")
    x, y = table.T
    width = float(np.ptp(x))
    if width <= max(1e-9 * float(np.abs(x).max()), 1 / LARGEST):
        raise DataError(
            f"all x are {x[0]:g}, or too near it; expected two that differ: "
            "an upright line has no slope m"
        )
    return x, y
