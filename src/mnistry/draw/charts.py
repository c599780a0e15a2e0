"""Charts: curves of a training, a confusion matrix, a fitted line and the descent to it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.draw import canvas
from mnistry.draw.canvas import (
    BLUE,
    FAINT,
    FAINTEST,
    INK,
    MARGIN,
    MUTED,
    PALE,
    PAPER,
    TEXT,
    TILE,
    VERMILION,
)
from mnistry.errors import UsageError
from mnistry.line import Descent, fit_closed_form

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_curves(
    history: Sequence[Mapping[str, Any]], path: str | Path, title: str | None = None
) -> None:
    """Draws loss and accuracy over the epochs, side by side.

    Args:
        history: One mapping an epoch: epoch, loss, accuracy (0..1), and where there is validation
            val_loss and val_accuracy. A value that is missing, None or not finite leaves a gap.
            A single epoch is shown by its course, pairs of loss and accuracy, where it has one.
        path: The PNG file to write.
        title: The line above.

    Raises:
        UsageError: The history is empty or a row has no epoch, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    if not history or any("epoch" not in row for row in history):
        raise UsageError("history: expected at least one mapping, each with the key epoch")
    epochs = _column(history, "epoch")
    heading = title or "Training"
    top = canvas.heading_height(heading, None) + 0.4
    figure = canvas.new_figure(8.6, top + 2.95, heading)
    from matplotlib.ticker import MaxNLocator

    course = history[0].get("course") if len(history) == 1 else None
    for place, name in enumerate(("loss", "accuracy")):
        axes = canvas.place_axes(figure, 0.85 + 4.2 * place, top, 3.2, 2.3)
        drawn: list[NDArray[np.float64]] = []
        for key, words, colour, marker in (
            (name, "training", BLUE, "o"),
            (f"val_{name}", "validation", VERMILION, "s"),
        ):
            values, where = _column(history, key), epochs
            if course and key == name:
                values = np.array([part[place] for part in course])
                where = epochs[0] - 1 + (np.arange(len(values)) + 0.5) / len(values)
            drawn.append(finite := values[np.isfinite(values)])
            if not finite.size:
                continue
            last = f"{finite[-1]:.2%}" if name == "accuracy" else canvas.number(finite[-1])
            axes.plot(
                where, values, color=colour, linewidth=1.6, label=f"{words}  {last}",
                marker=marker if len(where) <= 40 else None, markersize=4, clip_on=False,
            )  # fmt: skip
            axes.legend(
                loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=TEXT,
                labelcolor=INK, frameon=False, columnspacing=2.5, handletextpad=0.6,
            )  # fmt: skip
        axes.grid(axis="y", color=FAINTEST, linewidth=0.8)
        axes.set_ylim(*_limits(np.concatenate(drawn), 1.0 if name == "accuracy" else math.inf))
        canvas.label_axes(axes, "epoch", name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if name == "accuracy":
            axes.yaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 6):g}%")
    canvas.save_png(figure, path)


