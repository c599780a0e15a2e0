"""A hand: what makes one writer's digits alike, and no two of them the same.

Every trait is a sum of a part drawn once per writer and a smaller one drawn for each digit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mnistry.pen.letterforms import LETTERFORMS, Letterform, Stroke

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

STEP = 0.045
"""The distance between the points of a curve, in heights of a digit."""

# trait: (mean, deviation between writers, deviation within one writer's digits)
TRAITS: dict[str, tuple[float, float, float]] = {
    "slant": (0.17, 0.19, 0.08),  # shear, to the right
    "turn": (0.0, 0.05, 0.06),  # radians
    "aspect": (0.08, 0.14, 0.09),  # logarithm of width by height
    "width": (-2.32, 0.27, 0.08),  # logarithm of the stroke's, by the digit's longer side
    "round": (0.35, 0.35, 0.15),  # how far corners are cut: 0 to 1
    "tremor": (-5.4, 0.5, 0.2),  # logarithm, in heights
    "nib": (0.0, 0.10, 0.05),  # logarithm of how much wider strokes run one way than the other
    "swell": (0.0, 0.20, 0.15),  # how much the width changes along a stroke
}
_WARP = (0.075, 0.055)  # deviation of the coefficients of the field that bends the whole digit
_POINT = (0.015, 0.015)  # of each point of the letterform, in heights
_ENDS = (0.06, 0.06)  # of where a stroke begins and ends, in heights
_SHIFT = (0.025, 0.025)  # of where each stroke lies
_FAVOURITE = 0.8  # how often a writer uses the same form
_TERMS = 7


@dataclass(frozen=True)
class Skeleton:
    """A letterform, ready to be bent: its curves are products of a matrix and its points."""

    controls: Floats
    """(P, 2), in heights, the middle of the box at 0, 0."""
    curve: Floats
    """(T, P): points along the strokes from the controls."""
    rounded: Floats
    """(T, P): the same with the corners cut."""
    ends: tuple[tuple[int, int], ...]
    """Where each stroke begins and ends among the T."""
    owner: Indices
    """(P,): the stroke of each control."""


@cache
def skeleton(form: Letterform) -> Skeleton:
    """Prepare a letterform."""
    points = np.array([p for stroke in form.strokes for piece in stroke for p in piece])
    low, high = points.min(0), points.max(0)
    scale = 1 / (high - low).max()
    controls: list[Floats] = []
    owner: list[int] = []
    rows: list[tuple[Floats, int]] = []
    for number, stroke in enumerate(form.strokes):
        unique, matrix = _curve(stroke, scale)
        rows.append((matrix, len(controls)))
        controls.extend((unique - (low + high) / 2) * scale)
        owner.extend([number] * len(unique))
    total = sum(len(matrix) for matrix, _ in rows)
    curve, rounded = np.zeros((2, total, len(controls)))
    ends, row = [], 0
    for matrix, column in rows:
        part = np.s_[row : row + len(matrix), column : column + matrix.shape[1]]
        curve[part], rounded[part] = matrix, _blur(len(matrix)) @ matrix
        ends.append((row, row + len(matrix)))
        row += len(matrix)
    return Skeleton(np.array(controls), curve, rounded, tuple(ends), np.array(owner))


def _curve(stroke: Stroke, scale: float) -> tuple[Floats, Floats]:
    """A stroke's points (P, 2), shared corners once, and the matrix (T, P) to its curve."""
    unique = [stroke[0][0]]
    blocks: list[tuple[int, Floats]] = []
    for piece in stroke:
        matrix = _spline(np.array(piece) * scale)
        blocks.append((len(unique) - 1, matrix if not blocks else matrix[1:]))
        unique.extend(piece[1:])
    result = np.zeros((sum(len(m) for _, m in blocks), len(unique)))
    row = 0
    for column, matrix in blocks:
        result[row : row + len(matrix), column : column + matrix.shape[1]] = matrix
        row += len(matrix)
    return np.array(unique), result


def _spline(points: Floats) -> Floats:
    """(T, P): the matrix from P points to the curve through them."""
    chords = np.hypot(*np.diff(points, axis=0).T)
    return curve_through(np.concatenate([[0], np.cumsum(chords)]))


