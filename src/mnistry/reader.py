"""Reads digits from any image: page, normalise, ONNX Runtime, calibrated confidence.

What a row's atoms belong together as is decided by what they would be read as: of all ways to make
digits of them, the most probable one (Viterbi, 1967).
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnistry.calibration import at_temperature
from mnistry.errors import ModelError, UsageError
from mnistry.files import open_file
from mnistry.normalise import SIZE, normalise
from mnistry.page import Piece, cut, find_one, find_rows, join, may_be_one
from mnistry.picture import read_pages

if TYPE_CHECKING:
    from mnistry.picture import Picture

_SHIPPED = "reader.onnx"
_BATCH = 512  # images at a time
_SURE = 0.9  # less, and a piece may be a part of a digit, or several
_TOO_WIDE = 1.1  # width by height of what may be several, however sure
_NONE = 0.3  # how far ink that is no digit counts against digits that touch
_DROPPED = 0.9  # the probability of being no digit from which ink is passed over in silence

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Digit:
    """One digit as it was read.

    Attributes:
        label: 0 to 9; None where no answer is sure enough.
        confidence: The probability of the best answer, 0..1.
        probabilities: (10,) float32: of each digit. They add up to 1 or less: the rest is the
            probability that it is no digit.
        box: Left, top, width and height of its ink, in pixels of its page.
        page: The page it is on, from 0.
        line: The line it is in, from 0, counted through all pages.
        image: (28, 28) uint8, 0 ground to 255 ink: what the network saw.
    """

    label: int | None
    confidence: float
    probabilities: Floats
    box: tuple[int, int, int, int]
    page: int
    line: int
    image: UInt8s

    def __str__(self) -> str:
        """Its label, or "?"."""
        return "?" if self.label is None else str(self.label)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it; without the image."""
        return {
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "box": list(self.box),
            "page": self.page,
            "line": self.line,
            "probabilities": [round(p, 4) for p in self.probabilities.tolist()],
        }


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read from an image.

    Attributes:
        digits: In reading order: lines from top to bottom, each from left to right.
    """

    digits: tuple[Digit, ...]

    @property
    def lines(self) -> tuple[tuple[Digit, ...], ...]:
        """The digits line by line."""
        return tuple(tuple(line) for _, line in groupby(self.digits, lambda digit: digit.line))

    @property
    def text(self) -> str:
        """The labels, a line each; "?" where no answer is sure enough."""
        return "\n".join("".join(map(str, line)) for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"text": self.text, "digits": [digit.to_dict() for digit in self.digits]}


class Network(Protocol):
    """What a reader needs: a `Run` is one, an exported file becomes one."""

    @property
    def classes(self) -> Sequence[str]:
        """The digits "0" to "9", and after them whatever is none."""

    def predict(self, images: UInt8s) -> Floats:
        """Gives (n, classes) probabilities for (n, 28, 28) uint8 images, 0 ground to 255 ink."""


def reads_digits(network: Network) -> bool:
    """Whether its first ten classes are the digits."""
    return tuple(network.classes[:10]) == tuple("0123456789")


class Reader:
    """Reads the digits of images.

    >>> import numpy as np
    >>> page = np.full((60, 60), 255, np.uint8)
    >>> Reader().read(page).text
    ''
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Network | None = None,
        *,
        min_confidence: float | None = None,
        threads: int = 0,
    ) -> None:
        """Loads the network.

        Args:
            model: An ONNX file as `mnistry export` writes it, or a `Run`, of a network whose first
                ten classes are the digits; the reader that comes with Mnistry if left out.
            min_confidence: 0..1: what is less probable is not answered. By default what the file
                says, or 0.
            threads: That compute, for a file; as many as there are cores if 0.

        Raises:
            ModelError: The file is missing, damaged, or of another kind of network.
            UsageError: `min_confidence` or `threads` is out of range.
        """
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise UsageError(f"min_confidence: is {min_confidence}, expected 0 to 1")
        if threads < 0:
            raise UsageError(f"threads: is {threads}, expected at least 1, or 0 for all cores")
        if model is None or isinstance(model, str | os.PathLike):
            network: Network = OnnxNetwork(model, threads)
        elif hasattr(model, "classes") and hasattr(model, "predict"):
            network = model
        else:
            raise UsageError(f"model: is a {type(model).__name__}, expected a file or a run")
        if not reads_digits(network):
            raise ModelError(
                f"the network reads the classes {', '.join(network.classes):.60}; expected the "
                "digits 0 to 9 first"
            )
        self.network = network
        usual = network.min_confidence if isinstance(network, OnnxNetwork) else 0.0
        self.min_confidence = usual if min_confidence is None else min_confidence

    def read(self, source: "Picture", *, single: bool = False) -> Reading:
        """Read all digits of an image.

        Args:
            source: A file, its bytes, a PIL image, or an array (h, w) or (h, w, channels): any
                size, dark on light or light on dark; all pages where it has several.
            single: It shows one digit, and is answered with just that ("?" for blank paper); else
                all that look like digits are found.

        Raises:
            DataError: It is no image, or a damaged one.
        """
        digits: list[Digit] = []
        for number, page in enumerate(read_pages(source)):
            line = digits[-1].line + 1 if digits else 0
            digits += (
                self._read_one(page, number, line)
                if single
                else self._read_page(page, number, line)
            )
        return Reading(tuple(digits))

    def classify(self, images: UInt8s) -> Floats:
        """What images of one digit each are, without looking for ink.

        Args:
            images: (n, 28, 28) uint8, 0 ground to 255 ink, normalised as MNIST's are.

        Returns:
            (n, 10) float32: the probability of each digit; what a row lacks of 1 is the
            probability that it is none.

        Raises:
            UsageError: They have another shape or dtype.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SIZE, SIZE):
            raise UsageError(
                f"images: are {images.dtype} of shape {images.shape}, expected uint8 (n, 28, 28)"
            )
        return self.network.predict(images)[:, :10]

    def _read_one(self, grey: UInt8s, page: int, line: int) -> list[Digit]:
        piece = find_one(grey)
        if piece is None:  # nothing is no digit, whatever the network would say
            whole = (0, 0, grey.shape[1], grey.shape[0])
            nothing = np.zeros((SIZE, SIZE), np.uint8)
            return [Digit(None, 0.0, np.zeros(10, np.float32), whole, page, line, nothing)]
        (seen,) = self._seen([piece])
        return [self._digit(seen.found, seen.image, piece.box, page, line)]

    def _read_page(self, grey: UInt8s, page: int, line: int) -> list[Digit]:
        rows = find_rows(grey)
        wholes = self._seen([piece for row in rows for piece in row])
        ways = []
        for row in rows:
            own, wholes = wholes[: len(row)], wholes[len(row) :]
            ways.append(_Ways(own))
        others = self._seen([piece for way in ways for piece in way.unseen])
        digits: list[Digit] = []
        for way in ways:
            own, others = others[: len(way.unseen)], others[len(way.unseen) :]
            kept = [seen for seen in way.best(own) if seen.found[10:].sum() < _DROPPED]
            digits += [self._digit(s.found, s.image, s.piece.box, page, line) for s in kept]
            line += bool(kept)
        return digits

    def _seen(self, pieces: Sequence[Piece]) -> list["_Seen"]:
        if not pieces:
            return []
        images = np.stack([normalise(piece.ink) for piece in pieces])
        found = self.network.predict(images)
        return [_Seen(*each) for each in zip(pieces, images, found, strict=True)]

    def _digit(
        self, found: Floats, image: UInt8s, box: tuple[int, int, int, int], page: int, line: int
    ) -> Digit:
        best = int(found[:10].argmax())
        confidence = float(found[best])
        sure = confidence >= self.min_confidence
        return Digit(best if sure else None, confidence, found[:10], box, page, line, image)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A piece, and what the network makes of it."""

    piece: Piece
    image: UInt8s
    found: Floats

    @property
    def is_doubtful(self) -> bool:
        """Whether it may be a part of a digit, or several."""
        _, _, wide, tall = self.piece.box
        return float(self.found[:10].max()) < _SURE or wide > _TOO_WIDE * tall


