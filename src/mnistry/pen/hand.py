"""A hand: what makes one writer's digits alike, and no two of them the same.

Every trait is a sum of a part drawn once per writer and one, mostly smaller, drawn for each digit.
What a writer does goes together: who hurries slants and rounds more, and a pen has its width.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mnistry.pen.letterforms import LETTERFORMS, Letterform, Stroke
from mnistry.pen.settings import Style

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_POINTS = (40, 20)  # along the first stroke of a form, and along each of the others
_NEAR = 0.18  # the distance of forms that a hand may mix, in heights

# trait: (mean, deviation between writers, deviation within one writer's digits)
TRAITS: dict[str, tuple[float, float, float]] = {
    "slant": (0.17, 0.18, 0.08),  # shear, to the right
    "turn": (0.0, 0.05, 0.06),  # radians
    "aspect": (0.08, 0.14, 0.09),  # logarithm of width by height
    "width": (-2.34, 0.27, 0.08),  # logarithm of the stroke's, by the digit's longer side
    "round": (0.35, 0.32, 0.15),  # how far corners are cut: 0 to 1
    "tremor": (-5.4, 0.43, 0.2),  # logarithm, in heights
    "nib": (0.0, 0.10, 0.05),  # logarithm of how much wider strokes run one way than the other
    "swell": (0.0, 0.20, 0.15),  # how much the width changes along a stroke
    "faint": (-0.05, 0.35, 0.10),  # how far ink gives out along a stroke: 0 to 1
    "mix": (0.15, 0.25, 0.10),  # how far a form is on its way to another one: 0 to 1
    "size": (0.0, 0.0, 0.06),  # logarithm, by the writer's usual
}
# pen: (its share, what it adds to the traits)
PENS: dict[str, tuple[float, dict[str, float]]] = {
    "ballpoint": (0.45, {"width": -0.2}),
    "pencil": (0.20, {"width": -0.1, "faint": 0.15}),
    "felt": (0.25, {"width": 0.3, "faint": -0.15}),
    "brush": (0.10, {"width": 0.4, "swell": 0.2}),
}
_HURRY = {
    "slant": 0.05,
    "round": 0.15,
    "tremor": -0.25,
}  # what a deviation of a writer's speed adds
_WARP = (0.075, 0.055)  # deviation of the coefficients of the field that bends the whole digit
_POINT = (0.015, 0.015)  # of each point of the letterform, in heights
_ENDS = (0.06, 0.06)  # of where each stroke begins and ends: overshoot, gaps, open loops
_SHIFT = (0.025, 0.025)  # of where each stroke lies
_FAVOURITE = 0.8  # how often a writer uses the same form
_TERMS = 7


@dataclass(frozen=True)
class Skeleton:
    """A letterform, ready to be bent: its curve is a product of a matrix and its points."""

    controls: Floats
    """(P, 2), in heights, the middle of the box at 0, 0."""
    matrix: Floats
    """(T, P): to the points along the strokes from the controls."""
    owner: Indices
    """(P,): the stroke of each control."""

    @property
    def curve(self) -> Floats:
        """(T, 2): the form as it is, not bent."""
        curve: Floats = self.matrix @ self.controls
        return curve


@cache
def skeleton(form: Letterform) -> Skeleton:
    """Prepare a letterform."""
    points = np.array([p for stroke in form.strokes for piece in stroke for p in piece])
    low, high = points.min(0), points.max(0)
    scale = 1 / (high - low).max()
    controls: list[Floats] = []
    owner: list[int] = []
    ends = _ends(len(form.strokes))
    matrix = np.zeros((ends[-1][1], sum(1 + sum(len(p) - 1 for p in s) for s in form.strokes)))
    for number, (stroke, (start, stop)) in enumerate(zip(form.strokes, ends, strict=True)):
        unique, block = _curve(stroke, stop - start)
        matrix[start:stop, len(controls) : len(controls) + len(unique)] = block
        controls.extend((unique - (low + high) / 2) * scale)
        owner.extend([number] * len(unique))
    return Skeleton(np.array(controls), matrix, np.array(owner))


def _ends(strokes: int) -> tuple[tuple[int, int], ...]:
    """Where each of so many strokes begins and ends among the points of a form."""
    stops = [_POINTS[0] + number * _POINTS[1] for number in range(strokes)]
    return tuple(itertools.pairwise([0, *stops]))


@cache
def alike(letterforms: tuple[Letterform, ...]) -> tuple[Indices, ...]:
    """For each form those of the same digit that are drawn in much the same way, itself if none."""

    def near(a: Letterform, b: Letterform) -> bool:
        if a is b or a.label != b.label or len(a.strokes) != len(b.strokes):
            return False
        gap = skeleton(a).curve - skeleton(b).curve
        return float(np.sqrt((gap**2).sum(1).mean())) < _NEAR

    found = [[j for j, b in enumerate(letterforms) if near(a, b)] for a in letterforms]
    return tuple(np.array(others or [i]) for i, others in enumerate(found))


def _curve(stroke: Stroke, count: int) -> tuple[Floats, Floats]:
    """A stroke's points (P, 2), shared corners once, and the matrix (count, P) to its curve."""
    unique = np.array([stroke[0][0], *(point for piece in stroke for point in piece[1:])])
    chords = [np.hypot(*np.diff(np.array(piece), axis=0).T) for piece in stroke]
    way = np.linspace(0, sum(c.sum() for c in chords), count)
    matrix = np.zeros((count, len(unique)))
    column, passed = 0, 0.0
    for number, own in enumerate(chords):
        knots = passed + np.concatenate([[0], np.cumsum(own)])
        last = number == len(chords) - 1
        here = (way >= passed) & ((way < knots[-1]) | last)
        matrix[here, column : column + len(knots)] = curve_through(knots, way[here])
        column, passed = column + len(own), knots[-1]
    return unique, matrix