def curve_through(knots: Floats) -> Floats:
    """The natural cubic spline as a matrix.

    Args:
        knots: (P,) the way along the curve to each of its points, about their distances added up.

    Returns:
        (T, P), from the points to T places at even steps along the curve.
    """
    count = len(knots)
    at = np.linspace(0, knots[-1], max(2, round(knots[-1] / STEP) + 1))
    h = np.diff(knots)
    left, right = np.zeros((2, count, count))  # second derivatives M: left @ M = right @ values
    left[0, 0] = left[-1, -1] = 1
    for i in range(1, count - 1):
        left[i, i - 1 : i + 2] = h[i - 1], 2 * (h[i - 1] + h[i]), h[i]
        right[i, i - 1 : i + 2] = 6 / h[i - 1], -6 / h[i - 1] - 6 / h[i], 6 / h[i]
    second = np.linalg.solve(left, right)
    k = np.clip(np.searchsorted(knots, at) - 1, 0, count - 2)
    a = ((knots[k + 1] - at) / h[k])[:, None]
    b, identity, square = 1 - a, np.eye(count), (h[k] ** 2 / 6)[:, None]
    bend = square * ((a**3 - a) * second[k] + (b**3 - b) * second[k + 1])
    matrix: Floats = a * identity[k] + b * identity[k + 1] + bend
    return matrix


def _blur(count: int) -> Floats:
    """(T, T): each point the weighted mean of its neighbours; the ends stay."""
    i = np.arange(count)
    reach = np.minimum(3.0, np.minimum(i, count - 1 - i))[:, None]
    weights = np.exp(-0.5 * ((i[:, None] - i) / np.maximum(reach * 0.75, 1e-3)) ** 2)
    weights[np.abs(i[:, None] - i) > reach] = 0
    blur: Floats = weights / weights.sum(1, keepdims=True)
    return blur


@dataclass(frozen=True)
class Hands:
    """What is drawn once for each of W writers."""

    letterforms: tuple[Letterform, ...]
    """What they choose from, for L labels."""
    traits: dict[str, Floats]
    """(W,) standard normal each."""
    warp: Floats
    """(W, L, terms, 2) standard normal: a writer bends every 3 in a similar way."""
    points: Floats
    """(W, L, most points, 2), likewise."""
    forms: Indices
    """(W, L, 2): the usual form of each digit, and the other one."""


def draw_hands(
    rng: np.random.Generator,
    writers: int,
    style: str,
    letterforms: tuple[Letterform, ...] = LETTERFORMS,
) -> Hands:
    """Draw the hands of so many writers, each American or European for "mixed"."""
    labels = max(form.label for form in letterforms) + 1
    most = max(len(skeleton(form).controls) for form in letterforms)
    european = {"us": np.zeros(writers), "eu": np.ones(writers)}.get(
        style, (rng.random(writers) < 0.5).astype(float)
    )
    forms = np.empty((writers, labels, 2), np.intp)
    for label in range(labels):
        among = [i for i, form in enumerate(letterforms) if form.label == label]
        us = np.array([letterforms[i].us for i in among])
        eu = np.array([letterforms[i].eu for i in among])
        share = np.where(european[:, None] > 0.5, eu / eu.sum(), us / us.sum()).cumsum(1)
        chosen = (rng.random((writers, 2, 1)) > share[:, None]).sum(-1)
        forms[:, label] = np.array(among)[np.minimum(chosen, len(among) - 1)]
    return Hands(
        letterforms,
        {name: rng.standard_normal(writers) for name in TRAITS},
        rng.standard_normal((writers, labels, _TERMS, 2)),
        rng.standard_normal((writers, labels, most, 2)),
        forms,
    )


@dataclass(frozen=True)
class Drawn:
    """Digits of one letterform, drawn but not inked."""

    indices: Indices
    """(n,): which of those asked for."""
    points: Floats
    """(n, T, 2) in heights."""
    ends: tuple[tuple[int, int], ...]
    traits: dict[str, Floats]
    """(n,) each, in the units of `TRAITS`."""


