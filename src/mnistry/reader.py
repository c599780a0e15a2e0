"""Reads digits from any image: page, normalise, ONNX Runtime, calibrated confidence."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby, islice
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError, LimitError, ModelError, UsageError
from mnistry.network import PAIR_READER, Network, OnnxNetwork, reads_digits
from mnistry.normalise import SIZE, normalise, stretch
from mnistry.page import Piece, find_one, find_rows
from mnistry.picture import MAX_PAGES, name_of, read_pages
from mnistry.segmentation import Seen, Ways

if TYPE_CHECKING:
    from mnistry.picture import Picture

_AT_A_TIME = 64  # images that are read together
_PIXELS = 4_000_000  # of them, about: as many as are kept in memory

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
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
        image: (28, 28) uint8, 0 ground to 255 ink: what the network saw. Of two digits that touch
            it saw both together, and this is what it would have seen of one.
    """

    label: int | None
    confidence: float
    probabilities: Floats
    box: tuple[int, int, int, int]
    page: int
    line: int
    image: UInt8s

    @classmethod
    def of(
        cls,
        probabilities: Floats,
        least: float,
        box: tuple[int, int, int, int],
        page: int,
        line: int,
        image: UInt8s,
    ) -> "Digit":
        """The most probable digit; its label is None where that is no answer: `label_of`."""
        confidence = float(probabilities.max())
        label = label_of(probabilities, least)
        return cls(label, confidence, probabilities, box, page, line, image)

    def __str__(self) -> str:
        """Its label, or "?"."""
        return "?" if self.label is None else str(self.label)

    def __repr__(self) -> str:
        """What a prompt shows: no images, no probabilities."""
        place = f"box {self.box}, page {self.page}, line {self.line}"
        return f"<Digit {self}, confidence {_down(self.confidence):.3f}, {place}>"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold of it, numbers rounded down; without the image."""
        return {
            "label": self.label,
            "confidence": _down(self.confidence),
            "box": list(self.box),
            "page": self.page,
            "line": self.line,
            "probabilities": [_down(p) for p in self.probabilities.tolist()],
        }


def label_of(probabilities: Floats, least: float) -> int | None:
    """The most probable digit; None if that is less than `least`, or than that it is none.

    Args:
        probabilities: (10,) float32, which add up to 1 or less, as those of a `Digit`.
        least: 0..1.
    """
    best = int(probabilities.argmax())
    none = 1 - float(probabilities.sum())
    return best if float(probabilities[best]) >= max(least, none) else None


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        """What a prompt shows: the text, and how many digits."""
        count = len(self.digits)
        return f"<Reading {self.text!r}, {count} digit{'' if count == 1 else 's'}>"

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"text": self.text, "digits": [digit.to_dict() for digit in self.digits]}


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
        if min_confidence is not None and not _is_within(min_confidence, Real, 0, 1):
            raise UsageError(f"min_confidence: is {min_confidence!r}, expected 0 to 1")
        if not _is_within(threads, Integral, 0, math.inf):
            raise UsageError(f"threads: is {threads!r}, expected at least 1, or 0 for all cores")
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
        self._threads = threads
        usual = network.min_confidence if isinstance(network, OnnxNetwork) else 0.0
        self.min_confidence = usual if min_confidence is None else min_confidence

    def read(
        self, source: "Picture", *, single: bool = False, max_pages: int = MAX_PAGES
    ) -> Reading:
        """Read all digits of an image.

        Args:
            source: A file, its bytes, a PIL image, or an array (h, w) or (h, w, channels): any
                size, dark on light or light on dark; all pages where it has several.
            single: It shows one digit, and is answered with just that ("?" for blank paper); else
                all that look like digits are found.
            max_pages: A file of more is refused.

        Raises:
            LimitError: It is too large, or shows more marks than any page of digits.
            DataError: It is no image, or a damaged one.
            UsageError: It is nothing that could be one, as an array of another shape.
            DependencyError: It is a PDF, and pypdfium2 is not installed.
        """
        (reading,) = self.read_many([source], single=single, max_pages=max_pages)
        if isinstance(reading, DataError):
            raise reading
        return reading

    def read_many(
        self,
        sources: Iterable["Picture"],
        *,
        single: bool = False,
        max_pages: int = MAX_PAGES,
    ) -> Iterator[Reading | DataError]:
        """Read images, some at a time, which takes a third less time than one by one.

        Args:
            sources: As `read` takes one; of an array the first axis counts the images.
            single: Each page shows one digit.
            max_pages: A file of more is not read.

        Yields:
            In their order, what was read from each; or why it cannot be read.

        Raises:
            UsageError, DependencyError: As `read`, at the first such source; or `sources` is one
                image.
        """
        is_one = isinstance(sources, np.ndarray) and sources.ndim < 3
        if (
            is_one
            or isinstance(sources, str | bytes | os.PathLike)
            or not isinstance(sources, Iterable)
        ):
            raise UsageError("sources: is one image, expected several; give a list, or use `read`")
        for some in _decoded(sources, max_pages):
            found = [each if isinstance(each, DataError) else _find(each, single) for each in some]
            readings = iter(self._answers([f for f in found if isinstance(f, list)], single))
            for each in found:
                yield next(readings) if isinstance(each, list) else each

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

    def _answers(self, images: Sequence[list["_Page"]], single: bool) -> list[Reading]:
        """What images say whose ink was found."""
        rows = [row for pages in images for page in pages for row in page.rows]
        wholes = iter(self._seen([piece for row in rows for piece in row]))
        seen = [[next(wholes) for _ in row] for row in rows]
        if not single:
            ways = [Ways(row) for row in seen]
            others = iter(self._seen([piece for way in ways for piece in way.unseen]))
            pairs = iter(self._twos([piece for way in ways for piece in way.touching]))
            seen = [
                way.best([next(others) for _ in way.unseen], [next(pairs) for _ in way.touching])
                for way in ways
            ]
        parted = iter(seen)
        return [Reading(tuple(self._digits(pages, parted, single))) for pages in images]

    def _digits(
        self, pages: Sequence["_Page"], parted: Iterator[list[Seen]], single: bool
    ) -> Iterator[Digit]:
        line = 0
        for number, page in enumerate(pages):
            if single and not page.rows:  # nothing is no digit, whatever the network would say
                nothing, whole = np.zeros((SIZE, SIZE), np.uint8), (0, 0, *page.shape[::-1])
                yield Digit.of(np.zeros(10, np.float32), 0.0, whole, number, line, nothing)
                line += 1
            for _ in page.rows:
                row = next(parted)
                for seen in row:
                    least, found, box = self.min_confidence, seen.probabilities[:10], seen.piece.box
                    yield Digit.of(found, least, box, number, line, seen.image)
                line += bool(row)

    def _seen(self, pieces: Sequence[Piece]) -> list[Seen]:
        if not pieces:
            return []
        images = np.stack([normalise(piece.ink) for piece in pieces])
        found = self.network.predict(images)
        return [Seen(*each) for each in zip(pieces, images, found, strict=True)]

    def _twos(self, pieces: Sequence[Piece]) -> Floats:
        """(n, 100): the probability of each two digits, "00" first, that touch in a piece."""
        if not pieces:
            return np.empty((0, 100), np.float32)
        images = np.stack([stretch(piece.ink) for piece in pieces])
        return _pairs(self._threads).predict(images)[:, :100]


@cache
def _pairs(threads: int) -> Network:
    """What reads two digits that touch: loaded when there are some, and only once."""
    return OnnxNetwork(None, threads, PAIR_READER)


@dataclass(frozen=True, eq=False)
class _Page:
    """A page's size, and the ink on it that may be digits."""

    shape: tuple[int, int]
    rows: list[list[Piece]]


