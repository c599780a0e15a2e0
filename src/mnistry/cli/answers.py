"""What `mnistry predict` says: a table for people, lines of JSON or of CSV for programs."""

import math
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mnistry.cli.console import one_line, say, say_json, table, tell
from mnistry.errors import DataError

if TYPE_CHECKING:
    from mnistry.reader import Digit, Reading

_COLUMNS = (
    *("image", "page", "line", "position", "label", "confidence"),
    *("x", "y", "width", "height"),
)
_DIGITS = tuple("0123456789")
_FEWEST = 5  # confidences side by side, however narrow the terminal


@dataclass(frozen=True, eq=False)
class Answer:
    """What was read of an image.

    Attributes:
        name: The image's.
        reading: Its digits. The labels are numbers of `classes`.
        classes: What a label may be.
        is_page: Whether digits were looked for on it; else it was taken as it is, for one of
            28 x 28 pixels.
        truth: What it is labelled, where that is known.
    """

    name: str
    reading: "Reading"
    classes: Sequence[str] = _DIGITS
    is_page: bool = True
    truth: str | None = None

    def guess(self, digit: "Digit") -> str:
        """What a digit is most probably, sure or not; nothing where nothing is there."""
        return self.classes[int(digit.probabilities.argmax())] if digit.confidence else ""

    def label(self, digit: "Digit") -> str | None:
        """What a digit is; None where that is not sure enough."""
        return None if digit.label is None else self.classes[digit.label]

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        record: dict[str, Any] = {"image": self.name}
        if self.is_page:
            record |= self.reading.to_dict()
        else:
            (digit,) = self.reading.digits
            label, values = self.label(digit), digit.probabilities.tolist()
            named = {} if tuple(self.classes) == _DIGITS else {"label": label}
            record |= {"text": label or "?", "digits": [digit.to_dict() | named]}
            # values are in the order of the classes
            record |= {"label": label, "probabilities": values, "true_label": self.truth}
        return record


class Output(Protocol):
    """Where answers go."""

    def add(self, answer: Answer, drawn: Sequence[Path]) -> None:
        """Takes an answer, and what was drawn of it."""

    def fail(self, name: str, error: DataError) -> None:
        """Takes an image that could not be read."""

    def close(self) -> None:
        """Says what was not said yet."""


class JsonLines:
    """An object a line, for images that could not be read as well."""

    def add(self, answer: Answer, drawn: Sequence[Path]) -> None:
        """Says an answer."""
        pictures = {"pictures": [str(path) for path in drawn]} if drawn else {}
        say_json(answer.to_dict() | pictures)

    def fail(self, name: str, error: DataError) -> None:
        """Says what is wrong with an image."""
        say_json({"image": name, "error": str(error)})

    def close(self) -> None:
        """Everything was said."""


class CsvRows:
    """A row a digit, as RFC 4180 has it; what could not be read goes to the standard error."""

    def __init__(self) -> None:
        self._say(_COLUMNS)

    def add(self, answer: Answer, _: Sequence[Path]) -> None:
        """Says an answer."""
        for line in answer.reading.lines:
            for position, digit in enumerate(line):
                label = answer.label(digit)
                confidence = f"{digit.to_dict()['confidence']:.4f}"
                place = (answer.name, digit.page, digit.line, position)
                self._say((*place, "" if label is None else label, confidence, *digit.box))

    def fail(self, _: str, error: DataError) -> None:
        """Says what is wrong with an image."""
        tell(one_line(f"mnistry: {error}"))

    def close(self) -> None:
        """Everything was said."""

    def _say(self, cells: Sequence[object]) -> None:
        import csv
        import io

        row = io.StringIO()
        csv.writer(row).writerow(cells)
        # it ends with CR LF, of which `say`, or the system, writes a part
        say(row.getvalue().removesuffix("\r\n" if os.linesep == "\r\n" else "\n"))


class Table:
    """A row for each line of each image, when all are read: the digits, and how sure each is."""

    def __init__(self) -> None:
        self._taken: list[str] = []
        self._rows: list[list[str]] = []

    def add(self, answer: Answer, _: Sequence[Path]) -> None:
        """Keeps an answer for the table."""
        if answer.is_page:
            self._rows += _rows(answer)
        else:
            self._taken += _shares(answer)

    def fail(self, _: str, error: DataError) -> None:
        """Says what is wrong with an image."""
        tell(one_line(f"mnistry: {error}"))

    def close(self) -> None:
        """Says all answers."""
        for line in self._taken:
            say(line)
        head, rows = ["image", "text", "sure (%)", "? may be"], self._rows
        if not any(row[3] for row in rows):
            head, rows = head[:3], [row[:3] for row in rows]
        if rows:
            say(table(head, list(_wrapped(head, rows))))


def _shares(answer: Answer) -> Iterator[str]:
    """The lines for an image that was taken as it is: the answer, and all probabilities."""
    (digit,) = answer.reading.digits
    truth = "" if answer.truth is None else f" (labelled {answer.truth})"
    yield f"{one_line(answer.name)}: {answer.label(digit) or '?'}{truth}"
    each = zip(answer.classes, digit.probabilities.tolist(), strict=True)
    shares = [f"{name}: {share:.1%}" for name, share in each]
    for start in range(0, len(shares), 5):
        yield "  " + "  ".join(f"{share:>9}" for share in shares[start : start + 5])


def _rows(answer: Answer) -> Iterator[list[str]]:
    """A row a line: where a page begins its name, the digits, how sure, what ? may be."""
    name, page = one_line(answer.name), -1
    for line in answer.reading.lines:
        begins, page = line[0].page != page, line[0].page
        label = (f"{name}, page {page + 1}" if page else name) if begins else ""
        unsure = [answer.guess(digit) for digit in line if digit.label is None]
        yield [label, "".join(map(str, line)), _sure(line), ", ".join(filter(None, unsure))]
    if page < 0:
        yield [name, "", "no digits found", ""]


def how_sure(digit: "Digit") -> str:
    """How sure a digit is, rounded down: 100% would promise too much."""
    return f"{min(99.9, math.floor(1000 * digit.confidence) / 10):.1f}%"


def _sure(line: Sequence["Digit"]) -> str:
    """The same of each digit of a line, in whole percent where there are several."""
    if len(line) == 1:
        return how_sure(line[0])
    return " ".join(f"{min(99, math.floor(100 * digit.confidence)):2}" for digit in line)


def _wrapped(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """The rows, the third column in as many as it takes to fit a terminal."""
    if sys.stdout is None or not sys.stdout.isatty():
        yield from map(list, rows)
        return
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    room = shutil.get_terminal_size().columns - sum(widths) + widths[2] - 2 * (len(widths) - 1)
    length = 3 * max(_FEWEST, (room + 1) // 3)  # of whole numbers and the spaces after them
    for name, text, sure, *rest in rows:
        yield [name, text, sure[:length].rstrip(), *rest]
        for start in range(length, len(sure), length):
            yield ["", "", sure[start : start + length].rstrip(), *[""] * len(rest)]