def draw_confusion(matrix: ArrayLike, classes: Sequence[object], path: str | Path) -> None:
    """Draws how often each class was taken for each: the more often, the stronger the colour.

    What was right, the diagonal, stays grey, so that the mistakes stand out. On the right, the
    share of each true class that was read right.

    Args:
        matrix: (k, k) counts, the true class in rows.
        classes: The k classes, anything that has a text.
        path: The PNG file to write.

    Raises:
        UsageError: A shape, length or range does not fit, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    counts = np.asarray(matrix)
    if (
        counts.ndim != 2
        or not counts.size
        or counts.shape[0] != counts.shape[1]
        or not np.issubdtype(counts.dtype, np.integer)
        or counts.min() < 0
    ):
        raise UsageError(
            f"matrix has shape {counts.shape} and dtype {counts.dtype}; "
            "expected (k, k) counts, the true class in rows"
        )
    k = len(counts)
    names = canvas.texts("classes", classes, k)
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    worst, total, right = int(mistakes.max()), int(counts.sum()), int(counts.trace())

    cell, long = 0.46, max(len(name) for name in names)  # inches, letters
    heading = "Confusion matrix"
    note = f"{total - right:,} of {total:,} read wrong" if total else "nothing was read"
    left, side = MARGIN + 0.35 + 0.068 * long, cell * k
    top = canvas.heading_height(heading, note) + 0.5 + (0.068 * long if long > 4 else 0)
    figure = canvas.new_figure(left + side + 0.85, top + side + MARGIN, heading, note)
    axes = canvas.place_axes(figure, left, top, side, side)

    from matplotlib.colors import LinearSegmentedColormap

    heat = LinearSegmentedColormap.from_list("mistakes", [TILE, "#f6cfae", VERMILION])
    axes.imshow(mistakes, cmap=heat, vmin=0, vmax=max(worst, 1), interpolation="nearest")
    axes.set_xticks(range(k), names, rotation=90 if long > 4 else 0, parse_math=False)
    axes.set_yticks(range(k), names, parse_math=False)
    axes.tick_params(length=0, labelcolor=INK, labeltop=True, labelbottom=False, pad=5)
    axes.set_xlabel("read as", fontsize=TEXT, color=MUTED, labelpad=8)
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("true class", fontsize=TEXT, color=MUTED, labelpad=8)
    axes.spines[:].set_visible(False)
    edges = np.arange(k + 1) - 0.5
    axes.hlines(edges, -0.5, k - 0.5, color=FAINT, linewidth=0.6, clip_on=False)
    axes.vlines(edges, -0.5, k - 0.5, color=FAINT, linewidth=0.6, clip_on=False)
    for row, column in np.ndindex(k, k):
        count = int(counts[row, column])
        if row == column:
            axes.fill_between([row - 0.5, row + 0.5], row - 0.5, row + 0.5, color=FAINTEST)
        if count or row == column:
            light = row != column and count > 0.75 * worst
            colour = MUTED if row == column else TILE if light else INK
            axes.text(
                column, row, str(count), ha="center", va="center_baseline", color=colour,
                fontsize=min(TEXT, 34 / len(str(count))),
            )  # fmt: skip
    beside: dict[str, Any] = {"x": k - 0.3, "fontsize": TEXT, "color": MUTED}
    axes.text(y=-0.71, s="recall", **beside)
    for row in np.flatnonzero(counts.sum(axis=1)):
        recall = counts[row, row] / counts[row].sum()
        axes.text(y=float(row), s=f"{recall:.1%}", va="center_baseline", **beside)
    canvas.save_png(figure, path)


def draw_line(points: ArrayLike, m: float, b: float, loss: float, path: str | Path) -> None:
    """Draws points, the line y = mx + b, and how far each point lies above or below it.

    Args:
        points: (n, 2) numbers: a row for each point, x before y.
        m: The line's slope.
        b: The line's height at x = 0.
        loss: The line's mean squared loss, for the title.
        path: The PNG file to write.

    Raises:
        UsageError: The points do not have that shape, or the name does not end in .png.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    x, y = _points(points)
    heading, note = _equation(m, b), f"mean squared loss {canvas.number(loss)}"
    top = canvas.heading_height(heading, note) + 0.1
    figure = canvas.new_figure(5.6, top + 3.6, heading, note)
    axes = canvas.place_axes(figure, 0.85, top, 4.4, 2.95)
    axes.vlines(x, y, m * x + b, color=VERMILION, linewidth=1.0)
    _draw_lines(axes, x, y, [(m, b, 1.0)])
    canvas.save_png(figure, path)


