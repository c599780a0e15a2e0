"""Which ink of a row is a digit each: the most probable of all ways to part it (Viterbi, 1967)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnistry.cutting import cut
from mnistry.page import Piece, join, may_be_one

_SURE = 0.9  # less, and a piece may be a part of a digit, or several
_TOO_WIDE = 1.1  # width by height of what may be several, however sure
_LOW = 0.5  # of the row's height: no part, nor several together, is a digit if it is lower
_ONE_MORE = 0.6  # the chance that what can be parted is
_NONE = 0.1  # how far ink that is no digit counts against digits that touch
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
    def is_doubtful(self) -> bool:
        """Whether it may be a part of a digit, or several."""
        _, _, wide, tall = self.piece.box
        return float(self.probabilities[:10].max()) < _SURE or wide > _TOO_WIDE * tall


class Ways:
    """All ways to make digits of a row: its atoms are doubtful pieces cut up, and the others."""

    def __init__(self, row: Sequence[Seen]) -> None:
        """Cuts what is doubtful; `unseen` is what has to be looked at then."""
        height = sorted(seen.piece.box[3] for seen in row)[len(row) // 2]
        self._row, self._height = row, height
        atoms: list[tuple[Piece, bool]] = []  # and whether it is doubtful
        self._choices: list[tuple[int, int, Seen | None]] = []  # first atom, past the last, seen
        for seen in row:
            parts = cut(seen.piece) if seen.is_doubtful else [seen.piece]
            self._choices.append((len(atoms), len(atoms) + len(parts), seen))
            atoms += [(part, seen.is_doubtful) for part in parts]
        self.unseen: list[Piece] = []
        known = {(start, stop) for start, stop, _ in self._choices}
        for start in range(len(atoms)):
            for stop in range(start + 1, len(atoms) + 1):
                parts = [piece for piece, _ in atoms[start:stop]]
                if len(parts) > 1 and not may_be_one(parts, height):
                    break
                is_doubtful = any(doubtful for _, doubtful in atoms[start:stop])
                if not is_doubtful or (start, stop) in known:
                    continue
                both = join(parts)
                if both.box[3] >= _LOW * height:
                    self.unseen.append(both)
                    self._choices.append((start, stop, None))
        self._count = len(atoms)

    def best(self, others: Sequence[Seen]) -> list[Seen]:
        """The most probable way, `others` being what was seen in `unseen`.

        A whole piece may be no digit. Parts and several pieces may not: there is always some
        way to put strokes together that is none. What is surely no digit is left out, but not parts
        of a digit, and not what may be several that could not be parted.
        """
        waiting = iter(others)
        choices = []
        for start, stop, whole in self._choices:
            seen = whole or next(waiting)
            chance = float(seen.probabilities[:10].max())
            if whole:
                digits = max(1.0, 1.5 * seen.piece.box[2] / seen.piece.box[3])  # as many would fit
                chance = max(chance, (_NONE * float(seen.probabilities[10:].sum())) ** digits)
            choices.append((start, stop, math.log(max(1e-9, _ONE_MORE * chance)), seen))
        score = [0.0, *[-math.inf] * self._count]
        last: list[tuple[int, Seen] | None] = [None] * (self._count + 1)
        for start, stop, chance, seen in sorted(choices, key=lambda choice: choice[:2]):
            total = score[start] + chance
            if total > score[stop]:
                score[stop], last[stop] = total, (start, seen)
        path, at = [], self._count
        while step := last[at]:
            at = step[0]
            path.append(step[1])
        return [seen for seen in path[::-1] if not self._is_left_out(seen)]

    def _is_left_out(self, seen: Seen) -> bool:
        _, _, wide, tall = seen.piece.box
        may_be_several = wide > _TOO_WIDE * tall and tall > _TALL * self._height
        is_none = float(seen.probabilities[10:].sum()) >= _DROPPED
        return is_none and seen in self._row and not may_be_several