def traits_of(rng: np.random.Generator, hands: Hands, who: Indices) -> dict[str, Floats]:
    """Draw the traits of a digit of each writer named: (n,) each, in the units of `TRAITS`."""
    return {
        name: mean + between * hands.traits[name][who] + within * rng.standard_normal(len(who))
        for name, (mean, between, within) in TRAITS.items()
    }


def draw(
    rng: np.random.Generator, hands: Hands, who: Indices, labels: NDArray[np.uint8]
) -> Iterator[Drawn]:
    """Draw digits: `labels[i]` by the writer `who[i]`, a form at a time."""
    usual = rng.random(len(labels)) < _FAVOURITE
    forms = hands.forms[who, labels, np.where(usual, 0, 1)]
    traits = traits_of(rng, hands, who)
    for number, form in enumerate(hands.letterforms):
        indices = np.flatnonzero(forms == number)
        if not len(indices):
            continue
        bone, w = skeleton(form), who[indices]
        own = {name: values[indices] for name, values in traits.items()}
        m, p, strokes = len(indices), len(bone.controls), len(bone.ends)

        def vary(kept: Floats, size: tuple[float, float], m: int = m) -> Floats:
            return size[0] * kept + size[1] * rng.standard_normal((m, *kept.shape[1:]))

        controls = bone.controls + vary(hands.points[w, form.label, :p], _POINT)
        shift = vary(hands.points[w, form.label, -strokes:], _SHIFT)
        controls += shift[:, bone.owner] * (strokes > 1)
        r = np.clip(own["round"], 0, 1)[:, None, None]
        points = (1 - r) * (bone.curve @ controls) + r * (bone.rounded @ controls)
        points = _trim(rng, points, bone.ends)
        warp = vary(hands.warp[w, form.label], _WARP)
        warp *= form.bend
        warp[..., 0] *= min(1.0, 0.25 + 1.2 * float(np.ptp(bone.controls[:, 0])))  # a 1 stays thin
        points = points + np.einsum("ntk,nkc->ntc", _field(points), warp)
        points = points + np.exp(own["tremor"])[:, None, None] * _wobble(rng, points.shape)
        yield Drawn(indices, _pose(points, own), bone.ends, own)


def _trim(rng: np.random.Generator, points: Floats, ends: tuple[tuple[int, int], ...]) -> Floats:
    """Each stroke shortened or lengthened at both ends."""
    result = np.empty_like(points)
    for start, stop in ends:
        count = stop - start
        change = rng.standard_normal((2, len(points), 1)) * np.hypot(*_ENDS) / STEP
        change = np.clip(change, -0.12 * count, 0.12 * count)
        at = np.linspace(0, 1, count) * (count - 1 + change[1] - change[0]) + change[0]
        k = np.clip(np.floor(at), 0, count - 2).astype(int)
        part = points[:, start:stop]
        rows = np.arange(len(points))[:, None]
        f = (at - k)[..., None]
        result[:, start:stop] = (1 - f) * part[rows, k] + f * part[rows, k + 1]
    return result


def _field(points: Floats) -> Floats:
    """(n, T, terms): a smooth field over the digit, all of its terms of similar size."""
    x, y = 2 * points[..., 0], 2 * points[..., 1]
    terms = [x * y, x * x, y * y, x * x * y / 2, x * y * y / 2, y * y * y / 2, x * x * x / 2]
    return np.stack(terms, -1)


def _wobble(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Smooth noise along the strokes, of deviation 1."""
    n, t, axes = shape
    noise = rng.standard_normal((n, t + 4, axes))
    smooth: Floats = np.stack([noise[:, k : t + k] for k in range(5)]).sum(0) / 5**0.5
    return smooth


def _pose(points: Floats, traits: dict[str, Floats]) -> Floats:
    aspect = np.exp(traits["aspect"])
    x = points[..., 0] * aspect[:, None] - points[..., 1] * traits["slant"][:, None]
    y = points[..., 1]
    c, s = np.cos(traits["turn"])[:, None], np.sin(traits["turn"])[:, None]
    return np.stack([c * x - s * y, s * x + c * y], -1)