def draw_descent(points: ArrayLike, descent: Descent, path: str | Path) -> None:
    """Draws a gradient descent: its lines among the points, and its path over the loss surface.

    The contours lie at equal ratios of what the loss exceeds its minimum by; the cross marks the
    minimum in closed form.

    Args:
        points: (n, 2) numbers: a row for each point, x before y.
        descent: What `mnistry.line.descend` returned for them.
        path: The PNG file to write.

    Raises:
        UsageError: The points do not have that shape, or the name does not end in .png.
        DataError: The points do not fix a line.
        StorageError: The file cannot be written.
        DependencyError: matplotlib is not installed.
    """
    x, y = _points(points)
    best, steps = fit_closed_form(points), descent.steps
    ms, bs = np.array([[step.m, step.b] for step in steps]).T  # (steps,) each
    taken = len(steps) - 1
    note = (
        f"loss {canvas.number(steps[0].loss)} → {canvas.number(steps[-1].loss)} in "
        f"{taken:,} {'step' if taken == 1 else 'steps'}"
    )
    heading = _equation(steps[-1].m, steps[-1].b)
    top = canvas.heading_height(heading, note) + 0.4
    figure = canvas.new_figure(9.6, top + 3.6, heading, note)
    left = canvas.place_axes(figure, 0.85, top, 3.6, 2.95)
    shown = [i for i in (0, *(2**j for j in range(40))) if i < taken]
    fading = [(ms[i], bs[i], 0.15 + 0.5 * j / len(shown)) for j, i in enumerate(shown)]
    _draw_lines(left, x, y, [*fading, (ms[-1], bs[-1], 1.0)])

    from matplotlib.colors import LinearSegmentedColormap

    right = canvas.place_axes(figure, 5.45, top, 3.8, 2.95)
    captions = (
        "from the line tried (faint) to the last (bold)",
        "the loss over m and b, and the way down",
    )
    for at, caption in zip((0.85, 5.45), captions, strict=True):
        canvas.write(figure, at, top - 0.25, caption, colour=MUTED)
    reach = [float(np.ptp(np.append(v, t))) for v, t in ((ms, best.m), (bs, best.b))]
    for i, at in enumerate((best.m, best.b)):
        reach[i] = 0.35 * reach[i] or abs(at) / 2 or 1.0
    window_m = np.linspace(min(*ms, best.m) - reach[0], max(*ms, best.m) + reach[0], 240)
    window_b = np.linspace(min(*bs, best.b) - reach[1], max(*bs, best.b) + reach[1], 240)
    dm, db = np.meshgrid(window_m - best.m, window_b - best.b)  # (240, 240) each
    excess = x.var() * dm**2 + (x.mean() * dm + db) ** 2  # the loss less its minimum, exactly
    levels = np.geomspace(excess.max() * 1e-5, excess.max(), 21)
    cold = LinearSegmentedColormap.from_list("loss", [TILE, PALE])
    shown_excess = np.clip(excess, levels[0], levels[-1])
    right.contourf(window_m, window_b, shown_excess, levels=levels, cmap=cold, norm="log")
    right.contour(window_m, window_b, excess, levels=levels, colors=PAPER, linewidths=0.7)
    right.plot(ms, bs, color=VERMILION, linewidth=1.2)
    right.scatter(ms[[*shown, -1]], bs[[*shown, -1]], s=10, color=VERMILION, zorder=3)
    right.scatter([best.m], [best.b], s=60, marker="+", color=INK, linewidth=1.4, zorder=4)
    canvas.label_axes(right, "slope m", "height b")
    canvas.save_png(figure, path)


def _column(history: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """Returns (epochs,) float64 of one key, nan where it is missing, None or not finite."""
    values = np.array([row.get(key) for row in history], dtype=np.float64)  # None becomes nan
    return np.where(np.isfinite(values), values, np.nan)


def _limits(values: NDArray[np.float64], most: float) -> tuple[float, float]:
    """Returns where an axis of finite values, 0..most, begins and ends: at least 1% apart."""
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    pad = max(0.06 * (high - low), 0.005 * abs(high)) or 1.0
    return max(0.0, low - pad), min(most, high + pad)


def _points(points: ArrayLike) -> NDArray[np.float64]:
    """Returns (2, n) float64: x and y."""
    table = np.asarray(points, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 2 or not table.size or not np.isfinite(table).all():
        raise UsageError(f"points has shape {table.shape}; expected (n, 2) numbers, x before y")
    return table.T


def _equation(m: float, b: float) -> str:
    """Spells the line y = mx + b."""
    sign = "−" if b < 0 else "+"
    return f"y = {canvas.number(m)} x {sign} {canvas.number(abs(b))}"


def _draw_lines(
    axes: "Axes",
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    lines: Sequence[tuple[float, float, float]],
) -> None:
    """Draws points and lines (m, b, opacity); the axes show them all over the points' x."""
    ends = np.array([x.min(), x.max()]) + np.array([-0.06, 0.06]) * (np.ptp(x) or 1)
    for m, b, opacity in lines:
        axes.plot(ends, m * ends + b, color=BLUE, alpha=opacity, linewidth=1.0 + 0.8 * opacity)
    axes.scatter(x, y, s=26, color=INK, edgecolors=PAPER, linewidths=0.8, zorder=3)
    axes.set_xlim(*ends)
    canvas.label_axes(axes, "x", "y")
