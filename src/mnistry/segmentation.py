"""Which ink of a row is a digit each: the most probable of all ways to part it (Viterbi, 1967)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnistry.cutting import cut, split
from mnistry.normalise import normalise
from mnistry.page import Piece, join, may_be_one

_SURE = 0.9  # less, and a piece may be a part of a digit, or several
_TOO_WIDE = 1.1  # width by height of what may be several, however sure
_PAIR = 0.5, 2.6  # the same of what may be two digits that touch
_LOW = 0.5  # of the row's height: no part, nor several together, is a digit if it is lower
_ONE_MORE = 0.6  # the chance that what can be parted is
_LIKE = 0.2  # the chance that both sides of a cut are what they are together, or it is none
_LOWEST_1 = 0.6  # the height of a narrow 1 by the row's: a lower one is a comma, or an accent
_NARROW = 0.35  # the width of a 1 by another digit's
# the probability of being no digit from which ink is passed over in silence, and how much of the
# row's height it has to have, if it is wide, to be a number that nobody should miss
_DROPPED, _TALL = 0.9, 0.6

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Seen:
    """A piece, and what the network makes of it."""

    piece: Piece
    image: UInt8s
    probabilities: Floats

    @property
    def knows_none(self) -> bool:
        """Whether the network tells digits from what is none."""
        return len(self.probabilities) > 10

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be a part of a digit, or several."""
        _, _, wide, tall = self.piece.box
        return float(self.probabilities[:10].max()) < _SURE or wide > _TOO_WIDE * tall


class Ways:
    """All ways to make digits of a row: its atoms are doubtful pieces cut up, and the others.

    Attributes:
        unseen: What has to be looked at as one digit each.
        touching: What has to be looked at as two each.
    """

    def __init__(self, row: Sequence[Seen]) -> None:
        height = sorted(seen.piece.box[3] for seen in row)[len(row) // 2]
        self._row, self._height = row, height
        self._atoms: list[Piece] = []
        self._choices: list[tuple[int, int, Seen | None]] = []  # first atom, past the last, seen
        self._pairs: list[tuple[int, int]] = []
        self.touching: list[Piece] = []
        doubtful: list[bool] = []
        whose: list[int] = []  # piece an atom is of
        for number, seen in enumerate(row):
            parts = cut(seen.piece) if seen.is_doubtful else [seen.piece]
            first = len(self._atoms)
            self._choices.append((first, first + len(parts), seen))
            self._atoms += parts
            doubtful += [seen.is_doubtful] * len(parts)
            whose += [number] * len(parts)
            if seen.is_doubtful:
                self._find_pairs(first, seen.piece.box[3])
        self.unseen: list[Piece] = []
        known = {(start, stop) for start, stop, _ in self._choices}
        for start in range(len(self._atoms)):
            for stop in range(start + 1, len(self._atoms) + 1):
                parts = self._atoms[start:stop]
                if len(parts) > 1 and not may_be_one(parts, height):
                    break
                if not row[0].knows_none and whose[start] < whose[stop - 1]:
                    break  # who knows only digits is sure of one in any two
                if not any(doubtful[start:stop]) or (start, stop) in known:
                    continue
                both = join(parts)
                if both.box[3] >= _LOW * height:
                    self.unseen.append(both)
                    self._choices.append((start, stop, None))

    def _find_pairs(self, first: int, height: int) -> None:
        """Runs of the last piece's atoms, from `first` on, that may be two digits."""
        last = len(self._atoms)
        for start in range(first, max(first + 1, last - 1)):
            for stop in range(min(start + 2, last), last + 1):
                both = join(self._atoms[start:stop])
                _, _, wide, tall = both.box
                if wide > _PAIR[1] * height:  # so are all that are longer
                    break
                if tall >= _LOW * self._height and _PAIR[0] * tall <= wide <= _PAIR[1] * tall:
                    self.touching.append(both)
                    self._pairs.append((start, stop))

    def best(self, others: Sequence[Seen], pairs: Sequence[Floats]) -> list[Seen]:
        """The most probable way.

        A whole piece may be no digit. Parts and several pieces may not: there is always some
        way to put strokes together that is none. What is surely no digit is left out, but not parts
        of a digit, and not what may be several that could not be parted.

        Args:
            others: What was seen in `unseen`.
            pairs: (100,) each: the probability of each two digits in `touching`, "00" first.
        """
        waiting = iter(others)
        twos = list(zip(self._pairs, pairs, strict=True))
        steps: list[tuple[int, int, float, Seen | Floats]] = []
        for start, stop, whole in self._choices:
            seen = whole or next(waiting)
            chance = float(seen.probabilities[:10].max())
            if whole:
                inner = [two for run, two in twos if start <= run[0] and run[1] <= stop]
                touch = max((float(two.sum()) for two in inner), default=0.0)
                chance = max(chance, float(seen.probabilities[10:].sum()) * (1 - touch))
            steps.append((start, stop, _ONE_MORE * chance, seen))
        for (start, stop), two in twos:
            steps.append((start, stop, _ONE_MORE**2 * float(two.max()), two))
        score = [0.0, *[-math.inf] * len(self._atoms)]
        last: dict[int, tuple[int, Seen | Floats]] = {}
        for start, stop, chance, way in sorted(steps, key=lambda step: step[:2]):
            total = score[start] + math.log(max(1e-9, chance))
            if total > score[stop]:
                score[stop], last[stop] = total, (start, way)
        digits = {(start, stop): seen for start, stop, _, seen in steps if isinstance(seen, Seen)}
        path: list[Seen] = []
        stop = len(self._atoms)
        while stop:
            start, way = last[stop]
            found = [way] if isinstance(way, Seen) else self._parted(start, stop, way, digits)
            path = found + path
            stop = start
        return [seen for seen in path if not self._is_left_out(seen)]

    def _parted(
        self, start: int, stop: int, two: Floats, digits: Mapping[tuple[int, int], Seen]
    ) -> list[Seen]:
        """Two digits that touch, cut where what is left and right of it looks like them.

        Where digits run into each other no cut leaves both; then by how wide they usually are.
        """
        chances = two.reshape(10, 10)
        sides = chances.sum(1), chances.sum(0)
        labels = [int(side.argmax()) for side in sides]

        def like(cut: int) -> float:
            return math.prod(
                float(digits[run].probabilities[label]) if run in digits else 0.0
                for run, label in zip(((start, cut), (cut, stop)), labels, strict=True)
            )

        at = max(range(start + 1, stop), key=like, default=start)
        if at > start and like(at) >= _LIKE:
            pieces = [join(self._atoms[start:at]), join(self._atoms[at:stop])]
        else:
            left, right = (_NARROW if label == 1 else 1.0 for label in labels)
            pieces = split(join(self._atoms[start:stop]), left / (left + right))
        return [
            Seen(piece, normalise(piece.ink), np.append(side, 1 - side.sum()).astype(np.float32))
            for piece, side in zip(pieces, sides, strict=False)
        ]

    def _is_left_out(self, seen: Seen) -> bool:
        _, _, wide, tall = seen.piece.box
        may_be_several = wide > _TOO_WIDE * tall and tall > _TALL * self._height
        is_1 = seen.probabilities[:10].argmax() == 1
        is_comma = is_1 and wide < tall < _LOWEST_1 * self._height
        is_none = float(seen.probabilities[10:].sum()) >= _DROPPED
        return seen in self._row and (is_comma or is_none) and not may_be_several