class _Ways:
    """All ways to make digits of a row: its atoms are doubtful pieces cut up, and the others."""

    def __init__(self, row: Sequence[_Seen]) -> None:
        """Cuts what is doubtful; `unseen` is what has to be looked at then."""
        height = sorted(seen.piece.box[3] for seen in row)[len(row) // 2]
        atoms: list[tuple[Piece, bool]] = []  # and whether it is doubtful
        self._choices: list[tuple[int, int, _Seen | None]] = []  # first atom, past the last, seen
        for seen in row:
            parts = cut(seen.piece) if seen.is_doubtful else [seen.piece]
            self._choices.append((len(atoms), len(atoms) + len(parts), seen))
            atoms += [(part, seen.is_doubtful) for part in parts]
        self.unseen: list[Piece] = []
        known = {(start, stop) for start, stop, _ in self._choices}
        for start in range(len(atoms)):
            for stop in range(start + 1, len(atoms) + 1):
                parts = [piece for piece, _ in atoms[start:stop]]
                if stop > start + 1:
                    if not any(doubtful for _, doubtful in atoms[start:stop]):
                        break
                    if not may_be_one(parts, height):
                        break
                if (start, stop) not in known:
                    self.unseen.append(join(parts))
                    self._choices.append((start, stop, None))
        self._count = len(atoms)

    def best(self, others: Sequence[_Seen]) -> list[_Seen]:
        """The most probable way, `others` being what was seen in `unseen`.

        A whole piece may be no digit. Parts and several pieces may not: there is always some
        way to put strokes together that is none.
        """
        waiting = iter(others)
        choices = []
        for start, stop, whole in self._choices:
            seen = whole or next(waiting)
            chance = float(seen.found[:10].max())
            if whole:
                digits = max(1.0, 1.5 * seen.piece.box[2] / seen.piece.box[3])  # as many would fit
                chance = max(chance, (_NONE * float(seen.found[10:].sum())) ** digits)
            choices.append((start, stop, math.log(max(1e-9, chance)), seen))
        score = [0.0, *[-math.inf] * self._count]
        last: list[tuple[int, _Seen] | None] = [None] * (self._count + 1)
        for start, stop, chance, seen in sorted(choices, key=lambda choice: choice[:2]):
            total = score[start] + chance
            if total > score[stop]:
                score[stop], last[stop] = total, (start, seen)
        path, at = [], self._count
        while step := last[at]:
            at = step[0]
            path.append(step[1])
        return path[::-1]


class OnnxNetwork:
    """A network in an ONNX file, as `mnistry export` writes it; it needs no PyTorch.

    Its notes may give a temperature, by which its probabilities are calibrated (Guo and others,
    2017), and the least confidence that is worth an answer.
    """

    def __init__(self, path: str | os.PathLike[str] | None, threads: int) -> None:
        name = _SHIPPED if path is None else os.fspath(path)
        content = shipped() if path is None else _content(path)
        self._session = _session(content, name, threads)
        notes = self._session.get_modelmeta().custom_metadata_map
        try:
            self.classes: tuple[str, ...] = tuple(map(str, json.loads(notes["classes"])))
            self.temperature = float(notes.get("temperature", "1"))
            self.min_confidence = float(notes.get("min_confidence", "0"))
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"{name}: {_expected(f'no notes that can be read ({error})')}"
            ) from error

    def predict(self, images: UInt8s) -> Floats:
        """Gives (n, classes) probabilities for (n, 28, 28) uint8 images, 0 ground to 255 ink."""
        parts = [
            self._session.run(["probabilities"], {"images": images[start : start + _BATCH]})[0]
            for start in range(0, len(images), _BATCH)
        ]
        found = np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])
        return at_temperature(found, self.temperature)


def shipped() -> bytes:
    """The ONNX file of the reader that comes with Mnistry."""
    return (resources.files("mnistry") / _SHIPPED).read_bytes()


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"{os.fspath(path)}: cannot be read ({reason}); expected an ONNX file, as "
            "`mnistry export` writes it"
        ) from error


def _session(content: bytes, name: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        shapes = [(i.name, i.type) for i in (*session.get_inputs(), *session.get_outputs())]
    except Exception as error:  # onnxruntime has kinds of its own
        raise ModelError(f"{name}: {_expected('no network that can be used')}") from error
    if shapes != [("images", "tensor(uint8)"), ("probabilities", "tensor(float)")]:
        raise ModelError(f"{name}: {_expected(f'{shapes!r:.120}')}")
    return session


def _expected(found: str) -> str:
    return (
        f"has {found}; expected a network that reads digits, in a file as `mnistry export` "
        "writes it"
    )