def curve_through(knots: Floats, at: Floats) -> Floats:
    """The natural cubic spline as a matrix.

    Args:
        knots: (P,) the way along the curve to each of its points, about their distances added up.
        at: (T,) the ways to the places wanted.

    Returns:
        (T, P), from the points to the places.
    """
    count = len(knots)
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


@cache
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
    """(W,) each writer's usual, in the units of `TRAITS`."""
    warp: Floats
    """(W, L, terms, 2) standard normal: a writer bends every 3 in a similar way."""
    points: Floats
    """(W, L, most points, 2), likewise."""
    shifts: Floats
    """(W, L, most strokes, 2), likewise."""
    ends: Floats
    """(W, L, most strokes, 2), likewise: of each stroke's beginning and end."""
    forms: Indices
    """(W, L, 2, 2): the usual form of each digit and the other one, each with one to mix in."""


def draw_hands(
    rng: np.random.Generator,
    writers: int,
    style: Style = "mixed",
    letterforms: tuple[Letterform, ...] = LETTERFORMS,
) -> Hands:
    """Draw the hands of so many writers, each American or European for "mixed"."""
    labels = max(form.label for form in letterforms) + 1
    points = max(len(skeleton(form).controls) for form in letterforms)
    strokes = max(len(form.strokes) for form in letterforms)
    european = np.full(writers, style == "eu")
    if style == "mixed":
        european = rng.random(writers) < 0.5
    forms = np.empty((writers, labels, 2, 2), np.intp)
    for label in range(labels):
        among = [i for i, form in enumerate(letterforms) if form.label == label]
        us = np.array([letterforms[i].us for i in among])
        eu = np.array([letterforms[i].eu for i in among])
        share = np.where(european[:, None], eu / eu.sum(), us / us.sum()).cumsum(1)
        chosen = (rng.random((writers, 2, 1)) > share[:, None]).sum(-1)
        forms[:, label, :, 0] = np.array(among)[np.minimum(chosen, len(among) - 1)]
    mixes = alike(letterforms)
    count = np.array([len(others) for others in mixes])
    table = np.array([np.resize(others, count.max()) for others in mixes])
    first = forms[..., 0]
    forms[..., 1] = table[first, (rng.random(first.shape) * count[first]).astype(np.intp)]
    return Hands(
        letterforms,
        _usual(rng, writers),
        rng.standard_normal((writers, labels, _TERMS, 2)),
        rng.standard_normal((writers, labels, points, 2)),
        rng.standard_normal((writers, labels, strokes, 2)),
        rng.standard_normal((writers, labels, strokes, 2)),
        forms,
    )


def _usual(rng: np.random.Generator, writers: int) -> dict[str, Floats]:
    """Each writer's usual traits: (W,) each."""
    speed = rng.standard_normal(writers)
    pens = rng.choice(len(PENS), writers, p=[share for share, _ in PENS.values()])
    usual = {}
    for name, (mean, between, _) in TRAITS.items():
        by_pen = np.array([adds.get(name, 0.0) for _, adds in PENS.values()])
        own = mean + between * rng.standard_normal(writers)
        usual[name] = own + by_pen[pens] + _HURRY.get(name, 0.0) * speed
    return usual