@dataclass(frozen=True, eq=False)
class _Decoded:
    """An image whose first page is decoded, and the second, if there is one."""

    name: str
    first: UInt8s
    others: Iterator[UInt8s]


def _decoded(sources: Iterable["Picture"], max_pages: int) -> Iterator[list[_Decoded | DataError]]:
    """Images, or why they cannot be read, some at a time.

    What is done to many in turn finds its code in the processor's caches, each time but the first.
    """
    some: list[_Decoded | DataError] = []
    pixels = 0
    for source in sources:
        pages = read_pages(source, max_pages)
        try:
            first, *second = islice(pages, 2)
            some.append(_Decoded(name_of(source), first, chain(second, pages)))
            pixels += first.size
            if second:  # a PDF has a process of its own until its last page
                pixels = _PIXELS
        except DataError as error:
            some.append(error)
        except Exception:
            if some:  # what was read before is given first
                yield some
            raise
        if len(some) == _AT_A_TIME or pixels >= _PIXELS:
            yield some
            some, pixels = [], 0
    if some:
        yield some


def _find(image: _Decoded, single: bool) -> list[_Page] | DataError:
    """The ink of all pages, of one digit each if that is what they show; or why there is none."""
    pages: list[_Page] = []
    try:
        for grey in chain([image.first], image.others):
            number = f", page {len(pages) + 1}" if pages else ""
            try:
                if single:
                    piece = find_one(grey)
                    rows = [[piece]] if piece else []
                else:
                    rows = find_rows(grey)
            except LimitError as error:
                return LimitError(f"{image.name}{number}: {error}")
            height, width = grey.shape
            pages.append(_Page((height, width), rows))
    except DataError as error:
        return error
    return pages


def _is_within(value: Any, kind: type[Any], low: float, high: float) -> bool:
    """Whether a value is a number of a kind, and in a range."""
    return isinstance(value, kind) and bool(low <= value <= high)


def _down(probability: float) -> float:
    """To four places, and never up to 1, or to a confidence that would have been enough."""
    return math.floor(probability * 10_000) / 10_000