@dataclass(frozen=True)
class Drawn:
    """Digits of as many strokes each, drawn but not inked."""

    indices: Indices
    """(n,): which of those asked for."""
    points: Floats
    """(n, T, 2) in heights."""
    ends: tuple[tuple[int, int], ...]
    """Where each stroke begins and ends among the T."""
    traits: dict[str, Floats]
    """(n,) each, in the units of `TRAITS`."""


def traits_of(rng: np.random.Generator, hands: Hands, who: Indices) -> dict[str, Floats]:
    """Draw the traits of a digit of each writer named: (n,) each, in the units of `TRAITS`."""
    return {
        name: hands.traits[name][who] + within * rng.standard_normal(len(who))
        for name, (_, _, within) in TRAITS.items()
    }


def draw(
    rng: np.random.Generator, hands: Hands, who: Indices, labels: NDArray[np.uint8]
) -> Iterator[Drawn]:
    """Draw digits: `labels[i]` by the writer `who[i]`, those of as many strokes at a time."""
    seldom = (rng.random(len(labels)) >= _FAVOURITE).astype(np.intp)
    forms, mixes = np.moveaxis(hands.forms[who, labels, seldom], -1, 0)
    bones = [skeleton(form) for form in hands.letterforms]
    strokes = np.array([len(form.strokes) for form in hands.letterforms])
    bend = np.array([form.bend for form in hands.letterforms])[:, None, None]
    widths = np.array([np.ptp(bone.controls[:, 0]) for bone in bones])
    thin = np.ones((len(bones), 1, 2))
    thin[..., 0] = np.minimum(1, 0.25 + 1.2 * widths)[:, None]  # a 1 stays thin
    for number in np.unique(strokes[forms]).tolist():
        indices = np.flatnonzero(strokes[forms] == number)
        w, own_forms, own_labels = who[indices], forms[indices], labels[indices]
        own = traits_of(rng, hands, w)
        ends = _ends(number)
        points = np.empty((len(indices), ends[-1][1], 2))
        by = bend[own_forms]
        moved = _vary(rng, hands.points[w, own_labels], _POINT) * by
        shift = _vary(rng, hands.shifts[w, own_labels], _SHIFT)
        for form in np.unique(own_forms).tolist():
            at, bone = np.flatnonzero(own_forms == form), bones[form]
            controls = bone.controls + moved[at, : len(bone.controls)]
            if number > 1:
                controls += shift[at][:, bone.owner]
            points[at] = bone.matrix @ controls
        mix = np.clip(own["mix"], 0, 1)[:, None, None]
        curves = np.array([b.curve for b in bones if len(b.matrix) == ends[-1][1]])
        place = (strokes == number).cumsum() - 1
        points += mix * (curves[place[mixes[indices]]] - curves[place[own_forms]])
        round_ = np.clip(own["round"], 0, 1)[:, None, None] * by
        for start, stop in ends:
            part = points[:, start:stop]
            part += round_ * (_blur(stop - start) @ part - part)
        points = _trim(points, ends, _vary(rng, hands.ends[w, own_labels], _ENDS))
        warp = _vary(rng, hands.warp[w, own_labels], _WARP) * by * thin[own_forms]
        points += np.einsum("ntk,nkc->ntc", _field(points), warp)
        points += np.exp(own["tremor"])[:, None, None] * _wobble(rng, points.shape)
        yield Drawn(indices, _pose(points, own), ends, own)


def _vary(rng: np.random.Generator, kept: Floats, size: tuple[float, float]) -> Floats:
    """What a writer keeps to, and what each digit adds to it."""
    return size[0] * kept + size[1] * rng.standard_normal(kept.shape)


def _trim(points: Floats, ends: tuple[tuple[int, int], ...], by: Floats) -> Floats:
    """Each stroke shortened or lengthened at both ends, (n, strokes, 2) in heights."""
    result = np.empty_like(points)
    rows = np.arange(len(points))[:, None]
    for number, (start, stop) in enumerate(ends):
        part, last = points[:, start:stop], stop - start - 1
        length = np.hypot(*np.moveaxis(np.diff(part, axis=1), -1, 0)).sum(1, keepdims=True)
        first, final = np.split(np.clip(by[:, number] / length, -0.12, 0.12) * last, 2, axis=1)
        at = first + np.linspace(0, 1, stop - start) * (last - final - first)
        k = np.clip(np.floor(at), 0, last - 1).astype(np.intp)
        share = (at - k)[..., None]
        result[:, start:stop] = (1 - share) * part[rows, k] + share * part[rows, k + 1]
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
